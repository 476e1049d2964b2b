/* The coordinator without a network: peers and shards are numbers, time is a counter.
 */
#include "server/coordinator/coordinator.h"

#include "common/base/random.h"
#include "common/place/place.h"
#include "common/wire/wire.h"
#include "tests/unit/suite.h"

#include <jansson.h>
#include <stdio.h>

#define SECOND UINT64_C(1000000000)
#define SILENCE (15 * SECOND)
#define SHARD_TIMEOUT (5 * SECOND)
#define N_SHARDS 3u
#define CONTROL UINT64_C(0xc0)
#define EPOCH UINT64_C(0xabcdef0123456789)
#define OBSERVER UINT32_MAX
#define KEPT 4096u

static struct psd_coordinator *c;
static struct ps_decoder      *reader;
static struct ps_outbox        out;
static uint64_t                now;

/* What came to peers and to shards so far. */
static struct ps_parcel mail[KEPT], sent[KEPT];
static size_t           n_mail, n_sent;

/* What went in, for the damaged conversations. */
static struct ps_parcel tape[KEPT];
static size_t           n_tape;
static bool             taping;

static bool damaging; /* messages that go in may say anything */

/* How the shards behave. */
static bool        shard_mute[PS_SHARDS_MAX];
static uint64_t    shard_clock[PS_SHARDS_MAX];   /* of every job */
static uint32_t    kind_mute;                    /* what shard 1 never answers */
static const char *shard_refuses[PS_SHARDS_MAX]; /* a MATRIX_ADD, with this sentence */

/* ---- carrying messages ------------------------------------------------------------
 */

static const struct ps_header *read_head(const struct ps_parcel *p)
{
    static struct ps_header h;

    ck_assert_ok(ps_wire_decode(reader, p->head->data, p->head->len, &h));
    return &h;
}

static void forget(struct ps_parcel *list, size_t *n)
{
    for (size_t i = 0; i < *n; i++)
        ps_parcel_drop(&list[i]);
    *n = 0;
}

static void keep(struct ps_parcel *list, size_t *n, struct ps_parcel *p)
{
    if (*n == KEPT)
        forget(list, n);
    list[(*n)++] = *p;
    p->head = NULL;
    p->n_frames = 0;
}

static void carry(void);

static void handle(struct ps_parcel *p)
{
    if (taping) {
        struct ps_parcel copy;

        ps_parcel_share(&copy, p);
        keep(tape, &n_tape, &copy);
    }
    psd_coordinator_handle(c, now, p, &out);
    ck_assert_ptr_null(p->head);
}

static void shard_says(uint16_t shard, const struct ps_header *h)
{
    struct ps_parcel p = { .route = { .kind = PS_ROUTE_SHARD, .index = shard } };

    ck_assert_ok(ps_wire_encode(h, &p.head));
    handle(&p);
}

static unsigned n_telling = N_SHARDS; /* shards with room for accounts of matrices */

static void shard_answers(const struct ps_parcel *p)
{
    const struct ps_header *ask = read_head(p);
    struct ps_job_stats     stats[3] = {
            { .refused = 3, .skipped = 4 },
            { .job = 1, .bytes = 100, .pushes = 7, .waiting = 1 },
            { .job = 1, .matrix = 1, .bytes = 40, .state_bytes = 80, .rows = 2 },
    };
    struct ps_header h = { .kind = PS_MSG_OK,
                           .request = ask->request,
                           .clock = shard_clock[p->route.index] };

    if (ask->kind == kind_mute && p->route.index == 1)
        return;
    ck_assert(damaging || ask->session == CONTROL);
    if (ask->kind == PS_MSG_STATS) {
        ck_assert_uint_eq(ask->server_epoch, EPOCH);
        h.kind = PS_MSG_STATS_OK;
        h.n_job_stats = p->route.index < n_telling ? 3 : 2;
        h.job_stats = stats;
    } else if (ask->kind == PS_MSG_MATRIX_ADD && shard_refuses[p->route.index]) {
        h.kind = PS_MSG_ERROR;
        h.status = PS_ERR_NO_MEMORY;
        h.text = shard_refuses[p->route.index];
    }
    shard_says(p->route.index, &h);
}

/* Delivers the outbox until it is empty; shards that are not mute answer. */
static void carry(void)
{
    while (out.n > 0) {
        struct ps_outbox batch = out;

        out = (struct ps_outbox){ 0 };
        for (size_t i = 0; i < batch.n; i++) {
            struct ps_parcel *p = &batch.parcels[i];

            if (p->route.kind == PS_ROUTE_SHARD && !shard_mute[p->route.index])
                shard_answers(p);
            if (p->route.kind == PS_ROUTE_SHARD)
                keep(sent, &n_sent, p);
            else
                keep(mail, &n_mail, p);
        }
        ps_outbox_free(&batch);
    }
}

static struct ps_route peer_route(unsigned peer)
{
    struct ps_route route = { .kind = PS_ROUTE_PEER, .bytes = 2 };

    route.id[0] = (uint8_t)peer;
    route.id[1] = (uint8_t)(peer >> 8);
    return route;
}

static void say(unsigned peer, const struct ps_header *h)
{
    struct ps_parcel p = { .route = peer_route(peer) };

    ck_assert_ok(ps_wire_encode(h, &p.head));
    handle(&p);
    carry();
}

static void wait_for(uint64_t ns)
{
    uint64_t until = now + ns;

    while (now < until) {
        now += until - now < SECOND ? until - now : SECOND;
        psd_coordinator_tick(c, now, &out);
        carry();
    }
}

/* ---- looking at what came ---------------------------------------------------------
 */

static const struct ps_parcel *mail_to(unsigned peer, uint64_t request)
{
    struct ps_route route = peer_route(peer);

    for (size_t i = n_mail; i-- > 0;)
        if (ps_route_same(&mail[i].route, &route) &&
            read_head(&mail[i])->request == request)
            return &mail[i];
    return NULL;
}

static const struct ps_header *answer(unsigned peer, uint64_t request, uint32_t kind)
{
    const struct ps_parcel *p = mail_to(peer, request);
    const struct ps_header *h;

    ck_assert_msg(p != NULL, "peer %u has no answer to %u", peer, (unsigned)request);
    h = read_head(p);
    ck_assert_msg(h->kind == kind, "peer %u got %s (%s), expected %s", peer,
                  ps_kind_name(h->kind), h->text, ps_kind_name(kind));
    return h;
}

static void expect_error(unsigned peer, uint64_t request, ps_status status,
                         const char *part)
{
    const struct ps_header *h = answer(peer, request, PS_MSG_ERROR);

    ck_assert_msg(h->status == (int)status, "\"%s\" is %d, expected %d", h->text,
                  h->status, (int)status);
    ck_assert_msg(strstr(h->text, part) != NULL, "\"%s\" is not in \"%s\"", part,
                  h->text);
}

static void expect_notice(unsigned peer, ps_status status, const char *part)
{
    const struct ps_header *h = answer(peer, 0, PS_MSG_NOTICE);

    ck_assert_int_eq(h->status, (int)status);
    ck_assert_msg(strstr(h->text, part) != NULL, "\"%s\" is not in \"%s\"", part,
                  h->text);
}

/* The last message of a kind to a shard. */
static const struct ps_header *told(uint16_t shard, uint32_t kind)
{
    for (size_t i = n_sent; i-- > 0;)
        if (sent[i].route.index == shard && read_head(&sent[i])->kind == kind)
            return read_head(&sent[i]);
    ck_abort_msg("shard %u was not told %s", shard, ps_kind_name(kind));
    return NULL;
}

static size_t count_told(uint32_t kind)
{
    size_t n = 0;

    for (size_t i = 0; i < n_sent; i++)
        n += read_head(&sent[i])->kind == kind;
    return n;
}

static struct ps_member told_member(uint16_t shard, uint32_t rank)
{
    const struct ps_header *h = told(shard, PS_MSG_MEMBERS);

    for (uint32_t i = 0; i < h->n_members; i++)
        if (h->members[i].rank == rank)
            return h->members[i];
    return (struct ps_member){ 0 };
}

static uint32_t told_state(uint16_t shard, uint32_t rank)
{
    return told_member(shard, rank).state;
}

/* ---- what peers say ---------------------------------------------------------------
 */

/* A worker as it sees itself; its peer number is also its pid. */
struct worker {
    unsigned peer;
    uint32_t job, rank, incarnation;
    uint64_t session, epoch;
};

static struct ps_job_spec spec_of(const char *name, uint32_t workers)
{
    struct ps_job_spec spec = ps_job_spec_default();

    snprintf(spec.name, sizeof(spec.name), "%s", name);
    spec.workers = workers;
    return spec;
}

static void hello(unsigned peer, uint64_t request, uint32_t rank,
                  const struct ps_job_spec *spec)
{
    struct ps_header h = {
        .kind = PS_MSG_HELLO,
        .request = request,
        .rank = rank,
        .pid = peer,
        .text = "host-a",
        .name = spec->name,
        .job_spec = spec,
    };

    say(peer, &h);
}

static struct worker welcomed(unsigned peer, uint64_t request)
{
    const struct ps_header *h = answer(peer, request, PS_MSG_WELCOME);

    ck_assert_uint_ne(h->session, 0);
    return (struct worker){ peer,           h->job,     h->rank,
                            h->incarnation, h->session, h->server_epoch };
}

static struct worker join_as(unsigned peer, uint32_t rank,
                             const struct ps_job_spec *spec)
{
    hello(peer, 1, rank, spec);
    return welcomed(peer, 1);
}

static struct worker observe(unsigned peer, const char *job)
{
    struct ps_header h = {
        .kind = PS_MSG_HELLO,
        .request = 1,
        .flags = PS_FLAG_OBSERVER,
        .pid = peer,
        .text = "host-b",
        .name = job,
    };

    say(peer, &h);
    return welcomed(peer, 1);
}

static struct ps_header from(const struct worker *w, uint32_t kind, uint64_t request)
{
    return (struct ps_header){
        .kind = kind,
        .request = request,
        .job = w->job,
        .rank = w->rank,
        .session = w->session,
        .server_epoch = w->epoch,
    };
}

static void beat(const struct worker *w, uint64_t request, uint64_t clock)
{
    struct ps_header h = from(w, PS_MSG_BEAT, request);

    h.clock = clock;
    say(w->peer, &h);
}

static void bye(const struct worker *w, uint64_t request, const char *reason)
{
    struct ps_header h = from(w, PS_MSG_BYE, request);

    h.text = reason;
    say(w->peer, &h);
}

static struct ps_matrix_spec matrix_spec(const char *name, uint64_t rows, uint64_t cols)
{
    struct ps_matrix_spec spec = { .dtype = PS_F32, .rows = rows, .cols = cols };

