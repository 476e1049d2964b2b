/*
 * A model that moves layer by layer, against servers that the test plays: every order
 * in which the caller's steps and the servers' answers can meet is tried, and in none
 * of them is a layer written while it is read.
 */
#include "tests/unit/suite.h"

#include "common/base/random.h"
#include "worker/layers.h"

#include <stdio.h>

enum { LAYERS_MAX = 3, ELEMENTS = 2, FLIGHTS_MAX = 64, CHOICES_MAX = 128 };

static struct psw_client *client;
static struct psw_layers  layers;
static struct psw_span    spans[LAYERS_MAX];
static struct ps_outbox   out;
static struct ps_decoder *decoder;
static uint64_t           now;

static float value[LAYERS_MAX][ELEMENTS], grad[LAYERS_MAX][ELEMENTS];

/* ---- the test as server --------------------------------------------------------- */

/* A request that has left, or one that was answered and may be answered again. */
struct flight {
    struct ps_route route;
    uint64_t        request, clock;
    uint32_t        kind, flags, parts, n_ranges;
    uint64_t        matrix; /* number of the first */
};

static struct flight flights[FLIGHTS_MAX];
static uint32_t      n_flights;
static float         next_value; /* nobody ever gets the same one twice */

static void collect(void)
{
    for (size_t i = 0; i < out.n; i++) {
        struct ps_header h;

        ck_assert_ok(ps_wire_decode(decoder, out.parcels[i].head->data,
                                    out.parcels[i].head->len, &h));
        ck_assert_uint_lt(n_flights, FLIGHTS_MAX);
        flights[n_flights++] =
            (struct flight){ .route = out.parcels[i].route,
                             .request = h.request,
                             .clock = h.clock,
                             .kind = h.kind,
                             .flags = h.flags,
                             .parts = h.parts,
                             .n_ranges = h.n_ranges,
                             .matrix = h.n_ranges ? h.ranges[0].matrix : 0 };
    }
    ps_outbox_clear(&out);
}

static void give(struct ps_route from, struct ps_header *h, const void *payload,
                 size_t bytes)
{
    struct ps_parcel p = { .route = from };

    h->text = h->name = h->token = "";
    ck_assert_ok(ps_wire_encode(h, &p.head));
    if (bytes)
        ck_assert_ok(ps_buf_copy(&p.frames[p.n_frames++], payload, bytes));
    psw_client_handle(client, now, &p, &out);
}

/* As a server under asp would, with values that are new each time: another worker
 * pushes without a pause. */
static void answer(const struct flight *f)
{
    struct ps_header h = { .request = f->request, .kind = PS_MSG_PUSH_OK };
    float            fresh[LAYERS_MAX * ELEMENTS];

    for (int i = 0; i < LAYERS_MAX * ELEMENTS; i++)
        fresh[i] = ++next_value;
    if (f->kind == PS_MSG_PULL)
        h.kind = PS_MSG_PULL_OK;
    give(f->route, &h, fresh,
         f->kind == PS_MSG_PULL ? f->n_ranges * sizeof(value[0]) : 0);
}

static void land(uint32_t i)
{
    struct flight f = flights[i];

    memmove(flights + i, flights + i + 1, (--n_flights - i) * sizeof(f));
    answer(&f);
    collect();
}

static void refuse(uint32_t i, ps_status status)
{
    struct ps_header h = { .request = flights[i].request, .kind = PS_MSG_ERROR };
    struct ps_route  from = flights[i].route;

    h.status = status;
    memmove(flights + i, flights + i + 1, (--n_flights - i) * sizeof(flights[0]));
    give(from, &h, NULL, 0);
    collect();
}

/* ---- a worker with a model ------------------------------------------------------ */

static const char *const endpoints[] = { "tcp://10.0.0.1:1", "tcp://10.0.0.2:2" };

static void join(uint32_t n_shards, uint32_t strategy)
{
    struct psw_client_options options = { .job = ps_job_spec_default(),
                                          .coordinator = "tcp://10.0.0.1:5570",
                                          .token = "",
                                          .host = "here",
                                          .first_request = 1 };
    struct ps_header          welcome = { .kind = PS_MSG_WELCOME, .session = 1 };
    struct ps_ticket         *t;

    strcpy(options.job.name, "layers");
    options.job.strategy = strategy;
    options.job.workers = 2;
    ck_assert_ok(psw_client_new(&client, &options));
    ck_assert_ok(psw_client_hello(client, now, &out, &t));
    collect();
    welcome.request = flights[--n_flights].request;
    welcome.n_endpoints = n_shards;
    welcome.endpoints = endpoints;
    welcome.job_spec = &options.job;
    give(flights[n_flights].route, &welcome, NULL, 0);
    ck_assert_ok(psw_ticket_result(t));
    psw_ticket_drop(&t);
}

