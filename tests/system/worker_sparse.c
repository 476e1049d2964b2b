/*
 * worker_sparse.c - sparse matrices as a program sees them, against a psd that
 * sparse.sh has started.
 *
 *     worker_sparse CASE [FILE]
 *
 * Ends with 0 when everything was as expected; with 1 and a line that says what was
 * not; or with the exit code of the status that ended it, and its sentence.
 */
#include "tests/system/program.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* asp: a push is there when it is acknowledged. */
static ps_worker *joined(const char *job, int observer)
{
    ps_worker_options opt = PS_WORKER_OPTIONS;
    ps_settings      *settings;
    ps_worker        *w;

    must(ps_settings_parse(&settings, "job: {strategy: asp}\n"));
    opt.job = job;
    opt.workers = 1;
    opt.observer = observer;
    opt.settings = settings;
    must(ps_worker_open(&w, &opt));
    ps_settings_free(&settings);
    return w;
}

static ps_matrix *opened(ps_worker *w, const char *name, uint64_t cols,
                         uint64_t max_rows, ps_evict evict)
{
    ps_matrix_options o = PS_MATRIX_OPTIONS;
    ps_matrix        *m;

    o.optimiser = PS_ADD;
    o.max_rows = max_rows;
    o.evict = evict;
    must(ps_sparse(w, name, cols, &o, &m));
    return m;
}

/* Row `key` is set to (key + 1, key + 2, ...), once. */
static void push_keys(ps_matrix *m, const uint64_t *keys, uint64_t n)
{
    uint64_t cols = ps_matrix_cols(m);
    float   *g = calloc(n * cols, sizeof(*g));

    for (uint64_t i = 0; i < n; i++)
        for (uint64_t c = 0; c < cols; c++)
            g[i * cols + c] = (float)(keys[i] + 1 + c);
    must(ps_push_rows(m, keys, n, g));
    free(g);
}

static void push_first(ps_matrix *m, uint64_t n)
{
    uint64_t *keys = calloc(n, sizeof(*keys));

    for (uint64_t i = 0; i < n; i++)
        keys[i] = i * 7919 % n; /* in no order */
    push_keys(m, keys, n);
    free(keys);
}

/* ---- iteration ------------------------------------------------------------------ */

/* Every row below n is listed once, with its values, `room` at most at a time. */
static void list(ps_matrix *m, uint64_t n, uint64_t room)
{
    uint64_t cols = ps_matrix_cols(m), *keys = calloc(room, sizeof(*keys)), got = 1;
    float   *values = calloc(room * cols, sizeof(*values));
    char    *seen = calloc(n, 1);
    ps_rows *rows;

    must(ps_rows_open(m, &rows));
    while (got > 0) {
        must(ps_rows_next(rows, keys, values, room, &got));
        check(got <= room);
        for (uint64_t i = 0; i < got; i++) {
            check(keys[i] < n && !seen[keys[i]]++);
            for (uint64_t c = 0; c < cols; c++)
                check(values[i * cols + c] == (float)(keys[i] + 1 + c));
        }
    }
    must(ps_rows_next(rows, keys, values, room, &got)); /* it stays at the end */
    check(got == 0);
    for (uint64_t i = 0; i < n; i++)
        check(seen[i]);
    ps_rows_close(&rows);
    check(rows == NULL);
    free(keys);
    free(values);
    free(seen);
}

static void run_list(const char *unused)
{
    ps_worker *w = joined("list", 0), *o;
    ps_matrix *m = opened(w, "rows", 3, 0, PS_EVICT_NONE), *wide, *dense, *seen;
    uint64_t   n;
    ps_rows   *rows;
    float      v[4];

    (void)unused;
    list(m, 0, 10);
    push_first(m, 150000); /* more than an answer, on any shard */
    list(m, 150000, 150000);
    list(m, 150000, 777);
    wide = opened(w, "wide", 1 << 18, 0, PS_EVICT_NONE); /* a row is 1 MiB */
    push_first(wide, 5);
    list(wide, 5, 3);

    o = joined("list", 1);
    seen = opened(o, "rows", 3, 0, PS_EVICT_NONE);
    list(seen, 150000, 5000);
    must(ps_worker_close(&o));

    must(ps_dense(w, "dense", 1, 4, NULL, &dense));
    refused(ps_rows_open(dense, &rows), PS_ERR_SHAPE, "rows of dense: it is dense");
    refused(ps_rows_open(NULL, &rows), PS_ERR_BAD_ARG, "no matrix");
    must(ps_rows_open(m, &rows));
    refused(ps_rows_next(rows, NULL, v, 1, &n), PS_ERR_BAD_ARG, "room for one row");
    refused(ps_rows_next(rows, &n, v, 0, &n), PS_ERR_BAD_ARG, "room for one row");
    ps_rows_close(&rows);
    must(ps_worker_close(&w));
}

