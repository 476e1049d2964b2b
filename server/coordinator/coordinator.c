/* coordinator.c - see coordinator.h; life, and which message goes where. */
#include "server/coordinator/coordinator_private.h"

#include "common/base/random.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define SECRETS_STREAM 1u
#define SECRETS_OF_A_START 40 /* bits; so that two starts with one seed differ */

ps_status psd_coordinator_new(struct psd_coordinator              **out,
                              const struct psd_coordinator_options *options)
{
    struct psd_coordinator *c = calloc(1, sizeof(*c));
    ps_status               st;

    if (!c)
        return ps_fail(PS_ERR_NO_MEMORY, "coordinator: no memory");
    st = ps_decoder_new(&c->decoder);
    if (st) {
        free(c);
        return st;
    }
    c->options = *options;
    snprintf(c->token, sizeof(c->token), "%s", options->token);
    snprintf(c->endpoint, sizeof(c->endpoint), "%s", options->endpoint);
    c->next_request = 1;
    *out = c;
    return PS_OK;
}

void psd_coordinator_free(struct psd_coordinator **c)
{
    struct psd_coordinator *gone = *c;

    *c = NULL;
    if (!gone)
        return;
    for (size_t i = 0; i < gone->n_jobs; i++)
        coord_job_free(&gone->jobs[i]);
    free(gone->jobs);
    coord_operation_free(&gone->stats);
    for (uint32_t i = 0; i < gone->n_shards; i++)
        free(gone->shards[i].stats);
    ps_decoder_free(&gone->decoder);
    free(gone);
}

/* ---- answers ------------------------------------------------------------------------
 */

void coord_send(struct psd_coordinator *c, const struct ps_route *to,
                const struct ps_header *h)
{
    ps_status st = ps_wire_send(c->out, to, h, NULL, 0);

    (void)st; /* it was logged; whoever waits for it asks again */
}

void coord_answer_error(struct psd_coordinator *c, const struct coord_asker *asker,
                        ps_status status, const char *why)
{
    struct ps_header h = { .kind = PS_MSG_ERROR,
                           .request = asker->request,
                           .status = status };
    char             text[PS_TEXT_BYTES];

    snprintf(text, sizeof(text), "%s", why);
    h.text = text;
    coord_send(c, &asker->route, &h);
}

void coord_answer(struct psd_coordinator *c, const struct coord_asker *asker,
                  struct ps_header *h, struct ps_buf **frames, uint32_t n_frames)
{
    ps_status st;

    h->request = asker->request;
    st = ps_wire_send(c->out, &asker->route, h, frames, n_frames);
    /* It is done, so without memory to say so nothing is said: who asks again is told.
     */
    if (st && st != PS_ERR_NO_MEMORY)
        coord_answer_error(c, asker, st, ps_log_last_error());
}

void coord_answer_ok(struct psd_coordinator *c, const struct coord_asker *asker)
{
    struct ps_header h = { .kind = PS_MSG_OK };

    coord_answer(c, asker, &h, NULL, 0);
}

uint64_t coord_secret(struct psd_coordinator *c)
{
    uint64_t secret, first = c->starts << SECRETS_OF_A_START;

    do
        secret = ps_random_u64(c->options.random_seed, SECRETS_STREAM,
                               first + c->n_secrets++);
    while (secret == 0);
    return secret;
}

/* Takes as long for a wrong token as for the right one; `wanted` is not empty. */
static bool same_token(const char *given, const char *wanted)
{
    size_t        n = strlen(given), of = strlen(wanted);
    unsigned char differs = n != of;

    for (size_t i = 0; i < n; i++)
        differs |= (unsigned char)(given[i] ^ wanted[i % of]);
    return !differs;
}

ps_status coord_check_token(struct psd_coordinator *c, const char *token)
{
    if (c->token[0] == '\0' || same_token(token, c->token))
        return PS_OK;
    c->denied++;
    return ps_fail(PS_ERR_DENIED, token[0] ? "coordinator: wrong token"
                                           : "coordinator: a token is needed, none "
                                             "was given");
}

/* ---- messages ---------------------------------------------------------------- */

static const struct {
    uint32_t kind;
    bool     touches; /* what must survive, by itself and not by what follows from it */
    ps_status (*run)(struct psd_coordinator *c, const struct coord_request *r);
} verbs[] = {
    { PS_MSG_HELLO, true, coord_hello },
    { PS_MSG_MATRIX, true, coord_matrix },
    { PS_MSG_LIST, false, coord_list },
    { PS_MSG_REPORT, false, coord_report },
    { PS_MSG_BEAT, false, coord_beat },
    { PS_MSG_BYE, true, coord_bye },
    { PS_MSG_STATUS, false, coord_status },
    { PS_MSG_WATCH, false, coord_watch },
    { PS_MSG_JOIN, true, coord_join },
    { PS_MSG_PART, true, coord_part },
    { PS_MSG_CHECKPOINT, false, coord_checkpoint },
};

