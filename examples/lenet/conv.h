/*
 * conv.h - 5x5 convolution, relu and 2x2 max-pooling as one layer, image by image.
 *
 * Idea: activations are kept channels last ([y][x][channel]), inputs with their zero
 * border.  A 5x5 window is then five contiguous runs.  Forward, the windows are copied
 * into columns and multiplied with the filters; the columns of one image (at most a
 * few hundred KiB) stay in the second-level cache.  Pooling works on whole vectors of
 * channels.
 *
 * On the way back, pooling leaves one gradient in four and the relu fewer.  Each one
 * left adds its window to the filter's gradient and its filter to the input's
 * gradient: a quarter of the work of the two matrix products, without columns.
 *
 * Thread: one at a time per layer.
 */
#ifndef LENET_CONV_H
#define LENET_CONV_H

#include "real.h"

#include <stddef.h>
#include <stdint.h>

enum { LENET_KERNEL = 5 };

struct lenet_conv {
    uint32_t in;       /* side of the input without its border */
    uint32_t pad;      /* width of the border */
    uint32_t channels; /* of the input */
    uint32_t filters;
    uint32_t out;    /* side after the convolution */
    uint32_t pooled; /* side after pooling; an odd last row and column are left out */

    size_t run;      /* elements of one line of a window */
    size_t run_room; /* run, up to whole vectors */
    size_t row;      /* elements of one line of the input with its border */
    size_t image;    /* elements of one input with its border */

    real    *x;       /* [batch][image] inputs; the borders stay zero */
    uint8_t *from;    /* [batch][pooled][pooled][filters] where the maximum was */
    real    *columns; /* [out][out][5 * run] of one image */
    real    *sums;    /* [out][out][filters] of one image, before bias and relu */
    real    *bias;    /* [filters] */
    real    *filter;  /* [filters][5][run_room] the weights while going back */
    real    *dfilter; /* [filters][5][run_room] their gradient */
    real    *dbias;   /* [filters] */
    real    *dx;      /* [image] the gradient of one input with its border */

    /* What pooling and relu left of one image's gradient at one filter: */
    real     *left; /* [pooled * pooled + 1] the values */
    uint32_t *at;   /* [pooled * pooled + 1] where their windows begin in the input */
};

/* 0, or -1 when memory is short; free in either case. */
int  lenet_conv_init(struct lenet_conv *c, uint32_t in, uint32_t pad, uint32_t channels,
                     uint32_t filters, uint32_t batch);
void lenet_conv_free(struct lenet_conv *c);

/* The first pixel of input i within its border; lines are `row` apart. */
real *lenet_conv_input(const struct lenet_conv *c, uint32_t i);

/*
 * Input i through the layer.
 *
 *   weight  [filters][5 * run], bias [filters]
 *   y       [pooled][pooled][filters], lines `y_row` elements apart
 */
void lenet_conv_forward(struct lenet_conv *c, uint32_t i, const real *weight,
                        const real *bias, real *y, size_t y_row);

/* Going back: begin once per batch, back once per image, end once. */
void lenet_conv_begin(struct lenet_conv *c, const real *weight);

/*
 *   dy  [pooled][pooled][filters], lines `dy_row` elements apart
 *
 * Returns the gradient of the input, valid until the next image: its first pixel
 * within the border, lines `row` apart; unless want_dx is 0.
 */
const real *lenet_conv_back(struct lenet_conv *c, uint32_t i, const real *dy,
                            size_t dy_row, int want_dx);

/* The gradients summed over the images, in the shape of weight and bias. */
void lenet_conv_end(const struct lenet_conv *c, real *dweight, real *dbias);

#endif
