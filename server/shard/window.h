/*
 * window.h - has this push been applied before?
 *
 * Per worker a shard keeps the highest sequence number up to which it has seen every
 * push, and one bit for each of the 1024 numbers above it.  With each number of the
 * window goes the version that answered it, so that a push sent twice is acknowledged
 * twice with the same words and applied once.
 *
 * Thread: the shard that owns it.
 */
#ifndef PSD_SHARD_WINDOW_H
#define PSD_SHARD_WINDOW_H

#include <stdbool.h>
#include <stdint.h>

#define PSD_WINDOW 1024u

enum psd_seen {
    PSD_FRESH = 1,
    PSD_SEEN = 2,
    PSD_TOO_FAR = 3, /* more than the window ahead of what is still missing */
};

struct psd_window {
    uint64_t low; /* every number up to here was seen */
    uint64_t bits[PSD_WINDOW / 64];
    uint64_t versions[PSD_WINDOW]; /* by number modulo PSD_WINDOW */
};

enum psd_seen psd_window_look(const struct psd_window *w, uint64_t seq);

/* `seq` is fresh. */
void psd_window_mark(struct psd_window *w, uint64_t seq, uint64_t version);

/* Has nothing above `seq` been seen, and everything below? */
bool psd_window_is_next(const struct psd_window *w, uint64_t seq);

/* In the place of a version: the push came too late and was refused for good. */
#define PSD_WINDOW_STALE UINT64_MAX

/* The rest ended before the others had come to it. */
#define PSD_WINDOW_ROUSED (UINT64_MAX - 1)

/* The version that answered `seq`, which was seen; 0 when that is long ago. */
uint64_t psd_window_version(const struct psd_window *w, uint64_t seq);

#endif
