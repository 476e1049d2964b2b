/*
 * data_file.c - see data.h.
 *
 * zlib reads plain and gzip files alike.  Lines are found in a buffer that grows to
 * LINE_BYTES_MAX, so that a file without line ends is refused and not swallowed.
 */
#include "worker/data.h"

#include <fcntl.h>
#include <inttypes.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#define LINE_BYTES_FIRST ((size_t)64 << 10)
#define LINE_BYTES_MAX ((size_t)16 << 20)

ps_status psw_file_open(struct data_file *f, const char *name)
{
    struct stat s;
    int         fd = open(name, O_RDONLY | O_CLOEXEC);

    *f = (struct data_file){ .name = name };
    if (fd < 0)
        return ps_fail(PS_ERR_DATA, "data %s: cannot be opened: %m", name);
    if (fstat(fd, &s) == 0 && !S_ISREG(s.st_mode)) {
        close(fd);
        return ps_fail(PS_ERR_DATA, "data %s: not a file", name);
    }
    f->bytes = (uint64_t)s.st_size;
    f->gz = gzdopen(fd, "rb");
    if (!f->gz) {
        close(fd);
        return ps_fail(PS_ERR_NO_MEMORY, "data %s: no memory to read it", name);
    }
    gzbuffer(f->gz, 128u << 10);
    return PS_OK;
}

ps_status psw_file_open_text(struct data_file *f, const char *name)
{
    ps_status st = psw_file_open(f, name);

    if (st)
        return st;
    f->numbers = newlocale(LC_ALL_MASK, "C", (locale_t)0);
    return f->numbers
               ? PS_OK
               : ps_fail(PS_ERR_NO_MEMORY, "data %s: no memory to read it", name);
}

void psw_file_close(struct data_file *f)
{
    if (f->gz)
        gzclose(f->gz);
    if (f->numbers)
        freelocale(f->numbers);
    free(f->buffer);
    *f = (struct data_file){ .name = f->name };
}

/* What zlib or the system says is wrong, if anything is. */
static ps_status health(const struct data_file *f)
{
    int         code;
    const char *text = gzerror(f->gz, &code);

    switch (code) {
    case Z_OK:
    case Z_STREAM_END: return PS_OK;
    case Z_BUF_ERROR:
        return ps_fail(PS_ERR_DATA, "data %s: truncated: its gzip stream has no end",
                       f->name);
    case Z_MEM_ERROR:
        return ps_fail(PS_ERR_NO_MEMORY, "data %s: no memory to read it", f->name);
    case Z_ERRNO: return ps_fail(PS_ERR_DATA, "data %s: cannot be read: %m", f->name);
    default:
        return ps_fail(PS_ERR_DATA, "data %s: damaged gzip stream: %s", f->name, text);
    }
}

ps_status psw_file_read(struct data_file *f, void *to, uint64_t want, uint64_t *got)
{
    *got = 0;
    while (*got < want) {
        uint64_t left = want - *got;
        unsigned part = left < (1u << 30) ? (unsigned)left : 1u << 30;
        int      n = gzread(f->gz, (uint8_t *)to + *got, part);

        if (n <= 0)
            break;
        *got += (uint64_t)n;
    }
    return *got < want ? health(f) : PS_OK;
}

/* More bytes behind those that are there; one byte stays free for a NUL. */
static ps_status fill(struct data_file *f)
{
    uint64_t  want, got;
    ps_status st;

    if (f->begin) {
        memmove(f->buffer, f->buffer + f->begin, f->end - f->begin);
        f->end -= f->begin;
        f->begin = 0;
    }
    if (f->end + 1 >= f->room) {
        size_t room = f->room ? 2 * f->room : LINE_BYTES_FIRST;
        char  *more;

        if (f->end >= LINE_BYTES_MAX)
            return ps_fail(PS_ERR_DATA,
                           "data %s:%" PRIu64 ": a line of more than %zu bytes",
                           f->name, f->line + 1, LINE_BYTES_MAX);
        more = realloc(f->buffer, room);
        if (!more)
            return ps_fail(PS_ERR_NO_MEMORY, "data %s: no memory to read it", f->name);
        f->buffer = more;
        f->room = room;
    }
    want = f->room - 1 - f->end;
    st = psw_file_read(f, f->buffer + f->end, want, &got);
    f->end += got;
    f->ended = got < want;
    return st;
}

