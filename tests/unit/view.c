/* Views, as a worker's client makes them; the servers are played by the test. */
#include "tests/unit/servers.h"

#include "worker/client_private.h"

#include <stdio.h>
#include <unistd.h>

#define N (3 * (PS_CHUNK_BYTES / 4) + 100) /* f32: 3 chunks and a bit */
#define SMALL 15u

static float *model; /* [N] what the servers hold */

static void begin(uint32_t n)
{
    come(n, false, 0);
    model = malloc(N * sizeof(*model));
    ck_assert_ptr_nonnull(model);
    for (uint32_t i = 0; i < N; i++)
        model[i] = (float)i;
}

static void one_shard(void)
{
    begin(1);
}

static void three_shards(void)
{
    begin(3);
}

static void end(void)
{
    free(model);
    go();
}

static struct ps_ticket *ask(ps_matrix *m, ps_view **place)
{
    struct ps_ticket *t;

    *place = (void *)&t; /* it becomes NULL */
    ck_assert_ok(psw_client_view(client, now, m, getpid(), place, &out, &t));
    ck_assert_ptr_null(*place);
    return t;
}

static void all_share(size_t bytes)
{
    for (uint32_t i = 0; i < psw_client_n_shards(client); i++)
        psw_client_shares(client, i, bytes);
}

/* The frame of an answer: blocks of so many elements from `first` on. */
static struct ps_buf *sheet_of(uint64_t first, const uint64_t *counts, size_t n)
{
    struct ps_buf *blocks[8] = { NULL }, *sheet;

    for (size_t i = 0; i < n; first += counts[i++])
        ck_assert_ok(ps_buf_copy(&blocks[i], model + first, counts[i] * sizeof(float)));
    ck_assert_ok(ps_sheet_new(&sheet, 1, NULL, blocks, n));
    for (size_t i = 0; i < n; i++)
        ps_buf_drop(&blocks[i]);
    return sheet;
}

/* `frame` is taken; NULL: it was left out on the way. */
static void give_frame(uint16_t from, uint64_t request, struct ps_buf *frame)
{
    struct ps_header h = answer_to(request, PS_MSG_PULL_OK);
    struct ps_parcel p = { .route = shard(from), .n_frames = frame != NULL };

    h.version = 4;
    p.frames[0] = frame;
    ck_assert_ok(ps_wire_encode(&h, &p.head));
    psw_client_handle(client, now, &p, &out);
}

static void shows_the_model(const ps_view *view, uint64_t elements)
{
    size_t         n;
    const ps_span *span = ps_view_spans(view, &n);
    uint64_t       next = 0;

    for (size_t i = 0; i < n; i++) {
        ck_assert_uint_eq(span[i].first, next);
        ck_assert(memcmp(span[i].data, model + next, span[i].count * sizeof(float)) ==
                  0);
        next += span[i].count;
    }
    ck_assert_uint_eq(next, elements);
}

START_TEST(a_shard_that_shares_is_asked_once_for_all_it_has)
{
    ps_matrix        *m = opened("w", 1, N, PS_F32);
    ps_view          *view;
    struct ps_ticket *t;
    uint64_t          first[3], count[3], request[3];

    all_share(1);
    t = ask(m, &view);
    ck_assert_uint_eq(out.n, 3);
    for (uint16_t i = 0; i < 3; i++) {
        struct sent s = sent(i);

        ck_assert_uint_eq(s.h.kind, PS_MSG_PULL);
        ck_assert_uint_eq(s.h.flags, PS_FLAG_VIEW);
        ck_assert_uint_eq(s.h.n_ranges, 1);
        ck_assert_uint_eq(s.parcel->route.index, i);
        first[i] = s.ranges[0].first;
        count[i] = s.ranges[0].count;
        request[i] = s.h.request;
    }
    for (uint16_t i = 3; i-- > 0;) { /* in whatever order they answer */
        uint64_t counts[] = { 16, count[i] - 32, 16 };

        ck_assert(!psw_ticket_done(t) && !view);
        give_frame(i, request[i], sheet_of(first[i], counts, 3));
    }
    ck_assert_ptr_nonnull(view);
    shows_the_model(view, N);
    assert_ended(t, PS_OK);
    ps_view_release(&view);
    ck_assert_ptr_null(view);
    ck_assert_uint_eq(psw_client_traffic(client)->bytes_pulled, N * sizeof(float));
}
END_TEST

