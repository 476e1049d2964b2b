/* The heartbeat against a coordinator that the test plays, over a real socket. */
#include "tests/unit/suite.h"

#include "worker/heartbeat.h"

static struct ps_net        *net;
static struct ps_server     *server;
static struct ps_decoder    *decoder;
static struct ps_signal     *wake;
static struct psw_heartbeat *heart;

static struct ps_header who_of(uint64_t epoch)
{
    return (struct ps_header){ .kind = PS_MSG_BEAT,
                               .job = 3,
                               .session = 4711,
                               .rank = 1,
                               .incarnation = 1,
                               .server_epoch = epoch,
                               .text = "",
                               .name = "",
                               .token = "" };
}

static void start(uint32_t rank)
{
    struct ps_header who = who_of(5);

    who.rank = rank;
    ck_assert_ok(ps_net_new(&net));
    ck_assert_ok(ps_decoder_new(&decoder));
    ck_assert_ok(ps_signal_new(&wake));
    ck_assert_ok(ps_server_open(&server, net, "tcp://127.0.0.1:0"));
    ck_assert_ok(
        psw_heartbeat_start(&heart, net, ps_server_endpoint(server), &who, wake));
}

static void begin(void)
{
    start(1);
}

static void begin_observer(void)
{
    start(UINT32_MAX);
}

static void end(void)
{
    psw_heartbeat_stop(&heart);
    ps_server_close(&server);
    ps_signal_free(&wake);
    ps_decoder_free(&decoder);
    ps_net_free(&net);
}

/* The next beat: its number, epoch and clock, and where the answer goes. */
static struct ps_header beat(struct ps_route *from)
{
    struct ps_poll   poll = { .server = server };
    struct ps_parcel p;
    struct ps_header h;

    for (int i = 0; i < 100 && !poll.ready; i++)
        ck_assert_ok(ps_net_poll(&poll, 1, 100));
    ck_assert(poll.ready);
    ck_assert_ok(ps_server_receive(server, &p));
    *from = p.route;
    ck_assert_ok(ps_wire_decode(decoder, p.head->data, p.head->len, &h));
    ck_assert_uint_eq(h.kind, PS_MSG_BEAT);
    ps_parcel_drop(&p);
    return h;
}

static uint64_t life_said; /* 0: it does not say */

static void say(const struct ps_route *to, uint32_t kind, uint64_t request,
                ps_status status, uint64_t epoch)
{
    struct ps_parcel p = { .route = *to };
    struct ps_header h = { .kind = kind,
                           .request = request,
                           .status = status,
                           .server_epoch = epoch,
                           .version = life_said,
                           .text = "",
                           .name = "",
                           .token = "" };

    ck_assert_ok(ps_wire_encode(&h, &p.head));
    ck_assert_ok(ps_server_send(server, &p));
}

/* Was the worker's thread woken, within so many milliseconds? */
static bool is_woken(int within_ms)
{
    struct ps_poll poll = { .signal = wake };

    ck_assert_ok(ps_net_poll(&poll, 1, within_ms));
    ps_signal_clear(wake);
    return poll.ready;
}

static void assert_no_word(void)
{
    const char *why;

    ck_assert_ok(psw_heartbeat_word(heart, &why));
}

START_TEST(answer_of_another_epoch_says_that_the_job_went_back)
{
    struct ps_route  to;
    struct ps_header h = beat(&to);

    ck_assert_uint_eq(h.server_epoch, 5);
    say(&to, PS_MSG_OK, h.request, PS_OK, 5);
    h = beat(&to);
    ck_assert(!psw_heartbeat_is_over(heart, 5));
    say(&to, PS_MSG_OK, h.request, PS_OK, 6);
    ck_assert(is_woken(10000));
    ck_assert(psw_heartbeat_is_over(heart, 5));
    ck_assert(!psw_heartbeat_is_over(heart, 6));
    assert_no_word();
}
END_TEST

