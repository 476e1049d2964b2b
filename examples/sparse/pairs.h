/*
 * pairs.h - what a batch of skip-gram with negative sampling is about: words, what
 * stands around them, and words that do not.
 *
 * The text is cut into blocks of train.batch words; a batch is a block.  Frequent words
 * are dropped now and then, a word's window is narrower now and then, and for each word
 * in the window `negatives` others are drawn, in proportion to their counts to the
 * power of 3/4.  All of that is a function of (seed, rank, clock).
 *
 * Source: Mikolov et al., "Distributed Representations of Words and Phrases and their
 * Compositionality", NIPS 2013, sections 2.2 and 2.3; the window of Mikolov et al.,
 * "Efficient Estimation of Word Representations in Vector Space", 2013, section 3.2.
 */
#ifndef SPARSE_PAIRS_H
#define SPARSE_PAIRS_H

#include "rows.h"
#include "text.h"

struct pairs_options {
    uint32_t window;    /* words to each side, at most */
    uint32_t negatives; /* for each word in a window */
    double subsample; /* a word of frequency f stays with sqrt(subsample / f); 0: all */
};

/* Words by lot, in constant time (Walker's alias method). */
struct lottery {
    uint32_t  n;
    uint32_t *keep;  /* [n] of 2^32 */
    uint32_t *alias; /* [n] */
};

/* A word and its window.  A target is a row of `out` that is near, or was drawn. */
struct centre {
    uint32_t place;        /* in `in` */
    uint32_t first_target; /* up to the next centre's */
};

struct pairs {
    const struct text   *text;
    struct pairs_options options;
    struct lottery       lottery;
    uint32_t            *keep; /* [words of the text] share that stays, of 2^32 */

    struct rows    in, out; /* the rows of this batch */
    uint32_t       n_centres, centre_room;
    struct centre *centres; /* [n_centres + 1] */
    uint32_t       n_targets, target_room;
    uint32_t *target; /* [n_targets] place in `out`, and 1 if it is near: 2 p + 1 */
    uint32_t *kept;   /* [train.batch] words of the block that stay */
};

/* false: no memory; free in either case. */
bool pairs_init(struct pairs *p, const struct text *text, const struct pairs_options *o,
                uint32_t dimensions, uint32_t batch);
void pairs_free(struct pairs *p);

/* The batch of words first .. first + n - 1. */
bool pairs_draw(struct pairs *p, uint64_t first, uint32_t n, uint64_t seed,
                uint32_t rank, uint64_t clock);

/* Adds the gradients of the batch's loss to its rows, from their values.  The loss, in
 * sum over the centres' neighbours, which are *n_pairs. */
double pairs_gradient(struct pairs *p, uint64_t *n_pairs);

#endif
