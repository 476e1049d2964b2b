/*
 * snapshot.c - how long do pushes take while snapshots are written?
 *
 *     start a psd with a state folder, open a worker and a model for each way
 *     each round, each way: iterations, one push each; nothing is written between them
 *     print for each way: the median, the 99th percentile, and what that is more
 *
 * Every so many iterations a snapshot of the model is taken: never, in the background
 * (job.snapshot_every), or while the worker waits for it (psctl checkpoint create).
 *
 * README.md tells how to read what comes out.
 */
#include "bench/command.h"
#include "bench/measure.h"
#include "bench/server.h"
#include "common/base/random.h"
#include "common/net/net.h"
#include "tools/find.h"
#include "tools/folder.h"

#include <ps/worker.h>

#include <getopt.h>
#include <inttypes.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <sysexits.h>
#include <time.h>

#define MIB (UINT64_C(1) << 20)
#define BYTES_OF_ELEMENT 12u /* value and the two moments of Adam, f32 */
#define TIMEOUT_MS 600000

struct options {
    uint32_t model_mib; /* 0: as much as there is memory for, up to 1024 */
    uint32_t push_kib, rounds, iterations, every;
    double   pause_ms;
    bool     json;
    FILE    *notes; /* where everything goes that is not a result */
};

/* A way to take snapshots, and the job that is trained so. */
struct way {
    const char         *name;
    bool                writes_beside, waits;
    ps_worker          *worker;
    ps_matrix          *model;
    struct bench_series pushes; /* ms */
    struct bench_series writes; /* ms that the worker waited for one */
};

struct bench {
    const struct options *options;
    struct bench_servers  servers;
    uint64_t              elements, push_elements;
    float                *gradient;
    uint64_t              drawn;
};

static struct way ways[] = {
    { .name = "none" },
    { .name = "background", .writes_beside = true },
    { .name = "synchronous", .waits = true },
};

#define N_WAYS (sizeof(ways) / sizeof(ways[0]))

static double ms_since(uint64_t then_ns)
{
    return (double)(ps_now_ns() - then_ns) / 1e6;
}

static void nap(double ms)
{
    struct timespec t = { .tv_sec = (time_t)(ms / 1000),
                          .tv_nsec = (long)(fmod(ms, 1000) * 1e6) };

    nanosleep(&t, NULL);
}

/* ---- snapshots on request ------------------------------------------------------- */

/* Until it is on disk. */
static ps_status checkpoint(struct bench *b, const char *job)
{
    struct process p = { .name = "psctl" };
    char           coordinator[PS_ENDPOINT_BYTES + 16], name[64];
    char           first[] = "checkpoint", second[] = "create", *program = NULL;
    char           wait[] = "--timeout=600";
    char          *argv[] = { NULL, coordinator, wait, first, second, name, NULL };
    ps_status      st = find_program("psctl", &program);

    argv[0] = program;
    snprintf(coordinator, sizeof(coordinator), "--coordinator=%s",
             b->servers.coordinator);
    snprintf(name, sizeof(name), "%s", job);
    p.log = folder_path(b->servers.folder, "psctl.log");
    if (!st && !p.log)
        st = ps_fail(PS_ERR_NO_MEMORY, "no memory to start psctl");
    if (!st)
        st = process_start(&p, argv, (char *[]){ NULL });
    while (!st && !process_ended(&p))
        nap(0.5);
    if (!st && !process_succeeded(&p)) {
        char text[1024];

        process_describe_end(&p, text, sizeof(text));
        st = ps_fail(PS_ERR_UNAVAILABLE, "%s", text);
    }
    process_free(&p);
    free(program);
    return st;
}

/* ---- pushes --------------------------------------------------------------------- */

/* An iteration: one push into the model, anywhere; how long until it has counted. */
static ps_status iterate(struct bench *b, struct way *w, uint64_t number)
{
    const uint64_t places = b->elements / b->push_elements;
    const uint64_t first = b->push_elements * ps_random_below(1, 0, b->drawn++, places);
    const uint64_t begun_ns = ps_now_ns();
    ps_status      st = ps_push_range(w->model, first, b->push_elements, b->gradient);

    if (!st)
        st = ps_finish(w->worker);
    if (!st && w->waits && number % b->options->every == 0) {
        const uint64_t asked_ns = ps_now_ns();

        st = checkpoint(b, w->name);
        if (!st)
            st = bench_series_add(&w->writes, ms_since(asked_ns));
    }
    return st ? st : bench_series_add(&w->pushes, ms_since(begun_ns));
}

/* What is being written at the end is waited for, so that it is no burden to the next
 * way. */
static ps_status run_way(struct bench *b, struct way *w)
{
    ps_status st = PS_OK;

    for (uint32_t i = 1; !st && i <= b->options->iterations; i++) {
        st = bench_may_go_on();
        if (!st)
            st = iterate(b, w, i);
        nap(b->options->pause_ms);
    }
    return st || !w->writes_beside ? st : checkpoint(b, w->name);
}

