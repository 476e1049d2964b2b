/*
 * real.h - the number that the net computes with, and the BLAS that goes with it.
 *
 * float; the test that checks the gradients compiles everything once more in double.
 */
#ifndef LENET_REAL_H
#define LENET_REAL_H

#include <cblas.h>

#ifdef LENET_DOUBLE
typedef double real;
#define lenet_gemm cblas_dgemm
#else
typedef float real;
#define lenet_gemm cblas_sgemm
#endif

#endif
