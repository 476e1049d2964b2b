/* A job goes back: the coordinator with fake psds, each of two shards and a disk of
 * snapshots.  Peers are numbers, time is a counter. */
#include "server/coordinator/coordinator.h"

#include "common/wire/wire.h"
#include "tests/unit/suite.h"

#include <stdio.h>

#define SECOND UINT64_C(1000000000)
#define SILENCE (15 * SECOND)
#define SHARD_TIMEOUT (5 * SECOND)
#define RECOVERY_WAIT (30 * SECOND)
#define EPOCH UINT64_C(0xabcdef0123456789)
#define OBSERVER UINT32_MAX
#define KEPT 4096u
#define N_PSDS 3u
#define EACH 2u /* shards of a psd */
#define N_FAKES (N_PSDS * EACH)
#define DISK 64u

static struct psd_coordinator *c;
static struct ps_decoder      *reader;
static struct ps_outbox        out;
static uint64_t                now;

static struct ps_parcel mail[KEPT], sent[KEPT];
static size_t           n_mail, n_sent;

/* A psd: psd 0 is the coordinator's own. */
static struct psd {
    bool           there;
    uint64_t       control;
    uint32_t       n_parts; /* on its disk */
    struct ps_part parts[DISK];
    bool           damaged[DISK];
} psds[N_PSDS];

static struct fake {
    uint64_t       life, epoch, run, clock;
    uint32_t       index, n_shards, n_matrices, n_loads;
    uint64_t       hurry;    /* clocks that pass between question and answer */
    uint32_t       n_loaded; /* parts of the last LOAD */
    struct ps_part loaded[PS_SHARDS_MAX];
} fakes[N_FAKES];

/* What the coordinator wanted kept, as its driver would have it on disk. */
static struct ps_buf *state;
static unsigned       n_states;

static uint32_t kind_held; /* what the shards do not answer */
static uint64_t hello_number = 100;

/* ---- the psds ---------------------------------------------------------------------
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

static void shard_says(uint32_t shard, const struct ps_header *h)
{
    struct ps_parcel p = { .route = { .kind = PS_ROUTE_SHARD,
                                      .index = (uint16_t)shard } };

    ck_assert_ok(ps_wire_encode(h, &p.head));
    psd_coordinator_handle(c, now, &p, &out);
}

static void put_on_disk(uint32_t psd, uint32_t index, uint32_t n_shards, uint64_t life,
                        uint64_t set)
{
    ck_assert_uint_lt(psds[psd].n_parts, DISK);
    psds[psd].damaged[psds[psd].n_parts] = false;
    psds[psd].parts[psds[psd].n_parts++] = (struct ps_part){
        .index = index, .n_shards = n_shards, .set = set, .life = life
    };
}

/* Every shard of psds 0 and 1 has saved its part of the set. */
static void whole_set(uint64_t life, uint64_t set)
{
    for (uint32_t i = 0; i < 4; i++)
        put_on_disk(i / EACH, i, 4, life, set);
}

static void damage(uint32_t psd, uint64_t set)
{
    for (uint32_t i = 0; i < psds[psd].n_parts; i++)
        if (psds[psd].parts[i].set == set)
            psds[psd].damaged[i] = true;
}

static bool is_good(const struct psd *psd, const struct ps_part *part)
{
    for (uint32_t i = 0; i < psd->n_parts; i++)
        if (psd->parts[i].index == part->index && psd->parts[i].set == part->set &&
            psd->parts[i].life == part->life &&
            psd->parts[i].n_shards == part->n_shards)
            return !psd->damaged[i];
    return false;
}

static void obey(uint32_t shard, const struct ps_header *ask, struct ps_header *answer)
{
    static struct ps_job_stats stats;

    struct fake *f = &fakes[shard];
    struct psd  *psd = &psds[shard / EACH];

    switch (ask->kind) {
    case PS_MSG_JOB:
        if (ask->after <= f->life)
            break;
        *f = (struct fake){ .life = ask->after,
                            .epoch = ask->server_epoch,
                            .run = ask->run,
                            .index = ask->index,
                            .n_shards = ask->n_shards };
        break;
    case PS_MSG_MATRIX_ADD: f->n_matrices++; break;
    case PS_MSG_LOAD:
        f->n_loads++;
        f->n_loaded = ask->n_sets;
        f->clock = ask->n_sets ? ask->sets[0].set : 0;
        for (uint32_t i = 0; i < ask->n_sets; i++) {
            f->loaded[i] = ask->sets[i];
            if (is_good(psd, &ask->sets[i]))
                continue;
            answer->kind = PS_MSG_ERROR;
            answer->status = PS_ERR_DATA;
            answer->text = "a damaged block";
        }
        break;
    case PS_MSG_SETS:
        answer->kind = PS_MSG_SETS_OK;
        answer->n_sets = psd->n_parts;
        answer->sets = psd->parts;
        break;
    case PS_MSG_STATS:
        stats = (struct ps_job_stats){ .job = 1, .clock = f->clock };
        answer->kind = PS_MSG_STATS_OK;
        answer->n_job_stats = 1;
        answer->job_stats = &stats;
        f->clock += f->hurry; /* it goes on meanwhile */
        return;
    case PS_MSG_SNAPSHOT:
        if (ask->clock >= f->clock) {
            f->clock = ask->clock; /* it comes to it in time */
            break;
        }
        answer->kind = PS_MSG_ERROR;
        answer->status = PS_ERR_BAD_ARG;
        answer->text = "it is past that clock";
        break;
    }
    answer->clock = f->clock;
}

static void shard_answers(uint32_t shard, const struct ps_header *ask)
{
    struct ps_header h = { .kind = PS_MSG_OK, .request = ask->request };

    if (!psds[shard / EACH].there || ask->kind == kind_held ||
        ask->session != psds[shard / EACH].control || ask->kind == PS_MSG_KEEP)
        return;
    obey(shard, ask, &h);
    shard_says(shard, &h);
}

static void keep_state(void)
{
    struct ps_buf *newer;

    ck_assert_ok(psd_coordinator_save(c, &newer));
    if (!newer)
        return;
    ps_buf_drop(&state);
    state = newer;
    n_states++;
}

