/*
 * Whole operations while memory runs out, once, at every place where it can: what fails
 * says so, leaves nothing behind, and works when it is tried again.
 */
#include "common/config/config.h"
#include "server/shard/request.h"
#include "tests/unit/failing.h"
#include "tests/unit/suite.h"

#include <ps/worker.h>

#include <math.h>
#include <stdio.h>
#include <unistd.h>

/* ---- configuration ------------------------------------------------------------- */

static char file[] = "/tmp/psd-allocation-XXXXXX",
            labels[] = "/tmp/psd-allocation-XXXXXX";

static void write_file(char *name, const void *bytes, size_t n)
{
    int fd;

    strcpy(name + strlen(name) - 6, "XXXXXX");
    fd = mkstemp(name);
    ck_assert_int_ge(fd, 0);
    ck_assert_int_eq(write(fd, bytes, n), (ssize_t)n);
    close(fd);
}

static ps_status load_daemon(void)
{
    static const char *const sets[] = { "shards=3", "log_level=debug" };
    struct ps_daemon_config *c;
    ps_status                st = ps_daemon_config_load(&c, file, sets, 2);

    if (st)
        return st;
    failing_pause(); /* Check's assertions take memory */
    ck_assert_uint_eq(c->shards, 3);
    ck_assert_str_eq(c->listen, "tcp://127.0.0.1:7");
    ps_daemon_config_free(&c);
    return PS_OK;
}

START_TEST(daemon_config_loads_or_says_that_there_is_no_memory)
{
    static const char text[] = "listen: tcp://127.0.0.1:7\ntoken: \"x\"\n";

    write_file(file, text, sizeof(text) - 1);
    failing_everywhere(load_daemon);
    unlink(file);
}
END_TEST

static const char experiment[] = "name: one\nworkers: {count: 3, command: lenet}\n"
                                 "job: {strategy: ssp, slack: 2}\n"
                                 "optimiser: {name: adam, lr: 0.5}\n"
                                 "model: {hidden: [3, 4], word: x}\n";

static ps_status load_experiment(void)
{
    struct ps_experiment *e;
    ps_status st = ps_experiment_parse(&e, "text", experiment, sizeof(experiment) - 1);

    if (st)
        return st;
    failing_pause(); /* Check's assertions take memory */
    ck_assert_uint_eq(e->workers, 3);
    ck_assert_uint_eq(e->n_model, 2);
    ck_assert_str_eq(e->model[0].value, "3,4");
    ps_experiment_free(&e);
    return PS_OK;
}

START_TEST(experiment_loads_or_says_that_there_is_no_memory)
{
    failing_everywhere(load_experiment);
}
END_TEST

static struct ps_experiment *loaded;
static char                  sink[65536];

static ps_status print_experiment(void)
{
    FILE     *to;
    ps_status st;

    failing_pause();
    to = fmemopen(sink, sizeof(sink), "w");
    ck_assert_ptr_nonnull(to);
    setvbuf(to, NULL, _IONBF, 0);
    failing_resume();
    st = ps_experiment_print(loaded, to);
    failing_pause();
    fclose(to);
    failing_resume();
    return st;
}

START_TEST(experiment_prints_or_says_that_there_is_no_memory)
{
    ck_assert_ok(
        ps_experiment_parse(&loaded, "text", experiment, sizeof(experiment) - 1));
    failing_everywhere(print_experiment);
    ps_experiment_free(&loaded);
}
END_TEST

static ps_status load_settings(void)
{
    ps_settings      *settings;
    ps_train_settings train;
    ps_status         st = ps_settings_parse(&settings, experiment);

    if (st)
        return st;
    failing_pause();
    ps_settings_train(settings, &train);
    ck_assert_uint_eq(train.workers, 3);
    ps_settings_free(&settings);
    return PS_OK;
}

START_TEST(settings_load_or_say_that_there_is_no_memory)
{
    failing_everywhere(load_settings);
}
END_TEST

/* ---- data sets ----------------------------------------------------------------- */

static ps_status look_at_data(ps_status st, ps_data **data, uint64_t n)
{
    ps_batch batch;

    if (st)
        return st;
    failing_pause(); /* Check's assertions take memory */
    ck_assert_uint_eq(ps_data_n(*data), n);
    failing_resume();
    st = ps_data_partition(*data, PS_PARTITION_DISJOINT_RANDOM);
    if (!st)
        st = ps_data_batch(*data, 1, 0, 1, 1, 5, &batch);
    ps_data_close(data);
    return st;
}

