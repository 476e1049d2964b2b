/* The CPU's kernels against the papers, written to be read, in double. */
#include "server/compute/backend.h"
#include "tests/unit/suite.h"

#include <float.h>
#include <math.h>

#define STEPS 1000

static const struct psd_backend *const cpu = &psd_backend_cpu;

static const struct psd_hyper paper = {
    .lr = 0.01,
    .momentum = 0.9,
    .beta1 = 0.9,
    .beta2 = 0.999,
    .rho = 0.9,
    .epsilon = 1e-8,
    .weight_decay = 0.01,
    .ftrl_beta = 1.0,
    .ftrl_l1 = 0.5,
    .ftrl_l2 = 0.1,
    .step = 1,
};

/* One parameter with its state; the letters are those of server/optim/optim.h. */
struct book {
    double w, v, a, m, z, n;
};

static void momentum(const struct psd_hyper *h, struct book *b, double g)
{
    b->v = h->momentum * b->v - h->lr * g;
    b->w += b->v;
}

static void nesterov(const struct psd_hyper *h, struct book *b, double g)
{
    double was = b->v;

    b->v = h->momentum * b->v - h->lr * g;
    b->w += -h->momentum * was + (1 + h->momentum) * b->v;
}

static void adam(const struct psd_hyper *h, struct book *b, double g)
{
    double t = (double)h->step, m_hat, v_hat;

    b->m = h->beta1 * b->m + (1 - h->beta1) * g;
    b->v = h->beta2 * b->v + (1 - h->beta2) * g * g;
    m_hat = b->m / (1 - pow(h->beta1, t));
    v_hat = b->v / (1 - pow(h->beta2, t));
    b->w -= h->lr * m_hat / (sqrt(v_hat) + h->epsilon);
}

static void ftrl(const struct psd_hyper *h, struct book *b, double g)
{
    double sigma = (sqrt(b->n + g * g) - sqrt(b->n)) / h->lr;

    b->z += g - sigma * b->w;
    b->n += g * g;
    if (fabs(b->z) <= h->ftrl_l1)
        b->w = 0;
    else
        b->w = -(b->z - copysign(h->ftrl_l1, b->z)) /
               ((h->ftrl_beta + sqrt(b->n)) / h->lr + h->ftrl_l2);
}

static void by_the_book(uint32_t kind, const struct psd_hyper *h, struct book *b,
                        double g)
{
    double old = b->w;

    if (kind != PS_ADAMW)
        g += h->weight_decay * b->w;
    switch (kind) {
    case PS_SGD: b->w -= h->lr * g; break;
    case PS_MOMENTUM: momentum(h, b, g); break;
    case PS_NESTEROV: nesterov(h, b, g); break;
    case PS_ADAGRAD:
        b->a += g * g;
        b->w -= h->lr * g / (sqrt(b->a) + h->epsilon);
        break;
    case PS_RMSPROP:
        b->a = h->rho * b->a + (1 - h->rho) * g * g;
        b->w -= h->lr * g / (sqrt(b->a) + h->epsilon);
        break;
    case PS_ADAM: adam(h, b, g); break;
    case PS_ADAMW:
        adam(h, b, g);
        b->w -= h->lr * h->weight_decay * old;
        break;
    case PS_FTRL: ftrl(h, b, g); break;
    }
}

/* A span in either precision, read and written as double. */
struct span {
    uint32_t dtype;
    size_t   n;
    void    *data;
};

static size_t size_of(uint32_t dtype)
{
    return dtype == PS_F32 ? sizeof(float) : sizeof(double);
}

static struct span span_new(uint32_t dtype, size_t n)
{
    struct span s = { dtype, n, calloc(n, size_of(dtype)) };

    ck_assert_ptr_nonnull(s.data);
    return s;
}

static double span_get(const struct span *s, size_t i)
{
    return s->dtype == PS_F32 ? ((float *)s->data)[i] : ((double *)s->data)[i];
}

static void span_set(struct span *s, size_t i, double x)
{
    if (s->dtype == PS_F32)
        ((float *)s->data)[i] = (float)x;
    else
        ((double *)s->data)[i] = x;
}