static ps_matrix *opened(uint32_t number, uint32_t shard)
{
    struct ps_matrix_spec spec = { .dtype = PS_F32, .rows = 1, .cols = ELEMENTS };
    struct ps_slot_run    run = { shard, 1 };
    struct ps_header      h = { .kind = PS_MSG_MATRIX_OK };
    struct ps_ticket     *t;
    ps_matrix            *m;

    snprintf(spec.name, sizeof(spec.name), "m%u", number);
    ck_assert_ok(psw_client_matrix(client, now, &spec, true, &out, &t));
    collect();
    spec.number = number;
    h.request = flights[--n_flights].request;
    h.n_matrices = 1;
    h.matrices = &spec;
    h.n_slot_runs = 1;
    h.slot_runs = &run;
    give(flights[n_flights].route, &h, NULL, 0);
    ck_assert_ok(psw_ticket_result(t));
    m = psw_ticket_matrix(t);
    psw_ticket_drop(&t);
    return m;
}

/* Each layer has one matrix; they go round the shards. */
static void set_up(uint32_t n_layers, uint32_t n_shards, uint32_t strategy)
{
    n_flights = 0;
    join(n_shards, strategy);
    for (uint32_t l = 0; l < n_layers; l++) {
        psw_layers_begin(&layers);
        spans[l] = (struct psw_span){ .matrix = opened(l + 1, l % n_shards),
                                      .count = ELEMENTS,
                                      .value = value[l],
                                      .gradient = grad[l] };
        ck_assert_ok(psw_layers_add(&layers, l));
    }
    ck_assert_uint_eq(layers.n, n_layers);
}

static void tear_down(void)
{
    psw_layers_free(&layers);
    psw_client_free(&client);
    ps_outbox_clear(&out);
}

static ps_status ready(uint32_t l)
{
    ps_status st = psw_layers_ready(&layers, l, client, spans, now, &out);

    collect();
    return st;
}

static ps_status ask(void)
{
    ps_status st = psw_layers_ask(&layers, client, spans, now, &out);

    collect();
    return st;
}

static bool is_done(struct ps_ticket **t)
{
    return !t || psw_ticket_done(*t);
}

static bool may_take(uint32_t l)
{
    return is_done(psw_layers_push(&layers, l)) && is_done(psw_layers_pull(&layers, l));
}

static void take(uint32_t l)
{
    struct ps_ticket **tickets[] = { psw_layers_push(&layers, l),
                                     psw_layers_pull(&layers, l) };

    for (int i = 0; i < 2; i++)
        if (tickets[i]) {
            ck_assert_ok(psw_ticket_result(*tickets[i]));
            psw_ticket_drop(tickets[i]);
        }
    psw_layers_take(&layers, l);
}

/* Everything is answered, and every layer taken. */
static void take_all(void)
{
    ck_assert_ok(ask());
    while (n_flights > 0)
        land(0);
    for (uint32_t l = 0; l < layers.n; l++)
        take(l);
}

/* ---- every order ---------------------------------------------------------------- */

/*
 * A run is a row of choices: at each point, whether the worker goes on (if it need not
 * wait) or which request is answered, or (once a run) an answer that comes again.  The
 * next run makes another choice at the last point where there is one left.
 */
static struct {
    uint32_t taken[CHOICES_MAX], of[CHOICES_MAX], n, at;
    bool     random; /* instead, from seed */
    uint64_t seed, draws;
} path;

static uint32_t choose(uint32_t of)
{
    if (path.random)
        return (uint32_t)ps_random_below(path.seed, 1, path.draws++, of);
    ck_assert_uint_lt(path.at, CHOICES_MAX);
    if (path.at == path.n) {
        path.taken[path.n] = 0;
        path.of[path.n++] = of;
    }
    ck_assert_uint_eq(path.of[path.at], of); /* a run repeats itself */
    return path.taken[path.at++];
}

