/* layers.c - see layers.h. */
#include "worker/layers.h"

#include <assert.h>
#include <stdlib.h>

enum place { AWAY, HERE, READY };

struct psw_layer {
    uint32_t          first, n; /* of the model's spans */
    enum place        place;
    struct ps_ticket *push, *pull; /* NULL: none that was not waited for */
};

void psw_layers_free(struct psw_layers *ls)
{
    free(ls->layers);
    *ls = (struct psw_layers){ 0 };
}

/* ---- which matrices ------------------------------------------------------------- */

void psw_layers_begin(struct psw_layers *ls)
{
    ls->fresh = true;
}

ps_status psw_layers_add(struct psw_layers *ls, uint32_t i)
{
    if (ls->n > 0 && !ls->fresh) {
        ls->layers[ls->n - 1].n++;
        return PS_OK;
    }
    if (ls->n == ls->room) {
        uint32_t          room = ls->room ? 2 * ls->room : 8;
        struct psw_layer *grown = realloc(ls->layers, room * sizeof(*grown));

        if (!grown)
            return ps_fail(PS_ERR_NO_MEMORY, "model: no memory for %u layers", room);
        ls->layers = grown;
        ls->room = room;
    }
    ls->layers[ls->n++] = (struct psw_layer){ .first = i, .n = 1, .place = AWAY };
    ls->fresh = false;
    return PS_OK;
}

uint32_t psw_layers_of(const struct psw_layers *ls, uint32_t i)
{
    for (uint32_t l = 0; l < ls->n; l++)
        if (i - ls->layers[l].first < ls->layers[l].n)
            return l;
    return ls->n > 0 && !ls->fresh ? ls->n - 1 : ls->n;
}

/* ---- asking --------------------------------------------------------------------- */

ps_status psw_layers_check(const struct psw_layers *ls, uint32_t layer)
{
    if (layer < ls->n)
        return PS_OK;
    if (ls->n == 0)
        return ps_fail(PS_ERR_BAD_ARG, "model: layer %u, but it has no matrices",
                       layer);
    return ps_fail(PS_ERR_BAD_ARG, "model: layer %u, expected 0 to %u", layer,
                   ls->n - 1);
}

bool psw_layers_midway(const struct psw_layers *ls)
{
    return ls->n_ready > 0;
}

void psw_layers_restart(struct psw_layers *ls)
{
    for (uint32_t l = 0; l < ls->n; l++) {
        psw_ticket_drop(&ls->layers[l].push);
        psw_ticket_drop(&ls->layers[l].pull);
        ls->layers[l].place = AWAY;
    }
    ls->n_ready = 0;
}

ps_status psw_layers_at_rest(const struct psw_layers *ls)
{
    for (uint32_t l = 0; l < ls->n; l++) {
        const struct psw_layer *layer = &ls->layers[l];

        if (layer->place == READY)
            return ps_fail(PS_ERR_BAD_ARG,
                           "model: layer %u is ready and others are not, expected "
                           "the whole model at rest",
                           l);
        if (layer->pull && !psw_ticket_done(layer->pull))
            return ps_fail(PS_ERR_BAD_ARG,
                           "model: layer %u is on its way, expected a wait for it", l);
    }
    return PS_OK;
}

bool psw_layers_is_last(const struct psw_layers *ls, uint32_t layer)
{
    return ls->layers[layer].place != READY && ls->n_ready + 1 == ls->n;
}

bool psw_layers_is_here(const struct psw_layers *ls, uint32_t layer)
{
    return ls->layers[layer].place == HERE;
}

/* ---- out ------------------------------------------------------------------------ */

static ps_status check_ready(const struct psw_layers *ls, uint32_t l,
                             const struct psw_span *spans)
{
    const struct psw_layer *layer = &ls->layers[l];

    if (layer->place == READY)
        return ps_fail(PS_ERR_BAD_ARG,
                       "model: layer %u was made ready before in this iteration", l);
    if (layer->place == AWAY)
        return ps_fail(PS_ERR_BAD_ARG,
                       "model: layer %u is made ready, but was not waited for in this "
                       "iteration",
                       l);
    for (uint32_t i = layer->first; i < layer->first + layer->n; i++)
        if (!spans[i].gradient)
            return ps_fail(
                PS_ERR_BAD_ARG,
                "model: push of matrix %s, which was added without gradients",
                psw_matrix_spec(spans[i].matrix)->name);
    return PS_OK;
}

