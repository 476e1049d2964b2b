/* The base: buffers and who owns them, outboxes, log lines, random numbers. */
#include "common/base/copy.h"
#include "common/base/cpus.h"
#include "common/base/log.h"
#include "common/base/parcel.h"
#include "common/base/random.h"
#include "tests/unit/suite.h"

#include <errno.h>
#include <math.h>
#include <pthread.h>
#include <stdio.h>
#include <sysexits.h>

#define COUNT(array) (sizeof(array) / sizeof((array)[0]))

/* ---- buffers ------------------------------------------------------------------- */

START_TEST(a_new_buffer_is_empty_and_aligned)
{
    struct ps_buf *b;

    for (size_t room = 0; room < 1000; room += 37) {
        ck_assert_ok(ps_buf_new(&b, room));
        ck_assert_uint_eq(b->len, 0);
        ck_assert_uint_eq(b->room, room);
        ck_assert_uint_eq((uintptr_t)b->data % PS_BUF_ALIGN, 0);
        memset(b->data, 0xff, room); /* a sanitizer sees a wrong edge */
        ck_assert(ps_buf_sole(b));
        ps_buf_drop(&b);
        ck_assert_ptr_null(b);
    }
}
END_TEST

START_TEST(a_buffer_of_endless_size_is_refused)
{
    struct ps_buf *b;

    ck_assert_status(ps_buf_new(&b, SIZE_MAX - 8), PS_ERR_NO_MEMORY);
    ck_assert_why("buffer: 18446744073709551607 bytes is too much");
}
END_TEST

START_TEST(a_copy_is_a_copy)
{
    char           text[] = "values";
    struct ps_buf *b;

    ck_assert_ok(ps_buf_copy(&b, text, sizeof(text)));
    text[0] = 'V';
    ck_assert_uint_eq(b->len, sizeof(text));
    ck_assert_str_eq((char *)b->data, "values");
    ps_buf_drop(&b);
    ck_assert_ok(ps_buf_copy(&b, NULL, 0));
    ck_assert_uint_eq(b->len, 0);
    ps_buf_drop(&b);
}
END_TEST

/* ---- lists of CPUs -------------------------------------------------------------- */

/* Around every edge: of a line, a page, four of them, at both ends. */
START_TEST(a_copy_past_the_cache_is_a_copy)
{
    static const size_t sizes[] = { 0,     1,     63,    64,    65,   4096,
                                    16383, 16384, 16448, 32768, 50000 };
    static uint8_t      from[60000], to[60000], expected[60000];

    for (size_t i = 0; i < sizeof(from); i++)
        from[i] = (uint8_t)(i * 7 + i / 251);
    for (size_t i = 0; i < COUNT(sizes); i++)
        for (size_t shift = 0; shift < 3 * PS_COPY_LINE; shift += 13) {
            memset(to, 0xee, sizeof(to));
            memset(expected, 0xee, sizeof(expected));
            memcpy(expected + shift, from + 2 * shift + 1, sizes[i]);
            ps_copy_past_cache(to + shift, from + 2 * shift + 1, sizes[i]);
            ck_assert_mem_eq(to, expected, sizeof(to));
        }
}
END_TEST

START_TEST(a_list_of_cpus_keeps_its_order)
{
    static const uint16_t expected[] = { 8, 0, 1, 2, 3, 1023 };
    struct ps_cpus        cpus;
    char                  text[PS_CPUS_TEXT_BYTES];

    ck_assert(ps_cpus_parse(&cpus, "8,0-1,2-3,1023"));
    ck_assert_uint_eq(cpus.n, COUNT(expected));
    ck_assert_mem_eq(cpus.cpu, expected, sizeof(expected));
    ck_assert(ps_cpus_has(&cpus, 1023));
    ck_assert(!ps_cpus_has(&cpus, 4));
    ps_cpus_text(&cpus, text);
    ck_assert_str_eq(text, "8,0-3,1023");
}
END_TEST

START_TEST(what_is_no_list_of_cpus_is_refused)
{
    static const char *const bad[] = { "",    ",",   "0,",    ",0",   "0-",     "-0",
                                       "1-0", "0,0", "0-3,2", "1024", "0-1024", "99999",
                                       "x",   "0 ",  "0x1",   "0--1", "+1" };
    struct ps_cpus           cpus;

    for (size_t i = 0; i < COUNT(bad); i++)
        ck_assert_msg(!ps_cpus_parse(&cpus, bad[i]), "%s", bad[i]);
}
END_TEST

