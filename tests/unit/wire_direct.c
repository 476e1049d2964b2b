/* Headers without protobuf-c, held to protobuf-c: the same bytes on the way out, and of
 * any bytes on the way in the same verdict, sentence and values. */
#include "common/base/random.h"
#include "common/wire/arena.h"
#include "common/wire/direct.h"
#include "common/wire/reference.h"
#include "tests/unit/suite.h"

#include <stdio.h>

#define SEED 20241122u
#define HEADERS 20000u
#define INPUTS 100000u

static struct ps_decoder *ours, *theirs;
static struct ps_arena    arena;
static uint64_t           thrown;

static void two_decoders(void)
{
    ck_assert_ok(ps_decoder_new(&ours));
    ck_assert_ok(ps_decoder_new(&theirs));
    thrown = 0;
}

static void no_decoders(void)
{
    ps_decoder_free(&ours);
    ps_decoder_free(&theirs);
    ps_arena_free(&arena);
}

static uint64_t die(uint64_t sides)
{
    return ps_random_below(SEED, 1, thrown++, sides);
}

/* Zero, small, around every edge of 7 bits, anything: each often. */
static uint64_t number(void)
{
    uint64_t any = die(UINT64_MAX);

    switch (die(5)) {
    case 0: return 0;
    case 1: return die(4);
    case 2: return UINT64_MAX;
    case 3: return ((uint64_t)1 << die(64)) - die(2);
    }
    return any >> die(64);
}

/* ---- random headers ------------------------------------------------------------- */

static const uint32_t kinds[] = {
    PS_MSG_PUSH,
    PS_MSG_PUSH_OK,
    PS_MSG_PULL,
    PS_MSG_PULL_OK,
    PS_MSG_ROWS,
    PS_MSG_ROWS_OK,
    PS_MSG_ERROR,
    PS_MSG_OK,
    PS_MSG_BEAT,
    PS_MSG_BYE,
    PS_MSG_RESUME_OK,
    PS_MSG_SAVED,
    PS_MSG_HELLO,
    PS_MSG_WATCH,
    0,
    99,
    PS_MSG_NOTICE,
    PS_MSG_REPORT,
    PS_MSG_JOB,
    PS_MSG_STATS,
};

static const double weights[] = { 0.0, -0.0, 1.0, 64.0, 0.1, 0x1p-1074, -1.0, 1e308 };

static const char *a_text(char *room, size_t longest)
{
    size_t bytes = die(4) == 0 ? die(longest + 1) : die(3) == 0 ? die(40) : 0;

    for (size_t i = 0; i < bytes; i++)
        room[i] = (char)(die(200) == 0 ? 1 + die(255) : 'a' + die(26));
    room[bytes] = '\0';
    return die(8) == 0 ? NULL : room;
}

static struct ps_header a_header(void)
{
    static struct ps_range   ranges[PS_RANGES_MAX];
    static struct ps_traffic traffic = { .pushes = 1 };
    static char              texts[3][2 * PS_TEXT_BYTES];
    struct ps_header         h = {
                .kind = kinds[die(sizeof(kinds) / sizeof(kinds[0]))],
                .request = number(),
                .status = die(3) == 0   ? -(int32_t)die(257)
                          : die(9) == 0 ? (int32_t)number()
                                        : 0,
                .flags = die(4) == 0 ? (uint32_t)number() : (uint32_t)die(4),
                .job = (uint32_t)number(),
                .session = number(),
                .rank = (uint32_t)number(),
                .incarnation = (uint32_t)number(),
                .server_epoch = number(),
                .membership_epoch = number(),
                .map_epoch = number(),
                .run = number(),
                .seq = number(),
                .clock = number(),
                .epochs = number(),
                .version = number(),
                .parts = (uint32_t)number(),
                .batches = (uint32_t)number(),
                .weight = weights[die(sizeof(weights) / sizeof(weights[0]))],
                .after = number(),
                .wait_ms = (uint32_t)number(),
                .index = die(4) == 0 ? (uint32_t)die(300) : 0,
                .n_shards = die(4) == 0 ? (uint32_t)die(300) : 0,
                .pid = number(),
                .ranges = ranges,
                .n_ranges = (uint32_t)(die(16) == 0 ? die(PS_RANGES_MAX + 1) : die(3)),
                .text = a_text(texts[0], PS_TEXT_BYTES + 20),
                .name = a_text(texts[1], PS_NAME_BYTES + 2),
                .token = a_text(texts[2], PS_TEXT_BYTES + 2),
                .traffic = die(20) == 0 ? &traffic : NULL,
    };