static ps_status open_csv(void)
{
    ps_data *data;

    return look_at_data(ps_data_open_csv(&data, file, -1, 0, 0), &data, 3);
}

START_TEST(csv_opens_or_says_that_there_is_no_memory)
{
    static const char text[] = "1,2,0\n3,4,1\n5,6,1\n";

    write_file(file, text, sizeof(text) - 1);
    failing_everywhere(open_csv);
    unlink(file);
}
END_TEST

static ps_status open_libsvm(void)
{
    ps_data *data;

    return look_at_data(ps_data_open_libsvm(&data, file, 0), &data, 2);
}

START_TEST(libsvm_opens_or_says_that_there_is_no_memory)
{
    static const char text[] = "1 1:2 5:3\n-1 2:4\n";

    write_file(file, text, sizeof(text) - 1);
    failing_everywhere(open_libsvm);
    unlink(file);
}
END_TEST

static ps_status open_idx(void)
{
    ps_data *data;

    return look_at_data(ps_data_open_idx(&data, file, labels, 0), &data, 2);
}

START_TEST(idx_opens_or_says_that_there_is_no_memory)
{
    static const uint8_t images[] = { 0, 0, 8, 2, 0, 0, 0, 2, 0, 0, 0, 2, 1, 2, 3, 4 };
    static const uint8_t classes[] = { 0, 0, 8, 1, 0, 0, 0, 2, 0, 1 };

    write_file(file, images, sizeof(images));
    write_file(labels, classes, sizeof(classes));
    failing_everywhere(open_idx);
    unlink(file);
    unlink(labels);
}
END_TEST

/* ---- a shard ------------------------------------------------------------------- */

#define CONTROL 7u
#define SESSION(rank) (10u + (rank))
#define WORKERS 2u
#define ITERATIONS 3u
#define ELEMENTS 9000u /* two slots and more */
#define ROWS 40u
#define COLS 3u

static struct psd_shard  *shard;
static struct ps_outbox   out;
static struct ps_decoder *reader;
static struct ps_job_spec job;
static uint64_t           last_request;
static double             pulled[ROWS * COLS > ELEMENTS ? ROWS *COLS : ELEMENTS];

/* What the shard counts as done: a push that fails may not change it. */
static uint64_t done_by(void)
{
    uint64_t done = 0;

    for (size_t i = 0; i < shard->n_jobs; i++) {
        done += shard->jobs[i]->version;
        for (uint32_t r = 0; r < job.workers; r++)
            done += 100 * shard->jobs[i]->seats[r].window.low;
    }
    return done;
}

/* One message, whose buffers are the test's.  Gives the kind of the answer; 0: none. */
static uint32_t give(uint32_t rank, const struct ps_header *h, const void *frames[2],
                     const size_t bytes[2], ps_status *status)
{
    struct ps_parcel p = { .route = { .kind = PS_ROUTE_PEER, .bytes = 1 } };
    struct ps_header a;
    uint32_t         kind = 0;

    p.route.id[0] = (uint8_t)rank;
    ck_assert_ok(ps_wire_encode(h, &p.head));
    for (unsigned i = 0; i < 2; i++)
        if (frames && frames[i])
            ck_assert_ok(ps_buf_copy(&p.frames[p.n_frames++], frames[i], bytes[i]));
    failing_resume();
    psd_shard_handle(shard, 1, &p, &out);
    failing_pause();
    for (size_t i = 0; i < out.n; i++) {
        size_t at = 0;

        ck_assert_ok(ps_wire_decode(reader, out.parcels[i].head->data,
                                    out.parcels[i].head->len, &a));
        if (a.request != h->request)
            continue;
        ck_assert_uint_eq(kind, 0); /* one answer to a request */
        kind = a.kind;
        *status = a.status;
        for (uint32_t k = 0; k < out.parcels[i].n_frames; k++) {
            const struct ps_buf *frame = out.parcels[i].frames[k];

            ck_assert_uint_le(at + frame->len, sizeof(pulled));
            memcpy((char *)pulled + at, frame->data, frame->len);
            at += frame->len;
        }
    }
    ps_outbox_clear(&out);
    return kind;
}

