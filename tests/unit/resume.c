/* The client of a worker when its job goes back, against servers that the test plays.
 */
#include "tests/unit/servers.h"

#include "worker/lane.h"

#include <stdio.h>

static void one_shard(void)
{
    come(1, false, 10);
}

static void two_shards(void)
{
    come(2, false, 10);
}

static void three_shards(void)
{
    come(3, false, 10);
}

static void observing(void)
{
    come(1, true, 10);
}

static void not_saved(void)
{
    come(1, false, 0);
}

static void nobody_yet(void)
{
    come(0, false, 10);
}

/* ---- the servers ---------------------------------------------------------------- */

/* The only message of this kind that left; the others are left alone. */
static struct sent the(uint32_t kind)
{
    struct sent found = { 0 };
    size_t      n = 0;

    for (size_t i = 0; i < out.n; i++)
        if (sent(i).h.kind == kind) {
            found = sent(i);
            n++;
        }
    ck_assert_msg(n == 1, "%zu messages of kind %s left", n, ps_kind_name(kind));
    return found;
}

static size_t count(uint32_t kind)
{
    size_t n = 0;

    for (size_t i = 0; i < out.n; i++)
        n += sent(i).h.kind == kind;
    return n;
}

/* Said by the coordinator: the job goes back, to life number `life`. */
static void notice_of(uint64_t epoch, uint64_t life)
{
    struct ps_header h = answer_to(0, PS_MSG_NOTICE);

    h.status = PS_ERR_ROLLBACK;
    h.server_epoch = epoch;
    h.version = life;
    give(coordinator, &h, NULL, NULL, 0);
}

static void notice(uint64_t epoch)
{
    notice_of(epoch, 0);
}

static uint64_t welcome_of_life; /* 0: it does not say */

/* To the HELLO that left; empties the outbox before. */
static void welcome_to(uint64_t epoch, uint32_t n_shards, uint64_t map_epoch)
{
    struct ps_job_spec job = *psw_client_job(client);
    struct ps_header   h = answer_to(the(PS_MSG_HELLO).h.request, PS_MSG_WELCOME);
    bool               observer = psw_client_is_observer(client);

    h.job = 3;
    h.session = observer ? 4712 : 4711;
    h.rank = observer ? UINT32_MAX : 1;
    h.incarnation = 1;
    h.server_epoch = epoch;
    h.version = welcome_of_life;
    h.map_epoch = map_epoch;
    h.n_endpoints = n_shards;
    h.endpoints = endpoints;
    h.job_spec = &job;
    h.clock = 9;
    ps_outbox_clear(&out);
    give(coordinator, &h, NULL, NULL, 0);
}

static uint64_t asked_at(uint16_t index)
{
    for (size_t i = 0; i < out.n; i++)
        if (sent(i).h.kind == PS_MSG_RESUME && out.parcels[i].route.index == index)
            return sent(i).h.request;
    ck_abort_msg("shard %u was not asked", index);
    return 0;
}

static void there(uint16_t index, uint64_t request, uint64_t clock, uint64_t seq,
                  uint64_t version)
{
    struct ps_header h = answer_to(request, PS_MSG_RESUME_OK);

    h.clock = clock;
    h.seq = seq;
    h.version = version;
    give(shard(index), &h, NULL, NULL, 0);
}

/* All shards are at the same place; empties the outbox. */
static void all_there(uint64_t clock, uint64_t seq, uint64_t version)
{
    uint64_t requests[3];
    uint32_t n = psw_client_n_shards(client);

    for (uint16_t i = 0; i < n; i++)
        requests[i] = asked_at(i);
    ps_outbox_clear(&out);
    for (uint16_t i = 0; i < n; i++)
        there(i, requests[i], clock, seq, version);
}

/* A whole rollback, to clock 7 of epoch 6; what the client sends then stays. */
static void go_back(uint32_t n_shards)
{
    ps_outbox_clear(&out);
    notice(6);
    welcome_to(6, n_shards, 0);
    all_there(7, 20, 30);
}

static void assert_rollback(ps_status st)
{
    ck_assert_status(st, PS_ERR_ROLLBACK);
    ck_assert_why("job lenet went back to clock 7, go on from there");
}

/* What the client asks the coordinator about a matrix is answered: all of it lies on
 * one shard. */
static void reopen(const struct sent *s, uint16_t owner)
{
    struct ps_matrix_spec    spec = s->h.matrices[0];
    struct ps_header         h = answer_to(s->h.request, PS_MSG_MATRIX_OK);
    const struct ps_slot_run run = { .shard = owner, .n_slots = 1 };

    spec.number = 5;
    h.n_matrices = 1;
    h.matrices = &spec;
    h.n_slot_runs = 1;
    h.slot_runs = &run;
    ps_outbox_clear(&out);
    give(coordinator, &h, NULL, NULL, 0);
}

/* ---- the resume ----------------------------------------------------------------- */

START_TEST(member_says_who_it_was)
{
    struct sent s;

    notice(6);
    s = only_sent();
    ck_assert_uint_eq(s.h.kind, PS_MSG_HELLO);
    ck_assert_uint_eq(s.parcel->route.kind, PS_ROUTE_COORDINATOR);
    ck_assert_uint_eq(s.h.job, 3);
    ck_assert_uint_eq(s.h.session, 4711);
    ck_assert_uint_eq(s.h.rank, 1);
    ck_assert_uint_eq(s.h.incarnation, 1);
    ck_assert_uint_eq(s.h.pid, 77);
    ck_assert_str_eq(s.h.name, "lenet");
    ck_assert_str_eq(s.h.token, "secret");
    ck_assert_uint_eq(s.h.job_spec->workers, 2);
}
END_TEST

START_TEST(shards_are_asked_under_the_new_epoch)
{
    notice(6);
    welcome_to(6, 1, 0);
    ck_assert_uint_eq(only_sent().h.kind, PS_MSG_RESUME);
    ck_assert_uint_eq(sent(0).h.server_epoch, 6);
    ck_assert_uint_eq(sent(0).h.session, 4711);
    ck_assert_uint_eq(sent(0).parcel->route.kind, PS_ROUTE_SHARD);
}
END_TEST