    for (uint32_t i = 0; i < h.n_ranges; i++)
        ranges[i] = (struct ps_range){ (uint32_t)number(), number(),
                                       die(50) == 0 ? 0 : 1 + die(1000) };
    return h;
}

/* ---- the same ------------------------------------------------------------------- */

/* Their encoder leaves no field out but what is zero. */
static void assert_same(const struct ps_header *a, const struct ps_header *b)
{
    struct ps_buf *x, *y;

    ck_assert_ok(ps_reference_encode(a, &x));
    ck_assert_ok(ps_reference_encode(b, &y));
    ck_assert_uint_eq(x->len, y->len);
    ck_assert_mem_eq(x->data, y->data, x->len);
    ck_assert_mem_eq(&a->weight, &b->weight, sizeof(a->weight));
    ps_buf_drop(&x);
    ps_buf_drop(&y);
}

/* Of exactly these bytes, so that a sanitizer sees the edge.  True: they are good. */
static bool assert_same_verdict(const uint8_t *data, size_t n)
{
    uint8_t         *exact = malloc(n + 1);
    struct ps_header mine, reference;
    ps_status        st, expected;
    char             why[1024] = "";

    memcpy(exact + 1, data, n);
    expected = ps_reference_decode(theirs, exact + 1, n, &reference);
    if (expected)
        snprintf(why, sizeof(why), "%s", ps_log_last_error());
    st = ps_wire_decode(ours, exact + 1, n, &mine);
    ck_assert_msg(st == expected, "%s (%s), but protobuf-c: %s (%s)",
                  ps_status_text(st), ps_log_last_error(), ps_status_text(expected),
                  why);
    if (st)
        ck_assert_str_eq(ps_log_last_error(), why);
    assert_same(&mine, &reference);
    free(exact);
    return st == PS_OK;
}

START_TEST(what_leaves_is_what_protobuf_would_have_sent)
{
    uint32_t n_direct = 0;

    for (uint32_t i = 0; i < HEADERS; i++) {
        struct ps_header h = a_header();
        struct ps_buf   *mine, *reference;
        uint8_t          direct[PS_DIRECT_BYTES];

        ck_assert_ok(ps_wire_encode(&h, &mine));
        ck_assert_ok(ps_reference_encode(&h, &reference));
        ck_assert_uint_eq(mine->len, reference->len);
        ck_assert_mem_eq(mine->data, reference->data, mine->len);
        n_direct += ps_direct_write(&h, direct) > 0;
        assert_same_verdict(mine->data, mine->len);
        ps_buf_drop(&mine);
        ps_buf_drop(&reference);
    }
    ck_assert_uint_gt(n_direct, HEADERS / 2);
}
END_TEST

/* ---- what needs no protobuf-c --------------------------------------------------- */

static const struct ps_range two[] = { { 1, 0, 16 }, { 2, UINT64_MAX - 5, 5 } };

static const struct ps_header hot[] = {
    { .kind = PS_MSG_PUSH,
      .request = 1,
      .job = 1,
      .session = UINT64_MAX,
      .seq = 300,
      .clock = 2,
      .flags = PS_FLAG_FINISH | PS_FLAG_FINITE,
      .weight = 64,
      .parts = 1,
      .batches = 1,
      .wait_ms = 30000,
      .n_ranges = 2,
      .ranges = two },
    { .kind = PS_MSG_PUSH_OK, .request = 1, .job = 1, .clock = 7, .version = 1u << 31 },
    { .kind = PS_MSG_PULL, .request = 2, .wait_ms = 1, .n_ranges = 1, .ranges = two },
    { .kind = PS_MSG_PULL_OK,
      .request = 2,
      .version = 1,
      .n_ranges = 2,
      .ranges = two },
    { .kind = PS_MSG_ROWS, .request = 3, .after = UINT64_MAX },
    { .kind = PS_MSG_ROWS_OK, .request = 3, .n_ranges = 1, .ranges = two },
    { .kind = PS_MSG_BEAT, .membership_epoch = 3, .clock = 5 },
    { .kind = PS_MSG_ERROR, .request = 4, .status = PS_ERR_SHAPE, .text = "no\nsuch" },
    { .kind = PS_MSG_OK, .request = 5, .epochs = 6 },
};