static void *span_at(const struct span *s, size_t i)
{
    return (char *)s->data + i * size_of(s->dtype);
}

/* Everything that one step touches. */
struct problem {
    struct span w, g, state[2];
};

static struct problem problem_new(uint32_t dtype, size_t n)
{
    struct problem p = { span_new(dtype, n),
                         span_new(dtype, n),
                         { span_new(dtype, n), span_new(dtype, n) } };

    for (size_t i = 0; i < n; i++)
        span_set(&p.w, i, cos((double)i) / 2);
    return p;
}

static void problem_free(struct problem *p)
{
    free(p->w.data);
    free(p->g.data);
    free(p->state[0].data);
    free(p->state[1].data);
}

/* A gradient that is never the same twice, of sizes from 0.05 to 2. */
static void new_gradient(struct problem *p, uint64_t t)
{
    for (size_t i = 0; i < p->g.n; i++)
        span_set(&p->g, i,
                 (0.05 + 0.15 * (double)(i % 14)) * sin((double)(t * (i + 3))));
}

/* One step on elements from .. to-1 of the problem. */
static void step_part(struct problem *p, uint32_t kind, const struct psd_hyper *h,
                      size_t from, size_t to)
{
    void *state[2] = { span_at(&p->state[0], from), span_at(&p->state[1], from) };

    cpu->step(kind, p->w.dtype, h, to - from, span_at(&p->w, from), state,
              span_at(&p->g, from));
}

static const struct {
    uint32_t    kind, dtype;
    const char *name;
} runs[] = {
    { PS_SGD, PS_F32, "sgd f32" },           { PS_SGD, PS_F64, "sgd f64" },
    { PS_MOMENTUM, PS_F32, "momentum f32" }, { PS_MOMENTUM, PS_F64, "momentum f64" },
    { PS_NESTEROV, PS_F32, "nesterov f32" }, { PS_NESTEROV, PS_F64, "nesterov f64" },
    { PS_ADAGRAD, PS_F32, "adagrad f32" },   { PS_ADAGRAD, PS_F64, "adagrad f64" },
    { PS_RMSPROP, PS_F32, "rmsprop f32" },   { PS_RMSPROP, PS_F64, "rmsprop f64" },
    { PS_ADAM, PS_F32, "adam f32" },         { PS_ADAM, PS_F64, "adam f64" },
    { PS_ADAMW, PS_F32, "adamw f32" },       { PS_ADAMW, PS_F64, "adamw f64" },
    { PS_FTRL, PS_F32, "ftrl f32" },         { PS_FTRL, PS_F64, "ftrl f64" },
};
#define N_RUNS (int)(sizeof(runs) / sizeof(runs[0]))

/*
 * How far a thousand steps may lead from the book.
 *
 * An operation rounds by at most `unit` of its result.  A step works out its change
 * with fewer than 16 operations, each seen by the next steps too where there is
 * momentum (10 of them, with 0.9), and adds it to w with one more.  For ftrl the sum is
 * z, and what it is divided by, at least beta / lr = 100, turns its error into w's.
 */
static double allowed(uint32_t kind, uint32_t dtype, double w, double change, double z)
{
    double unit = (dtype == PS_F32 ? FLT_EPSILON : DBL_EPSILON) / 2;
    double echo = kind == PS_MOMENTUM || kind == PS_NESTEROV ? 10 : 1;

    if (kind == PS_FTRL)
        return STEPS * unit * (w + z / 100);
    return STEPS * unit * (w + 16 * echo * change);
}

