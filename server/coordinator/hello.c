/* hello.c - the workers and observers of a job: coming. */
#include "server/coordinator/coordinator_private.h"

#include <stdio.h>
#include <string.h>

static bool same_hello(const struct coord_member *m, const struct coord_request *r)
{
    char host[PS_NAME_BYTES];

    snprintf(host, sizeof(host), "%.127s", r->h->text);
    return m->state == PS_MEMBER_ACTIVE && m->hello == r->asker.request &&
           m->pid == r->h->pid && !strcmp(m->host, host);
}

static void admit(struct psd_coordinator *c, struct coord_job *job,
                  struct coord_member *m, const struct coord_request *r)
{
    coord_traffic_add(&job->before, &m->traffic);
    *m = (struct coord_member){
        .rank = m->rank,
        .incarnation = m->incarnation + 1,
        .state = PS_MEMBER_ACTIVE,
        .untold = true,
        .begins = m->rank != COORD_OBSERVER_RANK,
        .session = coord_secret(c),
        .route = r->asker.route,
        .pid = r->h->pid,
        .hello = r->asker.request,
        .heard_ns = c->now_ns,
    };
    snprintf(m->host, sizeof(m->host), "%.127s", r->h->text);
    job->changed = true;
}

static ps_status rank_taken(const struct coord_job *job, const struct coord_member *m)
{
    return ps_fail(PS_ERR_RANK, "rank %u of job %s is taken by pid %ju on %s", m->rank,
                   job->spec.name, (uintmax_t)m->pid, m->host);
}

/* A job that is over makes way; so does one that nobody is in when a rank that has
 * left comes again, which is the start of another run. */
static bool makes_way(const struct coord_job *job, uint32_t rank)
{
    if (coord_job_over(job))
        return true;
    for (uint32_t r = 0; r < job->spec.workers; r++)
        if (job->members[r].state == PS_MEMBER_ACTIVE)
            return false;
    return rank < job->spec.workers && job->members[rank].state == PS_MEMBER_LEFT;
}

static ps_status check_hello(const struct ps_header *h)
{
    if (!h->job_spec || strcmp(h->job_spec->name, h->name) != 0)
        return ps_fail(PS_ERR_BAD_MESSAGE,
                       "hello: for job \"%s\", expected the same "
                       "name and a complete job_spec",
                       h->name);
    if (h->rank >= h->job_spec->workers)
        return ps_fail(PS_ERR_RANK,
                       "rank %u of job %s: expected 0 to %u, it has %u "
                       "workers",
                       h->rank, h->name, h->job_spec->workers - 1,
                       h->job_spec->workers);
    return PS_OK;
}

static ps_status find_or_create(struct psd_coordinator *c, const struct ps_header *h,
                                struct coord_job **out)
{
    *out = coord_job_find(c, h->name);
    if (*out && makes_way(*out, h->rank)) {
        char why[PS_TEXT_BYTES];

        snprintf(why, sizeof(why), "job %s: another run of it has begun", h->name);
        coord_job_drop(c, *out, PS_ERR_UNKNOWN, why);
        *out = NULL;
    }
    return *out ? ps_job_spec_same(h->job_spec, &(*out)->spec)
                : coord_job_new(c, h->job_spec, out);
}

static ps_status hello_worker(struct psd_coordinator *c, const struct coord_request *r)
{
    struct coord_asker   asker = r->asker;
    struct coord_job    *job;
    struct coord_member *m;
    ps_status            st = check_hello(r->h);

    if (!st)
        st = find_or_create(c, r->h, &job);
    if (st)
        return st;
    m = &job->members[r->h->rank];
    if (m->state != PS_MEMBER_ACTIVE) {
        admit(c, job, m, r);
        ps_log(PS_LOG_INFO, "worker %u of job %s: joined%s from %s, pid %ju", m->rank,
               job->spec.name, m->incarnation > 1 ? " again" : "", m->host,
               (uintmax_t)m->pid);
    } else if (!same_hello(m, r)) {
        return rank_taken(job, m);
    }
    m->heard_ns = c->now_ns; /* until it is welcome it has no other way to say so */
    m->route = r->asker.route;
    asker.rank = m->rank;
    asker.session = m->session;
    st = coord_answer_when_told(c, job, m, &asker);
    /* It is in, so without memory to note that it waits it is not refused: it says
     * hello again under the same number. */
    return st == PS_ERR_NO_MEMORY ? PS_OK : st;
}

/* One that was here before the job went back: it goes on as who it was. */
static ps_status hello_again(struct psd_coordinator *c, const struct coord_request *r)
{
    struct coord_asker   asker = r->asker;
    struct coord_job    *job;
    struct coord_member *m;
    ps_status            st;

    job = coord_job_at(c, r->h->job);
    if (!job || strcmp(job->spec.name, r->h->name) != 0)
        return ps_fail(PS_ERR_UNKNOWN, "job %s: not known here by number %u",
                       r->h->name, r->h->job);
    st = coord_member_find(c, r, &job, &m);
    if (!st)
        st = coord_member_check(job, m);
    if (st)
        return st;
    asker.rank = m->rank;
    asker.session = m->session;
    return coord_answer_when_told(c, job, m, &asker);
}

static struct coord_member *known_observer(struct coord_job           *job,
                                           const struct coord_request *r)
{
    for (uint32_t i = 0; i < job->n_observers; i++)
        if (same_hello(&job->observers[i], r))
            return &job->observers[i];
    return NULL;
}

static ps_status hello_observer(struct psd_coordinator     *c,
                                const struct coord_request *r)
{
    struct coord_asker asker = r->asker;
    struct coord_job  *job =
        r->h->session ? coord_job_at(c, r->h->job) : coord_job_find(c, r->h->name);
    struct coord_member *m;

    if (!job || strcmp(job->spec.name, r->h->name) != 0)
        return ps_fail(PS_ERR_UNKNOWN, "job %s: not known here", r->h->name);
    if (job->status)
        return ps_fail(job->status, "%s", job->why);
    m = known_observer(job, r);
    if (!m) {
        if (job->n_observers == COORD_OBSERVERS_MAX)
            return ps_fail(PS_ERR_LIMIT, "job %s: %u observers are there already",
                           job->spec.name, COORD_OBSERVERS_MAX);
        m = &job->observers[job->n_observers++];
        *m = (struct coord_member){ .rank = COORD_OBSERVER_RANK };
        admit(c, job, m, r);
        ps_log(PS_LOG_INFO, "job %s: observed from %s, pid %ju", job->spec.name,
               m->host, (uintmax_t)m->pid);
    }
    m->route = r->asker.route;
    asker.rank = m->rank;
    asker.session = m->session;
    return coord_answer_when_told(c, job, m, &asker);
}

ps_status coord_hello(struct psd_coordinator *c, const struct coord_request *r)
{
    ps_status st = coord_check_token(c, r->h->token);

    if (st)
        return st;
    if (r->h->flags & PS_FLAG_OBSERVER)
        return hello_observer(c, r);
    return r->h->session ? hello_again(c, r) : hello_worker(c, r);
}
