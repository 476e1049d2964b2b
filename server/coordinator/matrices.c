/* matrices.c - which matrices a job has, and which shard owns what of them. */
#include "server/coordinator/coordinator_private.h"

#include <stdlib.h>
#include <string.h>

#define LIST_PIECE 32u

void coord_matrix_free(struct coord_matrix **matrix)
{
    struct coord_matrix *gone = *matrix;

    *matrix = NULL;
    if (gone)
        free(gone->runs);
    free(gone);
}

/* Where the name is, or where it would be. */
static uint32_t place_of(const struct coord_job *job, const char *name)
{
    uint32_t from = 0, to = job->n_matrices;

    while (from < to) {
        uint32_t middle = from + (to - from) / 2;

        if (strcmp(job->matrices[middle]->spec.name, name) < 0)
            from = middle + 1;
        else
            to = middle;
    }
    return from;
}

static struct coord_matrix *find(const struct coord_job *job, const char *name)
{
    uint32_t at = place_of(job, name);

    if (at < job->n_matrices && !strcmp(job->matrices[at]->spec.name, name))
        return job->matrices[at];
    return NULL;
}

static void answer(struct psd_coordinator *c, const struct coord_job *job,
                   const struct coord_matrix *m, const struct coord_asker *asker)
{
    struct ps_header h = {
        .kind = PS_MSG_MATRIX_OK,
        .job = job->number,
        .map_epoch = job->map_epoch,
        .n_matrices = 1,
        .matrices = &m->spec,
        .n_slot_runs = m->n_runs,
        .slot_runs = m->runs,
    };

    coord_answer(c, asker, &h, NULL, 0);
}

/* ---- creating ---------------------------------------------------------------- */

static ps_status insert(struct coord_job *job, const struct ps_matrix_spec *spec,
                        struct coord_matrix **out)
{
    uint32_t at = place_of(job, spec->name);

    if (job->n_matrices == job->matrices_room) {
        uint32_t              room = job->matrices_room ? 2 * job->matrices_room : 8;
        struct coord_matrix **grown =
            realloc(job->matrices, room * sizeof(struct coord_matrix *));

        if (!grown)
            return ps_fail(PS_ERR_NO_MEMORY, "job %s: no memory for %u matrices",
                           job->spec.name, room);
        job->matrices = grown;
        job->matrices_room = room;
    }
    *out = calloc(1, sizeof(**out));
    if (!*out)
        return ps_fail(PS_ERR_NO_MEMORY, "matrix %s: no memory", spec->name);
    (*out)->spec = *spec;
    (*out)->spec.number = ++job->last_matrix;
    memmove(job->matrices + at + 1, job->matrices + at,
            (job->n_matrices - at) * sizeof(struct coord_matrix *));
    job->matrices[at] = *out;
    job->n_matrices++;
    return PS_OK;
}

static void take_out(struct coord_job *job, struct coord_matrix *m)
{
    uint32_t at = place_of(job, m->spec.name);

    job->n_matrices--;
    memmove(job->matrices + at, job->matrices + at + 1,
            (job->n_matrices - at) * sizeof(struct coord_matrix *));
    coord_matrix_free(&m);
}

static ps_status check_new(const struct coord_job      *job,
                           const struct coord_member   *member,
                           const struct ps_matrix_spec *spec, uint32_t flags)
{
    if (!(flags & PS_FLAG_CREATE))
        return ps_fail(PS_ERR_UNKNOWN, "matrix %s: job %s has no such matrix",
                       spec->name, job->spec.name);
    if (member->rank == COORD_OBSERVER_RANK)
        return ps_fail(PS_ERR_DENIED,
                       "matrix %s: an observer of job %s cannot create it", spec->name,
                       job->spec.name);
    if (job->n_matrices >= PS_MATRICES_MAX)
        return ps_fail(PS_ERR_LIMIT, "matrix %s: job %s has %u matrices already",
                       spec->name, job->spec.name, PS_MATRICES_MAX);
    return PS_OK;
}

static ps_status create(struct coord_job *job, const struct ps_matrix_spec *spec,
                        const struct coord_asker *asker)
{
    struct coord_operation *operation;
    struct coord_matrix    *m;
    ps_status               st = insert(job, spec, &m);

    if (st)
        return st;
    st = coord_job_queue(job, PS_MSG_MATRIX_ADD, &operation);
    if (st) {
        take_out(job, m);
        return st;
    }
    operation->matrix = m;
    return coord_operation_ask(operation, asker);
}

/* The map, in the job's shard numbers. */
static ps_status keep_runs(struct coord_matrix *m, const struct ps_place *place)
{
    m->n_runs = ps_place_runs(place, NULL, 0);
    m->runs = calloc(m->n_runs, sizeof(*m->runs));
    if (!m->runs)
        return ps_fail(PS_ERR_NO_MEMORY, "matrix %s: no memory for %u slot runs",
                       m->spec.name, m->n_runs);
    ps_place_runs(place, m->runs, m->n_runs);
    return PS_OK;
}

