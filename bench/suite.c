/* suite.c - see suite.h. */
#include "bench/suite.h"

#include "bench/command.h"

#include <assert.h>
#include <fnmatch.h>
#include <inttypes.h>
#include <stdarg.h>
#include <stdlib.h>
#include <sysexits.h>

#define TIMEOUT_MS 30000 /* of every call of a worker */

const char *const bench_transports[BENCH_TRANSPORTS] = { "tcp", "ipc", "shm" };

/* ---- the command line ----------------------------------------------------------- */

static int take_pattern(struct bench_options *o, const char *pattern)
{
    if (o->n_only == BENCH_ONLY)
        return bench_wrong("--only: %u patterns at most", BENCH_ONLY);
    o->only[o->n_only++] = pattern;
    return -1;
}

int bench_take_option(struct bench_options *o, int letter, const char *argument)
{
    switch (letter) {
    case 'o': return take_pattern(o, argument);
    case 'l': o->list = true; return -1;
    case 'r': return bench_count("rounds", argument, 1000000, &o->rounds);
    case 's':
        return bench_number(argument, 60, &o->seconds) && o->seconds > 0
                   ? -1
                   : bench_wrong("--seconds: expected a number above 0, up to 60");
    case 'a': o->alone = true; return -1;
    case 'j': o->json = true; return -1;
    default: return EX_USAGE;
    }
}

void bench_print_options(const char *program, const struct bench_options *o)
{
    fprintf(o->notes, "%s --rounds=%u --seconds=%g", program, o->rounds, o->seconds);
    for (size_t i = 0; i < o->n_only; i++)
        fprintf(o->notes, " --only='%s'", o->only[i]);
    fprintf(o->notes, "%s%s", o->alone ? " --alone" : "", o->json ? " --json" : "");
}

/* ---- cases ---------------------------------------------------------------------- */

static bool is_wanted(const struct bench_options *o, const char *name)
{
    for (size_t i = 0; i < o->n_only; i++)
        if (fnmatch(o->only[i], name, 0) == 0)
            return true;
    return o->n_only == 0;
}

struct bench_case *bench_add(struct bench_run *run, const char *unit, const char *fmt,
                             ...)
{
    struct bench_case *c = &run->cases[run->n_cases];
    va_list            args;

    assert(run->n_cases < BENCH_CASES);
    *c = (struct bench_case){ .unit = unit };
    va_start(args, fmt);
    vsnprintf(c->name, sizeof(c->name), fmt, args);
    va_end(args);
    if (!is_wanted(run->options, c->name))
        return NULL;
    run->n_cases++;
    return c;
}

struct bench_series *bench_limit(const struct bench_run *run, struct bench_case *c,
                                 const char *name, struct bench_series *shared)
{
    struct bench_series *series = shared ? shared : &c->own[c->n_limits];

    if (run->options->alone)
        return series;
    assert(c->n_limits < BENCH_LIMITS);
    c->limits[c->n_limits++] = (struct bench_limit){ name, series };
    return series;
}

/* ---- measuring ------------------------------------------------------------------ */

#define CLEAR_LINE "\r\033[K"

ps_status bench_next(const struct bench_run *run, const char *what)
{
    if (run->options->progress)
        fprintf(stderr, CLEAR_LINE "round %u of %u: %s\r", run->round + 1,
                run->options->rounds, what);
    return bench_may_go_on();
}

ps_status bench_measure(const struct bench_run *run, const char *what,
                        bench_work_fn *work, void *const *ctx, size_t n,
                        struct bench_series *series)
{
    double    rate;
    ps_status st = bench_next(run, what);

    if (!st)
        st = bench_rate(work, ctx, n, run->options->seconds, &rate);
    return st ? st : bench_series_add(series, rate);
}

