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
 * With data of their own workers have epochs of different lengths, which end together
 * (ps_epoch_end).  The way through the data is then counted apart from the job's clock,
 * which goes to the furthest worker's at the end of each epoch.
 */
#include "worker/worker_private.h"

#include "common/net/net.h"
#include "worker/course.h"
#include "worker/delay.h"
#include "worker/local.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

struct training {
    ps_worker        *worker;
    ps_model         *model;
    ps_data          *data;
    ps_gradient_fn   *gradient;
    ps_train_options  options;
    struct psw_course course;
    struct psw_spot   spot; /* the next batch */
    struct psw_delay  delay;
    struct psw_local *local;
    uint64_t          base;                     /* clock at which this training began */
    uint64_t          end_epoch, end_iteration; /* where it is to end */
    uint64_t          skew; /* own data: the job's clock less the course's */

    uint64_t window_samples; /* since the last push */
    uint32_t window_batches;

    double   loss; /* sum since the last report */
    uint32_t n_loss;
    double   epoch_loss; /* sums of the epoch in progress */
    uint64_t n_epoch_loss;
    uint64_t epoch_ns; /* when it began */

    /* asp with prefetch: the model's matrices, and where their next values arrive */
    bool             ahead;
    uint32_t         n_spans;
    struct psw_span *spans; /* `value` points into `next` */
    uint8_t         *next;
};

/* ---- the next values, while the gradient is computed ---------------------------- */

static size_t value_bytes(const struct psw_span *s)
{
    return s->count * ps_dtype_bytes(psw_matrix_spec(s->matrix)->dtype);
}

static ps_status make_room(struct training *t)
{
    const struct psw_span *own = psw_model_spans(t->model, &t->n_spans);
    size_t                 bytes = 0;

    for (uint32_t i = 0; i < t->n_spans; i++)
        bytes += value_bytes(&own[i]);
    t->spans = calloc(t->n_spans + 1, sizeof(*t->spans));
    t->next = malloc(bytes + 1);
    if (!t->spans || !t->next)
        return ps_fail(PS_ERR_NO_MEMORY,
                       "training: no memory for %zu bytes of next values", bytes);
    bytes = 0;
    for (uint32_t i = 0; i < t->n_spans; i++) {
        t->spans[i] = own[i];
        t->spans[i].value = t->next + bytes;
        bytes += value_bytes(&own[i]);
    }
    return PS_OK;
}

static ps_status ask_ahead(struct training *t, struct ps_ticket **ticket)
{
    ps_status st = psw_begin(t->worker);

    if (!st)
        st = psw_move(t->worker, PSW_PULL, t->spans, t->n_spans, ticket);
    /* on its way, before this thread is busy for long */
    return st ? st : psw_progress(t->worker);
}

static ps_status take_next(struct training *t, struct ps_ticket **ticket)
{
    const struct psw_span *own = psw_model_spans(t->model, &t->n_spans);
    ps_status              st = psw_begin(t->worker);

    if (!st)
        st = psw_wait(t->worker, ticket);
    for (uint32_t i = 0; !st && i < t->n_spans; i++)
        memcpy(own[i].value, t->spans[i].value, value_bytes(&own[i]));
    return st;
}

/* ---- one batch ------------------------------------------------------------------ */

static ps_status compute(struct training *t, const ps_batch *batch)
{
    ps_step  step = { .worker = t->worker, .batch = batch, .data = t->data };
    double   loss = 0;
    uint64_t began_ns = ps_now_ns();
    int      said = t->gradient(t->options.ctx, &step, &loss);

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
    t->epoch_loss += loss;
    t->n_epoch_loss++;
    t->window_samples += batch->n;
    t->window_batches++;
    ps_count_samples(t->worker, batch->n);
    return PS_OK;
}

static ps_status move(struct training *t, uint32_t moves)
{
    struct ps_ticket *ticket;
    ps_status         st = psw_begin(t->worker);

    if (!st && moves & PSW_FINISH)
        st = psw_models_may_finish(t->worker, NULL);
    if (!st)
        st = psw_move(t->worker, moves, psw_local_spans(t->local), t->n_spans, &ticket);
    return st ? st : psw_wait(t->worker, &ticket);
}

static void sign(struct training *t, uint64_t samples, uint32_t batches)
{
    psw_client_weight(t->worker->client, (double)samples);
    psw_client_batches(t->worker->client, batches);
}

static void sign_window(struct training *t)
{
    sign(t, t->window_samples, t->window_batches);
    t->window_samples = 0;
    t->window_batches = 0;
}

/* What lies between this batch and the next.  `next`: values that are on their way. */
static ps_status exchange(struct training *t, bool pushes, bool pulls,
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

static ps_status iterate(struct training *t, const ps_batch *batch)
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

static bool is_over(const struct training *t)
{
    if (t->spot.epoch != t->end_epoch)
        return t->spot.epoch > t->end_epoch;
    return t->spot.iteration >= t->end_iteration;
}

/* Layer by layer, the gradient function moves the model; its window is one batch, which
 * is signed before the first layer leaves. */
static ps_status iterate_by_layers(struct training *t, const ps_batch *batch)
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
    return t->spot.epoch > batch->epoch || is_over(t) ? psw_model_settle(t->model)
                                                      : PS_OK;
}

