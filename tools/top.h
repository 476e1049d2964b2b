/*
 * top.h - jobs and workers as they go, with rates: the status again and again.
 *
 * A rate is the difference of two statuses by the time between them, so the first round
 * has none.  On a terminal each round takes the place of the last; elsewhere it is a
 * block of its own, and as JSON a line.
 *
 * Thread: one.  Takes SIGINT, SIGTERM and SIGHUP for itself.
 */
#ifndef TOOLS_TOP_H
#define TOOLS_TOP_H

#include "tools/ask.h"

struct top_options {
    int      timeout_ms;  /* of one question */
    int      interval_ms; /* between two */
    uint32_t count;       /* rounds; 0: until told to end */
    bool     json;
};

/* PS_OK after the last round, and when it is told to end. */
ps_status top_run(struct asker *a, const struct top_options *o) PS_CHECKED;

#endif
