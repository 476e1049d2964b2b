/* client_session.c - hello, matrices, lists, reports, goodbye; see client.h. */
#include "worker/client_private.h"

#include <assert.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define REPORTS_WAITING_MAX (1u << 16)

/* ---- asking -------------------------------------------------------------------- */

/* Makes the request and sends it; on failure the ticket is freed. */
static ps_status ask(struct psw_client *c, struct ps_ticket **ticket,
                     struct ps_header *h, uint64_t now_ns, struct ps_outbox *out)
{
    struct psw_request *r;
    ps_status           st = psw_request_new(c, *ticket, h, 0, &r);

    if (st) {
        psw_ticket_free(*ticket);
        *ticket = NULL;
        return st;
    }
    (*ticket)->n_open = 1;
    if (psw_is_resuming(c) && h->kind != PS_MSG_BYE)
        psw_queue_add(&c->resume.held.queue, r);
    else
        psw_queue_add(&c->coordinator.queue, r);
    psw_client_send(c, now_ns, out);
    return PS_OK;
}

/* A fresh ticket, if the client is fit for it. */
static ps_status begin(struct psw_client *c, uint32_t purpose, struct ps_ticket **out)
{
    ps_status st = psw_client_usable(c);

    assert(purpose == PSW_FOR_HELLO || c->welcome);
    return st ? st : psw_ticket_new(c, purpose, out);
}

void psw_session_hello(const struct psw_client *c, struct ps_header *h)
{
    *h = (struct ps_header){ .kind = PS_MSG_HELLO,
                             .name = c->options.job.name,
                             .token = c->options.token,
                             .pid = c->options.pid,
                             .text = c->options.host };
    if (c->options.observer)
        h->flags = PS_FLAG_OBSERVER;
    else
        h->job_spec = &c->options.job;
}

ps_status psw_client_hello(struct psw_client *c, uint64_t now_ns, struct ps_outbox *out,
                           struct ps_ticket **ticket)
{
    struct ps_header h;
    ps_status        st = begin(c, PSW_FOR_HELLO, ticket);

    if (st)
        return st;
    psw_session_hello(c, &h);
    return ask(c, ticket, &h, now_ns, out);
}

ps_status psw_client_matrix(struct psw_client *c, uint64_t now_ns,
                            const struct ps_matrix_spec *spec, bool create,
                            struct ps_outbox *out, struct ps_ticket **ticket)
{
    struct ps_header h = { .kind = PS_MSG_MATRIX,
                           .flags = create ? PS_FLAG_CREATE : 0,
                           .n_matrices = 1,
                           .matrices = spec };
    ps_status        st = begin(c, PSW_FOR_MATRIX, ticket);

    if (st)
        return st;
    (*ticket)->specs = malloc(sizeof(*spec));
    if (!(*ticket)->specs) {
        psw_ticket_free(*ticket);
        return ps_fail(PS_ERR_NO_MEMORY, "matrix %s: no memory", spec->name);
    }
    *(*ticket)->specs = *spec;
    return ask(c, ticket, &h, now_ns, out);
}

ps_status psw_client_list(struct psw_client *c, uint64_t now_ns, const char *after,
                          struct ps_outbox *out, struct ps_ticket **ticket)
{
    struct ps_header h = { .kind = PS_MSG_LIST, .name = after };
    ps_status        st = begin(c, PSW_FOR_LIST, ticket);

    return st ? st : ask(c, ticket, &h, now_ns, out);
}

ps_status psw_client_bye(struct psw_client *c, uint64_t now_ns, const char *reason,
                         struct ps_outbox *out, struct ps_ticket **ticket)
{
    struct ps_header h = {
        .kind = PS_MSG_BYE, .text = reason, .clock = c->clock, .traffic = &c->traffic
    };
    ps_status st = begin(c, PSW_FOR_BYE, ticket);

    c->leaving = st == PS_OK;
    return st ? st : ask(c, ticket, &h, now_ns, out);
}

ps_status psw_client_drain(struct psw_client *c, uint64_t now_ns, struct ps_outbox *out,
                           struct ps_ticket **ticket)
{
    ps_status st = psw_client_may_move(c);

    if (!st)
        st = begin(c, PSW_FOR_DRAIN, ticket);
    if (st)
        return st;
    for (struct ps_ticket *t = c->tickets; t; t = t->next)
        if (t->purpose == PSW_PULL)
            psw_ticket_fail(t, PS_ERR_ABORTED, "pull of %s: the worker is closed",
                            t->first);
    c->reports_due_ns = now_ns;
    psw_client_tick(c, now_ns, out);
    return PS_OK;
}

