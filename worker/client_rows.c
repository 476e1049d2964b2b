/* client_rows.c - listing the rows of a sparse matrix; see client.h. */
#include "worker/client_private.h"

#include <assert.h>
#include <string.h>

ps_status psw_client_rows(struct psw_client *c, uint64_t now_ns, const ps_matrix *m,
                          uint32_t shard, uint64_t from, uint64_t room, uint64_t *keys,
                          void *values, struct ps_outbox *out,
                          struct ps_ticket **ticket)
{
    struct ps_range     range = { .matrix = m->spec.number, .count = room };
    struct ps_header    h = { .kind = PS_MSG_ROWS,
                              .clock = c->options.observer ? UINT64_MAX : c->clock,
                              .wait_ms = c->options.wait_ms,
                              .after = from,
                              .n_ranges = 1,
                              .ranges = &range };
    struct ps_ticket   *t;
    struct psw_request *r;
    ps_status           st = psw_client_may_move(c);

    assert(m->spec.sparse && shard < c->n_shards && room > 0);
    if (!st)
        st = psw_ticket_new(c, PSW_FOR_ROWS, &t);
    if (st)
        return st;
    t->rows = (struct psw_listing){
        .matrix = m, .room = room, .keys = keys, .values = values
    };
    *ticket = t;
    if (psw_is_resuming(c))
        return PS_OK;
    st = psw_request_new(c, t, &h, 0, &r);
    if (st) {
        psw_ticket_free(t);
        return st;
    }
    t->n_open = 1;
    psw_queue_add(&c->shards[shard].lane.queue, r);
    psw_client_send(c, now_ns, out);
    return PS_OK;
}

/* Keys and values in a frame each, as many of both, and not more than there is room
 * for; nothing only at the end. */
static bool fits(const struct psw_listing *l, const struct ps_header *h,
                 const struct ps_parcel *in, uint64_t *n)
{
    size_t row_bytes = l->matrix->spec.cols * l->matrix->element_bytes;

    *n = 0;
    if (in->n_frames == 0)
        return h->after == 0;
    if (in->n_frames != 2 || in->frames[0]->len % sizeof(uint64_t))
        return false;
    *n = in->frames[0]->len / sizeof(uint64_t);
    return *n > 0 && *n <= l->room && in->frames[1]->len == *n * row_bytes;
}

void psw_rows_answer(struct psw_client *c, struct psw_request *r,
                     const struct ps_header *h, const struct ps_parcel *in)
{
    struct psw_listing *l = &r->ticket->rows;
    size_t              bytes = 0;

    if (!fits(l, h, in, &l->n)) {
        psw_ticket_fail(
            r->ticket, PS_ERR_BAD_MESSAGE,
            "rows of %s: an answer of %u frames, expected up to %ju keys and "
            "their values",
            l->matrix->spec.name, in->n_frames, (uintmax_t)l->room);
        return;
    }
    l->next = h->after;
    if (l->n > 0) {
        memcpy(l->keys, in->frames[0]->data, in->frames[0]->len);
        memcpy(l->values, in->frames[1]->data, in->frames[1]->len);
        bytes = in->frames[0]->len + in->frames[1]->len;
    }
    c->traffic.bytes_pulled += bytes;
    c->traffic.bytes_pulled_raw += bytes;
    psw_ticket_request_done(r->ticket);
}

uint64_t psw_ticket_rows(const struct ps_ticket *t, uint64_t *next)
{
    *next = t->rows.next;
    return t->rows.n;
}
