/*
 * small.c - requests of 64 bytes: how long one takes, and how many a second.
 *
 * A row of 16 f32 of a sparse matrix is pushed (add) or pulled by its key; one worker
 * of an asp job, one shard.
 *
 *     p50, p99    one at a time: how long from the call to its return
 *     requests    256 in flight, a row each
 *     keys        256 in flight, 16 rows each
 *
 * All gradients are 1, so a row holds how often it was pushed.  Every row that is
 * pulled is held against that, and at the end all are.
 */
#include "bench/raw.h"
#include "bench/server.h"
#include "bench/suite.h"
#include "common/base/random.h"
#include "common/net/net.h"

#include <ps/worker.h>

#include <inttypes.h>
#include <stdlib.h>

#define ROWS 8192u /* a multiple of KEYS */
#define COLS 16u
#define KEYS 16u /* of a request with several */
#define IN_FLIGHT 256u
#define ROW_BYTES (COLS * sizeof(float))

/* Pushes or pulls, one at a time or many, of one key or several. */
struct flow {
    const char *name;
    bool        pulls;
    uint32_t    in_flight, keys;
};

static const struct flow flows[] = {
    { "push", false, 1, 1 },
    { "pull", true, 1, 1 },
    { "push/requests", false, IN_FLIGHT, 1 },
    { "pull/requests", true, IN_FLIGHT, 1 },
    { "push/keys", false, IN_FLIGHT, KEYS },
    { "pull/keys", true, IN_FLIGHT, KEYS },
};

#define FLOWS (sizeof(flows) / sizeof(flows[0]))

/* A flow has one result, or one at a time: two, p50 and p99. */
struct what {
    struct bench_case   *result[2];
    struct bench_series *limit[2];
};

/* One transport. */
struct small {
    const char          *transport;
    struct bench_servers servers;
    struct bench_raw    *raw;
    ps_worker           *worker;
    ps_matrix           *matrix;
    uint32_t             order[ROWS];
    uint64_t             keys[ROWS];   /* in that order */
    uint32_t             pushed[ROWS]; /* how often, by key */
    float                gradient[KEYS * COLS];
    float                value[IN_FLIGHT][KEYS * COLS];
    struct what          what[FLOWS];
};

static const uint64_t *keys_of(const struct small *s, const struct flow *f,
                               uint64_t number)
{
    return s->keys + number * f->keys % ROWS;
}

/* ---- the limit ------------------------------------------------------------------ */

static ps_status start_raw(struct small *s, const struct flow *f, uint64_t number)
{
    struct bench_raw_request q = { .keys = keys_of(s, f, number),
                                   .keys_bytes = f->keys * sizeof(uint64_t) };

    if (f->pulls) {
        q.answer_bytes = f->keys * ROW_BYTES;
    } else {
        q.values = s->gradient;
        q.values_bytes = f->keys * ROW_BYTES;
    }
    return bench_raw_ask(s->raw, 0, &q);
}

/* ---- psd ------------------------------------------------------------------------ */

static ps_status check_rows(const struct small *s, const uint64_t *keys, uint32_t n,
                            const float *rows)
{
    for (uint32_t i = 0; i < n * COLS; i++)
        if (rows[i] != (float)s->pushed[keys[i / COLS]])
            return ps_fail(PS_ERR_DATA,
                           "small/%s: row %" PRIu64 " is %g in column %u, expected %u",
                           s->transport, keys[i / COLS], (double)rows[i], i % COLS,
                           s->pushed[keys[i / COLS]]);
    return PS_OK;
}

static ps_status start(struct small *s, const struct flow *f, uint64_t number,
                       ps_ticket **ticket)
{
    const uint64_t *keys = keys_of(s, f, number);

    if (f->pulls)
        return ps_pull_rows_async(s->matrix, keys, f->keys,
                                  s->value[number % IN_FLIGHT], ticket);
    for (uint32_t i = 0; i < f->keys; i++)
        s->pushed[keys[i]]++;
    return ps_push_rows_async(s->matrix, keys, f->keys, s->gradient, ticket);
}

