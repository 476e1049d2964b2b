/* model_counts.c - what is measured; see model.h. */
#include "tests/sim/model_private.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

static ps_status no_memory(void)
{
    return ps_fail(PS_ERR_NO_MEMORY, "simulation: no memory for what is measured");
}

ps_status counts_open(struct model *m)
{
    struct counts *k = &m->counts;

    k->warm = (uint64_t)m->s->warmup * m->c->workers;
    k->all = k->warm + (uint64_t)m->s->iterations * m->c->workers;
    k->durations = calloc(k->all - k->warm, sizeof(*k->durations));
    k->clock_room = 64;
    k->at_clock = calloc(k->clock_room, sizeof(*k->at_clock));
    if (!k->durations || !k->at_clock)
        return no_memory();
    k->at_clock[0] = m->c->workers;
    return PS_OK;
}

void counts_close(struct model *m)
{
    free(m->counts.durations);
    free(m->counts.at_clock);
    free(m->counts.stale);
}

/* ---- clocks --------------------------------------------------------------------- */

static bool has_room(struct counts *k, uint64_t clock)
{
    size_t    room = k->clock_room;
    uint32_t *grown;

    while (room <= clock)
        room *= 2;
    if (room == k->clock_room)
        return true;
    grown = realloc(k->at_clock, room * sizeof(*grown));
    if (!grown)
        return false;
    memset(grown + k->clock_room, 0, (room - k->clock_room) * sizeof(*grown));
    k->at_clock = grown;
    k->clock_room = room;
    return true;
}

void counts_clock(struct model *m, struct worker *w)
{
    struct counts *k = &m->counts;
    uint64_t       clock = psw_client_clock(w->client);

    if (!has_room(k, clock)) {
        model_fail(m, no_memory());
        return;
    }
    k->at_clock[w->clock]--;
    k->at_clock[clock]++;
    w->clock = clock;
    while (k->at_clock[k->slowest] == 0)
        k->slowest++;
}

/* ---- iterations ----------------------------------------------------------------- */

static void begin(struct model *m)
{
    struct counts *k = &m->counts;

    k->runs = true;
    k->began_ns = m->now_ns;
    k->messages = k->ahead = 0;
    for (uint32_t h = 0; h < m->n_hosts; h++) {
        m->hosts[h].in.bytes = m->hosts[h].in.busy_ns = 0;
        m->hosts[h].out.bytes = m->hosts[h].out.busy_ns = 0;
    }
    for (uint32_t i = 0; i < m->n_shard_hosts; i++)
        m->processes[i].thread.busy_ns = 0;
    for (uint32_t i = 0; i < m->c->workers; i++) {
        m->processes[m->n_shard_hosts + i].thread.busy_ns = 0;
        m->workers[i].actor.thread.busy_ns = 0;
    }
    for (uint32_t i = 0; i < m->c->shards; i++)
        m->shards[i].actor.thread.busy_ns = 0;
}

static void end(struct model *m)
{
    m->counts.over = true;
    m->counts.ended_ns = m->now_ns;
}

void counts_iteration(struct model *m, struct worker *w)
{
    struct counts *k = &m->counts;

    counts_clock(m, w);
    if (k->runs) {
        k->durations[k->n_durations++] = (double)(m->now_ns - w->began_ns) / 1e9;
        k->computed += (double)w->compute_ns / 1e9;
        if (w->clock - k->slowest > k->ahead)
            k->ahead = w->clock - k->slowest;
    }
    k->done++;
    if (m->c->progress)
        m->c->progress(m->c->ctx, k->done, k->all);
    if (k->done == k->all)
        end(m);
    else if (k->done == k->warm)
        begin(m);
}

static bool has_stale_room(struct counts *k, uint64_t staleness)
{
    size_t    room = k->stale_room ? k->stale_room : 64;
    uint64_t *grown;

    if (staleness < k->stale_room)
        return true;
    while (room <= staleness)
        room *= 2;
    grown = realloc(k->stale, room * sizeof(*grown));
    if (!grown)
        return false;
    memset(grown + k->stale_room, 0, (room - k->stale_room) * sizeof(*grown));
    k->stale = grown;
    k->stale_room = room;
    return true;
}

/* The iterations of workers that a shard has taken with one message: one mostly, and
 * some that had to wait for it. */
void counts_pushes(struct model *m, const struct ps_job_stats *was,
                   const struct ps_job_stats *is)
{
    struct counts *k = &m->counts;
    uint64_t       n = is->batches - was->batches;
    uint64_t       sum = is->staleness_sum - was->staleness_sum;

    if (!k->runs)
        return;
    k->late += is->late - was->late;
    k->pushes += is->pushes - was->pushes;
    if (n == 0)
        return;
    if (!has_stale_room(k, sum / n)) {
        model_fail(m, no_memory());
        return;
    }
    k->stale[sum / n] += n;
    k->n_stale += n;
    k->stale_sum += sum;
    if (sum / n > k->stale_max)
        k->stale_max = sum / n;
}

