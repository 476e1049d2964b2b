/*
 * run.c - see run.h.
 *
 *     load -> folder -> psd processes -> workers -> watch -> hash -> summary
 *
 * Whatever happens on the way, what was started is stopped and a summary is written
 * that names the reason.
 */
#include "tools/run.h"

#include "common/base/random.h"
#include "common/config/config.h"
#include "common/net/net.h"
#include "tools/ask.h"
#include "tools/blas.h"
#include "tools/faults.h"
#include "tools/find.h"
#include "tools/folder.h"
#include "tools/port.h"
#include "tools/process.h"
#include "tools/progress.h"
#include "tools/record.h"
#include "tools/results.h"

#include <ps/worker.h>

#include <errno.h>
#include <math.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sysexits.h>
#include <time.h>
#include <unistd.h>

#define START_SECONDS 30   /* for a psd to be ready */
#define SILENCE_SECONDS 60 /* without an answer from a coordinator that runs */
#define WATCH_MS 200
#define WATCH_FAULTS_MS 20 /* while there is something to be done to somebody */
#define GRACE_MS 5000      /* between SIGTERM and SIGKILL */
#define EXIT_INTERRUPTED 130

struct run {
    const struct run_options *options;
    struct ps_experiment     *experiment;
    char                     *folder;
    char                      token[33];
    char                      coordinator[PS_ENDPOINT_BYTES];

    char  *psd;   /* the daemon's path */
    char **words; /* the worker's path and arguments */
    size_t n_words;

    size_t          n_servers, n_workers, n_testers; /* 0 or 1 */
    struct process *processes;                       /* in this order */
    bool            testing;                         /* the tester was started */

    struct asker   *asker;
    struct record   record;
    struct progress progress;
    struct faults   faults;
    unsigned        port; /* of the first psd; 0: any */
    uint64_t        workers_ns, end_ns;
    uint64_t        total_clocks;
    uint64_t        answered_ns;         /* when the coordinator last answered */
    bool            stopped;             /* before the workers' end: accurate enough */
    double          seconds_to_accuracy; /* NAN: not reached */
    json_t         *job;                 /* its part of the last status */
    json_t         *results;             /* what worker 0 said; NULL before its end */
    char            model_hash[65];
    char            failure[1024];
};

static volatile sig_atomic_t interrupted;

static void on_signal(int number)
{
    interrupted = number;
}

static double seconds_since(uint64_t then_ns)
{
    return (double)(ps_now_ns() - then_ns) / 1e9;
}

/* Notes why the run failed, once, and passes the status on. */
static ps_status failed(struct run *r, ps_status st)
{
    if (st && !r->failure[0])
        snprintf(r->failure, sizeof(r->failure), "%s", ps_log_last_error());
    return st;
}

static ps_status check_interrupted(void)
{
    if (interrupted)
        return ps_fail(PS_ERR_ABORTED, "interrupted by %s",
                       interrupted == SIGINT    ? "SIGINT"
                       : interrupted == SIGTERM ? "SIGTERM"
                                                : "SIGHUP");
    return PS_OK;
}

static struct process *servers(struct run *r)
{
    return r->processes;
}

static struct process *workers(struct run *r)
{
    return r->processes + r->n_servers;
}

static struct process *tester(struct run *r)
{
    return r->processes + r->n_servers + r->n_workers;
}

/* ---- the programs -------------------------------------------------------------- */

/* The command's words, and --key value for each entry of `model`. */
static ps_status find_worker(struct run *r)
{
    const struct ps_experiment *e = r->experiment;
    char                      **grown;
    char                       *program = NULL;
    ps_status                   st = process_split(e->command, &r->words, &r->n_words);

    if (!st)
        st = find_program(r->words[0], &program);
    if (st)
        return st;
    free(r->words[0]);
    r->words[0] = program;
    grown = realloc(r->words, (r->n_words + 2 * e->n_model + 1) * sizeof(*grown));
    if (!grown)
        return ps_fail(PS_ERR_NO_MEMORY, "no memory");
    r->words = grown;
    for (size_t i = 0; i < e->n_model; i++) {
        if (asprintf(&grown[r->n_words], "--%s", e->model[i].key) < 0)
            return ps_fail(PS_ERR_NO_MEMORY, "no memory");
        r->n_words++;
        if (!(grown[r->n_words] = strdup(e->model[i].value)))
            return ps_fail(PS_ERR_NO_MEMORY, "no memory");
        r->n_words++;
    }
    grown[r->n_words] = NULL;
    return PS_OK;
}

