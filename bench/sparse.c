/*
 * sparse.c - rows per second of sparse pushes and pulls, and what they are held
 * against.
 *
 *     for each transport and number of shards:
 *         start a psd and a raw server, open the workers, make all rows exist
 *         each round:  the limits, and every case beside its own
 *         prove the tally, print, end
 *
 * README.md tells how to read what comes out.
 */
#include "bench/command.h"
#include "bench/load.h"
#include "bench/measure.h"
#include "bench/memory.h"
#include "bench/server.h"

#include <fnmatch.h>
#include <getopt.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <sysexits.h>

#define WORKERS 2u
#define GROUPS 8u /* workers x in flight x direction */
#define CASES 32u /* of one setting, at most */
#define CONGESTION "/proc/sys/net/ipv4/tcp_congestion_control"

struct options {
    uint32_t    rounds, batch, rows;
    double      seconds;
    const char *only;  /* pattern of the cases' names; NULL: all */
    bool        alone; /* without limits, for a profiler */
    bool        json;
    FILE       *notes; /* where everything goes that is not a result */
};

/* Cases that move the same bytes in the same way have one limit of the transport. */
struct group {
    uint32_t            workers, in_flight;
    bool                pulls;
    struct bench_series raw;
};

struct what {
    struct group     *group;
    enum bench_matrix matrix;
    enum bench_order  order;
};

/* One transport and one number of shards. */
struct setting {
    const struct options *options;
    const char           *transport;
    size_t                shards;

    struct bench_servers servers;
    struct bench_load   *load;
    struct bench_raw    *raw[WORKERS];
    struct bench_memory *memory;

    struct group        groups[GROUPS];
    struct bench_series memory_limit[2][BENCH_ORDERS]; /* [pulls] */
    size_t              n_cases;
    struct what         what[CASES];
    struct bench_case   cases[CASES];
};

static const char *const matrix_names[] = {
    [BENCH_ADD] = "push-add",
    [BENCH_SGD] = "push-sgd",
    [BENCH_ADAGRAD] = "push-adagrad",
};
static const char *const order_names[] = {
    [BENCH_RANDOM] = "random",
    [BENCH_SEQUENTIAL] = "sequential",
};

/* ---- which cases ---------------------------------------------------------------- */

static void add_case(struct setting *s, struct group *g, enum bench_matrix m,
                     enum bench_order order)
{
    struct bench_case *c = &s->cases[s->n_cases];

    *c = (struct bench_case){ .unit = "rows/s", .n_limits = s->options->alone ? 0 : 2 };
    snprintf(c->name, sizeof(c->name), "%s/%zus%uw/%s/%s/%u", s->transport, s->shards,
             g->workers, g->pulls ? "pull" : matrix_names[m], order_names[order],
             g->in_flight);
    if (s->options->only && fnmatch(s->options->only, c->name, 0) != 0)
        return;
    c->limits[0] = (struct bench_limit){ "zeromq", &g->raw };
    c->limits[1] = (struct bench_limit){ "memory", &s->memory_limit[g->pulls][order] };
    s->what[s->n_cases++] = (struct what){ g, m, order };
}

/* Pulls do not depend on the optimiser, except that its state lies between the values:
 * they are made of the matrix with none. */
static void choose_cases(struct setting *s)
{
    for (uint32_t i = 0; i < GROUPS; i++) {
        struct group *g = &s->groups[i];

        g->workers = i & 4 ? 2 : 1;
        g->pulls = i & 2;
        g->in_flight = i & 1 ? 4 : 1;
        for (int o = 0; o < BENCH_ORDERS; o++)
            for (int m = 0; m < BENCH_MATRICES; m++)
                if (!g->pulls || m == BENCH_SGD)
                    add_case(s, g, (enum bench_matrix)m, (enum bench_order)o);
    }
}

/* ---- measuring ------------------------------------------------------------------ */

static ps_status measure(const struct setting *s, bench_work_fn *work, void *const *ctx,
                         size_t n, struct bench_series *series)
{
    double    rate;
    ps_status st = bench_may_go_on();

    if (!st)
        st = bench_rate(work, ctx, n, s->options->seconds, &rate);
    return st ? st : bench_series_add(series, rate);
}

static ps_status measure_memory(struct setting *s)
{
    ps_status st = PS_OK;

    for (int pulls = 0; pulls < 2; pulls++)
        for (int o = 0; !st && o < BENCH_ORDERS; o++) {
            struct bench_memory_work w = {
                .memory = s->memory,
                .keys = bench_load_keys(s->load, 0, (enum bench_order)o),
                .n_keys = s->options->rows,
                .adds = !pulls,
            };

            st = measure(s, bench_memory_work, (void *[]){ &w }, 1,
                         &s->memory_limit[pulls][o]);
        }
    return st;
}

