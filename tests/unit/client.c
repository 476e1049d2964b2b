/* The client of a worker, against servers that the test plays. */
#include "tests/unit/servers.h"

#include "common/place/place.h"
#include "worker/client.h"
#include "worker/lane.h"

#include <stdio.h>

#define MIB (1u << 20)

static void one_shard(void)
{
    come(1, false, 0);
}

static void three_shards(void)
{
    come(3, false, 0);
}

static void nobody_yet(void)
{
    come(0, false, 0);
}

/* ---- coming in ------------------------------------------------------------------ */

START_TEST(hello_says_who_comes_and_what_the_job_is)
{
    struct sent s = only_sent();

    ck_assert_uint_eq(s.h.kind, PS_MSG_HELLO);
    ck_assert_uint_eq(s.parcel->route.kind, PS_ROUTE_COORDINATOR);
    ck_assert_str_eq(s.h.name, "lenet");
    ck_assert_str_eq(s.h.token, "secret");
    ck_assert_str_eq(s.h.text, "here");
    ck_assert_uint_eq(s.h.pid, 77);
    ck_assert_uint_eq(s.h.rank, 1);
    ck_assert_ptr_nonnull(s.h.job_spec);
    ck_assert_uint_eq(s.h.job_spec->workers, 2);
}
END_TEST

START_TEST(hello_is_repeated_with_the_same_number)
{
    uint64_t request = only_sent().h.request;

    ps_outbox_clear(&out);
    now = psw_client_next_tick(client);
    psw_client_tick(client, now, &out);
    ck_assert_uint_eq(only_sent().h.request, request);
}
END_TEST

START_TEST(refused_hello_fails_with_the_server_s_sentence)
{
    struct ps_ticket *t;

    ck_assert_ok(psw_client_hello(client, now, &out, &t));
    refuse(coordinator, sent(1).h.request, PS_ERR_RANK, "rank 1 of job lenet is taken");
    assert_ended(t, PS_ERR_RANK);
    ck_assert_why("rank 1 of job lenet is taken");
}
END_TEST

START_TEST(welcome_without_a_session_is_no_welcome)
{
    struct ps_job_spec job = ps_job_spec_default();
    struct ps_ticket  *t;
    struct ps_header   welcome;

    strcpy(job.name, "lenet");
    ck_assert_ok(psw_client_hello(client, now, &out, &t));
    welcome = answer_to(sent(1).h.request, PS_MSG_WELCOME);
    welcome.n_endpoints = 1;
    welcome.endpoints = endpoints;
    welcome.job_spec = &job;
    give(coordinator, &welcome, NULL, NULL, 0);
    assert_ended(t, PS_ERR_BAD_MESSAGE);
    ck_assert_why("welcome without");
}
END_TEST

START_TEST(nobody_at_the_address_is_unavailable)
{
    struct ps_ticket *t;

    ck_assert_ok(psw_client_hello(client, now, &out, &t));
    psw_ticket_give_up(t, now + 2000 * MS, 0, 2000);
    assert_ended(t, PS_ERR_UNAVAILABLE);
    ck_assert_why("coordinator tcp://10.0.0.1:5570: nobody answers, waited 2 s");
}
END_TEST

START_TEST(messages_carry_what_the_welcome_gave)
{
    float             g[4] = { 0 };
    struct psw_span   span = all_of(opened("w", 1, 4, PS_F32), NULL, g);
    struct ps_ticket *t = move(PSW_PUSH, &span, 1);
    struct sent       s = only_sent();

    ck_assert_uint_eq(s.h.job, 3);
    ck_assert_uint_eq(s.h.session, 4711);
    ck_assert_uint_eq(s.h.rank, 1);
    ck_assert_uint_eq(s.h.incarnation, 1);
    ck_assert_uint_eq(s.h.server_epoch, 5);
    psw_ticket_drop(&t);
}
END_TEST

START_TEST(map_that_does_not_cover_the_matrix_is_refused)
{
    struct ps_matrix_spec spec = {
        .name = "w", .dtype = PS_F32, .rows = 1000, .cols = 1000
    };
    const struct ps_slot_run run = { .shard = 0, .n_slots = 3 };
    struct ps_ticket        *t;
    struct ps_header         h;

    ck_assert_ok(psw_client_matrix(client, now, &spec, true, &out, &t));
    h = answer_to(only_sent().h.request, PS_MSG_MATRIX_OK);
    h.n_matrices = 1;
    h.matrices = &spec;
    h.n_slot_runs = 1;
    h.slot_runs = &run;
    give(coordinator, &h, NULL, NULL, 0);
    assert_ended(t, PS_ERR_BAD_MESSAGE);
    ck_assert_why("map");
}
END_TEST

START_TEST(matrix_opened_twice_is_the_same_handle)
{
    ps_matrix *m = opened("w", 3, 5, PS_F64);

    ck_assert_ptr_eq(opened("w", 3, 5, PS_F64), m);
}
END_TEST

/* ---- splitting and packing ------------------------------------------------------ */

START_TEST(matrices_of_a_group_share_one_request)
{
    float             a[3] = { 1, 2, 3 }, b[2] = { 4, 5 };
    double            c[1] = { 6 };
    struct psw_span   spans[] = { all_of(opened("a", 1, 3, PS_F32), NULL, a),
                                  all_of(opened("b", 1, 2, PS_F32), NULL, b),
                                  all_of(opened("c", 1, 1, PS_F64), NULL, c) };
    struct ps_ticket *t = move(PSW_PUSH, spans, 3);
    struct sent       s = only_sent();
    const uint8_t    *payload = s.parcel->frames[0]->data;

    ck_assert_uint_eq(s.h.kind, PS_MSG_PUSH);
    ck_assert_uint_eq(s.h.n_ranges, 3);
    ck_assert_uint_eq(s.h.clock, 1);
    ck_assert_uint_eq(s.h.seq, 1);
    ck_assert_uint_eq(s.parcel->n_frames, 1);
    ck_assert_uint_eq(s.parcel->frames[0]->len, 16 + 8 + 8);
    ck_assert_mem_eq(payload, a, sizeof(a));
    ck_assert_mem_eq(payload + 16, b, sizeof(b)); /* after 4 bytes of padding */
    ck_assert_mem_eq(payload + 24, c, sizeof(c));
    acknowledge(shard(0), s.h.request, PS_MSG_PUSH_OK);
    assert_ended(t, PS_OK);
}
END_TEST

START_TEST(gradients_are_copied_at_once)
{
    float             g[2] = { 1, 2 };
    const float       was[2] = { 1, 2 };
    struct psw_span   span = all_of(opened("w", 1, 2, PS_F32), NULL, g);
    struct ps_ticket *t = move(PSW_PUSH, &span, 1);

    g[0] = 9;
    ck_assert_mem_eq(only_sent().parcel->frames[0]->data, was, sizeof(was));
    psw_ticket_drop(&t);
}
END_TEST

START_TEST(large_matrix_travels_in_chunks)
{
    const uint64_t    n = 5 * MIB / 2 / sizeof(float);
    float            *g = calloc(n, sizeof(*g));
    struct psw_span   span = all_of(opened("w", 1, n, PS_F32), NULL, g);
    struct ps_ticket *t = move(PSW_PUSH, &span, 1);
    uint64_t          next = 0;

    ck_assert_uint_ge(out.n, 3);
    for (size_t i = 0; i < out.n; i++) {
        struct sent s = sent(i);

        ck_assert_uint_eq(s.h.seq, i + 1);
        ck_assert_uint_le(s.parcel->frames[0]->len, PS_CHUNK_BYTES);
        for (uint32_t k = 0; k < s.h.n_ranges; k++) {
            ck_assert_uint_eq(s.ranges[k].first, next);
            next += s.ranges[k].count;
        }
    }
    ck_assert_uint_eq(next, n);
    psw_ticket_drop(&t);
    free(g);
}
END_TEST

