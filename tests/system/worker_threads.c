/*
 * worker_threads.c - callbacks and threads, as a program sees them: <ps/worker.h> and
 * nothing else, against a psd that worker.sh has started.
 *
 *     worker_threads CASE
 *
 * Ends with 0 when everything was as expected, with 1 and a line that says what was
 * not.
 */
#include "tests/system/program.h"

#include <math.h>
#include <pthread.h>
#include <semaphore.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

static ps_worker *joined(const char *job, uint32_t workers, int rank, int timeout_ms)
{
    ps_worker_options o = PS_WORKER_OPTIONS;
    ps_worker        *w;

    o.job = job;
    o.workers = workers;
    o.rank = rank;
    o.timeout_ms = timeout_ms;
    must(ps_worker_open(&w, &o));
    return w;
}

/* What is pushed is added, so the sums are known. */
static ps_matrix *adding(ps_worker *w, uint64_t n)
{
    ps_matrix_options o = PS_MATRIX_OPTIONS;
    ps_matrix        *m;

    o.optimiser = PS_ADD;
    must(ps_dense(w, "w", 1, n, &o, &m));
    return m;
}

/* ---- callbacks ------------------------------------------------------------------ */

struct told {
    ps_worker *worker;
    ps_matrix *matrix;
    int        times;
    int        order; /* which of all callbacks it was, from 1 */
    ps_status  status;
    char       why[200];
};

static int n_told, depth;

static void note(void *ctx, ps_status status)
{
    struct told *t = ctx;

    check(depth == 0); /* none runs inside another */
    t->times++;
    t->order = ++n_told;
    t->status = status;
    snprintf(t->why, sizeof(t->why), "%s", ps_why());
}

static void progress_until(ps_worker *w, const int *n, int wanted)
{
    while (*n < wanted)
        must(ps_progress(w, 1000));
}

static void run_callbacks(void)
{
    ps_worker  *w = joined("callbacks", 1, 0, 0);
    ps_matrix  *m = adding(w, 3);
    float       one[3] = { 1, 1, 1 }, bad[3] = { 1, NAN, 1 }, v[3] = { 0 };
    struct told push = { 0 }, none = { 0 }, refused_one = { 0 }, pull = { 0 };
    ps_ticket  *t;

    must(ps_push_async(m, one, &t));
    must(ps_then(&t, note, &push));
    check(t == NULL && push.times == 0);
    progress_until(w, &push.times, 1);
    check(push.status == PS_OK);

    must(ps_pull_range_async(m, 0, 0, v, &t)); /* done before it begins */
    must(ps_then(&t, note, &none));
    check(none.times == 0); /* in a later call */
    must(ps_weight(w, 1));
    check(none.times == 1 && none.order == 2 && none.status == PS_OK);

    must(ps_push_async(m, bad, &t));
    must(ps_then(&t, note, &refused_one));
    must(ps_finish(w)); /* its failure is told once, so not by this */
    progress_until(w, &refused_one.times, 1);
    check(refused_one.status == PS_ERR_NONFINITE && strstr(refused_one.why, "NaN"));

    must(ps_pull_async(m, v, &t));
    must(ps_then(&t, note, &pull));
    progress_until(w, &pull.times, 1);
    check(pull.status == PS_OK && v[0] == 1 && v[2] == 1);

    must(ps_progress(w, 10000)); /* nothing is promised: it does not wait */
    refused(ps_progress(w, -1), PS_ERR_BAD_ARG, "progress: a time of -1 ms");
    refused(ps_then(&t, note, &pull), PS_ERR_BAD_ARG, "then: no ticket");
    must(ps_pull_async(m, v, &t));
    refused(ps_then(&t, NULL, &pull), PS_ERR_BAD_ARG, "then: the function is NULL");
    must(ps_wait(&t));
    must(ps_worker_close(&w));
    check(push.times == 1 && none.times == 1 && refused_one.times == 1 &&
          pull.times == 1);
}

/* From inside: calls that wait, another promise, and what may not be. */
static void call_back(void *ctx, ps_status status)
{
    static float late[3];
    struct told *t = ctx;
    ps_ticket   *next;
    float        one[3] = { 1, 1, 1 }, v[3];

    check(status == PS_OK && depth++ == 0);
    must(ps_push(t->matrix, one));
    must(ps_finish(t->worker));
    must(ps_pull(t->matrix, v));
    check(v[0] == (float)ps_clock(t->worker));
    if (++t->times < 5) {
        must(ps_pull_async(t->matrix, late, &next));
        must(ps_then(&next, call_back, t));
        must(ps_progress(t->worker, 0)); /* moves things, and runs none in here */
    }
    refused(ps_worker_close(&t->worker), PS_ERR_BAD_ARG, "closed by a callback");
    ps_worker_abandon(&t->worker, "does nothing");
    check(t->worker != NULL);
    depth--;
}