/* Sends it until it is done, as an asker does; once is enough where memory is. */
static void ask(uint32_t rank, struct ps_header *h, const void *frames[2],
                const size_t bytes[2], uint32_t expected)
{
    ps_status status = PS_OK;
    uint32_t  kind = 0;

    h->job = 1;
    for (unsigned tries = 0; kind != expected && tries < 3; tries++) {
        uint64_t before = done_by();

        h->request = ++last_request;
        kind = give(rank, h, frames, bytes, &status);
        if (kind == PS_MSG_ERROR && status == PS_ERR_STALE && job.strategy == PS_BACKUP)
            return; /* the iteration is over without it */
        if (kind == PS_MSG_ERROR) {
            ck_assert_int_eq(status, PS_ERR_NO_MEMORY);
            if (h->kind == PS_MSG_PUSH)
                ck_assert_uint_eq(done_by(), before);
        }
    }
    ck_assert_msg(kind == expected, "%s of worker %u: %s (%s)", ps_kind_name(h->kind),
                  rank, ps_kind_name(kind), ps_log_last_error());
}

static void ask_control(struct ps_header *h)
{
    h->session = CONTROL;
    ask(99, h, NULL, NULL, PS_MSG_OK);
}

static void add_matrix(uint32_t number, uint32_t dtype, bool sparse)
{
    struct ps_matrix_spec spec = { .number = number,
                                   .dtype = dtype,
                                   .sparse = sparse,
                                   .rows = sparse ? 0 : 1,
                                   .cols = sparse ? COLS : ELEMENTS,
                                   .optimiser =
                                       dtype == PS_I64 ? PS_ADD : PS_OPTIMISER_JOB,
                                   .weight_decay = NAN };
    struct ps_place       place;
    struct ps_slot_run    run = { .shard = 0 };
    struct ps_header      h = { .kind = PS_MSG_MATRIX_ADD,
                                .n_matrices = 1,
                                .matrices = &spec,
                                .n_slot_runs = 1,
                                .slot_runs = &run };

    snprintf(spec.name, sizeof(spec.name), "m%u", number);
    ps_place_cut(&place, &spec);
    run.n_slots = place.n_slots;
    ask_control(&h);
}

static void start_job(void)
{
    struct ps_member members[WORKERS];
    struct ps_header h = { .kind = PS_MSG_JOB,
                           .n_shards = 1,
                           .job_spec = &job,
                           .membership_epoch = 1,
                           .n_members = WORKERS,
                           .members = members };

    for (uint32_t r = 0; r < WORKERS; r++)
        members[r] = (struct ps_member){ .rank = r,
                                         .incarnation = 1,
                                         .state = PS_MEMBER_ACTIVE,
                                         .session = SESSION(r) };
    ask_control(&h);
    add_matrix(1, PS_I64, false);
    add_matrix(2, PS_F32, true);
}

static struct ps_header from_worker(uint32_t kind, uint32_t rank, uint64_t clock,
                                    const struct ps_range *range)
{
    return (struct ps_header){ .kind = kind,
                               .session = SESSION(rank),
                               .rank = rank,
                               .incarnation = 1,
                               .clock = clock,
                               .weight = 1,
                               .n_ranges = 1,
                               .ranges = range };
}

static const struct ps_range dense = { .matrix = 1, .first = 0, .count = ELEMENTS };
static const struct ps_range sparse = { .matrix = 2, .first = 0, .count = ROWS };
static uint64_t              keys[ROWS];
static int64_t               ones[ELEMENTS];
static float                 row_ones[ROWS * COLS];

static void pull(uint32_t rank, uint64_t clock)
{
    struct ps_header h = from_worker(PS_MSG_PULL, rank, clock, &sparse);

    ask(rank, &h, (const void *[2]){ keys, NULL }, (size_t[2]){ sizeof(keys), 0 },
        PS_MSG_PULL_OK);
    h = from_worker(PS_MSG_PULL, rank, clock, &dense);
    ask(rank, &h, NULL, NULL, PS_MSG_PULL_OK);
}