static ps_status end(struct small *s, const struct flow *f, uint64_t number,
                     ps_ticket **ticket)
{
    ps_status st = ps_wait(ticket);

    if (st || !f->pulls)
        return st;
    return check_rows(s, keys_of(s, f, number), f->keys, s->value[number % IN_FLIGHT]);
}

/* ---- one at a time -------------------------------------------------------------- */

/* One request, from its beginning to its end. */
static ps_status once(struct small *s, const struct flow *f, uint64_t number, bool raw)
{
    ps_ticket *ticket = NULL;
    ps_status  st = raw ? start_raw(s, f, number) : start(s, f, number, &ticket);

    if (!st)
        st = raw ? bench_raw_take(s->raw, 0) : end(s, f, number, &ticket);
    return st;
}

static ps_status time_each(const struct bench_run *run, struct small *s,
                           const struct flow *f, bool raw, double *p50, double *p99)
{
    const uint64_t      until = ps_now_ns() + (uint64_t)(run->options->seconds * 1e9);
    struct bench_series times = { 0 };
    uint64_t            begun = ps_now_ns(), number = 0;
    ps_status           st = PS_OK;

    do {
        st = once(s, f, number++, raw);
        if (!st) {
            const uint64_t now = ps_now_ns();

            st = bench_series_add(&times, (double)(now - begun) / 1e9);
            begun = ps_now_ns(); /* without what it takes to keep the time */
        }
    } while (!st && begun < until);
    if (!st) {
        *p50 = bench_quantile(&times, 0.5);
        *p99 = bench_quantile(&times, 0.99);
    }
    bench_series_free(&times);
    return st;
}

/* Of psd, or of its limit. */
static ps_status measure_times(const struct bench_run *run, struct small *s,
                               size_t number, bool raw)
{
    const struct what *w = &s->what[number];
    double             time[2];
    ps_status st = bench_next(run, (w->result[0] ? w->result[0] : w->result[1])->name);

    if (!st)
        st = time_each(run, s, &flows[number], raw, &time[0], &time[1]);
    for (int i = 0; !st && i < 2; i++)
        if (w->result[i])
            st = bench_series_add(raw ? w->limit[i] : &w->result[i]->series, time[i]);
    return st;
}

/* ---- many ----------------------------------------------------------------------- */

struct work {
    struct small      *small;
    const struct flow *flow;
};

static ps_status work_raw(void *work, uint64_t until_ns, uint64_t *done)
{
    const struct work *w = work;
    uint64_t           asked = 0, answered = 0;
    ps_status          st = PS_OK;
    bool               more = true;

    while (!st && (more || answered < asked)) {
        for (; !st && more && asked - answered < w->flow->in_flight; asked++)
            st = start_raw(w->small, w->flow, asked);
        if (!st)
            st = bench_raw_take(w->small->raw, 0);
        answered++;
        more = ps_now_ns() < until_ns;
    }
    *done = answered * w->flow->keys;
    return st;
}

static ps_status work_psd(void *work, uint64_t until_ns, uint64_t *done)
{
    const struct work *w = work;
    ps_ticket         *tickets[IN_FLIGHT];
    uint64_t           asked = 0, answered = 0;
    ps_status          st = PS_OK;
    bool               more = true;

    while (!st && (more || answered < asked)) {
        for (; !st && more && asked - answered < w->flow->in_flight; asked++)
            st = start(w->small, w->flow, asked, &tickets[asked % IN_FLIGHT]);
        if (!st)
            st = end(w->small, w->flow, answered, &tickets[answered % IN_FLIGHT]);
        answered++;
        more = ps_now_ns() < until_ns;
    }
    *done = answered * w->flow->keys;
    return st; /* what is open after a failure goes with its worker */
}

static ps_status measure_rate(const struct bench_run *run, struct small *s,
                              size_t number, bool raw)
{
    const struct what *w = &s->what[number];
    struct work        work = { s, &flows[number] };

    return bench_measure(run, w->result[0]->name, raw ? work_raw : work_psd,
                         (void *[]){ &work }, 1,
                         raw ? w->limit[0] : &w->result[0]->series);
}

