/*
 * view.c - views of dense matrices, which copy nothing.
 *
 * One worker of an asp job, and a matrix for each size.
 *
 *     shm        how long from the call of ps_pull_view to the end of ps_view_release,
 *                with a look at both ends of each span in between; the limit is a round
 *                trip of a message of 64 bytes
 *     tcp, ipc   bytes per second of views, one after the other; the limit is the same
 *                bytes in messages of up to 1 MiB, 8 at a time
 *
 * Between two views one element is pushed, so that each is of another version of the
 * matrix; on shm that is not part of the time.  Gradients and what they add up to are
 * those of dense.c, but for the element that is pushed alone.  After each measurement
 * all of a view is looked at.
 */
#include "bench/raw.h"
#include "bench/server.h"
#include "bench/suite.h"
#include "common/net/net.h"

#include <ps/worker.h>

#include <stdlib.h>

#define WINDOW 8u
#define PUSHES_MAX (1u << 22) /* f32 counts exactly that far, and farther */
#define SMALL_BYTES 64u

static const struct size {
    const char *name;
    uint64_t    bytes;
} sizes[] = {
    { "4KiB", UINT64_C(4) << 10 },   { "64KiB", UINT64_C(64) << 10 },
    { "1MiB", UINT64_C(1) << 20 },   { "4MiB", UINT64_C(4) << 20 },
    { "64MiB", UINT64_C(64) << 20 }, { "256MiB", UINT64_C(256) << 20 },
};

#define SIZES (sizeof(sizes) / sizeof(sizes[0]))

/* A size has one result, or in shared memory two, p50 and p99. */
struct what {
    struct bench_case   *result[2];
    struct bench_series *limit[2];
    ps_matrix           *matrix;
    uint32_t             pushed; /* times, of the first element alone */
};

/* One transport. */
struct views {
    const char          *transport;
    bool                 shares;
    struct bench_servers servers;
    struct bench_raw    *raw;
    ps_worker           *worker;
    struct what          what[SIZES];
};

/* ---- psd ------------------------------------------------------------------------ */

static float expected(const struct what *w, uint64_t element)
{
    return bench_gradient_at(element) + (element == 0 ? (float)w->pushed : 0);
}

/* Elements of the span, so far apart. */
static ps_status check_span(const struct views *v, const struct what *w,
                            const ps_span *span, uint64_t step)
{
    const float *value = span->data;

    for (uint64_t i = 0; i < span->count; i += step)
        if (value[i] != expected(w, span->first + i))
            return ps_fail(
                PS_ERR_DATA, "dense/%s/view, %s: element %ju is %g, expected %g",
                v->transport, sizes[w - v->what].name, (uintmax_t)(span->first + i),
                (double)value[i], (double)expected(w, span->first + i));
    return PS_OK;
}

/* `all`: each element; else the two ends of each span. */
static ps_status check_view(const struct views *v, const struct what *w,
                            const ps_view *view, bool all)
{
    size_t         n;
    const ps_span *span = ps_view_spans(view, &n);
    uint64_t       next = 0;
    ps_status      st = PS_OK;

    for (size_t i = 0; !st && i < n; i++) {
        st = check_span(v, w, &span[i],
                        all || span[i].count == 1 ? 1 : span[i].count - 1);
        if (!st && span[i].first != next)
            st = ps_fail(PS_ERR_DATA, "dense/%s/view: a span begins at %ju",
                         v->transport, (uintmax_t)span[i].first);
        next = span[i].first + span[i].count;
    }
    if (!st && next != sizes[w - v->what].bytes / sizeof(float))
        st = ps_fail(PS_ERR_DATA, "dense/%s/view: it ends at %ju", v->transport,
                     (uintmax_t)next);
    return st;
}

static ps_status look(const struct views *v, const struct what *w, bool all)
{
    ps_view  *view;
    ps_status st = ps_pull_view(w->matrix, &view);

    if (st)
        return st;
    st = check_view(v, w, view, all);
    ps_view_release(&view);
    return st;
}

static ps_status change(struct what *w)
{
    const float one = 1;

    w->pushed++;
    return ps_push_range(w->matrix, 0, 1, &one);
}

