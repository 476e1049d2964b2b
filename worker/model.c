/* model.c - groups of matrices: many tensors, one message per shard, or layer by layer.
 */
#include "worker/layers.h"
#include "worker/worker_private.h"

#include <stdlib.h>

struct ps_model {
    ps_worker       *worker;
    struct ps_model *next;  /* of the worker */
    bool             moved; /* no more matrices may come */
    uint32_t         n, room;
    struct psw_span *spans; /* in the order in which they were added */

    uint64_t          rollbacks; /* that its layers have followed */
    struct psw_layers layers;
    bool              is_waiting; /* for a layer: what a callback must not touch */
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
    model->rollbacks = psw_client_rollbacks(worker->client);
    model->next = worker->models;
    worker->models = model;
    *out = model;
    return PS_OK;
}

void psw_models_free(ps_worker *w)
{
    while (w->models) {
        ps_model *next = w->models->next;

        psw_layers_free(&w->models->layers);
        free(w->models->spans);
        free(w->models);
        w->models = next;
    }
}

/* After a rollback the layers begin anew; it fails with that if nothing has yet. */
static ps_status follow(ps_model *model)
{
    struct psw_client *client = model->worker->client;

    if (model->rollbacks == psw_client_rollbacks(client))
        return PS_OK;
    model->rollbacks = psw_client_rollbacks(client);
    psw_layers_restart(&model->layers);
    return psw_client_may_move(client);
}

static ps_status begin(ps_model *model)
{
    ps_status st =
        model ? psw_begin(model->worker)
              : ps_fail(PS_ERR_BAD_ARG, "model: NULL, expected one of a worker");

    if (!st && model->is_waiting)
        st = ps_fail(PS_ERR_BAD_ARG,
                     "model: used by a callback while a layer of it is waited for");
    return st ? st : follow(model);
}

static size_t span_bytes(const ps_matrix *m)
{
    const struct ps_matrix_spec *spec = psw_matrix_spec(m);

    return ps_matrix_elements(spec) * ps_dtype_bytes(spec->dtype);
}

/* Two layers in one place: one would be read while the other is written. */
static ps_status check_apart(const ps_model *model, const ps_matrix *m,
                             const void *value)
{
    const uint32_t layer = psw_layers_of(&model->layers, model->n);
    const uint8_t *begin = value, *end = begin + span_bytes(m);

    for (uint32_t i = 0; i < model->n; i++) {
        const struct psw_span *s = &model->spans[i];
        const uint8_t         *other = s->value;

        if (begin < other + span_bytes(s->matrix) && other < end &&
            psw_layers_of(&model->layers, i) != layer)
            return ps_fail(
                PS_ERR_BAD_ARG,
                "model: the values of matrix %s lie in those of %s, which is "
                "of another layer",
                ps_matrix_name(m), ps_matrix_name(s->matrix));
    }
    return PS_OK;
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
    return check_apart(model, m, value);
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
    st = psw_layers_add(&model->layers, model->n);
    if (st)
        return st;
    model->spans[model->n++] =
        (struct psw_span){ .matrix = m,
                           .count = ps_matrix_elements(psw_matrix_spec(m)),
                           .value = value,
                           .gradient = grad };
    return PS_OK;
}

/* ---- the whole ------------------------------------------------------------------- */

