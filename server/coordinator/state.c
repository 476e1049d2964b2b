/*
 * state.c - what of the coordinator survives the end of its process, as bytes.
 *
 *     magic | what must survive | what would be a pity to lose | FNV-1a of all of it
 *
 * One description serves both directions: a *tape* is written from a coordinator, or
 * read into one.  Settings and maps are on it as messages, so that the wire's checks
 * are the checks of what is read.  All numbers take 8 bytes, little-endian.
 *
 * The second part (clocks, traffic, ages) changes with every beat and is no reason to
 * write; it is as old as the last change of the first part.
 *
 * A restored coordinator has lost its own shards, so their jobs go back or fail; the
 * psds that had joined are taken as being there, and workers as well, until they have
 * been silent for as long as anybody may be.
 */
#include "server/coordinator/coordinator_private.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define MAGIC UINT64_C(0x3165746174737370) /* "psstate1" */
#define REQUESTS_OF_A_START 32             /* bits */

/* Reports that came after the last writing have numbers below this one. */
#define REPORTS_OF_A_START (UINT64_C(1) << 40)

struct tape {
    bool               reading;
    ps_status          status; /* the first failure; from then on nothing happens */
    uint8_t           *bytes;
    size_t             at, n; /* reading: of n; writing: room for n */
    struct ps_decoder *decoder;
};

/* Fowler, Noll and Vo's hash 1a: against accidents of a disk, not against anybody. */
static uint64_t check_sum_of(const void *bytes, size_t n)
{
    const uint8_t *p = bytes;
    uint64_t       sum = UINT64_C(0xcbf29ce484222325);

    for (size_t i = 0; i < n; i++)
        sum = (sum ^ p[i]) * UINT64_C(0x100000001b3);
    return sum;
}

/* ---- the tape -------------------------------------------------------------------- */

static void damaged(struct tape *t, const char *what)
{
    if (!t->status)
        t->status = ps_fail(PS_ERR_DATA, "coordinator's state: damaged at byte %zu: %s",
                            t->at, what);
}

static void grow(struct tape *t, size_t more)
{
    size_t   room = t->n ? t->n : 4096;
    uint8_t *grown;

    while (room < t->at + more)
        room *= 2;
    if (room == t->n)
        return;
    grown = realloc(t->bytes, room);
    if (!grown) {
        t->status = ps_fail(PS_ERR_NO_MEMORY,
                            "coordinator's state: no memory for %zu "
                            "bytes",
                            room);
        return;
    }
    t->bytes = grown;
    t->n = room;
}

static void raw(struct tape *t, void *bytes, size_t n)
{
    if (t->status)
        return;
    if (t->reading && n > t->n - t->at)
        damaged(t, "it ends");
    else if (!t->reading)
        grow(t, n);
    if (t->status)
        return;
    if (t->reading)
        memcpy(bytes, t->bytes + t->at, n);
    else
        memcpy(t->bytes + t->at, bytes, n);
    t->at += n;
}

static void word(struct tape *t, uint64_t *value)
{
    uint8_t bytes[8];

    for (unsigned i = 0; i < 8; i++)
        bytes[i] = (uint8_t)(*value >> (8 * i));
    raw(t, bytes, sizeof(bytes));
    if (t->status || !t->reading)
        return;
    *value = 0;
    for (unsigned i = 0; i < 8; i++)
        *value |= (uint64_t)bytes[i] << (8 * i);
}

static void number(struct tape *t, uint32_t *value, uint32_t most)
{
    uint64_t wide = *value;

    word(t, &wide);
    if (t->reading && wide > most)
        damaged(t, "a number is out of its range");
    *value = t->status ? 0 : (uint32_t)wide;
}

static void flag(struct tape *t, bool *value)
{
    uint32_t bit = *value;

    number(t, &bit, 1);
    *value = bit;
}

