/*
 * dense.c - bytes per second of dense pushes and pulls, from a value of one page to one
 * of many messages.
 *
 * One worker of an asp job, and a matrix with the optimiser add for each size.  What is
 * asked for at a time is the same of psd and of its limit: up to 8 messages of up to 1
 * MiB, and so one value or several.  push-pull is ps_model_push_pull, one value after
 * the other.
 *
 * Gradients are 1 or 2, depending on where they belong, so after n pushes an element is
 * exactly n or 2 n.  After each measurement the whole matrix is pulled and looked at,
 * and now and then it is taken back to zero, before sums become too large for f32.
 */
#include "bench/raw.h"
#include "bench/ring.h"
#include "bench/server.h"
#include "bench/suite.h"
#include "common/net/net.h"

#include <ps/worker.h>

#include <math.h>
#include <stdlib.h>
#include <string.h>

#define WINDOW 8u /* messages on their way to a shard */
#define IN_FLIGHT_MAX 8u
#define PUSHES_MAX (1u << 22)    /* of one measurement */
#define PUSHES_ENOUGH (1u << 20) /* then back to zero */

static const struct size {
    const char *name;
    uint64_t    bytes;
} sizes[] = {
    { "4KiB", UINT64_C(4) << 10 },   { "64KiB", UINT64_C(64) << 10 },
    { "1MiB", UINT64_C(1) << 20 },   { "4MiB", UINT64_C(4) << 20 },
    { "64MiB", UINT64_C(64) << 20 }, { "256MiB", UINT64_C(256) << 20 },
};

#define SIZES (sizeof(sizes) / sizeof(sizes[0]))

enum operation { PUSH, PULL, PUSH_PULL, OPERATIONS };

static const char *const operation_names[] = { "push", "pull", "push-pull" };

enum { ZEROMQ, MEMORY, RING, LIMITS };

struct matrix {
    const struct size *size;
    ps_matrix         *matrix;
    ps_model          *model;
    uint32_t           pushed; /* times, since all was zero */
};

struct what {
    struct bench_case   *result;
    struct bench_series *limits[LIMITS]; /* NULL: not a limit of it */
    size_t               size;
    enum operation       operation;
};

/* One transport. */
struct dense {
    const char          *transport;
    struct bench_servers servers;
    struct bench_raw    *raw;
    struct bench_ring   *ring; /* of shm only */
    ps_worker           *worker;
    struct matrix        matrices[SIZES]; /* those that are needed */
    uint64_t             bytes;           /* of each of the two below */
    float               *gradient;
    float               *value; /* of all pulls in flight, one behind the other */
    size_t               n;
    struct what          what[SIZES * OPERATIONS];
};

static uint32_t in_flight(const struct size *size)
{
    const uint64_t values = (uint64_t)WINDOW * PS_CHUNK_BYTES / size->bytes;

    return values == 0 ? 1 : values < IN_FLIGHT_MAX ? (uint32_t)values : IN_FLIGHT_MAX;
}

static uint64_t elements(const struct matrix *m)
{
    return m->size->bytes / sizeof(float);
}

/* ---- the limit ------------------------------------------------------------------ */

struct raw_work {
    const struct dense *dense;
    const struct size  *size;
    enum operation      operation;
};

/* Messages of one value.  Of a push-pull the last push brings the first values back. */
static uint64_t messages_of(const struct raw_work *w)
{
    const uint64_t chunks = (w->size->bytes + PS_CHUNK_BYTES - 1) / PS_CHUNK_BYTES;

    return w->operation == PUSH_PULL ? 2 * chunks - 1 : chunks;
}