/* ---- what came of it ------------------------------------------------------------ */

static int by_value(const void *a, const void *b)
{
    double x = *(const double *)a, y = *(const double *)b;

    return x < y ? -1 : x > y;
}

/* The least value that so large a share of n values does not exceed. */
static size_t rank_of(double share, size_t n)
{
    size_t rank = (size_t)ceil(share * (double)n);

    return rank > 0 ? rank - 1 : 0;
}

static struct model_spread spread_of_durations(struct counts *k)
{
    struct model_spread s = { 0 };

    qsort(k->durations, k->n_durations, sizeof(*k->durations), by_value);
    for (size_t i = 0; i < k->n_durations; i++)
        s.mean += k->durations[i] / (double)k->n_durations;
    if (k->n_durations == 0)
        return s;
    s.p50 = k->durations[rank_of(0.5, k->n_durations)];
    s.p99 = k->durations[rank_of(0.99, k->n_durations)];
    s.max = k->durations[k->n_durations - 1];
    return s;
}

static double stale_at(const struct counts *k, double share)
{
    uint64_t left = rank_of(share, k->n_stale);

    for (size_t i = 0; i < k->stale_room; i++) {
        if (left < k->stale[i])
            return (double)i;
        left -= k->stale[i];
    }
    return 0;
}

static struct model_spread spread_of_staleness(const struct counts *k)
{
    if (k->n_stale == 0)
        return (struct model_spread){ 0 };
    return (struct model_spread){ .mean = (double)k->stale_sum / (double)k->n_stale,
                                  .p50 = stale_at(k, 0.5),
                                  .p99 = stale_at(k, 0.99),
                                  .max = (double)k->stale_max };
}

/* The busiest link, of both directions. */
static void look_at_link(const struct link *l, double ns, struct model_result *out)
{
    double busy = (double)l->busy_ns / ns;

    if (busy > out->link_busy)
        out->link_busy = busy;
    if ((double)l->bytes / ns * 1e9 > out->link_bytes)
        out->link_bytes = (double)l->bytes / ns * 1e9;
}

static void look_at_hosts(const struct model *m, double ns, struct model_result *out)
{
    double *busy = calloc(m->n_hosts, sizeof(*busy));

    for (uint32_t h = 0; h < m->n_hosts; h++) {
        look_at_link(&m->hosts[h].in, ns, out);
        look_at_link(&m->hosts[h].out, ns, out);
    }
    if (!busy)
        return;
    for (uint32_t i = 0; i < m->n_shard_hosts + m->c->workers; i++)
        busy[m->processes[i].thread.host->number] +=
            (double)m->processes[i].thread.busy_ns;
    for (uint32_t i = 0; i < m->c->shards; i++)
        busy[m->shards[i].actor.thread.host->number] +=
            (double)m->shards[i].actor.thread.busy_ns;
    for (uint32_t i = 0; i < m->c->workers; i++)
        busy[m->workers[i].actor.thread.host->number] +=
            (double)m->workers[i].actor.thread.busy_ns;
    for (uint32_t h = 0; h < m->n_hosts; h++)
        if (busy[h] / ns / m->s->cores > out->cores_busy)
            out->cores_busy = busy[h] / ns / m->s->cores;
    free(busy);
}

void counts_result(struct model *m, struct model_result *out)
{
    struct counts *k = &m->counts;
    double         ns = (double)(k->ended_ns - k->began_ns), spent = 0;

    if (ns < 1)
        ns = 1; /* nothing costs anything */
    *out = (struct model_result){ .spares = m->job.spares, .seconds = ns / 1e9 };
    for (size_t i = 0; i < k->n_durations; i++)
        spent += k->durations[i];
    out->iterations_rate = (double)m->s->iterations / out->seconds;
    out->late = k->late ? (double)k->late / (double)(k->late + k->pushes) : 0;
    out->gradients_rate = out->iterations_rate * m->c->workers * (1 - out->late);
    out->samples_rate = out->gradients_rate * m->s->batch;
    out->iteration = spread_of_durations(k);
    out->waiting = spent > 0 ? 1 - k->computed / spent : 0;
    out->staleness = spread_of_staleness(k);
    out->ahead = k->ahead;
    out->messages = k->messages;
    look_at_hosts(m, ns, out);
    for (uint32_t i = 0; i < m->c->shards; i++) {
        double busy = (double)m->shards[i].actor.thread.busy_ns / ns;

        out->shard_busy += busy / m->c->shards;
        if (busy > out->shard_most)
            out->shard_most = busy;
    }
    for (uint32_t i = 0; i < m->n_shard_hosts; i++) {
        double busy = (double)m->processes[i].thread.busy_ns / ns;

        if (busy > out->sockets_most)
            out->sockets_most = busy;
    }
    for (uint32_t i = 0; i < m->c->workers; i++)
        out->resends += psw_client_traffic(m->workers[i].client)->retries;
}