static void text(struct tape *t, char *value, size_t room)
{
    uint32_t n = t->reading ? 0 : (uint32_t)strlen(value);

    number(t, &n, (uint32_t)room - 1);
    raw(t, value, t->status ? 0 : n);
    if (t->reading)
        value[t->status ? 0 : n] = '\0';
}

/* Room for n of them, when it is read. */
static void *array(struct tape *t, void *here, size_t n, size_t size)
{
    if (!t->reading)
        return here;
    here = calloc(n + 1, size);
    if (!here && !t->status)
        t->status = ps_fail(PS_ERR_NO_MEMORY, "coordinator's state: no memory");
    return here;
}

/* Reading: `h` is lent until the next one. */
static void message(struct tape *t, struct ps_header *h, uint32_t kind)
{
    struct ps_buf *head = NULL;
    uint32_t       n = 0;

    if (t->status)
        return;
    h->kind = kind;
    if (!t->reading && (t->status = ps_wire_encode(h, &head)) == PS_OK)
        n = (uint32_t)head->len;
    number(t, &n, PS_HEADER_BYTES);
    if (!t->status && t->reading && n > t->n - t->at)
        damaged(t, "it ends");
    if (!t->status && !t->reading) {
        raw(t, head->data, n);
    } else if (!t->status) {
        if (ps_wire_decode(t->decoder, t->bytes + t->at, n, h) || h->kind != kind)
            damaged(t, "a message cannot be read");
        t->at += n;
    }
    ps_buf_drop(&head);
}

/* ---- psds ------------------------------------------------------------------------ */

static void server_tape(struct tape *t, struct coord_server *server)
{
    text(t, server->host, sizeof(server->host));
    word(t, &server->pid);
    word(t, &server->control);
    flag(t, &server->joined);
    flag(t, &server->lost);
    flag(t, &server->parted);
    flag(t, &server->replaced);
    number(t, &server->first_shard, PS_SHARDS_MAX - 1);
    number(t, &server->n_shards, PS_SHARDS_MAX - server->first_shard);
}

static void servers_tape(struct tape *t, struct psd_coordinator *c)
{
    number(t, &c->n_servers, PS_SHARDS_MAX);
    for (uint32_t i = 0; i < c->n_servers; i++)
        server_tape(t, &c->servers[i]);
    number(t, &c->n_shards, PS_SHARDS_MAX);
    for (uint32_t i = 0; i < c->n_shards; i++) {
        text(t, c->shards[i].endpoint, sizeof(c->shards[i].endpoint));
        number(t, &c->shards[i].server, c->n_servers ? c->n_servers - 1 : 0);
        flag(t, &c->shards[i].lost);
    }
    if (c->n_shards > 0 && c->n_servers == 0)
        damaged(t, "shards of no psd");
    for (uint32_t i = 0; i < c->n_servers && !t->status; i++)
        if (c->servers[i].first_shard + c->servers[i].n_shards > c->n_shards)
            damaged(t, "a psd has shards that are not there");
}

/* ---- jobs ------------------------------------------------------------------------ */

static void traffic_tape(struct tape *t, struct ps_traffic *traffic)
{
    word(t, &traffic->samples);
    word(t, &traffic->bytes_pushed);
    word(t, &traffic->bytes_pulled);
    word(t, &traffic->bytes_pushed_raw);
    word(t, &traffic->bytes_pulled_raw);
    word(t, &traffic->pushes);
    word(t, &traffic->pulls);
    word(t, &traffic->retries);
}

static void member_tape(struct tape *t, struct coord_member *m, uint32_t rank)
{
    m->rank = rank;
    number(t, &m->incarnation, UINT32_MAX);
    number(t, &m->state, PS_MEMBER_LOST);
    flag(t, &m->silent);
    flag(t, &m->begins);
    word(t, &m->start);
    word(t, &m->epochs);
    word(t, &m->session);
    word(t, &m->pid);
    word(t, &m->hello);
    text(t, m->host, sizeof(m->host));
    if (m->state < PS_MEMBER_EXPECTED ||
        (m->state == PS_MEMBER_ACTIVE && m->session == 0))
        damaged(t, "a member without a state");
}