/* What can be wrong with an experiment before anything is made or started. */
static ps_status find_programs(struct run *r)
{
    const struct ps_experiment *e = r->experiment;
    ps_status                   st;

    if (e->server_shards < e->server_processes)
        return ps_fail(
            PS_ERR_CONFIG,
            "servers: %u shards for %u processes, expected one each at least",
            e->server_shards, e->server_processes);
    if (!e->command)
        return ps_fail(PS_ERR_CONFIG, "workers.command is missing: the program to run");
    st = find_program("psd", &r->psd);
    return st ? st : find_worker(r);
}

/* ---- the folder ---------------------------------------------------------------- */

static ps_status write_settings(struct run *r)
{
    char     *path = folder_path(r->folder, "run.yaml");
    FILE     *f = path ? fopen(path, "we") : NULL;
    ps_status st;

    if (!f) {
        st = ps_fail(PS_ERR_SYSTEM, "cannot write %s: %m", path ? path : "run.yaml");
        free(path);
        return st;
    }
    st = ps_experiment_print(r->experiment, f);
    if (fclose(f) != 0 && !st)
        st = ps_fail(PS_ERR_SYSTEM, "cannot write %s: %m", path);
    free(path);
    return st;
}

static ps_status prepare_folder(struct run *r)
{
    ps_status st = folder_make(&r->folder, r->options->out, r->experiment->name);

    return st ? st : write_settings(r);
}

static ps_status prepare_processes(struct run *r)
{
    const struct ps_experiment *e = r->experiment;
    size_t                      testers = e->test_every > 0;
    size_t                      n = e->server_processes + e->workers + testers;

    r->processes = calloc(n, sizeof(*r->processes));
    if (!r->processes)
        return ps_fail(PS_ERR_NO_MEMORY, "no memory");
    r->n_servers = e->server_processes;
    r->n_workers = e->workers;
    r->n_testers = testers;
    for (size_t i = 0; i < n; i++) {
        bool        server = i < r->n_servers;
        bool        tests = i >= r->n_servers + r->n_workers;
        unsigned    number = (unsigned)(server ? i : tests ? 0 : i - r->n_servers);
        const char *what = server ? "psd" : tests ? "tester" : "worker";

        snprintf(r->processes[i].name, sizeof(r->processes[i].name), "%s %u", what,
                 number);
        r->processes[i].log = folder_numbered(r->folder, what, number, "log");
        if (!r->processes[i].log)
            return ps_fail(PS_ERR_NO_MEMORY, "no memory");
    }
    return faults_prepare(&r->faults, e, servers(r), workers(r));
}

/* ---- psd ----------------------------------------------------------------------- */

static ps_status make_token(struct run *r)
{
    uint8_t secret[16];

    if (ps_random_secret(secret, sizeof(secret)) != 0)
        return ps_fail(PS_ERR_SYSTEM, "no random bytes: %m");
    for (size_t i = 0; i < sizeof(secret); i++)
        snprintf(r->token + 2 * i, 3, "%02x", secret[i]);
    return PS_OK;
}

/* A psd that will be killed has to be found again where it was, though nobody holds its
 * port meanwhile. */
static ps_status choose_port(struct run *r)
{
    for (size_t i = 0; i < r->faults.n; i++)
        if (r->faults.list[i].asked->kill == PS_VICTIM_PSD &&
            r->faults.list[i].number == 0)
            return port_choose(&r->port);
    return PS_OK;
}

