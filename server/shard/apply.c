/*
 * apply.c - see apply.h.
 *
 * Contributions are walked once to prepare (lists, writable chunks; all that can fail).
 * Then each touched chunk is summed and stepped, one behind the other, so that its sum
 * has not left the cache, and takes the memory of one chunk.  Sparse rows are held in
 * the store already; row_sums.c has their part of it.
 */
#include "server/shard/apply.h"

#include "server/optim/optim.h"
#include "server/shard/row_sums.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>

struct span {
    uint64_t from, to; /* elements of the chunk, [from, to) */
};

/* What one contribution has for a chunk. */
struct piece {
    struct piece  *next;
    uint64_t       from, to; /* elements of the chunk */
    double         coefficient;
    const uint8_t *values;
};

/* One chunk: what is summed for it, in order, and which elements that touches. */
struct dense_sum {
    struct psd_chunk *chunk;
    bool              as_is; /* one piece, whose gradient is stepped as it was pushed */
    struct piece     *first, *last;
    size_t            n_spans, spans_room;
    struct span      *spans; /* sorted, disjoint, not adjacent */
};

struct matrix_sum {
    struct psd_matrix  *matrix;
    bool                means; /* coefficients count */
    bool                last;  /* the last contribution replaces the others */
    struct dense_sum   *dense; /* [n_chunks of the matrix]; chunk NULL: untouched */
    struct psd_row_sums rows;
};

/* All of it lies in the job's scratch. */
struct gather {
    struct psd_job           *job;
    const struct psd_backend *backend;
    const struct psd_update  *update; /* NULL: nothing to scale */
    size_t                    n, room;
    struct matrix_sum        *sums;

    /* Of one chunk at a time, which so is in the cache when it is stepped. */
    size_t   chunk_bytes; /* of the largest that needs it */
    uint8_t *chunk_sum;
};

static ps_status no_memory(const struct psd_job *job)
{
    return ps_fail(PS_ERR_NO_MEMORY, "job %s: no memory to sum gradients",
                   job->spec.name);
}

static struct matrix_sum *find_sum(const struct gather *g, uint32_t number)
{
    for (size_t i = 0; i < g->n; i++)
        if (g->sums[i].matrix->spec.number == number)
            return &g->sums[i];
    return NULL;
}

static void *zeroed(const struct gather *g, size_t n, size_t bytes)
{
    void *p = psd_scratch_get(g->job->scratch, n * bytes);

    return p ? memset(p, 0, n * bytes) : NULL;
}

static ps_status room_for_sum(struct gather *g)
{
    size_t             room = g->room ? 2 * g->room : 4;
    struct matrix_sum *grown;

    if (g->n < g->room)
        return PS_OK;
    grown = psd_scratch_get(g->job->scratch, room * sizeof(*grown));
    if (!grown)
        return no_memory(g->job);
    if (g->n > 0)
        memcpy(grown, g->sums, g->n * sizeof(*grown));
    g->sums = grown;
    g->room = room;
    return PS_OK;
}

static ps_status add_sum(struct gather *g, uint32_t number, struct matrix_sum **out)
{
    struct psd_matrix *m = psd_store_find(g->job->store, number);
    uint32_t           kind;

    if (room_for_sum(g))
        return PS_ERR_NO_MEMORY;
    kind = psd_optim_kind(&g->job->spec, &m->spec);
    *out = &g->sums[g->n];
    **out = (struct matrix_sum){
        .matrix = m,
        .means = !psd_optim_is_exact(kind),
        .last = kind == PS_ASSIGN,
        .rows = { .matrix = m, .backend = g->backend, .last = kind == PS_ASSIGN },
    };
    if (!m->spec.sparse &&
        !((*out)->dense = zeroed(g, m->n_chunks, sizeof(*(*out)->dense))))
        return no_memory(g->job);
    g->n++;
    return PS_OK;
}

/* ---- dense --------------------------------------------------------------------- */

static struct dense_sum *dense_of(struct matrix_sum *s, uint64_t first)
{
    return &s->dense[psd_store_chunk(s->matrix, first) - s->matrix->chunks];
}

