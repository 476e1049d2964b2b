/* net.c - see net.h. */
#include "net.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { N_CONV = 2 };

struct lenet {
    struct lenet_shape          shape;
    const struct lenet_kernels *kernels;
    struct lenet_conv           conv[N_CONV];
    uint32_t                    n_affine;                    /* n_hidden + 1 */
    uint32_t                    width[LENET_HIDDEN_MAX + 2]; /* of act[] */
    real *act[LENET_HIDDEN_MAX + 2]; /* [batch][width]; act[0] is what
                                        the convolutions give, the last
                                        one the scores */
    real                *delta[2];   /* [batch][widest], gradients on their way down */
    uint32_t            *label;      /* [batch] */
    struct lenet_watcher watcher;
    uint32_t             n_tensors;
    struct lenet_tensor  tensor[LENET_TENSORS_MAX];
};

/* Weight and bias of layer l, counted from 0 through convolutions and affine layers. */
static struct lenet_tensor *weight_of(struct lenet *net, uint32_t l)
{
    return &net->tensor[2 * l];
}

static struct lenet_tensor *bias_of(struct lenet *net, uint32_t l)
{
    return &net->tensor[2 * l + 1];
}

static int in_range(const char *what, uint64_t value, uint64_t from, uint64_t to,
                    char *why, size_t why_bytes)
{
    if (value >= from && value <= to)
        return 0;
    snprintf(why, why_bytes, "%s: %llu, expected %llu to %llu", what,
             (unsigned long long)value, (unsigned long long)from,
             (unsigned long long)to);
    return -1;
}

static int check_shape(const struct lenet_shape *s, char *why, size_t why_bytes)
{
    uint32_t side = s->side;

    if (in_range("side of an image", s->side, 1, 4096, why, why_bytes) ||
        in_range("hidden layers", s->n_hidden, 1, LENET_HIDDEN_MAX, why, why_bytes) ||
        in_range("classes", s->classes, 2, 65536, why, why_bytes))
        return -1;
    for (uint32_t i = 0; i < s->n_hidden; i++)
        if (in_range("units of a hidden layer", s->hidden[i], 1, 65536, why, why_bytes))
            return -1;
    for (int i = 0; i < N_CONV; i++) {
        if (in_range("filters", s->filters[i], 1, 4096, why, why_bytes) ||
            in_range("padding", s->pad[i], 0, LENET_KERNEL - 1, why, why_bytes))
            return -1;
        side += 2 * s->pad[i];
        if (side < LENET_KERNEL + 1) {
            snprintf(why, why_bytes,
                     "images of %u x %u are too small for two convolutions", s->side,
                     s->side);
            return -1;
        }
        side = (side - LENET_KERNEL + 1) / 2;
    }
    if (!(s->dropout >= 0 && s->dropout < 1)) {
        snprintf(why, why_bytes, "dropout: %g, expected at least 0 and below 1",
                 s->dropout);
        return -1;
    }
    return 0;
}

static int add_tensor(struct lenet *net, const char *kind, const char *part,
                      uint64_t rows, uint64_t cols, double deviation)
{
    struct lenet_tensor *t = &net->tensor[net->n_tensors];

    snprintf(t->name, sizeof(t->name), "%s%u.%s", kind, net->n_tensors / 2 + 1, part);
    t->rows = rows;
    t->cols = cols;
    t->deviation = deviation;
    t->value = calloc(rows * cols, sizeof(*t->value));
    t->grad = calloc(rows * cols, sizeof(*t->grad));
    net->n_tensors++;
    return t->value && t->grad ? 0 : -1;
}

static int add_conv(struct lenet *net, uint32_t l, uint32_t in, uint32_t channels,
                    uint32_t batch)
{
    const struct lenet_shape *s = &net->shape;
    struct lenet_conv        *c = &net->conv[l];
    uint64_t                  fan_in = LENET_KERNEL * LENET_KERNEL * channels;

    if (lenet_conv_init(c, net->kernels, in, s->pad[l], channels, s->filters[l], batch,
                        l > 0) ||
        add_tensor(net, "conv", "weight", s->filters[l], fan_in,
                   sqrt(2.0 / (double)fan_in)) ||
        add_tensor(net, "conv", "bias", 1, s->filters[l], 0))
        return -1;
    return 0;
}

/* The last layer starts smaller: no relu follows that would halve its variance. */
static int add_affine(struct lenet *net, uint32_t l, uint32_t batch)
{
    uint32_t in = net->width[l], out = net->width[l + 1];
    double   variance = (l + 1 < net->n_affine ? 2.0 : 1.0) / in;

    net->act[l + 1] = calloc((size_t)batch * out, sizeof(*net->act[0]));
    if (!net->act[l + 1] || add_tensor(net, "fc", "weight", in, out, sqrt(variance)) ||
        add_tensor(net, "fc", "bias", 1, out, 0))
        return -1;
    return 0;
}

