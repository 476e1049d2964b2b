/*
 * shard.c - a shard that gets whatever anybody sends.
 *
 * The first byte chooses the job, which the test creates with two workers, an observer
 * and three matrices; the rest are steps: messages, repetitions of the last one, time.
 *
 * Everything that leaves is well formed.  What is refused leaves the model, the clocks
 * and the accounts of what was seen as they were; a push sent again, whatever became of
 * it, changes nothing either, and is answered in the same words.
 */
#include "tests/fuzz/fuzz.h"

#include "server/shard/errand.h"
#include "server/shard/request.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#define CONTROL 200u /* the secrets are bytes, so that the input can name them */
#define OBSERVER 100u
#define SESSION(rank) (10u + (rank))
#define WORKERS 2u
#define STEPS_MAX 200u
#define ELEMENTS_MAX (1u << 18) /* of a matrix that the input makes */
#define JOBS_MAX 4u

static struct psd_shard *shard;
static struct ps_outbox  out;
static uint64_t          now, last_request;

/* ---- what must not change ------------------------------------------------------ */

static void mix(uint64_t *digest, const void *bytes, size_t n)
{
    for (size_t i = 0; i < n; i++)
        *digest = (*digest ^ ((const uint8_t *)bytes)[i]) * UINT64_C(0x100000001b3);
}

#define MIX(digest, value) mix(digest, &(value), sizeof(value))

static void mix_matrix(uint64_t *digest, const struct psd_matrix *m)
{
    MIX(digest, m->steps);
    for (size_t i = 0; i < m->n_chunks; i++) {
        mix(digest, m->chunks[i].value->data, m->chunks[i].value->len);
        for (uint32_t s = 0; s < m->n_state; s++)
            mix(digest, m->chunks[i].state[s]->data, m->chunks[i].state[s]->len);
    }
}

static void mix_seat(uint64_t *digest, const struct psd_seat *seat)
{
    MIX(digest, seat->session);
    MIX(digest, seat->incarnation);
    MIX(digest, seat->state);
    MIX(digest, seat->window.low);
    MIX(digest, seat->window.bits);
    MIX(digest, seat->n_parts);
    MIX(digest, seat->parts);
    MIX(digest, seat->n_held);
    MIX(digest, seat->weight);
}

/* Rows of sparse matrices are created at the first look, so only their number would
 * change, and it may. */
static uint64_t digest_of(void)
{
    uint64_t digest = 1;

    for (size_t i = 0; i < shard->n_jobs; i++) {
        struct psd_job *job = shard->jobs[i];
        uint64_t        clock = psd_gate_clock(job->gate);

        MIX(&digest, job->number);
        MIX(&digest, job->version);
        MIX(&digest, job->membership_epoch);
        MIX(&digest, job->stirs);
        MIX(&digest, clock);
        for (uint32_t n = 0; n < 16; n++)
            if (psd_store_find(job->store, n))
                mix_matrix(&digest, psd_store_find(job->store, n));
        for (uint32_t r = 0; r < job->spec.workers; r++)
            mix_seat(&digest, &job->seats[r]);
    }
    return digest;
}

/* ---- the disk ------------------------------------------------------------------ */

static struct psd_image *saved; /* the last one; NULL: it was read, or there is none */

static void save(struct psd_errand *e)
{
    bool full = e->id % 5 == 0;

    psd_image_free(full ? &e->image : &saved);
    if (!full)
        saved = e->image;
    psd_shard_saved(shard, now, e->id, full ? PS_ERR_SYSTEM : PS_OK, full ? "full" : "",
                    &out);
}

static void read_back(const struct psd_errand *e)
{
    struct psd_image *image = saved;

    saved = NULL;
    psd_shard_loaded(shard, now, e->id, &image, image ? 1 : 0,
                     image ? PS_OK : PS_ERR_DATA, image ? "" : "nothing there", &out);
}

static void list(const struct psd_errand *e)
{
    struct ps_part part = { 0 };

    if (saved)
        part =
            (struct ps_part){ saved->index, saved->n_shards, saved->set, saved->life };
    psd_shard_listed(shard, now, e->id, &part, saved ? 1 : 0, PS_OK, "", &out);
}

