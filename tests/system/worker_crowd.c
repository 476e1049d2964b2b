/*
 * worker_crowd.c - many workers of one job in one process: they come, each pushes once
 * and sees what all have pushed, and go.
 *
 *     worker_crowd JOB WORKERS
 *
 * Ends with 0 when everything was as expected, with 1 and a line that says what was
 * not.
 */
#include "tests/system/program.h"

#include <stdlib.h>

#define WORKERS_MAX 1000
#define ELEMENTS 16

struct one {
    ps_worker *worker;
    ps_matrix *matrix;
};

static void come(struct one *one, const char *job, uint32_t workers, int rank)
{
    ps_worker_options o = PS_WORKER_OPTIONS;
    ps_matrix_options mo = PS_MATRIX_OPTIONS;
    ps_settings      *settings;

    must(ps_settings_parse(&settings, "job: {strategy: asp}\n"));
    o.job = job;
    o.workers = workers;
    o.rank = rank;
    o.settings = settings;
    mo.optimiser = PS_ADD;
    must(ps_worker_open(&one->worker, &o));
    must(ps_dense(one->worker, "w", 1, ELEMENTS, &mo, &one->matrix));
    ps_settings_free(&settings);
}

int main(int argc, char **argv)
{
    static struct one all[WORKERS_MAX];
    float             ones[ELEMENTS], value[ELEMENTS];
    int               n = argc == 3 ? atoi(argv[2]) : 0;

    check(n > 0 && n <= WORKERS_MAX);
    for (int i = 0; i < ELEMENTS; i++)
        ones[i] = 1;
    for (int r = 0; r < n; r++)
        come(&all[r], argv[1], (uint32_t)n, r);
    for (int r = 0; r < n; r++)
        must(ps_push(all[r].matrix, ones));
    for (int r = 0; r < n; r++) {
        must(ps_pull(all[r].matrix, value));
        for (int i = 0; i < ELEMENTS; i++)
            check(value[i] == (float)n);
    }
    for (int r = 0; r < n; r++)
        must(ps_worker_close(&all[r].worker));
    return 0;
}
