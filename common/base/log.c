/* log.c - see log.h. */
#include "common/base/log.h"

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>

#define LINE_BYTES 1024

static ps_log_fn        *listener;
static void             *listener_ctx;
static enum ps_log_level listener_level;

static _Thread_local char last_error[LINE_BYTES];

void ps_log_listen(ps_log_fn *fn, void *ctx, enum ps_log_level up_to)
{
    listener = fn;
    listener_ctx = ctx;
    listener_level = up_to;
}

void ps_log(enum ps_log_level level, const char *fmt, ...)
{
    int     kept_errno = errno; /* for the caller, and for %m */
    char    line[LINE_BYTES];
    va_list args;

    if (level != PS_LOG_ERR && (!listener || level > listener_level))
        return;
    va_start(args, fmt);
    vsnprintf(line, sizeof(line), fmt, args);
    va_end(args);
    if (level == PS_LOG_ERR)
        snprintf(last_error, sizeof(last_error), "%s", line);
    if (listener && level <= listener_level)
        listener(listener_ctx, level, line);
    errno = kept_errno;
}

const char *ps_log_last_error(void)
{
    return last_error;
}
