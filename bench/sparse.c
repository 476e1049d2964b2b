/*
 * sparse.c - rows per second of sparse pushes and pulls, and what they are held
 * against.
 *
 *     for each transport and number of shards:
 *         start a psd and a raw server, open the workers, make all rows exist
 *         each round:  the limits, and every case beside its own
 *         prove the tally
 *
 * README.md tells how to read what comes out.
 */
#include "bench/load.h"
#include "bench/memory.h"
#include "bench/server.h"
#include "bench/suite.h"
#include "common/net/net.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#define WORKERS 2u
#define SHARDS 2u
#define GROUPS 8u /* workers x in flight x direction */
#define CASES 32u /* of one setting, at most */

/* Cases that move the same bytes in the same way have one limit of the transport. */
struct group {
    uint32_t            workers, in_flight;
    bool                pulls;
    struct bench_series raw;
};

struct what {
    struct bench_case *result;
    struct group      *group;
    enum bench_matrix  matrix;
    enum bench_order   order;
};

/* One transport and one number of shards. */
struct sparse {
    const char *transport;
    size_t      shards;

    struct bench_servers servers;
    struct bench_load   *load;
    struct bench_raw    *raw[WORKERS];
    struct bench_memory *memory;
    uint32_t             batch;
    uint64_t            *keys;     /* [batch] of raw requests, any */
    float               *gradient; /* [batch][cols] likewise */

    struct group        groups[GROUPS];
    struct bench_series memory_limit[2][BENCH_ORDERS]; /* [pulls] */
    size_t              n;
    struct what         what[CASES];
};

static const char *const matrix_names[] = {
    [BENCH_ADD] = "push-add",
    [BENCH_SGD] = "push-sgd",
    [BENCH_ADAGRAD] = "push-adagrad",
};
static const char *const order_names[] = {
    [BENCH_RANDOM] = "random",
    [BENCH_SEQUENTIAL] = "sequential",
};

/* ---- which cases ---------------------------------------------------------------- */

static void add_case(struct sparse *s, struct bench_run *run, struct group *g,
                     enum bench_matrix m, enum bench_order order)
{
    struct bench_case *c =
        bench_add(run, "rows/s", "sparse/%s/%zus%uw/%s/%s/%u", s->transport, s->shards,
                  g->workers, g->pulls ? "pull" : matrix_names[m], order_names[order],
                  g->in_flight);

    if (!c)
        return;
    bench_limit(run, c, "zeromq", &g->raw);
    bench_limit(run, c, "memory", &s->memory_limit[g->pulls][order]);
    s->what[s->n++] = (struct what){ c, g, m, order };
}

/* Pulls do not depend on the optimiser, except that its state lies between the values:
 * they are made of the matrix with none. */
static void choose(void *self, struct bench_run *run, size_t setting)
{
    struct sparse *s = self;

    s->transport = bench_transports[setting / SHARDS];
    s->shards = setting % SHARDS + 1;
    for (uint32_t i = 0; i < GROUPS; i++) {
        struct group *g = &s->groups[i];

        g->workers = i & 4 ? 2 : 1;
        g->pulls = i & 2;
        g->in_flight = i & 1 ? 4 : 1;
        for (int o = 0; o < BENCH_ORDERS; o++)
            for (int m = 0; m < BENCH_MATRICES; m++)
                if (!g->pulls || m == BENCH_SGD)
                    add_case(s, run, g, (enum bench_matrix)m, (enum bench_order)o);
    }
}

/* ---- the limits ----------------------------------------------------------------- */

static ps_status measure_memory(struct sparse *s, const struct bench_run *run)
{
    ps_status st = PS_OK;

    for (int pulls = 0; pulls < 2; pulls++)
        for (int o = 0; !st && o < BENCH_ORDERS; o++) {
            struct bench_memory_work w = {
                .memory = s->memory,
                .keys = bench_load_keys(s->load, 0, (enum bench_order)o),
                .n_keys = run->options->rows,
                .adds = !pulls,
            };

            st = bench_measure(run, "rows in memory", bench_memory_work,
                               (void *[]){ &w }, 1, &s->memory_limit[pulls][o]);
        }
    return st;
}

/* What one client of the raw server does. */
struct raw_work {
    const struct sparse    *sparse;
    const struct bench_raw *raw;
    const struct group     *group;
};

/* The part of a request that goes to shard `i`. */
static ps_status ask(const struct raw_work *w, size_t i)
{
    const struct sparse     *s = w->sparse;
    const size_t             first = i * s->batch / s->shards;
    const size_t             rows = (i + 1) * s->batch / s->shards - first;
    const size_t             bytes = rows * BENCH_COLS * sizeof(float);
    struct bench_raw_request q = { .keys = s->keys + first,
                                   .keys_bytes = rows * sizeof(uint64_t) };

    if (w->group->pulls) {
        q.answer_bytes = bytes;
    } else {
        q.values = s->gradient + first * BENCH_COLS;
        q.values_bytes = bytes;
    }
    return bench_raw_ask(w->raw, i, &q);
}