START_TEST(answer_to_a_beat_of_the_life_before_is_no_news)
{
    struct ps_traffic traffic = { .samples = 9 };
    struct ps_header  who = who_of(6), first, h;
    struct ps_route   to;

    first = beat(&to);
    psw_heartbeat_tell(heart, &who, 7, &traffic);
    h = beat(&to);
    ck_assert_uint_eq(h.server_epoch, 6);
    ck_assert_uint_eq(h.clock, 7);
    ck_assert_uint_eq(h.traffic->samples, 9);
    say(&to, PS_MSG_OK, first.request, PS_OK, 5);
    say(&to, PS_MSG_NOTICE, 0, PS_ERR_ROLLBACK, 6);
    say(&to, PS_MSG_OK, h.request, PS_OK, 6);
    say(&to, PS_MSG_NOTICE, 0, PS_ERR_ABORTED, 0); /* the last one is heard */
    ck_assert(is_woken(10000));
    ck_assert(!psw_heartbeat_is_over(heart, 5));
    ck_assert(!psw_heartbeat_is_over(heart, 6));
}
END_TEST

START_TEST(notice_of_an_earlier_life_is_no_news)
{
    struct ps_traffic traffic = { 0 };
    struct ps_header  who = who_of(6);
    struct ps_route   to;

    who.version = 4; /* lives are counted */
    psw_heartbeat_tell(heart, &who, 7, &traffic);
    while (beat(&to).server_epoch != 6)
        ;
    life_said = 3;
    say(&to, PS_MSG_NOTICE, 0, PS_ERR_ROLLBACK, 5);
    life_said = 0;
    say(&to, PS_MSG_NOTICE, 0, PS_ERR_ABORTED, 0); /* the last one is heard */
    ck_assert(is_woken(10000));
    ck_assert(!psw_heartbeat_is_over(heart, 6));
}
END_TEST

START_TEST(notice_of_a_rollback_is_no_last_word)
{
    struct ps_route to;

    beat(&to);
    say(&to, PS_MSG_NOTICE, 0, PS_ERR_ROLLBACK, 6);
    ck_assert(is_woken(10000));
    ck_assert(psw_heartbeat_is_over(heart, 5));
    assert_no_word();
}
END_TEST

START_TEST(refused_beat_is_the_last_word)
{
    struct ps_route  to;
    struct ps_header h = beat(&to);
    const char      *why;

    say(&to, PS_MSG_ERROR, h.request, PS_ERR_DENIED, 0);
    ck_assert(is_woken(10000));
    ck_assert_status(psw_heartbeat_word(heart, &why), PS_ERR_DENIED);
}
END_TEST

START_TEST(observer_that_is_not_known_any_more_is_let_in_anew)
{
    struct ps_route  to;
    struct ps_header h = beat(&to);

    say(&to, PS_MSG_ERROR, h.request, PS_ERR_DENIED, 0);
    ck_assert(is_woken(10000));
    ck_assert(psw_heartbeat_is_over(heart, 5));
    assert_no_word();
}
END_TEST

static Suite *heartbeat_suite(void)
{
    Suite *s = suite_create("heartbeat");
    TCase *worker = tcase_create("worker");
    TCase *observer = tcase_create("observer");

    tcase_add_checked_fixture(worker, begin, end);
    tcase_add_test(worker, answer_of_another_epoch_says_that_the_job_went_back);
    tcase_add_test(worker, answer_to_a_beat_of_the_life_before_is_no_news);
    tcase_add_test(worker, notice_of_an_earlier_life_is_no_news);
    tcase_add_test(worker, notice_of_a_rollback_is_no_last_word);
    tcase_add_test(worker, refused_beat_is_the_last_word);
    suite_add_tcase(s, worker);

    tcase_add_checked_fixture(observer, begin_observer, end);
    tcase_add_test(observer, observer_that_is_not_known_any_more_is_let_in_anew);
    suite_add_tcase(s, observer);
    return s;
}

TEST_MAIN(heartbeat_suite)
