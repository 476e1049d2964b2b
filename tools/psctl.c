/*
 * psctl.c - what is a running psd doing?  See psctl(1).
 *
 * Every command reads the same status from the coordinator and shows one part of it,
 * as a table for people or as JSON for programs.
 */
#include "tools/ask.h"
#include "tools/checkpoint.h"
#include "tools/table.h"
#include "tools/top.h"

#include <getopt.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sysexits.h>

struct options {
    const char *coordinator;
    const char *token;
    int         timeout_ms;
    bool        json;
    int         interval_ms; /* top: 0 until given */
    uint32_t    count;       /* top: 0 until given */

    struct checkpoint_options checkpoint; /* and whether one of them was given */
    bool                      has_checkpoint;
};

/* ---- commands ------------------------------------------------------------------ */

static const struct column job_columns[] = {
    { "JOB", "job", 's' },
    { "STATE", "state", 's' },
    { "STRATEGY", "strategy", 's' },
    { "WORKERS", "workers", 'n' },
    { "ACTIVE", "active", 'n' },
    { "CLOCK", "clock", 'n' },
    { "SAVED", "snapshot.clock", 'n' },
    { "PARAMETERS", "elements", 'n' },
    { "ROWS", "rows", 'n' },
    { "MEMORY", "allocated_bytes", 'b' },
    { "SAMPLES", "samples", 'n' },
    { "PUSHED", "bytes_pushed", 'b' },
    { "PULLED", "bytes_pulled", 'b' },
    { "AGE", "age_seconds", 't' },
};

static const struct column worker_columns[] = {
    { "JOB", "job", 's' },
    { "RANK", "rank", 'n' },
    { "STATE", "state", 's' },
    { "HOST", "host", 's' },
    { "PID", "pid", 'n' },
    { "CLOCK", "clock", 'n' },
    { "SILENT", "silent_seconds", 't' },
    { "SAMPLES", "samples", 'n' },
    { "PUSHED", "bytes_pushed", 'b' },
    { "PULLED", "bytes_pulled", 'b' },
    { "RETRIES", "retries", 'n' },
};

static const struct column matrix_columns[] = {
    { "JOB", "job", 's' },
    { "MATRIX", "matrix", 's' },
    { "KIND", "kind", 's' },
    { "TYPE", "dtype", 's' },
    { "ROWS", "rows", 'n' },
    { "COLS", "cols", 'n' },
    { "PARAMETERS", "parameter_bytes", 'b' },
    { "STATE BYTES", "state_bytes", 'b' },
};

static const struct column shard_columns[] = {
    { "SHARD", "shard", 'n' },
    { "STATE", "state", 's' },
    { "JOBS", "jobs", 'n' },
    { "PARAMETERS", "parameter_bytes", 'b' },
    { "STATE BYTES", "state_bytes", 'b' },
    { "MEMORY", "allocated_bytes", 'b' },
    { "ROWS", "rows", 'n' },
    { "EVICTED", "evicted", 'n' },
    { "PUSHES", "pushes", 'n' },
    { "PULLS", "pulls", 'n' },
    { "WAITING", "waiting", 'n' },
    { "REFUSED", "refused", 'n' },
    { "BAD", "bad_messages", 'n' },
    { "ENDPOINT", "endpoint", 's' },
};

/* What is below `key` in all jobs in one array, each with its job's name. */
static json_t *of_all_jobs(const json_t *status, const char *key)
{
    json_t       *list = json_array();
    size_t        i, k;
    const json_t *job;
    json_t       *one;

    json_array_foreach(json_object_get(status, "jobs"), i, job)
    {
        json_array_foreach(json_object_get(job, key), k, one)
        {
            json_t *copy = json_copy(one);

            json_object_set(copy, "job", json_object_get(job, "job"));
            json_array_append_new(list, copy);
        }
    }
    return list;
}

