/*
 * decode.c - from bytes to struct ps_header: parse, then look at every field.
 *
 * Headers of plain fields are parsed by direct.c, all others by protobuf-c; the fields
 * are looked at by the same code.  protobuf-c takes its memory from the arena and gives
 * nothing back; the next decode starts the arena over.
 */
#include "common/wire/direct.h"
#include "common/wire/reference.h"

#include <inttypes.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#define FIRST_ROOM 8192u /* of a decoder's arena; a push of 64 ranges fits */
#define LOWEST_STATUS (-255)

struct ps_decoder {
    struct ps_arena    arena;
    ProtobufCAllocator allocator;
};

static void *allocate(void *arena, size_t bytes)
{
    return ps_arena_get(arena, bytes);
}

static void keep(void *arena, void *pointer)
{
    (void)arena; /* the reset takes all back at once */
    (void)pointer;
}

ps_status ps_decoder_new(struct ps_decoder **out)
{
    struct ps_decoder *d = calloc(1, sizeof(*d));

    if (d)
        d->arena.bytes = malloc(FIRST_ROOM);
    if (!d || !d->arena.bytes) {
        free(d);
        return ps_fail(PS_ERR_NO_MEMORY, "decoder: no memory");
    }
    d->arena.room = FIRST_ROOM;
    d->arena.grown = 1;
    d->allocator = (ProtobufCAllocator){ allocate, keep, &d->arena };
    *out = d;
    return PS_OK;
}

void ps_decoder_free(struct ps_decoder **d)
{
    if (*d)
        ps_arena_free(&(*d)->arena);
    free(*d);
    *d = NULL;
}

uint64_t ps_decoder_grown(const struct ps_decoder *d)
{
    return d->arena.grown;
}

/* ---- shared with decode_lists.c ------------------------------------------------ */

ps_status ps_decode_array(struct ps_arena *a, const struct ps_header *h, size_t n,
                          size_t item_bytes, void *out)
{
    void *items = ps_arena_get(a, n * item_bytes);

    if (!items)
        return ps_bad(h, "%zu items in a list are too many for one header", n);
    memcpy(out, &items, sizeof(items));
    return PS_OK;
}

ps_status ps_decode_count(const struct ps_header *h, const char *what, size_t n,
                          uint32_t max)
{
    if (n > max)
        return ps_bad(h, "%zu %s, expected at most %u", n, what, max);
    return PS_OK;
}

ps_status ps_decode_name(const struct ps_header *h, const char *what,
                         const ProtobufCBinaryData *bytes, char out[PS_NAME_BYTES])
{
    if (bytes->len >= PS_NAME_BYTES)
        return ps_bad(h, "%s of %zu bytes, expected at most %u", what, bytes->len,
                      PS_NAME_BYTES - 1);
    if (bytes->len > 0 && memchr(bytes->data, '\0', bytes->len))
        return ps_bad(h, "%s with a NUL inside", what);
    memset(out, 0, PS_NAME_BYTES);
    if (bytes->len > 0)
        memcpy(out, bytes->data, bytes->len);
    return PS_OK;
}

ps_status ps_decode_text(struct ps_arena *a, const struct ps_header *h,
                         const char *what, const ProtobufCBinaryData *bytes,
                         size_t room, const char **out)
{
    char     *text;
    ps_status st;

    if (bytes->len == 0) {
        *out = "";
        return PS_OK;
    }
    if (bytes->len >= room)
        return ps_bad(h, "%s of %zu bytes, expected at most %zu", what, bytes->len,
                      room - 1);
    if ((st = ps_decode_array(a, h, bytes->len + 1, 1, &text)))
        return st;
    for (size_t i = 0; i < bytes->len; i++) {
        uint8_t byte = bytes->data[i];

        /* Texts end up in logs and on terminals. */
        if (byte < ' ' || byte == 0x7f)
            return ps_bad(h, "%s with control character 0x%02x, expected one line",
                          what, byte);
        text[i] = (char)byte;
    }
    text[bytes->len] = '\0';
    *out = text;
    return PS_OK;
}

/* ---- the header ---------------------------------------------------------------- */