/* ---- the jobs ------------------------------------------------------------------- */

static ps_status open_way(struct bench *b, struct way *w)
{
    ps_worker_options wo = PS_WORKER_OPTIONS;
    ps_settings      *settings = NULL;
    char              text[256];
    ps_status         st;

    snprintf(text, sizeof(text),
             "job: {strategy: bsp, snapshot_every: %u}\n"
             "optimiser: {name: adam, lr: 0.001}\n",
             w->writes_beside ? b->options->every : 0);
    st = ps_settings_parse(&settings, text);
    wo.coordinator = b->servers.coordinator;
    wo.job = w->name;
    wo.rank = 0;
    wo.workers = 1;
    wo.timeout_ms = TIMEOUT_MS;
    wo.settings = settings;
    if (!st)
        st = ps_worker_open(&w->worker, &wo);
    ps_settings_free(&settings);
    if (!st)
        st = ps_dense(w->worker, "model", 1, b->elements, NULL, &w->model);
    return st;
}

/* Every element once, so that all of it is there. */
static ps_status touch_all(struct bench *b, struct way *w)
{
    ps_status st = PS_OK;

    for (uint64_t at = 0; !st && at < b->elements; at += b->push_elements)
        st = ps_push_range(w->model, at, b->push_elements, b->gradient);
    return st ? st : ps_finish(w->worker);
}

static ps_status open_bench(struct bench *b)
{
    const struct options *o = b->options;
    ps_status             st = bench_servers_start(&b->servers, "tcp", 1, BENCH_STATE);

    b->push_elements = o->push_kib * UINT64_C(1024) / sizeof(float);
    b->elements =
        o->model_mib * MIB / BYTES_OF_ELEMENT / b->push_elements * b->push_elements;
    b->gradient = malloc(b->push_elements * sizeof(*b->gradient));
    if (!st && !b->gradient)
        st = ps_fail(PS_ERR_NO_MEMORY, "no memory for gradients");
    for (uint64_t i = 0; !st && i < b->push_elements; i++)
        b->gradient[i] = (float)(i % 7) - 3;
    for (size_t i = 0; !st && i < N_WAYS; i++) {
        st = open_way(b, &ways[i]);
        if (!st)
            st = touch_all(b, &ways[i]);
    }
    return st;
}

static ps_status close_bench(struct bench *b)
{
    ps_status st = PS_OK;

    for (size_t i = 0; i < N_WAYS; i++) {
        ps_status closed = ps_worker_close(&ways[i].worker);

        st = st ? st : closed;
        bench_series_free(&ways[i].pushes);
        bench_series_free(&ways[i].writes);
    }
    free(b->gradient);
    return st ? st : bench_servers_stop(&b->servers);
}

/* ---- results -------------------------------------------------------------------- */

static void print_way(const struct bench *b, struct way *w)
{
    const double p50 = bench_quantile(&w->pushes, 0.5);
    const double p99 = bench_quantile(&w->pushes, 0.99);
    const double extra = p99 - bench_quantile(&ways[0].pushes, 0.99);
    const double longest = bench_highest(&w->pushes);
    const double write = w->writes.n ? bench_median(&w->writes) : NAN;

    if (!b->options->json) {
        printf("%-12s %7zu %9.2f %9.2f %9.2f %9.2f", w->name, w->pushes.n, p50, p99,
               extra, longest);
        if (w->writes.n)
            printf("   a snapshot takes %.0f ms", write);
        putchar('\n');
        return;
    }
    printf("{\"snapshots\":\"%s\",\"pushes\":%zu,\"p50_ms\":%.6g,\"p99_ms\":%.6g,"
           "\"extra_p99_ms\":%.6g,\"longest_ms\":%.6g",
           w->name, w->pushes.n, p50, p99, extra, longest);
    if (w->writes.n)
        printf(",\"write_ms\":%.6g", write);
    printf(",\"model_mib\":%u,\"every\":%u}\n", b->options->model_mib,
           b->options->every);
}

static ps_status run(const struct options *o)
{
    struct bench b = { .options = o };
    ps_status    st = open_bench(&b), closed;

    for (uint32_t round = 0; !st && round < o->rounds; round++)
        for (size_t i = 0; !st && i < N_WAYS; i++)
            st = run_way(&b, &ways[i]);
    if (!st && !o->json)
        puts("snapshots     pushes    p50 ms    p99 ms     extra   longest");
    for (size_t i = 0; !st && i < N_WAYS; i++)
        print_way(&b, &ways[i]);
    if (!st && fflush(stdout) != 0)
        st = ps_fail(PS_ERR_SYSTEM, "cannot write the results: %m");
    closed = close_bench(&b);
    return st ? st : closed;
}

