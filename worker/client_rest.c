/*
 * client_rest.c - the end of an epoch; see client.h.
 *
 * A rest is an empty push that each shard answers when all workers rest there.  When
 * one shard gives up waiting, the others are still heard out, so that a second try
 * starts from a known state: who has answered already is not asked again.  Nor is a
 * shard that went back to a snapshot of after the end of this epoch, when others went
 * back to before it.
 */
#include "worker/client_private.h"

#include <stdlib.h>
#include <string.h>

static ps_status check_rest(struct psw_client *c)
{
    ps_status st = psw_client_may_move(c);

    if (st)
        return st;
    if (c->options.observer)
        return ps_fail(PS_ERR_BAD_ARG, "job %s: an observer only reads",
                       c->options.job.name);
    if (psw_in_iteration(c))
        return ps_fail(PS_ERR_BAD_ARG,
                       "end of the epoch: iteration %ju has begun, expected it to be "
                       "finished first",
                       (uintmax_t)c->clock + 1);
    return PS_OK;
}

/* The rest that was sent before and is not answered yet; NULL: there is none. */
static struct psw_request *under_way(const struct psw_client *c,
                                     const struct psw_shard  *sh)
{
    struct psw_request *r = NULL;

    while ((r = psw_lane_next(&sh->lane, r)))
        if (r->kind == PS_MSG_PUSH && r->flags & PS_FLAG_REST && r->clock == c->clock)
            break;
    return r;
}

static ps_status ask_shard(struct psw_client *c, struct psw_shard *sh,
                           struct ps_ticket *t)
{
    struct ps_header    h = { .kind = PS_MSG_PUSH,
                              .flags = PS_FLAG_REST,
                              .seq = sh->seq + 1,
                              .clock = c->clock,
                              .wait_ms = c->options.wait_ms };
    struct psw_request *r = under_way(c, sh);
    ps_status           st;

    if (sh->rested == c->clock + 1 || sh->epochs > c->epochs)
        return PS_OK;
    if (!r) {
        st = psw_request_new(c, t, &h, 0, &r);
        if (st)
            return st;
        sh->seq++;
        psw_queue_add(&sh->lane.queue, r);
    }
    r->ticket = t;
    t->n_open++;
    return PS_OK;
}

/* All have answered: from here they go on together. */
static void wake(struct psw_client *c)
{
    uint64_t epochs = UINT64_MAX;

    for (uint32_t i = 0; i < c->n_shards; i++) {
        struct psw_shard *sh = &c->shards[i];

        if (sh->rested && sh->rest_clock > c->clock)
            c->clock = sh->rest_clock;
        sh->rested = 0;
        if (sh->epochs < epochs)
            epochs = sh->epochs;
    }
    c->epochs = epochs;
}

ps_status psw_client_rest(struct psw_client *c, uint64_t now_ns, struct ps_outbox *out,
                          struct ps_ticket **ticket)
{
    ps_status st = check_rest(c);

    if (!st)
        st = psw_ticket_new(c, PSW_FOR_REST, ticket);
    if (st)
        return st;
    if (psw_is_resuming(c))
        return PS_OK;
    for (uint32_t i = 0; !st && i < c->n_shards; i++)
        st = ask_shard(c, &c->shards[i], *ticket);
    if (st) { /* what is on its way already is met by the next try */
        psw_ticket_free(*ticket);
        return st;
    }
    if ((*ticket)->n_open == 0) { /* all have answered since the last try */
        psw_ticket_request_done(*ticket);
        wake(c);
    }
    psw_client_send(c, now_ns, out);
    return PS_OK;
}

void psw_rest_answer(struct psw_client *c, struct psw_shard *sh,
                     const struct psw_request *r, const struct ps_header *h)
{
    struct ps_ticket *t = r->ticket;

    if (h->kind == PS_MSG_PUSH_OK) {
        sh->rested = r->clock + 1;
        sh->rest_clock = h->clock;
        sh->epochs = h->after;
    } else if (t && !t->status) {
        t->status = h->kind == PS_MSG_ERROR && h->status < 0 ? (ps_status)h->status
                                                             : PS_ERR_BAD_MESSAGE;
        t->why = h->text[0] ? strdup(h->text) : NULL;
    }
    if (!t)
        return; /* its caller has given up */
    psw_ticket_request_done(t);
    if (t->done && !t->status)
        wake(c);
}