/* Room for the spans of all contributions is counted here, made below. */
static ps_status prepare_dense(const struct gather *g, struct matrix_sum *s,
                               const struct ps_range *range, double c,
                               const uint8_t *values)
{
    struct dense_sum *d = dense_of(s, range->first);
    struct piece     *piece = psd_scratch_get(g->job->scratch, sizeof(*piece));

    if (!piece)
        return no_memory(g->job);
    d->spans_room++;
    d->as_is = d->spans_room == 1 && c == 1.0 &&
               !(g->update && psd_scale_changes(g->job->scale, s->matrix));
    if (d->chunk) {
        d->last->next = piece;
    } else {
        d->chunk = psd_store_chunk(s->matrix, range->first);
        d->first = piece;
    }
    d->last = piece;
    *piece = (struct piece){ .from = range->first - d->chunk->first,
                             .to = range->first - d->chunk->first + range->count,
                             .coefficient = c,
                             .values = values };
    return d->spans_room > 1 ? PS_OK : psd_store_write(s->matrix, d->chunk);
}

static ps_status allocate_sum(struct gather *g, const struct matrix_sum *s,
                              struct dense_sum *d)
{
    const size_t bytes = d->chunk->n * s->matrix->element_bytes;

    d->spans = zeroed(g, d->spans_room, sizeof(*d->spans));
    if (!d->spans)
        return no_memory(g->job);
    if (!d->as_is && bytes > g->chunk_bytes)
        g->chunk_bytes = bytes;
    return PS_OK;
}

static ps_status allocate_sums(struct gather *g)
{
    ps_status st = PS_OK;

    for (size_t i = 0; i < g->n; i++) {
        struct matrix_sum *s = &g->sums[i];

        for (size_t k = 0; s->dense && !st && k < s->matrix->n_chunks; k++)
            if (s->dense[k].chunk)
                st = allocate_sum(g, s, &s->dense[k]);
    }
    if (st || g->chunk_bytes == 0)
        return st;
    g->chunk_sum = psd_scratch_get(g->job->scratch, g->chunk_bytes);
    return g->chunk_sum ? PS_OK : no_memory(g->job);
}

/* Makes [from, to) one span, swallowing what it overlaps or touches. */
static void merge_span(struct dense_sum *d, uint64_t from, uint64_t to)
{
    size_t i = 0, end;

    while (i < d->n_spans && d->spans[i].to < from)
        i++;
    for (end = i; end < d->n_spans && d->spans[end].from <= to; end++) {
        if (d->spans[end].from < from)
            from = d->spans[end].from;
        if (d->spans[end].to > to)
            to = d->spans[end].to;
    }
    memmove(d->spans + i + 1, d->spans + end, (d->n_spans - end) * sizeof(*d->spans));
    d->n_spans = d->n_spans - (end - i) + 1;
    d->spans[i] = (struct span){ from, to };
}

/*
 * The first contribution to an element is set, later ones are added: 0 + x would turn
 * -0 into +0 depending on who else touched the chunk.
 */
static void sum_piece(const struct gather *g, const struct matrix_sum *s,
                      struct dense_sum *d, const struct piece *p)
{
    const uint32_t dtype = s->matrix->spec.dtype;
    const size_t   bytes = s->matrix->element_bytes;
    const double   c = p->coefficient;
    uint8_t *const sum = g->chunk_sum;
    uint64_t       done = p->from;

    for (size_t i = 0; !s->last && i < d->n_spans && done < p->to; i++) {
        uint64_t a = d->spans[i].from, b = d->spans[i].to;

        if (b <= done || a >= p->to)
            continue;
        if (a > done) {
            g->backend->set(dtype, a - done, sum + done * bytes, c,
                            p->values + (done - p->from) * bytes);
            done = a;
        }
        if (b > p->to)
            b = p->to;
        g->backend->add(dtype, b - done, sum + done * bytes, c,
                        p->values + (done - p->from) * bytes);
        done = b;
    }
    if (done < p->to)
        g->backend->set(dtype, p->to - done, sum + done * bytes, c,
                        p->values + (done - p->from) * bytes);
}

static void sum_chunk(const struct gather *g, const struct matrix_sum *s,
                      struct dense_sum *d)
{
    for (const struct piece *p = d->first; p; p = p->next) {
        if (!d->as_is)
            sum_piece(g, s, d, p);
        merge_span(d, p->from, p->to);
    }
}

static void *at(struct ps_buf *b, uint64_t element, size_t element_bytes)
{
    return b->data + element * element_bytes;
}