START_TEST(what_is_under_way_fails_when_all_shards_have_said_where_they_are)
{
    float             w[4] = { 0 };
    struct psw_span   span = all_of(opened("w", 1, 4, PS_F32), w, w);
    struct ps_ticket *push = move(PSW_PUSH | PSW_FINISH, &span, 1);
    struct ps_ticket *pull = move(PSW_PULL, &span, 1);

    ps_outbox_clear(&out);
    notice(6);
    ck_assert(!psw_ticket_done(push));
    welcome_to(6, 2, 0);
    there(0, asked_at(0), 7, 20, 30);
    ck_assert(!psw_ticket_done(push));
    ck_assert(!psw_ticket_done(pull));
    ck_assert_uint_eq(psw_client_rollbacks(client), 0);
    there(1, asked_at(1), 7, 20, 30);
    ck_assert(psw_ticket_done(push));
    assert_rollback(psw_ticket_result(push));
    assert_rollback(psw_ticket_result(pull));
    ck_assert_uint_eq(psw_client_clock(client), 7);
    ck_assert_uint_eq(psw_client_rollbacks(client), 1);
    psw_ticket_drop(&push);
    psw_ticket_drop(&pull);
}
END_TEST

START_TEST(nothing_of_the_old_life_is_sent_again)
{
    float             w[4] = { 0 };
    struct psw_span   span = all_of(opened("w", 1, 4, PS_F32), w, w);
    struct ps_ticket *t[20];

    for (int i = 0; i < 20; i++) /* more than a window */
        t[i] = move(PSW_PUSH | PSW_FINISH, &span, 1);
    go_back(1);
    for (int i = 0; i < 20; i++)
        psw_ticket_drop(&t[i]);
    for (int i = 0; i < 100; i++) {
        now += 1000 * MS;
        psw_client_tick(client, now, &out);
    }
    ck_assert_uint_eq(out.n, 0);
}
END_TEST

START_TEST(nothing_but_the_resume_is_sent_while_it_lasts)
{
    float             w[4] = { 0 };
    struct psw_span   span = all_of(opened("w", 1, 4, PS_F32), w, w);
    struct ps_ticket *t = move(PSW_PUSH | PSW_FINISH, &span, 1);

    ck_assert_ok(psw_client_report(client, now, "loss", 0.5));
    ps_outbox_clear(&out);
    notice(6);
    for (int i = 0; i < 100; i++) {
        now += 1000 * MS;
        psw_client_tick(client, now, &out);
    }
    for (size_t i = 0; i < out.n; i++)
        ck_assert_uint_eq(sent(i).h.kind, PS_MSG_HELLO);
    psw_ticket_drop(&t);
}
END_TEST

START_TEST(lost_requests_of_the_resume_are_repeated_byte_for_byte)
{
    uint64_t request;

    notice(6);
    welcome_to(6, 1, 0);
    request = asked_at(0);
    ps_outbox_clear(&out);
    now = psw_client_next_tick(client);
    psw_client_tick(client, now, &out);
    ck_assert_uint_eq(only_sent().h.kind, PS_MSG_RESUME);
    ck_assert_uint_eq(only_sent().h.request, request);
}
END_TEST

START_TEST(pushes_are_numbered_on_from_what_the_shard_has)
{
    float             w[4] = { 0 };
    struct psw_span   span = all_of(opened("w", 1, 4, PS_F32), w, w);
    struct ps_ticket *t = move(PSW_PUSH, &span, 1); /* the iteration has begun */

    go_back(1);
    assert_ended(t, PS_ERR_ROLLBACK);
    t = move(PSW_PUSH | PSW_FINISH, &span, 1);
    ck_assert_uint_eq(only_sent().h.seq, 21);
    ck_assert_uint_eq(sent(0).h.clock, 8);
    ck_assert_uint_eq(sent(0).h.parts, 1);
    ck_assert_uint_eq(sent(0).h.batches, 1);
    ck_assert_uint_eq(sent(0).h.server_epoch, 6);
    psw_ticket_drop(&t);
}
END_TEST

/* What was set for the iteration that is void is not that of the next one. */
START_TEST(next_iteration_begins_as_any_other)
{
    float             w[4] = { 0 };
    struct psw_span   span = all_of(opened("w", 1, 4, PS_F32), w, w);
    struct ps_ticket *first = move(PSW_PUSH, &span, 1), *second, *t;
    struct ps_header  late = answer_to(only_sent().h.request, PS_MSG_ERROR);

    second = move(PSW_PUSH, &span, 1);
    late.status = PS_ERR_STALE;
    late.seq = 1;
    late.clock = 40; /* from where it would go on */
    give(shard(0), &late, NULL, NULL, 0);
    psw_client_batches(client, 5);
    go_back(1);
    assert_ended(first, PS_OK);
    assert_ended(second, PS_ERR_ROLLBACK);
    t = move(PSW_PUSH | PSW_FINISH, &span, 1);
    ck_assert_uint_eq(only_sent().h.batches, 1);
    ck_assert_uint_eq(only_sent().h.parts, 1);
    ck_assert_uint_eq(psw_client_clock(client), 8);
    psw_ticket_drop(&t);
}
END_TEST

START_TEST(version_of_the_old_life_is_not_behind_the_new_gradients)
{
    float             w[4] = { 0 };
    struct psw_span   span = all_of(opened("w", 1, 4, PS_F32), w, w);
    struct ps_ticket *taken = move(PSW_PULL, &span, 1), *kept, *t;

    values_of(500, shard(0), only_sent().h.request, w, sizeof(w));
    ps_outbox_clear(&out);
    kept = move(PSW_PULL, &span, 1);
    values_of(600, shard(0), only_sent().h.request, w, sizeof(w));
    assert_ended(taken, PS_OK);
    go_back(1);
    assert_ended(kept, PS_OK); /* it was there before */
    psw_client_told(client);
    t = move(PSW_PUSH | PSW_FINISH, &span, 1);
    ck_assert_uint_eq(only_sent().h.version, 30);
    psw_ticket_drop(&t);
}
END_TEST

START_TEST(clock_is_the_lowest_of_the_shards)
{
    notice(6);
    welcome_to(6, 3, 0);
    there(2, asked_at(2), 12, 4, 0);
    there(0, asked_at(0), 11, 3, 0);
    there(1, asked_at(1), 10, 2, 0);
    ck_assert_uint_eq(psw_client_clock(client), 10);
}
END_TEST

