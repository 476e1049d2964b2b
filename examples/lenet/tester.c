/*
 * tester.c - looks at the model from outside while others train it.
 *
 * An observer pulls without waiting and without being waited for, so what it measures
 * costs the workers nothing but the machine's time.  It ends when it is told to
 * (SIGTERM), after a last test of what is there then.
 */
#include "tester.h"

#include <signal.h>
#include <stdio.h>
#include <time.h>

struct tester {
    struct lenet_task *task;
    ps_worker         *worker;
    ps_model          *model;
};

static volatile sig_atomic_t told_to_end;

static void on_signal(int number)
{
    (void)number;
    told_to_end = 1;
}

static ps_status test(struct tester *t)
{
    uint64_t  n = ps_data_n(t->task->test), correct;
    ps_status st;

    do
        st = ps_model_pull(t->model);
    while (st == PS_ERR_ROLLBACK); /* what it reads now is as good */
    if (st)
        return st;
    correct = lenet_task_correct(t->task, 0, n);
    printf("%llu of %llu test images right\n", (unsigned long long)correct,
           (unsigned long long)n);
    fflush(stdout);
    return ps_report(t->worker, "test_accuracy", (double)correct / (double)n);
}

/* A report travels while the library is called, so it is not slept through. */
static ps_status wait_until(struct tester *t, double then)
{
    ps_status st = PS_OK;

    while (!st && !told_to_end && lenet_seconds() < then) {
        nanosleep(&(struct timespec){ .tv_nsec = 20000000 }, NULL);
        st = ps_progress(t->worker, 0);
    }
    return st;
}

static ps_status run(struct tester *t)
{
    ps_worker_options o = PS_WORKER_OPTIONS;
    ps_status         st;

    o.settings = t->task->settings;
    o.observer = 1;
    st = ps_worker_open(&t->worker, &o);
    if (!st)
        st = lenet_task_bind(t->task, t->worker, &t->model);
    while (!st && !told_to_end) {
        double next = lenet_seconds() + t->task->train.test_every;

        st = test(t);
        if (!st)
            st = wait_until(t, next);
    }
    return st ? st : test(t);
}

void lenet_tester_listen(void)
{
    struct sigaction catch = { .sa_handler = on_signal };

    sigaction(SIGTERM, &catch, NULL);
}

int lenet_tester(struct lenet_task *task)
{
    struct tester t = { .task = task };
    ps_status     st;
    int           code;

    st = run(&t);
    if (!st)
        st = ps_worker_close(&t.worker);
    if (!st)
        return 0;
    code = lenet_failed(st);
    ps_worker_abandon(&t.worker, ps_why());
    return code;
}