START_TEST(the_data_path_needs_no_protobuf)
{
    struct ps_header got = { 0 };
    struct ps_found  found = { 0 };
    uint8_t          bytes[PS_DIRECT_BYTES];
    size_t           n = ps_direct_write(&hot[_i], bytes);

    ck_assert_uint_gt(n, 0);
    ck_assert(ps_direct_read(&arena, bytes, n, &got, &found));
    ck_assert_uint_eq(found.protocol, PS_PROTOCOL_VERSION);
    ck_assert_uint_eq(got.kind, hot[_i].kind);
    ck_assert_uint_eq(got.n_ranges, hot[_i].n_ranges);
    ck_assert(assert_same_verdict(bytes, n));
}
END_TEST

START_TEST(the_longest_header_of_plain_fields_has_room)
{
    static char      text[3][PS_TEXT_BYTES];
    struct ps_range  ranges[PS_RANGES_MAX];
    uint8_t          bytes[PS_DIRECT_BYTES];
    struct ps_header h;

    memset(&h, 0xff, sizeof(h)); /* every number as long as it can be */
    h.weight = 1e308;
    h.job_spec = NULL;
    h.traffic = NULL;
    h.n_matrices = h.n_slot_runs = h.n_members = h.n_endpoints = 0;
    h.n_reports = h.n_job_stats = h.n_sets = 0;
    h.n_ranges = PS_RANGES_MAX;
    h.ranges = ranges;
    memset(ranges, 0xff, sizeof(ranges));
    memset(text, 'x', sizeof(text));
    text[0][PS_TEXT_BYTES - 1] = text[2][PS_TEXT_BYTES - 1] = '\0';
    text[1][PS_NAME_BYTES - 1] = '\0';
    h.text = text[0], h.name = text[1], h.token = text[2];
    ck_assert_uint_gt(ps_direct_write(&h, bytes), PS_DIRECT_BYTES / 2);
}
END_TEST

START_TEST(lists_are_left_to_protobuf)
{
    static const struct ps_traffic traffic = { .pushes = 1 };
    static const struct ps_member  member = { .state = PS_MEMBER_LEFT };
    struct ps_header               h = { .kind = PS_MSG_BEAT, .traffic = &traffic };
    uint8_t                        bytes[PS_DIRECT_BYTES];

    ck_assert_uint_eq(ps_direct_write(&h, bytes), 0);
    h = (struct ps_header){ .kind = PS_MSG_OK, .n_members = 1, .members = &member };
    ck_assert_uint_eq(ps_direct_write(&h, bytes), 0);
}
END_TEST

/* ---- bytes that no encoder writes ------------------------------------------------ */

struct input {
    uint8_t bytes[1024];
    size_t  n;
};

static void put(struct input *in, uint64_t byte)
{
    if (in->n < sizeof(in->bytes))
        in->bytes[in->n++] = (uint8_t)byte;
}

/* Longer than it need be, now and then. */
static void put_varint(struct input *in, uint64_t value)
{
    uint64_t padding = die(20) == 0 ? die(11) : 0;

    for (; value >= 0x80; value >>= 7)
        put(in, value | 0x80);
    put(in, padding ? value | 0x80 : value);
    for (; padding > 0; padding--)
        put(in, padding > 1 ? 0x80 : 0);
}

/* Numbers, text or garbage, with a length that is true more often than not. */
static void put_bytes(struct input *in)
{
    struct input content = { .n = 0 };
    uint64_t     items = die(6);

    for (uint64_t i = 0; i < items; i++)
        if (die(10) == 0)
            put(&content, die(256));
        else
            put_varint(&content, die(2) ? 'a' + die(26) : number());
    put_varint(in, die(30) == 0 ? number() : content.n);
    for (size_t i = 0; i < content.n; i++)
        put(in, content.bytes[i]);
}

/* The wire type of each field, as ps.proto says it. */
static const char types[] = " vvvvfvvfvvvfbbbvvvbvvvvvvbbbbbbbbbbvvfbv";

