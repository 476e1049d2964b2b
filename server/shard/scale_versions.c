/*
 * scale_versions.c - the updates of one version share one unit of weight (DynSGD).
 *
 * Versions here are small numbers of the scale's own, one per round of the workers.
 * A worker's updates go up by at least one version each: a pull that it uses puts it
 * past the highest version that has received an update when the pull was answered, and
 * without a new pull it stands one past its last.  Of version v an element has a count
 * c and a mean m, and an update u of it becomes
 *
 *     c += 1;   d = (u - m) / c;   m += d
 *
 * with d in place of u for the optimiser: of sgd the sum of all d is the mean of all u,
 * in whatever order they came.  Elements that are pushed apart count apart; parts of an
 * iteration that meet in an element count once.
 *
 * A version is kept as long as a worker may push to it: it stands there, or a pull that
 * it may still use would put it there.  So there are never more than a few per worker.
 */
#include "server/shard/keymap.h"
#include "server/shard/runs.h"
#include "server/shard/scale_private.h"

#include <stdlib.h>
#include <string.h>

#define PULLS_KEPT 8u /* of a worker, that were not used yet or may be again */

struct chunk_mean {
    struct ps_buf  *mean; /* whole chunk; NULL when only counts are kept */
    struct psd_runs counts;
};

struct matrix_mean {
    uint32_t           matrix;
    uint32_t           n_chunks;
    struct chunk_mean *chunks;
    struct psd_keymap  rows; /* u64 count, then the mean; or nothing but keys */
};

struct means {
    uint32_t            n;
    struct matrix_mean *list;
};

struct version {
    uint64_t     number;
    struct means means;
};

struct pull {
    uint64_t version; /* the job's, that its answer included */
    uint64_t number;  /* where it puts the worker, if it is not further already */
};

struct seat {
    bool         active; /* has pulled or pushed and has not left since */
    bool         open; /* part of an iteration has been applied, as of version `next` */
    uint64_t     next; /* the lowest version of the next update */
    uint64_t     before; /* `next`, before the open iteration began */
    uint32_t     n_pulls;
    struct pull  pulls[PULLS_KEPT];
    struct means counted; /* by parts of the open iteration */
};

struct psd_versions {
    uint64_t        fresh; /* one past the highest that has received an update */
    size_t          n, room;
    struct version *list; /* in no order */
    struct seat     seats[];
};

/* ---- means ---------------------------------------------------------------------- */

static void free_means(struct means *means)
{
    for (uint32_t i = 0; i < means->n; i++) {
        struct matrix_mean *m = &means->list[i];

        for (uint32_t c = 0; c < m->n_chunks; c++) {
            ps_buf_drop(&m->chunks[c].mean);
            psd_runs_free(&m->chunks[c].counts);
        }
        free(m->chunks);
        psd_keymap_free(&m->rows);
    }
    free(means->list);
    *means = (struct means){ 0 };
}

static struct matrix_mean *find_mean(const struct means      *means,
                                     const struct psd_matrix *m)
{
    for (uint32_t i = 0; i < means->n; i++)
        if (means->list[i].matrix == m->spec.number)
            return &means->list[i];
    return NULL;
}

static ps_status no_memory(const struct psd_matrix *m)
{
    return ps_fail(PS_ERR_NO_MEMORY, "matrix %s: no memory for the mean of a version",
                   m->spec.name);
}

/* A new one when there is none.  `row_bytes` of its rows' places. */
static ps_status need_mean(struct means *means, const struct psd_matrix *m,
                           size_t row_bytes, struct matrix_mean **out)
{
    struct matrix_mean *grown;

    if ((*out = find_mean(means, m)))
        return PS_OK;
    grown = realloc(means->list, (means->n + 1) * sizeof(*grown));
    if (!grown)
        return no_memory(m);
    means->list = grown;
    *out = &grown[means->n];
    **out = (struct matrix_mean){ .matrix = m->spec.number,
                                  .n_chunks = (uint32_t)m->n_chunks,
                                  .rows.bytes = (row_bytes + 7) / 8 * 8 };
    if (m->n_chunks > 0 &&
        !((*out)->chunks = calloc(m->n_chunks, sizeof(struct chunk_mean))))
        return no_memory(m);
    means->n++;
    return PS_OK;
}

/* ---- versions -------------------------------------------------------------------- */

static struct version *find_version(const struct psd_versions *v, uint64_t number)
{
    for (size_t i = 0; i < v->n; i++)
        if (v->list[i].number == number)
            return &v->list[i];
    return NULL;
}

static ps_status need_version(struct psd_versions *v, uint64_t number,
                              struct version **out)
{
    if ((*out = find_version(v, number)))
        return PS_OK;
    if (v->n == v->room) {
        size_t          room = v->room ? 2 * v->room : 8;
        struct version *grown = realloc(v->list, room * sizeof(*grown));

        if (!grown)
            return ps_fail(PS_ERR_NO_MEMORY, "scale: no memory for %zu versions", room);
        v->list = grown;
        v->room = room;
    }
    *out = &v->list[v->n++];
    **out = (struct version){ .number = number };
    return PS_OK;
}

