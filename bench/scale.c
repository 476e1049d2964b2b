/*
 * scale.c - how much more do several shards do than one?
 *
 * Each shard is the state machine alone (shard.h) on a thread that is bound to a CPU of
 * its own; there are no sockets, no clients, and nothing is shared.  The model is the
 * same for all measurements: several shards have a part of it each.
 *
 *     1           one shard has all of it
 *     2 (or N)    so many have a part each
 *     speedup     the second rate over the first, of the same round
 *
 * With --cpu the rate of a thread is that of its processor time, so that a machine
 * which others use too can be asked; what a thread waits for is not in it then.
 *
 * What bounds it is what cores share: memory, and caches beyond their own.  So each
 * case stands beside the same measurement of loops that move the same bytes and do
 * nothing else.
 */
#include "bench/command.h"
#include "bench/shard.h"
#include "bench/stream.h"
#include "bench/suite.h"
#include "common/base/cpus.h"
#include "common/base/limits.h"
#include "common/base/random.h"
#include "common/net/net.h"

#include <getopt.h>
#include <pthread.h>
#include <sched.h>
#include <stdlib.h>
#include <string.h>
#include <sysexits.h>
#include <time.h>

#define SHARDS 64u
#define CHUNK_ELEMENTS (PS_CHUNK_BYTES / sizeof(float))

static uint32_t       n_shards = 2; /* of the larger measurement */
static bool           by_cpu_time;
static struct ps_cpus cpus; /* that this process may use */

/* ---- what is measured ----------------------------------------------------------- */

/* Arrays of parameters and state that a request reads and writes. */
static const struct kind {
    const char *name;
    uint32_t    strategy, workers, optimiser;
    bool        pulls;
    uint32_t    mib; /* of the model; 0: it is rows */
    uint32_t    arrays;
} kinds[] = {
    { "push-add/1MiB", PS_ASP, 1, PS_ADD, false, 1, 1 },
    { "push-add/64MiB", PS_ASP, 1, PS_ADD, false, 64, 1 },
    { "bsp-sgd/1MiB", PS_BSP, 2, PS_SGD, false, 1, 1 },
    { "bsp-sgd/64MiB", PS_BSP, 2, PS_SGD, false, 64, 1 },
    { "bsp-adam/1MiB", PS_BSP, 2, PS_ADAM, false, 1, 3 },
    { "bsp-adam/64MiB", PS_BSP, 2, PS_ADAM, false, 64, 3 },
    { "push-sgd/rows", PS_ASP, 1, PS_SGD, false, 0, 1 },
    { "pull/rows", PS_ASP, 1, PS_SGD, true, 0, 1 },
};

#define KINDS (sizeof(kinds) / sizeof(kinds[0]))

enum { ONE, MANY, SPEEDUP, MEASURED };

/* Of one shard: what it, and what the loop beside it, works on. */
struct part {
    struct bench_shard *shard;
    float              *written[3], *gradient; /* dense; rows: the first is a table */
    uint32_t           *order;                 /* rows */
    size_t              n;                     /* elements of each array, or rows */
    uint32_t            cpu;
    const struct kind  *kind;
    uint64_t            at; /* of the loop: where it goes on */
    double              per_cpu_second;
    uint32_t            batch;
};

struct scale {
    const struct kind   *kind;
    struct bench_case   *result[MEASURED];
    struct bench_series *limit[MEASURED];
    struct part          one, many[SHARDS];
};

/* ---- threads -------------------------------------------------------------------- */

/* From now on the calling thread runs there alone. */
static void stay_on(uint32_t cpu)
{
    cpu_set_t set;

    CPU_ZERO(&set);
    CPU_SET(cpu, &set);
    pthread_setaffinity_np(pthread_self(), sizeof(set), &set);
}

static void go_anywhere(void)
{
    cpu_set_t set;

    CPU_ZERO(&set);
    for (uint32_t i = 0; i < cpus.n; i++)
        CPU_SET(cpus.cpu[i], &set);
    pthread_setaffinity_np(pthread_self(), sizeof(set), &set);
}