/* ---- how long ------------------------------------------------------------------- */

static ps_status raw_trip(const struct views *v)
{
    const struct bench_raw_request q = { .answer_bytes = SMALL_BYTES };
    ps_status                      st = bench_raw_ask(v->raw, 0, &q);

    return st ? st : bench_raw_take(v->raw, 0);
}

static ps_status time_each(const struct bench_run *run, struct views *v, struct what *w,
                           bool raw, double time[2])
{
    const uint64_t      until = ps_now_ns() + (uint64_t)(run->options->seconds * 1e9);
    struct bench_series times = { 0 };
    uint64_t            now = 0;
    ps_status           st = PS_OK;

    do {
        const uint64_t begun = ps_now_ns();

        st = raw ? raw_trip(v) : look(v, w, false);
        now = ps_now_ns();
        if (!st)
            st = bench_series_add(&times, (double)(now - begun) / 1e9);
        if (!st && !raw)
            st = change(w);
    } while (!st && now < until && w->pushed < PUSHES_MAX);
    if (!st) {
        time[0] = bench_quantile(&times, 0.5);
        time[1] = bench_quantile(&times, 0.99);
    }
    bench_series_free(&times);
    return st;
}

/* Of psd, or of its limit. */
static ps_status measure_times(const struct bench_run *run, struct views *v,
                               struct what *w, bool raw)
{
    double    time[2];
    ps_status st = bench_next(run, (w->result[0] ? w->result[0] : w->result[1])->name);

    if (!st)
        st = time_each(run, v, w, raw, time);
    for (int i = 0; !st && i < 2; i++)
        if (w->result[i])
            st = bench_series_add(raw ? w->limit[i] : &w->result[i]->series, time[i]);
    return st;
}

/* ---- how much ------------------------------------------------------------------- */

struct work {
    struct views *views;
    struct what  *what;
};

static uint64_t bytes_of(const struct work *w)
{
    return sizes[w->what - w->views->what].bytes;
}

static ps_status ask(const struct work *w, uint64_t chunk)
{
    const uint64_t           at = chunk * PS_CHUNK_BYTES, left = bytes_of(w) - at;
    struct bench_raw_request q = { .answer_at = at,
                                   .answer_bytes =
                                       left < PS_CHUNK_BYTES ? left : PS_CHUNK_BYTES };

    return bench_raw_ask(w->views->raw, 0, &q);
}

static ps_status work_raw(void *work, uint64_t until_ns, uint64_t *done)
{
    const struct work *w = work;
    const uint64_t     chunks = (bytes_of(w) + PS_CHUNK_BYTES - 1) / PS_CHUNK_BYTES;
    uint64_t           n = 0;
    ps_status          st = PS_OK;

    do {
        uint64_t asked = 0;

        for (uint64_t answered = 0; !st && answered < chunks; answered++) {
            for (; !st && asked < chunks && asked - answered < WINDOW; asked++)
                st = ask(w, asked);
            if (!st)
                st = bench_raw_take(w->views->raw, 0);
        }
        n++;
    } while (!st && ps_now_ns() < until_ns);
    *done = n * bytes_of(w);
    return st;
}

static ps_status work_views(void *work, uint64_t until_ns, uint64_t *done)
{
    const struct work *w = work;
    uint64_t           n = 0;
    ps_status          st = PS_OK;

    do {
        st = look(w->views, w->what, false);
        n++;
    } while (!st && ps_now_ns() < until_ns);
    *done = n * bytes_of(w);
    return st;
}

static ps_status measure_rate(const struct bench_run *run, struct views *v,
                              struct what *w, bool raw)
{
    struct work work = { v, w };

    return bench_measure(run, w->result[0]->name, raw ? work_raw : work_views,
                         (void *[]){ &work }, 1,
                         raw ? w->limit[0] : &w->result[0]->series);
}

/* ---- cases ---------------------------------------------------------------------- */

static bool is_chosen(const struct what *w)
{
    return w->result[0] || w->result[1];
}