/* The numbers that iterations 11 and 12 had on a shard that has them are not in use
 * again: what was pushed of iteration 13 has the next ones. */
START_TEST(shard_that_has_an_iteration_gets_no_pushes_for_it)
{
    float             w[4] = { 0 };
    struct psw_span   span = all_of(opened("w", 1, 4, PS_F32), w, w);
    struct ps_ticket *t;
    size_t            pushes_to[3] = { 0 }, pulls_to[3] = { 0 };

    notice(6);
    welcome_to(6, 3, 0);
    there(0, asked_at(0), 10, 3, 0);
    there(1, asked_at(1), 12, 40, 0);
    there(2, asked_at(2), 10, 3, 0);
    psw_client_told(client);
    for (int i = 0; i < 3; i++) {
        ps_outbox_clear(&out);
        t = move(PSW_PUSH | PSW_FINISH | PSW_PULL, &span, 1);
        for (size_t k = 0; k < out.n; k++) {
            struct sent s = sent(k);

            pushes_to[out.parcels[k].route.index] += s.h.kind == PS_MSG_PUSH;
            pulls_to[out.parcels[k].route.index] += s.h.kind == PS_MSG_PULL;
            if (out.parcels[k].route.index == 1) {
                ck_assert_uint_eq(s.h.clock, 13);
                ck_assert_uint_eq(s.h.seq, 41);
            }
        }
        psw_ticket_drop(&t);
    }
    ck_assert_uint_eq(psw_client_clock(client), 13);
    ck_assert_uint_eq(pushes_to[0], 3);
    ck_assert_uint_eq(pushes_to[1], 1);
    ck_assert_uint_eq(pushes_to[2], 3);
}
END_TEST

START_TEST(shard_that_has_an_iteration_is_pulled_from_all_the_same)
{
    float             w[4] = { 0 };
    struct psw_span   span = all_of(opened("w", 1, 4, PS_F32), w, w);
    struct ps_ticket *t;

    notice(6);
    welcome_to(6, 3, 0);
    for (uint16_t i = 0; i < 3; i++) /* one of them owns the matrix */
        there(i, asked_at(i), i == 0 ? 10 : 12, 3, 0);
    ck_assert_uint_eq(psw_client_clock(client), 10);
    psw_client_told(client);
    ps_outbox_clear(&out);
    t = move(PSW_PULL, &span, 1);
    {
        uint16_t owner = out.parcels[0].route.index;

        psw_ticket_drop(&t);
        ps_outbox_clear(&out);
        t = move(PSW_PUSH | PSW_FINISH | PSW_PULL, &span, 1);
        for (size_t i = 0; i < out.n; i++) {
            uint16_t index = out.parcels[i].route.index;

            if (index != owner)
                ck_assert_uint_eq(index, 0); /* the end of the iteration */
            else if (index == 0)
                ck_assert_uint_eq(sent(i).h.kind, PS_MSG_PUSH);
            else
                ck_assert_uint_eq(sent(i).h.kind, PS_MSG_PULL);
        }
        psw_ticket_drop(&t);
    }
}
END_TEST

START_TEST(late_answer_of_the_old_life_writes_nothing)
{
    float             w[4] = { 0 }, other[4] = { 1, 2, 3, 4 };
    struct psw_span   span = all_of(opened("w", 1, 4, PS_F32), w, w);
    struct ps_ticket *t = move(PSW_PULL, &span, 1), *again;
    uint64_t          old = only_sent().h.request;

    notice(6);
    values(shard(0), old, other, sizeof(other));
    ps_outbox_clear(&out);
    ck_assert(!psw_ticket_done(t));
    now = psw_client_next_tick(client);
    psw_client_tick(client, now, &out);
    welcome_to(6, 1, 0);
    all_there(7, 20, 30);
    assert_ended(t, PS_ERR_ROLLBACK);
    again = move(PSW_PULL, &span, 1);
    values(shard(0), old, other, sizeof(other));
    ck_assert(!psw_ticket_done(again));
    for (int i = 0; i < 4; i++)
        ck_assert(w[i] == 0);
    psw_ticket_drop(&again);
}
END_TEST

/* ---- a rollback during a resume -------------------------------------------------- */

START_TEST(hello_that_meets_another_rollback_is_said_again)
{
    uint64_t first;

    notice(6);
    first = only_sent().h.request;
    ps_outbox_clear(&out);
    refuse(coordinator, first, PS_ERR_ROLLBACK, "job lenet: it goes back");
    ck_assert_uint_eq(out.n, 0); /* not at once, for ever */
    now = psw_client_next_tick(client);
    psw_client_tick(client, now, &out);
    ck_assert_uint_eq(only_sent().h.kind, PS_MSG_HELLO);
    ck_assert_uint_ne(only_sent().h.request, first);
}
END_TEST

START_TEST(shard_that_has_gone_back_again_begins_another_resume)
{
    float             w[4] = { 0 };
    struct psw_span   span = all_of(opened("w", 1, 4, PS_F32), w, w);
    struct ps_ticket *t = move(PSW_PUSH | PSW_FINISH, &span, 1);
    uint64_t          old;

    ps_outbox_clear(&out);
    notice(6);
    welcome_to(6, 2, 0);
    old = asked_at(0);
    refuse(shard(1), asked_at(1), PS_ERR_ROLLBACK, "job lenet: it went back");
    ps_outbox_clear(&out);
    there(0, old, 50, 60, 70); /* of the life that is over */
    now = psw_client_next_tick(client);
    psw_client_tick(client, now, &out);
    welcome_to(7, 2, 0);
    ck_assert_uint_eq(sent(0).h.server_epoch, 7);
    ck_assert(!psw_ticket_done(t));
    all_there(7, 20, 30);
    ck_assert(psw_ticket_done(t));
    assert_rollback(psw_ticket_result(t));
    ck_assert_uint_eq(psw_client_rollbacks(client), 1);
    psw_ticket_drop(&t);
}
END_TEST

