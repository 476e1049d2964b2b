/*
 * kernels.h - the inner loops of a convolution layer, once for each instruction set.
 *
 * A set of kernels is a table; which one a layer uses is said when it is made, and all
 * it keeps for them is laid out in their vectors.  On one machine the same set gives
 * the same bits.  Two sets do not: they add in another order, and only some of them
 * multiply and add in one rounding.
 *
 * Thread: any; kernels keep nothing but what is in the layer.
 */
#ifndef LENET_KERNELS_H
#define LENET_KERNELS_H

#include "real.h"

#include <stddef.h>
#include <stdint.h>

struct lenet_conv;

struct lenet_kernels {
    const char *name;
    uint32_t    lanes; /* elements of a vector */

    /*
     * One image through convolution, bias, relu and pooling.
     *
     *   x     [image] with its border
     *   y     [pooled][pooled][filters], lines `y_row` elements apart
     *   from  [pooled][pooled][filters], lenet_origin
     */
    void (*forward)(const struct lenet_conv *c, const real *x, real *y, size_t y_row,
                    uint8_t *from);

    /*
     * One image back: adds to c->dfilter and c->dbias, and to c->dx where wanted.
     *
     *   dy  [pooled][pooled][filters], lines `dy_row` elements apart; may be read up to
     *       LENET_SLACK elements beyond its end
     */
    void (*back)(const struct lenet_conv *c, const uint8_t *from, const real *x,
                 const real *dy, size_t dy_row);
};

/* What `from` says: which of the four was the maximum, or that relu made it zero. */
enum lenet_origin { TOP_LEFT, TOP_RIGHT, BOTTOM_LEFT, BOTTOM_RIGHT, DEAD };

/* Elements that a kernel may read behind an array, and overwrite behind one of its own:
 * less than the widest vector. */
enum { LENET_SLACK = 16 };

/* The i-th that this CPU can run, the fastest one first; NULL behind the last one. */
const struct lenet_kernels *lenet_kernels_at(unsigned i);

#endif