static void do_errands(void)
{
    struct psd_errand e;

    while (psd_shard_errand(shard, &e)) {
        fuzz_require(e.n_parts <= PS_SETS_MAX && strlen(e.job) < sizeof(e.job));
        switch (e.kind) {
        case PSD_SAVE: save(&e); break;
        case PSD_LOAD: read_back(&e); break;
        case PSD_LIST: list(&e); break;
        case PSD_FORGET: break;
        }
    }
}

/* ---- messages ------------------------------------------------------------------ */

/* How a request was answered: kind 0, not yet. */
struct answer {
    uint32_t kind;
    int32_t  status;
    uint64_t version;
};

/* Hands it over; every answer is looked at. */
static struct answer give(struct ps_parcel *p, uint64_t request)
{
    struct answer   got = { 0 };
    struct ps_route from = p->route;

    psd_shard_handle(shard, now, p, &out);
    do_errands();
    fuzz_require(p->head == NULL && p->n_frames == 0);
    for (size_t i = 0; i < out.n; i++) {
        const struct ps_header *h = fuzz_sent(&out.parcels[i]);

        if (h->request == request && h->kind != PS_MSG_NOTICE &&
            ps_route_same(&out.parcels[i].route, &from))
            got = (struct answer){ h->kind, h->status, h->version };
    }
    ps_outbox_clear(&out);
    return got;
}

static bool is_modest(const struct ps_header *h)
{
    if (h->kind == PS_MSG_JOB &&
        (shard->n_jobs >= JOBS_MAX || !h->job_spec || h->job_spec->workers > 64))
        return false;
    for (uint32_t i = 0; i < h->n_matrices; i++)
        if (h->matrices[i].cols > ELEMENTS_MAX ||
            h->matrices[i].rows * h->matrices[i].cols > ELEMENTS_MAX)
            return false;
    return true;
}

/* A refusal says no word about the requests that it let go on, so those that a worker
 * reveals by the clock it names may do so. */
static bool may_stir(const struct ps_header *h)
{
    return h->kind == PS_MSG_PUSH || h->kind == PS_MSG_PULL;
}

static void send_twice(struct ps_parcel *p, const struct ps_header *h)
{
    struct ps_parcel twin;
    uint64_t         before = digest_of(), request = h->request, after;
    uint64_t         stirs = 0, stirs_after = 0;
    bool             is_push = h->kind == PS_MSG_PUSH, stirring = may_stir(h);
    struct answer    first, second;

    for (size_t i = 0; i < shard->n_jobs; i++)
        stirs += shard->jobs[i]->stirs;
    ps_parcel_share(&twin, p);
    first = give(p, request);
    for (size_t i = 0; i < shard->n_jobs; i++)
        stirs_after += shard->jobs[i]->stirs;
    after = digest_of();
    if (first.kind == PS_MSG_ERROR && first.status != PS_ERR_STALE &&
        !(stirring && stirs != stirs_after))
        fuzz_require(after == before);
    if (!is_push || first.kind == 0) {
        ps_parcel_drop(&twin);
        return;
    }
    second = give(&twin, request);
    fuzz_require(digest_of() == after);
    fuzz_require(second.kind == first.kind && second.status == first.status);
}

static void send_message(struct fuzz_input *in)
{
    struct fuzz_message m;
    struct ps_header    h;
    struct ps_decoder  *decoder;
    struct ps_parcel    p;
    struct ps_route     route = { .kind = PS_ROUTE_PEER, .bytes = 1 };

    route.id[0] = fuzz_byte(in) % 4;
    fuzz_message(in, &m);
    m.h.request = ++last_request; /* no two requests of an asker have one number */
    if (!fuzz_pack(&m, &route, &p))
        return;
    fuzz_require(ps_decoder_new(&decoder) == PS_OK);
    if (ps_wire_decode(decoder, p.head->data, p.head->len, &h)) {
        uint64_t before = digest_of();

        give(&p, 0);
        fuzz_require(digest_of() == before);
    } else if (is_modest(&h)) {
        send_twice(&p, &h);
    }
    ps_parcel_drop(&p);
    ps_decoder_free(&decoder);
}

/* ---- the job ------------------------------------------------------------------- */

static void control(struct ps_header *h)
{
    struct ps_parcel p = { .route = {
                               .kind = PS_ROUTE_PEER, .bytes = 1, .id = { 9 } } };

    h->request = 1;
    h->job = 1;
    h->session = CONTROL;
    fuzz_require(ps_wire_encode(h, &p.head) == PS_OK);
    fuzz_require(give(&p, 1).kind == PS_MSG_OK);
}

