/*
 * huge.h - memory that is looked at here and there: a table, the pages of rows.
 *
 * Of much memory a processor remembers only part of where its small pages lie, and has
 * to look that up first for most of what is far apart.  So from 2 MiB on the system is
 * asked for huge pages.
 *
 * Thread: any.
 */
#ifndef PSD_STORE_HUGE_H
#define PSD_STORE_HUGE_H

#include <stddef.h>

#define PSD_HUGE_BYTES ((size_t)2 << 20)

/* Aligned to 64 bytes, not initialised; NULL: no memory.  free() it. */
void *psd_huge_alloc(size_t bytes);

#endif