    snprintf(spec.name, sizeof(spec.name), "%s", name);
    return spec;
}

static void ask_matrix(const struct worker *w, uint64_t request, uint32_t flags,
                       const struct ps_matrix_spec *spec)
{
    struct ps_header h = from(w, PS_MSG_MATRIX, request);

    h.flags = flags;
    h.n_matrices = 1;
    h.matrices = spec;
    say(w->peer, &h);
}

static void create(const struct worker *w, uint64_t request, const char *name)
{
    struct ps_matrix_spec spec = matrix_spec(name, 64, 64);

    ask_matrix(w, request, PS_FLAG_CREATE, &spec);
}

static void report(const struct worker *w, uint64_t request, uint64_t seq, uint32_t n,
                   double value)
{
    struct ps_report_record records[PS_REPORTS_MAX];
    struct ps_header        h = from(w, PS_MSG_REPORT, request);
    struct ps_traffic       traffic = { .samples = 64 * seq, .bytes_pushed = 1000 };

    for (uint32_t i = 0; i < n; i++)
        records[i] = (struct ps_report_record){
            .name = "loss",
            .clock = seq,
            .value = value + i,
        };
    h.seq = seq;
    h.n_reports = n;
    h.reports = records;
    h.traffic = &traffic;
    say(w->peer, &h);
}

static const struct ps_header *watch(unsigned peer, uint64_t request, const char *job,
                                     uint64_t after)
{
    struct ps_header h = {
        .kind = PS_MSG_WATCH,
        .request = request,
        .name = job,
        .after = after,
    };

    say(peer, &h);
    return answer(peer, request, PS_MSG_WATCH_OK);
}

static json_t *ask_status(unsigned peer, uint64_t request)
{
    struct ps_header        h = { .kind = PS_MSG_STATUS, .request = request };
    const struct ps_parcel *p;
    char                   *text;
    size_t                  n = 0;
    json_t                 *json;

    say(peer, &h);
    answer(peer, request, PS_MSG_STATUS_OK);
    p = mail_to(peer, request);
    text = malloc((size_t)p->n_frames * PS_FRAME_BYTES);
    for (uint32_t i = 0; i < p->n_frames; i++) {
        ck_assert_uint_le(p->frames[i]->len, PS_FRAME_BYTES);
        memcpy(text + n, p->frames[i]->data, p->frames[i]->len);
        n += p->frames[i]->len;
    }
    json = json_loadb(text, n, 0, NULL);
    ck_assert_ptr_nonnull(json);
    free(text);
    return json;
}

static json_int_t integer(const json_t *object, const char *key)
{
    const json_t *value = json_object_get(object, key);

    ck_assert_msg(json_is_integer(value), "%s is no integer", key);
    return json_integer_value(value);
}

static void expect_word(const char *job, const char *word)
{
    ck_assert_str_eq(watch(900, 900, job, 0)->text, word);
}

/* ---- situations -------------------------------------------------------------------
 */

static void start_with(uint32_t keep_finished, uint32_t max_jobs, const char *token)
{
    struct psd_coordinator_options options = {
        .server_epoch = EPOCH,
        .random_seed = 42,
        .worker_silence_ns = SILENCE,
        .shard_timeout_ns = SHARD_TIMEOUT,
        .keep_finished = keep_finished,
        .max_jobs = max_jobs,
        .token = token,
        .endpoint = "tcp://127.0.0.1:5570",
    };
    const char *const endpoints[] = { "tcp://127.0.0.1:6001", "tcp://127.0.0.1:6002",
                                      "tcp://127.0.0.1:6003" };
    uint32_t          first = 99;

    memset(shard_mute, 0, sizeof(shard_mute));
    memset(shard_clock, 0, sizeof(shard_clock));
    kind_mute = 0;
    memset(shard_refuses, 0, sizeof(shard_refuses));
    damaging = false;
    now = 1000 * SECOND;
    ck_assert_ok(ps_decoder_new(&reader));
    ck_assert_ok(psd_coordinator_new(&c, &options));
    ck_assert_ok(psd_coordinator_add_shards(c, now, endpoints, N_SHARDS, CONTROL,
                                            "host-0", 4711, &first));
    ck_assert_uint_eq(first, 0);
}

static void three_shards(void)
{
    start_with(2, 4, "");
}

static void stop(void)
{
    psd_coordinator_free(&c);
    ck_assert_ptr_null(c);
    ps_decoder_free(&reader);
    ps_outbox_free(&out);
    forget(mail, &n_mail);
    forget(sent, &n_sent);
    forget(tape, &n_tape);
}

/* ---- coming -----------------------------------------------------------------------
 */

START_TEST(first_worker_creates_the_job_and_is_welcome)
{
    struct ps_job_spec      spec = spec_of("lenet", 2);
    const struct ps_header *h;

    hello(77, 5, 1, &spec);
    h = answer(77, 5, PS_MSG_WELCOME);
    ck_assert_uint_eq(h->job, 1);
    ck_assert_uint_eq(h->rank, 1);
    ck_assert_uint_eq(h->incarnation, 1);
    ck_assert_uint_ne(h->server_epoch, 0);
    ck_assert_uint_eq(h->n_endpoints, N_SHARDS);
    ck_assert_str_eq(h->endpoints[2], "tcp://127.0.0.1:6003");
    ck_assert_str_eq(h->job_spec->name, "lenet");

    h = told(2, PS_MSG_JOB);
    ck_assert_uint_eq(h->index, 2);
    ck_assert_uint_eq(h->n_shards, N_SHARDS);
    ck_assert_uint_eq(h->n_members, 2);
    ck_assert_uint_eq(h->members[0].state, PS_MEMBER_EXPECTED);
    ck_assert_uint_eq(h->members[0].session, 0);
    ck_assert_uint_eq(told_state(0, 0), PS_MEMBER_EXPECTED);
    ck_assert_uint_eq(told_state(0, 1), PS_MEMBER_ACTIVE);
    expect_word("lenet", "waiting");
}
END_TEST

START_TEST(welcome_waits_until_every_shard_has_said_ok)
{
    struct ps_job_spec spec = spec_of("lenet", 1);

    shard_mute[1] = true;
    hello(7, 1, 0, &spec);
    ck_assert_ptr_null(mail_to(7, 1));
    ck_assert_uint_eq(count_told(PS_MSG_MEMBERS), 0); /* JOB comes first */
    shard_mute[1] = false;
    wait_for(SECOND);
    welcomed(7, 1);
}
END_TEST

START_TEST(workers_that_come_together_share_a_round)
{
    struct ps_job_spec spec = spec_of("lenet", 3);

    shard_mute[0] = true;
    for (unsigned r = 0; r < 3; r++)
        hello(10 + r, 1, r, &spec);
    shard_mute[0] = false;
    wait_for(2 * SECOND);
    for (unsigned r = 0; r < 3; r++)
        ck_assert_uint_eq(welcomed(10 + r, 1).rank, r);
    ck_assert_uint_eq(count_told(PS_MSG_MEMBERS), N_SHARDS);
    expect_word("lenet", "running");
}
END_TEST

START_TEST(sessions_differ_and_are_never_zero)
{
    struct ps_job_spec spec = spec_of("lenet", 2);
    struct worker      a = join_as(1, 0, &spec), b = join_as(2, 1, &spec);

    ck_assert_uint_ne(a.session, b.session);
}
END_TEST

START_TEST(large_job_is_told_in_pieces)
{
    struct ps_job_spec spec = spec_of("wide", 1200);

    shard_mute[0] = true;
    for (unsigned r = 0; r < 1200; r++)
        hello(1 + r, 1, r, &spec);
    shard_mute[0] = false;
    wait_for(3 * SECOND);
    for (unsigned r = 0; r < 1200; r++)
        ck_assert_uint_eq(welcomed(1 + r, 1).rank, r);
    ck_assert_uint_eq(count_told(PS_MSG_MEMBERS), 3 * N_SHARDS);
}
END_TEST

START_TEST(other_settings_are_a_mismatch)
{
    struct ps_job_spec spec = spec_of("lenet", 2);

    join_as(1, 0, &spec);
    spec.optimiser.lr = 0.5;
    hello(2, 1, 1, &spec);
    expect_error(2, 1, PS_ERR_MISMATCH, "optimiser.lr");
}
END_TEST

START_TEST(other_worker_count_is_a_mismatch)
{
    struct ps_job_spec spec = spec_of("lenet", 2);

    join_as(1, 0, &spec);
    spec.workers = 4;
    hello(2, 1, 1, &spec);
    expect_error(2, 1, PS_ERR_MISMATCH, "2");
    expect_error(2, 1, PS_ERR_MISMATCH, "4");
}
END_TEST

START_TEST(rank_must_be_below_the_worker_count)
{
    struct ps_job_spec spec = spec_of("lenet", 2);

    hello(1, 1, 2, &spec);
    expect_error(1, 1, PS_ERR_RANK, "rank 2 of job lenet: expected 0 to 1");
}
END_TEST

START_TEST(rank_is_taken_once)
{
    struct ps_job_spec spec = spec_of("lenet", 2);

    join_as(77, 1, &spec);
    hello(78, 1, 1, &spec);
    expect_error(78, 1, PS_ERR_RANK,
                 "rank 1 of job lenet is taken by pid 77 on host-a");
}
END_TEST

START_TEST(same_hello_again_gets_the_same_welcome)
{
    struct ps_job_spec spec = spec_of("lenet", 2);
    struct worker      a = join_as(77, 1, &spec), b;

    forget(mail, &n_mail);
    hello(77, 1, 1, &spec);
    b = welcomed(77, 1);
    ck_assert_uint_eq(a.session, b.session);
    ck_assert_uint_eq(a.incarnation, b.incarnation);
    hello(77, 2, 1, &spec); /* another call of the same process is another worker */
    expect_error(77, 2, PS_ERR_RANK, "taken");
}
END_TEST

START_TEST(shards_learn_the_run_and_the_life_of_a_job)
{
    struct ps_job_spec      spec = spec_of("lenet", 1);
    struct worker           w = join_as(1, 0, &spec);
    const struct ps_header *h = told(1, PS_MSG_JOB);

    ck_assert_uint_ne(h->run, 0);
    ck_assert_uint_eq(h->after, 1);
    ck_assert_uint_eq(h->server_epoch, w.epoch);
    ck_assert_uint_eq(told(1, PS_MSG_MEMBERS)->server_epoch, w.epoch);
}
END_TEST

