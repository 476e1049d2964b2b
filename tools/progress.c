/* progress.c - see progress.h. */
#include "tools/progress.h"

#include <math.h>
#include <stdarg.h>
#include <string.h>
#include <sys/ioctl.h>
#include <unistd.h>

#define PLAIN_SECONDS 10.0
#define BAR_CELLS 24u
#define BAR_CELLS_MIN 4u

void progress_start(struct progress *p, bool quiet)
{
    *p = (struct progress){ .quiet = quiet, .terminal = isatty(STDERR_FILENO) == 1 };
}

/* Samples per second since about a second ago.  A coordinator that is started again
 * knows fewer until all workers have told it theirs: what was seen before does not
 * count once more. */
static void measure(struct progress *p, const struct record *r, double seconds)
{
    const double   passed = seconds - p->rate_time;
    const uint64_t most =
        r->traffic.samples > p->rate_samples ? r->traffic.samples : p->rate_samples;

    if (passed < 1)
        return;
    p->rate = (double)(most - p->rate_samples) / passed;
    p->rate_samples = most;
    p->rate_time = seconds;
}

static void describe(const struct progress *p, const struct record *r, char *line,
                     size_t bytes)
{
    char loss[32] = "", accuracy[32] = "";

    if (isfinite(r->loss))
        snprintf(loss, sizeof(loss), ", loss %.4f", r->loss);
    if (isfinite(record_accuracy(r)))
        snprintf(accuracy, sizeof(accuracy), ", accuracy %.4f", record_accuracy(r));
    snprintf(line, bytes, "%s%s, %.0f samples/s", loss, accuracy, p->rate);
}

static unsigned terminal_columns(void)
{
    struct winsize size;

    return ioctl(STDERR_FILENO, TIOCGWINSZ, &size) == 0 && size.ws_col ? size.ws_col
                                                                       : 80;
}

/* The bar takes what the words leave of the line, if that is enough to see. */
static void draw_bar(char *bar, unsigned room, double done)
{
    unsigned cells = room > BAR_CELLS + 4 ? BAR_CELLS : room > 4 ? room - 4 : 0;
    unsigned filled = (unsigned)(done * cells);

    bar[0] = '\0';
    if (cells < BAR_CELLS_MIN)
        return;
    bar[0] = '[';
    memset(bar + 1, '-', cells);
    memset(bar + 1, '#', filled);
    memcpy(bar + 1 + cells, "] ", 3);
}

static void draw(struct progress *p, const struct record *r, uint32_t epochs,
                 double done, double seconds)
{
    char     bar[BAR_CELLS + 8], rest[160], line[320];
    unsigned columns = terminal_columns();
    double   left = done > 0 ? seconds / done * (1 - done) : 0;

    describe(p, r, rest, sizeof(rest));
    snprintf(line, sizeof(line), "%3.0f %%, epoch %.0f/%u%s, %.0f s left", 100 * done,
             fmin(floor(done * epochs) + 1, epochs), epochs, rest, left);
    draw_bar(bar, columns > strlen(line) ? columns - (unsigned)strlen(line) : 0, done);
    fprintf(stderr, "\r%s%.*s\033[K", bar, (int)columns - 1, line);
    fflush(stderr);
    p->drawn = true;
}

/* The first `n` tests. */
static void tell_tests(struct progress *p, const struct record *r, size_t n)
{
    for (; p->tests_told < n; p->tests_told++) {
        const struct record_test *t = &r->tests[p->tests_told];

        fprintf(stderr, "epoch %zu: test accuracy %.4f\n", p->tests_told + 1,
                t->total > 0 ? t->correct / t->total : NAN);
    }
}

void progress_show(struct progress *p, const struct record *r, uint32_t epochs,
                   uint64_t total_clocks, double seconds)
{
    double done = total_clocks ? fmin((double)r->clock / (double)total_clocks, 1) : 0;
    char   rest[160];

    measure(p, r, seconds);
    if (p->quiet)
        return;
    if (p->terminal) {
        draw(p, r, epochs, done, seconds);
        return;
    }
    /* The last test may still be growing while workers report their shares. */
    if (r->n_tests > 0)
        tell_tests(p, r, r->n_tests - 1);
    if (seconds - p->last_plain < PLAIN_SECONDS)
        return;
    p->last_plain = seconds;
    describe(p, r, rest, sizeof(rest));
    fprintf(stderr, "%.0f s: %.0f %%, iteration %ju%s\n", seconds, 100 * done,
            (uintmax_t)r->clock, rest);
}

void progress_say(struct progress *p, const char *fmt, ...)
{
    va_list args;

    if (p->quiet)
        return;
    if (p->drawn)
        fputs("\r\033[K", stderr);
    p->drawn = false;
    va_start(args, fmt);
    vfprintf(stderr, fmt, args);
    va_end(args);
    fputc('\n', stderr);
}

void progress_end(struct progress *p)
{
    if (p->drawn)
        fputc('\n', stderr);
    p->drawn = false;
}

void progress_finish(struct progress *p, const struct record *r)
{
    if (!p->quiet && !p->terminal)
        tell_tests(p, r, r->n_tests);
}
