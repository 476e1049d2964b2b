/*
 * train.c - the training loop.
 *
 * Under bsp the values of the next iteration come of this iteration's gradients, so the
 * request for them rides on the push: one round trip, and nothing to gain by asking
 * earlier.  Under asp they are there at any time: with prefetch they are asked for
 * before the gradient is computed and arrive meanwhile in buffers of the loop's own,
 * which are copied into the model's when the gradient function has returned.  They lack
 * this worker's push in between, and no more than that.  The last iteration of an epoch
 * waits for its own push all the same: the epoch function sees every step.
 */
#include "worker/worker_private.h"

#include "common/net/net.h"
#include "worker/delay.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

struct training {
    ps_worker       *worker;
    ps_model        *model;
    ps_data         *data;
    ps_gradient_fn  *gradient;
    ps_train_options options;
    uint64_t         iterations; /* of an epoch */
    struct psw_delay delay;

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

/* ---- one iteration -------------------------------------------------------------- */

static ps_status compute(struct training *t, const ps_batch *batch)
{
    ps_step   step = { .worker = t->worker, .batch = batch, .data = t->data };
    double    loss = 0;
    uint64_t  began_ns = ps_now_ns();
    int       said = t->gradient(t->options.ctx, &step, &loss);
    ps_status st;

    if (said)
        return ps_fail(PS_ERR_ABORTED,
                       "training: the gradient function returned %d in iteration "
                       "%" PRIu64,
                       said, batch->clock + 1);
    psw_delay_wait(psw_delay_factor(&t->delay, ps_seed(t->worker), ps_rank(t->worker),
                                    batch->clock),
                   ps_now_ns() - began_ns);
    t->loss += loss;
    t->n_loss++;
    t->epoch_loss += loss;
    t->n_epoch_loss++;
    st = ps_weight(t->worker, batch->n);
    if (!st)
        ps_count_samples(t->worker, batch->n);
    return st;
}

static ps_status iterate_ahead(struct training *t, const ps_batch *batch)
{
    struct ps_ticket *next = NULL;
    ps_status         st = ask_ahead(t, &next);

    if (!st)
        st = compute(t, batch);
    if (!st)
        st = psw_model_push_finish(t->model);
    if (!st)
        st = take_next(t, &next);
    if (next)
        psw_ticket_drop(&next);
    return st;
}

static ps_status iterate(struct training *t, const ps_batch *batch)
{
    ps_status st;

    if (t->ahead && batch->iteration + 1 < t->iterations)
        return iterate_ahead(t, batch);
    st = compute(t, batch);
    return st ? st : ps_model_push_pull(t->model);
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

static ps_status run(struct training *t)
{
    const uint32_t every = t->options.report_every;
    uint64_t       clock = ps_clock(t->worker);
    uint64_t       end = clock + t->options.epochs * t->iterations;
    bool           stop = false;
    ps_status      st = ps_model_pull(t->model);
    ps_batch       batch;

    t->epoch_ns = ps_now_ns();
    /* A backup worker that came too late goes on from a later clock than the next. */
    for (; !st && !stop && clock < end; clock = ps_clock(t->worker)) {
        st = ps_data_batch(t->data, ps_seed(t->worker), ps_rank(t->worker),
                           ps_workers(t->worker), t->options.batch, clock, &batch);
        if (!st)
            st = iterate(t, &batch);
        if (!st && every && t->n_loss == every)
            st = report_loss(t);
        if (!st && ps_clock(t->worker) / t->iterations > batch.epoch)
            st = end_epoch(t, batch.epoch, &stop);
    }
    return st;
}

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
    ps_train_options o = PS_TRAIN_OPTIONS;
    struct training  t;
    ps_status        st = check(worker, model, data, gradient);

    if (!st && options)
        st = psw_options_take(&o, sizeof(o), options, "ps_train_options");
    if (st)
        return st;
    t = (struct training){ .worker = worker,
                           .model = model,
                           .data = data,
                           .gradient = gradient,
                           .options = o };
    t.iterations = ps_data_iterations(data, ps_workers(worker), o.batch);
    t.ahead = o.prefetch && psw_client_job(worker->client)->strategy == PS_ASP;
    st = psw_delay_read(&t.delay);
    if (!st && t.iterations == 0)
        st = ps_fail(PS_ERR_BAD_ARG,
                     "training: %" PRIu64 " samples are too few for %u workers with "
                     "batches of %u",
                     ps_data_n(data), ps_workers(worker), o.batch);
    if (!st && t.ahead)
        st = make_room(&t);
    if (!st)
        st = run(&t);
    free(t.spans);
    free(t.next);
    return st;
}
