/* tensors.c - a model put together from its parts; see tensors.h. */
#include "tools/tensors.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* A row of a sparse matrix, where it lies. */
struct row {
    uint64_t       key;
    const uint8_t *values;
};

static int by_name(const void *a, const void *b)
{
    const struct psd_captured_matrix *const *x = a, *const *y = b;

    return strcmp((*x)->spec.name, (*y)->spec.name);
}

static int by_key(const void *a, const void *b)
{
    uint64_t x = ((const struct row *)a)->key, y = ((const struct row *)b)->key;

    return x < y ? -1 : x > y;
}

static void set_type(struct tensor *t, uint32_t dtype)
{
    static const struct {
        const char *safetensors, *npy;
    } words[] = {
        [PS_F32] = { "F32", "<f4" },
        [PS_F64] = { "F64", "<f8" },
        [PS_I64] = { "I64", "<i8" },
    };

    t->safetensors = words[dtype].safetensors;
    t->npy = words[dtype].npy;
}

static ps_status make_room(struct tensor *t, size_t bytes)
{
    t->bytes = bytes;
    t->data = malloc(bytes ? bytes : 1);
    if (!t->data)
        return ps_fail(PS_ERR_NO_MEMORY, "%s: no memory for %zu bytes", t->name, bytes);
    return PS_OK;
}

/* The parts of one matrix agree on what it is. */
static ps_status check_same(struct psd_captured_matrix *const *m, size_t n)
{
    for (size_t i = 1; i < n; i++)
        if (m[i]->spec.dtype != m[0]->spec.dtype ||
            m[i]->spec.sparse != m[0]->spec.sparse ||
            m[i]->spec.rows != m[0]->spec.rows || m[i]->spec.cols != m[0]->spec.cols)
            return ps_fail(PS_ERR_DATA,
                           "matrix %s: it has another shape in another part",
                           m[0]->spec.name);
    return PS_OK;
}

static ps_status add_dense(struct psd_captured_matrix *const *m, size_t n,
                           struct tensor *t)
{
    const struct ps_matrix_spec *spec = &m[0]->spec;
    const uint64_t               elements = ps_matrix_elements(spec);
    const size_t                 element_bytes = ps_dtype_bytes(spec->dtype);
    uint64_t                     there = 0;
    ps_status                    st;

    snprintf(t->name, sizeof(t->name), "%s", spec->name);
    set_type(t, spec->dtype);
    t->n_dims = 2;
    t->dims[0] = spec->rows;
    t->dims[1] = spec->cols;
    st = make_room(t, elements * element_bytes);
    for (size_t i = 0; !st && i < n; i++)
        for (size_t k = 0; k < m[i]->n_chunks; k++) {
            const struct psd_chunk *c = &m[i]->chunks[k];

            memcpy((char *)t->data + c->first * element_bytes, c->value->data,
                   c->n * element_bytes);
            there += c->n;
        }
    if (!st && there != elements)
        st = ps_fail(PS_ERR_DATA, "matrix %s: the parts hold %ju of %ju elements",
                     spec->name, (uintmax_t)there, (uintmax_t)elements);
    return st;
}

static void collect_rows(const struct psd_captured_rows *from, struct row *to)
{
    const uint32_t mask = ((uint32_t)1 << from->page_shift) - 1;

    for (uint64_t i = 0; i < from->n; i++) {
        const struct ps_buf *page = from->pages[from->places[i] >> from->page_shift];

        to[i].key = from->keys[i];
        to[i].values = page->data + (from->places[i] & mask) * from->row_bytes;
    }
}

static ps_status fill_rows(const struct row *rows, uint64_t n, struct tensor *keys,
                           struct tensor *values)
{
    const size_t bytes = n ? values->bytes / n : 0;

    for (uint64_t i = 0; i < n; i++) {
        if (i > 0 && rows[i].key == rows[i - 1].key)
            return ps_fail(PS_ERR_DATA, "%s: row %ju is in two parts", keys->name,
                           (uintmax_t)rows[i].key);
        ((uint64_t *)keys->data)[i] = rows[i].key;
        memcpy((char *)values->data + i * bytes, rows[i].values, bytes);
    }
    return PS_OK;
}

