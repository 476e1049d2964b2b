/*
 * train.c - the training loop.
 *
 * course.h says which batch comes next and what lies between two: a push, a pull, both
 * or nothing.  local.h makes what is pushed of the gradients, and local steps.
 *
 * Under bsp the next values come of this push, so the request for them rides on it: one
 * round trip, and nothing to gain by asking earlier.  Under asp they are there at any
 * time: with prefetch they are asked for before the gradient of the batch that they
 * follow is computed, and arrive meanwhile in buffers of the loop's own, which are
 * copied into the model's when the gradient function has returned.  They lack what this
 * worker has pushed since they were asked for, and no more than that.  The last batch
 * of an epoch waits for its own push all the same: the epoch function sees every step.
 *
 * When the job goes back, so does the training: training.c says where to, and what the
 * worker kept for itself begins anew.  A rollback is seen by its number, not by the
 * status of the call that failed, which may have been the caller's own.
 *
 * With data of their own workers have epochs of different lengths, which end together
 * (ps_epoch_end).  The way through the data is then counted apart from the job's clock,
 * which goes to the furthest worker's at the end of each epoch.
 */
#include "worker/training.h"

#include "common/net/net.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

/* ---- the next values, while the gradient is computed ---------------------------- */

static ps_status ask_ahead(struct psw_training *t, struct ps_ticket **ticket)
{
    ps_status st = psw_begin(t->worker);

    if (!st)
        st = psw_move(t->worker, PSW_PULL, t->spans, t->n_spans, ticket);
    /* on its way, before this thread is busy for long */
    return st ? st : psw_progress(t->worker);
}

static ps_status take_next(struct psw_training *t, struct ps_ticket **ticket)
{
    const struct psw_span *own = psw_model_spans(t->model, &t->n_spans);
    ps_status              st = psw_begin(t->worker);

    if (!st)
        st = psw_wait(t->worker, ticket);
    for (uint32_t i = 0; !st && i < t->n_spans; i++)
        memcpy(own[i].value, t->spans[i].value, psw_training_bytes(&own[i]));
    return st;
}

/* ---- one batch ------------------------------------------------------------------ */

static ps_status compute(struct psw_training *t, const ps_batch *batch)
{
    ps_step  step = { .worker = t->worker, .batch = batch, .data = t->data };
    double   loss = 0;
    uint64_t began_ns = ps_now_ns();
    int      said = t->gradient(t->options.ctx, &step, &loss);

    if (said && psw_training_went_back(t))
        return PS_ERR_ROLLBACK; /* that is why, and it was said */
    if (said)
        return ps_fail(PS_ERR_ABORTED,
                       "training: the gradient function returned %d in iteration "
                       "%" PRIu64,
                       said, batch->clock + 1);
    psw_delay_wait(&t->delay,
                   psw_delay_factor(&t->delay, ps_seed(t->worker), ps_rank(t->worker),
                                    batch->clock),
                   ps_now_ns() - began_ns);
    t->loss += loss;
    t->n_loss++;
    t->loss_epoch = batch->epoch;
    t->epoch_loss += loss;
    t->n_epoch_loss++;
    t->window_samples += batch->n;
    t->window_batches++;
    ps_count_samples(t->worker, batch->n);
    return PS_OK;
}

static ps_status move(struct psw_training *t, uint32_t moves)
{
    struct ps_ticket *ticket;
    ps_status         st = psw_begin(t->worker);

    if (!st && moves & PSW_FINISH)
        st = psw_models_may_finish(t->worker, NULL);
    if (!st)
        st = psw_move(t->worker, moves | PSW_LENT, psw_local_spans(t->local),
                      t->n_spans, &ticket);
    return st ? st : psw_wait(t->worker, &ticket);
}

static void sign(struct psw_training *t, uint64_t samples, uint32_t batches)
{
    psw_client_weight(t->worker->client, (double)samples);
    psw_client_batches(t->worker->client, batches);
}

static void sign_window(struct psw_training *t)
{
    sign(t, t->window_samples, t->window_batches);
    t->window_samples = 0;
    t->window_batches = 0;
}

/* What lies between this batch and the next.  `next`: values that are on their way. */
static ps_status exchange(struct psw_training *t, bool pushes, bool pulls,
                          struct ps_ticket **next)
{
    uint32_t  moves = pulls && !*next ? PSW_PULL : 0;
    uint64_t  clock = t->spot.clock + t->skew + pushes;
    ps_status st = PS_OK;

