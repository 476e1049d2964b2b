/* The client of a worker, against servers that the test plays: messages and answers. */
#include "tests/unit/servers.h"

#include "worker/client.h"
#include "worker/lane.h"

#include <math.h>
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

START_TEST(push_says_that_it_is_finite_only_if_it_is)
{
    float             g[2][3] = { { 1, 2, 3 }, { 1, 2, NAN } };
    uint64_t          keys[] = { 4, 5, 6 };
    struct psw_span   dense = all_of(opened("w", 1, 3, PS_F32), NULL, g[_i]);
    struct psw_span   rows = { .matrix = opened("rows", 0, 1, PS_F32),
                               .count = 3,
                               .keys = keys,
                               .gradient = g[_i] };
    struct ps_ticket *t[2];

    ps_outbox_clear(&out);
    t[0] = move(PSW_PUSH, &dense, 1);
    t[1] = move(PSW_PUSH, &rows, 1);
    for (size_t i = 0; i < 2; i++) {
        ck_assert_uint_eq(sent(i).h.flags, _i == 0 ? PS_FLAG_FINITE : 0);
        psw_ticket_drop(&t[i]);
    }
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

static Suite *client_suite(void)
{
    Suite *s = suite_create("client");
    TCase *coming = tcase_create("coming in");
    TCase *three = tcase_create("three shards");
    TCase *one = tcase_create("one shard");

    tcase_add_checked_fixture(coming, nobody_yet, go);
    tcase_add_test(coming, hello_says_who_comes_and_what_the_job_is);
    tcase_add_test(coming, hello_is_repeated_with_the_same_number);
    tcase_add_test(coming, refused_hello_fails_with_the_server_s_sentence);
    tcase_add_test(coming, welcome_without_a_session_is_no_welcome);
    tcase_add_test(coming, nobody_at_the_address_is_unavailable);
    suite_add_tcase(s, coming);

    tcase_add_checked_fixture(three, three_shards, go);
    tcase_add_test(three, every_shard_gets_what_it_owns);
    tcase_add_test(three, rows_go_to_their_shards_and_come_back_to_their_places);
    suite_add_tcase(s, three);

    tcase_add_checked_fixture(one, one_shard, go);
    tcase_add_test(one, messages_carry_what_the_welcome_gave);
    tcase_add_test(one, map_that_does_not_cover_the_matrix_is_refused);
    tcase_add_test(one, matrix_opened_twice_is_the_same_handle);
    tcase_add_test(one, matrices_of_a_group_share_one_request);
    tcase_add_test(one, gradients_are_copied_at_once);
    tcase_add_loop_test(one, push_says_that_it_is_finite_only_if_it_is, 0, 2);
    tcase_add_test(one, large_matrix_travels_in_chunks);
    tcase_add_test(one, range_outside_the_matrix_is_refused_before_anything_leaves);
    tcase_add_test(one, pushed_rows_follow_their_keys);
    tcase_add_test(one,
                   rows_of_one_shard_stay_in_order_however_many_requests_they_take);
    tcase_add_test(one, nothing_to_move_is_done_at_once);
    tcase_add_test(one, values_may_be_cut_anywhere_at_multiples_of_8);
    tcase_add_loop_test(one, malformed_values_change_nothing, 0,
                        sizeof(malformed) / sizeof(malformed[0]));
    tcase_add_test(one, rows_come_with_their_keys_and_a_cursor);
    tcase_add_loop_test(one, malformed_rows_change_nothing, 0,
                        sizeof(malformed_rows) / sizeof(malformed_rows[0]));
    tcase_add_test(one, answer_of_the_wrong_kind_is_refused);
    tcase_add_test(one, garbage_is_as_good_as_lost);
    tcase_add_test(one, notice_ends_everything_now_and_later);
    tcase_add_test(one, reports_gather_and_leave_in_order);
    tcase_add_test(one, report_needs_a_name_of_fitting_length);
    tcase_add_test(one, drain_waits_for_pushes_and_reports_and_gives_pulls_up);
    tcase_add_test(one, drain_fails_for_a_report_that_was_refused);
    tcase_add_test(one, goodbye_carries_the_reason_and_the_account);
    tcase_add_test(one, observer_reads_the_newest_and_changes_nothing);
    tcase_add_test(one, weight_travels_with_the_push);
    tcase_add_test(one, batches_travel_with_the_end_of_the_iteration_and_are_one_again);
    suite_add_tcase(s, one);
    return s;
}

TEST_MAIN(client_suite)
