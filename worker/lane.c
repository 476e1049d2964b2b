/* lane.c - see lane.h. */
#include "worker/lane.h"

#include "common/base/plant.h"

#include <stdlib.h>

void psw_queue_add(struct psw_queue *q, struct psw_request *r)
{
    struct psw_request **end = q->end ? q->end : &q->first;

    r->next = NULL;
    *end = r;
    q->end = &r->next;
}

void psw_queue_move(struct psw_queue *to, struct psw_queue *from)
{
    if (!from->first)
        return;
    *(to->end ? to->end : &to->first) = from->first;
    to->end = from->end;
    *from = (struct psw_queue){ 0 };
}

void psw_queue_clear(struct psw_queue *q)
{
    struct psw_request *r = q->first;

    while (r) {
        struct psw_request *next = r->next;

        psw_request_free(r);
        r = next;
    }
    *q = (struct psw_queue){ 0 };
}

/* Takes *link out of the queue. */
static struct psw_request *unhang(struct psw_queue *q, struct psw_request **link)
{
    struct psw_request *r = *link;

    *link = r->next;
    if (q->end == &r->next)
        q->end = link == &q->first ? NULL : link;
    r->next = NULL;
    return r;
}

void psw_request_free(struct psw_request *r)
{
    if (!r)
        return;
    ps_parcel_drop(&r->parcel);
    free(r->row_of);
    free(r);
}

static size_t payload_bytes(const struct psw_request *r)
{
    size_t bytes = r->lent;

    for (uint32_t i = 0; i < r->parcel.n_frames; i++)
        bytes += r->parcel.frames[i]->len;
    return bytes;
}

static bool pulls(const struct psw_request *r)
{
    return r->kind == PS_MSG_PULL || r->flags & PS_FLAG_PULL;
}

/*
 * A server that talks is busy, not gone, so patience starts anew with each of its
 * messages; but a request that was lost on the way must not wait for ever behind
 * others that are answered.
 */
static uint64_t due_ns(const struct psw_lane *lane, const struct psw_request *r)
{
    uint64_t quiet_since = r->sent_ns > lane->heard_ns ? r->sent_ns : lane->heard_ns;
    uint64_t quiet = quiet_since + r->patience_ns;
    uint64_t latest = r->sent_ns + PSW_PATIENCE_MAX_NS;

    return quiet < latest ? quiet : latest;
}

static void check_by(struct psw_lane *lane, uint64_t then_ns)
{
    if (then_ns < lane->check_ns)
        lane->check_ns = then_ns;
}

static void put(struct psw_lane *lane, struct psw_request *r, uint64_t now_ns,
                struct ps_outbox *out)
{
    struct ps_parcel copy;

    r->sent_ns = now_ns;
    check_by(lane, due_ns(lane, r));
    ps_parcel_share(&copy, &r->parcel);
    copy.route = lane->route;
    if (ps_outbox_put(out, &copy))
        ps_log(PS_LOG_WARN, "request %ju: not sent, left to its resend",
               (uintmax_t)r->id);
}

static void count(const struct psw_request *r, struct ps_traffic *traffic)
{
    size_t bytes = payload_bytes(r);

    if (r->kind == PS_MSG_PUSH) {
        traffic->pushes++;
        traffic->bytes_pushed += bytes;
        traffic->bytes_pushed_raw += bytes;
    }
    if (pulls(r))
        traffic->pulls++;
}

static size_t bytes_of(const struct psw_request *r)
{
    size_t bytes = payload_bytes(r);

    for (uint32_t i = 0; pulls(r) && i < r->n_pieces; i++)
        bytes += r->pieces[i].bytes;
    return bytes;
}

static size_t room_of(const struct psw_request *r)
{
    return r->lent + ps_parcel_room(&r->parcel);
}

static bool is_small(size_t room)
{
    return room <= PS_GROUP_BYTES / 4;
}

static bool is_view(const struct psw_request *r)
{
    return r->kind == PS_MSG_PULL && r->flags & PS_FLAG_VIEW;
}

