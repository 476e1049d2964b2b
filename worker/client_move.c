/* client_move.c - pushes and pulls: splitting and packing; see client.h. */
#include "worker/client_private.h"

#include "common/base/copy.h"
#include "server/compute/backend.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>

/* A move while it is made.  Nothing of it is in a lane before all of it is there. */
struct mover {
    struct psw_client *client;
    struct ps_ticket  *ticket;
    uint32_t           moves;

    /* Sparse: which rows of the span the next request takes. */
    const struct psw_span *span;  /* NULL: dense */
    const uint64_t        *order; /* these; NULL: those from `first` on */
    uint64_t               first, n_rows;
};

size_t psw_padded(size_t bytes)
{
    return (bytes + 7) / 8 * 8;
}

/* ---- one request --------------------------------------------------------------- */

static void name_ranges(const struct psw_pack *pack, struct ps_range *ranges)
{
    for (uint32_t i = 0; i < pack->n; i++)
        ranges[i] = (struct ps_range){ .matrix = pack->pieces[i].matrix->spec.number,
                                       .first = pack->pieces[i].first,
                                       .count = pack->pieces[i].count };
}

static ps_status add_keys(const struct mover *mv, struct psw_request *r)
{
    struct ps_buf *b;
    ps_status      st = ps_tray_buf(&mv->client->tray, mv->client->heap, &b,
                                    mv->n_rows * sizeof(uint64_t));

    if (st)
        return st;
    if (!mv->order)
        memcpy(b->data, mv->span->keys + mv->first, mv->n_rows * sizeof(uint64_t));
    for (uint64_t i = 0; mv->order && i < mv->n_rows; i++)
        memcpy(b->data + i * sizeof(uint64_t), &mv->span->keys[mv->order[i]],
               sizeof(uint64_t));
    b->len = mv->n_rows * sizeof(uint64_t);
    r->parcel.frames[r->parcel.n_frames++] = b;
    return PS_OK;
}

/* Are those that lie side by side finite?  For the others the shard looks. */
static bool copy_rows(const struct mover *mv, uint8_t *to, size_t bytes)
{
    const struct ps_matrix_spec *spec = &mv->span->matrix->spec;
    const uint8_t               *from = mv->span->gradient;
    size_t                       row_bytes = bytes / mv->n_rows;

    if (!mv->order)
        return psd_backend_cpu.copy(spec->dtype, mv->n_rows * spec->cols, to,
                                    from + mv->first * row_bytes);
    for (uint64_t i = 0; i < mv->n_rows; i++)
        ps_copy_row(to + i * row_bytes, from + mv->order[i] * row_bytes, row_bytes);
    return false;
}

static ps_status make_rows(const struct mover *mv, const struct psw_pack *pack,
                           struct ps_buf **out, bool *finite)
{
    const size_t bytes = pack->pieces[0].bytes; /* a request has one piece then */
    ps_status st = ps_tray_buf(&mv->client->tray, mv->client->heap, out, pack->bytes);

    if (st)
        return st;
    *finite = copy_rows(mv, (*out)->data, bytes);
    memset((*out)->data + bytes, 0, pack->bytes - bytes);
    (*out)->len = pack->bytes;
    return PS_OK;
}

static bool lends(const struct mover *mv)
{
    return mv->moves & PSW_LENT && !mv->span;
}

/* The gradients, and in the header what they were seen to be. */
static ps_status make_values(const struct mover *mv, const struct psw_pack *pack,
                             struct ps_header *h, struct ps_buf **out)
{
    bool      finite = false;
    ps_status st = mv->span ? make_rows(mv, pack, out, &finite)
                            : psw_lend_copy(mv->client, pack->pieces, pack->n,
                                            pack->bytes, out, &finite);

    if (!st && finite)
        h->flags |= PS_FLAG_FINITE;
    return st;
}

/* What the answer will fill. */
static ps_status add_targets(const struct mover *mv, struct psw_request *r)
{
    if (!mv->span || !mv->order)
        return PS_OK;
    r->row_of = malloc(mv->n_rows * sizeof(*r->row_of));
    if (!r->row_of)
        return ps_fail(PS_ERR_NO_MEMORY, "pull of %s: no memory for %ju rows",
                       mv->span->matrix->spec.name, (uintmax_t)mv->n_rows);
    memcpy(r->row_of, mv->order, mv->n_rows * sizeof(*r->row_of));
    return PS_OK;
}