static ps_status refuse_kind(struct psd_coordinator *c, uint32_t kind)
{
    c->bad_messages++;
    return ps_fail(PS_ERR_BAD_MESSAGE, "coordinator: message %s (%u) is not for it",
                   ps_kind_name(kind), kind);
}

static ps_status refuse_closing(struct psd_coordinator     *c,
                                const struct coord_request *r)
{
    if (r->asker.kind != PS_MSG_BYE && r->asker.kind != PS_MSG_PART)
        return ps_fail(PS_ERR_CLOSING, "%s", c->closing_why);
    coord_answer_ok(c, &r->asker); /* who leaves agrees with us */
    return PS_OK;
}

static ps_status run_verb(struct psd_coordinator *c, const struct coord_request *r)
{
    if (c->closing)
        return refuse_closing(c, r);
    for (size_t i = 0; i < sizeof(verbs) / sizeof(verbs[0]); i++) {
        if (verbs[i].kind != r->asker.kind)
            continue;
        if (verbs[i].touches)
            c->touched = true;
        return verbs[i].run(c, r);
    }
    return refuse_kind(c, r->asker.kind);
}

/* What an answer is not owed to: answers, and bytes that say nothing. */
static bool is_request(uint32_t kind)
{
    return kind > PS_MSG_OK;
}

static void handle_peer(struct psd_coordinator *c, const struct ps_route *from,
                        const struct ps_header *h)
{
    struct coord_request r = {
        .h = h,
        .asker = { .route = *from, .request = h->request, .kind = h->kind },
    };
    ps_status st;

    /* An answer that nobody asked for is not answered, or two would never stop. */
    if (!is_request(h->kind)) {
        c->bad_messages++;
        return;
    }
    st = run_verb(c, &r);
    if (st)
        coord_answer_error(c, &r.asker, st, ps_log_last_error());
}

static struct coord_operation *find_operation(struct psd_coordinator *c, uint32_t shard,
                                              const struct ps_header *h)
{
    if (c->stats && coord_operation_answered(c->stats, shard, h))
        return c->stats;
    for (size_t i = 0; i < c->n_jobs; i++) {
        struct coord_operation *first = coord_job_under_way(c->jobs[i]);

        if (!first || !coord_operation_answered(first, shard, h))
            continue;
        if (h->kind == PS_MSG_SETS_OK && c->jobs[i]->recovery)
            coord_offer_take(c->jobs[i]->recovery, shard, h);
        return first;
    }
    return NULL;
}

static void handle_shard(struct psd_coordinator *c, uint32_t shard,
                         const struct ps_header *h)
{
    struct coord_operation *operation;

    if (h->kind == PS_MSG_NOTICE)
        return; /* that its psd is ending, which says so itself */
    if (h->kind != PS_MSG_OK && h->kind != PS_MSG_ERROR && h->kind != PS_MSG_STATS_OK &&
        h->kind != PS_MSG_SETS_OK && h->kind != PS_MSG_SAVED) {
        c->bad_messages++;
        return;
    }
    coord_shard_heard(c, shard);
    if (h->kind == PS_MSG_SAVED) {
        coord_saved(c, shard, h);
        return;
    }
    for (size_t i = 0; i < c->n_jobs; i++)
        if (coord_checkpoint_answered(c->jobs[i], shard, h))
            return;
    operation = find_operation(c, shard, h);
    if (!operation || h->kind != PS_MSG_STATS_OK)
        return; /* answered before: it was sent twice */
    if (coord_stats_take(&c->shards[shard], h))
        coord_operation_spoil(operation, PS_ERR_NO_MEMORY, ps_log_last_error());
}

/* Damage is counted; where the header still says who asks for what, he is told. */
static void handle_undecoded(struct psd_coordinator *c, const struct ps_route *from,
                             const struct ps_header *h, ps_status status)
{
    struct coord_asker asker = { .route = *from, .request = h->request };

    c->bad_messages++;
    if (from->kind == PS_ROUTE_PEER && is_request(h->kind))
        coord_answer_error(c, &asker, status, ps_log_last_error());
}

/* Nobody who was not heard while we were stopped was silent: that time does not count,
 * for anything. */
static void wake_up(struct psd_coordinator *c, uint64_t now_ns)
{
    uint64_t due_ns = psd_coordinator_next_tick(c);

    if (due_ns == UINT64_MAX || c->ticked_ns == 0) {
        c->ticked_ns = now_ns - c->asleep_ns; /* nothing was waited for */
    } else if (now_ns > due_ns && now_ns - due_ns > COORD_ASLEEP_NS) {
        c->asleep_ns += now_ns - due_ns;
        ps_log(PS_LOG_WARN,
               "coordinator: was stopped for %.1f s, which is nobody's silence",
               (double)(now_ns - due_ns) / (double)COORD_SECOND_NS);
    }
}

