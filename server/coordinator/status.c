/* status.c - the cluster as JSON, for psctl and psexp.  The shards are asked for their
 * accounts first; requests that come meanwhile share the round. */
#include "server/coordinator/coordinator_private.h"

#include <inttypes.h>
#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define STATUS_SCHEMA_VERSION 1

ps_status coord_stats_compose(struct psd_coordinator *c,
                              struct coord_operation *operation)
{
    for (uint32_t i = 0; i < c->n_shards; i++) {
        struct ps_header h = { .server_epoch = c->options.server_epoch };
        ps_status        st;

        if (c->shards[i].lost)
            continue;
        st = coord_operation_call(c, operation, i, &h);
        if (st)
            return st;
    }
    return PS_OK;
}

ps_status coord_stats_take(struct coord_shard *shard, const struct ps_header *h)
{
    struct ps_job_stats *stats = calloc(h->n_job_stats + 1, sizeof(*stats));

    if (!stats)
        return ps_fail(PS_ERR_NO_MEMORY,
                       "coordinator: no memory for accounts of %u "
                       "jobs",
                       h->n_job_stats);
    free(shard->stats);
    shard->stats = stats;
    shard->n_stats = 0;
    for (uint32_t i = 0; i < h->n_job_stats; i++) {
        const struct ps_job_stats *one = &h->job_stats[i];

        if (one->job == 0) { /* the shard's own account */
            shard->denied = one->refused;
            shard->bad_messages = one->skipped;
        } else if (one->matrix == 0) {
            stats[shard->n_stats++] = *one;
        }
    }
    shard->matrix_stats = stats + shard->n_stats;
    shard->n_matrix_stats = 0;
    for (uint32_t i = 0; i < h->n_job_stats; i++)
        if (h->job_stats[i].job != 0 && h->job_stats[i].matrix != 0)
            shard->matrix_stats[shard->n_matrix_stats++] = h->job_stats[i];
    return PS_OK;
}

ps_status coord_status(struct psd_coordinator *c, const struct coord_request *r)
{
    struct coord_operation *round = NULL;
    ps_status               st = coord_check_token(c, r->h->token);

    if (st)
        return st;
    if (c->stats)
        return coord_operation_ask(c->stats, &r->asker);
    st = coord_operation_new(&round, PS_MSG_STATS);
    if (!st)
        st = coord_operation_ask(round, &r->asker);
    if (!st)
        st = coord_stats_compose(c, round);
    if (st) {
        coord_operation_free(&round);
        return st;
    }
    c->stats = round;
    coord_operation_send(c, round);
    return PS_OK;
}

/* ---- the text ---------------------------------------------------------------- */

static json_t *number(uint64_t value)
{
    return json_integer((json_int_t)value);
}

/* JSON is UTF-8; what a peer calls its host may not be. */
static json_t *text(const char *value)
{
    json_t *string = json_string(value);
    char    plain[PS_TEXT_BYTES];

    if (string)
        return string;
    snprintf(plain, sizeof(plain), "%s", value);
    for (char *p = plain; *p; p++)
        if ((unsigned char)*p >= 0x80)
            *p = '?';
    return json_string(plain);
}

static json_t *server_json(const struct coord_server *server)
{
    json_t *numbers = json_array();

    for (uint32_t i = 0; i < server->n_shards; i++)
        json_array_append_new(numbers, number(server->first_shard + i));
    return json_pack("{s:o, s:o, s:s, s:o}", "host", text(server->host), "pid",
                     number(server->pid), "state", server->lost ? "lost" : "up",
                     "shards", numbers);
}

