/*
 * worker_counts.c - a worker that keeps count of its own iterations on every shard, for
 * plays in which others are killed, stopped or cut off.
 *
 *     worker_counts SETTINGS END    adds 1 to its row of four matrices of integers in
 *                                   each iteration, up to clock END; 0: until there is
 *                                   a file "enough"
 *     worker_counts SETTINGS read   an observer; prints what each rank has counted
 *
 * Says "done T" of each iteration that the server has acknowledged, "back" when its job
 * went back, "again" when it had counted as lost and has joined once more, and at the
 * end what it has counted, as the observer does.  With every pull it looks whether its
 * rows hold what it has added: neither less nor more.
 */
#include "tests/system/program.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define TALLIES 4u /* small ones, so they lie on different shards */
#define COLUMNS 64u
#define PAUSE_MS 2

static const char  *settings_text;
static uint32_t     workers;
static ps_settings *settings;
static ps_worker   *worker;
static ps_matrix   *tallies[TALLIES];
static int64_t      ones[COLUMNS];
static uint64_t     start;         /* the clock at which it has joined, */
static int64_t      base[TALLIES]; /* and what its rows held then */

static void check_tally(int fact, const char *what, uint32_t tally, int64_t is,
                        int64_t expected)
{
    if (fact)
        return;
    fprintf(stderr, "%s: tally %u is %" PRId64 ", expected %" PRId64 "\n", what, tally,
            is, expected);
    exit(1);
}

static void join(int observer)
{
    ps_worker_options opt = PS_WORKER_OPTIONS;
    ps_matrix_options counters = PS_MATRIX_OPTIONS;

    if (!settings)
        must(ps_settings_parse(&settings, settings_text));
    opt.settings = settings;
    opt.observer = observer;
    must(ps_worker_open(&worker, &opt));
    counters.dtype = PS_I64;
    counters.optimiser = PS_ADD;
    for (uint32_t i = 0; i < TALLIES; i++) {
        char name[16];

        snprintf(name, sizeof(name), "tally%u", i);
        must(ps_dense(worker, name, workers, COLUMNS, &counters, &tallies[i]));
    }
}

/* What a rank has counted; all columns of a row are alike. */
static ps_status read_row(uint32_t rank, int64_t counted[TALLIES])
{
    static int64_t row[COLUMNS];

    for (uint32_t i = 0; i < TALLIES; i++) {
        ps_status st =
            ps_pull_range(tallies[i], (uint64_t)rank * COLUMNS, COLUMNS, row);

        if (st)
            return st;
        counted[i] = row[0];
        for (uint32_t c = 1; c < COLUMNS; c++)
            check_tally(row[c] == row[0], "half a row", i, row[c], row[0]);
    }
    return PS_OK;
}

static void say_row(uint32_t rank, const int64_t counted[TALLIES])
{
    printf("counted %u:", rank);
    for (uint32_t i = 0; i < TALLIES; i++)
        printf(" %" PRId64, counted[i]);
    putchar('\n');
}

static int64_t expected_of(uint32_t tally)
{
    return base[tally] + (int64_t)(ps_clock(worker) - start);
}

static ps_status look(void)
{
    int64_t   counted[TALLIES];
    ps_status st = read_row(ps_rank(worker), counted);

    for (uint32_t i = 0; !st && i < TALLIES; i++)
        check_tally(counted[i] == expected_of(i), "own row", i, counted[i],
                    expected_of(i));
    return st;
}

static ps_status one_iteration(void)
{
    const uint64_t first = (uint64_t)ps_rank(worker) * COLUMNS;
    ps_status      st = look();

    if (st)
        return st;
    nap_ms(PAUSE_MS);
    for (uint32_t i = 0; !st && i < TALLIES; i++)
        st = ps_push_range(tallies[i], first, COLUMNS, ones);
    if (!st)
        st = ps_finish(worker);
    if (!st)
        printf("done %" PRIu64 "\n", ps_clock(worker));
    return st;
}

/* Of what was under way when it was lost, all, some or nothing has come. */
static void join_again(void)
{
    int64_t had[TALLIES];

    for (uint32_t i = 0; i < TALLIES; i++)
        had[i] = expected_of(i);
    ps_worker_abandon(&worker, "it was lost");
    join(0);
    start = ps_clock(worker);
    must(read_row(ps_rank(worker), base));
    puts("again");
    for (uint32_t i = 0; i < TALLIES; i++)
        check_tally(base[i] == had[i] || base[i] == had[i] + 1, "after the loss", i,
                    base[i], had[i]);
}

static int goes_on(uint64_t end)
{
    return end ? ps_clock(worker) < end : access("enough", F_OK) != 0;
}

static int count(uint64_t end)
{
    int64_t counted[TALLIES];

    join(0);
    start = ps_clock(worker);
    while (goes_on(end)) {
        ps_status st = one_iteration();

        if (st == PS_ERR_ROLLBACK)
            puts("back");
        else if (st == PS_ERR_RANK)
            join_again();
        else
            must(st);
    }
    must(look());
    must(read_row(ps_rank(worker), counted));
    say_row(ps_rank(worker), counted);
    return 0;
}

static int read_all(void)
{
    int64_t counted[TALLIES];

    join(1);
    for (uint32_t rank = 0; rank < workers; rank++) {
        must(read_row(rank, counted));
        say_row(rank, counted);
    }
    return 0;
}

int main(int argc, char **argv)
{
    const char *size = getenv("PSW_WORLD_SIZE");
    int         code;

    if (argc != 3 || !size)
        return 64;
    settings_text = argv[1];
    workers = (uint32_t)strtoul(size, NULL, 10);
    setvbuf(stdout, NULL, _IOLBF, 0);
    for (uint32_t c = 0; c < COLUMNS; c++)
        ones[c] = 1;
    code =
        strcmp(argv[2], "read") == 0 ? read_all() : count(strtoull(argv[2], NULL, 10));
    must(ps_worker_close(&worker));
    ps_settings_free(&settings);
    return code;
}