static ps_status add_sparse(struct psd_captured_matrix *const *m, size_t n,
                            struct tensor *keys, struct tensor *values)
{
    const struct ps_matrix_spec *spec = &m[0]->spec;
    struct row                  *rows;
    uint64_t                     n_rows = 0, at = 0;
    ps_status                    st;

    for (size_t i = 0; i < n; i++)
        n_rows += m[i]->rows->n;
    snprintf(keys->name, sizeof(keys->name), "%s.keys", spec->name);
    snprintf(values->name, sizeof(values->name), "%s.values", spec->name);
    set_type(values, spec->dtype);
    keys->safetensors = "U64";
    keys->npy = "<u8";
    keys->n_dims = 1;
    values->n_dims = 2;
    keys->dims[0] = values->dims[0] = n_rows;
    values->dims[1] = spec->cols;
    st = make_room(keys, n_rows * sizeof(uint64_t));
    if (!st)
        st = make_room(values, n_rows * spec->cols * ps_dtype_bytes(spec->dtype));
    if (st)
        return st;
    rows = malloc((n_rows + 1) * sizeof(*rows));
    if (!rows)
        return ps_fail(PS_ERR_NO_MEMORY, "matrix %s: no memory for %ju rows",
                       spec->name, (uintmax_t)n_rows);
    for (size_t i = 0; i < n; at += m[i++]->rows->n)
        collect_rows(m[i]->rows, rows + at);
    qsort(rows, n_rows, sizeof(*rows), by_key);
    st = fill_rows(rows, n_rows, keys, values);
    free(rows);
    return st;
}

/* The matrices of all parts, those of one name beside each other. */
static ps_status gather(struct psd_image *const *parts, uint32_t n,
                        struct psd_captured_matrix ***out, size_t *n_out)
{
    struct psd_captured_matrix **all;
    size_t                       most = 1;

    for (uint32_t i = 0; i < n; i++)
        most += parts[i]->model->n_matrices;
    all = malloc(most * sizeof(struct psd_captured_matrix *));
    if (!all)
        return ps_fail(PS_ERR_NO_MEMORY, "no memory for %zu matrices", most);
    *n_out = 0;
    for (uint32_t i = 0; i < n; i++)
        for (uint32_t k = 0; k < parts[i]->model->n_matrices; k++)
            all[(*n_out)++] = &parts[i]->model->matrices[k];
    qsort(all, *n_out, sizeof(struct psd_captured_matrix *), by_name);
    *out = all;
    return PS_OK;
}

ps_status tensors_of(struct psd_image *const *parts, uint32_t n, struct tensors *out)
{
    struct psd_captured_matrix **all;
    size_t                       n_all, end;
    ps_status                    st = gather(parts, n, &all, &n_all);

    *out = (struct tensors){ 0 };
    if (st)
        return st;
    out->list = calloc(2 * n_all + 1, sizeof(*out->list));
    if (!out->list)
        st = ps_fail(PS_ERR_NO_MEMORY, "no memory for %zu matrices", n_all);
    for (size_t i = 0; !st && i < n_all; i = end) {
        struct tensor *t = &out->list[out->n];

        for (end = i + 1; end < n_all && by_name(&all[i], &all[end]) == 0;)
            end++;
        st = check_same(all + i, end - i);
        if (st)
            break;
        out->n += all[i]->spec.sparse ? 2 : 1;
        st = all[i]->spec.sparse ? add_sparse(all + i, end - i, &t[0], &t[1])
                                 : add_dense(all + i, end - i, t);
    }
    free(all);
    if (st)
        tensors_free(out);
    return st;
}

void tensors_free(struct tensors *t)
{
    for (size_t i = 0; i < t->n; i++)
        free(t->list[i].data);
    free(t->list);
    *t = (struct tensors){ 0 };
}