START_TEST(kernels_follow_the_book_for_a_thousand_steps)
{
    enum { N = 37 };
    uint32_t         kind = runs[_i].kind, dtype = runs[_i].dtype;
    struct problem   p = problem_new(dtype, N);
    struct psd_hyper h = paper;
    struct book      b[N] = { { 0 } };
    double           w = 0, change = 0, z = 0;

    for (size_t i = 0; i < N; i++)
        b[i].w = span_get(&p.w, i);
    for (h.step = 1; h.step <= STEPS; h.step++) {
        new_gradient(&p, h.step);
        step_part(&p, kind, &h, 0, N);
        for (size_t i = 0; i < N; i++) {
            double old = b[i].w;

            by_the_book(kind, &h, &b[i], span_get(&p.g, i));
            w = fmax(w, fabs(b[i].w));
            change = fmax(change, fabs(b[i].w - old));
            z = fmax(z, fabs(b[i].z));
        }
    }
    for (size_t i = 0; i < N; i++)
        ck_assert_msg(fabs(span_get(&p.w, i) - b[i].w) <=
                          allowed(kind, dtype, w, change, z),
                      "%s, element %zu: %.17g, the book says %.17g", runs[_i].name, i,
                      span_get(&p.w, i), b[i].w);
    problem_free(&p);
}
END_TEST

START_TEST(cutting_a_span_anywhere_changes_no_bit)
{
    enum { N = 1003 };
    uint32_t         kind = runs[_i].kind, dtype = runs[_i].dtype;
    struct problem   whole = problem_new(dtype, N), cut = problem_new(dtype, N);
    struct psd_hyper h = paper;

    for (h.step = 1; h.step <= 5; h.step++) {
        new_gradient(&whole, h.step);
        new_gradient(&cut, h.step);
        step_part(&whole, kind, &h, 0, N);
        for (size_t at = 0, piece = 1; at < N; piece = piece * 2 % 61 + 1) {
            size_t to = at + piece < N ? at + piece : N;

            step_part(&cut, kind, &h, at, to);
            at = to;
        }
    }
    ck_assert_mem_eq(whole.w.data, cut.w.data, N * size_of(dtype));
    ck_assert_mem_eq(whole.state[0].data, cut.state[0].data, N * size_of(dtype));
    ck_assert_mem_eq(whole.state[1].data, cut.state[1].data, N * size_of(dtype));
    problem_free(&whole);
    problem_free(&cut);
}
END_TEST

static const uint32_t floats[] = { PS_F32, PS_F64 };

START_TEST(sums_are_the_same_wherever_they_are_cut)
{
    enum { N = 517 };
    uint32_t    dtype = floats[_i];
    struct span g = span_new(dtype, N), whole = span_new(dtype, N),
                cut = span_new(dtype, N);

    for (size_t i = 0; i < N; i++)
        span_set(&g, i, sin((double)i));
    cpu->set(dtype, N, whole.data, 0.3, g.data);
    cpu->add(dtype, N, whole.data, 0.7, g.data);
    for (size_t at = 0; at < N; at += 11) {
        cpu->set(dtype, 11, span_at(&cut, at), 0.3, span_at(&g, at));
        cpu->add(dtype, 11, span_at(&cut, at), 0.7, span_at(&g, at));
    }
    ck_assert_mem_eq(whole.data, cut.data, N * size_of(dtype));
    free(g.data);
    free(whole.data);
    free(cut.data);
}
END_TEST

/* (1 + e)^2 = 1 + 2e + e^2 with e^2 just below what the type holds: a product that is
 * rounded before it is added cancels to 0, a fused one leaves e^2. */
START_TEST(products_are_rounded_before_they_are_added)
{
    enum { N = 67 };
    uint32_t    dtype = floats[_i];
    double      e = dtype == PS_F32 ? 0x1p-12 : 0x1p-27;
    struct span src = span_new(dtype, N), dst = span_new(dtype, N);

    for (size_t i = 0; i < N; i++) {
        span_set(&src, i, 1 + e);
        span_set(&dst, i, -(1 + 2 * e));
    }
    cpu->add(dtype, N, dst.data, 1 + e, src.data);
    for (size_t i = 0; i < N; i++)
        ck_assert_double_eq(span_get(&dst, i), 0.0);
    free(src.data);
    free(dst.data);
}
END_TEST

