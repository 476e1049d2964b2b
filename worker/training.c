/* training.c - see training.h. */
#include "worker/training.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

/* ---- the way ----------------------------------------------------------------------
 */

bool psw_training_is_over(const struct psw_training *t)
{
    if (t->epoch != t->spot.epoch)
        return false; /* the end of the epoch is to come */
    if (t->spot.epoch != t->end_epoch)
        return t->spot.epoch > t->end_epoch;
    return t->spot.iteration >= t->end_iteration;
}

/* Push windows from the beginning of epoch `from` to that of `to`. */
static uint64_t clocks_between(const struct psw_training *t, uint64_t from, uint64_t to)
{
    uint64_t n = 0;

    while (from < to)
        n += psw_course_clocks(&t->course, from++);
    return n;
}

/* The worker's epoch `epoch` begins here. */
static ps_status note_begin(ps_worker *w, uint64_t epoch)
{
    if (epoch >= w->own_room) {
        uint64_t          room = epoch < 8 ? 16 : 2 * epoch;
        struct psw_begin *grown = realloc(w->own_begins, room * sizeof(*grown));

        if (!grown)
            return ps_fail(PS_ERR_NO_MEMORY,
                           "training: no memory for %" PRIu64 " epochs", room);
        w->own_begins = grown;
        w->own_room = room;
    }
    w->own_begins[epoch] =
        (struct psw_begin){ ps_clock(w), psw_client_epochs(w->client) };
    w->own_epochs = epoch;
    return PS_OK;
}

ps_status psw_training_begin_epoch(struct psw_training *t, uint64_t epoch)
{
    uint64_t clock = clocks_between(t, 0, epoch);

    psw_course_seek(&t->course, &t->spot, clock);
    t->spot.epoch = epoch; /* also when there are no batches to count it by */
    t->epoch = epoch;
    t->skew = ps_clock(t->worker) - clock;
    return note_begin(t->worker, epoch);
}

/*
 * Own data: to where the job's clock is, in the epoch that has not ended on all shards;
 * after its last batch when that is only to be ended.
 */
static void seek_own(struct psw_training *t)
{
    ps_worker     *w = t->worker;
    const uint64_t clock = ps_clock(w), ended = psw_client_epochs(w->client);
    uint64_t       e = w->own_epochs, n, done;

    while (e > 0 && w->own_begins[e].epochs > ended)
        e--;
    n = psw_course_clocks(&t->course, e);
    done = clock > w->own_begins[e].clock ? clock - w->own_begins[e].clock : 0;
    if (done > n)
        done = n;
    t->skew = w->own_begins[e].clock - clocks_between(t, 0, e);
    t->epoch = e;
    w->own_epochs = e;
    psw_course_seek(&t->course, &t->spot, clocks_between(t, 0, e) + done);
    t->spot.epoch = done > 0 && done == n ? e + 1 : e;
}

/* ---- what may be trained ----------------------------------------------------------
 */

static ps_status check_course(const struct psw_training *t)
{
    const struct psw_course *c = &t->course;
    uint64_t                 last = t->end_iteration ? t->end_epoch : t->end_epoch - 1;
    ps_status                st = psw_course_check(c);

    if (st || t->options.epochs == 0)
        return st;
    if (c->growth > 1 && psw_client_job(t->worker->client)->optimiser.schedule.epochs)
        return ps_fail(PS_ERR_BAD_ARG,
                       "training: the batch grows and the job's learning rate counts "
                       "epochs, which then differ in clocks, expected a schedule that "
                       "counts clocks");
    if (psw_course_iterations(c, last) == 0 && !t->options.own_data)
        return ps_fail(PS_ERR_BAD_ARG,
                       "training: %" PRIu64 " samples are too few for %u workers with "
                       "batches of %u",
                       ps_data_n(t->data), c->workers, psw_course_batch(c, last));
    return PS_OK;
}

static ps_status check_layerwise(const struct psw_training *t)
{
    const struct ps_job_spec *job = psw_client_job(t->worker->client);

    if (!t->options.layerwise)
        return PS_OK;
    if (job->nfetch > 1 || job->npush > 1)
        return ps_fail(PS_ERR_BAD_ARG,
                       "training: layer by layer with nfetch %" PRIu64
                       " and npush %" PRIu64 ", expected 1 and 1",
                       job->nfetch, job->npush);
    if (job->average == PS_AVERAGE_MODEL)
        return ps_fail(PS_ERR_BAD_ARG,
                       "training: layer by layer with average: model, expected "
                       "gradient");
    return PS_OK;
}

/* One that joined late begins where the others are and ends where they do; one whose
 * job went back since it trained last has the rest of that before it. */
