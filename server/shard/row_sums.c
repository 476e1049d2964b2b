/* row_sums.c - see row_sums.h. */
#include "server/shard/row_sums.h"

#include <string.h>

#define AHEAD 16u /* rows between asking for their tags and looking at them */

void psd_row_sums_expect(struct psd_row_sums *s, uint64_t n, bool distinct)
{
    s->distinct = distinct && s->room == 0;
    s->room += n;
}

static size_t row_bytes(const struct psd_row_sums *s)
{
    return s->matrix->spec.cols * s->matrix->element_bytes;
}

ps_status psd_row_sums_room(struct psd_row_sums *s, struct psd_scratch *scratch)
{
    if (s->room == 0)
        return PS_OK;
    s->keys = psd_scratch_get(scratch, s->room * sizeof(*s->keys));
    s->places = psd_scratch_get(scratch, s->room * sizeof(*s->places));
    s->gradients = psd_scratch_get(scratch, s->room * sizeof(*s->gradients));
    s->sums = psd_scratch_get(scratch, s->room * row_bytes(s));
    s->rows = psd_scratch_get(scratch, s->room * sizeof(*s->rows));
    if (s->keys && s->places && s->gradients && s->sums && s->rows)
        return PS_OK;
    return ps_fail(PS_ERR_NO_MEMORY,
                   "matrix %s: no memory to sum gradients of %ju rows",
                   s->matrix->spec.name, (uintmax_t)s->room);
}

/* ---- sums ---------------------------------------------------------------------- */

/* A row that was not touched before; gives its number. */
static uint64_t touch(struct psd_row_sums *s, uint64_t key, uint32_t place)
{
    s->keys[s->n] = key;
    s->places[s->n] = place;
    return s->n++;
}

/* The first gradient of the row, or under assign another that replaces it. */
static void take(const struct psd_row_sums *s, uint64_t row, double c,
                 const void *gradient)
{
    s->gradients[row] = gradient;
    if (c == 1.0)
        return;
    s->gradients[row] = s->sums + row * row_bytes(s);
    s->backend->set(s->matrix->spec.dtype, s->matrix->spec.cols,
                    s->sums + row * row_bytes(s), c, gradient);
}

static void add(const struct psd_row_sums *s, uint64_t row, double c,
                const void *gradient)
{
    const uint64_t cols = s->matrix->spec.cols;
    const uint32_t dtype = s->matrix->spec.dtype;
    uint8_t       *sum = s->sums + row * row_bytes(s);

    if (s->gradients[row] != sum)
        s->backend->set(dtype, cols, sum, 1.0, s->gradients[row]);
    s->backend->add(dtype, cols, sum, c, gradient);
    s->gradients[row] = sum;
}

/* Rows of which none was touched before, nor comes twice. */
static void take_all(struct psd_row_sums *s, const struct psd_row_batch *b)
{
    const size_t bytes = row_bytes(s);

    if (b->keys)
        memcpy(s->keys, b->keys, b->n * sizeof(*s->keys));
    memcpy(s->places, b->places, b->n * sizeof(*s->places));
    s->n = b->n;
    for (uint64_t i = 0; i < b->n; i++)
        s->gradients[i] = b->gradients + i * bytes;
    for (uint64_t i = 0; b->coefficient != 1.0 && i < b->n; i++)
        take(s, i, b->coefficient, s->gradients[i]);
}

void psd_row_sums_add(struct psd_row_sums *s, const struct psd_row_batch *b)
{
    const uint8_t *gradient = b->gradients;

    if (s->distinct && b->n > 0) {
        take_all(s, b);
        return;
    }
    for (uint64_t i = 0; i < b->n; i++, gradient += row_bytes(s)) {
        uint32_t *tag = psd_store_tag(s->matrix, b->places[i]);
        bool      is_new = *tag == 0;

        if (i + AHEAD < b->n)
            __builtin_prefetch(psd_store_tag(s->matrix, b->places[i + AHEAD]));
        if (is_new)
            *tag = (uint32_t)touch(s, b->keys ? b->keys[i] : 0, b->places[i]) + 1;
        (is_new || s->last ? take : add)(s, *tag - 1, b->coefficient, gradient);
    }
}

/* ---- the step ------------------------------------------------------------------ */

static void scale_rows(struct psd_row_sums *s, struct psd_scale *scale,
                       const struct psd_update *update)
{
    for (uint64_t i = 0; i < s->n; i++)
        s->gradients[i] =
            psd_scale_row(scale, update, s->matrix, s->keys[i], s->rows[i],
                          s->gradients[i], s->sums + i * row_bytes(s));
}

static void forget_tags(const struct psd_row_sums *s)
{
    for (uint64_t i = 0; !s->distinct && i < s->n; i++)
        *psd_store_tag(s->matrix, s->places[i]) = 0;
}

void psd_row_sums_step(struct psd_row_sums *s, uint32_t kind,
                       const struct psd_hyper *hyper, struct psd_scale *scale,
                       const struct psd_update *update)
{
    if (s->n == 0)
        return;
    psd_store_rows(s->matrix, s->places, s->n, s->rows);
    if (update && psd_scale_changes_rows(scale, s->matrix))
        scale_rows(s, scale, update);
    s->backend->step_rows(kind, s->matrix->spec.dtype, hyper, s->n,
                          s->matrix->spec.cols, s->rows, s->gradients);
    forget_tags(s);
}
