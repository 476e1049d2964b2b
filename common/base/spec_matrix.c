/* spec_matrix.c - what a matrix may be; see spec.h. */
#include "common/base/spec.h"

#include <inttypes.h>
#include <math.h>
#include <stdio.h>
#include <string.h>

static const char *const dtypes[] = {
    [PS_F32] = "f32", [PS_F64] = "f64", [PS_I64] = "i64"
};
static const char *const inits[] = { [PS_INIT_ZERO] = "zero",
                                     [PS_INIT_CONSTANT] = "constant",
                                     [PS_INIT_UNIFORM] = "uniform",
                                     [PS_INIT_NORMAL] = "normal" };

static const char *const evictions[] = {
    [PS_EVICT_NONE] = "none", [PS_EVICT_LRU] = "lru", [PS_EVICT_FREQUENCY] = "frequency"
};

#define COUNT(array) (sizeof(array) / sizeof((array)[0]))

const char *ps_dtype_name(uint32_t dtype)
{
    return dtype < COUNT(dtypes) ? dtypes[dtype] : NULL;
}

size_t ps_dtype_bytes(uint32_t dtype)
{
    switch (dtype) {
    case PS_F32: return 4;
    case PS_F64:
    case PS_I64: return 8;
    }
    return 0;
}

static const char *init_word(uint32_t init)
{
    return init < COUNT(inits) ? inits[init] : NULL;
}

static ps_status shape_check(const struct ps_matrix_spec *m)
{
    if (m->sparse && m->rows != 0)
        return ps_fail(PS_ERR_BAD_ARG,
                       "matrix %s: a sparse matrix of %" PRIu64
                       " rows, expected 0: its rows are created by key",
                       m->name, m->rows);
    if (m->cols < 1 || (!m->sparse && m->rows < 1))
        return ps_fail(PS_ERR_BAD_ARG,
                       "matrix %s: %" PRIu64 " x %" PRIu64
                       " elements, expected at least one row and one column",
                       m->name, m->rows, m->cols);
    if (m->cols > PS_ELEMENTS_MAX ||
        (!m->sparse && m->rows > PS_ELEMENTS_MAX / m->cols))
        return ps_fail(PS_ERR_BAD_ARG,
                       "matrix %s: %" PRIu64 " x %" PRIu64
                       " elements, expected at most 2^40",
                       m->name, m->rows, m->cols);
    /* A row travels whole, so it has to fit a frame. */
    if (m->sparse && m->cols > PS_CHUNK_BYTES / ps_dtype_bytes(m->dtype))
        return ps_fail(PS_ERR_BAD_ARG,
                       "matrix %s: rows of %" PRIu64 " %s, expected at most %u bytes",
                       m->name, m->cols, ps_dtype_name(m->dtype), PS_CHUNK_BYTES);
    return PS_OK;
}

static ps_status init_check(const struct ps_matrix_spec *m)
{
    if (!init_word(m->init))
        return ps_fail(PS_ERR_BAD_ARG,
                       "matrix %s: init is number %u, expected one of zero, constant, "
                       "uniform, normal",
                       m->name, m->init);
    if (!isfinite(m->init_a) || !isfinite(m->init_b))
        return ps_fail(PS_ERR_BAD_ARG,
                       "matrix %s: init %s of %g and %g, expected finite numbers",
                       m->name, inits[m->init], m->init_a, m->init_b);
    if (m->init == PS_INIT_UNIFORM && m->init_a > m->init_b)
        return ps_fail(PS_ERR_BAD_ARG,
                       "matrix %s: init uniform from %g to %g, expected the lower "
                       "number first",
                       m->name, m->init_a, m->init_b);
    if (m->init == PS_INIT_NORMAL && m->init_b < 0)
        return ps_fail(PS_ERR_BAD_ARG,
                       "matrix %s: init normal with deviation %g, expected 0 or more",
                       m->name, m->init_b);
    return PS_OK;
}

static ps_status limit_check(const struct ps_matrix_spec *m)
{
    if (m->evict >= COUNT(evictions))
        return ps_fail(PS_ERR_BAD_ARG,
                       "matrix %s: evict is number %u, expected one of none, lru, "
                       "frequency",
                       m->name, m->evict);
    if (m->max_rows > 0 && !m->sparse)
        return ps_fail(PS_ERR_BAD_ARG,
                       "matrix %s: a row limit of %" PRIu64
                       " for a dense matrix, expected one of a sparse one",
                       m->name, m->max_rows);
    if (m->evict != PS_EVICT_NONE && m->max_rows == 0)
        return ps_fail(
            PS_ERR_BAD_ARG,
            "matrix %s: evict %s without a row limit, expected max_rows from 1",
            m->name, evictions[m->evict]);
    return PS_OK;
}