/* ---- limits --------------------------------------------------------------------- */

static uint64_t count_rows(ps_matrix *m)
{
    uint64_t keys[512], n, sum = 0;
    float    values[512 * 2];
    ps_rows *rows;

    must(ps_rows_open(m, &rows));
    do {
        must(ps_rows_next(rows, keys, values, 512, &n));
        sum += n;
    } while (n > 0);
    ps_rows_close(&rows);
    return sum;
}

static void run_limits(const char *unused)
{
    ps_worker *w = joined("limits", 0);
    ps_matrix *none = opened(w, "none", 2, 300, PS_EVICT_NONE), *lru, *frequency;
    uint64_t   keys[2000], most = 300 + ps_n_shards(w);
    float      rows[2000][2];

    (void)unused;
    for (uint64_t i = 0; i < COUNT(keys); i++)
        keys[i] = i;
    memset(rows, 0, sizeof(rows));
    push_keys(none, keys, 200);
    refused(ps_push_rows(none, keys, 2000, rows), PS_ERR_LIMIT, "matrix none: ");
    refused(ps_pull_rows(none, keys, 2000, rows), PS_ERR_LIMIT,
            "max_rows 300 on shard");
    must(ps_pull_rows(none, keys, 200, rows));
    for (uint64_t i = 0; i < 200; i++)
        check(rows[i][0] == (float)(i + 1) && rows[i][1] == (float)(i + 2));
    must(ps_finish(w));
    check(count_rows(none) >= 200 && count_rows(none) <= most);

    lru = opened(w, "lru", 2, 300, PS_EVICT_LRU);
    frequency = opened(w, "frequency", 2, 300, PS_EVICT_FREQUENCY);
    for (int round = 0; round < 5; round++)
        push_keys(frequency, keys, 20); /* often used */
    for (uint64_t i = 0; i < 2000; i += 20) {
        push_keys(lru, keys + i, 20);
        push_keys(frequency, keys + i, 20);
    }
    check(count_rows(lru) >= 300 && count_rows(lru) <= most);
    check(count_rows(frequency) >= 300 && count_rows(frequency) <= most);
    must(ps_pull_rows(lru, keys + 1980, 20, rows)); /* the newest are there, */
    for (uint64_t i = 0; i < 20; i++)
        check(rows[i][0] == (float)(1980 + i + 1));
    must(ps_pull_rows(lru, keys, 20, rows)); /* the oldest begin anew; */
    for (uint64_t i = 0; i < 20; i++)
        check(rows[i][0] == 0);
    must(ps_pull_rows(frequency, keys, 20, rows)); /* not if they were used often */
    for (uint64_t i = 0; i < 20; i++)
        check(rows[i][0] == 6 * (float)(i + 1));
    must(ps_worker_close(&w));
}

/* ---- the hash ------------------------------------------------------------------- */

/* What ps_model_hash hashes, as ps/worker.h says it, for rows that `push_keys` set. */
static void write_model(FILE *f, const uint64_t *sorted, uint64_t n, uint64_t cols)
{
    uint32_t dtype = PS_F32;
    uint64_t rows = 0;

    fwrite("b.rows", 1, sizeof("b.rows"), f);
    fwrite(&dtype, sizeof(dtype), 1, f);
    fwrite(&rows, sizeof(rows), 1, f);
    fwrite(&cols, sizeof(cols), 1, f);
    for (uint64_t i = 0; i < n; i++) {
        fwrite(&sorted[i], sizeof(sorted[i]), 1, f);
        for (uint64_t c = 0; c < cols; c++) {
            float value = (float)(sorted[i] + 1 + c);

            fwrite(&value, sizeof(value), 1, f);
        }
    }
}

static void run_hash(const char *file)
{
    static const uint64_t sorted[] = {
        0, 1, 17, 4000, 123456789012345, UINT64_MAX - 9
    };
    static const uint64_t order[] = { 4000, UINT64_MAX - 9, 1, 123456789012345, 17, 0 };
    ps_worker            *w = joined("hash", 0);
    char                  hex[65];
    FILE                 *f = fopen(file, "wb");

    check(f != NULL);
    opened(w, "c.empty", 4, 0, PS_EVICT_NONE);
    push_keys(opened(w, "b.rows", 3, 0, PS_EVICT_NONE), order, COUNT(order));
    must(ps_model_hash(w, hex));
    write_model(f, sorted, COUNT(sorted), 3);
    fwrite("c.empty", 1, sizeof("c.empty"), f);
    fwrite((uint32_t[]){ PS_F32 }, sizeof(uint32_t), 1, f);
    fwrite((uint64_t[]){ 0, 4 }, sizeof(uint64_t), 2, f);
    check(fclose(f) == 0);
    puts(hex);
    must(ps_worker_close(&w));
}

