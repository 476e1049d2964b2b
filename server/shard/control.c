/*
 * control.c - what the coordinator tells a shard: jobs, matrices, members.
 *
 * Each of these may come twice (the coordinator repeats what was not answered), so
 * each says OK to what is there already.
 */
#include "server/shard/snapshot.h"

#include "common/base/plant.h"

#include "server/optim/optim.h"

#include <stdlib.h>
#include <string.h>

/* What fits into one header: so many accounts of jobs, and beside them of matrices. */
#define STATS_JOBS_MAX 64u
#define STATS_JOB_BYTES 224u
#define STATS_MATRIX_BYTES 52u

ps_status psd_say_ok(struct psd_request *r)
{
    struct ps_header h = {
        .kind = PS_MSG_OK,
        .request = r->h.request,
        .job = r->h.job,
        .clock = r->job ? psd_gate_clock(r->job->gate) : 0,
        .epochs = r->job ? psd_gate_epochs(r->job->gate) : 0,
        .text = "",
        .name = "",
        .token = "",
    };

    return ps_wire_send(r->out, &r->in->route, &h, NULL, 0);
}

static ps_status room_for_job(struct psd_shard *sh)
{
    size_t           room = sh->jobs_room ? 2 * sh->jobs_room : 8;
    struct psd_job **grown;

    if (sh->n_jobs < sh->jobs_room)
        return PS_OK;
    grown = realloc(sh->jobs, room * sizeof(struct psd_job *));
    if (!grown)
        return ps_fail(PS_ERR_NO_MEMORY, "shard: no memory for %zu jobs", room);
    sh->jobs = grown;
    sh->jobs_room = room;
    return PS_OK;
}

ps_status psd_control_job_of(struct psd_request *r)
{
    r->job = psd_shard_job(r->shard, r->h.job);
    if (!r->job)
        return ps_fail(PS_ERR_BAD_MESSAGE, "shard: %s for job %u, which is not here",
                       ps_kind_name(r->h.kind), r->h.job);
    return r->h.server_epoch == r->job->server_epoch ? PS_OK : PS_ERR_REPEATED;
}

/* Whoever waits is told why, and the job is gone. */
static void end_job(struct psd_request *r, struct psd_job *job, ps_status why,
                    const char *sentence, bool keep_last)
{
    struct psd_shard *sh = r->shard;
    size_t            at = 0;

    if (job->waiting.n > 0 || job->saver.n_askers > 0) /* else nobody's request fails */
        ps_log(PS_LOG_ERR, "job %s%s", job->spec.name, sentence);
    psd_snapshot_end(sh, job, why, keep_last, r->out);
    for (size_t i = 0; i < job->waiting.n; i++)
        psd_shard_refuse(sh, &job->waiting.items[i].parcel.route,
                         job->waiting.items[i].request, why, r->out);
    while (sh->jobs[at] != job)
        at++;
    memmove(sh->jobs + at, sh->jobs + at + 1,
            (sh->n_jobs - at - 1) * sizeof(struct psd_job *));
    sh->n_jobs--;
    psd_job_free(&job);
}

/* A JOB that comes late does not bring back what is over. */
static bool has_ended(const struct psd_shard *sh, uint64_t run, uint64_t life)
{
    for (size_t i = 0; run != 0 && i < PSD_ENDED; i++)
        if (sh->ended[i].run == run && life <= sh->ended[i].life)
            return true;
    return false;
}

static ps_status check_job(const struct psd_request *r)
{
    ps_status st = ps_job_spec_check(r->h.job_spec);

    if (!st && ps_job_is_saved(r->h.job_spec) && !r->shard->options.can_save)
        st = ps_fail(PS_ERR_CONFIG,
                     "job %s: it asks for snapshots, and the psd of this shard has no "
                     "`state` folder",
                     r->h.job_spec->name);
    return st ? st : room_for_job(r->shard);
}

static ps_status make_job(struct psd_request *r)
{
    struct psd_shard *sh = r->shard;
    struct psd_job   *job = psd_shard_job(sh, r->h.job), *fresh;
    ps_status         st = check_job(r);

    if (!st)
        st = psd_job_new(&fresh, &r->h, &sh->scratch);
    if (st)
        return st;
    if (sh->options.shares)
        st = psd_store_share(fresh->store);
    if (!st)
        st = psd_job_members(fresh, &r->h);
    if (st) {
        psd_job_free(&fresh); /* a job without its members would say OK the next time */
        return st;
    }
    if (job)
        end_job(r, job, PS_ERR_ROLLBACK, ": it went back to an earlier clock", false);
    sh->jobs[sh->n_jobs++] = fresh;
    psd_saver_begin(fresh, 0, true, r->now_ns);
    ps_log(PS_LOG_INFO, "shard %u: job %s created for %u workers", fresh->shard,
           fresh->spec.name, fresh->spec.workers);
    return psd_say_ok(r);
}

/* The job may be here from an earlier life, which goes. */
ps_status psd_control_job(struct psd_request *r)
{
    const struct psd_job *job = psd_shard_job(r->shard, r->h.job);
    ps_status             st = PS_OK;

    if (!r->h.job_spec || r->h.job == 0)
        return ps_fail(PS_ERR_BAD_MESSAGE, "shard: a job without number or settings");
    if (has_ended(r->shard, r->h.run, r->h.after))
        return psd_say_ok(r);
    if (!job || r->h.after > job->life ||
        (PSD_PLANTED(PLANT_OLD_LIFE) && r->h.after < job->life))
        return make_job(r);
    if (r->h.after == job->life)
        st = ps_job_spec_same(r->h.job_spec, &job->spec);
    return st ? st : psd_say_ok(r);
}