/* Every second one of all makes the longest text. */
START_TEST(a_list_of_cpus_too_long_to_show_is_cut)
{
    struct ps_cpus cpus = { 0 };
    char           text[PS_CPUS_TEXT_BYTES];

    for (uint16_t i = 0; i < PS_CPUS_MAX; i += 2)
        cpus.cpu[cpus.n++] = i;
    ps_cpus_text(&cpus, text);
    ck_assert_uint_eq(strlen(text), sizeof(text) - 1);
    cpus.n = 0;
    ps_cpus_text(&cpus, text);
    ck_assert_str_eq(text, "");
}
END_TEST

static void count_release(void *owner)
{
    ++*(int *)owner;
}

START_TEST(the_last_owner_releases_adopted_memory)
{
    uint64_t       memory[2] = { 1, 2 };
    int            released = 0;
    struct ps_buf *b, *other;

    ck_assert_ok(ps_buf_adopt(&b, memory, sizeof(memory), count_release, &released));
    ck_assert_ptr_eq(b->data, memory);
    ck_assert_uint_eq(b->len, sizeof(memory));
    other = ps_buf_share(b);
    ck_assert_ptr_eq(other, b);
    ck_assert(!ps_buf_sole(b));
    ps_buf_drop(&b);
    ck_assert_int_eq(released, 0);
    ck_assert(ps_buf_sole(other));
    ps_buf_drop(&other);
    ck_assert_int_eq(released, 1);
}
END_TEST

START_TEST(dropping_nothing_is_fine)
{
    struct ps_buf *b = NULL;

    ps_buf_drop(&b);
    ck_assert_ptr_null(b);
}
END_TEST

#define SHARES 20000

static void *share_and_drop(void *buffer)
{
    struct ps_buf *b = buffer;

    for (int i = 0; i < SHARES; i++) {
        struct ps_buf *mine = ps_buf_share(b);

        ps_buf_drop(&mine);
    }
    return NULL;
}

START_TEST(owners_on_two_threads_are_counted_right)
{
    int            released = 0;
    char           memory[8];
    struct ps_buf *b;
    pthread_t      thread;

    ck_assert_ok(ps_buf_adopt(&b, memory, sizeof(memory), count_release, &released));
    ck_assert_int_eq(pthread_create(&thread, NULL, share_and_drop, b), 0);
    share_and_drop(b);
    pthread_join(thread, NULL);
    ck_assert(ps_buf_sole(b));
    ck_assert_int_eq(released, 0);
    ps_buf_drop(&b);
    ck_assert_int_eq(released, 1);
}
END_TEST

/* ---- parcels and outboxes ------------------------------------------------------ */

static struct ps_parcel a_parcel(uint16_t shard, int *released)
{
    struct ps_parcel p = { .route = { .kind = PS_ROUTE_SHARD, .index = shard },
                           .n_frames = 2 };
    static char      memory[8];

    ck_assert_ok(ps_buf_adopt(&p.head, memory, 8, count_release, released));
    ck_assert_ok(ps_buf_adopt(&p.frames[0], memory, 8, count_release, released));
    ck_assert_ok(ps_buf_adopt(&p.frames[1], memory, 8, count_release, released));
    return p;
}

START_TEST(routes_are_the_same_when_they_lead_to_the_same_place)
{
    struct ps_route shard = { .kind = PS_ROUTE_SHARD, .index = 3, .bytes = 1 };
    struct ps_route again = { .kind = PS_ROUTE_SHARD, .index = 3 };
    struct ps_route peer = { .kind = PS_ROUTE_PEER, .bytes = 2, .id = { 1, 2, 3 } };
    struct ps_route longer = { .kind = PS_ROUTE_PEER, .bytes = 3, .id = { 1, 2, 3 } };
    struct ps_route alike = { .kind = PS_ROUTE_PEER, .bytes = 2, .id = { 1, 2, 4 } };
    struct ps_route other = { .kind = PS_ROUTE_PEER, .bytes = 2, .id = { 1, 1, 3 } };

    ck_assert(ps_route_same(&shard, &again));
    again.index = 4;
    ck_assert(!ps_route_same(&shard, &again));
    ck_assert(ps_route_same(&peer, &alike));
    ck_assert(!ps_route_same(&peer, &longer));
    ck_assert(!ps_route_same(&peer, &other));
    ck_assert(!ps_route_same(&peer, &shard));
}
END_TEST