START_TEST(notice_during_a_resume_begins_another_one)
{
    notice(6);
    welcome_to(6, 1, 0);
    ps_outbox_clear(&out);
    notice(7);
    now = psw_client_next_tick(client);
    psw_client_tick(client, now, &out);
    welcome_to(7, 1, 0);
    all_there(7, 20, 30);
    ck_assert_uint_eq(psw_client_rollbacks(client), 1);
    ck_assert_uint_eq(psw_client_epoch(client), 7);
}
END_TEST

START_TEST(notice_of_the_life_that_has_begun_comes_too_late)
{
    go_back(1);
    notice(6);
    ck_assert_uint_eq(out.n, 0);
    ck_assert_uint_eq(psw_client_rollbacks(client), 1);
}
END_TEST

START_TEST(notices_while_the_welcome_is_awaited_add_nothing)
{
    notice(6);
    notice(7);
    psw_client_roll_back(client, now, &out);
    ck_assert_uint_eq(only_sent().h.kind, PS_MSG_HELLO);
}
END_TEST

START_TEST(who_was_told_of_one_rollback_is_told_of_the_next)
{
    float             w[4] = { 0 };
    struct psw_span   span = all_of(opened("w", 1, 4, PS_F32), w, w);
    struct ps_ticket *t = move(PSW_PULL, &span, 1), *next;

    go_back(1);
    notice(8);
    assert_ended(t, PS_ERR_ROLLBACK); /* of the first */
    welcome_to(8, 1, 0);
    all_there(7, 20, 30);
    assert_rollback(psw_client_move(client, now, PSW_PULL, &span, 1, &out, &next));
}
END_TEST

/* ---- other shards ---------------------------------------------------------------- */

START_TEST(maps_are_asked_for_when_they_have_changed)
{
    float             w[4] = { 0 };
    struct psw_span   span = all_of(opened("w", 1, 4, PS_F32), w, w);
    struct ps_ticket *t;

    notice(6);
    welcome_to(6, 2, 1);
    ck_assert_uint_eq(count(PS_MSG_RESUME), 0);
    ck_assert_str_eq(the(PS_MSG_MATRIX).h.matrices[0].name, "w");
    ck_assert_uint_eq(the(PS_MSG_MATRIX).h.flags, 0);
    ck_assert_uint_eq(the(PS_MSG_MATRIX).h.server_epoch, 6);
    reopen(&(struct sent){ .h = the(PS_MSG_MATRIX).h }, 1);
    all_there(7, 20, 30);
    psw_client_told(client);
    t = move(PSW_PUSH, &span, 1);
    ck_assert_uint_eq(only_sent().parcel->route.index, 1);
    ck_assert_uint_eq(sent(0).ranges[0].matrix, 5);
    psw_ticket_drop(&t);
}
END_TEST

START_TEST(maps_that_are_as_they_were_are_not_asked_for)
{
    opened("w", 1, 4, PS_F32);
    notice(6);
    welcome_to(6, 1, 0);
    ck_assert_uint_eq(count(PS_MSG_MATRIX), 0);
    ck_assert_uint_eq(count(PS_MSG_RESUME), 1);
}
END_TEST

START_TEST(more_shards_are_used)
{
    float             w[4] = { 0 };
    struct psw_span   span = all_of(opened("w", 1, 4, PS_F32), w, w);
    struct ps_ticket *t = move(PSW_PUSH | PSW_FINISH, &span, 1);
    uint32_t          life = psw_client_life(client);

    ps_outbox_clear(&out);
    notice(6);
    welcome_to(6, 3, 0);
    ck_assert_uint_eq(psw_client_life(client), life + 1);
    ck_assert_uint_eq(psw_client_n_shards(client), 3);
    ck_assert_str_eq(psw_client_endpoint(client, 2), endpoints[2]);
    reopen(&(struct sent){ .h = the(PS_MSG_MATRIX).h }, 2);
    all_there(7, 20, 30);
    assert_ended(t, PS_ERR_ROLLBACK);
    t = move(PSW_PUSH | PSW_FINISH, &span, 1);
    ck_assert_uint_eq(out.n, 3);
    ck_assert_uint_eq(sent(2).h.n_ranges, 1);
    ck_assert_uint_eq(out.parcels[2].route.index, 2);
    psw_ticket_drop(&t);
}
END_TEST

START_TEST(fewer_shards_are_left)
{
    float             w[4] = { 0 };
    struct psw_span   span = all_of(opened("w", 1, 4, PS_F32), w, w);
    struct ps_ticket *pulled = move(PSW_PULL, &span, 1), *t;

    values_of(9, out.parcels[0].route, only_sent().h.request, w, sizeof(w));
    ps_outbox_clear(&out);
    notice(6);
    welcome_to(6, 1, 0);
    reopen(&(struct sent){ .h = the(PS_MSG_MATRIX).h }, 0);
    all_there(7, 20, 30);
    ck_assert_uint_eq(psw_client_n_shards(client), 1);
    assert_ended(pulled, PS_OK); /* it knows three shards */
    psw_client_told(client);
    t = move(PSW_PUSH | PSW_FINISH, &span, 1);
    ck_assert_uint_eq(only_sent().h.version, 30);
    psw_ticket_drop(&t);
}
END_TEST

START_TEST(message_of_a_shard_that_is_gone_is_dropped)
{
    go_back(1);
    acknowledge(shard(2), 1002, PS_MSG_PUSH_OK);
    ck_assert_uint_eq(out.n, 0);
}
END_TEST

START_TEST(map_that_does_not_fit_breaks_the_client)
{
    struct ps_ticket *t;

    opened("w", 1, 4, PS_F32);
    notice(6);
    welcome_to(6, 2, 1);
    reopen(&(struct sent){ .h = the(PS_MSG_MATRIX).h }, 2);
    ck_assert_status(psw_client_move(client, now, PSW_FINISH, NULL, 0, &out, &t),
                     PS_ERR_BAD_MESSAGE);
    ck_assert_why("a map that does not fit the matrix");
}
END_TEST

/* ---- who is told ----------------------------------------------------------------- */

START_TEST(next_operation_fails_once_when_nothing_was_under_way)
{
    float             w[4] = { 0 };
    struct psw_span   span = all_of(opened("w", 1, 4, PS_F32), w, w);
    struct ps_ticket *t;

    go_back(1);
    assert_rollback(psw_client_move(client, now, PSW_PUSH, &span, 1, &out, &t));
    ck_assert_uint_eq(out.n, 0);
    t = move(PSW_PUSH, &span, 1);
    ck_assert_uint_eq(only_sent().h.seq, 21);
    psw_ticket_drop(&t);
}
END_TEST

