/*
 * ask.h - a question to a coordinator, and its answer.
 *
 * What psctl and psexp need of a running psd: status and a job's reports.  No session,
 * no job; a token where the cluster has one.
 *
 * Thread: one.
 */
#ifndef TOOLS_ASK_H
#define TOOLS_ASK_H

#include "common/wire/wire.h"

#include <jansson.h>

struct asker;

ps_status asker_open(struct asker **out, const char *coordinator,
                     const char *token) PS_CHECKED;
void      asker_close(struct asker **a);

/*
 * The status of the cluster, as the coordinator tells it; the caller decrefs.
 * PS_ERR_UNAVAILABLE when nobody answers within the time.
 */
ps_status asker_status(struct asker *a, int timeout_ms, json_t **out) PS_CHECKED;

/* Reports of `job` after number `after`; what *h points at lives until the next
 * question.  PS_ERR_UNKNOWN while there is no such job. */
ps_status asker_watch(struct asker *a, const char *job, uint64_t after, int timeout_ms,
                      struct ps_header *h) PS_CHECKED;

/*
 * A snapshot of `job`, now; *clock is the one that is on disk when it returns.  Asked
 * once: when no answer comes in time, it may have been made all the same.
 */
ps_status asker_checkpoint(struct asker *a, const char *job, int timeout_ms,
                           uint64_t *clock) PS_CHECKED;

#endif