    psw_local_settle(t->local);
    if (pushes) {
        moves |= PSW_PUSH | PSW_FINISH;
        sign_window(t);
    }
    if (moves)
        st = move(t, moves);
    if (!st && *next)
        st = take_next(t, next);
    /* A backup worker that came too late goes on with the values of where it goes on.
     */
    if (!st && !pulls && ps_clock(t->worker) != clock)
        st = move(t, PSW_PULL);
    psw_local_go_on(t->local, pushes);
    return st;
}

static ps_status iterate(struct psw_training *t, const ps_batch *batch)
{
    bool              pushes = psw_course_pushes(&t->course, &t->spot);
    bool              pulls = psw_course_pulls(&t->course, &t->spot);
    bool              ahead = t->ahead && pulls && !psw_course_ends_epoch(&t->spot);
    struct ps_ticket *next = NULL;
    ps_status         st = ahead ? ask_ahead(t, &next) : PS_OK;

    if (!st)
        st = compute(t, batch);
    if (!st)
        psw_local_take(t->local, t->spot.clock + t->skew + 1);
    if (!st && (pushes || pulls))
        st = exchange(t, pushes, pulls, &next);
    if (next)
        psw_ticket_drop(&next);
    if (st || !pushes)
        t->spot.iteration++;
    else
        psw_course_seek(&t->course, &t->spot, ps_clock(t->worker) - t->skew);
    return st;
}

/* Layer by layer, the gradient function moves the model; its window is one batch, which
 * is signed before the first layer leaves. */
static ps_status iterate_by_layers(struct psw_training *t, const ps_batch *batch)
{
    const uint64_t rounds = psw_model_rounds(t->model);
    ps_status      st;

    sign(t, batch->n, 1);
    st = compute(t, batch);
    if (!st)
        st = psw_model_end_round(t->model, rounds);
    if (!st && psw_client_job(t->worker->client)->strategy == PS_BACKUP)
        st = psw_model_deliver(t->model); /* it may be late: from where to go on? */
    if (st)
        return st;
    psw_course_seek(&t->course, &t->spot, ps_clock(t->worker) - t->skew);
    return t->spot.epoch > batch->epoch || psw_training_is_over(t)
               ? psw_model_settle(t->model)
               : PS_OK;
}

/* ---- the run -------------------------------------------------------------------- */

static ps_status report_loss(struct psw_training *t)
{
    double mean = t->loss / t->n_loss;

    if (t->n_loss == 0)
        return PS_OK;
    t->loss = 0;
    t->n_loss = 0;
    return ps_report(t->worker, "loss", mean);
}

/* On PS_OK, *stop says whether the epoch function has had enough. */
static ps_status end_epoch(struct psw_training *t, uint64_t epoch, bool *stop)
{
    double    mean = t->epoch_loss / (double)t->n_epoch_loss; /* NAN without a batch */
    double    seconds = (double)(ps_now_ns() - t->epoch_ns) / 1e9;
    ps_status st = t->options.report_every ? report_loss(t) : PS_OK;

    if (!st && t->options.report_every)
        st = ps_report(t->worker, "epoch_seconds", seconds);
    if (!st && t->options.epoch)
        *stop = t->options.epoch(t->options.ctx, t->worker, epoch, mean) != 0;
    if (!psw_training_went_back(t)) {
        t->epoch_loss = 0;
        t->n_epoch_loss = 0;
    }
    t->epoch_ns = ps_now_ns();
    return st;
}

/* Own data: others may have more batches in the epoch before; all go on together with
 * what these have made of the values. */
static ps_status end_together(struct psw_training *t, uint64_t next)
{
    ps_status st = t->options.layerwise ? psw_model_settle(t->model) : PS_OK;

    if (!st)
        st = ps_epoch_end(t->worker);
    if (!st)
        st = ps_model_pull(t->model);
    if (st)
        return st;
    psw_local_go_on(t->local, true);
    return psw_training_begin_epoch(t, next);
}

