/*
 * client.h - a worker's side of the protocol, as a state machine.
 *
 * The client takes messages and the time and answers with messages.  It opens no
 * socket, reads no clock, draws no random number and starts no thread, so that a test
 * or a simulator can run many clients in one thread; worker.c drives it over ZeroMQ.
 *
 * Each operation is started and gives a ticket; whoever waits looks at the ticket after
 * each message.  A ticket fails as soon as one of its requests does.  After that, and
 * after it was given up, the caller's buffers are never written again.  Gradients are
 * copied when the operation starts, or, if they are lent (PSW_LENT), when it is their
 * turn to be sent; a push is kept and repeated until it is acknowledged, also when
 * nobody waits for it any more.
 *
 * How a move is split.  The pieces of all spans go, in order, to the shards that own
 * them (common/place); consecutive pieces of one shard share a request of up to
 * PS_CHUNK_BYTES and PS_RANGES_MAX ranges.  With PSW_FINISH the last push to a shard
 * ends the iteration there, and a shard that gets nothing is told so by an empty push.
 * With PSW_PUSH, PSW_FINISH and PSW_PULL together, that last push also asks for the
 * values of its ranges: a model that fits one request per shard takes one round trip.
 * The values of earlier requests are asked for by pulls behind it.  They do not ride on
 * the earlier pushes: those would be answered only when the iteration is closed, fill
 * the window, and keep back the push that closes it.
 *
 * A push that comes too late (under backup, or after joining again) counts as done: the
 * clock goes to where the shard is, and what was to be pulled with it is pulled from
 * there.
 *
 * A push that is refused (not finite, say) leaves no gap: an empty one with its number
 * takes its place, so that the iteration can end.  So does one for whose lent gradients
 * there is no memory when they are to be copied.
 *
 * Each push says of which version of the model on its shard the gradient came: that of
 * the last pull which the caller has taken, by dropping its ticket, when the push
 * starts.  A pull that is under way, or has arrived and was not taken, does not count
 * yet.  Of several pulls since the last iteration ended the oldest counts: a gradient
 * is as old as the oldest value in it, and would look fresh if its worker read a
 * counter just before the push.
 *
 * A job that is saved may go back to an earlier clock, and the client with it: see
 * psw_client_roll_back.
 *
 * Thread: one at a time.
 */
#ifndef PSW_CLIENT_H
#define PSW_CLIENT_H

#include "common/base/heap.h"
#include "common/base/spec.h"
#include "common/wire/wire.h"

#include <ps/worker.h>

#include <sys/types.h>

/* A server whose beats are answered each second is there, whatever else is late. */
#define PSW_QUIET_NS UINT64_C(3000000000)

struct psw_client;

struct psw_client_options {
    struct ps_job_spec job;
    const char        *coordinator; /* endpoint, for sentences */
    const char        *token;       /* "" = none */
    uint32_t           rank;
    bool               observer;
    uint64_t           pid;
    const char        *host;
    uint32_t wait_ms;       /* longest that a shard may keep a pull waiting; 0: any */
    uint32_t window;        /* requests under way to a shard at most; 0: see lane.h */
    uint64_t first_request; /* at random: tells two workers of a process apart */
    void    *owner;         /* what psw_ticket_owner and psw_matrix_owner return */
};

ps_status psw_client_new(struct psw_client              **out,
                         const struct psw_client_options *options) PS_CHECKED;

/* With every ticket and matrix of it. */
void psw_client_free(struct psw_client **client);

/* What is pushed from now on is put into blocks of this heap, which is lent; NULL: into
 * ordinary memory. */
void psw_client_use(struct psw_client *client, struct ps_heap *heap);

/* One message; `in->route` says whether from the coordinator or from which shard.
 * Takes the parcel's buffers.  Cannot fail: what is wrong fails a ticket or is dropped.
 */
void psw_client_handle(struct psw_client *client, uint64_t now_ns, struct ps_parcel *in,
                       struct ps_outbox *out);

/* Time has passed: sends again what was not answered, sends reports. */
void psw_client_tick(struct psw_client *client, uint64_t now_ns, struct ps_outbox *out);

/* When it wants the next tick; UINT64_MAX: not at all. */
uint64_t psw_client_next_tick(const struct psw_client *client);

/* ---- tickets ------------------------------------------------------------------- */

bool  psw_ticket_done(const struct ps_ticket *ticket);
void *psw_ticket_owner(const struct ps_ticket *ticket);

/*
 * The deadline has passed: a ticket that is not done fails with PS_ERR_TIMEOUT, or with
 * PS_ERR_UNAVAILABLE when nothing has come from any server for PSW_QUIET_NS.  `beat_ns`
 * is when the heartbeat was last answered; `waited_ms` is for the sentence.
 */
