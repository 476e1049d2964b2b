/* The client of a worker, against servers that the test plays: iterations, and how long
 * anything waits. */
#include "tests/unit/servers.h"

#include "worker/client.h"
#include "worker/lane.h"

#define MIB (1u << 20)

static void one_shard(void)
{
    come(1, false, 0);
}

static void three_shards(void)
{
    come(3, false, 0);
}

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

    ck_assert_uint_eq(s.h.flags, PS_FLAG_FINISH | PS_FLAG_PULL | PS_FLAG_FINITE);
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
            ck_assert_uint_eq(s.h.flags, PS_FLAG_FINITE);
            acknowledge(shard(0), s.h.request, PS_MSG_PUSH_OK);
            continue;
        }
        if (s.h.kind == PS_MSG_PUSH) {
            ck_assert_uint_eq(s.h.flags,
                              PS_FLAG_FINISH | PS_FLAG_PULL | PS_FLAG_FINITE);
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

/* ---- window and resends --------------------------------------------------------- */

/* In any order; more of it in lane.c. */
START_TEST(window_bounds_what_is_under_way)
{
    float             v[2];
    struct psw_span   span = all_of(opened("w", 1, 2, PS_F32), v, NULL);
    struct ps_ticket *t[2 * PSW_WINDOW_WAITING];
    uint64_t          request[PSW_WINDOW];
    const size_t      n = 2 * PSW_WINDOW_WAITING;

    for (size_t i = 0; i < n; i++)
        t[i] = move(PSW_PULL, &span, 1);
    ck_assert_uint_eq(out.n, PSW_WINDOW);
    for (size_t i = 0; i < PSW_WINDOW; i++)
        request[i] = sent(i).h.request;
    values(shard(0), request[3], v, sizeof(v));
    ck_assert_uint_eq(out.n, 1 + PSW_WINDOW_WAITING);
    values(shard(0), request[0], v, sizeof(v));
    ck_assert_uint_eq(out.n, 2 + PSW_WINDOW_WAITING);
    ck_assert_uint_gt(sent(1 + PSW_WINDOW_WAITING).h.request,
                      sent(PSW_WINDOW_WAITING).h.request);
    for (size_t i = 0; i < n; i++)
        psw_ticket_drop(&t[i]);
}
END_TEST

/* A shard keeps 64 requests of a worker that wait for a clock. */
static const struct {
    uint32_t strategy, ack, moves;
    bool     may_wait;
} kept[] = {
    { PS_BSP, PS_ACK_APPLIED, PSW_PULL, true },
    { PS_BSP, PS_ACK_APPLIED, PSW_PUSH, true },
    { PS_BACKUP, PS_ACK_APPLIED, PSW_PUSH, true },
    { PS_SSP, PS_ACK_APPLIED, PSW_PULL, true },
    { PS_SSP, PS_ACK_APPLIED, PSW_PUSH, false },
    { PS_SSP, PS_ACK_APPLIED, PSW_PUSH | PSW_FINISH | PSW_PULL, true },
    { PS_ASP, PS_ACK_APPLIED, PSW_PULL, false },
    { PS_ASP, PS_ACK_APPLIED, PSW_PUSH | PSW_FINISH, false },
    { PS_ASP, PS_ACK_DURABLE, PSW_PUSH, false },
    { PS_ASP, PS_ACK_DURABLE, PSW_PUSH | PSW_FINISH, true },
};

START_TEST(what_may_wait_at_the_shard_has_a_window_of_its_own)
{
    struct ps_job_spec job = ps_job_spec_default();
    float              v[2] = { 0 }, g[2] = { 0 };
    struct ps_ticket  *t[3 * PSW_WINDOW_WAITING];
    struct psw_span    span;

    go();
    job.strategy = kept[_i].strategy;
    job.ack = kept[_i].ack;
    join_as(&job);
    span = all_of(opened("w", 1, 2, PS_F32), v, g);
    for (size_t i = 0; i < 3 * PSW_WINDOW_WAITING; i++)
        t[i] = move(kept[_i].moves, &span, 1);
    if (kept[_i].moves & PSW_PULL)
        values(shard(0), sent(0).h.request, v, sizeof(v));
    else
        acknowledge(shard(0), sent(0).h.request, PS_MSG_PUSH_OK);
    ck_assert_uint_eq(out.n, kept[_i].may_wait ? 1 + PSW_WINDOW_WAITING
                                               : PSW_WINDOW + PS_GROUP_MAX);
    for (size_t i = 0; i < 3 * PSW_WINDOW_WAITING; i++)
        psw_ticket_drop(&t[i]);
}
END_TEST

START_TEST(window_is_never_narrower_than_a_few_large_ones)
{
    static float    v[PS_CHUNK_BYTES * 2 * (PSW_WINDOW + 1) / sizeof(float)];
    struct psw_span span =
        all_of(opened("w", 1, sizeof(v) / sizeof(*v), PS_F32), v, NULL);
    struct ps_ticket *t = move(PSW_PULL, &span, 1);
    size_t            at_first = 0;

    for (size_t i = 0; i < out.n; i++)
        at_first += sent(i).parcel->route.index == 0;
    ck_assert_uint_eq(at_first, PSW_WINDOW);
    psw_ticket_drop(&t);
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
    ps_outbox_clear(&out);
    for (int looks = 0; psw_client_next_tick(client) < now + 5000 * MS; looks++) {
        ck_assert_int_lt(looks, 2);
        psw_client_tick(client, psw_client_next_tick(client), &out);
        ck_assert_uint_eq(out.n, 0);
    }
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

static Suite *client_iterations_suite(void)
{
    Suite *s = suite_create("client_iterations");
    TCase *three = tcase_create("three shards");
    TCase *one = tcase_create("one shard");

    tcase_add_checked_fixture(three, three_shards, go);
    tcase_add_test(three, each_shard_is_told_its_own_version);
    tcase_add_test(three, finish_tells_every_shard_how_many_pushes_it_got);
    tcase_add_test(three, finish_is_done_when_all_shards_have_answered);
    tcase_add_test(three, epoch_ends_at_the_latest_clock_of_the_shards);
    tcase_add_test(three, second_try_asks_only_the_shards_that_gave_up);
    tcase_add_test(three, second_try_meets_what_is_under_way);
    suite_add_tcase(s, three);

    tcase_add_checked_fixture(one, one_shard, go);
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
    tcase_add_loop_test(one, what_may_wait_at_the_shard_has_a_window_of_its_own, 0,
                        sizeof(kept) / sizeof(kept[0]));
    tcase_add_test(one, window_is_never_narrower_than_a_few_large_ones);
    tcase_add_test(one, silence_makes_the_client_repeat_byte_for_byte);
    tcase_add_test(one, shard_that_talks_is_given_time);
    tcase_add_test(one, answer_that_comes_twice_counts_once);
    tcase_add_test(one, push_applied_before_is_a_success);
    tcase_add_test(one, push_applied_before_still_brings_its_values);
    tcase_add_test(one, time_out_names_what_was_waited_for_and_on_whom);
    tcase_add_test(one, silence_of_every_server_is_unavailable);
    tcase_add_test(one, answer_after_the_deadline_does_not_touch_the_buffer);
    tcase_add_test(one, push_is_repeated_even_when_nobody_waits);
    tcase_add_test(one, push_says_of_which_version_its_gradient_comes);
    tcase_add_test(one, pull_counts_from_when_it_is_taken);
    tcase_add_test(one, of_several_pulls_of_an_iteration_the_oldest_counts);
    tcase_add_test(one, values_that_rode_on_a_push_count_for_the_next_one);
    suite_add_tcase(s, one);
    return s;
}

TEST_MAIN(client_iterations_suite)
