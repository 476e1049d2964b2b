/*
 * A worker's whole session, with the real coordinator and a real shard and no socket,
 * while memory runs out, once, at every place where it can.  What fails may be tried
 * again, and a gradient counts once if its push succeeded and not at all if it failed.
 */
#include "server/coordinator/coordinator.h"
#include "server/shard/shard.h"
#include "tests/unit/failing.h"
#include "tests/unit/suite.h"
#include "worker/client.h"

#include <math.h>

#define SECOND UINT64_C(1000000000)
#define SILENCE (3600 * SECOND)
#define CONTROL 5u
#define MOVES 3u
#define ELEMENTS 10u
#define TRIES 4u
#define ROUNDS 60u /* seconds until something must have come of it */

enum party { CLIENT = 1, COORDINATOR = 2, SHARD = 3 };

static struct psd_coordinator *coordinator;
static struct psd_shard       *shard;
static struct psw_client      *client;
static uint8_t                 address; /* of the client: each has its own */
static struct ps_outbox        outs[4]; /* by party */
static uint64_t                now;
static int64_t                 value[ELEMENTS], gradient[ELEMENTS];

/* ---- the network --------------------------------------------------------------- */

static void hand(enum party from, struct ps_parcel *p)
{
    enum party to = p->route.kind == PS_ROUTE_SHARD ? SHARD
                    : p->route.kind == PS_ROUTE_COORDINATOR
                        ? COORDINATOR
                        : (enum party)p->route.id[0];

    if (to == CLIENT && p->route.id[1] != address) {
        ps_parcel_drop(p); /* to one that is gone */
        return;
    }
    if (p->route.kind != PS_ROUTE_PEER)
        p->route = (struct ps_route){ .kind = PS_ROUTE_PEER,
                                      .bytes = 2,
                                      .id = { (uint8_t)from, address } };
    else
        p->route = (struct ps_route){ .kind = from == SHARD ? PS_ROUTE_SHARD
                                                            : PS_ROUTE_COORDINATOR };
    failing_resume();
    if (to == COORDINATOR)
        psd_coordinator_handle(coordinator, now, p, &outs[COORDINATOR]);
    else if (to == SHARD)
        psd_shard_handle(shard, now, p, &outs[SHARD]);
    else
        psw_client_handle(client, now, p, &outs[CLIENT]);
    failing_pause();
}

static void carry(void)
{
    bool more = true;

    while (more) {
        more = false;
        for (unsigned from = CLIENT; from <= SHARD; from++) {
            struct ps_outbox batch = outs[from];

            outs[from] = (struct ps_outbox){ 0 };
            for (size_t i = 0; i < batch.n; i++)
                hand((enum party)from, &batch.parcels[i]);
            more = more || batch.n > 0;
            ps_outbox_free(&batch);
        }
    }
}

static void pass_a_second(void)
{
    now += SECOND;
    failing_resume();
    psd_coordinator_tick(coordinator, now, &outs[COORDINATOR]);
    psw_client_tick(client, now, &outs[CLIENT]);
    failing_pause();
    carry();
}

/* ---- what a worker does -------------------------------------------------------- */

typedef ps_status start_fn(struct ps_ticket **ticket);

static ps_status hello(struct ps_ticket **ticket)
{
    return psw_client_hello(client, now, &outs[CLIENT], ticket);
}

static ps_matrix *matrix;

static ps_status open_matrix(struct ps_ticket **ticket)
{
    struct ps_matrix_spec spec = { .name = "tally",
                                   .dtype = PS_I64,
                                   .rows = 1,
                                   .cols = ELEMENTS,
                                   .optimiser = PS_ADD,
                                   .weight_decay = NAN };

    return psw_client_matrix(client, now, &spec, true, &outs[CLIENT], ticket);
}

static ps_status list(struct ps_ticket **ticket)
{
    return psw_client_list(client, now, "", &outs[CLIENT], ticket);
}

static ps_status move(struct ps_ticket **ticket, uint32_t moves)
{
    struct psw_span span = {
        .matrix = matrix, .count = ELEMENTS, .value = value, .gradient = gradient
    };

    return psw_client_move(client, now, moves, &span, 1, &outs[CLIENT], ticket);
}

static ps_status train(struct ps_ticket **ticket)
{
    return move(ticket, PSW_PUSH | PSW_FINISH | PSW_PULL);
}

static ps_status train_with_lent(struct ps_ticket **ticket)
{
    return move(ticket, PSW_PUSH | PSW_FINISH | PSW_PULL | PSW_LENT);
}

static ps_status pull(struct ps_ticket **ticket)
{
    return move(ticket, PSW_PULL);
}

static ps_status report(struct ps_ticket **ticket)
{
    ps_status st = psw_client_report(client, now, "loss", 0.5);

    return st ? st : psw_client_drain(client, now, &outs[CLIENT], ticket);
}

