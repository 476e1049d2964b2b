/* snapshot.c - see snapshot.h and errand.h. */
#include "server/shard/snapshot.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* ---- what the coordinator wants ------------------------------------------------ */

static ps_status cannot_save(const struct psd_job *job)
{
    return ps_fail(PS_ERR_CONFIG,
                   "job %s: it asks for snapshots, and the psd of this shard has no "
                   "`state` folder",
                   job->spec.name);
}

ps_status psd_snapshot_run(struct psd_request *r)
{
    struct psd_asker asker = { .route = r->in->route,
                               .request = r->h.request,
                               .clock = r->h.clock };
    ps_status        st = psd_control_job_of(r);

    if (st)
        return st == PS_ERR_REPEATED ? psd_say_ok(r) : st;
    if (!r->shard->options.can_save)
        return cannot_save(r->job);
    st = psd_saver_ask(r->job, &asker, r->now_ns);
    return st == PS_ERR_REPEATED ? psd_say_ok(r) : st;
}

/* Not answered: what a lost one would have allowed to forget, the next one does. */
ps_status psd_keep_run(struct psd_request *r)
{
    struct psd_job *job = psd_shard_job(r->shard, r->h.job);

    if (!job || job->server_epoch != r->h.server_epoch || r->h.n_sets != 1 ||
        !r->shard->options.can_save)
        return PS_OK;
    job->keep = r->h.sets[0];
    job->forgets = true;
    return PS_OK;
}

static ps_status say_sets(struct ps_outbox *out, const struct ps_route *to,
                          uint64_t request, const struct ps_part *parts, uint32_t n)
{
    struct ps_header h = {
        .kind = PS_MSG_SETS_OK, .request = request, .sets = parts, .n_sets = n
    };

    return ps_wire_send(out, to, &h, NULL, 0);
}

ps_status psd_sets_run(struct psd_request *r)
{
    struct psd_shard *sh = r->shard;
    struct psd_list  *list = NULL;

    for (uint32_t i = 0; i < sh->n_lists && !list; i++)
        if (sh->lists[i].request == r->h.request)
            list = &sh->lists[i]; /* it is under way */
    if (!list && !sh->options.can_save)
        return say_sets(r->out, &r->in->route, r->h.request, NULL, 0);
    if (!list && sh->n_lists == PSD_LISTS)
        return ps_fail(PS_ERR_LIMIT, "shard: more than %u questions for snapshots",
                       PSD_LISTS);
    if (!list) {
        list = &sh->lists[sh->n_lists++];
        *list = (struct psd_list){ .request = r->h.request, .run = r->h.run };
        strcpy(list->job, r->h.name);
    }
    list->route = r->in->route;
    return PS_OK;
}

/* ---- who asked for one --------------------------------------------------------- */

static void answer_asker(const struct psd_job *job, const struct psd_asker *a,
                         ps_status status, const char *why, struct ps_outbox *out)
{
    struct ps_header h = { .kind = status ? PS_MSG_ERROR : PS_MSG_OK,
                           .request = a->request,
                           .job = job->number,
                           .status = status,
                           .text = why,
                           .clock = psd_job_holds(job) ? a->set
                                                       : psd_gate_clock(job->gate) };

    /* Out of memory: the asker's deadline covers it. */
    if (ps_wire_send(out, &a->route, &h, NULL, 0))
        ps_log(PS_LOG_WARN, "shard: could not answer: %s", ps_log_last_error());
}

/* Answers those who wait for `set`. */
static void answer_askers(struct psd_job *job, uint64_t set, ps_status status,
                          const char *why, struct ps_outbox *out)
{
    struct psd_saver *s = &job->saver;
    uint32_t          kept = 0;

    for (uint32_t i = 0; i < s->n_askers; i++)
        if (s->askers[i].set == set)
            answer_asker(job, &s->askers[i], status, why, out);
        else
            s->askers[kept++] = s->askers[i];
    s->n_askers = kept;
}

void psd_snapshot_sweep(struct psd_job *job, struct ps_outbox *out)
{
    struct psd_saver *s = &job->saver;
    uint64_t          clock = psd_gate_clock(job->gate);
    uint32_t          kept = 0;

    for (uint32_t i = 0; i < s->n_askers; i++) {
        struct psd_asker *a = &s->askers[i];
        char              why[PS_TEXT_BYTES];

        if (a->set != PSD_SET_GONE &&
            (a->set != 0 || !psd_job_holds(job) || a->clock >= clock)) {
            s->askers[kept++] = *a;
            continue;
        }
        snprintf(why, sizeof(why),
                 "job %s: no snapshot at clock %ju, the clock is %ju already",
                 job->spec.name, (uintmax_t)a->clock, (uintmax_t)clock);
        answer_asker(job, a, PS_ERR_BAD_ARG, why, out);
    }
    s->n_askers = kept;
}

/* ---- errands ------------------------------------------------------------------- */

static void fill_errand(struct psd_shard *sh, enum psd_errand_kind kind,
                        const char *job, uint64_t run, struct psd_errand *out)
{
    *out = (struct psd_errand){ .kind = kind, .id = ++sh->last_errand, .run = run };
    strcpy(out->job, job);
}

