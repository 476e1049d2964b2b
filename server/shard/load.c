/*
 * load.c - a job goes back to a snapshot.
 *
 * A new life of the job begins empty; its matrices are added, then LOAD names the parts
 * of a snapshot.  The driver reads them, and everything that can be wrong with them is
 * found before anything is changed.  Within a life the coordinator goes only downwards,
 * to older snapshots, so that a message which comes late is known as one.
 */
#include "server/shard/snapshot.h"

#include "server/shard/progress.h"
#include "server/store/capture.h"

#include <stdlib.h>
#include <string.h>

/* ---- from images to the job ----------------------------------------------------- */

/* The part that this shard has saved itself, or its like. */
static bool is_own(const struct psd_job *job, const struct ps_part *part)
{
    return part->n_shards == job->n_shards && part->index == job->shard;
}

static ps_status check_image(const struct psd_job *job, const struct psd_image *image,
                             const struct ps_part *part)
{
    if (!strcmp(image->job, job->spec.name) && image->run == job->run &&
        image->index == part->index && image->n_shards == part->n_shards &&
        image->set == part->set && image->life == part->life &&
        image->spec.strategy == job->spec.strategy &&
        image->spec.workers == job->spec.workers)
        return PS_OK;
    return ps_fail(PS_ERR_DATA,
                   "job %s: what was read is part %u of %u of set %ju of job %s",
                   job->spec.name, image->index, image->n_shards, (uintmax_t)image->set,
                   image->job);
}

/* What a restore needs besides the images. */
struct makings {
    struct psd_progress      **progress;
    const struct psd_capture **models;
    struct psd_gate_seat      *seats;
};

static void free_makings(struct makings *m, uint32_t n)
{
    for (uint32_t i = 0; m->progress && i < n; i++)
        psd_progress_free(&m->progress[i]);
    free(m->progress);
    free(m->models);
    free(m->seats);
}

static ps_status make(struct makings *m, const struct psd_job *job,
                      struct psd_image **images, uint32_t n)
{
    ps_status st = PS_OK;

    m->progress = calloc(n + 1, sizeof(*m->progress));
    m->models = calloc(n + 1, sizeof(*m->models));
    m->seats = calloc(job->spec.workers, sizeof(*m->seats));
    if (!m->progress || !m->models || !m->seats)
        return ps_fail(PS_ERR_NO_MEMORY, "job %s: no memory to load it",
                       job->spec.name);
    for (uint32_t i = 0; !st && i < n; i++) {
        m->models[i] = images[i]->model;
        st = check_image(job, images[i], &job->loading.parts[i]);
        if (!st)
            st = psd_progress_decode(&m->progress[i], images[i]->progress,
                                     job->spec.workers);
    }
    return st;
}

/* Once the store has its values nothing can fail any more. */
static ps_status restore(struct psd_job *job, struct psd_image **images, uint32_t n,
                         uint64_t now_ns)
{
    struct makings m = { 0 };
    bool           own = n == 1 && is_own(job, &job->loading.parts[0]);
    uint64_t       set = 0;
    ps_status      st = make(&m, job, images, n);

    if (!st) {
        psd_job_drop_held(job); /* of rows that are no longer there */
        st = psd_store_restore(job->store, m.models, n);
    }
    if (!st) {
        job->version = 0;
        for (uint32_t i = 0; i < n; i++) {
            if (images[i]->version > job->version)
                job->version = images[i]->version;
            if (images[i]->set > set)
                set = images[i]->set;
        }
        psd_progress_apply(job, m.progress, n, own, m.seats);
        job->membership_epoch = 0;
        psd_saver_begin(job, set, own || n == 0, now_ns);
    }
    free_makings(&m, n);
    return st;
}

/* ---- LOAD ---------------------------------------------------------------------- */

/* Newer is above; no snapshot at all is below every one. */
static bool is_below(const struct ps_part *a, uint32_t n_a, const struct ps_part *b,
                     uint32_t n_b)
{
    if (n_a == 0 || n_b == 0)
        return n_a < n_b;
    return a->life != b->life ? a->life < b->life : a->set < b->set;
}

static ps_status check_parts(const struct psd_request *r)
{
    const struct psd_job *job = r->job;
    const struct ps_part *p = r->h.sets;
    bool                  mine = r->h.n_sets == 1 && is_own(job, p);
    bool                  all = r->h.n_sets > 0 && r->h.n_sets == p->n_shards;

    for (uint32_t i = 0; i < r->h.n_sets; i++)
        all = all && p[i].index == i && p[i].n_shards == p->n_shards;
    if (mine || all || r->h.n_sets == 0)
        return PS_OK;
    return ps_fail(
        PS_ERR_BAD_MESSAGE,
        "job %s: %u parts of a snapshot to load, expected this shard's own or "
        "all in order",
        job->spec.name, r->h.n_sets);
}

/* Also the answer to a LOAD that came before. */
static void say_loaded(const struct psd_job *job, const struct psd_loading *l,
                       ps_status status, const char *why, struct ps_outbox *out)
{
    struct ps_header h = { .kind = status ? PS_MSG_ERROR : PS_MSG_OK,
                           .request = l->request,
                           .job = job->number,
                           .status = status,
                           .text = why,
                           .clock = psd_gate_clock(job->gate) };

    if (ps_wire_send(out, &l->route, &h, NULL, 0))
        ps_log(PS_LOG_WARN, "shard: could not answer: %s", ps_log_last_error());
}