/* Two bits each: strategy, optimiser, scale; one each: not finite, saved. */
static void make_job(uint8_t choice)
{
    static const uint32_t optimisers[] = { PS_SGD, PS_ADAM, PS_FTRL, PS_MOMENTUM };
    static const uint32_t scales[] = { PS_SCALE_NONE, PS_SCALE_STALENESS,
                                       PS_SCALE_VERSIONS, PS_SCALE_DELAY };
    struct ps_job_spec    spec = ps_job_spec_default();
    struct ps_header      h = { .kind = PS_MSG_JOB, .n_shards = 1, .job_spec = &spec };

    strcpy(spec.name, "fuzz");
    spec.workers = WORKERS;
    spec.strategy = PS_BSP + choice % 4;
    spec.slack = 2;
    spec.optimiser = ps_optimiser_spec_default(optimisers[choice / 4 % 4]);
    if (spec.strategy == PS_ASP || spec.strategy == PS_SSP)
        spec.scale = scales[choice / 16 % 4];
    spec.nonfinite = choice / 64 % 2 ? PS_NONFINITE_SKIP : PS_NONFINITE_REFUSE;
    spec.snapshot_every = choice / 128 * 2;
    control(&h);
}

static void make_members(void)
{
    struct ps_member members[WORKERS + 1] = { 0 };
    struct ps_header h = { .kind = PS_MSG_MEMBERS,
                           .membership_epoch = 1,
                           .n_members = WORKERS + 1,
                           .members = members };

    for (uint32_t r = 0; r <= WORKERS; r++)
        members[r] =
            (struct ps_member){ .rank = r < WORKERS ? r : PSD_OBSERVER_RANK,
                                .incarnation = 1,
                                .state = PS_MEMBER_ACTIVE,
                                .session = r < WORKERS ? SESSION(r) : OBSERVER };
    control(&h);
}

static void make_matrix(uint32_t number, uint32_t dtype, bool sparse,
                        uint32_t optimiser)
{
    struct ps_matrix_spec spec = { .name = "m?",
                                   .number = number,
                                   .dtype = dtype,
                                   .sparse = sparse,
                                   .rows = sparse ? 0 : 10,
                                   .cols = 5,
                                   .init = PS_INIT_CONSTANT,
                                   .init_a = 1,
                                   .optimiser = optimiser,
                                   .weight_decay = NAN };
    struct ps_slot_run    run = { 0, sparse ? PS_SPARSE_SLOTS : 1 };
    struct ps_header      h = { .kind = PS_MSG_MATRIX_ADD,
                                .n_matrices = 1,
                                .matrices = &spec,
                                .n_slot_runs = 1,
                                .slot_runs = &run };

    spec.name[1] = (char)('0' + number);
    if (sparse) {
        spec.max_rows = 8;
        spec.evict = PS_EVICT_LRU;
    }
    control(&h);
}

static void pass_time(uint64_t ms)
{
    now += ms * UINT64_C(1000000);
    psd_shard_tick(shard, now, &out);
    do_errands();
    for (size_t i = 0; i < out.n; i++)
        fuzz_sent(&out.parcels[i]);
    ps_outbox_clear(&out);
}

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t n_bytes)
{
    struct fuzz_input        in = { bytes, n_bytes };
    struct psd_shard_options options = { .control = CONTROL,
                                         .backend = &psd_backend_cpu,
                                         .can_save = true };

    fuzz_listen();
    now = last_request = 1;
    fuzz_require(psd_shard_new(&shard, &options) == PS_OK);
    make_job(fuzz_byte(&in));
    make_members();
    make_matrix(1, PS_F32, false, PS_OPTIMISER_JOB);
    make_matrix(2, PS_I64, false, PS_ADD);
    make_matrix(3, PS_F32, true, PS_OPTIMISER_JOB);
    for (unsigned step = 0; in.left > 0 && step < STEPS_MAX; step++) {
        if (fuzz_byte(&in) == 't')
            pass_time(fuzz_number(&in) % 100000);
        else
            send_message(&in);
    }
    psd_shard_close(shard, "the end of the input", &out);
    for (size_t i = 0; i < out.n; i++)
        fuzz_sent(&out.parcels[i]);
    ps_outbox_free(&out);
    psd_shard_free(&shard);
    psd_image_free(&saved);
    return 0;
}
