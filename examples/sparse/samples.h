/*
 * samples.h - what logreg learns from: LIBSVM files of two classes, or a set that is
 * made up when the experiment names none.
 *
 * The made-up set is what advertisements give: very many features, each sample with a
 * few of them, some features in many samples and most in hardly any.  One of ten means
 * something.  It is a function of the seed alone.
 */
#ifndef SPARSE_SAMPLES_H
#define SPARSE_SAMPLES_H

#include "task.h"

#include <stdio.h>

#define SAMPLES_BIAS UINT64_MAX /* the key of the weight that every sample has */

struct samples {
    ps_data *training;
    ps_data *test;               /* NULL: none */
    double   negative, positive; /* the two labels; the higher one is the positive */
};

/* Both: 0, or an exit code after it was said on stderr what is wrong. */
int samples_open(struct samples *s, const struct task *t, uint32_t made_up);
int samples_write_made_up(const struct task *t, FILE *to, uint64_t n, int test);

void samples_close(struct samples *s);

/* 1: the sample's label is the positive one, 0: it is not. */
int samples_is_positive(const struct samples *s, const ps_data *data, uint64_t i);

/* -log P(label) when the odds are exp(margin); *probability is that of the positive. */
double samples_loss(double margin, int is_positive, double *probability);

#endif
