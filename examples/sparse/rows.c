/* rows.c - see rows.h. */
#include "rows.h"

#include <stdlib.h>
#include <string.h>

#define FIRST_ROOM 1024u /* a power of two */

void rows_init(struct rows *r, uint32_t cols)
{
    *r = (struct rows){ .cols = cols };
}

void rows_free(struct rows *r)
{
    free(r->keys);
    free(r->value);
    free(r->grad);
    free(r->cells);
    *r = (struct rows){ .cols = r->cols };
}

void rows_clear(struct rows *r)
{
    r->n = 0;
    if (r->cells)
        memset(r->cells, 0, r->n_cells * sizeof(*r->cells));
}

/* The finaliser of MurmurHash3 (Appleby): keys that follow each other lie apart. */
static uint32_t *cell_of(const struct rows *r, uint64_t key)
{
    uint64_t h = key;
    uint32_t at;

    h = (h ^ (h >> 33)) * 0xff51afd7ed558ccdu;
    h = (h ^ (h >> 33)) * 0xc4ceb9fe1a85ec53u;
    at = (uint32_t)(h ^ (h >> 33)) & (r->n_cells - 1);
    while (r->cells[at] && r->keys[r->cells[at] - 1] != key)
        at = (at + 1) & (r->n_cells - 1);
    return &r->cells[at];
}

static bool grow(struct rows *r)
{
    uint32_t  room = r->room ? 2 * r->room : FIRST_ROOM;
    uint64_t *keys = reallocarray(r->keys, room, sizeof(*keys));
    float    *value, *grad;
    uint32_t *cells;

    if (keys)
        r->keys = keys;
    value = reallocarray(r->value, (size_t)room * r->cols, sizeof(*value));
    if (value)
        r->value = value;
    grad = reallocarray(r->grad, (size_t)room * r->cols, sizeof(*grad));
    if (grad)
        r->grad = grad;
    cells = calloc(2 * (size_t)room, sizeof(*cells));
    if (!keys || !value || !grad || !cells) {
        free(cells);
        return false;
    }
    free(r->cells);
    r->cells = cells;
    r->room = room;
    r->n_cells = 2 * room;
    for (uint32_t i = 0; i < r->n; i++)
        *cell_of(r, r->keys[i]) = i + 1;
    return true;
}

bool rows_place(struct rows *r, uint64_t key, uint32_t *place)
{
    uint32_t *cell;

    if (r->n == r->room && !grow(r))
        return false;
    cell = cell_of(r, key);
    if (*cell == 0) {
        r->keys[r->n++] = key;
        *cell = r->n;
    }
    *place = *cell - 1;
    return true;
}

static void forget_gradients(struct rows *r)
{
    if (r->n)
        memset(r->grad, 0, (size_t)r->n * r->cols * sizeof(*r->grad));
}

ps_status rows_pull(struct rows *r, ps_matrix *m)
{
    forget_gradients(r);
    return ps_pull_rows(m, r->keys, r->n, r->value);
}

/* Waits for both, also when the first has failed; its status counts. */
static ps_status wait_both(ps_ticket **first, ps_ticket **second)
{
    ps_status st = ps_wait(first);

    if (st) {
        ps_status late = ps_wait(second);

        (void)late;
        return st;
    }
    return ps_wait(second);
}

ps_status rows_pull_both(struct rows *a, ps_matrix *m, struct rows *b, ps_matrix *n)
{
    ps_ticket *first, *second;
    ps_status  st;

    forget_gradients(a);
    forget_gradients(b);
    st = ps_pull_rows_async(m, a->keys, a->n, a->value, &first);
    if (st)
        return st;
    st = ps_pull_rows_async(n, b->keys, b->n, b->value, &second);
    if (st)
        return st; /* the worker's close takes the first ticket */
    return wait_both(&first, &second);
}

ps_status rows_push_both(struct rows *a, ps_matrix *m, struct rows *b, ps_matrix *n)
{
    ps_ticket *first, *second;
    ps_status  st = ps_push_rows_async(m, a->keys, a->n, a->grad, &first);

    if (!st)
        st = ps_push_rows_async(n, b->keys, b->n, b->grad, &second);
    return st ? st : wait_both(&first, &second);
}
