/*
 * data_idx.c - IDX (as of MNIST): two zero bytes, a type byte, the number of
 * dimensions, each dimension as a big-endian u32, then the values.
 *
 * A file is read to its end whatever `limit` says, so that a damaged one is found on
 * the first day and not when somebody asks for all of it.
 */
#include "worker/data.h"

#include <inttypes.h>
#include <math.h>
#include <stdlib.h>

#define IDX_U8 0x08u
#define IDX_DIMENSIONS_MAX 8u

/* The most that deflate can shrink anything (zlib.net/zlib_tech.html). */
#define DEFLATE_RATIO_MAX 1032u

/* An IDX file while it is read. */
struct idx {
    struct data_file file;
    uint32_t         n_dims;
    uint32_t         dim[IDX_DIMENSIONS_MAX];
};

static ps_status idx_read_header(struct idx *x)
{
    uint8_t   head[4 + 4 * IDX_DIMENSIONS_MAX];
    uint64_t  got;
    ps_status st = psw_file_read(&x->file, head, 4, &got);

    if (st)
        return st;
    if (got < 4)
        return ps_fail(PS_ERR_DATA,
                       "data %s: truncated: %" PRIu64 " bytes, expected an IDX header",
                       x->file.name, got);
    if (head[0] || head[1])
        return ps_fail(PS_ERR_DATA,
                       "data %s: not an IDX file: it begins with %02x %02x, expected "
                       "00 00",
                       x->file.name, head[0], head[1]);
    if (head[2] != IDX_U8)
        return ps_fail(PS_ERR_DATA,
                       "data %s: element type 0x%02x, expected 0x08 (unsigned bytes)",
                       x->file.name, head[2]);
    x->n_dims = head[3];
    if (x->n_dims < 1 || x->n_dims > IDX_DIMENSIONS_MAX)
        return ps_fail(PS_ERR_DATA, "data %s: %u dimensions, expected 1 to %u",
                       x->file.name, x->n_dims, IDX_DIMENSIONS_MAX);
    st = psw_file_read(&x->file, head, 4 * x->n_dims, &got);
    if (st)
        return st;
    if (got < 4 * x->n_dims)
        return ps_fail(PS_ERR_DATA, "data %s: truncated within its header",
                       x->file.name);
    for (uint32_t i = 0; i < x->n_dims; i++)
        x->dim[i] = (uint32_t)head[4 * i] << 24 | (uint32_t)head[4 * i + 1] << 16 |
                    (uint32_t)head[4 * i + 2] << 8 | head[4 * i + 3];
    return PS_OK;
}

/* Values per sample, and whether a file of this size can hold what it claims. */
static ps_status idx_check_size(const struct idx *x, uint64_t *per_sample)
{
    uint64_t each = 1, all;
    bool     absurd = false;

    for (uint32_t i = 1; i < x->n_dims; i++)
        absurd |= __builtin_mul_overflow(each, x->dim[i], &each);
    absurd |= __builtin_mul_overflow(each, x->dim[0], &all);
    if (x->dim[0] == 0 || each == 0)
        return ps_fail(PS_ERR_DATA, "data %s: holds no samples, expected at least one",
                       x->file.name);
    if (absurd || all / DEFLATE_RATIO_MAX > x->file.bytes)
        return ps_fail(PS_ERR_DATA,
                       "data %s: truncated or damaged: its header says %u samples, "
                       "which %" PRIu64 " bytes cannot hold",
                       x->file.name, x->dim[0], x->file.bytes);
    *per_sample = each;
    return PS_OK;
}

/* Reads what is not kept, and that nothing follows. */
static ps_status idx_read_rest(struct idx *x, uint64_t per_sample, uint64_t kept)
{
    static const unsigned step = 64u << 10;
    uint64_t              all = x->dim[0] * per_sample, seen = kept, got;
    ps_status             st = PS_OK;
    uint8_t              *scratch = malloc(step);

    if (!scratch)
        return ps_fail(PS_ERR_NO_MEMORY, "data %s: no memory to read it", x->file.name);
    while (!st && seen < all) {
        uint64_t want = all - seen < step ? all - seen : step;

        st = psw_file_read(&x->file, scratch, want, &got);
        seen += got;
        if (!st && got < want)
            st = ps_fail(PS_ERR_DATA,
                         "data %s: truncated: values of %" PRIu64
                         " samples, expected %u",
                         x->file.name, seen / per_sample, x->dim[0]);
    }
    if (!st)
        st = psw_file_read(&x->file, scratch, 1,
                           &got); /* its gzip checksum shows here too */
    if (!st && got)
        st = ps_fail(PS_ERR_DATA,
                     "data %s: more bytes than the %u samples of its header",
                     x->file.name, x->dim[0]);
    free(scratch);
    return st;
}

