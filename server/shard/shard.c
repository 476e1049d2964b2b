/* shard.c - life and dispatch; see shard.h. */
#include "server/shard/snapshot.h"

#include <stdio.h>
#include <stdlib.h>

ps_status psd_shard_new(struct psd_shard **out, const struct psd_shard_options *options)
{
    struct psd_shard *sh = calloc(1, sizeof(*sh));
    ps_status         st;

    if (!sh)
        return ps_fail(PS_ERR_NO_MEMORY, "shard: no memory");
    sh->options = *options;
    st = ps_decoder_new(&sh->decoder);
    if (st) {
        free(sh);
        return st;
    }
    *out = sh;
    return PS_OK;
}

void psd_shard_free(struct psd_shard **shard)
{
    struct psd_shard *gone = *shard;

    *shard = NULL;
    if (!gone)
        return;
    for (size_t i = 0; i < gone->n_jobs; i++)
        psd_job_free(&gone->jobs[i]);
    free(gone->jobs);
    for (size_t i = 0; i < gone->n_last; i++)
        psd_image_free(&gone->last[i]);
    free(gone->last);
    ps_decoder_free(&gone->decoder);
    psd_scratch_free(&gone->scratch);
    free(gone);
}

struct psd_job *psd_shard_job(const struct psd_shard *sh, uint32_t number)
{
    for (size_t i = 0; i < sh->n_jobs; i++)
        if (sh->jobs[i]->number == number)
            return sh->jobs[i];
    return NULL;
}

void psd_shard_dropped(struct psd_shard *sh, uint64_t messages)
{
    sh->counters.dropped = messages;
}

struct psd_shard_counters psd_shard_count(const struct psd_shard *sh)
{
    return sh->counters;
}

/* A word to somebody who waits (request set) or does not (0). */
static void tell(const struct ps_route *to, uint32_t kind, uint64_t request,
                 ps_status status, const char *text, struct ps_outbox *out)
{
    struct ps_header h = { .kind = kind,
                           .request = request,
                           .status = status,
                           .text = text,
                           .name = "",
                           .token = "" };

    /* Out of memory: the asker's deadline covers it. */
    if (ps_wire_send(out, to, &h, NULL, 0))
        ps_log(PS_LOG_WARN, "shard: could not answer: %s", ps_log_last_error());
}

void psd_shard_tell(const struct ps_route *to, uint64_t request, ps_status status,
                    const char *text, struct ps_outbox *out)
{
    tell(to, PS_MSG_ERROR, request, status, text, out);
}

void psd_shard_refuse(struct psd_shard *sh, const struct ps_route *to, uint64_t request,
                      ps_status status, struct ps_outbox *out)
{
    if (status == PS_ERR_DENIED)
        sh->counters.denied++;
    tell(to, PS_MSG_ERROR, request, status, ps_log_last_error(), out);
}

static ps_status find_job(struct psd_request *r)
{
    r->job = psd_shard_job(r->shard, r->h.job);
    if (!r->job)
        return ps_fail(PS_ERR_UNKNOWN, "shard: no job number %u", r->h.job);
    return PS_OK;
}

static ps_status is_coordinator(struct psd_request *r)
{
    if (r->h.session != r->shard->options.control)
        return ps_fail(PS_ERR_DENIED,
                       "shard: %s from somebody else than the coordinator",
                       ps_kind_name(r->h.kind));
    r->shard->coordinator = r->in->route;
    return PS_OK;
}

/* Who may send what, and what is done with it. */
struct rule {
    uint32_t kind;
    ps_status (*check)(struct psd_request *r);
    ps_status (*run)(struct psd_request *r);
};

