/*
 * model_private.h - what the files of the model share; see model.h.
 *
 *     model.c         life, time
 *     model_cores.c   threads on the cores of a host
 *     model_links.c   a host's link to the network
 *     model_actors.c  messages through threads and links; the shards
 *     model_workers.c what a worker does
 *     model_open.c    the cluster before time begins
 *     model_kernels.c kernels that count what they would do
 *     model_counts.c  what is measured
 */
#ifndef TESTS_SIM_MODEL_PRIVATE_H
#define TESTS_SIM_MODEL_PRIVATE_H

#include "server/coordinator/coordinator.h"
#include "server/shard/shard.h"
#include "tests/sim/model.h"
#include "tests/sim/queue.h"
#include "worker/client.h"

struct model;
struct actor;

/* The first field of whatever waits for its time. */
struct event {
    void (*happen)(struct model *m, struct event *e);
};

/* ---- messages ------------------------------------------------------------------- */

struct message {
    struct event     event;           /* it reaches the other host */
    struct message  *next;            /* in a mailbox */
    struct message  *younger, **link; /* of all that there are */
    struct actor    *from, *to;
    struct ps_parcel parcel;
    uint64_t         bytes;   /* modelled, with headers */
    bool             arrives; /* it has left the sender's threads */
};

/* First in, first out. */
struct mailbox {
    struct message *first, **end;
};

void            mailbox_put(struct mailbox *box, struct message *f);
struct message *mailbox_take(struct mailbox *box); /* NULL: it is empty */

/* ---- threads -------------------------------------------------------------------- */

enum thread_state { THREAD_IDLE, THREAD_WAKING, THREAD_READY, THREAD_RUNNING };

/* One piece of work after the other. */
struct thread {
    struct event      event; /* a slice of time is over; it wakes */
    struct host      *host;
    struct thread    *next; /* READY */
    enum thread_state state;
    bool              has_piece;
    uint64_t          left_ns; /* of the piece */
    uint64_t          slice_ns;
    uint64_t          busy_ns; /* since the measurement began */

    /* The next piece: sets left_ns.  False: there is nothing to do. */
    bool (*take)(struct model *m, struct thread *t);
    void (*done)(struct model *m, struct thread *t);
};

/* There is something to do for it. */
void thread_wake(struct model *m, struct thread *t);

/* ---- links ---------------------------------------------------------------------- */

/* What is to go from one host to another. */
struct flow {
    struct mailbox box;
    struct flow   *next; /* of those that have something */
};

struct link {
    struct event    event; /* `moving` is through */
    bool            receives;
    struct message *moving;
    struct flow    *flows; /* by the other host */
    struct flow    *first, **end;
    uint64_t        bytes, busy_ns; /* since the measurement began */
};

struct host {
    uint32_t       number;
    uint32_t       n_running; /* threads, at most as many as cores */
    struct thread *first, **end;
    struct link    out, in;
};

void link_put(struct model *m, struct link *l, uint32_t other, struct message *f);

/* ---- who sends and receives ----------------------------------------------------- */

/* The sockets of a process. */
struct process {
    struct thread   thread;
    struct mailbox  box;
    struct message *moving;
};

enum actor_kind { ACTOR_COORDINATOR, ACTOR_SHARD, ACTOR_WORKER };

struct actor {
    struct thread   thread;
    enum actor_kind kind;
    uint32_t        number;
    struct process *process;
    struct mailbox  in, out;
    struct message *moving; /* of `out`, being made */
};

struct shard {
    struct actor      actor;
    struct psd_shard *shard;
};

enum worker_stage {
    WORKER_OPENS, /* before time begins */
    WORKER_COMPUTES,
    WORKER_CALLS,
    WORKER_WAITS,
};

struct worker {
    struct actor       actor;
    struct event       alarm; /* it has slept */
    struct psw_client *client;
    struct ps_ticket  *ticket;
    ps_matrix        **matrices;
    uint32_t           n_opened;
    enum worker_stage  stage;
    struct message    *reading;
    uint64_t           iteration; /* in progress, from 1 */
    uint64_t           began_ns, compute_ns, called_ns;
    uint64_t           clock; /* iterations that it has called for, as far as counted */
};

