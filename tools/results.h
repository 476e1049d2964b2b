/*
 * results.h - what a worker has to say at the end, besides numbers.
 *
 * Lines of its log that begin with "result: " are for the reader of the run; the rest
 * is for whoever looks for a mistake.
 *
 * Thread: any.
 */
#ifndef TOOLS_RESULTS_H
#define TOOLS_RESULTS_H

#include "common/base/status.h"

#include <jansson.h>

/* A list of texts, without that word; the caller's to decref.  Of a log that cannot be
 * read it is empty. */
ps_status results_read(json_t **out, const char *log) PS_CHECKED;

#endif
