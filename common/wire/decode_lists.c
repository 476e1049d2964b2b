/* decode_lists.c - the parts of a header that are lists or messages; see decode.h. */
#include "common/wire/decode.h"

#include <string.h>

/* ---- specs --------------------------------------------------------------------- */

static ps_status take_optimiser(const struct ps_header         *h,
                                const Psd__Wire__OptimiserSpec *m,
                                struct ps_optimiser_spec       *out)
{
    if (!m || !m->schedule)
        return ps_bad(h, "job_spec without %s", m ? "schedule" : "optimiser");
    *out = (struct ps_optimiser_spec){
        .kind = m->kind,
        .lr = ps_double_of(m->lr),
        .momentum = ps_double_of(m->momentum),
        .beta1 = ps_double_of(m->beta1),
        .beta2 = ps_double_of(m->beta2),
        .rho = ps_double_of(m->rho),
        .epsilon = ps_double_of(m->epsilon),
        .weight_decay = ps_double_of(m->weight_decay),
        .ftrl_beta = ps_double_of(m->ftrl_beta),
        .ftrl_l1 = ps_double_of(m->ftrl_l1),
        .ftrl_l2 = ps_double_of(m->ftrl_l2),
        .schedule = { .kind = m->schedule->kind,
                      .factor = ps_double_of(m->schedule->factor),
                      .floor = ps_double_of(m->schedule->floor),
                      .every = m->schedule->every,
                      .warmup = m->schedule->warmup,
                      .epochs = m->schedule->epochs },
    };
    return PS_OK;
}

static ps_status take_job_spec(struct ps_arena *a, const Psd__Wire__Header *message,
                               struct ps_header *h)
{
    const Psd__Wire__JobSpec *m = message->job_spec;
    struct ps_job_spec       *spec;
    ps_status                 st;

    if (!m)
        return PS_OK;
    if ((st = ps_decode_array(a, h, 1, sizeof(*spec), &spec)))
        return st;
    *spec = (struct ps_job_spec){
        .workers = m->workers,
        .strategy = m->strategy,
        .spares = m->spares,
        .slack = m->slack,
        .scale = m->scale,
        .lambda = ps_double_of(m->lambda),
        .nfetch = m->nfetch,
        .npush = m->npush,
        .local = m->local,
        .average = m->average,
        .ack = m->ack,
        .snapshot_every = m->snapshot_every,
        .snapshot_ms = m->snapshot_ms,
        .max_rollback = m->max_rollback,
        .aggregate = m->aggregate,
        .on_loss = m->on_loss,
        .nonfinite = m->nonfinite,
        .seed = m->seed,
        .clocks_per_epoch = m->clocks_per_epoch,
    };
    if ((st = ps_decode_name(h, "job name", &m->name, spec->name)) ||
        (st = take_optimiser(h, m->optimiser, &spec->optimiser)))
        return st;
    if (ps_job_spec_check(spec))
        return PS_ERR_BAD_MESSAGE;
    h->job_spec = spec;
    return PS_OK;
}

static ps_status take_matrix(const struct ps_header *h, const Psd__Wire__MatrixSpec *m,
                             struct ps_matrix_spec *out)
{
    ps_status st;

    *out = (struct ps_matrix_spec){
        .number = m->number,
        .dtype = m->dtype,
        .sparse = m->sparse,
        .rows = m->rows,
        .cols = m->cols,
        .init = m->init,
        .init_a = ps_double_of(m->init_a),
        .init_b = ps_double_of(m->init_b),
        .optimiser = m->optimiser,
        .weight_decay = ps_double_of(m->weight_decay),
        .max_rows = m->max_rows,
        .evict = m->evict,
    };
    st = ps_decode_name(h, "matrix name", &m->name, out->name);
    if (st)
        return st;
    return ps_matrix_spec_check(out) ? PS_ERR_BAD_MESSAGE : PS_OK;
}

static ps_status take_matrices(struct ps_arena *a, const Psd__Wire__Header *m,
                               struct ps_header *h)
{
    struct ps_matrix_spec *specs;
    size_t                 n = m->n_matrices;
    ps_status              st;

    if (n == 0)
        return PS_OK;
    if ((st = ps_decode_count(h, "matrices", n, PS_LIST_MAX)) ||
        (st = ps_decode_array(a, h, n, sizeof(*specs), &specs)))
        return st;
    for (size_t i = 0; i < n; i++)
        if ((st = take_matrix(h, m->matrices[i], &specs[i])))
            return st;
    h->n_matrices = (uint32_t)n;
    h->matrices = specs;
    return PS_OK;
}

