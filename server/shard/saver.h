/*
 * saver.h - when is a job captured, and what is known to be on disk?
 *
 * Where iterations are closed, a capture is taken at the close of every so many, at
 * once, so that all shards of the job capture the same clocks without a word between
 * them.  Elsewhere a shard captures for itself, after so many updates or milliseconds,
 * and counts its captures.  One capture is being written, one may wait:
 *
 *     capture -> waiting -> under way (the driver has the image) -> saved, or failed
 *
 * When one waits and another is taken, the newer one stays; but where shards are to
 * save the same clocks, the one whose clock is divisible by the higher power of two
 * stays, so that slow disks with other rhythms still save common clocks.
 *
 * Under `ack: durable` a push that ends an iteration is answered when the iteration is
 * on disk.  Where iterations are closed, every one is captured then, and the next is
 * not closed before it is on disk: what all shards have acknowledged is on all disks,
 * as one clock.  With max_rollback all that waits no sooner than so many iterations
 * beyond the snapshot on disk, and no snapshot is left out because one waits; but a
 * disk that fails is not waited for.
 *
 * Thread: the shard that owns the job.
 */
#ifndef PSD_SHARD_SAVER_H
#define PSD_SHARD_SAVER_H

#include "common/wire/wire.h"
#include "server/snapshot/image.h"

#define PSD_ASKERS 8u /* of snapshots of one job, at a time */

struct psd_job;

/* A capture on its way to the disk. */
struct psd_snapshot {
    uint64_t          set, clock, version;
    uint64_t         *finished; /* [workers] iterations in it; NULL: there is none */
    struct psd_image *image;    /* until the driver takes it */
};

/* In the place of a set: another capture has taken its place. */
#define PSD_SET_GONE UINT64_MAX

/* Somebody waits for a snapshot. */
struct psd_asker {
    struct ps_route route;
    uint64_t        request;
    uint64_t        clock; /* at which to take it */
    uint64_t        set;   /* of the capture it waits for; 0: none yet */
};

struct psd_saver {
    struct psd_snapshot waiting, under_way;
    uint64_t            errand; /* of the one under way; 0: none */

    uint64_t set; /* of the last capture */
    uint64_t captured_version,
        captured_ns;                     /* of the last one, or the job's beginning */
    uint64_t saved_clock, saved_version; /* on disk, */
    bool     elsewhere;                  /* but as parts of other shards than these */
    uint64_t retry_ns; /* not before: the last one failed; 0: it did not */

    uint32_t         n_askers;
    struct psd_asker askers[PSD_ASKERS];
};

/* The job is new, or has been restored as its set `set`; `own`: as this shard's. */
void psd_saver_begin(struct psd_job *job, uint64_t set, bool own, uint64_t now_ns);
void psd_saver_free(struct psd_saver *saver);

/* An iteration was closed just now: nothing is held. */
void psd_saver_closed(struct psd_job *job, uint64_t now_ns);

/* A message was handled, or time has passed. */
void psd_saver_look(struct psd_job *job, uint64_t now_ns);

/* When to look again whatever comes; UINT64_MAX: not for this reason. */
uint64_t psd_saver_next_look(const struct psd_job *job);

/* The open iteration is not to be closed yet: what is before it is not on disk. */
bool psd_saver_blocks(const struct psd_job *job);

/* May `finished` iterations of a worker be acknowledged, of which on_disk are there? */
bool psd_saver_covers(const struct psd_job *job, uint64_t finished, uint64_t on_disk);

/* Asks for a snapshot at `clock`, where there are clocks.  PS_ERR_REPEATED: what is
 * asked for is on disk already.  PS_ERR_BAD_ARG: the clock has passed; PS_ERR_LIMIT. */
ps_status psd_saver_ask(struct psd_job *job, const struct psd_asker *asker,
                        uint64_t now_ns) PS_CHECKED;

/* The next image to be written, as errand `errand`; NULL: none now. */
struct psd_image *psd_saver_next(struct psd_job *job, uint64_t errand);

/* The one under way is on disk, or could not be written. */
void psd_saver_done(struct psd_job *job, bool saved, uint64_t now_ns);

#endif
