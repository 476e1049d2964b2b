/*
 * worker_api.c - the worker library as a program sees it: <ps/worker.h> and nothing
 * else, against a psd that worker.sh has started.
 *
 *     worker_api CASE [ARGUMENT]
 *
 * Ends with 0 when everything was as expected; with 1 and a line that says what was
 * not; or with the exit code of the status that ended it, and its sentence.
 */
#include "tests/system/program.h"

#include <inttypes.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

static ps_worker *joined(const char *job, uint32_t workers, int rank)
{
    ps_worker_options opt = PS_WORKER_OPTIONS;
    ps_worker        *w;

    opt.job = job;
    opt.workers = workers;
    opt.rank = rank;
    must(ps_worker_open(&w, &opt));
    return w;
}

/* What is pushed is added: the sums are exact, so the tests can be, too. */
static ps_matrix_options adding(ps_dtype dtype)
{
    ps_matrix_options o = PS_MATRIX_OPTIONS;

    o.dtype = dtype;
    o.optimiser = PS_ADD;
    return o;
}

static void open_dense(ps_worker *w, const char *name, uint64_t rows, uint64_t cols,
                       ps_dtype dtype, ps_matrix **m)
{
    ps_matrix_options o = adding(dtype);

    must(ps_dense(w, name, rows, cols, &o, m));
}

/* ---- what works ----------------------------------------------------------------- */

#define N 300007u /* odd, and more than a chunk and a shard */

static void run_dense(const char *unused)
{
    ps_worker *w = joined("dense", 1, 0);
    float     *f = calloc(N, sizeof(*f)), *f2 = calloc(N, sizeof(*f2));
    double    *d = calloc(N, sizeof(*d));
    int64_t   *n = calloc(N, sizeof(*n));
    ps_matrix *mf, *md, *mn;

    (void)unused;
    open_dense(w, "f32", 1, N, PS_F32, &mf);
    open_dense(w, "f64", N, 1, PS_F64, &md);
    open_dense(w, "i64", 1, N, PS_I64, &mn);
    check(ps_matrix_dtype(md) == PS_F64 && ps_matrix_rows(md) == N);
    check(strcmp(ps_matrix_name(mn), "i64") == 0 && ps_matrix_cols(mn) == N);
    for (uint32_t i = 0; i < N; i++) {
        f[i] = (float)i;
        d[i] = 1.0 / (i + 1.0);
        n[i] = INT64_C(1) << 60 | i;
    }
    must(ps_push(mf, f));
    must(ps_push_any(md, d));
    must(ps_push_any(mn, n));
    must(ps_push_range(mf, 1001, 100000, f)); /* crosses chunks and shards */
    must(ps_finish(w));
    check(ps_clock(w) == 1);

    must(ps_pull(mf, f2));
    for (uint32_t i = 0; i < N; i++)
        check(f2[i] == f[i] + (i >= 1001 && i < 101001 ? f[i - 1001] : 0.0f));
    memset(d, 0, N * sizeof(*d));
    must(ps_pull_any(md, d));
    for (uint32_t i = 0; i < N; i++)
        check(d[i] == 1.0 / (i + 1.0));
    memset(n, 0, N * sizeof(*n));
    must(ps_pull_range(mn, 7, N - 7, n + 7));
    for (uint32_t i = 0; i < N; i++)
        check(n[i] == (i < 7 ? 0 : INT64_C(1) << 60 | i));
    must(ps_pull_range(mf, N, 0, f)); /* nothing, at the end */
    must(ps_worker_close(&w));
    check(w == NULL);
    free(f);
    free(f2);
    free(d);
    free(n);
}

