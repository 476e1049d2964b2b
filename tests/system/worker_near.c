/*
 * worker_near.c - a worker with parameters that are large enough to be lent, on the
 * host of its servers; share.sh starts several.
 *
 *     worker_near hash N        bsp: N iterations; worker 0 prints the model's hash
 *     worker_near count         asp: counts in every element, until there is a file
 * called stop, and looks whether what it pulls is of one moment worker_near look asp,
 * observer: is it so at the end?
 *
 * NEAR_UID: as this user.  Each but `look` prints, before it ends, how many segments of
 * others it has mapped.
 */
#include "tests/system/program.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#define BIG ((uint64_t)3 << 17) /* elements of 8 bytes in 3 MiB: 3 chunks */
#define CHUNK ((uint64_t)1 << 17)
#define ROWS 5000u
#define COLS 16u

static ps_worker *worker;
static ps_matrix *big, *rows;
static int64_t    value[BIG], change[BIG], row_value[ROWS * COLS];
static uint64_t   keys[ROWS];

static void join(const char *job, int observer)
{
    ps_worker_options opt = PS_WORKER_OPTIONS;
    ps_matrix_options o = PS_MATRIX_OPTIONS;
    ps_settings      *settings;

    must(ps_settings_parse(&settings, job));
    opt.settings = settings;
    opt.observer = observer;
    must(ps_worker_open(&worker, &opt));
    ps_settings_free(&settings);
    o.dtype = PS_I64;
    o.optimiser = PS_ADD;
    must(ps_dense(worker, "big", 1, BIG, &o, &big));
    must(ps_sparse(worker, "rows", COLS, &o, &rows));
    for (uint64_t i = 0; i < ROWS; i++)
        keys[i] = i * 0x9e3779b97f4a7c15u;
}

/* Of a chunk all elements have been counted as often. */
static void look_at(const int64_t *all)
{
    for (uint64_t i = 0; i < BIG; i++)
        if (all[i] != all[i - i % CHUNK])
            fail(__LINE__, "a chunk of two moments");
}

static void iterate(uint64_t t, int64_t scale)
{
    ps_ticket *tickets[2];

    for (uint64_t i = 0; i < BIG; i++)
        change[i] = 1 + scale * (int64_t)((i * 7 + t * 13 + ps_rank(worker)) % 11);
    for (uint64_t i = 0; i < ROWS * COLS; i++)
        row_value[i] = 1 + scale * (int64_t)((i + t) % 5);
    must(ps_push_range_async(big, 0, BIG, change, &tickets[0]));
    must(ps_push_rows_async(rows, keys, ROWS, row_value, &tickets[1]));
    must(ps_wait(&tickets[0]));
    must(ps_wait(&tickets[1]));
    must(ps_finish(worker));
}

static void hash(uint64_t n)
{
    char hex[65];

    join("job: {strategy: bsp}\n", 0);
    for (uint64_t t = 0; t < n; t++) {
        iterate(t, 1);
        must(ps_pull_range(big, 0, BIG, value));
        must(ps_pull_rows(rows, keys, ROWS, row_value));
    }
    if (ps_rank(worker) == 0) {
        must(ps_model_hash(worker, hex));
        puts(hex);
    }
}

static void count(void)
{
    int64_t seen = 0;

    join("job: {strategy: asp}\n", 0);
    for (uint64_t t = 0; access("stop", F_OK); t++) {
        iterate(t, 0);
        must(ps_pull_range(big, 0, BIG, value));
        look_at(value);
        check(value[0] > seen); /* mine is in it */
        seen = value[0];
        must(ps_pull_rows(rows, keys, ROWS, row_value));
        check(row_value[0] > (int64_t)t && row_value[ROWS * COLS - 1] > (int64_t)t);
        fprintf(stderr, "counted %" PRIu64 "\n", t + 1);
    }
}

static void look(void)
{
    join("job: {strategy: asp}\n", 1);
    must(ps_pull_range(big, 0, BIG, value));
    look_at(value);
    must(ps_pull_rows(rows, keys, ROWS, row_value));
    printf("%" PRId64 " %" PRId64 "\n", value[0], row_value[0]);
}

int main(int argc, char **argv)
{
    const char *uid = getenv("NEAR_UID");
    uint64_t    n = argc > 2 ? strtoull(argv[2], NULL, 10) : 0;

    if (uid)
        check(setuid((uid_t)atoi(uid)) == 0);
    if (argc > 1 && !strcmp(argv[1], "hash"))
        hash(n);
    else if (argc > 1 && !strcmp(argv[1], "count"))
        count();
    else if (argc > 1 && !strcmp(argv[1], "look"))
        look();
    else
        return 64;
    if (strcmp(argv[1], "look") != 0)
        printf("segments %d\n", segments_of_others());
    must(ps_worker_close(&worker));
    return 0;
}
