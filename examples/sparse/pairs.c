/* pairs.c - see pairs.h. */
#include "pairs.h"

#include <math.h>
#include <stdlib.h>

#define STREAM 0x776f726470616972u /* "wordpair", and the rank */
#define LANES 8u

/* ---- random numbers ------------------------------------------------------------ */

/* The stream of one batch: 2^32 blocks of it per clock. */
struct lots {
    uint64_t seed, stream, index;
    uint32_t word[256];
    uint32_t at;
};

static uint32_t next(struct lots *l)
{
    if (l->at == 256) {
        ps_random_words(l->seed, l->stream, l->index, l->word, 256);
        l->index += 256 / 4;
        l->at = 0;
    }
    return l->word[l->at++];
}

static uint32_t below(struct lots *l, uint32_t bound)
{
    return (uint32_t)(((uint64_t)next(l) * bound) >> 32);
}

static uint32_t of_two_to_32(double share)
{
    return share >= 1 ? UINT32_MAX : (uint32_t)(share * 0x1p32);
}

/* ---- negative samples ---------------------------------------------------------- */

/* Words that get less than their share of the cells are topped up by those that get
 * more (Vose, IEEE Transactions on Software Engineering 17, 1991). */
static bool lottery_init(struct lottery *l, const struct text *t)
{
    double   *share = calloc(t->n_words, sizeof(*share));
    uint32_t *small = calloc(t->n_words, sizeof(*small));
    uint32_t *large = calloc(t->n_words, sizeof(*large));
    uint32_t  n_small = 0, n_large = 0;
    double    sum = 0;

    l->n = t->n_words;
    l->keep = calloc(t->n_words, sizeof(*l->keep));
    l->alias = calloc(t->n_words, sizeof(*l->alias));
    if (share && small && large && l->keep && l->alias) {
        for (uint32_t i = 0; i < l->n; i++)
            sum += share[i] = pow((double)t->count[i], 0.75);
        for (uint32_t i = 0; i < l->n; i++) {
            share[i] *= l->n / sum;
            if (share[i] < 1)
                small[n_small++] = i;
            else
                large[n_large++] = i;
        }
        while (n_small > 0 && n_large > 0) {
            uint32_t i = small[--n_small], j = large[n_large - 1];

            l->keep[i] = of_two_to_32(share[i]);
            l->alias[i] = j;
            share[j] -= 1 - share[i];
            if (share[j] < 1)
                small[n_small++] = large[--n_large];
        }
        while (n_small > 0) /* what rounding has left over */
            large[n_large++] = small[--n_small];
        while (n_large > 0) {
            l->keep[large[n_large - 1]] = UINT32_MAX;
            l->alias[large[n_large - 1]] = large[n_large - 1];
            n_large--;
        }
    }
    free(share);
    free(small);
    free(large);
    return share && small && large && l->keep && l->alias;
}

static uint32_t draw_word(const struct lottery *l, struct lots *lots)
{
    uint32_t i = below(lots, l->n);

    return next(lots) <= l->keep[i] ? i : l->alias[i];
}

/* ---- life ---------------------------------------------------------------------- */

static void set_keep(struct pairs *p)
{
    const struct text *t = p->text;

    for (uint32_t i = 0; i < t->n_words; i++) {
        double frequency = (double)t->count[i] / (double)t->n;

        p->keep[i] = p->options.subsample > 0
                         ? of_two_to_32(sqrt(p->options.subsample / frequency))
                         : UINT32_MAX;
    }
}

bool pairs_init(struct pairs *p, const struct text *text, const struct pairs_options *o,
                uint32_t dimensions, uint32_t batch)
{
    *p = (struct pairs){ .text = text, .options = *o };
    rows_init(&p->in, dimensions);
    rows_init(&p->out, dimensions);
    p->keep = calloc(text->n_words, sizeof(*p->keep));
    p->kept = calloc(batch, sizeof(*p->kept));
    p->centres = calloc((size_t)batch + 1, sizeof(*p->centres));
    if (!p->keep || !p->kept || !p->centres || !lottery_init(&p->lottery, text))
        return false;
    set_keep(p);
    return true;
}

void pairs_free(struct pairs *p)
{
    rows_free(&p->in);
    rows_free(&p->out);
    free(p->lottery.keep);
    free(p->lottery.alias);
    free(p->keep);
    free(p->kept);
    free(p->centres);
    free(p->target);
    *p = (struct pairs){ 0 };
}

/* ---- drawing ------------------------------------------------------------------- */

