/* random.c - see random.h. */
#include "common/base/random.h"

#include <math.h>
#include <sys/random.h>

static void philox_round(uint32_t c[4], const uint32_t k[2])
{
    uint64_t a = (uint64_t)0xD2511F53u * c[0];
    uint64_t b = (uint64_t)0xCD9E8D57u * c[2];
    uint32_t c1 = c[1], c3 = c[3];

    c[0] = (uint32_t)(b >> 32) ^ c1 ^ k[0];
    c[1] = (uint32_t)b;
    c[2] = (uint32_t)(a >> 32) ^ c3 ^ k[1];
    c[3] = (uint32_t)a;
}

void ps_random_block(uint64_t seed, uint64_t stream, uint64_t index, uint32_t out[4])
{
    uint32_t k[2] = { (uint32_t)seed, (uint32_t)(seed >> 32) };

    out[0] = (uint32_t)index;
    out[1] = (uint32_t)(index >> 32);
    out[2] = (uint32_t)stream;
    out[3] = (uint32_t)(stream >> 32);
    for (int i = 0; i < 10; i++) {
        philox_round(out, k);
        k[0] += 0x9E3779B9u;
        k[1] += 0xBB67AE85u;
    }
}

uint64_t ps_random_u64(uint64_t seed, uint64_t stream, uint64_t index)
{
    uint32_t r[4];

    ps_random_block(seed, stream, index, r);
    return (uint64_t)r[1] << 32 | r[0];
}

double ps_random_uniform(uint64_t seed, uint64_t stream, uint64_t index)
{
    return (double)(ps_random_u64(seed, stream, index) >> 11) * 0x1p-53;
}

double ps_random_normal(uint64_t seed, uint64_t stream, uint64_t index)
{
    uint32_t r[4];
    double   u, v;

    ps_random_block(seed, stream, index, r);
    /* u in (0, 1], so that its logarithm is finite */
    u = ((double)(((uint64_t)r[1] << 32 | r[0]) >> 11) + 1.0) * 0x1p-53;
    v = (double)(((uint64_t)r[3] << 32 | r[2]) >> 11) * 0x1p-53;
    return sqrt(-2.0 * log(u)) * cos(6.283185307179586 * v);
}

uint64_t ps_random_below(uint64_t seed, uint64_t stream, uint64_t index, uint64_t bound)
{
    /* Multiply and shift; the bias is below bound / 2^64. */
    return (uint64_t)(((unsigned __int128)ps_random_u64(seed, stream, index) * bound) >>
                      64);
}

uint64_t ps_random_stream(const char *name)
{
    uint64_t h = 0xcbf29ce484222325u;

    for (; *name; name++)
        h = (h ^ (uint8_t)*name) * 0x100000001b3u;
    return h;
}

void ps_random_permutation(uint64_t seed, uint64_t stream, uint64_t n, uint32_t *out)
{
    for (uint64_t i = 0; i < n; i++)
        out[i] = (uint32_t)i;
    for (uint64_t i = n; i > 1; i--) {
        uint64_t j = ps_random_below(seed, stream, i, i);
        uint32_t t = out[j];

        out[j] = out[i - 1];
        out[i - 1] = t;
    }
}

int ps_random_secret(void *out, size_t bytes)
{
    return getrandom(out, bytes, 0) == (ssize_t)bytes ? 0 : -1;
}
