/* options.c - see options.h. */
#include "worker/options.h"

#include "common/base/limits.h"
#include "worker/launcher.h"
#include "worker/settings.h"

#include <stdio.h>
#include <string.h>

#define DEFAULT_COORDINATOR "tcp://127.0.0.1:" PSW_DEFAULT_PORT
#define DEFAULT_JOB "default"
#define DEFAULT_TIMEOUT_MS 30000u
#define TIMEOUT_MS_MAX 86400000u /* a day */

ps_status psw_options_take(void *to, size_t bytes, const void *from, const char *what)
{
    size_t given;

    memcpy(&given, from, sizeof(given));
    if (given < sizeof(given))
        return ps_fail(PS_ERR_BAD_ARG, "%s: size is %zu, start from the initialiser",
                       what, given);
    memcpy(to, from, given < bytes ? given : bytes);
    return PS_OK;
}

/* The first of given, variable and fallback that is there. */
static ps_status text_from(const char *given, const char *name, const char *fallback,
                           char *out, size_t bytes)
{
    const char *from = given && given[0] ? given : psw_variable(name);
    const char *text = from ? from : fallback;

    if (strlen(text) >= bytes)
        return ps_fail(given && given[0] ? PS_ERR_BAD_ARG : PS_ERR_CONFIG,
                       "%s: %zu bytes long, expected at most %zu", name, strlen(text),
                       bytes - 1);
    snprintf(out, bytes, "%s", text);
    return PS_OK;
}

static ps_status coordinator(const ps_worker_options *given, bool aliases,
                             struct psw_options *out)
{
    bool      is_given = given->coordinator && given->coordinator[0];
    ps_status st = text_from(given->coordinator, "PSW_COORDINATOR", DEFAULT_COORDINATOR,
                             out->coordinator, sizeof(out->coordinator));

    if (st || is_given)
        return st;
    if (psw_variable("PSW_COORDINATOR"))
        out->coordinator_from = "PSW_COORDINATOR";
    else if (aliases)
        st = psw_launcher_coordinator(out->coordinator, sizeof(out->coordinator),
                                      &out->coordinator_from);
    return st;
}

static ps_status texts(const ps_worker_options *given, bool aliases,
                       struct psw_options *out)
{
    char        name[PS_NAME_BYTES];
    const char *fallback = out->job.name[0] ? out->job.name : DEFAULT_JOB;
    ps_status   st = coordinator(given, aliases, out);

    if (!st)
        st = text_from(given->token, "PSW_TOKEN", "", out->token, sizeof(out->token));
    if (!st)
        st = text_from(given->job, "PSW_JOB", fallback, name, sizeof(name));
    if (st)
        return st;
    memcpy(out->job.name, name, sizeof(name));
    out->job_from_environment =
        !(given->job && given->job[0]) && psw_variable("PSW_JOB");
    return PS_OK;
}

static ps_status numbers(const ps_worker_options *given, bool aliases,
                         struct psw_options *out)
{
    ps_status st = PS_OK;

    if (given->rank < -1)
        return ps_fail(PS_ERR_BAD_ARG,
                       "rank: %d, expected 0 or more, or -1 for PSW_RANK", given->rank);
    if (given->timeout_ms < 0 || (uint32_t)given->timeout_ms > TIMEOUT_MS_MAX)
        return ps_fail(PS_ERR_BAD_ARG,
                       "timeout_ms: %d, expected 1 to %u, or 0 for the "
                       "default",
                       given->timeout_ms, TIMEOUT_MS_MAX);
    if (given->spin_us > PS_SPIN_US_MAX)
        return ps_fail(PS_ERR_BAD_ARG, "spin_us: %u, expected 0 to %u", given->spin_us,
                       PS_SPIN_US_MAX);
    out->rank = given->rank < 0 ? 0 : (uint32_t)given->rank;
    if (given->rank < 0)
        st = psw_launcher_number(PSW_NUMBER_RANK, aliases, 0, PS_WORKERS_MAX - 1,
                                 &out->rank);
    if (given->workers)
        out->job.workers = given->workers;
    else if (!st)
        st = psw_launcher_number(PSW_NUMBER_WORLD_SIZE, aliases, 1, PS_WORKERS_MAX,
                                 &out->job.workers);
    out->timeout_ms =
        given->timeout_ms ? (uint32_t)given->timeout_ms : DEFAULT_TIMEOUT_MS;
    if (!st && !given->timeout_ms)
        st = psw_variable_number("PSW_TIMEOUT_MS", 1, TIMEOUT_MS_MAX, &out->timeout_ms);
    out->spin_us = given->spin_us;
    if (!st && !given->spin_us)
        st = psw_variable_number("PSW_SPIN_US", 0, PS_SPIN_US_MAX, &out->spin_us);
    return st;
}

