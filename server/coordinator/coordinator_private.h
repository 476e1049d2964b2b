/*
 * coordinator_private.h - what the files of the coordinator share.
 *
 * A request is answered either at once or by an *operation*: something that every
 * shard of a job has to know.  A job's operations stand in a queue and only the first
 * one is under way, so what shards learn never overtakes itself; an operation is
 * composed when its turn comes, so several changes of members that wait become one.
 *
 * What happens to a job is done in two steps.  Handlers change members and queue
 * operations; when they are through, coord_settle looks at every job and starts, counts
 * off and ends operations until nothing moves.  So no handler frees what its caller
 * still looks at.
 *
 * A handler returns a status; when that is a failure, its sentence (ps_fail) is the
 * answer.
 *
 * Thread: the one that owns the coordinator.
 */
#ifndef PSD_COORDINATOR_COORDINATOR_PRIVATE_H
#define PSD_COORDINATOR_COORDINATOR_PRIVATE_H

#include "common/place/place.h"
#include "common/wire/wire.h"
#include "server/coordinator/coordinator.h"

#define COORD_SECOND_NS UINT64_C(1000000000)
#define COORD_RESEND_NS COORD_SECOND_NS
#define COORD_TICK_NS (COORD_SECOND_NS / 4)
/* A tick that is later by more: the process was stopped, or its machine. */
#define COORD_ASLEEP_NS COORD_SECOND_NS

#define COORD_OBSERVERS_MAX 64u
#define COORD_OBSERVER_RANK UINT32_MAX
#define COORD_REPORTS_KEPT 65536u
#define COORD_METRICS_MAX 256u   /* different names of reports in a job */
#define COORD_MEMBERS_PIECE 512u /* workers that one MEMBERS or JOB mentions */
#define COORD_ASKERS_MAX 8192u   /* who wait for one operation */
/* Reading and writing snapshots takes as long as it takes; whether the psd is there at
 * all is seen by its beats. */
#define COORD_DISK_NS (600 * COORD_SECOND_NS)

#define COORD_SETS_KEPT 64u         /* snapshots of a part that are remembered */
#define COORD_ENDPOINTS_BYTES 8192u /* of all shards, so that WELCOME fits a header */

/* Who is to be answered, later. */
struct coord_asker {
    struct ps_route route;
    uint64_t        request;
    uint32_t        kind;    /* what it asked */
    uint32_t        rank;    /* HELLO, BYE: of the member it is about */
    uint64_t        session; /* the same */
};

/* One message to one shard, kept until it is answered. */
struct coord_call {
    uint32_t       shard; /* of the cluster */
    bool           answered;
    ps_status      status; /* of the answer */
    struct ps_buf *head;
};

struct coord_matrix {
    struct ps_matrix_spec spec;
    bool                  ready; /* every shard has it */
    uint32_t              n_runs;
    struct ps_slot_run   *runs;
};

struct coord_operation {
    struct coord_operation *next;
    uint32_t                kind; /* what the shards are sent: PS_MSG_JOB, ... */
    bool                    started;
    uint64_t                started_ns, sent_ns;
    uint64_t                patience_ns; /* 0: as long as options.shard_timeout_ns */

    uint64_t           first_request; /* call i has request first_request + i */
    uint32_t           n_calls, n_owed, calls_room;
    struct coord_call *calls;

    ps_status status; /* the first thing that went wrong */
    char      why[PS_TEXT_BYTES];

    /* MEMBERS: of the shards that have answered */
    uint64_t clock_low, clock_high, epochs_low, epochs_high;

    struct coord_matrix *matrix; /* MATRIX_ADD; the job owns it */

    uint32_t            n_askers, askers_room;
    struct coord_asker *askers;
};

/* A worker or an observer. */
struct coord_member {
    uint32_t rank, incarnation;
    uint32_t state;  /* enum ps_member_state */
    bool     untold; /* shards have yet to be told of its state */
    bool     silent; /* lost because it was not heard, so it may come back */
    bool     begins; /* the shards are yet to say at which clock */
    uint64_t start;  /* the clock at which it began */
    uint64_t epochs; /* that had ended then */
    uint64_t session;