static int build(struct lenet *net, uint32_t batch)
{
    const struct lenet_shape *s = &net->shape;
    uint32_t                  widest;

    if (add_conv(net, 0, s->side, 1, batch) ||
        add_conv(net, 1, net->conv[0].pooled, s->filters[0], batch))
        return -1;
    net->n_affine = s->n_hidden + 1;
    net->width[0] = net->conv[1].pooled * net->conv[1].pooled * s->filters[1];
    memcpy(net->width + 1, s->hidden, s->n_hidden * sizeof(*s->hidden));
    net->width[net->n_affine] = s->classes;

    widest = net->width[0];
    for (uint32_t l = 0; l < net->n_affine; l++) {
        if (add_affine(net, l, batch))
            return -1;
        if (net->width[l + 1] > widest)
            widest = net->width[l + 1];
    }
    net->act[0] = calloc((size_t)batch * net->width[0] + LENET_SLACK, sizeof(real));
    net->delta[0] = calloc((size_t)batch * widest + LENET_SLACK, sizeof(real));
    net->delta[1] = calloc((size_t)batch * widest + LENET_SLACK, sizeof(real));
    net->label = calloc(batch, sizeof(*net->label));
    return net->act[0] && net->delta[0] && net->delta[1] && net->label ? 0 : -1;
}

struct lenet *lenet_new(const struct lenet_shape *shape, uint32_t batch_max,
                        const struct lenet_kernels *kernels, char *why,
                        size_t why_bytes)
{
    struct lenet *net;

    if (check_shape(shape, why, why_bytes))
        return NULL;
    net = calloc(1, sizeof(*net));
    if (net) {
        net->shape = *shape;
        net->kernels = kernels ? kernels : lenet_kernels_at(0);
    }
    if (!net || build(net, batch_max)) {
        lenet_free(&net);
        snprintf(why, why_bytes, "no memory for batches of %u images", batch_max);
    }
    return net;
}

void lenet_free(struct lenet **net)
{
    struct lenet *n = *net;

    if (!n)
        return;
    for (int i = 0; i < N_CONV; i++)
        lenet_conv_free(&n->conv[i]);
    for (uint32_t i = 0; i < LENET_TENSORS_MAX; i++) {
        free(n->tensor[i].value);
        free(n->tensor[i].grad);
    }
    for (uint32_t l = 0; l < LENET_HIDDEN_MAX + 2; l++)
        free(n->act[l]);
    free(n->delta[0]);
    free(n->delta[1]);
    free(n->label);
    free(n);
    *net = NULL;
}

uint32_t lenet_n_tensors(const struct lenet *net)
{
    return net->n_tensors;
}

const struct lenet_tensor *lenet_tensor(const struct lenet *net, uint32_t i)
{
    return &net->tensor[i];
}

uint32_t lenet_last_hidden(const struct lenet *net)
{
    return net->width[net->n_affine - 1];
}

void lenet_set_image(struct lenet *net, uint32_t i, const uint8_t *pixel, double mean,
                     double deviation)
{
    const struct lenet_conv *c = &net->conv[0];
    real                    *line = lenet_conv_input(c, i);
    const real               scale = (real)(1 / deviation);
    const real               shift = (real)(-mean / deviation);

    for (uint32_t y = 0; y < c->in; y++, line += c->row, pixel += c->in)
        for (uint32_t x = 0; x < c->in; x++)
            line[x] = (real)pixel[x] * scale + shift;
}

void lenet_set_label(struct lenet *net, uint32_t i, uint32_t label)
{
    net->label[i] = label;
}

void lenet_watch(struct lenet *net, const struct lenet_watcher *watcher)
{
    net->watcher = *watcher;
}

static void before(struct lenet *net, uint32_t layer, int watched)
{
    if (watched && net->watcher.before)
        net->watcher.before(net->watcher.ctx, layer);
}

static void after(struct lenet *net, uint32_t layer)
{
    if (net->watcher.after)
        net->watcher.after(net->watcher.ctx, layer);
}

static void convolve(struct lenet *net, uint32_t n)
{
    struct lenet_conv *one = &net->conv[0], *two = &net->conv[1];
    size_t             line = (size_t)two->pooled * two->filters;

    lenet_conv_take(one, weight_of(net, 0)->value, bias_of(net, 0)->value);
    lenet_conv_take(two, weight_of(net, 1)->value, bias_of(net, 1)->value);
    for (uint32_t i = 0; i < n; i++) {
        lenet_conv_forward(one, i, lenet_conv_input(two, i), two->row);
        lenet_conv_forward(two, i, net->act[0] + (size_t)i * net->width[0], line);
    }
}

/* y = x W + b; relu unless it is the last layer. */
static void affine(struct lenet *net, uint32_t l, uint32_t n)
{
    const uint32_t in = net->width[l], out = net->width[l + 1];
    const real    *bias = bias_of(net, N_CONV + l)->value;
    const real     least = l + 1 < net->n_affine ? 0 : -(real)INFINITY;
    real          *y = net->act[l + 1];

    lenet_gemm(CblasRowMajor, CblasNoTrans, CblasNoTrans, (int)n, (int)out, (int)in, 1,
               net->act[l], (int)in, weight_of(net, N_CONV + l)->value, (int)out, 0, y,
               (int)out);
    for (uint32_t i = 0; i < n; i++, y += out)
        for (uint32_t j = 0; j < out; j++) {
            real v = y[j] + bias[j];

            y[j] = v < least ? least : v;
        }
}