START_TEST(runs_and_epochs_of_jobs_differ)
{
    struct ps_job_spec a = spec_of("a", 1), b = spec_of("b", 1);
    struct worker      in_a = join_as(1, 0, &a), in_b;
    uint64_t           run = told(0, PS_MSG_JOB)->run;

    in_b = join_as(2, 0, &b);
    ck_assert_uint_ne(in_a.epoch, in_b.epoch);
    ck_assert_uint_ne(run, told(0, PS_MSG_JOB)->run);
}
END_TEST

START_TEST(beat_is_answered_with_the_epoch_of_the_job)
{
    struct ps_job_spec spec = spec_of("lenet", 1);
    struct worker      w = join_as(1, 0, &spec);

    beat(&w, 2, 5);
    ck_assert_uint_eq(answer(1, 2, PS_MSG_OK)->server_epoch, w.epoch);
    ck_assert_uint_eq(watch(9, 1, "lenet", 0)->clock, 5);
}
END_TEST

START_TEST(clock_of_another_life_does_not_count)
{
    struct ps_job_spec spec = spec_of("lenet", 1);
    struct worker      w = join_as(1, 0, &spec);

    beat(&w, 2, 5);
    w.epoch ^= 1;
    beat(&w, 3, 9);
    ck_assert_uint_eq(watch(9, 1, "lenet", 0)->clock, 5);
}
END_TEST

static void hello_with_session(const struct worker *w, uint64_t request,
                               const char *job)
{
    struct ps_header h = from(w, PS_MSG_HELLO, request);

    h.incarnation = w->incarnation;
    h.name = job;
    h.flags = w->rank == OBSERVER ? PS_FLAG_OBSERVER : 0;
    h.pid = w->peer;
    h.text = "host-a";
    say(w->peer, &h);
}

START_TEST(member_that_says_hello_again_stays_who_it_was)
{
    struct ps_job_spec spec = spec_of("lenet", 2);
    struct worker      a = join_as(77, 1, &spec), b;

    hello_with_session(&a, 8, "lenet");
    b = welcomed(77, 8);
    ck_assert_uint_eq(a.session, b.session);
    ck_assert_uint_eq(a.incarnation, b.incarnation);
    ck_assert_uint_eq(b.rank, 1);
    a.session ^= 1;
    hello_with_session(&a, 9, "lenet");
    expect_error(77, 9, PS_ERR_DENIED, "wrong session");
    hello_with_session(&b, 10, "other");
    expect_error(77, 10, PS_ERR_UNKNOWN, "job other");
    bye(&b, 11, "");
    hello_with_session(&b, 12, "lenet");
    expect_error(77, 12, PS_ERR_RANK, "has left");
}
END_TEST

START_TEST(observer_that_says_hello_again_is_admitted_anew)
{
    struct ps_job_spec spec = spec_of("lenet", 1);
    struct worker      w = join_as(1, 0, &spec), o = observe(2, "lenet"), again;

    hello_with_session(&o, 8, "lenet");
    again = welcomed(2, 8);
    ck_assert_uint_eq(again.job, w.job);
    ck_assert_uint_eq(again.rank, OBSERVER);
    o.job++;
    hello_with_session(&o, 9, "lenet");
    expect_error(2, 9, PS_ERR_UNKNOWN, "job lenet");
}
END_TEST

START_TEST(same_hello_while_pending_is_answered_once)
{
    struct ps_job_spec spec = spec_of("lenet", 1);
    size_t             n = 0;

    shard_mute[0] = true;
    hello(7, 1, 0, &spec);
    hello(7, 1, 0, &spec);
    shard_mute[0] = false;
    wait_for(2 * SECOND);
    for (size_t i = 0; i < n_mail; i++)
        n += read_head(&mail[i])->kind == PS_MSG_WELCOME;
    ck_assert_uint_eq(n, 1);
}
END_TEST

START_TEST(jobs_do_not_see_each_other)
{
    struct ps_job_spec a = spec_of("a", 1), b = spec_of("b", 1);
    struct worker      in_a = join_as(1, 0, &a), in_b = join_as(2, 0, &b);

    ck_assert_uint_ne(in_a.job, in_b.job);
    in_a.job = in_b.job;
    create(&in_a, 3, "w");
    expect_error(1, 3, PS_ERR_DENIED, "session");
}
END_TEST

START_TEST(jobs_are_bounded)
{
    char name[16];

    for (unsigned i = 0; i < 4; i++) {
        struct ps_job_spec spec;

        snprintf(name, sizeof(name), "job%u", i);
        spec = spec_of(name, 1);
        join_as(10 + i, 0, &spec);
    }
    {
        struct ps_job_spec one_more = spec_of("more", 1);

        hello(20, 1, 0, &one_more);
        expect_error(20, 1, PS_ERR_LIMIT, "4 jobs");
    }
}
END_TEST

/* ---- matrices ---------------------------------------------------------------------
 */

START_TEST(two_workers_create_a_matrix_once)
{
    struct ps_job_spec spec = spec_of("lenet", 2);
    struct worker      a = join_as(1, 0, &spec), b = join_as(2, 1, &spec);

    shard_mute[2] = true;
    create(&a, 5, "fc1");
    create(&b, 6, "fc1");
    create(&b, 6, "fc1"); /* asked again */
    ck_assert_ptr_null(mail_to(1, 5));
    ck_assert_ptr_null(mail_to(2, 6));
    shard_mute[2] = false;
    wait_for(SECOND);
    ck_assert_uint_eq(answer(1, 5, PS_MSG_MATRIX_OK)->matrices[0].number, 1);
    ck_assert_uint_eq(answer(2, 6, PS_MSG_MATRIX_OK)->matrices[0].number, 1);
    ck_assert_uint_eq(count_told(PS_MSG_MATRIX_ADD), N_SHARDS + 1); /* one resend */
}
END_TEST

START_TEST(shards_and_workers_get_the_same_placement)
{
    struct ps_job_spec      spec = spec_of("lenet", 1);
    struct worker           w = join_as(1, 0, &spec);
    struct ps_matrix_spec   large = matrix_spec("large", 1000, 1000);
    struct ps_slot_run      runs[PS_DENSE_SLOTS];
    const struct ps_header *h;
    uint32_t                n, shards = 0;

    ask_matrix(&w, 5, PS_FLAG_CREATE, &large);
    h = answer(1, 5, PS_MSG_MATRIX_OK);
    n = h->n_slot_runs;
    ck_assert_uint_ge(n, N_SHARDS);
    ck_assert_uint_le(n, PS_DENSE_SLOTS);
    memcpy(runs, h->slot_runs, n * sizeof(runs[0]));
    for (uint32_t i = 0; i < n; i++)
        shards |= 1u << runs[i].shard;
    ck_assert_uint_eq(shards, 7); /* all three own a part */
    for (uint16_t s = 0; s < N_SHARDS; s++) {
        h = told(s, PS_MSG_MATRIX_ADD);
        ck_assert_uint_eq(h->matrices[0].number, 1);
        ck_assert_uint_eq(h->n_slot_runs, n);
        ck_assert_mem_eq(h->slot_runs, runs, n * sizeof(runs[0]));
    }
}
END_TEST

START_TEST(small_matrices_go_to_different_shards)
{
    struct ps_job_spec spec = spec_of("lenet", 1);
    struct worker      w = join_as(1, 0, &spec);
    uint32_t           shards = 0;

    create(&w, 5, "a");
    create(&w, 6, "b");
    create(&w, 7, "c");
    for (uint64_t request = 5; request <= 7; request++)
        shards |= 1u << answer(1, request, PS_MSG_MATRIX_OK)->slot_runs[0].shard;
    ck_assert_uint_eq(shards, 7);
}
END_TEST

START_TEST(sparse_matrix_fits_a_header)
{
    struct ps_job_spec    spec = spec_of("lenet", 1);
    struct worker         w = join_as(1, 0, &spec);
    struct ps_matrix_spec sparse = matrix_spec("words", 0, 16);

    sparse.sparse = true;
    ask_matrix(&w, 5, PS_FLAG_CREATE, &sparse);
    ck_assert(answer(1, 5, PS_MSG_MATRIX_OK)->matrices[0].sparse);
}
END_TEST

START_TEST(other_shape_of_a_matrix_is_refused)
{
    struct ps_job_spec    spec = spec_of("lenet", 1);
    struct worker         w = join_as(1, 0, &spec);
    struct ps_matrix_spec other = matrix_spec("fc1", 64, 63);

    create(&w, 5, "fc1");
    ask_matrix(&w, 6, PS_FLAG_CREATE, &other);
    expect_error(1, 6, PS_ERR_SHAPE, "fc1");
    ask_matrix(&w, 7, 0, &other);
    expect_error(1, 7, PS_ERR_SHAPE, "fc1");
}
END_TEST

START_TEST(unknown_matrix_is_named)
{
    struct ps_job_spec    spec = spec_of("lenet", 1);
    struct worker         w = join_as(1, 0, &spec);
    struct ps_matrix_spec fc9 = matrix_spec("fc9", 1, 1);

    ask_matrix(&w, 5, 0, &fc9);
    expect_error(1, 5, PS_ERR_UNKNOWN, "matrix fc9: job lenet has no such matrix");
}
END_TEST

START_TEST(shard_that_refuses_undoes_the_creation)
{
    struct ps_job_spec spec = spec_of("lenet", 1);
    struct worker      w = join_as(1, 0, &spec);

    shard_refuses[1] = "matrix fc1: no memory for 4096 elements";
    create(&w, 5, "fc1");
    expect_error(1, 5, PS_ERR_NO_MEMORY, "shard 1: matrix fc1: no memory");
    shard_refuses[1] = NULL;
    create(&w, 6, "fc1");
    ck_assert_uint_eq(answer(1, 6, PS_MSG_MATRIX_OK)->matrices[0].number, 2);
    ck_assert_uint_eq(answer(1, 6, PS_MSG_MATRIX_OK)->slot_runs[0].shard, 0);
}
END_TEST

START_TEST(matrices_are_listed_in_byte_order_in_pieces)
{
    struct ps_job_spec spec = spec_of("lenet", 1);
    struct worker      w = join_as(1, 0, &spec);
    struct ps_header   list = from(&w, PS_MSG_LIST, 500);
    char               name[PS_NAME_BYTES];

    for (unsigned i = 0; i < 40; i++) {
        snprintf(name, sizeof(name), "m%02u", (i * 7) % 40);
        create(&w, 100 + i, name);
    }
    say(1, &list);
    ck_assert_uint_eq(answer(1, 500, PS_MSG_LIST_OK)->n_matrices, 32);
    ck_assert_str_eq(answer(1, 500, PS_MSG_LIST_OK)->matrices[0].name, "m00");
    list.request = 501;
    list.name = "m31";
    say(1, &list);
    ck_assert_uint_eq(answer(1, 501, PS_MSG_LIST_OK)->n_matrices, 8);
    ck_assert_str_eq(answer(1, 501, PS_MSG_LIST_OK)->matrices[0].name, "m32");
}
END_TEST

