/*
 * client_lend.c - gradients that are copied when it is their turn; see client.h.
 *
 * A large push is many requests.  If all of them were filled at once, as much memory as
 * the gradient has would be written, and have left the cache when the last one leaves;
 * and the server would have nothing to do meanwhile.
 */
#include "worker/client_private.h"

#include "server/compute/backend.h"

#include <string.h>

ps_status psw_lend_copy(struct psw_client *c, const struct psw_piece *pieces,
                        uint32_t n, size_t bytes, struct ps_buf **out, bool *finite)
{
    ps_status st = ps_tray_buf(&c->tray, c->heap, out, bytes);

    *finite = true;
    for (uint32_t i = 0; !st && i < n; i++) {
        const struct psw_piece *p = &pieces[i];
        uint8_t                *to = (*out)->data + (*out)->len;

        if (!psd_backend_cpu.copy(p->matrix->spec.dtype, p->count, to, p->gradient))
            *finite = false;
        memset(to + p->bytes, 0, psw_padded(p->bytes) - p->bytes);
        (*out)->len += psw_padded(p->bytes);
    }
    return st;
}

/* What there is no memory for is lost, and its ticket fails; when it is its turn an
 * empty push goes in its place.  Is it there, and finite? */
static bool fill(struct psw_client *c, struct psw_request *r)
{
    char about[2 * PS_NAME_BYTES];
    bool finite;

    if (!psw_lend_copy(c, r->pieces, r->n_pieces, r->lent, &r->parcel.frames[0],
                       &finite)) {
        r->parcel.n_frames = 1;
        r->lent = 0;
        return finite;
    }
    r->n_pieces = 0;
    if (!r->ticket)
        return false;
    psw_ticket_about(r->ticket, about, sizeof(about));
    psw_ticket_fail(r->ticket, PS_ERR_NO_MEMORY, "%s: no memory for %zu bytes", about,
                    r->lent);
    return false;
}

/* Without memory for that the shard looks itself. */
static void say_finite(struct psw_client *c, struct psw_request *r)
{
    struct ps_header h;
    struct ps_buf   *head;

    if (ps_wire_decode(c->decoder, r->parcel.head->data, r->parcel.head->len, &h))
        return;
    h.flags |= PS_FLAG_FINITE;
    if (ps_wire_encode(&h, &head))
        return;
    ps_buf_drop(&r->parcel.head);
    r->parcel.head = head;
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
    if (is_lent(r) && fill(c, r))
        say_finite(c, r);
    if (r->lent && !psw_request_empty(c, r))
        return; /* there is no memory for that either, but there may be later */
    r->lent = 0;
    psw_lane_send(&sh->lane, now_ns, out, &c->traffic);
}

/* What is read here may be behind a message that is being read: the decoder is taken.
 */
void psw_lend_end(struct psw_client *c, const struct ps_ticket *t)
{
    for (uint32_t i = 0; i < c->n_shards; i++)
        for (struct psw_request *r = c->shards[i].lane.queue.first; r; r = r->next)
            if (r->ticket == t && is_lent(r))
                (void)fill(c, r);
}

bool psw_client_copy(struct psw_client *c)
{
    bool found = false;

    for (uint32_t i = 0; i < c->n_shards; i++) {
        struct psw_request *r = c->shards[i].lane.queue.first;

        while (r && !is_lent(r))
            r = r->next;
        if (r && fill(c, r))
            say_finite(c, r);
        found = found || r;
    }
    return found;
}
