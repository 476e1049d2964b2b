/* client_ticket.c - what is waited for, and how it fails; see client.h. */
#include "worker/client_private.h"

#include "common/base/plant.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

ps_status psw_ticket_new(struct psw_client *c, uint32_t purpose, struct ps_ticket **out)
{
    struct ps_ticket *t = calloc(1, sizeof(*t) + c->n_shards * sizeof(t->oldest[0]));

    if (!t)
        return ps_fail(PS_ERR_NO_MEMORY, "worker: no memory for a ticket");
    t->life = c->life;
    t->n_shards = c->n_shards;
    for (uint32_t i = 0; i < t->n_shards; i++)
        t->oldest[i] = PSW_NOT_PULLED;
    t->client = c;
    t->purpose = purpose;
    t->clock = c->clock;
    t->next = c->tickets;
    t->link = &c->tickets;
    if (t->next)
        t->next->link = &t->next;
    c->tickets = t;
    c->n_drains += purpose == PSW_FOR_DRAIN;
    *out = t;
    return PS_OK;
}

static void forget(struct ps_ticket *t)
{
    struct psw_client *c = t->client;

    if (t->purpose & PSW_LENT && !PSD_PLANTED(PLANT_LENT))
        psw_lend_end(c, t);
    psw_lane_forget(&c->coordinator, t);
    psw_lane_forget(&c->resume.held, t);
    for (uint32_t i = 0; i < c->n_shards; i++)
        psw_lane_forget(&c->shards[i].lane, t);
}

void psw_ticket_free(struct ps_ticket *t)
{
    if (!t)
        return;
    if (!t->done)
        forget(t);
    *t->link = t->next;
    if (t->next)
        t->next->link = t->link;
    t->client->n_drains -= t->purpose == PSW_FOR_DRAIN;
    ps_view_release(&t->view);
    free(t->why);
    free(t->specs);
    free(t);
}

/* Without memory for the sentence there is the status's text. */
void psw_ticket_fail(struct ps_ticket *t, ps_status status, const char *fmt, ...)
{
    va_list args;

    if (t->done)
        return;
    t->done = true;
    t->status = status;
    va_start(args, fmt);
    if (vasprintf(&t->why, fmt, args) < 0)
        t->why = NULL;
    va_end(args);
    forget(t);
}

static const char *why(const struct ps_ticket *t)
{
    return t->why ? t->why : ps_status_text(t->status);
}

/* A push whose failure nobody has heard of makes the end of its iteration, or of the
 * whole, a failure. */
static void finish(struct ps_ticket *t)
{
    t->done = true;
    if (t->view) {
        psw_view_end(t->view);
        *t->place = t->view;
        t->view = NULL;
    }
    if (t->purpose == PSW_FOR_DRAIN && t->client->report_status) {
        t->status = t->client->report_status;
        t->why = strdup(t->client->why_report);
    }
    if (t->status || !(t->purpose & (PSW_FINISH | PSW_FOR_DRAIN)))
        return;
    for (struct ps_ticket *older = t->next; older; older = older->next) {
        if (!older->done || !older->status || !(older->purpose & PSW_PUSH) ||
            older->reported)
            continue;
        older->reported = true;
        t->status = older->status;
        t->why = strdup(why(older));
        return;
    }
}

void psw_ticket_request_done(struct ps_ticket *t)
{
    if (t->n_open > 0)
        t->n_open--;
    if (t->n_open == 0 && !t->done)
        finish(t);
}

static bool drained(const struct psw_client *c)
{
    if (c->n_reports > 0)
        return false;
    for (uint32_t i = 0; i < c->n_shards; i++)
        if (psw_lane_holds(&c->shards[i].lane, PS_MSG_PUSH, NULL))
            return false;
    return true;
}

void psw_client_settle(struct psw_client *c)
{
    if (psw_is_resuming(c) || c->n_drains == 0)
        return;
    for (struct ps_ticket *t = c->tickets; t; t = t->next)
        if (t->purpose == PSW_FOR_DRAIN && !t->done && drained(c))
            finish(t);
}

