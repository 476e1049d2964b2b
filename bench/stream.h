/*
 * stream.h - the limit that memory sets for a kernel: loops that read and write as many
 * arrays as it does, and do next to nothing with what they read.
 *
 * Compiled as the kernels are.  Thread: any.
 */
#ifndef BENCH_STREAM_H
#define BENCH_STREAM_H

#include <stddef.h>

/* Reads s, writes w; and reads w, and so many more arrays that it writes back. */
void  bench_stream_set(size_t n, float *w, const float *s);
void  bench_stream_1(size_t n, float *w, const float *g);
void  bench_stream_2(size_t n, float *w, float *a, const float *g);
void  bench_stream_3(size_t n, float *w, float *a, float *b, const float *g);
float bench_stream_read(size_t n, const float *g); /* the sum, in some order */

#endif