/* In YAML's double quotes. */
static bool put_quoted(const char *text, FILE *f)
{
    bool bad = putc('"', f) == EOF;

    for (; *text; text++) {
        if (*text == '"' || *text == '\\')
            bad |= putc('\\', f) == EOF;
        bad |= putc(*text, f) == EOF;
    }
    return bad || putc('"', f) == EOF;
}

/* Its share of the shards, and the first psd's address for the others. */
static ps_status write_server_config(struct run *r, unsigned number, const char *path)
{
    const struct ps_experiment *e = r->experiment;
    unsigned                    shards = e->server_shards / e->server_processes +
                      (number < e->server_shards % e->server_processes);
    FILE *f = fopen(path, "we");
    bool  bad;

    if (!f)
        return ps_fail(PS_ERR_SYSTEM, "cannot write %s: %m", path);
    bad = fchmod(fileno(f), 0600) != 0; /* it holds the token */
    bad |= fprintf(f, "shards: %u\ntoken: \"%s\"\n", shards, r->token) < 0;
    bad |= fprintf(f, "worker_silence: %.17g\nshard_timeout: %.17g\n",
                   e->worker_silence, e->shard_timeout) < 0;
    if (ps_job_is_saved(&e->job)) {
        char *state = folder_numbered(r->folder, "psd", number, "state");

        bad |= !state || fputs("state: ", f) < 0 || put_quoted(state, f) ||
               putc('\n', f) == EOF;
        free(state);
    }
    if (number == 0)
        bad |= fprintf(f, "listen: tcp://127.0.0.1:%u\n", r->port) < 0;
    else
        bad |= fprintf(f, "coordinator: %s\nshard_listen: tcp://127.0.0.1:0\n",
                       r->coordinator) < 0;
    bad |= fclose(f) != 0;
    return bad ? ps_fail(PS_ERR_SYSTEM, "cannot write %s: %m", path) : PS_OK;
}

static ps_status start_server(struct run *r, unsigned number)
{
    char *config = folder_numbered(r->folder, "psd", number, "yaml");
    char *announce = folder_numbered(r->folder, "psd", number, "endpoint");
    char *argv[] = { r->psd, (char *)"--config", config, (char *)"--announce", announce,
                     NULL };
    char *environment[] = { NULL };
    ps_status st;

    if (!config || !announce)
        st = ps_fail(PS_ERR_NO_MEMORY, "no memory");
    else
        st = write_server_config(r, number, config);
    if (!st && servers(r)[number].ended && unlink(announce) != 0 && errno != ENOENT)
        st = ps_fail(PS_ERR_SYSTEM, "cannot remove %s: %m", announce); /* it is old */
    if (!st)
        st = process_start(&servers(r)[number], argv, environment);
    free(config);
    free(announce);
    return st;
}

static ps_status sleep_ms(unsigned ms)
{
    struct timespec t = { .tv_sec = ms / 1000, .tv_nsec = (long)(ms % 1000) * 1000000 };

    nanosleep(&t, NULL); /* a signal may cut it short */
    return check_interrupted();
}

static bool read_endpoint(const char *path, char *endpoint)
{
    FILE *f = fopen(path, "re");
    bool  ok = f && fgets(endpoint, PS_ENDPOINT_BYTES, f);

    if (f)
        fclose(f);
    if (ok)
        endpoint[strcspn(endpoint, "\n")] = '\0';
    return ok;
}

/* A psd or worker that ended when it should not have. */
static ps_status ended_early(const struct process *p)
{
    char text[900];

    process_describe_end(p, text, sizeof(text));
    return ps_fail(PS_ERR_UNAVAILABLE, "%s", text);
}