static void forward(struct lenet *net, uint32_t n, const real *keep, int watched)
{
    real *last = net->act[net->n_affine - 1];

    for (uint32_t l = 0; l < N_CONV; l++)
        before(net, l, watched);
    convolve(net, n);
    for (uint32_t l = 0; l + 1 < net->n_affine; l++) {
        before(net, N_CONV + l, watched);
        affine(net, l, n);
    }
    for (size_t i = 0; keep && i < (size_t)n * lenet_last_hidden(net); i++)
        last[i] *= keep[i];
    before(net, N_CONV + net->n_affine - 1, watched);
    affine(net, net->n_affine - 1, n);
}

/* Softmax and cross-entropy in one: the gradient is p - y, whatever p is. */
static double cross_entropy(struct lenet *net, uint32_t n)
{
    const uint32_t k = net->shape.classes;
    const real    *score = net->act[net->n_affine];
    real          *d = net->delta[0];
    double         loss = 0;

    for (uint32_t i = 0; i < n; i++, score += k, d += k) {
        double max = score[0], sum = 0;

        for (uint32_t j = 1; j < k; j++)
            max = score[j] > max ? score[j] : max;
        for (uint32_t j = 0; j < k; j++)
            sum += exp(score[j] - max);
        for (uint32_t j = 0; j < k; j++)
            d[j] = (real)(exp(score[j] - max) / sum / n);
        d[net->label[i]] -= (real)(1.0 / n);
        loss += log(sum) - (score[net->label[i]] - max);
    }
    return loss / n;
}

/* From dy the gradients of the layer, and in dx that of its input. */
static void affine_back(struct lenet *net, uint32_t l, uint32_t n, const real *dy,
                        real *dx)
{
    const uint32_t       in = net->width[l], out = net->width[l + 1];
    struct lenet_tensor *w = weight_of(net, N_CONV + l), *b = bias_of(net, N_CONV + l);

    lenet_gemm(CblasRowMajor, CblasTrans, CblasNoTrans, (int)in, (int)out, (int)n, 1,
               net->act[l], (int)in, dy, (int)out, 0, w->grad, (int)out);
    memset(b->grad, 0, out * sizeof(*b->grad));
    for (uint32_t i = 0; i < n; i++)
        for (uint32_t j = 0; j < out; j++)
            b->grad[j] += dy[(size_t)i * out + j];
    lenet_gemm(CblasRowMajor, CblasNoTrans, CblasTrans, (int)n, (int)in, (int)out, 1,
               dy, (int)out, w->value, (int)out, 0, dx, (int)in);
}

/* Through the relu that gave `act`, and through dropout where there was any. */
static void relu_back(size_t n, const real *act, const real *keep, real *restrict d)
{
    for (size_t i = 0; i < n; i++)
        d[i] = act[i] > 0 ? d[i] : 0;
    for (size_t i = 0; keep && i < n; i++)
        d[i] *= keep[i];
}

static void convolve_back(struct lenet *net, uint32_t n, const real *d)
{
    struct lenet_conv *one = &net->conv[0], *two = &net->conv[1];
    size_t             line = (size_t)two->pooled * two->filters;

    lenet_conv_begin(one);
    lenet_conv_begin(two);
    for (uint32_t i = 0; i < n; i++) {
        const real *dx = lenet_conv_back(two, i, d + (size_t)i * net->width[0], line);

        lenet_conv_back(one, i, dx, two->row);
    }
    lenet_conv_end(one, weight_of(net, 0)->grad, bias_of(net, 0)->grad);
    lenet_conv_end(two, weight_of(net, 1)->grad, bias_of(net, 1)->grad);
}

double lenet_gradient(struct lenet *net, uint32_t n, const real *keep)
{
    real  *d = net->delta[0], *below = net->delta[1];
    double loss;

    forward(net, n, keep, 1);
    loss = cross_entropy(net, n);
    for (uint32_t l = net->n_affine; l-- > 0;) {
        real *was = d;

        /* the input of the last layer is what dropout let through: act, not more */
        affine_back(net, l, n, d, below);
        after(net, N_CONV + l);
        if (l > 0)
            relu_back((size_t)n * net->width[l], net->act[l],
                      l + 1 == net->n_affine ? keep : NULL, below);
        d = below;
        below = was;
    }
    convolve_back(net, n, d);
    for (uint32_t l = N_CONV; l-- > 0;)
        after(net, l);
    return loss;
}

uint32_t lenet_correct(struct lenet *net, uint32_t n)
{
    const uint32_t k = net->shape.classes;
    const real    *score = net->act[net->n_affine];
    uint32_t       correct = 0;

    forward(net, n, NULL, 0);
    for (uint32_t i = 0; i < n; i++, score += k) {
        uint32_t best = 0;

        for (uint32_t j = 1; j < k; j++)
            best = score[j] > score[best] ? j : best;
        correct += best == net->label[i];
    }
    return correct;
}