START_TEST(a_span_may_be_added_to_itself)
{
    enum { N = 67 };
    uint32_t    dtype = floats[_i];
    struct span s = span_new(dtype, N);

    for (size_t i = 0; i < N; i++)
        span_set(&s, i, (double)i);
    cpu->add(dtype, N, s.data, 2.0, s.data);
    cpu->set(dtype, N, s.data, 0.5, s.data);
    for (size_t i = 0; i < N; i++)
        ck_assert_double_eq(span_get(&s, i), 1.5 * (double)i);
    free(s.data);
}
END_TEST

START_TEST(finite_and_copy_see_every_position)
{
    enum { N = 67 };
    static const double bad[] = { NAN, -NAN, INFINITY, -INFINITY };
    uint32_t            dtype = floats[_i];
    struct span         s = span_new(dtype, N), copy = span_new(dtype, N);
    const size_t        bytes = ps_dtype_bytes(dtype);
    double              most = dtype == PS_F32 ? FLT_MAX : DBL_MAX;
    double              least = dtype == PS_F32 ? FLT_TRUE_MIN : DBL_TRUE_MIN;

    for (size_t i = 0; i < N; i++)
        span_set(&s, i, i % 3 == 0 ? most : i % 3 == 1 ? -most : least);
    for (size_t n = 1; n <= N; n++) {
        ck_assert(cpu->finite(dtype, n, s.data));
        ck_assert(cpu->copy(dtype, n, copy.data, s.data));
        ck_assert_mem_eq(copy.data, s.data, n * bytes);
        for (size_t at = 0; at < n; at++) {
            double was = span_get(&s, at);

            for (size_t k = 0; k < sizeof(bad) / sizeof(bad[0]); k++) {
                span_set(&s, at, bad[k]);
                ck_assert_msg(!cpu->finite(dtype, n, s.data), "%g at %zu of %zu",
                              bad[k], at, n);
                ck_assert(!cpu->copy(dtype, n, copy.data, s.data));
                ck_assert_mem_eq(copy.data, s.data, n * bytes);
            }
            span_set(&s, at, was);
        }
    }
    free(s.data);
    free(copy.data);
}
END_TEST

START_TEST(first_adam_step_is_the_learning_rate)
{
    float            w = 0, m = 0, v = 0, g = 123.0f;
    void            *state[2] = { &m, &v };
    struct psd_hyper h = paper;

    h.weight_decay = 0;
    cpu->step(PS_ADAM, PS_F32, &h, 1, &w, state, &g);
    /* Section 2.1: the first step has size lr, whatever the gradient.  Five factors,
     * each right to 2^-24. */
    ck_assert_double_eq_tol(w, -h.lr, 5 * h.lr * 0x1p-24);
}
END_TEST

START_TEST(adamw_shrinks_what_has_no_gradient)
{
    double           w = 2, m = 0, v = 0, g = 0;
    void            *state[2] = { &m, &v };
    struct psd_hyper h = paper;

    cpu->step(PS_ADAMW, PS_F64, &h, 1, &w, state, &g);
    ck_assert_double_eq_tol(w, 2 - h.lr * h.weight_decay * 2, 4 * DBL_EPSILON);
}
END_TEST

START_TEST(no_gradient_no_step)
{
    float            w = 0.25f, a = 0, b = 0, g = 0;
    void            *state[2] = { &a, &b };
    struct psd_hyper h = paper;

    h.weight_decay = 0;
    for (uint32_t kind = PS_SGD; kind <= PS_ADAMW; kind++)
        cpu->step(kind, PS_F32, &h, 1, &w, state, &g);
    cpu->step(PS_ADD, PS_F32, &h, 1, &w, state, &g);
    ck_assert_float_eq(w, 0.25f);
}
END_TEST

START_TEST(ftrl_keeps_weak_coordinates_at_zero)
{
    float            w = 0, z = 0, n = 0, g = 0.01f;
    void            *state[2] = { &z, &n };
    struct psd_hyper h = paper;

    h.weight_decay = 0;
    cpu->step(PS_FTRL, PS_F32, &h, 1, &w, state, &g);
    ck_assert_float_eq(w, 0.0f); /* |z| = 0.01 is below l1 */
    g = -1;
    cpu->step(PS_FTRL, PS_F32, &h, 1, &w, state, &g);
    ck_assert_float_gt(w, 0.0f);
}
END_TEST