/* ---- the command line ----------------------------------------------------------- */

static void usage(FILE *to)
{
    fputs("usage: psbench-snapshot [OPTION]...\n"
          "\n"
          "How long pushes take without snapshots, while snapshots are written in the\n"
          "background, and when the worker waits for them.  Starts a psd of its own; "
          "its\n"
          "folder is made below TMPDIR.\n"
          "\n"
          "  -m, --model=MIB      parameters and state of each of the three models  "
          "[1024,\n"
          "                       or less where memory is short]\n"
          "  -p, --push=KIB       of a push  [1024]\n"
          "  -e, --every=N        a snapshot after so many iterations  [50]\n"
          "  -n, --iterations=N   of each way in a round  [200]\n"
          "  -r, --rounds=N       [3]\n"
          "  -w, --pause=MS       between two iterations, as if to compute  [10]\n"
          "  -j, --json           one object a line, and everything else to standard "
          "error\n"
          "  -h, --help\n"
          "  -V, --version\n",
          to);
}

/* -1: go on; else the exit code. */
static int take_option(struct options *o, int letter)
{
    switch (letter) {
    case 'm': return bench_count("model", optarg, 1u << 20, &o->model_mib);
    case 'p': return bench_count("push", optarg, 65536, &o->push_kib);
    case 'e': return bench_count("every", optarg, 1000000, &o->every);
    case 'n': return bench_count("iterations", optarg, 1000000, &o->iterations);
    case 'r': return bench_count("rounds", optarg, 1000000, &o->rounds);
    case 'w':
        return bench_number(optarg, 60000, &o->pause_ms)
                   ? -1
                   : bench_wrong("--pause: expected a number from 0 to 60000");
    case 'j': o->json = true; return -1;
    case 'h': usage(stdout); return 0;
    case 'V': puts("psbench-snapshot " PACKAGE_VERSION); return 0;
    default: return EX_USAGE;
    }
}

static uint64_t free_mib(void)
{
    char     line[128];
    uint64_t kib = 0;
    FILE    *f = fopen("/proc/meminfo", "re");

    while (f && fgets(line, sizeof(line), f))
        if (sscanf(line, "MemAvailable: %" SCNu64, &kib) == 1)
            break;
    if (f)
        fclose(f);
    return kib / 1024;
}

/* Three models, and of one what changes while two captures of it are kept. */
static void choose_model(struct options *o)
{
    const uint64_t room = free_mib() / 6;

    if (o->model_mib > 0)
        return;
    o->model_mib = room < 1024 ? (uint32_t)room : 1024;
    if (o->model_mib == 0)
        o->model_mib = 1;
}

static int take_options(struct options *o, int argc, char **argv)
{
    static const struct option long_options[] = {
        { "model", required_argument, NULL, 'm' },
        { "push", required_argument, NULL, 'p' },
        { "every", required_argument, NULL, 'e' },
        { "iterations", required_argument, NULL, 'n' },
        { "rounds", required_argument, NULL, 'r' },
        { "pause", required_argument, NULL, 'w' },
        { "json", no_argument, NULL, 'j' },
        { "help", no_argument, NULL, 'h' },
        { "version", no_argument, NULL, 'V' },
        { NULL, 0, NULL, 0 },
    };
    int letter, code = -1;

    while (code < 0 && (letter = getopt_long(argc, argv, "m:p:e:n:r:w:jhV",
                                             long_options, NULL)) != -1)
        code = take_option(o, letter);
    if (code < 0 && optind < argc)
        code = bench_wrong("takes no argument");
    choose_model(o);
    if (code < 0 && o->model_mib * UINT64_C(1024) < o->push_kib * 3)
        code = bench_wrong("--model: expected three times --push, or more");
    o->notes = o->json ? stderr : stdout;
    return code;
}

/* What somebody needs to repeat it, and to believe it. */
static void print_head(const struct options *o)
{
    const char *folder = getenv("TMPDIR");

    fprintf(
        o->notes,
        "psbench-snapshot --model=%u --push=%u --every=%u --iterations=%u --rounds=%u "
        "--pause=%g%s\n",
        o->model_mib, o->push_kib, o->every, o->iterations, o->rounds, o->pause_ms,
        o->json ? " --json" : "");
    bench_print_machine(o->notes);
    fprintf(o->notes, ", folder below %s\n", folder && *folder ? folder : "/tmp");
    fflush(o->notes);
}

int main(int argc, char **argv)
{
    struct options o = {
        .push_kib = 1024, .rounds = 3, .iterations = 200, .every = 50, .pause_ms = 10
    };
    int code;

    bench_begin("psbench-snapshot");
    code = take_options(&o, argc, argv);
    if (code >= 0)
        return code;
    print_head(&o);
    return ps_status_exit_code(run(&o));
}