static bool next_path(void)
{
    path.at = 0;
    while (path.n > 0 && path.taken[path.n - 1] + 1 == path.of[path.n - 1])
        path.n--;
    if (path.n == 0)
        return false;
    path.taken[path.n - 1]++;
    return true;
}

/* The steps of a worker: forward through all layers, back through all layers. */
struct worker {
    uint32_t      step, n_steps;
    float         seen[LAYERS_MAX][ELEMENTS];
    struct flight again; /* a pull that was answered, kind 0: none */
    uint32_t      repeats;
};

static void assert_untouched(const struct worker *w)
{
    for (uint32_t l = 0; l < layers.n; l++)
        if (psw_layers_is_here(&layers, l))
            ck_assert_msg(memcmp(w->seen[l], value[l], sizeof(value[l])) == 0,
                          "layer %u was written while it was read, step %u", l,
                          w->step);
}

static bool waits(uint32_t step, uint32_t *layer)
{
    step %= 2 * layers.n;
    *layer = step < layers.n ? step : 2 * layers.n - 1 - step;
    return step < layers.n;
}

static bool may_step(const struct worker *w)
{
    uint32_t l;

    return w->step < w->n_steps && (!waits(w->step, &l) || may_take(l));
}

static void step(struct worker *w)
{
    uint32_t l;

    if (waits(w->step, &l)) {
        take(l);
        memcpy(w->seen[l], value[l], sizeof(value[l]));
    } else {
        ck_assert_ok(ready(l));
    }
    w->step++;
}

static void run(uint32_t n_layers, uint32_t n_shards, uint32_t iterations,
                uint32_t repeats)
{
    struct worker w = { .n_steps = iterations * 2 * n_layers, .repeats = repeats };

    set_up(n_layers, n_shards, PS_ASP);
    ck_assert_ok(ask());
    for (;;) {
        uint32_t may = may_step(&w) ? 1 : 0;
        uint32_t again = w.again.kind && w.repeats > 0 ? 1 : 0;
        uint32_t of = may + n_flights + again, which;

        if (of == 0 || (w.step == w.n_steps && !again))
            break;
        which = choose(of);
        if (which < may) {
            step(&w);
        } else if (which < may + n_flights) {
            if (flights[which - may].kind == PS_MSG_PULL)
                w.again = flights[which - may];
            land(which - may);
        } else {
            w.repeats--;
            answer(&w.again);
            collect();
        }
        assert_untouched(&w);
    }
    ck_assert_uint_eq(w.step, w.n_steps); /* and it never hangs */
    ck_assert_uint_eq(psw_client_clock(client), iterations);
    tear_down();
}

static const struct {
    uint32_t layers, shards, iterations, repeats;
} sizes[] = {
    { 1, 1, 3, 1 }, { 2, 1, 2, 0 }, { 2, 1, 1, 1 }, { 2, 2, 1, 1 }, { 3, 1, 1, 0 },
};

START_TEST(no_layer_is_written_while_it_is_read_in_any_order)
{
    uint64_t runs = 0;

    memset(&path, 0, sizeof(path));
    do {
        run(sizes[_i].layers, sizes[_i].shards, sizes[_i].iterations,
            sizes[_i].repeats);
        runs++;
    } while (next_path());
    ck_assert_uint_gt(runs, 50);
}
END_TEST

/* Larger ones, which have too many orders for all of them. */
START_TEST(no_layer_is_written_while_it_is_read_in_orders_at_random)
{
    memset(&path, 0, sizeof(path));
    path.random = true;
    for (path.seed = 1; path.seed <= 500; path.seed++) {
        path.draws = 0;
        run(3, 1 + path.seed % 2, 6, 10);
    }
}
END_TEST

/* ---- what leaves, and when ------------------------------------------------------ */

START_TEST(gradients_leave_when_their_layer_is_ready)
{
    set_up(3, 1, PS_BSP);
    take_all();
    ck_assert_ok(ready(2));
    ck_assert_uint_eq(n_flights, 1);
    ck_assert_uint_eq(flights[0].kind, PS_MSG_PUSH);
    ck_assert_uint_eq(flights[0].matrix, 3);
    ck_assert_uint_eq(flights[0].clock, 1);
    ck_assert_uint_eq(flights[0].flags & PS_FLAG_FINISH, 0);
    ck_assert(psw_layers_midway(&layers));
    ck_assert_ok(ready(0)); /* in any order */
    ck_assert_uint_eq(n_flights, 2);
    ck_assert_uint_eq(flights[1].matrix, 1);
    ck_assert_uint_eq(psw_client_clock(client), 0);
}
END_TEST