START_TEST(assign_and_add_take_floats_as_they_are)
{
    float  w = 1.5f, g = 0.1f;
    double d = 1.5, e = 0.1;

    cpu->step(PS_ADD, PS_F32, &paper, 1, &w, NULL, &g);
    cpu->step(PS_ADD, PS_F64, &paper, 1, &d, NULL, &e);
    ck_assert_float_eq(w, 1.5f + 0.1f);
    ck_assert_double_eq(d, 1.5 + 0.1);
    cpu->step(PS_ASSIGN, PS_F32, &paper, 1, &w, NULL, &g);
    cpu->step(PS_ASSIGN, PS_F64, &paper, 1, &d, NULL, &e);
    ck_assert_float_eq(w, 0.1f);
    ck_assert_double_eq(d, 0.1);
}
END_TEST

START_TEST(counters_are_exact_and_wrap_around)
{
    enum { N = 19 };
    int64_t w[N], g[N], copy[N];

    for (int i = 0; i < N; i++) {
        w[i] = INT64_MAX - i;
        g[i] = 10; /* too large for a double's 53 bits: 2^63 - 1 + 10 */
    }
    ck_assert(cpu->finite(PS_I64, N, w));
    ck_assert(cpu->copy(PS_I64, N, copy, w));
    ck_assert_mem_eq(copy, w, sizeof(w));
    cpu->step(PS_ADD, PS_I64, &paper, N, w, NULL, g);
    for (int i = 0; i < N; i++)
        ck_assert_int_eq(w[i], i < 10 ? INT64_MIN + 9 - i : INT64_MAX - i + 10);
    cpu->set(PS_I64, N, w, 1.0, g);
    cpu->add(PS_I64, N, w, 1.0, g);
    ck_assert_int_eq(w[N - 1], 20);
    w[0] = INT64_MIN + 1;
    cpu->step(PS_ASSIGN, PS_I64, &paper, N, g, NULL, w);
    ck_assert_int_eq(g[0], INT64_MIN + 1);
}
END_TEST

START_TEST(empty_spans_are_left_alone)
{
    static const uint32_t dtypes[] = { PS_F32, PS_F64, PS_I64 };
    void                 *state[2] = { NULL, NULL };

    for (int i = 0; i < 3; i++) {
        cpu->set(dtypes[i], 0, NULL, 1.0, NULL);
        cpu->add(dtypes[i], 0, NULL, 1.0, NULL);
        ck_assert(cpu->finite(dtypes[i], 0, NULL));
        ck_assert(cpu->copy(dtypes[i], 0, NULL, NULL));
        if (dtypes[i] != PS_I64) {
            cpu->share(dtypes[i], 0, 1.0, NULL, NULL);
            cpu->compensate(dtypes[i], 0, 1.0, NULL, NULL, NULL);
        }
        cpu->step(PS_ADD, dtypes[i], &paper, 0, NULL, state, NULL);
    }
    for (int i = 0; i < N_RUNS; i++)
        cpu->step(runs[i].kind, runs[i].dtype, &paper, 0, NULL, state, NULL);
}
END_TEST

/* Every width with its vectors and its rest, rows in another order than memory. */
static const struct {
    uint32_t kind, dtype;
    size_t   n_state;
} row_runs[] = {
    { PS_SGD, PS_F32, 0 },      { PS_SGD, PS_F64, 0 },      { PS_MOMENTUM, PS_F32, 1 },
    { PS_MOMENTUM, PS_F64, 1 }, { PS_NESTEROV, PS_F32, 1 }, { PS_NESTEROV, PS_F64, 1 },
    { PS_ADAGRAD, PS_F32, 1 },  { PS_ADAGRAD, PS_F64, 1 },  { PS_RMSPROP, PS_F32, 1 },
    { PS_RMSPROP, PS_F64, 1 },  { PS_ADAM, PS_F32, 2 },     { PS_ADAM, PS_F64, 2 },
    { PS_ADAMW, PS_F32, 2 },    { PS_ADAMW, PS_F64, 2 },    { PS_FTRL, PS_F32, 2 },
    { PS_FTRL, PS_F64, 2 },     { PS_ADD, PS_F32, 0 },      { PS_ADD, PS_F64, 0 },
    { PS_ADD, PS_I64, 0 },      { PS_ASSIGN, PS_F32, 0 },   { PS_ASSIGN, PS_F64, 0 },
    { PS_ASSIGN, PS_I64, 0 },
};
#define N_ROW_RUNS (int)(sizeof(row_runs) / sizeof(row_runs[0]))

