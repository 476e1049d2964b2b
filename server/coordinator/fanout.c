/* fanout.c - operations: what is sent to shards until they have answered. */
#include "server/coordinator/coordinator_private.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

ps_status coord_operation_new(struct coord_operation **out, uint32_t kind)
{
    *out = calloc(1, sizeof(**out));
    if (!*out)
        return ps_fail(PS_ERR_NO_MEMORY, "coordinator: no memory for a message");
    (*out)->kind = kind;
    (*out)->clock_low = (*out)->epochs_low = UINT64_MAX;
    return PS_OK;
}

void coord_operation_forget(struct coord_operation *operation)
{
    while (operation->n_calls > 0)
        ps_buf_drop(&operation->calls[--operation->n_calls].head);
    operation->n_owed = 0;
}

void coord_operation_free(struct coord_operation **operation)
{
    struct coord_operation *gone = *operation;

    *operation = NULL;
    if (!gone)
        return;
    coord_operation_forget(gone);
    free(gone->calls);
    free(gone->askers);
    free(gone);
}

ps_status coord_operation_ask(struct coord_operation   *operation,
                              const struct coord_asker *asker)
{
    for (uint32_t i = 0; i < operation->n_askers; i++)
        if (operation->askers[i].request == asker->request &&
            ps_route_same(&operation->askers[i].route, &asker->route))
            return PS_OK;
    if (operation->n_askers == COORD_ASKERS_MAX)
        return ps_fail(PS_ERR_LIMIT, "coordinator: %u already wait for the same answer",
                       COORD_ASKERS_MAX);
    if (operation->n_askers == operation->askers_room) {
        uint32_t room = operation->askers_room ? 2 * operation->askers_room : 4;
        struct coord_asker *grown = realloc(operation->askers, room * sizeof(*grown));

        if (!grown)
            return ps_fail(PS_ERR_NO_MEMORY, "coordinator: no memory for %u askers",
                           room);
        operation->askers = grown;
        operation->askers_room = room;
    }
    operation->askers[operation->n_askers++] = *asker;
    return PS_OK;
}

static ps_status room_for_call(struct coord_operation *operation)
{
    uint32_t           room = operation->calls_room ? 2 * operation->calls_room : 4;
    struct coord_call *grown;

    if (operation->n_calls < operation->calls_room)
        return PS_OK;
    grown = realloc(operation->calls, room * sizeof(*grown));
    if (!grown)
        return ps_fail(PS_ERR_NO_MEMORY, "coordinator: no memory for %u messages",
                       room);
    operation->calls = grown;
    operation->calls_room = room;
    return PS_OK;
}

ps_status coord_operation_call(struct psd_coordinator *c,
                               struct coord_operation *operation, uint32_t shard,
                               struct ps_header *h)
{
    struct ps_buf *head;
    ps_status      st = room_for_call(operation);

    if (st)
        return st;
    h->kind = operation->kind;
    h->request = c->next_request;
    h->session = c->servers[c->shards[shard].server].control;
    st = ps_wire_encode(h, &head);
    if (st)
        return st;
    if (operation->n_calls == 0)
        operation->first_request = h->request;
    operation->calls[operation->n_calls++] =
        (struct coord_call){ .shard = shard, .head = head };
    operation->n_owed++;
    c->next_request++;
    return PS_OK;
}

void coord_operation_park(struct coord_operation *operation)
{
    coord_operation_forget(operation);
    operation->started = false;
    operation->status = PS_OK;
    operation->clock_low = operation->epochs_low = UINT64_MAX;
    operation->clock_high = operation->epochs_high = 0;
}

void coord_operation_send(struct psd_coordinator *c, struct coord_operation *operation)
{
    if (!operation->started)
        operation->started_ns = c->now_ns;
    operation->started = true;
    operation->sent_ns = c->now_ns;
    for (uint32_t i = 0; i < operation->n_calls; i++) {
        const struct coord_call *call = &operation->calls[i];
        struct ps_parcel         p = { .route = { .kind = PS_ROUTE_SHARD } };

        if (call->answered)
            continue;
        p.route.index = (uint16_t)call->shard;
        p.head = ps_buf_share(call->head);
        if (ps_outbox_put(c->out, &p))
            return; /* it said why; the next resend tries again */
    }
}

static void count_off(struct coord_operation *operation, struct coord_call *call)
{
    call->answered = true;
    ps_buf_drop(&call->head);
    operation->n_owed--;
}

bool coord_operation_answered(struct coord_operation *operation, uint32_t shard,
                              const struct ps_header *h)
{
    uint64_t           i = h->request - operation->first_request;
    struct coord_call *call;

    if (!operation->started || i >= operation->n_calls)
        return false;
    call = &operation->calls[i];
    if (call->shard != shard || call->answered)
        return false;
    count_off(operation, call);
    if (h->clock < operation->clock_low)
        operation->clock_low = h->clock;
    if (h->clock > operation->clock_high)
        operation->clock_high = h->clock;
    if (h->epochs < operation->epochs_low)
        operation->epochs_low = h->epochs;
    if (h->epochs > operation->epochs_high)
        operation->epochs_high = h->epochs;
    if (h->kind == PS_MSG_ERROR) {
        char why[PS_TEXT_BYTES];

        call->status = h->status ? h->status : PS_ERR_BAD_MESSAGE;
        snprintf(why, sizeof(why), "shard %u: %.900s", shard, h->text);
        coord_operation_spoil(operation, call->status, why);
    }
    return true;
}

bool coord_operation_excuse(struct coord_operation *operation, uint32_t shard)
{
    bool owed = false;

    for (uint32_t i = 0; i < operation->n_calls; i++)
        if (operation->calls[i].shard == shard && !operation->calls[i].answered) {
            count_off(operation, &operation->calls[i]);
            owed = true;
        }
    return owed;
}

void coord_operation_spoil(struct coord_operation *operation, ps_status status,
                           const char *why)
{
    if (operation->status)
        return;
    operation->status = status;
    snprintf(operation->why, sizeof(operation->why), "%s", why);
}

void coord_operation_refuse(struct psd_coordinator       *c,
                            const struct coord_operation *operation, ps_status status,
                            const char *why)
{
    for (uint32_t i = 0; i < operation->n_askers; i++)
        if (operation->askers[i].kind == PS_MSG_BYE)
            coord_answer_ok(c, &operation->askers[i]);
        else
            coord_answer_error(c, &operation->askers[i], status, why);
}

void coord_operation_tick(struct psd_coordinator *c, struct coord_operation *operation,
                          bool overdue[PS_SHARDS_MAX])
{
    uint64_t patience_ns =
        operation->patience_ns ? operation->patience_ns : c->options.shard_timeout_ns;

    if (!operation->started || operation->n_owed == 0)
        return;
    if (c->now_ns - operation->started_ns >= patience_ns) {
        for (uint32_t i = 0; i < operation->n_calls; i++)
            if (!operation->calls[i].answered)
                overdue[operation->calls[i].shard] = true;
    } else if (c->now_ns - operation->sent_ns >= COORD_RESEND_NS) {
        coord_operation_send(c, operation);
    }
}