ps_status bench_join(ps_worker **out, const char *coordinator, const char *job)
{
    ps_worker_options o = PS_WORKER_OPTIONS;
    ps_settings      *settings = NULL;
    ps_status         st = ps_settings_parse(&settings, "job: {strategy: asp}\n");

    o.coordinator = coordinator;
    o.job = job;
    o.rank = 0;
    o.workers = 1;
    o.timeout_ms = TIMEOUT_MS;
    o.settings = settings;
    if (!st)
        st = ps_worker_open(out, &o);
    ps_settings_free(&settings);
    return st;
}

ps_status bench_leave(ps_worker **worker, ps_status so_far)
{
    if (!so_far)
        return ps_worker_close(worker);
    ps_worker_abandon(worker, "the measurement failed");
    return PS_OK;
}

float bench_gradient_at(uint64_t i)
{
    return 1 + (float)(i * UINT64_C(0x9e3779b97f4a7c15) >> 63);
}

static uint64_t available_memory(void)
{
    char     line[128];
    uint64_t kib = UINT64_MAX / 1024; /* where the kernel does not tell */
    FILE    *f = fopen("/proc/meminfo", "re");

    while (f && fgets(line, sizeof(line), f))
        if (sscanf(line, "MemAvailable: %" SCNu64, &kib) == 1)
            break;
    if (f)
        fclose(f);
    return kib * 1024;
}

ps_status bench_expect_memory(const char *what, uint64_t bytes)
{
    const uint64_t there = available_memory();

    if (bytes <= there)
        return PS_OK;
    return ps_fail(PS_ERR_NO_MEMORY,
                   "%s: about %ju MiB of memory are needed and %ju MiB available; "
                   "--only chooses smaller cases",
                   what, (uintmax_t)(bytes >> 20), (uintmax_t)(there >> 20));
}

/* ---- one setting ---------------------------------------------------------------- */

static void end_progress(const struct bench_run *run)
{
    if (run->options->progress)
        fputs(CLEAR_LINE, stderr);
}

static ps_status print_results(struct bench_run *run)
{
    (run->options->json ? bench_print_json : bench_print_table)(run->cases,
                                                                run->n_cases);
    if (fflush(stdout) != 0)
        return ps_fail(PS_ERR_SYSTEM, "cannot write the results: %m");
    return PS_OK;
}

static ps_status measure_all(const struct bench_suite *suite, void *self,
                             struct bench_run *run)
{
    ps_status st = suite->open(self, run), closed;

    for (; !st && run->round < run->options->rounds; run->round++)
        st = suite->round(self, run);
    end_progress(run);
    if (!st)
        st = suite->prove(self, run);
    if (!st)
        st = print_results(run);
    closed = suite->close(self, st);
    return st ? st : closed;
}

static ps_status list_all(const struct bench_run *run)
{
    for (size_t i = 0; i < run->n_cases; i++)
        puts(run->cases[i].name);
    return PS_OK;
}

static ps_status run_setting(const struct bench_suite *suite, struct bench_run *run,
                             size_t setting)
{
    void     *self = calloc(1, suite->self_bytes);
    ps_status st = PS_OK;

    if (!self)
        return ps_fail(PS_ERR_NO_MEMORY, "%s: no memory", suite->name);
    suite->choose(self, run, setting);
    if (run->n_cases > 0)
        st = run->options->list ? list_all(run) : measure_all(suite, self, run);
    for (size_t i = 0; i < run->n_cases; i++) {
        bench_series_free(&run->cases[i].series);
        for (size_t k = 0; k < BENCH_LIMITS; k++)
            bench_series_free(&run->cases[i].own[k]);
    }
    free(self);
    return st;
}

ps_status bench_run_suite(const struct bench_suite   *suite,
                          const struct bench_options *options, size_t *n_cases)
{
    ps_status st = PS_OK;

    *n_cases = 0;
    for (size_t i = 0; !st && i < suite->n_settings; i++) {
        struct bench_run run = { .options = options };

        st = run_setting(suite, &run, i);
        *n_cases += run.n_cases;
    }
    return st;
}