/* ---- going ------------------------------------------------------------------------
 */

START_TEST(job_is_finished_when_all_have_left_and_its_name_is_free)
{
    struct ps_job_spec spec = spec_of("lenet", 2);
    struct worker      a = join_as(1, 0, &spec), b = join_as(2, 1, &spec), again;

    bye(&a, 9, "");
    answer(1, 9, PS_MSG_OK);
    ck_assert_uint_eq(told_state(0, 0), PS_MEMBER_LEFT);
    ck_assert_uint_eq(told_state(0, 1), PS_MEMBER_ACTIVE);
    expect_word("lenet", "running");
    bye(&b, 9, "");
    expect_word("lenet", "finished");

    spec.workers = 1;
    again = join_as(3, 0, &spec);
    ck_assert_uint_ne(again.job, a.job);
    ck_assert_uint_eq(told(0, PS_MSG_JOB_END)->job, a.job);
    expect_word("lenet", "running");
}
END_TEST

START_TEST(goodbye_is_answered_when_the_shards_know)
{
    struct ps_job_spec spec = spec_of("lenet", 1);
    struct worker      w = join_as(1, 0, &spec);

    shard_mute[0] = true;
    bye(&w, 9, "");
    bye(&w, 9, "");
    ck_assert_ptr_null(mail_to(1, 9));
    shard_mute[0] = false;
    wait_for(SECOND);
    answer(1, 9, PS_MSG_OK);
    bye(&w, 10, ""); /* and again is no harm */
    answer(1, 10, PS_MSG_OK);
}
END_TEST

START_TEST(rank_that_left_joins_the_running_job_again)
{
    struct ps_job_spec spec = spec_of("lenet", 2);
    struct worker      a = join_as(1, 0, &spec), b = join_as(2, 1, &spec), again;

    bye(&a, 9, "");
    again = join_as(3, 0, &spec);
    ck_assert_uint_eq(again.job, b.job);
    ck_assert_uint_eq(again.incarnation, 2);
    ck_assert_uint_ne(again.session, a.session);
    ck_assert_uint_eq(told_member(1, 0).state, PS_MEMBER_ACTIVE);
    ck_assert_uint_eq(told_member(1, 0).incarnation, 2);
    ck_assert_uint_eq(told_member(1, 0).session, again.session);
    beat(&a, 10, 5);
    expect_error(1, 10, PS_ERR_DENIED, "wrong session for worker 0");
    hello(4, 1, 0, &spec);
    expect_error(4, 1, PS_ERR_RANK, "rank 0 of job lenet is taken by pid 3 on host-a");
}
END_TEST

START_TEST(one_that_joins_begins_at_the_clock_of_the_furthest_shard)
{
    struct ps_job_spec spec = spec_of("lenet", 2);
    struct worker      a = join_as(1, 0, &spec);
    uint64_t           clock;
    size_t             n;

    join_as(2, 1, &spec);
    bye(&a, 9, "");
    shard_clock[0] = 4;
    shard_clock[1] = 6;
    shard_clock[2] = 5;
    n = count_told(PS_MSG_MEMBERS);
    hello(3, 1, 0, &spec);
    clock = answer(3, 1, PS_MSG_WELCOME)->clock;
    ck_assert_uint_eq(clock, 6);
    ck_assert_uint_eq(count_told(PS_MSG_MEMBERS), n + 2 * (size_t)N_SHARDS);
    for (uint16_t s = 0; s < N_SHARDS; s++)
        ck_assert_uint_eq(told_member(s, 0).clock, 6);
    hello(3, 1, 0, &spec); /* again, and the same */
    clock = answer(3, 1, PS_MSG_WELCOME)->clock;
    ck_assert_uint_eq(clock, 6);
    ck_assert_uint_eq(told_member(0, 1).clock, 0); /* which began at the beginning */
}
END_TEST

START_TEST(shards_at_the_same_clock_are_told_once)
{
    struct ps_job_spec spec = spec_of("lenet", 2);
    struct worker      a = join_as(1, 0, &spec);
    size_t             n;

    join_as(2, 1, &spec);
    bye(&a, 9, "");
    for (unsigned s = 0; s < N_SHARDS; s++)
        shard_clock[s] = 8;
    n = count_told(PS_MSG_MEMBERS);
    hello(3, 1, 0, &spec);
    ck_assert_uint_eq(answer(3, 1, PS_MSG_WELCOME)->clock, 8);
    ck_assert_uint_eq(count_told(PS_MSG_MEMBERS), n + N_SHARDS);
}
END_TEST

START_TEST(one_that_is_lost_before_its_welcome_may_join_again)
{
    struct ps_job_spec spec = spec_of("lenet", 2);
    struct worker      b;

    join_as(1, 0, &spec);
    shard_mute[2] = true;
    hello(2, 1, 1, &spec);
    ck_assert_ptr_null(mail_to(2, 1));
    shard_mute[2] = false;
    shard_clock[1] = 3;
    wait_for(SECOND);
    b = welcomed(2, 1);
    bye(&b, 5, "");
    b = join_as(3, 1, &spec);
    ck_assert_uint_eq(b.incarnation, 2);
}
END_TEST

START_TEST(what_earlier_incarnations_moved_still_counts)
{
    struct ps_job_spec spec = spec_of("lenet", 2);
    struct worker      a = join_as(1, 0, &spec);

    join_as(2, 1, &spec);
    report(&a, 5, 1, 1, 0.5); /* 64 samples */
    bye(&a, 9, "");
    a = join_as(3, 0, &spec);
    report(&a, 5, 1, 1, 0.5);
    ck_assert_uint_eq(watch(9, 60, "lenet", 0)->traffic->samples, 128);
}
END_TEST

START_TEST(quick_worker_that_left_does_not_end_the_job_for_the_one_expected)
{
    struct ps_job_spec spec = spec_of("lenet", 2);
    struct worker      a = join_as(1, 0, &spec), b;

    bye(&a, 9, "");
    b = join_as(2, 1, &spec);
    ck_assert_uint_eq(a.job, b.job);
}
END_TEST

START_TEST(new_run_begins_when_a_rank_comes_again_to_an_empty_job)
{
    struct ps_job_spec spec = spec_of("lenet", 2);
    struct worker      a = join_as(1, 0, &spec), again;

    bye(&a, 9, "");
    again = join_as(3, 0, &spec);
    ck_assert_uint_ne(a.job, again.job);
}
END_TEST

START_TEST(job_that_nobody_comes_to_ends)
{
    struct ps_job_spec spec = spec_of("lenet", 2);
    struct worker      a = join_as(1, 0, &spec);

    bye(&a, 9, "");
    wait_for(9 * SILENCE);
    expect_word("lenet", "waiting");
    wait_for(2 * SILENCE);
    expect_word("lenet", "finished");
}
END_TEST

START_TEST(finished_jobs_are_kept_up_to_a_number)
{
    struct ps_header ask = { .kind = PS_MSG_WATCH, .request = 50, .name = "job0" };
    char             name[16];

    for (unsigned i = 0; i < 3; i++) {
        struct ps_job_spec spec;
        struct worker      w;

        snprintf(name, sizeof(name), "job%u", i);
        spec = spec_of(name, 1);
        w = join_as(10 + i, 0, &spec);
        bye(&w, 2, "");
    }
    say(9, &ask);
    expect_error(9, 50, PS_ERR_UNKNOWN, "job job0: not known here");
    expect_word("job1", "finished");
    expect_word("job2", "finished");
    ck_assert_uint_eq(count_told(PS_MSG_JOB_END), N_SHARDS);
}
END_TEST

/* ---- silence ----------------------------------------------------------------------
 */

static struct ps_job_spec loss_spec(uint32_t on_loss)
{
    struct ps_job_spec spec = spec_of("x", 2);

    spec.on_loss = on_loss;
    return spec;
}

/* Two workers, of whom 1 falls silent. */
static void one_falls_silent(uint32_t on_loss, struct worker *a, struct worker *b)
{
    struct ps_job_spec spec = loss_spec(on_loss);

    *a = join_as(1, 0, &spec);
    *b = join_as(2, 1, &spec);
    for (unsigned s = 0; s < 15; s++) {
        wait_for(SECOND);
        beat(a, 100 + s, s);
    }
}

START_TEST(silent_worker_is_lost_and_the_others_go_on)
{
    struct worker a, b;

    one_falls_silent(PS_LOSS_SHRINK, &a, &b);
    ck_assert_uint_eq(told_state(2, 0), PS_MEMBER_ACTIVE);
    ck_assert_uint_eq(told_state(2, 1), PS_MEMBER_LOST);
    ck_assert_ptr_null(mail_to(1, 0)); /* no notice */
    expect_word("x", "running");
    beat(&b, 200, 3);
    expect_error(2, 200, PS_ERR_RANK, "worker 1 of job x was silent");
    bye(&a, 300, "");
    expect_word("x", "finished");
}
END_TEST

START_TEST(silent_worker_is_waited_for_and_may_come_back)
{
    struct worker a, b;
    json_t       *status, *member;

    one_falls_silent(PS_LOSS_WAIT, &a, &b);
    observe(9, "x"); /* so that the shards are told the members once more */
    ck_assert_uint_eq(told_state(2, 1), PS_MEMBER_ACTIVE);
    status = ask_status(9, 50);
    member = json_array_get(
        json_object_get(json_array_get(json_object_get(status, "jobs"), 0), "members"),
        1);
    ck_assert_str_eq(json_string_value(json_object_get(member, "state")), "lost");
    json_decref(status);
    beat(&b, 200, 3);
    answer(2, 200, PS_MSG_OK);
    bye(&a, 300, "");
    expect_word("x", "running"); /* b is there again */
}
END_TEST

START_TEST(lost_worker_joins_again_whatever_the_others_do)
{
    static const uint32_t kinds[] = { PS_LOSS_SHRINK, PS_LOSS_WAIT };
    struct ps_job_spec    spec = loss_spec(kinds[_i]);
    struct worker         a, b, again;

    one_falls_silent(kinds[_i], &a, &b);
    again = join_as(3, 1, &spec);
    ck_assert_uint_eq(again.job, a.job);
    ck_assert_uint_eq(again.incarnation, 2);
    ck_assert_uint_eq(told_member(0, 1).session, again.session);
    beat(&b, 200, 3);
    expect_error(2, 200, PS_ERR_DENIED, "wrong session for worker 1");
}
END_TEST