static ps_status place_matrix(struct coord_job *job, struct coord_matrix *m)
{
    struct ps_place *place = malloc(sizeof(*place));
    ps_status        st;

    if (!place)
        return ps_fail(PS_ERR_NO_MEMORY, "matrix %s: no memory to place it",
                       m->spec.name);
    ps_place_cut(place, &m->spec);
    ps_place_assign(place, job->load, job->n_shards);
    st = keep_runs(m, place);
    free(place);
    return st;
}

/* In the order in which they were created, so that they come to lie as they would have
 * on these shards from the beginning. */
ps_status coord_matrices_place(struct coord_job *job)
{
    ps_status st = PS_OK;

    memset(job->load, 0, sizeof(job->load));
    for (uint32_t number = 1; number <= job->last_matrix && !st; number++)
        for (uint32_t i = 0; i < job->n_matrices; i++) {
            struct coord_matrix *m = job->matrices[i];

            if (m->spec.number != number || !m->ready)
                continue;
            free(m->runs);
            m->runs = NULL;
            m->n_runs = 0;
            st = place_matrix(job, m);
            break;
        }
    return st;
}

void coord_matrix_park(struct coord_job *job, struct coord_operation *operation)
{
    struct coord_matrix *m = operation->matrix;

    if (m->ready || !m->runs)
        return;
    memcpy(job->load, job->load_before, sizeof(job->load));
    free(m->runs);
    m->runs = NULL;
    m->n_runs = 0;
}

ps_status coord_matrix_compose(struct psd_coordinator *c, struct coord_job *job,
                               struct coord_operation *operation)
{
    struct coord_matrix *m = operation->matrix;
    struct ps_header     h = { .map_epoch = job->map_epoch, .n_matrices = 1 };
    ps_status            st = PS_OK;

    if (!m->ready) {
        memcpy(job->load_before, job->load, sizeof(job->load));
        st = place_matrix(job, m);
    }
    if (st)
        return st;
    h.matrices = &m->spec;
    h.n_slot_runs = m->n_runs;
    h.slot_runs = m->runs;
    return coord_job_call(c, job, operation, &h);
}

void coord_matrix_added(struct psd_coordinator *c, struct coord_job *job,
                        const struct coord_operation *operation)
{
    struct coord_matrix *m = operation->matrix;

    if (!m->ready)
        ps_log(PS_LOG_INFO, "job %s: matrix %s created, %ju x %ju%s", job->spec.name,
               m->spec.name, (uintmax_t)m->spec.rows, (uintmax_t)m->spec.cols,
               m->spec.sparse ? ", sparse" : "");
    m->ready = true;
    for (uint32_t i = 0; i < operation->n_askers; i++)
        answer(c, job, m, &operation->askers[i]);
}

/* Its number is not given again: some shards may have it. */
void coord_matrix_undo(struct coord_job *job, const struct coord_operation *operation)
{
    if (operation->matrix->ready)
        return;
    if (operation->started || operation->status)
        memcpy(job->load, job->load_before, sizeof(job->load));
    take_out(job, operation->matrix);
}

/* ---- asking ------------------------------------------------------------------ */

/* While the job goes back, its map may change: who asks waits until the shards have
 * been told of the matrix once more. */
static ps_status answer_when_ready(struct psd_coordinator *c, struct coord_job *job,
                                   struct coord_matrix      *m,
                                   const struct coord_asker *asker)
{
    struct coord_operation *o = job->operations;
    ps_status               st;

    while (o && (o->kind != PS_MSG_MATRIX_ADD || o->matrix != m))
        o = o->next;
    if (!o && job->recovery) {
        st = coord_job_queue(job, PS_MSG_MATRIX_ADD, &o);
        if (st)
            return st;
        o->matrix = m;
    }
    if (o)
        return coord_operation_ask(o, asker);
    answer(c, job, m, asker);
    return PS_OK;
}

ps_status coord_matrix(struct psd_coordinator *c, const struct coord_request *r)
{
    const struct ps_header *h = r->h;
    struct coord_job       *job;
    struct coord_member    *member;
    struct coord_matrix    *m;
    ps_status               st = coord_member_find(c, r, &job, &member);

    if (!st)
        st = coord_member_check(job, member);
    if (st)
        return st;
    m = find(job, h->matrices[0].name);
    if (m) {
        st = ps_matrix_spec_same(&h->matrices[0], &m->spec);
        return st ? st : answer_when_ready(c, job, m, &r->asker);
    }
    st = check_new(job, member, &h->matrices[0], h->flags);
    return st ? st : create(job, &h->matrices[0], &r->asker);
}

ps_status coord_list(struct psd_coordinator *c, const struct coord_request *r)
{
    struct ps_matrix_spec specs[LIST_PIECE];
    struct coord_job     *job;
    struct coord_member  *member;
    struct ps_header      h = { .kind = PS_MSG_LIST_OK, .matrices = specs };
    ps_status             st = coord_member_find(c, r, &job, &member);

    if (!st)
        st = coord_member_check(job, member);
    if (st)
        return st;
    for (uint32_t i = place_of(job, r->h->name);
         i < job->n_matrices && h.n_matrices < LIST_PIECE; i++)
        if (job->matrices[i]->ready && strcmp(job->matrices[i]->spec.name, r->h->name))
            specs[h.n_matrices++] = job->matrices[i]->spec;
    h.job = job->number;
    coord_answer(c, &r->asker, &h, NULL, 0);
    return PS_OK;
}
