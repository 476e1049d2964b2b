/* blas.c - see blas.h. */
#include "tools/blas.h"

#include <dlfcn.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

#if defined(__x86_64__)

static bool cpu_has_avx512(void)
{
    __builtin_cpu_init();
    return __builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512bw") &&
           __builtin_cpu_supports("avx512dq") && __builtin_cpu_supports("avx512vl");
}

/* The core types whose kernels use AVX-512. */
static bool uses_avx512(const char *core)
{
    return strcasecmp(core, "SkylakeX") == 0 || strcasecmp(core, "Cooperlake") == 0 ||
           strcasecmp(core, "SapphireRapids") == 0;
}

const char *blas_core_type(void)
{
    char *(*name)(void);
    void       *library;
    const char *better = NULL;

    if (getenv("OPENBLAS_CORETYPE") || !cpu_has_avx512())
        return NULL;
    library = dlopen("libopenblas.so.0", RTLD_NOW | RTLD_LOCAL);
    if (!library)
        return NULL;
    *(void **)&name = dlsym(library, "openblas_get_corename");
    if (name && !uses_avx512(name()))
        better = "SkylakeX";
    dlclose(library);
    return better;
}

#else

const char *blas_core_type(void)
{
    return NULL;
}

#endif
