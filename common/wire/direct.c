/* direct.c - see direct.h. */
#include "common/wire/direct.h"

#include <assert.h>
#include <string.h>

/* What stands before a field: its number and how it is encoded. */
#define VARINT(number) ((number) << 3)
#define FIXED64(number) ((number) << 3 | 1u)
#define BYTES(number) ((number) << 3 | 2u)

#define VARINT_BYTES 10u /* 64 bits, 7 in each */
#define RANGE_BYTES (5u + 2 * VARINT_BYTES)

/* Those of a number take 2 + 10 bytes at most, those before a text or a column 2 + 3.
 */
static_assert(PS_RANGES_MAX * RANGE_BYTES + 2 * PS_TEXT_BYTES + PS_NAME_BYTES +
                      24 * (2 + VARINT_BYTES) + 6 * (2 + 3) <=
                  PS_DIRECT_BYTES,
              "every header of plain fields has room");

static uint64_t bits_of(double value)
{
    uint64_t bits;

    memcpy(&bits, &value, sizeof(bits));
    return bits;
}

/* ---- reading ------------------------------------------------------------------- */

struct reader {
    const uint8_t *at, *end;
};

static bool read_long_varint(struct reader *r, uint64_t *out)
{
    uint64_t value = 0;

    for (unsigned shift = 0; shift < 7 * VARINT_BYTES && r->at < r->end; shift += 7) {
        uint8_t byte = *r->at++;

        value |= (uint64_t)(byte & 0x7f) << shift;
        if (byte < 0x80) {
            *out = value;
            return true;
        }
    }
    return false;
}

static inline bool read_u64(struct reader *r, uint64_t *out)
{
    if (r->at == r->end || *r->at >= 0x80)
        return read_long_varint(r, out);
    *out = *r->at++;
    return true;
}

/* Of a number that is too large the lower half counts. */
static inline bool read_u32(struct reader *r, uint32_t *out)
{
    uint64_t value;

    if (!read_u64(r, &value))
        return false;
    *out = (uint32_t)value;
    return true;
}

/* 0, -1, 1, -2, ... as 0, 1, 2, 3, ... */
static bool read_s32(struct reader *r, int32_t *out)
{
    uint32_t folded;

    if (!read_u32(r, &folded))
        return false;
    *out = (int32_t)(folded >> 1 ^ (0 - (folded & 1)));
    return true;
}

/* Little-endian, as every host that this is built for. */
static inline bool read_fixed64(struct reader *r, void *out)
{
    if (r->end - r->at < 8)
        return false;
    memcpy(out, r->at, 8);
    r->at += 8;
    return true;
}

/* Tags, and lengths of what fits a header, as they are written: in one or two bytes. */
static inline bool read_short(struct reader *r, uint32_t *out)
{
    if (r->at == r->end)
        return false;
    *out = *r->at++;
    if (*out < 0x80)
        return true;
    if (r->at == r->end || *r->at >= 0x80)
        return false;
    *out = (*out & 0x7f) | (uint32_t)*r->at++ << 7;
    return true;
}

static bool read_bytes(struct reader *r, ProtobufCBinaryData *out)
{
    uint32_t len;

    if (!read_short(r, &len) || (size_t)(r->end - r->at) < len)
        return false;
    *out = (ProtobufCBinaryData){ len, (uint8_t *)(uintptr_t)r->at };
    r->at += len;
    return true;
}

/* The numbers of a column, which comes once. */
static bool read_column(struct reader *r, struct reader *column)
{
    ProtobufCBinaryData bytes;

    if (column->at || !read_bytes(r, &bytes))
        return false;
    *column = (struct reader){ bytes.data, bytes.data + bytes.len };
    return true;
}

struct columns {
    struct reader matrix, first, count;
};