    struct ps_route route; /* where it was last heard */
    uint64_t        pid;
    uint64_t        hello; /* request number of its HELLO */
    char            host[PS_NAME_BYTES];

    uint64_t          heard_ns;
    uint64_t          clock;
    uint64_t          report_seq; /* of its last REPORT */
    struct ps_traffic traffic;
};

/* A record as it is kept; its number is its place. */
struct coord_record {
    uint64_t clock, time_us;
    uint32_t rank;
    uint32_t metric; /* in the table of names */
    double   value;
};

struct coord_reports {
    uint64_t             last; /* number of the newest, 0: none yet */
    uint32_t             n, room;
    struct coord_record *ring; /* record k is at k % room */
    uint32_t             n_metrics;
    char (*metrics)[PS_NAME_BYTES];
};

/* What a shard's psd can read of the run of a job. */
struct coord_offer {
    bool            made; /* it has answered */
    uint32_t        n;
    struct ps_part *parts;
};

/* What a job goes back to, and which shards it has from then on. */
struct coord_choice {
    uint32_t       n_shards;
    uint32_t       shards[PS_SHARDS_MAX]; /* of the cluster, by the job's numbers */
    bool           own;     /* shard i reads parts[i]; else everyone reads all */
    uint32_t       n_parts; /* 0: there is nothing to read, from clock 0 */
    struct ps_part parts[PS_SHARDS_MAX];
};

enum coord_stage {
    COORD_GATHERING = 1, /* waits for shards to be there */
    COORD_ASKING,        /* which snapshots they can read */
    COORD_LOADING,       /* a new life is told to the shards of the choice */
};

/* A job on its way back; recovery.c. */
struct coord_recovery {
    enum coord_stage        stage;
    uint64_t                since_ns;
    uint32_t                wanted;         /* shards that the job had */
    uint64_t                asked_arrivals; /* c->arrivals when the shards were asked */
    bool                    asked_late;     /* or recovery_wait had passed */
    struct coord_operation *steps;          /* the first is under way */
    struct coord_offer      offers[PS_SHARDS_MAX]; /* by shards of the cluster */
    struct coord_choice     choice;
    struct ps_part          below[PS_SHARDS_MAX]; /* only older sets; life 0: any */
    uint64_t                clock, epochs;        /* to which the shards have come */
};

/* The newest sets of a part that are on disk, as SAVED told, the newest first. */
struct coord_saved {
    uint32_t       n;
    struct ps_part parts[COORD_SETS_KEPT];
    uint64_t       clock; /* of parts[0] */
    struct ps_part told;  /* with KEEP, last */
};

enum coord_state {
    COORD_WAITING = 1, /* for workers that have not said hello */
    COORD_RUNNING,
    COORD_RECOVERING, /* goes back to a snapshot */
    COORD_FINISHED,   /* this and what follows: over */
    COORD_ABORTED,
    COORD_FAILED,
};

struct coord_job {
    uint32_t           number;
    uint64_t           run;   /* random: names what is saved of it */
    uint64_t           life;  /* from 1; one more with each rollback */
    uint64_t           epoch; /* random, of this life: server_epoch of its messages */
    struct ps_job_spec spec;
    enum coord_state   state;
    ps_status          status; /* of an aborted or failed job, and the sentence */
    char               why[PS_TEXT_BYTES];

    bool     created;    /* the shards know it */
    bool     changed;    /* members are to be looked at */
    bool     dropping;   /* JOB_END is on its way, nobody finds it any more */
    bool     gone;       /* to be freed */
    uint64_t over_order; /* the lower, the longer over */
    uint64_t created_ns;
    uint64_t idle_ns; /* since when nobody is active */
    uint32_t n_active;

    /* By the job's own numbers, 0 .. n_shards-1; the cluster's number in `shards`. */
    uint32_t n_shards;
    uint32_t shards[PS_SHARDS_MAX];
    uint64_t load[PS_SHARDS_MAX];        /* bytes */
    uint64_t load_before[PS_SHARDS_MAX]; /* the MATRIX_ADD that is under way */

    uint64_t             membership_epoch, map_epoch;
    struct coord_member *members; /* [spec.workers] by rank */
    struct ps_traffic    before;  /* of the incarnations before theirs */
    uint32_t             n_observers;
    struct coord_member *observers; /* [COORD_OBSERVERS_MAX] */

