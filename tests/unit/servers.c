/* servers.c - see servers.h. */
#include "tests/unit/servers.h"

#include "common/place/place.h"

struct psw_client        *client;
struct ps_outbox          out;
static struct ps_decoder *decoder;
uint64_t                  now;

const struct ps_route coordinator = { .kind = PS_ROUTE_COORDINATOR };

struct ps_route shard(uint16_t index)
{
    return (struct ps_route){ .kind = PS_ROUTE_SHARD, .index = index };
}

/* ---- the test as server --------------------------------------------------------- */

struct sent sent(size_t i)
{
    struct sent s;

    ck_assert_uint_lt(i, out.n);
    s.parcel = &out.parcels[i];
    ck_assert_ok(
        ps_wire_decode(decoder, s.parcel->head->data, s.parcel->head->len, &s.h));
    for (uint32_t k = 0; k < s.h.n_ranges; k++)
        s.ranges[k] = s.h.ranges[k];
    return s;
}

struct sent only_sent(void)
{
    ck_assert_uint_eq(out.n, 1);
    return sent(0);
}

struct ps_header answer_to(uint64_t request, uint32_t kind)
{
    return (struct ps_header){
        .kind = kind, .request = request, .text = "", .name = "", .token = ""
    };
}

void give(struct ps_route from, const struct ps_header *h, const void *payload,
          const size_t *cuts, uint32_t n_cuts)
{
    struct ps_parcel p = { .route = from };
    const uint8_t   *bytes = payload;

    ck_assert_ok(ps_wire_encode(h, &p.head));
    for (; p.n_frames < n_cuts; bytes += cuts[p.n_frames++])
        ck_assert_ok(ps_buf_copy(&p.frames[p.n_frames], bytes, cuts[p.n_frames]));
    psw_client_handle(client, now, &p, &out);
}

void acknowledge(struct ps_route from, uint64_t request, uint32_t kind)
{
    struct ps_header h = answer_to(request, kind);

    give(from, &h, NULL, NULL, 0);
}

void refuse(struct ps_route from, uint64_t request, ps_status status, const char *text)
{
    struct ps_header h = answer_to(request, PS_MSG_ERROR);

    h.status = status;
    h.text = text;
    give(from, &h, NULL, NULL, 0);
}

void values_of(uint64_t version, struct ps_route from, uint64_t request,
               const void *payload, size_t bytes)
{
    struct ps_header h = answer_to(request, PS_MSG_PULL_OK);

    h.version = version;
    give(from, &h, payload, &bytes, 1);
}

void values(struct ps_route from, uint64_t request, const void *payload, size_t bytes)
{
    values_of(0, from, request, payload, bytes);
}

const char *const endpoints[] = { "tcp://10.0.0.1:1", "tcp://10.0.0.2:2",
                                  "tcp://10.0.0.3:3" };

static void join_job(const struct ps_job_spec *job, uint32_t n_shards, bool observer)
{
    struct psw_client_options options = {
        .job = *job,
        .coordinator = "tcp://10.0.0.1:5570",
        .token = "secret",
        .rank = 1,
        .observer = observer,
        .pid = 77,
        .host = "here",
        .first_request = 1000,
    };
    struct ps_ticket *t;
    struct ps_header  welcome = answer_to(1001, PS_MSG_WELCOME);

    strcpy(options.job.name, "lenet");
    options.job.workers = 2;
    ck_assert_ok(psw_client_new(&client, &options));
    ck_assert_ok(psw_client_hello(client, now, &out, &t));
    welcome.job = 3;
    welcome.session = 4711;
    welcome.rank = observer ? UINT32_MAX : 1;
    welcome.incarnation = 1;
    welcome.server_epoch = 5;
    welcome.n_endpoints = n_shards;
    welcome.endpoints = endpoints;
    welcome.job_spec = &options.job;
    if (n_shards == 0)
        return;
    give(coordinator, &welcome, NULL, NULL, 0);
    ck_assert(psw_ticket_done(t));
    ck_assert_ok(psw_ticket_result(t));
    psw_ticket_drop(&t);
    ps_outbox_clear(&out);
}

void join(uint32_t n_shards, bool observer, uint64_t snapshot_every)
{
    struct ps_job_spec job = ps_job_spec_default();

    job.snapshot_every = snapshot_every;
    join_job(&job, n_shards, observer);
}

void join_as(const struct ps_job_spec *job)
{
    ck_assert_ok(ps_decoder_new(&decoder));
    join_job(job, 1, false);
}

/* Opens a matrix whose slots are spread as the coordinator would. */
ps_matrix *opened(const char *name, uint64_t rows, uint64_t cols, uint32_t dtype)
{
    static uint32_t       number;
    struct ps_matrix_spec spec = {
        .dtype = dtype, .sparse = rows == 0, .rows = rows, .cols = cols
    };
    uint64_t                  load[PS_SHARDS_MAX] = { 0 };
    uint32_t                  n = psw_client_n_shards(client), n_runs = 0;
    static struct ps_place    place;
    static struct ps_slot_run runs[PS_SPARSE_SLOTS];
    struct ps_ticket         *t;
    struct ps_header          h;
    ps_matrix                *m;

    strcpy(spec.name, name);
    ck_assert_ok(psw_client_matrix(client, now, &spec, true, &out, &t));
    h = answer_to(only_sent().h.request, PS_MSG_MATRIX_OK);
    ps_outbox_clear(&out);
    spec.number = ++number;
    ps_place_cut(&place, &spec);
    ps_place_assign(&place, load, n);
    for (uint32_t i = 0; i < place.n_slots; i++)
        if (n_runs > 0 && runs[n_runs - 1].shard == place.shard_of[i])
            runs[n_runs - 1].n_slots++;
        else
            runs[n_runs++] = (struct ps_slot_run){ place.shard_of[i], 1 };
    h.n_matrices = 1;
    h.matrices = &spec;
    h.n_slot_runs = n_runs;
    h.slot_runs = runs;
    give(coordinator, &h, NULL, NULL, 0);
    ck_assert_ok(psw_ticket_result(t));
    m = psw_ticket_matrix(t);
    psw_ticket_drop(&t);
    return m;
}

struct ps_ticket *move(uint32_t moves, const struct psw_span *spans, uint32_t n)
{
    struct ps_ticket *t;

    ck_assert_ok(psw_client_move(client, now, moves, spans, n, &out, &t));
    return t;
}

/* The whole of a dense matrix. */
struct psw_span all_of(ps_matrix *m, void *value, const void *gradient)
{
    return (struct psw_span){ .matrix = m,
                              .count = ps_matrix_elements(psw_matrix_spec(m)),
                              .value = value,
                              .gradient = gradient };
}

void assert_ended(struct ps_ticket *t, ps_status expected)
{
    ck_assert(psw_ticket_done(t));
    ck_assert_status(psw_ticket_result(t), expected);
    psw_ticket_drop(&t);
}

void come(uint32_t n_shards, bool observer, uint64_t snapshot_every)
{
    now = 1000 * MS;
    ck_assert_ok(ps_decoder_new(&decoder));
    join(n_shards, observer, snapshot_every);
}

void go(void)
{
    psw_client_free(&client);
    ck_assert_ptr_null(client);
    ps_outbox_free(&out);
    ps_decoder_free(&decoder);
}
