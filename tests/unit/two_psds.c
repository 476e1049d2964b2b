/* two_psds.c - see two_psds.h. */
#include "tests/unit/two_psds.h"

#include <stdio.h>

struct psd  psds[N_PSDS];
struct fake fakes[N_FAKES];
uint32_t    kind_held;

struct ps_buf *state;
unsigned       n_states;

/* ---- the psds -------------------------------------------------------------------- */

void put_on_disk(uint32_t psd, uint32_t index, uint32_t n_shards, uint64_t life,
                 uint64_t set)
{
    ck_assert_uint_lt(psds[psd].n_parts, DISK);
    psds[psd].damaged[psds[psd].n_parts] = false;
    psds[psd].parts[psds[psd].n_parts++] = (struct ps_part){
        .index = index, .n_shards = n_shards, .set = set, .life = life
    };
}

void whole_set(uint64_t life, uint64_t set)
{
    for (uint32_t i = 0; i < 4; i++)
        put_on_disk(i / EACH, i, 4, life, set);
}

void damage(uint32_t psd, uint64_t set)
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

static void shard_hears(uint16_t shard, const struct ps_header *ask)
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

void psd_joins(uint32_t psd)
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

void psd_beats(uint32_t psd)
{
    struct ps_header h = { .kind = PS_MSG_BEAT, .request = 7 };

    h.session = psds[psd].control;
    if (psd > 0 && psds[psd].there && psds[psd].control)
        say(1000 + psd, &h);
}

static void psds_beat(void)
{
    for (uint32_t i = 1; i < N_PSDS; i++)
        psd_beats(i);
}

void psd_ends(uint32_t psd)
{
    struct ps_header h = { .kind = PS_MSG_PART, .request = 8 };

    psds[psd].there = false;
    h.session = psds[psd].control;
    say(1000 + psd, &h);
}

void psd_restarts(uint32_t psd)
{
    psd_joins(psd);
}

/* ---- the workers ----------------------------------------------------------------- */

struct ps_job_spec saved_job(uint32_t strategy, uint32_t workers)
{
    struct ps_job_spec spec = spec_of("lenet", workers);

    spec.strategy = strategy;
    spec.snapshot_every = 10;
    return spec;
}

uint64_t resume(const struct worker *w)
{
    return hello_again(w, fresh(), "lenet");
}

uint64_t create(const struct worker *w, const char *name)
{
    struct ps_matrix_spec spec = matrix_spec(name, 600, 600);

    return ask_matrix(w, fresh(), PS_FLAG_CREATE, &spec);
}

/* ---- looking --------------------------------------------------------------------- */

size_t place(uint32_t shard, uint32_t kind)
{
    for (size_t i = 0; i < n_sent; i++)
        if (sent[i].route.index == shard && read_head(&sent[i])->kind == kind)
            return i;
    ck_abort_msg("shard %u was not told %s", shard, ps_kind_name(kind));
    return 0;
}

void expect_back_at(uint64_t life, uint64_t set)
{
    for (uint32_t i = 0; i < 4; i++) {
        ck_assert_uint_eq(fakes[i].n_loaded, 1);
        ck_assert_uint_eq(fakes[i].loaded[0].index, fakes[i].index);
        ck_assert_uint_eq(fakes[i].loaded[0].set, set);
        ck_assert_uint_eq(fakes[i].loaded[0].life, life);
        ck_assert_uint_eq(fakes[i].epoch, fakes[0].epoch);
        ck_assert_uint_eq(fakes[i].n_matrices, fakes[0].n_matrices);
    }
    expect_word("lenet", "running");
}

/* ---- what is saved --------------------------------------------------------------- */

void say_saved(uint32_t shard, uint64_t epoch, uint64_t life, uint64_t set)
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

void save(uint32_t shard, uint64_t set)
{
    say_saved(shard, fakes[shard].epoch, fakes[shard].life, set);
}

/* ---- situations ------------------------------------------------------------------ */

void new_coordinator(void)
{
    struct psd_coordinator_options options = usual_options();

    options.recovery_wait_ns = RECOVERY_WAIT;
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

void two_psds(void)
{
    static const struct play play = { .shard_hears = shard_hears,
                                      .has_worked = keep_state,
                                      .second = psds_beat };

    memset(psds, 0, sizeof(psds));
    memset(fakes, 0, sizeof(fakes));
    for (uint32_t i = 0; i < N_PSDS; i++)
        psds[i].control = 0xc00 + 0x100 * i;
    kind_held = 0;
    open_world(&play);
    new_coordinator();
    add_own_shards();
    psd_joins(1);
}

void coordinator_restarts(void)
{
    psd_coordinator_free(&c);
    ps_outbox_clear(&out);
    new_coordinator();
    ck_assert_ok(psd_coordinator_restore(c, now, state->data, state->len));
    add_own_shards();
    keep_state();
    wait_for(SECOND / 2);
}

void stop(void)
{
    ps_buf_drop(&state);
    close_world();
}

struct worker bsp_job(void)
{
    struct ps_job_spec spec = saved_job(PS_BSP, 1);
    struct worker      w = join_as(1, 0, &spec);

    create(&w, "fc1");
    return w;
}

TCase *tcase(Suite *s, const char *name)
{
    TCase *t = tcase_create(name);

    tcase_add_checked_fixture(t, two_psds, stop);
    suite_add_tcase(s, t);
    return t;
}