/* The rows, then the elements, which end the iteration. */
static void push(uint32_t rank, uint64_t t)
{
    struct ps_header h = from_worker(PS_MSG_PUSH, rank, t, &sparse);

    h.seq = 2 * t - 1;
    ask(rank, &h, (const void *[2]){ keys, row_ones },
        (size_t[2]){ sizeof(keys), sizeof(row_ones) }, PS_MSG_PUSH_OK);
    h = from_worker(PS_MSG_PUSH, rank, t, &dense);
    h.seq = 2 * t;
    h.flags = PS_FLAG_FINISH;
    h.parts = 2;
    ask(rank, &h, (const void *[2]){ ones, NULL }, (size_t[2]){ sizeof(ones), 0 },
        PS_MSG_PUSH_OK);
}

/* A job from its first message to its last; every push counts once. */
static ps_status run_job(void)
{
    struct psd_shard_options options = { .control = CONTROL,
                                         .backend = &psd_backend_cpu };
    struct ps_header         end = { .kind = PS_MSG_JOB_END };
    uint32_t                 counted = job.strategy == PS_BACKUP ? 1 : WORKERS;
    int64_t                  sum;
    ps_status                st = psd_shard_new(&shard, &options);

    failing_pause();
    if (st)
        return st;
    start_job();
    for (uint64_t t = 1; t <= ITERATIONS; t++) {
        for (uint32_t r = 0; r < WORKERS; r++)
            pull(r, t - 1);
        for (uint32_t r = 0; r < WORKERS; r++)
            push(r, t);
    }
    pull(0, ITERATIONS);
    memcpy(&sum, pulled, sizeof(sum));
    ck_assert_int_eq(sum, ITERATIONS * counted);
    memcpy(&sum, (const char *)pulled + (ELEMENTS - 1) * sizeof(sum), sizeof(sum));
    ck_assert_int_eq(sum, ITERATIONS * counted);
    ask_control(&end);
    ps_outbox_free(&out);
    psd_shard_free(&shard);
    return PS_OK;
}

static void prepare(uint32_t strategy, uint32_t scale)
{
    job = ps_job_spec_default();
    strcpy(job.name, "one");
    job.workers = WORKERS;
    job.strategy = strategy;
    job.scale = scale;
    job.optimiser = ps_optimiser_spec_default(PS_ADAM);
    if (scale == PS_SCALE_DELAY)
        job.optimiser = ps_optimiser_spec_default(PS_SGD);
    for (uint64_t i = 0; i < ROWS; i++)
        keys[i] = i * 1000;
    for (uint64_t i = 0; i < ELEMENTS; i++)
        ones[i] = 1;
    for (uint64_t i = 0; i < (uint64_t)ROWS * COLS; i++)
        row_ones[i] = 1;
}

static const struct {
    uint32_t strategy, scale;
} ways[] = {
    { PS_BSP, PS_SCALE_NONE },      { PS_ASP, PS_SCALE_NONE },
    { PS_SSP, PS_SCALE_STALENESS }, { PS_ASP, PS_SCALE_VERSIONS },
    { PS_ASP, PS_SCALE_DELAY },     { PS_BACKUP, PS_SCALE_NONE },
};

START_TEST(shard_loses_and_doubles_nothing)
{
    prepare(ways[_i].strategy, ways[_i].scale);
    ck_assert_ok(ps_decoder_new(&reader));
    failing_everywhere(run_job);
    ps_decoder_free(&reader);
}
END_TEST

static Suite *suite(void)
{
    Suite *s = suite_create("allocation");
    TCase *t = tcase_create("allocation");

    tcase_add_test(t, daemon_config_loads_or_says_that_there_is_no_memory);
    tcase_add_test(t, experiment_loads_or_says_that_there_is_no_memory);
    tcase_add_test(t, experiment_prints_or_says_that_there_is_no_memory);
    tcase_add_test(t, settings_load_or_say_that_there_is_no_memory);
    tcase_add_test(t, csv_opens_or_says_that_there_is_no_memory);
    tcase_add_test(t, libsvm_opens_or_says_that_there_is_no_memory);
    tcase_add_test(t, idx_opens_or_says_that_there_is_no_memory);
    tcase_add_loop_test(t, shard_loses_and_doubles_nothing, 0,
                        sizeof(ways) / sizeof(ways[0]));
    suite_add_tcase(s, t);
    return s;
}

TEST_MAIN(suite)