/* What the request carries; `values`, if there are some, become its own. */
static ps_status fill(const struct mover *mv, const struct psw_pack *pack,
                      struct psw_request *r, struct ps_buf *values)
{
    bool      pulls = r->kind == PS_MSG_PULL || r->flags & PS_FLAG_PULL;
    ps_status st = PS_OK;

    if (r->n_pieces > 0)
        memcpy(r->pieces, pack->pieces, r->n_pieces * sizeof(r->pieces[0]));
    if (mv->span && pack->n > 0)
        st = add_keys(mv, r);
    if (values)
        r->parcel.frames[r->parcel.n_frames++] = values;
    else if (r->kind == PS_MSG_PUSH)
        r->lent = pack->bytes;
    return !st && pulls ? add_targets(mv, r) : st;
}

static ps_status stage(const struct mover *mv, struct psw_shard *sh,
                       struct ps_header *h, struct psw_queue *queue)
{
    const struct psw_pack *pack = &sh->pack;
    bool                   pulls = h->kind == PS_MSG_PULL || h->flags & PS_FLAG_PULL;
    struct ps_range        ranges[PS_RANGES_MAX];
    struct ps_buf         *values = NULL;
    struct psw_request    *r;
    ps_status              st = PS_OK;

    name_ranges(pack, ranges);
    h->n_ranges = pack->n;
    h->ranges = ranges;
    if (h->kind == PS_MSG_PUSH && pack->n > 0 && !lends(mv))
        st = make_values(mv, pack, h, &values);
    if (!st)
        st = psw_request_new(mv->client, mv->ticket, h,
                             pulls || lends(mv) ? pack->n : 0, &r);
    if (st) {
        ps_buf_drop(&values);
        return st;
    }
    st = fill(mv, pack, r, values);
    if (st) {
        psw_request_free(r);
        return st;
    }
    psw_queue_add(queue, r);
    mv->ticket->n_open++;
    if (pulls)
        mv->ticket->pulled += pack->bytes;
    return PS_OK;
}

static ps_status stage_push(const struct mover *mv, struct psw_shard *sh,
                            uint32_t flags)
{
    struct ps_header h = {
        .kind = PS_MSG_PUSH,
        .flags = flags,
        .seq = sh->seq + 1,
        .clock = mv->client->clock + 1,
        .version = sh->base,
        .parts = flags & PS_FLAG_FINISH ? sh->parts + 1 : 0,
        .weight = mv->client->weight,
        .batches = flags & PS_FLAG_FINISH ? mv->client->batches : 0,
        .wait_ms = flags & PS_FLAG_PULL ? mv->client->options.wait_ms : 0,
    };
    ps_status st = stage(mv, sh, &h, &sh->staged);

    if (st)
        return st;
    sh->seq++;
    sh->parts++;
    return PS_OK;
}

struct ps_header psw_pull_header(const struct psw_client *c, const struct psw_shard *sh)
{
    return (struct ps_header){
        .kind = PS_MSG_PULL,
        .seq = sh->seq,
        /* An observer gets the newest, without waiting. */
        .clock = c->options.observer ? UINT64_MAX : c->clock,
        .wait_ms = c->options.wait_ms,
    };
}

static ps_status stage_pull(const struct mover *mv, struct psw_shard *sh)
{
    struct ps_header h = psw_pull_header(mv->client, sh);

    if (mv->moves & PSW_FINISH)
        h.clock++;
    return stage(mv, sh, &h, &sh->staged_pulls);
}

/* Makes requests of what is packed.  `last`: nothing else comes for this shard. */
static ps_status flush(const struct mover *mv, struct psw_shard *sh, bool last)
{
    bool      has = sh->pack.n > 0;
    bool      over = mv->client->clock < sh->done; /* it has this iteration */
    bool      pushes = mv->moves & PSW_PUSH && has && !over;
    bool      finishes = mv->moves & PSW_FINISH && last && !over;
    bool      rides = pushes && finishes && mv->moves & PSW_PULL; /* see client.h */
    ps_status st = PS_OK;

    if (pushes || finishes)
        st = stage_push(mv, sh,
                        (finishes ? PS_FLAG_FINISH : 0) | (rides ? PS_FLAG_PULL : 0));
    if (!st && mv->moves & PSW_PULL && has && !rides)
        st = stage_pull(mv, sh);
    sh->pack.n = 0;
    sh->pack.bytes = 0;
    return st;
}

/* ---- splitting ----------------------------------------------------------------- */