static double cpu_seconds(void)
{
    struct timespec t;

    clock_gettime(CLOCK_THREAD_CPUTIME_ID, &t);
    return (double)t.tv_sec + (double)t.tv_nsec / 1e9;
}

static ps_status work_shard(void *work, uint64_t until_ns, uint64_t *done)
{
    struct part *p = work;
    ps_status    st = PS_OK;
    double       from;

    stay_on(p->cpu);
    from = cpu_seconds();
    do {
        st = bench_shard_ask(p->shard);
        *done += bench_shard_moves(p->shard);
    } while (!st && ps_now_ns() < until_ns);
    p->per_cpu_second = (double)*done / (cpu_seconds() - from);
    return st;
}

/* The chunk that a request is about. */
static void stream_chunk(struct part *p)
{
    const size_t from = p->at % (p->n / CHUNK_ELEMENTS) * CHUNK_ELEMENTS;

    if (p->kind->arrays == 1)
        bench_stream_1(CHUNK_ELEMENTS, p->written[0] + from, p->gradient);
    else
        bench_stream_3(CHUNK_ELEMENTS, p->written[0] + from, p->written[1] + from,
                       p->written[2] + from, p->gradient);
}

static void stream_rows(struct part *p)
{
    const uint32_t *rows = p->order + p->at % (p->n / p->batch) * p->batch;

    for (uint32_t i = 0; i < p->batch; i++) {
        float *row = p->written[0] + (size_t)rows[i] * BENCH_SHARD_COLS;
        float *value = p->gradient + (size_t)i * BENCH_SHARD_COLS;

        if (p->kind->pulls)
            memcpy(value, row, BENCH_SHARD_COLS * sizeof(*row));
        else
            bench_stream_1(BENCH_SHARD_COLS, row, value);
    }
}

static ps_status work_stream(void *work, uint64_t until_ns, uint64_t *done)
{
    struct part *p = work;
    double       from;

    stay_on(p->cpu);
    from = cpu_seconds();
    do {
        if (p->kind->mib)
            stream_chunk(p);
        else
            stream_rows(p);
        p->at++;
        *done += p->kind->mib ? PS_CHUNK_BYTES : p->batch;
    } while (ps_now_ns() < until_ns);
    p->per_cpu_second = (double)*done / (cpu_seconds() - from);
    return PS_OK;
}

/* ---- measuring ------------------------------------------------------------------ */

static ps_status rate(struct scale *s, const struct bench_run *run, bool psd, bool many,
                      double *per_second)
{
    struct part *parts = many ? s->many : &s->one;
    size_t       n = many ? n_shards : 1;
    void        *works[SHARDS];
    ps_status    st = bench_next(run, s->kind->name);

    for (size_t i = 0; i < n; i++)
        works[i] = &parts[i];
    if (!st)
        st = bench_rate(psd ? work_shard : work_stream, works, n, run->options->seconds,
                        per_second);
    if (!by_cpu_time)
        return st;
    *per_second = 0;
    for (size_t i = 0; i < n; i++)
        *per_second += parts[i].per_cpu_second;
    return st;
}

/* One behind the other, so that all see the same machine. */
static ps_status measure(struct scale *s, const struct bench_run *run, bool psd)
{
    double    value[MEASURED];
    ps_status st = rate(s, run, psd, false, &value[ONE]);

    if (!st)
        st = rate(s, run, psd, true, &value[MANY]);
    value[SPEEDUP] = value[MANY] / value[ONE];
    for (unsigned i = 0; !st && i < MEASURED; i++)
        if (s->result[i])
            st = bench_series_add(psd ? &s->result[i]->series : s->limit[i], value[i]);
    return st;
}

static ps_status measure_round(void *self, struct bench_run *run)
{
    struct scale *s = self;
    ps_status     st = run->options->alone ? PS_OK : measure(s, run, false);

    return st ? st : measure(s, run, true);
}