static bool read_field(struct reader *r, uint32_t tag, struct ps_header *h,
                       struct ps_found *found, struct columns *c)
{
    switch (tag) {
    case VARINT(1): return read_u32(r, &found->protocol);
    case VARINT(2): return read_u32(r, &h->kind);
    case VARINT(3): return read_u64(r, &h->request);
    case VARINT(4): return read_u32(r, &h->job);
    case FIXED64(5): return read_fixed64(r, &h->session);
    case VARINT(6): return read_u32(r, &h->rank);
    case VARINT(7): return read_u32(r, &h->incarnation);
    case FIXED64(8): return read_fixed64(r, &h->server_epoch);
    case VARINT(9): return read_u64(r, &h->seq);
    case VARINT(10): return read_u64(r, &h->clock);
    case VARINT(11): return read_u32(r, &h->flags);
    case FIXED64(12): return read_fixed64(r, &h->weight);
    case BYTES(13): return read_column(r, &c->matrix);
    case BYTES(14): return read_column(r, &c->first);
    case BYTES(15): return read_column(r, &c->count);
    case VARINT(16): return read_u32(r, &h->parts);
    case VARINT(17): return read_u64(r, &h->version);
    case VARINT(18): return read_s32(r, &h->status);
    case BYTES(19): return read_bytes(r, &found->text);
    case VARINT(20): return read_u64(r, &h->membership_epoch);
    case VARINT(21): return read_u64(r, &h->map_epoch);
    case VARINT(22): return read_u64(r, &h->after);
    case VARINT(23): return read_u32(r, &h->index);
    case VARINT(24): return read_u32(r, &h->n_shards);
    case VARINT(25): return read_u64(r, &h->pid);
    case BYTES(26): return read_bytes(r, &found->name);
    case BYTES(27): return read_bytes(r, &found->token);
    case VARINT(36): return read_u32(r, &h->wait_ms);
    case VARINT(37): return read_u32(r, &h->batches);
    case FIXED64(38): return read_fixed64(r, &h->run);
    case VARINT(40): return read_u64(r, &h->epochs);
    }
    return false;
}

/* Each number ends with a byte below 0x80. */
static size_t numbers_in(const struct reader *column)
{
    size_t n = 0;

    for (const uint8_t *at = column->at; at < column->end; at++)
        n += *at < 0x80;
    return n;
}

static bool read_ranges(struct ps_arena *a, struct columns *c, struct ps_header *h)
{
    size_t           n = numbers_in(&c->matrix);
    struct ps_range *ranges;

    if (n > PS_RANGES_MAX)
        return false;
    if (n > 0) {
        if (!(ranges = ps_arena_get(a, n * sizeof(*ranges))))
            return false;
        for (size_t i = 0; i < n; i++)
            if (!read_u32(&c->matrix, &ranges[i].matrix) ||
                !read_u64(&c->first, &ranges[i].first) ||
                !read_u64(&c->count, &ranges[i].count))
                return false;
        h->n_ranges = (uint32_t)n;
        h->ranges = ranges;
    }
    return c->matrix.at == c->matrix.end && c->first.at == c->first.end &&
           c->count.at == c->count.end;
}

bool ps_direct_read(struct ps_arena *a, const uint8_t *bytes, size_t n_bytes,
                    struct ps_header *h, struct ps_found *found)
{
    struct reader  r = { bytes, bytes + n_bytes };
    struct columns columns = { 0 };
    uint32_t       tag;

    while (r.at < r.end)
        if (!read_short(&r, &tag) || !read_field(&r, tag, h, found, &columns))
            return false;
    return read_ranges(a, &columns, h);
}

/* ---- writing ------------------------------------------------------------------- */

static inline uint8_t *write_varint(uint8_t *to, uint64_t value)
{
    while (value >= 0x80) {
        *to++ = (uint8_t)(value | 0x80);
        value >>= 7;
    }
    *to++ = (uint8_t)value;
    return to;
}

/* What is zero is left out. */
static inline uint8_t *write_number(uint8_t *to, uint32_t number, uint64_t value)
{
    return value == 0 ? to : write_varint(write_varint(to, VARINT(number)), value);
}

static inline uint8_t *write_fixed64(uint8_t *to, uint32_t number, uint64_t bits)
{
    if (bits == 0)
        return to;
    to = write_varint(to, FIXED64(number));
    memcpy(to, &bits, sizeof(bits));
    return to + sizeof(bits);
}

static uint8_t *write_text(uint8_t *to, uint32_t number, const char *text, size_t bytes)
{
    if (bytes == 0)
        return to;
    to = write_varint(write_varint(to, BYTES(number)), bytes);
    memcpy(to, text, bytes);
    return to + bytes;
}

static uint8_t *write_sentence(uint8_t *to, uint32_t number, const char *text)
{
    size_t bytes = ps_sentence_bytes(text);

    if (bytes == 0)
        return to;
    to = write_varint(write_varint(to, BYTES(number)), bytes);
    for (size_t i = 0; i < bytes; i++)
        *to++ = ps_sentence_byte(text[i]);
    return to;
}