/* What leaves when the layer is ready: itself, or under backup all or nothing. */
static ps_status push(struct psw_layers *ls, uint32_t l, bool last,
                      struct psw_client *client, const struct psw_span *spans,
                      uint64_t now_ns, struct ps_outbox *out)
{
    const bool        together = psw_client_job(client)->strategy == PS_BACKUP;
    struct psw_layer *layer = &ls->layers[l];
    const uint32_t    all = ls->layers[ls->n - 1].first + ls->layers[ls->n - 1].n;

    if (together && !last)
        return PS_OK;
    return psw_client_move(client, now_ns, PSW_PUSH | (last ? PSW_FINISH : 0),
                           together ? spans : spans + layer->first,
                           together ? all : layer->n, out, &layer->push);
}

static ps_status ready(struct psw_layers *ls, uint32_t l, struct psw_client *client,
                       const struct psw_span *spans, uint64_t now_ns,
                       struct ps_outbox *out)
{
    ps_status st = push(ls, l, psw_layers_is_last(ls, l), client, spans, now_ns, out);

    if (st)
        return st;
    ls->layers[l].place = READY;
    if (++ls->n_ready < ls->n)
        return PS_OK;
    ls->n_ready = 0;
    ls->rounds++;
    for (l = 0; l < ls->n; l++)
        ls->layers[l].place = AWAY;
    return psw_layers_ask(ls, client, spans, now_ns, out);
}

ps_status psw_layers_ready(struct psw_layers *ls, uint32_t l, struct psw_client *client,
                           const struct psw_span *spans, uint64_t now_ns,
                           struct ps_outbox *out)
{
    ps_status st = check_ready(ls, l, spans);

    if (st)
        return st;
    psw_client_hold(client); /* behind the last layer all are asked for */
    st = ready(ls, l, client, spans, now_ns, out);
    psw_client_release(client, now_ns, out);
    return st;
}

ps_status psw_layers_ask(struct psw_layers *ls, struct psw_client *client,
                         const struct psw_span *spans, uint64_t now_ns,
                         struct ps_outbox *out)
{
    ps_status st = PS_OK;

    psw_client_hold(client);
    for (uint32_t l = 0; !st && l < ls->n; l++) {
        struct psw_layer *layer = &ls->layers[l];

        if (layer->place == AWAY && !layer->pull)
            st = psw_client_move(client, now_ns, PSW_PULL, spans + layer->first,
                                 layer->n, out, &layer->pull);
    }
    psw_client_release(client, now_ns, out);
    return st;
}

/* ---- in ------------------------------------------------------------------------- */

ps_status psw_layers_may_wait(const struct psw_layers *ls, uint32_t l)
{
    if (ls->layers[l].place == READY)
        return ps_fail(
            PS_ERR_BAD_ARG,
            "model: layer %u is waited for, but %u of %u layers are not ready "
            "yet",
            l, ls->n - ls->n_ready, ls->n);
    return PS_OK;
}

ps_status psw_layers_may_end(const struct psw_layers *ls, uint32_t l)
{
    if (ls->layers[l].place == AWAY)
        return ps_fail(
            PS_ERR_BAD_ARG,
            "training: the gradient function did not wait for layer %u of %u", l,
            ls->n);
    return PS_OK;
}

struct ps_ticket **psw_layers_push(struct psw_layers *ls, uint32_t l)
{
    return ls->layers[l].push ? &ls->layers[l].push : NULL;
}

struct ps_ticket **psw_layers_pull(struct psw_layers *ls, uint32_t l)
{
    return ls->layers[l].pull ? &ls->layers[l].pull : NULL;
}

void psw_layers_take(struct psw_layers *ls, uint32_t l)
{
    assert(!ls->layers[l].push && !ls->layers[l].pull);
    ls->layers[l].place = HERE;
}