static ps_status await_server(struct run *r, unsigned number)
{
    char     *announce = folder_numbered(r->folder, "psd", number, "endpoint");
    uint64_t  start = ps_now_ns();
    char      endpoint[PS_ENDPOINT_BYTES];
    ps_status st = announce ? PS_OK : ps_fail(PS_ERR_NO_MEMORY, "no memory");

    while (!st && !read_endpoint(announce, endpoint)) {
        if (process_ended(&servers(r)[number]))
            st = ended_early(&servers(r)[number]);
        else if (seconds_since(start) > START_SECONDS)
            st = ps_fail(PS_ERR_UNAVAILABLE, "psd %u is not ready after %d s; see %s",
                         number, START_SECONDS, servers(r)[number].log);
        else
            st = sleep_ms(10);
    }
    if (!st && number == 0)
        snprintf(r->coordinator, sizeof(r->coordinator), "%s", endpoint);
    free(announce);
    return st;
}

static ps_status start_servers(struct run *r)
{
    ps_status st = make_token(r);

    if (!st)
        st = choose_port(r);
    for (unsigned i = 0; !st && i < r->n_servers; i++) {
        st = start_server(r, i);
        if (!st)
            st = await_server(r, i);
    }
    return st ? st : asker_open(&r->asker, r->coordinator, r->token);
}

/* ---- workers ------------------------------------------------------------------- */

/* Who is to be slow.  Set to nothing where nobody is: a run is what its run.yaml says,
 * whatever psexp was started with. */
static bool say_delays(const struct ps_experiment *x, unsigned rank, char **slow,
                       char **hiccups, char **pace)
{
    bool is_slow = rank == x->slow_rank && x->slow_factor > 1;
    bool hiccup = x->hiccup_rate > 0 && x->hiccup_factor > 1;

    if (asprintf(pace, x->pace > 0 ? "PSW_PACE=%.17g" : "PSW_PACE=", x->pace) < 0)
        return false;
    if (asprintf(slow, is_slow ? "PSW_SLOW=%.17g" : "PSW_SLOW=", x->slow_factor) < 0)
        return false;
    return asprintf(hiccups,
                    hiccup ? "PSW_HICCUPS=%.17g:%.17g" : "PSW_HICCUPS=", x->hiccup_rate,
                    x->hiccup_factor) >= 0;
}

/* Rank n_workers is the tester. */
static ps_status start_worker(struct run *r, unsigned rank)
{
    char *e[14] = { NULL };
    bool  tests = rank == r->n_workers;
    bool  ok =
        asprintf(&e[0], "PSW_COORDINATOR=%s", r->coordinator) >= 0 &&
        asprintf(&e[1], "PSW_JOB=%s", r->experiment->name) >= 0 &&
        asprintf(&e[2], "PSW_TOKEN=%s", r->token) >= 0 &&
        asprintf(&e[3], "PSW_RANK=%u", tests ? 0 : rank) >= 0 &&
        asprintf(&e[4], "PSW_WORLD_SIZE=%zu", r->n_workers) >= 0 &&
        asprintf(&e[5], "PSW_TIMEOUT_MS=%.0f", r->experiment->timeout * 1e3) >= 0 &&
        asprintf(&e[6], "PSW_CONFIG=%s/run.yaml", r->folder) >= 0;
    const char *core = blas_core_type();
    ps_status   st;

    if (ok)
        ok = say_delays(r->experiment, rank, &e[7], &e[8], &e[9]) &&
             asprintf(&e[10], "OPENBLAS_NUM_THREADS=1") >= 0 &&
             asprintf(&e[11], "PSW_OBSERVER=%d", tests) >= 0 &&
             (!core || asprintf(&e[12], "OPENBLAS_CORETYPE=%s", core) >= 0);
    st = ok ? process_start(&workers(r)[rank], r->words, e)
            : ps_fail(PS_ERR_NO_MEMORY, "no memory");
    for (size_t i = 0; i < sizeof(e) / sizeof(e[0]); i++)
        free(e[i]);
    return st;
}

static ps_status start_workers(struct run *r)
{
    ps_status st = PS_OK;

    r->workers_ns = r->answered_ns = ps_now_ns();
    for (unsigned rank = 0; !st && rank < r->n_workers; rank++)
        st = start_worker(r, rank);
    return st;
}

/* ---- watching ------------------------------------------------------------------ */

