/*
 * snapshot.c - parts of a snapshot that may be anything, all the way into a shard.
 *
 * The first byte is 'r', and the rest one stream as it lies on a disk; or it is how
 * many parts there are, each behind its length, in whole streams: so that what the
 * checksums keep out gets in.  A shard makes the job that the first part tells of and
 * loads them.
 *
 * What can be read can be written, and reads as the same.  What the shard refuses
 * leaves its model and its clock as they were; what it loads can be saved and loaded
 * again.
 */
#include "tests/fuzz/fuzz.h"

#include "server/shard/errand.h"
#include "server/shard/request.h"
#include "server/snapshot/stream.h"

#include <stdlib.h>
#include <string.h>

#define CONTROL 200u
#define PARTS_MAX 3u
#define ELEMENTS_MAX (1u << 16) /* of a matrix that the input makes */
#define MATRICES_MAX 8u

/* A stream in memory. */
struct tape {
    uint8_t *bytes;
    size_t   n, at;
};

static struct psd_shard *shard;
static struct ps_outbox  out;
static uint64_t          last_request;

static ps_status record(void *ctx, const void *bytes, size_t n)
{
    struct tape *t = ctx;

    fuzz_require(n > 0);
    t->bytes = realloc(t->bytes, t->n + n);
    fuzz_require(t->bytes != NULL);
    memcpy(t->bytes + t->n, bytes, n);
    t->n += n;
    return PS_OK;
}

static ps_status play(void *ctx, void *bytes, size_t n)
{
    struct tape *t = ctx;

    fuzz_require(n > 0);
    if (n > t->n - t->at)
        return ps_fail(PS_ERR_DATA, "the tape has ended");
    memcpy(bytes, t->bytes + t->at, n);
    t->at += n;
    return PS_OK;
}

/* ---- images -------------------------------------------------------------------- */

static struct tape write_image(const struct psd_image *image)
{
    struct tape t = { 0 };

    fuzz_require(psd_image_write(image, record, &t) == PS_OK);
    return t;
}

static struct psd_image *read_image(struct tape *t)
{
    struct psd_image *image = NULL;
    ps_status         st;

    fuzz_listen();
    st = psd_image_read(&image, play, t);
    fuzz_heard(st);
    fuzz_require(st == PS_OK || st == PS_ERR_DATA || st == PS_ERR_NO_MEMORY);
    fuzz_require(!st == (image != NULL));
    return image;
}

/* What was read is written and read once more; the same bytes come of it. */
static void check_round(const struct psd_image *image)
{
    struct tape       first = write_image(image), second;
    struct psd_image *again = read_image(&first);

    fuzz_require(again != NULL && first.at == first.n);
    second = write_image(again);
    fuzz_require(first.n == second.n && !memcmp(first.bytes, second.bytes, first.n));
    psd_image_free(&again);
    free(first.bytes);
    free(second.bytes);
}

static struct psd_image *take_image(struct fuzz_input *in, bool raw)
{
    struct psd_writer w;
    struct tape       t = { 0 };
    const uint8_t    *at;
    size_t            n = fuzz_take(in, raw ? in->left : fuzz_number(in), &at);
    struct psd_image *image;

    if (raw) {
        if (n > 0)
            fuzz_require(record(&t, at, n) == PS_OK);
    } else {
        psd_writer_open(&w, record, &t);
        psd_put(&w, at, n);
        fuzz_require(psd_writer_close(&w) == PS_OK);
    }
    image = read_image(&t);
    free(t.bytes);
    if (image)
        check_round(image);
    return image;
}

/* ---- the shard ----------------------------------------------------------------- */

static uint32_t answered(uint64_t request)
{
    uint32_t kind = 0;

    for (size_t i = 0; i < out.n; i++) {
        const struct ps_header *h = fuzz_sent(&out.parcels[i]);

        if (h->request == request)
            kind = h->kind;
    }
    ps_outbox_clear(&out);
    return kind;
}

/* Kind of the answer; 0: not yet. */
static uint32_t order(struct ps_header *h)
{
    struct ps_parcel p = { .route = {
                               .kind = PS_ROUTE_PEER, .bytes = 1, .id = { 9 } } };

    h->request = ++last_request;
    h->job = 1;
    h->session = CONTROL;
    fuzz_require(ps_wire_encode(h, &p.head) == PS_OK);
    psd_shard_handle(shard, 1, &p, &out);
    return answered(h->request);
}

static bool is_modest(const struct psd_image *image)
{
    const struct psd_capture *c = image->model;

    for (uint32_t i = 0; i < c->n_matrices; i++)
        if (ps_matrix_elements(&c->matrices[i].spec) > ELEMENTS_MAX ||
            c->matrices[i].spec.cols > ELEMENTS_MAX)
            return false;
    return image->spec.workers <= 64 && c->n_matrices <= MATRICES_MAX;
}