static void put_field(struct input *in)
{
    uint64_t field = die(40) == 0 ? die(2000) : die(sizeof(types) + 1);
    unsigned type = (unsigned)die(8);

    if (field < sizeof(types) - 1 && die(40) > 0)
        type = types[field] == 'v' ? 0 : types[field] == 'f' ? 1 : 2;
    put_varint(in, field << 3 | type);
    if (type == 0)
        put_varint(in, number());
    else if (type == 2)
        put_bytes(in);
    else
        for (unsigned i = 0; i < (type == 1 ? 8u : 4u); i++)
            put(in, die(4) ? 0 : die(256));
}

/* A protocol and a kind in front, mostly, so that more than these are looked at. */
static void a_stream_of_fields(struct input *in)
{
    uint64_t fields = die(12);

    in->n = 0;
    if (die(20) > 0) {
        put(in, 0x08), put(in, PS_PROTOCOL_VERSION);
        put(in, 0x10), put(in, kinds[die(10)]);
        put(in, 0x48), put(in, 1); /* seq */
    }
    for (uint64_t i = 0; i < fields; i++)
        put_field(in);
    if (die(10) == 0)
        in->n = die(in->n + 1);
}

START_TEST(fields_in_any_order_and_shape_mean_the_same)
{
    struct input in;
    uint32_t     good = 0, direct = 0;

    for (uint32_t i = 0; i < INPUTS; i++) {
        struct ps_header h = { 0 };
        struct ps_found  found = { 0 };

        a_stream_of_fields(&in);
        good += assert_same_verdict(in.bytes, in.n);
        ps_arena_reset(&arena);
        direct += ps_direct_read(&arena, in.bytes, in.n, &h, &found);
    }
    /* Neither all good nor all bad, neither all direct nor all left to protobuf-c. */
    ck_assert_uint_gt(good, INPUTS / 20);
    ck_assert_uint_lt(good, INPUTS / 2);
    ck_assert_uint_gt(direct, INPUTS / 20);
    ck_assert_uint_lt(direct, INPUTS / 2);
}
END_TEST

/* One to three changes: a bit, a byte, a piece taken out, a piece doubled. */
static size_t mutate(uint8_t *data, size_t n, size_t room)
{
    for (uint64_t changes = 1 + die(3); changes > 0 && n > 0; changes--) {
        size_t at = die(n), len = 1 + die(n - at);

        switch (die(4)) {
        case 0: data[at] ^= (uint8_t)(1u << die(8)); break;
        case 1: data[at] = (uint8_t)die(256); break;
        case 2:
            memmove(data + at, data + at + len, n - at - len);
            n -= len;
            break;
        case 3:
            if (n + len > room)
                break;
            memmove(data + at + len, data + at, n - at);
            n += len;
            break;
        }
    }
    return n;
}

START_TEST(damaged_headers_are_refused_for_the_same_reason)
{
    uint8_t *data = malloc(PS_HEADER_BYTES);

    for (uint32_t i = 0; i < HEADERS; i++) {
        struct ps_header h = die(2) ? a_header() : hot[die(4)];
        struct ps_buf   *whole;

        ck_assert_ok(ps_reference_encode(&h, &whole));
        memcpy(data, whole->data, whole->len);
        assert_same_verdict(data, mutate(data, whole->len, PS_HEADER_BYTES));
        ps_buf_drop(&whole);
    }
    free(data);
}
END_TEST

START_TEST(a_header_cut_anywhere_is_judged_the_same)
{
    struct ps_buf *whole;

    ck_assert_ok(ps_reference_encode(&hot[_i], &whole));
    for (size_t n = 0; n <= whole->len; n++)
        assert_same_verdict(whole->data, n);
    ps_buf_drop(&whole);
}
END_TEST

/* ---- the shapes that a protobuf reader has to know --------------------------------
 */

#define SHAPE(good, bytes)                                                             \
    {                                                                                  \
        good, bytes, sizeof(bytes) - 1                                                 \
    }
#define PULL "\x08\x01\x10\x34"