/* The gradient of a span: its sum, or what was pushed. */
static const void *gradient_of(const struct gather *g, const struct matrix_sum *s,
                               const struct dense_sum *d, const struct span *span)
{
    void *sum;

    if (d->as_is)
        return d->first->values;
    sum = g->chunk_sum + span->from * s->matrix->element_bytes;
    if (g->update)
        psd_scale_chunk(g->job->scale, g->update, s->matrix, d->chunk, span->from,
                        span->to, sum);
    return sum;
}

static void step_chunk(const struct gather *g, const struct matrix_sum *s,
                       const struct dense_sum *d, const struct psd_hyper *hyper,
                       uint32_t kind)
{
    const size_t bytes = s->matrix->element_bytes;

    for (size_t k = 0; k < d->n_spans; k++) {
        const struct span *span = &d->spans[k];
        void              *state[PSD_STATE_MAX] = { NULL };

        for (uint32_t n = 0; n < s->matrix->n_state; n++)
            state[n] = at(d->chunk->state[n], span->from, bytes);
        g->backend->step(kind, s->matrix->spec.dtype, hyper, span->to - span->from,
                         at(d->chunk->value, span->from, bytes), state,
                         gradient_of(g, s, d, span));
    }
}

static void step_dense(const struct gather *g, const struct matrix_sum *s,
                       const struct psd_hyper *hyper, uint32_t kind)
{
    for (size_t i = 0; s->dense && i < s->matrix->n_chunks; i++) {
        if (!s->dense[i].chunk)
            continue;
        sum_chunk(g, s, &s->dense[i]);
        step_chunk(g, s, &s->dense[i], hyper, kind);
    }
}

/* ---- all together -------------------------------------------------------------- */

static ps_status scale_room(const struct gather *g)
{
    ps_status st = PS_OK;

    for (size_t i = 0; g->update && !st && i < g->n; i++) {
        const struct matrix_sum *s = &g->sums[i];

        for (size_t k = 0; s->dense && !st && k < s->matrix->n_chunks; k++)
            if (s->dense[k].chunk)
                st = psd_scale_room(g->job->scale, g->update, s->matrix,
                                    s->dense[k].chunk, s->dense[k].spans_room);
        if (!st && s->rows.room > 0)
            st =
                psd_scale_room(g->job->scale, g->update, s->matrix, NULL, s->rows.room);
    }
    return st;
}

/* Bytes of a range in the values of a push. */
static size_t bytes_of(const struct psd_matrix *m, const struct ps_range *range)
{
    size_t bytes = range->count * m->element_bytes;

    if (m->spec.sparse)
        bytes *= m->spec.cols;
    return (bytes + 7) / 8 * 8;
}

static ps_status prepare_one(struct gather *g, const struct psd_contribution *c)
{
    const struct psd_held *held = c->held;
    const uint32_t        *places = held->places;
    const uint8_t         *values = held->values ? held->values->data : NULL;
    ps_status              st = PS_OK;

    for (uint32_t k = 0; !st && k < held->n_ranges; k++) {
        const struct ps_range *range = &held->ranges[k];
        struct matrix_sum     *s = find_sum(g, range->matrix);

        if (!s && (st = add_sum(g, range->matrix, &s)))
            return st;
        if (s->matrix->spec.sparse) {
            psd_row_sums_expect(&s->rows, range->count, held->distinct);
            st = psd_store_write_rows(s->matrix, places, range->count);
            places += range->count;
        } else {
            st = prepare_dense(g, s, range, s->means ? c->coefficient : 1.0, values);
        }
        values += bytes_of(s->matrix, range);
    }
    return st;
}

static ps_status prepare(struct gather *g, const struct psd_contribution *c, size_t n)
{
    ps_status st = PS_OK;

    for (size_t i = 0; !st && i < n; i++)
        st = prepare_one(g, &c[i]);
    if (!st)
        st = allocate_sums(g);
    for (size_t i = 0; !st && i < g->n; i++)
        st = psd_row_sums_room(&g->sums[i].rows, g->job->scratch);
    return st ? st : scale_room(g);
}

/* Dense pieces are summed chunk by chunk, right before the step. */
static void sum_rows(struct gather *g, const struct psd_contribution *contribution)
{
    const struct psd_held *held = contribution->held;
    const uint64_t        *keys = contribution->keys;
    const uint32_t        *places = held->places;
    const uint8_t         *values = held->values ? held->values->data : NULL;

    for (uint32_t k = 0; places && k < held->n_ranges; k++) {
        const struct ps_range *range = &held->ranges[k];
        struct matrix_sum     *s = find_sum(g, range->matrix);
        double                 c = s->means ? contribution->coefficient : 1.0;

        psd_row_sums_add(&s->rows, &(struct psd_row_batch){ .n = range->count,
                                                            .keys = keys,
                                                            .places = places,
                                                            .gradients = values,
                                                            .coefficient = c });
        keys = keys ? keys + range->count : NULL;
        places += range->count;
        values += bytes_of(s->matrix, range);
    }
}

