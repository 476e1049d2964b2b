/*
 * blas.h - which kernels OpenBLAS should use on this machine.
 *
 * OpenBLAS chooses its kernels by the CPU's model number and falls back to older ones
 * for models it does not know, at half the speed where AVX-512 is there.  psexp then
 * names a better core type for the workers it starts.
 *
 * Thread: one.
 */
#ifndef TOOLS_BLAS_H
#define TOOLS_BLAS_H

/*
 * The value that OPENBLAS_CORETYPE should have, or NULL to leave it alone: the user has
 * set it, OpenBLAS is not there, or its choice is as good as the CPU allows.
 */
const char *blas_core_type(void);

#endif
