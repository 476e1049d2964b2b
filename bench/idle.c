/* idle.c - see idle.h. */
#include "bench/idle.h"

#include "bench/raw.h"
#include "bench/server.h"
#include "tools/folder.h"

#include <ps/worker.h>

#include <math.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define GRACE_MS 5000
#define TIMEOUT_MS 60000

enum { ROLE, READY, ENDPOINT, JOB, WORKERS, OPTIMISER, MIB, ARGUMENTS };

/* ---- who starts it -------------------------------------------------------------- */

static ps_status read_before(const char *file, double *before)
{
    FILE *f = fopen(file, "re");
    int   got = f ? fscanf(f, "%lf", before) : 0;

    if (f)
        fclose(f);
    return got == 1 ? PS_OK : ps_fail(PS_ERR_SYSTEM, "cannot read %s: %m", file);
}

ps_status bench_idle_start(struct process *p, const struct bench_idle *idle,
                           double *before, double *bytes)
{
    static uint32_t started; /* each has files of its own */
    char            self[] = "/proc/self/exe", role[] = "idle", workers[16], mib[16];
    char           *ready = folder_numbered(idle->folder, "idle", ++started, "at");
    const char     *job = idle->job ? idle->job : "";
    const char     *optimiser = idle->optimiser ? idle->optimiser : "";
    ps_status       st = PS_OK;

    *p = (struct process){ .name = "idle workers" };
    p->log = folder_numbered(idle->folder, "idle", started, "log");
    snprintf(workers, sizeof(workers), "%u", idle->workers);
    snprintf(mib, sizeof(mib), "%u", idle->model_mib);
    if (!ready || !p->log)
        st = ps_fail(PS_ERR_NO_MEMORY, "no memory to start workers");
    if (!st)
        st = process_start(p,
                           (char *[]){ self, role, ready, (char *)idle->endpoint,
                                       (char *)job, workers, (char *)optimiser, mib,
                                       NULL },
                           (char *[]){ NULL });
    if (!st)
        st = bench_await_file(p, ready);
    if (!st)
        st = read_before(ready, before);
    if (!st)
        st = bench_process_bytes(p->pid, bytes);
    free(ready);
    return st;
}

void bench_idle_stop(struct process *p)
{
    process_stop_all(p, 1, GRACE_MS);
    process_free(p);
}

/* ---- the process ---------------------------------------------------------------- */

/* Pushed and pulled once: buffers and blocks are what they will ever be. */
static ps_status move_model(ps_worker *w, uint32_t mib)
{
    const uint64_t n = ((uint64_t)mib << 20) / sizeof(float);
    float         *gradient = malloc(n * sizeof(float));
    float         *value = calloc(n, sizeof(float));
    ps_matrix     *m;
    ps_model      *model;
    ps_status      st = PS_OK;

    if (!gradient || !value)
        return ps_fail(PS_ERR_NO_MEMORY, "no memory for a model of %u MiB", mib);
    for (uint64_t i = 0; i < n; i++)
        gradient[i] = -1;
    st = ps_dense(w, "model", 1, n, NULL, &m);
    if (!st)
        st = ps_model_new(&model, w);
    if (!st)
        st = ps_model_add(model, m, value, gradient);
    if (!st)
        st = ps_model_push_pull(model);
    for (uint64_t i = 0; !st && i < n; i++)
        if (!(fabsf(value[i] - 0.5f) < 1e-6f)) /* a first step is lr long */
            st = ps_fail(PS_ERR_DATA, "memory: element %ju is %g, expected 0.5",
                         (uintmax_t)i, (double)value[i]);
    return st; /* the buffers stay, as a worker's do */
}

static ps_status open_workers(char **argv, uint32_t workers)
{
    ps_settings *settings = NULL;
    char         text[128];
    ps_status    st;

    snprintf(text, sizeof(text), "optimiser: {name: %s, lr: 0.5}\n",
             *argv[OPTIMISER] ? argv[OPTIMISER] : "sgd");
    st = ps_settings_parse(&settings, text);
    for (uint32_t i = 0; !st && i < workers; i++) {
        ps_worker_options o = PS_WORKER_OPTIONS;
        ps_worker        *w; /* stays open until the process ends */

        o.coordinator = argv[ENDPOINT];
        o.job = argv[JOB];
        o.rank = (int)i;
        o.workers = workers;
        o.timeout_ms = TIMEOUT_MS;
        o.settings = settings;
        st = ps_worker_open(&w, &o);
        if (!st && *argv[OPTIMISER])
            st = move_model(w, (uint32_t)strtoul(argv[MIB], NULL, 10));
    }
    ps_settings_free(&settings);
    return st;
}

static ps_status open_raw(const char *endpoint, uint32_t workers)
{
    struct bench_raw *raw; /* stays open until the process ends */
    ps_status         st = PS_OK;

    for (uint32_t i = 0; !st && i < workers; i++)
        st = bench_raw_open(&raw, &endpoint, 1);
    return st;
}

static ps_status say_ready(const char *file, double before)
{
    char  draft[4096];
    FILE *f;
    bool  written;

    snprintf(draft, sizeof(draft), "%s.draft", file);
    f = fopen(draft, "we");
    written = f && fprintf(f, "%.0f\n", before) > 0;
    if (f)
        written = fclose(f) == 0 && written;
    if (!written || rename(draft, file))
        return ps_fail(PS_ERR_SYSTEM, "cannot write %s: %m", file);
    return PS_OK;
}

int bench_idle_run(int argc, char **argv)
{
    double    before = 0;
    uint32_t  workers;
    ps_status st;

    if (argc != ARGUMENTS)
        return EXIT_FAILURE;
    signal(SIGTERM, SIG_DFL); /* there is nothing to finish */
    workers = (uint32_t)strtoul(argv[WORKERS], NULL, 10);
    st = bench_process_bytes(getpid(), &before);
    if (!st)
        st = *argv[JOB] ? open_workers(argv, workers)
                        : open_raw(argv[ENDPOINT], workers);
    if (!st)
        st = say_ready(argv[READY], before);
    while (!st)
        pause();
    return ps_status_exit_code(st);
}