static ps_status one_batch(struct psw_training *t)
{
    const uint32_t every = t->options.report_every;
    ps_batch       batch;
    ps_status      st;

    if (t->spot.iterations == 0) { /* own data, and not enough for one */
        t->spot.epoch++;
        return PS_OK;
    }
    st = psw_course_take(&t->course, &t->spot, t->data, ps_seed(t->worker),
                         t->options.own_data ? 0 : ps_rank(t->worker), &batch);
    if (!st)
        st = t->options.layerwise ? iterate_by_layers(t, &batch) : iterate(t, &batch);
    if (!st && every && t->n_loss == every)
        st = report_loss(t);
    return st;
}

/* The next batch, and what comes behind the last one of an epoch. */
static ps_status go_on(struct psw_training *t, bool *stop)
{
    const uint64_t epoch = t->epoch;
    ps_status      st = t->spot.epoch == epoch ? one_batch(t) : PS_OK;

    if (st || t->spot.epoch == epoch)
        return st;
    if (t->options.own_data)
        st = end_together(t, epoch + 1);
    if (!st)
        st = end_epoch(t, epoch, stop);
    if (st || psw_training_went_back(t))
        return st;
    t->epoch = t->spot.epoch;
    t->ended = t->epoch;
    return PS_OK;
}

static ps_status pull(struct psw_training *t)
{
    ps_status st =
        t->options.layerwise ? psw_model_ask(t->model) : ps_model_pull(t->model);

    psw_local_go_on(t->local, true);
    t->epoch_ns = ps_now_ns();
    return st;
}

/* What this worker kept for itself is of a time that has not been. */
static ps_status go_back(struct psw_training *t)
{
    ps_status st = psw_training_return(t);

    t->window_samples = 0;
    t->window_batches = 0;
    t->loss = 0;
    t->n_loss = 0;
    if (t->epoch == t->spot.epoch || t->epoch != t->loss_epoch) {
        t->epoch_loss = 0;
        t->n_epoch_loss = 0;
    }
    return st ? st : pull(t);
}

static ps_status run(struct psw_training *t)
{
    bool      stop = false;
    ps_status st = pull(t);

    t->worker->missed = 0;
    for (;;) {
        if (psw_training_went_back(t)) {
            stop = false;
            st = go_back(t);
        } else if (st || stop || psw_training_is_over(t)) {
            break;
        } else {
            st = go_on(t, &stop);
        }
    }
    if (!st)
        psw_training_end(t, stop);
    return st;
}

/* ---- beginning and end ---------------------------------------------------------- */

static ps_status check(ps_worker *worker, const ps_model *model, const ps_data *data,
                       ps_gradient_fn *gradient)
{
    ps_status st = psw_begin(worker);

    if (st)
        return st;
    if (!model || !data || !gradient)
        return ps_fail(PS_ERR_BAD_ARG, "training: the %s is NULL",
                       !model  ? "model"
                       : !data ? "data"
                               : "gradient function");
    if (psw_client_is_observer(worker->client))
        return ps_fail(PS_ERR_BAD_ARG, "training: an observer cannot train");
    return PS_OK;
}

ps_status ps_train(ps_worker *worker, ps_model *model, ps_data *data,
                   ps_gradient_fn *gradient, const ps_train_options *options)
{
    struct psw_training t = { .worker = worker,
                              .model = model,
                              .data = data,
                              .gradient = gradient,
                              .options = PS_TRAIN_OPTIONS };
    ps_status           st = check(worker, model, data, gradient);

    if (!st && options)
        st = psw_options_take(&t.options, sizeof(t.options), options,
                              "ps_train_options");
    if (!st)
        st = psw_training_begin(&t);
    if (!st)
        st = run(&t);
    psw_training_free(&t);
    return st;
}

/* ---- before there is a worker --------------------------------------------------- */

static struct psw_course course_of(const ps_train_settings *s)
{
    return (struct psw_course){ .batch = s->batch,
                                .growth = s->growth,
                                .growth_every = s->growth_every,
                                .growth_max = s->growth_max,
                                .nfetch = 1,
                                .npush = s->npush ? s->npush : 1 };
}

uint32_t ps_train_batch(const ps_train_settings *settings, uint64_t epoch)
{
    struct psw_course c = course_of(settings);

    return psw_course_batch(&c, epoch);
}

uint64_t ps_train_clocks(const ps_train_settings *settings, const ps_data *data,
                         uint32_t workers)
{
    struct psw_course c = course_of(settings);

    if (c.growth > 1)
        return 0;
    c.data = data;
    c.workers = workers;
    return psw_course_clocks(&c, 0);
}