START_TEST(every_shard_gets_what_it_owns)
{
    const uint64_t    n = 300000;
    float            *g = calloc(n, sizeof(*g));
    uint64_t          seen = 0;
    struct psw_span   span = all_of(opened("w", 3, n / 3, PS_F32), NULL, g);
    struct ps_ticket *t;

    for (uint64_t i = 0; i < n; i++)
        g[i] = (float)i;
    t = move(PSW_PUSH, &span, 1);
    for (size_t i = 0; i < out.n; i++) {
        struct sent  s = sent(i);
        const float *v = (const void *)s.parcel->frames[0]->data;

        ck_assert_uint_eq(s.parcel->route.kind, PS_ROUTE_SHARD);
        for (uint32_t k = 0; k < s.h.n_ranges; k++) {
            ck_assert_mem_eq(v, g + s.ranges[k].first, s.ranges[k].count * sizeof(*g));
            v += (s.ranges[k].count + 1) / 2 * 2;
            seen += s.ranges[k].count;
        }
    }
    ck_assert_uint_eq(seen, n);
    psw_ticket_drop(&t);
    free(g);
}
END_TEST

START_TEST(range_outside_the_matrix_is_refused_before_anything_leaves)
{
    float             v[4];
    struct psw_span   span = all_of(opened("w", 1, 4, PS_F32), v, NULL);
    struct ps_ticket *t;

    span.first = 2;
    span.count = 3;
    ck_assert_status(psw_client_move(client, now, PSW_PULL, &span, 1, &out, &t),
                     PS_ERR_SHAPE);
    ck_assert_why("matrix w: 3 elements from 2 on, but it has 4");
    ck_assert_uint_eq(out.n, 0);
}
END_TEST

START_TEST(rows_go_to_their_shards_and_come_back_to_their_places)
{
    ps_matrix        *m = opened("rows", 0, 3, PS_F32);
    uint64_t          keys[] = { 7, 1000, 7, 3, 99, 12345678901, 4 };
    const uint64_t    n = sizeof(keys) / sizeof(keys[0]);
    float             got[7][3], row[7][3];
    struct psw_span   span = { .matrix = m, .count = n, .keys = keys, .value = got };
    struct ps_ticket *t = move(PSW_PULL, &span, 1);
    size_t            n_sent = out.n, rows = 0;

    for (size_t i = 0; i < n_sent; i++) {
        struct sent     s = sent(i);
        const uint64_t *asked = (const void *)s.parcel->frames[0]->data;

        ck_assert_uint_eq(s.parcel->n_frames, 1);
        ck_assert_uint_eq(s.h.n_ranges, 1);
        ck_assert_uint_eq(s.parcel->frames[0]->len, 8 * s.ranges[0].count);
        for (uint64_t k = 0; k < s.ranges[0].count; k++, rows++)
            for (int c = 0; c < 3; c++)
                row[k][c] = (float)(asked[k] % 1000) + (float)c;
        values(s.parcel->route, s.h.request, row, s.ranges[0].count * sizeof(row[0]));
    }
    ck_assert_uint_eq(rows, n); /* the repeated key is asked for twice */
    assert_ended(t, PS_OK);
    for (uint64_t i = 0; i < n; i++)
        for (int c = 0; c < 3; c++)
            ck_assert_float_eq(got[i][c], (float)(keys[i] % 1000) + (float)c);
}
END_TEST

START_TEST(pushed_rows_follow_their_keys)
{
    uint64_t        keys[] = { 5, 6, 5 };
    float           g[3][1] = { { 10 }, { 20 }, { 30 } };
    struct psw_span span = {
        .matrix = opened("rows", 0, 1, PS_F32), .count = 3, .keys = keys, .gradient = g
    };
    struct ps_ticket *t = move(PSW_PUSH, &span, 1);
    struct sent       s = only_sent();

    ck_assert_uint_eq(s.parcel->n_frames, 2);
    ck_assert_mem_eq(s.parcel->frames[0]->data, keys, sizeof(keys));
    ck_assert_mem_eq(s.parcel->frames[1]->data, g, sizeof(g));
    ck_assert_uint_eq(s.parcel->frames[1]->len, 16);
    psw_ticket_drop(&t);
}
END_TEST

/* 20 000 rows of 64 bytes take two requests. */
START_TEST(rows_of_one_shard_stay_in_order_however_many_requests_they_take)
{
    enum { N = 20000, COLS = 16 };
    ps_matrix *m = opened("rows", 0, COLS, PS_F32);
    float(*g)[COLS] = calloc(N, sizeof(*g)), (*got)[COLS] = calloc(N, sizeof(*got));
    uint64_t         *keys = calloc(N, sizeof(*keys)), at = 0;
    struct psw_span   push = { .matrix = m, .count = N, .keys = keys, .gradient = g };
    struct psw_span   pull = { .matrix = m, .count = N, .keys = keys, .value = got };
    struct ps_ticket *t;

    for (uint64_t i = 0; i < N; i++) {
        keys[i] = i * 7919 % N;
        g[i][0] = (float)i;
        g[i][COLS - 1] = (float)keys[i];
    }
    t = move(PSW_PUSH, &push, 1);
    ck_assert_uint_eq(out.n, 2);
    for (size_t i = 0; i < out.n; at += sent(i++).ranges[0].count) {
        struct sent s = sent(i);

        ck_assert_mem_eq(s.parcel->frames[0]->data, keys + at,
                         s.parcel->frames[0]->len);
        ck_assert_mem_eq(s.parcel->frames[1]->data, g + at, s.parcel->frames[1]->len);
    }
    ck_assert_uint_eq(at, N);
    psw_ticket_drop(&t);
    ps_outbox_clear(&out);

    t = move(PSW_PULL, &pull, 1);
    ck_assert_uint_eq(out.n, 2);
    for (size_t i = 0, row = 0; i < 2; i++) {
        struct sent s = sent(i);
        uint64_t    n = s.ranges[0].count;

        ck_assert_mem_eq(s.parcel->frames[0]->data, keys + row, n * sizeof(*keys));
        values(s.parcel->route, s.h.request, g + row, n * sizeof(*g));
        row += n;
    }
    assert_ended(t, PS_OK);
    ck_assert_mem_eq(got, g, N * sizeof(*g));
    free(keys);
    free(got);
    free(g);
}
END_TEST

START_TEST(nothing_to_move_is_done_at_once)
{
    struct psw_span   span = { .matrix = opened("w", 1, 4, PS_F32) };
    struct ps_ticket *t = move(PSW_PULL, &span, 1);

    ck_assert_uint_eq(out.n, 0);
    assert_ended(t, PS_OK);
}
END_TEST

/* ---- the end of an iteration ---------------------------------------------------- */

