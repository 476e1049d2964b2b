/*
 * client_lend.c - gradients that are copied when it is their turn; see client.h.
 *
 * A large push is many requests.  If all of them were filled at once, as much memory as
 * the gradient has would be written, and have left the cache when the last one leaves;
 * and the server would have nothing to do meanwhile.
 */
#include "worker/client_private.h"

#include <string.h>

ps_status psw_lend_copy(struct psw_client *c, const struct psw_piece *pieces,
                        uint32_t n, size_t bytes, struct ps_buf **out)
{
    ps_status st = ps_heap_buf(c->heap, out, bytes);

    for (uint32_t i = 0; !st && i < n; i++) {
        const size_t part = pieces[i].bytes;
        uint8_t     *to = (*out)->data + (*out)->len;

        memcpy(to, pieces[i].gradient, part);
        memset(to + part, 0, psw_padded(part) - part);
        (*out)->len += psw_padded(part);
    }
    return st;
}

/* What there is no memory for is lost, and its ticket fails; when it is its turn an
 * empty push goes in its place. */
static void fill(struct psw_client *c, struct psw_request *r)
{
    char about[2 * PS_NAME_BYTES];

    if (!psw_lend_copy(c, r->pieces, r->n_pieces, r->lent, &r->parcel.frames[0])) {
        r->parcel.n_frames = 1;
        r->lent = 0;
        return;
    }
    r->n_pieces = 0;
    if (!r->ticket)
        return;
    psw_ticket_about(r->ticket, about, sizeof(about));
    psw_ticket_fail(r->ticket, PS_ERR_NO_MEMORY, "%s: no memory for %zu bytes", about,
                    r->lent);
}

static bool is_lent(const struct psw_request *r)
{
    return r->lent && r->n_pieces > 0;
}

void psw_lend_send(struct psw_client *c, struct psw_shard *sh, uint64_t now_ns,
                   struct ps_outbox *out)
{
    struct psw_request *r = psw_lane_send(&sh->lane, now_ns, out, &c->traffic);

    if (!r)
        return;
    if (is_lent(r))
        fill(c, r);
    if (r->lent && !psw_request_empty(c, r))
        return; /* there is no memory for that either, but there may be later */
    r->lent = 0;
    psw_lane_send(&sh->lane, now_ns, out, &c->traffic);
}

void psw_lend_end(struct psw_client *c, const struct ps_ticket *t)
{
    for (uint32_t i = 0; i < c->n_shards; i++)
        for (struct psw_request *r = c->shards[i].lane.queue.first; r; r = r->next)
            if (r->ticket == t && is_lent(r))
                fill(c, r);
}

bool psw_client_copy(struct psw_client *c)
{
    bool found = false;

    for (uint32_t i = 0; i < c->n_shards; i++) {
        struct psw_request *r = c->shards[i].lane.queue.first;

        while (r && !is_lent(r))
            r = r->next;
        if (r) {
            fill(c, r);
            found = true;
        }
    }
    return found;
}
