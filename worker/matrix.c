/* matrix.c - matrices and tickets of the blocking interface. */
#include "worker/worker_private.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

/* ---- opening -------------------------------------------------------------------- */

ps_status psw_open_matrix(ps_worker *w, const struct ps_matrix_spec *spec, bool create,
                          ps_matrix **out)
{
    struct ps_ticket *t;
    ps_status         st =
        psw_client_matrix(w->client, w->started_ns, spec, create, &w->outbox, &t);

    if (!st)
        st = psw_wait_result(w, &t);
    if (st)
        return st;
    *out = psw_ticket_matrix(t);
    psw_ticket_drop(&t);
    return PS_OK;
}

static ps_status spec_from(const char *name, const ps_matrix_options *given,
                           struct ps_matrix_spec *spec, bool *create)
{
    ps_matrix_options o = PS_MATRIX_OPTIONS;

    if (given) {
        ps_status st = psw_options_take(&o, sizeof(o), given, "ps_matrix_options");

        if (st)
            return st;
    }
    if (!name)
        return ps_fail(PS_ERR_BAD_ARG, "matrix: the name is NULL");
    if (strlen(name) >= sizeof(spec->name))
        return ps_fail(PS_ERR_BAD_ARG,
                       "matrix %.32s...: a name of %zu bytes, expected at most %zu",
                       name, strlen(name), sizeof(spec->name) - 1);
    snprintf(spec->name, sizeof(spec->name), "%s", name);
    spec->dtype = o.dtype;
    spec->init = o.init;
    spec->init_a = o.init_a;
    spec->init_b = o.init_b;
    spec->optimiser = o.optimiser;
    spec->weight_decay = o.weight_decay < 0 ? NAN : o.weight_decay;
    spec->max_rows = o.max_rows;
    spec->evict = o.evict;
    *create = !o.open_only;
    return PS_OK;
}

static ps_status open_matrix(ps_worker *w, const char *name, bool sparse, uint64_t rows,
                             uint64_t cols, const ps_matrix_options *options,
                             ps_matrix **out)
{
    struct ps_matrix_spec spec = { .sparse = sparse, .rows = rows, .cols = cols };
    bool                  create;
    ps_status             st = psw_begin(w);

    if (!st)
        st = spec_from(name, options, &spec, &create);
    if (!st)
        st = ps_matrix_spec_check(&spec);
    if (!st)
        st = psw_open_matrix(w, &spec, create && !psw_client_is_observer(w->client),
                             out);
    return st;
}

ps_status ps_dense(ps_worker *w, const char *name, uint64_t rows, uint64_t cols,
                   const ps_matrix_options *options, ps_matrix **out)
{
    return open_matrix(w, name, false, rows, cols, options, out);
}

ps_status ps_sparse(ps_worker *w, const char *name, uint64_t cols,
                    const ps_matrix_options *options, ps_matrix **out)
{
    return open_matrix(w, name, true, 0, cols, options, out);
}

const char *ps_matrix_name(const ps_matrix *m)
{
    return psw_matrix_spec(m)->name;
}

uint64_t ps_matrix_rows(const ps_matrix *m)
{
    return psw_matrix_spec(m)->rows;
}

uint64_t ps_matrix_cols(const ps_matrix *m)
{
    return psw_matrix_spec(m)->cols;
}

ps_dtype ps_matrix_dtype(const ps_matrix *m)
{
    return (ps_dtype)psw_matrix_spec(m)->dtype;
}

/* ---- moves ---------------------------------------------------------------------- */

/* More than one request of gradients? */
static bool is_large(const struct psw_span *spans, uint32_t n_spans)
{
    uint64_t bytes = 0;

    for (uint32_t i = 0; i < n_spans; i++)
        bytes +=
            spans[i].count * ps_dtype_bytes(psw_matrix_spec(spans[i].matrix)->dtype);
    return bytes > PS_CHUNK_BYTES;
}

/* What its caller gets back before it is answered is copied here all the same, but the
 * first requests leave meanwhile. */
ps_status psw_move(ps_worker *w, uint32_t moves, const struct psw_span *spans,
                   uint32_t n_spans, struct ps_ticket **ticket)
{
    const bool        large = moves & PSW_PUSH && is_large(spans, n_spans);
    const bool        waits = moves & PSW_LENT;
    struct ps_ticket *t;
    ps_status         st;

    moves = large ? moves | PSW_LENT : moves & ~(uint32_t)PSW_LENT;
    st = psw_client_move(w->client, w->started_ns, moves, spans, n_spans, &w->outbox,
                         &t);
    if (st)
        return st;
    st = psw_progress(w);
    while (!st && large && !waits && psw_client_copy(w->client))
        st = psw_progress(w);
    if (st)
        psw_ticket_drop(&t);
    else
        *ticket = t;
    return st;
}

