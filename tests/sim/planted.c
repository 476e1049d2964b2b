/*
 * planted.c - the simulator with mistakes in it (common/base/plant.h), one at a time:
 * it has to find each of them.
 *
 *     planted [LAST [NUMBER]]           by the seed that is known to find it, or else
 * one of 1 to LAST (2000); NUMBER: this one alone planted --first [LAST [NUMBER]]   by
 * the first of all seeds
 *
 * Many a mistake shows only in one of a thousand runs, so the known seeds save minutes.
 */
#include "tests/sim/programme.h"

#include "common/base/plant.h"

#include <inttypes.h>
#include <sodium.h>
#include <stdlib.h>
#include <string.h>

enum psd_plant psd_planted;

/* With the first seed that finds it, as `planted --first` said. */
static const struct {
    const char *name;
    uint64_t    seed;
} plants[PLANTS] = {
    [PLANT_DEDUPE] = { "dedupe", 1 },
    [PLANT_ACK_EARLY] = { "ack-early", 26 },
    [PLANT_DEAD_COUNTS] = { "dead-counts", 5 },
    [PLANT_TORN] = { "torn", 3 },
    [PLANT_LATE_IS_OK] = { "late-is-ok", 20 },
    [PLANT_SLACK] = { "slack", 1 },
    [PLANT_SPARES] = { "spares", 6 },
    [PLANT_PARTS] = { "parts", 7 },
    [PLANT_NO_RESEND] = { "no-resend", 1 },
    [PLANT_HIGHEST] = { "highest", 329 },
    [PLANT_DURABLE] = { "durable", 121 },
    [PLANT_MIXED_SETS] = { "mixed-sets", 366 },
    [PLANT_OLD_LIFE] = { "old-life", 121 },
    [PLANT_KEPT_GRADIENT] = { "kept-gradient", 196 },
    [PLANT_PARTS_AGAIN] = { "parts-again", 329 },
    [PLANT_ROLLBACK] = { "rollback", 1253 },
    [PLANT_LENT] = { "lent", 9 },
};

/* The undisturbed run that it is compared with has no mistakes. */
static struct outcome run_seed(enum psd_plant plant, uint64_t seed)
{
    struct plan    plan = plan_of(seed);
    struct outcome o;

    psd_planted = plant;
    o = programme_run(&plan, 0, NULL);
    psd_planted = PLANT_NONE;
    programme_compare(&plan, &o);
    return o;
}

static bool is_found(enum psd_plant plant, uint64_t seed)
{
    struct outcome o = run_seed(plant, seed);

    if (o.wrong[0])
        printf("%-14s seed %5" PRIu64 ": %.200s\n", plants[plant].name, seed, o.wrong);
    fflush(stdout);
    return o.wrong[0];
}

/* One line: its name, and how a seed has found it. */
static bool find(enum psd_plant plant, uint64_t last, bool first)
{
    if (!first && is_found(plant, plants[plant].seed))
        return true;
    for (uint64_t seed = 1; seed <= last; seed++)
        if (is_found(plant, seed))
            return true;
    printf("%-14s NOT FOUND by seeds 1 to %" PRIu64 "\n", plants[plant].name, last);
    return false;
}

int main(int argc, char **argv)
{
    bool     first = argc > 1 && !strcmp(argv[1], "--first");
    int      at = 1 + first, missed = 0;
    uint64_t last = argc > at ? strtoull(argv[at], NULL, 10) : 2000;
    int      only = argc > at + 1 ? atoi(argv[at + 1]) : 0;

    if (sodium_init() < 0)
        return 70;
    for (int p = PLANT_NONE + 1; p < PLANTS; p++)
        if (only == 0 || only == p)
            missed += !find((enum psd_plant)p, last, first);
    return missed != 0;
}
