/*
 * lane.h - the requests of one worker to one server, in order.
 *
 * A lane is a queue with a window before it.  What is in the window has been sent and
 * waits for its answer, which come in any order; the others leave as answers make room.
 * Small requests that wait in the queue together leave together, which common/net makes
 * one message of, so many small ones cost few messages while nothing waits for company.
 * What was sent is kept until it is answered and is sent again, byte for byte, when the
 * server has been quiet for long; the server tells a repeated push by its number.
 *
 * The payload of a request may be lent: still where its maker has it.  When its turn
 * has come it must be copied before it leaves, and those behind it wait for that.
 *
 * It does not know what a request means.
 *
 * Thread: the client that owns it.
 */
#ifndef PSW_LANE_H
#define PSW_LANE_H

#include "common/wire/wire.h"

#include <ps/worker.h>

/*
 * Requests under way to one server: PSW_WINDOW of any size, more as long as all are
 * small together.  4 of 1 MiB keep both ends and the way between them busy; with more,
 * what arrives waits for its turn in memory that has to be got from the system and
 * leaves the cache.
 *
 * ZeroMQ's queue has room for 64 messages, and hears what has left by the half: 33 may
 * look like 64.  So there are PSW_WINDOW_MESSAGES at most.  What is small enough to
 * travel with others waits for them as soon as PSW_WINDOW messages are under way; then
 * there may be PSW_WINDOW_SMALL requests, half of what a shard tells repeated pushes
 * by.
 *
 * A shard keeps 64 that wait for something else than their turn; see may_wait.
 */
#define PSW_WINDOW 4u
#define PSW_WINDOW_MESSAGES 32u
#define PSW_WINDOW_SMALL 512u
#define PSW_WINDOW_WAITING 32u
#define PSW_SMALL_BYTES PS_CHUNK_BYTES /* all together, with what they bring back */

#define PSW_SECOND_NS UINT64_C(1000000000)
#define PSW_PATIENCE_NS (5 * PSW_SECOND_NS) /* of silence, before the first resend */
#define PSW_PATIENCE_MAX_NS (30 * PSW_SECOND_NS) /* it doubles up to this */

/* Consecutive elements that travel together, and where they live at the caller's. */
struct psw_piece {
    const struct ps_matrix *matrix;
    uint64_t                first, count; /* sparse: 0, and rows */
    size_t                  bytes;
    void                   *value;    /* pull: filled from the answer */
    const void             *gradient; /* push: copied when the request is filled */
};

struct psw_request {
    struct psw_request *next;
    struct ps_ticket   *ticket; /* NULL: nobody waits for it any more */
    uint64_t            id;
    uint32_t            kind; /* what was asked, enum ps_kind */
    uint32_t            flags;
    uint64_t            clock;
    struct ps_parcel    parcel;
    bool                may_wait; /* the server may answer it later than others */

    uint64_t sent_ns; /* under way, from here on */
    uint64_t patience_ns;
    size_t   bytes; /* in the lane's sum: values and keys, there and back */
    bool     leads; /* it is the first of its message */

    /* Bytes of its payload that are not in the parcel yet, but where the pieces say;
     * with no pieces: that could not be copied and are gone.  0: it is whole. */
    size_t lent;

    /* What the answer fills, or the push is filled from. */
    uint64_t *row_of; /* sparse: where row i goes, in rows of the caller's;
                         NULL: they stand as they come */
    uint32_t         n_pieces;
    struct psw_piece pieces[];
};

struct psw_queue {
    struct psw_request  *first;
    struct psw_request **end; /* where the next one is hung; NULL: at `first` */
};

struct psw_lane {
    struct ps_route route;
    char            endpoint[PS_ENDPOINT_BYTES];
    uint64_t        heard_ns; /* when anything came from there; 0: never */
    uint32_t        window;   /* requests under way at most; 0: as above */

    struct psw_queue sent;              /* under way; */
    struct psw_queue queue;             /* the others, behind them */
    uint32_t         n_sent, n_waiting; /* of `sent`: all, and those that may wait */
    uint32_t         n_messages;        /* whose first request is not answered */
    uint32_t         n_views;           /* of `sent`: see lane.c, is_early */
    size_t           sent_bytes;
    uint64_t         check_ns; /* none of `sent` is to be sent again before */
};

void psw_queue_add(struct psw_queue *q, struct psw_request *r);

/* Moves everything from `from` to the end of `to`. */
void psw_queue_move(struct psw_queue *to, struct psw_queue *from);
void psw_queue_clear(struct psw_queue *q);

void psw_request_free(struct psw_request *r);

/* The request behind `r`, of those under way and then the others; NULL: the first one,
 * and the end. */
struct psw_request *psw_lane_next(const struct psw_lane    *lane,
                                  const struct psw_request *r);

/* Sends what the window has room for; what left for the first time is counted.  Gives
 * the request whose turn it is but which is lent; NULL: there is none. */
struct psw_request *psw_lane_send(struct psw_lane *lane, uint64_t now_ns,
                                  struct ps_outbox *out, struct ps_traffic *traffic);

/* Sends again what has waited for too long. */
void psw_lane_tick(struct psw_lane *lane, uint64_t now_ns, struct ps_outbox *out,
                   struct ps_traffic *traffic);

/* When psw_lane_tick may have something to do, 0: when a lent request has its turn;
 * UINT64_MAX: never. */
uint64_t psw_lane_next_tick(const struct psw_lane *lane);

/* Takes the request that `id` answers out of the lane; NULL: none is under way, which
 * is ordinary for an answer that comes twice or late. */
struct psw_request *psw_lane_answered(struct psw_lane *lane, uint64_t id);

/* Sends a request that was answered, and changed, before all others. */
void psw_lane_again(struct psw_lane *lane, struct psw_request *r, uint64_t now_ns,
                    struct ps_outbox *out);

/* Hangs what is in the queue before all that has not been sent yet. */
void psw_lane_put_first(struct psw_lane *lane, struct psw_queue *queue);

/*
 * Nobody waits for `ticket` (NULL: for any) any more.  Pushes stay, because later ones
 * build on their numbers, but fill nothing; everything else is dropped.
 */
void psw_lane_forget(struct psw_lane *lane, const struct ps_ticket *ticket);

/* Is a request of this kind unanswered?  `ticket` NULL: of any ticket or none. */
bool psw_lane_holds(const struct psw_lane *lane, uint32_t kind,
                    const struct ps_ticket *ticket);

/* Moves all of them, in order, to the end of `out`. */
void psw_lane_empty(struct psw_lane *lane, struct psw_queue *out);
void psw_lane_clear(struct psw_lane *lane);

#endif