/* May a worker still push to it? */
static bool is_wanted(const struct psd_scale *s, uint64_t number)
{
    for (uint32_t r = 0; r < s->job->workers; r++) {
        const struct seat *seat = &s->versions->seats[r];

        if (!seat->active || number < seat->next)
            continue;
        if (number == seat->next)
            return true;
        for (uint32_t i = 0; i < seat->n_pulls; i++)
            if (seat->pulls[i].number == number)
                return true;
    }
    return false;
}

/* Forgets those of [from, to] that nobody may come to any more. */
static void release(struct psd_scale *s, uint64_t from, uint64_t to)
{
    struct psd_versions *v = s->versions;

    for (size_t i = v->n; i-- > 0;) {
        uint64_t number = v->list[i].number;

        if (number < from || number > to || is_wanted(s, number))
            continue;
        free_means(&v->list[i].means);
        v->list[i] = v->list[--v->n];
    }
}

/* ---- where a worker stands ------------------------------------------------------- */

static void pulled(struct psd_scale *s, uint32_t rank, uint64_t version)
{
    struct seat *seat = &s->versions->seats[rank];
    uint64_t     number = s->versions->fresh, gone;

    seat->active = true;
    if (seat->n_pulls > 0 && seat->pulls[seat->n_pulls - 1].number == number)
        return; /* and an earlier pull, which says the same */
    if (seat->n_pulls == PULLS_KEPT) {
        /* The oldest may be behind the next push, the newer ones behind later ones. */
        gone = seat->pulls[1].number;
        seat->n_pulls--;
        memmove(&seat->pulls[1], &seat->pulls[2],
                (seat->n_pulls - 1) * sizeof(seat->pulls[0]));
        release(s, gone, gone);
    }
    seat->pulls[seat->n_pulls++] = (struct pull){ version, number };
}

/* Pulls whose answers came before that of version `base`, or with it. */
static uint32_t pulls_until(const struct seat *seat, uint64_t base)
{
    uint32_t n = 0;

    while (n < seat->n_pulls && seat->pulls[n].version <= base)
        n++;
    return n;
}

static void begin(const struct psd_scale *s, struct psd_update *u)
{
    const struct seat *seat = &s->versions->seats[u->rank];
    uint32_t           n = pulls_until(seat, u->base);

    u->number = seat->next;
    if (!seat->open && n > 0 && seat->pulls[n - 1].number > u->number)
        u->number = seat->pulls[n - 1].number;
}

static void open_seat(struct psd_scale *s, const struct psd_update *u)
{
    struct seat *seat = &s->versions->seats[u->rank];

    if (s->versions->fresh <= u->number)
        s->versions->fresh = u->number + 1;
    if (seat->open)
        return;
    seat->active = seat->open = true;
    seat->before = seat->next;
    seat->next = u->number;
}

/* What the worker has come past is no longer wanted from it. */
static void end(struct psd_scale *s, uint32_t rank, uint64_t base)
{
    struct seat *seat = &s->versions->seats[rank];
    uint32_t     n = pulls_until(seat, base);
    uint64_t     from = seat->open ? seat->before : seat->next, to = seat->next;

    if (n > 1) {
        seat->n_pulls -= n - 1;
        memmove(&seat->pulls[0], &seat->pulls[n - 1],
                seat->n_pulls * sizeof(seat->pulls[0]));
        if (seat->pulls[0].number > to)
            to = seat->pulls[0].number;
    }
    if (seat->open)
        seat->next++;
    seat->open = false;
    free_means(&seat->counted);
    release(s, from, to);
}

static void leave(struct psd_scale *s, uint32_t rank)
{
    struct seat *seat = &s->versions->seats[rank];

    if (!seat->active)
        return;
    if (seat->open)
        seat->next++;
    seat->active = seat->open = false;
    seat->n_pulls = 0;
    free_means(&seat->counted);
    release(s, 0, UINT64_MAX);
}

/* ---- updates -------------------------------------------------------------------- */

static ps_status room_of_chunk(struct matrix_mean *mean, struct matrix_mean *counted,
                               const struct psd_matrix *m,
                               const struct psd_chunk *chunk, uint64_t n)
{
    size_t             at = (size_t)(chunk - m->chunks);
    struct chunk_mean *c = &mean->chunks[at];
    size_t             bytes = chunk->n * m->element_bytes;
    ps_status          st = PS_OK;

    if (!c->mean) {
        st = ps_buf_new(&c->mean, bytes);
        if (st)
            return st;
        c->mean->len = bytes;
        memset(c->mean->data, 0, bytes);
    }
    st = psd_runs_reserve(&c->counts, n + (counted ? counted->chunks[at].counts.n : 0));
    if (!st && counted)
        st = psd_runs_reserve(&counted->chunks[at].counts, n);
    return st;
}

