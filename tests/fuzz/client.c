/*
 * client.c - a worker whose servers say whatever they like.
 *
 * The input is a list of steps: operations that the worker starts, gives up or drops,
 * messages that come from the coordinator and from shards, time.  Requests are numbered
 * from 1, so that the input can name them.
 *
 * Everything that leaves is well formed; a ticket that fails says why; values are
 * written while their ticket is there and never afterwards.
 */
#include "tests/fuzz/fuzz.h"

#include "worker/client.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#define SECOND UINT64_C(1000000000)
#define STEPS_MAX 200u
#define TICKETS 8u
#define MATRICES 4u
#define ELEMENTS_MAX 4096u /* of a move */
#define ROWS 8u

/* An operation that was started, and the memory that it may write to. */
struct operation {
    struct ps_ticket *ticket;
    uint8_t          *values;
    uint64_t         *keys;
};

static struct psw_client *client;
static struct ps_outbox   out;
static uint64_t           now;
static struct operation   operations[TICKETS];
static ps_matrix         *matrices[MATRICES];
static unsigned           n_matrices;

static void look(void)
{
    for (size_t i = 0; i < out.n; i++)
        fuzz_sent(&out.parcels[i]);
    ps_outbox_clear(&out);
}

/* ---- operations ---------------------------------------------------------------- */

static void keep_matrix(const struct operation *o)
{
    ps_matrix *m;

    if (!psw_ticket_done(o->ticket) || psw_ticket_result(o->ticket))
        return;
    m = psw_ticket_matrix(o->ticket);
    if (m && n_matrices < MATRICES)
        matrices[n_matrices++] = m;
}

static void drop(struct operation *o)
{
    if (o->ticket) {
        if (psw_ticket_done(o->ticket) && psw_ticket_result(o->ticket))
            fuzz_require(ps_log_last_error()[0] != '\0');
        keep_matrix(o);
        psw_ticket_drop(&o->ticket);
    }
    free(o->values);
    free(o->keys);
    *o = (struct operation){ 0 };
}

static struct operation *next_operation(uint8_t slot)
{
    struct operation *o = &operations[slot % TICKETS];

    drop(o);
    return o;
}

static void start_matrix(struct fuzz_input *in, struct operation *o)
{
    struct ps_matrix_spec spec = { .name = "m",
                                   .dtype = PS_F32 + fuzz_byte(in) % 3,
                                   .sparse = fuzz_byte(in) & 1,
                                   .weight_decay = NAN };

    spec.name[1] = (char)('0' + fuzz_byte(in) % 10);
    spec.rows = spec.sparse ? 0 : fuzz_number(in);
    spec.cols = fuzz_number(in);
    if (spec.dtype == PS_I64)
        spec.optimiser = PS_ADD;
    if (ps_matrix_spec_check(&spec))
        return; /* which its user is told before */
    if (psw_client_matrix(client, now, &spec, fuzz_byte(in) & 1, &out, &o->ticket))
        o->ticket = NULL;
}

static uint64_t *take_keys(struct fuzz_input *in, uint64_t n)
{
    uint64_t *keys = calloc(n + 1, sizeof(*keys));

    fuzz_require(keys != NULL);
    for (uint64_t i = 0; i < n; i++)
        keys[i] = fuzz_number(in);
    return keys;
}

static void start_move(struct fuzz_input *in, struct operation *o)
{
    uint8_t         kind = fuzz_byte(in);
    uint32_t        moves = kind % 8 | (kind & 8 ? PSW_LENT : 0);
    uint8_t         which = fuzz_byte(in);
    struct psw_span span = { .first = fuzz_number(in), .count = fuzz_byte(in) };
    uint64_t        bytes;

    if (n_matrices > 0 && which != 0xff) {
        const struct ps_matrix_spec *spec;

        span.matrix = matrices[which % n_matrices];
        spec = psw_matrix_spec(span.matrix);
        bytes = (spec->sparse ? spec->cols : 1) * span.count;
        if (bytes > ELEMENTS_MAX)
            return;
        bytes *= spec->dtype == PS_F32 ? 4 : 8;
        o->values = calloc(2, bytes + 1);
        fuzz_require(o->values != NULL);
        span.value = o->values;
        span.gradient = o->values + bytes;
        if (spec->sparse)
            span.keys = o->keys = take_keys(in, span.count);
    }
    if (psw_client_move(client, now, moves, &span, span.matrix ? 1 : 0, &out,
                        &o->ticket))
        o->ticket = NULL;
}

