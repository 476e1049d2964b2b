/*
 * kill_tally.c - workers that count on psd processes which are killed, and that know
 * what they were promised; rounds.sh starts both.
 *
 *     kill_tally work STRATEGY ACK EVERY MOST    until there is a file called stop
 *     kill_tally check STRATEGY ACK EVERY MOST   an observer looks at what was counted
 *
 * ACK, EVERY and MOST are what the job says of ack, snapshot_every and max_rollback.
 *
 * A worker has one counter for each of its iterations in each matrix, dense and sparse,
 * so that in the end every counter tells whether its iteration was lost (0), counted
 * once, or doubled.  It keeps a journal, one line for each thing that it was told:
 *
 *     a CLOCK SECONDS      an iteration is acknowledged; CLOCK are
 *     b FROM TO SECONDS    it was told that the job went back; FROM were acknowledged
 *     end CLOCK            it has left
 */
#include "tests/system/program.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#define WORKERS 3u
#define ITERATIONS 2000u /* at most; so that a dense matrix lies on one shard */
#define DENSE 4u
#define ROWS 4u /* of an iteration */
#define COLS 2u

static ps_worker *worker;
static ps_matrix *dense[DENSE], *rows, *stop;
static FILE      *journal;

static double now_seconds(void)
{
    struct timespec t;

    clock_gettime(CLOCK_REALTIME, &t);
    return (double)t.tv_sec + (double)t.tv_nsec / 1e9;
}

static void join(char **argv, int observer)
{
    ps_worker_options opt = PS_WORKER_OPTIONS;
    ps_settings      *settings;
    char              text[160];

    snprintf(text, sizeof(text),
             "job: {strategy: %s, ack: %s, snapshot_every: %s, max_rollback: %s}\n",
             argv[2], argv[3], argv[4], argv[5]);
    must(ps_settings_parse(&settings, text));
    opt.settings = settings;
    opt.workers = WORKERS;
    opt.observer = observer;
    must(ps_worker_open(&worker, &opt));
    ps_settings_free(&settings);
}

static void open_counters(void)
{
    ps_matrix_options o = PS_MATRIX_OPTIONS;

    o.dtype = PS_I64;
    o.optimiser = PS_ADD;
    for (unsigned m = 0; m < DENSE; m++) {
        char name[16];

        snprintf(name, sizeof(name), "dense%u", m);
        must(ps_dense(worker, name, WORKERS, ITERATIONS, &o, &dense[m]));
    }
    must(ps_sparse(worker, "rows", COLS, &o, &rows));
    must(ps_dense(worker, "stop", 1, 1, &o, &stop));
}

static uint64_t row_key(uint64_t rank, uint64_t t, uint64_t j)
{
    return ((rank * ITERATIONS + t) * ROWS + j) * 0x9e3779b97f4a7c15u;
}

/* ---- counting ------------------------------------------------------------------- */

/* The first failure counts; all tickets are waited for. */
static ps_status count(uint64_t rank, uint64_t t)
{
    static const int64_t one = 1;
    uint64_t             keys[ROWS];
    int64_t              values[ROWS * COLS];
    ps_ticket           *tickets[DENSE + 1];
    unsigned             n = 0;
    ps_status            st = PS_OK, waited;

    for (unsigned j = 0; j < ROWS; j++) {
        keys[j] = row_key(rank, t, j);
        values[j * COLS] = 1;
        values[j * COLS + 1] = (int64_t)t + 1;
    }
    for (unsigned m = 0; !st && m < DENSE; m++) {
        st = ps_push_range_async(dense[m], rank * ITERATIONS + t, 1, &one, &tickets[n]);
        n += st == PS_OK;
    }
    if (!st) {
        st = ps_push_rows_async(rows, keys, ROWS, values, &tickets[n]);
        n += st == PS_OK;
    }
    for (unsigned i = 0; i < n; i++) {
        waited = ps_wait(&tickets[i]);
        if (!st)
            st = waited;
    }
    return st;
}

/* Under bsp all have to end at the same clock, so worker 0 tells them in a matrix.
 * Under asp a shard may have gone back less far than others and hold iterations beyond
 * this clock: who ends now would leave them there. */
static ps_status iterate(int in_step, int *over)
{
    static const int64_t one = 1;
    static uint64_t      begun; /* iterations, before any rollback too */
    uint64_t             rank = ps_rank(worker), t = ps_clock(worker);
    int                  asked = access("stop", F_OK) == 0;
    int64_t              told = 0;
    ps_status            st = ps_pull_any(stop, &told);

    *over = t + 1 == ITERATIONS || (in_step ? told > 0 : asked && t >= begun);
    if (st || *over)
        return st;
    if (begun < t + 1)
        begun = t + 1;
    st = count(rank, t);
    if (!st && in_step && asked && rank == 0)
        st = ps_push_any(stop, &one);
    if (!st)
        st = ps_finish(worker);
    return st;
}