static void run_sparse(const char *unused)
{
    ps_worker        *w = joined("sparse", 1, 0);
    ps_matrix_options o = adding(PS_F32);
    uint64_t          keys[] = { 5, 1, UINT64_MAX, 5, 0, 123456789012345 };
    float             g[COUNT(keys)][3], v[COUNT(keys)][3];
    enum { MANY = 50000 };
    uint64_t  *many = calloc(MANY, sizeof(*many));
    float     *rows = calloc(MANY, 3 * sizeof(*rows));
    ps_matrix *m;

    (void)unused;
    o.init = PS_INIT_CONSTANT;
    o.init_a = 0.5;
    must(ps_sparse(w, "rows", 3, &o, &m));
    check(ps_matrix_rows(m) == 0 && ps_matrix_cols(m) == 3);
    for (size_t i = 0; i < COUNT(keys); i++)
        for (size_t c = 0; c < 3; c++)
            g[i][c] = (float)(100 * (i + 1) + c);
    must(ps_push_rows(m, keys, COUNT(keys), g));
    must(ps_finish(w));
    must(ps_pull_rows(m, keys, COUNT(keys), v));
    for (size_t i = 0; i < COUNT(keys); i++)
        for (size_t c = 0; c < 3; c++) {
            float sum = keys[i] == 5 ? g[0][c] + g[3][c] : g[i][c];

            check(v[i][c] == 0.5f + sum); /* a key named twice counts twice */
        }

    for (uint64_t i = 0; i < MANY; i++) { /* more than one request per shard */
        many[i] = 1000 + 7 * i;
        rows[3 * i + 1] = (float)i;
    }
    must(ps_push_rows(m, many, MANY, rows));
    must(ps_finish(w));
    memset(rows, 0, MANY * 3 * sizeof(*rows));
    must(ps_pull_rows(m, many, MANY, rows));
    for (uint64_t i = 0; i < MANY; i++)
        check(rows[3 * i] == 0.5f && rows[3 * i + 1] == 0.5f + (float)i);
    must(ps_pull_rows(m, NULL, 0, NULL));
    must(ps_worker_close(&w));
    free(many);
    free(rows);
}

static void run_async(const char *unused)
{
    enum { MANY = 40 };
    ps_worker *w = joined("async", 1, 0);
    ps_matrix *m;
    ps_ticket *push[MANY], *pull[MANY], *left;
    float      g[1000], v[MANY][1000];

    (void)unused;
    open_dense(w, "w", 10, 100, PS_F32, &m);
    for (int t = 0; t < MANY; t++) {
        for (int i = 0; i < 1000; i++)
            g[i] = 1;
        must(ps_push_async(m, g, &push[t]));
        memset(g, 0xff, sizeof(g)); /* it was copied */
    }
    must(ps_finish(w));
    for (int t = 0; t < MANY; t++)
        must(ps_pull_async(m, v[t], &pull[t]));
    for (int t = MANY - 1; t >= 0; t--) {
        while (!ps_done(pull[t]))
            ;
        must(ps_wait(&pull[t]));
        check(pull[t] == NULL);
        must(ps_wait(&push[t]));
        check(v[t][0] == MANY && v[t][999] == MANY);
    }
    refused(ps_wait(&pull[0]), PS_ERR_BAD_ARG, "no ticket");
    must(ps_pull_async(m, v[0], &left)); /* closed with its worker */
    must(ps_worker_close(&w));
}

/* Matrices of 12 bytes to 10 MiB; rank and number of workers come from the
 * environment. */
static void run_model(const char *unused)
{
    static const uint64_t sizes[] = { 26214, 262144, 3, 655361, 2621440 };
    enum { MATRICES = COUNT(sizes), ROUNDS = 5 };
    ps_worker_options opt = PS_WORKER_OPTIONS;
    ps_worker        *w;
    ps_model         *model;
    float            *value[MATRICES], *grad[MATRICES];
    ps_matrix        *m;
    char              name[16];

    (void)unused;
    opt.job = "model";
    must(ps_worker_open(&w, &opt));
    must(ps_model_new(&model, w));
    for (size_t i = 0; i < MATRICES; i++) {
        snprintf(name, sizeof(name), "m%zu", i);
        open_dense(w, name, 1, sizes[i], PS_F32, &m);
        value[i] = calloc(sizes[i], sizeof(float));
        grad[i] = calloc(sizes[i], sizeof(float));
        must(ps_model_add(model, m, value[i], grad[i]));
    }
    must(ps_model_pull(model));
    for (int t = 1; t <= ROUNDS; t++) {
        for (size_t i = 0; i < MATRICES; i++)
            for (uint64_t k = 0; k < sizes[i]; k++)
                grad[i][k] = (float)((k % 100) * (ps_rank(w) + 1));
        if (t % 2) {
            must(ps_model_push_pull(model));
        } else {
            must(ps_model_push(model));
            must(ps_finish(w));
            must(ps_model_pull(model));
        }
        check(ps_clock(w) == (uint64_t)t);
        for (size_t i = 0; i < MATRICES; i++)
            for (uint64_t k = 0; k < sizes[i]; k++) {
                uint32_t n = ps_workers(w);

                /* 1 + 2 + ... + n times k, added t times: small and exact */
                check(value[i][k] == (float)((k % 100) * (n * (n + 1) / 2)) * (float)t);
            }
    }
    must(ps_report(w, "done", 1));
    must(ps_worker_close(&w));
    for (size_t i = 0; i < MATRICES; i++) {
        free(value[i]);
        free(grad[i]);
    }
}

