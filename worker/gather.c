/*
 * gather.c - gradients given entry by entry (COO, CSR), put together row by row.
 *
 * The entries are sorted by row, those of one row in the order they were given, and
 * added up in rows of zeros, which then go the way of any push.
 */
#include "worker/worker_private.h"

#include <stdlib.h>
#include <string.h>

struct entry {
    uint64_t row, col;
    uint64_t at; /* its value's index */
};

/* What a call gives, and what becomes of it. */
struct gather {
    ps_matrix                   *matrix;
    const struct ps_matrix_spec *spec;
    const void                  *given; /* values */

    uint64_t      n; /* entries */
    struct entry *entries;

    uint64_t  n_rows;
    uint64_t *rows;   /* [n_rows] ascending */
    uint8_t  *values; /* [n_rows][cols] */
};

static ps_status no_memory(const struct gather *g)
{
    return ps_fail(PS_ERR_NO_MEMORY,
                   "push of %s: no memory for %ju entries in %ju rows", g->spec->name,
                   (uintmax_t)g->n, (uintmax_t)g->n_rows);
}

static ps_status begin(struct gather *g, ps_matrix *m, const void *values,
                       bool complete, ps_ticket **out)
{
    ps_status st;

    if (!m || !out)
        return ps_fail(PS_ERR_BAD_ARG, "push: no matrix, or no place for the ticket");
    st = psw_begin(psw_matrix_owner(m));
    if (st)
        return st;
    *g = (struct gather){ .matrix = m, .spec = psw_matrix_spec(m), .given = values };
    if (!complete)
        return ps_fail(PS_ERR_BAD_ARG, "push of %s: rows, columns or values are NULL",
                       g->spec->name);
    return PS_OK;
}

static ps_status make_entries(struct gather *g, uint64_t n)
{
    g->n = n;
    g->entries = reallocarray(NULL, n + 1, sizeof(*g->entries));
    return g->entries ? PS_OK : no_memory(g);
}

static void end(struct gather *g)
{
    free(g->entries);
    free(g->rows);
    free(g->values);
}

/* Entry i of what the caller counts. */
static ps_status check_entry(const struct gather *g, uint64_t i, uint64_t row,
                             uint64_t col)
{
    if (col >= g->spec->cols)
        return ps_fail(
            PS_ERR_SHAPE, "push of %s: entry %ju is in column %ju, but it has %ju",
            g->spec->name, (uintmax_t)i, (uintmax_t)col, (uintmax_t)g->spec->cols);
    if (!g->spec->sparse && row >= g->spec->rows)
        return ps_fail(
            PS_ERR_SHAPE, "push of %s: entry %ju is in row %ju, but it has %ju",
            g->spec->name, (uintmax_t)i, (uintmax_t)row, (uintmax_t)g->spec->rows);
    return PS_OK;
}

static int by_row(const void *a, const void *b)
{
    const struct entry *x = a, *y = b;

    if (x->row != y->row)
        return x->row < y->row ? -1 : 1;
    return x->at < y->at ? -1 : x->at > y->at;
}

static bool is_sorted(const struct gather *g)
{
    for (uint64_t i = 1; i < g->n; i++)
        if (g->entries[i].row < g->entries[i - 1].row)
            return false;
    return true;
}

static void add(uint32_t dtype, void *sums, uint64_t col, const void *values,
                uint64_t at)
{
    switch ((ps_dtype)dtype) {
    case PS_F32: ((float *)sums)[col] += ((const float *)values)[at]; break;
    case PS_F64: ((double *)sums)[col] += ((const double *)values)[at]; break;
    case PS_I64: /* around the end, as the servers add */
        ((uint64_t *)sums)[col] += ((const uint64_t *)values)[at];
        break;
    }
}

static ps_status make_rows(struct gather *g)
{
    size_t row_bytes = g->spec->cols * ps_dtype_bytes(g->spec->dtype);

    for (uint64_t i = 0; i < g->n; i++)
        g->n_rows += i == 0 || g->entries[i].row != g->entries[i - 1].row;
    g->rows = reallocarray(NULL, g->n_rows + 1, sizeof(*g->rows));
    g->values = calloc(g->n_rows + 1, row_bytes);
    return g->rows && g->values ? PS_OK : no_memory(g);
}

static ps_status sum(struct gather *g)
{
    size_t    row_bytes = g->spec->cols * ps_dtype_bytes(g->spec->dtype);
    uint8_t  *row = NULL;
    uint64_t  n = 0;
    ps_status st;

    if (!is_sorted(g))
        qsort(g->entries, g->n, sizeof(*g->entries), by_row);
    st = make_rows(g);
    for (uint64_t i = 0; !st && i < g->n; i++) {
        const struct entry *e = &g->entries[i];

        if (i == 0 || e->row != e[-1].row) {
            row = g->values + n * row_bytes;
            g->rows[n++] = e->row;
        }
        add(g->spec->dtype, row, e->col, g->given, e->at);
    }
    return st;
}