/*
 * What cannot be lent for a view is asked for once more, piece by piece.  If the worker
 * had finished its iteration in between, the next one might be closed between two
 * pieces, and they would be of two clocks.
 */
static bool is_early(const struct psw_lane *lane, const struct psw_request *r)
{
    return lane->n_views > 0 && r->flags & PS_FLAG_FINISH;
}

/* May it begin a message? */
static bool may_leave(const struct psw_lane *lane, const struct psw_request *r,
                      size_t room)
{
    if (is_early(lane, r))
        return false;
    if (lane->window)
        return lane->n_sent < lane->window;
    if (r->may_wait && lane->n_waiting >= PSW_WINDOW_WAITING)
        return false;
    if (lane->n_sent < PSW_WINDOW)
        return true;
    return lane->n_messages < (is_small(room) ? PSW_WINDOW : PSW_WINDOW_MESSAGES) &&
           lane->n_sent < PSW_WINDOW_SMALL &&
           lane->sent_bytes + bytes_of(r) <= PSW_SMALL_BYTES;
}

/* May it travel with those before it, which take `taken` and are as small? */
static bool may_join(const struct psw_lane *lane, const struct psw_request *r,
                     size_t taken, size_t room)
{
    return is_small(room) && taken + room <= PS_GROUP_BYTES && !r->lent &&
           !is_early(lane, r) && !lane->window &&
           (!r->may_wait || lane->n_waiting < PSW_WINDOW_WAITING) &&
           lane->n_sent < PSW_WINDOW_SMALL &&
           lane->sent_bytes + bytes_of(r) <= PSW_SMALL_BYTES;
}

static void is_under_way(struct psw_lane *lane, struct psw_request *r)
{
    r->patience_ns = PSW_PATIENCE_NS;
    r->bytes = bytes_of(r);
    lane->sent_bytes += r->bytes;
    if (lane->n_sent++ == 0)
        lane->check_ns = UINT64_MAX;
    lane->n_waiting += r->may_wait;
    lane->n_messages += r->leads;
    lane->n_views += is_view(r);
}

/* Takes *link, one of those under way, out of the lane. */
static struct psw_request *take(struct psw_lane *lane, struct psw_request **link)
{
    struct psw_request *r = unhang(&lane->sent, link);

    lane->sent_bytes -= r->bytes;
    lane->n_sent--;
    lane->n_waiting -= r->may_wait;
    lane->n_messages -= r->leads;
    lane->n_views -= is_view(r);
    return r;
}

static void leave(struct psw_lane *lane, bool leads, uint64_t now_ns,
                  struct ps_outbox *out, struct ps_traffic *traffic)
{
    struct psw_request *r = unhang(&lane->queue, &lane->queue.first);

    r->leads = leads;
    psw_queue_add(&lane->sent, r);
    is_under_way(lane, r);
    count(r, traffic);
    put(lane, r, now_ns, out);
}

/* One message: the first of the queue, and others as far as all of them are small. */
static void send_message(struct psw_lane *lane, size_t room, uint64_t now_ns,
                         struct ps_outbox *out, struct ps_traffic *traffic)
{
    bool   small = is_small(room);
    size_t taken = room;

    leave(lane, true, now_ns, out, traffic);
    for (uint32_t n = 1; small && n < PS_GROUP_MAX && lane->queue.first; n++) {
        room = room_of(lane->queue.first);
        if (!may_join(lane, lane->queue.first, taken, room))
            return;
        taken += room;
        leave(lane, false, now_ns, out, traffic);
    }
}

struct psw_request *psw_lane_send(struct psw_lane *lane, uint64_t now_ns,
                                  struct ps_outbox *out, struct ps_traffic *traffic)
{
    while (lane->queue.first) {
        size_t room = room_of(lane->queue.first);

        if (!may_leave(lane, lane->queue.first, room))
            return NULL;
        if (lane->queue.first->lent)
            return lane->queue.first;
        send_message(lane, room, now_ns, out, traffic);
    }
    return NULL;
}

