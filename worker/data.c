/*
 * data.c - data sets in memory, and which samples belong to which iteration.
 *
 * IDX (as of MNIST): two zero bytes, a type byte, the number of dimensions, each
 * dimension as a big-endian u32, then the values.  zlib reads plain and gzip files
 * alike.  A file is read to its end whatever `limit` says, so that a damaged one is
 * found on the first day and not when somebody asks for all of it.
 *
 * The order of samples is one permutation per epoch, a function of (seed, epoch)
 * alone; ranks and iterations are positions in it.  Under a partition it is one
 * permutation of the worker's part per epoch, a function of (seed, rank, epoch).
 */
#include <ps/worker.h>

#include "common/base/random.h"
#include "common/base/status.h"

#include <fcntl.h>
#include <inttypes.h>
#include <math.h>
#include <stdbool.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>
#include <zlib.h>

#define IDX_U8 0x08u
#define IDX_DIMENSIONS_MAX 8u

/* The most that deflate can shrink anything (zlib.net/zlib_tech.html). */
#define DEFLATE_RATIO_MAX 1032u

/* "order of samples", mixed with the epoch; "part", which makes a worker's own seed. */
#define ORDER_STREAM 0x6f72646572000000u
#define PART_STREAM 0x7061727400000000u

struct ps_data {
    uint8_t *features; /* [n][n_features] */
    uint8_t *labels;   /* [n] */
    uint64_t n, n_features;
    uint32_t n_classes;
    double   mean, deviation;
    /* `order` is for (seed, rank, workers, epoch) if `ordered`, `part` for the first
     * three if `parted`. */
    struct sample_order {
        uint32_t *order; /* [n] the samples of `epoch`, first those of the part */
        uint32_t *part;  /* [n], under a partition: the worker's samples */
        uint64_t  n_part;
        uint64_t  seed, epoch;
        uint32_t  rank, workers;
        bool      ordered, parted;
    } at;
    ps_partition partition;
};

/* An IDX file while it is read. */
struct idx {
    const char *file;
    gzFile      gz;
    uint64_t    file_bytes; /* on disk */
    uint32_t    n_dims;
    uint32_t    dim[IDX_DIMENSIONS_MAX];
};

static ps_status idx_open(struct idx *x, const char *file)
{
    struct stat s;
    int         fd = open(file, O_RDONLY | O_CLOEXEC);

    *x = (struct idx){ .file = file };
    if (fd < 0)
        return ps_fail(PS_ERR_DATA, "data %s: cannot be opened: %m", file);
    if (fstat(fd, &s) == 0 && !S_ISREG(s.st_mode)) {
        close(fd);
        return ps_fail(PS_ERR_DATA, "data %s: not a file", file);
    }
    x->file_bytes = (uint64_t)s.st_size;
    x->gz = gzdopen(fd, "rb");
    if (!x->gz) {
        close(fd);
        return ps_fail(PS_ERR_NO_MEMORY, "data %s: no memory to read it", file);
    }
    gzbuffer(x->gz, 128u << 10);
    return PS_OK;
}

static void idx_close(struct idx *x)
{
    if (x->gz)
        gzclose(x->gz);
    x->gz = NULL;
}

/* What zlib or the system says is wrong, if anything is. */
static ps_status idx_health(const struct idx *x)
{
    int         code;
    const char *text = gzerror(x->gz, &code);

    switch (code) {
    case Z_OK:
    case Z_STREAM_END: return PS_OK;
    case Z_BUF_ERROR:
        return ps_fail(PS_ERR_DATA, "data %s: truncated: its gzip stream has no end",
                       x->file);
    case Z_ERRNO: return ps_fail(PS_ERR_DATA, "data %s: cannot be read: %m", x->file);
    default:
        return ps_fail(PS_ERR_DATA, "data %s: damaged gzip stream: %s", x->file, text);
    }
}

/* As many of `want` bytes as the file still has. */
static ps_status idx_read(struct idx *x, void *to, uint64_t want, uint64_t *got)
{
    *got = 0;
    while (*got < want) {
        uint64_t left = want - *got;
        unsigned part = left < (1u << 30) ? (unsigned)left : 1u << 30;
        int      n = gzread(x->gz, (uint8_t *)to + *got, part);

        if (n <= 0)
            break;
        *got += (uint64_t)n;
    }
    return *got < want ? idx_health(x) : PS_OK;
}