/* The first `limit` samples (0: all) after the header. */
static ps_status idx_read_values(struct idx *x, uint64_t limit, uint64_t per_sample,
                                 uint8_t **out, uint64_t *n)
{
    uint64_t  got, keep = limit && limit < x->dim[0] ? limit : x->dim[0];
    uint8_t  *values = malloc(keep * per_sample);
    ps_status st;

    if (!values)
        return ps_fail(PS_ERR_NO_MEMORY, "data %s: no memory for %" PRIu64 " samples",
                       x->file.name, keep);
    *out = values;
    *n = keep;
    st = psw_file_read(&x->file, values, keep * per_sample, &got);
    return st ? st : idx_read_rest(x, per_sample, got);
}

static ps_status read_features(struct ps_data *d, struct idx *x, uint64_t limit)
{
    ps_status st = idx_read_header(x);

    if (st)
        return st;
    if (x->n_dims < 2)
        return ps_fail(PS_ERR_DATA,
                       "data %s: 1 dimension, expected 2 or more for features",
                       x->file.name);
    st = idx_check_size(x, &d->n_features);
    return st ? st : idx_read_values(x, limit, d->n_features, &d->bytes, &d->n);
}

static ps_status read_labels(struct ps_data *d, struct idx *x, uint64_t limit)
{
    uint64_t  n, one;
    ps_status st = idx_read_header(x);

    if (st)
        return st;
    if (x->n_dims != 1)
        return ps_fail(PS_ERR_DATA, "data %s: %u dimensions, expected 1 for labels",
                       x->file.name, x->n_dims);
    st = idx_check_size(x, &one);
    return st ? st : idx_read_values(x, limit, one, &d->labels, &n);
}

/* Counts instead of sums: exact, and the values are read once. */
static void measure(struct ps_data *d)
{
    uint64_t count[256] = { 0 }, all = d->n * d->n_features;
    double   sum = 0, squares = 0;

    for (uint64_t i = 0; i < all; i++)
        count[d->bytes[i]]++;
    for (int v = 0; v < 256; v++)
        sum += (double)count[v] * v;
    d->mean = sum / (double)all;
    for (int v = 0; v < 256; v++)
        squares += (double)count[v] * (v - d->mean) * (v - d->mean);
    d->deviation = sqrt(squares / (double)all);

    for (uint64_t i = 0; i < d->n; i++)
        if (d->labels[i] >= d->n_classes)
            d->n_classes = d->labels[i] + 1u;
}

static ps_status load(struct ps_data *d, struct idx *features, struct idx *labels,
                      const char *features_file, const char *labels_file,
                      uint64_t limit)
{
    ps_status st = psw_file_open(&features->file, features_file);

    if (!st)
        st = read_features(d, features, limit);
    if (!st)
        st = psw_file_open(&labels->file, labels_file);
    if (!st)
        st = read_labels(d, labels, limit);
    if (st)
        return st;
    if (features->dim[0] != labels->dim[0])
        return ps_fail(PS_ERR_DATA,
                       "data %s: %u labels, expected one for each of the %u samples of "
                       "%s",
                       labels_file, labels->dim[0], features->dim[0], features_file);
    d->at.order = malloc(d->n * sizeof(*d->at.order));
    if (!d->at.order)
        return ps_fail(PS_ERR_NO_MEMORY, "data %s: no memory for its order",
                       features_file);
    measure(d);
    return PS_OK;
}

ps_status ps_data_open_idx(ps_data **out, const char *features, const char *labels,
                           uint64_t limit)
{
    struct idx      f = { 0 }, l = { 0 };
    struct ps_data *d;
    ps_status       st;

    if (!out || !features || !labels)
        return ps_fail(PS_ERR_BAD_ARG, "data: two file names are needed, features and "
                                       "labels");
    d = calloc(1, sizeof(*d));
    if (!d)
        return ps_fail(PS_ERR_NO_MEMORY, "data %s: no memory to read it", features);
    st = load(d, &f, &l, features, labels, limit);
    psw_file_close(&f.file);
    psw_file_close(&l.file);
    if (st)
        ps_data_close(&d);
    else
        *out = d;
    return st;
}