static ps_status measure_round(void *self, struct bench_run *run)
{
    struct small *s = self;
    ps_status     st = PS_OK;

    for (size_t i = 0; !st && i < FLOWS; i++) {
        ps_status (*const measure)(const struct bench_run *, struct small *, size_t,
                                   bool) =
            flows[i].in_flight == 1 ? measure_times : measure_rate;

        if (!s->what[i].result[0] && !s->what[i].result[1])
            continue;
        if (!run->options->alone)
            st = measure(run, s, i, true);
        if (!st)
            st = measure(run, s, i, false);
    }
    return st;
}

static ps_status prove(void *self, struct bench_run *run)
{
    struct small *s = self;
    ps_status     st = PS_OK;

    (void)run;
    for (uint32_t i = 0; !st && i < ROWS; i += KEYS) {
        st = ps_pull_rows(s->matrix, s->keys + i, KEYS, s->value[0]);
        if (!st)
            st = check_rows(s, s->keys + i, KEYS, s->value[0]);
    }
    return st;
}

/* ---- the two ends --------------------------------------------------------------- */

static void choose(void *self, struct bench_run *run, size_t setting)
{
    static const char *const times[] = { "p50", "p99" };
    struct small            *s = self;

    s->transport = bench_transports[setting];
    for (size_t i = 0; i < FLOWS; i++) {
        struct what *w = &s->what[i];

        if (flows[i].in_flight > 1)
            w->result[0] = bench_add(run, flows[i].keys > 1 ? "keys/s" : "requests/s",
                                     "small/%s/%s", s->transport, flows[i].name);
        else
            for (int k = 0; k < 2; k++)
                w->result[k] = bench_add(run, "s", "small/%s/%s/%s", s->transport,
                                         flows[i].name, times[k]);
        for (int k = 0; k < 2; k++)
            if (w->result[k])
                w->limit[k] = bench_limit(run, w->result[k], "zeromq", NULL);
    }
}

/* By a push of zeros all rows exist. */
static ps_status touch_all(struct small *s)
{
    ps_status st = PS_OK;

    for (uint32_t i = 0; !st && i < ROWS; i += KEYS)
        st = ps_push_rows(s->matrix, s->keys + i, KEYS, s->value[0]);
    return st;
}

static ps_status join(struct small *s)
{
    ps_matrix_options mo = PS_MATRIX_OPTIONS;
    ps_status         st = bench_join(&s->worker, s->servers.coordinator, "small");

    mo.optimiser = PS_ADD;
    if (!st)
        st = ps_sparse(s->worker, "rows", COLS, &mo, &s->matrix);
    return st ? st : touch_all(s);
}

static ps_status open_all(void *self, struct bench_run *run)
{
    struct small *s = self;
    ps_status     st = bench_servers_start(&s->servers, s->transport, 1, BENCH_RAW);
    const char   *raw = s->servers.raw[0];

    (void)run;
    ps_random_permutation(1, 0, ROWS, s->order);
    for (uint32_t i = 0; i < ROWS; i++)
        s->keys[i] = s->order[i];
    for (uint32_t i = 0; i < KEYS * COLS; i++)
        s->gradient[i] = 1;
    if (!st)
        st = bench_raw_open(&s->raw, &raw, 1);
    return st ? st : join(s);
}

static ps_status close_all(void *self, ps_status so_far)
{
    struct small *s = self;
    ps_status     st = bench_leave(&s->worker, so_far), ended;

    bench_raw_close(&s->raw);
    ended = bench_servers_stop(&s->servers);
    return st ? st : ended;
}

const struct bench_suite bench_small = {
    .name = "small",
    .n_settings = BENCH_SOCKETS,
    .self_bytes = sizeof(struct small),
    .choose = choose,
    .open = open_all,
    .round = measure_round,
    .prove = prove,
    .close = close_all,
};
