/* dropout.c - see task.h. */
#include "task.h"

#define DROPOUT_STREAM 0x64726f706f757400u /* "dropout" */

enum { WORDS = 4 }; /* of a block of random numbers */

void lenet_dropout(uint64_t seed, uint64_t position, uint32_t n, uint32_t units,
                   double dropout, real *keep)
{
    const uint64_t blocks = (units + WORDS - 1) / WORDS; /* of one sample */
    const double   below = dropout * 4294967296.0;
    const real     kept = (real)(1 / (1 - dropout));
    uint32_t       word[WORDS];

    for (uint32_t i = 0; i < n; i++)
        for (uint32_t u = 0; u < units; u++) {
            if (u % WORDS == 0)
                ps_random_words(seed, DROPOUT_STREAM,
                                (position + i) * blocks + u / WORDS, word, WORDS);
            *keep++ = word[u % WORDS] < below ? 0 : kept;
        }
}