static ps_status bye(struct ps_ticket **ticket)
{
    return psw_client_bye(client, now, "", &outs[CLIENT], ticket);
}

/* Starts it and waits for what comes of it. */
static ps_status once(start_fn *start)
{
    struct ps_ticket *ticket = NULL;
    ps_status         st;

    failing_resume();
    st = start(&ticket);
    failing_pause();
    if (st)
        return st;
    carry();
    for (unsigned i = 0; i < ROUNDS && !psw_ticket_done(ticket); i++)
        pass_a_second();
    ck_assert(psw_ticket_done(ticket));
    st = psw_ticket_result(ticket);
    if (!st && psw_ticket_matrix(ticket))
        matrix = psw_ticket_matrix(ticket);
    psw_ticket_drop(&ticket);
    return st;
}

/* Tries again what failed.  A job that a shard has no memory for has failed for good.
 */
static ps_status until_done(start_fn *start)
{
    ps_status st = PS_ERR_NO_MEMORY;

    for (unsigned i = 0; st && i < TRIES; i++) {
        st = once(start);
        /* It was let in and had no memory to note it: its rank is taken, by itself. */
        if (st == PS_ERR_RANK && i > 0)
            return PS_ERR_NO_MEMORY;
        if (st)
            ck_assert_status(st, PS_ERR_NO_MEMORY);
    }
    return st;
}

/* ---- the session --------------------------------------------------------------- */

static ps_status open_client(void)
{
    struct psw_client_options o = { .job = ps_job_spec_default(),
                                    .coordinator = "ipc://here",
                                    .token = "",
                                    .pid = 7,
                                    .host = "here" };

    address++;
    strcpy(o.job.name, "one");
    return psw_client_new(&client, &o);
}

static ps_status open_servers(void)
{
    static const char             *endpoints[] = { "ipc://shard" };
    struct psd_coordinator_options co = { .server_epoch = 3,
                                          .random_seed = 1,
                                          .worker_silence_ns = SILENCE,
                                          .shard_timeout_ns = SILENCE,
                                          .keep_finished = 1,
                                          .max_jobs = 2,
                                          .token = "",
                                          .endpoint = "ipc://here" };
    struct psd_shard_options so = { .control = CONTROL, .backend = &psd_backend_cpu };
    uint32_t                 first;
    ps_status                st = psd_coordinator_new(&coordinator, &co);

    if (!st)
        st = psd_coordinator_add_shards(coordinator, now, endpoints, 1, CONTROL, "here",
                                        1, &first);
    return st ? st : psd_shard_new(&shard, &so);
}

static void close_all(void)
{
    for (unsigned i = CLIENT; i <= SHARD; i++)
        ps_outbox_free(&outs[i]);
    psw_client_free(&client);
    psd_shard_free(&shard);
    psd_coordinator_free(&coordinator);
}

static ps_status train_and_count(void)
{
    int64_t   counted = 0;
    ps_status st = PS_OK;

    for (unsigned i = 0; i < MOVES; i++) {
        st = once(i == 1 ? train_with_lent : train);
        if (st)
            ck_assert_status(st, PS_ERR_NO_MEMORY);
        counted += !st;
    }
    st = until_done(pull);
    for (unsigned i = 0; !st && i < ELEMENTS; i++)
        ck_assert_int_eq(value[i], counted);
    return st;
}

static ps_status run_session(void)
{
    ps_status st = until_done(hello);

    if (!st)
        st = until_done(open_matrix);
    if (!st)
        st = train_and_count();
    if (!st)
        st = until_done(report);
    if (!st)
        st = until_done(list);
    return st ? st : until_done(bye);
}

/* Whatever became of the first, the servers serve the next. */
static ps_status session(void)
{
    ps_status st;

    now = SECOND;
    st = open_servers();
    if (!st)
        st = open_client();
    failing_pause();
    if (!st) {
        st = run_session();
        failing_stop();
        now += SILENCE; /* nobody has heard of it, if it did not say goodbye */
        pass_a_second();
        psw_client_free(&client);
        ck_assert_ok(open_client());
        ck_assert_ok(run_session());
    }
    close_all();
    return st;
}

START_TEST(session_fails_cleanly_and_a_gradient_counts_if_its_push_did)
{
    for (unsigned i = 0; i < ELEMENTS; i++)
        gradient[i] = 1;
    failing_everywhere(session);
}
END_TEST

static Suite *suite(void)
{
    Suite *s = suite_create("allocation_session");
    TCase *t = tcase_create("allocation_session");

    tcase_add_test(t, session_fails_cleanly_and_a_gradient_counts_if_its_push_did);
    suite_add_tcase(s, t);
    return s;
}

TEST_MAIN(suite)