static void take_plain(const Psd__Wire__Header *m, struct ps_header *h)
{
    h->kind = m->kind;
    h->request = m->request;
    h->status = m->status;
    h->flags = m->flags;
    h->job = m->job;
    h->session = m->session;
    h->rank = m->rank;
    h->incarnation = m->incarnation;
    h->server_epoch = m->server_epoch;
    h->membership_epoch = m->membership_epoch;
    h->map_epoch = m->map_epoch;
    h->seq = m->seq;
    h->clock = m->clock;
    h->epochs = m->epochs;
    h->version = m->version;
    h->parts = m->parts;
    h->weight = m->weight;
    h->after = m->after;
    h->wait_ms = m->wait_ms;
    h->batches = m->batches;
    h->index = m->index;
    h->n_shards = m->n_shards;
    h->pid = m->pid;
    h->run = m->run;
}

static ps_status check_plain(const struct ps_header *h, const struct ps_kind_rule *rule)
{
    if (h->flags & ~rule->flags)
        return ps_bad(h, "flags 0x%x, expected none but 0x%x", h->flags, rule->flags);
    if (h->status > 0 || h->status < LOWEST_STATUS)
        return ps_bad(h, "status %d, expected %d to 0", h->status, LOWEST_STATUS);
    if ((rule->needs & PS_NEED_STATUS) && h->status == 0)
        return ps_bad(h, "status 0, expected the number of a failure");
    if (!isfinite(h->weight) || h->weight < 0)
        return ps_bad(h, "weight %g, expected a finite number from 0", h->weight);
    if ((rule->needs & PS_NEED_SEQ) && h->seq == 0)
        return ps_bad(h, "seq 0, expected 1 or more");
    if ((h->flags & PS_FLAG_FINISH) && h->kind == PS_MSG_PUSH && h->parts == 0)
        return ps_bad(h, "parts 0 in a finishing push, expected 1 or more");
    if (h->index >= PS_SHARDS_MAX)
        return ps_bad(h, "shard %u, expected less than %u", h->index, PS_SHARDS_MAX);
    if (h->n_shards > PS_SHARDS_MAX)
        return ps_bad(h, "%u shards, expected at most %u", h->n_shards, PS_SHARDS_MAX);
    return PS_OK;
}

static ps_status take_ranges(struct ps_arena *a, const Psd__Wire__Header *m,
                             struct ps_header *h)
{
    struct ps_range *ranges;
    size_t           n = m->n_range_matrix;
    ps_status        st;

    if (m->n_range_first != n || m->n_range_count != n)
        return ps_bad(h, "ranges with %zu matrices, %zu firsts and %zu counts", n,
                      m->n_range_first, m->n_range_count);
    if (n == 0)
        return PS_OK;
    if ((st = ps_decode_count(h, "ranges", n, PS_RANGES_MAX)) ||
        (st = ps_decode_array(a, h, n, sizeof(*ranges), &ranges)))
        return st;
    for (size_t i = 0; i < n; i++)
        ranges[i] = (struct ps_range){ m->range_matrix[i], m->range_first[i],
                                       m->range_count[i] };
    h->n_ranges = (uint32_t)n;
    h->ranges = ranges;
    return PS_OK;
}

static ps_status check_ranges(const struct ps_header *h)
{
    for (uint32_t i = 0; i < h->n_ranges; i++) {
        uint64_t first = h->ranges[i].first, count = h->ranges[i].count;

        if (count == 0)
            return ps_bad(h, "range %u is empty, expected a count from 1", i);
        if (first > UINT64_MAX - count)
            return ps_bad(h,
                          "range %u from %" PRIu64 " of %" PRIu64
                          " elements, expected an end below 2^64",
                          i, first, count);
    }
    return PS_OK;
}

static ps_status take_texts(struct ps_arena *a, const struct ps_found *found,
                            const struct ps_kind_rule *rule, struct ps_header *h)
{
    ps_status st;

    if ((st = ps_decode_text(a, h, "text", &found->text, PS_TEXT_BYTES, &h->text)) ||
        (st = ps_decode_text(a, h, "name", &found->name, PS_NAME_BYTES, &h->name)) ||
        (st = ps_decode_text(a, h, "token", &found->token, PS_TEXT_BYTES, &h->token)))
        return st;
    if ((rule->needs & PS_NEED_NAME) && ps_name_check("job", h->name))
        return PS_ERR_BAD_MESSAGE;
    return PS_OK;
}

