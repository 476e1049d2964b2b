/* saver.c - see saver.h. */
#include "server/shard/saver.h"
#include "common/base/plant.h"
#include "server/shard/job.h"
#include "server/shard/progress.h"
#include "server/store/capture.h"

#include <stdlib.h>
#include <string.h>

#define RETRY_NS UINT64_C(1000000000) /* after a failure that somebody waits for */

/* ---- one capture --------------------------------------------------------------- */

static void drop(struct psd_snapshot *s)
{
    psd_image_free(&s->image);
    free(s->finished);
    *s = (struct psd_snapshot){ 0 };
}

static void fill_finished(const struct psd_job *job, uint64_t *finished)
{
    uint64_t closed = psd_gate_clock(job->gate);

    for (uint32_t r = 0; r < job->spec.workers; r++)
        finished[r] =
            psd_job_holds(job) ? closed : psd_gate_look(job->gate, r).finished;
}

static ps_status image_new(const struct psd_job *job, uint64_t set,
                           struct psd_image **out)
{
    struct psd_image *image = calloc(1, sizeof(*image));
    ps_status         st;

    if (!image)
        return ps_fail(PS_ERR_NO_MEMORY, "job %s: no memory for a snapshot",
                       job->spec.name);
    strcpy(image->job, job->spec.name);
    image->run = job->run;
    image->spec = job->spec;
    image->index = job->shard;
    image->n_shards = job->n_shards;
    image->set = set;
    image->life = job->life;
    image->clock = psd_gate_clock(job->gate);
    image->version = job->version;
    st = psd_progress_encode(job, &image->progress);
    if (!st)
        st = psd_store_capture(job->store, &image->model);
    if (st) {
        psd_image_free(&image);
        return st;
    }
    *out = image;
    return PS_OK;
}

static ps_status snapshot_new(const struct psd_job *job, uint64_t set,
                              struct psd_snapshot *out)
{
    ps_status st;

    *out = (struct psd_snapshot){ .set = set,
                                  .clock = psd_gate_clock(job->gate),
                                  .version = job->version };
    out->finished = malloc(job->spec.workers * sizeof(*out->finished));
    if (!out->finished)
        return ps_fail(PS_ERR_NO_MEMORY, "job %s: no memory for a snapshot",
                       job->spec.name);
    fill_finished(job, out->finished);
    st = image_new(job, set, &out->image);
    if (st)
        drop(out);
    return st;
}

/* ---- which one waits ----------------------------------------------------------- */

static bool is_asked_for(const struct psd_saver *s, uint64_t set)
{
    for (uint32_t i = 0; i < s->n_askers; i++)
        if (s->askers[i].set == set)
            return true;
    return false;
}

static uint32_t twos(uint64_t n)
{
    return n ? (uint32_t)__builtin_ctzll(n) : 64;
}

/* May the capture that waits go for one of now? */
static bool may_go(const struct psd_job *job, bool asked)
{
    const struct psd_saver *s = &job->saver;
    uint64_t                every = job->spec.snapshot_every, now;

    if (!s->waiting.finished || asked || !psd_job_holds(job))
        return true;
    if (is_asked_for(s, s->waiting.set))
        return false;
    now = psd_gate_clock(job->gate);
    if (every == 0 || now % every != 0)
        return true;
    return twos(now / every) >= twos(s->waiting.set / every);
}

/* Who waits for what will not be written waits for this, or for nothing any more. */
static void move_askers(struct psd_saver *s, uint64_t from, uint64_t to)
{
    for (uint32_t i = 0; i < s->n_askers; i++)
        if (s->askers[i].set == from)
            s->askers[i].set = to;
}

/* Captures the job; what waits goes for it.  False: no memory. */
static bool capture(struct psd_job *job, bool asked, uint64_t now_ns)
{
    struct psd_saver   *s = &job->saver;
    struct psd_snapshot fresh;
    uint64_t set = psd_job_holds(job) ? psd_gate_clock(job->gate) : s->set + 1;

    if (!may_go(job, asked))
        return true;
    if (snapshot_new(job, set, &fresh)) {
        job->stats.save_failures++;
        s->retry_ns = now_ns + RETRY_NS;
        return false;
    }
    if (s->waiting.finished)
        move_askers(s, s->waiting.set, psd_job_holds(job) ? PSD_SET_GONE : set);
    drop(&s->waiting);
    s->waiting = fresh;
    s->set = set;
    s->captured_version = job->version;
    s->captured_ns = now_ns;
    return true;
}

static bool is_durable(const struct psd_job *job)
{
    return job->spec.ack == PS_ACK_DURABLE;
}

static bool is_idle(const struct psd_saver *s)
{
    return !s->waiting.finished && s->errand == 0;
}

