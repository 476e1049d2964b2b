/*
 * encode.c - from struct ps_header to bytes.
 *
 * Headers of plain fields are written by direct.c, all others by protobuf-c.  What that
 * wants in its own shape is built in an arena that starts on the stack.
 */
#include "common/wire/direct.h"
#include "common/wire/reference.h"

#include <string.h>

#define SCRATCH_BYTES 8192u /* more than most need */

static uint64_t bits_of(double value)
{
    union {
        double   value;
        uint64_t bits;
    } both = { .value = value };

    return both.bits;
}

static ps_status no_memory(const struct ps_header *h)
{
    return ps_fail(PS_ERR_NO_MEMORY, "message %s: no memory to encode its header",
                   ps_kind_name(h->kind));
}

static ProtobufCBinaryData bytes_of(const char *text)
{
    return (ProtobufCBinaryData){ text ? strlen(text) : 0, (uint8_t *)(uintptr_t)text };
}

/* ---- plain fields, texts, ranges ----------------------------------------------- */

static void put_plain(const struct ps_header *h, Psd__Wire__Header *m)
{
    m->protocol = PS_PROTOCOL_VERSION;
    m->kind = h->kind;
    m->request = h->request;
    m->status = h->status;
    m->flags = h->flags;
    m->job = h->job;
    m->session = h->session;
    m->rank = h->rank;
    m->incarnation = h->incarnation;
    m->server_epoch = h->server_epoch;
    m->membership_epoch = h->membership_epoch;
    m->map_epoch = h->map_epoch;
    m->seq = h->seq;
    m->clock = h->clock;
    m->epochs = h->epochs;
    m->version = h->version;
    m->parts = h->parts;
    m->batches = h->batches;
    m->weight = h->weight;
    m->after = h->after;
    m->wait_ms = h->wait_ms;
    m->index = h->index;
    m->n_shards = h->n_shards;
    m->pid = h->pid;
    m->run = h->run;
    m->name = bytes_of(h->name);
    m->token = bytes_of(h->token);
}

static ps_status put_text(struct ps_arena *a, const struct ps_header *h,
                          Psd__Wire__Header *m)
{
    size_t   bytes = ps_sentence_bytes(h->text);
    uint8_t *text;

    if (bytes == 0)
        return PS_OK;
    text = ps_arena_get(a, bytes);
    if (!text)
        return no_memory(h);
    for (size_t i = 0; i < bytes; i++)
        text[i] = ps_sentence_byte(h->text[i]);
    m->text = (ProtobufCBinaryData){ bytes, text };
    return PS_OK;
}

static ps_status put_ranges(struct ps_arena *a, const struct ps_header *h,
                            Psd__Wire__Header *m)
{
    size_t    n = h->n_ranges;
    uint64_t *numbers;

    if (n == 0)
        return PS_OK;
    numbers = ps_arena_get(a, n * (2 * sizeof(uint64_t) + sizeof(uint32_t)));
    if (!numbers)
        return no_memory(h);
    m->n_range_first = m->n_range_count = m->n_range_matrix = n;
    m->range_first = numbers;
    m->range_count = numbers + n;
    m->range_matrix = (uint32_t *)(void *)(numbers + 2 * n);
    for (size_t i = 0; i < n; i++) {
        m->range_first[i] = h->ranges[i].first;
        m->range_count[i] = h->ranges[i].count;
        m->range_matrix[i] = h->ranges[i].matrix;
    }
    return PS_OK;
}

/* ---- specs --------------------------------------------------------------------- */

struct spec_parts {
    Psd__Wire__JobSpec       job;
    Psd__Wire__OptimiserSpec optimiser;
    Psd__Wire__ScheduleSpec  schedule;
};

static void put_optimiser(const struct ps_optimiser_spec *spec,
                          struct spec_parts              *parts)
{
    Psd__Wire__OptimiserSpec *m = &parts->optimiser;
    Psd__Wire__ScheduleSpec  *schedule = &parts->schedule;

    psd__wire__optimiser_spec__init(m);
    m->kind = spec->kind;
    m->lr = bits_of(spec->lr);
    m->momentum = bits_of(spec->momentum);
    m->beta1 = bits_of(spec->beta1);
    m->beta2 = bits_of(spec->beta2);
    m->rho = bits_of(spec->rho);
    m->epsilon = bits_of(spec->epsilon);
    m->weight_decay = bits_of(spec->weight_decay);
    m->ftrl_beta = bits_of(spec->ftrl_beta);
    m->ftrl_l1 = bits_of(spec->ftrl_l1);
    m->ftrl_l2 = bits_of(spec->ftrl_l2);
    m->schedule = schedule;