void psw_ticket_give_up(struct ps_ticket *ticket, uint64_t now_ns, uint64_t beat_ns,
                        uint32_t waited_ms);

/* Its failure will be told, so the end of its iteration need not fail for it. */
void psw_ticket_will_be_told(struct ps_ticket *ticket);

/* A ticket that is not done fails with PS_ERR_ABORTED, and this reason. */
void psw_ticket_abort(struct ps_ticket *ticket, const char *why);

/* How a done ticket went; for a failure the sentence is said now. */
ps_status psw_ticket_result(const struct ps_ticket *ticket) PS_CHECKED;

/* Frees it; it need not be done. */
void psw_ticket_drop(struct ps_ticket **ticket);

/* What a done ticket brought; valid until it is dropped. */
ps_matrix                   *psw_ticket_matrix(const struct ps_ticket *ticket);
const struct ps_matrix_spec *psw_ticket_list(const struct ps_ticket *ticket,
                                             uint32_t               *n);

/* Of psw_client_rows: how many rows came, and the next cursor, 0 at the end. */
uint64_t psw_ticket_rows(const struct ps_ticket *ticket, uint64_t *next);

/* ---- operations ---------------------------------------------------------------- */

/* Each needs a client that is not broken: after a NOTICE all of them fail with it. */

/* First of all; the others follow when it is done. */
ps_status psw_client_hello(struct psw_client *client, uint64_t now_ns,
                           struct ps_outbox *out, struct ps_ticket **ticket) PS_CHECKED;

/* Opens a matrix, or creates it. */
ps_status psw_client_matrix(struct psw_client *client, uint64_t now_ns,
                            const struct ps_matrix_spec *spec, bool create,
                            struct ps_outbox  *out,
                            struct ps_ticket **ticket) PS_CHECKED;

/* The job's matrices whose names come after `after` in byte order: the next few. */
ps_status psw_client_list(struct psw_client *client, uint64_t now_ns, const char *after,
                          struct ps_outbox *out, struct ps_ticket **ticket) PS_CHECKED;

enum psw_move {
    PSW_PUSH = 1,
    PSW_PULL = 2,
    PSW_FINISH = 4, /* the iteration ends: the clock goes up at once */

    /*
     * The gradients of dense spans stay as they are and where they are until the ticket
     * is done or dropped, or psw_client_copy has said that nothing is left.  A request
     * is filled when it leaves, one for each shard at a time, so that whoever carries
     * messages can do so in between: the next tick is due as long as there are more.
     */
    PSW_LENT = 1024,
};

/* Elements of a dense matrix, or rows of a sparse one. */
struct psw_span {
    ps_matrix      *matrix;
    uint64_t        first, count;
    const uint64_t *keys; /* sparse: [count], else NULL */
    void           *value;
    const void     *gradient;
};

/*
 * What is asked for between the two leaves together, and so in fewer messages.  They
 * may be nested.  Between them nothing else is done with the client.
 */
void psw_client_hold(struct psw_client *client);
void psw_client_release(struct psw_client *client, uint64_t now_ns,
                        struct ps_outbox *out);

/*
 * Pushes, finishes, pulls, in this order; spans may be none.  Either dense spans or one
 * sparse one.  The ticket of a move that finishes also fails when an earlier push did
 * whose ticket nobody has dropped.
 */
ps_status psw_client_move(struct psw_client *client, uint64_t now_ns, uint32_t moves,
                          const struct psw_span *spans, uint32_t n_spans,
                          struct ps_outbox *out, struct ps_ticket **ticket) PS_CHECKED;

/* Copies the gradients of the next request to each shard that are lent still.  False:
 * there were none. */
bool psw_client_copy(struct psw_client *client);

/*
 * A pull of all of a dense matrix that copies nothing where that can be: *place, which
 * is NULL until then, is given the view when the ticket is done, and belongs to the
 * caller; after a failure it stays NULL.  `place` is kept as long as the ticket.
 * `holder` is the process that may release it.
 */
ps_status psw_client_view(struct psw_client *client, uint64_t now_ns, ps_matrix *matrix,
                          pid_t holder, ps_view **place, struct ps_outbox *out,
                          struct ps_ticket **ticket) PS_CHECKED;

/* The shard shares its memory with this process: it can lend all that it has of a
 * matrix, if that is so many bytes or more; 0, as long as nobody says otherwise: not.
 */
void psw_client_shares(struct psw_client *client, uint32_t shard, size_t bytes);