static void print_count(const json_t *list, const char *one, const char *many,
                        const char *end)
{
    size_t n = json_array_size(list);

    printf(" %zu %s%s", n, n == 1 ? one : many, end);
}

static void show_status(const json_t *status)
{
    printf(
        "psd at %s, up %.0f s:", json_string_value(json_object_get(status, "endpoint")),
        json_number_value(json_object_get(status, "uptime_seconds")));
    print_count(json_object_get(status, "servers"), "process", "processes", ",");
    print_count(json_object_get(status, "shards"), "shard", "shards", ",");
    print_count(json_object_get(status, "jobs"), "job", "jobs", "\n");
    if (json_array_size(json_object_get(status, "jobs")) > 0) {
        putchar('\n');
        TABLE(json_object_get(status, "jobs"), job_columns);
    }
}

static void show_jobs(const json_t *status)
{
    TABLE(json_object_get(status, "jobs"), job_columns);
}

static void show_workers(const json_t *status)
{
    json_t *workers = of_all_jobs(status, "members");

    TABLE(workers, worker_columns);
    json_decref(workers);
}

static void show_matrices(const json_t *status)
{
    json_t *matrices = of_all_jobs(status, "matrix_accounts");

    TABLE(matrices, matrix_columns);
    json_decref(matrices);
}

static void show_shards(const json_t *status)
{
    TABLE(json_object_get(status, "shards"), shard_columns);
}

/* The part of the status that a command shows, as JSON; the caller decrefs. */
static json_t *part_status(const json_t *status)
{
    return json_deep_copy(status);
}

static json_t *wrap(const char *key, json_t *list)
{
    return json_pack("{s:i, s:o}", "schema_version", 1, key, list);
}

static json_t *part_jobs(const json_t *status)
{
    return wrap("jobs", json_deep_copy(json_object_get(status, "jobs")));
}

static json_t *part_workers(const json_t *status)
{
    return wrap("workers", of_all_jobs(status, "members"));
}

static json_t *part_matrices(const json_t *status)
{
    return wrap("matrices", of_all_jobs(status, "matrix_accounts"));
}

static json_t *part_shards(const json_t *status)
{
    return wrap("shards", json_deep_copy(json_object_get(status, "shards")));
}

static const struct command {
    const char *name;
    void (*show)(const json_t *status);
    json_t *(*part)(const json_t *status);
} commands[] = {
    { "top", NULL, NULL }, /* the status again and again */
    { "status", show_status, part_status },
    { "jobs", show_jobs, part_jobs },
    { "workers", show_workers, part_workers },
    { "matrices", show_matrices, part_matrices },
    { "shards", show_shards, part_shards },
};

static const struct command *find_command(const char *name)
{
    for (size_t i = 0; i < sizeof(commands) / sizeof(commands[0]); i++)
        if (strcmp(commands[i].name, name) == 0)
            return &commands[i];
    return NULL;
}

/* ---- main ---------------------------------------------------------------------- */

static void usage(FILE *to)
{
    fputs("usage: psctl [OPTION]... COMMAND\n"
          "\n"
          "  status    the cluster in a few lines\n"
          "  jobs      its jobs\n"
          "  workers   the workers of all jobs\n"
          "  matrices  the matrices of all jobs, and the memory they take\n"
          "  shards    its shards, what they hold and what they refused\n"
          "  top       jobs and workers as they go, with rates, until Ctrl-C\n"
          "  checkpoint list|verify [JOB]...\n"
          "            the snapshots in state folders, and whether they are whole\n"
          "  checkpoint export -o FILE JOB\n"
          "            a snapshot as a file of arrays for other programs\n"
          "  checkpoint create JOB\n"
          "            a snapshot now\n"
          "\n"
          "  -c, --coordinator=ENDPOINT  where psd listens\n"
          "                              [$PSW_COORDINATOR or tcp://127.0.0.1:5570]\n"
          "      --token=TOKEN           of the cluster [$PSW_TOKEN]\n"
          "      --timeout=SECONDS       how long to wait for an answer [5]\n"
          "  -j, --json                  one JSON object instead of a table\n"
          "      --interval=SECONDS      between two rounds of top [1]\n"
          "      --count=N               end top after so many rounds\n"
          "      --state=FOLDER          of snapshots, may be repeated [/var/lib/psd]\n"
          "  -o, --output=FILE           of export, a folder for npy\n"
          "      --format=FORMAT         of export: safetensors or npy [safetensors]\n"
          "      --set=N                 the snapshot to export [the newest]\n"
          "      --run=HEX               the run of the job to export [the last one]\n"
          "  -h, --help\n"
          "  -V, --version\n",
          to);
}

