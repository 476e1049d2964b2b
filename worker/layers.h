/*
 * layers.h - a model that moves layer by layer: who may touch a layer's values, and
 * when.
 *
 * A backward pass is through with the last layer first, and the next forward pass
 * begins with the first.  So each layer's gradients leave as soon as they are complete,
 * while the pass goes on; and the values are asked for in the order in which they will
 * be read.  A layer goes round:
 *
 *     AWAY    its values are on their way, or nobody has asked for them
 *     HERE    the caller reads them
 *     READY   its gradients were handed over, and it is not read any more
 *
 *     AWAY -- psw_layers_take --> HERE -- psw_layers_ready --> READY -- when all are
 * --> AWAY
 *
 * Only a layer that is AWAY is ever asked for, and it becomes HERE only when the ticket
 * of its pull is gone, after which that pull writes nothing (client.h).  So no layer is
 * written while it is read, whatever the network does.
 *
 * The pulls leave when all layers are ready, under asp too: a value that is asked for
 * earlier would lack this worker's other layers, for nothing, because its own forward
 * pass does not begin before the backward pass has ended.
 *
 * Under backup the pushes leave together when the last layer is ready: an iteration
 * that closes meanwhile must find all of this worker's gradients late, or none.
 *
 * It waits for nothing: whoever drives it waits for the tickets.
 *
 * Thread: the worker's.
 */
#ifndef PSW_LAYERS_H
#define PSW_LAYERS_H

#include "worker/client.h"

struct psw_layer;

/* Zeroed: no layers yet. */
struct psw_layers {
    uint32_t          n, room;
    uint32_t          n_ready;
    uint64_t          rounds; /* iterations that ended here */
    bool              fresh;  /* the next matrix begins a layer */
    struct psw_layer *layers;
};

void psw_layers_free(struct psw_layers *ls);

/* What is added from now on belongs to another layer than what was. */
void psw_layers_begin(struct psw_layers *ls);

/* Span `i` of the model was added, the next one in order. */
ps_status psw_layers_add(struct psw_layers *ls, uint32_t i) PS_CHECKED;

/* The layer of span `i`; the one that it would be in, when it comes next. */
uint32_t psw_layers_of(const struct psw_layers *ls, uint32_t i);

/* Is there such a layer?  PS_ERR_BAD_ARG. */
ps_status psw_layers_check(const struct psw_layers *ls, uint32_t layer) PS_CHECKED;

/* Has the iteration begun to leave, and is not finished? */
bool psw_layers_midway(const struct psw_layers *ls);

/* The job went back: what was midway or on its way is void, and all layers are AWAY. */
void psw_layers_restart(struct psw_layers *ls);

/* May the model be moved as a whole: nothing of it is midway or on its way. */
ps_status psw_layers_at_rest(const struct psw_layers *ls) PS_CHECKED;

/* Will the iteration end when this layer is ready? */
bool psw_layers_is_last(const struct psw_layers *ls, uint32_t layer);

/*
 * The layer's gradients are complete and its values are not read any more.  When all
 * layers are, the iteration ends and all values are asked for.  PS_ERR_BAD_ARG when it
 * is not HERE.
 */
ps_status psw_layers_ready(struct psw_layers *ls, uint32_t layer,
                           struct psw_client *client, const struct psw_span *spans,
                           uint64_t now_ns, struct ps_outbox *out) PS_CHECKED;

/* Asks for the values of all layers that are AWAY and were not asked for, in order. */
ps_status psw_layers_ask(struct psw_layers *ls, struct psw_client *client,
                         const struct psw_span *spans, uint64_t now_ns,
                         struct ps_outbox *out) PS_CHECKED;

/*
 * May the layer be waited for?  PS_ERR_BAD_ARG when it is READY: its next values do not
 * exist before the others are.
 */
ps_status psw_layers_may_wait(const struct psw_layers *ls, uint32_t layer) PS_CHECKED;

/* May it be made ready for the caller, if it is not: was it waited for at all? */
ps_status psw_layers_may_end(const struct psw_layers *ls, uint32_t layer) PS_CHECKED;

/* Its push, or its pull, to be waited for and dropped before it is taken; NULL when it
 * has none. */
struct ps_ticket **psw_layers_push(struct psw_layers *ls, uint32_t layer);
struct ps_ticket **psw_layers_pull(struct psw_layers *ls, uint32_t layer);

/* Its tickets are gone: it is HERE. */
void psw_layers_take(struct psw_layers *ls, uint32_t layer);

/* Was it taken, and is not ready yet? */
bool psw_layers_is_here(const struct psw_layers *ls, uint32_t layer);

#endif