START_TEST(job_that_waits_for_its_lost_workers_is_not_over)
{
    struct ps_job_spec spec = loss_spec(PS_LOSS_WAIT);
    struct worker      a, b, again;

    one_falls_silent(PS_LOSS_WAIT, &a, &b);
    bye(&a, 300, "killed");
    expect_word("x", "running");
    again = join_as(3, 0, &spec);
    ck_assert_uint_eq(again.job, a.job);
    bye(&again, 301, "killed");
    wait_for(11 * SILENCE);
    expect_word("x", "finished"); /* nobody came */
}
END_TEST

/* Without a tick, as when the process is stopped. */
static void sleep_for(uint64_t ns)
{
    now += ns;
}

START_TEST(sleep_of_the_coordinator_is_nobodys_silence)
{
    struct ps_job_spec spec = loss_spec(PS_LOSS_SHRINK);
    struct worker      a = join_as(1, 0, &spec), b = join_as(2, 1, &spec);
    json_t            *status;

    wait_for(SECOND);
    sleep_for(100 * SILENCE);
    wait_for(SECOND);
    beat(&a, 100, 1);
    answer(1, 100, PS_MSG_OK);
    wait_for(SILENCE - 4 * SECOND);
    beat(&b, 101, 1);
    answer(2, 101, PS_MSG_OK);
    wait_for(4 * SECOND); /* silence that it was awake to see */
    beat(&a, 102, 1);
    expect_error(1, 102, PS_ERR_RANK, "worker 0 of job x was silent for too long");
    beat(&b, 103, 1);
    answer(2, 103, PS_MSG_OK);
    status = ask_status(9, 50);
    ck_assert_int_ge(integer(status, "uptime_seconds"), 101 * 15); /* counts it */
    json_decref(status);
}
END_TEST

START_TEST(sleep_that_a_message_ends_is_nobodys_silence_either)
{
    struct ps_job_spec spec = loss_spec(PS_LOSS_SHRINK);
    struct worker      a = join_as(1, 0, &spec), b = join_as(2, 1, &spec);

    for (uint64_t s = 0; s < 5; s++) {
        sleep_for(100 * SILENCE);
        beat(&a, 100 + s, s); /* is there before the tick */
        wait_for(SECOND);
    }
    beat(&b, 200, 1);
    answer(2, 200, PS_MSG_OK);
}
END_TEST

START_TEST(time_without_anything_to_watch_is_no_sleep)
{
    struct ps_job_spec spec = loss_spec(PS_LOSS_SHRINK);
    struct worker      a;
    json_t            *status;

    sleep_for(100 * SILENCE);
    a = join_as(1, 0, &spec);
    join_as(2, 1, &spec);
    wait_for(SILENCE - SECOND);
    beat(&a, 100, 1);
    wait_for(SECOND);
    expect_word("x", "running");
    ck_assert_uint_eq(told_state(2, 1), PS_MEMBER_LOST);
    status = ask_status(9, 50);
    ck_assert_int_eq(integer(status, "uptime_seconds"), 15);
    json_decref(status);
}
END_TEST

START_TEST(silent_worker_aborts_the_job)
{
    struct ps_job_spec spec = loss_spec(PS_LOSS_ABORT);
    struct worker      a, b, again;

    one_falls_silent(PS_LOSS_ABORT, &a, &b);
    expect_notice(1, PS_ERR_ABORTED,
                  "worker 1 of job x on host-a (pid 2) was silent for 15 s");
    ck_assert_uint_eq(told_state(2, 0), PS_MEMBER_LOST);
    ck_assert_uint_eq(told_state(2, 1), PS_MEMBER_LOST);
    expect_word("x", "aborted");
    beat(&a, 200, 3);
    expect_error(1, 200, PS_ERR_ABORTED, "worker 1 of job x");
    bye(&a, 201, "");
    answer(1, 201, PS_MSG_OK);
    again = join_as(3, 0, &spec);
    ck_assert_uint_ne(again.job, a.job);
}
END_TEST

START_TEST(goodbye_with_a_reason_is_a_loss)
{
    struct ps_job_spec spec = loss_spec(PS_LOSS_ABORT);
    struct worker      a = join_as(1, 0, &spec), b = join_as(2, 1, &spec);

    bye(&b, 9, "data file ended early");
    answer(2, 9, PS_MSG_OK);
    expect_notice(1, PS_ERR_ABORTED,
                  "worker 1 of job x on host-a (pid 2) left: data file ended early");
    beat(&a, 200, 3);
    expect_error(1, 200, PS_ERR_ABORTED, "data file ended early");
}
END_TEST

START_TEST(lost_worker_leaves_an_expected_one_nothing_to_join)
{
    struct ps_job_spec spec = loss_spec(PS_LOSS_SHRINK);
    struct worker      a = join_as(1, 0, &spec), b;

    bye(&a, 9, "worker 1 did not come within 30 s");
    expect_word("x", "finished");
    b = join_as(2, 1, &spec);
    ck_assert_uint_ne(a.job, b.job);
}
END_TEST

START_TEST(nothing_to_watch_needs_no_tick)
{
    struct ps_job_spec spec = spec_of("lenet", 1);
    struct worker      w;

    ck_assert_uint_eq(psd_coordinator_next_tick(c), UINT64_MAX);
    w = join_as(1, 0, &spec);
    ck_assert_uint_lt(psd_coordinator_next_tick(c), UINT64_MAX);
    bye(&w, 2, "");
    ck_assert_uint_eq(psd_coordinator_next_tick(c), UINT64_MAX);
}
END_TEST

/* ---- shards -----------------------------------------------------------------------
 */

START_TEST(silent_shard_is_asked_again_with_the_same_bytes)
{
    struct ps_job_spec      spec = spec_of("lenet", 1);
    const struct ps_parcel *first = NULL, *second = NULL;

    shard_mute[1] = true;
    hello(1, 1, 0, &spec);
    wait_for(SECOND);
    for (size_t i = 0; i < n_sent; i++)
        if (sent[i].route.index == 1) {
            second = first ? &sent[i] : NULL;
            first = first ? first : &sent[i];
        }
    ck_assert_ptr_nonnull(second);
    ck_assert_uint_eq(first->head->len, second->head->len);
    ck_assert_mem_eq(first->head->data, second->head->data, first->head->len);
    ck_assert_uint_eq(n_sent, N_SHARDS + 1); /* the others were not bothered */
}
END_TEST

START_TEST(answers_that_come_twice_count_once)
{
    struct ps_job_spec spec = spec_of("lenet", 1);
    struct ps_header   ok = { .kind = PS_MSG_OK };

    shard_mute[0] = shard_mute[1] = shard_mute[2] = true;
    hello(1, 1, 0, &spec);
    ok.request = told(0, PS_MSG_JOB)->request;
    for (unsigned i = 0; i < N_SHARDS; i++)
        shard_says(0, &ok);
    carry();
    ck_assert_uint_eq(count_told(PS_MSG_MEMBERS), 0);
}
END_TEST

START_TEST(shard_lost_in_a_creation_fails_the_hello_and_nothing_stays)
{
    struct ps_job_spec spec = spec_of("lenet", 1);
    struct worker      w;

    shard_mute[1] = true;
    hello(1, 1, 0, &spec);
    wait_for(SHARD_TIMEOUT);
    expect_error(1, 1, PS_ERR_UNAVAILABLE,
                 "shard 1 at tcp://127.0.0.1:6002 has not answered for 5 s");
    w = join_as(2, 0, &spec); /* on the two that are left */
    ck_assert_uint_eq(answer(2, 1, PS_MSG_WELCOME)->n_endpoints, 2);
    ck_assert_str_eq(answer(2, 1, PS_MSG_WELCOME)->endpoints[1],
                     "tcp://127.0.0.1:6003");
    ck_assert_uint_eq(told(2, PS_MSG_JOB)->index, 1);
    create(&w, 5, "fc1");
    answer(2, 5, PS_MSG_MATRIX_OK);
}
END_TEST

START_TEST(lost_shard_fails_its_jobs)
{
    struct ps_job_spec spec = spec_of("lenet", 2);
    struct worker      a = join_as(1, 0, &spec), b = join_as(2, 1, &spec);

    shard_mute[2] = true;
    create(&a, 5, "fc1");
    for (unsigned s = 0; s < 5; s++) {
        wait_for(SECOND);
        beat(&a, 100, 0);
        beat(&b, 100, 0);
    }
    expect_error(1, 5, PS_ERR_UNAVAILABLE, "shard 2 at tcp://127.0.0.1:6003");
    expect_notice(1, PS_ERR_UNAVAILABLE, "shard 2");
    expect_notice(2, PS_ERR_UNAVAILABLE, "shard 2");
    expect_word("lenet", "failed");
    ck_assert_uint_eq(told_state(0, 0), PS_MEMBER_LOST);
    create(&b, 6, "fc2");
    expect_error(2, 6, PS_ERR_UNAVAILABLE, "shard 2");
}
END_TEST

START_TEST(lost_shard_does_not_keep_a_job_that_is_dropped)
{
    struct ps_job_spec spec = spec_of("lenet", 1);
    struct worker      w;

    stop();
    start_with(0, 4, "");
    kind_mute = PS_MSG_JOB_END;
    w = join_as(1, 0, &spec);
    bye(&w, 2, "");
    answer(1, 2, PS_MSG_OK);
    ck_assert_uint_lt(psd_coordinator_next_tick(c), UINT64_MAX);
    wait_for(SHARD_TIMEOUT);
    ck_assert_uint_eq(psd_coordinator_next_tick(c), UINT64_MAX);
    ck_assert_uint_eq(count_told(PS_MSG_JOB_END), N_SHARDS + 4); /* 4 resends */
}
END_TEST

START_TEST(shard_that_is_heard_again_serves_new_jobs)
{
    struct ps_job_spec spec = spec_of("lenet", 1), other = spec_of("other", 1);
    struct ps_header   ok = { .kind = PS_MSG_OK };

    shard_mute[1] = true;
    hello(1, 1, 0, &spec);
    wait_for(SHARD_TIMEOUT);
    ok.request = told(1, PS_MSG_JOB)->request;
    shard_mute[1] = false;
    shard_says(1, &ok);
    join_as(2, 0, &other);
    ck_assert_uint_eq(answer(2, 1, PS_MSG_WELCOME)->n_endpoints, 3);
}
END_TEST

static void join_psd(uint64_t request, uint64_t control, const char *endpoint)
{
    const char *const endpoints[] = { endpoint };
    struct ps_header  h = {
         .kind = PS_MSG_JOIN,
         .request = request,
         .session = control,
         .pid = 99,
         .name = "host-9",
         .n_endpoints = 1,
         .endpoints = endpoints,
    };

    say(50, &h);
}

