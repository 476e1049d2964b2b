/*
 * net.h - LeNet on the CPU: what a batch of images costs, and which way is down.
 *
 *     image -> conv 5x5, relu, 2x2 max-pool -> conv 5x5, relu, 2x2 max-pool
 *           -> affine, relu (once per hidden layer) -> dropout -> affine -> softmax
 *
 * The net computes and nothing else: parameters and gradients are arrays it owns and
 * shows to the caller, who fills and reads them.  It knows no server, no optimiser and
 * no file.
 *
 * Activations are [y][x][channel] throughout.  Convolutions go image by image (conv.h),
 * affine layers take the whole batch in one multiplication.
 *
 * Source: LeCun, Bottou, Bengio, Haffner, "Gradient-based learning applied to document
 * recognition", Proc. IEEE 86(11), 1998; layers and start values as Apache SystemDS's
 * mnist_lenet.dml.
 *
 * Thread: one at a time per net; two nets share nothing.
 */
#ifndef LENET_NET_H
#define LENET_NET_H

#include "conv.h"

enum {
    LENET_HIDDEN_MAX = 4,
    LENET_TENSORS_MAX = 2 * (2 + LENET_HIDDEN_MAX + 1),
};

struct lenet_shape {
    uint32_t side;       /* images are side x side, one channel */
    uint32_t filters[2]; /* of the two convolutions */
    uint32_t pad[2];     /* zeros around their inputs, 0 to 4 */
    uint32_t n_hidden;   /* 1 .. LENET_HIDDEN_MAX */
    uint32_t hidden[LENET_HIDDEN_MAX];
    uint32_t classes;
    double   dropout; /* share of the last hidden layer that is dropped, in [0, 1) */
};

/*
 * A parameter.  Weights of a convolution are [filter][ky][kx][channel], those of an
 * affine layer [input][unit]; the first affine layer's input is [y][x][channel].
 */
struct lenet_tensor {
    char     name[32]; /* "conv1.weight", "conv1.bias", ..., "fc3.weight", ... */
    uint64_t rows, cols;
    double   deviation; /* of the normal start values; 0: zeros (biases) */
    real    *value;     /* [rows * cols] */
    real    *grad;      /* [rows * cols] */
};

struct lenet;

/*
 * NULL and, in `why`, a sentence when the shape makes no net or memory is short.
 *
 *   kernels  of the convolutions; NULL: the fastest that this CPU can run
 */
struct lenet *lenet_new(const struct lenet_shape *shape, uint32_t batch_max,
                        const struct lenet_kernels *kernels, char *why,
                        size_t why_bytes);
void          lenet_free(struct lenet **net);

uint32_t                   lenet_n_tensors(const struct lenet *net);
const struct lenet_tensor *lenet_tensor(const struct lenet *net, uint32_t i);
uint32_t                   lenet_last_hidden(const struct lenet *net); /* units */

/*
 * Image `i` of the batch to come: side * side bytes, as (byte - mean) / deviation.
 */
void lenet_set_image(struct lenet *net, uint32_t i, const uint8_t *pixel, double mean,
                     double deviation);
void lenet_set_label(struct lenet *net, uint32_t i, uint32_t label);

/*
 * Forward and back over images 0 .. n-1: every tensor's `grad` becomes the gradient
 * of the mean loss, which is returned.
 *
 *   keep  [n][last hidden]  0 where the unit is dropped, else 1 / (1 - dropout);
 *                           NULL: no dropout
 */
double lenet_gradient(struct lenet *net, uint32_t n, const real *keep);

/*
 * Who is told where lenet_gradient is: before it first reads layer l's parameters, and
 * when it reads them no more and their gradients are complete.  Layers count from 0,
 * convolutions before affine ones; layer l has tensors 2 l and 2 l + 1.
 */
struct lenet_watcher {
    void (*before)(void *ctx, uint32_t layer);
    void (*after)(void *ctx, uint32_t layer);
    void *ctx;
};

void lenet_watch(struct lenet *net, const struct lenet_watcher *watcher);

/* Forward only, nothing dropped: how many of images 0 .. n-1 get their own label. */
uint32_t lenet_correct(struct lenet *net, uint32_t n);

#endif
