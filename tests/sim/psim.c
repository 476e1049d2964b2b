/*
 * psim.c - many whole runs of a cluster under virtual time, one for each seed; or what
 * a cluster would do, on paper.
 *
 *     psim --seeds 1..2000        run them; the first that fails says why and ends it
 *     psim --seed 17 --trace      one, with every message
 *     psim --model FILE           paper.h
 *
 * A bsp run that nothing disturbed must end with the parameters of the same training on
 * one shard and a perfect network, bit for bit.
 */
#include "tests/sim/paper.h"
#include "tests/sim/programme.h"

#include <getopt.h>
#include <inttypes.h>
#include <sodium.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#define TRACE_LINES 40u /* of a failure */

struct sums {
    uint64_t runs, compared, messages, lives;
    double   virtual_seconds;
};

static struct outcome run_seed(const struct plan *plan, uint32_t without, FILE *trace)
{
    struct outcome o = programme_run(plan, without, trace);

    programme_compare(plan, &o);
    return o;
}

/* Leaves out one fault after the other, as long as it fails without. */
static uint32_t shorten(struct plan *plan)
{
    uint32_t    without = 0;
    struct plan fewer = *plan;

    fewer.lose_percent = fewer.repeat_percent = fewer.stray_percent = 0;
    if (run_seed(&fewer, 0, NULL).wrong[0])
        *plan = fewer;
    for (uint32_t i = 0; i < plan->n_faults; i++)
        if (run_seed(plan, without | 1u << i, NULL).wrong[0])
            without |= 1u << i;
    return without;
}

/* The end of a run's trace. */
static void print_trace(const struct plan *plan, uint32_t without)
{
    char  *text = NULL;
    size_t bytes = 0, from;
    FILE  *trace = open_memstream(&text, &bytes);

    if (!trace)
        return;
    run_seed(plan, without, trace);
    if (fclose(trace) == 0) {
        from = bytes;
        for (unsigned lines = 0; from > 0 && lines <= TRACE_LINES; from--)
            lines += text[from - 1] == '\n';
        printf("the last of its messages:\n%.*s", (int)(bytes - from), text + from);
    }
    free(text);
}

static void tell_failure(const struct plan *whole, const struct outcome *o)
{
    struct plan    plan = *whole;
    uint32_t       without = shorten(&plan);
    struct outcome again = run_seed(&plan, without, NULL);

    printf("seed %" PRIu64 " FAILED: %s\n", whole->seed, o->wrong);
    plan_print(whole, stdout);
    printf("it also fails with %u %% lost, %u %% twice and these faults left:",
           plan.lose_percent, plan.repeat_percent);
    for (uint32_t i = 0; i < plan.n_faults; i++)
        if (!(without & 1u << i))
            printf(" %u", i);
    printf("\n  %s\nfor all of the trace: psim --seed %" PRIu64
           "%s --without %u --trace\n",
           again.wrong, whole->seed,
           plan.lose_percent < whole->lose_percent ||
                   plan.repeat_percent < whole->repeat_percent
               ? " --clean"
               : "",
           without);
    print_trace(&plan, without);
}

static int run_range(uint64_t from, uint64_t to, uint32_t without, bool clean,
                     FILE *trace)
{
    struct sums     s = { 0 };
    struct timespec began, ended;
    double          seconds;

    clock_gettime(CLOCK_MONOTONIC, &began);
    for (uint64_t seed = from; seed <= to; seed++) {
        struct plan    plan = plan_of(seed);
        struct outcome o;

        if (trace)
            plan_print(&plan, trace);
        if (clean)
            plan.lose_percent = plan.repeat_percent = plan.stray_percent = 0;
        o = run_seed(&plan, without, trace);
        if (o.wrong[0]) {
            tell_failure(&plan, &o);
            return 1;
        }
        s.runs++;
        s.compared += o.comparable;
        s.messages += o.n_messages;
        s.lives += o.n_lives;
        s.virtual_seconds += (double)o.virtual_ns / 1e9;
    }
    clock_gettime(CLOCK_MONOTONIC, &ended);
    seconds = (double)(ended.tv_sec - began.tv_sec) +
              (double)(ended.tv_nsec - began.tv_nsec) / 1e9;
    printf("%" PRIu64 " runs, %" PRIu64 " compared with the undisturbed one, %" PRIu64
           " messages, %" PRIu64 " processes, %.0f virtual seconds in %.1f s: %.0f "
           "runs/s\n",
           s.runs, s.compared, s.messages, s.lives, s.virtual_seconds, seconds,
           (double)s.runs / seconds);
    return 0;
}