static ps_status room(struct psd_scale *s, const struct psd_update *u,
                      const struct psd_matrix *m, const struct psd_chunk *chunk,
                      uint64_t n)
{
    struct matrix_mean *mean, *counted = NULL;
    struct version     *v;
    size_t              row_bytes = m->spec.cols * m->element_bytes;
    ps_status           st = need_version(s->versions, u->number, &v);

    if (!st)
        st = need_mean(&v->means, m, sizeof(uint64_t) + row_bytes, &mean);
    if (!st && !u->whole)
        st = need_mean(&s->versions->seats[u->rank].counted, m, 0, &counted);
    if (st)
        return st;
    if (chunk)
        return room_of_chunk(mean, counted, m, chunk, n);
    st = psd_keymap_reserve(&mean->rows, n);
    return !st && counted ? psd_keymap_reserve(&counted->rows, n) : st;
}

/* g becomes its share as the count-th of its version; `again`: that one has begun, and
 * this is another part of it. */
static void share(const struct psd_update *u, uint32_t dtype, size_t n, uint64_t count,
                  bool again, void *mean, void *g)
{
    if (again) {
        u->backend->set(dtype, n, g, 1.0 / (double)count, g);
        u->backend->add(dtype, n, mean, 1.0, g);
    } else {
        u->backend->share(dtype, n, (double)count, mean, g);
    }
}

static void share_chunk(struct psd_scale *s, const struct psd_update *u,
                        const struct psd_matrix *m, const struct psd_chunk *chunk,
                        uint64_t from, uint64_t to, void *gradient)
{
    size_t             at_chunk = (size_t)(chunk - m->chunks), bytes = m->element_bytes;
    struct version    *v = find_version(s->versions, u->number);
    struct chunk_mean *c = &find_mean(&v->means, m)->chunks[at_chunk];
    struct matrix_mean *parts = find_mean(&s->versions->seats[u->rank].counted, m);
    struct psd_runs    *counted = parts ? &parts->chunks[at_chunk].counts : NULL;

    open_seat(s, u);
    for (uint64_t at = from, end; at < to; at = end) {
        end = to;
        bool     again = counted && psd_runs_at(counted, at, &end);
        uint64_t count = psd_runs_at(&c->counts, at, &end) + !again;

        share(u, m->spec.dtype, end - at, count, again, c->mean->data + at * bytes,
              (uint8_t *)gradient + (at - from) * bytes);
        psd_runs_set(&c->counts, at, end, count);
    }
    if (counted && !u->whole)
        psd_runs_set(counted, from, to, 1);
}

static void share_row(struct psd_scale *s, const struct psd_update *u,
                      const struct psd_matrix *m, uint64_t key, const void *value,
                      void *gradient)
{
    struct version     *v = find_version(s->versions, u->number);
    struct psd_keymap  *rows = &find_mean(&v->means, m)->rows;
    struct matrix_mean *parts = find_mean(&s->versions->seats[u->rank].counted, m);
    bool                again = parts && psd_keymap_has(&parts->rows, key);
    uint64_t           *row = psd_keymap_find(rows, key);

    (void)value;
    open_seat(s, u);
    if (!row)
        row = psd_keymap_add(rows, key);
    *row += !again;
    share(u, m->spec.dtype, m->spec.cols, *row, again, row + 1, gradient);
    if (!u->whole && !again)
        psd_keymap_add(&parts->rows, key);
}

/* ---- life ------------------------------------------------------------------------ */

static ps_status make(struct psd_scale *s)
{
    s->versions =
        calloc(1, sizeof(*s->versions) + s->job->workers * sizeof(struct seat));
    if (!s->versions)
        return ps_fail(PS_ERR_NO_MEMORY, "job %s: no memory for versions",
                       s->job->name);
    return PS_OK;
}

static void drop(struct psd_scale *s)
{
    struct psd_versions *v = s->versions;

    for (size_t i = 0; i < v->n; i++)
        free_means(&v->list[i].means);
    for (uint32_t r = 0; r < s->job->workers; r++)
        free_means(&v->seats[r].counted);
    free(v->list);
    free(v);
}

static uint64_t bytes(const struct psd_scale *s)
{
    uint64_t sum = 0;

    for (size_t i = 0; i < s->versions->n; i++) {
        const struct means *means = &s->versions->list[i].means;

        for (uint32_t k = 0; k < means->n; k++) {
            const struct matrix_mean *m = &means->list[k];

            sum += m->rows.n * m->rows.bytes;
            for (uint32_t c = 0; c < m->n_chunks; c++)
                sum += m->chunks[c].mean ? m->chunks[c].mean->len : 0;
        }
    }
    return sum;
}

const struct psd_scale_kind psd_scale_versions = {
    .make = make,
    .drop = drop,
    .pulled = pulled,
    .begin = begin,
    .room = room,
    .chunk = share_chunk,
    .row = share_row,
    .end = end,
    .leave = leave,
    .bytes = bytes,
};