/* ---- what is measured ----------------------------------------------------------- */

struct counts {
    bool     runs; /* the warm-up is over */
    bool     over;
    uint64_t done, warm, all; /* iterations of all workers */
    uint64_t began_ns, ended_ns;

    double  *durations; /* [all - warm] seconds */
    size_t   n_durations;
    double   computed;     /* seconds, of all of them */
    uint64_t pushes, late; /* at shards: taken, and come too late */
    uint64_t ahead;
    uint64_t messages;

    uint64_t *stale; /* how many pushes had that staleness */
    size_t    stale_room;
    uint64_t  n_stale, stale_sum, stale_max;

    uint32_t *at_clock; /* workers whose clock it is */
    size_t    clock_room;
    uint64_t  slowest; /* clock of a worker */
};

struct model {
    const struct model_case    *c;
    const struct ps_simulation *s;
    uint64_t                    now_ns, order;
    struct queue                queue; /* struct event */
    bool                        timed; /* costs count; else messages arrive at once */
    ps_status                   failed;

    struct ps_job_spec     job;
    uint32_t               one_for; /* sim_one_for */
    size_t                 n_matrices;
    struct ps_matrix_spec *matrices;
    uint64_t               n_elements;       /* of all of them, scaled */
    float                 *gradient, *value; /* [n_elements] of all workers */
    bool                   lends; /* a push may be several requests to a shard */

    uint32_t                n_shard_hosts, n_hosts;
    struct host            *hosts; /* of shards first */
    struct process         *processes;
    struct actor            coordinator_actor;
    struct psd_coordinator *coordinator;
    struct shard           *shards;
    struct worker          *workers;
    struct event            second; /* shards look for what is late */

    struct message  *messages; /* all */
    struct mailbox   at_once;
    struct ps_outbox outbox;
    struct counts    counts;
};

/* model.c */
void     model_after(struct model *m, uint64_t ns, struct event *e);
void     model_fail(struct model *m, ps_status st);
uint64_t model_ns(double ns);

/* model_actors.c */
uint64_t model_payload(const struct model *m, const struct message *f);
void     actor_post(struct model *m, struct actor *from); /* the outbox */
void     actor_deliver_at_once(struct model *m);
bool     actor_send_next(struct model *m, struct actor *a, double us, double byte_ns);
bool     actor_sent(struct model *m, struct actor *a); /* a piece of `out` was it */
bool     shard_take(struct model *m, struct thread *t);
void     shard_look(struct model *m, struct shard *sh);
void     shard_done(struct model *m, struct thread *t);
bool     process_take(struct model *m, struct thread *t);
void     process_done(struct model *m, struct thread *t);
void     message_free(struct message *f);
void     process_receive(struct model *m, struct message *f);

/* model_workers.c */
void      worker_begin(struct model *m, struct worker *w);
bool      worker_take(struct model *m, struct thread *t);
void      worker_done(struct model *m, struct thread *t);
void      worker_look(struct model *m, struct worker *w);
void      worker_get(struct model *m, struct worker *w, struct message *f);
ps_status worker_move(struct model *m, struct worker *w, uint32_t moves) PS_CHECKED;

/* model_open.c: everybody is there and has the first values. */
ps_status model_open(struct model *m) PS_CHECKED;
void      model_close(struct model *m);

/* model_kernels.c */
struct kernel_bytes {
    uint64_t checked, summed, stepped;
};
extern const struct psd_backend model_kernels;
struct kernel_bytes             model_kernels_count(void); /* since the last call */

/* model_counts.c */
ps_status counts_open(struct model *m) PS_CHECKED;
void      counts_clock(struct model *m, struct worker *w);
void      counts_iteration(struct model *m, struct worker *w);
void      counts_pushes(struct model *m, const struct ps_job_stats *was,
                        const struct ps_job_stats *is);
void      counts_result(struct model *m, struct model_result *out);
void      counts_close(struct model *m);

#endif