static int wrong(const char *what, const char *why)
{
    fprintf(stderr, "psctl: %s: %s; psctl --help tells the usage\n", what, why);
    return EX_USAGE;
}

static bool read_seconds(const char *text, double least, int *ms)
{
    char  *end;
    double seconds = strtod(text, &end);

    if (end == text || *end || !(seconds >= least && seconds <= 3600))
        return false;
    *ms = (int)(seconds * 1000);
    return true;
}

static bool read_count(const char *text, uint32_t *out)
{
    char         *end;
    unsigned long n = strtoul(text, &end, 10);

    if (*text < '0' || *text > '9' || *end || n == 0 || n > UINT32_MAX)
        return false;
    *out = (uint32_t)n;
    return true;
}

/* For the status, *status; top shows it itself. */
static ps_status ask(const struct command *command, const struct options *o,
                     json_t **status)
{
    const struct top_options top = {
        .timeout_ms = o->timeout_ms,
        .interval_ms = o->interval_ms ? o->interval_ms : 1000,
        .count = o->count,
        .json = o->json,
    };
    struct asker *asker = NULL;
    ps_status     st = asker_open(&asker, o->coordinator, o->token);

    if (!st)
        st = command->show ? asker_status(asker, o->timeout_ms, status)
                           : top_run(asker, &top);
    asker_close(&asker);
    return st;
}

static int run(const struct command *command, const struct options *o)
{
    json_t   *status = NULL;
    ps_status st = ask(command, o, &status);

    if (st) {
        fprintf(stderr, "psctl: %s\n", ps_log_last_error());
        return ps_status_exit_code(st);
    }
    if (!status)
        return 0;
    if (o->json) {
        json_t *part = command->part(status);

        json_dumpf(part, stdout, JSON_INDENT(2));
        putchar('\n');
        json_decref(part);
    } else {
        command->show(status);
    }
    json_decref(status);
    return fflush(stdout) == 0 ? 0 : EX_IOERR;
}

/* Decimal or hexadecimal, nothing else. */
static bool read_number(const char *text, int base, uint64_t *out)
{
    const char *digits = base == 10 ? "0123456789" : "0123456789abcdef";
    size_t      n = strlen(text);

    if (n == 0 || n > (base == 10 ? 19u : 16u) || strspn(text, digits) != n)
        return false;
    *out = strtoull(text, NULL, base);
    return true;
}

/* 'S', 'o', 'F', 's' or 'r'.  What is wrong with its value, or NULL. */
static const char *take_checkpoint_option(struct options *o, int opt, const char *value)
{
    struct checkpoint_options *c = &o->checkpoint;

    o->has_checkpoint = true;
    switch (opt) {
    case 'S':
        if (c->n_states == CHECKPOINT_STATES_MAX)
            return "too many state folders, expected at most 64";
        c->states[c->n_states++] = value;
        return NULL;
    case 'o': c->output = value; return NULL;
    case 'F': c->format = value; return NULL;
    case 's':
        c->has_set = true;
        return read_number(value, 10, &c->set) ? NULL : "not the number of a snapshot";
    }
    c->has_run = true;
    return read_number(value, 16, &c->run)
               ? NULL
               : "not a run, expected 16 hexadecimal digits";
}

