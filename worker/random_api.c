/* random_api.c - the random streams of common/base/random.h as users see them. */
#include <ps/worker.h>

#include "common/base/random.h"

double ps_random_at(uint64_t seed, uint64_t stream, uint64_t index)
{
    return ps_random_uniform(seed, stream, index);
}

double ps_random_normal_at(uint64_t seed, uint64_t stream, uint64_t index)
{
    return ps_random_normal(seed, stream, index);
}

void ps_random_words(uint64_t seed, uint64_t stream, uint64_t index, uint32_t *out,
                     size_t n)
{
    uint32_t block[4];

    for (size_t i = 0; i < n; i++) {
        if (i % 4 == 0)
            ps_random_block(seed, stream, index + i / 4, block);
        out[i] = block[i % 4];
    }
}