static const struct rule rules[] = {
    { PS_MSG_PUSH, find_job, psd_push_run },
    { PS_MSG_PULL, find_job, psd_pull_run },
    { PS_MSG_ROWS, find_job, psd_list_run },
    { PS_MSG_JOB, is_coordinator, psd_control_job },
    { PS_MSG_JOB_END, is_coordinator, psd_control_job_end },
    { PS_MSG_MATRIX_ADD, is_coordinator, psd_control_matrix },
    { PS_MSG_MEMBERS, is_coordinator, psd_control_members },
    { PS_MSG_STATS, is_coordinator, psd_control_stats },
    { PS_MSG_RESUME, find_job, psd_resume_run },
    { PS_MSG_SETS, is_coordinator, psd_sets_run },
    { PS_MSG_LOAD, is_coordinator, psd_load_run },
    { PS_MSG_SNAPSHOT, is_coordinator, psd_snapshot_run },
    { PS_MSG_KEEP, is_coordinator, psd_keep_run },
};

static ps_status run(struct psd_request *r)
{
    for (size_t i = 0; i < sizeof(rules) / sizeof(rules[0]); i++)
        if (rules[i].kind == r->h.kind) {
            ps_status st = rules[i].check(r);

            return st ? st : rules[i].run(r);
        }
    return ps_fail(PS_ERR_BAD_MESSAGE, "shard: %s is not for a shard",
                   ps_kind_name(r->h.kind));
}

/* Takes the parcel of `r`.  True when a job was touched: *number says which. */
static bool handle_one(struct psd_request r, uint32_t *number)
{
    struct psd_shard *sh = r.shard;
    struct ps_parcel *in = r.in;
    struct ps_outbox *out = r.out;
    struct ps_route   from = in->route;
    ps_status st = ps_wire_decode(sh->decoder, in->head->data, in->head->len, &r.h);

    if (st) {
        sh->counters.bad_messages++;
        /* Another version was read far enough to be answered. */
        if (st == PS_ERR_PROTOCOL)
            psd_shard_refuse(sh, &from, r.h.request, st, out);
        ps_parcel_drop(in);
        return false;
    }
    st = run(&r);
    if (st) {
        if (r.job)
            r.job->stats.refused++;
        psd_shard_refuse(sh, &from, r.h.request, st, out);
    }
    ps_parcel_drop(in);
    psd_scratch_reset(&sh->scratch);
    *number = r.h.job;
    return true;
}

static void look_at_waiting(struct psd_shard *sh, struct psd_job *job, uint64_t now_ns,
                            struct ps_outbox *out)
{
    struct psd_waiting_list list = psd_waiting_take(job);
    uint32_t                number;

    /* What still has to wait parks itself again, in the same order. */
    for (size_t i = 0; i < list.n; i++)
        handle_one((struct psd_request){ .shard = sh,
                                         .in = &list.items[i].parcel,
                                         .out = out,
                                         .now_ns = now_ns,
                                         .again = true,
                                         .deadline_ns = list.items[i].deadline_ns },
                   &number);
    free(list.items);
}

/* More has happened than that pushes were taken. */
static bool has_stirred(const struct psd_job *job)
{
    return job->membership_epoch != job->looked_epoch ||
           job->stirs != job->looked_stirs;
}

static bool is_to_be_looked_at(const struct psd_job *job)
{
    return job->version != job->looked_version || has_stirred(job);
}

/* Closes what can be closed, each iteration captured before anything else moves. */
static void close_iterations(struct psd_shard *sh, struct psd_job *job, uint64_t now_ns)
{
    while (psd_gate_may_close(job->gate) && !psd_saver_blocks(job)) {
        if (psd_apply_close(job, sh->options.backend))
            return; /* no memory: the iteration stays open until the next message */
        psd_saver_closed(job, now_ns);
    }
}

static bool may_go_on(const struct psd_job *job)
{
    return (psd_gate_may_close(job->gate) && !psd_saver_blocks(job)) ||
           is_to_be_looked_at(job);
}

void psd_shard_settle(struct psd_shard *sh, struct psd_job *job, uint64_t now_ns,
                      struct ps_outbox *out)
{
    do {
        close_iterations(sh, job, now_ns);
        if (psd_gate_may_wake(job->gate))
            psd_job_wake(job);
        if (is_to_be_looked_at(job)) {
            bool any = has_stirred(job) || psd_waiting_may_go(job);

            job->looked_version = job->version;
            job->looked_epoch = job->membership_epoch;
            job->looked_stirs = job->stirs;
            if (any)
                look_at_waiting(sh, job, now_ns, out);
        } else {
            break;
        }
    } while (may_go_on(job));
    psd_saver_look(job, now_ns);
    psd_snapshot_sweep(job, out);
}

