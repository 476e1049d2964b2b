/*
 * connections.c - many workers at one shard: most of them idle, some of them at work.
 *
 *     N/requests   so many workers of one job push and pull in turn, side by side
 *     N/cpu        processor time of psd for a request of theirs, of all its threads
 *     N/p99        how long a request takes, the 99th percentile
 *     psd/memory   what psd holds for each idle worker
 *     psd/files    and how many file descriptors
 *
 * All that time the idle workers are there (--idle), send their beats, and do nothing.
 * Each worker is a thread with sockets of its own.  Beside the rate of many stands that
 * of two: if it falls, something grows with the connections.
 *
 * All gradients are 1 and the job is asp, so an element holds how often it was pushed.
 */
#include "bench/idle.h"
#include "bench/server.h"
#include "bench/suite.h"
#include "common/net/net.h"

#include <ps/worker.h>

#include <dirent.h>
#include <stdlib.h>
#include <sys/resource.h>

#define ACTIVE 200u
#define IDLE_OF_ONE 250u /* workers of one process */
#define IDLE_PROCESSES (BENCH_IDLE_MAX / IDLE_OF_ONE)
#define TIMEOUT_MS 60000

static const uint32_t actives[] = { 2, 20, ACTIVE };

#define ACTIVES (sizeof(actives) / sizeof(actives[0]))

/* What a request moves. */
static const struct size {
    const char *name;
    uint64_t    elements;
} sizes[] = { { "64B", 16 }, { "64KiB", 16384 } };

#define SIZES (sizeof(sizes) / sizeof(sizes[0]))

struct what {
    struct bench_case *requests, *cpu, *p99;
};

struct active {
    ps_worker          *worker;
    ps_matrix          *matrix[SIZES];
    float              *value;
    uint64_t            pushed[SIZES];
    size_t              size; /* that it moves now */
    struct bench_series times;
};

struct connections {
    const char          *transport;
    struct bench_servers servers;
    struct process       idle[IDLE_PROCESSES];
    struct active        active[ACTIVE];
    float               *gradient;
    struct what          what[SIZES][ACTIVES];
    struct bench_case   *memory, *files;
    double               idle_bytes, idle_files; /* of psd, for each idle worker */
};

/* ---- one worker ----------------------------------------------------------------- */

static ps_status once(struct active *a, const float *gradient)
{
    ps_matrix *m = a->matrix[a->size];
    ps_status  st;

    if (a->times.n % 2)
        return ps_pull(m, a->value);
    st = ps_push(m, gradient);
    a->pushed[a->size] += st == PS_OK;
    return st;
}

struct work {
    struct active *active;
    const float   *gradient;
};

static ps_status work_active(void *work, uint64_t until_ns, uint64_t *done)
{
    struct work *w = work;
    uint64_t     now, begun = ps_now_ns();
    ps_status    st = PS_OK;

    do {
        st = once(w->active, w->gradient);
        now = ps_now_ns();
        if (!st)
            st = bench_series_add(&w->active->times, (double)(now - begun) / 1e9);
        begun = now;
    } while (!st && now < until_ns);
    *done = w->active->times.n;
    return st;
}

/* ---- measuring ------------------------------------------------------------------ */

/* Of all that were at work. */
static ps_status p99_of(struct connections *c, uint32_t n, double *p99)
{
    struct bench_series all = { 0 };
    ps_status           st = PS_OK;

    for (uint32_t i = 0; i < n; i++)
        for (size_t k = 0; !st && k < c->active[i].times.n; k++)
            st = bench_series_add(&all, c->active[i].times.at[k]);
    if (!st)
        *p99 = bench_quantile(&all, 0.99);
    bench_series_free(&all);
    return st;
}

static ps_status note(struct bench_case *c, double value)
{
    return c ? bench_series_add(&c->series, value) : PS_OK;
}

static bool is_wanted(const struct what *w)
{
    return w->requests || w->cpu || w->p99;
}

/* Who is at work; returns the first case of theirs, which is what is measured next. */
static const char *set_out(struct connections *c, size_t size, size_t k,
                           struct work *works, void **all)
{
    const struct what *w = &c->what[size][k];

    for (uint32_t i = 0; i < actives[k]; i++) {
        c->active[i].size = size;
        c->active[i].times.n = 0;
        works[i] = (struct work){ &c->active[i], c->gradient };
        all[i] = &works[i];
    }
    return (w->requests ? w->requests : w->cpu ? w->cpu : w->p99)->name;
}

