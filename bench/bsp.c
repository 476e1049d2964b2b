/*
 * bsp.c - rounds of synchronous training without its computing: all workers push the
 * gradients of a whole model, and pull what comes of them.
 *
 *     round   how long one takes
 *     cpu     processor time of the server for each byte that it receives or sends
 *
 * One shard; a job for each optimiser; each worker is a thread with sockets of its own
 * and does ps_model_push_pull, as often as all others.  The limit of the transport is
 * the same messages without waiting for one another.  That of the processor time is
 * memory's: a byte is copied once.
 *
 * All workers push the same gradient, so the model is, bit for bit, what the
 * optimiser's kernel makes of that alone; two elements tell what all should be.
 */
#include "bench/server.h"
#include "bench/suite.h"
#include "server/compute/backend.h"

#include <ps/worker.h>

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#define WORKERS_MAX 4u
#define WINDOW 8u        /* messages on their way to a shard */
#define ROUNDS_MAX 1000u /* of one measurement */
#define TIMEOUT_MS 30000

static const uint32_t workers[] = { 1, 2, 4 };

#define SIZES (sizeof(workers) / sizeof(workers[0]))

static const struct optimiser {
    const char  *name;
    ps_optimiser kind;
} optimisers[] = {
    { "sgd", PS_SGD },         { "momentum", PS_MOMENTUM }, { "nesterov", PS_NESTEROV },
    { "adagrad", PS_ADAGRAD }, { "rmsprop", PS_RMSPROP },   { "adam", PS_ADAM },
    { "adamw", PS_ADAMW },     { "ftrl", PS_FTRL },
};

#define OPTIMISERS (sizeof(optimisers) / sizeof(optimisers[0]))

/* All numbers are said, so that the two elements here get the same ones. */
#define SETTINGS                                                                       \
    "job: {strategy: bsp}\n"                                                           \
    "optimiser: {name: %s, lr: 0.001, momentum: 0.9, beta1: 0.9, beta2: 0.999,\n"      \
    "            rho: 0.9, epsilon: 1e-8, weight_decay: 0.0, ftrl_beta: 1.0,\n"        \
    "            ftrl_l1: 0.1, ftrl_l2: 0.01}\n"

static const struct psd_hyper hyper = { .lr = 0.001,
                                        .momentum = 0.9,
                                        .beta1 = 0.9,
                                        .beta2 = 0.999,
                                        .rho = 0.9,
                                        .epsilon = 1e-8,
                                        .ftrl_beta = 1,
                                        .ftrl_l1 = 0.1,
                                        .ftrl_l2 = 0.01 };

/* An element with gradient 1 and one with 2, as they are after so many rounds. */
struct course {
    uint64_t rounds;
    float    value[2], state[2][2];
};

/* One job. */
struct way {
    const struct optimiser *optimiser;
    struct bench_case      *round, *cpu; /* NULL: not wanted */
    uint32_t                rounds;      /* of one measurement */
    struct course           course;
    struct hand {
        ps_worker *worker;
        ps_model  *model;
    } hands[WORKERS_MAX];
};

/* One transport and one number of workers. */
struct bsp {
    const char *transport;
    uint32_t    workers;
    uint64_t    elements;

    struct bench_servers servers;
    struct bench_raw    *raw[WORKERS_MAX];
    float               *gradient;
    float               *value[WORKERS_MAX]; /* of all jobs in turn */
    struct way           ways[OPTIMISERS];

    uint32_t            raw_rounds; /* of one measurement */
    struct bench_series raw_round, raw_cpu, copy;
};

static uint64_t model_bytes(const struct bsp *b)
{
    return b->elements * sizeof(float);
}

/* What the server receives and sends in a round. */
static double bytes_moved(const struct bsp *b)
{
    return 2.0 * b->workers * (double)model_bytes(b);
}

static bool is_wanted(const struct way *w)
{
    return w->round || w->cpu;
}

/* ---- work ----------------------------------------------------------------------- */

/* What one worker does, as often as it is told, however long that takes. */
struct work {
    const struct bsp *bsp;
    struct bench_raw *raw;
    struct hand      *hand;
    float            *value;
    uint32_t          rounds;
};

/* Messages 0 to 2 n - 2 of a round: pushes, of which the last brings the first values
 * back, and pulls. */