static ps_status ask(const struct raw_work *w, uint64_t number)
{
    const uint64_t chunks = (w->size->bytes + PS_CHUNK_BYTES - 1) / PS_CHUNK_BYTES;
    const bool     pushes = w->operation != PULL && number < chunks;
    const bool     pulls =
        w->operation == PULL || (w->operation == PUSH_PULL && number + 1 >= chunks);
    const uint64_t           at = number % chunks * PS_CHUNK_BYTES;
    const uint64_t           left = w->size->bytes - at;
    const size_t             bytes = left < PS_CHUNK_BYTES ? left : PS_CHUNK_BYTES;
    struct bench_raw_request q = { 0 };

    if (pushes) {
        q.values = (const uint8_t *)w->dense->gradient + at;
        q.values_bytes = bytes;
    }
    if (pulls) {
        q.answer_at = at;
        q.answer_bytes = bytes;
    }
    return bench_raw_ask(w->dense->raw, 0, &q);
}

static uint64_t bytes_moved(const struct size *size, enum operation operation)
{
    return operation == PUSH_PULL ? 2 * size->bytes : size->bytes;
}

static ps_status work_raw(void *work, uint64_t until_ns, uint64_t *done)
{
    const struct raw_work *w = work;
    const uint64_t         each = messages_of(w);
    const uint64_t         values = w->operation == PUSH_PULL ? 1 : in_flight(w->size);
    uint64_t               asked = 0, answered = 0;
    ps_status              st = PS_OK;
    bool                   more = true;

    while (!st && (more || answered < asked)) {
        while (
            !st && asked - answered < WINDOW &&
            (asked % each != 0 || (more && asked / each - answered / each < values))) {
            st = ask(w, asked % each);
            asked++;
        }
        if (!st)
            st = bench_raw_take(w->dense->raw, 0);
        answered++;
        more = ps_now_ns() < until_ns;
    }
    *done = answered / each * bytes_moved(w->size, w->operation);
    return st;
}

/* Each value copied once, from one buffer to another of this process. */
static ps_status work_copy(void *work, uint64_t until_ns, uint64_t *done)
{
    const struct raw_work *w = work;
    uint64_t               n = 0;

    do {
        memcpy((uint8_t *)w->dense->value + n % in_flight(w->size) * w->size->bytes,
               w->dense->gradient, w->size->bytes);
        n++;
    } while (ps_now_ns() < until_ns);
    *done = n * w->size->bytes;
    return PS_OK;
}

/* One part of the value. */
static void ring_part(const struct raw_work *w, uint64_t number, uint64_t *at,
                      uint64_t *bytes)
{
    *at = number * BENCH_RING_SLOT_BYTES;
    *bytes = w->size->bytes - *at < BENCH_RING_SLOT_BYTES ? w->size->bytes - *at
                                                          : BENCH_RING_SLOT_BYTES;
}

static void ring_push(const struct raw_work *w, uint64_t each)
{
    for (uint64_t i = 0, at, bytes; i < each; i++) {
        ring_part(w, i, &at, &bytes);
        bench_ring_push(w->dense->ring, (const uint8_t *)w->dense->gradient + at, at,
                        bytes);
    }
}

/* Values one behind the other, at least one, until the time is over; how many. */
static uint64_t ring_pull(const struct raw_work *w, uint64_t each, uint64_t until_ns)
{
    uint64_t asked = 0, taken = 0, at, bytes;

    do {
        while (asked - taken < BENCH_RING_SLOTS &&
               (asked == 0 || asked % each != 0 || ps_now_ns() < until_ns)) {
            ring_part(w, asked++ % each, &at, &bytes);
            bench_ring_ask(w->dense->ring, at, bytes);
        }
        ring_part(w, taken++ % each, &at, &bytes);
        bench_ring_take(w->dense->ring, (uint8_t *)w->dense->value + at);
    } while (taken < asked);
    return taken / each;
}

