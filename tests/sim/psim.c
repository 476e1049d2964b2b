/*
 * psim.c - many whole runs of a cluster under virtual time, one for each seed.
 *
 *     psim --seeds 1..2000        run them; the first that fails says why and ends it
 *     psim --seed 17 --trace      one, with every message
 *
 * A bsp run that nothing disturbed must end with the parameters of the same training on
 * one shard and a perfect network, bit for bit.
 */
#include "tests/sim/programme.h"

#include "common/base/log.h"
#include "common/base/plant.h"

#include <getopt.h>
#include <inttypes.h>
#include <sodium.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#ifdef PSD_PLANT
enum psd_plant psd_planted;

static const char *const plants[PLANTS] = {
    [PLANT_DEDUPE] = "dedupe",           [PLANT_ACK_EARLY] = "ack-early",
    [PLANT_DEAD_COUNTS] = "dead-counts", [PLANT_TORN] = "torn",
    [PLANT_LATE_IS_OK] = "late-is-ok",   [PLANT_SLACK] = "slack",
    [PLANT_SPARES] = "spares",           [PLANT_PARTS] = "parts",
    [PLANT_NO_RESEND] = "no-resend",     [PLANT_HIGHEST] = "highest",
    [PLANT_DURABLE] = "durable",         [PLANT_MIXED_SETS] = "mixed-sets",
    [PLANT_OLD_LIFE] = "old-life",       [PLANT_KEPT_GRADIENT] = "kept-gradient",
    [PLANT_PARTS_AGAIN] = "parts-again",
};

/* Seeds that have found them; tried first, since many a mistake shows only in one of a
 * thousand runs. */
static const uint64_t hints[PLANTS] = {
    [PLANT_DEDUPE] = 1,        [PLANT_ACK_EARLY] = 26,
    [PLANT_DEAD_COUNTS] = 5,   [PLANT_TORN] = 701,
    [PLANT_LATE_IS_OK] = 20,   [PLANT_SLACK] = 6,
    [PLANT_SPARES] = 6,        [PLANT_PARTS] = 4,
    [PLANT_NO_RESEND] = 1,     [PLANT_HIGHEST] = 701,
    [PLANT_DURABLE] = 430,     [PLANT_MIXED_SETS] = 1962,
    [PLANT_OLD_LIFE] = 1338,   [PLANT_KEPT_GRADIENT] = 1445,
    [PLANT_PARTS_AGAIN] = 430,
};

/* One line: its name, and how the first seed that finds it has found it. */
static int find_plant(enum psd_plant plant, uint64_t from, uint64_t to)
{
    psd_planted = plant;
    for (uint64_t i = from - 1; i <= to; i++) {
        uint64_t       seed = i < from ? hints[plant] : i;
        struct plan    plan = plan_of(seed);
        struct outcome o = programme_run(&plan, 0, NULL);

        if (!o.wrong[0] && o.comparable) {
            struct plan    calm = plan_calm(&plan);
            struct outcome c;

            psd_planted = PLANT_NONE;
            c = programme_run(&calm, 0, NULL);
            psd_planted = plant;
            if (strcmp(c.hash, o.hash) != 0)
                strcpy(o.wrong, "the model differs from that of the undisturbed run");
        }
        if (o.wrong[0]) {
            printf("%-14s seed %5" PRIu64 ": %.200s\n", plants[plant], seed, o.wrong);
            return 0;
        }
    }
    printf("%-14s NOT FOUND by seeds %" PRIu64 " to %" PRIu64 "\n", plants[plant], from,
           to);
    return 1;
}

int main(int argc, char **argv)
{
    int      missed = 0;
    uint64_t last = argc > 1 ? strtoull(argv[1], NULL, 10) : 2000;
    int      only = argc > 2 ? atoi(argv[2]) : 0;

    if (sodium_init() < 0)
        return 70;
    for (int p = PLANT_NONE + 1; p < PLANTS; p++)
        if (only == 0 || only == p)
            missed += find_plant((enum psd_plant)p, 1, last);
    return missed != 0;
}
#else

#define TRACE_LINES 40u /* of a failure */

struct sums {
    uint64_t runs, compared, messages, lives;
    double   virtual_seconds;
};

static struct outcome run_seed(const struct plan *plan, uint32_t without, FILE *trace)
{
    struct outcome o = programme_run(plan, without, trace);
    struct plan    calm = plan_calm(plan);
    struct outcome c;

    if (o.wrong[0] || !o.comparable)
        return o;
    c = programme_run(&calm, 0, NULL);
    if (c.wrong[0])
        snprintf(o.wrong, sizeof(o.wrong), "undisturbed: %.900s", c.wrong);
    else if (strcmp(c.hash, o.hash) != 0)
        snprintf(o.wrong, sizeof(o.wrong),
                 "the model differs from that of the undisturbed run");
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
    fputs(
        "usage: psim --seeds A..B | --seed N [--clean] [--without FAULTS] [--trace]\n",
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

int main(int argc, char **argv)
{
    static const struct option options[] = {
        { "seeds", required_argument, NULL, 's' },
        { "seed", required_argument, NULL, 'n' },
        { "trace", no_argument, NULL, 't' },
        { "without", required_argument, NULL, 'w' },
        { "clean", no_argument, NULL, 'c' },
        { NULL, 0, NULL, 0 }
    };
    uint64_t from = 1, to = 2000;
    FILE    *trace = NULL;
    uint32_t without = 0;   /* faults, as bits */
    bool     clean = false; /* nothing lost, nothing twice */
    bool     good = sodium_init() >= 0;

    for (int o; (o = getopt_long(argc, argv, "", options, NULL)) != -1;) {
        if (o == 's')
            good = good && parse_range(optarg, &from, &to);
        else if (o == 'n')
            from = to = strtoull(optarg, NULL, 10);
        else if (o == 'w')
            without = (uint32_t)strtoul(optarg, NULL, 0);
        else if (o == 'c')
            clean = true;
        else if (o == 't')
            trace = stdout;
        else
            good = false;
    }
    if (!good || optind < argc) {
        usage(stderr);
        return 64;
    }
    return run_range(from, to, without, clean, trace);
}
#endif