static ps_status ask(const struct work *w, uint64_t number)
{
    const uint64_t bytes = model_bytes(w->bsp);
    const uint64_t chunks = (bytes + PS_CHUNK_BYTES - 1) / PS_CHUNK_BYTES;
    const uint64_t at = number % chunks * PS_CHUNK_BYTES;
    const size_t   part = bytes - at < PS_CHUNK_BYTES ? bytes - at : PS_CHUNK_BYTES;
    struct bench_raw_request q = { 0 };

    if (number < chunks) {
        q.values = (const uint8_t *)w->bsp->gradient + at;
        q.values_bytes = part;
    }
    if (number + 1 >= chunks) {
        q.answer_at = at;
        q.answer_bytes = part;
    }
    return bench_raw_ask(w->raw, 0, &q);
}

static ps_status round_raw(const struct work *w)
{
    const uint64_t chunks = (model_bytes(w->bsp) + PS_CHUNK_BYTES - 1) / PS_CHUNK_BYTES;
    const uint64_t all = 2 * chunks - 1;
    uint64_t       asked = 0;
    ps_status      st = PS_OK;

    for (uint64_t answered = 0; !st && answered < all; answered++) {
        for (; !st && asked < all && asked - answered < WINDOW; asked++)
            st = ask(w, asked);
        if (!st)
            st = bench_raw_take(w->raw, 0);
    }
    return st;
}

static ps_status work(void *ctx, uint64_t until_ns, uint64_t *done)
{
    const struct work *w = ctx;
    ps_status          st = PS_OK;

    (void)until_ns;
    for (uint32_t i = 0; !st && i < w->rounds; i++)
        st = w->raw ? round_raw(w) : ps_model_push_pull(w->hand->model);
    *done = w->rounds;
    return st;
}

/* `way` NULL: the limit.  How long a round took, and what processor time the server
 * needed for a byte. */
static ps_status run_rounds(struct bsp *b, struct way *way, uint32_t rounds,
                            double *round, double *cpu)
{
    const struct process *server =
        &b->servers.processes[way ? BENCH_PSD : BENCH_RAW_SERVER];
    struct work w[WORKERS_MAX];
    void       *ctx[WORKERS_MAX];
    double      rate, before, after;
    ps_status   st = bench_process_seconds(server, &before);

    for (uint32_t i = 0; i < b->workers; i++) {
        w[i] = (struct work){ .bsp = b, .rounds = rounds, .value = b->value[i] };
        if (way)
            w[i].hand = &way->hands[i];
        else
            w[i].raw = b->raw[i];
        ctx[i] = &w[i];
    }
    if (!st)
        st = bench_rate(work, ctx, b->workers, 0, &rate);
    if (!st)
        st = bench_process_seconds(server, &after);
    if (st)
        return st;
    *round = b->workers / rate;
    *cpu = (after - before) / (rounds * bytes_moved(b));
    return PS_OK;
}

/* ---- is it right? --------------------------------------------------------------- */

static void follow(struct way *w, uint32_t rounds)
{
    static const float gradient[2] = { 1, 2 };
    struct course     *c = &w->course;
    struct psd_hyper   h = hyper;
    void *const        state[] = { c->state[0], c->state[1] };

    for (uint32_t i = 0; i < rounds; i++) {
        h.step = ++c->rounds;
        psd_backend_cpu.step(w->optimiser->kind, PS_F32, &h, 2, c->value, state,
                             gradient);
    }
}

/* What all workers have been given. */
static ps_status check(const struct bsp *b, const struct way *w)
{
    for (uint32_t k = 0; k < b->workers; k++)
        for (uint64_t i = 0; i < b->elements; i++) {
            const float expected = w->course.value[b->gradient[i] == 2];

            if (memcmp(&b->value[k][i], &expected, sizeof(expected)) != 0)
                return ps_fail(PS_ERR_DATA,
                               "bsp/%s/%uw/%s: element %ju at worker %u is %g, "
                               "expected %g after %ju rounds",
                               b->transport, b->workers, w->optimiser->name,
                               (uintmax_t)i, k, (double)b->value[k][i],
                               (double)expected, (uintmax_t)w->course.rounds);
        }
    return PS_OK;
}

/* What is not pulled is seen. */
static void spoil(const struct bsp *b)
{
    for (uint32_t k = 0; k < b->workers; k++)
        for (uint64_t i = 0; i < b->elements; i += PS_CHUNK_BYTES / sizeof(float))
            b->value[k][i] = NAN;
}