/* Else a gradient of clock 57 would be pushed for clock 8. */
START_TEST(nothing_begins_anew_before_the_caller_has_seen_a_failure)
{
    float             w[4] = { 0 };
    struct psw_span   span = all_of(opened("w", 1, 4, PS_F32), w, w);
    struct ps_ticket *ahead = move(PSW_PULL, &span, 1), *t;

    go_back(1);
    ck_assert(psw_ticket_done(ahead)); /* but nobody has looked */
    assert_rollback(psw_client_move(client, now, PSW_PUSH, &span, 1, &out, &t));
    assert_ended(ahead, PS_ERR_ROLLBACK);
    t = move(PSW_PUSH, &span, 1);
    psw_ticket_drop(&t);
}
END_TEST

START_TEST(operation_that_begins_during_the_resume_fails_at_its_end)
{
    float             w[4] = { 0 };
    uint64_t          key = 4;
    ps_matrix        *sparse = opened("rows", 0, 4, PS_F32);
    struct psw_span   span = all_of(opened("w", 1, 4, PS_F32), w, w);
    struct ps_ticket *t[4];

    notice(6);
    ps_outbox_clear(&out);
    t[0] = move(PSW_PUSH | PSW_FINISH | PSW_PULL, &span, 1);
    ck_assert_ok(psw_client_rest(client, now, &out, &t[1]));
    ck_assert_ok(psw_client_rows(client, now, sparse, 0, 0, 1, &key, w, &out, &t[2]));
    ck_assert_ok(psw_client_drain(client, now, &out, &t[3]));
    ck_assert_uint_eq(out.n, 0);
    now += 20000 * MS;
    psw_client_tick(client, now, &out);
    welcome_to(6, 1, 0);
    for (int i = 0; i < 4; i++)
        ck_assert(!psw_ticket_done(t[i]));
    all_there(7, 20, 30);
    for (int i = 0; i < 4; i++) {
        ck_assert(psw_ticket_done(t[i]));
        assert_rollback(psw_ticket_result(t[i]));
        psw_ticket_drop(&t[i]);
    }
    ck_assert_uint_eq(out.n, 0);
    ck_assert_uint_eq(psw_client_clock(client), 7);
}
END_TEST

START_TEST(resume_goes_on_after_a_deadline)
{
    float             w[4] = { 0 };
    struct psw_span   span = all_of(opened("w", 1, 4, PS_F32), w, w);
    struct ps_ticket *t = move(PSW_PUSH | PSW_FINISH, &span, 1);

    ps_outbox_clear(&out);
    notice(6);
    now += 2000 * MS;
    psw_ticket_give_up(t, now, now, 2000);
    assert_ended(t, PS_ERR_TIMEOUT);
    t = move(PSW_PULL, &span, 1);
    welcome_to(6, 1, 0);
    all_there(7, 20, 30);
    assert_rollback(psw_ticket_result(t));
    psw_ticket_drop(&t);
}
END_TEST

START_TEST(who_was_told_of_a_deadline_is_told_of_the_rollback_too)
{
    float             w[4] = { 0 };
    struct psw_span   span = all_of(opened("w", 1, 4, PS_F32), w, w);
    struct ps_ticket *t = move(PSW_PUSH | PSW_FINISH, &span, 1);

    ps_outbox_clear(&out);
    notice(6);
    psw_ticket_give_up(t, now, now, 2000);
    assert_ended(t, PS_ERR_TIMEOUT);
    welcome_to(6, 1, 0);
    all_there(7, 20, 30);
    assert_rollback(psw_client_move(client, now, PSW_PUSH, &span, 1, &out, &t));
}
END_TEST

START_TEST(failures_of_the_old_life_do_not_fail_the_new_iteration)
{
    float             w[4] = { 0 };
    struct psw_span   span = all_of(opened("w", 1, 4, PS_F32), w, w);
    struct ps_ticket *bad = move(PSW_PUSH, &span, 1), *lost, *t;

    refuse(shard(0), only_sent().h.request, PS_ERR_NONFINITE, "not finite");
    lost = move(PSW_PUSH, &span, 1);
    go_back(1);
    psw_client_told(client);
    t = move(PSW_PUSH | PSW_FINISH, &span, 1);
    acknowledge(shard(0), only_sent().h.request, PS_MSG_PUSH_OK);
    assert_ended(t, PS_OK);
    psw_ticket_drop(&bad);
    psw_ticket_drop(&lost);
}
END_TEST

START_TEST(epoch_is_ended_anew_on_all_shards)
{
    struct ps_ticket *t;
    struct ps_header  h;

    ck_assert_ok(psw_client_rest(client, now, &out, &t));
    h = answer_to(sent(0).h.request, PS_MSG_PUSH_OK); /* one has answered */
    h.clock = 0;
    give(shard(0), &h, NULL, NULL, 0);
    go_back(2);
    assert_ended(t, PS_ERR_ROLLBACK);
    ck_assert_ok(psw_client_rest(client, now, &out, &t));
    ck_assert_uint_eq(out.n, 2);
    for (int i = 0; i < 2; i++) {
        ck_assert_uint_eq(sent(i).h.flags, PS_FLAG_REST);
        ck_assert_uint_eq(sent(i).h.clock, 7);
        ck_assert_uint_eq(sent(i).h.seq, 21);
    }
    psw_ticket_drop(&t);
}
END_TEST

/* One shard went back to before the end of an epoch, the other to after it. */
START_TEST(shard_where_the_epoch_has_ended_is_not_asked_to_end_it)
{
    struct ps_ticket *t;
    struct ps_header  h;

    notice(6);
    welcome_to(6, 2, 0);
    h = answer_to(asked_at(0), PS_MSG_RESUME_OK);
    h.clock = 25;
    h.after = 1;
    give(shard(0), &h, NULL, NULL, 0);
    there(1, asked_at(1), 8, 3, 0);
    psw_client_told(client);
    ck_assert_uint_eq(psw_client_epochs(client), 0);
    ps_outbox_clear(&out);
    ck_assert_ok(psw_client_rest(client, now, &out, &t));
    ck_assert_uint_eq(only_sent().parcel->route.index, 1);
    h = answer_to(only_sent().h.request, PS_MSG_PUSH_OK);
    h.clock = 20;
    h.after = 1;
    give(shard(1), &h, NULL, NULL, 0);
    assert_ended(t, PS_OK);
    ck_assert_uint_eq(psw_client_clock(client), 20);
    ck_assert_uint_eq(psw_client_epochs(client), 1);
    ps_outbox_clear(&out);
    ck_assert_ok(psw_client_rest(client, now, &out, &t));
    ck_assert_uint_eq(out.n, 2);
    psw_ticket_drop(&t);
}
END_TEST

