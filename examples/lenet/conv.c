/* conv.c - see conv.h. */
#include "conv.h"

#include <stdlib.h>
#include <string.h>

enum { TILE = LENET_TILE * LENET_TILE };

/* Zeroed, and with what kernels may touch behind it. */
static void *numbers(size_t n)
{
    size_t bytes = ((n + LENET_SLACK) * sizeof(real) + 63) / 64 * 64;
    void  *p = aligned_alloc(64, bytes);

    return p ? memset(p, 0, bytes) : NULL;
}

static void measure(struct lenet_conv *c)
{
    const size_t lanes = c->kernels->lanes;

    c->out = c->in + 2 * c->pad - LENET_KERNEL + 1;
    c->pooled = c->out / 2;
    c->run = (size_t)LENET_KERNEL * c->channels;
    c->row = (size_t)(c->in + 2 * c->pad) * c->channels;
    c->image = c->row * (c->in + 2 * c->pad);
    c->origins = (size_t)c->pooled * c->pooled * c->filters + LENET_SLACK;
    c->run_room = (c->run + lanes - 1) / lanes * lanes;
    c->channels_room = (c->channels + lanes - 1) / lanes * lanes;
    c->filters_room = (c->filters + lanes - 1) / lanes * lanes;
    c->place = c->pooled * c->channels_room;
    c->strip_row = (size_t)(2 * c->pooled + LENET_KERNEL - 1) * c->channels + lanes;
}

int lenet_conv_init(struct lenet_conv *c, const struct lenet_kernels *kernels,
                    uint32_t in, uint32_t pad, uint32_t channels, uint32_t filters,
                    uint32_t batch, int want_dx)
{
    size_t pooled;

    *c = (struct lenet_conv){ .kernels = kernels,
                              .in = in,
                              .pad = pad,
                              .channels = channels,
                              .filters = filters,
                              .want_dx = want_dx,
                              .direct = channels == 1 && !want_dx };
    measure(c);
    pooled = (size_t)c->pooled * c->pooled;
    c->x = numbers(batch * c->image);
    c->from = calloc(batch, c->origins);
    c->packed = numbers(c->filters_room * TILE * channels);
    c->bias = numbers(c->filters_room);
    c->strip = numbers(LENET_TILE * c->strip_row);
    c->tiles = numbers(TILE * c->place);
    c->sums = numbers((size_t)c->pooled * 2 * LENET_TILE * c->filters_room);
    c->spread = numbers(LENET_TILE * c->run + TILE * channels);
    c->filter = numbers(filters * LENET_KERNEL * c->run_room);
    c->dfilter = numbers(c->filters_room * LENET_KERNEL * c->run_room);
    c->dbias = numbers(c->filters_room);
    c->dx = numbers(c->image);
    c->left = numbers(pooled);
    c->at = calloc(pooled + 1, sizeof(*c->at));
    return c->x && c->from && c->packed && c->bias && c->strip && c->tiles && c->sums &&
                   c->spread && c->filter && c->dfilter && c->dbias && c->dx &&
                   c->left && c->at
               ? 0
               : -1;
}

void lenet_conv_free(struct lenet_conv *c)
{
    free(c->x);
    free(c->from);
    free(c->packed);
    free(c->bias);
    free(c->strip);
    free(c->tiles);
    free(c->sums);
    free(c->spread);
    free(c->filter);
    free(c->dfilter);
    free(c->dbias);
    free(c->dx);
    free(c->left);
    free(c->at);
    *c = (struct lenet_conv){ 0 };
}

real *lenet_conv_input(const struct lenet_conv *c, uint32_t i)
{
    return c->x + i * c->image + c->pad * (c->row + c->channels);
}

/* ---- weights -------------------------------------------------------------------- */

/* The filter's lane in its vectors, one for each element, which follow each other. */
static real *lane_of(const struct lenet_conv *c, real *packed, uint32_t filter,
                     size_t elements)
{
    const uint32_t lanes = c->kernels->lanes;

    return packed + filter / lanes * lanes * elements + filter % lanes;
}

static void pack_direct(const struct lenet_conv *c, const real *weight)
{
    for (uint32_t f = 0; f < c->filters; f++) {
        real *to = lane_of(c, c->packed, f, LENET_WINDOW);

        for (size_t k = 0; k < LENET_WINDOW; k++, to += c->kernels->lanes)
            *to = *weight++;
    }
}

