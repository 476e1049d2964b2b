/* measure.c - see measure.h. */
#include "bench/measure.h"

#include "common/net/net.h"

#include <jansson.h>
#include <math.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* ---- series --------------------------------------------------------------------- */

ps_status bench_series_add(struct bench_series *s, double value)
{
    if (s->n == s->room) {
        size_t  room = s->room ? 2 * s->room : 8;
        double *grown = realloc(s->at, room * sizeof(*grown));

        if (!grown)
            return ps_fail(PS_ERR_NO_MEMORY, "no memory for a measurement");
        s->at = grown;
        s->room = room;
    }
    s->at[s->n++] = value;
    return PS_OK;
}

void bench_series_free(struct bench_series *s)
{
    free(s->at);
    *s = (struct bench_series){ 0 };
}

/* How many are below, and how many are not above. */
static void rank_of(const struct bench_series *s, double value, size_t *below,
                    size_t *up_to)
{
    *below = *up_to = 0;
    for (size_t i = 0; i < s->n; i++) {
        *below += s->at[i] < value;
        *up_to += s->at[i] <= value;
    }
}

/* The value that would stand at `place` if they were sorted. */
static double sorted_at(const struct bench_series *s, size_t place)
{
    size_t i, below, up_to;

    for (i = 0; i + 1 < s->n; i++) {
        rank_of(s, s->at[i], &below, &up_to);
        if (below <= place && place < up_to)
            break;
    }
    return s->at[i];
}

double bench_median(const struct bench_series *s)
{
    return (sorted_at(s, (s->n - 1) / 2) + sorted_at(s, s->n / 2)) / 2;
}

double bench_lowest(const struct bench_series *s)
{
    return sorted_at(s, 0);
}

double bench_highest(const struct bench_series *s)
{
    return sorted_at(s, s->n - 1);
}

double bench_quantile(const struct bench_series *s, double share)
{
    size_t at = (size_t)ceil(share * (double)s->n);

    return sorted_at(s, at > 0 ? at - 1 : 0);
}

/* ---- printing ------------------------------------------------------------------- */

static double ratio(const struct bench_case *c, const struct bench_limit *l)
{
    return bench_median(&c->series) / bench_median(l->series);
}

static void print_head(const struct bench_case *c, int width)
{
    printf("%-*s  %8s  %15s", width, "case", "psd", "lowest..highest");
    for (size_t i = 0; i < c->n_limits; i++)
        printf("  %8s  ratio", c->limits[i].name);
    putchar('\n');
}

void bench_print_table(const struct bench_case *cases, size_t n)
{
    int width = 4;

    for (size_t i = 0; i < n; i++)
        if ((int)strlen(cases[i].name) > width)
            width = (int)strlen(cases[i].name);
    if (n > 0)
        print_head(&cases[0], width);
    for (const struct bench_case *c = cases; c < cases + n; c++) {
        char spread[32];

        snprintf(spread, sizeof(spread), "%.2f..%.2f", bench_lowest(&c->series) / 1e6,
                 bench_highest(&c->series) / 1e6);
        printf("%-*s  %8.2f  %15s", width, c->name, bench_median(&c->series) / 1e6,
               spread);
        for (size_t i = 0; i < c->n_limits; i++)
            printf("  %8.2f  %5.2f", bench_median(c->limits[i].series) / 1e6,
                   ratio(c, &c->limits[i]));
        putchar('\n');
    }
}

/* `l` NULL: a case without limits. */
static void print_object(const struct bench_case *c, const struct bench_limit *l)
{
    json_t *o = json_pack("{s:s, s:n, s:n, s:f, s:s, s:n, s:f, s:f}", "case", c->name,
                          "limit", "limit_value", "value", bench_median(&c->series),
                          "unit", c->unit, "ratio", "lowest", bench_lowest(&c->series),
                          "highest", bench_highest(&c->series));

    if (l) {
        json_object_set_new(o, "limit", json_string(l->name));
        json_object_set_new(o, "limit_value", json_real(bench_median(l->series)));
        json_object_set_new(o, "ratio", json_real(ratio(c, l)));
        json_object_set_new(o, "limit_lowest", json_real(bench_lowest(l->series)));
        json_object_set_new(o, "limit_highest", json_real(bench_highest(l->series)));
    }
    json_object_set_new(o, "rounds", json_integer((json_int_t)c->series.n));
    json_dumpf(o, stdout, JSON_COMPACT | JSON_REAL_PRECISION(6));
    putchar('\n');
    json_decref(o);
}

void bench_print_json(const struct bench_case *cases, size_t n)
{
    for (const struct bench_case *c = cases; c < cases + n; c++) {
        if (c->n_limits == 0)
            print_object(c, NULL);
        for (size_t i = 0; i < c->n_limits; i++)
            print_object(c, &c->limits[i]);
    }
}

/* ---- rates ---------------------------------------------------------------------- */

struct hand {
    pthread_t        thread;
    pthread_mutex_t *gate; /* held while the threads are made */
    const bool      *all;  /* read behind the gate: all could be made */
    bench_work_fn   *work;
    void            *ctx;
    double           seconds;
    ps_status        status;
    uint64_t         done, from_ns, to_ns;
};

static void *lend_hand(void *arg)
{
    struct hand *h = arg;
    bool         begin;

    pthread_mutex_lock(h->gate);
    begin = *h->all;
    pthread_mutex_unlock(h->gate);
    if (!begin)
        return NULL;
    h->from_ns = ps_now_ns();
    h->status = h->work(h->ctx, h->from_ns + (uint64_t)(h->seconds * 1e9), &h->done);
    h->to_ns = ps_now_ns();
    return NULL;
}

/* Returns when all have ended. */
static ps_status lend_hands(struct hand *hands, size_t n)
{
    pthread_mutex_t gate = PTHREAD_MUTEX_INITIALIZER;
    bool            all;
    size_t          made;
    int             failed = 0;

    pthread_mutex_lock(&gate);
    for (made = 0; made < n; made++) {
        hands[made].gate = &gate;
        hands[made].all = &all;
        failed = pthread_create(&hands[made].thread, NULL, lend_hand, &hands[made]);
        if (failed)
            break;
    }
    all = made == n;
    pthread_mutex_unlock(&gate);
    for (size_t i = 0; i < made; i++)
        pthread_join(hands[i].thread, NULL);
    if (failed)
        return ps_fail(PS_ERR_SYSTEM, "cannot start a thread: %s", strerror(failed));
    return PS_OK;
}

static ps_status sum_up(const struct hand *hands, size_t n, double *per_second)
{
    uint64_t from = UINT64_MAX, to = 0, done = 0;

    for (size_t i = 0; i < n; i++) {
        if (hands[i].status)
            return hands[i].status;
        from = hands[i].from_ns < from ? hands[i].from_ns : from;
        to = hands[i].to_ns > to ? hands[i].to_ns : to;
        done += hands[i].done;
    }
    *per_second = (double)done * 1e9 / (double)(to - from);
    return PS_OK;
}

ps_status bench_rate(bench_work_fn *work, void *const *ctx, size_t n, double seconds,
                     double *per_second)
{
    struct hand *hands = calloc(n, sizeof(*hands));
    ps_status    st;

    if (!hands)
        return ps_fail(PS_ERR_NO_MEMORY, "no memory for a measurement");
    for (size_t i = 0; i < n; i++)
        hands[i] = (struct hand){ .work = work, .ctx = ctx[i], .seconds = seconds };
    st = lend_hands(hands, n);
    if (!st)
        st = sum_up(hands, n, per_second);
    free(hands);
    return st;
}