    psd__wire__schedule_spec__init(schedule);
    schedule->kind = spec->schedule.kind;
    schedule->factor = bits_of(spec->schedule.factor);
    schedule->floor = bits_of(spec->schedule.floor);
    schedule->every = spec->schedule.every;
    schedule->warmup = spec->schedule.warmup;
    schedule->epochs = spec->schedule.epochs;
}

static ps_status put_job_spec(struct ps_arena *a, const struct ps_header *h,
                              Psd__Wire__Header *message)
{
    const struct ps_job_spec *spec = h->job_spec;
    struct spec_parts        *parts;
    Psd__Wire__JobSpec       *m;

    if (!spec)
        return PS_OK;
    parts = ps_arena_get(a, sizeof(*parts));
    if (!parts)
        return no_memory(h);
    m = &parts->job;
    psd__wire__job_spec__init(m);
    m->name = bytes_of(spec->name);
    m->workers = spec->workers;
    m->strategy = spec->strategy;
    m->spares = spec->spares;
    m->slack = spec->slack;
    m->scale = spec->scale;
    m->lambda = bits_of(spec->lambda);
    m->nfetch = spec->nfetch;
    m->npush = spec->npush;
    m->local = spec->local;
    m->average = spec->average;
    m->ack = spec->ack;
    m->snapshot_every = spec->snapshot_every;
    m->snapshot_ms = spec->snapshot_ms;
    m->max_rollback = spec->max_rollback;
    m->aggregate = spec->aggregate;
    m->on_loss = spec->on_loss;
    m->nonfinite = spec->nonfinite;
    m->seed = spec->seed;
    m->clocks_per_epoch = spec->clocks_per_epoch;
    m->optimiser = &parts->optimiser;
    put_optimiser(&spec->optimiser, parts);
    message->job_spec = m;
    return PS_OK;
}

/* A list of n submessages and the pointers to them that protobuf-c wants. */
#define GET_LIST(a, n, items, list)                                                    \
    (((items) = ps_arena_get(a, (n) * sizeof(*(items)))) &&                            \
     ((list) = ps_arena_get(a, (n) * sizeof(*(list)))))

static ps_status put_matrices(struct ps_arena *a, const struct ps_header *h,
                              Psd__Wire__Header *message)
{
    Psd__Wire__MatrixSpec *items;

    if (!GET_LIST(a, h->n_matrices, items, message->matrices))
        return no_memory(h);
    message->n_matrices = h->n_matrices;
    for (uint32_t i = 0; i < h->n_matrices; i++) {
        const struct ps_matrix_spec *spec = &h->matrices[i];
        Psd__Wire__MatrixSpec       *m = message->matrices[i] = &items[i];

        psd__wire__matrix_spec__init(m);
        m->name = bytes_of(spec->name);
        m->number = spec->number;
        m->dtype = spec->dtype;
        m->sparse = spec->sparse;
        m->rows = spec->rows;
        m->cols = spec->cols;
        m->init = spec->init;
        m->init_a = bits_of(spec->init_a);
        m->init_b = bits_of(spec->init_b);
        m->optimiser = spec->optimiser;
        m->weight_decay = bits_of(spec->weight_decay);
        m->max_rows = spec->max_rows;
        m->evict = spec->evict;
    }
    return PS_OK;
}

/* ---- who owns what, who is in, what was counted -------------------------------- */

static ps_status put_slot_runs(struct ps_arena *a, const struct ps_header *h,
                               Psd__Wire__Header *message)
{
    Psd__Wire__SlotRun *items;

    if (!GET_LIST(a, h->n_slot_runs, items, message->slot_runs))
        return no_memory(h);
    message->n_slot_runs = h->n_slot_runs;
    for (uint32_t i = 0; i < h->n_slot_runs; i++) {
        message->slot_runs[i] = &items[i];
        psd__wire__slot_run__init(&items[i]);
        items[i].shard = h->slot_runs[i].shard;
        items[i].n_slots = h->slot_runs[i].n_slots;
    }
    return PS_OK;
}

static ps_status put_members(struct ps_arena *a, const struct ps_header *h,
                             Psd__Wire__Header *message)
{
    Psd__Wire__Member *items;

    if (!GET_LIST(a, h->n_members, items, message->members))
        return no_memory(h);
    message->n_members = h->n_members;
    for (uint32_t i = 0; i < h->n_members; i++) {
        message->members[i] = &items[i];
        psd__wire__member__init(&items[i]);
        items[i].rank = h->members[i].rank;
        items[i].incarnation = h->members[i].incarnation;
        items[i].state = h->members[i].state;
        items[i].session = h->members[i].session;
        items[i].clock = h->members[i].clock;
        items[i].epochs = h->members[i].epochs;
    }
    return PS_OK;
}