/* ---- who owns what, who is in --------------------------------------------------- */

static ps_status take_slot_runs(struct ps_arena *a, const Psd__Wire__Header *m,
                                struct ps_header *h)
{
    struct ps_slot_run *runs;
    size_t              n = m->n_slot_runs;
    uint64_t            slots = 0;
    ps_status           st;

    if (n == 0)
        return PS_OK;
    if ((st = ps_decode_count(h, "slot_runs", n, PS_SLOT_RUNS_MAX)) ||
        (st = ps_decode_array(a, h, n, sizeof(*runs), &runs)))
        return st;
    for (size_t i = 0; i < n; i++) {
        runs[i] =
            (struct ps_slot_run){ m->slot_runs[i]->shard, m->slot_runs[i]->n_slots };
        slots += runs[i].n_slots;
        if (runs[i].shard >= PS_SHARDS_MAX)
            return ps_bad(h, "slot run %zu of shard %u, expected less than %u", i,
                          runs[i].shard, PS_SHARDS_MAX);
        if (runs[i].n_slots == 0 || slots > PS_SLOT_RUNS_MAX)
            return ps_bad(h, "slot run %zu of %u slots, expected 1 to %u in all", i,
                          runs[i].n_slots, PS_SLOT_RUNS_MAX);
    }
    h->n_slot_runs = (uint32_t)n;
    h->slot_runs = runs;
    return PS_OK;
}

static ps_status take_members(struct ps_arena *a, const Psd__Wire__Header *m,
                              struct ps_header *h)
{
    struct ps_member *members;
    size_t            n = m->n_members;
    ps_status         st;

    if (n == 0)
        return PS_OK;
    if ((st = ps_decode_count(h, "members", n, PS_WORKERS_MAX)) ||
        (st = ps_decode_array(a, h, n, sizeof(*members), &members)))
        return st;
    for (size_t i = 0; i < n; i++) {
        const Psd__Wire__Member *one = m->members[i];

        if (one->rank >= PS_WORKERS_MAX && one->rank != UINT32_MAX)
            return ps_bad(h, "member %zu of rank %u, expected less than %u", i,
                          one->rank, PS_WORKERS_MAX);
        if (one->state < PS_MEMBER_EXPECTED || one->state > PS_MEMBER_LOST)
            return ps_bad(h, "member %zu in state %u, expected %u to %u", i, one->state,
                          PS_MEMBER_EXPECTED, PS_MEMBER_LOST);
        /* Who only watches a job is not told its workers' secrets. */
        if (one->state == PS_MEMBER_ACTIVE && one->session == 0 &&
            h->kind != PS_MSG_WATCH_OK)
            return ps_bad(h, "member %zu is active without a session", i);
        members[i] = (struct ps_member){ one->rank,    one->incarnation, one->state,
                                         one->session, one->clock,       one->epochs };
    }
    h->n_members = (uint32_t)n;
    h->members = members;
    return PS_OK;
}

static ps_status take_endpoints(struct ps_arena *a, const Psd__Wire__Header *m,
                                struct ps_header *h)
{
    const char **endpoints;
    size_t       n = m->n_endpoints;
    ps_status    st;

    if (n == 0)
        return PS_OK;
    if ((st = ps_decode_count(h, "endpoints", n, PS_SHARDS_MAX)) ||
        (st = ps_decode_array(a, h, n, sizeof(*endpoints), &endpoints)))
        return st;
    for (size_t i = 0; i < n; i++) {
        if ((st = ps_decode_text(a, h, "endpoint", &m->endpoints[i], PS_ENDPOINT_BYTES,
                                 &endpoints[i])))
            return st;
        if (endpoints[i][0] == '\0')
            return ps_bad(h, "endpoint %zu is empty", i);
    }
    h->n_endpoints = (uint32_t)n;
    h->endpoints = endpoints;
    return PS_OK;
}

/* ---- what was counted and reported --------------------------------------------- */

static ps_status take_reports(struct ps_arena *a, const Psd__Wire__Header *m,
                              struct ps_header *h)
{
    struct ps_report_record *records;
    size_t                   n = m->n_reports;
    ps_status                st;