static ps_status measure_raw(struct setting *s, struct group *g)
{
    struct bench_raw_work w[WORKERS];
    void                 *ctx[WORKERS];

    for (uint32_t i = 0; i < g->workers; i++) {
        w[i] = (struct bench_raw_work){ s->raw[i], g->pulls, g->in_flight };
        ctx[i] = &w[i];
    }
    return measure(s, bench_raw_work, ctx, g->workers, &g->raw);
}

static ps_status measure_case(struct setting *s, size_t number)
{
    const struct what     *what = &s->what[number];
    struct bench_load_work w[WORKERS];
    void                  *ctx[WORKERS];

    for (uint32_t i = 0; i < what->group->workers; i++) {
        w[i] = (struct bench_load_work){ .load = s->load,
                                         .worker = i,
                                         .matrix = what->matrix,
                                         .order = what->order,
                                         .pulls = what->group->pulls,
                                         .in_flight = what->group->in_flight };
        ctx[i] = &w[i];
    }
    return measure(s, bench_load_work, ctx, what->group->workers,
                   &s->cases[number].series);
}

/* The cases of a group stand together, so each follows soon after its limit. */
static ps_status run_round(struct setting *s)
{
    const bool limits = !s->options->alone;
    ps_status  st = limits ? measure_memory(s) : PS_OK;

    for (size_t i = 0; !st && i < s->n_cases; i++) {
        if (limits && (i == 0 || s->what[i].group != s->what[i - 1].group))
            st = measure_raw(s, s->what[i].group);
        if (!st)
            st = measure_case(s, i);
    }
    return st;
}

static ps_status prove(struct setting *s)
{
    uint64_t  pushed;
    ps_status st = bench_load_check(s->load, &pushed);

    if (!st)
        fprintf(s->options->notes,
                "tally: %" PRIu64 " rows pushed over %s, each applied once\n", pushed,
                s->transport);
    return st;
}

/* ---- one setting ---------------------------------------------------------------- */

static ps_status open_setting(struct setting *s)
{
    const struct options *o = s->options;
    const char           *raw[BENCH_RAW_SHARDS];
    ps_status st = bench_servers_start(&s->servers, s->transport, s->shards, BENCH_RAW);

    for (size_t i = 0; i < s->shards; i++)
        raw[i] = s->servers.raw[i];
    for (uint32_t w = 0; !st && w < WORKERS; w++)
        st = bench_raw_open(&s->raw[w], raw, s->shards, o->batch,
                            BENCH_COLS * sizeof(float));
    if (!st)
        st = bench_memory_new(&s->memory, o->rows, BENCH_COLS, o->batch);
    if (!st)
        st = bench_load_open(&s->load, s->servers.coordinator, WORKERS, o->rows,
                             o->batch);
    return st;
}

static ps_status close_setting(struct setting *s)
{
    ps_status st = bench_load_close(&s->load), ended;

    for (uint32_t w = 0; w < WORKERS; w++)
        bench_raw_close(&s->raw[w]);
    bench_memory_free(&s->memory);
    ended = bench_servers_stop(&s->servers);
    for (size_t i = 0; i < s->n_cases; i++)
        bench_series_free(&s->cases[i].series);
    for (uint32_t i = 0; i < GROUPS; i++)
        bench_series_free(&s->groups[i].raw);
    for (int i = 0; i < 2; i++)
        for (int o = 0; o < BENCH_ORDERS; o++)
            bench_series_free(&s->memory_limit[i][o]);
    return st ? st : ended;
}

static ps_status run_setting(struct setting *s)
{
    ps_status st = open_setting(s), closed;

    for (uint32_t i = 0; !st && i < s->options->rounds; i++)
        st = run_round(s);
    if (!st)
        st = prove(s);
    if (!st)
        (s->options->json ? bench_print_json : bench_print_table)(s->cases, s->n_cases);
    if (!st && fflush(stdout) != 0)
        st = ps_fail(PS_ERR_SYSTEM, "cannot write the results: %m");
    closed = close_setting(s);
    return st ? st : closed;
}

static ps_status run_all(const struct options *o)
{
    static const char *const transports[] = { "tcp", "ipc" };
    size_t                   n_cases = 0;
    ps_status                st = PS_OK;

    for (int t = 0; t < 2; t++)
        for (size_t shards = 1; !st && shards <= 2; shards++) {
            struct setting s = { .options = o,
                                 .transport = transports[t],
                                 .shards = shards };

            choose_cases(&s);
            n_cases += s.n_cases;
            if (s.n_cases > 0)
                st = run_setting(&s);
        }
    if (!st && n_cases == 0)
        st = ps_fail(PS_ERR_CONFIG, "--only=%s: no such case", o->only);
    return st;
}

