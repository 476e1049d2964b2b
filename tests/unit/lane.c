/* The window of a lane: what leaves when, and what with what.  A request is its
 * number; nobody answers but the test. */
#include "tests/unit/suite.h"

#include "worker/lane.h"

#include <stdlib.h>

#define MIB (1u << 20)
#define SMALL 40u /* bytes of a header */

static struct psw_lane   lane;
static struct ps_outbox  out;
static struct ps_traffic traffic;
static uint64_t          last, now;

static void empty_lane(void)
{
    lane = (struct psw_lane){ .route = { .kind = PS_ROUTE_SHARD } };
    out = (struct ps_outbox){ 0 };
    last = 0;
    now = 1000;
}

static void clear_lane(void)
{
    psw_lane_clear(&lane);
    ck_assert_ptr_null(psw_lane_next(&lane, NULL));
    ps_outbox_free(&out);
}

/* `there` bytes leave in a frame, `back` bytes come with the answer. */
static struct psw_request *request(size_t there, size_t back)
{
    struct psw_request *r = calloc(1, sizeof(*r) + sizeof(r->pieces[0]));

    ck_assert_ptr_nonnull(r);
    ck_assert_ok(ps_buf_new(&r->parcel.head, SMALL));
    r->parcel.head->len = SMALL;
    if (there > 0) {
        ck_assert_ok(ps_buf_new(&r->parcel.frames[0], there));
        r->parcel.frames[0]->len = there;
        r->parcel.n_frames = 1;
    }
    r->kind = there > 0 ? PS_MSG_PUSH : PS_MSG_PULL;
    r->n_pieces = 1;
    r->pieces[0].bytes = back;
    r->id = ++last;
    return r;
}

static void send(void)
{
    psw_lane_send(&lane, now, &out, &traffic);
}

/* Asks for n, one after the other. */
static void ask(size_t n, size_t there, size_t back)
{
    for (size_t i = 0; i < n; i++) {
        psw_queue_add(&lane.queue, request(there, back));
        send();
    }
}

/* Several may wait for something. */
static void ask_what_may_wait(size_t n)
{
    for (size_t i = 0; i < n; i++) {
        struct psw_request *r = request(0, 8);

        r->may_wait = true;
        psw_queue_add(&lane.queue, r);
        send();
    }
}

static void answered(uint64_t id)
{
    struct psw_request *r = psw_lane_answered(&lane, id);

    ck_assert_ptr_nonnull(r);
    ck_assert_uint_eq(r->id, id);
    psw_request_free(r);
    send();
}

START_TEST(requests_leave_at_once_while_there_is_room)
{
    for (size_t i = 1; i <= PSW_WINDOW; i++) {
        ask(1, 0, 8);
        ck_assert_uint_eq(out.n, i);
    }
    ask(1, 0, 8);
    ck_assert_uint_eq(out.n, PSW_WINDOW);
}
END_TEST

START_TEST(what_waits_leaves_together_when_an_answer_makes_room)
{
    ask(PSW_WINDOW + PS_GROUP_MAX + 10, 0, 8);
    ck_assert_uint_eq(out.n, PSW_WINDOW);
    answered(2); /* any of them */
    ck_assert_uint_eq(out.n, PSW_WINDOW + PS_GROUP_MAX);
    answered(1);
    ck_assert_uint_eq(out.n, PSW_WINDOW + PS_GROUP_MAX + 10);
}
END_TEST

START_TEST(message_makes_room_when_its_first_request_is_answered)
{
    ask(PSW_WINDOW + 10, 0, 8);
    answered(1);
    ck_assert_uint_eq(out.n, PSW_WINDOW + 10);
    ask(1, 0, 8);
    answered(PSW_WINDOW + 2); /* the second of the ten */
    ck_assert_uint_eq(out.n, PSW_WINDOW + 10);
    answered(PSW_WINDOW + 1);
    ck_assert_uint_eq(out.n, PSW_WINDOW + 11);
}
END_TEST