START_TEST(a_shared_parcel_holds_the_same_buffers)
{
    int              released = 0;
    struct ps_parcel p = a_parcel(1, &released), other;

    ps_parcel_share(&other, &p);
    ck_assert_ptr_eq(other.frames[1], p.frames[1]);
    ps_parcel_drop(&p);
    ck_assert_uint_eq(p.n_frames, 0);
    ck_assert_ptr_null(p.head);
    ck_assert_int_eq(released, 0);
    ps_parcel_drop(&other);
    ck_assert_int_eq(released, 3);
}
END_TEST

START_TEST(parcels_leave_in_the_order_in_which_they_were_put)
{
    int              released = 0;
    struct ps_outbox out = { 0 };

    for (uint16_t i = 0; i < 100; i++) {
        struct ps_parcel p = a_parcel(i, &released);

        ck_assert_ok(ps_outbox_put(&out, &p));
        ck_assert_ptr_null(p.head);
        ck_assert_uint_eq(p.n_frames, 0);
    }
    ck_assert_uint_eq(out.n, 100);
    for (uint16_t i = 0; i < 100; i++)
        ck_assert_uint_eq(out.parcels[i].route.index, i);
    ck_assert_int_eq(released, 0);
    ps_outbox_clear(&out);
    ck_assert_int_eq(released, 300);
    ck_assert_uint_eq(out.n, 0);
    ck_assert_uint_ge(out.room, 100);
    ps_outbox_free(&out);
    ck_assert_ptr_null(out.parcels);
}
END_TEST

START_TEST(a_parcel_taken_out_is_not_dropped_again)
{
    int              released = 0;
    struct ps_outbox out = { 0 };
    struct ps_parcel p = a_parcel(0, &released), mine;

    ck_assert_ok(ps_outbox_put(&out, &p));
    mine = out.parcels[0];
    out.n = 0;
    ps_outbox_free(&out);
    ck_assert_int_eq(released, 0);
    ps_parcel_drop(&mine);
    ck_assert_int_eq(released, 3);
}
END_TEST

/* ---- small buffers ----------------------------------------------------------------
 */

static struct ps_tray tray;

static struct ps_buf *taken(size_t room)
{
    struct ps_buf *b;

    ck_assert_ok(ps_tray_buf(&tray, NULL, &b, room));
    ck_assert_uint_eq(b->len, 0);
    ck_assert_uint_ge(b->room, room);
    ck_assert_uint_eq((uintptr_t)b->data % 8, 0);
    memset(b->data, (int)room, room); /* a sanitizer sees a wrong edge */
    b->len = room;
    return b;
}

START_TEST(small_buffers_share_a_block)
{
    struct ps_buf *b[20];

    for (size_t i = 0; i < COUNT(b); i++)
        b[i] = taken(i * 5);
    ck_assert_uint_eq(atomic_load(&tray.block->owners), 1 + COUNT(b));
    for (size_t i = 0; i < COUNT(b); i++) {
        for (size_t k = 0; k < b[i]->len; k++)
            ck_assert_uint_eq(b[i]->data[k], i * 5);
        ps_buf_drop(&b[i]);
    }
    ps_tray_clear(&tray);
    ck_assert_ptr_null(tray.block);
}
END_TEST

START_TEST(a_tray_that_is_empty_again_is_used_from_its_beginning)
{
    struct ps_buf *first = taken(60), *b;
    uint8_t       *at = first->data;

    ps_buf_drop(&first);
    for (int i = 0; i < 1000; i++) {
        b = taken(60);
        ck_assert_ptr_eq(b->data, at);
        ps_buf_drop(&b);
    }
    ps_tray_clear(&tray);
}
END_TEST

START_TEST(a_full_tray_is_left_to_those_who_hold_it)
{
    struct ps_buf *first = taken(100), *b;
    struct ps_buf *old = tray.block;

    while (tray.block == old) {
        b = taken(100);
        ps_buf_drop(&b);
    }
    ck_assert_uint_eq(atomic_load(&old->owners), 1);
    ck_assert_uint_eq(first->data[99], 100);
    ps_tray_clear(&tray);
    ck_assert_uint_eq(first->data[0], 100);
    ps_buf_drop(&first);
}
END_TEST

START_TEST(what_is_not_small_has_a_block_of_its_own)
{
    struct ps_buf *b = taken(PS_TRAY_MOST_BYTES + 1);

    ck_assert_ptr_null(tray.block);
    ps_buf_drop(&b);
    ck_assert_ok(ps_tray_buf(NULL, NULL, &b, 8));
    ck_assert_uint_eq((uintptr_t)b->data % PS_BUF_ALIGN, 0);
    ps_buf_drop(&b);
}
END_TEST

