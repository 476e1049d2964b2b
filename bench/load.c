/* load.c - see load.h. */
#include "bench/load.h"

#include "bench/suite.h"
#include "common/base/random.h"
#include "common/net/net.h"

#include <ps/worker.h>

#include <math.h>
#include <stdlib.h>
#include <string.h>

#define RATE 0.5f /* a power of two: counts of steps are exact */
#define TIMEOUT_MS 30000

static const struct kind {
    const char  *name;
    ps_optimiser optimiser;
    float        gradient; /* of every element of every push */
} kinds[BENCH_MATRICES] = {
    [BENCH_ADD] = { "add", PS_ADD, 1 },
    [BENCH_SGD] = { "sgd", PS_SGD, -1 },
    [BENCH_ADAGRAD] = { "adagrad", PS_ADAGRAD, -1 },
};

/* A worker and what belongs to it alone. */
struct hand {
    ps_worker *worker;
    ps_matrix *matrix[BENCH_MATRICES];
    uint64_t  *keys[BENCH_ORDERS];                   /* [rows] */
    uint32_t  *pushed[BENCH_MATRICES][BENCH_ORDERS]; /* [n_requests] how often */
    uint64_t   next[BENCH_ORDERS];                   /* request */
    float     *value;                                /* [in flight][batch][cols] */
};

struct bench_load {
    uint32_t     workers, batch;
    uint64_t     rows, n_requests;
    float       *gradient[BENCH_MATRICES]; /* [batch][cols] */
    struct hand *hands;
};

static ps_status no_memory(void)
{
    return ps_fail(PS_ERR_NO_MEMORY, "no memory for the rows of requests");
}

static float *constant(uint64_t n, float value)
{
    float *all = malloc(n * sizeof(*all));

    for (uint64_t i = 0; all && i < n; i++)
        all[i] = value;
    return all;
}

/* ---- opening -------------------------------------------------------------------- */

/* A seed of its own for every worker; the same in every run. */
static ps_status make_keys(const struct bench_load *l, struct hand *h, uint32_t rank)
{
    uint32_t *order = malloc(l->rows * sizeof(*order));

    for (int o = 0; o < BENCH_ORDERS; o++)
        h->keys[o] = malloc(l->rows * sizeof(*h->keys[o]));
    if (!order || !h->keys[BENCH_RANDOM] || !h->keys[BENCH_SEQUENTIAL]) {
        free(order);
        return no_memory();
    }
    ps_random_permutation(1, rank, l->rows, order);
    for (uint64_t i = 0; i < l->rows; i++) {
        h->keys[BENCH_RANDOM][i] = order[i];
        h->keys[BENCH_SEQUENTIAL][i] = i;
    }
    free(order);
    /* Two workers at the same rows would find them in the cache. */
    h->next[BENCH_SEQUENTIAL] = rank * l->n_requests / l->workers;
    return PS_OK;
}

static ps_status make_hand(const struct bench_load *l, struct hand *h, uint32_t rank)
{
    bool all = true;

    h->value = constant((uint64_t)BENCH_IN_FLIGHT_MAX * l->batch * BENCH_COLS, 0);
    for (int m = 0; m < BENCH_MATRICES; m++)
        for (int o = 0; o < BENCH_ORDERS; o++) {
            h->pushed[m][o] = calloc(l->n_requests, sizeof(*h->pushed[m][o]));
            all = all && h->pushed[m][o];
        }
    return all && h->value ? make_keys(l, h, rank) : no_memory();
}

static ps_status join(const struct bench_load *l, struct hand *h,
                      const char *coordinator, const ps_settings *settings,
                      uint32_t rank)
{
    ps_worker_options o = PS_WORKER_OPTIONS;
    ps_status         st;

    o.coordinator = coordinator;
    o.job = "bench";
    o.rank = (int)rank;
    o.workers = l->workers;
    o.timeout_ms = TIMEOUT_MS;
    o.settings = settings;
    st = ps_worker_open(&h->worker, &o);
    for (int m = 0; !st && m < BENCH_MATRICES; m++) {
        ps_matrix_options mo = PS_MATRIX_OPTIONS;

        mo.optimiser = kinds[m].optimiser;
        st = ps_sparse(h->worker, kinds[m].name, BENCH_COLS, &mo, &h->matrix[m]);
    }
    return st;
}