/* Requests of 4 KiB: what has been sent in one go fits into one message. */
START_TEST(what_leaves_together_fits_into_one_message)
{
    size_t room = 0;

    ask(PSW_WINDOW + 20, 4096, 0);
    answered(1);
    ck_assert_uint_gt(out.n, PSW_WINDOW + 1);
    for (size_t i = PSW_WINDOW; i < out.n; i++)
        room += ps_parcel_room(&out.parcels[i]);
    ck_assert_uint_le(room, PS_GROUP_BYTES);
    ck_assert_uint_gt(room + ps_parcel_room(&out.parcels[0]), PS_GROUP_BYTES);
}
END_TEST

static void ask_flagged(size_t there, uint32_t flags)
{
    struct psw_request *r = request(there, 0);

    r->flags = flags;
    psw_queue_add(&lane.queue, r);
    send();
}

/* It may have to be asked for again, which must come before that. */
START_TEST(iteration_is_not_ended_while_a_view_is_under_way)
{
    struct psw_queue again = { 0 };

    ask_flagged(0, PS_FLAG_VIEW);
    ask(1, 8, 0);
    ask_flagged(8, PS_FLAG_FINISH);
    ask(1, 0, 8);
    ck_assert_uint_eq(out.n, 2);
    answered(2);
    ck_assert_uint_eq(out.n, 2);
    psw_queue_add(&again, request(0, MIB));
    psw_request_free(psw_lane_answered(&lane, 1));
    psw_lane_put_first(&lane, &again);
    send();
    ck_assert_uint_eq(out.n, 5);
    ck_assert_uint_eq(lane.sent.first->id, 5); /* the one that was asked again */
    ck_assert_uint_eq(lane.sent.first->next->flags, PS_FLAG_FINISH);
}
END_TEST

START_TEST(view_behind_the_end_of_an_iteration_holds_nothing_up)
{
    ask_flagged(8, PS_FLAG_FINISH);
    ask_flagged(0, PS_FLAG_VIEW);
    ck_assert_uint_eq(out.n, 2);
}
END_TEST

START_TEST(large_requests_are_messages_of_their_own)
{
    ask(2 * PSW_WINDOW, MIB, 0);
    ck_assert_uint_eq(out.n, PSW_WINDOW);
    answered(1);
    ck_assert_uint_eq(out.n, PSW_WINDOW + 1);
}
END_TEST

START_TEST(middling_ones_are_bounded_by_their_bytes)
{
    const size_t n = PSW_SMALL_BYTES / 60000;

    ck_assert_uint_gt(n, PSW_WINDOW);
    ck_assert_uint_lt(n, PSW_WINDOW_MESSAGES);
    ask(n + 2, 60000, 0);
    ck_assert_uint_eq(out.n, n);
    answered(1);
    ck_assert_uint_eq(out.n, n + 1);
}
END_TEST

/* Or ZeroMQ's queue would overflow. */
START_TEST(there_are_never_too_many_messages)
{
    ask(2 * PSW_WINDOW_MESSAGES, PS_GROUP_BYTES / 4, 0);
    ck_assert_uint_eq(out.n, PSW_WINDOW_MESSAGES);
}
END_TEST

START_TEST(what_comes_back_counts_too)
{
    ask(PSW_WINDOW, 0, 8);
    ask(4, 0, PSW_SMALL_BYTES / 2);
    answered(1);
    ck_assert_uint_eq(out.n, PSW_WINDOW + 1);
}
END_TEST

/* The first of a message, whose answer makes room for another one. */
static uint64_t first_of_a_message(void)
{
    struct psw_request *r = psw_lane_next(&lane, NULL);

    while (!r->leads)
        r = psw_lane_next(&lane, r);
    return r->id;
}

START_TEST(small_requests_under_way_are_bounded)
{
    ask(2 * PSW_WINDOW_SMALL, 0, 8);
    for (int i = 0; i < 100 && lane.n_sent < PSW_WINDOW_SMALL; i++)
        answered(first_of_a_message());
    ck_assert_uint_eq(lane.n_sent, PSW_WINDOW_SMALL);
    answered(first_of_a_message());
    ck_assert_uint_eq(lane.n_sent, PSW_WINDOW_SMALL);
}
END_TEST