/* Weighted mean under sgd: both workers end with the same values. */
static void run_mean(const char *unused)
{
    ps_worker_options opt = PS_WORKER_OPTIONS;
    ps_worker        *w;
    ps_matrix        *m;
    float             v[4], g[4];

    (void)unused;
    opt.job = "mean";
    must(ps_worker_open(&w, &opt));
    must(ps_dense(w, "w", 2, 2, NULL, &m));
    must(ps_weight(w, ps_rank(w) == 0 ? 1 : 3));
    for (int i = 0; i < 4; i++)
        g[i] = ps_rank(w) == 0 ? 4.0f : 8.0f;
    must(ps_push(m, g));
    must(ps_finish(w));
    must(ps_pull(m, v));
    for (int i = 0; i < 4; i++) /* lr 0.01 * (1 * 4 + 3 * 8) / 4 */
        check(fabsf(v[i] + 0.07f) < 1e-6f);
    must(ps_worker_close(&w));
}

/* Says the hash of a model whose values depend on nothing but its job. */
static void run_hash(const char *job)
{
    ps_worker        *w = joined(job, 1, 0);
    ps_matrix_options o = PS_MATRIX_OPTIONS;
    ps_matrix        *m;
    float            *g = calloc(N, sizeof(*g));
    char              hex[65], name[16];

    o.init = PS_INIT_NORMAL;
    o.init_b = 1;
    for (int i = 0; i < 40; i++) { /* more than one answer of names */
        snprintf(name, sizeof(name), "layer%02d", i);
        must(ps_dense(w, name, 3, 5 + (uint64_t)i, &o, &m));
    }
    o.dtype = PS_F64;
    must(ps_dense(w, "double", 100, 1001, &o, &m));
    o.dtype = PS_F32;
    must(ps_sparse(w, "rows", 8, &o, &m));
    must(ps_dense(w, "large", 1, N, &o, &m));
    for (uint32_t i = 0; i < N; i++)
        g[i] = (float)(i % 17) - 8;
    must(ps_push(m, g));
    must(ps_finish(w));
    must(ps_model_hash(w, hex));
    check(strlen(hex) == 64);
    printf("%s\n", hex);
    must(ps_worker_close(&w));
    free(g);
}

/* A worker and an observer of its job, in one thread. */
static void run_observer(const char *unused)
{
    ps_worker_options opt = PS_WORKER_OPTIONS;
    ps_worker        *w, *o;
    ps_matrix        *m, *seen;
    ps_matrix_options mo = adding(PS_F32);
    float             v[2] = { 0 };
    const float       g[2] = { 1, 2 };

    (void)unused;
    opt.job = "observed";
    opt.observer = 1;
    refused(ps_worker_open(&o, &opt), PS_ERR_UNKNOWN, "observed");
    w = joined("observed", 2, 1);
    open_dense(w, "w", 1, 2, PS_F32, &m);
    must(ps_worker_open(&o, &opt));
    check(ps_workers(o) == 2);
    refused(ps_dense(o, "new", 1, 2, &mo, &seen), PS_ERR_UNKNOWN, "new");
    must(ps_dense(o, "w", 1, 2, &mo, &seen));
    must(ps_push(m, g)); /* rank 0 is missing: the iteration stays open */
    must(ps_finish(w));
    must(ps_pull(seen, v)); /* and does not wait */
    check(v[0] == 0 && v[1] == 0);
    refused(ps_push(seen, v), PS_ERR_BAD_ARG, "neither pushes nor finishes");
    refused(ps_finish(o), PS_ERR_BAD_ARG, "neither pushes nor finishes");
    must(ps_report(o, "seen", 1));
    must(ps_worker_close(&o));
    must(ps_worker_close(&w));
}

/* ---- what is refused ------------------------------------------------------------ */

