/* model.c - groups of matrices: many tensors, one message per shard. */
#include "worker/worker_private.h"

#include <stdlib.h>

struct ps_model {
    ps_worker       *worker;
    struct ps_model *next;  /* of the worker */
    bool             moved; /* no more matrices may come */
    uint32_t         n, room;
    struct psw_span *spans; /* in the order in which they were added */
};

ps_status ps_model_new(ps_model **out, ps_worker *worker)
{
    ps_status st = psw_begin(worker);
    ps_model *model;

    if (st)
        return st;
    model = calloc(1, sizeof(*model));
    if (!model)
        return ps_fail(PS_ERR_NO_MEMORY, "model: no memory");
    model->worker = worker;
    model->next = worker->models;
    worker->models = model;
    *out = model;
    return PS_OK;
}

void psw_models_free(ps_worker *w)
{
    while (w->models) {
        ps_model *next = w->models->next;

        free(w->models->spans);
        free(w->models);
        w->models = next;
    }
}

static ps_status begin(ps_model *model)
{
    return model ? psw_begin(model->worker)
                 : ps_fail(PS_ERR_BAD_ARG, "model: NULL, expected one of a worker");
}

static ps_status check_added(const ps_model *model, const ps_matrix *m,
                             const void *value)
{
    const char *name;

    if (!m)
        return ps_fail(PS_ERR_BAD_ARG, "model: the matrix is NULL");
    name = ps_matrix_name(m);
    if (model->moved)
        return ps_fail(PS_ERR_BAD_ARG, "model: matrix %s comes after the first pull",
                       name);
    if (psw_matrix_owner(m) != model->worker)
        return ps_fail(PS_ERR_BAD_ARG, "model: matrix %s is another worker's", name);
    if (psw_matrix_spec(m)->sparse)
        return ps_fail(PS_ERR_SHAPE, "model: matrix %s is sparse, expected dense ones",
                       name);
    if (!value)
        return ps_fail(PS_ERR_BAD_ARG, "model: the values of matrix %s are NULL", name);
    for (uint32_t i = 0; i < model->n; i++)
        if (model->spans[i].matrix == m)
            return ps_fail(PS_ERR_BAD_ARG, "model: matrix %s is in it already", name);
    return PS_OK;
}

ps_status ps_model_add(ps_model *model, ps_matrix *m, void *value, const void *grad)
{
    ps_status st = begin(model);

    if (!st)
        st = check_added(model, m, value);
    if (st)
        return st;
    if (model->n == model->room) {
        uint32_t         room = model->room ? 2 * model->room : 16;
        struct psw_span *grown = realloc(model->spans, room * sizeof(*grown));

        if (!grown)
            return ps_fail(PS_ERR_NO_MEMORY, "model: no memory for %u matrices", room);
        model->spans = grown;
        model->room = room;
    }
    model->spans[model->n++] =
        (struct psw_span){ .matrix = m,
                           .count = ps_matrix_elements(psw_matrix_spec(m)),
                           .value = value,
                           .gradient = grad };
    return PS_OK;
}

static ps_status move(ps_model *model, uint32_t moves, ps_ticket **out)
{
    ps_status st = begin(model);

    if (st)
        return st;
    for (uint32_t i = 0; moves & PSW_PUSH && i < model->n; i++)
        if (!model->spans[i].gradient)
            return ps_fail(
                PS_ERR_BAD_ARG,
                "model: push of matrix %s, which was added without gradients",
                ps_matrix_name(model->spans[i].matrix));
    model->moved = true;
    return psw_move(model->worker, moves, model->spans, model->n, out);
}

static ps_status move_and_wait(ps_model *model, uint32_t moves)
{
    ps_ticket *t;
    ps_status  st = move(model, moves, &t);

    return st ? st : psw_wait(model->worker, &t);
}

ps_status ps_model_pull(ps_model *model)
{
    return move_and_wait(model, PSW_PULL);
}

ps_status ps_model_push(ps_model *model)
{
    return move_and_wait(model, PSW_PUSH);
}

ps_status ps_model_push_pull(ps_model *model)
{
    return move_and_wait(model, PSW_PUSH | PSW_FINISH | PSW_PULL);
}

const struct psw_span *psw_model_spans(const ps_model *model, uint32_t *n)
{
    *n = model->n;
    return model->spans;
}

ps_status ps_model_pull_async(ps_model *model, ps_ticket **out)
{
    return move(model, PSW_PULL, out);
}

ps_status ps_model_push_async(ps_model *model, ps_ticket **out)
{
    return move(model, PSW_PUSH, out);
}

ps_status ps_model_push_pull_async(ps_model *model, ps_ticket **out)
{
    return move(model, PSW_PUSH | PSW_FINISH | PSW_PULL, out);
}