static ps_status work_ring(void *work, uint64_t until_ns, uint64_t *done)
{
    const struct raw_work *w = work;
    const uint64_t         each =
        (w->size->bytes + BENCH_RING_SLOT_BYTES - 1) / BENCH_RING_SLOT_BYTES;
    uint64_t n = 0;

    bench_ring_let_go(w->dense->ring);
    if (w->operation == PULL)
        n = ring_pull(w, each, until_ns);
    while (w->operation != PULL && (n == 0 || ps_now_ns() < until_ns)) {
        ring_push(w, each);
        n += w->operation == PUSH_PULL ? ring_pull(w, each, 0) : 1;
    }
    bench_ring_settle(w->dense->ring);
    bench_ring_stop(w->dense->ring);
    *done = n * bytes_moved(w->size, w->operation);
    return PS_OK;
}

/* ---- psd ------------------------------------------------------------------------ */

struct work {
    struct dense  *dense;
    struct matrix *matrix;
    enum operation operation;
};

static ps_status wrong_value(const struct dense *d, const struct matrix *m, uint64_t i,
                             float value)
{
    return ps_fail(PS_ERR_DATA,
                   "dense/%s, %s: element %ju is %g, expected %g after %u "
                   "pushes",
                   d->transport, m->size->name, (uintmax_t)i, (double)value,
                   (double)m->pushed * (double)bench_gradient_at(i), m->pushed);
}

static bool is_right(const struct matrix *m, uint64_t i, float value)
{
    return value == (float)m->pushed * bench_gradient_at(i);
}

/* Only the ends, of each value while time is measured; they are made wrong before. */
static void spoil_ends(const struct matrix *m, float *value)
{
    value[0] = value[elements(m) - 1] = NAN;
}

static ps_status check_ends(const struct dense *d, const struct matrix *m,
                            const float *value)
{
    const uint64_t last = elements(m) - 1;

    if (!is_right(m, 0, value[0]))
        return wrong_value(d, m, 0, value[0]);
    return is_right(m, last, value[last]) ? PS_OK
                                          : wrong_value(d, m, last, value[last]);
}

static float *slot(const struct work *w, uint64_t number)
{
    return w->dense->value + number % in_flight(w->matrix->size) * elements(w->matrix);
}

static ps_status start(const struct work *w, uint64_t number, ps_ticket **ticket)
{
    if (w->operation == PUSH) {
        w->matrix->pushed++;
        return ps_push_async(w->matrix->matrix, w->dense->gradient, ticket);
    }
    spoil_ends(w->matrix, slot(w, number));
    return ps_pull_async(w->matrix->matrix, slot(w, number), ticket);
}

static ps_status end(const struct work *w, uint64_t number, ps_ticket **ticket)
{
    ps_status st = ps_wait(ticket);

    return st || w->operation == PUSH
               ? st
               : check_ends(w->dense, w->matrix, slot(w, number));
}

/* A value that fills the window by itself: by the calls that wait for it. */
static ps_status move_one(const struct work *w)
{
    ps_status st;

    if (w->operation == PUSH) {
        w->matrix->pushed++;
        return ps_push(w->matrix->matrix, w->dense->gradient);
    }
    spoil_ends(w->matrix, w->dense->value);
    st = ps_pull(w->matrix->matrix, w->dense->value);
    return st ? st : check_ends(w->dense, w->matrix, w->dense->value);
}

static ps_status work_one_by_one(void *work, uint64_t until_ns, uint64_t *done)
{
    const struct work *w = work;
    uint64_t           n = 0;
    ps_status          st = PS_OK;

    do {
        st = move_one(w);
        n++;
    } while (!st && ps_now_ns() < until_ns && n < PUSHES_MAX);
    *done = n * w->matrix->size->bytes;
    return st;
}

static ps_status work_one_way(void *work, uint64_t until_ns, uint64_t *done)
{
    const struct work *w = work;
    const uint32_t     values = in_flight(w->matrix->size);
    ps_ticket         *tickets[IN_FLIGHT_MAX];
    uint64_t           asked = 0, answered = 0;
    ps_status          st = PS_OK;
    bool               more = true;

    while (!st && (more || answered < asked)) {
        for (; !st && more && asked - answered < values; asked++)
            st = start(w, asked, &tickets[asked % values]);
        if (!st)
            st = end(w, answered, &tickets[answered % values]);
        answered++;
        more = ps_now_ns() < until_ns && asked < PUSHES_MAX;
    }
    *done = answered * w->matrix->size->bytes;
    return st; /* what is open after a failure goes with its worker */
}

