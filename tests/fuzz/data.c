/*
 * data.c - data sets from files that anybody may have made: IDX, LIBSVM, CSV, plain or
 * through gzip.
 *
 * The first byte says which, the second the limit; of IDX the next number says how long
 * the features are, the rest are labels.  What opens is what its accessors promise, and
 * does not depend on the limit; what does not is one sentence.
 */
#include "tests/fuzz/fuzz.h"

#include <ps/worker.h>

#include <math.h>
#include <string.h>

struct source {
    uint8_t     format;
    const char *features, *labels;
    int         label_column, header;
};

static ps_status open_source(const struct source *s, uint64_t limit, ps_data **out)
{
    ps_status st;

    fuzz_listen();
    switch (s->format) {
    case 'i': st = ps_data_open_idx(out, s->features, s->labels, limit); break;
    case 'l': st = ps_data_open_libsvm(out, s->features, limit); break;
    default:
        st = ps_data_open_csv(out, s->features, s->label_column, s->header, limit);
        break;
    }
    fuzz_heard(st);
    fuzz_require(st == PS_OK || st == PS_ERR_DATA || st == PS_ERR_NO_MEMORY ||
                 st == PS_ERR_BAD_ARG);
    return st;
}

static void check_row(const ps_data *d, uint64_t i)
{
    const uint64_t *indices;
    const float    *values;
    uint64_t        n;

    fuzz_require(ps_data_row(d, i, &indices, &values, &n) == PS_OK);
    for (uint64_t k = 0; k < n; k++) {
        fuzz_require(indices[k] < ps_data_features(d) && isfinite(values[k]));
        fuzz_require(k == 0 || indices[k] > indices[k - 1]);
    }
}

static void check_sample(const struct source *s, const ps_data *d, uint64_t i)
{
    uint64_t features = ps_data_features(d);
    unsigned sum = 0;

    if (ps_data_classes(d) > 0)
        fuzz_require(ps_data_label(d, i) < ps_data_classes(d));
    if (s->format == 'l') {
        check_row(d, i);
    } else if (s->format == 'i') {
        for (uint64_t k = 0; k < features; k++)
            sum += ps_data_sample(d, i)[k];
        fuzz_require(sum <= 255 * features);
    } else {
        for (uint64_t k = 0; k < features; k++)
            fuzz_require(isfinite(ps_data_dense(d, i)[k]));
    }
    if (s->format != 'i')
        fuzz_require(isfinite(ps_data_target(d, i)));
}

/* Every sample of an epoch is one of the data set. */
static void check_batches(ps_data *d)
{
    ps_batch batch;
    uint64_t each = ps_data_iterations(d, 2, 1);

    for (uint64_t i = 0; i < each; i++) {
        fuzz_require(ps_data_epoch_batch(d, 7, 1, 2, 1, 3, i, &batch) == PS_OK);
        for (uint32_t k = 0; k < batch.n; k++)
            fuzz_require(batch.sample[k] < ps_data_n(d));
    }
}

static void look(const struct source *s, ps_data *d, uint64_t limit)
{
    double mean, deviation;

    fuzz_require(ps_data_n(d) > 0 && (limit == 0 || ps_data_n(d) <= limit));
    for (uint64_t i = 0; i < ps_data_n(d); i++)
        check_sample(s, d, i);
    ps_data_moments(d, &mean, &deviation);
    fuzz_require(isfinite(mean) && deviation >= 0);
    check_batches(d);
}

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t n_bytes)
{
    struct fuzz_input in = { bytes, n_bytes };
    struct source     s = { .format = fuzz_byte(&in) };
    uint64_t          limit = fuzz_byte(&in);
    ps_data          *all, *some;
    ps_status         st;

    if (s.format == 'i') {
        const uint8_t *at;
        size_t         n = fuzz_take(&in, fuzz_number(&in), &at);

        s.features = fuzz_file(0, at, n);
        s.labels = fuzz_file(1, in.at, in.left);
    } else {
        uint8_t flags = fuzz_byte(&in);

        s.header = flags & 1;
        s.label_column = (flags >> 1) % 8 - 4;
        s.features = fuzz_file(0, in.at, in.left);
    }
    st = open_source(&s, 0, &all);
    if (st == PS_OK)
        look(&s, all, 0);
    fuzz_require(open_source(&s, limit, &some) == st);
    if (st == PS_OK) {
        look(&s, some, limit);
        ps_data_close(&all);
        ps_data_close(&some);
    }
    return 0;
}