static ps_status idx_read_header(struct idx *x)
{
    uint8_t   head[4 + 4 * IDX_DIMENSIONS_MAX];
    uint64_t  got;
    ps_status st = idx_read(x, head, 4, &got);

    if (st)
        return st;
    if (got < 4)
        return ps_fail(PS_ERR_DATA,
                       "data %s: truncated: %" PRIu64 " bytes, expected an IDX header",
                       x->file, got);
    if (head[0] || head[1])
        return ps_fail(PS_ERR_DATA,
                       "data %s: not an IDX file: it begins with %02x %02x, expected "
                       "00 00",
                       x->file, head[0], head[1]);
    if (head[2] != IDX_U8)
        return ps_fail(PS_ERR_DATA,
                       "data %s: element type 0x%02x, expected 0x08 (unsigned bytes)",
                       x->file, head[2]);
    x->n_dims = head[3];
    if (x->n_dims < 1 || x->n_dims > IDX_DIMENSIONS_MAX)
        return ps_fail(PS_ERR_DATA, "data %s: %u dimensions, expected 1 to %u", x->file,
                       x->n_dims, IDX_DIMENSIONS_MAX);
    st = idx_read(x, head, 4 * x->n_dims, &got);
    if (st)
        return st;
    if (got < 4 * x->n_dims)
        return ps_fail(PS_ERR_DATA, "data %s: truncated within its header", x->file);
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
                       x->file);
    if (absurd || all / DEFLATE_RATIO_MAX > x->file_bytes)
        return ps_fail(PS_ERR_DATA,
                       "data %s: truncated or damaged: its header says %u samples, "
                       "which %" PRIu64 " bytes cannot hold",
                       x->file, x->dim[0], x->file_bytes);
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
        return ps_fail(PS_ERR_NO_MEMORY, "data %s: no memory to read it", x->file);
    while (!st && seen < all) {
        uint64_t want = all - seen < step ? all - seen : step;

        st = idx_read(x, scratch, want, &got);
        seen += got;
        if (!st && got < want)
            st = ps_fail(PS_ERR_DATA,
                         "data %s: truncated: values of %" PRIu64
                         " samples, expected %u",
                         x->file, seen / per_sample, x->dim[0]);
    }
    if (!st)
        st = idx_read(x, scratch, 1, &got); /* its gzip checksum shows here too */
    if (!st && got)
        st = ps_fail(PS_ERR_DATA,
                     "data %s: more bytes than the %u samples of its header", x->file,
                     x->dim[0]);
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
                       x->file, keep);
    *out = values;
    *n = keep;
    st = idx_read(x, values, keep * per_sample, &got);
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
                       x->file);
    st = idx_check_size(x, &d->n_features);
    return st ? st : idx_read_values(x, limit, d->n_features, &d->features, &d->n);
}

static ps_status read_labels(struct ps_data *d, struct idx *x, uint64_t limit)
{
    uint64_t  n, one;
    ps_status st = idx_read_header(x);

    if (st)
        return st;
    if (x->n_dims != 1)
        return ps_fail(PS_ERR_DATA, "data %s: %u dimensions, expected 1 for labels",
                       x->file, x->n_dims);
    st = idx_check_size(x, &one);
    return st ? st : idx_read_values(x, limit, one, &d->labels, &n);
}

/* Counts instead of sums: exact, and the values are read once. */
static void measure(struct ps_data *d)
{
    uint64_t count[256] = { 0 }, all = d->n * d->n_features;
    double   sum = 0, squares = 0;

    for (uint64_t i = 0; i < all; i++)
        count[d->features[i]]++;
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
    ps_status st = idx_open(features, features_file);

    if (!st)
        st = read_features(d, features, limit);
    if (!st)
        st = idx_open(labels, labels_file);
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
    idx_close(&f);
    idx_close(&l);
    if (st)
        ps_data_close(&d);
    else
        *out = d;
    return st;
}

void ps_data_close(ps_data **data)
{
    if (!data || !*data)
        return;
    free((*data)->features);
    free((*data)->labels);
    free((*data)->at.order);
    free((*data)->at.part);
    free(*data);
    *data = NULL;
}

uint64_t ps_data_n(const ps_data *d)
{
    return d->n;
}

uint64_t ps_data_features(const ps_data *d)
{
    return d->n_features;
}

uint32_t ps_data_classes(const ps_data *d)
{
    return d->n_classes;
}

