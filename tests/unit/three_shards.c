/* three_shards.c - see three_shards.h. */
#include "tests/unit/three_shards.h"

bool        shard_mute[PS_SHARDS_MAX];
uint64_t    shard_clock[PS_SHARDS_MAX];
uint32_t    kind_mute;
const char *shard_refuses[PS_SHARDS_MAX];
unsigned    n_telling = N_SHARDS;

struct ps_parcel tape[KEPT];
size_t           n_tape;
bool             taping;
bool             damaging;

static void record(const struct ps_parcel *p)
{
    struct ps_parcel copy;

    if (!taping)
        return;
    ps_parcel_share(&copy, p);
    keep(tape, &n_tape, &copy);
}

static void shard_hears(uint16_t shard, const struct ps_header *ask)
{
    struct ps_job_stats stats[3] = {
        { .refused = 3, .skipped = 4 },
        { .job = 1, .bytes = 100, .pushes = 7, .waiting = 1 },
        { .job = 1, .matrix = 1, .bytes = 40, .state_bytes = 80, .rows = 2 },
    };
    struct ps_header h = { .kind = PS_MSG_OK,
                           .request = ask->request,
                           .clock = shard_clock[shard] };

    if (shard_mute[shard] || (ask->kind == kind_mute && shard == 1))
        return;
    ck_assert(damaging || ask->session == CONTROL);
    if (ask->kind == PS_MSG_STATS) {
        ck_assert_uint_eq(ask->server_epoch, EPOCH);
        h.kind = PS_MSG_STATS_OK;
        h.n_job_stats = shard < n_telling ? 3 : 2;
        h.job_stats = stats;
    } else if (ask->kind == PS_MSG_MATRIX_ADD && shard_refuses[shard]) {
        h.kind = PS_MSG_ERROR;
        h.status = PS_ERR_NO_MEMORY;
        h.text = shard_refuses[shard];
    }
    shard_says(shard, &h);
}

void start_with(uint32_t keep_finished, uint32_t max_jobs, const char *token)
{
    static const struct play play = { .shard_hears = shard_hears, .goes_in = record };
    struct psd_coordinator_options options = usual_options();
    const char *const endpoints[] = { "tcp://127.0.0.1:6001", "tcp://127.0.0.1:6002",
                                      "tcp://127.0.0.1:6003" };
    uint32_t          first = 99;

    memset(shard_mute, 0, sizeof(shard_mute));
    memset(shard_clock, 0, sizeof(shard_clock));
    kind_mute = 0;
    memset(shard_refuses, 0, sizeof(shard_refuses));
    n_telling = N_SHARDS;
    damaging = false;
    open_world(&play);
    options.keep_finished = keep_finished;
    options.max_jobs = max_jobs;
    options.token = token;
    ck_assert_ok(psd_coordinator_new(&c, &options));
    ck_assert_ok(psd_coordinator_add_shards(c, now, endpoints, N_SHARDS, CONTROL,
                                            "host-0", 4711, &first));
    ck_assert_uint_eq(first, 0);
}

void three_shards(void)
{
    start_with(2, 4, "");
}

void stop(void)
{
    close_world();
    forget(tape, &n_tape);
}

TCase *tcase(Suite *s, const char *name)
{
    TCase *t = tcase_create(name);

    tcase_add_checked_fixture(t, three_shards, stop);
    suite_add_tcase(s, t);
    return t;
}

void sleep_for(uint64_t ns)
{
    now += ns;
}

void join_psd(uint64_t request, uint64_t control, const char *endpoint)
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

void create(const struct worker *w, uint64_t request, const char *name)
{
    struct ps_matrix_spec spec = matrix_spec(name, 64, 64);

    ask_matrix(w, request, PS_FLAG_CREATE, &spec);
}

void report(const struct worker *w, uint64_t request, uint64_t seq, uint32_t n,
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

json_t *ask_status(unsigned peer, uint64_t request)
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

json_int_t integer(const json_t *object, const char *key)
{
    const json_t *value = json_object_get(object, key);

    ck_assert_msg(json_is_integer(value), "%s is no integer", key);
    return json_integer_value(value);
}

const char *string(const json_t *object, const char *key)
{
    const json_t *value = json_object_get(object, key);

    ck_assert_msg(json_is_string(value), "%s is no string", key);
    return json_string_value(value);
}