    uint32_t              last_matrix; /* number given last */
    uint32_t              n_matrices, matrices_room;
    struct coord_matrix **matrices; /* in byte order of names */

    struct coord_reports    reports;
    struct coord_operation *operations; /* the first may be under way */

    struct coord_recovery *recovery; /* NULL: the job is where it should be */
    struct coord_saved    *saved;    /* [n_shards], of a job that is saved; else NULL */
    bool                   has_set;  /* once, there was a whole snapshot */

    struct coord_operation *checkpoint; /* somebody wants a snapshot now; or NULL */
    uint64_t                checkpoint_ns, checkpoint_margin;
    uint64_t                checkpoint_least; /* the clock of who is through */
    uint64_t                set_ns;           /* when the newest whole one was there */
};

/* A psd of the cluster. */
struct coord_server {
    char            host[PS_NAME_BYTES];
    uint64_t        pid;
    uint64_t        control;
    bool            joined; /* another process: its silence counts */
    bool            lost;
    bool            parted;   /* will not come back */
    bool            replaced; /* by another start of it; its place may be taken */
    uint64_t        heard_ns;
    struct ps_route route;
    uint32_t        first_shard, n_shards;
};

struct coord_shard {
    char     endpoint[PS_ENDPOINT_BYTES];
    uint32_t server;
    bool     lost;

    /* its last account */
    uint64_t             bad_messages, denied;
    uint32_t             n_stats, n_matrix_stats;
    struct ps_job_stats *stats;        /* of jobs, and behind them */
    struct ps_job_stats *matrix_stats; /* of matrices; lie in `stats` */
};

struct psd_coordinator {
    struct psd_coordinator_options options;
    char                           token[PS_TEXT_BYTES];
    char                           endpoint[PS_ENDPOINT_BYTES];
    struct ps_decoder             *decoder;

    /* lent for one call from outside */
    uint64_t          now_ns;  /* stands still while the process is stopped */
    uint64_t          real_ns; /* what it was told; for ages, which count all time */
    struct ps_outbox *out;

    bool     closing;
    char     closing_why[PS_TEXT_BYTES];
    uint64_t started_ns;   /* first time it was told; for the uptime */
    uint64_t ticked_ns;    /* of now_ns */
    uint64_t asleep_ns;    /* so much is now_ns behind real_ns */
    uint64_t starts;       /* times that its state was restored before */
    bool     touched;      /* what must survive may have changed */
    uint64_t kept_digest;  /* of what was given out to be kept; 0: nothing */
    uint64_t n_secrets;    /* drawn so far: index of the random stream */
    uint64_t next_request; /* to shards */
    uint64_t dropped;      /* by the driver */
    uint64_t bad_messages, denied;

    uint64_t            arrivals; /* of shards, so far */
    uint32_t            n_servers, n_shards;
    struct coord_server servers[PS_SHARDS_MAX];
    struct coord_shard  shards[PS_SHARDS_MAX];

    uint32_t           last_job; /* number given last */
    uint64_t           last_over;
    size_t             n_jobs, jobs_room;
    struct coord_job **jobs; /* in order of numbers */

    struct coord_operation *stats; /* the round for STATUS, or NULL */
};

/* What a handler sees of a message. */
struct coord_request {
    const struct ps_header *h;
    struct coord_asker      asker;
};

/* ---- coordinator.c: answers ------------------------------------------------------ */

void coord_send(struct psd_coordinator *c, const struct ps_route *to,
                const struct ps_header *h);

/* Fills in the request; an answer that does not fit becomes an error. */
void coord_answer(struct psd_coordinator *c, const struct coord_asker *asker,
                  struct ps_header *h, struct ps_buf **frames, uint32_t n_frames);
void coord_answer_ok(struct psd_coordinator *c, const struct coord_asker *asker);
void coord_answer_error(struct psd_coordinator *c, const struct coord_asker *asker,
                        ps_status status, const char *why);

/* Random, never 0. */
uint64_t coord_secret(struct psd_coordinator *c);

/* PS_ERR_DENIED, counted, unless the token is the cluster's. */
ps_status coord_check_token(struct psd_coordinator *c, const char *token) PS_CHECKED;