START_TEST(finish_tells_every_shard_how_many_pushes_it_got)
{
    float             g[4] = { 0 };
    struct psw_span   span = all_of(opened("w", 1, 4, PS_F32), NULL, g);
    struct ps_ticket *a = move(PSW_PUSH, &span, 1), *b = move(PSW_PUSH, &span, 1), *f;
    uint32_t          parts[3] = { 0 };
    uint16_t          owner = sent(0).parcel->route.index;

    ps_outbox_clear(&out);
    f = move(PSW_FINISH, NULL, 0);
    ck_assert_uint_eq(out.n, 3);
    for (size_t i = 0; i < 3; i++) {
        struct sent s = sent(i);

        ck_assert_uint_eq(s.h.kind, PS_MSG_PUSH);
        ck_assert_uint_eq(s.h.flags, PS_FLAG_FINISH);
        ck_assert_uint_eq(s.h.clock, 1);
        ck_assert_uint_eq(s.parcel->n_frames, 0);
        parts[s.parcel->route.index] = s.h.parts;
    }
    for (uint16_t i = 0; i < 3; i++)
        ck_assert_uint_eq(parts[i], i == owner ? 3 : 1);
    ck_assert_uint_eq(psw_client_clock(client), 1);
    psw_ticket_drop(&a);
    psw_ticket_drop(&b);
    psw_ticket_drop(&f);
}
END_TEST

START_TEST(parts_are_counted_anew_in_each_iteration)
{
    struct ps_ticket *f = move(PSW_FINISH, NULL, 0), *g;

    ps_outbox_clear(&out);
    g = move(PSW_FINISH, NULL, 0);
    ck_assert_uint_eq(only_sent().h.parts, 1);
    ck_assert_uint_eq(only_sent().h.seq, 2);
    ck_assert_uint_eq(only_sent().h.clock, 2);
    psw_ticket_drop(&f);
    psw_ticket_drop(&g);
}
END_TEST

START_TEST(finish_is_done_when_all_shards_have_answered)
{
    struct ps_ticket *t = move(PSW_FINISH, NULL, 0);

    for (uint16_t i = 0; i < 3; i++) {
        ck_assert(!psw_ticket_done(t));
        acknowledge(shard(i), sent(i).h.request, PS_MSG_PUSH_OK);
    }
    assert_ended(t, PS_OK);
}
END_TEST

START_TEST(small_model_takes_one_round_trip)
{
    float             v[2] = { 0 }, g[2] = { 1, 2 };
    const float       fresh[2] = { 3, 4 };
    struct psw_span   span = all_of(opened("w", 1, 2, PS_F32), v, g);
    struct ps_ticket *t = move(PSW_PUSH | PSW_FINISH | PSW_PULL, &span, 1);
    struct sent       s = only_sent();

    ck_assert_uint_eq(s.h.flags, PS_FLAG_FINISH | PS_FLAG_PULL);
    ck_assert_uint_eq(s.h.parts, 1);
    values(shard(0), s.h.request, fresh, sizeof(fresh));
    assert_ended(t, PS_OK);
    ck_assert_mem_eq(v, fresh, sizeof(v));
}
END_TEST

START_TEST(large_model_pulls_what_did_not_ride_on_the_last_push)
{
    const uint64_t    n = 5 * MIB / 2 / sizeof(float);
    float            *v = calloc(n, sizeof(*v)), *fresh = calloc(n, sizeof(*fresh));
    struct psw_span   span = all_of(opened("w", 1, n, PS_F32), v, fresh);
    struct ps_ticket *t = move(PSW_PUSH | PSW_FINISH | PSW_PULL, &span, 1);
    uint32_t          n_pushes = 0;

    for (uint64_t i = 0; i < n; i++)
        fresh[i] = (float)i;
    for (size_t i = 0; i < out.n; i++) {
        struct sent  s = sent(i);
        const float *from = fresh + s.ranges[0].first;
        size_t       bytes = 0;

        for (uint32_t k = 0; k < s.h.n_ranges; k++)
            bytes += s.ranges[k].count * sizeof(float);
        if (s.h.kind == PS_MSG_PUSH)
            ck_assert_uint_eq(s.h.seq, ++n_pushes);
        if (s.h.kind == PS_MSG_PUSH && !(s.h.flags & PS_FLAG_FINISH)) {
            ck_assert_uint_eq(s.h.flags, 0);
            acknowledge(shard(0), s.h.request, PS_MSG_PUSH_OK);
            continue;
        }
        if (s.h.kind == PS_MSG_PUSH) {
            ck_assert_uint_eq(s.h.flags, PS_FLAG_FINISH | PS_FLAG_PULL);
            ck_assert_uint_eq(s.h.parts, n_pushes);
        } else {
            ck_assert_uint_eq(s.h.clock, 1); /* behind the push that ends iteration 1 */
        }
        values(shard(0), s.h.request, from, bytes);
    }
    ck_assert_uint_gt(n_pushes, 2);
    assert_ended(t, PS_OK);
    ck_assert_mem_eq(v, fresh, n * sizeof(*v));
    free(v);
    free(fresh);
}
END_TEST

START_TEST(refused_push_is_withdrawn_so_that_the_iteration_can_end)
{
    float             g[2] = { 0 };
    struct psw_span   span = all_of(opened("w", 1, 2, PS_F32), NULL, g);
    struct ps_ticket *t = move(PSW_PUSH, &span, 1);
    uint64_t          request = only_sent().h.request, seq = only_sent().h.seq;
    struct sent       s;

    ps_outbox_clear(&out);
    refuse(shard(0), request, PS_ERR_NONFINITE, "matrix w: it holds a NaN");
    assert_ended(t, PS_ERR_NONFINITE);
    s = only_sent();
    ck_assert_uint_eq(s.h.kind, PS_MSG_PUSH);
    ck_assert_uint_eq(s.h.seq, seq);
    ck_assert_uint_eq(s.h.n_ranges, 0);
    ck_assert_uint_eq(s.parcel->n_frames, 0);

    /* If that is refused too, there is nothing left to withdraw. */
    ps_outbox_clear(&out);
    refuse(shard(0), s.h.request, PS_ERR_STALE, "too late");
    ck_assert_uint_eq(out.n, 0);
    ck_assert_uint_eq(psw_client_next_tick(client), UINT64_MAX);
}
END_TEST

START_TEST(finish_fails_for_a_push_nobody_asked_about)
{
    float             g[2] = { 0 };
    struct psw_span   span = all_of(opened("w", 1, 2, PS_F32), NULL, g);
    struct ps_ticket *push = move(PSW_PUSH, &span, 1), *first, *second;

    refuse(shard(0), sent(0).h.request, PS_ERR_NONFINITE, "matrix w: it holds a NaN");
    first = move(PSW_FINISH, NULL, 0);
    acknowledge(shard(0), sent(2).h.request, PS_MSG_PUSH_OK);
    assert_ended(first, PS_ERR_NONFINITE);
    ck_assert_why("matrix w: it holds a NaN");

    second = move(PSW_FINISH, NULL, 0); /* it was said once */
    acknowledge(shard(0), sent(3).h.request, PS_MSG_PUSH_OK);
    assert_ended(second, PS_OK);
    psw_ticket_drop(&push);
}
END_TEST

/* ---- late pushes, and the end of an epoch ---------------------------------------- */

static void say_late(struct ps_route from, const struct sent *s, uint64_t clock)
{
    struct ps_header h = answer_to(s->h.request, PS_MSG_ERROR);

    h.status = PS_ERR_STALE;
    h.seq = s->h.seq;
    h.clock = clock;
    h.text = "too late";
    give(from, &h, NULL, NULL, 0);
}

START_TEST(late_push_counts_as_done_and_the_clock_goes_on)
{
    float             g[2] = { 0 };
    struct psw_span   span = all_of(opened("w", 1, 2, PS_F32), NULL, g);
    struct ps_ticket *t = move(PSW_PUSH | PSW_FINISH, &span, 1);
    struct sent       s = only_sent();

    say_late(shard(0), &s, 7);
    assert_ended(t, PS_OK);
    ck_assert_uint_eq(psw_client_clock(client), 7);
}
END_TEST