static ps_status put_endpoints(struct ps_arena *a, const struct ps_header *h,
                               Psd__Wire__Header *message)
{
    message->endpoints = ps_arena_get(a, h->n_endpoints * sizeof(*message->endpoints));
    if (!message->endpoints)
        return no_memory(h);
    message->n_endpoints = h->n_endpoints;
    for (uint32_t i = 0; i < h->n_endpoints; i++)
        message->endpoints[i] = bytes_of(h->endpoints[i]);
    return PS_OK;
}

static ps_status put_reports(struct ps_arena *a, const struct ps_header *h,
                             Psd__Wire__Header *message)
{
    Psd__Wire__ReportRecord *items;

    if (!GET_LIST(a, h->n_reports, items, message->reports))
        return no_memory(h);
    message->n_reports = h->n_reports;
    for (uint32_t i = 0; i < h->n_reports; i++) {
        const struct ps_report_record *record = &h->reports[i];
        Psd__Wire__ReportRecord       *m = message->reports[i] = &items[i];

        psd__wire__report_record__init(m);
        m->number = record->number;
        m->clock = record->clock;
        m->time_us = record->time_us;
        m->rank = record->rank;
        m->name = bytes_of(record->name);
        m->value = bits_of(record->value);
    }
    return PS_OK;
}

static ps_status put_traffic(struct ps_arena *a, const struct ps_header *h,
                             Psd__Wire__Header *message)
{
    const struct ps_traffic *traffic = h->traffic;
    Psd__Wire__Traffic      *m;

    if (!traffic)
        return PS_OK;
    m = ps_arena_get(a, sizeof(*m));
    if (!m)
        return no_memory(h);
    psd__wire__traffic__init(m);
    m->samples = traffic->samples;
    m->bytes_pushed = traffic->bytes_pushed;
    m->bytes_pulled = traffic->bytes_pulled;
    m->bytes_pushed_raw = traffic->bytes_pushed_raw;
    m->bytes_pulled_raw = traffic->bytes_pulled_raw;
    m->pushes = traffic->pushes;
    m->pulls = traffic->pulls;
    m->retries = traffic->retries;
    message->traffic = m;
    return PS_OK;
}

static ps_status put_job_stats(struct ps_arena *a, const struct ps_header *h,
                               Psd__Wire__Header *message)
{
    Psd__Wire__JobStats *items;

    if (!GET_LIST(a, h->n_job_stats, items, message->job_stats))
        return no_memory(h);
    message->n_job_stats = h->n_job_stats;
    for (uint32_t i = 0; i < h->n_job_stats; i++) {
        const struct ps_job_stats *stats = &h->job_stats[i];
        Psd__Wire__JobStats       *m = message->job_stats[i] = &items[i];

        psd__wire__job_stats__init(m);
        m->job = stats->job;
        m->clock = stats->clock;
        m->version = stats->version;
        m->bytes = stats->bytes;
        m->state_bytes = stats->state_bytes;
        m->rows = stats->rows;
        m->pushes = stats->pushes;
        m->pulls = stats->pulls;
        m->repeated_pushes = stats->repeated;
        m->refused = stats->refused;
        m->skipped = stats->skipped;
        m->late = stats->late;
        m->staleness_sum = stats->staleness_sum;
        m->staleness_max = stats->staleness_max;
        m->waiting = stats->waiting;
        m->batches = stats->batches;
        m->evicted = stats->evicted;
        m->allocated_bytes = stats->allocated_bytes;
        m->saved = stats->saved;
        m->save_failures = stats->save_failures;
        m->matrix = stats->matrix;
    }
    return PS_OK;
}

static ps_status put_sets(struct ps_arena *a, const struct ps_header *h,
                          Psd__Wire__Header *message)
{
    Psd__Wire__Part *items;

    if (!GET_LIST(a, h->n_sets, items, message->sets))
        return no_memory(h);
    message->n_sets = h->n_sets;
    for (uint32_t i = 0; i < h->n_sets; i++) {
        message->sets[i] = &items[i];
        psd__wire__part__init(&items[i]);
        items[i].index = h->sets[i].index;
        items[i].n_shards = h->sets[i].n_shards;
        items[i].set = h->sets[i].set;
        items[i].life = h->sets[i].life;
    }
    return PS_OK;
}

/* ---- the whole header ---------------------------------------------------------- */