static void carry(void)
{
    keep_state();
    while (out.n > 0) {
        struct ps_outbox batch = out;

        out = (struct ps_outbox){ 0 };
        for (size_t i = 0; i < batch.n; i++) {
            struct ps_parcel *p = &batch.parcels[i];

            if (p->route.kind == PS_ROUTE_SHARD) {
                struct ps_header ask = *read_head(p);

                shard_answers(p->route.index, &ask);
                keep(sent, &n_sent, p);
            } else {
                keep(mail, &n_mail, p);
            }
        }
        ps_outbox_free(&batch);
        keep_state();
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
    psd_coordinator_handle(c, now, &p, &out);
    carry();
}

static void psd_joins(uint32_t psd)
{
    char             texts[EACH][64];
    const char      *endpoints[EACH];
    char             host[16];
    static uint64_t  request;
    struct ps_header h = { .kind = PS_MSG_JOIN, .request = ++request };

    for (uint32_t i = 0; i < EACH; i++) {
        snprintf(texts[i], sizeof(texts[i]), "tcp://10.0.0.%u:%u", psd, 7000 + i);
        endpoints[i] = texts[i];
        fakes[psd * EACH + i] = (struct fake){ 0 };
    }
    snprintf(host, sizeof(host), "host-%u", psd);
    psds[psd].there = true;
    h.session = ++psds[psd].control;
    h.pid = psds[psd].control;
    h.name = host;
    h.n_endpoints = EACH;
    h.endpoints = endpoints;
    say(1000 + psd, &h);
}

static void psd_beats(uint32_t psd)
{
    struct ps_header h = { .kind = PS_MSG_BEAT, .request = 7 };

    h.session = psds[psd].control;
    if (psd > 0 && psds[psd].there && psds[psd].control)
        say(1000 + psd, &h);
}

static void psd_ends(uint32_t psd)
{
    struct ps_header h = { .kind = PS_MSG_PART, .request = 8 };

    psds[psd].there = false;
    h.session = psds[psd].control;
    say(1000 + psd, &h);
}

/* It is killed and comes back with its disk and nothing else. */
static void psd_restarts(uint32_t psd)
{
    psd_joins(psd);
}

/* ---- the workers ------------------------------------------------------------------
 */

struct worker {
    unsigned peer;
    uint32_t job, rank, incarnation;
    uint64_t session, epoch;
};

static const struct ps_header *find_answer(unsigned peer, uint64_t request)
{
    struct ps_route route = peer_route(peer);

    for (size_t i = n_mail; i-- > 0;)
        if (ps_route_same(&mail[i].route, &route) &&
            read_head(&mail[i])->request == request)
            return read_head(&mail[i]);
    return NULL;
}

static const struct ps_header *answer(unsigned peer, uint64_t request, uint32_t kind)
{
    const struct ps_header *h = find_answer(peer, request);

    ck_assert_msg(h != NULL, "peer %u has no answer to %u", peer, (unsigned)request);
    ck_assert_msg(h->kind == kind, "peer %u got %s (%s), expected %s", peer,
                  ps_kind_name(h->kind), h->text, ps_kind_name(kind));
    return h;
}

static struct ps_job_spec spec_of(uint32_t strategy, uint32_t workers)
{
    struct ps_job_spec spec = ps_job_spec_default();

    snprintf(spec.name, sizeof(spec.name), "lenet");
    spec.strategy = strategy;
    spec.workers = workers;
    spec.snapshot_every = 10;
    return spec;
}

static uint64_t say_hello(unsigned peer, uint32_t rank, const struct ps_job_spec *spec)
{
    struct ps_header h = {
        .kind = PS_MSG_HELLO,
        .request = ++hello_number,
        .rank = rank,
        .pid = peer,
        .text = "host-a",
        .name = spec->name,
        .job_spec = spec,
    };

    say(peer, &h);
    return hello_number;
}

static struct worker welcomed(unsigned peer, uint64_t request)
{
    const struct ps_header *h = answer(peer, request, PS_MSG_WELCOME);

    return (struct worker){ peer,           h->job,     h->rank,
                            h->incarnation, h->session, h->server_epoch };
}

static struct worker join_as(unsigned peer, uint32_t rank,
                             const struct ps_job_spec *spec)
{
    return welcomed(peer, say_hello(peer, rank, spec));
}

static struct ps_header from(const struct worker *w, uint32_t kind)
{
    return (struct ps_header){
        .kind = kind,
        .request = ++hello_number,
        .job = w->job,
        .rank = w->rank,
        .incarnation = w->incarnation,
        .session = w->session,
        .server_epoch = w->epoch,
    };
}

/* As a client does that has heard of the rollback; the number of its request. */
static uint64_t resume(const struct worker *w)
{
    struct ps_header h = from(w, PS_MSG_HELLO);

    h.name = "lenet";
    say(w->peer, &h);
    return h.request;
}

static uint64_t beat(const struct worker *w, uint64_t clock)
{
    struct ps_header h = from(w, PS_MSG_BEAT);

    h.clock = clock;
    say(w->peer, &h);
    return h.request;
}

static uint64_t ask_matrix(const struct worker *w, const char *name)
{
    struct ps_matrix_spec spec = { .dtype = PS_F32, .rows = 600, .cols = 600 };
    struct ps_header      h = from(w, PS_MSG_MATRIX);

    snprintf(spec.name, sizeof(spec.name), "%s", name);
    h.flags = PS_FLAG_CREATE;
    h.n_matrices = 1;
    h.matrices = &spec;
    say(w->peer, &h);
    return h.request;
}

static void expect_word(const char *word)
{
    struct ps_header h = { .kind = PS_MSG_WATCH,
                           .request = ++hello_number,
                           .name = "lenet" };

    say(900, &h);
    ck_assert_str_eq(answer(900, h.request, PS_MSG_WATCH_OK)->text, word);
}

/* ---- looking ----------------------------------------------------------------------
 */

static const struct ps_header *told(uint32_t shard, uint32_t kind)
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

/* Place of the first message of a kind to a shard. */
static size_t place(uint32_t shard, uint32_t kind)
{
    for (size_t i = 0; i < n_sent; i++)
        if (sent[i].route.index == shard && read_head(&sent[i])->kind == kind)
            return i;
    ck_abort_msg("shard %u was not told %s", shard, ps_kind_name(kind));
    return 0;
}

/* All four shards of the job hold their parts of this set, in one life. */
static void expect_back_at(uint64_t life, uint64_t set)
{
    for (uint32_t i = 0; i < 4; i++) {
        ck_assert_uint_eq(fakes[i].n_loaded, 1);
        ck_assert_uint_eq(fakes[i].loaded[0].index, fakes[i].index);
        ck_assert_uint_eq(fakes[i].loaded[0].set, set);
        ck_assert_uint_eq(fakes[i].loaded[0].life, life);
        ck_assert_uint_eq(fakes[i].epoch, fakes[0].epoch);
        ck_assert_uint_eq(fakes[i].n_matrices, fakes[0].n_matrices);
    }
    expect_word("running");
}

static void wait_for(uint64_t ns)
{
    uint64_t until = now + ns;

    while (now < until) {
        now += until - now < SECOND ? until - now : SECOND;
        psd_coordinator_tick(c, now, &out);
        carry();
        for (uint32_t i = 1; i < N_PSDS; i++)
            psd_beats(i);
    }
}

/* ---- situations -------------------------------------------------------------------
 */

static void new_coordinator(void)
{
    struct psd_coordinator_options options = {
        .server_epoch = EPOCH,
        .random_seed = 42,
        .worker_silence_ns = SILENCE,
        .shard_timeout_ns = SHARD_TIMEOUT,
        .keep_finished = 2,
        .max_jobs = 4,
        .token = "",
        .endpoint = "tcp://127.0.0.1:5570",
        .recovery_wait_ns = RECOVERY_WAIT,
    };

    ck_assert_ok(psd_coordinator_new(&c, &options));
}

static void add_own_shards(void)
{
    const char *const endpoints[] = { "tcp://10.0.0.0:6001", "tcp://10.0.0.0:6002" };
    uint32_t          first = 99;

    psds[0].there = true;
    psds[0].control++;
    for (uint32_t i = 0; i < EACH; i++)
        fakes[i] = (struct fake){ 0 };
    ck_assert_ok(psd_coordinator_add_shards(c, now, endpoints, EACH, psds[0].control,
                                            "host-0", 4711, &first));
    ck_assert_uint_eq(first, 0);
}

/* Psds 0 and 1 are there, with two shards each. */
static void two_psds(void)
{
    memset(psds, 0, sizeof(psds));
    memset(fakes, 0, sizeof(fakes));
    for (uint32_t i = 0; i < N_PSDS; i++)
        psds[i].control = 0xc00 + 0x100 * i;
    kind_held = 0;
    now = 1000 * SECOND;
    ck_assert_ok(ps_decoder_new(&reader));
    new_coordinator();
    add_own_shards();
    psd_joins(1);
}

/* Psd 0 is killed, and started again with its disk. */
static void coordinator_restarts(void)
{
    psd_coordinator_free(&c);
    ps_outbox_clear(&out);
    new_coordinator();
    ck_assert_ok(psd_coordinator_restore(c, now, state->data, state->len));
    add_own_shards();
    keep_state();
    wait_for(SECOND / 2);
}

static void stop(void)
{
    ps_buf_drop(&state);
    psd_coordinator_free(&c);
    ps_decoder_free(&reader);
    ps_outbox_free(&out);
    forget(mail, &n_mail);
    forget(sent, &n_sent);
}

static struct worker bsp_job(void)
{
    struct ps_job_spec spec = spec_of(PS_BSP, 1);
    struct worker      w = join_as(1, 0, &spec);

    ask_matrix(&w, "fc1");
    return w;
}

/* ---- going back -------------------------------------------------------------------
 */

START_TEST(all_shards_go_back_to_the_newest_whole_snapshot)
{
    struct worker w = bsp_job(), again;

    whole_set(1, 10);
    whole_set(1, 20);
    psd_restarts(1);
    expect_back_at(1, 20);
    ck_assert_uint_eq(fakes[0].life, 2);
    ck_assert_uint_ne(fakes[0].epoch, w.epoch);
    ck_assert_uint_eq(fakes[3].n_matrices, 1);
    again = welcomed(1, resume(&w));
    ck_assert_uint_eq(again.epoch, fakes[0].epoch);
    ck_assert_uint_eq(again.session, w.session);
    ck_assert_uint_eq(again.incarnation, w.incarnation);
}
END_TEST

START_TEST(shards_learn_of_a_new_life_in_order)
{
    bsp_job();
    whole_set(1, 10);
    forget(sent, &n_sent);
    psd_restarts(1);
    for (uint32_t i = 0; i < 4; i++) {
        ck_assert_uint_lt(place(i, PS_MSG_SETS), place(i, PS_MSG_JOB));
        ck_assert_uint_lt(place(i, PS_MSG_JOB), place(i, PS_MSG_MATRIX_ADD));
        for (uint32_t k = 0; k < 4; k++) {
            ck_assert_uint_lt(place(k, PS_MSG_MATRIX_ADD), place(i, PS_MSG_LOAD));
            ck_assert_uint_lt(place(k, PS_MSG_LOAD), place(i, PS_MSG_MEMBERS));
        }
    }
    ck_assert_uint_eq(told(2, PS_MSG_SETS)->run, fakes[2].run);
    ck_assert_str_eq(told(2, PS_MSG_SETS)->name, "lenet");
    ck_assert_uint_eq(told(2, PS_MSG_MEMBERS)->members[0].clock, 0);
}
END_TEST

START_TEST(workers_are_told_at_once)
{
    struct worker           w = bsp_job();
    const struct ps_header *h;

    psd_ends(1);
    h = answer(1, 0, PS_MSG_NOTICE);
    ck_assert_int_eq(h->status, PS_ERR_ROLLBACK);
    ck_assert_uint_ne(h->server_epoch, w.epoch);
    expect_word("recovering");
    ck_assert_uint_ne(answer(1, beat(&w, 33), PS_MSG_OK)->server_epoch, w.epoch);
}
END_TEST

START_TEST(set_that_a_shard_lacks_is_no_snapshot)
{
    bsp_job();
    whole_set(1, 10);
    for (uint32_t i = 0; i < 3; i++)
        put_on_disk(i / EACH, i, 4, 1, 20);
    psd_restarts(1);
    expect_back_at(1, 10);
    ck_assert_uint_eq(fakes[0].life, 2); /* nobody has tried to read it */
}
END_TEST

START_TEST(parts_of_several_lives_are_no_snapshot)
{
    bsp_job();
    whole_set(1, 10);
    for (uint32_t i = 0; i < 4; i++)
        put_on_disk(i / EACH, i, 4, 1 + i % 2, 20);
    psd_restarts(1);
    expect_back_at(1, 10);
    ck_assert_uint_eq(fakes[0].life, 2); /* nobody has tried to read it */
}
END_TEST

START_TEST(later_life_is_newer_whatever_the_set)
{
    bsp_job();
    whole_set(1, 90);
    whole_set(2, 40);
    psd_restarts(1);
    expect_back_at(2, 40);
}
END_TEST

START_TEST(damaged_snapshot_is_followed_by_the_one_before)
{
    uint64_t life;

    bsp_job();
    whole_set(1, 10);
    whole_set(1, 20);
    whole_set(1, 30);
    damage(1, 30);
    damage(0, 20);
    psd_restarts(1);
    expect_back_at(1, 10);
    life = fakes[0].life;
    ck_assert_uint_eq(life, 4); /* each attempt is one */
    for (uint32_t i = 0; i < 4; i++)
        ck_assert_uint_eq(fakes[i].life, life);
}
END_TEST

static void expect_anew(void)
{
    for (uint32_t i = 0; i < 4; i++) {
        ck_assert_uint_gt(fakes[i].life, 1);
        ck_assert_uint_eq(fakes[i].n_loads, 1);
        ck_assert_uint_eq(fakes[i].n_loaded, 0);
    }
    expect_word("running");
}

START_TEST(job_without_snapshots_begins_anew)
{
    struct worker w = bsp_job();

    psd_restarts(1);
    expect_anew();
    welcomed(1, resume(&w));
}
END_TEST

START_TEST(job_whose_snapshots_are_all_damaged_begins_anew)
{
    bsp_job();
    whole_set(1, 10);
    whole_set(1, 20);
    damage(1, 10);
    damage(1, 20);
    psd_restarts(1);
    expect_anew();
}
END_TEST

START_TEST(asp_goes_back_to_the_newest_part_of_each_shard)
{
    struct ps_job_spec spec = spec_of(PS_ASP, 1);

    join_as(1, 0, &spec);
    whole_set(1, 3);
    put_on_disk(0, 0, 4, 1, 5);
    put_on_disk(1, 3, 4, 1, 4);
    psd_restarts(1);
    ck_assert_uint_eq(fakes[0].loaded[0].set, 5);
    ck_assert_uint_eq(fakes[1].loaded[0].set, 3);
    ck_assert_uint_eq(fakes[2].loaded[0].set, 3);
    ck_assert_uint_eq(fakes[3].loaded[0].set, 4);
    for (uint32_t i = 0; i < 4; i++)
        ck_assert_uint_eq(fakes[i].loaded[0].index, fakes[i].index);
}
END_TEST

START_TEST(asp_leaves_only_the_damaged_part_behind)
{
    struct ps_job_spec spec = spec_of(PS_ASP, 1);

    join_as(1, 0, &spec);
    whole_set(1, 3);
    put_on_disk(0, 0, 4, 1, 5);
    put_on_disk(1, 3, 4, 1, 4);
    damage(1, 4);
    psd_restarts(1);
    ck_assert_uint_eq(fakes[0].loaded[0].set, 5);
    ck_assert_uint_eq(fakes[3].loaded[0].set, 3);
}
END_TEST

START_TEST(shard_reads_the_part_that_its_psd_has)
{
    bsp_job();
    for (uint32_t i = 0; i < 4; i++) /* the other way round */
        put_on_disk(1 - i / EACH, i, 4, 1, 10);
    psd_restarts(1);
    expect_back_at(1, 10);
    ck_assert_uint_ge(fakes[0].index, EACH);
}
END_TEST

START_TEST(job_that_is_not_saved_fails)
{
    struct ps_job_spec spec = spec_of(PS_BSP, 1);

    spec.snapshot_every = 0;
    join_as(1, 0, &spec);
    psd_restarts(1);
    expect_word("failed");
    ck_assert_int_eq(answer(1, 0, PS_MSG_NOTICE)->status, PS_ERR_UNAVAILABLE);
}
END_TEST

/* ---- on the way -------------------------------------------------------------------
 */

START_TEST(members_are_welcome_only_when_the_shards_know_them)
{
    struct worker      w = bsp_job();
    uint64_t           request, matrix, newcomer;
    struct ps_job_spec spec = spec_of(PS_BSP, 1);

    whole_set(1, 10);
    kind_held = PS_MSG_LOAD;
    psd_restarts(1);
    request = resume(&w);
    matrix = ask_matrix(&w, "fc1");
    newcomer = say_hello(44, 0, &spec);
    ck_assert_int_eq(answer(44, newcomer, PS_MSG_ERROR)->status, PS_ERR_RANK);
    wait_for(SECOND / 2);
    ck_assert_ptr_null(find_answer(1, matrix));
    ck_assert_ptr_null(find_answer(1, request));
    kind_held = PS_MSG_MEMBERS;
    wait_for(2 * SECOND);
    ck_assert_uint_eq(fakes[0].n_loaded, 1);
    ck_assert_ptr_null(find_answer(1, request));
    kind_held = 0;
    wait_for(2 * SECOND);
    welcomed(1, request);
    answer(1, matrix, PS_MSG_MATRIX_OK);
}
END_TEST

START_TEST(matrix_under_way_is_created_in_the_new_life)
{
    struct worker w = bsp_job();
    uint64_t      request;

    kind_held = PS_MSG_MATRIX_ADD;
    request = ask_matrix(&w, "fc2");
    kind_held = 0;
    psd_restarts(1);
    answer(1, request, PS_MSG_MATRIX_OK);
    for (uint32_t i = 0; i < 4; i++)
        ck_assert_uint_eq(fakes[i].n_matrices, 2);
}
END_TEST

START_TEST(shard_lost_on_the_way_begins_it_again)
{
    struct worker w = bsp_job();
    uint64_t      life;

    whole_set(1, 10);
    kind_held = PS_MSG_LOAD;
    psd_restarts(1);
    life = fakes[0].life;
    kind_held = 0;
    psd_restarts(1); /* once more, in the middle of reading */
    expect_back_at(1, 10);
    ck_assert_uint_gt(fakes[0].life, life);
    ck_assert_uint_eq(fakes[0].life, fakes[3].life);
    welcomed(1, resume(&w));
}
END_TEST

START_TEST(answers_of_an_older_life_are_ignored)
{
    struct ps_parcel old[KEPT];
    size_t           n_old = 0;

    bsp_job();
    whole_set(1, 10);
    kind_held = PS_MSG_LOAD;
    psd_restarts(1);
    for (size_t i = 0; i < n_sent; i++)
        if (read_head(&sent[i])->kind == PS_MSG_LOAD)
            ps_parcel_share(&old[n_old++], &sent[i]);
    ck_assert_uint_eq(n_old, 4);
    psd_restarts(1);
    for (size_t i = 0; i < n_old; i++) {
        struct ps_header h = { .kind = PS_MSG_ERROR,
                               .request = read_head(&old[i])->request,
                               .status = PS_ERR_NO_MEMORY,
                               .text = "of the old life" };

        shard_says(old[i].route.index, &h);
        ps_parcel_drop(&old[i]);
    }
    expect_word("recovering");
    kind_held = 0;
    wait_for(2 * SECOND);
    expect_back_at(1, 10);
}
END_TEST

START_TEST(shard_that_answers_nothing_while_it_reads_is_not_lost)
{
    bsp_job();
    whole_set(1, 10);
    kind_held = PS_MSG_LOAD;
    psd_restarts(1);
    wait_for(10 * SHARD_TIMEOUT);
    expect_word("recovering");
    kind_held = 0;
    wait_for(2 * SECOND);
    expect_back_at(1, 10);
}
END_TEST

START_TEST(silence_of_workers_counts_from_the_end)
{
    struct worker w = bsp_job();

    whole_set(1, 10);
    kind_held = PS_MSG_LOAD;
    psd_restarts(1);
    wait_for(2 * SILENCE);
    kind_held = 0;
    wait_for(2 * SECOND);
    expect_word("running");
    welcomed(1, resume(&w));
    wait_for(SILENCE + SECOND);
    expect_word("finished");
}
END_TEST

START_TEST(job_that_all_leave_on_the_way_is_over_at_its_end)
{
    struct worker    w = bsp_job();
    struct ps_header h = from(&w, PS_MSG_BYE);

    h.text = "signal 15";
    whole_set(1, 10);
    kind_held = PS_MSG_LOAD;
    psd_restarts(1);
    say(1, &h);
    kind_held = 0;
    wait_for(2 * SECOND);
    answer(1, h.request, PS_MSG_OK);
    expect_word("finished");
}
END_TEST

START_TEST(who_is_through_goes_when_what_it_did_is_on_disk)
{
    struct worker    w = bsp_job();
    struct ps_header h = from(&w, PS_MSG_BYE);

    kind_held = PS_MSG_SNAPSHOT;
    say(1, &h);
    wait_for(2 * SECOND);
    expect_word("running");
    kind_held = 0;
    wait_for(2 * SECOND);
    answer(1, h.request, PS_MSG_OK);
    expect_word("finished");
}
END_TEST

START_TEST(who_is_through_does_not_wait_for_ever_for_a_disk)
{
    struct worker    w = bsp_job();
    struct ps_header h = from(&w, PS_MSG_BYE);

    kind_held = PS_MSG_SNAPSHOT;
    say(1, &h);
    wait_for(11 * SECOND);
    answer(1, h.request, PS_MSG_OK);
    expect_word("finished");
}
END_TEST

START_TEST(goodbye_of_one_that_does_not_know_of_the_rollback_is_refused)
{
    struct worker    w = bsp_job();
    struct ps_header h = from(&w, PS_MSG_BYE);

    whole_set(1, 10);
    psd_restarts(1);
    say(1, &h);
    ck_assert_int_eq(answer(1, h.request, PS_MSG_ERROR)->status, PS_ERR_ROLLBACK);
    welcomed(1, resume(&w));
    expect_word("running");
}
END_TEST

START_TEST(psd_may_be_started_again_any_number_of_times)
{
    struct worker w = bsp_job();

    whole_set(1, 10);
    for (unsigned i = 0; i < 300; i++)
        psd_restarts(1);
    expect_back_at(1, 10);
    welcomed(1, resume(&w));
}
END_TEST

/* ---- who is not there -------------------------------------------------------------
 */

static void save(uint32_t shard, uint64_t set);

/* Psds 0 and 1 share their folder. */
static void shared_sets(uint64_t life, uint64_t set)
{
    for (uint32_t psd = 0; psd < 2; psd++)
        for (uint32_t i = 0; i < 4; i++)
            put_on_disk(psd, i, 4, life, set);
}

START_TEST(fewer_shards_go_on_after_a_while_and_read_all_parts)
{
    struct worker           w = bsp_job();
    uint64_t                map_epoch;
    const struct ps_header *h;

    map_epoch = told(0, PS_MSG_MATRIX_ADD)->map_epoch;
    shared_sets(1, 10);
    psd_ends(1);
    wait_for(RECOVERY_WAIT - 2 * SECOND);
    expect_word("recovering");
    wait_for(3 * SECOND);
    expect_word("running");
    for (uint32_t i = 0; i < 2; i++) {
        ck_assert_uint_eq(fakes[i].n_shards, 2);
        ck_assert_uint_eq(fakes[i].index, i);
        ck_assert_uint_eq(fakes[i].n_loaded, 4);
        for (uint32_t k = 0; k < 4; k++)
            ck_assert_uint_eq(fakes[i].loaded[k].index, k);
    }
    h = told(0, PS_MSG_MATRIX_ADD);
    ck_assert_uint_eq(h->map_epoch, map_epoch + 1);
    for (uint32_t i = 0; i < h->n_slot_runs; i++)
        ck_assert_uint_lt(h->slot_runs[i].shard, 2);
    ck_assert_uint_eq(told(1, PS_MSG_SNAPSHOT)->clock, 10); /* of the new layout */
    ck_assert_uint_eq(answer(1, resume(&w), PS_MSG_WELCOME)->n_endpoints, 2);
}
END_TEST

START_TEST(spare_shards_do_not_stand_in_for_a_disk_that_is_away)
{
    bsp_job();
    whole_set(1, 10);
    for (uint32_t i = 0; i < 4; i++)
        save(i, 10);
    psd_ends(1);
    psd_joins(2); /* as many shards as before, and nothing on its disk */
    wait_for(2 * RECOVERY_WAIT);
    expect_word("recovering");
    psd_joins(1);
    expect_back_at(1, 10);
}
END_TEST

START_TEST(job_fails_when_its_snapshots_stay_away)
{
    struct worker w = bsp_job();

    whole_set(1, 10);
    for (uint32_t i = 0; i < 4; i++)
        save(i, 10);
    psd_ends(1);
    wait_for(9 * RECOVERY_WAIT);
    expect_word("recovering");
    wait_for(2 * RECOVERY_WAIT);
    expect_word("failed");
    ck_assert_ptr_nonnull(strstr(answer(1, resume(&w), PS_MSG_ERROR)->text, "host-1"));
}
END_TEST

START_TEST(psd_that_was_only_silent_goes_back_too)
{
    bsp_job();
    whole_set(1, 10);
    psds[1].there = false;
    wait_for(4 * SHARD_TIMEOUT);
    expect_word("recovering");
    psds[1].there = true;
    wait_for(3 * SECOND);
    expect_back_at(1, 10);
    ck_assert_uint_eq(fakes[3].life, 2);
}
END_TEST

/* ---- what is saved ----------------------------------------------------------------
 */

static void say_saved(uint32_t shard, uint64_t epoch, uint64_t life, uint64_t set)
{
    struct ps_part   part = { .index = fakes[shard].index,
                              .n_shards = fakes[shard].n_shards,
                              .set = set,
                              .life = life };
    struct ps_header h = {
        .kind = PS_MSG_SAVED,
        .job = 1,
        .session = psds[shard / EACH].control,
        .server_epoch = epoch,
        .n_sets = 1,
        .sets = &part,
        .clock = set,
    };

    shard_says(shard, &h);
    carry();
}

static void save(uint32_t shard, uint64_t set)
{
    say_saved(shard, fakes[shard].epoch, fakes[shard].life, set);
}

START_TEST(snapshot_before_the_last_whole_one_is_kept)
{
    bsp_job();
    for (uint64_t set = 10; set <= 20; set += 10) {
        ck_assert_uint_eq(count_told(PS_MSG_KEEP), 0);
        for (uint32_t i = 0; i < 4; i++)
            save(i, set);
    }
    for (uint32_t i = 0; i < 3; i++)
        save(i, 30);
    ck_assert_uint_eq(count_told(PS_MSG_KEEP), 4);
    /* 30 is not whole yet, so 20 and 10 are the two */
    ck_assert_uint_eq(told(2, PS_MSG_KEEP)->sets[0].set, 10);
    save(3, 30);
    for (uint32_t i = 0; i < 4; i++) {
        const struct ps_part *part = &told(i, PS_MSG_KEEP)->sets[0];

        ck_assert_uint_eq(part->set, 20);
        ck_assert_uint_eq(part->index, i);
        ck_assert_uint_eq(part->n_shards, 4);
        ck_assert_uint_eq(part->life, 1);
    }
    ck_assert_uint_eq(count_told(PS_MSG_KEEP), 8);
}
END_TEST

START_TEST(asp_keeps_the_two_newest_parts_of_each_shard)
{
    struct ps_job_spec spec = spec_of(PS_ASP, 1);

    join_as(1, 0, &spec);
    save(2, 1);
    ck_assert_uint_eq(count_told(PS_MSG_KEEP), 0);
    save(2, 2);
    save(2, 3);
    ck_assert_uint_eq(told(2, PS_MSG_KEEP)->sets[0].set, 2);
    ck_assert_uint_eq(count_told(PS_MSG_KEEP), 2);
}
END_TEST

START_TEST(what_an_older_life_saves_does_not_count)
{
    uint64_t epoch;

    bsp_job();
    for (uint32_t i = 0; i < 4; i++)
        save(i, 10);
    epoch = fakes[0].epoch;
    whole_set(1, 10);
    psd_restarts(1);
    for (uint32_t i = 0; i < 4; i++)
        say_saved(i, epoch, 1, 20);
    ck_assert_uint_eq(count_told(PS_MSG_KEEP), 0);
    for (uint32_t i = 0; i < 4; i++)
        save(i, 20);
    ck_assert_uint_eq(count_told(PS_MSG_KEEP), 4);
    ck_assert_uint_eq(told(0, PS_MSG_KEEP)->sets[0].set, 10);
    ck_assert_uint_eq(told(0, PS_MSG_KEEP)->sets[0].life, 1);
}
END_TEST

/* ---- asked for --------------------------------------------------------------------
 */

static uint64_t ask_checkpoint(unsigned peer)
{
    struct ps_header h = { .kind = PS_MSG_CHECKPOINT,
                           .request = ++hello_number,
                           .name = "lenet" };

    say(peer, &h);
    return h.request;
}

START_TEST(checkpoint_is_of_the_clock_of_the_furthest_shard)
{
    bsp_job();
    fakes[2].clock = 7;
    ck_assert_uint_eq(answer(60, ask_checkpoint(60), PS_MSG_OK)->clock, 7);
    for (uint32_t i = 0; i < 4; i++)
        ck_assert_uint_eq(told(i, PS_MSG_SNAPSHOT)->clock, 7);
}
END_TEST

START_TEST(checkpoint_catches_up_with_shards_that_go_on)
{
    bsp_job();
    fakes[1].clock = 7;
    fakes[1].hurry = 20;
    ck_assert_uint_eq(answer(60, ask_checkpoint(60), PS_MSG_OK)->clock, 47 + 64);
}
END_TEST

START_TEST(checkpoint_has_a_deadline)
{
    uint64_t first, second;

    bsp_job();
    kind_held = PS_MSG_SNAPSHOT;
    first = ask_checkpoint(60);
    wait_for(20 * SECOND);
    second = ask_checkpoint(61);
    ck_assert_ptr_null(find_answer(60, first));
    wait_for(11 * SECOND);
    ck_assert_int_eq(answer(60, first, PS_MSG_ERROR)->status, PS_ERR_TIMEOUT);
    ck_assert_int_eq(answer(61, second, PS_MSG_ERROR)->status, PS_ERR_TIMEOUT);
    expect_word("finished"); /* its worker was silent, but no shard was lost */
}
END_TEST

START_TEST(checkpoint_is_refused_when_the_job_goes_back)
{
    uint64_t request;

    bsp_job();
    whole_set(1, 10);
    kind_held = PS_MSG_SNAPSHOT;
    request = ask_checkpoint(60);
    kind_held = PS_MSG_LOAD;
    psd_restarts(1);
    ck_assert_int_eq(answer(60, request, PS_MSG_ERROR)->status, PS_ERR_ROLLBACK);
    ck_assert_int_eq(answer(60, ask_checkpoint(60), PS_MSG_ERROR)->status,
                     PS_ERR_ROLLBACK);
}
END_TEST

/* ---- a worker that comes again ----------------------------------------------------
 */

static struct worker lost_worker(uint32_t on_loss, struct ps_job_spec *spec)
{
    struct worker    stays, lost;
    struct ps_header h;

    *spec = spec_of(PS_BSP, 2);
    spec->on_loss = on_loss;
    stays = join_as(1, 0, spec);
    lost = join_as(2, 1, spec);
    whole_set(1, 10);
    for (uint32_t i = 0; i < 4; i++)
        fakes[i].clock = 12;
    h = from(&lost, PS_MSG_BYE);
    h.text = "signal 9";
    say(2, &h);
    return stays;
}

START_TEST(worker_lost_between_shards_sends_the_job_back)
{
    struct ps_job_spec spec;
    struct worker      stays = lost_worker(PS_LOSS_WAIT, &spec);
    uint64_t           request;

    fakes[2].clock = 13; /* it had finished the iteration on this one only */
    request = say_hello(3, 1, &spec);
    ck_assert_uint_eq(welcomed(3, request).incarnation, 2);
    expect_back_at(1, 10);
    ck_assert_int_eq(answer(1, 0, PS_MSG_NOTICE)->status, PS_ERR_ROLLBACK);
    ck_assert_uint_eq(answer(3, request, PS_MSG_WELCOME)->clock, 10);
    welcomed(1, resume(&stays));
}
END_TEST

START_TEST(worker_lost_between_iterations_sends_nobody_back)
{
    struct ps_job_spec spec;

    lost_worker(PS_LOSS_WAIT, &spec);
    join_as(3, 1, &spec);
    ck_assert_uint_eq(fakes[0].life, 1);
}
END_TEST

START_TEST(worker_that_nobody_waits_for_sends_nobody_back)
{
    struct ps_job_spec spec;

    lost_worker(PS_LOSS_SHRINK, &spec);
    fakes[2].clock = 13;
    join_as(3, 1, &spec);
    ck_assert_uint_eq(fakes[0].life, 1);
}
END_TEST

/* ---- a coordinator that is started again ------------------------------------------
 */

START_TEST(job_outlives_its_coordinator)
{
    struct worker w = bsp_job(), again;

    whole_set(1, 10);
    whole_set(1, 20);
    coordinator_restarts();
    expect_back_at(1, 20);
    again = welcomed(1, resume(&w));
    ck_assert_uint_eq(again.session, w.session);
    ck_assert_uint_eq(again.incarnation, w.incarnation);
    ck_assert_uint_ne(again.epoch, w.epoch);
    answer(1, ask_matrix(&w, "fc1"), PS_MSG_MATRIX_OK);
    ck_assert_uint_eq(fakes[2].n_matrices, 1);
    ck_assert_uint_eq(fakes[0].index, 0);
}
END_TEST

START_TEST(psd_that_had_joined_notices_nothing)
{
    bsp_job();
    coordinator_restarts();
    psd_beats(1);
    answer(1001, 7, PS_MSG_OK);
}
END_TEST

START_TEST(lives_are_never_used_twice)
{
    struct ps_buf *old;
    uint64_t       life, epoch;

    bsp_job();
    whole_set(1, 10);
    old = ps_buf_share(state);
    psd_restarts(1); /* a life that was never written */
    life = fakes[3].life;
    epoch = fakes[3].epoch;
    ps_buf_drop(&state);
    state = old;
    psds[1].control--; /* which is what the old state has */
    coordinator_restarts();
    ck_assert_uint_gt(fakes[3].life, life);
    ck_assert_uint_ne(fakes[3].epoch, epoch);
}
END_TEST

START_TEST(coordinator_may_be_started_again_on_its_way)
{
    struct worker w = bsp_job();

    whole_set(1, 10);
    kind_held = PS_MSG_LOAD;
    coordinator_restarts();
    expect_word("recovering");
    coordinator_restarts();
    kind_held = 0;
    wait_for(2 * SECOND);
    expect_back_at(1, 10);
    welcomed(1, resume(&w));
}
END_TEST

START_TEST(coordinator_may_be_started_again_any_number_of_times)
{
    struct worker w = bsp_job();

    whole_set(1, 10);
    for (unsigned i = 0; i < 300; i++)
        coordinator_restarts();
    expect_back_at(1, 10);
    welcomed(1, resume(&w));
}
END_TEST

START_TEST(hello_that_was_under_way_is_answered_when_it_is_repeated)
{
    struct ps_job_spec spec = spec_of(PS_BSP, 2);
    uint64_t           request;
    struct worker      w;

    join_as(1, 0, &spec);
    kind_held = PS_MSG_MEMBERS;
    request = say_hello(2, 1, &spec);
    ck_assert_ptr_null(find_answer(2, request));
    coordinator_restarts();
    kind_held = 0;
    wait_for(2 * SECOND);
    hello_number = request - 1;
    ck_assert_uint_eq(say_hello(2, 1, &spec), request);
    w = welcomed(2, request);
    ck_assert_uint_eq(w.incarnation, 1); /* the same, not another start of the rank */
}
END_TEST

START_TEST(job_without_snapshots_fails_with_its_coordinator)
{
    struct ps_job_spec spec = spec_of(PS_BSP, 1);
    struct worker      w;

    spec.snapshot_every = 0;
    w = join_as(1, 0, &spec);
    coordinator_restarts();
    expect_word("failed");
    ck_assert_int_eq(answer(1, resume(&w), PS_MSG_ERROR)->status, PS_ERR_UNAVAILABLE);
}
END_TEST

START_TEST(workers_that_stay_away_are_lost_by_silence)
{
    bsp_job();
    whole_set(1, 10);
    coordinator_restarts();
    wait_for(SILENCE - 2 * SECOND);
    expect_word("running");
    wait_for(4 * SECOND);
    expect_word("finished");
}
END_TEST

START_TEST(beats_are_no_reason_to_write)
{
    struct worker w = bsp_job();
    unsigned      before = n_states;

    for (uint64_t clock = 1; clock <= 50; clock++)
        beat(&w, clock);
    wait_for(5 * SECOND);
    expect_word("running");
    ck_assert_uint_eq(n_states, before);
    ask_matrix(&w, "fc2");
    ck_assert_uint_gt(n_states, before);
}
END_TEST

START_TEST(state_that_could_not_be_kept_is_given_again)
{
    struct ps_buf *again;

    bsp_job();
    psd_coordinator_unsaved(c);
    ck_assert_ok(psd_coordinator_save(c, &again));
    ck_assert_ptr_nonnull(again);
    ck_assert_uint_eq(again->len, state->len);
    ps_buf_drop(&again);
    ck_assert_ok(psd_coordinator_save(c, &again));
    ck_assert_ptr_null(again);
}
END_TEST

START_TEST(report_numbers_go_on_behind_all_that_were_given)
{
    struct worker           w = bsp_job();
    struct ps_report_record record = { .name = "loss", .clock = 3, .value = 0.5 };
    struct ps_header        h = from(&w, PS_MSG_REPORT);
    struct ps_header        watch = { .kind = PS_MSG_WATCH, .name = "lenet" };

    h.seq = 1;
    h.n_reports = 1;
    h.reports = &record;
    say(1, &h);
    if (_i == 1)
        ask_matrix(&w, "fc2"); /* so that the state is written */
    coordinator_restarts();
    h.request = ++hello_number;
    h.seq = 2;
    say(1, &h);
    watch.request = ++hello_number;
    watch.after = 1;
    say(900, &watch);
    ck_assert_uint_eq(answer(900, watch.request, PS_MSG_WATCH_OK)->n_reports, 1);
    ck_assert_uint_gt(answer(900, watch.request, PS_MSG_WATCH_OK)->reports[0].number,
                      1);
}
END_TEST

/* What a coordinator says after a restart, but for numbers that are new each time. */
static size_t digest_of_talk(uint8_t *into, size_t room)
{
    size_t at = 0;

    for (size_t i = 0; i < n_sent; i++) {
        struct ps_header h = *read_head(&sent[i]);
        struct ps_member members[8];
        struct ps_buf   *head;

        h.request = h.server_epoch = h.session = h.after = h.membership_epoch = 1;
        for (uint32_t k = 0; k < h.n_members && k < 8; k++)
            members[k] = h.members[k];
        h.members = members;
        ck_assert_ok(ps_wire_encode(&h, &head));
        ck_assert_uint_le(at + head->len + 1, room);
        into[at++] = (uint8_t)sent[i].route.index;
        memcpy(into + at, head->data, head->len);
        at += head->len;
        ps_buf_drop(&head);
    }
    return at;
}

START_TEST(what_a_restored_coordinator_saves_restores_the_same)
{
    static uint8_t     first[1 << 16], second[1 << 16];
    size_t             n_first, n_second;
    struct ps_job_spec spec = spec_of(PS_BSP, 3);
    struct worker      w = join_as(1, 0, &spec), b = join_as(2, 1, &spec);
    struct ps_header   bye = from(&b, PS_MSG_BYE);
    uint64_t           session = w.session;

    ask_matrix(&w, "fc1");
    ask_matrix(&w, "conv");
    bye.text = "signal 11";
    say(2, &bye);
    join_as(3, 1, &spec);
    whole_set(1, 10);
    forget(sent, &n_sent);
    coordinator_restarts();
    n_first = digest_of_talk(first, sizeof(first));
    forget(sent, &n_sent);
    coordinator_restarts(); /* of what the restored one has saved */
    n_second = digest_of_talk(second, sizeof(second));
    ck_assert_uint_eq(n_first, n_second);
    ck_assert(!memcmp(first, second, n_first));
    ck_assert_uint_eq(told(1, PS_MSG_MEMBERS)->members[0].session, session);
    ck_assert_uint_eq(told(1, PS_MSG_MEMBERS)->members[1].incarnation, 2);
    ck_assert_uint_eq(told(1, PS_MSG_MEMBERS)->members[2].state, PS_MEMBER_EXPECTED);
}
END_TEST

static void expect_refused(const void *bytes, size_t n)
{
    ck_assert_status(psd_coordinator_restore(c, now, bytes, n), PS_ERR_DATA);
    ck_assert_uint_eq(psd_coordinator_n_shards(c), 0);
}

START_TEST(every_damage_of_the_state_is_refused)
{
    uint8_t *bytes;
    size_t   n;

    bsp_job();
    whole_set(1, 10);
    n = state->len;
    bytes = malloc(n);
    memcpy(bytes, state->data, n);
    psd_coordinator_free(&c);
    new_coordinator();
    for (size_t i = 0; i < n; i++)
        expect_refused(bytes, i);
    for (size_t i = 0; i < n; i++) {
        bytes[i] ^= (uint8_t)(1u << i % 8);
        expect_refused(bytes, n);
        bytes[i] ^= (uint8_t)(1u << i % 8);
    }
    ck_assert_ok(psd_coordinator_restore(c, now, bytes, n));
    free(bytes);
}
END_TEST

static TCase *tcase(Suite *s, const char *name)
{
    TCase *t = tcase_create(name);

    tcase_add_checked_fixture(t, two_psds, stop);
    suite_add_tcase(s, t);
    return t;
}

static Suite *recovery_suite(void)
{
    Suite *s = suite_create("recovery");
    TCase *t = tcase(s, "going back");

    tcase_add_test(t, all_shards_go_back_to_the_newest_whole_snapshot);
    tcase_add_test(t, shards_learn_of_a_new_life_in_order);
    tcase_add_test(t, workers_are_told_at_once);
    tcase_add_test(t, set_that_a_shard_lacks_is_no_snapshot);
    tcase_add_test(t, parts_of_several_lives_are_no_snapshot);
    tcase_add_test(t, later_life_is_newer_whatever_the_set);
    tcase_add_test(t, damaged_snapshot_is_followed_by_the_one_before);
    tcase_add_test(t, job_without_snapshots_begins_anew);
    tcase_add_test(t, job_whose_snapshots_are_all_damaged_begins_anew);
    tcase_add_test(t, asp_goes_back_to_the_newest_part_of_each_shard);
    tcase_add_test(t, asp_leaves_only_the_damaged_part_behind);
    tcase_add_test(t, shard_reads_the_part_that_its_psd_has);
    tcase_add_test(t, job_that_is_not_saved_fails);

    t = tcase(s, "on the way");
    tcase_add_test(t, members_are_welcome_only_when_the_shards_know_them);
    tcase_add_test(t, matrix_under_way_is_created_in_the_new_life);
    tcase_add_test(t, shard_lost_on_the_way_begins_it_again);
    tcase_add_test(t, answers_of_an_older_life_are_ignored);
    tcase_add_test(t, shard_that_answers_nothing_while_it_reads_is_not_lost);
    tcase_add_test(t, silence_of_workers_counts_from_the_end);
    tcase_add_test(t, job_that_all_leave_on_the_way_is_over_at_its_end);
    tcase_add_test(t, goodbye_of_one_that_does_not_know_of_the_rollback_is_refused);
    tcase_add_test(t, who_is_through_goes_when_what_it_did_is_on_disk);
    tcase_add_test(t, who_is_through_does_not_wait_for_ever_for_a_disk);
    tcase_add_test(t, psd_may_be_started_again_any_number_of_times);

    t = tcase(s, "who is not there");
    tcase_add_test(t, fewer_shards_go_on_after_a_while_and_read_all_parts);
    tcase_add_test(t, spare_shards_do_not_stand_in_for_a_disk_that_is_away);
    tcase_add_test(t, job_fails_when_its_snapshots_stay_away);
    tcase_add_test(t, psd_that_was_only_silent_goes_back_too);

    t = tcase(s, "what is saved");
    tcase_add_test(t, snapshot_before_the_last_whole_one_is_kept);
    tcase_add_test(t, asp_keeps_the_two_newest_parts_of_each_shard);
    tcase_add_test(t, what_an_older_life_saves_does_not_count);

    t = tcase(s, "asked for");
    tcase_add_test(t, checkpoint_is_of_the_clock_of_the_furthest_shard);
    tcase_add_test(t, checkpoint_catches_up_with_shards_that_go_on);
    tcase_add_test(t, checkpoint_has_a_deadline);
    tcase_add_test(t, checkpoint_is_refused_when_the_job_goes_back);

    t = tcase(s, "a worker that comes again");
    tcase_add_test(t, worker_lost_between_shards_sends_the_job_back);
    tcase_add_test(t, worker_lost_between_iterations_sends_nobody_back);
    tcase_add_test(t, worker_that_nobody_waits_for_sends_nobody_back);

    t = tcase(s, "a coordinator that is started again");
    tcase_add_test(t, job_outlives_its_coordinator);
    tcase_add_test(t, psd_that_had_joined_notices_nothing);
    tcase_add_test(t, lives_are_never_used_twice);
    tcase_add_test(t, coordinator_may_be_started_again_on_its_way);
    tcase_add_test(t, coordinator_may_be_started_again_any_number_of_times);
    tcase_add_test(t, hello_that_was_under_way_is_answered_when_it_is_repeated);
    tcase_add_test(t, job_without_snapshots_fails_with_its_coordinator);
    tcase_add_test(t, workers_that_stay_away_are_lost_by_silence);
    tcase_add_test(t, beats_are_no_reason_to_write);
    tcase_add_test(t, state_that_could_not_be_kept_is_given_again);
    tcase_add_loop_test(t, report_numbers_go_on_behind_all_that_were_given, 0, 2);
    tcase_add_test(t, what_a_restored_coordinator_saves_restores_the_same);
    tcase_add_test(t, every_damage_of_the_state_is_refused);
    return s;
}

TEST_MAIN(recovery_suite)
