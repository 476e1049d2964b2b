/*
 * image.h - a shard's part of a job at one moment: what a snapshot holds.
 *
 * The model is a capture of the store, the rest (workers, windows, gate, counters) are
 * bytes of the shard's own, which this room carries and does not look into.
 *
 * Thread: any; an image belongs to one at a time.
 */
#ifndef PSD_SNAPSHOT_IMAGE_H
#define PSD_SNAPSHOT_IMAGE_H

#include "common/base/buf.h"
#include "common/base/spec.h"

struct psd_capture; /* server/store/capture.h */

struct psd_image {
    char                job[PS_NAME_BYTES];
    uint64_t            run; /* random number of this run of the job */
    struct ps_job_spec  spec;
    uint32_t            index, n_shards; /* part `index` of so many */
    uint64_t            set;             /* of the snapshot that it is a part of */
    uint64_t            life;            /* of the job when it was made */
    uint64_t            clock, version;
    struct ps_buf      *progress;
    struct psd_capture *model;
};

/* NULL is fine; *image becomes NULL. */
void psd_image_free(struct psd_image **image);

#endif