static ps_status begin_parted(struct psw_training *t)
{
    uint64_t clock = ps_clock(t->worker), trained = t->worker->trained;

    t->base = (clock < trained ? trained : clock) - t->worker->missed;
    psw_course_seek(&t->course, &t->spot, t->base);
    t->end_epoch = t->spot.epoch + t->options.epochs;
    t->end_iteration = t->spot.iteration;
    psw_course_seek(&t->course, &t->spot, clock);
    t->epoch = t->spot.epoch;
    t->ended = t->epoch;
    return check_course(t);
}

static ps_status begin_own(struct psw_training *t)
{
    const uint64_t epoch = t->worker->own_epochs;
    ps_status      st = PS_OK;

    t->end_epoch = epoch + t->options.epochs;
    t->end_iteration = 0;
    if (ps_clock(t->worker) < t->worker->trained && t->worker->own_begins)
        seek_own(t);
    else
        st = psw_training_begin_epoch(t, epoch);
    t->ended = epoch;
    return st ? st : check_course(t);
}

static ps_status plan(struct psw_training *t)
{
    const ps_train_options   *o = &t->options;
    const struct ps_job_spec *job = psw_client_job(t->worker->client);

    t->course = (struct psw_course){ .data = t->data,
                                     .workers = o->own_data ? 1 : job->workers,
                                     .batch = o->batch,
                                     .growth = o->growth,
                                     .growth_every = o->growth_every,
                                     .growth_max = o->growth_max,
                                     .nfetch = job->nfetch,
                                     .npush = job->npush };
    t->ahead = o->prefetch && !o->layerwise && job->strategy == PS_ASP;
    t->rollbacks = psw_client_rollbacks(t->worker->client);
    psw_client_told(t->worker->client);
    return o->own_data ? begin_own(t) : begin_parted(t);
}

/* ---- beginning and end ------------------------------------------------------------
 */

size_t psw_training_bytes(const struct psw_span *s)
{
    return s->count * ps_dtype_bytes(psw_matrix_spec(s->matrix)->dtype);
}

static ps_status make_room(struct psw_training *t)
{
    const struct psw_span *own = psw_model_spans(t->model, &t->n_spans);
    size_t                 bytes = 0;

    for (uint32_t i = 0; i < t->n_spans; i++)
        bytes += psw_training_bytes(&own[i]);
    t->spans = calloc(t->n_spans + 1, sizeof(*t->spans));
    t->next = malloc(bytes + 1);
    if (!t->spans || !t->next)
        return ps_fail(PS_ERR_NO_MEMORY,
                       "training: no memory for %zu bytes of next values", bytes);
    bytes = 0;
    for (uint32_t i = 0; i < t->n_spans; i++) {
        t->spans[i] = own[i];
        t->spans[i].value = t->next + bytes;
        bytes += psw_training_bytes(&own[i]);
    }
    return PS_OK;
}

ps_status psw_training_begin(struct psw_training *t)
{
    const struct psw_span *own = psw_model_spans(t->model, &t->n_spans);
    ps_status              st = psw_delay_read(&t->delay);

    if (!st)
        st = check_layerwise(t);
    if (!st)
        st = plan(t);
    if (!st)
        st = psw_local_new(&t->local, psw_client_job(t->worker->client), own,
                           t->n_spans);
    return st || !t->ahead ? st : make_room(t);
}

void psw_training_free(struct psw_training *t)
{
    psw_local_free(&t->local);
    free(t->spans);
    free(t->next);
}

/* Iterations beyond the end are those of the others, which come next. */
static void note_missed(struct psw_training *t, bool stopped)
{
    uint64_t clock = ps_clock(t->worker), end;

    if (stopped || t->options.own_data)
        return;
    end = t->base + clocks_between(t, t->end_epoch - t->options.epochs, t->end_epoch);
    if (clock > end)
        t->worker->missed = clock - end;
}

void psw_training_end(struct psw_training *t, bool stopped)
{
    note_missed(t, stopped);
    t->worker->trained = ps_clock(t->worker);
}

/* ---- back -------------------------------------------------------------------------
 */

bool psw_training_went_back(const struct psw_training *t)
{
    return psw_client_rollbacks(t->worker->client) != t->rollbacks;
}

ps_status psw_training_return(struct psw_training *t)
{
    const struct psw_span *own = psw_model_spans(t->model, &t->n_spans);
    struct psw_client     *client = t->worker->client;

    t->rollbacks = psw_client_rollbacks(client);
    psw_client_told(client);
    if (t->options.own_data) {
        seek_own(t);
    } else {
        psw_course_seek(&t->course, &t->spot, ps_clock(t->worker));
        t->epoch = t->spot.epoch;
        /* At the end of an epoch whose function the rollback has interrupted. */
        if (t->spot.iteration == 0 && t->ended < t->epoch)
            t->epoch--;
    }
    psw_local_free(&t->local);
    return psw_local_new(&t->local, psw_client_job(client), own, t->n_spans);
}