static ps_status prove(void *self, struct bench_run *run)
{
    struct scale *s = self;
    ps_status     st = bench_shard_check(s->one.shard);

    (void)run;
    for (uint32_t i = 0; !st && i < n_shards; i++)
        st = bench_shard_check(s->many[i].shard);
    return st;
}

/* ---- the two ends --------------------------------------------------------------- */

static void choose(void *self, struct bench_run *run, size_t setting)
{
    struct scale *s = self;
    const char   *unit = kinds[setting].mib ? "B/s" : "rows/s";
    char          counts[MEASURED][16] = { "1", "", "speedup" };

    snprintf(counts[MANY], sizeof(counts[MANY]), "%u", n_shards);
    s->kind = &kinds[setting];
    for (unsigned i = 0; i < MEASURED; i++) {
        struct bench_case *c = bench_add(run, i == SPEEDUP ? "times" : unit,
                                         "scale/%s/%s", s->kind->name, counts[i]);

        s->result[i] = c;
        if (c)
            s->limit[i] = bench_limit(run, c, "memory", NULL);
    }
}

static float *ones(size_t n)
{
    float *a = aligned_alloc(64, (n * sizeof(*a) + 63) / 64 * 64);

    for (size_t i = 0; a && i < n; i++)
        a[i] = 1;
    return a;
}

static ps_status make_loop(struct part *p)
{
    const size_t elements = p->kind->mib ? p->n : p->n * BENCH_SHARD_COLS;
    const size_t request = p->kind->mib ? CHUNK_ELEMENTS : p->batch * BENCH_SHARD_COLS;
    bool         all = (p->gradient = ones(request)) != NULL;

    for (uint32_t i = 0; i < p->kind->arrays; i++)
        all = (p->written[i] = ones(elements)) && all;
    if (!p->kind->mib) {
        p->order = malloc(p->n * sizeof(*p->order));
        if (p->order)
            ps_random_permutation(1, 0, (uint32_t)p->n, p->order);
        all = p->order && all;
    }
    return all ? PS_OK : ps_fail(PS_ERR_NO_MEMORY, "scale: no memory for a model");
}

/* Each on its CPU from the beginning: it is the first to touch its memory. */
static ps_status make_part(struct part *p, const struct kind *k,
                           const struct bench_options *o, uint32_t index, uint32_t of)
{
    struct bench_shard_options so = { .strategy = k->strategy,
                                      .workers = k->workers,
                                      .optimiser = k->optimiser,
                                      .pulls = k->pulls };
    ps_status                  st;

    *p = (struct part){ .kind = k, .cpu = cpus.cpu[index], .batch = o->batch };
    if (k->mib) {
        so.elements = (k->mib >= of ? k->mib / of : 1) * CHUNK_ELEMENTS;
        p->n = so.elements;
    } else {
        so.rows = o->rows / o->batch / of * o->batch;
        so.batch = o->batch;
        p->n = so.rows;
    }
    stay_on(p->cpu);
    st = bench_shard_open(&p->shard, &so);
    if (!st)
        st = make_loop(p);
    go_anywhere();
    return st;
}

static void free_part(struct part *p)
{
    bench_shard_close(&p->shard);
    for (unsigned i = 0; i < 3; i++)
        free(p->written[i]);
    free(p->gradient);
    free(p->order);
}

static ps_status open_all(void *self, struct bench_run *run)
{
    struct scale *s = self;
    ps_status     st = make_part(&s->one, s->kind, run->options, 0, 1);

    for (uint32_t i = 0; !st && i < n_shards; i++)
        st = make_part(&s->many[i], s->kind, run->options, i, n_shards);
    return st;
}

static ps_status close_all(void *self, ps_status so_far)
{
    struct scale *s = self;

    (void)so_far;
    free_part(&s->one);
    for (uint32_t i = 0; i < n_shards; i++)
        free_part(&s->many[i]);
    return PS_OK;
}