/* A name that came from a variable is complained about as such. */
static ps_status check_name(const struct psw_options *o)
{
    struct ps_job_spec only_name = ps_job_spec_default();

    memcpy(only_name.name, o->job.name, sizeof(only_name.name));
    if (o->job_from_environment && ps_job_spec_check(&only_name))
        return ps_fail(PS_ERR_CONFIG, "PSW_JOB: %s", ps_log_last_error());
    return PS_OK;
}

static ps_status check(const struct psw_options *o)
{
    ps_status st = check_name(o);

    if (o->observer) /* brings no settings: it reads what others have made */
        return st ? st : ps_name_check("job", o->job.name);
    if (!st)
        st = ps_job_spec_check(&o->job);
    if (!st && o->rank >= o->job.workers)
        return ps_fail(PS_ERR_RANK,
                       "rank %u of job %s: expected 0 to %u, it has %u "
                       "workers",
                       o->rank, o->job.name, o->job.workers - 1, o->job.workers);
    return st;
}

/* What the host program says goes before it, but 0 says nothing. */
static ps_status observer_from_environment(struct psw_options *out)
{
    uint32_t  said = 0;
    ps_status st = psw_variable_number("PSW_OBSERVER", 0, 1, &said);

    out->observer |= said != 0;
    return st;
}

ps_status psw_options_resolve(const ps_worker_options *options, struct psw_options *out)
{
    ps_worker_options given = PS_WORKER_OPTIONS;
    bool              aliases;
    ps_status         st = psw_launcher_counts(&aliases);

    if (st)
        return st;
    if (options) {
        st = psw_options_take(&given, sizeof(given), options, "ps_worker_options");
        if (st)
            return st;
    }
    *out = (struct psw_options){ .observer = given.observer != 0 };
    st = observer_from_environment(out);
    if (st)
        return st;
    out->job =
        given.settings ? *psw_settings_job(given.settings) : ps_job_spec_default();
    if (given.clocks_per_epoch)
        out->job.clocks_per_epoch = given.clocks_per_epoch;
    st = texts(&given, aliases, out);
    if (!st) /* an observer has no rank, whatever it was started as */
        st = numbers(&given, aliases && !out->observer, out);
    if (given.settings)
        out->job.optimiser.lr = psw_settings_lr(given.settings, out->job.workers);
    return st ? st : check(out);
}

ps_status ps_launched(const ps_settings *settings, uint32_t *rank, uint32_t *workers)
{
    bool      aliases;
    ps_status st = psw_launcher_counts(&aliases);
    uint32_t  r = 0, n;

    n = settings ? psw_settings_job(settings)->workers : ps_job_spec_default().workers;
    if (!st)
        st = psw_launcher_number(PSW_NUMBER_RANK, aliases, 0, PS_WORKERS_MAX - 1, &r);
    if (!st)
        st = psw_launcher_number(PSW_NUMBER_WORLD_SIZE, aliases, 1, PS_WORKERS_MAX, &n);
    if (st)
        return st;
    *rank = r;
    *workers = n;
    return PS_OK;
}