/* ---- fanout.c: operations -------------------------------------------------------- */

ps_status coord_operation_new(struct coord_operation **out, uint32_t kind) PS_CHECKED;
void      coord_operation_free(struct coord_operation **operation);

/* One more to be answered at the end; the same one once. */
ps_status coord_operation_ask(struct coord_operation   *operation,
                              const struct coord_asker *asker) PS_CHECKED;

/* One more message, to a shard of the cluster; `h` gets what such messages carry, but
 * for server_epoch. */
ps_status coord_operation_call(struct psd_coordinator *c,
                               struct coord_operation *operation, uint32_t shard,
                               struct ps_header *h) PS_CHECKED;

/* As if nothing had been called yet; nothing was sent. */
void coord_operation_forget(struct coord_operation *operation);

/* Forgets what it has sent; it can be composed again. */
void coord_operation_park(struct coord_operation *operation);

/* Sends what is owed, for the first time or again. */
void coord_operation_send(struct psd_coordinator *c, struct coord_operation *operation);

/* Was this a shard's answer to it?  Then it is counted off. */
bool coord_operation_answered(struct coord_operation *operation, uint32_t shard,
                              const struct ps_header *h);

/* The shard is lost and owes nothing any more; true if it did. */
bool coord_operation_excuse(struct coord_operation *operation, uint32_t shard);

/* Keeps the first failure. */
void coord_operation_spoil(struct coord_operation *operation, ps_status status,
                           const char *why);

/* Answers all who wait with a failure; one who said goodbye gets what he wants. */
void coord_operation_refuse(struct psd_coordinator       *c,
                            const struct coord_operation *operation, ps_status status,
                            const char *why);

/* Resends what is due; sets `overdue` for shards that have owed for too long. */
void coord_operation_tick(struct psd_coordinator *c, struct coord_operation *operation,
                          bool overdue[PS_SHARDS_MAX]);

/* ---- servers.c: processes and shards --------------------------------------------- */

ps_status coord_join(struct psd_coordinator     *c,
                     const struct coord_request *r) PS_CHECKED;
ps_status coord_part(struct psd_coordinator     *c,
                     const struct coord_request *r) PS_CHECKED;
ps_status coord_server_beat(struct psd_coordinator     *c,
                            const struct coord_request *r) PS_CHECKED;
void      coord_servers_tick(struct psd_coordinator *c);
void      coord_shard_heard(struct psd_coordinator *c, uint32_t shard);

/* The sentence says how it was found out. */
void coord_shard_lose(struct psd_coordinator *c, uint32_t shard, const char *why);

/* ---- jobs.c -----------------------------------------------------------------------
 */

ps_status coord_job_new(struct psd_coordinator *c, const struct ps_job_spec *spec,
                        struct coord_job **out) PS_CHECKED;

/* One more, empty, to be filled from what was saved. */
ps_status coord_job_restored(struct psd_coordinator *c) PS_CHECKED;

struct coord_job *coord_job_find(struct psd_coordinator *c, const char *name);
struct coord_job *coord_job_at(struct psd_coordinator *c, uint32_t number);
void              coord_job_free(struct coord_job **job);

static inline bool coord_job_over(const struct coord_job *job)
{
    return job->state >= COORD_FINISHED;
}

/* The word of status and WATCH. */
const char *coord_job_word(const struct coord_job *job);

/* Of the slowest active worker; when none is active, of the fastest there was. */
uint64_t coord_job_clock(const struct coord_job *job);

/* Ends it before its workers do: they are told, and whoever waits is. */
void coord_job_end(struct psd_coordinator *c, struct coord_job *job,
                   enum coord_state state, ps_status status, const char *why);

/* Forgets it; the shards are told, and so are those who wait or only read. */
void coord_job_drop(struct psd_coordinator *c, struct coord_job *job, ps_status status,
                    const char *why);

/* A job whose members have changed: is it running, is it over? */
void coord_job_look(struct psd_coordinator *c, struct coord_job *job);

void coord_job_shard_lost(struct psd_coordinator *c, struct coord_job *job,
                          uint32_t shard, const char *why);
void coord_job_shard_back(struct coord_job *job, uint32_t shard);
void coord_job_tick(struct psd_coordinator *c, struct coord_job *job);