static void enter(struct psd_coordinator *c, uint64_t now_ns, struct ps_outbox *out)
{
    wake_up(c, now_ns);
    c->real_ns = now_ns;
    c->now_ns = now_ns - c->asleep_ns;
    if (c->started_ns == 0)
        c->started_ns = now_ns;
    c->out = out;
}

void psd_coordinator_handle(struct psd_coordinator *c, uint64_t now_ns,
                            struct ps_parcel *in, struct ps_outbox *out)
{
    struct ps_header h = { 0 };
    ps_status        st;

    enter(c, now_ns, out);
    st = ps_wire_decode(c->decoder, in->head->data, in->head->len, &h);
    if (st)
        handle_undecoded(c, &in->route, &h, st);
    else if (in->route.kind == PS_ROUTE_PEER)
        handle_peer(c, &in->route, &h);
    else if (in->route.kind == PS_ROUTE_SHARD && in->route.index < c->n_shards)
        handle_shard(c, in->route.index, &h);
    else
        c->bad_messages++;
    coord_settle(c);
    ps_parcel_drop(in);
}

void psd_coordinator_dropped(struct psd_coordinator *c, uint64_t messages)
{
    c->dropped = messages;
}

/* ---- time -------------------------------------------------------------------- */

static void tick_operations(struct psd_coordinator *c)
{
    bool overdue[PS_SHARDS_MAX] = { false };

    if (c->stats)
        coord_operation_tick(c, c->stats, overdue);
    for (size_t i = 0; i < c->n_jobs; i++) {
        if (coord_job_under_way(c->jobs[i]))
            coord_operation_tick(c, coord_job_under_way(c->jobs[i]), overdue);
        if (c->jobs[i]->checkpoint)
            coord_operation_tick(c, c->jobs[i]->checkpoint, overdue);
    }
    for (uint32_t i = 0; i < c->n_shards; i++) {
        char why[PS_TEXT_BYTES];

        if (!overdue[i])
            continue;
        snprintf(why, sizeof(why), "shard %u at %s has not answered for %g s", i,
                 c->shards[i].endpoint,
                 (double)c->options.shard_timeout_ns / (double)COORD_SECOND_NS);
        coord_shard_lose(c, i, why);
    }
}

void psd_coordinator_tick(struct psd_coordinator *c, uint64_t now_ns,
                          struct ps_outbox *out)
{
    enter(c, now_ns, out);
    c->ticked_ns = c->now_ns;
    tick_operations(c);
    coord_servers_tick(c);
    for (size_t i = 0; i < c->n_jobs; i++)
        coord_job_tick(c, c->jobs[i]);
    coord_settle(c);
}

/* Is there anything whose time could come? */
static bool is_watching(const struct psd_coordinator *c)
{
    if (c->stats)
        return true;
    for (uint32_t i = 0; i < c->n_servers; i++)
        if (c->servers[i].joined && !c->servers[i].lost)
            return true;
    for (size_t i = 0; i < c->n_jobs; i++)
        if (!coord_job_over(c->jobs[i]) || c->jobs[i]->operations ||
            c->jobs[i]->n_observers > 0 || c->jobs[i]->checkpoint)
            return true;
    return false;
}

uint64_t psd_coordinator_next_tick(const struct psd_coordinator *c)
{
    return is_watching(c) ? c->ticked_ns + c->asleep_ns + COORD_TICK_NS : UINT64_MAX;
}

/* ---- the end ----------------------------------------------------------------- */

static void refuse_waiting(struct psd_coordinator *c, struct coord_operation *operation)
{
    for (; operation; operation = operation->next) {
        coord_operation_refuse(c, operation, PS_ERR_CLOSING, c->closing_why);
        operation->n_askers = 0;
    }
}

void psd_coordinator_close(struct psd_coordinator *c, const char *why,
                           struct ps_outbox *out)
{
    struct ps_header notice = { .kind = PS_MSG_NOTICE, .status = PS_ERR_CLOSING };

    c->out = out;
    c->closing = true;
    snprintf(c->closing_why, sizeof(c->closing_why), "%s", why);
    notice.text = c->closing_why;
    refuse_waiting(c, c->stats);
    for (size_t i = 0; i < c->n_jobs; i++) {
        refuse_waiting(c, c->jobs[i]->operations);
        coord_checkpoint_end(c, c->jobs[i], PS_ERR_CLOSING, c->closing_why);
        coord_members_notice(c, c->jobs[i], PS_ERR_CLOSING, c->closing_why);
    }
    for (uint32_t i = 0; i < c->n_servers; i++)
        if (c->servers[i].joined && !c->servers[i].lost &&
            c->servers[i].route.bytes > 0)
            coord_send(c, &c->servers[i].route, &notice);
}