/* A shard keeps 64 of a worker that wait for a clock. */
START_TEST(fewer_of_those_that_may_wait_are_under_way)
{
    uint64_t first = 1;

    ask(PSW_WINDOW, 0, 8);
    ask_what_may_wait(2 * PSW_WINDOW_WAITING);
    while (first <= PSW_WINDOW)
        answered(first++);
    ck_assert_uint_eq(lane.n_sent, PSW_WINDOW_WAITING);
    answered(first);
    ck_assert_uint_eq(lane.n_sent, PSW_WINDOW_WAITING);
}
END_TEST

START_TEST(requests_leave_in_their_order)
{
    uint64_t first = 1;

    ask(300, 0, 8);
    while (lane.queue.first)
        answered(first++);
    for (struct psw_request *r = NULL; (r = psw_lane_next(&lane, r));)
        ck_assert_uint_eq(r->id, first++);
    ck_assert_uint_eq(first, 301);
}
END_TEST

START_TEST(empty_lane_counts_nothing)
{
    ask(20, 0, 8);
    ask_what_may_wait(20);
    ask(20, 5000, 0);
    for (uint64_t id = 1; id <= 60; id++)
        answered(id);
    ck_assert_uint_eq(lane.n_sent, 0);
    ck_assert_uint_eq(lane.n_waiting, 0);
    ck_assert_uint_eq(lane.n_messages, 0);
    ck_assert_uint_eq(lane.sent_bytes, 0);
    ck_assert_uint_eq(psw_lane_next_tick(&lane), UINT64_MAX);
}
END_TEST

/* All of a lost message are sent again, so they travel together again. */
START_TEST(silence_repeats_what_is_under_way_and_nothing_else)
{
    ask(PSW_WINDOW + 30, 0, 8);
    ps_outbox_clear(&out);
    ck_assert_uint_eq(psw_lane_next_tick(&lane), now + PSW_PATIENCE_NS);
    now += PSW_PATIENCE_NS;
    psw_lane_tick(&lane, now - 1, &out, &traffic);
    ck_assert_uint_eq(out.n, 0);
    psw_lane_tick(&lane, now, &out, &traffic);
    ck_assert_uint_eq(out.n, PSW_WINDOW);
    ck_assert_uint_eq(psw_lane_next_tick(&lane), now + 2 * PSW_PATIENCE_NS);
}
END_TEST

static Suite *lane_suite(void)
{
    Suite *s = suite_create("lane");
    TCase *window = tcase_create("window");

    tcase_add_checked_fixture(window, empty_lane, clear_lane);
    tcase_add_test(window, requests_leave_at_once_while_there_is_room);
    tcase_add_test(window, what_waits_leaves_together_when_an_answer_makes_room);
    tcase_add_test(window, message_makes_room_when_its_first_request_is_answered);
    tcase_add_test(window, what_leaves_together_fits_into_one_message);
    tcase_add_test(window, iteration_is_not_ended_while_a_view_is_under_way);
    tcase_add_test(window, view_behind_the_end_of_an_iteration_holds_nothing_up);
    tcase_add_test(window, large_requests_are_messages_of_their_own);
    tcase_add_test(window, middling_ones_are_bounded_by_their_bytes);
    tcase_add_test(window, there_are_never_too_many_messages);
    tcase_add_test(window, what_comes_back_counts_too);
    tcase_add_test(window, small_requests_under_way_are_bounded);
    tcase_add_test(window, fewer_of_those_that_may_wait_are_under_way);
    tcase_add_test(window, requests_leave_in_their_order);
    tcase_add_test(window, empty_lane_counts_nothing);
    tcase_add_test(window, silence_repeats_what_is_under_way_and_nothing_else);
    suite_add_tcase(s, window);
    return s;
}

TEST_MAIN(lane_suite)