START_TEST(worker_that_was_started_again_elsewhere_is_told)
{
    float             g[2] = { 0 };
    struct psw_span   span = all_of(opened("w", 1, 2, PS_F32), NULL, g);
    struct ps_ticket *t = move(PSW_PUSH | PSW_FINISH, &span, 1);

    refuse(shard(0), only_sent().h.request, PS_ERR_STALE, "started again since");
    assert_ended(t, PS_ERR_STALE);
}
END_TEST

START_TEST(clock_goes_on_only_when_the_iteration_has_ended)
{
    float             g[2] = { 0 };
    struct psw_span   span = all_of(opened("w", 1, 2, PS_F32), NULL, g);
    struct ps_ticket *push = move(PSW_PUSH, &span, 1), *rest_of_it;
    struct sent       s = only_sent();

    say_late(shard(0), &s, 7);
    ck_assert_uint_eq(psw_client_clock(client), 0);
    ps_outbox_clear(&out);
    rest_of_it = move(PSW_PUSH | PSW_FINISH, &span, 1);
    ck_assert_uint_eq(only_sent().h.clock, 1); /* or its parts would not add up */
    ck_assert_uint_eq(only_sent().h.parts, 2);
    ck_assert_uint_eq(psw_client_clock(client), 7);
    psw_ticket_drop(&push);
    psw_ticket_drop(&rest_of_it);
}
END_TEST

START_TEST(pull_says_which_push_was_the_last)
{
    float             g[2] = { 0 }, v[2];
    struct psw_span   span = all_of(opened("w", 1, 2, PS_F32), v, g);
    struct ps_ticket *push = move(PSW_PUSH | PSW_FINISH, &span, 1), *pull;

    pull = move(PSW_PULL, &span, 1);
    ck_assert_uint_eq(sent(1).h.kind, PS_MSG_PULL);
    ck_assert_uint_eq(sent(1).h.seq, sent(0).h.seq);
    psw_ticket_drop(&push);
    psw_ticket_drop(&pull);
}
END_TEST

static struct ps_ticket *end_epoch(void)
{
    struct ps_ticket *t;

    ps_outbox_clear(&out);
    ck_assert_ok(psw_client_rest(client, now, &out, &t));
    return t;
}

static void rested(const struct sent *s, uint64_t clock)
{
    struct ps_header h = answer_to(s->h.request, PS_MSG_PUSH_OK);

    h.seq = s->h.seq;
    h.clock = clock;
    give(s->parcel->route, &h, NULL, NULL, 0);
}

START_TEST(epoch_ends_at_the_latest_clock_of_the_shards)
{
    struct ps_ticket *t = end_epoch();
    struct sent       s[3] = { sent(0), sent(1), sent(2) };

    for (unsigned i = 0; i < 3; i++) {
        ck_assert_uint_eq(s[i].h.kind, PS_MSG_PUSH);
        ck_assert_uint_eq(s[i].h.flags, PS_FLAG_REST);
        ck_assert_uint_eq(s[i].h.seq, 1);
        ck_assert_uint_eq(s[i].h.clock, 0);
    }
    rested(&s[0], 4);
    rested(&s[2], 5);
    ck_assert(!psw_ticket_done(t));
    ck_assert_uint_eq(psw_client_clock(client), 0);
    rested(&s[1], 4);
    assert_ended(t, PS_OK);
    ck_assert_uint_eq(psw_client_clock(client), 5);
    t = end_epoch(); /* the next one asks everybody again */
    ck_assert_uint_eq(out.n, 3);
    ck_assert_uint_eq(sent(1).h.seq, 2);
    ck_assert_uint_eq(sent(1).h.clock, 5);
    psw_ticket_drop(&t);
}
END_TEST

START_TEST(second_try_asks_only_the_shards_that_gave_up)
{
    struct ps_ticket *t = end_epoch();
    struct sent       s[3] = { sent(0), sent(1), sent(2) };

    refuse(shard(1), s[1].h.request, PS_ERR_TIMEOUT, "the epoch waits for worker 0");
    ck_assert(!psw_ticket_done(t)); /* the others are heard out */
    rested(&s[0], 3);
    rested(&s[2], 3);
    assert_ended(t, PS_ERR_TIMEOUT);
    ck_assert_why("the epoch waits for worker 0");
    ck_assert_uint_eq(psw_client_clock(client), 0);
    t = end_epoch();
    ck_assert_uint_eq(only_sent().parcel->route.index, 1);
    ck_assert_uint_eq(only_sent().h.seq, 2);
    s[1] = only_sent();
    rested(&s[1], 3);
    assert_ended(t, PS_OK);
    ck_assert_uint_eq(psw_client_clock(client), 3);
}
END_TEST

START_TEST(second_try_meets_what_is_under_way)
{
    struct ps_ticket *t = end_epoch();
    struct sent       s[3] = { sent(0), sent(1), sent(2) };

    rested(&s[0], 3);
    psw_ticket_drop(&t); /* nobody waits any more */
    rested(&s[1], 3);
    t = end_epoch();
    ck_assert_uint_eq(out.n, 0);
    rested(&s[2], 3);
    assert_ended(t, PS_OK);
    ck_assert_uint_eq(psw_client_clock(client), 3);
}
END_TEST

START_TEST(epoch_does_not_end_within_an_iteration)
{
    float             g[2] = { 0 };
    struct psw_span   span = all_of(opened("w", 1, 2, PS_F32), NULL, g);
    struct ps_ticket *push = move(PSW_PUSH, &span, 1), *t;

    ck_assert_status(psw_client_rest(client, now, &out, &t), PS_ERR_BAD_ARG);
    ck_assert_why("iteration 1 has begun");
    psw_ticket_drop(&push);
}
END_TEST

/* ---- window and resends --------------------------------------------------------- */

START_TEST(window_bounds_what_is_under_way)
{
    float             v[2];
    struct psw_span   span = all_of(opened("w", 1, 2, PS_F32), v, NULL);
    struct ps_ticket *t[PSW_WINDOW + 2];
    uint64_t          request[PSW_WINDOW + 2];

    for (size_t i = 0; i < PSW_WINDOW + 2; i++)
        t[i] = move(PSW_PULL, &span, 1);
    ck_assert_uint_eq(out.n, PSW_WINDOW);
    for (size_t i = 0; i < PSW_WINDOW; i++)
        request[i] = sent(i).h.request;
    values(shard(0), request[3], v, sizeof(v)); /* in any order */
    ck_assert_uint_eq(out.n, PSW_WINDOW + 1);
    values(shard(0), request[0], v, sizeof(v));
    ck_assert_uint_eq(out.n, PSW_WINDOW + 2);
    ck_assert_uint_gt(sent(PSW_WINDOW + 1).h.request, sent(PSW_WINDOW).h.request);
    for (size_t i = 0; i < PSW_WINDOW + 2; i++)
        psw_ticket_drop(&t[i]);
}
END_TEST