void psw_lane_tick(struct psw_lane *lane, uint64_t now_ns, struct ps_outbox *out,
                   struct ps_traffic *traffic)
{
    if (now_ns < lane->check_ns)
        return;
    lane->check_ns = UINT64_MAX;
    for (struct psw_request *r = lane->sent.first; r; r = r->next) {
        if (now_ns >= due_ns(lane, r) && !PSD_PLANTED(PLANT_NO_RESEND)) {
            r->patience_ns *= 2;
            if (r->patience_ns > PSW_PATIENCE_MAX_NS)
                r->patience_ns = PSW_PATIENCE_MAX_NS;
            traffic->retries++;
            put(lane, r, now_ns, out);
        }
        check_by(lane, due_ns(lane, r));
    }
}

/* What is answered meanwhile makes it later, never earlier. */
uint64_t psw_lane_next_tick(const struct psw_lane *lane)
{
    const struct psw_request *r = lane->queue.first;

    if (r && r->lent && may_leave(lane, r, room_of(r)))
        return 0;
    return lane->n_sent > 0 ? lane->check_ns : UINT64_MAX;
}

struct psw_request *psw_lane_answered(struct psw_lane *lane, uint64_t id)
{
    for (struct psw_request **link = &lane->sent.first; *link; link = &(*link)->next)
        if ((*link)->id == id)
            return take(lane, link);
    return NULL;
}

void psw_lane_again(struct psw_lane *lane, struct psw_request *r, uint64_t now_ns,
                    struct ps_outbox *out)
{
    r->next = lane->sent.first;
    lane->sent.first = r;
    if (!lane->sent.end)
        lane->sent.end = &r->next;
    is_under_way(lane, r); /* in the place that its answer made */
    put(lane, r, now_ns, out);
}

void psw_lane_put_first(struct psw_lane *lane, struct psw_queue *queue)
{
    struct psw_queue others = lane->queue;

    lane->queue = *queue;
    *queue = (struct psw_queue){ 0 };
    psw_queue_move(&lane->queue, &others);
}

/* Is nobody interested in it any more, so that it goes?  A push stays. */
static bool is_forgotten(struct psw_request *r, const struct ps_ticket *ticket)
{
    if (!r->ticket || (ticket && r->ticket != ticket))
        return false;
    if (r->kind != PS_MSG_PUSH)
        return true;
    r->ticket = NULL;
    return false;
}

void psw_lane_forget(struct psw_lane *lane, const struct ps_ticket *ticket)
{
    struct psw_request **link = &lane->sent.first;

    while (*link)
        if (is_forgotten(*link, ticket))
            psw_request_free(take(lane, link));
        else
            link = &(*link)->next;
    link = &lane->queue.first;
    while (*link)
        if (is_forgotten(*link, ticket))
            psw_request_free(unhang(&lane->queue, link));
        else
            link = &(*link)->next;
}

struct psw_request *psw_lane_next(const struct psw_lane    *lane,
                                  const struct psw_request *r)
{
    if (!r)
        return lane->sent.first ? lane->sent.first : lane->queue.first;
    return lane->sent.end == &r->next ? lane->queue.first : r->next;
}

bool psw_lane_holds(const struct psw_lane *lane, uint32_t kind,
                    const struct ps_ticket *ticket)
{
    for (const struct psw_request *r = NULL; (r = psw_lane_next(lane, r));)
        if (r->kind == kind && (!ticket || r->ticket == ticket))
            return true;
    return false;
}

void psw_lane_empty(struct psw_lane *lane, struct psw_queue *out)
{
    psw_queue_move(out, &lane->sent);
    psw_queue_move(out, &lane->queue);
    lane->n_sent = lane->n_waiting = lane->n_messages = lane->n_views = 0;
    lane->sent_bytes = 0;
}

void psw_lane_clear(struct psw_lane *lane)
{
    struct psw_queue all = { 0 };

    psw_lane_empty(lane, &all);
    psw_queue_clear(&all);
}