/* By a push of zeros, which changes nothing else. */
static ps_status touch_all(const struct bench_load *l)
{
    const struct hand *h = &l->hands[0];
    float             *zeros = calloc((size_t)l->batch * BENCH_COLS, sizeof(*zeros));
    ps_status          st = zeros ? PS_OK : no_memory();

    for (int m = 0; m < BENCH_MATRICES; m++)
        for (uint64_t at = 0; !st && at < l->rows; at += l->batch)
            st = ps_push_rows(h->matrix[m], h->keys[BENCH_SEQUENTIAL] + at, l->batch,
                              zeros);
    free(zeros);
    return st;
}

static ps_status fill(struct bench_load *l, const char *coordinator)
{
    ps_settings *settings = NULL;
    ps_status    st = ps_settings_parse(&settings, "job: {strategy: asp}\n"
                                                      "optimiser: {name: sgd, lr: 0.5}\n");

    for (int m = 0; !st && m < BENCH_MATRICES; m++) {
        l->gradient[m] = constant((uint64_t)l->batch * BENCH_COLS, kinds[m].gradient);
        if (!l->gradient[m])
            st = no_memory();
    }
    for (uint32_t w = 0; !st && w < l->workers; w++) {
        st = make_hand(l, &l->hands[w], w);
        if (!st)
            st = join(l, &l->hands[w], coordinator, settings, w);
    }
    ps_settings_free(&settings);
    return st ? st : touch_all(l);
}

ps_status bench_load_open(struct bench_load **out, const char *coordinator,
                          uint32_t workers, uint64_t rows, uint32_t batch)
{
    struct bench_load *l = calloc(1, sizeof(*l));
    ps_status          st;

    if (!l || !(l->hands = calloc(workers, sizeof(*l->hands)))) {
        free(l);
        return no_memory();
    }
    l->workers = workers;
    l->batch = batch;
    l->rows = rows;
    l->n_requests = rows / batch;
    st = fill(l, coordinator);
    if (st) {
        ps_status ignored = bench_load_close(&l, st); /* the first reason counts */

        (void)ignored;
        return st;
    }
    *out = l;
    return PS_OK;
}

ps_status bench_load_close(struct bench_load **load, ps_status so_far)
{
    struct bench_load *l = *load;
    ps_status          st = PS_OK;

    *load = NULL;
    if (!l)
        return PS_OK;
    for (uint32_t w = 0; w < l->workers; w++) {
        struct hand *h = &l->hands[w];
        ps_status    closed = bench_leave(&h->worker, so_far);

        st = st ? st : closed;
        for (int o = 0; o < BENCH_ORDERS; o++) {
            free(h->keys[o]);
            for (int m = 0; m < BENCH_MATRICES; m++)
                free(h->pushed[m][o]);
        }
        free(h->value);
    }
    for (int m = 0; m < BENCH_MATRICES; m++)
        free(l->gradient[m]);
    free(l->hands);
    free(l);
    return st;
}

const uint64_t *bench_load_keys(const struct bench_load *l, uint32_t worker,
                                enum bench_order order)
{
    return l->hands[worker].keys[order];
}

/* ---- work ----------------------------------------------------------------------- */

/* Starts the next request; `slot` is its place among those in flight. */
static ps_status start(const struct bench_load_work *w, uint32_t slot, ps_ticket **t)
{
    const struct bench_load *l = w->load;
    struct hand             *h = &l->hands[w->worker];
    uint64_t                 request = h->next[w->order];
    const uint64_t          *keys = h->keys[w->order] + request * l->batch;

    h->next[w->order] = (request + 1) % l->n_requests;
    if (w->pulls)
        return ps_pull_rows_async(h->matrix[w->matrix], keys, l->batch,
                                  h->value + (size_t)slot * l->batch * BENCH_COLS, t);
    h->pushed[w->matrix][w->order][request]++;
    return ps_push_rows_async(h->matrix[w->matrix], keys, l->batch,
                              l->gradient[w->matrix], t);
}