    if (n == 0)
        return PS_OK;
    if ((st = ps_decode_count(h, "reports", n, PS_REPORTS_MAX)) ||
        (st = ps_decode_array(a, h, n, sizeof(*records), &records)))
        return st;
    for (size_t i = 0; i < n; i++) {
        const Psd__Wire__ReportRecord *one = m->reports[i];

        records[i] = (struct ps_report_record){ .number = one->number,
                                                .clock = one->clock,
                                                .time_us = one->time_us,
                                                .rank = one->rank,
                                                .value = ps_double_of(one->value) };
        if ((st = ps_decode_name(h, "metric name", &one->name, records[i].name)))
            return st;
        if (ps_metric_name_check(records[i].name))
            return PS_ERR_BAD_MESSAGE;
    }
    h->n_reports = (uint32_t)n;
    h->reports = records;
    return PS_OK;
}

static ps_status take_traffic(struct ps_arena *a, const Psd__Wire__Header *message,
                              struct ps_header *h)
{
    const Psd__Wire__Traffic *m = message->traffic;
    struct ps_traffic        *traffic;
    ps_status                 st;

    if (!m)
        return PS_OK;
    if ((st = ps_decode_array(a, h, 1, sizeof(*traffic), &traffic)))
        return st;
    *traffic = (struct ps_traffic){
        .samples = m->samples,
        .bytes_pushed = m->bytes_pushed,
        .bytes_pulled = m->bytes_pulled,
        .bytes_pushed_raw = m->bytes_pushed_raw,
        .bytes_pulled_raw = m->bytes_pulled_raw,
        .pushes = m->pushes,
        .pulls = m->pulls,
        .retries = m->retries,
    };
    h->traffic = traffic;
    return PS_OK;
}

static ps_status take_job_stats(struct ps_arena *a, const Psd__Wire__Header *m,
                                struct ps_header *h)
{
    struct ps_job_stats *stats;
    size_t               n = m->n_job_stats;
    ps_status            st;

    if (n == 0)
        return PS_OK;
    if ((st = ps_decode_count(h, "job_stats", n, PS_STATS_MAX)) ||
        (st = ps_decode_array(a, h, n, sizeof(*stats), &stats)))
        return st;
    for (size_t i = 0; i < n; i++) {
        const Psd__Wire__JobStats *one = m->job_stats[i];

        stats[i] = (struct ps_job_stats){ .job = one->job,
                                          .clock = one->clock,
                                          .version = one->version,
                                          .bytes = one->bytes,
                                          .state_bytes = one->state_bytes,
                                          .rows = one->rows,
                                          .pushes = one->pushes,
                                          .pulls = one->pulls,
                                          .repeated = one->repeated_pushes,
                                          .refused = one->refused,
                                          .skipped = one->skipped,
                                          .late = one->late,
                                          .staleness_sum = one->staleness_sum,
                                          .staleness_max = one->staleness_max,
                                          .waiting = one->waiting,
                                          .batches = one->batches,
                                          .evicted = one->evicted,
                                          .allocated_bytes = one->allocated_bytes,
                                          .saved = one->saved,
                                          .save_failures = one->save_failures,
                                          .matrix = one->matrix };
    }
    h->n_job_stats = (uint32_t)n;
    h->job_stats = stats;
    return PS_OK;
}

static ps_status take_sets(struct ps_arena *a, const Psd__Wire__Header *m,
                           struct ps_header *h)
{
    struct ps_part *sets;
    size_t          n = m->n_sets;
    ps_status       st;

    if (n == 0)
        return PS_OK;
    if ((st = ps_decode_count(h, "sets", n, PS_SETS_MAX)) ||
        (st = ps_decode_array(a, h, n, sizeof(*sets), &sets)))
        return st;
    for (size_t i = 0; i < n; i++) {
        const Psd__Wire__Part *one = m->sets[i];

        if (one->index >= one->n_shards || one->n_shards > PS_SHARDS_MAX)
            return ps_bad(h, "part %u of %u of a snapshot, expected at most %u parts",
                          one->index, one->n_shards, PS_SHARDS_MAX);
        sets[i] = (struct ps_part){ .index = one->index,
                                    .n_shards = one->n_shards,
                                    .set = one->set,
                                    .life = one->life };
    }
    h->n_sets = (uint32_t)n;
    h->sets = sets;
    return PS_OK;
}

ps_status ps_decode_lists(struct ps_arena *a, const Psd__Wire__Header *m,
                          struct ps_header *h)
{
    static ps_status (*const steps[])(struct ps_arena *, const Psd__Wire__Header *,
                                      struct ps_header *) = {
        take_job_spec, take_matrices, take_slot_runs, take_members, take_endpoints,
        take_reports,  take_traffic,  take_job_stats, take_sets,
    };
    ps_status st = PS_OK;

    for (size_t i = 0; st == PS_OK && i < sizeof(steps) / sizeof(steps[0]); i++)
        st = steps[i](a, m, h);
    return st;
}
