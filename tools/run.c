/*
 * run.c - see run.h.
 *
 *     load -> folder -> psd processes -> workers -> watch -> hash -> summary
 *
 * Whatever happens on the way, what was started is stopped and a summary is written
 * that names the reason.
 */
#include "tools/run_private.h"

#include "tools/find.h"
#include "tools/results.h"

#include <ps/worker.h>

#include <math.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#define SILENCE_SECONDS 60 /* without an answer from a coordinator that runs */
#define WATCH_MS 200
#define WATCH_FAULTS_MS 20 /* while there is something to be done to somebody */
#define GRACE_MS 5000      /* between SIGTERM and SIGKILL */
#define EXIT_INTERRUPTED 130

static volatile sig_atomic_t interrupted;

static void on_signal(int number)
{
    interrupted = number;
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

ps_status run_sleep_ms(unsigned ms)
{
    struct timespec t = { .tv_sec = ms / 1000, .tv_nsec = (long)(ms % 1000) * 1000000 };

    nanosleep(&t, NULL); /* a signal may cut it short */
    return check_interrupted();
}

ps_status run_ended_early(const struct process *p)
{
    char text[900];

    process_describe_end(p, text, sizeof(text));
    return ps_fail(PS_ERR_UNAVAILABLE, "%s", text);
}

/* ---- watching ------------------------------------------------------------------ */

static ps_status check_processes(struct run *r, bool *all_done)
{
    *all_done = !faults_open(&r->faults);
    for (size_t i = 0; i < r->n_servers; i++)
        if (process_ended(&run_servers(r)[i]) &&
            !faults_killed(&r->faults, &run_servers(r)[i]))
            return run_ended_early(&run_servers(r)[i]);
    if (r->testing && process_ended(run_tester(r)))
        return run_ended_early(run_tester(r));
    for (size_t i = 0; i < r->n_workers; i++) {
        if (!process_ended(&run_workers(r)[i]))
            *all_done = false;
        else if (!process_succeeded(&run_workers(r)[i]) &&
                 !faults_killed(&r->faults, &run_workers(r)[i]))
            return run_ended_early(&run_workers(r)[i]);
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
        if (st == PS_ERR_UNAVAILABLE &&
            run_seconds_since(r->answered_ns) < SILENCE_SECONDS)
            return PS_OK;
        if (st)
            return st;
        r->answered_ns = ps_now_ns();
        if (h.job_spec)
            r->total_clocks = h.job_spec->clocks_per_epoch * r->experiment->epochs;
        r->finished = strcmp(h.text, "finished") == 0;
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
    return run_start_worker(r, (unsigned)r->n_workers);
}

static ps_status start_again(struct run *r)
{
    struct fault *fault;
    ps_status     st = PS_OK;

    while (!st &&
           (fault = faults_start(&r->faults, run_seconds_since(r->workers_ns)))) {
        if (fault->is_server)
            st = run_start_server(r, fault->number);
        else
            st = run_start_worker(r, fault->number);
        if (!st)
            faults_started(&r->faults, fault, run_seconds_since(r->workers_ns),
                           &r->progress);
    }
    return st;
}

/* Faults that are due, and those that end.  While the coordinator is away or stopped
 * nobody is asked, so that it comes back in time.  A job that is finished is left
 * alone. */
static ps_status watch_with_faults(struct run *r)
{
    ps_status st = PS_OK;

    if (faults_silent(&r->faults, &run_servers(r)[0]))
        r->answered_ns = ps_now_ns();
    else
        st = watch(r);
    faults_act(&r->faults, r->finished ? 0 : r->record.clock,
               run_seconds_since(r->workers_ns), &r->progress);
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
                      run_seconds_since(r->workers_ns));
        if (accurate_enough(r) && !all_done && !faults_open(&r->faults)) {
            r->stopped = true;
            break;
        }
        if (!all_done)
            st = run_sleep_ms(faults_ahead(&r->faults) || faults_open(&r->faults)
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
    process_stop_all(run_tester(r), 1, GRACE_MS);
    return process_succeeded(run_tester(r)) ? PS_OK : run_ended_early(run_tester(r));
}

static ps_status collect(struct run *r)
{
    ps_status st;

    if (r->stopped)
        process_stop_all(run_workers(r), r->n_workers, GRACE_MS);
    st = end_testing(r);
    if (!st)
        st = watch(r); /* what was reported last */
    if (!st)
        st = read_job(r);
    if (!st)
        st = results_read(&r->results, run_workers(r)[0].log);
    if (!st)
        st = hash_model(r);
    return st;
}

static void stop(struct run *r)
{
    if (!r->processes)
        return;
    process_stop_all(run_workers(r), r->n_workers + r->n_testers, GRACE_MS);
    process_stop_all(run_servers(r), r->n_servers, GRACE_MS);
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
    ps_status st = run_prepare_processes(r);

    if (!st)
        st = run_start_servers(r);
    if (!st && !r->options->quiet)
        fprintf(stderr,
                "%s: %zu psd with %u shards at %s, %zu workers, results in %s\n",
                r->experiment->name, r->n_servers, r->experiment->server_shards,
                r->coordinator, r->n_workers, r->folder);
    if (!st)
        st = run_start_workers(r);
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
        st = failed(&r, run_find_programs(&r));
    if (!st)
        st = failed(&r, run_prepare_folder(&r));
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