static ps_status check_processes(struct run *r, bool *all_done)
{
    *all_done = !faults_open(&r->faults);
    for (size_t i = 0; i < r->n_servers; i++)
        if (process_ended(&servers(r)[i]) && !faults_killed(&r->faults, &servers(r)[i]))
            return ended_early(&servers(r)[i]);
    if (r->testing && process_ended(tester(r)))
        return ended_early(tester(r));
    for (size_t i = 0; i < r->n_workers; i++) {
        if (!process_ended(&workers(r)[i]))
            *all_done = false;
        else if (!process_succeeded(&workers(r)[i]) &&
                 !faults_killed(&r->faults, &workers(r)[i]))
            return ended_early(&workers(r)[i]);
    }
    return PS_OK;
}

/* Reads new reports until there are none left. */
static ps_status watch(struct run *r)
{
    struct ps_header h;
    ps_status        st;

    do {
        st =
            asker_watch(r->asker, r->experiment->name, r->record.last_report, 2000, &h);
        if (st == PS_ERR_UNKNOWN) { /* the first worker has not come yet */
            r->answered_ns = ps_now_ns();
            return PS_OK;
        }
        if (st == PS_ERR_UNAVAILABLE && seconds_since(r->answered_ns) < SILENCE_SECONDS)
            return PS_OK;
        if (st)
            return st;
        r->answered_ns = ps_now_ns();
        if (h.job_spec)
            r->total_clocks = h.job_spec->clocks_per_epoch * r->experiment->epochs;
        for (uint32_t i = 0; i < h.n_members; i++)
            faults_rank_taken(&r->faults, h.members[i].rank,
                              h.members[i].state == PS_MEMBER_ACTIVE);
        st = record_take(&r->record, &h);
    } while (!st && h.n_reports > 0);
    return st;
}

static bool accurate_enough(struct run *r)
{
    double wanted = r->experiment->stop_accuracy;

    if (wanted > 0)
        r->seconds_to_accuracy = record_reached(&r->record, wanted);
    return wanted > 0 && !isnan(r->seconds_to_accuracy);
}

/* As soon as there is something to test. */
static ps_status start_tester(struct run *r)
{
    if (r->n_testers == 0 || r->testing || r->record.clock == 0)
        return PS_OK;
    r->testing = true;
    return start_worker(r, (unsigned)r->n_workers);
}

static ps_status start_again(struct run *r)
{
    struct fault *fault;
    ps_status     st = PS_OK;

    while (!st && (fault = faults_start(&r->faults, seconds_since(r->workers_ns)))) {
        if (fault->is_server)
            st = start_server(r, fault->number);
        else
            st = start_worker(r, fault->number);
        if (!st)
            faults_started(&r->faults, fault, seconds_since(r->workers_ns),
                           &r->progress);
    }
    return st;
}

/* Faults that are due, and those that end.  While the coordinator is away or stopped
 * nobody is asked, so that it comes back in time. */
static ps_status watch_with_faults(struct run *r)
{
    ps_status st = PS_OK;

    if (faults_silent(&r->faults, &servers(r)[0]))
        r->answered_ns = ps_now_ns();
    else
        st = watch(r);
    faults_act(&r->faults, r->record.clock, seconds_since(r->workers_ns), &r->progress);
    return st ? st : start_again(r);
}

static ps_status watch_until_done(struct run *r)
{
    bool      all_done = false;
    ps_status st = PS_OK;

    while (!st && !all_done) {
        st = check_processes(r, &all_done);
        if (!st)
            st = watch_with_faults(r);
        if (!st)
            st = start_tester(r);
        if (st)
            break;
        progress_show(&r->progress, &r->record, r->experiment->epochs, r->total_clocks,
                      seconds_since(r->workers_ns));
        if (accurate_enough(r) && !all_done) {
            r->stopped = true;
            break;
        }
        if (!all_done)
            st = sleep_ms(faults_ahead(&r->faults) || faults_open(&r->faults)
                              ? WATCH_FAULTS_MS
                              : WATCH_MS);
    }
    r->end_ns = ps_now_ns();
    progress_end(&r->progress);
    return st;
}