/*
 * Asks shard `shard` for up to `room` of the rows of a sparse matrix that it has, from
 * cursor `from` on (0: from the first one), as a pull would: keys [room], and values
 * [room][cols] of the matrix's element type, are filled from the answer.
 */
ps_status psw_client_rows(struct psw_client *client, uint64_t now_ns,
                          const ps_matrix *matrix, uint32_t shard, uint64_t from,
                          uint64_t room, uint64_t *keys, void *values,
                          struct ps_outbox *out, struct ps_ticket **ticket) PS_CHECKED;

/*
 * The epoch ends for this worker.  Done when every active worker has said so; the clock
 * is then what the shards have agreed on.  After a failure it may be started again:
 * only the shards that have not answered are asked.
 */
ps_status psw_client_rest(struct psw_client *client, uint64_t now_ns,
                          struct ps_outbox *out, struct ps_ticket **ticket) PS_CHECKED;

/* Delivered in order, in the background. */
ps_status psw_client_report(struct psw_client *client, uint64_t now_ns,
                            const char *metric, double value) PS_CHECKED;

/* Done when every push is acknowledged and every report delivered.  Pulls that are
 * still under way are given up. */
ps_status psw_client_drain(struct psw_client *client, uint64_t now_ns,
                           struct ps_outbox *out, struct ps_ticket **ticket) PS_CHECKED;

/* `reason` "": a normal end. */
ps_status psw_client_bye(struct psw_client *client, uint64_t now_ns, const char *reason,
                         struct ps_outbox *out, struct ps_ticket **ticket) PS_CHECKED;

/* The server said, on whatever path, that it is over: every ticket fails, now and
 * later. */
void psw_client_notice(struct psw_client *client, ps_status status, const char *why);

/*
 * The job went back: a shard has said so, or a NOTICE, or whoever calls this.  All
 * requests are dropped, and nothing of them is sent again; requests to the coordinator
 * wait.  The client says HELLO again, takes the new epoch and shards, opens the
 * matrices if their maps have changed, and asks each shard with RESUME where it is: its
 * clock is the lowest answer, and pushes are numbered on from the answers.  What has
 * begun till then stays open, and fails with PS_ERR_ROLLBACK at the end of that.
 *
 * A caller that does not know of it must not begin anything as if nothing had happened:
 * until one result or call has been PS_ERR_ROLLBACK, each operation that begins is.
 *
 * Shards of an asp job may be at different clocks.  One that has an iteration already
 * gets no pushes for it: their numbers are those of the pushes after it.
 */
void psw_client_roll_back(struct psw_client *client, uint64_t now_ns,
                          struct ps_outbox *out);

/* How many rollbacks it has gone through.  Whoever asks and acts on it has been told.
 */
uint64_t psw_client_rollbacks(const struct psw_client *client);
void     psw_client_told(struct psw_client *client);

/* May an operation on parameters begin?  PS_ERR_ROLLBACK, once, when the job went back
 * and no call has said so. */
ps_status psw_client_may_move(struct psw_client *client) PS_CHECKED;

/* Counts the times that it was welcomed: when it changes, so may the shards have. */
uint32_t psw_client_life(const struct psw_client *client);

/* Of the job's life, as the server calls it; and which one that is, counted up. */
uint64_t psw_client_epoch(const struct psw_client *client);
uint64_t psw_client_job_life(const struct psw_client *client);

void psw_client_weight(struct psw_client *client, double samples);

/* Batches behind the gradients of the iteration in progress; 1 again after each. */
void psw_client_batches(struct psw_client *client, uint32_t batches);
void psw_client_count_samples(struct psw_client *client, uint64_t samples);

/* ---- what it knows ------------------------------------------------------------- */

const struct ps_job_spec *psw_client_job(const struct psw_client *client);
uint32_t                  psw_client_n_shards(const struct psw_client *client);
const char *psw_client_endpoint(const struct psw_client *client, uint32_t shard);
uint64_t    psw_client_clock(const struct psw_client *client);
uint64_t    psw_client_epochs(const struct psw_client *client); /* of psw_client_rest */
bool        psw_client_is_observer(const struct psw_client *client);

/* When something last came from any server; 0: never. */
uint64_t                 psw_client_heard_ns(const struct psw_client *client);
const struct ps_traffic *psw_client_traffic(const struct psw_client *client);

/* Who it is: the fields that each message of this worker carries. */
void psw_client_sign(const struct psw_client *client, struct ps_header *h);

const struct ps_matrix_spec *psw_matrix_spec(const ps_matrix *matrix);
void                        *psw_matrix_owner(const ps_matrix *matrix);

#endif