static const struct {
    bool        good;
    const char *bytes;
    size_t      n;
} shapes[] = {
    SHAPE(true, PULL),
    SHAPE(true, "\x10\x34\x08\x01"),         /* another order */
    SHAPE(true, "\x08\x02\x08\x01\x10\x34"), /* the last counts */
    SHAPE(true, PULL "\x18\xff\xff\xff\xff\xff\xff\xff\xff\xff\x7f"), /* 70 bits */
    SHAPE(true, PULL "\x20\xff\xff\xff\xff\xff\xff\xff\xff\xff\x01"), /* for a u32 */
    SHAPE(false, PULL "\x18\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\x01"),
    SHAPE(true, "\x88\x00\x01\x10\x34"),                      /* a long tag */
    SHAPE(true, "\x88\x80\x80\x80\x00\x01\x10\x34"),          /* the longest */
    SHAPE(true, PULL "\x6a\x01\x01\x72\x01\x00\x7a\x01\x01"), /* a range */
    SHAPE(true, PULL "\x68\x01\x70\x00\x78\x01"),             /* not packed */
    SHAPE(true, PULL "\x6a\x01\x01\x6a\x01\x02\x72\x02\x00\x00\x7a\x02\x01\x01"),
    SHAPE(true, PULL "\x6a\x00\x72\x00\x7a\x00"),              /* empty columns */
    SHAPE(false, PULL "\x6a\x01\x81\x72\x01\x00\x7a\x01\x01"), /* does not end */
    SHAPE(false, PULL "\x6a\x02\x01\x81\x72\x01\x00\x7a\x01\x01"),
    SHAPE(false, PULL "\x6a\x0b\x80\x80\x80\x80\x80\x80\x80\x80\x80\x80\x01"
                      "\x72\x01\x00\x7a\x01\x01"),          /* 11 bytes */
    SHAPE(true, PULL "\x9a\x01\x00"),                       /* an empty text */
    SHAPE(true, PULL "\x9a\x01\x81\x00x"),                  /* a long length */
    SHAPE(false, PULL "\x9a\x01\x81\x80\x80\x80\x80\x00x"), /* too long a one */
    SHAPE(false, PULL "\x9a\x01\x02x"),                     /* not all there */
    SHAPE(false, PULL "\x29\x01\x02"),                      /* nor here */
    SHAPE(false, PULL "\x2a\x01\x02"),                      /* not its wire type */
    SHAPE(true, PULL "\xa0\x38\x05"),                       /* field 900 */
    SHAPE(true, PULL "\x90\x01\x01"),                       /* status -1 */
    SHAPE(false, PULL "\x90\x01\x02"),                      /* status 1 */
    SHAPE(false, "\x00\x01" PULL),                          /* field 0 */
    SHAPE(false, PULL "\x18"),
    SHAPE(false, PULL "\x9a"),
};

START_TEST(shapes_are_read_as_protobuf_reads_them)
{
    ck_assert(assert_same_verdict((const uint8_t *)shapes[_i].bytes, shapes[_i].n) ==
              shapes[_i].good);
}
END_TEST

static Suite *wire_direct_suite(void)
{
    Suite *s = suite_create("wire_direct");
    TCase *out = tcase_create("out");
    TCase *in = tcase_create("in");

    tcase_set_timeout(out, 120);
    tcase_add_checked_fixture(out, two_decoders, no_decoders);
    tcase_add_test(out, what_leaves_is_what_protobuf_would_have_sent);
    tcase_add_loop_test(out, the_data_path_needs_no_protobuf, 0,
                        (int)(sizeof(hot) / sizeof(hot[0])));
    tcase_add_test(out, the_longest_header_of_plain_fields_has_room);
    tcase_add_test(out, lists_are_left_to_protobuf);
    suite_add_tcase(s, out);

    tcase_set_timeout(in, 120);
    tcase_add_checked_fixture(in, two_decoders, no_decoders);
    tcase_add_test(in, fields_in_any_order_and_shape_mean_the_same);
    tcase_add_test(in, damaged_headers_are_refused_for_the_same_reason);
    tcase_add_loop_test(in, a_header_cut_anywhere_is_judged_the_same, 0,
                        (int)(sizeof(hot) / sizeof(hot[0])));
    tcase_add_loop_test(in, shapes_are_read_as_protobuf_reads_them, 0,
                        (int)(sizeof(shapes) / sizeof(shapes[0])));
    suite_add_tcase(s, in);
    return s;
}

TEST_MAIN(wire_direct_suite)