START_TEST(last_layer_ends_the_iteration_and_values_are_asked_for_in_forward_order)
{
    set_up(3, 1, PS_BSP);
    take_all();
    for (uint32_t l = 3; l-- > 0;)
        ck_assert_ok(ready(l));
    ck_assert_uint_eq(psw_client_clock(client), 1);
    ck_assert(!psw_layers_midway(&layers));
    ck_assert_uint_eq(n_flights,
                      6); /* with it, in the same message: the window is full */
    ck_assert_uint_eq(flights[2].matrix, 1);
    ck_assert_uint_ne(flights[2].flags & PS_FLAG_FINISH, 0);
    ck_assert_uint_eq(flights[2].parts, 3);
    while (flights[0].kind == PS_MSG_PUSH) /* pulls that wait make room for nobody */
        land(0);
    ck_assert_uint_eq(n_flights, 3);
    for (uint32_t l = 0; l < 3; l++) {
        ck_assert_uint_eq(flights[l].kind, PS_MSG_PULL);
        ck_assert_uint_eq(flights[l].matrix, l + 1);
        ck_assert_uint_eq(flights[l].clock, 1);
    }
}
END_TEST

START_TEST(under_backup_the_gradients_leave_together)
{
    set_up(3, 1, PS_BACKUP);
    take_all();
    ck_assert_ok(ready(2));
    ck_assert_ok(ready(1));
    ck_assert_uint_eq(n_flights, 0);
    ck_assert_ok(ready(0));
    ck_assert_uint_eq(n_flights, 4);
    ck_assert_uint_eq(flights[0].kind, PS_MSG_PUSH);
    ck_assert_uint_eq(flights[0].n_ranges, 3);
    ck_assert_uint_eq(flights[0].parts, 1);
}
END_TEST

START_TEST(matrices_of_a_layer_travel_together)
{
    set_up(3, 1, PS_BSP); /* and again with layers of 2 and 1 */
    psw_layers_free(&layers);
    psw_layers_begin(&layers); /* before the first: no layer without matrices */
    ck_assert_ok(psw_layers_add(&layers, 0));
    ck_assert_uint_eq(psw_layers_of(&layers, 1), 0);
    ck_assert_ok(psw_layers_add(&layers, 1));
    psw_layers_begin(&layers);
    psw_layers_begin(&layers);
    ck_assert_uint_eq(psw_layers_of(&layers, 2), 1);
    ck_assert_ok(psw_layers_add(&layers, 2));
    ck_assert_uint_eq(layers.n, 2);
    ck_assert_uint_eq(psw_layers_of(&layers, 1), 0);
    ck_assert_uint_eq(psw_layers_of(&layers, 2), 1);
    take_all();
    ck_assert_ok(ready(0));
    ck_assert_uint_eq(n_flights, 1);
    ck_assert_uint_eq(flights[0].n_ranges, 2);
}
END_TEST

/* ---- what is refused ------------------------------------------------------------ */

START_TEST(misuse_is_named_and_changes_nothing)
{
    set_up(2, 1, PS_BSP);
    ck_assert_status(psw_layers_check(&layers, 2), PS_ERR_BAD_ARG);
    ck_assert_why("model: layer 2, expected 0 to 1");
    ck_assert_status(ready(1), PS_ERR_BAD_ARG);
    ck_assert_why("layer 1 is made ready, but was not waited for");
    ck_assert_ok(ask());
    ck_assert_status(psw_layers_at_rest(&layers), PS_ERR_BAD_ARG);
    ck_assert_why("layer 0 is on its way");
    take_all();
    ck_assert_ok(psw_layers_at_rest(&layers));
    ck_assert_ok(ready(1));
    ck_assert_status(ready(1), PS_ERR_BAD_ARG);
    ck_assert_why("layer 1 was made ready before");
    ck_assert_status(psw_layers_may_wait(&layers, 1), PS_ERR_BAD_ARG);
    ck_assert_why("layer 1 is waited for, but 1 of 2 layers are not ready yet");
    ck_assert_status(psw_layers_at_rest(&layers), PS_ERR_BAD_ARG);
    ck_assert_why("layer 1 is ready and others are not");
    ck_assert_uint_eq(n_flights, 1);
    spans[0].gradient = NULL;
    ck_assert_status(ready(0), PS_ERR_BAD_ARG);
    ck_assert_why("matrix m1, which was added without gradients");
    spans[0].gradient = grad[0];
    ck_assert_ok(ready(0));
    ck_assert_status(psw_layers_may_end(&layers, 0), PS_ERR_BAD_ARG);
    ck_assert_why("did not wait for layer 0 of 2");
}
END_TEST