static ps_status run_psd(struct bsp *b, struct way *w, uint32_t rounds, double *round,
                         double *cpu)
{
    ps_status st;

    spoil(b);
    st = run_rounds(b, w, rounds, round, cpu);
    if (st)
        return st;
    follow(w, rounds);
    return check(b, w);
}

/* ---- measuring ------------------------------------------------------------------ */

static ps_status measure_raw(struct bsp *b, const struct bench_run *run)
{
    double    round, cpu;
    ps_status st = bench_next(run, "rounds over ZeroMQ");

    if (!st)
        st = run_rounds(b, NULL, b->raw_rounds, &round, &cpu);
    if (!st)
        st = bench_series_add(&b->raw_round, round);
    return st ? st : bench_series_add(&b->raw_cpu, cpu);
}

static double own_seconds(void)
{
    struct timespec used;

    clock_gettime(CLOCK_THREAD_CPUTIME_ID, &used);
    return (double)used.tv_sec + (double)used.tv_nsec / 1e9;
}

/* Processor time that a byte takes from one array to another. */
static ps_status measure_copy(struct bsp *b, const struct bench_run *run)
{
    const double begun = own_seconds();
    uint64_t     copied = 0;
    double       used;
    ps_status    st = bench_next(run, "copies in memory");

    if (st)
        return st;
    do {
        memcpy(b->value[0], b->gradient, model_bytes(b));
        copied += model_bytes(b);
        used = own_seconds() - begun;
    } while (used < run->options->seconds);
    return bench_series_add(&b->copy, used / (double)copied);
}

static ps_status measure_way(struct bsp *b, const struct bench_run *run, struct way *w)
{
    double    round, cpu;
    ps_status st = bench_next(run, (w->round ? w->round : w->cpu)->name);

    if (!st)
        st = run_psd(b, w, w->rounds, &round, &cpu);
    if (!st && w->round)
        st = bench_series_add(&w->round->series, round);
    if (!st && w->cpu)
        st = bench_series_add(&w->cpu->series, cpu);
    return st;
}

static ps_status measure_round(void *self, struct bench_run *run)
{
    struct bsp *b = self;
    ps_status   st = PS_OK;

    if (!run->options->alone) {
        st = measure_raw(b, run);
        if (!st)
            st = measure_copy(b, run);
    }
    for (size_t i = 0; !st && i < OPTIMISERS; i++)
        if (is_wanted(&b->ways[i]))
            st = measure_way(b, run, &b->ways[i]);
    return st;
}

/* It was looked at after each measurement. */
static ps_status prove(void *self, struct bench_run *run)
{
    (void)self, (void)run;
    return PS_OK;
}

/* ---- the two ends --------------------------------------------------------------- */

static void choose(void *self, struct bench_run *run, size_t setting)
{
    struct bsp *b = self;

    b->transport = bench_transports[setting / SIZES];
    b->workers = workers[setting % SIZES];
    for (size_t i = 0; i < OPTIMISERS; i++) {
        struct way *w = &b->ways[i];

        w->optimiser = &optimisers[i];
        w->round = bench_add(run, "s", "bsp/%s/%uw/%s/round", b->transport, b->workers,
                             w->optimiser->name);
        if (w->round)
            bench_limit(run, w->round, "zeromq", &b->raw_round);
    }
    for (struct way *w = b->ways; w < b->ways + OPTIMISERS; w++) {
        w->cpu = bench_add(run, "s/B", "bsp/%s/%uw/%s/cpu", b->transport, b->workers,
                           w->optimiser->name);
        if (!w->cpu)
            continue;
        bench_limit(run, w->cpu, "zeromq", &b->raw_cpu);
        bench_limit(run, w->cpu, "memory", &b->copy);
    }
}

static ps_status make_room(struct bsp *b)
{
    /* Values and their gradients on the way, at the workers and at psd; parameters and
     * state of all jobs; one gradient, one sum, and the raw table. */
    ps_status st = bench_expect_memory("bsp", (3 * b->workers + 11) * model_bytes(b));
    bool      all = true;

    if (st)
        return st;
    b->gradient = malloc(model_bytes(b));
    for (uint32_t k = 0; k < b->workers; k++) {
        b->value[k] = malloc(model_bytes(b));
        all = all && b->value[k];
    }
    if (!b->gradient || !all)
        return ps_fail(PS_ERR_NO_MEMORY, "bsp/%s/%uw: no memory for models of %ju MiB",
                       b->transport, b->workers, (uintmax_t)(model_bytes(b) >> 20));
    for (uint64_t i = 0; i < b->elements; i++)
        b->gradient[i] = bench_gradient_at(i);
    return PS_OK;
}

