/* reports.c - the run record of a job: what its workers reported, in order of
 * arrival, the last COORD_REPORTS_KEPT of them. */
#include "server/coordinator/coordinator_private.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* So that the header holds them beside PS_REPORTS_MAX reports with long names. */
#define WATCH_MEMBERS 128u

void coord_reports_free(struct coord_reports *reports)
{
    free(reports->ring);
    free(reports->metrics);
    *reports = (struct coord_reports){ 0 };
}

/* The number of a metric's name in the table, where it is put if it is new. */
static ps_status metric_number(struct coord_job *job, const char *name,
                               uint32_t *number)
{
    struct coord_reports *reports = &job->reports;

    for (*number = 0; *number < reports->n_metrics; ++*number)
        if (!strcmp(reports->metrics[*number], name))
            return PS_OK;
    if (reports->n_metrics == COORD_METRICS_MAX)
        return ps_fail(PS_ERR_LIMIT,
                       "job %s: report of %s, a job may have at most %u "
                       "different names",
                       job->spec.name, name, COORD_METRICS_MAX);
    if (!reports->metrics &&
        !(reports->metrics = calloc(COORD_METRICS_MAX, sizeof(*reports->metrics))))
        return ps_fail(PS_ERR_NO_MEMORY, "job %s: no memory for reports",
                       job->spec.name);
    snprintf(reports->metrics[reports->n_metrics++], PS_NAME_BYTES, "%s", name);
    return PS_OK;
}

/* Room for `more` records: twice as many until the ring has its full size, from where
 * on the oldest make way. */
static ps_status make_room(struct coord_job *job, uint32_t more)
{
    struct coord_reports *reports = &job->reports;
    uint32_t              room = reports->room ? reports->room : PS_REPORTS_MAX;
    struct coord_record  *grown;

    while (room < COORD_REPORTS_KEPT && room < reports->n + more)
        room *= 2;
    if (room == reports->room)
        return PS_OK;
    grown = calloc(room, sizeof(*grown));
    if (!grown)
        return ps_fail(PS_ERR_NO_MEMORY, "job %s: no memory for %u reports",
                       job->spec.name, room);
    for (uint64_t k = reports->last - reports->n + 1; k <= reports->last; k++)
        grown[k % room] = reports->ring[k % reports->room];
    free(reports->ring);
    reports->ring = grown;
    reports->room = room;
    return PS_OK;
}

static void append(struct coord_reports *reports, const struct coord_record *record)
{
    reports->last++;
    reports->ring[reports->last % reports->room] = *record;
    if (reports->n < reports->room)
        reports->n++;
}

static ps_status take_reports(struct psd_coordinator *c, struct coord_job *job,
                              uint32_t rank, const struct ps_header *h)
{
    uint32_t  metrics[PS_REPORTS_MAX];
    ps_status st = PS_OK;

    for (uint32_t i = 0; i < h->n_reports && !st; i++)
        st = metric_number(job, h->reports[i].name, &metrics[i]);
    if (!st)
        st = make_room(job, h->n_reports);
    if (st)
        return st;
    for (uint32_t i = 0; i < h->n_reports; i++)
        append(&job->reports, &(struct coord_record){
                                  .clock = h->reports[i].clock,
                                  .time_us = (c->real_ns - job->created_ns) / 1000,
                                  .rank = rank,
                                  .metric = metrics[i],
                                  .value = h->reports[i].value,
                              });
    return PS_OK;
}

ps_status coord_report(struct psd_coordinator *c, const struct coord_request *r)
{
    struct coord_job    *job;
    struct coord_member *m;
    ps_status            st = coord_member_find(c, r, &job, &m);

    if (st)
        return st;
    if (r->h->seq == 0)
        return ps_fail(PS_ERR_BAD_MESSAGE, "job %s: report without a sequence number",
                       job->spec.name);
    if (r->h->seq > m->report_seq) {
        st = take_reports(c, job, m->rank, r->h);
        if (st)
            return st;
        m->report_seq = r->h->seq;
    }
    coord_answer_ok(c, &r->asker);
    return PS_OK;
}

/* ---- watching ---------------------------------------------------------------- */

void coord_traffic_add(struct ps_traffic *sum, const struct ps_traffic *t)
{
    sum->samples += t->samples;
    sum->bytes_pushed += t->bytes_pushed;
    sum->bytes_pulled += t->bytes_pulled;
    sum->bytes_pushed_raw += t->bytes_pushed_raw;
    sum->bytes_pulled_raw += t->bytes_pulled_raw;
    sum->pushes += t->pushes;
    sum->pulls += t->pulls;
    sum->retries += t->retries;
}

struct ps_traffic coord_job_traffic(const struct coord_job *job)
{
    struct ps_traffic sum = job->before;

    for (uint32_t r = 0; r < job->spec.workers; r++)
        coord_traffic_add(&sum, &job->members[r].traffic);
    return sum;
}

static uint32_t reports_after(const struct coord_reports *reports, uint64_t after,
                              struct ps_report_record out[PS_REPORTS_MAX])
{
    uint64_t oldest = reports->last - reports->n + 1;
    uint32_t n = 0;

    if (after >= reports->last)
        return 0;
    for (uint64_t k = after < oldest ? oldest : after + 1;
         k <= reports->last && n < PS_REPORTS_MAX; k++) {
        const struct coord_record *record = &reports->ring[k % reports->room];

        out[n] = (struct ps_report_record){
            .number = k,
            .clock = record->clock,
            .time_us = record->time_us,
            .rank = record->rank,
            .value = record->value,
        };
        memcpy(out[n++].name, reports->metrics[record->metric], PS_NAME_BYTES);
    }
    return n;
}

ps_status coord_watch(struct psd_coordinator *c, const struct coord_request *r)
{
    struct ps_report_record reports[PS_REPORTS_MAX];
    struct ps_member        members[WATCH_MEMBERS];
    struct ps_header        h = { .kind = PS_MSG_WATCH_OK };
    struct ps_traffic       traffic;
    struct coord_job       *job;
    ps_status               st = coord_check_token(c, r->h->token);

    if (st)
        return st;
    job = coord_job_find(c, r->h->name);
    if (!job) {
        char why[PS_TEXT_BYTES];

        /* Ordinary for one who waits for a job to begin: not worth a line. */
        snprintf(why, sizeof(why), "job %s: not known here", r->h->name);
        coord_answer_error(c, &r->asker, PS_ERR_UNKNOWN, why);
        return PS_OK;
    }
    traffic = coord_job_traffic(job);
    h.job = job->number;
    h.name = job->spec.name;
    h.text = coord_job_word(job);
    h.clock = coord_job_clock(job);
    h.job_spec = &job->spec;
    h.traffic = &traffic;
    h.n_reports = reports_after(&job->reports, r->h->after, reports);
    h.reports = reports;
    for (uint32_t i = 0; i < job->spec.workers && i < WATCH_MEMBERS; i++)
        members[h.n_members++] = coord_member_view(job, &job->members[i], false);
    h.members = members;
    coord_answer(c, &r->asker, &h, NULL, 0);
    return PS_OK;
}
