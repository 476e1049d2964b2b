/*
 * psbench.c - how fast is psd, and how near to what is possible?
 *
 *     read the options
 *     for each suite: measure, prove, print        suite.h
 *
 * psbench(1) is its manual, README.md tells how to read what comes out.
 */
#include "bench/command.h"
#include "bench/idle.h"
#include "bench/raw.h"
#include "bench/suite.h"
#include "common/base/limits.h"

#include <errno.h>
#include <getopt.h>
#include <stdlib.h>
#include <string.h>
#include <sysexits.h>
#include <unistd.h>

#define CONGESTION "/proc/sys/net/ipv4/tcp_congestion_control"

static const struct bench_suite *const suites[] = {
    &bench_dense, &bench_views,   &bench_small,     &bench_sparse,
    &bench_bsp,   &bench_kernels, &bench_footprint, &bench_connections,
};

#define N_SUITES (sizeof(suites) / sizeof(suites[0]))

/* ---- running -------------------------------------------------------------------- */

static ps_status no_such_case(const struct bench_options *o)
{
    return ps_fail(PS_ERR_CONFIG, "--only=%s: no such case, psbench --list names them",
                   o->only[0]);
}

static ps_status run_all(const struct bench_options *o)
{
    size_t    n, n_cases = 0;
    ps_status st = PS_OK;

    for (size_t i = 0; !st && i < N_SUITES; i++) {
        st = bench_run_suite(suites[i], o, &n);
        n_cases += n;
    }
    return !st && n_cases == 0 ? no_such_case(o) : st;
}

/* ---- the command line ----------------------------------------------------------- */

static void usage(FILE *to)
{
    fputs("usage: psbench [OPTION]...\n"
          "\n"
          "Measures psd, with a psd of its own, beside what ZeroMQ and memory alone "
          "reach "
          "in\n"
          "the same rounds.\n"
          "\n"
          "  -o, --only=GLOB    only cases with such names; may be given again\n"
          "  -l, --list         the names of the cases, and nothing else\n"
          "  -r, --rounds=N     how often everything is measured  [5]\n"
          "  -s, --seconds=S    how long each time, up to 60  [0.2]\n"
          "  -a, --alone        without the limits, for a look with a profiler\n"
          "  -n, --rows=N       sparse: rows of each matrix, a multiple of the batch  "
          "[1000000]\n"
          "  -b, --batch=N      sparse: rows of a request  [10000]\n"
          "  -m, --model=MIB    bsp, memory: of the model  [64]\n"
          "  -e, --elements=N   kernel: of each array in memory  [100000000]\n"
          "  -i, --idle=N       connections: workers that do nothing  [1000]\n"
          "  -p, --spin=US      psd and workers look for messages before they sleep  "
          "[0]\n"
          "  -j, --json         one object a line, and everything else to standard "
          "error\n"
          "  -q, --quiet        no progress\n"
          "  -h, --help\n"
          "  -V, --version\n",
          to);
}

/* Its workers learn of it by their variable, and psd by them. */
static int take_spin(struct bench_options *o, const char *argument)
{
    int code = bench_count("spin", argument, PS_SPIN_US_MAX, &o->spin_us);

    if (code < 0 && setenv("PSW_SPIN_US", argument, 1))
        return bench_wrong("--spin: %s", strerror(errno));
    return code;
}

/* -1: go on; else the exit code. */
static int take_option(struct bench_options *o, int letter)
{
    switch (letter) {
    case 'n': return bench_count("rows", optarg, 1u << 30, &o->rows);
    case 'b': /* what fits one frame, in psd's requests as in the raw ones */
        return bench_count("batch", optarg, PS_CHUNK_BYTES / 64, &o->batch);
    case 'm': return bench_count("model", optarg, 1024, &o->model_mib);
    case 'e': return bench_count("elements", optarg, 1u << 30, &o->elements);
    case 'i': return bench_count("idle", optarg, BENCH_IDLE_MAX, &o->idle);
    case 'p': return take_spin(o, optarg);
    case 'q': o->progress = false; return -1;
    case 'h': usage(stdout); return 0;
    case 'V': puts("psbench " PACKAGE_VERSION); return 0;
    default: return bench_take_option(o, letter, optarg);
    }
}

static int take_options(struct bench_options *o, int argc, char **argv)
{
    static const struct option long_options[] = {
        { "only", required_argument, NULL, 'o' },
        { "list", no_argument, NULL, 'l' },
        { "rounds", required_argument, NULL, 'r' },
        { "seconds", required_argument, NULL, 's' },
        { "alone", no_argument, NULL, 'a' },
        { "rows", required_argument, NULL, 'n' },
        { "batch", required_argument, NULL, 'b' },
        { "model", required_argument, NULL, 'm' },
        { "elements", required_argument, NULL, 'e' },
        { "idle", required_argument, NULL, 'i' },
        { "spin", required_argument, NULL, 'p' },
        { "json", no_argument, NULL, 'j' },
        { "quiet", no_argument, NULL, 'q' },
        { "help", no_argument, NULL, 'h' },
        { "version", no_argument, NULL, 'V' },
        { NULL, 0, NULL, 0 },
    };
    int letter, code = -1;

    while (code < 0 && (letter = getopt_long(argc, argv, "o:lr:s:an:b:m:e:i:p:jqhV",
                                             long_options, NULL)) != -1)
        code = take_option(o, letter);
    if (code < 0 && optind < argc)
        code = bench_wrong("takes no argument");
    if (code < 0 && o->rows % o->batch != 0)
        code = bench_wrong("--rows: expected a multiple of --batch");
    o->notes = o->json ? stderr : stdout;
    return code;
}

/* What somebody needs to repeat it, and to believe it. */
static void print_head(const struct bench_options *o)
{
    char  congestion[64] = "?\n";
    FILE *f = fopen(CONGESTION, "re");

    if (f && !fgets(congestion, sizeof(congestion), f))
        memcpy(congestion, "?\n", 3);
    if (f)
        fclose(f);
    bench_print_options("psbench", o);
    fprintf(o->notes, " --rows=%u --batch=%u --model=%u --elements=%u --idle=%u",
            o->rows, o->batch, o->model_mib, o->elements, o->idle);
    if (o->spin_us)
        fprintf(o->notes, " --spin=%u", o->spin_us);
    fprintf(o->notes, "\npsd %s, ZeroMQ %s, ", PACKAGE_VERSION, bench_raw_version());
    bench_print_machine(o->notes);
    fprintf(o->notes, ", TCP congestion control %s", congestion);
    fflush(o->notes);
}

int main(int argc, char **argv)
{
    struct bench_options o = { .rounds = 5,
                               .seconds = 0.2,
                               .rows = 1000000,
                               .batch = 10000,
                               .model_mib = 64,
                               .elements = 100000000,
                               .idle = 1000,
                               .progress = isatty(STDERR_FILENO) };
    int                  code;

    if (argc > 3 && strcmp(argv[1], "raw-server") == 0)
        return bench_raw_serve(argv[2], argv + 3, (size_t)argc - 3);
    bench_begin("psbench");
    if (argc > 1 && strcmp(argv[1], "idle") == 0)
        return bench_idle_run(argc - 1, argv + 1);
    code = take_options(&o, argc, argv);
    if (code >= 0)
        return code;
    if (!o.list)
        print_head(&o);
    return ps_status_exit_code(run_all(&o));
}