/* ---- how it begins, and when it does not ----------------------------------------- */

static const struct {
    ps_status status;
    uint64_t  seq;
} elsewhere[] = { { PS_ERR_ROLLBACK, 0 }, { PS_ERR_UNKNOWN, 0 }, { PS_ERR_STALE, 0 } };

START_TEST(shard_that_has_been_started_again_begins_a_resume)
{
    float             w[4] = { 0 };
    struct psw_span   span = all_of(opened("w", 1, 4, PS_F32), w, w);
    struct ps_ticket *t = move(PSW_PUSH | PSW_FINISH, &span, 1);
    uint64_t          request = only_sent().h.request;

    ps_outbox_clear(&out);
    refuse(shard(0), request, elsewhere[_i].status, "no such job");
    ck_assert_uint_eq(only_sent().h.kind, PS_MSG_HELLO);
    ck_assert(!psw_ticket_done(t));
    psw_ticket_drop(&t);
}
END_TEST

START_TEST(job_that_is_not_saved_fails_as_ever)
{
    float             w[4] = { 0 };
    struct psw_span   span = all_of(opened("w", 1, 4, PS_F32), w, w);
    struct ps_ticket *t = move(PSW_PULL, &span, 1);
    uint64_t          request = only_sent().h.request;

    ps_outbox_clear(&out);
    refuse(shard(0), request, PS_ERR_UNKNOWN, "no such job");
    ck_assert_uint_eq(out.n, 0);
    assert_ended(t, PS_ERR_UNKNOWN);
}
END_TEST

START_TEST(late_push_is_no_rollback)
{
    float             w[4] = { 0 };
    struct psw_span   span = all_of(opened("w", 1, 4, PS_F32), w, w);
    struct ps_ticket *t = move(PSW_PUSH | PSW_FINISH, &span, 1);
    struct ps_header  h = answer_to(only_sent().h.request, PS_MSG_ERROR);

    h.status = PS_ERR_STALE;
    h.seq = 1;
    h.clock = 4;
    ps_outbox_clear(&out);
    give(shard(0), &h, NULL, NULL, 0);
    ck_assert_uint_eq(out.n, 0);
    assert_ended(t, PS_OK);
}
END_TEST

START_TEST(job_that_nobody_knows_any_more_is_over)
{
    float             w[4] = { 0 };
    struct psw_span   span = all_of(opened("w", 1, 4, PS_F32), w, w);
    struct ps_ticket *t = move(PSW_PULL, &span, 1);

    ps_outbox_clear(&out);
    notice(6);
    refuse(coordinator, only_sent().h.request, PS_ERR_UNKNOWN,
           "job lenet: not known here");
    assert_ended(t, PS_ERR_UNKNOWN);
    ck_assert_why("job lenet: not known here");
    ck_assert_status(psw_client_move(client, now, PSW_PULL, &span, 1, &out, &t),
                     PS_ERR_UNKNOWN);
}
END_TEST

START_TEST(abort_during_a_resume_ends_it)
{
    float             w[4] = { 0 };
    struct psw_span   span = all_of(opened("w", 1, 4, PS_F32), w, w);
    struct ps_ticket *t = move(PSW_PULL, &span, 1);

    notice(6);
    psw_client_notice(client, PS_ERR_ABORTED, "the job was aborted");
    assert_ended(t, PS_ERR_ABORTED);
}
END_TEST

/* After a NOTICE that it is over, the client only waits to be closed. */
START_TEST(job_that_is_over_does_not_go_back)
{
    float             w[4] = { 0 };
    struct psw_span   span = all_of(opened("w", 1, 4, PS_F32), w, w);
    struct ps_ticket *t = move(PSW_PUSH, &span, 1);
    uint64_t          request = only_sent().h.request;

    psw_client_notice(client, PS_ERR_ABORTED, "the job was aborted");
    psw_ticket_drop(&t);
    ps_outbox_clear(&out);
    refuse(shard(0), request, PS_ERR_UNKNOWN, "no such job");
    notice(6);
    ck_assert_uint_eq(count(PS_MSG_HELLO), 0);
}
END_TEST

/* A newcomer meets a job that is just going back. */
START_TEST(first_hello_is_said_again)
{
    struct ps_ticket *t;
    uint64_t          first;

    ps_outbox_clear(&out);
    ck_assert_ok(psw_client_hello(client, now, &out, &t));
    first = only_sent().h.request;
    ps_outbox_clear(&out);
    refuse(coordinator, first, PS_ERR_ROLLBACK, "job lenet: it goes back");
    ck_assert_uint_eq(only_sent().h.kind, PS_MSG_HELLO);
    ck_assert_uint_ne(only_sent().h.request, first);
    ck_assert_uint_eq(sent(0).h.session, 0);
    ck_assert_str_eq(sent(0).h.name, "lenet");
    ck_assert(!psw_ticket_done(t));
    psw_ticket_drop(&t);
}
END_TEST

START_TEST(observer_is_admitted_anew)
{
    float             w[4] = { 0 };
    struct psw_span   span = all_of(opened("w", 1, 4, PS_F32), w, NULL);
    struct ps_ticket *t = move(PSW_PULL, &span, 1);

    ps_outbox_clear(&out);
    notice(6);
    ck_assert_uint_eq(only_sent().h.flags, PS_FLAG_OBSERVER);
    ck_assert_ptr_null(sent(0).h.job_spec);
    welcome_to(6, 1, 0);
    ck_assert_uint_eq(out.n, 0); /* shards do not count its iterations */
    assert_ended(t, PS_ERR_ROLLBACK);
    ck_assert_uint_eq(psw_client_clock(client), 9);
    t = move(PSW_PULL, &span, 1);
    ck_assert_uint_eq(only_sent().h.session, 4712);
    ck_assert_uint_eq(sent(0).h.clock, UINT64_MAX);
    psw_ticket_drop(&t);
}
END_TEST