/* What one call moves, and how it says so. */
struct call {
    uint32_t    moves;
    const char *verb;
    bool        plain; /* the caller's numbers are float */
};

static const struct call pulls = { PSW_PULL, "pull", false };
static const struct call plain_pulls = { PSW_PULL, "pull", true };

/* Whoever waits for the answer lends the gradient. */
static const struct call pushes = { PSW_PUSH | PSW_LENT, "push", false };
static const struct call plain_pushes = { PSW_PUSH | PSW_LENT, "push", true };
static const struct call async_pushes = { PSW_PUSH, "push", false };

static ps_status check(const struct call *call, const struct psw_span *span, bool rows)
{
    const struct ps_matrix_spec *spec = psw_matrix_spec(span->matrix);
    const void *caller = call->moves & PSW_PULL ? span->value : span->gradient;

    if (spec->sparse != rows)
        return ps_fail(PS_ERR_SHAPE, "%s of %s: it is %s", call->verb, spec->name,
                       rows ? "dense, so it has no rows by key"
                            : "sparse, so it moves by rows only");
    if (call->plain && spec->dtype != PS_F32)
        return ps_fail(PS_ERR_SHAPE,
                       "%s of %s: its elements are %s, this form is for "
                       "f32",
                       call->verb, spec->name, ps_dtype_name(spec->dtype));
    if (span->count > 0 && (!caller || (rows && !span->keys)))
        return ps_fail(PS_ERR_BAD_ARG, "%s of %s: %s is NULL", call->verb, spec->name,
                       caller ? "keys" : "the buffer");
    return PS_OK;
}

/* Every form of pull and push comes through here. */
static ps_status start(const struct call *call, struct psw_span *span, bool rows,
                       ps_ticket **out)
{
    static const uint64_t no_keys;
    ps_worker            *w = span->matrix ? psw_matrix_owner(span->matrix) : NULL;
    ps_status             st;

    if (!w)
        return ps_fail(PS_ERR_BAD_ARG, "%s: the matrix is NULL", call->verb);
    st = psw_begin(w);
    if (!st)
        st = check(call, span, rows);
    if (st)
        return st;
    if (rows && !span->keys)
        span->keys = &no_keys;
    return psw_move(w, call->moves, span, 1, out);
}

static ps_status start_all(const struct call *call, ps_matrix *m, void *value,
                           const void *gradient, ps_ticket **out)
{
    struct psw_span span = { .matrix = m, .value = value, .gradient = gradient };

    if (m)
        span.count = ps_matrix_elements(psw_matrix_spec(m));
    return start(call, &span, false, out);
}

static ps_status start_range(const struct call *call, ps_matrix *m, uint64_t first,
                             uint64_t n, void *value, const void *gradient,
                             ps_ticket **out)
{
    struct psw_span span = {
        .matrix = m, .first = first, .count = n, .value = value, .gradient = gradient
    };

    return start(call, &span, false, out);
}

static ps_status start_rows(const struct call *call, ps_matrix *m, const uint64_t *keys,
                            uint64_t n, void *value, const void *gradient,
                            ps_ticket **out)
{
    struct psw_span span = {
        .matrix = m, .count = n, .keys = keys, .value = value, .gradient = gradient
    };

    return start(call, &span, true, out);
}

static ps_status start_view(ps_matrix *m, ps_view **out, ps_ticket **ticket)
{
    ps_worker *w = m ? psw_matrix_owner(m) : NULL;
    ps_ticket *t;
    ps_status  st;

    if (!w || !out)
        return ps_fail(PS_ERR_BAD_ARG,
                       "view: the matrix, or where it is to go, is NULL");
    *out = NULL; /* so that it may be released whatever happens */
    st = psw_begin(w);
    for (uint32_t i = 0; !st && i < w->n_links; i++)
        psw_client_shares(w->client, i,
                          ps_link_is_near(w->links[i]) ? PS_HEAP_LEAST_BYTES : 0);
    if (!st)
        st = psw_client_view(w->client, w->started_ns, m, w->home.pid, out, &w->outbox,
                             &t);
    if (!st && (st = psw_progress(w)))
        psw_ticket_drop(&t);
    if (!st)
        *ticket = t;
    return st;
}

