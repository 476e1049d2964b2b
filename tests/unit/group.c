/* Small parcels that travel as one message: what goes in comes out, over sockets too,
 * and what is not a group in all its parts is nothing at all. */
#include "common/net/group.h"
#include "common/base/sheet.h"
#include "common/net/net.h"
#include "tests/unit/suite.h"

#include <stdlib.h>
#include <zmq.h>

#define DEADLINE_MS 20000
#define MANY 500u

static struct psn_group group;
static const uint8_t    key[PSN_KEY_BYTES] = "a key of a near";
static uint8_t          bytes[PSN_GROUP_HEAD_BYTES + PS_GROUP_BYTES + 8];
static size_t           n_bytes;

static void empty_group(void)
{
    group = (struct psn_group){ 0 };
}

static void clear_group(void)
{
    psn_group_clear(&group);
}

static struct ps_buf *buf_of(size_t size, uint8_t first)
{
    struct ps_buf *b;

    ck_assert_ok(ps_buf_new(&b, size));
    for (size_t i = 0; i < size; i++)
        b->data[i] = (uint8_t)(first + 7 * i);
    b->len = size;
    return b;
}

/* Parcel number i: one of many shapes, which says its number. */
static struct ps_parcel parcel(uint32_t i)
{
    struct ps_parcel p = { .head = buf_of(1 + i % 50, 1) };

    for (uint32_t n = i % 4; p.n_frames < n; p.n_frames++)
        p.frames[p.n_frames] = buf_of((i * 13 + p.n_frames * 5) % 100, (uint8_t)i);
    return p;
}

static void same_buf(const struct ps_buf *got, const struct ps_buf *expected)
{
    ck_assert_uint_eq(got->len, expected->len);
    ck_assert_uint_eq((uintptr_t)got->data % 8, 0);
    if (got->len > 0)
        ck_assert_mem_eq(got->data, expected->data, got->len);
}

/* Drops what it got. */
static void is_parcel(struct ps_parcel *got, uint32_t i)
{
    struct ps_parcel expected = parcel(i);

    same_buf(got->head, expected.head);
    ck_assert_uint_eq(got->n_frames, expected.n_frames);
    for (uint32_t k = 0; k < got->n_frames; k++)
        same_buf(got->frames[k], expected.frames[k]);
    ps_parcel_drop(got);
    ps_parcel_drop(&expected);
}

/* A group of the first n parcels, in `bytes`. */
static void written(size_t n, const uint8_t *of_near)
{
    struct ps_parcel parcels[PS_GROUP_MAX];

    for (uint32_t i = 0; i < n; i++)
        parcels[i] = parcel(i);
    ck_assert_uint_eq(psn_group_count(parcels, n, &n_bytes), n);
    psn_group_write(parcels, n, of_near, bytes);
    for (uint32_t i = 0; i < n; i++)
        ps_parcel_drop(&parcels[i]);
}

static ps_status opened(uint8_t got_key[PSN_KEY_BYTES])
{
    uint8_t  *exact = malloc(n_bytes); /* so that a sanitizer sees where it ends */
    ps_status st;

    ck_assert_ptr_nonnull(exact);
    memcpy(exact, bytes, n_bytes);
    st = psn_group_open(&group, exact, n_bytes, got_key);
    free(exact);
    return st;
}

static void is_refused(void)
{
    uint8_t got_key[PSN_KEY_BYTES];

    ck_assert_status(opened(got_key), PS_ERR_BAD_MESSAGE);
    ck_assert_ptr_null(group.block);
}

/* ---- bytes ---------------------------------------------------------------------- */

START_TEST(group_gives_back_what_went_in)
{
    uint8_t          got_key[PSN_KEY_BYTES];
    struct ps_parcel p;

    written(PS_GROUP_MAX, key);
    ck_assert(psn_group_is(bytes, n_bytes));
    ck_assert_ok(opened(got_key));
    ck_assert_mem_eq(got_key, key, sizeof(key));
    for (uint32_t i = 0; i < PS_GROUP_MAX; i++) {
        ck_assert(psn_group_next(&group, &p));
        is_parcel(&p, i);
    }
    ck_assert(!psn_group_next(&group, &p));
}
END_TEST