static void start_rows(struct fuzz_input *in, struct operation *o)
{
    const struct ps_matrix_spec *spec;
    ps_matrix                   *m;

    if (n_matrices == 0 || psw_client_n_shards(client) == 0)
        return;
    m = matrices[fuzz_byte(in) % n_matrices];
    spec = psw_matrix_spec(m);
    if (!spec->sparse || spec->cols > ELEMENTS_MAX)
        return;
    o->keys = calloc(ROWS, sizeof(*o->keys));
    o->values = calloc(ROWS, spec->cols * (spec->dtype == PS_F32 ? 4 : 8));
    fuzz_require(o->keys && o->values);
    if (psw_client_rows(client, now, m, fuzz_byte(in) % psw_client_n_shards(client),
                        fuzz_number(in), ROWS, o->keys, o->values, &out, &o->ticket))
        o->ticket = NULL;
}

static void start(struct fuzz_input *in)
{
    uint8_t           what = fuzz_byte(in);
    struct operation *o = next_operation(fuzz_byte(in));
    ps_status         st = PS_OK;

    if (psw_client_n_shards(client) == 0)
        return; /* before it is welcome its user has nothing to start */
    switch (what) {
    case 'm': start_matrix(in, o); break;
    case 'l': st = psw_client_list(client, now, "", &out, &o->ticket); break;
    case 'w': start_rows(in, o); break;
    case 'e': st = psw_client_rest(client, now, &out, &o->ticket); break;
    case 'd': st = psw_client_drain(client, now, &out, &o->ticket); break;
    case 'b': st = psw_client_bye(client, now, "", &out, &o->ticket); break;
    case 'r': st = psw_client_report(client, now, "loss", 0.5); break;
    default: start_move(in, o); break;
    }
    if (st)
        o->ticket = NULL;
}

/* ---- what comes ---------------------------------------------------------------- */

static void receive(struct fuzz_input *in)
{
    struct fuzz_message m;
    struct ps_parcel    p;
    uint8_t             from = fuzz_byte(in) % 8;
    struct ps_route     route = { .kind = PS_ROUTE_COORDINATOR };

    if (from > 0)
        route = (struct ps_route){ .kind = PS_ROUTE_SHARD, .index = from - 1 };
    fuzz_message(in, &m);
    if (!fuzz_pack(&m, &route, &p))
        return;
    psw_client_handle(client, now, &p, &out);
    fuzz_require(p.head == NULL && p.n_frames == 0);
}

static void step(struct fuzz_input *in)
{
    struct operation *o;

    switch (fuzz_byte(in)) {
    case 'o': start(in); break;
    case 't':
        now += fuzz_number(in) % 100000 * (SECOND / 1000);
        psw_client_tick(client, now, &out);
        break;
    case 'x': drop(&operations[fuzz_byte(in) % TICKETS]); break;
    case 'g':
        o = &operations[fuzz_byte(in) % TICKETS];
        if (o->ticket)
            psw_ticket_give_up(o->ticket, now, 0, 1000);
        break;
    default: receive(in); break;
    }
    look();
}

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t n_bytes)
{
    struct fuzz_input         in = { bytes, n_bytes };
    struct psw_client_options options = {
        .job = ps_job_spec_default(),
        .coordinator = "ipc://here",
        .token = "secret",
        .observer = fuzz_byte(&in) & 1,
        .pid = 77,
        .host = "here",
        .window = 2, /* so that some have to wait */
    };

    strcpy(options.job.name, "fuzz");
    options.job.workers = 2;
    fuzz_listen();
    now = SECOND;
    n_matrices = 0;
    fuzz_require(psw_client_new(&client, &options) == PS_OK);
    if (psw_client_hello(client, now, &out, &operations[0].ticket))
        operations[0].ticket = NULL;
    for (unsigned n = 0; in.left > 0 && n < STEPS_MAX; n++)
        step(&in);
    for (unsigned i = 0; i < TICKETS; i++)
        drop(&operations[i]);
    ps_outbox_free(&out);
    psw_client_free(&client);
    return 0;
}
