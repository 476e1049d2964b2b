/*
 * compare.h - runs side by side, from the summaries that they left.
 *
 * Thread: one.
 */
#ifndef TOOLS_COMPARE_H
#define TOOLS_COMPARE_H

#include <stdbool.h>
#include <stddef.h>

/* Prints a table of the runs, or one JSON object; the process's exit code. */
int compare_runs(char *const *folders, size_t n, bool json);

#endif
