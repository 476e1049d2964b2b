/* top.c - see top.h. */
#include "tools/top.h"

#include "common/net/net.h"
#include "tools/table.h"

#include <signal.h>
#include <stdio.h>
#include <time.h>
#include <unistd.h>

#define CURSOR_OFF "\033[?25l"
#define CURSOR_ON "\033[?25h"
#define CLEAR "\033[H\033[2J"

/* What one status says, with the rates since the one before. */
struct round {
    json_t  *jobs, *workers; /* rows */
    json_t  *status;
    uint64_t ns; /* when it came */
};

static const struct column job_columns[] = {
    { "JOB", "job", 's' },
    { "STATE", "state", 's' },
    { "STRATEGY", "strategy", 's' },
    { "ACTIVE", "active", 'n' },
    { "CLOCK", "clock", 'n' },
    { "SAMPLES", "samples", 'n' },
    { "SAMPLES/S", "samples_per_second", 'r' },
    { "PUSHED", "bytes_pushed", 'b' },
    { "PUSHED/S", "bytes_pushed_per_second", 'B' },
};

static const struct column worker_columns[] = {
    { "JOB", "job", 's' },
    { "RANK", "rank", 'n' },
    { "STATE", "state", 's' },
    { "HOST", "host", 's' },
    { "CLOCK", "clock", 'n' },
    { "SILENT", "silent_seconds", 't' },
    { "SAMPLES/S", "samples_per_second", 'r' },
    { "PUSHED/S", "bytes_pushed_per_second", 'B' },
    { "RETRIES", "retries", 'n' },
};

/* ---- rates --------------------------------------------------------------------- */

static bool same(const json_t *a, const json_t *b, const char *key)
{
    return json_equal(json_object_get(a, key), json_object_get(b, key));
}

/* The row that two keys tell apart from others, in an older status; NULL: none. */
static const json_t *older(const json_t *rows, const json_t *row, const char *key,
                           const char *second)
{
    const json_t *other;
    size_t        i;

    json_array_foreach(rows, i, other)
    {
        if (same(row, other, key) && same(row, other, second))
            return other;
    }
    return NULL;
}

static void add_rate(json_t *row, const char *name, const json_t *before,
                     const char *key, double seconds)
{
    json_int_t now = json_integer_value(json_object_get(row, key));
    json_int_t then = json_integer_value(json_object_get(before, key));
    bool       known = before && seconds > 0 && now >= then;

    json_object_set_new(
        row, name, known ? json_real((double)(now - then) / seconds) : json_null());
}

static void add_rates(json_t *row, const json_t *before, double seconds)
{
    add_rate(row, "samples_per_second", before, "samples", seconds);
    add_rate(row, "bytes_pushed_per_second", before, "bytes_pushed", seconds);
}

static void take_members(struct round *r, const json_t *job, const json_t *job_before,
                         double seconds)
{
    const json_t *before = json_object_get(job_before, "members");
    const json_t *member;
    size_t        i;

    json_array_foreach(json_object_get(job, "members"), i, member)
    {
        json_t *row = json_copy((json_t *)member);

        json_object_set(row, "job", json_object_get(job, "job"));
        add_rates(row, older(before, row, "rank", "incarnation"), seconds);
        json_array_append_new(r->workers, row);
    }
}

/* Takes the status. */
static void make_round(struct round *r, json_t *status, const struct round *last)
{
    const json_t *before = json_object_get(last->status, "jobs");
    const json_t *job;
    double        seconds;
    size_t        i;

    *r = (struct round){ .jobs = json_array(),
                         .workers = json_array(),
                         .status = status,
                         .ns = ps_now_ns() };
    seconds = (double)(r->ns - last->ns) / 1e9;
    json_array_foreach(json_object_get(status, "jobs"), i, job)
    {
        const json_t *job_before = older(before, job, "job", "number");
        json_t       *row = json_copy((json_t *)job);

        take_members(r, job, job_before, seconds);
        json_object_del(row, "members");
        json_object_del(row, "matrix_accounts");
        add_rates(row, job_before, seconds);
        json_array_append_new(r->jobs, row);
    }
}

static void free_round(struct round *r)
{
    json_decref(r->jobs);
    json_decref(r->workers);
    json_decref(r->status);
    *r = (struct round){ 0 };
}

/* ---- showing ------------------------------------------------------------------- */

static void show_json(const struct round *r)
{
    json_t *o = json_pack("{s:i, s:O, s:O, s:O}", "schema_version", 1, "uptime_seconds",
                          json_object_get(r->status, "uptime_seconds"), "jobs", r->jobs,
                          "workers", r->workers);

    json_dumpf(o, stdout, JSON_COMPACT | JSON_REAL_PRECISION(15));
    putchar('\n');
    json_decref(o);
}

static void show_tables(const struct round *r)
{
    printf("psd at %s, up %.0f s\n\n",
           json_string_value(json_object_get(r->status, "endpoint")),
           json_number_value(json_object_get(r->status, "uptime_seconds")));
    TABLE(r->jobs, job_columns);
    if (json_array_size(r->workers) == 0)
        return;
    putchar('\n');
    TABLE(r->workers, worker_columns);
}

static ps_status show(const struct round *r, bool json, bool terminal, bool first)
{
    if (terminal)
        fputs(CLEAR, stdout);
    else if (!json && !first)
        putchar('\n');
    if (json)
        show_json(r);
    else
        show_tables(r);
    if (fflush(stdout) != 0)
        return ps_fail(PS_ERR_SYSTEM, "cannot write: %m");
    return PS_OK;
}

/* ---- rounds -------------------------------------------------------------------- */

static void take_signals(sigset_t *ends, sigset_t *old)
{
    sigemptyset(ends);
    sigaddset(ends, SIGINT);
    sigaddset(ends, SIGTERM);
    sigaddset(ends, SIGHUP);
    sigprocmask(SIG_BLOCK, ends, old);
}

/* Waits out the interval; true when told to end. */
static bool told_to_end(const sigset_t *ends, int interval_ms)
{
    struct timespec wait = { .tv_sec = interval_ms / 1000,
                             .tv_nsec = (long)(interval_ms % 1000) * 1000000 };

    return sigtimedwait(ends, NULL, &wait) > 0;
}

static ps_status rounds(struct asker *a, const struct top_options *o, bool terminal,
                        const sigset_t *ends)
{
    struct round last = { 0 };
    ps_status    st = PS_OK;

    for (uint32_t n = 0; !st && (o->count == 0 || n < o->count); n++) {
        struct round now;
        json_t      *status;

        if (n > 0 && told_to_end(ends, o->interval_ms))
            break;
        st = asker_status(a, o->timeout_ms, &status);
        if (st)
            break;
        make_round(&now, status, &last);
        free_round(&last);
        last = now;
        st = show(&last, o->json, terminal, n == 0);
    }
    free_round(&last);
    return st;
}

ps_status top_run(struct asker *a, const struct top_options *o)
{
    bool      terminal = !o->json && isatty(STDOUT_FILENO) == 1;
    sigset_t  ends, old;
    ps_status st;

    take_signals(&ends, &old);
    if (terminal)
        fputs(CURSOR_OFF, stdout);
    st = rounds(a, o, terminal, &ends);
    if (terminal) {
        fputs(CURSOR_ON, stdout);
        fflush(stdout);
    }
    told_to_end(&ends, 0); /* one that came during the last round */
    sigprocmask(SIG_SETMASK, &old, NULL);
    return st;
}
