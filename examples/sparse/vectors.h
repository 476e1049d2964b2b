/*
 * vectors.h - word vectors that are done: who is near whom, and a file of them.
 */
#ifndef SPARSE_VECTORS_H
#define SPARSE_VECTORS_H

#include "text.h"

/*
 * Prints for each of the comma-separated words the `n` that are nearest by cosine, with
 * it, one line each that begins with "result: ".
 *
 *   vectors  [n_words][dimensions] of length 1, or 0
 */
void vectors_tell(const struct text *t, const float *vectors, uint32_t dimensions,
                  const char *words, uint32_t n);

/* Makes each vector one of length 1; those of length 0 stay. */
void vectors_normalise(float *vectors, uint32_t n_words, uint32_t dimensions);

/* In the text format of word2vec; an exit code. */
int vectors_write(const struct text *t, const char *program, const float *vectors,
                  uint32_t dimensions, const char *file);

#endif