static inline size_t varint_bytes(uint64_t value)
{
    return (size_t)(70 - __builtin_clzll(value | 1)) / 7;
}

/* Columns need their lengths first. */
static uint8_t *write_ranges(uint8_t *to, const struct ps_range *ranges, uint32_t n)
{
    size_t matrix = 0, first = 0, count = 0;

    if (n == 0)
        return to;
    for (uint32_t i = 0; i < n; i++) {
        matrix += varint_bytes(ranges[i].matrix);
        first += varint_bytes(ranges[i].first);
        count += varint_bytes(ranges[i].count);
    }
    to = write_varint(write_varint(to, BYTES(13)), matrix);
    for (uint32_t i = 0; i < n; i++)
        to = write_varint(to, ranges[i].matrix);
    to = write_varint(write_varint(to, BYTES(14)), first);
    for (uint32_t i = 0; i < n; i++)
        to = write_varint(to, ranges[i].first);
    to = write_varint(write_varint(to, BYTES(15)), count);
    for (uint32_t i = 0; i < n; i++)
        to = write_varint(to, ranges[i].count);
    return to;
}

/* -0.0 is zero to protobuf-c, too. */
static uint64_t weight_bits(double weight)
{
    return weight == 0 ? 0 : bits_of(weight);
}

static uint32_t folded(int32_t value)
{
    return (uint32_t)value << 1 ^ (value < 0 ? UINT32_MAX : 0);
}

/* Fields 1 to 18: what the data path uses. */
static uint8_t *write_data(uint8_t *to, const struct ps_header *h)
{
    to = write_number(to, 1, PS_PROTOCOL_VERSION);
    to = write_number(to, 2, h->kind);
    to = write_number(to, 3, h->request);
    to = write_number(to, 4, h->job);
    to = write_fixed64(to, 5, h->session);
    to = write_number(to, 6, h->rank);
    to = write_number(to, 7, h->incarnation);
    to = write_fixed64(to, 8, h->server_epoch);
    to = write_number(to, 9, h->seq);
    to = write_number(to, 10, h->clock);
    to = write_number(to, 11, h->flags);
    to = write_fixed64(to, 12, weight_bits(h->weight));
    to = write_ranges(to, h->ranges, h->n_ranges);
    to = write_number(to, 16, h->parts);
    to = write_number(to, 17, h->version);
    return write_number(to, 18, folded(h->status));
}

static bool is_plain(const struct ps_header *h)
{
    return !h->job_spec && !h->traffic && h->n_matrices == 0 && h->n_slot_runs == 0 &&
           h->n_members == 0 && h->n_endpoints == 0 && h->n_reports == 0 &&
           h->n_job_stats == 0 && h->n_sets == 0;
}

size_t ps_direct_write(const struct ps_header *h, uint8_t to[PS_DIRECT_BYTES])
{
    size_t   name = h->name ? strnlen(h->name, PS_NAME_BYTES) : 0;
    size_t   token = h->token ? strnlen(h->token, PS_TEXT_BYTES) : 0;
    uint8_t *at = to;

    if (!is_plain(h) || name == PS_NAME_BYTES || token == PS_TEXT_BYTES)
        return 0;
    at = write_data(at, h);
    at = write_sentence(at, 19, h->text);
    at = write_number(at, 20, h->membership_epoch);
    at = write_number(at, 21, h->map_epoch);
    at = write_number(at, 22, h->after);
    at = write_number(at, 23, h->index);
    at = write_number(at, 24, h->n_shards);
    at = write_number(at, 25, h->pid);
    at = write_text(at, 26, h->name, name);
    at = write_text(at, 27, h->token, token);
    at = write_number(at, 36, h->wait_ms);
    at = write_number(at, 37, h->batches);
    at = write_fixed64(at, 38, h->run);
    at = write_number(at, 40, h->epochs);
    return (size_t)(at - to);
}

size_t ps_sentence_bytes(const char *text)
{
    size_t bytes = text ? strnlen(text, PS_TEXT_BYTES) : 0;

    if (bytes < PS_TEXT_BYTES)
        return bytes;
    bytes--;
    while (bytes > 0 && ((unsigned char)text[bytes] & 0xc0) == 0x80)
        bytes--; /* not inside a UTF-8 character */
    return bytes;
}