static void nap(void)
{
    double u = ps_random_at((uint64_t)getpid(), 1, ps_clock(worker));

    nanosleep(&(struct timespec){ .tv_nsec = (long)(1e6 + 4e6 * u) }, NULL);
}

/* The clock at which it ended, and has left. */
static uint64_t work(int in_step)
{
    uint64_t  acknowledged = 0, clock;
    int       over = 0;
    ps_status st;

    do {
        nap();
        st = over ? PS_OK : iterate(in_step, &over);
        clock = ps_clock(worker);
        if (!st && over)
            st = ps_worker_close(&worker);
        else if (!st)
            fprintf(journal, "a %" PRIu64 " %.6f\n", acknowledged = clock,
                    now_seconds());
        if (st == PS_ERR_ROLLBACK) {
            clock = ps_clock(worker);
            fprintf(journal, "b %" PRIu64 " %" PRIu64 " %.6f\n", acknowledged, clock,
                    now_seconds());
            acknowledged = clock;
            over = 0;
        } else {
            must(st);
        }
        fflush(journal);
    } while (worker);
    return clock;
}

static void open_journal(void)
{
    char path[32];

    snprintf(path, sizeof(path), "journal-%u", ps_rank(worker));
    journal = fopen(path, "w");
    if (!journal) {
        fprintf(stderr, "cannot write %s\n", path);
        exit(1);
    }
}

/* ---- checking ------------------------------------------------------------------- */

static uint64_t lost, doubled;

static void look(int64_t counted, int64_t once, int expected)
{
    if (expected && counted == 0)
        lost++;
    else if (counted != (expected ? once : 0))
        doubled++;
}

static uint64_t ended_at(unsigned rank)
{
    char     path[32], line[128];
    uint64_t clock = UINT64_MAX;
    FILE    *f;

    snprintf(path, sizeof(path), "journal-%u", rank);
    f = fopen(path, "r");
    while (f && fgets(line, sizeof(line), f))
        if (!strncmp(line, "end ", 4))
            clock = strtoull(line + 4, NULL, 10);
    if (f)
        fclose(f);
    if (clock == UINT64_MAX) {
        fprintf(stderr, "%s: worker %u has not ended\n", path, rank);
        exit(1);
    }
    return clock;
}

static void check_rows(unsigned rank, uint64_t end)
{
    static uint64_t keys[ITERATIONS * ROWS];
    static int64_t  values[ITERATIONS * ROWS * COLS];

    for (uint64_t i = 0; i < ITERATIONS * ROWS; i++)
        keys[i] = row_key(rank, i / ROWS, i % ROWS);
    must(ps_pull_rows(rows, keys, ITERATIONS * ROWS, values));
    for (uint64_t i = 0; i < ITERATIONS * ROWS; i++) {
        uint64_t t = i / ROWS;

        look(values[i * COLS], 1, t < end);
        look(values[i * COLS + 1], (int64_t)t + 1, t < end);
    }
}

static int look_at_all(void)
{
    static int64_t values[WORKERS][ITERATIONS];
    uint64_t       end[WORKERS];

    for (unsigned r = 0; r < WORKERS; r++) {
        end[r] = ended_at(r);
        check_rows(r, end[r]);
    }
    for (unsigned m = 0; m < DENSE; m++) {
        must(ps_pull_any(dense[m], values));
        for (unsigned r = 0; r < WORKERS; r++)
            for (uint64_t t = 0; t < ITERATIONS; t++)
                look(values[r][t], 1, t < end[r]);
    }
    printf("%" PRIu64 " %" PRIu64 "\n", lost, doubled);
    return 0;
}

int main(int argc, char **argv)
{
    int observer = argc == 6 && !strcmp(argv[1], "check");

    if (argc != 6 || (!observer && strcmp(argv[1], "work"))) {
        fputs("usage: kill_tally work|check STRATEGY ACK EVERY MOST\n", stderr);
        return 64;
    }
    join(argv, observer);
    open_counters();
    if (observer) {
        int code = look_at_all();

        must(ps_worker_close(&worker));
        return code;
    }
    open_journal();
    fprintf(journal, "end %" PRIu64 "\n", work(!strcmp(argv[2], "bsp")));
    return fclose(journal) == 0 ? 0 : 1;
}