static const struct bench_suite bench_scale = {
    .name = "scale",
    .n_settings = KINDS,
    .self_bytes = sizeof(struct scale),
    .choose = choose,
    .open = open_all,
    .round = measure_round,
    .prove = prove,
    .close = close_all,
};

/* ---- the command line ----------------------------------------------------------- */

static void usage(FILE *to)
{
    fputs(
        "usage: psbench-scale [OPTION]...\n"
        "\n"
        "Measures how much more several shards do than one, each on a CPU of its own\n"
        "and without sockets.\n"
        "\n"
        "  -n, --shards=N     beside one  [2]\n"
        "  -o, --only=GLOB    only cases with such names; may be given again\n"
        "  -l, --list         the names of the cases, and nothing else\n"
        "  -r, --rounds=N     how often everything is measured  [9]\n"
        "  -s, --seconds=S    how long each time, up to 60  [0.2]\n"
        "  -a, --alone        without the limits\n"
        "  -c, --cpu          rates by processor time, for a machine that others use\n"
        "  -j, --json         one object a line, and everything else to standard "
        "error\n"
        "  -h, --help\n"
        "  -V, --version\n",
        to);
}

/* -1: go on; else the exit code. */
static int take_option(struct bench_options *o, int letter)
{
    switch (letter) {
    case 'n': return bench_count("shards", optarg, SHARDS, &n_shards);
    case 'c': by_cpu_time = true; return -1;
    case 'h': usage(stdout); return 0;
    case 'V': puts("psbench-scale " PACKAGE_VERSION); return 0;
    default: return bench_take_option(o, letter, optarg);
    }
}

static int take_options(struct bench_options *o, int argc, char **argv)
{
    static const struct option long_options[] = {
        { "shards", required_argument, NULL, 'n' },
        { "only", required_argument, NULL, 'o' },
        { "list", no_argument, NULL, 'l' },
        { "rounds", required_argument, NULL, 'r' },
        { "seconds", required_argument, NULL, 's' },
        { "alone", no_argument, NULL, 'a' },
        { "cpu", no_argument, NULL, 'c' },
        { "json", no_argument, NULL, 'j' },
        { "help", no_argument, NULL, 'h' },
        { "version", no_argument, NULL, 'V' },
        { NULL, 0, NULL, 0 },
    };
    int letter, code = -1;

    while (code < 0 && (letter = getopt_long(argc, argv, "n:o:lr:s:acjhV", long_options,
                                             NULL)) != -1)
        code = take_option(o, letter);
    if (code < 0 && optind < argc)
        code = bench_wrong("takes no argument");
    if (code < 0 && n_shards > cpus.n)
        code = bench_wrong("--shards=%u: there are %u CPUs for it", n_shards, cpus.n);
    o->notes = o->json ? stderr : stdout;
    return code;
}

static void print_head(const struct bench_options *o)
{
    bench_print_options("psbench-scale", o);
    fprintf(o->notes, " --shards=%u%s\npsd %s, ", n_shards, by_cpu_time ? " --cpu" : "",
            PACKAGE_VERSION);
    bench_print_machine(o->notes);
    fputc('\n', o->notes);
    fflush(o->notes);
}

int main(int argc, char **argv)
{
    struct bench_options o = {
        .rounds = 9, .seconds = 0.2, .rows = 1000000, .batch = 10000
    };
    size_t    n_cases;
    ps_status st;
    int       code;

    bench_begin("psbench-scale");
    ps_cpus_allowed(&cpus);
    code = take_options(&o, argc, argv);
    if (code >= 0)
        return code;
    if (!o.list)
        print_head(&o);
    st = bench_run_suite(&bench_scale, &o, &n_cases);
    if (!st && n_cases == 0)
        st = ps_fail(PS_ERR_CONFIG,
                     "--only=%s: no such case, psbench-scale --list names them",
                     o.only[0]);
    return ps_status_exit_code(st);
}