START_TEST(silence_makes_the_client_repeat_byte_for_byte)
{
    float             g[3] = { 1, 2, 3 };
    struct psw_span   span = all_of(opened("w", 1, 3, PS_F32), NULL, g);
    struct ps_ticket *t = move(PSW_PUSH, &span, 1);
    const uint64_t    waits[] = { 5, 10, 20, 30, 30 };

    for (size_t i = 0; i < sizeof(waits) / sizeof(waits[0]); i++) {
        ck_assert_uint_eq(psw_client_next_tick(client), now + waits[i] * 1000 * MS);
        now += waits[i] * 1000 * MS;
        psw_client_tick(client, now - 1, &out);
        ck_assert_uint_eq(out.n, i + 1);
        psw_client_tick(client, now, &out);
        ck_assert_uint_eq(out.n, i + 2);
    }
    for (size_t i = 1; i < out.n; i++) {
        const struct ps_parcel *a = &out.parcels[0], *b = &out.parcels[i];

        ck_assert_uint_eq(a->head->len, b->head->len);
        ck_assert_mem_eq(a->head->data, b->head->data, a->head->len);
        ck_assert_ptr_eq(a->frames[0], b->frames[0]);
    }
    ck_assert_uint_eq(psw_client_traffic(client)->retries, 5);
    ck_assert_uint_eq(psw_client_traffic(client)->pushes, 1);
    psw_ticket_drop(&t);
}
END_TEST

START_TEST(shard_that_talks_is_given_time)
{
    float             v[2];
    struct psw_span   span = all_of(opened("w", 1, 2, PS_F32), v, NULL);
    struct ps_ticket *a = move(PSW_PULL, &span, 1), *b = move(PSW_PULL, &span, 1);

    now += 4000 * MS;
    values(shard(0), sent(1).h.request, v, sizeof(v));
    assert_ended(b, PS_OK);
    ck_assert_uint_eq(psw_client_next_tick(client), now + 5000 * MS);
    psw_ticket_drop(&a);
}
END_TEST

START_TEST(answer_that_comes_twice_counts_once)
{
    float             v[2];
    const float       first[2] = { 1, 2 }, second[2] = { 3, 4 };
    struct psw_span   span = all_of(opened("w", 1, 2, PS_F32), v, NULL);
    struct ps_ticket *t = move(PSW_PULL, &span, 1);
    uint64_t          request = only_sent().h.request;

    values(shard(0), request, first, sizeof(first));
    values(shard(0), request, second, sizeof(second));
    assert_ended(t, PS_OK);
    ck_assert_mem_eq(v, first, sizeof(v));
    ck_assert_uint_eq(psw_client_traffic(client)->bytes_pulled, sizeof(v));
}
END_TEST

START_TEST(push_applied_before_is_a_success)
{
    float             g[2] = { 0 };
    struct psw_span   span = all_of(opened("w", 1, 2, PS_F32), NULL, g);
    struct ps_ticket *t = move(PSW_PUSH, &span, 1);

    refuse(shard(0), only_sent().h.request, PS_ERR_REPEATED, "seen before");
    assert_ended(t, PS_OK);
}
END_TEST

START_TEST(push_applied_before_still_brings_its_values)
{
    float             v[2] = { 0 }, g[2] = { 0 };
    const float       fresh[2] = { 3, 4 };
    struct psw_span   span = all_of(opened("w", 1, 2, PS_F32), v, g);
    struct ps_ticket *t = move(PSW_PUSH | PSW_FINISH | PSW_PULL, &span, 1);
    uint64_t          request = only_sent().h.request;
    struct sent       s;

    ps_outbox_clear(&out);
    refuse(shard(0), request, PS_ERR_REPEATED, "seen before");
    s = only_sent();
    ck_assert_uint_eq(s.h.kind, PS_MSG_PULL);
    ck_assert_uint_eq(s.h.clock, 1);
    ck_assert_uint_eq(s.h.n_ranges, 1);
    values(shard(0), s.h.request, fresh, sizeof(fresh));
    assert_ended(t, PS_OK);
    ck_assert_mem_eq(v, fresh, sizeof(v));
}
END_TEST

/* ---- answers --------------------------------------------------------------------- */

START_TEST(values_may_be_cut_anywhere_at_multiples_of_8)
{
    float             a[3], b[5];
    const float       payload[9] = { 1, 2, 3, -1, 4, 5, 6, 7, 8 };
    const size_t      cuts[] = { 8, 16, 12 };
    struct psw_span   spans[] = { all_of(opened("a", 1, 3, PS_F32), a, NULL),
                                  all_of(opened("b", 1, 5, PS_F32), b, NULL) };
    struct ps_ticket *t = move(PSW_PULL, spans, 2);
    struct ps_header  h = answer_to(only_sent().h.request, PS_MSG_PULL_OK);

    give(shard(0), &h, payload, cuts, 3);
    assert_ended(t, PS_OK);
    ck_assert_mem_eq(a, payload, sizeof(a));
    ck_assert_mem_eq(b, payload + 4, sizeof(b));
}
END_TEST

static const struct {
    const char *what;
    size_t      cuts[2];
    uint32_t    n_cuts;
} malformed[] = {
    { "nothing", { 0, 0 }, 0 },
    { "too short", { 8, 0 }, 1 },
    { "too long", { 32, 0 }, 1 },
    { "cut within 8 bytes", { 4, 8 }, 2 },
};

START_TEST(malformed_values_change_nothing)
{
    const float       payload[16] = { 0 };
    float             v[3] = { 7, 7, 7 };
    const float       was[3] = { 7, 7, 7 };
    struct psw_span   span = all_of(opened("w", 1, 3, PS_F32), v, NULL);
    struct ps_ticket *t = move(PSW_PULL, &span, 1);
    struct ps_header  h = answer_to(only_sent().h.request, PS_MSG_PULL_OK);

    give(shard(0), &h, payload, malformed[_i].cuts, malformed[_i].n_cuts);
    assert_ended(t, PS_ERR_BAD_MESSAGE);
    ck_assert_msg(memcmp(v, was, sizeof(v)) == 0, "%s", malformed[_i].what);
    ck_assert_why("pull of w at clock 0: shard 0 (tcp://10.0.0.1:1) answered");
}
END_TEST

static struct ps_ticket *ask_rows(const ps_matrix *m, uint64_t room, uint64_t *keys,
                                  float *rows)
{
    struct ps_ticket *t;

    ck_assert_ok(psw_client_rows(client, now, m, 0, 5, room, keys, rows, &out, &t));
    return t;
}

START_TEST(rows_come_with_their_keys_and_a_cursor)
{
    const uint64_t    payload[] = { 7, 8, 0 };
    const size_t      cuts[] = { 16, 8 };
    uint64_t          keys[2], next;
    float             rows[2] = { 9, 9 };
    struct ps_ticket *t = ask_rows(opened("rows", 0, 1, PS_F32), 2, keys, rows);
    struct sent       s = only_sent();
    struct ps_header  h = answer_to(s.h.request, PS_MSG_ROWS_OK);

    ck_assert_uint_eq(s.h.kind, PS_MSG_ROWS);
    ck_assert_uint_eq(s.h.after, 5);
    ck_assert_uint_eq(s.ranges[0].count, 2);
    h.after = 77;
    give(shard(0), &h, payload, cuts, 2);
    ck_assert_uint_eq(psw_ticket_rows(t, &next), 2);
    ck_assert_uint_eq(next, 77);
    ck_assert_mem_eq(keys, payload, sizeof(keys));
    ck_assert_float_eq(rows[1], 0);
    assert_ended(t, PS_OK);
}
END_TEST

