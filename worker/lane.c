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

static void put(const struct psw_lane *lane, struct psw_request *r, uint64_t now_ns,
                struct ps_outbox *out)
{
    struct ps_parcel copy;

    r->sent_ns = now_ns;
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

static bool has_room(const struct psw_lane *lane, const struct psw_request *r)
{
    if (lane->window)
        return lane->n_sent < lane->window;
    return lane->n_sent < PSW_WINDOW ||
           (lane->n_sent < PSW_WINDOW_SMALL &&
            lane->sent_bytes + bytes_of(r) <= PSW_SMALL_BYTES);
}

/* It is the first behind those that are under way, or before all of them. */
static void is_under_way(struct psw_lane *lane, struct psw_request *r)
{
    r->patience_ns = PSW_PATIENCE_NS;
    r->bytes = bytes_of(r);
    lane->sent_bytes += r->bytes;
    lane->n_sent++;
}

/* Takes *link, one of those under way, out of the lane. */
static struct psw_request *take(struct psw_lane *lane, struct psw_request **link)
{
    lane->sent_bytes -= (*link)->bytes;
    lane->n_sent--;
    return unhang(&lane->queue, link);
}

struct psw_request *psw_lane_send(struct psw_lane *lane, uint64_t now_ns,
                                  struct ps_outbox *out, struct ps_traffic *traffic)
{
    struct psw_request *r = lane->queue.first;

    if (lane->n_sent == PSW_WINDOW_SMALL)
        return NULL;
    for (uint32_t i = 0; i < lane->n_sent; i++)
        r = r->next;
    for (; r && has_room(lane, r); r = r->next) {
        if (r->lent)
            return r;
        is_under_way(lane, r);
        count(r, traffic);
        put(lane, r, now_ns, out);
    }
    return NULL;
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

void psw_lane_tick(struct psw_lane *lane, uint64_t now_ns, struct ps_outbox *out,
                   struct ps_traffic *traffic)
{
    struct psw_request *r = lane->queue.first;

    for (uint32_t i = 0; i < lane->n_sent; i++, r = r->next) {
        if (now_ns < due_ns(lane, r) || PSD_PLANTED(PLANT_NO_RESEND))
            continue;
        r->patience_ns *= 2;
        if (r->patience_ns > PSW_PATIENCE_MAX_NS)
            r->patience_ns = PSW_PATIENCE_MAX_NS;
        traffic->retries++;
        put(lane, r, now_ns, out);
    }
}

uint64_t psw_lane_next_tick(const struct psw_lane *lane)
{
    const struct psw_request *r = lane->queue.first;
    uint64_t                  next = UINT64_MAX;

    for (uint32_t i = 0; i < lane->n_sent; i++, r = r->next)
        if (due_ns(lane, r) < next)
            next = due_ns(lane, r);
    return r && r->lent && has_room(lane, r) ? 0 : next;
}

struct psw_request *psw_lane_answered(struct psw_lane *lane, uint64_t id)
{
    struct psw_request **link = &lane->queue.first;

    for (uint32_t i = 0; i < lane->n_sent; i++, link = &(*link)->next) {
        if ((*link)->id == id)
            return take(lane, link);
    }
    return NULL;
}

void psw_lane_again(struct psw_lane *lane, struct psw_request *r, uint64_t now_ns,
                    struct ps_outbox *out)
{
    r->next = lane->queue.first;
    lane->queue.first = r;
    if (!lane->queue.end)
        lane->queue.end = &r->next;
    is_under_way(lane, r); /* in the place that its answer made */
    put(lane, r, now_ns, out);
}

void psw_lane_put_first(struct psw_lane *lane, struct psw_queue *queue)
{
    struct psw_request **link = &lane->queue.first;

    if (!queue->first)
        return;
    for (uint32_t i = 0; i < lane->n_sent; i++)
        link = &(*link)->next;
    *queue->end = *link;
    if (!*link)
        lane->queue.end = queue->end;
    *link = queue->first;
    *queue = (struct psw_queue){ 0 };
}

void psw_lane_forget(struct psw_lane *lane, const struct ps_ticket *ticket)
{
    struct psw_request **link = &lane->queue.first;
    uint32_t             n_sent = lane->n_sent;

    for (uint32_t i = 0; *link; i++) {
        struct psw_request *r = *link;

        if (!r->ticket || (ticket && r->ticket != ticket)) {
            link = &r->next;
        } else if (r->kind == PS_MSG_PUSH) {
            r->ticket = NULL;
            link = &r->next;
        } else {
            psw_request_free(i < n_sent ? take(lane, link)
                                        : unhang(&lane->queue, link));
        }
    }
}

bool psw_lane_holds(const struct psw_lane *lane, uint32_t kind,
                    const struct ps_ticket *ticket)
{
    for (const struct psw_request *r = lane->queue.first; r; r = r->next)
        if (r->kind == kind && (!ticket || r->ticket == ticket))
            return true;
    return false;
}

void psw_lane_clear(struct psw_lane *lane)
{
    psw_queue_clear(&lane->queue);
    lane->n_sent = 0;
    lane->sent_bytes = 0;
}