static ps_status pack_piece(const struct mover *mv, struct psw_shard *sh,
                            const struct psw_piece *piece)
{
    struct psw_pack *pack = &sh->pack;

    if (pack->n == PS_RANGES_MAX ||
        (pack->n > 0 && pack->bytes + piece->bytes > PS_CHUNK_BYTES)) {
        ps_status st = flush(mv, sh, false);

        if (st)
            return st;
    }
    if (pack->n == pack->room) {
        uint32_t          room = pack->room ? 2 * pack->room : 8;
        struct psw_piece *grown = realloc(pack->pieces, room * sizeof(*grown));

        if (!grown)
            return ps_fail(PS_ERR_NO_MEMORY, "worker: no memory for a request");
        pack->pieces = grown;
        pack->room = room;
    }
    pack->pieces[pack->n++] = *piece;
    pack->bytes += psw_padded(piece->bytes);
    return PS_OK;
}

static ps_status split_dense(const struct mover *mv, const struct psw_span *span)
{
    const struct ps_matrix *m = span->matrix;
    uint64_t                at = span->first;
    struct ps_piece         piece;
    ps_status               st = PS_OK;

    while (!st && ps_place_next(&m->place, &at, span->first + span->count, &piece)) {
        size_t           offset = (piece.first - span->first) * m->element_bytes;
        struct psw_piece p = { .matrix = m,
                               .first = piece.first,
                               .count = piece.count,
                               .bytes = piece.count * m->element_bytes };

        if (span->value)
            p.value = (uint8_t *)span->value + offset;
        if (span->gradient)
            p.gradient = (const uint8_t *)span->gradient + offset;
        st = pack_piece(mv, &mv->client->shards[piece.shard], &p);
    }
    return st;
}

/* Sorts the rows by shard, each shard's in the caller's order.  `ends` [n_shards] gets
 * the end of each shard's part of `order` [count]. */
static void sort_rows(const struct psw_client *c, const uint16_t *shards,
                      uint64_t count, uint64_t *order, uint64_t *ends)
{
    memset(ends, 0, c->n_shards * sizeof(*ends));
    for (uint64_t i = 0; i < count; i++)
        ends[shards[i]]++;
    for (uint64_t s = 0, sum = 0; s < c->n_shards; s++) {
        uint64_t n = ends[s];

        ends[s] = sum; /* the beginning; it moves to the end below */
        sum += n;
    }
    for (uint64_t i = 0; i < count; i++)
        order[ends[shards[i]]++] = i;
}

/* Requests to shard `sh` of `n` rows: of order[n], or the first ones of the span. */
static ps_status cut_rows(struct mover *mv, struct psw_shard *sh, const uint64_t *order,
                          uint64_t n)
{
    const struct ps_matrix *m = mv->span->matrix;
    size_t                  row_bytes = m->spec.cols * m->element_bytes;
    size_t    room = row_bytes > sizeof(uint64_t) ? row_bytes : sizeof(uint64_t);
    uint64_t  n_most = room < PS_CHUNK_BYTES ? PS_CHUNK_BYTES / room : 1;
    ps_status st = PS_OK;

    for (uint64_t at = 0; !st && at < n; at += mv->n_rows) {
        struct psw_piece piece = { .matrix = m, .value = mv->span->value };

        mv->order = order ? order + at : NULL;
        mv->first = at;
        mv->n_rows = n - at < n_most ? n - at : n_most;
        piece.count = mv->n_rows;
        piece.bytes = mv->n_rows * row_bytes;
        if (!order && piece.value)
            piece.value = (uint8_t *)piece.value + at * row_bytes;
        st = pack_piece(mv, sh, &piece);
        if (!st)
            st = flush(mv, sh, false);
    }
    return st;
}

static ps_status split_sorted(struct mover *mv)
{
    const struct psw_span *span = mv->span;
    struct psw_client     *c = mv->client;
    uint64_t *order = malloc((span->count + c->n_shards) * sizeof(*order)), at = 0;
    uint64_t *ends = order + span->count;
    uint16_t *shards = malloc(span->count * sizeof(*shards) + 1);
    ps_status st = PS_OK;

    if (!order || !shards) {
        st = ps_fail(PS_ERR_NO_MEMORY, "matrix %s: no memory for %ju keys",
                     span->matrix->spec.name, (uintmax_t)span->count);
    } else {
        ps_place_key_shards(&span->matrix->place, span->keys, span->count, shards);
        sort_rows(c, shards, span->count, order, ends);
    }
    for (uint32_t s = 0; !st && s < c->n_shards; at = ends[s++])
        st = cut_rows(mv, &c->shards[s], order + at, ends[s] - at);
    free(order);
    free(shards);
    return st;
}