/* ---- the end ------------------------------------------------------------------- */

static ps_status hash_model(struct run *r)
{
    ps_worker_options o = PS_WORKER_OPTIONS;
    ps_worker        *w = NULL;
    ps_status         st;

    o.coordinator = r->coordinator;
    o.job = r->experiment->name;
    o.token = r->token;
    o.observer = 1;
    st = ps_worker_open(&w, &o);
    if (!st)
        do
            st = ps_model_hash(w, r->model_hash);
        while (st == PS_ERR_ROLLBACK);
    if (st)
        ps_log(PS_LOG_ERR, "%s", ps_why()); /* the library keeps sentences of its own */
    if (ps_worker_close(&w) && !st)
        ps_log(PS_LOG_WARN, "%s", ps_why());
    ps_worker_abandon(&w, "");
    return st;
}

static ps_status read_job(struct run *r)
{
    json_t   *status = NULL, *job;
    size_t    i;
    ps_status st = asker_status(r->asker, 5000, &status);

    if (st)
        return st;
    json_array_foreach(json_object_get(status, "jobs"), i, job)
    {
        const char *name = json_string_value(json_object_get(job, "job"));

        if (name && strcmp(name, r->experiment->name) == 0) {
            json_decref(r->job);
            r->job = json_incref(job);
        }
    }
    json_decref(status);
    if (!r->job)
        return ps_fail(PS_ERR_UNKNOWN,
                       "the workers ended well, but none of them joined the job %s",
                       r->experiment->name);
    return PS_OK;
}

/* It ends after a last test. */
static ps_status end_testing(struct run *r)
{
    if (!r->testing)
        return PS_OK;
    process_stop_all(tester(r), 1, GRACE_MS);
    return process_succeeded(tester(r)) ? PS_OK : ended_early(tester(r));
}

static ps_status collect(struct run *r)
{
    ps_status st;

    if (r->stopped)
        process_stop_all(workers(r), r->n_workers, GRACE_MS);
    st = end_testing(r);
    if (!st)
        st = watch(r); /* what was reported last */
    if (!st)
        st = read_job(r);
    if (!st)
        st = results_read(&r->results, workers(r)[0].log);
    if (!st)
        st = hash_model(r);
    return st;
}

static void stop(struct run *r)
{
    if (!r->processes)
        return;
    process_stop_all(workers(r), r->n_workers + r->n_testers, GRACE_MS);
    process_stop_all(servers(r), r->n_servers, GRACE_MS);
}

static void tell_bytes(const char *what, uint64_t bytes)
{
    printf("%s  %.1f MB\n", what, (double)bytes / 1e6);
}

static void tell_lines(const json_t *lines)
{
    const json_t *line;
    size_t        i;

    json_array_foreach(lines, i, line) puts(json_string_value(line));
}

static void tell_result(const struct run *r, const json_t *summary)
{
    const json_t *accuracy = json_object_get(summary, "test_accuracy");

    if (r->options->json) {
        json_dumpf(summary, stdout, JSON_INDENT(2) | JSON_REAL_PRECISION(15));
        putchar('\n');
        return;
    }
    tell_lines(r->results);
    if (json_is_number(accuracy))
        printf("test accuracy  %.4f\n", json_number_value(accuracy));
    if (r->record.traffic.samples > 0)
        printf("samples/s      %.0f\n",
               json_number_value(json_object_get(summary, "samples_per_second")));
    for (size_t i = 0; i < r->record.n_others; i++)
        printf("%-13s  %.6g\n", r->record.others[i].name, record_mean(&r->record, i));
    tell_bytes("pushed       ", r->record.traffic.bytes_pushed);
    tell_bytes("pulled       ", r->record.traffic.bytes_pulled);
    if (isfinite(r->seconds_to_accuracy))
        printf("reached %-4g   after %.1f s\n", r->experiment->stop_accuracy,
               r->seconds_to_accuracy);
    printf("time           %.1f s\n",
           json_number_value(json_object_get(summary, "wall_seconds")));
    if (r->model_hash[0])
        printf("model hash     %s\n", r->model_hash);
    printf("results        %s\n", r->folder);
}