/* Numbers of all sizes; as i64 too they are what they are. */
static void fill(uint32_t dtype, size_t n, void *out, double first)
{
    for (size_t i = 0; i < n; i++) {
        double x = sin(first + (double)i);

        if (dtype == PS_F32)
            ((float *)out)[i] = (float)x;
        else if (dtype == PS_F64)
            ((double *)out)[i] = x;
        else
            ((int64_t *)out)[i] = (int64_t)(x * 0x1p62);
    }
}

static void step_rows_of(uint32_t kind, uint32_t dtype, size_t n_state, size_t cols)
{
    enum { N = 150, MOST = 70 };
    const size_t bytes = cols * ps_dtype_bytes(dtype),
                 row_bytes = bytes * (1 + n_state);
    static double all[2][N * MOST * 3], gradients[N * MOST];
    char         *together = (char *)all[0], *alone = (char *)all[1];
    void         *rows[N];
    const void   *g[N];

    fill(dtype, N * cols, gradients, 0.5);
    for (size_t i = 0; i < N; i++) {
        rows[i] = together + (i * 37 + 11) % N * row_bytes;
        g[i] = (char *)gradients + (i * 41 + 3) % N * bytes;
        memset(rows[i], 0, row_bytes);
        fill(dtype, cols, rows[i], (double)i);
    }
    memcpy(alone, together, N * row_bytes);
    for (size_t i = 0; i < N; i++) {
        char *w = alone + ((char *)rows[i] - together);

        cpu->step(kind, dtype, &paper, cols, w, (void *[]){ w + bytes, w + 2 * bytes },
                  g[i]);
    }
    cpu->step_rows(kind, dtype, &paper, N, cols, rows, g);
    ck_assert_mem_eq(together, alone, N * row_bytes);
}

START_TEST(rows_take_the_steps_of_spans_bit_for_bit)
{
    for (size_t cols = 1; cols <= 70; cols += cols < 20 ? 1 : 7)
        step_rows_of(row_runs[_i].kind, row_runs[_i].dtype, row_runs[_i].n_state, cols);
}
END_TEST

START_TEST(rows_are_gathered_one_behind_the_other)
{
    enum { N = 150, MOST = 300 };
    static uint8_t from[N][MOST], out[N * MOST + 1];
    const void    *rows[N];

    for (size_t i = 0; i < N; i++) {
        rows[i] = from[(i * 37 + 11) % N];
        memset(from[i], (int)i + 1, MOST);
    }
    for (size_t bytes = 1; bytes <= MOST; bytes += 13) {
        out[N * bytes] = 0xee;
        cpu->gather(N, bytes, out, rows);
        for (size_t i = 0; i < N; i++)
            ck_assert_mem_eq(out + i * bytes, rows[i], bytes);
        ck_assert_uint_eq(out[N * bytes], 0xee);
    }
}
END_TEST

static double unit_of(uint32_t dtype)
{
    return (dtype == PS_F32 ? FLT_EPSILON : DBL_EPSILON) / 2;
}