/* The same message to every shard of the job that is up; JOB gets its index. */
ps_status coord_job_call(struct psd_coordinator *c, const struct coord_job *job,
                         struct coord_operation *operation,
                         struct ps_header       *h) PS_CHECKED;

/* At the end of the job's queue. */
ps_status coord_job_queue(struct coord_job *job, uint32_t kind,
                          struct coord_operation **out) PS_CHECKED;

/* Its messages to shards. */
ps_status coord_job_compose(struct psd_coordinator *c, struct coord_job *job,
                            struct coord_operation *operation) PS_CHECKED;

/* The one that shards may be answering, or NULL. */
struct coord_operation *coord_job_under_way(const struct coord_job *job);

/* The operation of this kind that has not been started, or NULL. */
struct coord_operation *coord_job_queued(const struct coord_job *job, uint32_t kind);

/* Moves every job and the round of STATUS as far as they go. */
void coord_settle(struct psd_coordinator *c);

/* ---- recovery.c --------------------------------------------------------------------
 */

/* The job goes back to a snapshot, because of `why`: a new life of it begins.  One that
 * is on its way back begins again. */
void coord_recovery_begin(struct psd_coordinator *c, struct coord_job *job,
                          const char *why);
void coord_recovery_cancel(struct coord_job *job);

/* True if something has moved. */
bool coord_recovery_step(struct psd_coordinator *c, struct coord_job *job);
void coord_recovery_tick(struct psd_coordinator *c, struct coord_job *job);
void coord_recovery_shard_lost(struct psd_coordinator *c, struct coord_job *job,
                               uint32_t shard, const char *why);

/* ---- checkpoint.c ------------------------------------------------------------------
 */

ps_status coord_checkpoint(struct psd_coordinator     *c,
                           const struct coord_request *r) PS_CHECKED;

/* The asker, of a BYE, may go when iterations up to `clock` are on disk. */
ps_status coord_checkpoint_farewell(struct psd_coordinator *c, struct coord_job *job,
                                    const struct coord_asker *asker,
                                    uint64_t                  clock) PS_CHECKED;
bool      coord_checkpoint_answered(struct coord_job *job, uint32_t shard,
                                    const struct ps_header *h);
void      coord_checkpoint_step(struct psd_coordinator *c, struct coord_job *job);
void      coord_checkpoint_tick(struct psd_coordinator *c, struct coord_job *job);
void      coord_checkpoint_shard_lost(struct coord_job *job, uint32_t shard,
                                      const char *why);

/* Whoever waits for one is refused. */
void coord_checkpoint_end(struct psd_coordinator *c, struct coord_job *job,
                          ps_status status, const char *why);

/* ---- sets.c ------------------------------------------------------------------------
 */

/* A shard's answer to SETS.  Of no memory it makes no offer. */
void coord_offer_take(struct coord_recovery *recovery, uint32_t shard,
                      const struct ps_header *h);
void coord_offers_forget(struct coord_recovery *recovery);

/* The newest snapshot that the shards which made offers can read; false: there is not
 * even a shard. */
bool coord_choose(const struct psd_coordinator *c, const struct coord_job *job,
                  struct coord_choice *out);

/* Is nothing lost by this choice that waiting for others could save? */
bool coord_choice_is_best(const struct coord_job    *job,
                          const struct coord_choice *choice);

/* The sets of the choice turned out not to be readable by the shards that failed. */
void coord_choice_failed(struct coord_job *job, const struct coord_operation *load);

/* What is saved of the job now that its shards are those of the choice. */
ps_status coord_saved_begin(struct coord_job *job) PS_CHECKED;

/* SAVED: one more set of a part is on disk. */
void coord_saved(struct psd_coordinator *c, uint32_t shard, const struct ps_header *h);

/* The newest whole snapshot that is known of: its set (asp, ssp: the lowest of the
 * parts' newest) and its clock; false: none. */
bool coord_saved_newest(const struct coord_job *job, uint64_t *set, uint64_t *clock);

/* ---- hello.c -----------------------------------------------------------------------
 */

ps_status coord_hello(struct psd_coordinator     *c,
                      const struct coord_request *r) PS_CHECKED;

/* ---- members.c --------------------------------------------------------------------
 */