static void run_shapes(const char *unused)
{
    ps_worker        *w = joined("shapes", 1, 0);
    ps_matrix_options o = PS_MATRIX_OPTIONS;
    ps_matrix        *m, *d, *s, *none;
    float             v[6] = { 0 };
    uint64_t          key = 1;

    (void)unused;
    must(ps_dense(w, "w", 2, 3, NULL, &m));
    must(ps_sparse(w, "s", 3, NULL, &s));
    o.dtype = PS_F64;
    must(ps_dense(w, "d", 2, 3, &o, &d));
    refused(ps_dense(w, "w", 3, 2, NULL, &none), PS_ERR_SHAPE, "w");
    refused(ps_dense(w, "w", 2, 3, &o, &none), PS_ERR_SHAPE, "w");
    o = (ps_matrix_options)PS_MATRIX_OPTIONS;
    o.init = PS_INIT_CONSTANT;
    o.init_a = 1;
    refused(ps_dense(w, "w", 2, 3, &o, &none), PS_ERR_MISMATCH, "w");
    o = (ps_matrix_options)PS_MATRIX_OPTIONS;
    o.open_only = 1;
    refused(ps_dense(w, "nobody", 2, 3, &o, &none), PS_ERR_UNKNOWN, "nobody");
    o.size = 0;
    refused(ps_dense(w, "w", 2, 3, &o, &none), PS_ERR_BAD_ARG, "size");
    refused(ps_dense(w, "", 2, 3, NULL, &none), PS_ERR_BAD_ARG, "name");
    refused(ps_dense(w, "zero", 0, 3, NULL, &none), PS_ERR_BAD_ARG, "0 x 3");
    o = (ps_matrix_options)PS_MATRIX_OPTIONS;
    o.dtype = PS_I64;
    check(ps_dense(w, "counter", 1, 1, &o, &none) != PS_OK); /* not with sgd */

    refused(ps_pull(d, v), PS_ERR_SHAPE, "f64");
    refused(ps_push(d, v), PS_ERR_SHAPE, "f64");
    refused(ps_pull_range(m, 4, 3, v), PS_ERR_SHAPE, "3 elements from 4 on");
    refused(ps_pull_range(m, UINT64_MAX, 2, v), PS_ERR_SHAPE, "it has 6");
    refused(ps_pull(s, v), PS_ERR_SHAPE, "sparse");
    refused(ps_push_rows(m, &key, 1, v), PS_ERR_SHAPE, "dense");
    refused(ps_pull(NULL, v), PS_ERR_BAD_ARG, "NULL");
    refused(ps_pull(m, NULL), PS_ERR_BAD_ARG, "NULL");
    refused(ps_finish(NULL), PS_ERR_BAD_ARG, "NULL");
    refused(ps_weight(w, -1), PS_ERR_BAD_ARG, "-1");
    must(ps_pull(m, v)); /* all is well after all that */
    must(ps_worker_close(&w));
}

static void run_nonfinite(const char *unused)
{
    ps_worker *w = joined("nonfinite", 1, 0);
    ps_matrix *m;
    ps_ticket *t;
    float      v[2], bad[2] = { 1, NAN }, good[2] = { 1, 2 };

    (void)unused;
    open_dense(w, "w", 1, 2, PS_F32, &m);
    refused(ps_push(m, bad), PS_ERR_NONFINITE, "NaN");
    must(ps_push(m, good)); /* the iteration goes on */
    must(ps_finish(w));
    must(ps_pull(m, v));
    check(v[0] == 1 && v[1] == 2);

    must(ps_push_async(m, bad, &t));
    refused(ps_finish(w), PS_ERR_NONFINITE, "NaN"); /* nobody has waited for it */
    refused(ps_wait(&t), PS_ERR_NONFINITE, "NaN");
    for (int i = 0; i < 1100; i++) { /* more refusals than the shard remembers */
        check(ps_push(m, bad) == PS_ERR_NONFINITE);
        if (i % 100 == 0)
            must(ps_finish(w));
    }
    must(ps_push(m, good));
    must(ps_finish(w));
    must(ps_pull(m, v));
    check(v[0] == 2 && v[1] == 4);
    must(ps_worker_close(&w));
}

static void run_ranks(const char *unused)
{
    ps_worker        *w = joined("ranks", 2, 1), *other = NULL;
    ps_worker_options opt = PS_WORKER_OPTIONS;

    (void)unused;
    opt.job = "ranks";
    opt.workers = 2;
    opt.rank = 1;
    refused(ps_worker_open(&other, &opt), PS_ERR_RANK, "rank 1 of job ranks is taken");
    opt.rank = 2;
    refused(ps_worker_open(&other, &opt), PS_ERR_RANK, "rank 2");
    opt.rank = 0;
    opt.workers = 3;
    refused(ps_worker_open(&other, &opt), PS_ERR_MISMATCH, "workers");
    opt.workers = 2;
    opt.clocks_per_epoch = 17;
    refused(ps_worker_open(&other, &opt), PS_ERR_MISMATCH, "clocks_per_epoch");
    check(other == NULL);
    opt.clocks_per_epoch = 0;
    must(ps_worker_open(&other, &opt));
    must(ps_worker_close(&other));
    must(ps_worker_close(&w));
}