static void members_tape(struct tape *t, struct coord_job *job)
{
    job->members =
        array(t, job->members, job->spec.workers, sizeof(struct coord_member));
    job->observers =
        array(t, job->observers, COORD_OBSERVERS_MAX, sizeof(struct coord_member));
    for (uint32_t r = 0; r < job->spec.workers && !t->status; r++)
        member_tape(t, &job->members[r], r);
    number(t, &job->n_observers, COORD_OBSERVERS_MAX);
    for (uint32_t i = 0; i < job->n_observers && !t->status; i++)
        member_tape(t, &job->observers[i], COORD_OBSERVER_RANK);
}

/* Not one that is not ready: who asked for it asks again. */
static void matrix_tape(struct tape *t, struct coord_matrix *m)
{
    struct ps_header h = {
        .n_matrices = 1,
        .matrices = &m->spec,
        .n_slot_runs = m->n_runs,
        .slot_runs = m->runs,
    };

    message(t, &h, PS_MSG_MATRIX_ADD);
    if (t->status || !t->reading)
        return;
    m->spec = h.matrices[0];
    m->ready = true;
    m->n_runs = h.n_slot_runs;
    m->runs = array(t, NULL, m->n_runs, sizeof(*m->runs));
    if (m->runs)
        memcpy(m->runs, h.slot_runs, m->n_runs * sizeof(*m->runs));
}

static void matrices_tape(struct tape *t, struct coord_job *job)
{
    uint32_t n = 0, at = 0;

    for (uint32_t i = 0; i < job->n_matrices; i++)
        n += job->matrices[i]->ready;
    number(t, &n, PS_MATRICES_MAX);
    if (t->reading) {
        job->matrices = array(t, NULL, n, sizeof(struct coord_matrix *));
        job->matrices_room = n + 1;
    }
    for (uint32_t i = 0; i < n && !t->status; i++) {
        if (t->reading) {
            job->matrices[i] = array(t, NULL, 1, sizeof(struct coord_matrix));
            if (t->status)
                return;
            job->n_matrices++;
            at = i;
        } else {
            while (!job->matrices[at]->ready)
                at++;
        }
        matrix_tape(t, job->matrices[at++]);
    }
}

static void spec_tape(struct tape *t, struct coord_job *job)
{
    struct ps_header h = {
        .job = job->number,
        .run = job->run,
        .n_shards = job->n_shards,
        .job_spec = &job->spec,
    };

    message(t, &h, PS_MSG_JOB);
    if (t->status || !t->reading)
        return;
    job->number = h.job;
    job->run = h.run;
    job->n_shards = h.n_shards;
    job->spec = *h.job_spec;
}

static void job_tape(struct tape *t, struct psd_coordinator *c, struct coord_job *job)
{
    uint32_t state = job->state, status = (uint32_t)-job->status;

    spec_tape(t, job);
    word(t, &job->life);
    word(t, &job->epoch);
    number(t, &state, COORD_FAILED);
    number(t, &status, 255);
    text(t, job->why, sizeof(job->why));
    flag(t, &job->created);
    flag(t, &job->dropping);
    flag(t, &job->has_set);
    word(t, &job->over_order);
    word(t, &job->membership_epoch);
    word(t, &job->map_epoch);
    number(t, &job->last_matrix, UINT32_MAX);
    for (uint32_t i = 0; i < job->n_shards && !t->status; i++) {
        number(t, &job->shards[i], c->n_shards ? c->n_shards - 1 : 0);
        word(t, &job->load[i]);
    }
    traffic_tape(t, &job->before);
    if (!t->status)
        members_tape(t, job);
    if (!t->status)
        matrices_tape(t, job);
    job->state = (enum coord_state)state;
    job->status = (ps_status) - (int)status;
    if (state < COORD_WAITING || job->n_shards == 0 || c->n_shards == 0)
        damaged(t, "a job without a state or shards");
}

