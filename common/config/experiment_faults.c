/* experiment_faults.c - `faults:`, what is done to the processes of a run on purpose;
 * see experiment_private.h. */
#include "common/config/experiment_private.h"

#include <stdarg.h>

/* One entry and where it stands. */
struct entry {
    const struct ps_experiment *experiment;
    const struct ps_fault      *fault;
    const struct ps_node       *node;
    const char                 *file;
};

/* About the entry's key, or about the entry where it has none. */
__attribute__((format(printf, 3, 4))) static ps_status bad_entry(const struct entry *e,
                                                                 const char *key,
                                                                 const char *fmt, ...)
{
    const struct ps_node *said = ps_node_find(e->node, key);
    char                  where[PS_WHERE_BYTES], why[256];
    va_list               args;

    ps_node_where(said ? said : e->node, e->file, where);
    va_start(args, fmt);
    vsnprintf(why, sizeof(why), fmt, args);
    va_end(args);
    return ps_fail(PS_ERR_CONFIG, "%s: %s", where, why);
}

static ps_status check_victim(const struct entry *e)
{
    const struct ps_fault      *f = e->fault;
    const struct ps_experiment *x = e->experiment;
    bool                        psd = (f->kill ? f->kill : f->stop) == PS_VICTIM_PSD;

    if (psd && f->rank > 0)
        return bad_entry(e, "rank", "a psd has none, expected process");
    if (!psd && f->process > 0)
        return bad_entry(e, "process", "a worker has none, expected rank");
    if (psd && f->process >= x->server_processes)
        return bad_entry(e, "process", "%u of %u psd processes, expected 0 to %u",
                         f->process, x->server_processes, x->server_processes - 1);
    if (!psd && f->rank >= x->workers)
        return bad_entry(e, "rank", "%u of %u workers, expected 0 to %u", f->rank,
                         x->workers, x->workers - 1);
    return PS_OK;
}

static ps_status check_kill(const struct entry *e)
{
    const struct ps_fault *f = e->fault;

    if (f->duration > 0)
        return bad_entry(e, "for", "of a kill, expected restart_after");
    if (!f->restart && f->restart_after > 0)
        return bad_entry(e, "restart_after", "without a restart");
    if (f->kill != PS_VICTIM_PSD)
        return PS_OK;
    if (!ps_job_is_saved(&e->experiment->job))
        return bad_entry(e, "kill",
                         "the model would be lost with the psd, expected a job with "
                         "job.snapshot_every, job.snapshot_ms or job.ack: durable");
    if (!f->restart && f->process == 0)
        return bad_entry(e, "restart",
                         "the first psd is the coordinator, without which nothing "
                         "goes on, expected true");
    return PS_OK;
}

static ps_status check_stop(const struct entry *e)
{
    const struct ps_fault *f = e->fault;

    if (f->restart_after > 0 || !f->restart)
        return bad_entry(e, f->restart ? "restart_after" : "restart",
                         "of a stop, expected for");
    if (f->duration <= 0)
        return bad_entry(e, "for",
                         "a stop without an end, expected for: SECONDS above 0");
    return PS_OK;
}

static ps_status check_entry(const struct entry *e)
{
    const struct ps_fault *f = e->fault;
    ps_status              st;

    if (!f->kill == !f->stop)
        return bad_entry(e, "kill", "expected either kill or stop: psd or worker");
    if (f->at_clock == 0)
        return bad_entry(e, "at_clock", "no at_clock, expected when it is done");
    st = check_victim(e);
    if (st)
        return st;
    return f->kill ? check_kill(e) : check_stop(e);
}

ps_status ps_experiment_load_faults(struct ps_experiment *e,
                                    const struct ps_node *faults, const char *file)
{
    ps_status st = PS_OK;

    for (size_t i = 0; !st && i < e->n_faults; i++) {
        struct entry entry = { e, &e->faults[i], faults->children[i], file };

        if (!ps_node_find(entry.node, "restart"))
            e->faults[i].restart = true;
        st = check_entry(&entry);
    }
    return st;
}