static void run_nested(void)
{
    ps_worker  *w = joined("nested", 1, 0, 0);
    struct told t = { .worker = w, .matrix = adding(w, 3) };
    float       v[3];
    ps_ticket  *first;

    must(ps_pull_async(t.matrix, v, &first));
    must(ps_then(&first, call_back, &t));
    for (int i = 0; t.times < 5; i++) {
        must(ps_pull(t.matrix, v)); /* they run while this waits, or before */
        check(i < 100000);
    }
    check(ps_clock(w) == 5);
    must(ps_worker_close(&w));
}

static void note_end(void *ctx, ps_status status)
{
    struct told *t = ctx;

    note(t, status);
    refused(ps_weight(t->worker, 1), PS_ERR_CLOSING, "being closed");
}

/* A pull that waits for a worker which never comes. */
static void promise_never(struct told *t, const char *job, int timeout_ms,
                          ps_done_fn *fn)
{
    static float v[3];
    ps_ticket   *ticket;

    *t = (struct told){ .worker = joined(job, 2, 0, timeout_ms) };
    t->matrix = adding(t->worker, 3);
    must(ps_finish(t->worker));
    must(ps_pull_async(t->matrix, v, &ticket));
    must(ps_then(&ticket, fn, t));
}

static void run_ending(void)
{
    struct told t;
    ps_worker  *w;

    promise_never(&t, "closed", 0, note_end);
    w = t.worker;
    must(ps_worker_close(&w));
    check(t.times == 1 && t.status == PS_ERR_ABORTED && strstr(t.why, "closed"));

    promise_never(&t, "abandoned", 0, note_end);
    w = t.worker;
    ps_worker_abandon(&w, "enough");
    check(t.times == 1 && t.status == PS_ERR_ABORTED && strstr(t.why, "abandoned"));
    check(w == NULL);

    promise_never(&t, "late", 1000, note);
    must(ps_progress(t.worker, 60000)); /* ends with the ticket's own time */
    check(t.times == 1 && t.status == PS_ERR_TIMEOUT && strstr(t.why, "worker 1"));
    must(ps_worker_close(&t.worker));
    check(t.times == 1);
}

static void run_forked(void)
{
    ps_worker  *w = joined("forked", 1, 0, 0);
    ps_matrix  *m = adding(w, 3);
    ps_model   *model;
    struct told t = { 0 };
    float       one[3] = { 1, 1, 1 }, v[3];
    ps_ticket  *ticket, *other;
    char        hash[65];
    int         status;

    must(ps_model_new(&model, w));
    must(ps_model_add(model, m, v, one));
    must(ps_push_async(m, one, &ticket));
    must(ps_push_async(m, one, &other));
    must(ps_then(&other, note, &t));
    if (fork() == 0) {
        refused(ps_progress(w, 0), PS_ERR_FORKED, "child");
        refused(ps_finish(w), PS_ERR_FORKED, "child");
        refused(ps_weight(w, 2), PS_ERR_FORKED, "child");
        refused(ps_push(m, one), PS_ERR_FORKED, "child");
        refused(ps_dense(w, "x", 1, 1, NULL, &m), PS_ERR_FORKED, "child");
        refused(ps_model_pull(model), PS_ERR_FORKED, "child");
        refused(ps_model_push_pull(model), PS_ERR_FORKED, "child");
        refused(ps_model_pull_async(model, &other), PS_ERR_FORKED, "child");
        refused(ps_model_add(model, m, v, one), PS_ERR_FORKED, "child");
        refused(ps_model_new(&model, w), PS_ERR_FORKED, "child");
        refused(ps_model_hash(w, hash), PS_ERR_FORKED, "child");
        check(ps_done(ticket) == 1);
        refused(ps_then(&ticket, note, &t), PS_ERR_FORKED, "child");
        check(ticket == NULL);
        ps_worker_abandon(&w, "of the child's");
        check(w == NULL && t.times == 0); /* the parent's callback is not run */
        _exit(0);
    }
    check(wait(&status) > 0 && status == 0);
    must(ps_wait(&ticket));
    progress_until(w, &t.times, 1);
    must(ps_finish(w));
    must(ps_pull(m, v));
    check(v[0] == 2);
    must(ps_worker_close(&w));
}