static void jobs_tape(struct tape *t, struct psd_coordinator *c)
{
    uint32_t n = (uint32_t)c->n_jobs;

    number(t, &n, UINT32_MAX);
    for (uint32_t i = 0; i < n && !t->status; i++) {
        if (t->reading && coord_job_restored(c)) {
            t->status = PS_ERR_NO_MEMORY;
            return;
        }
        job_tape(t, c, c->jobs[i]);
    }
}

/* ---- what changes all the time --------------------------------------------------- */

static void saved_tape(struct tape *t, struct coord_saved *saved)
{
    number(t, &saved->n, COORD_SETS_KEPT);
    for (uint32_t i = 0; i < saved->n; i++) {
        struct ps_part *part = &saved->parts[i];

        number(t, &part->index, PS_SHARDS_MAX - 1);
        number(t, &part->n_shards, PS_SHARDS_MAX);
        word(t, &part->set);
        word(t, &part->life);
    }
    word(t, &saved->clock);
}

static void progress_tape(struct tape *t, struct psd_coordinator *c,
                          struct coord_job *job)
{
    uint64_t age_ns = c->real_ns - job->created_ns;
    bool     saved = job->saved != NULL;

    word(t, &age_ns);
    job->created_ns = c->real_ns - age_ns;
    word(t, &job->reports.last);
    for (uint32_t r = 0; r < job->spec.workers; r++) {
        word(t, &job->members[r].clock);
        traffic_tape(t, &job->members[r].traffic);
    }
    flag(t, &saved);
    if (saved)
        job->saved = array(t, job->saved, job->n_shards, sizeof(*job->saved));
    for (uint32_t i = 0; i < job->n_shards && saved && !t->status; i++)
        saved_tape(t, &job->saved[i]);
}

/* Returns where the part ends that must survive. */
static size_t whole_tape(struct tape *t, struct psd_coordinator *c)
{
    uint64_t magic = MAGIC;
    size_t   until;

    word(t, &magic);
    if (magic != MAGIC)
        damaged(t, "it is something else");
    word(t, &c->starts);
    number(t, &c->last_job, UINT32_MAX);
    word(t, &c->last_over);
    word(t, &c->n_secrets);
    servers_tape(t, c);
    jobs_tape(t, c);
    until = t->at;
    for (size_t i = 0; i < c->n_jobs && !t->status; i++)
        progress_tape(t, c, c->jobs[i]);
    return until;
}

/* ---- saving ---------------------------------------------------------------------- */

ps_status psd_coordinator_save(struct psd_coordinator *c, struct ps_buf **out)
{
    struct tape t = { 0 };
    size_t      until;
    uint64_t    digest;

    *out = NULL;
    if (!c->touched)
        return PS_OK;
    until = whole_tape(&t, c);
    digest = t.status ? 0 : check_sum_of(t.bytes, until);
    if (!t.status && digest != c->kept_digest) {
        uint64_t sum = check_sum_of(t.bytes, t.at);

        word(&t, &sum);
        if (!t.status)
            t.status = ps_buf_copy(out, t.bytes, t.at);
    }
    free(t.bytes);
    if (t.status)
        return t.status;
    c->kept_digest = digest;
    c->touched = false;
    return PS_OK;
}

void psd_coordinator_unsaved(struct psd_coordinator *c)
{
    c->kept_digest = 0;
    c->touched = true;
}

/* ---- restoring ------------------------------------------------------------------- */

static void revive_server(struct psd_coordinator *c, struct coord_server *server)
{
    server->heard_ns = c->now_ns;
    if (server->joined)
        return;
    server->lost = server->parted = server->replaced = true;
    for (uint32_t i = 0; i < server->n_shards; i++)
        c->shards[server->first_shard + i].lost = true;
}