/* ---- the run -------------------------------------------------------------------- */

static ps_status report_loss(struct training *t)
{
    double mean = t->loss / t->n_loss;

    if (t->n_loss == 0)
        return PS_OK;
    t->loss = 0;
    t->n_loss = 0;
    return ps_report(t->worker, "loss", mean);
}

/* On PS_OK, *stop says whether the epoch function has had enough. */
static ps_status end_epoch(struct training *t, uint64_t epoch, bool *stop)
{
    double    mean = t->epoch_loss / (double)t->n_epoch_loss;
    double    seconds = (double)(ps_now_ns() - t->epoch_ns) / 1e9;
    ps_status st = t->options.report_every ? report_loss(t) : PS_OK;

    if (!st && t->options.report_every)
        st = ps_report(t->worker, "epoch_seconds", seconds);
    t->epoch_loss = 0;
    t->n_epoch_loss = 0;
    if (!st && t->options.epoch)
        *stop = t->options.epoch(t->options.ctx, t->worker, epoch, mean) != 0;
    t->epoch_ns = ps_now_ns();
    return st;
}

/* Push windows from the beginning of epoch `from` to that of `to`. */
static uint64_t clocks_between(const struct training *t, uint64_t from, uint64_t to)
{
    uint64_t n = 0;

    while (from < to)
        n += psw_course_clocks(&t->course, from++);
    return n;
}

/* Own data: to the first batch of an epoch, wherever the job's clock is. */
static void begin_epoch(struct training *t, uint64_t epoch)
{
    uint64_t clock = clocks_between(t, 0, epoch);

    psw_course_seek(&t->course, &t->spot, clock);
    t->spot.epoch = epoch; /* also when there are no batches to count it by */
    t->skew = ps_clock(t->worker) - clock;
}

/* Own data: others may have more batches in the epoch before; all go on together with
 * what these have made of the values. */
static ps_status end_together(struct training *t, uint64_t next)
{
    ps_status st = t->options.layerwise ? psw_model_settle(t->model) : PS_OK;

    if (!st)
        st = ps_epoch_end(t->worker);
    if (!st)
        st = ps_model_pull(t->model);
    if (st)
        return st;
    t->worker->own_epochs = next;
    psw_local_go_on(t->local, true);
    begin_epoch(t, next);
    return PS_OK;
}

static ps_status one_batch(struct training *t)
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

/* Iterations beyond the end are those of the others, which come next. */
static void note_missed(struct training *t, bool stopped)
{
    uint64_t clock = ps_clock(t->worker), end;

    if (stopped || t->options.own_data)
        return;
    end = t->base + clocks_between(t, t->end_epoch - t->options.epochs, t->end_epoch);
    if (clock > end)
        t->worker->missed = clock - end;
}

static ps_status run(struct training *t)
{
    bool      stop = false;
    ps_status st =
        t->options.layerwise ? psw_model_ask(t->model) : ps_model_pull(t->model);

    t->worker->missed = 0;
    psw_local_go_on(t->local, true);
    t->epoch_ns = ps_now_ns();
    while (!st && !stop && !is_over(t)) {
        uint64_t epoch = t->spot.epoch;

        st = one_batch(t);
        if (st || t->spot.epoch == epoch)
            continue;
        if (t->options.own_data)
            st = end_together(t, epoch + 1);
        if (!st)
            st = end_epoch(t, epoch, &stop);
    }
    if (!st)
        note_missed(t, stop);
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

static ps_status check_course(const struct training *t)
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

static ps_status check_layerwise(const struct training *t)
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

static ps_status plan(struct training *t)
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
    /* One that joined late begins where the others are and ends where they do. */
    t->base = ps_clock(t->worker) - t->worker->missed;
    psw_course_seek(&t->course, &t->spot, t->base);
    t->end_epoch = t->spot.epoch + o->epochs;
    t->end_iteration = t->spot.iteration;
    psw_course_seek(&t->course, &t->spot, ps_clock(t->worker));
    if (o->own_data) {
        begin_epoch(t, t->worker->own_epochs);
        t->end_epoch = t->spot.epoch + o->epochs;
        t->end_iteration = 0;
    }
    t->ahead = o->prefetch && !o->layerwise && job->strategy == PS_ASP;
    return check_course(t);
}

static ps_status prepare(struct training *t)
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

ps_status ps_train(ps_worker *worker, ps_model *model, ps_data *data,
                   ps_gradient_fn *gradient, const ps_train_options *options)
{
    struct training t = { .worker = worker,
                          .model = model,
                          .data = data,
                          .gradient = gradient,
                          .options = PS_TRAIN_OPTIONS };
    ps_status       st = check(worker, model, data, gradient);

    if (!st && options)
        st = psw_options_take(&t.options, sizeof(t.options), options,
                              "ps_train_options");
    if (!st)
        st = prepare(&t);
    if (!st)
        st = run(&t);
    psw_local_free(&t.local);
    free(t.spans);
    free(t.next);
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
