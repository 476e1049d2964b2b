/*
 * message.c - messages out of bytes; see fuzz.h.
 *
 * A message is its kind and then parts, each a letter with what belongs to it, up to
 * any byte that is no letter of a part.
 */
#include "tests/fuzz/fuzz.h"

#include <stddef.h>
#include <stdlib.h>
#include <string.h>

static struct ps_decoder *reader;

static uint32_t take_u32(struct fuzz_input *in)
{
    return (uint32_t)fuzz_number(in);
}

static void take_text(struct fuzz_input *in, char *out, size_t room)
{
    const uint8_t *at;
    size_t         n = fuzz_take(in, fuzz_byte(in) % room, &at);

    if (n > 0)
        memcpy(out, at, n);
    out[n] = '\0';
}

static uint32_t take_count(struct fuzz_input *in)
{
    return fuzz_byte(in) % (FUZZ_LIST_MAX + 1);
}

/* ---- plain fields -------------------------------------------------------------- */

#define FIELD(letter, name)                                                            \
    {                                                                                  \
        letter, offsetof(struct ps_header, name),                                      \
            sizeof(((struct ps_header *)NULL)->name)                                   \
    }

static const struct {
    char   letter;
    size_t offset, bytes;
} fields[] = {
    FIELD('q', request),     FIELD('!', status),       FIELD('f', flags),
    FIELD('j', job),         FIELD('s', session),      FIELD('r', rank),
    FIELD('i', incarnation), FIELD('e', server_epoch), FIELD('E', membership_epoch),
    FIELD('o', map_epoch),   FIELD('#', seq),          FIELD('c', clock),
    FIELD('v', version),     FIELD('p', parts),        FIELD('b', batches),
    FIELD('a', after),       FIELD('w', wait_ms),      FIELD('x', index),
    FIELD('n', n_shards),    FIELD('P', pid),          FIELD('u', run),
};

static bool take_field(struct fuzz_input *in, char letter, struct ps_header *h)
{
    for (size_t i = 0; i < sizeof(fields) / sizeof(fields[0]); i++)
        if (fields[i].letter == letter) {
            uint64_t number = fuzz_number(in);

            /* Little-endian: the low bytes come first. */
            memcpy((char *)h + fields[i].offset, &number, fields[i].bytes);
            return true;
        }
    return false;
}

/* ---- lists --------------------------------------------------------------------- */

static void take_job_spec(struct fuzz_input *in, struct fuzz_message *m)
{
    struct ps_job_spec *s = &m->job_spec;

    *s = ps_job_spec_default();
    take_text(in, s->name, 32);
    s->workers = take_u32(in);
    s->strategy = take_u32(in);
    s->spares = take_u32(in);
    s->slack = fuzz_number(in);
    s->scale = take_u32(in);
    s->lambda = fuzz_double(in);
    s->aggregate = take_u32(in);
    s->on_loss = take_u32(in);
    s->nonfinite = take_u32(in);
    s->optimiser = ps_optimiser_spec_default(take_u32(in));
    s->optimiser.lr = fuzz_double(in);
    s->optimiser.schedule.kind = take_u32(in);
    s->optimiser.schedule.every = fuzz_number(in);
    s->optimiser.schedule.factor = fuzz_double(in);
    m->h.job_spec = s;
}

static void take_matrices(struct fuzz_input *in, struct fuzz_message *m)
{
    m->h.n_matrices = take_count(in);
    for (uint32_t i = 0; i < m->h.n_matrices; i++) {
        struct ps_matrix_spec *s = &m->matrices[i];

        take_text(in, s->name, 32);
        s->number = take_u32(in);
        s->dtype = take_u32(in);
        s->sparse = fuzz_byte(in) & 1;
        s->rows = fuzz_number(in);
        s->cols = fuzz_number(in);
        s->init = take_u32(in);
        s->init_a = fuzz_double(in);
        s->init_b = fuzz_double(in);
        s->optimiser = take_u32(in);
        s->weight_decay = fuzz_double(in);
        s->max_rows = fuzz_number(in);
        s->evict = take_u32(in);
    }
}