static void add_stats(struct ps_job_stats *sum, const struct ps_job_stats *s)
{
    sum->version += s->version;
    sum->bytes += s->bytes;
    sum->state_bytes += s->state_bytes;
    sum->allocated_bytes += s->allocated_bytes;
    sum->rows += s->rows;
    sum->evicted += s->evicted;
    sum->pushes += s->pushes;
    sum->pulls += s->pulls;
    sum->repeated += s->repeated;
    sum->refused += s->refused;
    sum->skipped += s->skipped;
    sum->late += s->late;
    if (s->batches > sum->batches)
        sum->batches = s->batches; /* every shard takes note of all of them */
    sum->waiting += s->waiting;
    sum->save_failures += s->save_failures;
    sum->staleness_sum += s->staleness_sum;
    if (s->staleness_max > sum->staleness_max)
        sum->staleness_max = s->staleness_max;
}

static struct ps_job_stats sum_of(const struct coord_shard *shard)
{
    struct ps_job_stats sum = { 0 };

    for (uint32_t i = 0; i < shard->n_stats; i++)
        add_stats(&sum, &shard->stats[i]);
    return sum;
}

static json_t *shard_json(const struct coord_shard *shard, uint32_t i)
{
    struct ps_job_stats sum = sum_of(shard);

    return json_pack(
        "{s:o, s:o, s:s, s:o, s:o, s:o, s:o, s:o, s:o, s:o, s:o, s:o, s:o, "
        "s:o, s:o, s:o}",
        "shard", number(i), "endpoint", text(shard->endpoint), "state",
        shard->lost ? "lost" : "up", "jobs", number(shard->n_stats), "parameter_bytes",
        number(sum.bytes), "state_bytes", number(sum.state_bytes), "allocated_bytes",
        number(sum.allocated_bytes), "rows", number(sum.rows), "evicted",
        number(sum.evicted), "pushes", number(sum.pushes), "pulls", number(sum.pulls),
        "repeated", number(sum.repeated), "refused", number(sum.refused), "waiting",
        number(sum.waiting), "bad_messages", number(shard->bad_messages), "denied",
        number(shard->denied));
}

static const char *member_word(uint32_t state)
{
    switch (state) {
    case PS_MEMBER_EXPECTED: return "expected";
    case PS_MEMBER_ACTIVE: return "active";
    case PS_MEMBER_LEFT: return "left";
    default: return "lost";
    }
}

static json_t *member_json(const struct psd_coordinator *c,
                           const struct coord_member    *m)
{
    uint64_t silent_ns = m->state == PS_MEMBER_EXPECTED ? 0 : c->now_ns - m->heard_ns;

    return json_pack(
        "{s:o, s:s, s:o, s:o, s:o, s:o, s:o, s:o, s:o, s:o, s:o, s:o, s:o}", "rank",
        number(m->rank), "state", member_word(m->state), "host", text(m->host), "pid",
        number(m->pid), "incarnation", number(m->incarnation), "clock",
        number(m->clock), "silent_seconds", number(silent_ns / COORD_SECOND_NS),
        "samples", number(m->traffic.samples), "bytes_pushed",
        number(m->traffic.bytes_pushed), "bytes_pulled",
        number(m->traffic.bytes_pulled), "pushes", number(m->traffic.pushes), "pulls",
        number(m->traffic.pulls), "retries", number(m->traffic.retries));
}

/* What the job's shards say of it, added up; the highest staleness is the highest. */
static struct ps_job_stats account_of(const struct psd_coordinator *c,
                                      const struct coord_job       *job)
{
    struct ps_job_stats sum = { 0 };

    for (uint32_t i = 0; i < job->n_shards; i++) {
        const struct coord_shard *shard = &c->shards[job->shards[i]];

        for (uint32_t k = 0; k < shard->n_stats; k++)
            if (shard->stats[k].job == job->number)
                add_stats(&sum, &shard->stats[k]);
    }
    return sum;
}

/* Does every shard of the job tell of the matrix?  *sum is what they say together. */
static bool account_of_matrix(const struct psd_coordinator *c,
                              const struct coord_job *job, uint32_t matrix,
                              struct ps_job_stats *sum)
{
    uint32_t n_told = 0;