START_TEST(psd_joins_once_and_new_jobs_use_its_shards)
{
    struct ps_job_spec before = spec_of("before", 1), after = spec_of("after", 1);

    join_as(1, 0, &before);
    join_psd(1, CONTROL, "tcp://10.0.0.9:7001"); /* control as of the fake shards */
    ck_assert_uint_eq(answer(50, 1, PS_MSG_JOIN_OK)->index, N_SHARDS);
    join_psd(2, CONTROL, "tcp://10.0.0.9:7001");
    ck_assert_uint_eq(answer(50, 2, PS_MSG_JOIN_OK)->index, N_SHARDS);
    ck_assert_uint_eq(psd_coordinator_n_shards(c), N_SHARDS + 1);
    ck_assert_str_eq(psd_coordinator_shard_endpoint(c, N_SHARDS),
                     "tcp://10.0.0.9:7001");
    join_as(2, 0, &after);
    ck_assert_uint_eq(answer(2, 1, PS_MSG_WELCOME)->n_endpoints, N_SHARDS + 1);
    ck_assert_uint_eq(told(N_SHARDS, PS_MSG_JOB)->index, N_SHARDS);
}
END_TEST

START_TEST(silent_psd_loses_its_shards)
{
    struct ps_job_spec spec = spec_of("lenet", 1);
    struct ps_header   still = { .kind = PS_MSG_BEAT, .session = CONTROL };
    struct worker      w;

    join_psd(1, CONTROL, "tcp://10.0.0.9:7001");
    w = join_as(1, 0, &spec);
    for (unsigned s = 0; s < 20; s++) {
        wait_for(SECOND);
        still.request = 100 + s;
        say(50, &still);
        beat(&w, 100 + s, 0);
        answer(50, 100 + s, PS_MSG_OK);
    }
    expect_word("lenet", "running");
    for (unsigned s = 0; s < 15; s++) {
        beat(&w, 200 + s, 0);
        wait_for(SECOND);
    }
    expect_notice(1, PS_ERR_UNAVAILABLE,
                  "its psd on host-9 (pid 99) was silent for 15 s");
    expect_word("lenet", "failed");
}
END_TEST

START_TEST(sleep_of_the_coordinator_loses_neither_psds_nor_shards)
{
    struct ps_job_spec spec = spec_of("lenet", 1);
    struct ps_header   still = { .kind = PS_MSG_BEAT, .session = CONTROL };

    join_psd(1, CONTROL, "tcp://10.0.0.9:7001");
    shard_mute[1] = true;
    hello(1, 1, 0, &spec); /* an answer of shard 1 is owed */
    sleep_for(100 * SHARD_TIMEOUT);
    wait_for(SECOND);
    shard_mute[1] = false;
    wait_for(SECOND); /* it is asked again */
    ck_assert_uint_eq(answer(1, 1, PS_MSG_WELCOME)->n_endpoints, N_SHARDS + 1);
    still.request = 100;
    say(50, &still);
    answer(50, 100, PS_MSG_OK);
    expect_word("lenet", "running");
}
END_TEST

START_TEST(psd_that_parts_loses_its_shards_at_once)
{
    struct ps_job_spec spec = spec_of("lenet", 1);
    struct ps_header   part = { .kind = PS_MSG_PART, .session = CONTROL, .request = 3 };
    struct ps_header still = { .kind = PS_MSG_BEAT, .session = CONTROL, .request = 4 };

    join_psd(1, CONTROL, "tcp://10.0.0.9:7001");
    join_as(1, 0, &spec);
    say(50, &part);
    answer(50, 3, PS_MSG_OK);
    expect_notice(1, PS_ERR_UNAVAILABLE, "its psd on host-9 (pid 99) has ended");
    say(50, &still);
    expect_error(50, 4, PS_ERR_UNKNOWN, "has not joined");
}
END_TEST

START_TEST(psd_started_again_replaces_the_one_before)
{
    struct ps_job_spec spec = spec_of("lenet", 1);

    join_psd(1, 0xd0, "tcp://10.0.0.9:7001");
    join_psd(2, CONTROL, "tcp://10.0.0.9:7001");
    ck_assert_uint_eq(answer(50, 2, PS_MSG_JOIN_OK)->index, N_SHARDS);
    join_as(1, 0, &spec);
    ck_assert_uint_eq(answer(1, 1, PS_MSG_WELCOME)->n_endpoints, N_SHARDS + 1);
    ck_assert_uint_eq(told(N_SHARDS, PS_MSG_JOB)->index, N_SHARDS);
}
END_TEST

START_TEST(cluster_without_shards_says_so)
{
    struct ps_job_spec             spec = spec_of("lenet", 1);
    struct psd_coordinator_options options = {
        .worker_silence_ns = SILENCE,
        .shard_timeout_ns = SHARD_TIMEOUT,
        .max_jobs = 1,
        .token = "",
        .endpoint = "",
    };

    psd_coordinator_free(&c);
    ck_assert_ok(psd_coordinator_new(&c, &options));
    hello(1, 1, 0, &spec);
    expect_error(1, 1, PS_ERR_UNAVAILABLE,
                 "job lenet: no psd with shards has joined the "
                 "coordinator yet");
}
END_TEST

/* ---- reports, status --------------------------------------------------------------
 */

START_TEST(reports_are_numbered_and_taken_once)
{
    struct ps_job_spec      spec = spec_of("lenet", 2);
    struct worker           w;
    const struct ps_header *h;

    join_as(1, 0, &spec);
    w = join_as(2, 1, &spec);
    now += 2 * SECOND;
    report(&w, 5, 1, 2, 0.5);
    report(&w, 6, 1, 2, 0.5); /* sent again */
    answer(2, 6, PS_MSG_OK);
    report(&w, 7, 2, 1, 0.25);
    h = watch(9, 50, "lenet", 0);
    ck_assert_uint_eq(h->n_reports, 3);
    ck_assert_uint_eq(h->reports[0].number, 1);
    ck_assert_uint_eq(h->reports[0].rank, 1);
    ck_assert_uint_eq(h->reports[0].time_us, 2000000);
    ck_assert_str_eq(h->reports[0].name, "loss");
    ck_assert_double_eq(h->reports[1].value, 1.5);
    ck_assert_uint_eq(h->reports[2].clock, 2);
    ck_assert_uint_eq(h->traffic->samples, 128);
    ck_assert_uint_eq(h->n_members, 2);
    ck_assert_uint_eq(h->members[1].session, 0); /* a secret, and watching needs none */
    h = watch(9, 51, "lenet", 2);
    ck_assert_uint_eq(h->n_reports, 1);
    ck_assert_uint_eq(h->reports[0].number, 3);
    ck_assert_uint_eq(watch(9, 52, "lenet", 3)->n_reports, 0);
    ck_assert_uint_eq(watch(9, 53, "lenet", 99)->n_reports, 0);
}
END_TEST

START_TEST(an_observer_may_report)
{
    struct ps_job_spec      spec = spec_of("lenet", 1);
    struct worker           w = join_as(1, 0, &spec), o = observe(2, "lenet");
    const struct ps_header *h;

    report(&o, 5, 1, 1, 0.5);
    answer(2, 5, PS_MSG_OK);
    report(&o, 6, 1, 1, 0.5); /* sent again */
    answer(2, 6, PS_MSG_OK);
    h = watch(9, 50, "lenet", 0);
    ck_assert_uint_eq(h->n_reports, 1);
    ck_assert_uint_eq(h->reports[0].rank, OBSERVER);
    ck_assert_uint_eq(h->traffic->samples, 0); /* only workers' count */
    bye(&w, 7, "");
    report(&o, 8, 2, 1, 0.75); /* a last word after the end */
    answer(2, 8, PS_MSG_OK);
}
END_TEST

START_TEST(oldest_reports_make_way)
{
    struct ps_job_spec      spec = spec_of("lenet", 1);
    struct worker           w = join_as(1, 0, &spec);
    const struct ps_header *h;
    uint64_t                n = 65536 / 64 + 3;

    for (uint64_t seq = 1; seq <= n; seq++)
        report(&w, 1000 + seq, seq, 64, (double)(seq * 64));
    h = watch(9, 50, "lenet", 0);
    ck_assert_uint_eq(h->n_reports, 64);
    ck_assert_uint_eq(h->reports[0].number, 3 * 64 + 1);
    ck_assert_double_eq(h->reports[0].value, 4 * 64);
    h = watch(9, 51, "lenet", n * 64 - 1);
    ck_assert_uint_eq(h->n_reports, 1);
    ck_assert_double_eq(h->reports[0].value, (double)(n * 64 + 63));
}
END_TEST

START_TEST(watch_fits_a_header_at_its_largest)
{
    struct ps_job_spec      spec = spec_of("wide", 200);
    struct ps_report_record records[PS_REPORTS_MAX];
    struct worker           w = join_as(1, 0, &spec);
    struct ps_header        h = from(&w, PS_MSG_REPORT, 5);

    for (unsigned r = 1; r < 200; r++)
        hello(1 + r, 1, r, &spec);
    for (uint32_t i = 0; i < PS_REPORTS_MAX; i++) {
        records[i] = (struct ps_report_record){ .clock = UINT64_MAX, .value = -0.1 };
        memset(records[i].name, 'a' + (int)i % 26, PS_NAME_BYTES - 1);
    }
    h.seq = 1;
    h.n_reports = PS_REPORTS_MAX;
    h.reports = records;
    say(1, &h);
    answer(1, 5, PS_MSG_OK);
    ck_assert_uint_eq(watch(9, 50, "wide", 0)->n_reports, PS_REPORTS_MAX);
}
END_TEST

static const char *string(const json_t *object, const char *key)
{
    const json_t *value = json_object_get(object, key);

    ck_assert_msg(json_is_string(value), "%s is no string", key);
    return json_string_value(value);
}