/* Up to two rows of one f32 each were asked for. */
static const struct {
    const char *what;
    uint64_t    after;
    size_t      cuts[3];
    uint32_t    n_cuts;
} malformed_rows[] = {
    { "no rows, and more to come", 6, { 0 }, 0 },
    { "keys without values", 6, { 16 }, 1 },
    { "half a key", 6, { 12, 4 }, 2 },
    { "no key", 6, { 0, 0 }, 2 },
    { "a row too many", 6, { 24, 12 }, 2 },
    { "values of fewer rows", 6, { 16, 4 }, 2 },
    { "values of more rows", 6, { 16, 12 }, 2 },
    { "a frame too many", 6, { 16, 8, 8 }, 3 },
};

START_TEST(malformed_rows_change_nothing)
{
    const uint64_t    payload[8] = { 1, 2, 3 }, was = 99;
    uint64_t          keys[2] = { was, was };
    float             rows[2] = { 9, 9 };
    struct ps_ticket *t = ask_rows(opened("rows", 0, 1, PS_F32), 2, keys, rows);
    struct ps_header  h = answer_to(only_sent().h.request, PS_MSG_ROWS_OK);

    h.after = malformed_rows[_i].after;
    give(shard(0), &h, payload, malformed_rows[_i].cuts, malformed_rows[_i].n_cuts);
    assert_ended(t, PS_ERR_BAD_MESSAGE);
    ck_assert_msg(keys[0] == was && keys[1] == was && rows[0] == 9 && rows[1] == 9,
                  "%s", malformed_rows[_i].what);
    ck_assert_why("rows of rows: an answer of");
}
END_TEST

START_TEST(answer_of_the_wrong_kind_is_refused)
{
    float             v[2];
    struct psw_span   span = all_of(opened("w", 1, 2, PS_F32), v, NULL);
    struct ps_ticket *t = move(PSW_PULL, &span, 1);

    acknowledge(shard(0), only_sent().h.request, PS_MSG_PUSH_OK);
    assert_ended(t, PS_ERR_BAD_MESSAGE);
    ck_assert_why("answered push_ok, expected pull_ok");
}
END_TEST

START_TEST(garbage_is_as_good_as_lost)
{
    float             v[2];
    struct psw_span   span = all_of(opened("w", 1, 2, PS_F32), v, NULL);
    struct ps_ticket *t = move(PSW_PULL, &span, 1);
    struct ps_parcel  p = { .route = shard(0) };
    struct ps_parcel  stranger = { .route = shard(9) };

    ck_assert_ok(ps_buf_copy(&p.head, "\xff\xff\xff\xff", 4));
    psw_client_handle(client, now, &p, &out);
    ck_assert_ok(ps_buf_copy(&stranger.head, "hello", 5));
    psw_client_handle(client, now, &stranger, &out);
    ck_assert(!psw_ticket_done(t));
    values(shard(0), sent(0).h.request, v, sizeof(v));
    assert_ended(t, PS_OK);
}
END_TEST

START_TEST(notice_ends_everything_now_and_later)
{
    float             v[2];
    struct psw_span   span = all_of(opened("w", 1, 2, PS_F32), v, NULL);
    struct ps_ticket *t = move(PSW_PULL, &span, 1), *later;
    struct ps_header  h = answer_to(0, PS_MSG_NOTICE);

    h.status = PS_ERR_CLOSING;
    h.text = "the server is ending";
    give(shard(0), &h, NULL, NULL, 0);
    assert_ended(t, PS_ERR_CLOSING);
    ck_assert_why("the server is ending");
    ck_assert_status(psw_client_move(client, now, PSW_PULL, &span, 1, &out, &later),
                     PS_ERR_CLOSING);
    ck_assert_status(psw_client_report(client, now, "loss", 1), PS_ERR_CLOSING);
}
END_TEST

/* ---- deadlines ------------------------------------------------------------------ */

START_TEST(time_out_names_what_was_waited_for_and_on_whom)
{
    float             v[2];
    struct psw_span   span = all_of(opened("w", 1, 2, PS_F32), v, NULL);
    struct ps_ticket *f = move(PSW_FINISH, NULL, 0), *t;

    psw_ticket_drop(&f);
    t = move(PSW_PULL, &span, 1);
    psw_ticket_give_up(t, now + 30000 * MS, now + 29000 * MS, 30000);
    assert_ended(t, PS_ERR_TIMEOUT);
    ck_assert_why("pull of w at clock 1: no answer from shard 0 (tcp://10.0.0.1:1) for "
                  "30 s");
}
END_TEST

START_TEST(silence_of_every_server_is_unavailable)
{
    float             v[2];
    struct psw_span   span = all_of(opened("w", 1, 2, PS_F32), v, NULL);
    struct ps_ticket *t = move(PSW_PULL, &span, 1);

    psw_ticket_give_up(t, now + 30000 * MS, now + 1000 * MS, 30000);
    assert_ended(t, PS_ERR_UNAVAILABLE);
    ck_assert_why("pull of w at clock 0: nothing heard from shard 0 (tcp://10.0.0.1:1) "
                  "nor any other server for 29 s");
}
END_TEST

START_TEST(answer_after_the_deadline_does_not_touch_the_buffer)
{
    float             v[2] = { 7, 7 };
    const float       late[2] = { 1, 2 }, was[2] = { 7, 7 };
    struct psw_span   span = all_of(opened("w", 1, 2, PS_F32), v, v);
    struct ps_ticket *pull = move(PSW_PULL, &span, 1);
    struct ps_ticket *both = move(PSW_PUSH | PSW_FINISH | PSW_PULL, &span, 1);
    uint64_t          pulled = sent(0).h.request, moved = sent(1).h.request;

    psw_ticket_give_up(pull, now, now, 1);
    psw_ticket_drop(&pull);
    psw_ticket_drop(&both);
    values(shard(0), pulled, late, sizeof(late));
    values(shard(0), moved, late, sizeof(late));
    ck_assert_mem_eq(v, was, sizeof(v));
    ck_assert_uint_eq(psw_client_next_tick(client), UINT64_MAX);
}
END_TEST

START_TEST(push_is_repeated_even_when_nobody_waits)
{
    float             g[2] = { 0 };
    struct psw_span   span = all_of(opened("w", 1, 2, PS_F32), NULL, g);
    struct ps_ticket *t = move(PSW_PUSH, &span, 1);

    psw_ticket_give_up(t, now, now, 1);
    psw_ticket_drop(&t);
    now += 5000 * MS;
    psw_client_tick(client, now, &out);
    ck_assert_uint_eq(out.n, 2);
    ck_assert_uint_eq(sent(1).h.seq, sent(0).h.seq);
}
END_TEST

/* ---- reports and goodbye -------------------------------------------------------- */

START_TEST(reports_gather_and_leave_in_order)
{
    char name[16];

    for (int i = 0; i < 70; i++) {
        snprintf(name, sizeof(name), "m%d", i);
        ck_assert_ok(psw_client_report(client, now, name, i));
    }
    ck_assert_uint_le(psw_client_next_tick(client), now + 1000 * MS);
    psw_client_tick(client, now, &out);
    ck_assert_uint_eq(only_sent().h.kind, PS_MSG_REPORT);
    ck_assert_uint_eq(only_sent().h.n_reports, PS_REPORTS_MAX);
    ck_assert_uint_eq(only_sent().h.seq, 1);
    ck_assert_str_eq(only_sent().h.reports[63].name, "m63");
    now += 1000 * MS;
    psw_client_tick(client, now, &out);
    ck_assert_uint_eq(out.n, 1); /* one at a time, so that the order holds */
    acknowledge(coordinator, only_sent().h.request, PS_MSG_OK);
    ck_assert_uint_eq(out.n, 2);
    ck_assert_uint_eq(sent(1).h.n_reports, 6);
    ck_assert_uint_eq(sent(1).h.seq, 2);
    ck_assert_str_eq(sent(1).h.reports[0].name, "m64");
    ck_assert_double_eq(sent(1).h.reports[5].value, 69);
}
END_TEST

