/*
 * apply.c - see apply.h.
 *
 * Contributions are walked three times: once to prepare (accumulators, writable
 * chunks, sparse rows; all that can fail), once to sum, once to step.
 */
#include "server/shard/apply.h"

#include "server/optim/optim.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>

struct span {
    uint64_t from, to; /* elements of the chunk, [from, to) */
};

/* What is summed for one chunk: the touched elements, and their sums. */
struct dense_sum {
    struct psd_chunk *chunk;
    struct ps_buf    *sum; /* whole chunk; only the spans are meant */
    size_t            n_spans, spans_room;
    struct span      *spans; /* sorted, disjoint, not adjacent */
};

/* What is summed for the touched rows of a sparse matrix. */
struct row_sums {
    size_t    n_rows, rows_room;
    uint64_t *keys;    /* [n_rows] in order of first touch */
    uint8_t  *sums;    /* [n_rows][cols] */
    size_t    n_table; /* power of two */
    uint32_t *table;   /* index into keys + 1; 0 = free */
};

struct matrix_sum {
    struct psd_matrix *matrix;
    bool               means; /* coefficients count */
    bool               last;  /* the last contribution replaces the others */
    struct dense_sum  *dense; /* [n_chunks of the matrix]; chunk NULL: untouched */
    struct row_sums    rows;
};

struct gather {
    struct psd_job           *job;
    const struct psd_backend *backend;
    size_t                    n;
    struct matrix_sum        *sums;
};

static void free_gather(struct gather *g)
{
    for (size_t i = 0; i < g->n; i++) {
        struct matrix_sum *s = &g->sums[i];

        for (size_t d = 0; s->dense && d < s->matrix->n_chunks; d++) {
            ps_buf_drop(&s->dense[d].sum);
            free(s->dense[d].spans);
        }
        free(s->dense);
        free(s->rows.keys);
        free(s->rows.sums);
        free(s->rows.table);
    }
    free(g->sums);
}

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