ps_status psw_file_line(struct data_file *f, char **line)
{
    char  *stop;
    size_t seen = 0, length;

    *line = NULL;
    for (;;) {
        size_t    there = f->end - f->begin;
        ps_status st;

        stop = there > seen ? memchr(f->buffer + f->begin + seen, '\n', there - seen)
                            : NULL;
        if (stop || f->ended)
            break;
        seen = there;
        st = fill(f);
        if (st)
            return st;
    }
    if (f->begin == f->end)
        return PS_OK;
    *line = f->buffer + f->begin;
    length = (size_t)((stop ? stop : f->buffer + f->end) - *line);
    f->begin += length + (stop != NULL);
    f->line++;
    (*line)[length] = '\0';
    if (strlen(*line) != length)
        return ps_fail(PS_ERR_DATA,
                       "data %s:%" PRIu64 ": a zero byte, expected only text", f->name,
                       f->line);
    if (length && (*line)[length - 1] == '\r')
        (*line)[length - 1] = '\0';
    return PS_OK;
}

const char *psw_file_show(const char *text, char shown[64])
{
    size_t n = 0;

    for (; text[n] && n < 60; n++)
        shown[n] = text[n];
    for (size_t i = 0; i < n; i++)
        if (shown[i] < ' ' || shown[i] > '~')
            shown[i] = '?';
    strcpy(shown + n, text[n] ? "..." : "");
    return shown;
}

/* Hexadecimal digits, "nan" and "inf" are numbers to strtod, and not to us. */
static bool is_decimal(const char *text)
{
    return *text && text[strspn(text, "+-.0123456789eE")] == '\0';
}

ps_status psw_file_float(const struct data_file *f, const char *what, uint64_t number,
                         const char *text, float *out)
{
    char *end = NULL, shown[64];

    *out = is_decimal(text) ? strtof_l(text, &end, f->numbers) : 0;
    if (end && end > text && !*end && isfinite(*out))
        return PS_OK;
    return ps_fail(PS_ERR_DATA,
                   "data %s:%" PRIu64 ": %s %" PRIu64
                   ": \"%s\", expected a finite number",
                   f->name, f->line, what, number, psw_file_show(text, shown));
}

ps_status psw_file_double(const struct data_file *f, const char *what, const char *text,
                          double *out)
{
    char *end = NULL, shown[64];

    *out = is_decimal(text) ? strtod_l(text, &end, f->numbers) : 0;
    if (end && end > text && !*end && isfinite(*out))
        return PS_OK;
    return ps_fail(PS_ERR_DATA,
                   "data %s:%" PRIu64 ": %s: \"%s\", expected a finite number", f->name,
                   f->line, what, psw_file_show(text, shown));
}

ps_status psw_file_grow(const struct data_file *f, void *array, size_t each,
                        uint64_t *room, uint64_t need)
{
    uint64_t more = *room ? *room : 1024;
    void    *old, *new;

    if (need <= *room)
        return PS_OK;
    while (more < need)
        more *= 2;
    memcpy(&old, array, sizeof(old)); /* `array` is the address of any pointer */
    new = reallocarray(old, more, each);
    if (!new)
        return ps_fail(PS_ERR_NO_MEMORY,
                       "data %s:%" PRIu64 ": no memory for %" PRIu64 " values", f->name,
                       f->line, more);
    memcpy(array, &new, sizeof(new));
    *room = more;
    return PS_OK;
}
