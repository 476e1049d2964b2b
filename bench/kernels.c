/*
 * kernels.c - the loops that touch every parameter, alone: elements per second of one
 * thread, beside a loop that moves the same bytes and does next to nothing.
 *
 *     memory   arrays far larger than the caches
 *     chunk    arrays of 1 MiB, as a shard applies them
 *
 * Each measurement begins with zeros, and ends with a look at every element: two of
 * them that were treated alike, beside the arrays, say what all should be.  (That these
 * are right is for tests/unit/compute.c.)
 */
#include "bench/stream.h"
#include "bench/suite.h"
#include "common/base/limits.h"
#include "common/net/net.h"
#include "server/compute/backend.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

#define ARRAYS 3u /* the parameters, and an optimiser's state */

enum loop { SET, ADD, FINITE, STEP };

static const struct kernel {
    const char *name;
    enum loop   loop;
    uint32_t    kind;
    uint32_t    arrays; /* that it writes */
} kernels[] = {
    { "set", SET, 0, 1 },
    { "add", ADD, 0, 1 },
    { "finite", FINITE, 0, 0 },
    { "sgd", STEP, PS_SGD, 1 },
    { "momentum", STEP, PS_MOMENTUM, 2 },
    { "nesterov", STEP, PS_NESTEROV, 2 },
    { "adagrad", STEP, PS_ADAGRAD, 2 },
    { "rmsprop", STEP, PS_RMSPROP, 2 },
    { "adam", STEP, PS_ADAM, 3 },
    { "adamw", STEP, PS_ADAMW, 3 },
    { "ftrl", STEP, PS_FTRL, 3 },
};

#define KERNELS (sizeof(kernels) / sizeof(kernels[0]))

static const char *const places[] = { "memory", "chunk" };

#define PLACES (sizeof(places) / sizeof(places[0]))

/* Parameters, state and gradient of equal length. */
struct arrays {
    size_t n;
    float *written[ARRAYS];
    float *gradient;
};

struct what {
    const struct kernel *kernel;
    struct bench_case   *result;
    struct bench_series *limit;
};

struct alone {
    size_t        place;
    struct arrays arrays;
    size_t        n;
    struct what   what[KERNELS];
};

/* ---- the loops ------------------------------------------------------------------ */

struct work {
    const struct kernel *kernel;
    struct arrays       *arrays;
    uint64_t             times;    /* that it was done since the arrays were zero */
    bool                 infinite; /* what `finite` has found */
    volatile float       sum;      /* so that the stream is read */
};

/* The `number`th time, from 1. */
static void run_kernel(struct work *w, struct arrays *a, uint64_t number)
{
    const struct psd_backend *b = &psd_backend_cpu;
    const struct psd_hyper    hyper = { .lr = 0.001,
                                        .momentum = 0.9,
                                        .beta1 = 0.9,
                                        .beta2 = 0.999,
                                        .rho = 0.9,
                                        .epsilon = 1e-8,
                                        .weight_decay = 0.01,
                                        .ftrl_beta = 1,
                                        .step = number };
    void *const               state[] = { a->written[1], a->written[2] };

    switch (w->kernel->loop) {
    case SET: b->set(PS_F32, a->n, a->written[0], (double)number, a->gradient); break;
    case ADD: b->add(PS_F32, a->n, a->written[0], 0.5, a->gradient); break;
    case FINITE: w->infinite |= !b->finite(PS_F32, a->n, a->gradient); break;
    case STEP:
        b->step(w->kernel->kind, PS_F32, &hyper, a->n, a->written[0], state,
                a->gradient);
        break;
    }
}

static void run_stream(struct work *w)
{
    struct arrays *a = w->arrays;

    if (w->kernel->loop == SET)
        bench_stream_set(a->n, a->written[0], a->gradient);
    else if (w->kernel->arrays == 0)
        w->sum = bench_stream_read(a->n, a->gradient);
    else if (w->kernel->arrays == 1)
        bench_stream_1(a->n, a->written[0], a->gradient);
    else if (w->kernel->arrays == 2)
        bench_stream_2(a->n, a->written[0], a->written[1], a->gradient);
    else
        bench_stream_3(a->n, a->written[0], a->written[1], a->written[2], a->gradient);
}

static ps_status work_kernel(void *work, uint64_t until_ns, uint64_t *done)
{
    struct work *w = work;

    do
        run_kernel(w, w->arrays, ++w->times);
    while (ps_now_ns() < until_ns);
    *done = w->times * w->arrays->n;
    return PS_OK;
}