static ps_status work_both_ways(void *work, uint64_t until_ns, uint64_t *done)
{
    const struct work *w = work;
    uint64_t           n = 0;
    ps_status          st = PS_OK;

    do {
        spoil_ends(w->matrix, w->dense->value);
        w->matrix->pushed++;
        st = ps_model_push_pull(w->matrix->model);
        if (!st)
            st = check_ends(w->dense, w->matrix, w->dense->value);
        n++;
    } while (!st && ps_now_ns() < until_ns && n < PUSHES_MAX);
    *done = n * bytes_moved(w->matrix->size, PUSH_PULL);
    return st;
}

/* Is all of it as it should be? */
static ps_status check_all(struct dense *d, struct matrix *m)
{
    const uint64_t n = elements(m);
    ps_status      st;

    spoil_ends(m, d->value);
    st = ps_pull(m->matrix, d->value);
    for (uint64_t i = 0; !st && i < n; i++)
        if (!is_right(m, i, d->value[i]))
            st = wrong_value(d, m, i, d->value[i]);
    return st;
}

/* With all of it in `value`. */
static ps_status take_back(struct dense *d, struct matrix *m)
{
    for (uint64_t i = 0; i < elements(m); i++)
        d->value[i] = -d->value[i];
    m->pushed = 0;
    return ps_push(m->matrix, d->value);
}

static ps_status settle(struct dense *d, struct matrix *m)
{
    ps_status st = check_all(d, m);

    return st || m->pushed < PUSHES_ENOUGH ? st : take_back(d, m);
}

/* ---- cases ---------------------------------------------------------------------- */

static const struct {
    const char    *name;
    bench_work_fn *work;
    bool           shared_memory; /* only there */
} limits[LIMITS] = {
    [ZEROMQ] = { "zeromq", work_raw, false },
    [MEMORY] = { "memory", work_copy, true },
    [RING] = { "ring", work_ring, true },
};

static void choose(void *self, struct bench_run *run, size_t setting)
{
    struct dense *d = self;

    d->transport = bench_transports[setting];
    for (size_t i = 0; i < SIZES; i++)
        for (int o = 0; o < OPERATIONS; o++) {
            struct bench_case *c = bench_add(run, "B/s", "dense/%s/%s/%s", d->transport,
                                             operation_names[o], sizes[i].name);

            if (!c)
                continue;
            d->what[d->n] =
                (struct what){ .result = c, .size = i, .operation = (enum operation)o };
            for (size_t k = 0; k < LIMITS; k++)
                if (setting >= BENCH_SOCKETS || !limits[k].shared_memory)
                    d->what[d->n].limits[k] = bench_limit(run, c, limits[k].name, NULL);
            d->n++;
        }
}

static ps_status measure(struct dense *d, const struct bench_run *run,
                         const struct what *what)
{
    const struct size *size = &sizes[what->size];
    struct matrix     *m = &d->matrices[what->size];
    struct raw_work    raw = { d, size, what->operation };
    struct work        work = { d, m, what->operation };
    ps_status          st = PS_OK;

    for (size_t k = 0; !st && k < LIMITS; k++)
        if (what->limits[k] && !run->options->alone)
            st = bench_measure(run, what->result->name, limits[k].work,
                               (void *[]){ &raw }, 1, what->limits[k]);
    if (!st)
        st = bench_measure(run, what->result->name,
                           what->operation == PUSH_PULL ? work_both_ways
                           : in_flight(size) == 1       ? work_one_by_one
                                                        : work_one_way,
                           (void *[]){ &work }, 1, &what->result->series);
    return st ? st : settle(d, m);
}