static ps_status summarise(struct run *r)
{
    uint64_t       end = r->end_ns ? r->end_ns : ps_now_ns();
    json_t        *json = NULL, *faults = faults_json(&r->faults);
    struct summary s = {
        .experiment = r->experiment,
        .record = &r->record,
        .job = r->job,
        .wall_seconds = r->workers_ns ? (double)(end - r->workers_ns) / 1e9 : 0,
        .stopped = r->stopped,
        .seconds_to_accuracy = r->seconds_to_accuracy,
        .model_hash = r->model_hash,
        .results = r->results,
        .failure = r->failure,
        .server_starts = r->faults.server_starts,
        .worker_starts = r->faults.worker_starts,
        .faults = faults,
    };
    ps_status st = faults ? record_summary(&s, r->folder, &json)
                          : ps_fail(PS_ERR_NO_MEMORY, "no memory for a summary");

    if (!st && !r->failure[0])
        tell_result(r, json);
    json_decref(json);
    json_decref(faults);
    return st;
}

static void free_run(struct run *r)
{
    for (size_t i = 0; r->processes && i < r->n_servers + r->n_workers + r->n_testers;
         i++)
        process_free(&r->processes[i]);
    free(r->processes);
    faults_free(&r->faults);
    for (size_t i = 0; i < r->n_words; i++)
        free(r->words[i]);
    free(r->words);
    free(r->psd);
    asker_close(&r->asker);
    json_decref(r->job);
    json_decref(r->results);
    ps_experiment_free(&r->experiment);
    free(r->folder);
}

static ps_status load(struct run *r)
{
    char     *file = NULL;
    ps_status st = find_experiment(r->options->experiment, &file);

    if (!st)
        st = ps_experiment_load(&r->experiment, file, r->options->sets,
                                r->options->n_sets);
    free(file);
    return st;
}

static ps_status carry_out(struct run *r)
{
    ps_status st = prepare_processes(r);

    if (!st)
        st = start_servers(r);
    if (!st && !r->options->quiet)
        fprintf(stderr,
                "%s: %zu psd with %u shards at %s, %zu workers, results in %s\n",
                r->experiment->name, r->n_servers, r->experiment->server_shards,
                r->coordinator, r->n_workers, r->folder);
    if (!st)
        st = start_workers(r);
    if (!st)
        st = watch_until_done(r);
    if (!st)
        st = collect(r);
    if (!st)
        progress_finish(&r->progress, &r->record);
    if (!st)
        faults_tell_missed(&r->faults);
    return st;
}

static void catch_signals(void)
{
    struct sigaction catch = { .sa_handler = on_signal };

    sigaction(SIGINT, &catch, NULL);
    sigaction(SIGTERM, &catch, NULL);
    sigaction(SIGHUP, &catch, NULL);
    signal(SIGPIPE, SIG_IGN);
}

int run_experiment(const struct run_options *options)
{
    struct run r = { .options = options, .seconds_to_accuracy = NAN };
    ps_status  st = failed(&r, load(&r));
    ps_status  written = PS_OK;

    catch_signals();
    progress_start(&r.progress, options->quiet);
    if (!st)
        st = failed(&r, find_programs(&r));
    if (!st)
        st = failed(&r, prepare_folder(&r));
    if (!st) {
        st = failed(&r, record_open(&r.record, r.folder, r.experiment->workers));
        if (!st)
            st = failed(&r, carry_out(&r));
        stop(&r);
        progress_end(&r.progress);
        written = failed(&r, summarise(&r));
        if (!written)
            written = failed(&r, record_close(&r.record));
    }
    if (st || written) {
        fprintf(stderr, "psexp: %s\n", r.failure);
        if (r.folder)
            fprintf(stderr, "psexp: what was written until then is in %s\n", r.folder);
    }
    free_run(&r);
    if (interrupted)
        return EXIT_INTERRUPTED;
    return ps_status_exit_code(st ? st : written);
}