START_TEST(what_is_too_small_to_be_lent_is_pulled)
{
    ps_matrix        *m = opened("w", 1, SMALL, PS_F32);
    ps_view          *view;
    struct ps_ticket *t;
    struct sent       s;

    all_share(SMALL * sizeof(float) + 1);
    t = ask(m, &view);
    s = only_sent();
    ck_assert_uint_eq(s.h.flags, 0);
    /* padded to a multiple of 8 */
    values(shard(0), s.h.request, model, (SMALL + 1) * sizeof(float));
    shows_the_model(view, SMALL);
    assert_ended(t, PS_OK);
    ps_view_release(&view);
}
END_TEST

/* The version counts as that of any pull: it is behind the next gradient. */
START_TEST(what_comes_over_a_socket_is_kept_as_it_came)
{
    ps_matrix        *m = opened("w", 1, N, PS_F32);
    ps_view          *view;
    struct ps_ticket *t = ask(m, &view);
    const void       *was[4];
    size_t            n;
    float             zero[SMALL] = { 0 };
    struct psw_span   push = { .matrix = m, .count = SMALL, .gradient = zero };

    ck_assert_uint_eq(out.n, 4);
    for (size_t i = 0; i < 4; i++) {
        struct sent    s = sent(i);
        struct ps_buf *b;

        ck_assert_uint_eq(s.h.flags, 0);
        ck_assert_ok(ps_buf_copy(&b, model + s.ranges[0].first,
                                 s.ranges[0].count * sizeof(float)));
        was[i] = b->data;
        give_frame(0, s.h.request, b);
    }
    shows_the_model(view, N);
    for (size_t i = 0; i < 4; i++)
        ck_assert_ptr_eq(ps_view_spans(view, &n)[i].data, was[i]);
    ck_assert_uint_eq(n, 4);
    assert_ended(t, PS_OK);
    ps_outbox_clear(&out);
    t = move(PSW_PUSH, &push, 1);
    ck_assert_uint_eq(only_sent().h.version, 4);
    psw_ticket_drop(&t);
    go(); /* the view is the caller's */
    shows_the_model(view, N);
    ps_view_release(&view);
    come(1, false, 0);
}
END_TEST

/* Answers a message that the client has sent. */
static void serve(const struct sent *s)
{
    if (s->h.kind == PS_MSG_PUSH)
        acknowledge(shard(0), s->h.request, PS_MSG_PUSH_OK);
    else
        values_of(4, shard(0), s->h.request, model + s->ranges[0].first,
                  s->ranges[0].count * sizeof(float));
}

START_TEST(what_cannot_be_lent_is_asked_for_again_before_all_else)
{
    ps_matrix        *m = opened("w", 1, N, PS_F32);
    ps_view          *view;
    struct ps_ticket *t, *later[3];
    float            *zero = calloc(N, sizeof(*zero));
    struct psw_span   span = all_of(m, NULL, zero);
    uint64_t          clock, request;
    size_t            n_pulls = 0;

    all_share(1);
    t = ask(m, &view);
    clock = only_sent().h.clock;
    request = only_sent().h.request;
    for (int i = 0; i < 3; i++) /* more than fit the window */
        later[i] = move(PSW_PUSH, &span, 1);
    ck_assert_uint_eq(out.n, PSW_WINDOW);
    give_frame(0, request, NULL);
    for (size_t i = 1; i < out.n; i++) {
        struct sent s = sent(i);

        if (s.h.kind == PS_MSG_PULL) {
            ck_assert_uint_eq(s.h.flags, 0);
            ck_assert_uint_eq(s.h.clock, clock);
            ck_assert_uint_eq(s.h.seq,
                              0); /* it does not say which pushes came before */
            ck_assert(!psw_ticket_done(t));
            n_pulls++;
        }
        if (i == PSW_WINDOW)
            ck_assert_uint_eq(s.h.kind, PS_MSG_PULL);
        serve(&s);
    }
    ck_assert_uint_eq(n_pulls, 4);
    shows_the_model(view, N);
    assert_ended(t, PS_OK);
    for (int i = 0; i < 3; i++)
        assert_ended(later[i], PS_OK);
    ps_view_release(&view);
    free(zero);
}
END_TEST

/* Nothing of it is written to any more, and nothing of it is left. */
START_TEST(a_view_that_was_given_up_does_not_come)
{
    ps_matrix        *m = opened("w", 1, N, PS_F32);
    ps_view          *view;
    struct ps_ticket *t;
    uint64_t          request;
    const uint64_t    counts[] = { N };

    all_share(1);
    t = ask(m, &view);
    request = only_sent().h.request;
    give_frame(0, request, NULL);
    values(shard(0), sent(1).h.request, model, sent(1).ranges[0].count * sizeof(float));
    psw_ticket_give_up(t, now, now, 30000);
    assert_ended(t, PS_ERR_TIMEOUT);
    give_frame(0, request, sheet_of(0, counts, 1));
    give_frame(0, sent(2).h.request, NULL);
    ck_assert_ptr_null(view);
}
END_TEST

