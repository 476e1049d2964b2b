/* plan.c - see plan.h. */
#include "tests/sim/plan.h"

#include "common/base/random.h"

#include <inttypes.h>
#include <string.h>

#define STREAM 17u

struct dice {
    uint64_t seed, thrown;
};

static uint64_t below(struct dice *d, uint64_t bound)
{
    return ps_random_below(d->seed, STREAM, d->thrown++, bound);
}

static uint64_t between(struct dice *d, uint64_t low, uint64_t high)
{
    return low + below(d, high - low + 1);
}

static bool one_in(struct dice *d, uint64_t n)
{
    return below(d, n) == 0;
}

static void draw_strategy(struct dice *d, struct ps_job_spec *job)
{
    job->strategy = (uint32_t)between(d, PS_BSP, PS_BACKUP);
    job->slack = below(d, 4);
    job->spares = job->workers > 1 ? (uint32_t)between(d, 0, job->workers / 2) : 0;
    if (job->strategy == PS_ASP || job->strategy == PS_SSP)
        job->scale = (uint32_t)between(d, PS_SCALE_NONE, PS_SCALE_DELAY);
    job->on_loss = one_in(d, 2) ? PS_LOSS_WAIT : PS_LOSS_SHRINK;
    job->aggregate = one_in(d, 4) ? PS_SUM : PS_MEAN;
}

/* In whole fetch windows: a worker that goes back pulls at once, so that only there it
 * goes on as it did before. */
static void draw_snapshots(struct dice *d, struct plan *p)
{
    p->saved = !one_in(d, 4);
    p->shared = one_in(d, 2);
    p->disk_ns = between(d, 1, 100) * 1000000;
    if (!p->saved)
        return;
    p->job.snapshot_every = between(d, 1, 5) * p->nfetch;
    if (one_in(d, 4))
        p->job.ack = PS_ACK_DURABLE;
    if (one_in(d, 3) && (p->job.strategy == PS_ASP || p->job.strategy == PS_SSP))
        p->job.snapshot_ms = (uint32_t)between(d, 10, 500);
}

static void draw_optimiser(struct dice *d, struct ps_job_spec *job)
{
    static const uint32_t kinds[] = { PS_SGD, PS_MOMENTUM, PS_ADAGRAD, PS_ADAM };

    job->optimiser = ps_optimiser_spec_default(kinds[below(d, 4)]);
}

static void draw_network(struct dice *d, struct plan *p)
{
    p->latency_ns = between(d, 1, 20) * 100000;
    p->jitter_ns = one_in(d, 3) ? 0 : between(d, 1, 40) * 1000000;
    p->in_order = one_in(d, 2);
    p->fixed_ports = one_in(d, 2);
    p->lose_percent = one_in(d, 2) ? 0 : (unsigned)between(d, 1, 15);
    p->repeat_percent = one_in(d, 2) ? 0 : (unsigned)between(d, 1, 25);
    p->stray_percent = one_in(d, 3) ? (unsigned)between(d, 1, 3) : 0;
    p->compute_ns = between(d, 1, 50) * 1000000;
}

static void draw_fault(struct dice *d, const struct plan *p, enum fault_kind kind,
                       struct fault *f)
{
    f->kind = kind;
    f->who = (uint32_t)below(d, kind == FAULT_HOST_CUT || (kind >= FAULT_HOST_KILL &&
                                                           kind < FAULT_WORKER_GONE)
                                    ? p->hosts
                                    : p->job.workers);
    if (kind == FAULT_WORKER_GONE && (f->who == 0 || p->job.on_loss != PS_LOSS_SHRINK))
        f->kind = FAULT_WORKER_SLOW; /* somebody is to be there at the end */
    f->at_ns = below(d, p->heal_ns * 3 / 4);
    f->for_ns = between(d, 1, 100) * PLAN_SECOND; /* one draw, then the other: in C */
    f->for_ns /= one_in(d, 3) ? 5 : 50;           /* operands have no order */
    if (f->at_ns + f->for_ns > p->heal_ns)
        f->for_ns = p->heal_ns - f->at_ns;
}

static void draw_faults(struct dice *d, struct plan *p)
{
    enum fault_kind kinds[3];
    uint32_t        n_kinds = (uint32_t)below(d, 4);

    p->heal_ns = between(d, 1, 30) * PLAN_SECOND;
    for (uint32_t i = 0; i < n_kinds; i++)
        kinds[i] = (enum fault_kind)between(d, 1, FAULT_KINDS - 1);
    if (n_kinds == 0)
        return;
    p->n_faults = (uint32_t)between(d, 1, PLAN_FAULTS);
    for (uint32_t i = 0; i < p->n_faults; i++)
        draw_fault(d, p, kinds[below(d, n_kinds)], &p->faults[i]);
}

/* The last things drawn: what came later than the rest leaves the rest as it was. */
static void draw_rollback(struct dice *d, struct plan *p)
{
    const uint64_t every = p->job.snapshot_every;
    const bool     held = p->job.strategy == PS_BSP || p->job.strategy == PS_BACKUP;

    if (p->saved && held && p->job.ack != PS_ACK_DURABLE && one_in(d, 2))
        p->job.max_rollback = between(d, every, 3 * every);
}