const uint8_t *ps_data_sample(const ps_data *d, uint64_t i)
{
    return i < d->n ? d->features + i * d->n_features : NULL;
}

uint32_t ps_data_label(const ps_data *d, uint64_t i)
{
    return i < d->n ? d->labels[i] : 0;
}

void ps_data_moments(const ps_data *d, double *mean, double *deviation)
{
    *mean = d->mean;
    *deviation = d->deviation;
}

ps_status ps_data_partition(ps_data *d, ps_partition scheme)
{
    if ((int)scheme < PS_PARTITION_NONE || scheme > PS_PARTITION_OVERLAP_RESHUFFLE)
        return ps_fail(PS_ERR_BAD_ARG, "data: partition %d, expected %d to %d",
                       (int)scheme, PS_PARTITION_NONE, PS_PARTITION_OVERLAP_RESHUFFLE);
    if (scheme != PS_PARTITION_NONE && !d->at.part)
        d->at.part = malloc(d->n * sizeof(*d->at.part));
    if (scheme != PS_PARTITION_NONE && !d->at.part)
        return ps_fail(PS_ERR_NO_MEMORY,
                       "data: no memory for a part of %" PRIu64 " samples", d->n);
    d->partition = scheme;
    d->at.ordered = d->at.parted = false;
    return PS_OK;
}

uint64_t ps_data_iterations(const ps_data *d, uint32_t workers, uint32_t batch)
{
    uint64_t round = (uint64_t)workers * batch;

    if (d->partition == PS_PARTITION_OVERLAP_RESHUFFLE)
        round = workers ? batch : 0; /* everybody sees everything */
    return round ? d->n / round : 0;
}

static ps_status take_part(struct ps_data *d, uint64_t seed, uint32_t rank,
                           uint32_t workers)
{
    struct sample_order *at = &d->at;
    ps_status            st;

    if (at->parted && at->seed == seed && at->rank == rank && at->workers == workers)
        return PS_OK;
    st = ps_partition_samples(d->partition, d->n, workers, rank, seed, at->part,
                              &at->n_part);
    at->parted = st == PS_OK;
    at->ordered = false;
    at->rank = rank;
    at->workers = workers;
    return st;
}

/* The samples of the epoch into `order`: all of them, or the worker's own. */
static ps_status order_epoch(struct ps_data *d, uint64_t seed, uint32_t rank,
                             uint32_t workers, uint64_t epoch)
{
    struct sample_order *at = &d->at;
    bool                 parts = d->partition != PS_PARTITION_NONE;
    ps_status            st = parts ? take_part(d, seed, rank, workers) : PS_OK;

    if (st || (at->ordered && at->seed == seed && at->epoch == epoch))
        return st;
    ps_random_permutation(parts ? ps_random_u64(seed, PART_STREAM, rank) : seed,
                          ORDER_STREAM ^ epoch, parts ? at->n_part : d->n, at->order);
    for (uint64_t i = 0; parts && i < at->n_part; i++)
        at->order[i] = at->part[at->order[i]];
    at->seed = seed;
    at->epoch = epoch;
    at->ordered = true;
    return PS_OK;
}

ps_status ps_data_batch(ps_data *d, uint64_t seed, uint32_t rank, uint32_t workers,
                        uint32_t batch, uint64_t clock, ps_batch *out)
{
    uint64_t  iterations = ps_data_iterations(d, workers, batch);
    uint64_t  first;
    ps_status st;

    if (!workers || !batch || rank >= workers)
        return ps_fail(
            PS_ERR_BAD_ARG,
            "data: rank %u of %u workers with batches of %u, expected a rank "
            "below the workers and a batch of 1 or more",
            rank, workers, batch);
    if (!iterations)
        return ps_fail(PS_ERR_BAD_ARG,
                       "data: %" PRIu64 " samples are too few for %u workers with "
                       "batches of %u",
                       d->n, workers, batch);
    st = order_epoch(d, seed, rank, workers, clock / iterations);
    if (st)
        return st;
    out->clock = clock;
    out->epoch = clock / iterations;
    out->iteration = clock % iterations;
    first = (out->iteration * workers + rank) * batch;
    out->position = out->epoch * iterations * workers * batch + first;
    out->n = batch;
    out->sample = d->at.order +
                  (d->partition == PS_PARTITION_NONE ? first : out->iteration * batch);
    return PS_OK;
}
