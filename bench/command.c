/* command.c - see command.h. */
#include "bench/command.h"

#include <ps/worker.h>

#include <errno.h>
#include <inttypes.h>
#include <math.h>
#include <signal.h>
#include <stdarg.h>
#include <stdlib.h>
#include <sysexits.h>
#include <unistd.h>

static const char           *name_of_program = "psbench";
static volatile sig_atomic_t interrupted;

static void on_signal(int number)
{
    interrupted = number;
}

static void print_failure(void *ctx, enum ps_log_level level, const char *line)
{
    (void)ctx, (void)level;
    fprintf(stderr, "%s: %s\n", name_of_program, line);
}

static void print_workers_failure(void *ctx, int level, const char *line)
{
    print_failure(ctx, (enum ps_log_level)level, line);
}

void bench_begin(const char *program)
{
    struct sigaction end = { .sa_handler = on_signal };

    name_of_program = program;
    sigaction(SIGINT, &end, NULL);
    sigaction(SIGTERM, &end, NULL);
    ps_log_listen(print_failure, NULL, PS_LOG_ERR);
    ps_listen(print_workers_failure, NULL, PS_LOG_ERR);
}

ps_status bench_may_go_on(void)
{
    if (interrupted)
        return ps_fail(PS_ERR_ABORTED, "interrupted by signal %d", (int)interrupted);
    return PS_OK;
}

int bench_wrong(const char *fmt, ...)
{
    va_list args;

    fprintf(stderr, "%s: ", name_of_program);
    va_start(args, fmt);
    vfprintf(stderr, fmt, args);
    va_end(args);
    fprintf(stderr, "; %s --help tells the usage\n", name_of_program);
    return EX_USAGE;
}

int bench_count(const char *option, const char *text, uint32_t most, uint32_t *out)
{
    char    *end;
    intmax_t n;

    errno = 0;
    n = strtoimax(text, &end, 10);
    if (end == text || *end || errno || n < 1 || n > most)
        return bench_wrong("--%s: expected a number from 1 to %" PRIu32, option, most);
    *out = (uint32_t)n;
    return -1;
}

bool bench_number(const char *text, double most, double *out)
{
    char *end;

    *out = strtod(text, &end);
    return end != text && !*end && *out >= 0 && *out <= most;
}

void bench_print_machine(FILE *to)
{
    double load;

    if (getloadavg(&load, 1) != 1)
        load = NAN;
    fprintf(to, "%ld cores, load %.1f before", sysconf(_SC_NPROCESSORS_ONLN), load);
}