static void usage(FILE *to)
{
    fputs("usage: psim --model FILE [--set KEY=VALUE]... [--json] [--quiet]\n"
          "       psim --seeds A..B\n"
          "       psim --seed N [--clean] [--without FAULTS] [--trace]\n"
          "\n"
          "Runs the coordinator, shards and workers of psd in virtual time.\n"
          "\n"
          "  --model FILE     how fast would such clusters be?  The cases of FILE\n"
          "  --set KEY=VALUE  in place of what FILE says: --set compute.ms=80\n"
          "  --json           one object a line\n"
          "  --quiet          no progress\n"
          "\n"
          "  --seeds A..B     do they keep their promises, whatever goes wrong?\n"
          "  --seed N         of one seed\n"
          "  --clean          nothing is lost, late or twice\n"
          "  --without FAULTS of a seed, as bits\n"
          "  --trace          every message\n"
          "\n"
          "  --help\n"
          "  --version\n",
          to);
}

static bool parse_range(const char *text, uint64_t *from, uint64_t *to)
{
    char *end;

    *from = strtoull(text, &end, 10);
    if (end == text || strncmp(end, "..", 2))
        return false;
    text = end + 2;
    *to = strtoull(text, &end, 10);
    return end != text && *end == '\0' && *from <= *to;
}

/* What the command line asks for. */
struct wish {
    uint64_t             from, to;
    FILE                *trace;
    uint32_t             without; /* faults, as bits */
    bool                 clean;   /* nothing lost, nothing twice */
    bool                 seeds;   /* it says something of seeds */
    struct paper_options paper;
};

/* What has no argument. */
static void take_flag(struct wish *w, int option)
{
    switch (option) {
    case 't': w->trace = stdout; break;
    case 'c': w->clean = true; break;
    case 'j': w->paper.json = true; break;
    case 'q': w->paper.quiet = true; break;
    }
    w->seeds = w->seeds || option == 't' || option == 'c';
}

/* False: it makes no sense. */
static bool take_option(struct wish *w, int option)
{
    switch (option) {
    case 's': w->seeds = true; return parse_range(optarg, &w->from, &w->to);
    case 'n':
        w->seeds = true;
        w->from = w->to = strtoull(optarg, NULL, 10);
        return true;
    case 'w':
        w->seeds = true;
        w->without = (uint32_t)strtoul(optarg, NULL, 0);
        return true;
    case 'm': w->paper.file = optarg; return true;
    case 'S':
        if (w->paper.n_sets == PAPER_SETS)
            return false;
        w->paper.sets[w->paper.n_sets++] = optarg;
        return true;
    case '?': return false;
    default: take_flag(w, option); return true;
    }
}

static bool is_whole(const struct wish *w)
{
    bool paper = w->paper.n_sets > 0 || w->paper.json || w->paper.quiet;

    return w->paper.file ? !w->seeds : !paper;
}

int main(int argc, char **argv)
{
    static const struct option options[] = {
        { "seeds", required_argument, NULL, 's' },
        { "seed", required_argument, NULL, 'n' },
        { "trace", no_argument, NULL, 't' },
        { "without", required_argument, NULL, 'w' },
        { "clean", no_argument, NULL, 'c' },
        { "model", required_argument, NULL, 'm' },
        { "set", required_argument, NULL, 'S' },
        { "json", no_argument, NULL, 'j' },
        { "quiet", no_argument, NULL, 'q' },
        { "help", no_argument, NULL, 'h' },
        { "version", no_argument, NULL, 'V' },
        { NULL, 0, NULL, 0 }
    };
    struct wish w = { .from = 1, .to = 2000 };
    bool        good = sodium_init() >= 0;

    for (int o; good && (o = getopt_long(argc, argv, "", options, NULL)) != -1;) {
        if (o == 'h') {
            usage(stdout);
            return 0;
        }
        if (o == 'V') {
            puts("psim " PACKAGE_VERSION);
            return 0;
        }
        good = take_option(&w, o);
    }
    if (!good || optind < argc || !is_whole(&w)) {
        usage(stderr);
        return 64;
    }
    return w.paper.file ? paper_run(&w.paper)
                        : run_range(w.from, w.to, w.without, w.clean, w.trace);
}