static ps_status measure(struct connections *c, const struct bench_run *run,
                         size_t size, size_t k)
{
    const struct process *psd = &c->servers.processes[BENCH_PSD];
    const struct what    *w = &c->what[size][k];
    struct work           works[ACTIVE];
    void                 *all[ACTIVE];
    double                rate, p99 = 0, used[2], done = 0;
    ps_status             st = bench_next(run, set_out(c, size, k, works, all));

    if (!st)
        st = bench_process_seconds(psd, &used[0]);
    if (!st)
        st = bench_rate(work_active, all, actives[k], run->options->seconds, &rate);
    if (!st)
        st = bench_process_seconds(psd, &used[1]);
    if (!st)
        st = p99_of(c, actives[k], &p99);
    for (uint32_t i = 0; i < actives[k]; i++)
        done += (double)c->active[i].times.n;
    if (!st)
        st = note(w->requests, rate);
    if (!st)
        st = note(w->cpu, (used[1] - used[0]) / done);
    return st ? st : note(w->p99, p99);
}

static ps_status measure_round(void *self, struct bench_run *run)
{
    struct connections *c = self;
    ps_status           st = PS_OK;

    for (size_t size = 0; size < SIZES; size++)
        for (size_t k = 0; !st && k < ACTIVES; k++)
            if (is_wanted(&c->what[size][k]))
                st = measure(c, run, size, k);
    if (!st)
        st = note(c->memory, c->idle_bytes);
    return st ? st : note(c->files, c->idle_files);
}

static ps_status prove(void *self, struct bench_run *run)
{
    struct connections *c = self;
    ps_status           st = PS_OK;

    (void)run;
    for (size_t size = 0; !st && size < SIZES; size++) {
        struct active *a = &c->active[0];
        uint64_t       pushed = 0;

        if (!a->worker)
            return PS_OK; /* nobody was to be at work */
        for (uint32_t i = 0; i < ACTIVE; i++)
            pushed += c->active[i].pushed[size];
        st = ps_pull(a->matrix[size], a->value);
        for (uint64_t i = 0; !st && i < sizes[size].elements; i++)
            if (a->value[i] != (float)pushed)
                st = ps_fail(PS_ERR_DATA,
                             "connections/%s/%s: element %ju is %g, expected %ju",
                             c->transport, sizes[size].name, (uintmax_t)i,
                             (double)a->value[i], (uintmax_t)pushed);
    }
    return st;
}

/* ---- the two ends --------------------------------------------------------------- */

/* Cases of many stand beside those of two. */
static struct bench_case *add_case(struct bench_run *run, const struct connections *c,
                                   size_t size, size_t k, const char *unit,
                                   const char *name, struct bench_case *two)
{
    struct bench_case *added =
        bench_add(run, unit, "connections/%s/%s/%u/%s", c->transport, sizes[size].name,
                  actives[k], name);

    if (added && two && k > 0)
        bench_limit(run, added, "two", &two->series);
    return added;
}

static void choose(void *self, struct bench_run *run, size_t setting)
{
    struct connections *c = self;

    c->transport = setting == 0 ? "tcp" : "shm";
    for (size_t size = 0; size < SIZES; size++)
        for (size_t k = 0; k < ACTIVES; k++) {
            struct what *w = &c->what[size][k], *two = &c->what[size][0];

            w->requests =
                add_case(run, c, size, k, "requests/s", "requests", two->requests);
            w->cpu = add_case(run, c, size, k, "s", "cpu", two->cpu);
            w->p99 = add_case(run, c, size, k, "s", "p99", NULL);
        }
    c->memory = bench_add(run, "B", "connections/%s/psd/memory", c->transport);
    c->files = bench_add(run, "files", "connections/%s/psd/files", c->transport);
}

static ps_status count_files(pid_t pid, double *files)
{
    char path[64];
    DIR *dir;

    snprintf(path, sizeof(path), "/proc/%d/fd", (int)pid);
    dir = opendir(path);
    if (!dir)
        return ps_fail(PS_ERR_SYSTEM, "process %d: its files cannot be counted: %m",
                       (int)pid);
    for (*files = -2; readdir(dir);) /* without . and .. */
        ++*files;
    closedir(dir);
    return PS_OK;
}

static ps_status start_idle(struct connections *c, const struct bench_run *run)
{
    struct bench_idle idle = { .folder = c->servers.folder,
                               .endpoint = c->servers.coordinator };
    const uint32_t    all = run->options->idle;
    ps_status         st = PS_OK;

    for (uint32_t i = 0, left = all; !st && left > 0; i++, left -= idle.workers) {
        char   job[32];
        double before, after;

        snprintf(job, sizeof(job), "idle%u", i);
        idle.job = job;
        idle.workers = left < IDLE_OF_ONE ? left : IDLE_OF_ONE;
        st = bench_next(run, "idle workers come");
        if (!st)
            st = bench_idle_start(&c->idle[i], &idle, &before, &after);
    }
    return st;
}