static bool is_on_its_way(const struct psd_saver *s, uint64_t set)
{
    return (s->waiting.finished && s->waiting.set == set) ||
           (s->errand != 0 && s->under_way.set == set);
}

/* ---- when ---------------------------------------------------------------------- */

/* True: somebody asked for the clock that is reached now. */
static bool meet_askers(struct psd_job *job)
{
    uint64_t clock = psd_gate_clock(job->gate);
    bool     any = false;

    for (uint32_t i = 0; i < job->saver.n_askers; i++) {
        struct psd_asker *a = &job->saver.askers[i];

        if (a->set != 0 || a->clock != clock)
            continue;
        a->set = clock;
        any = true;
    }
    return any;
}

void psd_saver_closed(struct psd_job *job, uint64_t now_ns)
{
    uint64_t clock = psd_gate_clock(job->gate), every = job->spec.snapshot_every;
    bool     asked = meet_askers(job);

    if (!asked && !is_durable(job) && (every == 0 || clock % every != 0))
        return;
    if (!capture(job, asked, now_ns))
        move_askers(&job->saver, clock, PSD_SET_GONE);
}

/* Iterations beyond those on disk that may be acknowledged.  A disk that fails is not
 * waited for, nor one that has nothing to write, after failures, because the snapshots
 * since were left out; unless all are to be there. */
static uint64_t most_beyond(const struct psd_job *job)
{
    if (is_durable(job))
        return 0;
    if (job->spec.max_rollback == 0 || job->saver.retry_ns != 0 ||
        is_idle(&job->saver) || PSD_PLANTED(PLANT_ROLLBACK))
        return UINT64_MAX;
    return job->spec.max_rollback;
}

bool psd_saver_covers(const struct psd_job *job, uint64_t finished, uint64_t on_disk)
{
    return finished <= on_disk || finished - on_disk <= most_beyond(job);
}

/* Would the next close leave a snapshot out that other shards have? */
static bool would_skip(const struct psd_job *job)
{
    return job->saver.waiting.finished &&
           (psd_gate_clock(job->gate) + 1) % job->spec.snapshot_every == 0;
}

bool psd_saver_blocks(const struct psd_job *job)
{
    uint64_t beyond = psd_gate_clock(job->gate) - job->saver.saved_clock;
    uint64_t most = most_beyond(job);

    if (!psd_job_holds(job) || most == UINT64_MAX)
        return false;
    if (is_durable(job))
        return beyond > 0; /* one is closed, so that it can be written */
    return beyond >= most || would_skip(job);
}

static bool waits_for_disk(const struct psd_job *job)
{
    for (size_t i = 0; i < job->waiting.n; i++)
        if (job->waiting.items[i].reason == PSD_FOR_DISK)
            return true;
    return false;
}

/* Somebody cannot go on before something is on disk that nobody writes. */
static bool is_needed(const struct psd_job *job)
{
    if (!is_durable(job) || !is_idle(&job->saver))
        return false;
    return psd_job_holds(job) ? psd_saver_blocks(job) : waits_for_disk(job);
}

/* From when on the job is to be captured if nothing else happens. */
static uint64_t due_ns(const struct psd_job *job)
{
    const struct psd_saver   *s = &job->saver;
    const struct ps_job_spec *spec = &job->spec;
    uint64_t                  updates = job->version - s->captured_version;

    if (is_needed(job))
        return s->retry_ns;
    if (updates == 0 || !ps_job_is_saved(spec) || !may_go(job, false))
        return UINT64_MAX;
    if (psd_gate_n_active(job->gate) == 0)
        return s->retry_ns; /* the last one */
    if (psd_job_holds(job))
        return UINT64_MAX;
    if (spec->snapshot_every > 0 && updates >= spec->snapshot_every)
        return s->retry_ns;
    if (spec->snapshot_ms == 0)
        return UINT64_MAX;
    return s->captured_ns + spec->snapshot_ms * UINT64_C(1000000);
}

/* A capture that could not be written does not come again at once. */
uint64_t psd_saver_next_look(const struct psd_job *job)
{
    uint64_t due = due_ns(job);

    return due > job->saver.retry_ns ? due : job->saver.retry_ns;
}

void psd_saver_look(struct psd_job *job, uint64_t now_ns)
{
    if (psd_saver_next_look(job) <= now_ns)
        (void)capture(job, false, now_ns); /* it is tried again */
}

/* ---- who asks ------------------------------------------------------------------ */

static struct psd_asker *find_asker(struct psd_saver *s, uint64_t request)
{
    for (uint32_t i = 0; i < s->n_askers; i++)
        if (s->askers[i].request == request)
            return &s->askers[i];
    return NULL;
}

static ps_status add_asker(struct psd_job *job, const struct psd_asker *asker,
                           struct psd_asker **out)
{
    struct psd_saver *s = &job->saver;