static ps_status split_sparse(struct mover *mv, const struct psw_span *span)
{
    const struct ps_place *place = &span->matrix->place;
    ps_status              st;

    mv->span = span;
    st = place->is_whole
             ? cut_rows(mv, &mv->client->shards[place->shard_of[0]], NULL, span->count)
             : split_sorted(mv);
    mv->span = NULL;
    return st;
}

/* ---- the whole move ------------------------------------------------------------ */

static ps_status check_span(const struct psw_span *span)
{
    const struct ps_matrix_spec *m = &span->matrix->spec;

    if (m->sparse != (span->keys != NULL))
        return ps_fail(PS_ERR_SHAPE, "matrix %s: it is %s", m->name,
                       m->sparse ? "sparse, expected keys of rows"
                                 : "dense, expected a range of elements");
    if (m->sparse)
        return PS_OK;
    if (span->first > ps_matrix_elements(m) ||
        span->count > ps_matrix_elements(m) - span->first)
        return ps_fail(PS_ERR_SHAPE,
                       "matrix %s: %ju elements from %ju on, but it has %ju", m->name,
                       (uintmax_t)span->count, (uintmax_t)span->first,
                       (uintmax_t)ps_matrix_elements(m));
    return PS_OK;
}

static ps_status check_move(struct psw_client *c, uint32_t moves,
                            const struct psw_span *spans, uint32_t n_spans)
{
    ps_status st = psw_client_may_move(c);

    assert(c->welcome);
    if (!st && c->options.observer && moves & (PSW_PUSH | PSW_FINISH))
        st = ps_fail(PS_ERR_BAD_ARG, "job %s: an observer neither pushes nor finishes",
                     c->options.job.name);
    for (uint32_t i = 0; !st && i < n_spans; i++)
        st = check_span(&spans[i]);
    return st;
}

static ps_status split(struct mover *mv, const struct psw_span *spans, uint32_t n_spans)
{
    struct psw_client *c = mv->client;
    ps_status          st = PS_OK;

    for (uint32_t i = 0; !st && i < n_spans; i++)
        st = spans[i].keys ? split_sparse(mv, &spans[i]) : split_dense(mv, &spans[i]);
    for (uint32_t i = 0; !st && i < c->n_shards; i++)
        st = flush(mv, &c->shards[i], true);
    return st;
}

static void take_back(struct psw_client *c)
{
    for (uint32_t i = 0; i < c->n_shards; i++) {
        struct psw_shard *sh = &c->shards[i];

        for (const struct psw_request *r = sh->staged.first; r; r = r->next) {
            sh->seq--;
            sh->parts--;
        }
        psw_queue_clear(&sh->staged);
        psw_queue_clear(&sh->staged_pulls);
        sh->pack.n = 0;
        sh->pack.bytes = 0;
    }
}

bool psw_in_iteration(const struct psw_client *c)
{
    for (uint32_t i = 0; i < c->n_shards; i++)
        if (c->shards[i].parts > 0)
            return true;
    return false;
}

static void commit(const struct mover *mv)
{
    struct psw_client *c = mv->client;

    for (uint32_t i = 0; i < c->n_shards; i++) {
        struct psw_shard *sh = &c->shards[i];

        psw_queue_move(&sh->lane.queue, &sh->staged);
        psw_queue_move(&sh->lane.queue, &sh->staged_pulls);
        if (mv->moves & PSW_FINISH) {
            sh->parts = 0;
            sh->used = false;
        }
    }
    if (mv->moves & PSW_FINISH) {
        c->clock++;
        if (c->told > c->clock)
            c->clock = c->told;
        c->batches = 1;
    }
}

ps_status psw_client_move(struct psw_client *c, uint64_t now_ns, uint32_t moves,
                          const struct psw_span *spans, uint32_t n_spans,
                          struct ps_outbox *out, struct ps_ticket **ticket)
{
    struct mover mv = { .client = c, .moves = moves };
    ps_status    st = check_move(c, moves, spans, n_spans);

    if (!st)
        st = psw_ticket_new(c, moves, &mv.ticket);
    if (st)
        return st;
    mv.ticket->n_matrices = n_spans;
    mv.ticket->first = n_spans ? spans[0].matrix->spec.name : "";
    *ticket = mv.ticket;
    if (psw_is_resuming(c))
        return PS_OK;
    st = split(&mv, spans, n_spans);
    if (st) {
        take_back(c);
        psw_ticket_free(mv.ticket);
        return st;
    }
    commit(&mv);
    if (mv.ticket->n_open == 0)
        psw_ticket_request_done(mv.ticket);
    psw_client_send(c, now_ns, out);
    return PS_OK;
}
