/*
 * hello.c - a whole worker: it asks psd for four parameters and pushes gradients until
 * they are where it wants them.
 *
 *     cc hello.c $(pkg-config --cflags --libs psworker) -o hello
 *
 * Which psd, which job, which worker of how many: that comes from the environment, from
 * PSW_COORDINATOR, PSW_JOB, PSW_RANK and PSW_WORLD_SIZE.  Without them it is the only
 * worker of the job "default" at tcp://127.0.0.1:5570.
 */
#include <ps/worker.h>

#include <stdio.h>

static const float wanted[4] = { 3, 1, 4, 1 };

/* Ten steps down the slope of 25 |x - wanted|^2.  A job that says nothing else is
 * trained by sgd with rate 0.01, so each step halves the distance. */
static ps_status train(ps_worker *worker, ps_matrix *m)
{
    float     x[4], gradient[4];
    ps_status st = ps_pull(m, x);

    for (int step = 1; !st && step <= 10; step++) {
        for (int i = 0; i < 4; i++)
            gradient[i] = 50 * (x[i] - wanted[i]);
        st = ps_push(m, gradient);
        if (!st)
            st = ps_finish(worker); /* the end of this iteration */
        if (!st)
            st = ps_pull(m, x); /* waits until all workers are there */
        if (!st)
            printf("%2d: %.3f %.3f %.3f %.3f\n", step, x[0], x[1], x[2], x[3]);
    }
    return st;
}

int main(void)
{
    ps_worker_options options = PS_WORKER_OPTIONS;
    ps_worker        *worker = NULL;
    ps_matrix        *m;
    ps_status         st = ps_worker_open(&worker, &options);

    if (!st)
        st = ps_dense(worker, "x", 1, 4, NULL, &m);
    if (!st)
        st = train(worker, m);
    if (!st)
        st = ps_worker_close(&worker);
    if (st) {
        fprintf(stderr, "hello: %s\n", ps_why());
        ps_worker_abandon(&worker, "it failed");
    }
    return ps_status_exit_code(st);
}