static ps_status revive_queue(struct coord_job *job)
{
    struct coord_operation *operation;

    if (job->dropping)
        return coord_job_queue(job, PS_MSG_JOB_END, &operation);
    return job->created ? PS_OK : coord_job_queue(job, PS_MSG_JOB, &operation);
}

static const char *lost_shard(const struct psd_coordinator *c,
                              const struct coord_job *job, char why[PS_TEXT_BYTES])
{
    for (uint32_t i = 0; i < job->n_shards; i++) {
        if (!c->shards[job->shards[i]].lost)
            continue;
        snprintf(why, PS_TEXT_BYTES, "shard %u at %s: its psd was started again",
                 job->shards[i], c->shards[job->shards[i]].endpoint);
        return why;
    }
    return NULL;
}

static void revive_shards(struct psd_coordinator *c, struct coord_job *job)
{
    char        text[PS_TEXT_BYTES];
    const char *why = lost_shard(c, job, text);

    if (job->dropping || coord_job_over(job))
        return;
    if (!why && job->state == COORD_RECOVERING)
        why = "the coordinator was started again";
    if (!why)
        return;
    if (job->created && ps_job_is_saved(&job->spec))
        coord_recovery_begin(c, job, why);
    else
        coord_job_end(c, job, COORD_FAILED, PS_ERR_UNAVAILABLE, why);
}

static ps_status revive_job(struct psd_coordinator *c, struct coord_job *job)
{
    ps_status st = revive_queue(job);

    if (!st && !job->saved)
        st = coord_saved_begin(job);
    if (st)
        return st;
    job->reports.last += REPORTS_OF_A_START;
    job->idle_ns = job->set_ns = c->now_ns;
    for (uint32_t r = 0; r < job->spec.workers; r++) {
        job->members[r].heard_ns = c->now_ns;
        job->members[r].untold = !coord_job_over(job);
    }
    for (uint32_t i = 0; i < job->n_observers; i++) {
        job->observers[i].heard_ns = c->now_ns;
        job->observers[i].untold = true;
    }
    job->changed = true;
    revive_shards(c, job);
    return PS_OK;
}

static ps_status check_sum(const void *bytes, size_t n)
{
    struct tape t = { .reading = true, .bytes = (uint8_t *)(uintptr_t)bytes, .n = n };
    uint64_t    sum = 0;

    if (n < sizeof(sum))
        damaged(&t, "it ends");
    t.at = n - sizeof(sum);
    word(&t, &sum);
    if (!t.status && sum != check_sum_of(bytes, n - sizeof(sum)))
        damaged(&t, "its check sum is another");
    return t.status;
}

static void forget_all(struct psd_coordinator *c)
{
    for (size_t i = 0; i < c->n_jobs; i++)
        coord_job_free(&c->jobs[i]);
    c->n_jobs = 0;
    c->n_servers = c->n_shards = 0;
}

ps_status psd_coordinator_restore(struct psd_coordinator *c, uint64_t now_ns,
                                  const void *bytes, size_t n)
{
    struct tape t = { .reading = true,
                      .bytes = (uint8_t *)(uintptr_t)bytes, /* only read */
                      .decoder = c->decoder };
    ps_status   st = check_sum(bytes, n);

    if (st)
        return st;
    c->now_ns = c->real_ns = c->ticked_ns = now_ns;
    t.n = n - sizeof(uint64_t);
    whole_tape(&t, c);
    if (!t.status && t.at != t.n)
        damaged(&t, "it goes on");
    st = t.status;
    c->starts++;
    for (uint32_t i = 0; i < c->n_servers && !st; i++)
        revive_server(c, &c->servers[i]);
    for (size_t i = 0; i < c->n_jobs && !st; i++)
        st = revive_job(c, c->jobs[i]);
    if (st) {
        forget_all(c);
        return st;
    }
    c->next_request = (c->starts << REQUESTS_OF_A_START) + 1;
    c->touched = true;
    return PS_OK;
}
