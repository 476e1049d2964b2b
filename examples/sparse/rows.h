/*
 * rows.h - the rows of a sparse matrix that one batch is about.
 *
 * A batch names its rows by key, as often as it likes; each gets a place here, and is
 * pulled and pushed once.  Gradients of a row add up in its place.
 *
 * Thread: one.
 */
#ifndef SPARSE_ROWS_H
#define SPARSE_ROWS_H

#include <ps/worker.h>

#include <stdbool.h>

struct rows {
    uint32_t  cols;
    uint32_t  n;
    uint64_t *keys;         /* [n] in the order in which they were named */
    float    *value, *grad; /* [n][cols] */

    uint32_t  room;    /* of keys, value and grad */
    uint32_t *cells;   /* place + 1 by hash of the key; 0: free */
    uint32_t  n_cells; /* a power of two, more than twice `n` */
};

void rows_init(struct rows *r, uint32_t cols);
void rows_free(struct rows *r);

/* Another batch: no rows, what they held is forgotten. */
void rows_clear(struct rows *r);

/* The place of `key`, a new one when it is named for the first time.  false: there is
 * no memory for it. */
bool rows_place(struct rows *r, uint64_t key, uint32_t *place);

/* Fills the values of all rows, and makes their gradients zero. */
ps_status rows_pull(struct rows *r, ps_matrix *m) PS_CHECKED;

/* Two matrices at once. */
ps_status rows_pull_both(struct rows *a, ps_matrix *m, struct rows *b,
                         ps_matrix *n) PS_CHECKED;
ps_status rows_push_both(struct rows *a, ps_matrix *m, struct rows *b,
                         ps_matrix *n) PS_CHECKED;

#endif