START_TEST(parcels_outlive_the_group_and_one_another)
{
    uint8_t          got_key[PSN_KEY_BYTES];
    struct ps_parcel p[3];

    written(4, NULL);
    ck_assert_ok(opened(got_key));
    for (int i = 0; i < 3; i++)
        ck_assert(psn_group_next(&group, &p[i]));
    psn_group_clear(&group); /* with one inside */
    is_parcel(&p[1], 1);
    is_parcel(&p[0], 0);
    is_parcel(&p[2], 2);
}
END_TEST

START_TEST(group_takes_no_more_than_it_may)
{
    struct ps_parcel parcels[PS_GROUP_MAX + 1];
    size_t           n = 0;

    for (uint32_t i = 0; i < PS_GROUP_MAX + 1; i++)
        parcels[i] = parcel(i);
    ck_assert_uint_eq(psn_group_count(parcels, PS_GROUP_MAX + 1, &n), PS_GROUP_MAX);
    ps_buf_drop(&parcels[3].frames[0]);
    parcels[3].frames[0] = buf_of(PS_GROUP_BYTES - 100, 1);
    ck_assert_uint_eq(psn_group_count(parcels, PS_GROUP_MAX, &n), 3);
    ck_assert_uint_le(n, PSN_GROUP_HEAD_BYTES + PS_GROUP_BYTES);
    ck_assert_uint_eq(psn_group_count(parcels + 3, PS_GROUP_MAX - 3, &n), 1);
    for (uint32_t i = 0; i < PS_GROUP_MAX + 1; i++)
        ps_parcel_drop(&parcels[i]);
}
END_TEST

/* ---- what is not a group -------------------------------------------------------- */

START_TEST(sheet_goes_alone)
{
    struct ps_buf   *block = buf_of(64, 1);
    struct ps_parcel all[] = { parcel(1), { .head = buf_of(8, 1) }, parcel(2) };
    size_t           room;

    ck_assert_ok(ps_sheet_new(&all[1].frames[0], 1, NULL, &block, 1));
    all[1].n_frames = 1;
    ck_assert_uint_eq(psn_group_count(all, 3, &room), 1);
    ck_assert_uint_eq(psn_group_count(all + 1, 2, &room), 1);
    for (size_t i = 0; i < 3; i++)
        ps_parcel_drop(&all[i]);
    ps_buf_drop(&block);
}
END_TEST

START_TEST(truncated_group_is_refused_whole)
{
    size_t whole;

    written(5, key);
    whole = n_bytes;
    for (n_bytes = 0; n_bytes < whole; n_bytes++)
        is_refused();
}
END_TEST

START_TEST(bytes_behind_the_last_parcel_are_refused)
{
    written(5, NULL);
    memset(bytes + n_bytes, 0, 8);
    n_bytes += 8;
    is_refused();
}
END_TEST

/* One number of a group of two, whose first parcel has a header of 1 byte and no frame,
 * the second one of 2 and one frame of 13 bytes. */
static const struct {
    const char *what;
    size_t      at, bytes;
    uint32_t    value;
} wrongs[] = {
    { "another kind", 1, 1, PSN_LOANS },
    { "another version", 2, 1, 2 },
    { "a byte that is zero", 3, 1, 1 },
    { "no parcels", 4, 4, 0 },
    { "one parcel", 4, 4, 1 },
    { "three parcels", 4, 4, 3 },
    { "too many parcels", 4, 4, PS_GROUP_MAX + 1 },
    { "parcels without end", 4, 4, UINT32_MAX },
    { "no header", 24, 4, 0 },
    { "a header of more bytes than there are", 24, 4, 4000 },
    { "a header of more bytes than it may have", 24, 4, PS_HEADER_BYTES + 1 },
    { "a header without end", 24, 4, UINT32_MAX },
    { "a frame that is not there", 28, 4, 1 },
    { "too many frames", 28, 4, PS_FRAMES_MAX + 1 },
    { "frames without end", 28, 4, UINT32_MAX },
    { "a frame that ends early", 48, 4, 8 },
    { "a frame that ends late", 48, 4, 17 },
    { "a frame without end", 48, 4, UINT32_MAX },
    { "a frame that ends before it begins", 48, 4, UINT32_MAX - 6 },
};

START_TEST(wrong_number_refuses_the_whole)
{
    written(2, NULL);
    ck_assert_uint_eq(n_bytes, 80);
    memcpy(bytes + wrongs[_i].at, &wrongs[_i].value, wrongs[_i].bytes);
    is_refused();
}
END_TEST