    for (uint32_t i = 0; i < job->n_shards; i++) {
        const struct coord_shard *shard = &c->shards[job->shards[i]];

        for (uint32_t k = 0; k < shard->n_matrix_stats; k++)
            if (shard->matrix_stats[k].job == job->number &&
                shard->matrix_stats[k].matrix == matrix) {
                add_stats(sum, &shard->matrix_stats[k]);
                n_told++;
                break;
            }
    }
    return n_told > 0 && n_told == job->n_shards;
}

/* Shards tell of a few hundred matrices of all jobs at most: the list stays short. */
static json_t *matrices_json(const struct psd_coordinator *c,
                             const struct coord_job       *job)
{
    json_t *list = json_array();

    for (uint32_t i = 0; i < job->n_matrices; i++) {
        const struct ps_matrix_spec *spec = &job->matrices[i]->spec;
        struct ps_job_stats          sum = { 0 };

        if (account_of_matrix(c, job, spec->number, &sum))
            json_array_append_new(
                list,
                json_pack("{s:o, s:s, s:s, s:o, s:o, s:o, s:o}", "matrix",
                          text(spec->name), "kind", spec->sparse ? "sparse" : "dense",
                          "dtype", ps_dtype_name(spec->dtype), "rows",
                          number(spec->sparse ? sum.rows : spec->rows), "cols",
                          number(spec->cols), "parameter_bytes", number(sum.bytes),
                          "state_bytes", number(sum.state_bytes)));
    }
    return list;
}

/* Of a job of which none are made: null. */
static json_t *snapshot_json(const struct psd_coordinator *c,
                             const struct coord_job *job, uint64_t failures)
{
    uint64_t set = 0, clock = 0;
    bool     whole = coord_saved_newest(job, &set, &clock);

    if (!ps_job_is_saved(&job->spec))
        return json_null();
    return json_pack(
        "{s:o, s:o, s:o, s:o}", "clock", whole ? number(clock) : json_null(), "set",
        whole ? number(set) : json_null(), "age_seconds",
        whole ? number((c->now_ns - job->set_ns) / COORD_SECOND_NS) : json_null(),
        "failures", number(failures));
}

static json_t *job_json(const struct psd_coordinator *c, const struct coord_job *job)
{
    struct ps_traffic   traffic = coord_job_traffic(job);
    struct ps_job_stats account = account_of(c, job);
    json_t             *members = json_array();
    uint64_t            active = 0, elements = 0;

    for (uint32_t r = 0; r < job->spec.workers; r++) {
        active += job->members[r].state == PS_MEMBER_ACTIVE;
        json_array_append_new(members, member_json(c, &job->members[r]));
    }
    for (uint32_t i = 0; i < job->n_matrices; i++)
        if (!job->matrices[i]->spec.sparse)
            elements += ps_matrix_elements(&job->matrices[i]->spec);
    return json_pack(
        "{s:o, s:o, s:s, s:s, s:o, s:o, s:o, s:o, s:o, s:o, s:o, s:o, s:o, s:o, "
        "s:o, s:o, s:o, s:o, s:o, s:f, s:o, s:o, s:o, s:o, s:o, s:o, s:o, s:o}",
        "job", text(job->spec.name), "number", number(job->number), "state",
        coord_job_word(job), "strategy", ps_strategy_name(job->spec.strategy),
        "workers", number(job->spec.workers), "active", number(active), "clock",
        number(coord_job_clock(job)), "matrices", number(job->n_matrices), "elements",
        number(elements), "parameter_bytes", number(account.bytes), "state_bytes",
        number(account.state_bytes), "allocated_bytes", number(account.allocated_bytes),
        "rows", number(account.rows), "evicted", number(account.evicted), "repeated",
        number(account.repeated), "refused", number(account.refused), "skipped",
        number(account.skipped), "late", number(account.late), "batches",
        number(account.batches), "staleness_mean",
        account.version ? (double)account.staleness_sum / (double)account.version : 0.0,
        "staleness_max", number(account.staleness_max), "samples",
        number(traffic.samples), "bytes_pushed", number(traffic.bytes_pushed),
        "bytes_pulled", number(traffic.bytes_pulled), "age_seconds",
        number((c->real_ns - job->created_ns) / COORD_SECOND_NS), "members", members,
        "matrix_accounts", matrices_json(c, job), "snapshot",
        snapshot_json(c, job, account.save_failures));
}

