/*
 * toy.c - a worker that trains the toy of tests/sim/toy.h through the public library,
 * and prints the model hash.  PSW_* in the environment say which job, rank and server.
 */
#include "tests/sim/toy.h"

#include <stdio.h>
#include <stdlib.h>

static int die(ps_status st)
{
    fprintf(stderr, "toy: %s\n", ps_why());
    return ps_status_exit_code(st);
}

static ps_status open_model(ps_worker *w, ps_model *model, void **value, void **grad)
{
    ps_status st = PS_OK;

    for (unsigned m = 0; !st && m < TOY_MATRICES; m++) {
        ps_matrix_options o = PS_MATRIX_OPTIONS;
        ps_matrix        *matrix;

        o.dtype = toy_shapes[m].dtype;
        o.init = PS_INIT_NORMAL;
        o.init_b = 0.5;
        st = ps_dense(w, toy_shapes[m].name, toy_shapes[m].rows, toy_shapes[m].cols, &o,
                      &matrix);
        if (!st)
            st = ps_model_add(model, matrix, value[m], grad[m]);
    }
    return st;
}

static ps_status train(ps_worker *w, ps_model *model, void **value, void **grad)
{
    ps_status st = ps_model_pull(model);

    if (!st)
        st = ps_weight(w, toy_weight(ps_rank(w)));
    for (uint64_t t = 1; !st && t <= TOY_ITERATIONS; t++) {
        for (unsigned m = 0; m < TOY_MATRICES; m++)
            toy_gradient(m, ps_rank(w), t, ps_random_normal_at, value[m], grad[m]);
        st = ps_model_push_pull(model);
    }
    return st;
}

int main(void)
{
    ps_worker_options o = PS_WORKER_OPTIONS;
    void             *value[TOY_MATRICES], *grad[TOY_MATRICES];
    ps_settings      *settings = NULL;
    ps_worker        *w = NULL;
    ps_model         *model;
    char              hash[65];
    ps_status         st = ps_settings_load(&settings, NULL);

    for (unsigned m = 0; m < TOY_MATRICES; m++) {
        value[m] = calloc(1, toy_bytes(m));
        grad[m] = calloc(1, toy_bytes(m));
        if (!value[m] || !grad[m])
            return 71;
    }
    o.settings = settings;
    if (!st)
        st = ps_worker_open(&w, &o);
    if (!st)
        st = ps_model_new(&model, w);
    if (!st)
        st = open_model(w, model, value, grad);
    if (!st)
        st = train(w, model, value, grad);
    if (!st)
        st = ps_model_hash(w, hash);
    if (st)
        return die(st);
    st = ps_worker_close(&w);
    if (st)
        return die(st);
    puts(hash);
    ps_settings_free(&settings);
    for (unsigned m = 0; m < TOY_MATRICES; m++) {
        free(value[m]);
        free(grad[m]);
    }
    return 0;
}