START_TEST(group_of_too_many_bytes_is_refused)
{
    uint8_t got_key[PSN_KEY_BYTES];

    written(2, NULL);
    n_bytes = PSN_GROUP_HEAD_BYTES + PS_GROUP_BYTES + 8;
    ck_assert_status(psn_group_open(&group, bytes, n_bytes, got_key),
                     PS_ERR_BAD_MESSAGE);
}
END_TEST

/* ---- over sockets --------------------------------------------------------------- */

static struct ps_net    *net;
static struct ps_server *server;
static struct ps_link   *link_;

static void pair(void)
{
    ck_assert_ok(ps_net_new(&net));
    ck_assert_ok(ps_server_open(&server, net, "tcp://127.0.0.1:0"));
    ck_assert_ok(ps_link_open(&link_, net, ps_server_endpoint(server)));
}

static void no_pair(void)
{
    ps_link_close(&link_, 0);
    ps_server_close(&server);
    ps_net_free(&net);
}

/* Waits as a driver does. */
static struct ps_parcel at_server(void)
{
    struct ps_parcel p;
    struct ps_poll   poll = { .server = server };
    ps_status        st = PS_ERR_TIMEOUT;

    for (int i = 0; st == PS_ERR_TIMEOUT && i < DEADLINE_MS; i += 100) {
        ck_assert_ok(ps_net_poll(&poll, 1, 100));
        if (poll.ready)
            st = ps_server_receive(server, &p);
    }
    ck_assert_ok(st);
    return p;
}

static struct ps_parcel at_link(void)
{
    struct ps_parcel p;
    struct ps_poll   poll = { .link = link_ };

    ck_assert_ok(ps_net_poll(&poll, 1, DEADLINE_MS));
    ck_assert(poll.ready);
    ck_assert_ok(ps_link_receive(link_, &p));
    return p;
}

/* Every seventh is too large for a group. */
static void widen(struct ps_parcel *p, uint32_t i)
{
    if (i % 7 == 6)
        p->frames[p->n_frames++] = buf_of(PS_GROUP_BYTES + 100 * i, (uint8_t)i);
}

static void is_widened(struct ps_parcel *p, uint32_t i)
{
    if (i % 7 == 6) {
        ck_assert_uint_gt(p->n_frames, 0);
        ck_assert_uint_eq(p->frames[--p->n_frames]->len, PS_GROUP_BYTES + 100 * i);
        ps_buf_drop(&p->frames[p->n_frames]);
    }
    is_parcel(p, i);
}

START_TEST(small_and_large_arrive_in_order_and_so_do_answers)
{
    struct ps_parcel parcels[MANY / 10];

    for (uint32_t i = 0; i < MANY / 10; i++) {
        parcels[i] = parcel(i);
        widen(&parcels[i], i);
    }
    ck_assert_ok(ps_link_send_all(link_, parcels, MANY / 10));
    for (uint32_t i = 0; i < MANY / 10; i++) {
        ck_assert_ptr_null(parcels[i].head);
        parcels[i] = at_server(); /* its route leads back */
    }
    ck_assert_ok(ps_server_send_all(server, parcels, MANY / 10));
    for (uint32_t i = 0; i < MANY / 10; i++) {
        struct ps_parcel p = at_link();

        is_widened(&p, i);
    }
}
END_TEST

/* A queue of 64 has room for them, and the second half is there when the first is. */
START_TEST(many_small_ones_are_few_messages)
{
    struct ps_parcel parcels[MANY], p;

    for (uint32_t i = 0; i < MANY; i++)
        parcels[i] = parcel(i);
    ck_assert_ok(ps_link_send_all(link_, parcels, MANY));
    for (uint32_t i = 0; i < MANY; i++) {
        p = at_server();
        ck_assert_uint_eq(p.route.kind, PS_ROUTE_PEER);
        ck_assert(ps_server_has_more(server) ==
                  (i % PS_GROUP_MAX != PS_GROUP_MAX - 1 && i != MANY - 1));
        is_parcel(&p, i);
    }
}
END_TEST