static ps_status add_sum(struct gather *g, uint32_t number, struct matrix_sum **out)
{
    struct matrix_sum *grown = realloc(g->sums, (g->n + 1) * sizeof(*grown));
    struct psd_matrix *m = psd_store_find(g->job->store, number);
    uint32_t           kind;

    if (!grown)
        return no_memory(g->job);
    g->sums = grown;
    kind = psd_optim_kind(&g->job->spec, &m->spec);
    *out = &g->sums[g->n];
    **out = (struct matrix_sum){ .matrix = m,
                                 .means = !psd_optim_is_exact(kind),
                                 .last = kind == PS_ASSIGN };
    if (!m->spec.sparse &&
        !((*out)->dense = calloc(m->n_chunks, sizeof(*grown->dense))))
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
static ps_status prepare_dense(struct matrix_sum *s, const struct ps_range *range)
{
    struct dense_sum *d = dense_of(s, range->first);

    d->spans_room++;
    if (d->chunk)
        return PS_OK;
    d->chunk = psd_store_chunk(s->matrix, range->first);
    ps_status st = ps_buf_new(&d->sum, d->chunk->n * s->matrix->element_bytes);

    return st ? st : psd_store_write(s->matrix, d->chunk);
}

static ps_status allocate_spans(struct gather *g)
{
    for (size_t i = 0; i < g->n; i++)
        for (size_t k = 0; g->sums[i].dense && k < g->sums[i].matrix->n_chunks; k++) {
            struct dense_sum *d = &g->sums[i].dense[k];

            if (!d->chunk)
                continue;
            d->spans = calloc(d->spans_room, sizeof(*d->spans));
            if (!d->spans)
                return no_memory(g->job);
        }
    return PS_OK;
}

static void *at(struct ps_buf *b, uint64_t element, size_t element_bytes)
{
    return b->data + element * element_bytes;
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
static void sum_dense(const struct gather *g, const struct matrix_sum *s,
                      struct dense_sum *d, uint64_t from, uint64_t to, double c,
                      const uint8_t *values)
{
    const uint32_t dtype = s->matrix->spec.dtype;
    const size_t   bytes = s->matrix->element_bytes;
    uint64_t       done = from;

    for (size_t i = 0; !s->last && i < d->n_spans && done < to; i++) {
        uint64_t a = d->spans[i].from, b = d->spans[i].to;

        if (b <= done || a >= to)
            continue;
        if (a > done) {
            g->backend->set(dtype, a - done, at(d->sum, done, bytes), c,
                            values + (done - from) * bytes);
            done = a;
        }
        if (b > to)
            b = to;
        g->backend->add(dtype, b - done, at(d->sum, done, bytes), c,
                        values + (done - from) * bytes);
        done = b;
    }
    if (done < to)
        g->backend->set(dtype, to - done, at(d->sum, done, bytes), c,
                        values + (done - from) * bytes);
    merge_span(d, from, to);
}

static void step_dense(const struct gather *g, const struct matrix_sum *s,
                       const struct psd_hyper *hyper, uint32_t kind)
{
    const size_t bytes = s->matrix->element_bytes;

    for (size_t i = 0; s->dense && i < s->matrix->n_chunks; i++) {
        struct dense_sum *d = &s->dense[i];

        for (size_t k = 0; k < d->n_spans; k++) {
            uint64_t from = d->spans[k].from;
            void    *state[PSD_STATE_MAX] = { NULL };

            for (uint32_t n = 0; n < s->matrix->n_state; n++)
                state[n] = at(d->chunk->state[n], from, bytes);
            g->backend->step(kind, s->matrix->spec.dtype, hyper, d->spans[k].to - from,
                             at(d->chunk->value, from, bytes), state,
                             at(d->sum, from, bytes));
        }
    }
}

/* ---- sparse -------------------------------------------------------------------- */

static size_t slot_of(const struct row_sums *r, uint64_t key)
{
    size_t i = (key ^ key >> 32) * 0x9E3779B97F4A7C15u >> 20 & (r->n_table - 1);

    while (r->table[i] && r->keys[r->table[i] - 1] != key)
        i = (i + 1) & (r->n_table - 1);
    return i;
}

static ps_status prepare_rows(struct gather *g, struct matrix_sum *s,
                              const struct ps_range *range, const uint64_t *keys)
{
    void *value, *state[PSD_STORE_STATE_MAX];

    s->rows.rows_room += range->count;
    for (uint64_t i = 0; i < range->count; i++) {
        ps_status st = psd_store_row(g->job->store, s->matrix, keys[i], &value, state);

        if (st)
            return st;
    }
    return PS_OK;
}

static ps_status allocate_rows(struct gather *g)
{
    for (size_t i = 0; i < g->n; i++) {
        struct matrix_sum *s = &g->sums[i];
        struct row_sums   *r = &s->rows;
        size_t             row_bytes = s->matrix->spec.cols * s->matrix->element_bytes;

        if (r->rows_room == 0)
            continue;
        for (r->n_table = 16; r->n_table < 2 * r->rows_room; r->n_table *= 2)
            ;
        r->keys = malloc(r->rows_room * sizeof(*r->keys));
        r->sums =
            aligned_alloc(PS_BUF_ALIGN, (r->rows_room * row_bytes + PS_BUF_ALIGN - 1) /
                                            PS_BUF_ALIGN * PS_BUF_ALIGN);
        r->table = calloc(r->n_table, sizeof(*r->table));
        if (!r->keys || !r->sums || !r->table)
            return no_memory(g->job);
    }
    return PS_OK;
}

static void sum_rows(const struct gather *g, struct matrix_sum *s, uint64_t n,
                     const uint64_t *keys, double c, const uint8_t *values)
{
    struct row_sums *r = &s->rows;
    const uint64_t   cols = s->matrix->spec.cols;
    const size_t     row_bytes = cols * s->matrix->element_bytes;
    const uint32_t   dtype = s->matrix->spec.dtype;

    for (uint64_t i = 0; i < n; i++, values += row_bytes) {
        size_t slot = slot_of(r, keys[i]);
        bool   is_new = r->table[slot] == 0;

        if (is_new) {
            r->keys[r->n_rows++] = keys[i];
            r->table[slot] = (uint32_t)r->n_rows;
        }
        (is_new || s->last ? g->backend->set : g->backend->add)(
            dtype, cols, r->sums + (r->table[slot] - 1) * row_bytes, c, values);
    }
}

static void step_rows(const struct gather *g, const struct matrix_sum *s,
                      const struct psd_hyper *hyper, uint32_t kind)
{
    const uint64_t cols = s->matrix->spec.cols;
    const size_t   row_bytes = cols * s->matrix->element_bytes;

    for (size_t i = 0; i < s->rows.n_rows; i++) {
        void     *value, *state[PSD_STORE_STATE_MAX];
        ps_status st =
            psd_store_row(g->job->store, s->matrix, s->rows.keys[i], &value, state);

        assert(st == PS_OK); /* it was created while preparing */
        (void)st;
        g->backend->step(kind, s->matrix->spec.dtype, hyper, cols, value, state,
                         s->rows.sums + i * row_bytes);
    }
}

/* ---- all together -------------------------------------------------------------- */

static ps_status prepare(struct gather *g, const struct psd_contribution *c, size_t n)
{
    ps_status st = PS_OK;

    for (size_t i = 0; !st && i < n; i++) {
        const struct psd_held *held = c[i].held;
        const uint64_t *keys = held->keys ? (const void *)held->keys->data : NULL;

        for (uint32_t k = 0; !st && k < held->n_ranges; k++) {
            struct matrix_sum *s = find_sum(g, held->ranges[k].matrix);

            if (!s && (st = add_sum(g, held->ranges[k].matrix, &s)))
                break;
            if (s->matrix->spec.sparse) {
                st = prepare_rows(g, s, &held->ranges[k], keys);
                keys += held->ranges[k].count;
            } else {
                st = prepare_dense(s, &held->ranges[k]);
            }
        }
    }
    if (!st)
        st = allocate_spans(g);
    return st ? st : allocate_rows(g);
}

static void sum_held(struct gather *g, const struct psd_held *held, double coefficient)
{
    const uint64_t *keys = held->keys ? (const void *)held->keys->data : NULL;
    const uint8_t  *values = held->values ? held->values->data : NULL;

    for (uint32_t k = 0; k < held->n_ranges; k++) {
        const struct ps_range *range = &held->ranges[k];
        struct matrix_sum     *s = find_sum(g, range->matrix);
        double                 c = s->means ? coefficient : 1.0;
        size_t                 bytes;

        if (s->matrix->spec.sparse) {
            sum_rows(g, s, range->count, keys, c, values);
            keys += range->count;
            bytes = range->count * s->matrix->spec.cols * s->matrix->element_bytes;
        } else {
            struct dense_sum *d = dense_of(s, range->first);

            sum_dense(g, s, d, range->first - d->chunk->first,
                      range->first - d->chunk->first + range->count, c, values);
            bytes = range->count * s->matrix->element_bytes;
        }
        values += (bytes + 7) / 8 * 8;
    }
}

static bool is_synchronous(const struct ps_job_spec *job)
{
    return job->strategy == PS_BSP || job->strategy == PS_BACKUP;
}

static void step(const struct gather *g, uint64_t clock)
{
    const struct ps_job_spec *job = &g->job->spec;

    for (size_t i = 0; i < g->n; i++) {
        struct matrix_sum *s = &g->sums[i];
        uint32_t           kind = psd_optim_applied(job, &s->matrix->spec);
        /* Where iterations close the step number is the clock, the same everywhere. */
        uint64_t         number = is_synchronous(job) ? clock : s->matrix->steps + 1;
        struct psd_hyper hyper = psd_optim_hyper(job, &s->matrix->spec, clock, number);

        s->matrix->steps++;
        step_dense(g, s, &hyper, kind);
        step_rows(g, s, &hyper, kind);
    }
}

ps_status psd_apply(struct psd_job *job, const struct psd_backend *backend,
                    const struct psd_contribution *contributions, size_t n,
                    uint64_t clock)
{
    struct gather g = { .job = job, .backend = backend };
    ps_status     st = prepare(&g, contributions, n);

    if (!st) {
        for (size_t i = 0; i < n; i++)
            sum_held(&g, contributions[i].held, contributions[i].coefficient);
        step(&g, clock);
    }
    free_gather(&g);
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
            psd_held_free(&seat->held[i]);
        seat->n_held = 0;
        if (!seat->finished_open)
            seat->n_parts = seat->parts = 0; /* the rest of it will be too late */
        seat->finished_open = false;
    }
}

ps_status psd_apply_close(struct psd_job *job, const struct psd_backend *backend)
{
    const double             total = total_weight(job);
    struct psd_contribution *list = calloc(count_held(job) + 1, sizeof(*list));
    size_t                   n = 0;
    ps_status                st;

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
    st = psd_apply(job, backend, list, n, psd_gate_clock(job->gate) + 1);
    free(list);
    if (st)
        return st;
    forget_held(job);
    psd_gate_close(job->gate);
    job->version++;
    return PS_OK;
}
