/*
 * run_start.c - the programs of a run, the folder for what it leaves, and the start of
 * its processes; see run_private.h.
 */
#include "tools/run_private.h"

#include "common/base/random.h"
#include "tools/blas.h"
#include "tools/find.h"
#include "tools/folder.h"
#include "tools/port.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#define START_SECONDS 30 /* for a psd to be ready */

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
ps_status run_find_programs(struct run *r)
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

ps_status run_prepare_folder(struct run *r)
{
    ps_status st = folder_make(&r->folder, r->options->out, r->experiment->name);

    return st ? st : write_settings(r);
}

ps_status run_prepare_processes(struct run *r)
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
    return faults_prepare(&r->faults, e, run_servers(r), run_workers(r));
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

ps_status run_start_server(struct run *r, unsigned number)
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
    if (!st && run_servers(r)[number].ended && unlink(announce) != 0 && errno != ENOENT)
        st = ps_fail(PS_ERR_SYSTEM, "cannot remove %s: %m", announce); /* it is old */
    if (!st)
        st = process_start(&run_servers(r)[number], argv, environment);
    free(config);
    free(announce);
    return st;
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

static ps_status await_server(struct run *r, unsigned number)
{
    char     *announce = folder_numbered(r->folder, "psd", number, "endpoint");
    uint64_t  start = ps_now_ns();
    char      endpoint[PS_ENDPOINT_BYTES];
    ps_status st = announce ? PS_OK : ps_fail(PS_ERR_NO_MEMORY, "no memory");

    while (!st && !read_endpoint(announce, endpoint)) {
        if (process_ended(&run_servers(r)[number]))
            st = run_ended_early(&run_servers(r)[number]);
        else if (run_seconds_since(start) > START_SECONDS)
            st = ps_fail(PS_ERR_UNAVAILABLE, "psd %u is not ready after %d s; see %s",
                         number, START_SECONDS, run_servers(r)[number].log);
        else
            st = run_sleep_ms(10);
    }
    if (!st && number == 0)
        snprintf(r->coordinator, sizeof(r->coordinator), "%s", endpoint);
    free(announce);
    return st;
}

ps_status run_start_servers(struct run *r)
{
    ps_status st = make_token(r);

    if (!st)
        st = choose_port(r);
    for (unsigned i = 0; !st && i < r->n_servers; i++) {
        st = run_start_server(r, i);
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
ps_status run_start_worker(struct run *r, unsigned rank)
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
    st = ok ? process_start(&run_workers(r)[rank], r->words, e)
            : ps_fail(PS_ERR_NO_MEMORY, "no memory");
    for (size_t i = 0; i < sizeof(e) / sizeof(e[0]); i++)
        free(e[i]);
    return st;
}

ps_status run_start_workers(struct run *r)
{
    ps_status st = PS_OK;

    r->workers_ns = r->answered_ns = ps_now_ns();
    for (unsigned rank = 0; !st && rank < r->n_workers; rank++)
        st = run_start_worker(r, rank);
    return st;
}