START_TEST(answers_find_their_peers)
{
    struct ps_link  *other;
    struct ps_parcel p[4];

    ck_assert_ok(ps_link_open(&other, net, ps_server_endpoint(server)));
    for (uint32_t i = 0; i < 4; i++) {
        p[i] = parcel(i);
        ck_assert_ok(ps_link_send(i < 2 ? link_ : other, &p[i]));
        p[i] = at_server();
    }
    ck_assert_ok(ps_server_send_all(server, p, 4));
    for (uint32_t i = 0; i < 4; i++) {
        struct ps_poll poll = { .link = i < 2 ? link_ : other };

        ck_assert_ok(ps_net_poll(&poll, 1, DEADLINE_MS));
        ck_assert_ok(ps_link_receive(poll.link, &p[i]));
        is_parcel(&p[i], i);
    }
    ps_link_close(&other, 0);
}
END_TEST

START_TEST(server_closes_with_parcels_inside)
{
    struct ps_parcel p[2] = { parcel(0), parcel(1) };

    ck_assert_ok(ps_link_send_all(link_, p, 2));
    p[0] = at_server();
    ck_assert(ps_server_has_more(server));
    ps_server_close(&server);
    is_parcel(&p[0], 0);
}
END_TEST

static void dropped_is(uint64_t expected)
{
    struct ps_parcel p;
    struct ps_poll   poll = { .server = server };

    for (int i = 0; ps_server_dropped(server) < expected && i < DEADLINE_MS; i += 100) {
        ck_assert_ok(ps_net_poll(&poll, 1, 100));
        ck_assert_status(ps_server_receive(server, &p), PS_ERR_TIMEOUT);
    }
    ck_assert_uint_eq(ps_server_dropped(server), expected);
}

START_TEST(malformed_group_is_dropped_and_counted_once)
{
    void            *context = zmq_ctx_new(), *socket = zmq_socket(context, ZMQ_DEALER);
    struct ps_parcel p;

    ck_assert_int_eq(zmq_connect(socket, ps_server_endpoint(server)), 0);
    written(5, NULL);
    ck_assert_int_ge(zmq_send(socket, bytes, n_bytes - 1, 0), 0);
    dropped_is(1);
    ck_assert_int_ge(zmq_send(socket, bytes, n_bytes, ZMQ_SNDMORE), 0); /* not alone */
    ck_assert_int_ge(zmq_send(socket, bytes, n_bytes, 0), 0);
    dropped_is(2);
    ck_assert_int_ge(zmq_send(socket, bytes, n_bytes, 0), 0);
    for (uint32_t i = 0; i < 5; i++) {
        p = at_server();
        is_parcel(&p, i);
    }
    zmq_close(socket);
    zmq_ctx_term(context);
}
END_TEST

static Suite *group_suite(void)
{
    Suite *s = suite_create("group");
    TCase *of_bytes = tcase_create("bytes");
    TCase *none = tcase_create("no group");
    TCase *sockets = tcase_create("sockets");

    tcase_add_checked_fixture(of_bytes, empty_group, clear_group);
    tcase_add_test(of_bytes, group_gives_back_what_went_in);
    tcase_add_test(of_bytes, parcels_outlive_the_group_and_one_another);
    tcase_add_test(of_bytes, group_takes_no_more_than_it_may);
    suite_add_tcase(s, of_bytes);

    tcase_add_checked_fixture(none, empty_group, clear_group);
    tcase_add_test(none, sheet_goes_alone);
    tcase_add_test(none, truncated_group_is_refused_whole);
    tcase_add_test(none, bytes_behind_the_last_parcel_are_refused);
    tcase_add_loop_test(none, wrong_number_refuses_the_whole, 0,
                        sizeof(wrongs) / sizeof(wrongs[0]));
    tcase_add_test(none, group_of_too_many_bytes_is_refused);
    suite_add_tcase(s, none);

    tcase_add_checked_fixture(sockets, pair, no_pair);
    tcase_add_test(sockets, small_and_large_arrive_in_order_and_so_do_answers);
    tcase_add_test(sockets, many_small_ones_are_few_messages);
    tcase_add_test(sockets, answers_find_their_peers);
    tcase_add_test(sockets, server_closes_with_parcels_inside);
    tcase_add_test(sockets, malformed_group_is_dropped_and_counted_once);
    tcase_set_timeout(sockets, 60);
    suite_add_tcase(s, sockets);
    return s;
}

TEST_MAIN(group_suite)