static int run_checkpoint(const struct options *o, char **words, int n)
{
    struct checkpoint_options c = o->checkpoint;
    ps_status                 st;

    c.coordinator = o->coordinator;
    c.token = o->token;
    c.timeout_ms = o->timeout_ms;
    c.json = o->json;
    st = checkpoint_run((const char *const *)words, (uint32_t)n, &c);
    if (fflush(stdout))
        return EX_IOERR;
    if (st)
        fprintf(stderr, "psctl: %s\n", ps_log_last_error());
    return ps_status_exit_code(st);
}

static const char *environment(const char *name, const char *otherwise)
{
    const char *value = getenv(name);

    return value && *value ? value : otherwise;
}

#define GO_ON (-1)

/* GO_ON, or the exit code with which it all ends here. */
static int take_option(struct options *o, int opt, char *value)
{
    const char *why;

    switch (opt) {
    case 'c': o->coordinator = value; break;
    case 't': o->token = value; break;
    case 'T':
        if (!read_seconds(value, 0.001, &o->timeout_ms))
            return wrong(value, "not a timeout, expected seconds, 0.001 to 3600");
        break;
    case 'i':
        if (!read_seconds(value, 0.1, &o->interval_ms))
            return wrong(value, "not an interval, expected seconds, 0.1 to 3600");
        break;
    case 'n':
        if (!read_count(value, &o->count))
            return wrong(value, "not a number of rounds, expected 1 or more");
        break;
    case 'S':
    case 'o':
    case 'F':
    case 's':
    case 'r':
        why = take_checkpoint_option(o, opt, value);
        if (why)
            return wrong(value, why);
        break;
    case 'j': o->json = true; break;
    case 'h': usage(stdout); return 0;
    case 'V': puts("psctl " PACKAGE_VERSION); return 0;
    default: fputs("psctl --help tells the usage\n", stderr); return EX_USAGE;
    }
    return GO_ON;
}

int main(int argc, char **argv)
{
    static const struct option long_options[] = {
        { "coordinator", required_argument, NULL, 'c' },
        { "token", required_argument, NULL, 't' },
        { "timeout", required_argument, NULL, 'T' },
        { "interval", required_argument, NULL, 'i' },
        { "count", required_argument, NULL, 'n' },
        { "state", required_argument, NULL, 'S' },
        { "output", required_argument, NULL, 'o' },
        { "format", required_argument, NULL, 'F' },
        { "set", required_argument, NULL, 's' },
        { "run", required_argument, NULL, 'r' },
        { "json", no_argument, NULL, 'j' },
        { "help", no_argument, NULL, 'h' },
        { "version", no_argument, NULL, 'V' },
        { NULL, 0, NULL, 0 },
    };
    struct options o = {
        .coordinator = environment("PSW_COORDINATOR", "tcp://127.0.0.1:5570"),
        .token = environment("PSW_TOKEN", ""),
    };
    const struct command *command;
    int                   opt, code;

    while ((opt = getopt_long(argc, argv, "c:o:jhV", long_options, NULL)) != -1)
        if ((code = take_option(&o, opt, optarg)) != GO_ON)
            return code;
    if (optind == argc)
        return wrong("no command",
                     "expected status, jobs, workers, matrices, shards, top or "
                     "checkpoint");
    if (strcmp(argv[optind], "checkpoint") == 0)
        return run_checkpoint(&o, argv + optind + 1, argc - optind - 1);
    if (o.has_checkpoint)
        return wrong(argv[optind],
                     "--state, --output, --format, --set and --run are for "
                     "checkpoint");
    if (!o.timeout_ms)
        o.timeout_ms = 5000;
    command = find_command(argv[optind]);
    if (!command)
        return wrong(argv[optind], "no such command");
    if (optind + 1 < argc)
        return wrong(argv[optind + 1], "too many arguments");
    if (command->show && (o.interval_ms || o.count))
        return wrong(command->name, "--interval and --count are for top");
    return run(command, &o);
}