/* ---- entry by entry ---------------------------------------------------------------
 */

static void see_row(ps_matrix *m, uint64_t key, double a, double b, double c)
{
    double v[3];

    if (ps_matrix_rows(m) == 0)
        must(ps_pull_rows(m, &key, 1, v));
    else
        must(ps_pull_range(m, 3 * key, 3, v));
    check(v[0] == a && v[1] == b && v[2] == c);
}

/* Entries of rows 70000, 5 and 70001 in no order, two of one element. */
static void push_entries(ps_matrix *m)
{
    static const uint64_t rows[] = { 70000, 5, 70001, 70000, 5, 70000 };
    static const uint64_t cols[] = { 2, 0, 1, 0, 1, 2 };
    static const double   values[] = { 1, 2, 4, 8, 16, 32 };
    static const uint64_t keys[] = { 70000, 6, 5, 70000 };
    static const uint64_t starts[] = { 1, 3, 3, 4, 6 };
    ps_ticket            *t;

    must(ps_push_coo(m, COUNT(rows), rows, cols, values));
    see_row(m, 70000, 8, 0, 33);
    see_row(m, 70001, 0, 4, 0);
    see_row(m, 5, 2, 16, 0);
    must(ps_push_csr_async(m, COUNT(keys), keys, starts, cols, values, &t));
    must(ps_wait(&t));
    see_row(m, 70000, 8 + 2 + 32 - 32 + 0, 4 + 16, 33 + 32);
    see_row(m, 5, 2 + 8, 16, 0);
    must(ps_push_csr(m, 2, NULL, starts, cols, values)); /* row 0: entries 1, 2 */
    see_row(m, 0, 2, 4, 0);
    see_row(m, 1, 0, 0, 0);
    must(ps_push_coo(m, 0, NULL, NULL, NULL));
    must(ps_push_csr(m, 0, NULL, NULL, NULL, NULL));
}

static void refuse_entries(ps_matrix *m)
{
    static const uint64_t rows[] = { 1, 2 }, cols[] = { 2, 3 }, back[] = { 2, 1 };
    static const double   values[] = { 1, 1, 1 };

    refused(ps_push_coo(m, 2, rows, cols, values), PS_ERR_SHAPE,
            "entry 1 is in column 3, but it has 3");
    refused(ps_push_csr(m, 1, NULL, back, cols, values), PS_ERR_BAD_ARG,
            "row 0 ends at entry 1, before it starts at 2");
    refused(ps_push_coo(m, 2, rows, cols, NULL), PS_ERR_BAD_ARG, "are NULL");
    refused(ps_push_coo(NULL, 0, NULL, NULL, NULL), PS_ERR_BAD_ARG, "no matrix");
    see_row(m, 1, 0, 0, 0);
    see_row(m, 2, 0, 0, 0);
}

static void run_entries(const char *unused)
{
    static const uint64_t outside[] = { 70002 }, first[] = { 0, 0, 0 };
    static const int64_t  counts[] = { INT64_MAX, 1, 5 };
    static const double   one[] = { 1 };
    ps_worker            *w = joined("entries", 0);
    ps_matrix_options     o = PS_MATRIX_OPTIONS;
    ps_matrix            *m;
    int64_t               sum;

    (void)unused;
    o.dtype = PS_F64;
    o.optimiser = PS_ADD;
    must(ps_dense(w, "dense", 70002, 3, &o, &m));
    push_entries(m);
    refuse_entries(m);
    refused(ps_push_coo(m, 1, outside, first, one), PS_ERR_SHAPE,
            "entry 0 is in row 70002, but it has 70002");
    must(ps_sparse(w, "sparse", 3, &o, &m));
    must(ps_push_coo(m, 1, outside, first, one));
    see_row(m, 70002, 1, 0, 0);
    push_entries(m);
    refuse_entries(m);
    o.dtype = PS_I64;
    must(ps_sparse(w, "counts", 1, &o, &m));
    must(ps_push_coo(m, COUNT(counts), first, first, counts));
    must(ps_pull_rows(m, first, 1, &sum));
    check(sum == INT64_MIN + 5);
    must(ps_worker_close(&w));
}

static const struct {
    const char *name;
    void (*run)(const char *file);
} cases[] = {
    { "list", run_list },
    { "limits", run_limits },
    { "hash", run_hash },
    { "entries", run_entries },
};

int main(int argc, char **argv)
{
    for (size_t i = 0; argc > 1 && i < COUNT(cases); i++)
        if (!strcmp(argv[1], cases[i].name)) {
            cases[i].run(argv[2]);
            return 0;
        }
    fprintf(stderr, "usage: worker_sparse CASE [FILE]\n");
    return 64;
}
