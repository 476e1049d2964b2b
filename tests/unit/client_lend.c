/* Gradients that are lent: the client copies them when it is their turn, and leaves
 * them alone as soon as their caller may have them back. */
#include "tests/unit/servers.h"

#include "worker/lane.h"

#include <math.h>

#define MIB (1u << 20)
#define ELEMENTS (12 * MIB / sizeof(float)) /* more than the window has room for */

static float            *gradient;
static ps_matrix        *other; /* of one element */
static struct psw_span   span;
static struct ps_ticket *ticket;

static void fill(float base)
{
    for (size_t i = 0; i < ELEMENTS; i++)
        gradient[i] = base + (float)(i % 1000);
}

static void lent(uint32_t shards)
{
    come(shards, false, 2);
    gradient = malloc(ELEMENTS * sizeof(*gradient));
    ck_assert_ptr_nonnull(gradient);
    fill(1);
    span = all_of(opened("w", 1, ELEMENTS, PS_F32), NULL, gradient);
    ps_outbox_clear(&out);
    other = opened("b", 1, 1, PS_F32);
    ps_outbox_clear(&out);
    ticket = move(PSW_PUSH | PSW_LENT, &span, 1);
}

static void to_one(void)
{
    lent(1);
}

static void to_three(void)
{
    lent(3);
}

static void end(void)
{
    psw_ticket_drop(&ticket);
    free(gradient);
    go();
}

/* Ticks as long as one is due now. */
static void send_all(void)
{
    while (psw_client_next_tick(client) <= now)
        psw_client_tick(client, now, &out);
}

/* Does message i hold what the gradient held at first? */
static void assert_original(size_t i)
{
    struct sent  s = sent(i);
    const float *v = (const void *)s.parcel->frames[0]->data;
    uint64_t     n_wrong = 0;

    ck_assert_uint_gt(s.h.n_ranges, 0);
    for (uint32_t k = 0; k < s.h.n_ranges; k++)
        for (uint64_t e = 0; e < s.ranges[k].count; e++)
            n_wrong += *v++ != 1 + (float)((s.ranges[k].first + e) % 1000);
    ck_assert_uint_eq(n_wrong, 0);
}

/* Answers whatever is sent, until nothing is; gives how many elements that were. */
static uint64_t serve(void)
{
    uint64_t elements = 0;

    send_all();
    for (size_t i = 0; i < out.n; i++) {
        struct sent s = sent(i);

        assert_original(i);
        for (uint32_t k = 0; k < s.h.n_ranges; k++)
            elements += s.ranges[k].count;
        acknowledge(s.parcel->route, s.h.request, PS_MSG_PUSH_OK);
        send_all();
    }
    return elements;
}

START_TEST(one_request_is_filled_at_a_time)
{
    for (size_t i = 1; i <= PSW_WINDOW; i++) {
        ck_assert_uint_eq(out.n, i);
        ck_assert_uint_eq(sent(i - 1).h.seq, i);
        assert_original(i - 1);
        psw_client_tick(client, now, &out);
    }
    ck_assert_uint_eq(out.n, PSW_WINDOW); /* the others have to wait for an answer */
    ck_assert_uint_gt(psw_client_next_tick(client), now);
}
END_TEST

START_TEST(each_shard_gets_one_at_a_time)
{
    uint32_t n[3] = { 0 };

    ck_assert_uint_eq(out.n, 3);
    for (size_t i = 0; i < 3; i++)
        n[sent(i).parcel->route.index]++;
    for (size_t i = 0; i < 3; i++)
        ck_assert_uint_eq(n[i], 1);
}
END_TEST

START_TEST(all_of_it_arrives)
{
    ck_assert_uint_eq(serve(), ELEMENTS);
    assert_ended(ticket, PS_OK);
    ticket = NULL;
}
END_TEST

START_TEST(gradient_is_read_when_it_is_its_turn)
{
    struct sent s;

    send_all();
    gradient[ELEMENTS - 1] = 77;
    for (size_t i = 0; i < out.n; i++) {
        s = sent(i);
        acknowledge(shard(0), s.h.request, PS_MSG_PUSH_OK);
        send_all();
    }
    s = sent(out.n - 1);
    ck_assert_float_eq(*(const float *)(const void *)(s.parcel->frames[0]->data +
                                                      s.parcel->frames[0]->len -
                                                      sizeof(float)),
                       77);
}
END_TEST

START_TEST(a_request_says_that_it_is_finite_only_if_it_is)
{
    gradient[ELEMENTS / 2] = NAN;
    send_all();
    for (size_t i = 0; i < out.n; i++) {
        struct sent s = sent(i);
        uint64_t    from = s.ranges[0].first, n = 0;

        for (uint32_t k = 0; k < s.h.n_ranges; k++)
            n += s.ranges[k].count;
        if (from <= ELEMENTS / 2 && ELEMENTS / 2 - from < n)
            ck_assert_uint_eq(s.h.flags, 0);
        else
            ck_assert_uint_eq(s.h.flags, PS_FLAG_FINITE);
        if (i % 2)
            acknowledge(shard(0), s.h.request, PS_MSG_PUSH_OK);
        send_all();
    }
}
END_TEST

START_TEST(what_was_copied_is_the_caller_s_again)
{
    while (psw_client_copy(client))
        ;
    fill(-7);
    ck_assert_uint_eq(serve(), ELEMENTS);
}
END_TEST