/* An experiment file whose optimiser is not the one that the job began with. */
static void run_mismatch(const char *file)
{
    ps_worker        *w = joined("mismatch", 1, 0), *other;
    ps_worker_options opt = PS_WORKER_OPTIONS;
    ps_settings      *settings;

    must(ps_settings_load(&settings, file));
    opt.job = "mismatch";
    opt.settings = settings;
    refused(ps_worker_open(&other, &opt), PS_ERR_MISMATCH, "optimiser");
    ps_settings_free(&settings);
    must(ps_worker_close(&w));
}

/* Strategy and optimiser from the program's own text. */
static void run_settings(const char *unused)
{
    ps_worker_options opt = PS_WORKER_OPTIONS;
    ps_settings      *settings;
    ps_worker        *w;
    ps_matrix        *m;
    float             v[2], g[2] = { 5, -5 };

    (void)unused;
    refused(ps_settings_parse(&settings, "optimiser: {nane: adam}"), PS_ERR_CONFIG,
            "settings:1: optimiser.nane: unknown key");
    must(ps_settings_parse(&settings, "job: {strategy: asp}\n"
                                      "optimiser: {name: adam, lr: 0.25}\n"));
    opt.job = "settings";
    opt.workers = 2; /* under bsp the pull below would wait for the other one */
    opt.rank = 0;
    opt.settings = settings;
    must(ps_worker_open(&w, &opt));
    must(ps_dense(w, "w", 1, 2, NULL, &m));
    must(ps_push(m, g));
    must(ps_finish(w));
    must(ps_pull(m, v));
    check(fabsf(v[0] + 0.25f) < 1e-5f && fabsf(v[1] - 0.25f) < 1e-5f);
    must(ps_worker_close(&w));
    ps_settings_free(&settings);
}

static void run_forked(const char *unused)
{
    ps_worker *w = joined("forked", 1, 0);
    ps_matrix *m;
    ps_ticket *t;
    float      v[2], g[2] = { 1, 1 };
    int        status;

    (void)unused;
    open_dense(w, "w", 1, 2, PS_F32, &m);
    must(ps_push_async(m, g, &t));
    if (fork() == 0) {
        refused(ps_pull(m, v), PS_ERR_FORKED, "child");
        refused(ps_wait(&t), PS_ERR_FORKED, "child");
        refused(ps_report(w, "loss", 1), PS_ERR_FORKED, "child");
        refused(ps_worker_close(&w), PS_ERR_FORKED, "another process");
        check(w == NULL);
        _exit(0);
    }
    check(wait(&status) > 0 && status == 0);
    must(ps_wait(&t)); /* the parent has noticed nothing */
    must(ps_finish(w));
    must(ps_pull(m, v));
    check(v[0] == 1);
    must(ps_worker_close(&w));
}

static void run_timeout(const char *unused)
{
    ps_worker_options opt = PS_WORKER_OPTIONS;
    ps_worker        *w;
    ps_matrix        *m;
    float             v[2] = { 7, 7 };

    (void)unused;
    opt.job = "timeout";
    opt.workers = 2; /* the other one never comes */
    opt.rank = 0;
    opt.timeout_ms = 1500;
    must(ps_worker_open(&w, &opt));
    must(ps_dense(w, "w", 1, 2, NULL, &m));
    must(ps_finish(w));
    refused(ps_pull(m, v), PS_ERR_TIMEOUT,
            "job timeout: iteration 1 waits for worker 1 (not joined yet)");
    must(ps_report(w, "waited", 1.5)); /* the worker is as good as before */
    must(ps_worker_close(&w));
    check(v[0] == 7 && v[1] == 7);
}

/* Opens, and says why not. */
static void run_open(const char *unused)
{
    ps_worker *w;

    (void)unused;
    must(ps_worker_open(&w, NULL));
    must(ps_worker_close(&w));
}