void psd_shard_handle(struct psd_shard *sh, uint64_t now_ns, struct ps_parcel *in,
                      struct ps_outbox *out)
{
    uint32_t        number;
    struct psd_job *job;

    if (!handle_one(
            (struct psd_request){ .shard = sh, .in = in, .out = out, .now_ns = now_ns },
            &number))
        return;
    job = psd_shard_job(sh, number);
    if (job)
        psd_shard_settle(sh, job, now_ns, out);
}

/* Everybody has pushed, but the iteration is not closed yet. */
static bool waits_for_disk(const struct psd_job *job)
{
    return psd_gate_may_close(job->gate) && psd_saver_blocks(job);
}

static void give_up_waiting(struct psd_job *job, uint64_t now_ns, struct ps_outbox *out)
{
    char        missing[PS_TEXT_BYTES], restless[PS_TEXT_BYTES], disk[PS_TEXT_BYTES];
    const char *why = NULL;
    size_t      kept = 0;

    psd_job_say_missing(job, missing, sizeof(missing));
    psd_job_say_restless(job, restless, sizeof(restless));
    snprintf(disk, sizeof(disk), "job %s: what was pushed waits for the disk",
             job->spec.name);
    for (size_t i = 0; i < job->waiting.n; i++) {
        struct psd_waiting *w = &job->waiting.items[i];

        if (w->deadline_ns > now_ns) {
            job->waiting.items[kept++] = *w;
            continue;
        }
        why = w->reason == PSD_FOR_DISK || waits_for_disk(job) ? disk
              : w->rest_seq                                    ? restless
                                                               : missing;
        tell(&w->parcel.route, PS_MSG_ERROR, w->request, PS_ERR_TIMEOUT, why, out);
        if (w->rest_seq && w->reason != PSD_FOR_DISK &&
            w->session == job->seats[w->rank].session)
            psd_job_rouse(job, w->rank, w->rest_seq);
        psd_waiting_forget(job, i);
    }
    if (why)
        ps_log(PS_LOG_WARN, "%s", why);
    psd_waiting_keep(job, kept);
}

void psd_shard_tick(struct psd_shard *sh, uint64_t now_ns, struct ps_outbox *out)
{
    for (size_t i = 0; i < sh->n_jobs; i++) {
        if (psd_waiting_deadline(sh->jobs[i]) <= now_ns)
            give_up_waiting(sh->jobs[i], now_ns, out);
        if (is_to_be_looked_at(sh->jobs[i]))
            psd_shard_settle(sh, sh->jobs[i], now_ns, out);
        psd_saver_look(sh->jobs[i], now_ns);
    }
}

uint64_t psd_shard_next_tick(const struct psd_shard *sh)
{
    uint64_t first = UINT64_MAX;

    for (size_t i = 0; i < sh->n_jobs; i++) {
        uint64_t deadline = psd_waiting_deadline(sh->jobs[i]);
        uint64_t look =
            is_to_be_looked_at(sh->jobs[i]) ? 0 : psd_saver_next_look(sh->jobs[i]);

        if (deadline < first)
            first = deadline;
        if (look < first)
            first = look;
    }
    return first;
}

static void close_job(const struct psd_job *job, const char *why, struct ps_outbox *out)
{
    for (size_t i = 0; i < job->waiting.n; i++)
        tell(&job->waiting.items[i].parcel.route, PS_MSG_ERROR,
             job->waiting.items[i].request, PS_ERR_CLOSING, why, out);
    for (uint32_t r = 0; r < job->spec.workers; r++)
        if (job->seats[r].heard && job->seats[r].state == PS_MEMBER_ACTIVE)
            tell(&job->seats[r].route, PS_MSG_NOTICE, 0, PS_ERR_CLOSING, why, out);
}

void psd_shard_close(struct psd_shard *sh, const char *why, struct ps_outbox *out)
{
    for (size_t i = 0; i < sh->n_jobs; i++)
        close_job(sh->jobs[i], why, out);
}