static ps_status work_stream(void *work, uint64_t until_ns, uint64_t *done)
{
    struct work *w = work;

    do {
        run_stream(w);
        w->times++;
    } while (ps_now_ns() < until_ns);
    *done = w->times * w->arrays->n;
    return PS_OK;
}

/* ---- measuring ------------------------------------------------------------------ */

static void clear(struct arrays *a)
{
    for (uint32_t k = 0; k < ARRAYS; k++)
        memset(a->written[k], 0, a->n * sizeof(float));
}

/* The two elements that say what all should be: one for each gradient. */
static ps_status check(struct work *w, const char *name)
{
    float         gradient[2] = { 1, 2 }, model[ARRAYS][2] = { { 0 } };
    struct arrays two = { .n = 2,
                          .written = { model[0], model[1], model[2] },
                          .gradient = gradient };

    for (uint64_t i = 1; i <= w->times; i++)
        run_kernel(w, &two, i);
    if (w->infinite)
        return ps_fail(PS_ERR_DATA, "%s: finds an infinity where there is none", name);
    for (uint32_t k = 0; k < w->kernel->arrays; k++)
        for (size_t i = 0; i < w->arrays->n; i++) {
            const float expected = model[k][w->arrays->gradient[i] == 2];

            if (memcmp(&w->arrays->written[k][i], &expected, sizeof(expected)) != 0)
                return ps_fail(PS_ERR_DATA,
                               "%s: element %zu of array %u is %g, expected %g after "
                               "%ju times",
                               name, i, k, (double)w->arrays->written[k][i],
                               (double)expected, (uintmax_t)w->times);
        }
    return PS_OK;
}

static ps_status measure(struct alone *a, const struct bench_run *run,
                         const struct what *what)
{
    struct work stream = { .kernel = what->kernel, .arrays = &a->arrays };
    struct work work = stream;
    ps_status   st = PS_OK;

    clear(&a->arrays);
    if (!run->options->alone)
        st = bench_measure(run, what->result->name, work_stream, (void *[]){ &stream },
                           1, what->limit);
    clear(&a->arrays);
    if (!st)
        st = bench_measure(run, what->result->name, work_kernel, (void *[]){ &work }, 1,
                           &what->result->series);
    return st ? st : check(&work, what->result->name);
}

static ps_status measure_round(void *self, struct bench_run *run)
{
    struct alone *a = self;
    ps_status     st = PS_OK;

    for (size_t i = 0; !st && i < a->n; i++)
        st = measure(a, run, &a->what[i]);
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
    struct alone *a = self;

    a->place = setting;
    for (size_t i = 0; i < KERNELS; i++) {
        struct bench_case *c = bench_add(run, "elements/s", "kernel/%s/%s",
                                         places[setting], kernels[i].name);

        if (c)
            a->what[a->n++] =
                (struct what){ &kernels[i], c, bench_limit(run, c, "stream", NULL) };
    }
}

/* On huge pages where there are any, so that it is memory that is measured. */
static float *make_array(size_t n)
{
    const size_t page = 2u << 20;
    const size_t bytes = (n * sizeof(float) + page - 1) / page * page;
    float       *at = aligned_alloc(page, bytes);

    if (at)
        madvise(at, bytes, MADV_HUGEPAGE); /* refused, it is slower and as right */
    return at;
}

static ps_status open_all(void *self, struct bench_run *run)
{
    struct alone  *a = self;
    struct arrays *all = &a->arrays;
    ps_status      st;

    all->n = a->place == 0 ? run->options->elements : PS_CHUNK_BYTES / sizeof(float);
    st = bench_expect_memory("kernel", (ARRAYS + 1) * all->n * sizeof(float));
    if (st)
        return st;
    all->gradient = make_array(all->n);
    for (uint32_t k = 0; k < ARRAYS; k++)
        all->written[k] = make_array(all->n);
    if (!all->gradient || !all->written[0] || !all->written[1] || !all->written[2])
        return ps_fail(PS_ERR_NO_MEMORY, "kernel: no memory for arrays of %zu elements",
                       all->n);
    for (size_t i = 0; i < all->n; i++)
        all->gradient[i] = bench_gradient_at(i);
    return PS_OK;
}

static ps_status close_all(void *self, ps_status so_far)
{
    struct alone *a = self;

    (void)so_far;
    free(a->arrays.gradient);
    for (uint32_t k = 0; k < ARRAYS; k++)
        free(a->arrays.written[k]);
    return PS_OK;
}

const struct bench_suite bench_kernels = {
    .name = "kernel",
    .n_settings = PLACES,
    .self_bytes = sizeof(struct alone),
    .choose = choose,
    .open = open_all,
    .round = measure_round,
    .prove = prove,
    .close = close_all,
};