static ps_status measure_round(void *self, struct bench_run *run)
{
    struct views *v = self;
    ps_status (*const measure)(const struct bench_run *, struct views *, struct what *,
                               bool) = v->shares ? measure_times : measure_rate;
    ps_status st = PS_OK;

    for (size_t i = 0; !st && i < SIZES; i++) {
        struct what *w = &v->what[i];

        if (!is_chosen(w))
            continue;
        if (!run->options->alone)
            st = measure(run, v, w, true);
        if (!st)
            st = measure(run, v, w, false);
        if (!st)
            st = change(w);
        if (!st)
            st = look(v, w, true);
    }
    return st;
}

static ps_status prove(void *self, struct bench_run *run)
{
    struct views *v = self;
    ps_status     st = PS_OK;

    (void)run;
    for (size_t i = 0; !st && i < SIZES; i++)
        if (is_chosen(&v->what[i]))
            st = look(v, &v->what[i], true);
    return st;
}

static void choose(void *self, struct bench_run *run, size_t setting)
{
    static const char *const times[] = { "p50", "p99" };
    struct views            *v = self;

    v->transport = bench_transports[setting];
    v->shares = setting >= BENCH_SOCKETS;
    for (size_t i = 0; i < SIZES; i++) {
        struct what *w = &v->what[i];

        if (!v->shares)
            w->result[0] =
                bench_add(run, "B/s", "dense/%s/view/%s", v->transport, sizes[i].name);
        for (int k = 0; v->shares && k < 2; k++)
            w->result[k] = bench_add(run, "s", "dense/%s/view/%s/%s", v->transport,
                                     sizes[i].name, times[k]);
        for (int k = 0; k < 2; k++)
            if (w->result[k])
                w->limit[k] = bench_limit(run, w->result[k], "zeromq", NULL);
    }
}

/* ---- the two ends --------------------------------------------------------------- */

/* With one push of all. */
static ps_status open_matrix(struct views *v, struct what *w)
{
    const struct size *size = &sizes[w - v->what];
    const uint64_t     n = size->bytes / sizeof(float);
    float             *gradient = malloc(size->bytes);
    ps_matrix_options  o = PS_MATRIX_OPTIONS;
    ps_status          st;

    if (!gradient)
        return ps_fail(PS_ERR_NO_MEMORY, "dense/%s/view: no memory for %s",
                       v->transport, size->name);
    for (uint64_t i = 0; i < n; i++)
        gradient[i] = bench_gradient_at(i);
    o.optimiser = PS_ADD;
    st = ps_dense(v->worker, size->name, 1, n, &o, &w->matrix);
    if (!st)
        st = ps_push(w->matrix, gradient);
    free(gradient);
    return st;
}

static ps_status open_all(void *self, struct bench_run *run)
{
    struct views *v = self;
    uint64_t      most = 0;
    const char   *raw;
    ps_status     st;

    (void)run;
    for (size_t i = 0; i < SIZES; i++)
        if (is_chosen(&v->what[i]) && sizes[i].bytes > most)
            most = sizes[i].bytes;
    /* A gradient, its copies on the way, two matrices, a view, and the raw table. */
    st = bench_expect_memory("dense", 6 * most);
    if (!st)
        st = bench_servers_start(&v->servers, v->transport, 1, BENCH_RAW);
    raw = v->servers.raw[0];
    if (!st)
        st = bench_raw_open(&v->raw, &raw, 1);
    if (!st)
        st = bench_join(&v->worker, v->servers.coordinator, "views");
    for (size_t i = 0; !st && i < SIZES; i++)
        if (is_chosen(&v->what[i]))
            st = open_matrix(v, &v->what[i]);
    return st;
}

static ps_status close_all(void *self, ps_status so_far)
{
    struct views *v = self;
    ps_status     st = bench_leave(&v->worker, so_far), ended;

    bench_raw_close(&v->raw);
    ended = bench_servers_stop(&v->servers);
    return st ? st : ended;
}

const struct bench_suite bench_views = {
    .name = "dense",
    .n_settings = BENCH_TRANSPORTS,
    .self_bytes = sizeof(struct views),
    .choose = choose,
    .open = open_all,
    .round = measure_round,
    .prove = prove,
    .close = close_all,
};