/* ---- what the coordinator was asked ---------------------------------------------- */

START_TEST(reports_under_way_are_sent_again_as_they_were)
{
    struct sent s;
    uint64_t    old;

    ck_assert_ok(psw_client_report(client, now, "loss", 0.5));
    now += 1000 * MS;
    psw_client_tick(client, now, &out);
    old = only_sent().h.request;
    ck_assert_ok(psw_client_report(client, now, "loss", 0.25));
    go_back(1);
    s = the(PS_MSG_REPORT);
    ck_assert_uint_eq(s.h.seq, 1);
    ck_assert_uint_eq(s.h.n_reports, 1);
    ck_assert(s.h.reports[0].value == 0.5);
    ck_assert_uint_eq(s.h.server_epoch, 6);
    ck_assert_uint_ne(s.h.request, old);
    old = s.h.request;
    ps_outbox_clear(&out);
    now += 1000 * MS;
    acknowledge(coordinator, old, PS_MSG_OK);
    ck_assert_uint_eq(only_sent().h.seq, 2);
    ck_assert(sent(0).h.reports[0].value == 0.25);
}
END_TEST

START_TEST(matrix_is_opened_all_the_same)
{
    struct ps_matrix_spec spec = { .name = "w", .dtype = PS_F32, .rows = 1, .cols = 4 };
    struct ps_ticket     *t;
    uint64_t              old;

    ck_assert_ok(psw_client_matrix(client, now, &spec, true, &out, &t));
    old = only_sent().h.request;
    go_back(1);
    ck_assert(!psw_ticket_done(t));
    ck_assert_uint_ne(the(PS_MSG_MATRIX).h.request, old);
    ck_assert_uint_eq(the(PS_MSG_MATRIX).h.flags, PS_FLAG_CREATE);
    ck_assert_uint_eq(the(PS_MSG_MATRIX).h.server_epoch, 6);
    reopen(&(struct sent){ .h = the(PS_MSG_MATRIX).h }, 0);
    assert_ended(t, PS_OK);
}
END_TEST

START_TEST(opening_that_met_the_rollback_is_repeated)
{
    struct ps_matrix_spec spec = { .name = "w", .dtype = PS_F32, .rows = 1, .cols = 4 };
    struct ps_ticket     *t;
    uint64_t              old;

    ck_assert_ok(psw_client_matrix(client, now, &spec, true, &out, &t));
    old = only_sent().h.request;
    ps_outbox_clear(&out);
    refuse(coordinator, old, PS_ERR_ROLLBACK, "job lenet: it goes back");
    welcome_to(6, 1, 0);
    all_there(7, 20, 30);
    reopen(&(struct sent){ .h = the(PS_MSG_MATRIX).h }, 0);
    assert_ended(t, PS_OK);
}
END_TEST

START_TEST(opening_that_begins_during_the_resume_waits_for_its_end)
{
    struct ps_matrix_spec spec = { .name = "w", .dtype = PS_F32, .rows = 1, .cols = 4 };
    struct ps_ticket     *t, *given_up;

    notice(6);
    ck_assert_ok(psw_client_matrix(client, now, &spec, true, &out, &t));
    ck_assert_ok(psw_client_list(client, now, "", &out, &given_up));
    psw_ticket_drop(&given_up);
    ck_assert_uint_eq(count(PS_MSG_MATRIX), 0);
    welcome_to(6, 1, 0);
    all_there(7, 20, 30);
    ck_assert_uint_eq(count(PS_MSG_LIST), 0);
    reopen(&(struct sent){ .h = the(PS_MSG_MATRIX).h }, 0);
    assert_ended(t, PS_OK);
}
END_TEST

START_TEST(goodbye_does_not_wait)
{
    struct ps_ticket *t;

    notice(6);
    ps_outbox_clear(&out);
    ck_assert_ok(psw_client_bye(client, now, "had enough", &out, &t));
    ck_assert_uint_eq(only_sent().h.kind, PS_MSG_BYE);
    refuse(coordinator, only_sent().h.request, PS_ERR_ROLLBACK, "it goes back");
    ck_assert_uint_eq(out.n, 1); /* not at once, for ever */
    ck_assert(!psw_ticket_done(t));
    psw_ticket_drop(&t);
}
END_TEST

START_TEST(end_of_an_older_life_is_no_news_in_this_one)
{
    struct ps_header  h = answer_to(0, PS_MSG_NOTICE);
    struct ps_ticket *t;

    h.status = PS_ERR_UNAVAILABLE;
    h.server_epoch = 4; /* a message that is seconds late */
    give(coordinator, &h, NULL, NULL, 0);
    ck_assert_ok(psw_client_list(client, now, "", &out, &t));
    psw_ticket_drop(&t);
    h.server_epoch = 0;
    give(coordinator, &h, NULL, NULL, 0);
    ck_assert_status(psw_client_list(client, now, "", &out, &t), PS_ERR_UNAVAILABLE);
}
END_TEST

/* A message that is seconds late.  Whoever began again because of it would do so alone,
 * and find shards at two clocks of one iteration that is about to close. */
START_TEST(beginning_of_an_older_life_is_no_news_in_a_later_one)
{
    notice_of(6, 3);
    welcome_of_life = 3;
    welcome_to(6, 1, 0);
    all_there(7, 20, 30);
    notice_of(5, 2);
    notice_of(6, 3);
    ck_assert_uint_eq(count(PS_MSG_HELLO), 0);
    notice_of(7, 4);
    ck_assert_uint_eq(count(PS_MSG_HELLO), 1);
}
END_TEST

START_TEST(goodbye_that_meets_a_rollback_says_so_and_is_not_said_again)
{
    struct ps_ticket *t;

    ck_assert_ok(psw_client_bye(client, now, "", &out, &t));
    refuse(coordinator, only_sent().h.request, PS_ERR_ROLLBACK, "it went back");
    ck_assert(!psw_ticket_done(t));
    welcome_to(6, 1, 0);
    all_there(7, 20, 30);
    ck_assert_uint_eq(count(PS_MSG_BYE), 0);
    assert_ended(t, PS_ERR_ROLLBACK);
}
END_TEST