static bool save_errand(struct psd_shard *sh, struct psd_image *image,
                        struct psd_errand *out)
{
    fill_errand(sh, PSD_SAVE, image->job, image->run, out);
    out->image = image;
    return true;
}

static bool job_errand(struct psd_shard *sh, struct psd_job *job,
                       struct psd_errand *out)
{
    struct psd_image *image;

    if (psd_load_errand(sh, job, out))
        return true;
    if (job->forgets) {
        fill_errand(sh, PSD_FORGET, job->spec.name, job->run, out);
        out->parts[0] = job->keep;
        out->n_parts = 1;
        job->forgets = false;
        return true;
    }
    image = psd_saver_next(job, sh->last_errand + 1);
    return image && save_errand(sh, image, out);
}

bool psd_shard_errand(struct psd_shard *sh, struct psd_errand *out)
{
    if (sh->n_last > 0)
        return save_errand(sh, sh->last[--sh->n_last], out);
    for (uint32_t i = 0; i < sh->n_lists; i++)
        if (sh->lists[i].errand == 0) {
            fill_errand(sh, PSD_LIST, sh->lists[i].job, sh->lists[i].run, out);
            sh->lists[i].errand = out->id;
            return true;
        }
    for (size_t i = 0; i < sh->n_jobs; i++)
        if (job_errand(sh, sh->jobs[i], out))
            return true;
    return false;
}

/* Unasked: the coordinator learns that this part is on disk. */
static void say_saved(const struct psd_shard *sh, const struct psd_job *job,
                      struct ps_outbox *out)
{
    struct ps_part   part = { .index = job->shard,
                              .n_shards = job->n_shards,
                              .set = job->stats.saved,
                              .life = job->life };
    struct ps_header h = { .kind = PS_MSG_SAVED,
                           .job = job->number,
                           .session = sh->options.control,
                           .server_epoch = job->server_epoch,
                           .clock = job->saver.saved_clock,
                           .sets = &part,
                           .n_sets = 1 };

    if (ps_wire_send(out, &sh->coordinator, &h, NULL, 0))
        ps_log(PS_LOG_WARN, "shard: could not tell the coordinator: %s",
               ps_log_last_error());
}

static struct psd_job *job_that_saves(const struct psd_shard *sh, uint64_t id)
{
    for (size_t i = 0; i < sh->n_jobs; i++)
        if (id != 0 && sh->jobs[i]->saver.errand == id)
            return sh->jobs[i];
    return NULL;
}

void psd_shard_saved(struct psd_shard *sh, uint64_t now_ns, uint64_t id,
                     ps_status status, const char *why, struct ps_outbox *out)
{
    struct psd_job *job = job_that_saves(sh, id);
    uint64_t        set;

    if (!job)
        return;
    set = job->saver.under_way.set;
    psd_saver_done(job, status == PS_OK, now_ns);
    if (status == PS_OK)
        say_saved(sh, job, out);
    answer_askers(job, set, status, why, out);
    psd_shard_settle(sh, job, now_ns, out);
}

void psd_shard_listed(struct psd_shard *sh, uint64_t now_ns, uint64_t id,
                      const struct ps_part *parts, uint32_t n, ps_status status,
                      const char *why, struct ps_outbox *out)
{
    (void)now_ns;
    for (uint32_t i = 0; i < sh->n_lists; i++) {
        struct psd_list list = sh->lists[i];

        if (id == 0 || list.errand != id)
            continue;
        sh->lists[i] = sh->lists[--sh->n_lists];
        if (status)
            psd_shard_tell(&list.route, list.request, status, why, out);
        else if (say_sets(out, &list.route, list.request, parts,
                          n < PS_SETS_MAX ? n : PS_SETS_MAX))
            ps_log(PS_LOG_WARN, "shard: could not answer: %s", ps_log_last_error());
        return;
    }
}

/* ---- the end ------------------------------------------------------------------- */

/* The last capture of a job that has ended is written all the same. */
static void keep_last(struct psd_shard *sh, struct psd_job *job)
{
    struct psd_image **grown;

    if (!job->saver.waiting.image)
        return;
    grown = realloc(sh->last, (sh->n_last + 1) * sizeof(*grown));
    if (!grown) {
        ps_log(PS_LOG_WARN, "job %s: no memory to keep its last snapshot",
               job->spec.name);
        return;
    }
    sh->last = grown;
    sh->last[sh->n_last++] = job->saver.waiting.image;
    job->saver.waiting.image = NULL;
}

void psd_snapshot_end(struct psd_shard *sh, struct psd_job *job, ps_status why,
                      bool keep, struct ps_outbox *out)
{
    for (uint32_t i = 0; i < job->saver.n_askers; i++)
        psd_shard_tell(&job->saver.askers[i].route, job->saver.askers[i].request, why,
                       ps_log_last_error(), out);
    job->saver.n_askers = 0;
    if (keep)
        keep_last(sh, job);
}
