/* settings.c - see settings.h and the settings part of ps/worker.h. */
#include "worker/settings.h"

#include "common/config/config.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

struct ps_settings {
    struct ps_experiment *experiment;
};

/* Takes the experiment, also on failure. */
static ps_status wrap(ps_settings **out, struct ps_experiment *experiment)
{
    ps_settings *s = calloc(1, sizeof(*s));

    if (!s) {
        ps_experiment_free(&experiment);
        return ps_fail(PS_ERR_NO_MEMORY, "settings: no memory");
    }
    s->experiment = experiment;
    *out = s;
    return PS_OK;
}

ps_status ps_settings_load(ps_settings **out, const char *file)
{
    struct ps_experiment *e;
    ps_status             st;

    if (!file)
        file = getenv("PSW_CONFIG");
    if (file && *file)
        st = ps_experiment_load(&e, file, NULL, 0);
    else
        st = ps_experiment_default(&e);
    return st ? st : wrap(out, e);
}

ps_status ps_settings_parse(ps_settings **out, const char *text)
{
    struct ps_experiment *e;
    ps_status             st;

    if (!text)
        return ps_fail(PS_ERR_BAD_ARG, "settings: the text is NULL");
    st = ps_experiment_parse(&e, "settings", text, strlen(text));
    return st ? st : wrap(out, e);
}

void ps_settings_free(ps_settings **settings)
{
    if (!settings || !*settings)
        return;
    ps_experiment_free(&(*settings)->experiment);
    free(*settings);
    *settings = NULL;
}

void ps_settings_train(const ps_settings *settings, ps_train_settings *out)
{
    const struct ps_experiment *e = settings->experiment;

    *out = (ps_train_settings){
        .seed = e->job.seed,
        .epochs = e->epochs,
        .batch = e->batch,
        .limit = e->limit,
        .prefetch = e->prefetch,
        .data_format = e->data_format,
        .train_features = e->train_features,
        .train_labels = e->train_labels,
        .test_features = e->test_features,
        .test_labels = e->test_labels,
        .workers = e->job.workers,
        .partition = (ps_partition)e->partition,
        .label_column = e->label_column,
        .header = e->header,
        .test_every = e->test_every,
        .test_limit = e->test_limit,
        .growth = e->growth_factor,
        .growth_every = e->growth_every,
        .growth_max = e->growth_max,
        .npush = e->job.npush,
        .nfetch = e->job.nfetch,
        .models = e->job.average == PS_AVERAGE_MODEL,
        .layerwise = e->layerwise,
    };
}

/* The factor after every epoch, if that is what the schedule does. */
static double epoch_factor(const struct ps_schedule_spec *s)
{
    if (s->warmup == 0 && s->kind == PS_LR_CONSTANT)
        return 1.0;
    if (s->warmup == 0 && s->kind == PS_LR_STEP && s->epochs && s->every == 1)
        return s->factor;
    return NAN;
}

void ps_settings_optimiser(const ps_settings *settings, ps_optimiser_settings *out)
{
    const struct ps_optimiser_spec *o = &settings->experiment->job.optimiser;

    *out = (ps_optimiser_settings){
        .optimiser = (ps_optimiser)o->kind,
        .lr = psw_settings_lr(settings, settings->experiment->workers),
        .momentum = o->momentum,
        .weight_decay = o->weight_decay,
        .epoch_factor = epoch_factor(&o->schedule),
        .ftrl_beta = o->ftrl_beta,
        .ftrl_l1 = o->ftrl_l1,
        .ftrl_l2 = o->ftrl_l2,
    };
}

double psw_settings_lr(const ps_settings *settings, uint32_t workers)
{
    return ps_experiment_lr(settings->experiment, workers);
}

const struct ps_job_spec *psw_settings_job(const ps_settings *settings)
{
    return &settings->experiment->job;
}
