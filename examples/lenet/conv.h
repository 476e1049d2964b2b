/*
 * conv.h - 5x5 convolution, bias, relu and 2x2 max-pooling as one layer, image by
 * image.
 *
 * Idea: activations are kept channels last ([y][x][channel]), inputs with their zero
 * border.  Forward, what pooling takes the maximum of never leaves the registers: no
 * columns, no sums, no array larger than a line of the image.
 *
 *     One channel: the 2 x 2 sums of a pooled pixel for a vector of filters, several
 *     pixels at a time.
 *
 *     Several channels: the 2 x 2 sums come of 6 x 6 inputs (a tile) in 36 products
 *     instead of 100 for each channel and filter, by Winograd's minimal filtering
 *     F(2 x 2, 5 x 5):
 *
 *         Y = At [ (G g Gt) * (Bt d B) ] A,   * element by element
 *
 *     with the points 0, 1, -1, 2, -2 and infinity:
 *
 *              4  0 -5  0  1  0
 *              0 -4 -4  1  1  0        1  1  1  1  1  0
 *         Bt = 0  4 -4 -1  1  0   At = 0  1 -1  2 -2  1
 *              0 -2 -1  2  1  0
 *              0  2 -1 -2  1  0   G  = rows 1/4 (1 0 0 0 0), -1/6 (1 1 1 1 1),
 *              0  4  0 -5  0  1        -1/6 (1 -1 1 -1 1), 1/24 (1 2 4 8 16),
 *                                      1/24 (1 -2 4 -8 16), (0 0 0 0 1)
 *
 *     The filters are transformed once per batch, the tiles line by line; a tile's
 *     outputs are those of one pooled pixel, so no tile is ever partly used.
 *
 * On the way back, pooling leaves one gradient in four and the relu fewer.  Each one
 * left adds its window to the filter's gradient and its filter to the input's
 * gradient: a quarter of the work of the two matrix products, without columns.
 *
 * Source: Lavin and Gray, "Fast Algorithms for Convolutional Neural Networks", CVPR
 * 2016.
 *
 * Thread: one at a time per layer.
 */
#ifndef LENET_CONV_H
#define LENET_CONV_H

#include "kernels.h"

enum {
    LENET_KERNEL = 5,
    LENET_WINDOW = LENET_KERNEL * LENET_KERNEL,
    LENET_TILE = 6, /* 2 outputs and a window around each */
};

struct lenet_conv {
    const struct lenet_kernels *kernels;

    uint32_t in;       /* side of the input without its border */
    uint32_t pad;      /* width of the border */
    uint32_t channels; /* of the input */
    uint32_t filters;
    uint32_t out;    /* side after the convolution */
    uint32_t pooled; /* side after pooling; an odd last row and column are left out */
    int      want_dx;
    int      direct; /* one channel and no dx: goes back in vectors of filters */

    size_t run;           /* elements of one line of a window */
    size_t row;           /* elements of one line of the input with its border */
    size_t image;         /* elements of one input with its border */
    size_t origins;       /* bytes of one image in `from` */
    size_t run_room;      /* run, up to whole vectors */
    size_t channels_room; /* channels, likewise */
    size_t filters_room;  /* filters, likewise */
    size_t strip_row;     /* elements of a line of `strip` */
    size_t place;         /* elements of one of the 36 places in `tiles` */

    real    *x;    /* [batch][image] inputs; the borders stay zero */
    uint8_t *from; /* [batch][origins] where the maximum was */

    /* forward */
    real *packed; /* one channel: [filters_room / lanes][25][lanes] the weights;
                     several: [6 x][filters_room / lanes][2][channels][3 y][lanes]
                     transformed */
    real *bias;   /* [filters_room] */
    real *strip;  /* [6][strip_row] six lines of the input, transformed along y */
    real *tiles;  /* [6 x][6 y][pooled][channels_room] their tiles */
    real *sums;   /* [filters_room / lanes][pooled][6 x][2 y][lanes] what is left
                     of their products */
    real *spread; /* [6][run] and [6][6][channels]: a filter on its way to `packed` */

    /* back */
    real *filter;  /* [filters][5][run_room] the weights */
    real *dfilter; /* [filters][5][run_room] their gradient */
    real *dbias;   /* [filters] */
    real *dx;      /* [image] the gradient of one input with its border */
    real *left;    /* [pooled * pooled + 1] what pooling and relu left of one
                      image's gradient at one filter */
    uint32_t *at;  /* [pooled * pooled + 1] where their windows begin in the input */
};

/*
 * 0, or -1 when memory is short; free in either case.
 *
 *   want_dx  is the gradient of the inputs asked for?
 */
int  lenet_conv_init(struct lenet_conv *c, const struct lenet_kernels *kernels,
                     uint32_t in, uint32_t pad, uint32_t channels, uint32_t filters,
                     uint32_t batch, int want_dx);
void lenet_conv_free(struct lenet_conv *c);

/* The first pixel of input i within its border; lines are `row` apart. */
real *lenet_conv_input(const struct lenet_conv *c, uint32_t i);

/*
 * New values, once per batch, before anything of it goes forward or back.
 *
 *   weight  [filters][5 * run], bias [filters]
 */
void lenet_conv_take(struct lenet_conv *c, const real *weight, const real *bias);

/*
 * Input i through the layer.
 *
 *   y  [pooled][pooled][filters], lines `y_row` elements apart
 */
void lenet_conv_forward(struct lenet_conv *c, uint32_t i, real *y, size_t y_row);

/* Going back: begin once per batch, back once per image, end once. */
void lenet_conv_begin(struct lenet_conv *c);

/*
 *   dy  [pooled][pooled][filters], lines `dy_row` elements apart
 *
 * Returns the gradient of the input, valid until the next image: its first pixel
 * within the border, lines `row` apart; NULL where that is not wanted.
 */
const real *lenet_conv_back(struct lenet_conv *c, uint32_t i, const real *dy,
                            size_t dy_row);

/* The gradients summed over the images, in the shape of weight and bias. */
void lenet_conv_end(const struct lenet_conv *c, real *dweight, real *dbias);

#endif