START_TEST(rollback_after_the_goodbye_is_the_others_concern)
{
    struct ps_ticket *t;

    ck_assert_ok(psw_client_bye(client, now, "", &out, &t));
    notice(6);
    psw_client_roll_back(client, now, &out); /* as a beat was told */
    acknowledge(coordinator, only_sent().h.request, PS_MSG_OK);
    assert_ended(t, PS_OK);
}
END_TEST

START_TEST(drain_says_that_pushes_are_lost)
{
    float             w[4] = { 0 };
    struct psw_span   span = all_of(opened("w", 1, 4, PS_F32), w, w);
    struct ps_ticket *push = move(PSW_PUSH | PSW_FINISH, &span, 1), *drain;

    psw_ticket_drop(&push);
    ck_assert_ok(psw_client_drain(client, now, &out, &drain));
    go_back(1);
    assert_ended(drain, PS_ERR_ROLLBACK);
}
END_TEST

static Suite *resume_suite(void)
{
    Suite *s = suite_create("resume");
    TCase *coming = tcase_create("coming in");
    TCase *one = tcase_create("one shard");
    TCase *two = tcase_create("two shards");
    TCase *three = tcase_create("three shards");
    TCase *observer = tcase_create("observer");
    TCase *plain = tcase_create("not saved");

    tcase_add_checked_fixture(coming, nobody_yet, go);
    tcase_add_test(coming, first_hello_is_said_again);
    suite_add_tcase(s, coming);

    tcase_add_checked_fixture(one, one_shard, go);
    tcase_add_test(one, member_says_who_it_was);
    tcase_add_test(one, shards_are_asked_under_the_new_epoch);
    tcase_add_test(one, nothing_of_the_old_life_is_sent_again);
    tcase_add_test(one, nothing_but_the_resume_is_sent_while_it_lasts);
    tcase_add_test(one, lost_requests_of_the_resume_are_repeated_byte_for_byte);
    tcase_add_test(one, pushes_are_numbered_on_from_what_the_shard_has);
    tcase_add_test(one, next_iteration_begins_as_any_other);
    tcase_add_test(one, version_of_the_old_life_is_not_behind_the_new_gradients);
    tcase_add_test(one, late_answer_of_the_old_life_writes_nothing);
    tcase_add_test(one, hello_that_meets_another_rollback_is_said_again);
    tcase_add_test(one, notice_during_a_resume_begins_another_one);
    tcase_add_test(one, notice_of_the_life_that_has_begun_comes_too_late);
    tcase_add_test(one, notices_while_the_welcome_is_awaited_add_nothing);
    tcase_add_test(one, who_was_told_of_one_rollback_is_told_of_the_next);
    tcase_add_test(one, maps_that_are_as_they_were_are_not_asked_for);
    tcase_add_test(one, next_operation_fails_once_when_nothing_was_under_way);
    tcase_add_test(one, nothing_begins_anew_before_the_caller_has_seen_a_failure);
    tcase_add_test(one, operation_that_begins_during_the_resume_fails_at_its_end);
    tcase_add_test(one, resume_goes_on_after_a_deadline);
    tcase_add_test(one, who_was_told_of_a_deadline_is_told_of_the_rollback_too);
    tcase_add_test(one, failures_of_the_old_life_do_not_fail_the_new_iteration);
    tcase_add_loop_test(one, shard_that_has_been_started_again_begins_a_resume, 0,
                        sizeof(elsewhere) / sizeof(elsewhere[0]));
    tcase_add_test(one, late_push_is_no_rollback);
    tcase_add_test(one, job_that_nobody_knows_any_more_is_over);
    tcase_add_test(one, abort_during_a_resume_ends_it);
    tcase_add_test(one, job_that_is_over_does_not_go_back);
    tcase_add_test(one, reports_under_way_are_sent_again_as_they_were);
    tcase_add_test(one, matrix_is_opened_all_the_same);
    tcase_add_test(one, opening_that_met_the_rollback_is_repeated);
    tcase_add_test(one, opening_that_begins_during_the_resume_waits_for_its_end);
    tcase_add_test(one, end_of_an_older_life_is_no_news_in_this_one);
    tcase_add_test(one, beginning_of_an_older_life_is_no_news_in_a_later_one);
    tcase_add_test(one, goodbye_does_not_wait);
    tcase_add_test(one, goodbye_that_meets_a_rollback_says_so_and_is_not_said_again);
    tcase_add_test(one, rollback_after_the_goodbye_is_the_others_concern);
    tcase_add_test(one, drain_says_that_pushes_are_lost);
    suite_add_tcase(s, one);

    tcase_add_checked_fixture(two, two_shards, go);
    tcase_add_test(two,
                   what_is_under_way_fails_when_all_shards_have_said_where_they_are);
    tcase_add_test(two, shard_that_has_gone_back_again_begins_another_resume);
    tcase_add_test(two, maps_are_asked_for_when_they_have_changed);
    tcase_add_test(two, map_that_does_not_fit_breaks_the_client);
    tcase_add_test(two, more_shards_are_used);
    tcase_add_test(two, epoch_is_ended_anew_on_all_shards);
    tcase_add_test(two, shard_where_the_epoch_has_ended_is_not_asked_to_end_it);
    suite_add_tcase(s, two);

    tcase_add_checked_fixture(three, three_shards, go);
    tcase_add_test(three, clock_is_the_lowest_of_the_shards);
    tcase_add_test(three, shard_that_has_an_iteration_gets_no_pushes_for_it);
    tcase_add_test(three, shard_that_has_an_iteration_is_pulled_from_all_the_same);
    tcase_add_test(three, fewer_shards_are_left);
    tcase_add_test(three, message_of_a_shard_that_is_gone_is_dropped);
    suite_add_tcase(s, three);

    tcase_add_checked_fixture(observer, observing, go);
    tcase_add_test(observer, observer_is_admitted_anew);
    suite_add_tcase(s, observer);

    tcase_add_checked_fixture(plain, not_saved, go);
    tcase_add_test(plain, job_that_is_not_saved_fails_as_ever);
    suite_add_tcase(s, plain);
    return s;
}

TEST_MAIN(resume_suite)