static json_t *cluster_json(const struct psd_coordinator *c)
{
    json_t *servers = json_array(), *shards = json_array(), *jobs = json_array();
    char    epoch[17];

    for (uint32_t i = 0; i < c->n_servers; i++)
        json_array_append_new(servers, server_json(&c->servers[i]));
    for (uint32_t i = 0; i < c->n_shards; i++)
        json_array_append_new(shards, shard_json(&c->shards[i], i));
    for (size_t i = 0; i < c->n_jobs; i++)
        if (!c->jobs[i]->dropping)
            json_array_append_new(jobs, job_json(c, c->jobs[i]));
    snprintf(epoch, sizeof(epoch), "%016" PRIx64, c->options.server_epoch);
    return json_pack(
        "{s:i, s:o, s:o, s:s, s:o, s:o, s:o, s:o, s:o}", "schema_version",
        STATUS_SCHEMA_VERSION, "endpoint", text(c->endpoint), "uptime_seconds",
        number((c->real_ns - c->started_ns) / COORD_SECOND_NS), "server_epoch", epoch,
        "bad_messages", number(c->bad_messages + c->dropped), "denied",
        number(c->denied), "servers", servers, "shards", shards, "jobs", jobs);
}

/* ---- the answer -------------------------------------------------------------- */

static ps_status cut(const char *bytes, size_t n_bytes,
                     struct ps_buf *frames[PS_FRAMES_MAX], uint32_t *n_frames)
{
    if (n_bytes > (size_t)PS_FRAMES_MAX * PS_FRAME_BYTES)
        return ps_fail(PS_ERR_LIMIT, "status: %zu bytes, at most %zu fit a message",
                       n_bytes, (size_t)PS_FRAMES_MAX * PS_FRAME_BYTES);
    for (size_t at = 0; at < n_bytes; at += PS_FRAME_BYTES) {
        size_t    n = n_bytes - at < PS_FRAME_BYTES ? n_bytes - at : PS_FRAME_BYTES;
        ps_status st = ps_buf_copy(&frames[*n_frames], bytes + at, n);

        if (st)
            return st;
        ++*n_frames;
    }
    return PS_OK;
}

static void answer_all(struct psd_coordinator       *c,
                       const struct coord_operation *operation, struct ps_buf **frames,
                       uint32_t n_frames)
{
    for (uint32_t i = 0; i < operation->n_askers; i++) {
        struct ps_header h = { .kind = PS_MSG_STATUS_OK };
        struct ps_buf   *shared[PS_FRAMES_MAX];

        for (uint32_t k = 0; k < n_frames; k++)
            shared[k] = ps_buf_share(frames[k]);
        coord_answer(c, &operation->askers[i], &h, shared, n_frames);
    }
}

void coord_stats_done(struct psd_coordinator       *c,
                      const struct coord_operation *operation)
{
    struct ps_buf *frames[PS_FRAMES_MAX] = { NULL };
    uint32_t       n_frames = 0;
    json_t        *cluster = cluster_json(c);
    char          *dump = cluster ? json_dumps(cluster, JSON_COMPACT) : NULL;
    ps_status      st;

    st = dump ? cut(dump, strlen(dump), frames, &n_frames)
              : ps_fail(PS_ERR_NO_MEMORY, "status: no memory");
    if (st)
        coord_operation_refuse(c, operation, st, ps_log_last_error());
    else
        answer_all(c, operation, frames, n_frames);
    for (uint32_t i = 0; i < n_frames; i++)
        ps_buf_drop(&frames[i]);
    free(dump);
    json_decref(cluster);
}