    if (s->n_askers == PSD_ASKERS)
        return ps_fail(PS_ERR_LIMIT, "job %s: %u snapshots are asked for already",
                       job->spec.name, PSD_ASKERS);
    *out = &s->askers[s->n_askers++];
    **out = *asker;
    (*out)->set = 0;
    return PS_OK;
}

static ps_status ask_clock(struct psd_job *job, const struct psd_asker *asker,
                           uint64_t now_ns)
{
    struct psd_saver *s = &job->saver;
    uint64_t          clock = psd_gate_clock(job->gate);
    struct psd_asker *a;
    ps_status         st;

    if (asker->clock < clock)
        return ps_fail(PS_ERR_BAD_ARG,
                       "job %s: a snapshot at clock %ju, but the clock is %ju already",
                       job->spec.name, (uintmax_t)asker->clock, (uintmax_t)clock);
    if (asker->clock == clock &&
        (clock == 0 || (clock == s->saved_clock && !s->elsewhere)))
        return PS_ERR_REPEATED;
    st = add_asker(job, asker, &a);
    if (st || asker->clock > clock)
        return st;
    a->set = clock;
    if (is_on_its_way(s, clock) || capture(job, true, now_ns))
        return PS_OK;
    s->n_askers--;
    return PS_ERR_NO_MEMORY;
}

static ps_status ask_now(struct psd_job *job, const struct psd_asker *asker,
                         uint64_t now_ns)
{
    struct psd_saver *s = &job->saver;
    bool              newest = job->version == s->captured_version;
    struct psd_asker *a;
    ps_status         st;

    if (job->version == 0 || (job->version == s->saved_version && !s->elsewhere))
        return PS_ERR_REPEATED;
    st = add_asker(job, asker, &a);
    if (st)
        return st;
    if ((!newest || is_idle(s)) && !capture(job, true, now_ns)) {
        s->n_askers--;
        return PS_ERR_NO_MEMORY;
    }
    a->set = s->set;
    return PS_OK;
}

ps_status psd_saver_ask(struct psd_job *job, const struct psd_asker *asker,
                        uint64_t now_ns)
{
    struct psd_asker *known = find_asker(&job->saver, asker->request);

    if (known) {
        known->route = asker->route;
        return PS_OK;
    }
    return psd_job_holds(job) ? ask_clock(job, asker, now_ns)
                              : ask_now(job, asker, now_ns);
}

/* ---- to the disk --------------------------------------------------------------- */

void psd_saver_begin(struct psd_job *job, uint64_t set, bool own, uint64_t now_ns)
{
    struct psd_saver *s = &job->saver;

    s->set = set;
    s->captured_version = s->saved_version = job->version;
    s->captured_ns = now_ns;
    s->saved_clock = psd_gate_clock(job->gate);
    s->elsewhere = !own;
    job->stats.saved = own ? set : 0;
}

void psd_saver_free(struct psd_saver *s)
{
    drop(&s->waiting);
    drop(&s->under_way);
}

struct psd_image *psd_saver_next(struct psd_job *job, uint64_t errand)
{
    struct psd_saver *s = &job->saver;
    struct psd_image *image;

    if (!s->waiting.finished || s->errand != 0)
        return NULL;
    s->errand = errand;
    s->under_way = s->waiting;
    s->waiting = (struct psd_snapshot){ 0 };
    image = s->under_way.image;
    s->under_way.image = NULL;
    job->stirs += job->spec.max_rollback > 0; /* another may wait now */
    return image;
}

static void say_once(const struct psd_job *job, bool saved)
{
    bool failing = job->saver.retry_ns != 0;

    if (saved == failing)
        ps_log(saved ? PS_LOG_INFO : PS_LOG_WARN, "shard %u: snapshots of job %s %s",
               job->shard, job->spec.name,
               saved ? "are written again" : "cannot be written, it goes on without");
}

void psd_saver_done(struct psd_job *job, bool saved, uint64_t now_ns)
{
    struct psd_saver *s = &job->saver;

    say_once(job, saved);
    if (saved) {
        job->stats.saved = s->under_way.set;
        s->saved_clock = s->under_way.clock;
        for (uint32_t r = 0; r < job->spec.workers; r++)
            job->seats[r].durable = s->under_way.finished[r];
        s->saved_version = s->under_way.version;
        s->elsewhere = false;
    } else {
        job->stats.save_failures++;
        if (!s->waiting.finished) /* what it held is yet to be saved */
            s->captured_version = s->saved_version;
    }
    job->stirs += is_durable(job) || job->spec.max_rollback > 0;
    s->retry_ns = saved ? 0 : now_ns + RETRY_NS;
    s->errand = 0;
    drop(&s->under_way);
}