static void step(const struct gather *g, uint64_t clock)
{
    const struct ps_job_spec *job = &g->job->spec;

    for (size_t i = 0; i < g->n; i++) {
        struct matrix_sum *s = &g->sums[i];
        uint32_t           kind = psd_optim_applied(job, &s->matrix->spec);
        /* Where iterations close the step number is the clock, the same everywhere. */
        uint64_t         number = psd_job_holds(g->job) ? clock : s->matrix->steps + 1;
        struct psd_hyper hyper = psd_optim_hyper(job, &s->matrix->spec, clock, number);

        s->matrix->steps++;
        step_dense(g, s, &hyper, kind);
        psd_row_sums_step(&s->rows, kind, &hyper, g->job->scale, g->update);
    }
}

ps_status psd_apply(struct psd_job *job, const struct psd_backend *backend,
                    const struct psd_contribution *contributions, size_t n,
                    uint64_t clock, const struct psd_update *update)
{
    struct gather g = { .job = job, .backend = backend, .update = update };
    ps_status     st = prepare(&g, contributions, n);

    if (!st) {
        for (size_t i = 0; i < n; i++)
            sum_rows(&g, &contributions[i]);
        step(&g, clock);
    }
    return st;
}

/* ---- closing an iteration ------------------------------------------------------ */

static int by_seq(const void *a, const void *b)
{
    uint64_t x = ((const struct psd_held *)a)->seq,
             y = ((const struct psd_held *)b)->seq;

    return x < y ? -1 : x > y;
}

static double total_weight(const struct psd_job *job)
{
    double sum = 0;

    for (uint32_t r = 0; r < job->spec.workers; r++)
        if (job->seats[r].finished_open)
            sum += job->seats[r].weight_closing;
    return sum;
}

/* w / sum of w under mean, 1 under sum.  All weights zero: the mean is zero. */
static double coefficient_of(const struct psd_job *job, const struct psd_seat *seat,
                             double total)
{
    if (job->spec.aggregate == PS_SUM)
        return 1.0;
    return total > 0 ? seat->weight_closing / total : 0.0;
}

static size_t count_held(const struct psd_job *job)
{
    size_t n = 0;

    for (uint32_t r = 0; r < job->spec.workers; r++)
        if (job->seats[r].finished_open)
            n += job->seats[r].n_held;
    return n;
}

/* Also what came of the iteration from those that it did not wait for. */
static void forget_held(struct psd_job *job)
{
    for (uint32_t r = 0; r < job->spec.workers; r++) {
        struct psd_seat *seat = &job->seats[r];

        for (uint32_t i = 0; i < seat->n_held; i++)
            psd_held_free(job, &seat->held[i]);
        seat->n_held = 0;
        if (!seat->finished_open)
            seat->n_parts = seat->parts = 0; /* the rest of it will be too late */
        seat->finished_open = false;
        seat->first_seq = seat->window.low;
    }
}

ps_status psd_apply_close(struct psd_job *job, const struct psd_backend *backend)
{
    const double             total = total_weight(job);
    struct psd_contribution *list =
        psd_scratch_get(job->scratch, (count_held(job) + 1) * sizeof(*list));
    size_t    n = 0;
    ps_status st;

    if (!list)
        return no_memory(job);
    for (uint32_t r = 0; r < job->spec.workers; r++) {
        struct psd_seat *seat = &job->seats[r];

        if (!seat->finished_open || seat->n_held == 0)
            continue;
        qsort(seat->held, seat->n_held, sizeof(*seat->held), by_seq);
        for (uint32_t i = 0; i < seat->n_held; i++)
            list[n++] = (struct psd_contribution){
                .held = &seat->held[i], .coefficient = coefficient_of(job, seat, total)
            };
    }
    st = psd_apply(job, backend, list, n, psd_gate_clock(job->gate) + 1, NULL);
    psd_scratch_reset(job->scratch);
    if (st)
        return st;
    forget_held(job);
    psd_gate_close(job->gate);
    job->version++;
    return PS_OK;
}