/* Five numbers to six, G of conv.h, for n of them side by side. */
static void spread(const real *restrict g, size_t step, real *restrict to,
                   size_t to_step, size_t n)
{
    const real sixth = (real)(-1.0 / 6), small = (real)(1.0 / 24);

    for (size_t e = 0; e < n; e++) {
        const real g0 = g[e], g1 = g[e + step], g2 = g[e + 2 * step],
                   g3 = g[e + 3 * step], g4 = g[e + 4 * step];
        const real even = g0 + g2 + g4, odd = g1 + g3;
        const real even2 = g0 + 4 * g2 + 16 * g4, odd2 = 2 * g1 + 8 * g3;

        to[e] = g0 / 4;
        to[e + to_step] = sixth * (even + odd);
        to[e + 2 * to_step] = sixth * (even - odd);
        to[e + 3 * to_step] = small * (even2 + odd2);
        to[e + 4 * to_step] = small * (even2 - odd2);
        to[e + 5 * to_step] = g4;
    }
}

static void pack_tiles(const struct lenet_conv *c, const real *weight)
{
    const uint32_t lanes = c->kernels->lanes;
    const size_t   channels = c->channels, three = 3 * channels;

    for (uint32_t f = 0; f < c->filters; f++, weight += LENET_KERNEL * c->run) {
        real *to = lane_of(c, c->packed, f, 2 * three);
        real *upright = c->spread, *both = c->spread + LENET_TILE * c->run;

        spread(weight, c->run, upright, c->run, c->run);
        for (size_t i = 0; i < LENET_TILE; i++)
            spread(upright + i * c->run, channels, both + i * channels,
                   LENET_TILE * channels, channels);
        for (size_t j = 0; j < LENET_TILE; j++, to += c->filters_room * 2 * three)
            for (size_t half = 0; half < 2; half++, both += three)
                for (size_t k = 0; k < three; k++)
                    to[(half * three + k) * lanes] = both[k % 3 * channels + k / 3];
    }
}

void lenet_conv_take(struct lenet_conv *c, const real *weight, const real *bias)
{
    size_t lines = (size_t)c->filters * LENET_KERNEL;

    if (c->channels == 1)
        pack_direct(c, weight);
    else
        pack_tiles(c, weight);
    memcpy(c->bias, bias, c->filters * sizeof(*bias));
    for (size_t i = 0; i < lines; i++)
        memcpy(c->filter + i * c->run_room, weight + i * c->run,
               c->run * sizeof(*weight));
}

/* ---- images --------------------------------------------------------------------- */

void lenet_conv_forward(struct lenet_conv *c, uint32_t i, real *y, size_t y_row)
{
    c->kernels->forward(c, c->x + i * c->image, y, y_row, c->from + i * c->origins);
}

void lenet_conv_begin(struct lenet_conv *c)
{
    memset(c->dfilter, 0,
           c->filters_room * LENET_KERNEL * c->run_room * sizeof(*c->dfilter));
    memset(c->dbias, 0, c->filters_room * sizeof(*c->dbias));
}

const real *lenet_conv_back(struct lenet_conv *c, uint32_t i, const real *dy,
                            size_t dy_row)
{
    if (c->want_dx)
        memset(c->dx, 0, c->image * sizeof(*c->dx));
    c->kernels->back(c, c->from + i * c->origins, c->x + i * c->image, dy, dy_row);
    return c->want_dx ? c->dx + c->pad * (c->row + c->channels) : NULL;
}

static void unpack_direct(const struct lenet_conv *c, real *dweight)
{
    for (uint32_t f = 0; f < c->filters; f++) {
        const real *from = lane_of(c, c->dfilter, f, LENET_WINDOW);

        for (size_t k = 0; k < LENET_WINDOW; k++, from += c->kernels->lanes)
            *dweight++ = *from;
    }
}

void lenet_conv_end(const struct lenet_conv *c, real *dweight, real *dbias)
{
    size_t lines = (size_t)c->filters * LENET_KERNEL;

    memcpy(dbias, c->dbias, c->filters * sizeof(*dbias));
    if (c->direct) {
        unpack_direct(c, dweight);
        return;
    }
    for (size_t i = 0; i < lines; i++)
        memcpy(dweight + i * c->run, c->dfilter + i * c->run_room,
               c->run * sizeof(*dweight));
}