/* The time of a blocking call began with its start. */
static ps_status await(ps_status st, ps_ticket *t)
{
    return st ? st : psw_wait(psw_ticket_owner(t), &t);
}

ps_status ps_pull(ps_matrix *m, float *value)
{
    ps_ticket *t = NULL;
    ps_status  st = start_all(&plain_pulls, m, value, NULL, &t);

    return await(st, t);
}

ps_status ps_pull_any(ps_matrix *m, void *value)
{
    ps_ticket *t = NULL;
    ps_status  st = start_all(&pulls, m, value, NULL, &t);

    return await(st, t);
}

ps_status ps_pull_range(ps_matrix *m, uint64_t first, uint64_t n, void *value)
{
    ps_ticket *t = NULL;
    ps_status  st = start_range(&pulls, m, first, n, value, NULL, &t);

    return await(st, t);
}

ps_status ps_pull_rows(ps_matrix *m, const uint64_t *keys, uint64_t n, void *value)
{
    ps_ticket *t = NULL;
    ps_status  st = start_rows(&pulls, m, keys, n, value, NULL, &t);

    return await(st, t);
}

ps_status ps_pull_view(ps_matrix *m, ps_view **out)
{
    ps_ticket *t = NULL;
    ps_status  st = start_view(m, out, &t);

    return await(st, t);
}

ps_status ps_push(ps_matrix *m, const float *grad)
{
    ps_ticket *t = NULL;
    ps_status  st = start_all(&plain_pushes, m, NULL, grad, &t);

    return await(st, t);
}

ps_status ps_push_any(ps_matrix *m, const void *grad)
{
    ps_ticket *t = NULL;
    ps_status  st = start_all(&pushes, m, NULL, grad, &t);

    return await(st, t);
}

ps_status ps_push_range(ps_matrix *m, uint64_t first, uint64_t n, const void *grad)
{
    ps_ticket *t = NULL;
    ps_status  st = start_range(&pushes, m, first, n, NULL, grad, &t);

    return await(st, t);
}

ps_status ps_push_rows(ps_matrix *m, const uint64_t *keys, uint64_t n, const void *grad)
{
    ps_ticket *t = NULL;
    ps_status  st = start_rows(&pushes, m, keys, n, NULL, grad, &t);

    return await(st, t);
}

ps_status ps_pull_async(ps_matrix *m, void *value, ps_ticket **out)
{
    return start_all(&pulls, m, value, NULL, out);
}

ps_status ps_pull_range_async(ps_matrix *m, uint64_t first, uint64_t n, void *value,
                              ps_ticket **out)
{
    return start_range(&pulls, m, first, n, value, NULL, out);
}

ps_status ps_pull_rows_async(ps_matrix *m, const uint64_t *keys, uint64_t n,
                             void *value, ps_ticket **out)
{
    return start_rows(&pulls, m, keys, n, value, NULL, out);
}

ps_status ps_push_async(ps_matrix *m, const void *grad, ps_ticket **out)
{
    return start_all(&async_pushes, m, NULL, grad, out);
}

ps_status ps_pull_view_async(ps_matrix *m, ps_view **out, ps_ticket **ticket)
{
    return start_view(m, out, ticket);
}

ps_status ps_push_range_async(ps_matrix *m, uint64_t first, uint64_t n,
                              const void *grad, ps_ticket **out)
{
    return start_range(&async_pushes, m, first, n, NULL, grad, out);
}

ps_status ps_push_rows_async(ps_matrix *m, const uint64_t *keys, uint64_t n,
                             const void *grad, ps_ticket **out)
{
    return start_rows(&async_pushes, m, keys, n, NULL, grad, out);
}

/* ---- tickets -------------------------------------------------------------------- */

ps_status ps_wait(ps_ticket **ticket)
{
    ps_worker *w;
    ps_status  st;

    if (!ticket || !*ticket)
        return ps_fail(PS_ERR_BAD_ARG, "wait: no ticket, or it was waited for before");
    w = psw_ticket_owner(*ticket);
    st = psw_begin(w);
    if (!st)
        return psw_wait(w, ticket);
    *ticket = NULL; /* the parent's: it frees it */
    return st;
}

int ps_done(ps_ticket *ticket)
{
    ps_worker *w = ticket ? psw_ticket_owner(ticket) : NULL;

    /* Where ps_wait would fail at once it would not block. */
    if (!w || psw_begin(w) || psw_round(w, 0))
        return 1;
    return psw_ticket_done(ticket);
}