ps_status ps_matrix_spec_check(const struct ps_matrix_spec *m)
{
    ps_status st = ps_name_check("matrix", m->name);

    if (st)
        return st;
    if (!ps_dtype_name(m->dtype))
        return ps_fail(PS_ERR_BAD_ARG,
                       "matrix %s: dtype is number %u, expected one of f32, f64, i64",
                       m->name, m->dtype);
    if ((st = shape_check(m)) || (st = init_check(m)) || (st = limit_check(m)))
        return st;
    if (m->optimiser != PS_OPTIMISER_JOB && !ps_optimiser_name(m->optimiser))
        return ps_fail(PS_ERR_BAD_ARG,
                       "matrix %s: optimiser is number %u, expected 0 to %u", m->name,
                       m->optimiser, PS_ADD);
    if (!isnan(m->weight_decay) && !(isfinite(m->weight_decay) && m->weight_decay >= 0))
        return ps_fail(PS_ERR_BAD_ARG,
                       "matrix %s: weight_decay is %g, expected 0 or a number above it",
                       m->name, m->weight_decay);
    return PS_OK;
}

/* Of a spec that may come from a newer peer. */
static const char *init_name(uint32_t init)
{
    const char *word = init_word(init);

    return word ? word : "unknown";
}

static ps_status shape_same(const struct ps_matrix_spec *a,
                            const struct ps_matrix_spec *b)
{
    const char *mine = ps_dtype_name(a->dtype), *jobs = ps_dtype_name(b->dtype);

    if (a->dtype != b->dtype)
        return ps_fail(PS_ERR_SHAPE, "matrix %s: dtype is %s here and %s in the job",
                       b->name, mine ? mine : "unknown", jobs ? jobs : "unknown");
    if (a->sparse != b->sparse)
        return ps_fail(PS_ERR_SHAPE, "matrix %s: %s here and %s in the job", b->name,
                       a->sparse ? "sparse" : "dense", b->sparse ? "sparse" : "dense");
    if (a->rows != b->rows || a->cols != b->cols)
        return ps_fail(PS_ERR_SHAPE,
                       "matrix %s: %" PRIu64 " x %" PRIu64 " here and %" PRIu64
                       " x %" PRIu64 " in the job",
                       b->name, a->rows, a->cols, b->rows, b->cols);
    return PS_OK;
}

static const char *matrix_optimiser_name(uint32_t kind)
{
    const char *word = ps_optimiser_name(kind);

    if (kind == PS_OPTIMISER_JOB)
        return "the job's";
    return word ? word : "unknown";
}

static const char *evict_name(uint32_t evict)
{
    return evict < COUNT(evictions) ? evictions[evict] : "unknown";
}

static void print_decay(double decay, char *out, size_t room)
{
    if (isnan(decay))
        snprintf(out, room, "the job's");
    else
        snprintf(out, room, "%.17g", decay);
}

ps_status ps_matrix_spec_same(const struct ps_matrix_spec *a,
                              const struct ps_matrix_spec *b)
{
    ps_status st;
    char      mine[40], jobs[40];

    if (strcmp(a->name, b->name) != 0)
        return ps_fail(PS_ERR_MISMATCH, "matrix %s: name is %s here and %s in the job",
                       b->name, a->name, b->name);
    if ((st = shape_same(a, b)))
        return st;
    if (a->init != b->init || a->init_a != b->init_a || a->init_b != b->init_b)
        return ps_fail(PS_ERR_MISMATCH,
                       "matrix %s: init is %s(%.17g, %.17g) here and %s(%.17g, %.17g) "
                       "in the job",
                       b->name, init_name(a->init), a->init_a, a->init_b,
                       init_name(b->init), b->init_a, b->init_b);
    if (a->optimiser != b->optimiser)
        return ps_fail(PS_ERR_MISMATCH,
                       "matrix %s: optimiser is %s here and %s in the job", b->name,
                       matrix_optimiser_name(a->optimiser),
                       matrix_optimiser_name(b->optimiser));
    if (a->weight_decay != b->weight_decay &&
        !(isnan(a->weight_decay) && isnan(b->weight_decay))) {
        print_decay(a->weight_decay, mine, sizeof(mine));
        print_decay(b->weight_decay, jobs, sizeof(jobs));
        return ps_fail(PS_ERR_MISMATCH,
                       "matrix %s: weight_decay is %s here and %s in the job", b->name,
                       mine, jobs);
    }
    if (a->max_rows != b->max_rows)
        return ps_fail(PS_ERR_MISMATCH,
                       "matrix %s: max_rows is %" PRIu64 " here and %" PRIu64
                       " in the job",
                       b->name, a->max_rows, b->max_rows);
    if (a->evict != b->evict)
        return ps_fail(PS_ERR_MISMATCH, "matrix %s: evict is %s here and %s in the job",
                       b->name, evict_name(a->evict), evict_name(b->evict));
    return PS_OK;
}