/* ---- threads -------------------------------------------------------------------- */

enum { THREADS = 4, STEPS = 25 };

static void *train_alone(void *rank)
{
    ps_worker *w = joined("threads", THREADS, *(const int *)rank, 0);
    ps_matrix *m = adding(w, 1000);
    float      one[1000], v[1000];

    for (int i = 0; i < 1000; i++)
        one[i] = 1;
    for (int step = 1; step <= STEPS; step++) {
        must(ps_push(m, one));
        must(ps_report(w, "step", step));
        must(ps_finish(w));
        must(ps_pull(m, v));
        for (int i = 0; i < 1000; i++)
            check(v[i] == (float)(THREADS * step));
    }
    must(ps_worker_close(&w));
    return NULL;
}

static void run_threads(void)
{
    pthread_t thread[THREADS];
    int       rank[THREADS];

    for (int i = 0; i < THREADS; i++) {
        rank[i] = i;
        check(pthread_create(&thread[i], NULL, train_alone, &rank[i]) == 0);
    }
    for (int i = 0; i < THREADS; i++)
        check(pthread_join(thread[i], NULL) == 0);
}

static struct {
    pthread_mutex_t lock;
    ps_worker      *worker;
    ps_matrix      *matrix;
    int             steps;
} shared = { .lock = PTHREAD_MUTEX_INITIALIZER };

static void *train_in_turn(void *unused)
{
    float one[10], v[10];

    for (int i = 0; i < 10; i++)
        one[i] = 1;
    for (int step = 0; step < STEPS; step++) {
        check(pthread_mutex_lock(&shared.lock) == 0);
        must(ps_push(shared.matrix, one));
        must(ps_finish(shared.worker));
        must(ps_pull(shared.matrix, v));
        check(v[9] == (float)++shared.steps);
        check(pthread_mutex_unlock(&shared.lock) == 0);
    }
    return unused;
}

static void run_handed(void)
{
    pthread_t thread[THREADS];

    shared.worker = joined("handed", 1, 0, 0);
    shared.matrix = adding(shared.worker, 10);
    for (int i = 0; i < THREADS; i++)
        check(pthread_create(&thread[i], NULL, train_in_turn, NULL) == 0);
    for (int i = 0; i < THREADS; i++)
        check(pthread_join(thread[i], NULL) == 0);
    check(shared.steps == THREADS * STEPS);
    must(ps_worker_close(&shared.worker));
}

/* A callback runs inside a call that waits, so that the intruder comes for sure. */
static sem_t inside, refused_it;

static void *intrude(void *worker)
{
    ps_worker *w = worker;

    check(sem_wait(&inside) == 0);
    refused(ps_weight(w, 2), PS_ERR_BAD_ARG, "worker: used by two threads at once");
    refused(ps_finish(w), PS_ERR_BAD_ARG, "used by two threads at once");
    refused(ps_worker_close(&w), PS_ERR_BAD_ARG, "used by two threads at once");
    check(w != NULL);
    check(sem_post(&refused_it) == 0);
    return NULL;
}

static void let_intrude(void *ctx, ps_status status)
{
    check(status == PS_OK);
    ++*(int *)ctx;
    check(sem_post(&inside) == 0);
    check(sem_wait(&refused_it) == 0);
}

static void run_two_inside(void)
{
    ps_worker *w = joined("two_inside", 1, 0, 0);
    ps_matrix *m = adding(w, 3);
    ps_ticket *t;
    pthread_t  intruder;
    float      v[3];
    int        times = 0;

    check(sem_init(&inside, 0, 0) == 0 && sem_init(&refused_it, 0, 0) == 0);
    check(pthread_create(&intruder, NULL, intrude, w) == 0);
    must(ps_pull_async(m, v, &t));
    must(ps_then(&t, let_intrude, &times));
    progress_until(w, &times, 1);
    check(pthread_join(intruder, NULL) == 0);
    must(ps_weight(w, 2));
    must(ps_worker_close(&w));
}

static const struct {
    const char *name;
    void (*run)(void);
} cases[] = {
    { "callbacks", run_callbacks },   { "nested", run_nested },
    { "ending", run_ending },         { "forked", run_forked },
    { "threads", run_threads },       { "handed", run_handed },
    { "two_inside", run_two_inside },
};

int main(int argc, char **argv)
{
    for (size_t i = 0; argc > 1 && i < COUNT(cases); i++)
        if (strcmp(cases[i].name, argv[1]) == 0) {
            cases[i].run();
            return 0;
        }
    fprintf(stderr, "worker_threads: no such case\n");
    return 64;
}
