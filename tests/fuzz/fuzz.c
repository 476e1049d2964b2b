/* fuzz.c - see fuzz.h. */
#include "tests/fuzz/fuzz.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

static unsigned said;

void fuzz_broken(const char *file, int line, const char *what)
{
    fprintf(stderr, "%s:%d: does not hold: %s; the last sentence: %s\n", file, line,
            what, ps_log_last_error());
    abort();
}

/* ---- sentences ----------------------------------------------------------------- */

static void hear(void *ctx, enum ps_log_level level, const char *line)
{
    (void)ctx;
    if (level == PS_LOG_ERR)
        said++;
    fuzz_require(line[0] != '\0');
    for (; *line; line++)
        fuzz_require((unsigned char)*line >= ' ' && *line != 0x7f);
}

void fuzz_listen(void)
{
    ps_log_listen(hear, NULL, PS_LOG_DEBUG);
    said = 0;
}

void fuzz_heard(ps_status st)
{
    fuzz_require(said == (st ? 1 : 0));
}

/* ---- bytes --------------------------------------------------------------------- */

uint8_t fuzz_byte(struct fuzz_input *in)
{
    if (in->left == 0)
        return 0;
    in->left--;
    return *in->at++;
}

size_t fuzz_take(struct fuzz_input *in, size_t want, const uint8_t **out)
{
    size_t n = want < in->left ? want : in->left;

    *out = in->at;
    in->at += n;
    in->left -= n;
    return n;
}

static uint64_t wide(struct fuzz_input *in, size_t bytes)
{
    const uint8_t *at;
    uint64_t       number = 0;

    bytes = fuzz_take(in, bytes, &at);
    if (bytes > 0)
        memcpy(&number, at, bytes);
    return number;
}

uint64_t fuzz_number(struct fuzz_input *in)
{
    uint8_t first = fuzz_byte(in);

    switch (first) {
    case 0xf8: return wide(in, 2);
    case 0xf9: return wide(in, 4);
    case 0xfa: return wide(in, 8);
    case 0xfb: return UINT64_MAX;
    case 0xfc: return UINT32_MAX;
    case 0xfd: return UINT64_C(1) << 63;
    case 0xfe: return UINT64_MAX - 1;
    case 0xff: return 1u << 20;
    }
    return first;
}

double fuzz_double(struct fuzz_input *in)
{
    static const double odd[] = { NAN, INFINITY, -INFINITY, -0.0, 1e308, 5e-324, -1 };
    uint8_t             first = fuzz_byte(in);
    uint64_t            bits;
    double              number;

    if (first < 0xf8)
        return first / 16.0;
    if (first - 0xf8u < sizeof(odd) / sizeof(odd[0]))
        return odd[first - 0xf8u];
    bits = wide(in, 8);
    memcpy(&number, &bits, sizeof(number));
    return number;
}

struct ps_buf *fuzz_buf(const void *bytes, size_t n_bytes)
{
    void          *copy = malloc(n_bytes ? n_bytes : 1);
    struct ps_buf *buf;

    fuzz_require(copy != NULL);
    if (n_bytes > 0)
        memcpy(copy, bytes, n_bytes);
    fuzz_require(ps_buf_adopt(&buf, copy, n_bytes, free, copy) == PS_OK);
    return buf;
}

const char *fuzz_file(unsigned slot, const void *bytes, size_t n_bytes)
{
    static int  fds[2] = { -1, -1 };
    static char names[2][64];
    size_t      done = 0;

    if (fds[slot] < 0)
        fds[slot] = memfd_create("fuzz", 0);
    fuzz_require(fds[slot] >= 0 && ftruncate(fds[slot], 0) == 0);
    while (done < n_bytes) {
        ssize_t n =
            pwrite(fds[slot], (const char *)bytes + done, n_bytes - done, (off_t)done);

        fuzz_require(n > 0);
        done += (size_t)n;
    }
    snprintf(names[slot], sizeof(names[slot]), "/proc/self/fd/%d", fds[slot]);
    return names[slot];
}