START_TEST(report_needs_a_name_of_fitting_length)
{
    char name[PS_NAME_BYTES + 1];

    memset(name, 'x', sizeof(name));
    name[PS_NAME_BYTES] = '\0';
    ck_assert_status(psw_client_report(client, now, name, 1), PS_ERR_BAD_ARG);
    ck_assert_status(psw_client_report(client, now, "", 1), PS_ERR_BAD_ARG);
    ck_assert_why("expected 1 to 127");
}
END_TEST

START_TEST(drain_waits_for_pushes_and_reports_and_gives_pulls_up)
{
    float             v[2] = { 0 };
    struct psw_span   span = all_of(opened("w", 1, 2, PS_F32), v, v);
    struct ps_ticket *push = move(PSW_PUSH, &span, 1), *pull = move(PSW_PULL, &span, 1);
    struct ps_ticket *drain;

    ck_assert_ok(psw_client_report(client, now, "loss", 1));
    ck_assert_ok(psw_client_drain(client, now, &out, &drain));
    ck_assert_uint_eq(out.n, 3); /* the report does not wait for others now */
    assert_ended(pull, PS_ERR_ABORTED);
    acknowledge(shard(0), sent(0).h.request, PS_MSG_PUSH_OK);
    ck_assert(!psw_ticket_done(drain));
    acknowledge(coordinator, sent(2).h.request, PS_MSG_OK);
    assert_ended(drain, PS_OK);
    assert_ended(push, PS_OK);
}
END_TEST

START_TEST(drain_fails_for_a_report_that_was_refused)
{
    struct ps_ticket *drain;

    ck_assert_ok(psw_client_report(client, now, "loss", 1));
    ck_assert_ok(psw_client_drain(client, now, &out, &drain));
    refuse(coordinator, only_sent().h.request, PS_ERR_LIMIT, "too many metrics");
    assert_ended(drain, PS_ERR_LIMIT);
    ck_assert_why("a report was refused: too many metrics");
}
END_TEST

START_TEST(goodbye_carries_the_reason_and_the_account)
{
    struct ps_ticket *t;

    psw_client_count_samples(client, 640);
    ck_assert_ok(psw_client_bye(client, now, "out of disk", &out, &t));
    ck_assert_uint_eq(only_sent().h.kind, PS_MSG_BYE);
    ck_assert_str_eq(only_sent().h.text, "out of disk");
    ck_assert_ptr_nonnull(only_sent().h.traffic);
    ck_assert_uint_eq(only_sent().h.traffic->samples, 640);
    acknowledge(coordinator, only_sent().h.request, PS_MSG_OK);
    assert_ended(t, PS_OK);
}
END_TEST

START_TEST(observer_reads_the_newest_and_changes_nothing)
{
    float             v[2] = { 0 };
    struct psw_span   span;
    struct ps_ticket *t;

    psw_client_free(&client);
    join(1, true, 0);
    span = all_of(opened("w", 1, 2, PS_F32), v, v);
    t = move(PSW_PULL, &span, 1);
    ck_assert_uint_eq(only_sent().h.clock, UINT64_MAX);
    ck_assert_uint_eq(only_sent().h.rank, UINT32_MAX);
    psw_ticket_drop(&t);
    ck_assert_status(psw_client_move(client, now, PSW_PUSH, &span, 1, &out, &t),
                     PS_ERR_BAD_ARG);
    ck_assert_why("an observer neither pushes nor finishes");
    ck_assert_status(psw_client_move(client, now, PSW_FINISH, NULL, 0, &out, &t),
                     PS_ERR_BAD_ARG);
    ck_assert_ok(psw_client_report(client, now, "test_accuracy", 0.5));
}
END_TEST

START_TEST(weight_travels_with_the_push)
{
    struct ps_ticket *t;

    psw_client_weight(client, 32);
    t = move(PSW_FINISH, NULL, 0);
    ck_assert_double_eq(only_sent().h.weight, 32);
    psw_ticket_drop(&t);
}
END_TEST

START_TEST(batches_travel_with_the_end_of_the_iteration_and_are_one_again)
{
    struct ps_ticket *t;

    psw_client_batches(client, 4);
    t = move(PSW_FINISH, NULL, 0);
    ck_assert_uint_eq(only_sent().h.batches, 4);
    psw_ticket_drop(&t);
    ps_outbox_clear(&out);
    t = move(PSW_FINISH, NULL, 0);
    ck_assert_uint_eq(only_sent().h.batches, 1);
    psw_ticket_drop(&t);
}
END_TEST

/* ---- what a gradient came of ---------------------------------------------------- */

/* Pulls from the only shard, whose answer is of this version; the ticket is not taken.
 */
static struct ps_ticket *pull_of(uint64_t version, const struct psw_span *span)
{
    struct ps_ticket *t;
    float             v[2] = { 0 };

    ps_outbox_clear(&out);
    t = move(PSW_PULL, span, 1);
    values_of(version, shard(0), only_sent().h.request, v, sizeof(v));
    return t;
}

/* Pushes, and gives the version that the push says it comes of. */
static uint64_t pushed_of(uint32_t moves, const struct psw_span *span)
{
    struct ps_ticket *t;
    uint64_t          version;

    ps_outbox_clear(&out);
    t = move(moves, span, 1);
    version = only_sent().h.version;
    acknowledge(shard(0), only_sent().h.request, PS_MSG_PUSH_OK);
    assert_ended(t, PS_OK);
    return version;
}

START_TEST(push_says_of_which_version_its_gradient_comes)
{
    float             v[2], g[2] = { 0 };
    struct psw_span   span = all_of(opened("w", 1, 2, PS_F32), v, g);
    struct ps_ticket *t;

    ck_assert_uint_eq(pushed_of(PSW_PUSH | PSW_FINISH, &span), 0);
    t = pull_of(7, &span);
    assert_ended(t, PS_OK);
    ck_assert_uint_eq(pushed_of(PSW_PUSH | PSW_FINISH, &span), 7);
    ck_assert_uint_eq(pushed_of(PSW_PUSH | PSW_FINISH, &span), 7); /* no other pull */
}
END_TEST

START_TEST(pull_counts_from_when_it_is_taken)
{
    float             v[2], g[2] = { 0 };
    struct psw_span   span = all_of(opened("w", 1, 2, PS_F32), v, g);
    struct ps_ticket *t = pull_of(3, &span), *ahead, *failed;

    assert_ended(t, PS_OK);
    ahead = pull_of(8, &span); /* it is there, and for the next iteration */
    ck_assert_uint_eq(pushed_of(PSW_PUSH | PSW_FINISH, &span), 3);
    assert_ended(ahead, PS_OK);
    failed = move(PSW_PULL, &span, 1);
    psw_ticket_give_up(failed, now, 0, 1);
    psw_ticket_drop(&failed);
    ck_assert_uint_eq(pushed_of(PSW_PUSH | PSW_FINISH, &span), 8);
}
END_TEST

