/* measure.c - see measure.h. */
#include "bench/measure.h"

#include "common/net/net.h"

#include <math.h>
#include <pthread.h>
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
    s->is_sorted = false;
    return PS_OK;
}

void bench_series_free(struct bench_series *s)
{
    free(s->at);
    *s = (struct bench_series){ 0 };
}

static int by_value(const void *a, const void *b)
{
    const double x = *(const double *)a, y = *(const double *)b;

    return x < y ? -1 : x > y;
}

/* The value at `place` among the sorted ones. */
static double sorted_at(struct bench_series *s, size_t place)
{
    if (!s->is_sorted)
        qsort(s->at, s->n, sizeof(*s->at), by_value);
    s->is_sorted = true;
    return s->at[place];
}

double bench_median(struct bench_series *s)
{
    return (sorted_at(s, (s->n - 1) / 2) + sorted_at(s, s->n / 2)) / 2;
}

double bench_lowest(struct bench_series *s)
{
    return sorted_at(s, 0);
}

double bench_highest(struct bench_series *s)
{
    return sorted_at(s, s->n - 1);
}

double bench_quantile(struct bench_series *s, double share)
{
    size_t at = (size_t)ceil(share * (double)s->n);

    return sorted_at(s, at > 0 ? at - 1 : 0);
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
