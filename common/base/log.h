/*
 * log.h - one line per fact, to whoever is listening.
 *
 * The daemon's listener writes "<6>shard 2: ..." to stderr, which journald reads
 * as a level.  The worker library has no listener until its user sets one: a
 * library does not write to its host's terminal.
 */
#ifndef PS_BASE_LOG_H
#define PS_BASE_LOG_H

/* The numbers are syslog's. */
enum ps_log_level {
    PS_LOG_ERR = 3,   /* someone's request failed */
    PS_LOG_WARN = 4,  /* odd, and handled */
    PS_LOG_INFO = 6,  /* life events: started, joined, saved.  Quiet when idle */
    PS_LOG_DEBUG = 7, /* once per message at most; off in production */
};

typedef void ps_log_fn(void *ctx, enum ps_log_level level, const char *line);

/* Call before the first thread starts.  `fn` may run on any thread. */
void ps_log_listen(ps_log_fn *fn, void *ctx, enum ps_log_level up_to);

/* Lower case, no full stop, the thing first: "matrix fc1: push of 12 elements,
 * expected 10".  Understands %m. */
void ps_log(enum ps_log_level level, const char *fmt, ...)
    __attribute__((format(printf, 2, 3)));

/* The last PS_LOG_ERR line of this thread, "" if none. */
const char *ps_log_last_error(void);

#endif
