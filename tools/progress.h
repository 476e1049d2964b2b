/*
 * progress.h - how far a run is, for whoever watches: one line drawn again and again on
 * a terminal, one line an epoch (or every ten seconds) elsewhere.
 *
 * Thread: one.
 */
#ifndef TOOLS_PROGRESS_H
#define TOOLS_PROGRESS_H

#include "tools/record.h"

struct progress {
    bool     terminal, quiet;
    bool     drawn;      /* a line stands on the terminal that is not finished */
    double   last_plain; /* seconds, when the last plain line was written */
    size_t   tests_told;
    uint64_t rate_samples; /* for the current rate: the most that was seen */
    double   rate_time, rate;
};

void progress_start(struct progress *p, bool quiet);

/* `total_clocks` 0: not known yet. */
void progress_show(struct progress *p, const struct record *r, uint32_t epochs,
                   uint64_t total_clocks, double seconds);

/* Something has happened: a line of its own. */
void progress_say(struct progress *p, const char *fmt, ...)
    __attribute__((format(printf, 2, 3)));

/* The run is over and everything reported: tells what is left to tell. */
void progress_finish(struct progress *p, const struct record *r);

/* Ends the drawn line, so that other output can follow. */
void progress_end(struct progress *p);

#endif