/* ---- the command line ----------------------------------------------------------- */

static void usage(FILE *to)
{
    fputs(
        "usage: psbench-sparse [OPTION]...\n"
        "\n"
        "Rows per second of sparse pushes and pulls, in millions, with a psd of its "
        "own,\n"
        "beside what ZeroMQ and memory alone reach in the same rounds.\n"
        "\n"
        "  -r, --rounds=N     how often everything is measured  [5]\n"
        "  -s, --seconds=S    how long each time  [0.2]\n"
        "  -n, --rows=N       rows of each matrix, a multiple of the batch  [1000000]\n"
        "  -b, --batch=N      rows of a request  [10000]\n"
        "  -o, --only=GLOB    only cases with such names, "
        "TRANSPORT/SHARDSsWORKERSw/OPERATION/KEYS/IN-FLIGHT\n"
        "                     (tcp/1s1w/push-sgd/random/4)\n"
        "  -j, --json         one object a line, and everything else to standard "
        "error\n"
        "  -h, --help\n"
        "  -V, --version\n",
        to);
}

/* -1: go on; else the exit code. */
static int take_option(struct options *o, int letter)
{
    switch (letter) {
    case 'r': return bench_count("rounds", optarg, 1000000, &o->rounds);
    case 's':
        return bench_number(optarg, 3600, &o->seconds) && o->seconds > 0
                   ? -1
                   : bench_wrong("--seconds: expected a number above 0, up to 3600");
    case 'n': return bench_count("rows", optarg, 1u << 30, &o->rows);
    case 'b': /* what fits one frame, in psd's requests as in the raw ones */
        return bench_count("batch", optarg,
                           PS_CHUNK_BYTES / (BENCH_COLS * sizeof(float)), &o->batch);
    case 'o': o->only = optarg; return -1;
    case 'a': o->alone = true; return -1;
    case 'j': o->json = true; return -1;
    case 'h': usage(stdout); return 0;
    case 'V': puts("psbench-sparse " PACKAGE_VERSION); return 0;
    default: return EX_USAGE;
    }
}

static int take_options(struct options *o, int argc, char **argv)
{
    static const struct option long_options[] = {
        { "rounds", required_argument, NULL, 'r' },
        { "seconds", required_argument, NULL, 's' },
        { "rows", required_argument, NULL, 'n' },
        { "batch", required_argument, NULL, 'b' },
        { "only", required_argument, NULL, 'o' },
        { "alone", no_argument, NULL, 'a' },
        { "json", no_argument, NULL, 'j' },
        { "help", no_argument, NULL, 'h' },
        { "version", no_argument, NULL, 'V' },
        { NULL, 0, NULL, 0 },
    };
    int letter, code = -1;

    while (code < 0 && (letter = getopt_long(argc, argv, "r:s:n:b:o:ajhV", long_options,
                                             NULL)) != -1)
        code = take_option(o, letter);
    if (code < 0 && optind < argc)
        code = bench_wrong("takes no argument");
    if (code < 0 && o->rows % o->batch != 0)
        code = bench_wrong("--rows: expected a multiple of --batch");
    o->notes = o->json ? stderr : stdout;
    return code;
}

/* What somebody needs to repeat it, and to believe it. */
static void print_head(const struct options *o)
{
    char  congestion[64] = "?\n";
    FILE *f = fopen(CONGESTION, "re");

    if (f && !fgets(congestion, sizeof(congestion), f))
        memcpy(congestion, "?\n", 3);
    if (f)
        fclose(f);
    fprintf(o->notes, "psbench-sparse --rounds=%u --seconds=%g --rows=%u --batch=%u",
            o->rounds, o->seconds, o->rows, o->batch);
    if (o->only)
        fprintf(o->notes, " --only='%s'", o->only);
    fprintf(o->notes, "%s%s\n", o->alone ? " --alone" : "", o->json ? " --json" : "");
    bench_print_machine(o->notes);
    fprintf(o->notes, ", TCP congestion control %s", congestion);
    fflush(o->notes);
}

int main(int argc, char **argv)
{
    struct options o = { .rounds = 5, .batch = 10000, .rows = 1000000, .seconds = 0.2 };
    int            code;

    if (argc > 3 && strcmp(argv[1], "raw-server") == 0)
        return bench_raw_serve(argv[2], argv + 3, (size_t)argc - 3);
    bench_begin("psbench-sparse");
    code = take_options(&o, argc, argv);
    if (code >= 0)
        return code;
    print_head(&o);
    return ps_status_exit_code(run_all(&o));
}