static ps_status begin_load(struct psd_request *r)
{
    struct psd_loading *l = &r->job->loading;
    size_t              bytes = r->h.n_sets * sizeof(*l->parts);
    struct ps_part     *parts = malloc(bytes + 1);

    if (!parts)
        return ps_fail(PS_ERR_NO_MEMORY, "job %s: no memory to load it",
                       r->job->spec.name);
    if (bytes > 0)
        memcpy(parts, r->h.sets, bytes);
    free(l->parts);
    *l = (struct psd_loading){ .state = PSD_LOAD_ASKED,
                               .parts = parts,
                               .n_parts = r->h.n_sets,
                               .route = r->in->route,
                               .request = r->h.request };
    return PS_OK;
}

ps_status psd_load_run(struct psd_request *r)
{
    struct psd_loading *l;
    ps_status           st = psd_control_job_of(r);

    if (st)
        return st == PS_ERR_REPEATED ? psd_say_ok(r) : st;
    st = check_parts(r);
    if (st)
        return st;
    l = &r->job->loading;
    if (l->state == PSD_LOAD_DONE &&
        !is_below(r->h.sets, r->h.n_sets, l->parts, l->n_parts))
        return psd_say_ok(r);
    if (l->state == PSD_LOAD_ASKED &&
        !is_below(r->h.sets, r->h.n_sets, l->parts, l->n_parts)) {
        l->route = r->in->route;
        l->request = r->h.request;
        return PS_OK; /* answered when it is loaded */
    }
    if (r->h.n_sets > 0 && !r->shard->options.can_save)
        return ps_fail(
            PS_ERR_DATA,
            "job %s: the psd of this shard has no `state` folder to load from",
            r->job->spec.name);
    st = begin_load(r);
    if (st || r->h.n_sets > 0)
        return st;
    st = restore(r->job, NULL, 0, r->now_ns);
    if (st)
        return st;
    l->state = PSD_LOAD_DONE;
    return psd_say_ok(r);
}

bool psd_load_errand(struct psd_shard *sh, struct psd_job *job, struct psd_errand *out)
{
    struct psd_loading *l = &job->loading;

    if (l->state != PSD_LOAD_ASKED || l->errand != 0)
        return false;
    l->errand = ++sh->last_errand;
    *out = (struct psd_errand){
        .kind = PSD_LOAD, .id = l->errand, .run = job->run, .n_parts = l->n_parts
    };
    strcpy(out->job, job->spec.name);
    memcpy(out->parts, l->parts, l->n_parts * sizeof(*l->parts));
    return true;
}

/* ---- loaded -------------------------------------------------------------------- */

static struct psd_job *job_that_loads(const struct psd_shard *sh, uint64_t id)
{
    for (size_t i = 0; i < sh->n_jobs; i++)
        if (id != 0 && sh->jobs[i]->loading.state == PSD_LOAD_ASKED &&
            sh->jobs[i]->loading.errand == id)
            return sh->jobs[i];
    return NULL;
}

void psd_shard_loaded(struct psd_shard *sh, uint64_t now_ns, uint64_t id,
                      struct psd_image **images, uint32_t n, ps_status status,
                      const char *why, struct ps_outbox *out)
{
    struct psd_job *job = job_that_loads(sh, id);

    if (job && !status) {
        status = n == job->loading.n_parts
                     ? restore(job, images, n, now_ns)
                     : ps_fail(PS_ERR_DATA, "job %s: %u of %u parts were read",
                               job->spec.name, n, job->loading.n_parts);
        why = ps_log_last_error();
    }
    if (job) {
        job->loading.state = status ? PSD_LOAD_NONE : PSD_LOAD_DONE;
        if (!status)
            ps_log(PS_LOG_INFO, "shard %u: job %s goes on from clock %ju", job->shard,
                   job->spec.name, (uintmax_t)psd_gate_clock(job->gate));
        say_loaded(job, &job->loading, status, why, out);
    }
    for (uint32_t i = 0; i < n; i++)
        psd_image_free(&images[i]);
}

/* ---- RESUME -------------------------------------------------------------------- */

ps_status psd_resume_run(struct psd_request *r)
{
    struct ps_header h = { .kind = PS_MSG_RESUME_OK,
                           .request = r->h.request,
                           .job = r->h.job,
                           .clock = psd_gate_clock(r->job->gate),
                           .after = psd_gate_epochs(r->job->gate),
                           .version = r->job->version };
    ps_status        st = psd_request_who(r);

    if (st)
        return st;
    if (r->seat) {
        uint64_t finished = psd_gate_finished(r->job->gate, r->h.rank);

        /* Where iterations are closed, what has closed without it is done for it too;
         * but whoever had come to the end of its epoch is there. */
        if (finished > h.clock || !psd_job_holds(r->job) || r->seat->rested)
            h.clock = finished;
        /* An iteration of it that is held whole is not asked for again. */
        h.seq = r->seat->finished_open ? r->seat->window.low : r->seat->first_seq;
    }
    return ps_wire_send(r->out, &r->in->route, &h, NULL, 0);
}