static ps_status measure_round(void *self, struct bench_run *run)
{
    struct dense *d = self;
    ps_status     st = PS_OK;

    for (size_t i = 0; !st && i < d->n; i++)
        st = measure(d, run, &d->what[i]);
    return st;
}

/* Once more, of all matrices, after the last measurement of any. */
static ps_status prove(void *self, struct bench_run *run)
{
    struct dense *d = self;
    ps_status     st = PS_OK;

    (void)run;
    for (size_t i = 0; !st && i < SIZES; i++)
        if (d->matrices[i].matrix)
            st = check_all(d, &d->matrices[i]);
    return st;
}

/* ---- the two ends --------------------------------------------------------------- */

static ps_status make_room(struct dense *d)
{
    ps_status st;

    d->bytes = (uint64_t)WINDOW * PS_CHUNK_BYTES;
    for (size_t i = 0; i < d->n; i++)
        if (sizes[d->what[i].size].bytes > d->bytes)
            d->bytes = sizes[d->what[i].size].bytes;
    /* Gradient and value, their copies on the way, two matrices, the raw table,
     * and the ring's array. */
    st = bench_expect_memory("dense", 7 * d->bytes);
    if (st)
        return st;
    d->gradient = malloc(d->bytes);
    d->value = malloc(d->bytes);
    if (!d->gradient || !d->value)
        return ps_fail(PS_ERR_NO_MEMORY, "dense/%s: no memory for values of %ju MiB",
                       d->transport, (uintmax_t)(d->bytes >> 20));
    for (uint64_t i = 0; i < d->bytes / sizeof(float); i++) {
        d->gradient[i] = bench_gradient_at(i);
        d->value[i] = 0;
    }
    return PS_OK;
}

/* With one push, so that it is not all zero. */
static ps_status open_matrix(struct dense *d, struct matrix *m)
{
    ps_matrix_options o = PS_MATRIX_OPTIONS;
    ps_status         st;

    o.optimiser = PS_ADD;
    st = ps_dense(d->worker, m->size->name, 1, elements(m), &o, &m->matrix);
    if (!st)
        st = ps_model_new(&m->model, d->worker);
    if (!st)
        st = ps_model_add(m->model, m->matrix, d->value, d->gradient);
    if (!st)
        st = ps_push(m->matrix, d->gradient);
    m->pushed = 1;
    return st;
}

static ps_status open_all(void *self, struct bench_run *run)
{
    struct dense *d = self;
    ps_status     st = make_room(d);
    const char   *raw;

    /* While this process is one thread. */
    if (!st && d->what[0].limits[RING] && !run->options->alone)
        st = bench_ring_open(&d->ring, d->bytes);
    if (!st)
        st = bench_servers_start(&d->servers, d->transport, 1, BENCH_RAW);
    raw = d->servers.raw[0];
    if (!st)
        st = bench_raw_open(&d->raw, &raw, 1);
    if (!st)
        st = bench_join(&d->worker, d->servers.coordinator, "dense");
    for (size_t i = 0; !st && i < d->n; i++) {
        struct matrix *m = &d->matrices[d->what[i].size];

        m->size = &sizes[d->what[i].size];
        if (!m->matrix)
            st = open_matrix(d, m);
    }
    return st;
}

static ps_status close_all(void *self, ps_status so_far)
{
    struct dense *d = self;
    ps_status     st = bench_leave(&d->worker, so_far), ended;

    bench_raw_close(&d->raw);
    bench_ring_close(&d->ring);
    ended = bench_servers_stop(&d->servers);
    free(d->gradient);
    free(d->value);
    return st ? st : ended;
}

const struct bench_suite bench_dense = {
    .name = "dense",
    .n_settings = BENCH_TRANSPORTS,
    .self_bytes = sizeof(struct dense),
    .choose = choose,
    .open = open_all,
    .round = measure_round,
    .prove = prove,
    .close = close_all,
};
