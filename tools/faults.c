/* faults.c - see faults.h. */
#include "tools/faults.h"

#include <math.h>
#include <signal.h>
#include <stdlib.h>

ps_status faults_prepare(struct faults *f, const struct ps_experiment *e,
                         struct process *servers, struct process *workers)
{
    f->list = calloc(e->n_faults ? e->n_faults : 1, sizeof(*f->list));
    if (!f->list)
        return ps_fail(PS_ERR_NO_MEMORY, "no memory for %zu faults", e->n_faults);
    f->n = e->n_faults;
    for (size_t i = 0; i < f->n; i++) {
        const struct ps_fault *asked = &e->faults[i];
        bool     server = (asked->kill ? asked->kill : asked->stop) == PS_VICTIM_PSD;
        unsigned number = server ? asked->process : asked->rank;

        f->list[i] = (struct fault){ .asked = asked,
                                     .victim = (server ? servers : workers) + number,
                                     .is_server = server,
                                     .number = number,
                                     .seconds = NAN,
                                     .again_seconds = NAN };
    }
    return PS_OK;
}

void faults_free(struct faults *f)
{
    free(f->list);
    f->list = NULL;
    f->n = 0;
}

static void begin(struct fault *fault, uint64_t clock, double seconds,
                  struct progress *p)
{
    bool kills = fault->asked->kill != PS_VICTIM_NONE;

    fault->clock = clock;
    fault->seconds = seconds;
    if (kills) {
        process_kill(fault->victim);
        fault->state = fault->asked->restart ? FAULT_DOWN : FAULT_OVER;
        fault->taken = !fault->is_server;
    } else {
        process_signal(fault->victim, SIGSTOP);
        fault->state = FAULT_STOPPED;
    }
    progress_say(p, "%.1f s: %s %s at iteration %ju", seconds, fault->victim->name,
                 kills ? "killed" : "stopped", (uintmax_t)clock);
}

static void go_on(struct fault *fault, double seconds, struct progress *p)
{
    fault->again_seconds = seconds;
    fault->state = FAULT_OVER;
    process_signal(fault->victim, SIGCONT);
    progress_say(p, "%.1f s: %s goes on", seconds, fault->victim->name);
}

void faults_act(struct faults *f, uint64_t clock, double seconds, struct progress *p)
{
    for (size_t i = 0; i < f->n; i++) {
        struct fault *fault = &f->list[i];

        if (fault->state == FAULT_AHEAD && clock >= fault->asked->at_clock &&
            process_runs(fault->victim))
            begin(fault, clock, seconds, p);
        else if (fault->state == FAULT_STOPPED &&
                 seconds >= fault->seconds + fault->asked->duration)
            go_on(fault, seconds, p);
    }
}

struct fault *faults_start(struct faults *f, double seconds)
{
    for (size_t i = 0; i < f->n; i++) {
        struct fault *fault = &f->list[i];

        if (fault->state == FAULT_DOWN && !fault->taken &&
            seconds >= fault->seconds + fault->asked->restart_after)
            return fault;
    }
    return NULL;
}

void faults_started(struct faults *f, struct fault *fault, double seconds,
                    struct progress *p)
{
    fault->state = FAULT_OVER;
    fault->again_seconds = seconds;
    if (fault->is_server)
        f->server_starts++;
    else
        f->worker_starts++;
    progress_say(p, "%.1f s: %s started again", seconds, fault->victim->name);
}

void faults_rank_taken(struct faults *f, unsigned rank, bool taken)
{
    for (size_t i = 0; i < f->n; i++)
        if (!f->list[i].is_server && f->list[i].number == rank)
            f->list[i].taken = taken;
}

bool faults_killed(const struct faults *f, const struct process *p)
{
    for (size_t i = 0; i < f->n; i++)
        if (f->list[i].victim == p && f->list[i].asked->kill &&
            f->list[i].state != FAULT_AHEAD && isnan(f->list[i].again_seconds))
            return true;
    return false;
}

bool faults_silent(const struct faults *f, const struct process *p)
{
    for (size_t i = 0; i < f->n; i++)
        if (f->list[i].victim == p &&
            (f->list[i].state == FAULT_DOWN || f->list[i].state == FAULT_STOPPED))
            return true;
    return false;
}

static bool any(const struct faults *f, enum fault_state state)
{
    for (size_t i = 0; i < f->n; i++)
        if (f->list[i].state == state)
            return true;
    return false;
}

bool faults_open(const struct faults *f)
{
    return any(f, FAULT_DOWN) || any(f, FAULT_STOPPED);
}

bool faults_ahead(const struct faults *f)
{
    return any(f, FAULT_AHEAD);
}

void faults_tell_missed(const struct faults *f)
{
    for (size_t i = 0; i < f->n; i++)
        if (f->list[i].state == FAULT_AHEAD)
            fprintf(
                stderr,
                "psexp: %s was not %s: the run ended before iteration %ju was seen\n",
                f->list[i].victim->name, f->list[i].asked->kill ? "killed" : "stopped",
                (uintmax_t)f->list[i].asked->at_clock);
}

static json_t *seconds_or_null(double seconds)
{
    return isnan(seconds) ? json_null() : json_real(seconds);
}

json_t *faults_json(const struct faults *f)
{
    json_t *list = json_array();

    for (size_t i = 0; list && i < f->n; i++) {
        const struct fault *fault = &f->list[i];
        bool                done = fault->state != FAULT_AHEAD;

        json_array_append_new(
            list,
            json_pack("{s:s, s:s, s:I, s:o, s:o, s:o}", "process", fault->victim->name,
                      "fault", fault->asked->kill ? "kill" : "stop", "at_clock",
                      (json_int_t)fault->asked->at_clock, "clock",
                      done ? json_integer((json_int_t)fault->clock) : json_null(),
                      "seconds", seconds_or_null(fault->seconds), "again_seconds",
                      seconds_or_null(fault->again_seconds)));
    }
    return list;
}