/* ---- reports ------------------------------------------------------------------- */

static ps_status check_report(const struct psw_client *c, const char *metric)
{
    ps_status st = psw_client_usable(c);

    if (st)
        return st;
    st = ps_metric_name_check(metric);
    if (st)
        return st;
    if (c->n_reports == REPORTS_WAITING_MAX)
        return ps_fail(PS_ERR_LIMIT,
                       "report of %s: %zu wait already for coordinator %s", metric,
                       c->n_reports, c->options.coordinator);
    return PS_OK;
}

ps_status psw_client_report(struct psw_client *c, uint64_t now_ns, const char *metric,
                            double value)
{
    struct ps_report_record *record;
    ps_status                st = check_report(c, metric);

    if (st)
        return st;
    if (c->n_reports == c->reports_room) {
        size_t                   room = c->reports_room ? 2 * c->reports_room : 64;
        struct ps_report_record *grown = realloc(c->reports, room * sizeof(*grown));

        if (!grown)
            return ps_fail(PS_ERR_NO_MEMORY, "report of %s: no memory", metric);
        c->reports = grown;
        c->reports_room = room;
    }
    if (c->n_reports == 0)
        c->reports_due_ns = now_ns + PSW_REPORT_DELAY_NS;
    record = &c->reports[c->n_reports++];
    *record = (struct ps_report_record){ .clock = c->clock,
                                         .rank = c->options.rank,
                                         .value = value };
    snprintf(record->name, sizeof(record->name), "%s", metric);
    return PS_OK;
}

/* One message at a time, so that the order holds. */
void psw_session_tick(struct psw_client *c, uint64_t now_ns)
{
    struct ps_header    h = { .kind = PS_MSG_REPORT,
                              .seq = c->report_seq + 1,
                              .clock = c->clock,
                              .reports = c->reports,
                              .traffic = &c->traffic };
    struct psw_request *r;

    if (c->n_reports == 0 || c->n_reporting > 0 || psw_is_resuming(c) ||
        (c->n_reports < PS_REPORTS_MAX && now_ns < c->reports_due_ns))
        return;
    h.n_reports =
        c->n_reports < PS_REPORTS_MAX ? (uint32_t)c->n_reports : PS_REPORTS_MAX;
    if (psw_request_new(c, NULL, &h, 0, &r)) {
        c->reports_due_ns = now_ns + PSW_SECOND_NS; /* no memory: later, perhaps */
        return;
    }
    c->report_seq++;
    c->n_reporting = h.n_reports;
    psw_queue_add(&c->coordinator.queue, r);
}

static void reported(struct psw_client *c, const struct ps_header *h)
{
    c->n_reports -= c->n_reporting;
    memmove(c->reports, c->reports + c->n_reporting,
            c->n_reports * sizeof(*c->reports));
    c->n_reporting = 0;
    if (h->kind == PS_MSG_OK || c->report_status)
        return;
    c->report_status = h->kind == PS_MSG_ERROR && h->status < 0 ? (ps_status)h->status
                                                                : PS_ERR_BAD_MESSAGE;
    snprintf(c->why_report, sizeof(c->why_report), "a report was refused: %s",
             h->text[0] ? h->text : ps_status_text(c->report_status));
}

/* ---- answers ------------------------------------------------------------------- */

/* The words for an answer that cannot be. */
static void odd(const struct psw_client *c, struct ps_ticket *t, const char *what)
{
    char about[2 * PS_NAME_BYTES];

    psw_ticket_about(t, about, sizeof(about));
    psw_ticket_fail(t, PS_ERR_BAD_MESSAGE, "%s: coordinator %s answered %s", about,
                    c->options.coordinator, what);
}

void psw_session_leave(struct psw_client *c)
{
    for (uint32_t i = 0; i < c->n_shards; i++) {
        psw_lane_clear(&c->shards[i].lane);
        free(c->shards[i].pack.pieces);
    }
    free(c->shards);
    c->shards = NULL;
    c->n_shards = 0;
}