/* A worker has about a dozen descriptors, at psd three.  Processes inherit the limit.
 */
static void raise_file_limit(void)
{
    struct rlimit files;

    if (getrlimit(RLIMIT_NOFILE, &files))
        return;
    files.rlim_cur = files.rlim_max;
    setrlimit(RLIMIT_NOFILE, &files); /* refused: a sentence says what there is not */
}

static ps_status come_idle(struct connections *c, const struct bench_run *run)
{
    const pid_t    psd = c->servers.processes[BENCH_PSD].pid;
    const uint32_t n = run->options->idle;
    double         bytes[2], files[2];
    ps_status      st = bench_process_bytes(psd, &bytes[0]);

    if (!st)
        st = count_files(psd, &files[0]);
    if (!st)
        st = start_idle(c, run);
    if (!st)
        st = bench_process_bytes(psd, &bytes[1]);
    if (!st)
        st = count_files(psd, &files[1]);
    if (st)
        return st;
    c->idle_bytes = (bytes[1] - bytes[0]) / n;
    c->idle_files = (files[1] - files[0]) / n;
    return PS_OK;
}

static ps_status join(struct connections *c, const ps_settings *settings, uint32_t rank)
{
    struct active    *a = &c->active[rank];
    ps_worker_options o = PS_WORKER_OPTIONS;
    ps_matrix_options mo = PS_MATRIX_OPTIONS;
    ps_status         st;

    o.coordinator = c->servers.coordinator;
    o.job = "active";
    o.rank = (int)rank;
    o.workers = (int)ACTIVE;
    o.timeout_ms = TIMEOUT_MS;
    o.settings = settings;
    mo.optimiser = PS_ADD;
    a->value = calloc(sizes[SIZES - 1].elements, sizeof(float));
    if (!a->value)
        return ps_fail(PS_ERR_NO_MEMORY, "connections: no memory for values");
    st = ps_worker_open(&a->worker, &o);
    for (size_t i = 0; !st && i < SIZES; i++)
        st = ps_dense(a->worker, sizes[i].name, 1, sizes[i].elements, &mo,
                      &a->matrix[i]);
    return st;
}

static ps_status come_active(struct connections *c, const struct bench_run *run)
{
    ps_settings *settings = NULL;
    ps_status    st = ps_settings_parse(&settings, "job: {strategy: asp}\n");

    c->gradient = malloc(sizes[SIZES - 1].elements * sizeof(float));
    if (!st && !c->gradient)
        st = ps_fail(PS_ERR_NO_MEMORY, "connections: no memory for a gradient");
    for (uint64_t i = 0; !st && i < sizes[SIZES - 1].elements; i++)
        c->gradient[i] = 1;
    for (uint32_t i = 0; !st && i < ACTIVE; i++) {
        st = bench_next(run, "workers come");
        if (!st)
            st = join(c, settings, i);
    }
    ps_settings_free(&settings);
    return st;
}

static ps_status open_all(void *self, struct bench_run *run)
{
    struct connections *c = self;
    bool                active = false;
    ps_status           st;

    raise_file_limit();
    st = bench_servers_start(&c->servers, c->transport, 1, BENCH_PSD_ALONE);

    for (size_t size = 0; size < SIZES; size++)
        for (size_t k = 0; k < ACTIVES; k++)
            active = active || is_wanted(&c->what[size][k]);
    if (!st)
        st = come_idle(c, run);
    return st || !active ? st : come_active(c, run);
}

static ps_status close_all(void *self, ps_status so_far)
{
    struct connections *c = self;
    ps_status           st = PS_OK, ended;

    for (uint32_t i = 0; i < ACTIVE; i++) {
        ps_status left = bench_leave(&c->active[i].worker, so_far);

        st = st ? st : left;
        free(c->active[i].value);
        bench_series_free(&c->active[i].times);
    }
    free(c->gradient);
    for (uint32_t i = 0; i < IDLE_PROCESSES; i++)
        if (c->idle[i].pid > 0)
            bench_idle_stop(&c->idle[i]);
    ended = bench_servers_stop(&c->servers);
    return st ? st : ended;
}

const struct bench_suite bench_connections = {
    .name = "connections",
    .n_settings = 2,
    .self_bytes = sizeof(struct connections),
    .choose = choose,
    .open = open_all,
    .round = measure_round,
    .prove = prove,
    .close = close_all,
};
