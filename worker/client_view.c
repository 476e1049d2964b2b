/*
 * client_view.c - pulls whose values stay where they come in; see client.h.
 *
 * A shard that shares its memory is asked for all that it has of the matrix with one
 * request, and answers with a sheet.  If it cannot lend that, its answer is empty: then
 * the values are pulled as always, into a buffer that is the view's.  It must not be
 * what comes piece by piece, which may be lent as well, without the limit that sheets
 * have.  Other shards send the values in frames, and the view keeps those.
 */
#include "worker/client_private.h"

#include <stdlib.h>

/* Elements that one shard has in a row. */
struct run {
    uint32_t shard;
    uint64_t first, count;
};

static bool next_run(const struct ps_place *place, uint32_t *slot, struct run *run)
{
    uint64_t n;

    if (*slot == place->n_slots)
        return false;
    run->shard = place->shard_of[*slot];
    run->first = ps_place_slot(place, *slot, &run->count);
    while (++*slot < place->n_slots && place->shard_of[*slot] == run->shard) {
        ps_place_slot(place, *slot, &n);
        run->count += n;
    }
    return true;
}

/* ---- requests ------------------------------------------------------------------- */

/* One of the ticket's; `value` NULL: the answer is kept. */
static ps_status ask(struct psw_client *c, struct ps_ticket *t, struct ps_header *h,
                     const struct psw_piece *piece, struct psw_queue *queue)
{
    struct ps_range     range = { .matrix = piece->matrix->spec.number,
                                  .first = piece->first,
                                  .count = piece->count };
    struct psw_request *r;
    ps_status           st;

    h->n_ranges = 1;
    h->ranges = &range;
    st = psw_request_new(c, t, h, 1, &r);
    if (st)
        return st;
    r->pieces[0] = *piece;
    psw_queue_add(queue, r);
    t->n_open++;
    return PS_OK;
}

/* Chunk by chunk; `value` NULL: the frames are kept. */
static ps_status ask_in_pieces(struct psw_client *c, struct ps_ticket *t,
                               struct ps_header *h, const struct psw_piece *whole,
                               struct psw_queue *queue)
{
    const struct ps_matrix *m = whole->matrix;
    uint64_t                at = whole->first;
    struct ps_piece         piece;
    ps_status               st = PS_OK;

    while (!st && ps_place_next(&m->place, &at, whole->first + whole->count, &piece)) {
        struct psw_piece p = { .matrix = m,
                               .first = piece.first,
                               .count = piece.count,
                               .bytes = piece.count * m->element_bytes };

        if (whole->value)
            p.value = (uint8_t *)whole->value +
                      (piece.first - whole->first) * m->element_bytes;
        st = ask(c, t, h, &p, queue);
    }
    return st;
}

static ps_status ask_shard(struct psw_client *c, struct ps_ticket *t,
                           const struct ps_matrix *m, const struct run *run)
{
    struct psw_shard *sh = &c->shards[run->shard];
    struct ps_header  h = psw_pull_header(c, sh);
    struct psw_piece  whole = { .matrix = m, .first = run->first, .count = run->count };

    if (sh->shares == 0 || run->count * m->element_bytes < sh->shares)
        return ask_in_pieces(c, t, &h, &whole, &sh->staged_pulls);
    h.flags = PS_FLAG_VIEW;
    return ask(c, t, &h, &whole, &sh->staged_pulls);
}

static ps_status ask_all(struct psw_client *c, struct ps_ticket *t,
                         const struct ps_matrix *m)
{
    uint32_t   slot = 0;
    struct run run;
    ps_status  st = PS_OK;

    while (!st && next_run(&m->place, &slot, &run))
        st = ask_shard(c, t, m, &run);
    for (uint32_t i = 0; i < c->n_shards; i++) {
        if (st)
            psw_queue_clear(&c->shards[i].staged_pulls);
        else
            psw_queue_move(&c->shards[i].lane.queue, &c->shards[i].staged_pulls);
    }
    return st;
}

ps_status psw_client_view(struct psw_client *c, uint64_t now_ns, ps_matrix *m,
                          pid_t holder, ps_view **place, struct ps_outbox *out,
                          struct ps_ticket **ticket)
{
    struct ps_ticket *t;
    ps_status         st = psw_client_may_move(c);

    if (!st && m->spec.sparse)
        st = ps_fail(PS_ERR_SHAPE, "view of %s: it is sparse, expected a dense matrix",
                     m->spec.name);
    if (!st)
        st = psw_ticket_new(c, PSW_PULL, &t);
    if (st)
        return st;
    t->n_matrices = 1;
    t->first = m->spec.name;
    t->place = place;
    st = psw_view_new(&t->view, holder);
    if (!st && !psw_is_resuming(c))
        st = ask_all(c, t, m);
    if (st) {
        psw_ticket_free(t);
        return st;
    }
    *place = NULL;
    *ticket = t;
    psw_client_send(c, now_ns, out);
    return PS_OK;
}

void psw_client_shares(struct psw_client *c, uint32_t shard, size_t bytes)
{
    if (shard < c->n_shards)
        c->shards[shard].shares = bytes;
}

/* ---- answers -------------------------------------------------------------------- */

/* The shard could not lend it: the same again, as bytes, before what has not been sent
 * yet.  The clock is that of the first time; later pushes say what they are. */
static ps_status ask_again(struct psw_client *c, struct psw_shard *sh,
                           const struct psw_request *r)
{
    struct ps_header h = psw_pull_header(c, sh);
    struct psw_piece whole = r->pieces[0];
    struct psw_queue queue = { 0 };
    struct ps_buf   *b;
    const size_t     element_bytes = whole.matrix->element_bytes;
    ps_status        st = ps_buf_new(&b, whole.count * element_bytes);

    if (st)
        return st;
    b->len = whole.count * element_bytes;
    whole.value = b->data;
    h.clock = r->clock;
    h.seq = 0;
    st = psw_view_add(r->ticket->view, whole.first, whole.count, element_bytes, &b, 1);
    ps_buf_drop(&b); /* it is the view's */
    if (!st)
        st = ask_in_pieces(c, r->ticket, &h, &whole, &queue);
    if (st)
        psw_queue_clear(&queue);
    else
        psw_lane_put_first(&sh->lane, &queue);
    return st;
}

void psw_view_answer(struct psw_client *c, struct psw_shard *sh,
                     const struct psw_request *r, uint64_t version,
                     const struct ps_parcel *in)
{
    const struct psw_piece *p = &r->pieces[0];
    const size_t            element_bytes = p->matrix->element_bytes;
    uint64_t               *oldest = &r->ticket->oldest[sh - c->shards];
    char                    about[2 * PS_NAME_BYTES], name[PS_ENDPOINT_BYTES + 32];
    ps_status               st;

    if (r->flags & PS_FLAG_VIEW && in->n_frames == 0) {
        st = ask_again(c, sh, r);
        if (st)
            psw_ticket_fail(r->ticket, st, "%s", ps_log_last_error());
        return;
    }
    st = psw_view_add(r->ticket->view, p->first, p->count, element_bytes, in->frames,
                      in->n_frames);
    if (st) {
        psw_ticket_about(r->ticket, about, sizeof(about));
        psw_ticket_fail(
            r->ticket, st, "%s: %s answered something else than %ju elements", about,
            psw_lane_name(&sh->lane, name, sizeof(name)), (uintmax_t)p->count);
        return;
    }
    if (version < *oldest)
        *oldest = version;
    c->traffic.bytes_pulled += p->count * element_bytes;
    c->traffic.bytes_pulled_raw += p->count * element_bytes;
}