static const struct {
    const char *what;
    uint64_t    count;
    size_t      bytes;
} malformed[] = {
    { "a sheet of too few", N - 1, 0 },
    { "a sheet of too many", N - 1, 8 },
    { "a sheet that cuts an element", N - 1, 2 },
};

START_TEST(malformed_answers_make_no_view)
{
    ps_matrix        *m = opened("w", 1, N, PS_F32);
    ps_view          *view;
    struct ps_ticket *t;
    struct ps_buf    *blocks[2], *sheet;
    uint64_t          more[2] = { 0 };

    all_share(1);
    t = ask(m, &view);
    ck_assert_ok(ps_buf_copy(&blocks[0], model, malformed[_i].count * sizeof(float)));
    ck_assert_ok(ps_buf_copy(&blocks[1], more, malformed[_i].bytes));
    ck_assert_ok(ps_sheet_new(&sheet, 1, NULL, blocks, malformed[_i].bytes ? 2 : 1));
    ps_buf_drop(&blocks[0]);
    ps_buf_drop(&blocks[1]);
    give_frame(0, only_sent().h.request, sheet);
    assert_ended(t, PS_ERR_BAD_MESSAGE);
    ck_assert_why("pull of w at clock 0: shard 0 (tcp://10.0.0.1:1) answered");
    ck_assert_msg(!view, "%s", malformed[_i].what);
}
END_TEST

START_TEST(sparse_matrices_have_no_views)
{
    ps_matrix        *m = opened("rows", 0, 4, PS_F32);
    ps_view          *view = NULL;
    struct ps_ticket *t;

    ck_assert_status(psw_client_view(client, now, m, getpid(), &view, &out, &t),
                     PS_ERR_SHAPE);
    ck_assert_why("view of rows: it is sparse, expected a dense matrix");
    ck_assert_uint_eq(out.n, 0);
}
END_TEST

START_TEST(neighbours_in_memory_are_one_piece_of_a_sheet)
{
    struct ps_heap *heap;
    struct ps_buf  *blocks[3], *sheet;

    ck_assert_ok(ps_heap_new(&heap));
    for (int i = 0; i < 3; i++) {
        ck_assert_ok(ps_heap_buf(heap, &blocks[i], PS_HEAP_LEAST_BYTES));
        blocks[i]->len = PS_HEAP_LEAST_BYTES - (i == 1 ? 8 : 0);
    }
    ck_assert_ok(ps_sheet_new(&sheet, 7, heap, blocks, 3));
    ck_assert_uint_eq(sheet->len, 0);
    ck_assert_uint_eq(sheet->sheet->n, 2);
    ck_assert_uint_eq(sheet->sheet->bytes, 3 * PS_HEAP_LEAST_BYTES - 8);
    ck_assert_uint_eq(sheet->sheet->list->len, 2 * sizeof(struct ps_sheet_place));
    ck_assert(!ps_buf_sole(blocks[2]));
    ps_buf_drop(&sheet);
    for (int i = 0; i < 3; i++) {
        ck_assert(ps_buf_sole(blocks[i]));
        ps_buf_drop(&blocks[i]);
    }
    ps_heap_free(&heap);
}
END_TEST

static Suite *view_suite(void)
{
    Suite *s = suite_create("view");
    TCase *one = tcase_create("one shard"), *three = tcase_create("three shards");

    tcase_add_checked_fixture(three, three_shards, end);
    tcase_add_test(three, a_shard_that_shares_is_asked_once_for_all_it_has);
    suite_add_tcase(s, three);

    tcase_add_checked_fixture(one, one_shard, end);
    tcase_add_test(one, what_is_too_small_to_be_lent_is_pulled);
    tcase_add_test(one, what_comes_over_a_socket_is_kept_as_it_came);
    tcase_add_test(one, what_cannot_be_lent_is_asked_for_again_before_all_else);
    tcase_add_test(one, a_view_that_was_given_up_does_not_come);
    tcase_add_loop_test(one, malformed_answers_make_no_view, 0,
                        sizeof(malformed) / sizeof(malformed[0]));
    tcase_add_test(one, sparse_matrices_have_no_views);
    tcase_add_test(one, neighbours_in_memory_are_one_piece_of_a_sheet);
    suite_add_tcase(s, one);
    return s;
}

TEST_MAIN(view_suite)