START_TEST(status_shows_the_cluster)
{
    struct ps_job_spec spec = spec_of("lenet", 2);
    struct worker      w = join_as(77, 1, &spec);
    json_t            *status, *one;

    create(&w, 5, "fc1");
    beat(&w, 6, 12);
    wait_for(4 * SECOND);
    status = ask_status(9, 50);
    ck_assert_int_eq(integer(status, "schema_version"), 1);
    ck_assert_str_eq(string(status, "endpoint"), "tcp://127.0.0.1:5570");
    ck_assert_str_eq(string(status, "server_epoch"), "abcdef0123456789");
    ck_assert_int_eq(integer(status, "uptime_seconds"), 4);
    ck_assert_int_eq(integer(status, "bad_messages"), 0);
    ck_assert_int_eq(integer(status, "denied"), 0);

    one = json_array_get(json_object_get(status, "servers"), 0);
    ck_assert_str_eq(string(one, "host"), "host-0");
    ck_assert_int_eq(integer(one, "pid"), 4711);
    ck_assert_str_eq(string(one, "state"), "up");
    ck_assert_uint_eq(json_array_size(json_object_get(one, "shards")), N_SHARDS);

    ck_assert_uint_eq(json_array_size(json_object_get(status, "shards")), N_SHARDS);
    one = json_array_get(json_object_get(status, "shards"), 2);
    ck_assert_int_eq(integer(one, "shard"), 2);
    ck_assert_int_eq(integer(one, "jobs"), 1);
    ck_assert_int_eq(integer(one, "parameter_bytes"), 100);
    ck_assert_int_eq(integer(one, "pushes"), 7);
    ck_assert_int_eq(integer(one, "waiting"), 1);
    ck_assert_int_eq(integer(one, "denied"), 3);
    ck_assert_int_eq(integer(one, "bad_messages"), 4);

    one = json_array_get(json_object_get(status, "jobs"), 0);
    ck_assert_str_eq(string(one, "job"), "lenet");
    ck_assert_str_eq(string(one, "state"), "waiting");
    ck_assert_str_eq(string(one, "strategy"), "bsp");
    ck_assert_int_eq(integer(one, "workers"), 2);
    ck_assert_int_eq(integer(one, "active"), 1);
    ck_assert_int_eq(integer(one, "clock"), 12);
    ck_assert_int_eq(integer(one, "matrices"), 1);
    ck_assert_int_eq(integer(one, "elements"), 4096);
    ck_assert_int_eq(integer(one, "parameter_bytes"), 300);
    ck_assert_int_eq(integer(one, "age_seconds"), 4);

    one = json_array_get(json_object_get(one, "members"), 1);
    ck_assert_str_eq(string(one, "state"), "active");
    ck_assert_str_eq(string(one, "host"), "host-a");
    ck_assert_int_eq(integer(one, "pid"), 77);
    ck_assert_int_eq(integer(one, "silent_seconds"), 4);
    ck_assert_int_eq(integer(one, "incarnation"), 1);
    json_decref(status);
}
END_TEST

START_TEST(status_tells_what_a_matrix_takes_when_all_shards_do)
{
    struct ps_job_spec spec = spec_of("lenet", 2);
    struct worker      w = join_as(77, 1, &spec);
    json_t            *status, *list, *one;

    create(&w, 5, "fc1");
    status = ask_status(9, 50);
    one = json_array_get(json_object_get(status, "jobs"), 0);
    ck_assert_int_eq(integer(one, "parameter_bytes"), 300); /* of the job, once */
    list = json_object_get(one, "matrix_accounts");
    ck_assert_uint_eq(json_array_size(list), 1);
    one = json_array_get(list, 0);
    ck_assert_str_eq(string(one, "matrix"), "fc1");
    ck_assert_str_eq(string(one, "kind"), "dense");
    ck_assert_str_eq(string(one, "dtype"), "f32");
    ck_assert_int_eq(integer(one, "rows") * integer(one, "cols"), 4096);
    ck_assert_int_eq(integer(one, "parameter_bytes"), 120);
    ck_assert_int_eq(integer(one, "state_bytes"), 240);
    json_decref(status);

    n_telling = N_SHARDS - 1;
    status = ask_status(9, 51);
    one = json_array_get(json_object_get(status, "jobs"), 0);
    ck_assert_uint_eq(json_array_size(json_object_get(one, "matrix_accounts")), 0);
    json_decref(status);
}
END_TEST

START_TEST(status_of_many_workers_is_cut_into_frames)
{
    json_t *status;

    for (unsigned i = 0; i < 3; i++) {
        char               name[16];
        struct ps_job_spec spec;

        snprintf(name, sizeof(name), "wide%u", i);
        spec = spec_of(name, PS_WORKERS_MAX);
        join_as(1 + i, 0, &spec);
    }
    status = ask_status(9, 50);
    ck_assert_uint_gt(mail_to(9, 50)->n_frames, 1);
    ck_assert_uint_eq(json_array_size(json_object_get(status, "jobs")), 3);
    json_decref(status);
}
END_TEST

START_TEST(status_does_without_a_shard_that_is_silent)
{
    struct ps_header h = { .kind = PS_MSG_STATUS, .request = 50 };
    json_t          *status;

    shard_mute[1] = true;
    say(9, &h);
    say(9, &h);
    wait_for(SHARD_TIMEOUT);
    answer(9, 50, PS_MSG_STATUS_OK);
    status = ask_status(9, 51);
    ck_assert_str_eq(
        string(json_array_get(json_object_get(status, "shards"), 1), "state"), "lost");
    json_decref(status);
}
END_TEST

/* ---- observers --------------------------------------------------------------------
 */

START_TEST(observer_is_announced_and_does_not_count)
{
    struct ps_job_spec spec = spec_of("lenet", 1);
    struct worker      w = join_as(1, 0, &spec), o = observe(2, "lenet");

    ck_assert_uint_eq(o.rank, OBSERVER);
    ck_assert_uint_eq(told_state(1, OBSERVER), PS_MEMBER_ACTIVE);
    bye(&w, 5, "");
    expect_word("lenet", "finished");
    create(&w, 6, "late");
    expect_error(1, 6, PS_ERR_RANK, "has left");
    create(&o, 7, "fc1");
    expect_error(2, 7, PS_ERR_DENIED, "observer");
    bye(&o, 8, "");
    answer(2, 8, PS_MSG_OK);
    ck_assert_uint_eq(told_state(1, OBSERVER), 0);
    bye(&o, 8, "");
    answer(2, 8, PS_MSG_OK);
}
END_TEST

START_TEST(observer_reads_the_list_of_a_finished_job)
{
    struct ps_job_spec spec = spec_of("lenet", 1);
    struct worker      w = join_as(1, 0, &spec), o;
    struct ps_header   list;

    create(&w, 4, "fc1");
    bye(&w, 5, "");
    o = observe(2, "lenet");
    list = from(&o, PS_MSG_LIST, 9);
    say(2, &list);
    ck_assert_uint_eq(answer(2, 9, PS_MSG_LIST_OK)->n_matrices, 1);
}
END_TEST

START_TEST(observer_of_an_unknown_job_is_refused)
{
    struct ps_header h = {
        .kind = PS_MSG_HELLO, .request = 1, .flags = PS_FLAG_OBSERVER, .name = "nothing"
    };

    say(2, &h);
    expect_error(2, 1, PS_ERR_UNKNOWN, "job nothing: not known here");
}
END_TEST

START_TEST(observers_are_bounded_and_expire)
{
    struct ps_job_spec spec = spec_of("lenet", 1);
    struct worker      w = join_as(1, 0, &spec);
    struct ps_header   h = {
          .kind = PS_MSG_HELLO, .request = 1, .flags = PS_FLAG_OBSERVER, .name = "lenet"
    };

    for (unsigned i = 0; i < 64; i++)
        observe(100 + i, "lenet");
    h.pid = 999;
    say(999, &h);
    expect_error(999, 1, PS_ERR_LIMIT, "64 observers");
    wait_for(SILENCE - SECOND);
    beat(&w, 5, 0);
    wait_for(SECOND);
    ck_assert_uint_eq(told_state(1, OBSERVER), 0);
    ck_assert_uint_eq(told_state(1, 0), PS_MEMBER_ACTIVE);
    observe(999, "lenet");
}
END_TEST

/* ---- who may ask ------------------------------------------------------------------
 */

START_TEST(token_is_asked_of_everyone_who_has_no_session)
{
    static const uint32_t    kinds[] = { PS_MSG_HELLO, PS_MSG_STATUS, PS_MSG_WATCH,
                                         PS_MSG_JOIN };
    static const char *const wrong[] = { "", "secre", "secrets", "Secret" };
    struct ps_job_spec       spec = spec_of("lenet", 1);
    const char *const        endpoint = "tcp://10.0.0.9:7001";
    struct ps_header         h = {
                .name = "lenet",
                .job_spec = &spec,
                .n_endpoints = 1,
                .endpoints = &endpoint,
    };
    json_t *status;

    stop();
    start_with(2, 4, "secret");
    for (unsigned k = 0; k < 4; k++)
        for (unsigned i = 0; i < 4; i++) {
            h.kind = kinds[k];
            h.session = kinds[k] == PS_MSG_JOIN ? 9 : 0;
            h.request = 10 * k + i + 1;
            h.token = wrong[i];
            say(1, &h);
            expect_error(1, h.request, PS_ERR_DENIED, "token");
        }
    h.kind = PS_MSG_HELLO;
    h.session = 0;
    h.request = 99;
    h.token = "secret";
    say(1, &h);
    answer(1, 99, PS_MSG_WELCOME);
    h.kind = PS_MSG_STATUS;
    h.request = 100;
    say(1, &h);
    status = json_loadb((const char *)mail_to(1, 100)->frames[0]->data,
                        mail_to(1, 100)->frames[0]->len, 0, NULL);
    ck_assert_int_eq(integer(status, "denied"), 16);
    json_decref(status);
}
END_TEST

START_TEST(wrong_session_is_denied)
{
    struct ps_job_spec spec = spec_of("lenet", 1);
    struct worker      w = join_as(1, 0, &spec);

    w.session ^= 1;
    beat(&w, 5, 0);
    expect_error(1, 5, PS_ERR_DENIED, "session");
    bye(&w, 6, "");
    expect_error(1, 6, PS_ERR_DENIED, "session");
    w.session = 0;
    w.rank = 0;
    beat(&w, 7, 0);
    expect_error(1, 7, PS_ERR_DENIED, "session");
    w.job = 12;
    beat(&w, 8, 0);
    expect_error(1, 8, PS_ERR_UNKNOWN, "job 12");
}
END_TEST

START_TEST(kinds_that_are_not_for_the_coordinator_are_refused)
{
    static const uint32_t kinds[] = { PS_MSG_JOB_END, PS_MSG_MEMBERS, PS_MSG_STATS,
                                      PS_MSG_PULL,    PS_MSG_PULL_OK, PS_MSG_JOIN_OK };
    struct ps_header      h = { .kind = PS_MSG_OK, .request = 3 };
    json_t               *status;

    for (unsigned i = 0; i < 6; i++) {
        struct ps_header other = { .kind = kinds[i], .request = 10 + i };

        say(1, &other);
        expect_error(1, 10 + i, PS_ERR_BAD_MESSAGE, ps_kind_name(kinds[i]));
    }
    say(1, &h);
    ck_assert_ptr_null(mail_to(1, 3)); /* an answer is never answered */
    status = ask_status(9, 50);
    ck_assert_int_eq(integer(status, "bad_messages"), 7);
    json_decref(status);
}
END_TEST