static void take_members(struct fuzz_input *in, struct fuzz_message *m)
{
    m->h.n_members = take_count(in);
    for (uint32_t i = 0; i < m->h.n_members; i++) {
        m->members[i].rank = take_u32(in);
        m->members[i].incarnation = take_u32(in);
        m->members[i].state = take_u32(in);
        m->members[i].session = fuzz_number(in);
        m->members[i].clock = fuzz_number(in);
    }
}

static void take_reports(struct fuzz_input *in, struct fuzz_message *m)
{
    m->h.n_reports = take_count(in);
    for (uint32_t i = 0; i < m->h.n_reports; i++) {
        m->reports[i].number = fuzz_number(in);
        m->reports[i].clock = fuzz_number(in);
        m->reports[i].time_us = fuzz_number(in);
        m->reports[i].rank = take_u32(in);
        m->reports[i].value = fuzz_double(in);
        take_text(in, m->reports[i].name, 32);
    }
}

static void take_ranges(struct fuzz_input *in, struct fuzz_message *m)
{
    m->h.n_ranges = take_count(in);
    for (uint32_t i = 0; i < m->h.n_ranges; i++) {
        m->ranges[i].matrix = take_u32(in);
        m->ranges[i].first = fuzz_number(in);
        m->ranges[i].count = fuzz_number(in);
    }
}

static void take_slot_runs(struct fuzz_input *in, struct fuzz_message *m)
{
    m->h.n_slot_runs = take_count(in);
    for (uint32_t i = 0; i < m->h.n_slot_runs; i++) {
        m->slot_runs[i].shard = take_u32(in);
        m->slot_runs[i].n_slots = take_u32(in);
    }
}

static void take_sets(struct fuzz_input *in, struct fuzz_message *m)
{
    m->h.n_sets = take_count(in);
    for (uint32_t i = 0; i < m->h.n_sets; i++) {
        m->sets[i].index = take_u32(in);
        m->sets[i].n_shards = take_u32(in);
        m->sets[i].set = fuzz_number(in);
        m->sets[i].life = fuzz_number(in);
    }
}

static void take_endpoints(struct fuzz_input *in, struct fuzz_message *m)
{
    m->h.n_endpoints = take_count(in);
    for (uint32_t i = 0; i < m->h.n_endpoints; i++) {
        take_text(in, m->endpoint[i], sizeof(m->endpoint[i]));
        m->endpoints[i] = m->endpoint[i];
    }
}

static void take_stats(struct fuzz_input *in, struct fuzz_message *m)
{
    m->h.n_job_stats = take_count(in);
    for (uint32_t i = 0; i < m->h.n_job_stats; i++) {
        m->stats[i].job = take_u32(in);
        m->stats[i].clock = fuzz_number(in);
        m->stats[i].bytes = fuzz_number(in);
        m->stats[i].pushes = fuzz_number(in);
        m->stats[i].staleness_sum = fuzz_number(in);
    }
}

static void take_traffic(struct fuzz_input *in, struct fuzz_message *m)
{
    m->traffic.samples = fuzz_number(in);
    m->traffic.bytes_pushed = fuzz_number(in);
    m->traffic.pushes = fuzz_number(in);
    m->h.traffic = &m->traffic;
}

/* Bytes as they stand, or a few of them over and over: `repeat` times. */
static void take_frame(struct fuzz_input *in, struct fuzz_message *m)
{
    size_t         bytes = fuzz_number(in) % 4096, repeat = 1 + fuzz_number(in) % 4096;
    const uint8_t *at;
    uint8_t       *all;

    bytes = fuzz_take(in, bytes, &at);
    if (m->n_frames == FUZZ_FRAMES_MAX)
        return;
    if (bytes * repeat > FUZZ_FRAME_BYTES)
        repeat = 1;
    all = malloc(bytes * repeat + 1);
    fuzz_require(all != NULL);
    for (size_t i = 0; bytes > 0 && i < repeat; i++)
        memcpy(all + i * bytes, at, bytes);
    m->frames[m->n_frames++] = fuzz_buf(all, bytes * repeat);
    free(all);
}