/* ---- log ----------------------------------------------------------------------- */

static char lines[4][1100];
static int  n_lines;

static void listen(void *ctx, enum ps_log_level level, const char *line)
{
    ck_assert_ptr_eq(ctx, lines);
    snprintf(lines[n_lines++], sizeof(lines[0]), "<%d>%s", (int)level, line);
}

static void no_line_yet(void)
{
    n_lines = 0;
}

static void nobody_listens(void)
{
    ps_log_listen(NULL, NULL, PS_LOG_ERR);
}

START_TEST(lines_up_to_the_level_reach_the_listener)
{
    ps_log_listen(listen, lines, PS_LOG_INFO);
    ps_log(PS_LOG_INFO, "shard %d: ready", 2);
    ps_log(PS_LOG_DEBUG, "not this one");
    ps_log(PS_LOG_WARN, "worker %u: silent", 3u);
    ck_assert_int_eq(n_lines, 2);
    ck_assert_str_eq(lines[0], "<6>shard 2: ready");
    ck_assert_str_eq(lines[1], "<4>worker 3: silent");
    ck_assert_str_eq(ps_log_last_error(), "");
}
END_TEST

START_TEST(the_last_error_is_kept_when_nobody_listens)
{
    ck_assert_str_eq(ps_log_last_error(), "");
    ck_assert_int_eq(ps_fail(PS_ERR_SHAPE, "matrix %s: no", "a"), PS_ERR_SHAPE);
    ps_log(PS_LOG_WARN, "something else");
    ck_assert_str_eq(ps_log_last_error(), "matrix a: no");
    ck_assert_int_eq(n_lines, 0);
}
END_TEST

START_TEST(a_system_reason_is_told_and_errno_survives)
{
    errno = ENOENT;
    ps_log(PS_LOG_ERR, "file x: %m");
    ck_assert_int_eq(errno, ENOENT);
    ck_assert_str_eq(ps_log_last_error(), "file x: No such file or directory");
}
END_TEST

START_TEST(a_line_that_is_too_long_is_cut)
{
    char long_text[3000];

    memset(long_text, 'x', sizeof(long_text) - 1);
    long_text[sizeof(long_text) - 1] = '\0';
    ps_log(PS_LOG_ERR, "%s", long_text);
    ck_assert_uint_eq(strlen(ps_log_last_error()), 1023);
}
END_TEST

static void *fail_elsewhere(void *unused)
{
    ps_log(PS_LOG_ERR, "on the other thread");
    ck_assert_str_eq(ps_log_last_error(), "on the other thread");
    return unused;
}

START_TEST(each_thread_has_its_own_last_error)
{
    pthread_t thread;

    ps_log(PS_LOG_ERR, "on this thread");
    ck_assert_int_eq(pthread_create(&thread, NULL, fail_elsewhere, NULL), 0);
    pthread_join(thread, NULL);
    ck_assert_str_eq(ps_log_last_error(), "on this thread");
}
END_TEST

/* ---- statuses ------------------------------------------------------------------ */

START_TEST(every_status_has_its_own_text)
{
    for (int a = PS_ERR_IO; a <= PS_OK; a++) {
        ck_assert_str_ne(ps_status_text((ps_status)a), "unknown status");
        for (int b = a + 1; b <= PS_OK; b++)
            ck_assert_str_ne(ps_status_text((ps_status)a),
                             ps_status_text((ps_status)b));
    }
    ck_assert_str_eq(ps_status_text((ps_status)-200), "unknown status");
    ck_assert_str_eq(ps_status_text((ps_status)1), "unknown status");
}
END_TEST

START_TEST(exit_codes_are_those_of_sysexits)
{
    ck_assert_int_eq(ps_status_exit_code(PS_OK), 0);
    ck_assert_int_eq(ps_status_exit_code(PS_ERR_BAD_ARG), 64);
    ck_assert_int_eq(ps_status_exit_code(PS_ERR_DATA), 65);
    ck_assert_int_eq(ps_status_exit_code(PS_ERR_UNAVAILABLE), 69);
    ck_assert_int_eq(ps_status_exit_code(PS_ERR_IO), 74);
    ck_assert_int_eq(ps_status_exit_code(PS_ERR_DENIED), 77);
    ck_assert_int_eq(ps_status_exit_code(PS_ERR_CONFIG), 78);
    for (int a = PS_ERR_IO; a < PS_OK; a++)
        ck_assert_int_ge(ps_status_exit_code((ps_status)a), EX__BASE);
}
END_TEST