static ps_status check_needs(const struct ps_header *h, const struct ps_kind_rule *rule)
{
    bool spec =
        (rule->needs & PS_NEED_JOB_SPEC) ||
        (h->kind == PS_MSG_HELLO && !(h->flags & PS_FLAG_OBSERVER) && h->session == 0);

    if (spec && !h->job_spec)
        return ps_bad(h, "no job_spec, expected one");
    if ((rule->needs & PS_NEED_MATRIX) && h->n_matrices != 1)
        return ps_bad(h, "%u matrices, expected one", h->n_matrices);
    if ((rule->needs & PS_NEED_SLOTS) && h->n_slot_runs == 0)
        return ps_bad(h, "no slot_runs, expected at least one");
    if ((rule->needs & PS_NEED_ENDPOINTS) && h->n_endpoints == 0)
        return ps_bad(h, "no endpoints, expected at least one");
    return PS_OK;
}

/* Fields in the order in which they are complained about.  `m`: what protobuf-c has
 * read; NULL: everything was read directly, there are no lists. */
static ps_status take(struct ps_arena *a, const struct ps_found *found,
                      const Psd__Wire__Header *m, struct ps_header *h)
{
    const struct ps_kind_rule *rule = ps_kind_rule(h->kind);
    ps_status                  st;

    if (found->protocol == 0)
        return ps_fail(PS_ERR_BAD_MESSAGE, "message: no protocol version, expected %u",
                       PS_PROTOCOL_VERSION);
    if (found->protocol != PS_PROTOCOL_VERSION)
        return ps_fail(PS_ERR_PROTOCOL, "message: protocol version %u, expected %u",
                       found->protocol, PS_PROTOCOL_VERSION);
    if (!rule)
        return ps_fail(PS_ERR_BAD_MESSAGE, "message: kind %u is none of this protocol",
                       h->kind);
    if ((st = check_plain(h, rule)) || (st = take_texts(a, found, rule, h)) ||
        (m && (st = take_ranges(a, m, h))) || (st = check_ranges(h)) ||
        (m && (st = ps_decode_lists(a, m, h))))
        return st;
    return check_needs(h, rule);
}

/* ---- two ways to read ---------------------------------------------------------- */

static const struct ps_header empty = { .text = "", .name = "", .token = "" };

/* So that it can be answered. */
static ps_status keep_kind_and_request(struct ps_header *h, ps_status st)
{
    uint32_t kind = h->kind;
    uint64_t request = h->request;

    *h = empty;
    h->kind = kind;
    h->request = request;
    return st;
}

ps_status ps_reference_decode(struct ps_decoder *d, const void *bytes, size_t n_bytes,
                              struct ps_header *h)
{
    Psd__Wire__Header *m;
    struct ps_found    found;
    ps_status          st;

    *h = empty;
    if (n_bytes > PS_HEADER_BYTES)
        return ps_fail(PS_ERR_BAD_MESSAGE,
                       "message: header of %zu bytes, expected at most %u", n_bytes,
                       PS_HEADER_BYTES);
    ps_arena_reset(&d->arena);
    m = psd__wire__header__unpack(&d->allocator, n_bytes, bytes);
    if (!m)
        return ps_fail(PS_ERR_BAD_MESSAGE,
                       "message: header of %zu bytes cannot be parsed", n_bytes);
    take_plain(m, h);
    found = (struct ps_found){ m->protocol, m->text, m->name, m->token };
    st = take(&d->arena, &found, m, h);
    return st ? keep_kind_and_request(h, st) : PS_OK;
}

ps_status ps_wire_decode(struct ps_decoder *d, const void *bytes, size_t n_bytes,
                         struct ps_header *h)
{
    struct ps_found found = { 0 };
    ps_status       st;

    *h = empty;
    ps_arena_reset(&d->arena);
    if (n_bytes > PS_HEADER_BYTES ||
        !ps_direct_read(&d->arena, bytes, n_bytes, h, &found))
        return ps_reference_decode(d, bytes, n_bytes, h);
    st = take(&d->arena, &found, NULL, h);
    return st ? keep_kind_and_request(h, st) : PS_OK;
}
