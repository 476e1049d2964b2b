/*
 * footprint.c - memory that psd and a worker take (resident, as the kernel counts it),
 * beside the bytes that have to be there.
 *
 *     psd/OPTIMISER     more of it with a model, beside parameters and state
 *     worker/model      more of a worker with that model, beside its two buffers
 *     psd/connection    for each worker that is there and does nothing, beside a
 *     worker/connection connection of ZeroMQ alone, at either end
 *
 * Each round has a psd, a raw server and worker processes of its own, so that memory
 * that was free before is not taken for nothing.
 */
#include "bench/idle.h"
#include "bench/server.h"
#include "bench/suite.h"

#include <stdlib.h>

#define IDLE 100u /* workers of one job */

enum kind {
    PSD_SGD,
    PSD_ADAM,
    WORKER,
    PSD_CONNECTION,
    WORKER_CONNECTION,
    KINDS,
};

static const struct {
    const char *name, *limit;
    uint32_t    arrays; /* of the model's size that the limit is; 0: it is measured */
} kinds[KINDS] = {
    [PSD_SGD] = { "psd/sgd", "model", 1 },
    [PSD_ADAM] = { "psd/adam", "model", 3 },
    [WORKER] = { "worker/model", "buffers", 2 },
    [PSD_CONNECTION] = { "psd/connection", "zeromq", 0 },
    [WORKER_CONNECTION] = { "worker/connection", "zeromq", 0 },
};

struct footprint {
    struct bench_case   *cases[KINDS];
    struct bench_series *limits[KINDS];
};

/* What two processes hold more when workers have come: those at the other end, and the
 * workers themselves. */
struct growth {
    double at_server, at_workers;
};

static ps_status grow(struct bench_servers *s, enum bench_server server,
                      const struct bench_idle *idle, struct growth *g)
{
    struct process workers = { 0 };
    double         before, after, workers_before, workers_after;
    ps_status      st = bench_process_bytes(s->processes[server].pid, &before);

    if (!st)
        st = bench_idle_start(&workers, idle, &workers_before, &workers_after);
    if (!st)
        st = bench_process_bytes(s->processes[server].pid, &after);
    bench_idle_stop(&workers);
    if (st)
        return st;
    g->at_server = (after - before) / idle->workers;
    g->at_workers = (workers_after - workers_before) / idle->workers;
    return PS_OK;
}

static ps_status note(struct footprint *f, enum kind kind, double bytes)
{
    return f->cases[kind] ? bench_series_add(&f->cases[kind]->series, bytes) : PS_OK;
}

static ps_status note_limit(struct footprint *f, enum kind kind, double bytes)
{
    return f->limits[kind] ? bench_series_add(f->limits[kind], bytes) : PS_OK;
}

/* ---- a model -------------------------------------------------------------------- */

static ps_status measure_model(struct footprint *f, const struct bench_run *run,
                               enum kind kind)
{
    const double         mib = run->options->model_mib * 1048576.0;
    struct bench_servers s;
    struct growth        g = { 0 };
    ps_status            st = bench_servers_start(&s, "ipc", 1, BENCH_RAW), ended;
    struct bench_idle    idle = { .folder = s.folder,
                                  .endpoint = s.coordinator,
                                  .job = "memory",
                                  .workers = 1,
                                  .optimiser = kind == PSD_ADAM ? "adam" : "sgd",
                                  .model_mib = run->options->model_mib };

    if (st)
        return st;
    st = grow(&s, BENCH_PSD, &idle, &g);
    ended = bench_servers_stop(&s);
    if (!st)
        st = ended;
    if (!st)
        st = note(f, kind, g.at_server);
    if (!st)
        st = note_limit(f, kind, mib * kinds[kind].arrays);
    if (!st && kind == PSD_SGD)
        st = note(f, WORKER, g.at_workers);
    if (!st && kind == PSD_SGD)
        st = note_limit(f, WORKER, mib * kinds[WORKER].arrays);
    return st;
}

/* ---- connections ---------------------------------------------------------------- */

static ps_status measure_connections(struct footprint *f)
{
    struct bench_servers s;
    struct growth        psd = { 0 }, raw = { 0 };
    ps_status            st = bench_servers_start(&s, "ipc", 1, BENCH_RAW), ended;
    struct bench_idle    idle = {
           .folder = s.folder, .endpoint = s.coordinator, .job = "memory", .workers = IDLE
    };

    if (st)
        return st;
    st = grow(&s, BENCH_PSD, &idle, &psd);
    idle.endpoint = s.raw[0];
    idle.job = NULL;
    if (!st)
        st = grow(&s, BENCH_RAW_SERVER, &idle, &raw);
    ended = bench_servers_stop(&s);
    if (!st)
        st = ended;
    if (!st)
        st = note(f, PSD_CONNECTION, psd.at_server);
    if (!st)
        st = note(f, WORKER_CONNECTION, psd.at_workers);
    if (!st)
        st = note_limit(f, PSD_CONNECTION, raw.at_server);
    return st ? st : note_limit(f, WORKER_CONNECTION, raw.at_workers);
}

/* ---- the suite ------------------------------------------------------------------ */

static void choose(void *self, struct bench_run *run, size_t setting)
{
    struct footprint *f = self;

    (void)setting;
    for (int k = 0; k < KINDS; k++)
        if ((f->cases[k] = bench_add(run, "B", "memory/%s", kinds[k].name)))
            f->limits[k] = bench_limit(run, f->cases[k], kinds[k].limit, NULL);
}

static ps_status open_all(void *self, struct bench_run *run)
{
    (void)self;
    /* At psd the model with adam's state, the gradient that it holds, its sum; at the
     * worker its buffers and a copy on its way. */
    return bench_expect_memory("memory", UINT64_C(8) * run->options->model_mib << 20);
}

static ps_status measure_round(void *self, struct bench_run *run)
{
    struct footprint *f = self;
    ps_status         st = bench_next(run, "memory");

    if (!st && (f->cases[PSD_SGD] || f->cases[WORKER]))
        st = measure_model(f, run, PSD_SGD);
    if (!st && f->cases[PSD_ADAM])
        st = measure_model(f, run, PSD_ADAM);
    if (!st && (f->cases[PSD_CONNECTION] || f->cases[WORKER_CONNECTION]))
        st = measure_connections(f);
    return st;
}

/* The workers have looked at what they were given. */
static ps_status prove(void *self, struct bench_run *run)
{
    (void)self, (void)run;
    return PS_OK;
}

static ps_status close_all(void *self, ps_status so_far)
{
    (void)self, (void)so_far;
    return PS_OK;
}

const struct bench_suite bench_footprint = {
    .name = "memory",
    .n_settings = 1,
    .self_bytes = sizeof(struct footprint),
    .choose = choose,
    .open = open_all,
    .round = measure_round,
    .prove = prove,
    .close = close_all,
};