/* Rows that follow one another are one range of elements. */
static uint32_t make_spans(const struct gather *g, struct psw_span *spans)
{
    const uint64_t cols = g->spec->cols;
    const size_t   row_bytes = cols * ps_dtype_bytes(g->spec->dtype);
    uint32_t       n = 0;

    for (uint64_t i = 0; i < g->n_rows; i++) {
        if (i > 0 && g->rows[i] == g->rows[i - 1] + 1)
            spans[n - 1].count += cols;
        else
            spans[n++] = (struct psw_span){ .matrix = g->matrix,
                                            .first = g->rows[i] * cols,
                                            .count = cols,
                                            .gradient = g->values + i * row_bytes };
    }
    return n;
}

static ps_status push_dense(const struct gather *g, ps_ticket **out)
{
    struct psw_span *spans;
    ps_status        st;

    if (g->n_rows > UINT32_MAX)
        return ps_fail(PS_ERR_LIMIT, "push of %s: entries in %ju rows, at most %u",
                       g->spec->name, (uintmax_t)g->n_rows, UINT32_MAX);
    spans = reallocarray(NULL, g->n_rows + 1, sizeof(*spans));
    if (!spans)
        return no_memory(g);
    st = psw_move(psw_matrix_owner(g->matrix), PSW_PUSH, spans, make_spans(g, spans),
                  out);
    free(spans);
    return st;
}

/* The gradients are copied when the move is made. */
static ps_status push(struct gather *g, ps_ticket **out)
{
    ps_status st = sum(g);

    if (st)
        return st;
    if (!g->spec->sparse)
        return push_dense(g, out);
    return psw_move(psw_matrix_owner(g->matrix), PSW_PUSH,
                    &(struct psw_span){ .matrix = g->matrix,
                                        .count = g->n_rows,
                                        .keys = g->rows,
                                        .gradient = g->values },
                    1, out);
}

ps_status ps_push_coo_async(ps_matrix *m, uint64_t n, const uint64_t *rows,
                            const uint64_t *cols, const void *values, ps_ticket **out)
{
    struct gather g = { .n = 0 };
    ps_status     st = begin(&g, m, values, n == 0 || (rows && cols && values), out);

    if (!st)
        st = make_entries(&g, n);
    for (uint64_t i = 0; !st && i < n; i++) {
        st = check_entry(&g, i, rows[i], cols[i]);
        g.entries[i] = (struct entry){ rows[i], cols[i], i };
    }
    if (!st)
        st = push(&g, out);
    end(&g);
    return st;
}

static ps_status check_starts(const struct gather *g, uint64_t n_rows,
                              const uint64_t *starts)
{
    for (uint64_t r = 0; r < n_rows; r++)
        if (starts[r + 1] < starts[r])
            return ps_fail(PS_ERR_BAD_ARG,
                           "push of %s: row %ju ends at entry %ju, before it starts at "
                           "%ju",
                           g->spec->name, (uintmax_t)r, (uintmax_t)starts[r + 1],
                           (uintmax_t)starts[r]);
    return PS_OK;
}

static ps_status take_csr(struct gather *g, uint64_t n_rows, const uint64_t *keys,
                          const uint64_t *starts, const uint64_t *cols)
{
    ps_status st = check_starts(g, n_rows, starts);

    if (!st)
        st = make_entries(g, n_rows ? starts[n_rows] - starts[0] : 0);
    for (uint64_t r = 0, n = 0; !st && r < n_rows; r++)
        for (uint64_t i = starts[r]; !st && i < starts[r + 1]; i++) {
            st = check_entry(g, i, keys ? keys[r] : r, cols[i]);
            g->entries[n++] = (struct entry){ keys ? keys[r] : r, cols[i], i };
        }
    return st;
}

ps_status ps_push_csr_async(ps_matrix *m, uint64_t n_rows, const uint64_t *row_keys,
                            const uint64_t *row_starts, const uint64_t *cols,
                            const void *values, ps_ticket **out)
{
    struct gather g = { .n = 0 };
    bool          complete = n_rows == 0 || (row_starts && cols && values);
    ps_status     st = begin(&g, m, values, complete, out);

    if (!st)
        st = take_csr(&g, n_rows, row_keys, row_starts, cols);
    if (!st)
        st = push(&g, out);
    end(&g);
    return st;
}

ps_status ps_push_coo(ps_matrix *m, uint64_t n, const uint64_t *rows,
                      const uint64_t *cols, const void *values)
{
    ps_ticket *t = NULL;
    ps_status  st = ps_push_coo_async(m, n, rows, cols, values, &t);

    return st ? st : psw_wait(psw_ticket_owner(t), &t);
}

ps_status ps_push_csr(ps_matrix *m, uint64_t n_rows, const uint64_t *row_keys,
                      const uint64_t *row_starts, const uint64_t *cols,
                      const void *values)
{
    ps_ticket *t = NULL;
    ps_status st = ps_push_csr_async(m, n_rows, row_keys, row_starts, cols, values, &t);

    return st ? st : psw_wait(psw_ticket_owner(t), &t);
}