static ps_status move(ps_model *model, uint32_t moves, ps_ticket **out)
{
    ps_status st = begin(model);

    if (!st)
        st = psw_layers_at_rest(&model->layers);
    if (!st && moves & PSW_FINISH)
        st = psw_models_may_finish(model->worker, model);
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
    ps_status  st = move(model, moves | PSW_LENT, &t);

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

/* ---- layer by layer -------------------------------------------------------------- */

ps_status psw_models_may_finish(const ps_worker *w, const ps_model *but)
{
    const uint64_t rollbacks = psw_client_rollbacks(w->client);

    for (const ps_model *model = w->models; model; model = model->next)
        if (model != but && model->rollbacks == rollbacks &&
            psw_layers_midway(&model->layers))
            return ps_fail(PS_ERR_BAD_ARG,
                           "iteration %ju: layers of a model are ready and others are "
                           "not, expected the last ps_model_ready to end it",
                           (uintmax_t)psw_client_clock(w->client) + 1);
    return PS_OK;
}

ps_status ps_model_layer(ps_model *model)
{
    ps_status st = begin(model);

    if (!st && model->moved)
        st = ps_fail(PS_ERR_BAD_ARG, "model: a layer comes after the first pull");
    if (!st)
        psw_layers_begin(&model->layers);
    return st;
}

static ps_status begin_layer(ps_model *model, uint32_t layer)
{
    ps_status st = begin(model);

    return st ? st : psw_layers_check(&model->layers, layer);
}

ps_status ps_model_ready(ps_model *model, uint32_t layer)
{
    ps_status  st = begin_layer(model, layer);
    ps_worker *w;

    if (st)
        return st;
    w = model->worker;
    if (psw_layers_is_last(&model->layers, layer))
        st = psw_models_may_finish(w, model);
    if (!st)
        st = psw_layers_ready(&model->layers, layer, w->client, model->spans,
                              w->started_ns, &w->outbox);
    return st ? st : psw_progress(w);
}

/* `ticket` NULL: there is nothing to wait for. */
static ps_status await(ps_model *model, struct ps_ticket **ticket)
{
    ps_status st;

    if (!ticket)
        return PS_OK;
    model->is_waiting = true;
    st = psw_wait(model->worker, ticket);
    model->is_waiting = false;
    return st;
}

ps_status psw_model_ask(ps_model *model)
{
    ps_status  st = begin(model);
    ps_worker *w;

    if (st)
        return st;
    w = model->worker;
    model->moved = true;
    st = psw_layers_ask(&model->layers, w->client, model->spans, w->started_ns,
                        &w->outbox);
    return st ? st : psw_progress(w);
}

ps_status ps_model_wait(ps_model *model, uint32_t layer)
{
    ps_status st = begin_layer(model, layer);

    if (!st)
        st = psw_layers_may_wait(&model->layers, layer);
    if (st || psw_layers_is_here(&model->layers, layer))
        return st;
    st = psw_model_ask(model);
    if (!st)
        st = await(model, psw_layers_push(&model->layers, layer));
    if (!st)
        st = await(model, psw_layers_pull(&model->layers, layer));
    if (!st)
        psw_layers_take(&model->layers, layer);
    return st;
}

uint64_t psw_model_rounds(const ps_model *model)
{
    return model->layers.rounds;
}

/* From the last layer to the first, as a backward pass would. */
ps_status psw_model_end_round(ps_model *model, uint64_t rounds)
{
    struct psw_layers *ls = &model->layers;
    ps_status          st = PS_OK;

    if (ls->rounds != rounds || ls->n == 0)
        return PS_OK;
    for (uint32_t l = 0; !st && l < ls->n; l++)
        st = psw_layers_may_end(ls, l);
    for (uint32_t l = ls->n; !st && l-- > 0;)
        if (psw_layers_is_here(ls, l))
            st = ps_model_ready(model, l);
    return st;
}

ps_status psw_model_deliver(ps_model *model)
{
    ps_status st = begin(model);

    for (uint32_t l = 0; !st && l < model->layers.n; l++)
        st = await(model, psw_layers_push(&model->layers, l));
    return st;
}

ps_status psw_model_settle(ps_model *model)
{
    ps_status st = psw_model_deliver(model);

    for (uint32_t l = 0; !st && l < model->layers.n; l++) {
        struct ps_ticket **pull = psw_layers_pull(&model->layers, l);

        if (pull) { /* it stays for ps_model_wait */
            model->is_waiting = true;
            st = psw_wait_result(model->worker, pull);
            model->is_waiting = false;
        }
    }
    return st;
}
