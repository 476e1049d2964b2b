/*
 * disk.h - what a psd of the simulator has saved, and what survives its end.
 *
 * Parts of snapshots are kept as the bytes that the vault would write.  A save takes
 * its time; what is under way when the psd ends is there afterwards, or is not.  A disk
 * may be slow or full.  What the coordinator must not forget is kept at once.
 *
 * A write that fails is the last thing that a psd asks of its disk: as the vault and
 * the clerk have it, nothing is written or read from then on, and nobody is answered.
 * Whether what it wrote is there shows when the psd has come again.
 */
#ifndef TESTS_SIM_DISK_H
#define TESTS_SIM_DISK_H

#include "server/shard/errand.h"

#include <stdio.h>

struct disk_part {
    char           job[PS_NAME_BYTES];
    uint64_t       run;
    struct ps_part part;
    struct ps_buf *bytes;
};

/* An errand under way. */
struct disk_work {
    enum psd_errand_kind kind;
    uint64_t             id, done_ns;
    uint32_t             shard;
    struct disk_part     saved;  /* SAVE */
    struct psd_errand   *errand; /* LOAD, LIST */
};

struct disk {
    size_t            n_parts, parts_room;
    struct disk_part *parts;
    size_t            n_works, works_room;
    struct disk_work *works;
    uint64_t          n_refused;                 /* saves, because it was full */
    struct ps_buf    *memory;                    /* of the coordinator */
    uint64_t          full_ns, slow_ns, fail_ns; /* until then */
    bool              strikes; /* fail_ns: the next write fails for certain */
    bool              dead;    /* for the psd that is there: a write has failed */
};

/* Takes an errand of shard `shard`; it is done at done_ns. */
ps_status disk_take(struct disk *d, uint32_t shard, struct psd_errand *errand,
                    uint64_t done_ns) PS_CHECKED;

/* When something is done; UINT64_MAX: nothing is under way. */
uint64_t disk_next(const struct disk *d);

/* What is done then. */
const struct disk_work *disk_first(const struct disk *d);

/* Ends the work that is done first and tells the shard.  `disks` [n] can be read. */
void disk_finish(struct disk *d, struct psd_shard *const *shards, uint64_t now_ns,
                 const struct disk *const *disks, size_t n, struct ps_outbox *out);

/* The save that is done first fails.  `kept`: it is there all the same. */
void disk_fail(struct disk *d, bool kept);

/* Nothing more is done, until another psd is there. */
void disk_die(struct disk *d);

/* The psd has ended.  `kept`: what was being saved is there all the same. */
void disk_crash(struct disk *d, bool kept);

void disk_free(struct disk *d);

#endif