/* Whoever still waits is told that there is nothing to wait for. */
ps_status psd_control_job_end(struct psd_request *r)
{
    struct psd_shard *sh = r->shard;
    struct psd_job   *job = psd_shard_job(sh, r->h.job);

    if (!job || job->life > r->h.after)
        return psd_say_ok(r);
    ps_log(PS_LOG_INFO, "shard %u: job %s ended", job->shard, job->spec.name);
    sh->ended[sh->n_ended++ % PSD_ENDED] =
        (struct psd_ended){ .run = job->run, .life = r->h.after };
    end_job(r, job, PS_ERR_UNKNOWN, " has ended", true);
    return psd_say_ok(r);
}

static ps_status check_matrix(const struct psd_request *r)
{
    const struct ps_matrix_spec *spec = &r->h.matrices[0];
    ps_status                    st = ps_matrix_spec_check(spec);

    return st ? st : psd_optim_check(&r->job->spec, spec);
}

ps_status psd_control_matrix(struct psd_request *r)
{
    struct ps_place         *place;
    const struct psd_matrix *known;
    ps_status                st = psd_control_job_of(r);

    if (st)
        return st == PS_ERR_REPEATED ? psd_say_ok(r) : st;
    if (r->h.n_matrices != 1)
        return ps_fail(PS_ERR_BAD_MESSAGE, "job %s: %u matrices to add, expected 1",
                       r->job->spec.name, r->h.n_matrices);
    known = psd_store_find(r->job->store, r->h.matrices[0].number);
    if (known) {
        st = ps_matrix_spec_same(&r->h.matrices[0], &known->spec);
        return st ? st : psd_say_ok(r);
    }
    st = check_matrix(r);
    if (st)
        return st;
    place = malloc(sizeof(*place));
    if (!place)
        return ps_fail(PS_ERR_NO_MEMORY, "shard: no memory for a map");
    ps_place_cut(place, &r->h.matrices[0]);
    if (!ps_place_take_runs(place, r->h.slot_runs, r->h.n_slot_runs, PS_SHARDS_MAX))
        st = ps_fail(PS_ERR_BAD_MESSAGE, "matrix %s: a map that does not fit it",
                     r->h.matrices[0].name);
    if (!st)
        st = psd_store_add(
            r->job->store, &r->h.matrices[0], place,
            psd_optim_n_state(psd_optim_applied(&r->job->spec, &r->h.matrices[0])));
    free(place);
    return st ? st : psd_say_ok(r);
}

ps_status psd_control_members(struct psd_request *r)
{
    ps_status st = psd_control_job_of(r);

    if (!st)
        st = psd_job_members(r->job, &r->h);
    return st && st != PS_ERR_REPEATED ? st : psd_say_ok(r);
}

static uint32_t room_for_matrices(uint32_t n_jobs)
{
    uint32_t bytes = PS_HEADER_BYTES - 512 - n_jobs * STATS_JOB_BYTES;
    uint32_t room = bytes / STATS_MATRIX_BYTES;

    return room < PS_STATS_MAX - n_jobs ? room : PS_STATS_MAX - n_jobs;
}

/* The matrices of a job in the order in which they were made, as far as there is room.
 */
static uint32_t account_matrices(const struct psd_job *job, struct ps_job_stats *stats,
                                 uint32_t room)
{
    const struct psd_matrix *m = NULL;
    uint32_t                 n = 0;

    while (n < room && (m = psd_store_next(job->store, m ? m->spec.number : 0))) {
        struct psd_account a = psd_store_matrix_account(m);

        stats[n++] = (struct ps_job_stats){ .job = job->number,
                                            .matrix = m->spec.number,
                                            .bytes = a.bytes,
                                            .state_bytes = a.state_bytes,
                                            .rows = a.rows };
    }
    return n;
}

/* All jobs, or the one asked for; first the shard's own account, last the matrices'. */
ps_status psd_control_stats(struct psd_request *r)
{
    const struct psd_shard *sh = r->shard;
    struct ps_job_stats     stats[PS_STATS_MAX] = { 0 };
    const struct psd_job   *told[STATS_JOBS_MAX];
    uint32_t                n = 1, n_told = 0, end;
    struct ps_header        h = {
               .kind = PS_MSG_STATS_OK,
               .request = r->h.request,
               .text = "",
               .name = "",
               .token = "",
               .job_stats = stats,
    };

    stats[0].refused = sh->counters.denied;
    stats[0].skipped = sh->counters.bad_messages + sh->counters.dropped;
    for (size_t i = 0; i < sh->n_jobs && n_told < STATS_JOBS_MAX; i++)
        if (r->h.job == 0 || sh->jobs[i]->number == r->h.job) {
            told[n_told++] = sh->jobs[i];
            stats[n++] = psd_job_account(sh->jobs[i]);
        }
    end = n + room_for_matrices(n);
    for (uint32_t i = 0; i < n_told; i++)
        n += account_matrices(told[i], stats + n, end - n);
    h.n_job_stats = n;
    return ps_wire_send(r->out, &r->in->route, &h, NULL, 0);
}
