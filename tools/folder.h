/*
 * folder.h - the folder that a run leaves behind.
 *
 * Thread: one.
 */
#ifndef TOOLS_FOLDER_H
#define TOOLS_FOLDER_H

#include "common/base/status.h"

/*
 * Makes `wanted`, which may exist but may hold no run; NULL: results/NAME-DATE-TIME,
 * with a number where that exists.  *out is the caller's to free.
 */
ps_status folder_make(char **out, const char *wanted, const char *name) PS_CHECKED;

/* FOLDER/NAME; the caller frees it.  NULL: no memory. */
char *folder_path(const char *folder, const char *name);

/* FOLDER/STEM-NUMBER.SUFFIX, likewise. */
char *folder_numbered(const char *folder, const char *stem, unsigned number,
                      const char *suffix);

#endif