ps_status psw_session_enter(struct psw_client *c, const struct ps_header *h,
                            const char **why)
{
    struct psw_shard *shards;

    *why = "with a welcome without session, shards or job";
    if (h->session == 0 || h->n_endpoints == 0 || h->n_endpoints > PS_SHARDS_MAX ||
        !h->job_spec)
        return PS_ERR_BAD_MESSAGE;
    *why = "with more shards than there is memory for";
    shards = calloc(h->n_endpoints, sizeof(*shards));
    if (!shards)
        return PS_ERR_NO_MEMORY;
    psw_session_leave(c);
    c->shards = shards;
    c->n_shards = h->n_endpoints;
    for (uint32_t i = 0; i < c->n_shards; i++) {
        struct psw_lane *lane = &c->shards[i].lane;

        lane->window = c->options.window;
        lane->route = (struct ps_route){ .kind = PS_ROUTE_SHARD, .index = (uint16_t)i };
        snprintf(lane->endpoint, sizeof(lane->endpoint), "%s", h->endpoints[i]);
    }
    c->options.job = *h->job_spec;
    if (c->options.observer)
        c->options.rank = h->rank;
    c->job = h->job;
    c->session = h->session;
    c->incarnation = h->incarnation;
    c->server_epoch = h->server_epoch;
    c->job_life = h->version;
    c->map_epoch = h->map_epoch;
    c->life++;
    c->welcome = true;
    return PS_OK;
}

static void welcome(struct psw_client *c, struct ps_ticket *t,
                    const struct ps_header *h)
{
    const char *why;
    ps_status   st = psw_session_enter(c, h, &why);

    if (st)
        psw_ticket_fail(t, st, "hello to job %s: coordinator %s answered %s",
                        c->options.job.name, c->options.coordinator, why);
    else
        c->clock = h->clock;
}

bool psw_session_same_shape(const struct ps_matrix_spec *a,
                            const struct ps_matrix_spec *b)
{
    return strcmp(a->name, b->name) == 0 && a->dtype == b->dtype &&
           a->sparse == b->sparse && a->rows == b->rows && a->cols == b->cols;
}

struct ps_matrix *psw_session_matrix(const struct psw_client *c, const char *name)
{
    struct ps_matrix *m = c->matrices;

    while (m && strcmp(m->spec.name, name) != 0)
        m = m->next;
    return m;
}

bool psw_session_place(const struct psw_client *c, struct ps_matrix *m,
                       const struct ps_header *h)
{
    ps_place_cut(&m->place, h->matrices);
    m->spec = h->matrices[0];
    return ps_place_take_runs(&m->place, h->slot_runs, h->n_slot_runs, c->n_shards);
}

static void opened(struct psw_client *c, struct ps_ticket *t, const struct ps_header *h)
{
    struct ps_matrix *m;

    if (h->n_matrices != 1 || !psw_session_same_shape(h->matrices, t->specs)) {
        odd(c, t, "with another matrix");
        return;
    }
    t->matrix = psw_session_matrix(c, t->specs->name);
    if (t->matrix)
        return;
    m = calloc(1, sizeof(*m));
    if (!m) {
        psw_ticket_fail(t, PS_ERR_NO_MEMORY, "matrix %s: no memory", t->specs->name);
        return;
    }
    if (!psw_session_place(c, m, h)) {
        free(m);
        odd(c, t, "with a map that does not fit the matrix");
        return;
    }
    m->client = c;
    m->element_bytes = ps_dtype_bytes(m->spec.dtype);
    m->next = c->matrices;
    c->matrices = t->matrix = m;
}

static void listed(struct ps_ticket *t, const struct ps_header *h)
{
    if (h->n_matrices == 0)
        return;
    t->specs = malloc(h->n_matrices * sizeof(*t->specs));
    if (!t->specs) {
        psw_ticket_fail(t, PS_ERR_NO_MEMORY, "list of the matrices: no memory");
        return;
    }
    memcpy(t->specs, h->matrices, h->n_matrices * sizeof(*t->specs));
    t->n_listed = h->n_matrices;
}

static uint32_t expected(uint32_t asked)
{
    switch (asked) {
    case PS_MSG_HELLO: return PS_MSG_WELCOME;
    case PS_MSG_MATRIX: return PS_MSG_MATRIX_OK;
    case PS_MSG_LIST: return PS_MSG_LIST_OK;
    }
    return PS_MSG_OK;
}

void psw_session_answer(struct psw_client *c, const struct psw_request *r,
                        const struct ps_header *h)
{
    struct ps_ticket *t = r->ticket;

    if (r->kind == PS_MSG_REPORT)
        reported(c, h);
    if (!t)
        return;
    if (h->kind != expected(r->kind))
        odd(c, t, ps_kind_name(h->kind));
    else if (r->kind == PS_MSG_HELLO)
        welcome(c, t, h);
    else if (r->kind == PS_MSG_MATRIX)
        opened(c, t, h);
    else if (r->kind == PS_MSG_LIST)
        listed(t, h);
    psw_ticket_request_done(t);
}
