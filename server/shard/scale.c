/* scale.c - see scale.h. */
#include "server/shard/scale_private.h"

#include "server/optim/optim.h"

#include <stdlib.h>
#include <string.h>

static double by_workers(const struct psd_update *u)
{
    return 1.0 / u->workers;
}

static double by_staleness(const struct psd_update *u)
{
    return 1.0 / ((double)u->staleness + 1.0);
}

static const struct psd_scale_kind none, workers = { .factor = by_workers },
                                         staleness = { .factor = by_staleness };

static const struct psd_scale_kind *const kinds[] = {
    [PS_SCALE_NONE] = &none,
    [PS_SCALE_WORKERS] = &workers,
    [PS_SCALE_STALENESS] = &staleness,
    [PS_SCALE_VERSIONS] = &psd_scale_versions,
    [PS_SCALE_DELAY] = &psd_scale_delay,
};

ps_status psd_scale_new(struct psd_scale **out, const struct ps_job_spec *job)
{
    struct psd_scale *s;
    ps_status         st;

    if (job->scale >= sizeof(kinds) / sizeof(kinds[0]) || !kinds[job->scale])
        return ps_fail(PS_ERR_BAD_ARG, "job %s: no scale %u in this build", job->name,
                       job->scale);
    s = calloc(1, sizeof(*s));
    if (!s)
        return ps_fail(PS_ERR_NO_MEMORY, "job %s: no memory for its scale", job->name);
    s->job = job;
    s->kind = kinds[job->scale];
    st = s->kind->make ? s->kind->make(s) : PS_OK;
    if (st) {
        free(s);
        return st;
    }
    *out = s;
    return PS_OK;
}

void psd_scale_free(struct psd_scale **scale)
{
    struct psd_scale *s = *scale;

    *scale = NULL;
    if (s && s->kind->drop)
        s->kind->drop(s);
    free(s);
}

static bool is_exact(const struct psd_scale *s, const struct psd_matrix *m)
{
    return psd_optim_is_exact(psd_optim_kind(s->job, &m->spec));
}

ps_status psd_scale_gave(struct psd_scale *s, const struct psd_given *given,
                         struct psd_matrix *m)
{
    if (s->kind->pulled)
        s->kind->pulled(s, given->rank, given->version);
    return s->kind->gave && !is_exact(s, m) ? s->kind->gave(s, given, m) : PS_OK;
}

void psd_scale_begin(const struct psd_scale *s, struct psd_update *u)
{
    if (s->kind->begin)
        s->kind->begin(s, u);
}

double psd_scale_factor(const struct psd_scale *s, const struct psd_update *u)
{
    return s->kind->factor ? s->kind->factor(u) : 1.0;
}

ps_status psd_scale_room(struct psd_scale *s, const struct psd_update *u,
                         const struct psd_matrix *m, const struct psd_chunk *chunk,
                         uint64_t n)
{
    return s->kind->room && !is_exact(s, m) ? s->kind->room(s, u, m, chunk, n) : PS_OK;
}

bool psd_scale_changes(const struct psd_scale *s, const struct psd_matrix *m)
{
    return s->kind->chunk && !is_exact(s, m);
}

void psd_scale_chunk(struct psd_scale *s, const struct psd_update *u,
                     const struct psd_matrix *m, const struct psd_chunk *chunk,
                     uint64_t from, uint64_t to, void *gradient)
{
    if (psd_scale_changes(s, m))
        s->kind->chunk(s, u, m, chunk, from, to, gradient);
}

bool psd_scale_changes_rows(const struct psd_scale *s, const struct psd_matrix *m)
{
    return s->kind->row && !is_exact(s, m);
}

const void *psd_scale_row(struct psd_scale *s, const struct psd_update *u,
                          const struct psd_matrix *m, uint64_t key, const void *value,
                          const void *gradient, void *scaled)
{
    if (!psd_scale_changes_rows(s, m))
        return gradient;
    if (gradient != scaled)
        memcpy(scaled, gradient, m->spec.cols * m->element_bytes);
    s->kind->row(s, u, m, key, value, scaled);
    return scaled;
}

void psd_scale_end(struct psd_scale *s, uint32_t rank, uint64_t base)
{
    if (s->kind->end)
        s->kind->end(s, rank, base);
}

void psd_scale_leave(struct psd_scale *s, uint32_t rank)
{
    if (s->kind->leave)
        s->kind->leave(s, rank);
}

uint64_t psd_scale_bytes(const struct psd_scale *s)
{
    return s->kind->bytes ? s->kind->bytes(s) : 0;
}