static void draw_lending(struct dice *d, struct plan *p)
{
    p->lends = one_in(d, 2);
    p->window = p->lends && !one_in(d, 4) ? (uint32_t)between(d, 1, 2) : 0;
}

/* Behind that, for the same reason. */
static void draw_views(struct dice *d, struct plan *p)
{
    p->views = one_in(d, 2);
}

struct plan plan_of(uint64_t seed)
{
    struct dice d = { .seed = seed };
    struct plan p = { .seed = seed, .job = ps_job_spec_default() };

    strcpy(p.job.name, "sim");
    p.job.seed = seed;
    p.job.workers = (uint32_t)between(&d, 1, PLAN_WORKERS);
    p.hosts = (uint32_t)between(&d, 1, PLAN_HOSTS);
    for (uint32_t h = 0; h < p.hosts; h++)
        p.shards[h] = (uint32_t)between(&d, 1, PLAN_SHARDS - 1);
    p.groups = plan_n_shards(&p);
    p.iterations = between(&d, 3, 24);
    p.nfetch = one_in(&d, 3) ? between(&d, 2, 4) : 1;
    p.sparse = one_in(&d, 2);
    p.rides = one_in(&d, 2) && p.nfetch == 1;
    p.rests = one_in(&d, 3);
    draw_strategy(&d, &p.job);
    if (p.job.strategy == PS_BACKUP) /* who skipped the last iteration says so there */
        p.rests = true;
    draw_snapshots(&d, &p);
    draw_optimiser(&d, &p.job);
    draw_network(&d, &p);
    draw_faults(&d, &p);
    draw_rollback(&d, &p);
    draw_lending(&d, &p);
    draw_views(&d, &p);
    return p;
}

struct plan plan_calm(const struct plan *plan)
{
    struct plan p = *plan;

    p.hosts = 1;
    p.shards[0] = 1;
    p.n_faults = 0;
    p.lose_percent = p.repeat_percent = p.stray_percent = 0;
    p.jitter_ns = 0;
    p.in_order = true;
    return p;
}

uint32_t plan_n_shards(const struct plan *plan)
{
    uint32_t n = 0;

    for (uint32_t h = 0; h < plan->hosts; h++)
        n += plan->shards[h];
    return n;
}

static const char *const fault_names[FAULT_KINDS] = {
    [FAULT_WORKER_KILL] = "worker killed",  [FAULT_WORKER_SLOW] = "worker slow",
    [FAULT_WORKER_CUT] = "worker cut off",  [FAULT_HOST_CUT] = "psd cut off",
    [FAULT_WORKER_STOP] = "worker stopped", [FAULT_HOST_KILL] = "psd killed",
    [FAULT_DISK_FULL] = "disk full",        [FAULT_DISK_SLOW] = "disk slow",
    [FAULT_DISK_FAILS] = "disk fails",      [FAULT_WORKER_GONE] = "worker gone",
};

void plan_print(const struct plan *p, FILE *to)
{
    static const char *const on_loss[] = { "", "shrink", "wait", "abort" };

    fprintf(to, "seed %" PRIu64 ": %u workers, %u psd with %u shards, %s", p->seed,
            p->job.workers, p->hosts, plan_n_shards(p),
            ps_strategy_name(p->job.strategy));
    if (p->job.strategy == PS_SSP)
        fprintf(to, " slack %" PRIu64, p->job.slack);
    if (p->job.strategy == PS_BACKUP)
        fprintf(to, " spares %u", p->job.spares);
    fprintf(to, ", scale %u, on_loss %s, %s, %" PRIu64 " iterations, nfetch %" PRIu64,
            p->job.scale, on_loss[p->job.on_loss],
            ps_optimiser_name(p->job.optimiser.kind), p->iterations, p->nfetch);
    if (p->saved)
        fprintf(to, ", snapshot_every %" PRIu64 " snapshot_ms %u %s",
                p->job.snapshot_every, p->job.snapshot_ms,
                p->job.ack == PS_ACK_DURABLE ? "durable" : "applied");
    if (p->job.max_rollback > 0)
        fprintf(to, ", max_rollback %" PRIu64, p->job.max_rollback);
    if (p->window > 0)
        fprintf(to, ", window %u", p->window);
    fprintf(to, "%s%s%s%s%s%s\n", p->shared ? ", shared disk" : "",
            p->sparse ? ", sparse" : "", p->rides ? ", rides" : "",
            p->rests ? ", rests" : "", p->lends ? ", lends" : "",
            p->views ? ", views" : "");
    fprintf(to, "  messages take %g to %g ms%s, %u %% lost, %u %% twice, %u %% late\n",
            (double)p->latency_ns / 1e6, (double)(p->latency_ns + p->jitter_ns) / 1e6,
            p->in_order ? ", in order" : "", p->lose_percent, p->repeat_percent,
            p->stray_percent);
    for (uint32_t i = 0; i < p->n_faults; i++)
        fprintf(to, "  fault %u: %s %u at %.3f s for %.3f s\n", i,
                fault_names[p->faults[i].kind], p->faults[i].who,
                (double)p->faults[i].at_ns / 1e9, (double)p->faults[i].for_ns / 1e9);
}