static ps_status join(struct bsp *b, struct way *w, uint32_t rank,
                      const ps_settings *settings)
{
    ps_worker_options o = PS_WORKER_OPTIONS;
    struct hand      *h = &w->hands[rank];
    ps_matrix        *m;
    ps_status         st;

    o.coordinator = b->servers.coordinator;
    o.job = w->optimiser->name;
    o.rank = (int)rank;
    o.workers = b->workers;
    o.timeout_ms = TIMEOUT_MS;
    o.settings = settings;
    st = ps_worker_open(&h->worker, &o);
    if (!st)
        st = ps_dense(h->worker, "model", 1, b->elements, NULL, &m);
    if (!st)
        st = ps_model_new(&h->model, h->worker);
    return st ? st : ps_model_add(h->model, m, b->value[rank], b->gradient);
}

/* So many as fit into the time of a measurement. */
static uint32_t rounds_for(const struct bench_run *run, double round)
{
    const double n = run->options->seconds / round;

    return n < 1 ? 1 : n > ROUNDS_MAX ? ROUNDS_MAX : (uint32_t)n;
}

/* With one round, which makes the model, and a second that tells how long it takes. */
static ps_status open_way(struct bsp *b, const struct bench_run *run, struct way *w)
{
    ps_settings *settings = NULL;
    char         text[512];
    double       round, cpu;
    ps_status    st;

    snprintf(text, sizeof(text), SETTINGS, w->optimiser->name);
    st = ps_settings_parse(&settings, text);
    for (uint32_t rank = 0; !st && rank < b->workers; rank++)
        st = join(b, w, rank, settings);
    ps_settings_free(&settings);
    for (int i = 0; !st && i < 2; i++)
        st = run_psd(b, w, 1, &round, &cpu);
    if (!st)
        w->rounds = rounds_for(run, round);
    return st;
}

static ps_status open_raw(struct bsp *b, const struct bench_run *run)
{
    const char *at = b->servers.raw[0];
    double      round, cpu;
    ps_status   st = PS_OK;

    for (uint32_t i = 0; !st && i < b->workers; i++)
        st = bench_raw_open(&b->raw[i], &at, 1);
    for (int i = 0; !st && i < 2; i++)
        st = run_rounds(b, NULL, 1, &round, &cpu);
    if (!st)
        b->raw_rounds = rounds_for(run, round);
    return st;
}

static ps_status open_all(void *self, struct bench_run *run)
{
    struct bsp *b = self;
    ps_status   st;

    b->elements = ((uint64_t)run->options->model_mib << 20) / sizeof(float);
    st = make_room(b);
    if (!st)
        st = bench_servers_start(&b->servers, b->transport, 1, BENCH_RAW);
    if (!st && !run->options->alone)
        st = open_raw(b, run);
    for (size_t i = 0; !st && i < OPTIMISERS; i++)
        if (is_wanted(&b->ways[i]))
            st = open_way(b, run, &b->ways[i]);
    return st;
}

static ps_status close_all(void *self, ps_status so_far)
{
    struct bsp *b = self;
    ps_status   st = PS_OK, ended;

    for (size_t i = 0; i < OPTIMISERS; i++)
        for (uint32_t k = 0; k < b->workers; k++) {
            ps_status closed = bench_leave(&b->ways[i].hands[k].worker, so_far);

            st = st ? st : closed;
        }
    for (uint32_t k = 0; k < b->workers; k++) {
        bench_raw_close(&b->raw[k]);
        free(b->value[k]);
    }
    free(b->gradient);
    ended = bench_servers_stop(&b->servers);
    bench_series_free(&b->raw_round);
    bench_series_free(&b->raw_cpu);
    bench_series_free(&b->copy);
    return st ? st : ended;
}

const struct bench_suite bench_bsp = {
    .name = "bsp",
    .n_settings = BENCH_TRANSPORTS * SIZES,
    .self_bytes = sizeof(struct bsp),
    .choose = choose,
    .open = open_all,
    .round = measure_round,
    .prove = prove,
    .close = close_all,
};
