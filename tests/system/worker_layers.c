/*
 * worker_layers.c - models that move layer by layer, as a program sees them:
 * <ps/worker.h> and nothing else, against a psd that worker.sh has started.
 *
 *     worker_layers CASE
 *
 * Ends with 0 when everything was as expected, with 1 and a line that says what was
 * not.
 */
#include "tests/system/program.h"

#include <math.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* Four layers of one, two, one and one matrices; the last takes several messages. */
enum { MATRICES = 5, LAYERS = 4 };

static const uint32_t size_of[MATRICES] = { 100, 30000, 7, 64, 600000 };
static const int      begins[MATRICES] = { 1, 1, 0, 1, 1 };

struct net {
    ps_worker *worker;
    ps_model  *model;
    ps_matrix *matrix[MATRICES];
    float     *value[MATRICES], *grad[MATRICES];
};

static void open_net(struct net *n, const char *job, const char *settings,
                     uint32_t workers, int rank)
{
    ps_worker_options o = PS_WORKER_OPTIONS;
    ps_matrix_options adding = PS_MATRIX_OPTIONS;
    ps_settings      *s;

    must(ps_settings_parse(&s, settings));
    o.settings = s;
    o.job = job;
    o.workers = workers;
    o.rank = rank;
    must(ps_worker_open(&n->worker, &o));
    ps_settings_free(&s);
    must(ps_model_new(&n->model, n->worker));
    adding.optimiser = PS_ADD;
    for (int i = 0; i < MATRICES; i++) {
        char name[8];

        snprintf(name, sizeof(name), "m%d", i);
        n->value[i] = calloc(size_of[i], sizeof(float));
        n->grad[i] = calloc(size_of[i], sizeof(float));
        check(n->value[i] && n->grad[i]);
        if (begins[i])
            must(ps_model_layer(n->model));
        must(ps_dense(n->worker, name, 1, size_of[i], &adding, &n->matrix[i]));
        must(ps_model_add(n->model, n->matrix[i], n->value[i], n->grad[i]));
    }
}

static void free_net(struct net *n)
{
    for (int i = 0; i < MATRICES; i++) {
        free(n->value[i]);
        free(n->grad[i]);
    }
}

static void close_net(struct net *n)
{
    must(ps_worker_close(&n->worker));
    free_net(n);
}

/* The matrices of a layer: first .. last - 1. */
static void part_of(uint32_t layer, int *first, int *last)
{
    static const int ends[LAYERS + 1] = { 0, 1, 3, 4, 5 };

    *first = ends[layer];
    *last = ends[layer + 1];
}

static void fill(struct net *n, uint32_t layer, float x)
{
    int i, last;

    for (part_of(layer, &i, &last); i < last; i++)
        for (uint32_t k = 0; k < size_of[i]; k++)
            n->grad[i][k] = x;
}

static void expect(const struct net *n, uint32_t layer, float x)
{
    int i, last;

    for (part_of(layer, &i, &last); i < last; i++)
        for (uint32_t k = 0; k < size_of[i]; k++)
            check(n->value[i][k] == x);
}

static double sum_of(const struct net *n, uint32_t layer)
{
    double sum = 0;
    int    i, last;

    for (part_of(layer, &i, &last); i < last; i++)
        for (uint32_t k = 0; k < size_of[i]; k++)
            sum += n->value[i][k] * (1 + k % 17);
    return sum;
}

/* ---- together under bsp ---------------------------------------------------------- */

enum { STEPS = 20 };

static void *train_together(void *rank)
{
    struct net n;

    open_net(&n, "together", "job: {strategy: bsp}", 2, *(const int *)rank);
    for (int t = 0; t < STEPS; t++) {
        check(ps_clock(n.worker) == (uint64_t)t);
        for (uint32_t l = 0; l < LAYERS; l++) {
            must(ps_model_wait(n.model, l));
            expect(&n, l, (float)(2 * t) * (float)(l + 1));
        }
        for (uint32_t l = LAYERS; l-- > 0;) {
            fill(&n, l, (float)(l + 1));
            must(ps_model_ready(n.model, l));
            fill(&n, l, NAN); /* it was taken when ready returned */
        }
    }
    for (uint32_t l = LAYERS; l-- > 0;) { /* in another order */
        must(ps_model_wait(n.model, l));
        expect(&n, l, (float)(2 * STEPS) * (float)(l + 1));
        must(ps_model_wait(n.model, l)); /* here already */
    }
    must(ps_model_pull(n.model)); /* at rest, the model moves as a whole, too */
    expect(&n, 0, 2 * STEPS);
    close_net(&n);
    return NULL;
}

static void run_together(void)
{
    pthread_t other;
    int       ranks[] = { 0, 1 };

    check(pthread_create(&other, NULL, train_together, &ranks[1]) == 0);
    train_together(&ranks[0]);
    check(pthread_join(other, NULL) == 0);
}