START_TEST(what_was_given_up_is_the_caller_s_again_and_arrives)
{
    psw_ticket_give_up(ticket, now, now, 100);
    fill(-7);
    ck_assert_status(psw_ticket_result(ticket), PS_ERR_TIMEOUT);
    ck_assert_uint_eq(serve(), ELEMENTS);
}
END_TEST

START_TEST(what_was_dropped_is_the_caller_s_again_and_arrives)
{
    psw_ticket_drop(&ticket);
    fill(-7);
    ck_assert_uint_eq(serve(), ELEMENTS);
}
END_TEST

START_TEST(after_a_refusal_the_rest_is_the_caller_s_again_and_arrives)
{
    struct sent s = sent(0);
    uint64_t    elements = 0;

    for (uint32_t k = 0; k < s.h.n_ranges; k++)
        elements += s.ranges[k].count;
    refuse(shard(0), s.h.request, PS_ERR_NONFINITE, "it holds a NaN");
    assert_ended(ticket, PS_ERR_NONFINITE);
    ticket = NULL;
    fill(-7);
    for (size_t i = 0; i < out.n; i++) /* among them the empty one */
        if (sent(i).h.n_ranges == 0)
            acknowledge(shard(0), sent(i).h.request, PS_MSG_PUSH_OK);
    ps_outbox_clear(&out);
    now = psw_client_next_tick(client);
    psw_client_tick(client, now, &out); /* again what was cleared */
    ck_assert_uint_eq(serve() + elements, ELEMENTS);
}
END_TEST

START_TEST(what_is_sent_again_is_the_same)
{
    size_t n;

    send_all();
    n = out.n;
    fill(-7);
    now = psw_client_next_tick(client);
    psw_client_tick(client, now, &out);
    ck_assert_uint_eq(out.n, 2 * n);
    for (size_t i = 0; i < n; i++) {
        ck_assert_ptr_eq(out.parcels[n + i].head, out.parcels[i].head);
        ck_assert_ptr_eq(out.parcels[n + i].frames[0], out.parcels[i].frames[0]);
        assert_original(n + i);
    }
}
END_TEST

START_TEST(pushes_behind_lent_ones_wait_for_them)
{
    float             one[1] = { 1 };
    struct psw_span   small = all_of(other, NULL, one);
    struct ps_ticket *t = move(PSW_PUSH, &small, 1);
    struct sent       s = sent(0);

    send_all();
    for (size_t i = 0; i < out.n; i++) {
        s = sent(i);
        ck_assert_uint_eq(s.h.seq, i + 1);
        if (s.ranges[0].matrix != sent(0).ranges[0].matrix)
            break;
        acknowledge(shard(0), s.h.request, PS_MSG_PUSH_OK);
        send_all();
    }
    assert_ended(ticket, PS_OK);
    ticket = NULL;
    ck_assert(!psw_ticket_done(t));
    acknowledge(shard(0), s.h.request, PS_MSG_PUSH_OK);
    assert_ended(t, PS_OK);
}
END_TEST

START_TEST(a_rollback_drops_what_is_lent)
{
    psw_client_roll_back(client, now, &out);
    free(gradient);
    gradient = NULL;
    ps_outbox_clear(&out);
    for (unsigned i = 0; i < 20; i++) {
        now += 1000 * MS;
        psw_client_tick(client, now, &out);
    }
    for (size_t i = 0; i < out.n; i++)
        ck_assert_uint_ne(sent(i).h.kind, PS_MSG_PUSH);
}
END_TEST

START_TEST(notice_leaves_what_was_lent_alone)
{
    psw_client_notice(client, PS_ERR_CLOSING, "over");
    free(gradient);
    gradient = NULL;
    send_all();
    assert_ended(ticket, PS_ERR_CLOSING);
    ticket = NULL;
}
END_TEST

static Suite *client_lend_suite(void)
{
    Suite *s = suite_create("client_lend");
    TCase *one = tcase_create("one shard");
    TCase *three = tcase_create("three shards");

    tcase_add_checked_fixture(one, to_one, end);
    tcase_add_test(one, one_request_is_filled_at_a_time);
    tcase_add_test(one, all_of_it_arrives);
    tcase_add_test(one, gradient_is_read_when_it_is_its_turn);
    tcase_add_test(one, a_request_says_that_it_is_finite_only_if_it_is);
    tcase_add_test(one, what_was_copied_is_the_caller_s_again);
    tcase_add_test(one, what_was_given_up_is_the_caller_s_again_and_arrives);
    tcase_add_test(one, what_was_dropped_is_the_caller_s_again_and_arrives);
    tcase_add_test(one, after_a_refusal_the_rest_is_the_caller_s_again_and_arrives);
    tcase_add_test(one, what_is_sent_again_is_the_same);
    tcase_add_test(one, pushes_behind_lent_ones_wait_for_them);
    tcase_add_test(one, a_rollback_drops_what_is_lent);
    tcase_add_test(one, notice_leaves_what_was_lent_alone);
    suite_add_tcase(s, one);

    tcase_add_checked_fixture(three, to_three, end);
    tcase_add_test(three, each_shard_gets_one_at_a_time);
    tcase_add_test(three, all_of_it_arrives);
    tcase_add_test(three, what_was_given_up_is_the_caller_s_again_and_arrives);
    suite_add_tcase(s, three);
    return s;
}

TEST_MAIN(client_lend_suite)