START_TEST(pull_that_failed_is_asked_for_again_and_alone)
{
    struct ps_ticket **t;

    set_up(2, 1, PS_BSP);
    ck_assert_ok(ask());
    refuse(1, PS_ERR_TIMEOUT);
    land(0);
    take(0);
    value[0][0] = 77;
    t = psw_layers_pull(&layers, 1);
    ck_assert_status(psw_ticket_result(*t), PS_ERR_TIMEOUT);
    psw_ticket_drop(t);
    ck_assert_ok(ask());
    ck_assert_uint_eq(n_flights, 1);
    ck_assert_uint_eq(flights[0].matrix, 2);
    land(0);
    take(1);
    ck_assert(value[0][0] == 77);
}
END_TEST

START_TEST(after_a_rollback_no_layer_is_midway_and_all_are_asked_for)
{
    struct ps_header h = { .kind = PS_MSG_NOTICE, .status = PS_ERR_ROLLBACK };
    float            before[LAYERS_MAX][ELEMENTS];
    struct flight    hello;

    set_up(3, 1, PS_ASP);
    take_all();
    ck_assert_ok(ready(2)); /* its push is on its way */
    ck_assert(psw_layers_midway(&layers));
    give((struct ps_route){ .kind = PS_ROUTE_COORDINATOR }, &h, NULL, 0);
    collect();
    hello = flights[n_flights - 1];
    ck_assert_uint_eq(hello.kind, PS_MSG_HELLO);
    psw_layers_restart(&layers);
    ck_assert(!psw_layers_midway(&layers));
    ck_assert_ok(psw_layers_at_rest(&layers));
    memcpy(before, value, sizeof(before));
    while (n_flights > 1) /* answers of the old life */
        land(0);
    ck_assert_mem_eq(before, value, sizeof(before));
    for (uint32_t l = 0; l < 3; l++) {
        ck_assert_ok(psw_layers_may_wait(&layers, l));
        ck_assert(!psw_layers_is_here(&layers, l));
        ck_assert_ptr_null(psw_layers_pull(&layers, l));
        ck_assert_ptr_null(psw_layers_push(&layers, l));
    }
    ck_assert_ok(ask());
    for (uint32_t l = 0; l < 3; l++)
        ck_assert_ptr_nonnull(psw_layers_pull(&layers, l));
}
END_TEST

static void begin(void)
{
    now = 1000000000;
    ck_assert_ok(ps_decoder_new(&decoder));
}

static void end(void)
{
    tear_down();
    ps_outbox_free(&out);
    ps_decoder_free(&decoder);
}

static Suite *suite(void)
{
    Suite *s = suite_create("layers");
    TCase *t = tcase_create("layers");

    tcase_add_checked_fixture(t, begin, end);
    tcase_add_loop_test(t, no_layer_is_written_while_it_is_read_in_any_order, 0,
                        sizeof(sizes) / sizeof(sizes[0]));
    tcase_add_test(t, no_layer_is_written_while_it_is_read_in_orders_at_random);
    tcase_add_test(t, gradients_leave_when_their_layer_is_ready);
    tcase_add_test(
        t, last_layer_ends_the_iteration_and_values_are_asked_for_in_forward_order);
    tcase_add_test(t, under_backup_the_gradients_leave_together);
    tcase_add_test(t, matrices_of_a_layer_travel_together);
    tcase_add_test(t, misuse_is_named_and_changes_nothing);
    tcase_add_test(t, pull_that_failed_is_asked_for_again_and_alone);
    tcase_add_test(t, after_a_rollback_no_layer_is_midway_and_all_are_asked_for);
    suite_add_tcase(s, t);
    return s;
}

TEST_MAIN(suite)
