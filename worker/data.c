/*
 * data.c - data sets in memory, and which samples belong to which iteration; see
 * data.h.
 *
 * The order of samples is one permutation per epoch, a function of (seed, epoch)
 * alone; ranks and iterations are positions in it.  Under a partition it is one
 * permutation of the worker's part per epoch, a function of (seed, rank, epoch).
 */
#include "worker/data.h"

#include "common/base/random.h"

#include <inttypes.h>
#include <math.h>
#include <stdlib.h>

/* "order of samples", mixed with the epoch; "part", which makes a worker's own seed. */
#define ORDER_STREAM 0x6f72646572000000u
#define PART_STREAM 0x7061727400000000u

ps_status psw_data_label(struct ps_data *d, const struct data_file *f, uint64_t *room,
                         const char *text)
{
    ps_status st;

    if (d->n == UINT32_MAX)
        return ps_fail(PS_ERR_DATA, "data %s:%" PRIu64 ": more than %u samples",
                       f->name, f->line, UINT32_MAX);
    st = psw_file_grow(f, &d->targets, sizeof(*d->targets), room, d->n + 1);
    return st ? st : psw_file_double(f, "label", text, &d->targets[d->n]);
}

/* Classes are whole numbers from 0, or -1 and 1; anything else is a quantity. */
static void find_classes(struct ps_data *d)
{
    double highest = 0;
    bool   negative = false, signs = true, whole = true;

    for (uint64_t i = 0; i < d->n; i++) {
        double t = d->targets[i];

        negative |= t < 0;
        signs &= t == -1 || t == 1;
        whole &= t == floor(t) && t < UINT32_MAX;
        highest = t > highest ? t : highest;
    }
    d->signs = negative && signs;
    if (d->signs)
        d->n_classes = 2;
    else if (whole && !negative)
        d->n_classes = (uint32_t)highest + 1u;
}

static void measure(struct ps_data *d, const float *values, uint64_t n)
{
    double sum = 0, squares = 0;

    if (n == 0)
        return;
    for (uint64_t i = 0; i < n; i++)
        sum += values[i];
    d->mean = sum / (double)n;
    for (uint64_t i = 0; i < n; i++)
        squares += (values[i] - d->mean) * (values[i] - d->mean);
    d->deviation = sqrt(squares / (double)n);
}

ps_status psw_data_finish(struct ps_data *d, const struct data_file *f,
                          const float *values, uint64_t n_values)
{
    if (d->n == 0)
        return ps_fail(PS_ERR_DATA, "data %s: holds no samples, expected at least one",
                       f->name);
    d->at.order = malloc(d->n * sizeof(*d->at.order));
    if (!d->at.order)
        return ps_fail(PS_ERR_NO_MEMORY, "data %s: no memory for its order", f->name);
    find_classes(d);
    measure(d, values, n_values);
    return PS_OK;
}

void ps_data_close(ps_data **data)
{
    if (!data || !*data)
        return;
    free((*data)->bytes);
    free((*data)->dense);
    free((*data)->indices);
    free((*data)->values);
    free((*data)->rows);
    free((*data)->labels);
    free((*data)->targets);
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
    return d->bytes && i < d->n ? d->bytes + i * d->n_features : NULL;
}

uint32_t ps_data_label(const ps_data *d, uint64_t i)
{
    if (i >= d->n || d->n_classes == 0)
        return 0;
    if (d->labels)
        return d->labels[i];
    return d->signs ? d->targets[i] > 0 : (uint32_t)d->targets[i];
}

double ps_data_target(const ps_data *d, uint64_t i)
{
    if (i >= d->n)
        return 0;
    return d->labels ? d->labels[i] : d->targets[i];
}

const float *ps_data_dense(const ps_data *d, uint64_t i)
{
    return d->dense && i < d->n ? d->dense + i * d->n_features : NULL;
}

ps_status ps_data_row(const ps_data *d, uint64_t i, const uint64_t **indices,
                      const float **values, uint64_t *n)
{
    uint64_t first;

    if (!d->rows)
        return ps_fail(PS_ERR_BAD_ARG, "data: not a sparse data set: it has no rows");
    if (i >= d->n)
        return ps_fail(PS_ERR_BAD_ARG, "data: row %" PRIu64 " of %" PRIu64, i, d->n);
    first = d->rows[i];
    *n = d->rows[i + 1] - first;
    *indices = *n ? d->indices + first : NULL;
    *values = *n ? d->values + first : NULL;
    return PS_OK;
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

ps_status ps_data_epoch_batch(ps_data *d, uint64_t seed, uint32_t rank,
                              uint32_t workers, uint32_t batch, uint64_t epoch,
                              uint64_t iteration, ps_batch *out)
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
    if (iteration >= iterations)
        return ps_fail(PS_ERR_BAD_ARG,
                       "data: iteration %" PRIu64 " of an epoch of %" PRIu64, iteration,
                       iterations);
    st = order_epoch(d, seed, rank, workers, epoch);
    if (st)
        return st;
    first = (iteration * workers + rank) * batch;
    *out = (ps_batch){
        .clock = epoch * iterations + iteration,
        .epoch = epoch,
        .iteration = iteration,
        .position = epoch * iterations * workers * batch + first,
        .n = batch,
        .sample = d->at.order +
                  (d->partition == PS_PARTITION_NONE ? first : iteration * batch),
    };
    return PS_OK;
}

ps_status ps_data_batch(ps_data *d, uint64_t seed, uint32_t rank, uint32_t workers,
                        uint32_t batch, uint64_t clock, ps_batch *out)
{
    uint64_t iterations = ps_data_iterations(d, workers, batch);

    if (!iterations) /* which is said there */
        iterations = 1;
    return ps_data_epoch_batch(d, seed, rank, workers, batch, clock / iterations,
                               clock % iterations, out);
}