static ps_status check_counts(const struct ps_header *h)
{
    const struct {
        const char *what;
        uint32_t    n, max;
    } counts[] = {
        { "ranges", h->n_ranges, PS_RANGES_MAX },
        { "matrices", h->n_matrices, PS_LIST_MAX },
        { "slot_runs", h->n_slot_runs, PS_SLOT_RUNS_MAX },
        { "members", h->n_members, PS_WORKERS_MAX },
        { "endpoints", h->n_endpoints, PS_SHARDS_MAX },
        { "reports", h->n_reports, PS_REPORTS_MAX },
        { "job_stats", h->n_job_stats, PS_STATS_MAX },
        { "sets", h->n_sets, PS_SETS_MAX },
    };

    for (size_t i = 0; i < sizeof(counts) / sizeof(counts[0]); i++)
        if (counts[i].n > counts[i].max)
            return ps_fail(PS_ERR_LIMIT, "message %s: %u %s, expected at most %u",
                           ps_kind_name(h->kind), counts[i].n, counts[i].what,
                           counts[i].max);
    return PS_OK;
}

static ps_status put_all(struct ps_arena *a, const struct ps_header *h,
                         Psd__Wire__Header *m)
{
    static ps_status (*const steps[])(struct ps_arena *, const struct ps_header *,
                                      Psd__Wire__Header *) = {
        put_text,      put_ranges,    put_job_spec,  put_matrices,
        put_slot_runs, put_members,   put_endpoints, put_reports,
        put_traffic,   put_job_stats, put_sets,
    };
    ps_status st = check_counts(h);

    put_plain(h, m);
    for (size_t i = 0; st == PS_OK && i < sizeof(steps) / sizeof(steps[0]); i++)
        st = steps[i](a, h, m);
    return st;
}

static ps_status pack(const struct ps_header *h, const Psd__Wire__Header *m,
                      struct ps_buf **out)
{
    size_t    bytes = psd__wire__header__get_packed_size(m);
    ps_status st;

    if (bytes > PS_HEADER_BYTES)
        return ps_fail(PS_ERR_LIMIT,
                       "message %s: header of %zu bytes, expected at most %u",
                       ps_kind_name(h->kind), bytes, PS_HEADER_BYTES);
    st = ps_buf_new(out, bytes);
    if (st)
        return st;
    (*out)->len = psd__wire__header__pack(m, (*out)->data);
    return PS_OK;
}

ps_status ps_reference_encode(const struct ps_header *h, struct ps_buf **out)
{
    _Alignas(16) uint8_t scratch[SCRATCH_BYTES];
    struct ps_arena      arena;
    Psd__Wire__Header    m;
    ps_status            st;

    psd__wire__header__init(&m);
    ps_arena_lend(&arena, scratch, sizeof(scratch));
    st = put_all(&arena, h, &m);
    if (st == PS_OK)
        st = pack(h, &m, out);
    ps_arena_free(&arena);
    return st;
}

ps_status ps_wire_encode_on(struct ps_tray *tray, const struct ps_header *h,
                            struct ps_buf **out)
{
    uint8_t   bytes[PS_DIRECT_BYTES];
    ps_status st = check_counts(h);
    size_t    n_bytes;

    if (st)
        return st;
    n_bytes = ps_direct_write(h, bytes);
    if (n_bytes == 0)
        return ps_reference_encode(h, out);
    st = ps_tray_buf(tray, NULL, out, n_bytes);
    if (st)
        return st;
    memcpy((*out)->data, bytes, n_bytes);
    (*out)->len = n_bytes;
    return PS_OK;
}

ps_status ps_wire_encode(const struct ps_header *h, struct ps_buf **out)
{
    return ps_wire_encode_on(NULL, h, out);
}

static void drop_all(struct ps_buf **frames, uint32_t n_frames)
{
    for (uint32_t i = 0; i < n_frames; i++)
        ps_buf_drop(&frames[i]);
}

ps_status ps_wire_send(struct ps_outbox *out, const struct ps_route *to,
                       const struct ps_header *h, struct ps_buf **frames,
                       uint32_t n_frames)
{
    struct ps_parcel parcel = { .route = *to };
    ps_status        st;

    if (n_frames > PS_FRAMES_MAX)
        st = ps_fail(PS_ERR_LIMIT, "message %s: %u payload frames, expected at most %u",
                     ps_kind_name(h->kind), n_frames, PS_FRAMES_MAX);
    else
        st = ps_wire_encode_on(&out->tray, h, &parcel.head);
    if (st) {
        drop_all(frames, n_frames);
        return st;
    }
    for (uint32_t i = 0; i < n_frames; i++) {
        parcel.frames[i] = frames[i];
        frames[i] = NULL;
    }
    parcel.n_frames = n_frames;
    return ps_outbox_put(out, &parcel);
}