static bool add_target(struct pairs *p, uint32_t word, bool near)
{
    uint32_t place;

    if (p->n_targets == p->target_room) {
        uint32_t  room = p->target_room ? 2 * p->target_room : 4096;
        uint32_t *target = reallocarray(p->target, room, sizeof(*target));

        if (!target)
            return false;
        p->target = target;
        p->target_room = room;
    }
    if (!rows_place(&p->out, word, &place))
        return false;
    p->target[p->n_targets++] = 2 * place + near;
    return true;
}

/* A word of the window, and some that are not. */
static bool add_neighbour(struct pairs *p, uint32_t word, struct lots *lots)
{
    if (!add_target(p, word, true))
        return false;
    for (uint32_t k = 0; k < p->options.negatives; k++) {
        uint32_t other = draw_word(&p->lottery, lots);

        if (other != word && !add_target(p, other, false))
            return false;
    }
    return true;
}

static bool add_centre(struct pairs *p, uint32_t i, uint32_t n_kept, struct lots *lots)
{
    struct centre *c = &p->centres[p->n_centres++];
    uint32_t       reach = 1 + below(lots, p->options.window);
    uint32_t       first = i > reach ? i - reach : 0;
    uint32_t       last = i + reach < n_kept ? i + reach : n_kept - 1;

    c->first_target = p->n_targets;
    if (!rows_place(&p->in, p->kept[i], &c->place))
        return false;
    for (uint32_t j = first; j <= last; j++)
        if (j != i && !add_neighbour(p, p->kept[j], lots))
            return false;
    return true;
}

bool pairs_draw(struct pairs *p, uint64_t first, uint32_t n, uint64_t seed,
                uint32_t rank, uint64_t clock)
{
    struct lots lots = { .seed = seed, .stream = STREAM + rank, .index = clock << 32 };
    uint32_t    n_kept = 0;

    lots.at = 256;
    rows_clear(&p->in);
    rows_clear(&p->out);
    p->n_centres = p->n_targets = 0;
    for (uint32_t i = 0; i < n; i++) {
        uint32_t word = p->text->words[first + i];

        if (next(&lots) <= p->keep[word])
            p->kept[n_kept++] = word;
    }
    for (uint32_t i = 0; i < n_kept; i++)
        if (!add_centre(p, i, n_kept, &lots))
            return false;
    p->centres[p->n_centres].first_target = p->n_targets;
    return true;
}

/* ---- the gradient -------------------------------------------------------------- */

/* In lanes, which a compiler may add side by side; the order is the same anywhere. */
static float dot(const float *restrict a, const float *restrict b, uint32_t n)
{
    float    lane[LANES] = { 0 }, sum = 0;
    uint32_t i = 0;

    for (; i + LANES <= n; i += LANES)
        for (uint32_t l = 0; l < LANES; l++)
            lane[l] += a[i + l] * b[i + l];
    for (; i < n; i++)
        sum += a[i] * b[i];
    for (uint32_t l = 0; l < LANES; l++)
        sum += lane[l];
    return sum;
}

/* a += s x, b += s y */
static void add_both(float *restrict a, const float *restrict x, float *restrict b,
                     const float *restrict y, float s, uint32_t n)
{
    for (uint32_t i = 0; i < n; i++) {
        a[i] += s * x[i];
        b[i] += s * y[i];
    }
}

/* Equation 4: -log sigma(v' v) for what is near, -log sigma(-v' v) for what is not. */
static float learn(struct pairs *p, uint32_t in, uint32_t target)
{
    const uint32_t n = p->in.cols;
    const size_t   a = (size_t)in * n, b = (size_t)(target >> 1) * n;
    const float    x = dot(p->in.value + a, p->out.value + b, n);
    const float    near = (float)(target & 1);
    const float    wrong = near > 0 ? -x : x;

    add_both(p->in.grad + a, p->out.value + b, p->out.grad + b, p->in.value + a,
             1 / (1 + expf(-x)) - near, n);
    return wrong > 0 ? wrong + log1pf(expf(-wrong)) : log1pf(expf(wrong));
}

double pairs_gradient(struct pairs *p, uint64_t *n_pairs)
{
    double loss = 0;

    *n_pairs = 0;
    for (uint32_t i = 0; i < p->n_centres; i++) {
        const struct centre *c = &p->centres[i];

        for (uint32_t k = c->first_target; k < c[1].first_target; k++) {
            loss += (double)learn(p, c->place, p->target[k]);
            *n_pairs += p->target[k] & 1;
        }
    }
    return loss;
}