static bool make_job(const struct psd_image *image, bool alone)
{
    struct ps_job_spec spec = image->spec;
    struct ps_header   h = { .kind = PS_MSG_JOB,
                             .job_spec = &spec,
                             .run = image->run,
                             .index = alone ? image->index : 0,
                             .n_shards = alone ? image->n_shards : 1 };

    strcpy(spec.name, image->job);
    return order(&h) == PS_MSG_OK;
}

/* The whole matrix is the shard's. */
static void make_matrix(const struct ps_matrix_spec *spec, uint32_t index)
{
    struct ps_matrix_spec named = *spec;
    struct ps_place       place;
    struct ps_slot_run    run = { .shard = index };
    struct ps_header      h = { .kind = PS_MSG_MATRIX_ADD,
                                .n_matrices = 1,
                                .matrices = &named,
                                .n_slot_runs = 1,
                                .slot_runs = &run };

    ps_place_cut(&place, spec);
    run.n_slots = place.n_slots;
    order(&h);
}

static void mix(uint64_t *digest, const void *bytes, size_t n)
{
    for (size_t i = 0; i < n; i++)
        *digest = (*digest ^ ((const uint8_t *)bytes)[i]) * UINT64_C(0x100000001b3);
}

/* Of the model and of what is counted. */
static uint64_t digest_of(const struct psd_job *job)
{
    const uint64_t numbers[] = { job->version, psd_gate_clock(job->gate),
                                 psd_gate_epochs(job->gate), job->membership_epoch,
                                 psd_store_account(job->store).rows };
    uint64_t       digest = 1;

    mix(&digest, numbers, sizeof(numbers));
    for (const struct psd_matrix *m = psd_store_next(job->store, 0); m;
         m = psd_store_next(job->store, m->spec.number)) {
        mix(&digest, &m->steps, sizeof(m->steps));
        for (size_t i = 0; i < m->n_chunks; i++)
            mix(&digest, m->chunks[i].value->data, m->chunks[i].value->len);
    }
    for (uint32_t r = 0; r < job->spec.workers; r++)
        mix(&digest, &job->seats[r].window, sizeof(job->seats[r].window));
    return digest;
}

/* What was loaded is saved, as it is, and reads. */
static void save_again(void)
{
    struct ps_header  h = { .kind = PS_MSG_SNAPSHOT,
                            .clock = psd_gate_clock(shard->jobs[0]->gate) };
    struct psd_errand e;

    order(&h);
    while (psd_shard_errand(shard, &e))
        if (e.kind == PSD_SAVE) {
            check_round(e.image);
            psd_image_free(&e.image);
            psd_shard_saved(shard, 1, e.id, PS_OK, NULL, &out);
            fuzz_require(answered(h.request) == PS_MSG_OK);
        }
}

static void load(struct psd_image **images, uint32_t n)
{
    struct ps_part    parts[PARTS_MAX];
    struct ps_header  h = { .kind = PS_MSG_LOAD, .n_sets = n, .sets = parts };
    struct psd_errand e;
    uint64_t          before;
    uint32_t          said;

    for (uint32_t i = 0; i < n; i++)
        parts[i] = (struct ps_part){ images[i]->index, images[i]->n_shards,
                                     images[i]->set, images[i]->life };
    before = digest_of(shard->jobs[0]);
    if (order(&h) != 0)
        return; /* refused */
    fuzz_require(psd_shard_errand(shard, &e) && e.kind == PSD_LOAD);
    psd_shard_loaded(shard, 1, e.id, images, n, PS_OK, NULL, &out);
    said = answered(h.request);
    fuzz_require(said == PS_MSG_OK || said == PS_MSG_ERROR);
    if (said == PS_MSG_ERROR)
        fuzz_require(digest_of(shard->jobs[0]) == before);
    else
        save_again();
}

static void restore(struct psd_image **images, uint32_t n)
{
    struct psd_shard_options options = { .control = CONTROL,
                                         .backend = &psd_backend_cpu,
                                         .can_save = true };
    const bool               alone = n == 1;

    for (uint32_t i = 0; i < n; i++)
        if (!is_modest(images[i]))
            return;
    fuzz_require(psd_shard_new(&shard, &options) == PS_OK);
    if (make_job(images[0], alone)) {
        for (uint32_t i = 0; i < images[0]->model->n_matrices; i++)
            make_matrix(&images[0]->model->matrices[i].spec,
                        alone ? images[0]->index : 0);
        load(images, n);
    }
    psd_shard_close(shard, "the end of the input", &out);
    ps_outbox_free(&out);
    psd_shard_free(&shard);
}

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t n_bytes)
{
    struct fuzz_input in = { bytes, n_bytes };
    struct psd_image *images[PARTS_MAX];
    uint8_t           first = fuzz_byte(&in);
    uint32_t          n = first == 'r' ? 1 : 1 + first % PARTS_MAX, n_read = 0;

    last_request = 0;
    for (uint32_t i = 0; i < n; i++) {
        images[n_read] = take_image(&in, first == 'r');
        n_read += images[n_read] != NULL;
    }
    if (n_read > 0 && n_read == n)
        restore(images, n);
    for (uint32_t i = 0; i < n_read; i++)
        psd_image_free(&images[i]);
    return 0;
}