static void take_raw(struct fuzz_input *in, struct fuzz_message *m)
{
    m->raw_bytes = fuzz_take(in, fuzz_number(in) % PS_HEADER_BYTES, &m->raw);
}

static bool take_part(struct fuzz_input *in, char letter, struct fuzz_message *m)
{
    switch (letter) {
    case 'W': m->h.weight = fuzz_double(in); return true;
    case 'T': take_text(in, m->text, sizeof(m->text)); return true;
    case 'N': take_text(in, m->name, sizeof(m->name)); return true;
    case 'K': take_text(in, m->token, sizeof(m->token)); return true;
    case 'J': take_job_spec(in, m); return true;
    case 'M': take_matrices(in, m); return true;
    case 'R': take_ranges(in, m); return true;
    case 'S': take_slot_runs(in, m); return true;
    case 'Z': take_sets(in, m); return true;
    case 'B': take_members(in, m); return true;
    case 'D': take_endpoints(in, m); return true;
    case 'V': take_reports(in, m); return true;
    case 'C': take_traffic(in, m); return true;
    case 'A': take_stats(in, m); return true;
    case 'F': take_frame(in, m); return true;
    case 'H': take_raw(in, m); return true;
    }
    return take_field(in, letter, &m->h);
}

/* ---- whole messages ------------------------------------------------------------ */

void fuzz_message(struct fuzz_input *in, struct fuzz_message *m)
{
    memset(m, 0, sizeof(*m));
    m->h.kind = fuzz_byte(in);
    while (in->left > 0 && take_part(in, (char)fuzz_byte(in), m))
        ;
    m->h.text = m->text;
    m->h.name = m->name;
    m->h.token = m->token;
    m->h.matrices = m->matrices;
    m->h.ranges = m->ranges;
    m->h.slot_runs = m->slot_runs;
    m->h.sets = m->sets;
    m->h.members = m->members;
    m->h.reports = m->reports;
    m->h.endpoints = m->endpoints;
    m->h.job_stats = m->stats;
}

bool fuzz_pack(struct fuzz_message *m, const struct ps_route *route,
               struct ps_parcel *out)
{
    struct ps_buf *encoded;

    *out = (struct ps_parcel){ .route = *route };
    if (m->raw) {
        out->head = fuzz_buf(m->raw, m->raw_bytes);
    } else if (ps_wire_encode(&m->h, &encoded)) {
        while (m->n_frames > 0)
            ps_buf_drop(&m->frames[--m->n_frames]);
        return false;
    } else {
        out->head = fuzz_buf(encoded->data, encoded->len);
        ps_buf_drop(&encoded);
    }
    for (; out->n_frames < m->n_frames; out->n_frames++)
        out->frames[out->n_frames] = m->frames[out->n_frames];
    m->n_frames = 0;
    return true;
}

const struct ps_header *fuzz_sent(const struct ps_parcel *parcel)
{
    static struct ps_header h;

    fuzz_require(reader || ps_decoder_new(&reader) == PS_OK);
    fuzz_require(parcel->head != NULL && parcel->n_frames <= PS_FRAMES_MAX);
    fuzz_require(ps_wire_decode(reader, parcel->head->data, parcel->head->len, &h) ==
                 PS_OK);
    fuzz_require(h.kind != PS_MSG_ERROR || h.text[0] != '\0');
    for (uint32_t i = 0; i < parcel->n_frames; i++)
        fuzz_require(parcel->frames[i]->len <= PS_FRAME_BYTES);
    return &h;
}