START_TEST(of_several_pulls_of_an_iteration_the_oldest_counts)
{
    float             v[2], g[2] = { 0 };
    struct psw_span   span = all_of(opened("w", 1, 2, PS_F32), v, g);
    struct ps_ticket *a = pull_of(4, &span), *b = pull_of(6, &span);

    assert_ended(b, PS_OK);
    assert_ended(a, PS_OK);
    ck_assert_uint_eq(pushed_of(PSW_PUSH, &span), 4);
    a = pull_of(9, &span);
    assert_ended(a, PS_OK);
    ck_assert_uint_eq(pushed_of(PSW_PUSH | PSW_FINISH, &span), 4);
    a = pull_of(9, &span); /* the next iteration has pulls of its own */
    assert_ended(a, PS_OK);
    ck_assert_uint_eq(pushed_of(PSW_PUSH | PSW_FINISH, &span), 9);
}
END_TEST

START_TEST(values_that_rode_on_a_push_count_for_the_next_one)
{
    float             v[2] = { 0 }, g[2] = { 0 };
    struct psw_span   span = all_of(opened("w", 1, 2, PS_F32), v, g);
    struct ps_ticket *t = move(PSW_PUSH | PSW_FINISH | PSW_PULL, &span, 1);

    values_of(5, shard(0), only_sent().h.request, v, sizeof(v));
    assert_ended(t, PS_OK);
    ck_assert_uint_eq(pushed_of(PSW_PUSH | PSW_FINISH, &span), 5);
}
END_TEST

START_TEST(each_shard_is_told_its_own_version)
{
    static float      v[3 * MIB / 4], g[3 * MIB / 4];
    struct psw_span   span = all_of(opened("w", 3, MIB / 4, PS_F32), v, g);
    struct ps_ticket *t = move(PSW_PULL, &span, 1);
    size_t            n = out.n;

    for (size_t i = 0; i < n; i++) {
        struct sent s = sent(i);

        values_of(10 + s.parcel->route.index, shard(s.parcel->route.index), s.h.request,
                  v, s.ranges[0].count * sizeof(float));
    }
    assert_ended(t, PS_OK);
    ps_outbox_clear(&out);
    t = move(PSW_PUSH | PSW_FINISH, &span, 1);
    for (size_t i = 0; i < out.n; i++)
        ck_assert_uint_eq(sent(i).h.version, 10 + sent(i).parcel->route.index);
    psw_ticket_drop(&t);
}
END_TEST

static Suite *client_suite(void)
{
    Suite *s = suite_create("client");
    TCase *coming = tcase_create("coming in");
    TCase *one = tcase_create("one shard");
    TCase *three = tcase_create("three shards");

    tcase_add_checked_fixture(coming, nobody_yet, go);
    tcase_add_test(coming, hello_says_who_comes_and_what_the_job_is);
    tcase_add_test(coming, hello_is_repeated_with_the_same_number);
    tcase_add_test(coming, refused_hello_fails_with_the_server_s_sentence);
    tcase_add_test(coming, welcome_without_a_session_is_no_welcome);
    tcase_add_test(coming, nobody_at_the_address_is_unavailable);
    suite_add_tcase(s, coming);

    tcase_add_checked_fixture(three, three_shards, go);
    tcase_add_test(three, every_shard_gets_what_it_owns);
    tcase_add_test(three, each_shard_is_told_its_own_version);
    tcase_add_test(three, rows_go_to_their_shards_and_come_back_to_their_places);
    tcase_add_test(three, finish_tells_every_shard_how_many_pushes_it_got);
    tcase_add_test(three, finish_is_done_when_all_shards_have_answered);
    tcase_add_test(three, epoch_ends_at_the_latest_clock_of_the_shards);
    tcase_add_test(three, second_try_asks_only_the_shards_that_gave_up);
    tcase_add_test(three, second_try_meets_what_is_under_way);
    suite_add_tcase(s, three);

    tcase_add_checked_fixture(one, one_shard, go);
    tcase_add_test(one, messages_carry_what_the_welcome_gave);
    tcase_add_test(one, map_that_does_not_cover_the_matrix_is_refused);
    tcase_add_test(one, matrix_opened_twice_is_the_same_handle);
    tcase_add_test(one, matrices_of_a_group_share_one_request);
    tcase_add_test(one, gradients_are_copied_at_once);
    tcase_add_test(one, large_matrix_travels_in_chunks);
    tcase_add_test(one, range_outside_the_matrix_is_refused_before_anything_leaves);
    tcase_add_test(one, pushed_rows_follow_their_keys);
    tcase_add_test(one,
                   rows_of_one_shard_stay_in_order_however_many_requests_they_take);
    tcase_add_test(one, nothing_to_move_is_done_at_once);
    tcase_add_test(one, parts_are_counted_anew_in_each_iteration);
    tcase_add_test(one, small_model_takes_one_round_trip);
    tcase_add_test(one, large_model_pulls_what_did_not_ride_on_the_last_push);
    tcase_add_test(one, refused_push_is_withdrawn_so_that_the_iteration_can_end);
    tcase_add_test(one, finish_fails_for_a_push_nobody_asked_about);
    tcase_add_test(one, late_push_counts_as_done_and_the_clock_goes_on);
    tcase_add_test(one, worker_that_was_started_again_elsewhere_is_told);
    tcase_add_test(one, clock_goes_on_only_when_the_iteration_has_ended);
    tcase_add_test(one, pull_says_which_push_was_the_last);
    tcase_add_test(one, epoch_does_not_end_within_an_iteration);
    tcase_add_test(one, window_bounds_what_is_under_way);
    tcase_add_test(one, silence_makes_the_client_repeat_byte_for_byte);
    tcase_add_test(one, shard_that_talks_is_given_time);
    tcase_add_test(one, answer_that_comes_twice_counts_once);
    tcase_add_test(one, push_applied_before_is_a_success);
    tcase_add_test(one, push_applied_before_still_brings_its_values);
    tcase_add_test(one, values_may_be_cut_anywhere_at_multiples_of_8);
    tcase_add_loop_test(one, malformed_values_change_nothing, 0,
                        sizeof(malformed) / sizeof(malformed[0]));
    tcase_add_test(one, rows_come_with_their_keys_and_a_cursor);
    tcase_add_loop_test(one, malformed_rows_change_nothing, 0,
                        sizeof(malformed_rows) / sizeof(malformed_rows[0]));
    tcase_add_test(one, answer_of_the_wrong_kind_is_refused);
    tcase_add_test(one, garbage_is_as_good_as_lost);
    tcase_add_test(one, notice_ends_everything_now_and_later);
    tcase_add_test(one, time_out_names_what_was_waited_for_and_on_whom);
    tcase_add_test(one, silence_of_every_server_is_unavailable);
    tcase_add_test(one, answer_after_the_deadline_does_not_touch_the_buffer);
    tcase_add_test(one, push_is_repeated_even_when_nobody_waits);
    tcase_add_test(one, reports_gather_and_leave_in_order);
    tcase_add_test(one, report_needs_a_name_of_fitting_length);
    tcase_add_test(one, drain_waits_for_pushes_and_reports_and_gives_pulls_up);
    tcase_add_test(one, drain_fails_for_a_report_that_was_refused);
    tcase_add_test(one, goodbye_carries_the_reason_and_the_account);
    tcase_add_test(one, observer_reads_the_newest_and_changes_nothing);
    tcase_add_test(one, weight_travels_with_the_push);
    tcase_add_test(one, batches_travel_with_the_end_of_the_iteration_and_are_one_again);
    tcase_add_test(one, push_says_of_which_version_its_gradient_comes);
    tcase_add_test(one, pull_counts_from_when_it_is_taken);
    tcase_add_test(one, of_several_pulls_of_an_iteration_the_oldest_counts);
    tcase_add_test(one, values_that_rode_on_a_push_count_for_the_next_one);
    suite_add_tcase(s, one);
    return s;
}

TEST_MAIN(client_suite)