ps_status bench_load_work(void *work, uint64_t until_ns, uint64_t *done)
{
    const struct bench_load_work *w = work;
    ps_ticket                    *tickets[BENCH_IN_FLIGHT_MAX];
    uint64_t                      asked = 0, answered = 0;
    ps_status                     st = PS_OK;
    bool                          more = true;

    while (!st && (more || answered < asked)) {
        for (; !st && more && asked - answered < w->in_flight; asked++)
            st = start(w, asked % w->in_flight, &tickets[asked % w->in_flight]);
        if (!st)
            st = ps_wait(&tickets[answered++ % w->in_flight]);
        more = ps_now_ns() < until_ns;
    }
    *done = answered * w->load->batch;
    return st; /* what is open after a failure goes with its worker */
}

/* ---- the tally ------------------------------------------------------------------ */

/* An element after `times` pushes, in the server's own arithmetic. */
static float element_after(enum bench_matrix m, uint32_t times)
{
    float w = 0;

    if (m == BENCH_ADD)
        return (float)times;
    if (m == BENCH_SGD)
        return RATE * (float)times;
    for (uint32_t i = 1; i <= times; i++) /* the sum of squares is i */
        w += RATE / (sqrtf((float)i) + 1e-10f);
    return w;
}

/* Half of what one push more would change. */
static float tolerance(enum bench_matrix m, uint32_t times)
{
    return m == BENCH_ADAGRAD ? RATE / (2 * sqrtf((float)times + 1)) : RATE / 2;
}

/* How often was each row pushed?  [rows], the caller's to free. */
static uint32_t *times_pushed(const struct bench_load *l, enum bench_matrix m,
                              uint64_t *pushed)
{
    uint32_t *times = calloc(l->rows, sizeof(*times));

    for (uint32_t w = 0; times && w < l->workers; w++)
        for (int o = 0; o < BENCH_ORDERS; o++)
            for (uint64_t i = 0; i < l->rows; i++) {
                uint32_t n = l->hands[w].pushed[m][o][i / l->batch];

                times[l->hands[w].keys[o][i]] += n;
                *pushed += n;
            }
    return times;
}

static ps_status check_row(enum bench_matrix m, uint64_t key, uint32_t times,
                           float expected, const float *row)
{
    for (uint32_t c = 0; c < BENCH_COLS; c++)
        if (!(fabsf(row[c] - expected) < tolerance(m, times)))
            return ps_fail(PS_ERR_DATA,
                           "matrix %s, row %ju, column %u: %g, expected %g after %u "
                           "pushes",
                           kinds[m].name, (uintmax_t)key, c, (double)row[c],
                           (double)expected, times);
    return PS_OK;
}

static ps_status check_rows(const struct bench_load *l, enum bench_matrix m,
                            const uint32_t *times)
{
    const struct hand *h = &l->hands[0];
    const uint64_t    *keys = h->keys[BENCH_SEQUENTIAL];
    uint32_t           last = 0;
    float              expected = 0;
    ps_status          st = PS_OK;

    for (uint64_t i = 0; !st && i < l->rows; i++) {
        if (i % l->batch == 0)
            st = ps_pull_rows(h->matrix[m], keys + i, l->batch, h->value);
        if (!st && times[i] != last) {
            last = times[i];
            expected = element_after(m, last);
        }
        if (!st)
            st = check_row(m, i, times[i], expected,
                           h->value + i % l->batch * BENCH_COLS);
    }
    return st;
}

ps_status bench_load_check(struct bench_load *l, uint64_t *pushed)
{
    ps_status st = PS_OK;

    *pushed = 0;
    for (int m = 0; !st && m < BENCH_MATRICES; m++) {
        uint32_t *times = times_pushed(l, (enum bench_matrix)m, pushed);

        st = times ? check_rows(l, (enum bench_matrix)m, times) : no_memory();
        free(times);
    }
    return st;
}