/* Waits for an iteration that cannot close until the server ends; `file` says when. */
static void run_waiting(const char *file)
{
    ps_worker      *w = joined("waiting", 2, 0);
    ps_matrix      *m;
    float           v[2];
    struct timespec before, after;
    FILE           *f;
    ps_status       st;
    int             code;

    must(ps_dense(w, "w", 1, 2, NULL, &m));
    must(ps_finish(w));
    f = fopen(file, "w");
    check(f != NULL);
    fclose(f);
    st = ps_pull(m, v);
    fprintf(stderr, "%s: %s\n", ps_status_text(st), ps_why());
    code = ps_status_exit_code(st);
    clock_gettime(CLOCK_MONOTONIC, &before);
    check(ps_worker_close(&w) != PS_OK);
    clock_gettime(CLOCK_MONOTONIC, &after);
    check(after.tv_sec - before.tv_sec < 3); /* it does not wait for the dead again */
    exit(code);
}

/* Computes for longer than a silent worker is waited for. */
static void run_busy(const char *seconds)
{
    ps_worker *w = joined("busy", 1, 0);
    ps_matrix *m;
    float      v[2], g[2] = { 1, 2 };

    open_dense(w, "w", 1, 2, PS_F32, &m);
    sleep((unsigned)atoi(seconds));
    must(ps_push(m, g));
    must(ps_finish(w));
    must(ps_pull(m, v));
    check(v[1] == 2);
    must(ps_worker_close(&w));
}

/* Leaves with a reason while another worker waits for it. */
static void run_abandoned(const char *unused)
{
    ps_worker *stays = joined("abandoned", 2, 0), *goes = joined("abandoned", 2, 1);
    ps_matrix *m;
    float      v[2], g[2] = { 1, 1 };

    (void)unused;
    open_dense(stays, "w", 1, 2, PS_F32, &m);
    must(ps_push(m, g));
    must(ps_finish(stays));
    ps_worker_abandon(&goes, "out of disk");
    check(goes == NULL);
    must(ps_pull(m, v)); /* the others go on without it */
    check(v[0] == 1);
    must(ps_worker_close(&stays));
}

static double now(void)
{
    struct timespec t;

    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec + 1e-9 * (double)t.tv_nsec;
}

/* Longer is always possible; shorter is not. */
static void expect_pause(ps_worker *w, double worked, double least)
{
    double began = now();

    must(ps_pace(w, worked));
    check(now() - began >= least);
}

static void run_pace(const char *argument)
{
    ps_worker *w = joined("pace", 1, 0);

    (void)argument;
    expect_pause(w, 1e9, 0); /* as fast as it can */
    setenv("PSW_PACE", "0.02", 1);
    expect_pause(w, 0.005, 0.014);
    setenv("PSW_SLOW", "2", 1);
    expect_pause(w, 0.025, 0.024);
    setenv("PSW_PACE", "", 1);
    setenv("PSW_SLOW", "", 1);
    setenv("PSW_HICCUPS", "1:4", 1);
    expect_pause(w, 0.01, 0.029);
    refused(ps_pace(w, -1), PS_ERR_BAD_ARG, "work of -1 seconds, expected 0 or more");
    refused(ps_pace(w, NAN), PS_ERR_BAD_ARG, "expected 0 or more");
    setenv("PSW_HICCUPS", "often", 1);
    refused(ps_pace(w, 0), PS_ERR_CONFIG, "PSW_HICCUPS: \"often\"");
    must(ps_worker_close(&w));
}

static const struct {
    const char *name;
    void (*run)(const char *argument);
} cases[] = {
    { "dense", run_dense },         { "sparse", run_sparse },
    { "async", run_async },         { "model", run_model },
    { "mean", run_mean },           { "hash", run_hash },
    { "observer", run_observer },   { "shapes", run_shapes },
    { "ranks", run_ranks },         { "nonfinite", run_nonfinite },
    { "forked", run_forked },       { "mismatch", run_mismatch },
    { "settings", run_settings },   { "timeout", run_timeout },
    { "open", run_open },           { "waiting", run_waiting },
    { "abandoned", run_abandoned }, { "busy", run_busy },
    { "pace", run_pace },
};

int main(int argc, char **argv)
{
    for (size_t i = 0; argc > 1 && i < COUNT(cases); i++)
        if (strcmp(cases[i].name, argv[1]) == 0) {
            cases[i].run(argc > 2 ? argv[2] : "");
            return 0;
        }
    fprintf(stderr, "worker_api: no such case\n");
    return 64;
}