/* A bench_work_fn that counts rows. */
static ps_status work_raw(void *work, uint64_t until_ns, uint64_t *done)
{
    const struct raw_work *w = work;
    uint64_t               asked = 0, answered = 0;
    ps_status              st = PS_OK;
    bool                   more = true;

    while (!st && (more || answered < asked)) {
        for (; !st && more && asked - answered < w->group->in_flight; asked++)
            for (size_t i = 0; !st && i < w->sparse->shards; i++)
                st = ask(w, i);
        for (size_t i = 0; !st && i < w->sparse->shards; i++)
            st = bench_raw_take(w->raw, i);
        answered++;
        more = ps_now_ns() < until_ns;
    }
    *done = answered * w->sparse->batch;
    return st;
}

static ps_status measure_raw(struct sparse *s, const struct bench_run *run,
                             struct group *g)
{
    struct raw_work w[WORKERS];
    void           *ctx[WORKERS];

    for (uint32_t i = 0; i < g->workers; i++) {
        w[i] = (struct raw_work){ s, s->raw[i], g };
        ctx[i] = &w[i];
    }
    return bench_measure(run, "rows over ZeroMQ", work_raw, ctx, g->workers, &g->raw);
}

/* ---- measuring ------------------------------------------------------------------ */

static ps_status measure_case(struct sparse *s, const struct bench_run *run,
                              const struct what *what)
{
    struct bench_load_work w[WORKERS];
    void                  *ctx[WORKERS];

    for (uint32_t i = 0; i < what->group->workers; i++) {
        w[i] = (struct bench_load_work){ .load = s->load,
                                         .worker = i,
                                         .matrix = what->matrix,
                                         .order = what->order,
                                         .pulls = what->group->pulls,
                                         .in_flight = what->group->in_flight };
        ctx[i] = &w[i];
    }
    return bench_measure(run, what->result->name, bench_load_work, ctx,
                         what->group->workers, &what->result->series);
}

/* The cases of a group stand together, so each follows soon after its limit. */
static ps_status measure_round(void *self, struct bench_run *run)
{
    struct sparse *s = self;
    const bool     limits = !run->options->alone;
    ps_status      st = limits ? measure_memory(s, run) : PS_OK;

    for (size_t i = 0; !st && i < s->n; i++) {
        if (limits && (i == 0 || s->what[i].group != s->what[i - 1].group))
            st = measure_raw(s, run, s->what[i].group);
        if (!st)
            st = measure_case(s, run, &s->what[i]);
    }
    return st;
}

static ps_status prove(void *self, struct bench_run *run)
{
    struct sparse *s = self;
    uint64_t       pushed;
    ps_status      st = bench_load_check(s->load, &pushed);

    if (!st)
        fprintf(run->options->notes,
                "tally: %" PRIu64 " rows pushed over %s, each applied once\n", pushed,
                s->transport);
    return st;
}

/* ---- the two ends --------------------------------------------------------------- */

static ps_status open_raw(struct sparse *s)
{
    const char *at[BENCH_RAW_SHARDS];
    ps_status   st = PS_OK;

    s->keys = malloc(s->batch * sizeof(*s->keys));
    s->gradient = malloc(s->batch * BENCH_COLS * sizeof(*s->gradient));
    if (!s->keys || !s->gradient)
        return ps_fail(PS_ERR_NO_MEMORY, "no memory for requests of %u rows", s->batch);
    memset(s->keys, 1, s->batch * sizeof(*s->keys));
    memset(s->gradient, 1, s->batch * BENCH_COLS * sizeof(*s->gradient));
    for (size_t i = 0; i < s->shards; i++)
        at[i] = s->servers.raw[i];
    for (uint32_t w = 0; !st && w < WORKERS; w++)
        st = bench_raw_open(&s->raw[w], at, s->shards);
    return st;
}

static ps_status open_all(void *self, struct bench_run *run)
{
    const struct bench_options *o = run->options;
    struct sparse              *s = self;
    ps_status st = bench_servers_start(&s->servers, s->transport, s->shards, BENCH_RAW);

    s->batch = o->batch;
    if (!st)
        st = open_raw(s);
    if (!st)
        st = bench_memory_new(&s->memory, o->rows, BENCH_COLS, o->batch);
    if (!st)
        st = bench_load_open(&s->load, s->servers.coordinator, WORKERS, o->rows,
                             o->batch);
    return st;
}

static ps_status close_all(void *self, ps_status so_far)
{
    struct sparse *s = self;
    ps_status      st = bench_load_close(&s->load, so_far), ended;

    for (uint32_t w = 0; w < WORKERS; w++)
        bench_raw_close(&s->raw[w]);
    bench_memory_free(&s->memory);
    free(s->keys);
    free(s->gradient);
    ended = bench_servers_stop(&s->servers);
    for (uint32_t i = 0; i < GROUPS; i++)
        bench_series_free(&s->groups[i].raw);
    for (int i = 0; i < 2; i++)
        for (int o = 0; o < BENCH_ORDERS; o++)
            bench_series_free(&s->memory_limit[i][o]);
    return st ? st : ended;
}

const struct bench_suite bench_sparse = {
    .name = "sparse",
    .n_settings = (size_t)BENCH_TRANSPORTS * SHARDS,
    .self_bytes = sizeof(struct sparse),
    .choose = choose,
    .open = open_all,
    .round = measure_round,
    .prove = prove,
    .close = close_all,
};