/* ---- random numbers ------------------------------------------------------------ */

/*
 * Philox4x32-10 of Random123's kat_vectors: counter c0 c1 c2 c3, key k0 k1, result.
 * Ours: index is c1:c0, stream is c3:c2, seed is k1:k0.
 */
static const struct {
    uint32_t counter[4], key[2], result[4];
} known[] = {
    { { 0, 0, 0, 0 }, { 0, 0 }, { 0x6627e8d5, 0xe169c58d, 0xbc57ac4c, 0x9b00dbd8 } },
    { { 0xffffffff, 0xffffffff, 0xffffffff, 0xffffffff },
      { 0xffffffff, 0xffffffff },
      { 0x408f276d, 0x41c83b0e, 0xa20bc7c6, 0x6d5451fd } },
    { { 0x243f6a88, 0x85a308d3, 0x13198a2e, 0x03707344 },
      { 0xa4093822, 0x299f31d0 },
      { 0xd16cfe09, 0x94fdcceb, 0x5001e420, 0x24126ea1 } },
};

static uint64_t pair(const uint32_t *words)
{
    return (uint64_t)words[1] << 32 | words[0];
}

START_TEST(philox_gives_the_published_answers)
{
    uint32_t got[4];

    ps_random_block(pair(known[_i].key), pair(known[_i].counter + 2),
                    pair(known[_i].counter), got);
    ck_assert_mem_eq(got, known[_i].result, sizeof(got));
}
END_TEST

START_TEST(a_number_is_a_function_of_seed_stream_and_index)
{
    ck_assert_uint_eq(ps_random_u64(0, 0, 0), 0xe169c58d6627e8d5);
    ck_assert_uint_eq(ps_random_u64(1, 2, 3), ps_random_u64(1, 2, 3));
    ck_assert_uint_ne(ps_random_u64(1, 2, 3), ps_random_u64(1, 2, 4));
    ck_assert_uint_ne(ps_random_u64(1, 2, 3), ps_random_u64(1, 3, 3));
    ck_assert_uint_ne(ps_random_u64(1, 2, 3), ps_random_u64(2, 2, 3));
}
END_TEST

#define DRAWS 100000

START_TEST(uniform_numbers_have_the_moments_of_the_interval)
{
    double sum = 0, squares = 0;

    for (uint64_t i = 0; i < DRAWS; i++) {
        double u = ps_random_uniform(7, 1, i);

        ck_assert(u >= 0 && u < 1);
        sum += u;
        squares += u * u;
    }
    /* standard errors 0.0009 and 0.0009 for 1e5 draws: five of them */
    ck_assert_double_eq_tol(sum / DRAWS, 0.5, 0.005);
    ck_assert_double_eq_tol(squares / DRAWS, 1.0 / 3.0, 0.005);
}
END_TEST

START_TEST(normal_numbers_have_mean_0_and_variance_1)
{
    double sum = 0, squares = 0;

    for (uint64_t i = 0; i < DRAWS; i++) {
        double x = ps_random_normal(7, 1, i);

        ck_assert(isfinite(x));
        sum += x;
        squares += x * x;
    }
    /* standard errors 0.0032 and 0.0045: five of them */
    ck_assert_double_eq_tol(sum / DRAWS, 0.0, 0.016);
    ck_assert_double_eq_tol(squares / DRAWS, 1.0, 0.023);
}
END_TEST

START_TEST(numbers_below_a_bound_are_below_it_and_reach_every_value)
{
    uint32_t seen[7] = { 0 };

    for (uint64_t i = 0; i < 7000; i++) {
        uint64_t n = ps_random_below(3, 4, i, 7);

        ck_assert_uint_lt(n, 7);
        seen[n]++;
    }
    for (int i = 0; i < 7; i++) /* 1000 expected, deviation 29: six of them */
        ck_assert(seen[i] > 824 && seen[i] < 1176);
    ck_assert_uint_eq(ps_random_below(3, 4, 5, 1), 0);
}
END_TEST

START_TEST(streams_of_names_are_fnv_1a)
{
    ck_assert_uint_eq(ps_random_stream(""), 0xcbf29ce484222325);
    ck_assert_uint_eq(ps_random_stream("a"), 0xaf63dc4c8601ec8c);
    ck_assert_uint_eq(ps_random_stream("foobar"), 0x85944171f73967e8);
}
END_TEST

