/* optim.c - see optim.h. */
#include "server/optim/optim.h"

#include <assert.h>
#include <float.h>
#include <math.h>

uint32_t psd_optim_n_state(uint32_t kind)
{
    switch (kind) {
    case PS_MOMENTUM:
    case PS_NESTEROV:
    case PS_ADAGRAD:
    case PS_RMSPROP: return 1;
    case PS_ADAM:
    case PS_ADAMW:
    case PS_FTRL: return 2;
    default: return 0;
    }
}

bool psd_optim_is_exact(uint32_t kind)
{
    return kind == PS_ADD || kind == PS_ASSIGN;
}

uint32_t psd_optim_kind(const struct ps_job_spec    *job,
                        const struct ps_matrix_spec *matrix)
{
    return matrix->optimiser == PS_OPTIMISER_JOB ? job->optimiser.kind
                                                 : matrix->optimiser;
}

uint32_t psd_optim_applied(const struct ps_job_spec    *job,
                           const struct ps_matrix_spec *matrix)
{
    uint32_t kind = psd_optim_kind(job, matrix);

    return job->average == PS_AVERAGE_MODEL && !psd_optim_is_exact(kind) ? PS_ADD
                                                                         : kind;
}

/* Does it divide by root + epsilon, where the root is 0 for a gradient of 0? */
static bool divides_by_epsilon(uint32_t kind)
{
    return kind == PS_ADAGRAD || kind == PS_RMSPROP || kind == PS_ADAM ||
           kind == PS_ADAMW;
}

ps_status psd_optim_check(const struct ps_job_spec    *job,
                          const struct ps_matrix_spec *matrix)
{
    uint32_t kind = psd_optim_kind(job, matrix);
    double   least = matrix->dtype == PS_F32 ? FLT_MIN : DBL_MIN;

    if (matrix->dtype == PS_I64 && !psd_optim_is_exact(kind))
        return ps_fail(PS_ERR_BAD_ARG,
                       "matrix %s: i64 with the optimiser %s, expected add or assign",
                       matrix->name, ps_optimiser_name(kind));
    if (divides_by_epsilon(kind) && job->optimiser.epsilon < least)
        return ps_fail(PS_ERR_BAD_ARG,
                       "matrix %s: epsilon %g vanishes in %s, expected at least %.2g",
                       matrix->name, job->optimiser.epsilon,
                       ps_dtype_name(matrix->dtype), least);
    return PS_OK;
}

/* A count of the schedule's units in clocks; the largest number when it is larger. */
static uint64_t clocks_of(const struct ps_job_spec *job, uint64_t units)
{
    uint64_t clocks;

    if (!job->optimiser.schedule.epochs)
        return units;
    if (__builtin_mul_overflow(units, job->clocks_per_epoch, &clocks))
        return UINT64_MAX;
    return clocks;
}

/* What the learning rate is multiplied with at clock t, `every` clocks a period. */
static double schedule_factor(const struct ps_schedule_spec *s, uint64_t t,
                              uint64_t every)
{
    double part;

    if (s->kind != PS_LR_STEP && s->kind != PS_LR_EXPONENTIAL &&
        s->kind != PS_LR_COSINE)
        return 1.0;
    assert(every > 0);
    part = (double)t / (double)every;
    if (s->kind == PS_LR_STEP)
        return pow(s->factor, (double)(t / every));
    if (s->kind == PS_LR_EXPONENTIAL)
        return pow(s->factor, part);
    if (t >= every)
        return s->floor;
    return s->floor + (1.0 - s->floor) * 0.5 * (1.0 + cos(M_PI * part));
}

double psd_optim_lr(const struct ps_job_spec *job, uint64_t t)
{
    const struct ps_optimiser_spec *o = &job->optimiser;
    uint64_t                        warmup = clocks_of(job, o->schedule.warmup);

    if (t < warmup)
        return o->lr * ((double)t + 1.0) / (double)warmup;
    return o->lr * schedule_factor(&o->schedule, t, clocks_of(job, o->schedule.every));
}

struct psd_hyper psd_optim_hyper(const struct ps_job_spec    *job,
                                 const struct ps_matrix_spec *matrix, uint64_t clock,
                                 uint64_t step)
{
    const struct ps_optimiser_spec *o = &job->optimiser;

    assert(clock > 0 && step > 0);
    return (struct psd_hyper){
        .lr = psd_optim_lr(job, clock - 1),
        .momentum = o->momentum,
        .beta1 = o->beta1,
        .beta2 = o->beta2,
        .rho = o->rho,
        .epsilon = o->epsilon,
        .weight_decay =
            isnan(matrix->weight_decay) ? o->weight_decay : matrix->weight_decay,
        .ftrl_beta = o->ftrl_beta,
        .ftrl_l1 = o->ftrl_l1,
        .ftrl_l2 = o->ftrl_l2,
        .step = step,
    };
}