START_TEST(bad_settings_are_answered_with_the_reason)
{
    struct ps_job_spec spec = spec_of("lenet", 0);

    hello(1, 1, 0, &spec);
    expect_error(1, 1, PS_ERR_BAD_MESSAGE, "workers");
}
END_TEST

START_TEST(close_tells_every_worker)
{
    struct ps_job_spec a = spec_of("a", 1), b = spec_of("b", 1), late = spec_of("c", 1);
    struct worker      w = join_as(1, 0, &a);

    join_as(2, 0, &b);
    observe(3, "b");
    shard_mute[0] = true;
    hello(4, 1, 0, &late);
    psd_coordinator_close(c, "psd on host-0 is ending", &out);
    carry();
    for (unsigned peer = 1; peer <= 4; peer++)
        expect_notice(peer, PS_ERR_CLOSING, "psd on host-0 is ending");
    expect_error(4, 1, PS_ERR_CLOSING, "psd on host-0 is ending");
    beat(&w, 5, 0);
    expect_error(1, 5, PS_ERR_CLOSING, "psd on host-0 is ending");
    bye(&w, 6, "");
    answer(1, 6, PS_MSG_OK);
}
END_TEST

/* ---- damage -----------------------------------------------------------------------
 */

/* A bit of everything; both jobs and an observer are left running. */
static void converse(void)
{
    struct ps_job_spec a = spec_of("a", 2), b = spec_of("b", 1);
    struct worker      a0 = join_as(1, 0, &a), a1 = join_as(2, 1, &a), b0, o;
    struct ps_header   list = from(&a0, PS_MSG_LIST, 20);

    join_psd(1, CONTROL, "tcp://10.0.0.9:7001");
    b0 = join_as(3, 0, &b);
    o = observe(4, "b");
    create(&a0, 5, "fc1");
    create(&a1, 5, "fc1");
    create(&b0, 5, "fc2");
    report(&a0, 6, 1, 3, 0.5);
    beat(&b0, 7, 4);
    beat(&o, 7, 0);
    say(1, &list);
    watch(9, 50, "a", 0);
    json_decref(ask_status(9, 51));
    bye(&a1, 8, "out of data");
}

static void replay(size_t i, const uint8_t *bytes, size_t n)
{
    struct ps_parcel p = { .route = tape[i].route };

    ck_assert_ok(ps_buf_copy(&p.head, bytes, n));
    psd_coordinator_handle(c, now, &p, &out);
    carry();
}

START_TEST(every_truncation_is_survived)
{
    taping = true;
    converse();
    taping = false;
    damaging = true;
    for (size_t i = 0; i < n_tape; i++)
        for (size_t n = 0; n <= tape[i].head->len; n++)
            replay(i, tape[i].head->data, n);
    wait_for(2 * SECOND);
    json_decref(ask_status(9, 60));
}
END_TEST

/* Up to four bytes changed, some moved away or put in. */
static size_t damage(uint64_t k, uint8_t *bytes, size_t n)
{
    for (uint64_t i = 0; i < 1 + k % 4 && n > 0; i++) {
        uint64_t r = ps_random_u64(7, i, k);
        size_t   at = (size_t)(r >> 16) % n;

        if (r % 8 == 0) {
            memmove(bytes + at, bytes + at + 1, n - at - 1);
            n--;
        } else if (r % 8 == 1) {
            memmove(bytes + at + 1, bytes + at, n - at);
            n++;
        } else {
            bytes[at] ^= (uint8_t)(r >> 8 | 1);
        }
    }
    return n;
}

START_TEST(damaged_messages_are_survived)
{
    uint8_t bytes[PS_HEADER_BYTES + 8];

    taping = true;
    converse();
    taping = false;
    damaging = true;
    for (uint64_t k = 0; k < 20000; k++) {
        size_t i = (size_t)ps_random_below(3, 0, k, n_tape);
        size_t n = tape[i].head->len;

        memcpy(bytes, tape[i].head->data, n);
        replay(i, bytes, damage(k, bytes, n));
        if (k % 100 == 0)
            wait_for(SECOND);
    }
    json_decref(ask_status(9, 60));
}
END_TEST

static TCase *tcase(Suite *s, const char *name)
{
    TCase *t = tcase_create(name);

    tcase_add_checked_fixture(t, three_shards, stop);
    suite_add_tcase(s, t);
    return t;
}

static Suite *coordinator_suite(void)
{
    Suite *s = suite_create("coordinator");
    TCase *t = tcase(s, "coming");

    tcase_add_test(t, first_worker_creates_the_job_and_is_welcome);
    tcase_add_test(t, welcome_waits_until_every_shard_has_said_ok);
    tcase_add_test(t, workers_that_come_together_share_a_round);
    tcase_add_test(t, sessions_differ_and_are_never_zero);
    tcase_add_test(t, large_job_is_told_in_pieces);
    tcase_add_test(t, other_settings_are_a_mismatch);
    tcase_add_test(t, other_worker_count_is_a_mismatch);
    tcase_add_test(t, rank_must_be_below_the_worker_count);
    tcase_add_test(t, rank_is_taken_once);
    tcase_add_test(t, same_hello_again_gets_the_same_welcome);
    tcase_add_test(t, shards_learn_the_run_and_the_life_of_a_job);
    tcase_add_test(t, runs_and_epochs_of_jobs_differ);
    tcase_add_test(t, beat_is_answered_with_the_epoch_of_the_job);
    tcase_add_test(t, clock_of_another_life_does_not_count);
    tcase_add_test(t, member_that_says_hello_again_stays_who_it_was);
    tcase_add_test(t, observer_that_says_hello_again_is_admitted_anew);
    tcase_add_test(t, same_hello_while_pending_is_answered_once);
    tcase_add_test(t, jobs_do_not_see_each_other);
    tcase_add_test(t, jobs_are_bounded);

    t = tcase(s, "matrices");
    tcase_add_test(t, two_workers_create_a_matrix_once);
    tcase_add_test(t, shards_and_workers_get_the_same_placement);
    tcase_add_test(t, small_matrices_go_to_different_shards);
    tcase_add_test(t, sparse_matrix_fits_a_header);
    tcase_add_test(t, other_shape_of_a_matrix_is_refused);
    tcase_add_test(t, unknown_matrix_is_named);
    tcase_add_test(t, shard_that_refuses_undoes_the_creation);
    tcase_add_test(t, matrices_are_listed_in_byte_order_in_pieces);

    t = tcase(s, "going");
    tcase_add_test(t, job_is_finished_when_all_have_left_and_its_name_is_free);
    tcase_add_test(t, goodbye_is_answered_when_the_shards_know);
    tcase_add_test(t, rank_that_left_joins_the_running_job_again);
    tcase_add_test(t, one_that_joins_begins_at_the_clock_of_the_furthest_shard);
    tcase_add_test(t, shards_at_the_same_clock_are_told_once);
    tcase_add_test(t, one_that_is_lost_before_its_welcome_may_join_again);
    tcase_add_test(t, what_earlier_incarnations_moved_still_counts);
    tcase_add_test(t, quick_worker_that_left_does_not_end_the_job_for_the_one_expected);
    tcase_add_test(t, new_run_begins_when_a_rank_comes_again_to_an_empty_job);
    tcase_add_test(t, job_that_nobody_comes_to_ends);
    tcase_add_test(t, finished_jobs_are_kept_up_to_a_number);

    t = tcase(s, "silence");
    tcase_add_test(t, silent_worker_is_lost_and_the_others_go_on);
    tcase_add_test(t, silent_worker_is_waited_for_and_may_come_back);
    tcase_add_loop_test(t, lost_worker_joins_again_whatever_the_others_do, 0, 2);
    tcase_add_test(t, job_that_waits_for_its_lost_workers_is_not_over);
    tcase_add_test(t, silent_worker_aborts_the_job);
    tcase_add_test(t, sleep_of_the_coordinator_is_nobodys_silence);
    tcase_add_test(t, sleep_that_a_message_ends_is_nobodys_silence_either);
    tcase_add_test(t, time_without_anything_to_watch_is_no_sleep);
    tcase_add_test(t, goodbye_with_a_reason_is_a_loss);
    tcase_add_test(t, lost_worker_leaves_an_expected_one_nothing_to_join);
    tcase_add_test(t, nothing_to_watch_needs_no_tick);

    t = tcase(s, "shards");
    tcase_add_test(t, silent_shard_is_asked_again_with_the_same_bytes);
    tcase_add_test(t, answers_that_come_twice_count_once);
    tcase_add_test(t, shard_lost_in_a_creation_fails_the_hello_and_nothing_stays);
    tcase_add_test(t, lost_shard_fails_its_jobs);
    tcase_add_test(t, lost_shard_does_not_keep_a_job_that_is_dropped);
    tcase_add_test(t, shard_that_is_heard_again_serves_new_jobs);
    tcase_add_test(t, psd_joins_once_and_new_jobs_use_its_shards);
    tcase_add_test(t, silent_psd_loses_its_shards);
    tcase_add_test(t, sleep_of_the_coordinator_loses_neither_psds_nor_shards);
    tcase_add_test(t, psd_that_parts_loses_its_shards_at_once);
    tcase_add_test(t, psd_started_again_replaces_the_one_before);
    tcase_add_test(t, cluster_without_shards_says_so);

    t = tcase(s, "reports and status");
    tcase_add_test(t, reports_are_numbered_and_taken_once);
    tcase_add_test(t, an_observer_may_report);
    tcase_add_test(t, oldest_reports_make_way);
    tcase_add_test(t, watch_fits_a_header_at_its_largest);
    tcase_add_test(t, status_shows_the_cluster);
    tcase_add_test(t, status_tells_what_a_matrix_takes_when_all_shards_do);
    tcase_add_test(t, status_of_many_workers_is_cut_into_frames);
    tcase_add_test(t, status_does_without_a_shard_that_is_silent);

    t = tcase(s, "observers");
    tcase_add_test(t, observer_is_announced_and_does_not_count);
    tcase_add_test(t, observer_reads_the_list_of_a_finished_job);
    tcase_add_test(t, observer_of_an_unknown_job_is_refused);
    tcase_add_test(t, observers_are_bounded_and_expire);

    t = tcase(s, "who may ask");
    tcase_add_test(t, token_is_asked_of_everyone_who_has_no_session);
    tcase_add_test(t, wrong_session_is_denied);
    tcase_add_test(t, kinds_that_are_not_for_the_coordinator_are_refused);
    tcase_add_test(t, bad_settings_are_answered_with_the_reason);
    tcase_add_test(t, close_tells_every_worker);

    t = tcase(s, "damage");
    tcase_add_test(t, every_truncation_is_survived);
    tcase_add_test(t, damaged_messages_are_survived);
    return s;
}

TEST_MAIN(coordinator_suite)