ps_status coord_beat(struct psd_coordinator     *c,
                     const struct coord_request *r) PS_CHECKED;
ps_status coord_bye(struct psd_coordinator     *c,
                    const struct coord_request *r) PS_CHECKED;

/*
 * Whose message is this?  PS_ERR_UNKNOWN (job), PS_ERR_DENIED (session).  The member
 * has been heard.
 */
ps_status coord_member_find(struct psd_coordinator *c, const struct coord_request *r,
                            struct coord_job    **job,
                            struct coord_member **member) PS_CHECKED;

/* Answers a HELLO or BYE when the shards know the member's state. */
ps_status coord_answer_when_told(struct psd_coordinator *c, struct coord_job *job,
                                 const struct coord_member *m,
                                 const struct coord_asker  *asker) PS_CHECKED;

/* May it still ask for things?  Why not is in the sentence. */
ps_status coord_member_check(const struct coord_job    *job,
                             const struct coord_member *member) PS_CHECKED;

/* The state that others are told; the session stays secret unless it is for shards. */
struct ps_member coord_member_view(const struct coord_job    *job,
                                   const struct coord_member *member, bool for_shards);

/* The asker has said goodbye, and leaves now; it is answered when the shards know. */
void coord_member_go(struct psd_coordinator *c, struct coord_job *job,
                     const struct coord_asker *asker);

/* Takes it out of those who count, as the job's on_loss says; `fact` is what it did. */
void coord_member_lose(struct psd_coordinator *c, struct coord_job *job,
                       struct coord_member *member, const char *fact);

bool      coord_members_untold(const struct coord_job *job);
ps_status coord_members_compose(struct psd_coordinator *c, struct coord_job *job,
                                struct coord_operation *operation) PS_CHECKED;
void      coord_members_told(struct psd_coordinator *c, struct coord_job *job,
                             const struct coord_operation *operation);
void      coord_members_notice(struct psd_coordinator *c, const struct coord_job *job,
                               ps_status status, const char *why);

/* All of them are where the shards are that went back; the shards are to be told. */
void coord_members_went_back(struct psd_coordinator *c, struct coord_job *job,
                             uint64_t clock, uint64_t epochs);
void coord_members_tick(struct psd_coordinator *c, struct coord_job *job);

/* ---- matrices.c -------------------------------------------------------------------
 */

ps_status coord_matrix(struct psd_coordinator     *c,
                       const struct coord_request *r) PS_CHECKED;
ps_status coord_list(struct psd_coordinator     *c,
                     const struct coord_request *r) PS_CHECKED;
ps_status coord_matrix_compose(struct psd_coordinator *c, struct coord_job *job,
                               struct coord_operation *operation) PS_CHECKED;
void      coord_matrix_added(struct psd_coordinator *c, struct coord_job *job,
                             const struct coord_operation *operation);
void coord_matrix_undo(struct coord_job *job, const struct coord_operation *operation);

/* As if it had not been composed. */
void coord_matrix_park(struct coord_job *job, struct coord_operation *operation);

/* Places all that are ready, on the shards that the job has now. */
ps_status coord_matrices_place(struct coord_job *job) PS_CHECKED;
void      coord_matrix_free(struct coord_matrix **matrix);

/* ---- reports.c ---------------------------------------------------------------------
 */

ps_status         coord_report(struct psd_coordinator     *c,
                               const struct coord_request *r) PS_CHECKED;
ps_status         coord_watch(struct psd_coordinator     *c,
                              const struct coord_request *r) PS_CHECKED;
void              coord_traffic_add(struct ps_traffic *sum, const struct ps_traffic *t);
void              coord_reports_free(struct coord_reports *reports);
struct ps_traffic coord_job_traffic(const struct coord_job *job);

/* ---- status.c ----------------------------------------------------------------------
 */

ps_status coord_status(struct psd_coordinator     *c,
                       const struct coord_request *r) PS_CHECKED;
ps_status coord_stats_compose(struct psd_coordinator *c,
                              struct coord_operation *operation) PS_CHECKED;
ps_status coord_stats_take(struct coord_shard     *shard,
                           const struct ps_header *h) PS_CHECKED;
void      coord_stats_done(struct psd_coordinator       *c,
                           const struct coord_operation *operation);

#endif