/* What the shares of a version's updates add up to is their mean, at any time. */
START_TEST(shares_add_up_to_the_mean)
{
    enum { N = 67, UPDATES = 50 };
    uint32_t       dtype = floats[_i];
    struct problem p = problem_new(dtype, N);
    struct span    mean = p.state[0];
    double         sum[N] = { 0 }, moved[N] = { 0 };

    for (uint64_t c = 1; c <= UPDATES; c++) {
        new_gradient(&p, c);
        for (size_t i = 0; i < N; i++)
            sum[i] += span_get(&p.g, i);
        cpu->share(dtype, N, (double)c, mean.data, p.g.data);
        for (size_t i = 0; i < N; i++) {
            moved[i] += span_get(&p.g, i);
            /* Each update rounds a difference of at most 4, its share and the mean. */
            ck_assert_double_eq_tol(span_get(&mean, i), sum[i] / (double)c,
                                    (double)c * 12 * unit_of(dtype));
            ck_assert_double_eq_tol(moved[i], sum[i] / (double)c,
                                    (double)c * 12 * unit_of(dtype));
        }
    }
    problem_free(&p);
}
END_TEST

START_TEST(compensation_follows_the_book)
{
    enum { N = 67 };
    uint32_t       dtype = floats[_i];
    double         lambda = 0.3;
    struct problem p = problem_new(dtype, N);
    struct span    was = p.state[0];
    double         expected[N], size[N];

    new_gradient(&p, 1);
    for (size_t i = 0; i < N; i++) {
        double g = span_get(&p.g, i), w = span_get(&p.w, i), by;

        span_set(&was, i, sin((double)i));
        by = lambda * g * g * (w - span_get(&was, i));
        expected[i] = g + by;
        size[i] = fabs(g) + fabs(by);
    }
    cpu->compensate(dtype, N, lambda, p.g.data, p.w.data, was.data);
    for (size_t i = 0; i < N; i++) /* lambda, a difference, three products, a sum */
        ck_assert_double_eq_tol(span_get(&p.g, i), expected[i],
                                6 * unit_of(dtype) * size[i]);
    problem_free(&p);
}
END_TEST

START_TEST(where_nothing_has_changed_nothing_is_compensated)
{
    float g[2] = { 1e30f, -3e38f }, w[2] = { 0.5f, 1 };

    cpu->compensate(PS_F32, 2, 1.0, g, w, w);
    ck_assert_float_eq(g[0], 1e30f);
    ck_assert_float_eq(g[1], -3e38f);
}
END_TEST

static Suite *compute_suite(void)
{
    Suite *s = suite_create("compute");
    TCase *book = tcase_create("book");
    TCase *bits = tcase_create("bits");

    tcase_add_loop_test(book, kernels_follow_the_book_for_a_thousand_steps, 0, N_RUNS);
    tcase_add_test(book, first_adam_step_is_the_learning_rate);
    tcase_add_test(book, adamw_shrinks_what_has_no_gradient);
    tcase_add_test(book, no_gradient_no_step);
    tcase_add_test(book, ftrl_keeps_weak_coordinates_at_zero);
    tcase_add_test(book, assign_and_add_take_floats_as_they_are);
    tcase_add_loop_test(book, shares_add_up_to_the_mean, 0, 2);
    tcase_add_loop_test(book, compensation_follows_the_book, 0, 2);
    tcase_add_test(book, where_nothing_has_changed_nothing_is_compensated);
    suite_add_tcase(s, book);

    tcase_add_loop_test(bits, cutting_a_span_anywhere_changes_no_bit, 0, N_RUNS);
    tcase_add_loop_test(bits, sums_are_the_same_wherever_they_are_cut, 0, 2);
    tcase_add_loop_test(bits, products_are_rounded_before_they_are_added, 0, 2);
    tcase_add_loop_test(bits, a_span_may_be_added_to_itself, 0, 2);
    tcase_add_loop_test(bits, finite_and_copy_see_every_position, 0, 2);
    tcase_add_loop_test(bits, rows_take_the_steps_of_spans_bit_for_bit, 0, N_ROW_RUNS);
    tcase_add_test(bits, rows_are_gathered_one_behind_the_other);
    tcase_add_test(bits, counters_are_exact_and_wrap_around);
    tcase_add_test(bits, empty_spans_are_left_alone);
    suite_add_tcase(s, bits);
    return s;
}

TEST_MAIN(compute_suite)