/* ---- no layer is written while it is read ---------------------------------------- */

static atomic_bool is_over;

static void *disturb(void *strategy)
{
    struct net n;

    open_net(&n, "disturbed", strategy, 2, 1);
    for (uint32_t l = 0; l < LAYERS; l++)
        fill(&n, l, 1);
    while (!atomic_load(&is_over))
        must(ps_model_push_pull(n.model));
    close_net(&n);
    return NULL;
}

/* Answers are taken in wherever they may be: while some layers are read. */
static void run_disturbed(void)
{
    static char strategy[] = "job: {strategy: asp}";
    struct net  n;
    pthread_t   other;
    double      sum[LAYERS], first = -1;

    open_net(&n, "disturbed", strategy, 2, 0);
    check(pthread_create(&other, NULL, disturb, strategy) == 0);
    for (int t = 0; t < 200; t++) {
        for (uint32_t l = 0; l < LAYERS; l++) {
            must(ps_model_wait(n.model, l));
            sum[l] = sum_of(&n, l);
            must(ps_progress(n.worker, 0));
        }
        for (uint32_t l = LAYERS; l-- > 0;) {
            must(ps_progress(n.worker, 0));
            for (uint32_t k = 0; k <= l; k++)
                check(sum_of(&n, k) == sum[k]);
            fill(&n, l, 1);
            must(ps_model_ready(n.model, l));
        }
        if (t == 0)
            first = sum[LAYERS - 1];
    }
    check(sum[LAYERS - 1] > first); /* they did move */
    atomic_store(&is_over, true);
    check(pthread_join(other, NULL) == 0);
    close_net(&n);
}

/* ---- what is refused ---------------------------------------------------------------
 */

static void run_misuse(void)
{
    struct net n;
    ps_model  *other;
    ps_matrix *x;
    float      g = 1;

    open_net(&n, "misuse", "job: {strategy: bsp}", 1, 0);
    must(ps_dense(n.worker, "x", 1, 1, NULL, &x));
    must(ps_model_layer(n.model));
    refused(ps_model_add(n.model, x, n.value[1] + 5, &g), PS_ERR_BAD_ARG,
            "the values of matrix x lie in those of m1, which is of another layer");
    refused(ps_model_wait(n.model, LAYERS), PS_ERR_BAD_ARG, "layer 4, expected 0 to 3");
    refused(ps_model_ready(n.model, 0), PS_ERR_BAD_ARG, "was not waited for");
    must(ps_model_wait(n.model, 0));
    refused(ps_model_layer(n.model), PS_ERR_BAD_ARG, "after the first pull");
    must(ps_model_ready(n.model, 0));
    refused(ps_model_ready(n.model, 0), PS_ERR_BAD_ARG, "was made ready before");
    refused(ps_model_wait(n.model, 0), PS_ERR_BAD_ARG, "3 of 4 layers are not ready");
    refused(ps_finish(n.worker), PS_ERR_BAD_ARG, "the last ps_model_ready to end it");
    refused(ps_epoch_end(n.worker), PS_ERR_BAD_ARG,
            "the last ps_model_ready to end it");
    refused(ps_model_push_pull(n.model), PS_ERR_BAD_ARG, "ready and others are not");
    must(ps_model_new(&other, n.worker));
    must(ps_model_add(other, x, &g, &g));
    refused(ps_model_push_pull(other), PS_ERR_BAD_ARG, "the last ps_model_ready");
    must(ps_model_wait(other, 0));
    refused(ps_model_ready(other, 0), PS_ERR_BAD_ARG, "the last ps_model_ready");
    check(ps_clock(n.worker) == 0);

    for (uint32_t l = 1; l < LAYERS; l++) { /* and goes on as if nothing had been */
        must(ps_model_wait(n.model, l));
        fill(&n, l, l == 2 ? NAN : 1);
        must(ps_model_ready(n.model, l));
    }
    check(ps_clock(n.worker) == 1);
    refused(ps_model_wait(n.model, 2), PS_ERR_NONFINITE, "matrix m3");
    must(ps_model_wait(n.model, 2));
    must(ps_model_wait(n.model, 1));
    expect(&n, 1, 1);
    expect(&n, 2, 0);
    ps_worker_abandon(&n.worker, "that was it");
    free_net(&n);
}

static const struct {
    const char *name;
    void (*run)(void);
} cases[] = {
    { "together", run_together },
    { "disturbed", run_disturbed },
    { "misuse", run_misuse },
};

int main(int argc, char **argv)
{
    for (size_t i = 0; argc > 1 && i < COUNT(cases); i++)
        if (strcmp(cases[i].name, argv[1]) == 0) {
            cases[i].run();
            return 0;
        }
    fprintf(stderr, "worker_layers: no such case\n");
    return 64;
}
