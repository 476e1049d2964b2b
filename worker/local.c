/* local.c - see local.h. */
#include "worker/local.h"

#include "server/compute/backend.h"
#include "server/optim/optim.h"

#include <stdlib.h>
#include <string.h>

/* One matrix of the model. */
struct part {
    const struct ps_matrix_spec *spec;
    size_t                       n;        /* elements */
    void                        *value;    /* the caller's */
    const void                  *gradient; /* the caller's */
    uint32_t                     kind;     /* of the local step */
    bool                         last;     /* the last gradient replaces the others */
    bool                         differs;  /* its difference is pushed */

    void *sum;  /* what will be pushed; NULL: the gradient as it is */
    bool  held; /* there is something in it */
    void *from; /* differs: the value that the local steps began with */
    void *state[PSD_STATE_MAX];
};

struct psw_local {
    const struct ps_job_spec *job;
    const struct psd_backend *backend;
    bool                      steps; /* local steps are made */
    uint64_t                  n_steps;
    struct psw_span          *spans; /* [n] */
    uint32_t                  n;
    struct part               parts[];
};

/* ---- life ----------------------------------------------------------------------- */

static size_t bytes_of(const struct part *p)
{
    return p->n * ps_dtype_bytes(p->spec->dtype);
}

static uint32_t kind_of(const struct ps_job_spec *job, const struct ps_matrix_spec *m)
{
    uint32_t kind = psd_optim_kind(job, m);

    return job->local == PS_LOCAL_SGD && !psd_optim_is_exact(kind) ? PS_SGD : kind;
}

static ps_status check(const struct psw_local *l, const struct part *p)
{
    if (!p->gradient)
        return ps_fail(PS_ERR_BAD_ARG,
                       "training: matrix %s was added to the model without gradients",
                       p->spec->name);
    if (l->steps && p->kind == PS_FTRL)
        return ps_fail(PS_ERR_BAD_ARG,
                       "training: matrix %s: local is same and the optimiser ftrl, "
                       "which makes values of state that only the servers have, "
                       "expected local none or sgd",
                       p->spec->name);
    return PS_OK;
}

/* Zeroed, aligned as the kernels like it. */
static bool allocate(void **out, size_t bytes)
{
    size_t room = (bytes + PS_BUF_ALIGN - 1) / PS_BUF_ALIGN * PS_BUF_ALIGN;

    *out = aligned_alloc(PS_BUF_ALIGN, room + PS_BUF_ALIGN);
    if (*out)
        memset(*out, 0, room);
    return *out != NULL;
}

static ps_status make_room(struct psw_local *l, struct part *p)
{
    uint32_t n_state = l->steps ? psd_optim_n_state(p->kind) : 0;
    bool     sums = l->job->npush > 1 || p->differs;
    bool     there = !sums || allocate(&p->sum, bytes_of(p));

    if (there && p->differs)
        there = allocate(&p->from, bytes_of(p));
    for (uint32_t i = 0; there && i < n_state; i++)
        there = allocate(&p->state[i], bytes_of(p));
    return there ? PS_OK
                 : ps_fail(PS_ERR_NO_MEMORY,
                           "training: no memory for the window of matrix %s, %zu bytes",
                           p->spec->name, bytes_of(p));
}

static ps_status add_part(struct psw_local *l, const struct psw_span *span)
{
    struct part *p = &l->parts[l->n];
    uint32_t     kind;
    ps_status    st;

    p->spec = psw_matrix_spec(span->matrix);
    kind = psd_optim_kind(l->job, p->spec);
    p->n = span->count;
    p->value = span->value;
    p->gradient = span->gradient;
    p->kind = kind_of(l->job, p->spec);
    p->last = kind == PS_ASSIGN;
    p->differs = l->job->average == PS_AVERAGE_MODEL && !psd_optim_is_exact(kind);
    l->spans[l->n] = *span;
    l->n++;
    st = check(l, p);
    if (!st)
        st = make_room(l, p);
    if (!st && p->sum)
        l->spans[l->n - 1].gradient = p->sum;
    return st;
}

ps_status psw_local_new(struct psw_local **out, const struct ps_job_spec *job,
                        const struct psw_span *spans, uint32_t n_spans)
{
    struct psw_local *l = calloc(1, sizeof(*l) + n_spans * sizeof(l->parts[0]));
    ps_status         st = PS_OK;

    if (!l || !(l->spans = calloc(n_spans + 1, sizeof(*l->spans)))) {
        free(l);
        return ps_fail(PS_ERR_NO_MEMORY, "training: no memory");
    }
    l->job = job;
    l->backend = &psd_backend_cpu;
    /* With a pull after every batch nobody would see them. */
    l->steps = job->local != PS_LOCAL_NONE &&
               (job->nfetch > 1 || job->average == PS_AVERAGE_MODEL);
    for (uint32_t i = 0; !st && i < n_spans; i++)
        st = add_part(l, &spans[i]);
    if (st) {
        psw_local_free(&l);
        return st;
    }
    *out = l;
    return PS_OK;
}

void psw_local_free(struct psw_local **local)
{
    struct psw_local *l = *local;

    *local = NULL;
    for (uint32_t i = 0; l && i < l->n; i++) {
        free(l->parts[i].sum);
        free(l->parts[i].from);
        for (uint32_t s = 0; s < PSD_STATE_MAX; s++)
            free(l->parts[i].state[s]);
    }
    if (l)
        free(l->spans);
    free(l);
}

const struct psw_span *psw_local_spans(const struct psw_local *l)
{
    return l->spans;
}

/* ---- one batch ------------------------------------------------------------------ */

/* The first is set: 0 + x would turn -0 into +0. */
static void put(const struct psw_local *l, struct part *p, double c, const void *what)
{
    if (!p->held || p->last)
        l->backend->set(p->spec->dtype, p->n, p->sum, c, what);
    else
        l->backend->add(p->spec->dtype, p->n, p->sum, c, what);
    p->held = true;
}

static void step(const struct psw_local *l, struct part *p, uint64_t clock)
{
    struct psd_hyper hyper = psd_optim_hyper(l->job, p->spec, clock, l->n_steps);

    l->backend->step(p->kind, p->spec->dtype, &hyper, p->n, p->value, p->state,
                     p->gradient);
}

void psw_local_take(struct psw_local *l, uint64_t clock)
{
    l->n_steps++;
    for (uint32_t i = 0; i < l->n; i++) {
        struct part *p = &l->parts[i];
        bool sound = !l->steps || l->backend->finite(p->spec->dtype, p->n, p->gradient);

        if (p->sum && !(p->differs && sound))
            put(l, p, 1.0, p->gradient);
        if (l->steps && sound)
            step(l, p, clock);
    }
}

void psw_local_settle(struct psw_local *l)
{
    for (uint32_t i = 0; i < l->n; i++) {
        struct part *p = &l->parts[i];

        if (!p->differs)
            continue;
        /* from - value, which is rounded once; it will not be needed any more */
        l->backend->add(p->spec->dtype, p->n, p->from, -1.0, p->value);
        put(l, p, -1.0, p->from);
    }
}

void psw_local_go_on(struct psw_local *l, bool pushed)
{
    for (uint32_t i = 0; i < l->n; i++) {
        struct part *p = &l->parts[i];

        if (p->differs)
            memcpy(p->from, p->value, bytes_of(p));
        if (pushed)
            p->held = false;
    }
}