START_TEST(a_permutation_holds_every_number_once)
{
    uint32_t order[1000], again[1000];
    bool     seen[1000] = { false };
    uint32_t fixed = 0;

    ps_random_permutation(5, 6, 1000, order);
    for (uint32_t i = 0; i < 1000; i++) {
        ck_assert_uint_lt(order[i], 1000);
        ck_assert(!seen[order[i]]);
        seen[order[i]] = true;
        fixed += order[i] == i;
    }
    ck_assert_uint_lt(fixed, 10); /* one is expected */
    ps_random_permutation(5, 6, 1000, again);
    ck_assert_mem_eq(order, again, sizeof(order));
    ps_random_permutation(5, 7, 1000, again);
    ck_assert_mem_ne(order, again, sizeof(order));
}
END_TEST

START_TEST(secrets_differ)
{
    uint64_t a, b;

    ck_assert_int_eq(ps_random_secret(&a, sizeof(a)), 0);
    ck_assert_int_eq(ps_random_secret(&b, sizeof(b)), 0);
    ck_assert_uint_ne(a, b);
}
END_TEST

static Suite *base_suite(void)
{
    Suite *s = suite_create("base");
    TCase *buffers = tcase_create("buffers");
    TCase *parcels = tcase_create("parcels");
    TCase *trays = tcase_create("trays");
    TCase *log_lines = tcase_create("log");
    TCase *random_numbers = tcase_create("random");

    tcase_add_test(buffers, a_new_buffer_is_empty_and_aligned);
    tcase_add_test(buffers, a_buffer_of_endless_size_is_refused);
    tcase_add_test(buffers, a_copy_is_a_copy);
    tcase_add_test(buffers, a_copy_past_the_cache_is_a_copy);
    tcase_add_test(buffers, a_list_of_cpus_keeps_its_order);
    tcase_add_test(buffers, what_is_no_list_of_cpus_is_refused);
    tcase_add_test(buffers, a_list_of_cpus_too_long_to_show_is_cut);
    tcase_add_test(buffers, the_last_owner_releases_adopted_memory);
    tcase_add_test(buffers, dropping_nothing_is_fine);
    tcase_add_test(buffers, owners_on_two_threads_are_counted_right);
    suite_add_tcase(s, buffers);

    tcase_add_test(parcels, routes_are_the_same_when_they_lead_to_the_same_place);
    tcase_add_test(parcels, a_shared_parcel_holds_the_same_buffers);
    tcase_add_test(parcels, parcels_leave_in_the_order_in_which_they_were_put);
    tcase_add_test(parcels, a_parcel_taken_out_is_not_dropped_again);
    suite_add_tcase(s, parcels);

    tcase_add_test(trays, small_buffers_share_a_block);
    tcase_add_test(trays, a_tray_that_is_empty_again_is_used_from_its_beginning);
    tcase_add_test(trays, a_full_tray_is_left_to_those_who_hold_it);
    tcase_add_test(trays, what_is_not_small_has_a_block_of_its_own);
    suite_add_tcase(s, trays);

    tcase_add_checked_fixture(log_lines, no_line_yet, nobody_listens);
    tcase_add_test(log_lines, lines_up_to_the_level_reach_the_listener);
    tcase_add_test(log_lines, the_last_error_is_kept_when_nobody_listens);
    tcase_add_test(log_lines, a_system_reason_is_told_and_errno_survives);
    tcase_add_test(log_lines, a_line_that_is_too_long_is_cut);
    tcase_add_test(log_lines, each_thread_has_its_own_last_error);
    tcase_add_test(log_lines, every_status_has_its_own_text);
    tcase_add_test(log_lines, exit_codes_are_those_of_sysexits);
    suite_add_tcase(s, log_lines);

    tcase_add_loop_test(random_numbers, philox_gives_the_published_answers, 0,
                        (int)COUNT(known));
    tcase_add_test(random_numbers, a_number_is_a_function_of_seed_stream_and_index);
    tcase_add_test(random_numbers, uniform_numbers_have_the_moments_of_the_interval);
    tcase_add_test(random_numbers, normal_numbers_have_mean_0_and_variance_1);
    tcase_add_test(random_numbers,
                   numbers_below_a_bound_are_below_it_and_reach_every_value);
    tcase_add_test(random_numbers, streams_of_names_are_fnv_1a);
    tcase_add_test(random_numbers, a_permutation_holds_every_number_once);
    tcase_add_test(random_numbers, secrets_differ);
    suite_add_tcase(s, random_numbers);
    return s;
}

TEST_MAIN(base_suite)