/* "pull of fc1.weight and 7 more at clock 12" */
void psw_ticket_about(const struct ps_ticket *t, char *text, size_t bytes)
{
    const char *verb = t->purpose & PSW_PUSH
                           ? t->purpose & PSW_PULL ? "push and pull" : "push"
                           : "pull";
    char        more[32] = "";

    switch (t->purpose) {
    case PSW_FOR_HELLO:
        snprintf(text, bytes, "hello to job %s", t->client->options.job.name);
        return;
    case PSW_FOR_MATRIX: snprintf(text, bytes, "opening of %s", t->specs->name); return;
    case PSW_FOR_LIST: snprintf(text, bytes, "list of the matrices"); return;
    case PSW_FOR_DRAIN: snprintf(text, bytes, "delivery of the last pushes"); return;
    case PSW_FOR_BYE: snprintf(text, bytes, "goodbye"); return;
    case PSW_FOR_ROWS:
        snprintf(text, bytes, "rows of %s", t->rows.matrix->spec.name);
        return;
    case PSW_FOR_REST:
        snprintf(text, bytes, "end of the epoch at clock %ju", (uintmax_t)t->clock);
        return;
    }
    if (t->n_matrices > 1)
        snprintf(more, sizeof(more), " and %u more", t->n_matrices - 1);
    if (t->n_matrices == 0)
        snprintf(text, bytes, "end of iteration %ju", (uintmax_t)t->clock + 1);
    else if (t->purpose & PSW_PUSH)
        snprintf(text, bytes, "%s of %s%s for iteration %ju", verb, t->first, more,
                 (uintmax_t)t->clock + 1);
    else if (t->client->options.observer)
        snprintf(text, bytes, "pull of %s%s", t->first, more);
    else
        snprintf(text, bytes, "pull of %s%s at clock %ju", t->first, more,
                 (uintmax_t)t->clock);
}

static bool waits_on(const struct ps_ticket *t, const struct psw_lane *lane)
{
    if (t->purpose == PSW_FOR_DRAIN)
        return psw_lane_holds(lane, PS_MSG_PUSH, NULL) ||
               psw_lane_holds(lane, PS_MSG_REPORT, NULL);
    return psw_lane_holds(lane, PS_MSG_PUSH, t) ||
           psw_lane_holds(lane, PS_MSG_PULL, t) || psw_lane_holds(lane, PS_MSG_ROWS, t);
}

static const struct psw_lane *silent_lane(const struct ps_ticket *t)
{
    const struct psw_client *c = t->client;

    for (uint32_t i = 0; i < c->n_shards; i++)
        if (waits_on(t, &c->shards[i].lane))
            return &c->shards[i].lane;
    return &c->coordinator;
}

void psw_ticket_give_up(struct ps_ticket *t, uint64_t now_ns, uint64_t beat_ns,
                        uint32_t waited_ms)
{
    char     about[2 * PS_NAME_BYTES], name[PS_ENDPOINT_BYTES + 32];
    uint64_t heard_ns = psw_client_heard_ns(t->client);

    if (t->done)
        return;
    if (beat_ns > heard_ns)
        heard_ns = beat_ns;
    psw_ticket_about(t, about, sizeof(about));
    psw_lane_name(silent_lane(t), name, sizeof(name));
    if (heard_ns == 0)
        psw_ticket_fail(t, PS_ERR_UNAVAILABLE, "%s: nobody answers, waited %g s", name,
                        waited_ms / 1e3);
    else if (now_ns >= heard_ns + PSW_QUIET_NS)
        psw_ticket_fail(t, PS_ERR_UNAVAILABLE,
                        "%s: nothing heard from %s nor any other server for %.0f s",
                        about, name, (double)(now_ns - heard_ns) / 1e9);
    else
        psw_ticket_fail(t, PS_ERR_TIMEOUT, "%s: no answer from %s for %g s", about,
                        name, waited_ms / 1e3);
}

void psw_ticket_will_be_told(struct ps_ticket *t)
{
    t->reported = true;
}

void psw_ticket_abort(struct ps_ticket *t, const char *why)
{
    char about[2 * PS_NAME_BYTES];

    psw_ticket_about(t, about, sizeof(about));
    psw_ticket_fail(t, PS_ERR_ABORTED, "%s: %s", about, why);
}

ps_status psw_ticket_result(const struct ps_ticket *t)
{
    if (t->status == PS_ERR_ROLLBACK)
        psw_client_told(t->client);
    return t->status ? ps_fail(t->status, "%s", why(t)) : PS_OK;
}

/* What it pulled is behind the gradients from now on; see client.h. */
static void use(const struct ps_ticket *t)
{
    if (t->life != t->client->life)
        return; /* those versions are not this life's */
    for (uint32_t i = 0; i < t->n_shards; i++) {
        struct psw_shard *sh = &t->client->shards[i];

        if (t->oldest[i] == PSW_NOT_PULLED)
            continue;
        if (!sh->used || t->oldest[i] < sh->base)
            sh->base = t->oldest[i];
        sh->used = true;
    }
}

void psw_ticket_drop(struct ps_ticket **ticket)
{
    if (*ticket && (*ticket)->done && !(*ticket)->status)
        use(*ticket);
    psw_ticket_free(*ticket);
    *ticket = NULL;
}

bool psw_ticket_done(const struct ps_ticket *t)
{
    return t->done;
}

void *psw_ticket_owner(const struct ps_ticket *t)
{
    return t->client->options.owner;
}

ps_matrix *psw_ticket_matrix(const struct ps_ticket *t)
{
    return t->matrix;
}

const struct ps_matrix_spec *psw_ticket_list(const struct ps_ticket *t, uint32_t *n)
{
    *n = t->n_listed;
    return t->specs;
}
