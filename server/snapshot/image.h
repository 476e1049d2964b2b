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
#include "server/store/capture.h"

struct psd_image {
    char                job[PS_NAME_BYTES];
    uint64_t            run; /* random number of this run of the job */
    struct ps_job_spec  spec;
    uint32_t            index, n_shards; /* part `index` of so many */
    uint64_t            life, set;       /* of the snapshot that it is a part of */
    uint64_t            clock, version;
    struct ps_buf      *progress; /* NULL: none */
    struct psd_capture *model;
};

/* NULL is fine; *image becomes NULL. */
void psd_image_free(struct psd_image **image);

/* Takes the next n > 0 bytes of a stream; what it returns other than PS_OK ends it. */
typedef ps_status psd_sink_fn(void *ctx, const void *bytes, size_t n);

/* Gives the next n > 0 bytes, all of them; PS_ERR_DATA and a sentence: there are fewer.
 */
typedef ps_status psd_source_fn(void *ctx, void *bytes, size_t n);

/*
 * An image as a stream of bytes (see stream.h), and back.  The same image gives the
 * same bytes; only rows are written, and not what lies between them in their pages.
 * Reading asks for no byte behind the end.
 *
 * PS_ERR_DATA, with a sentence, when the bytes are not those of an image that this psd
 * can read; whatever they are, nothing else happens.
 */
ps_status psd_image_write(const struct psd_image *image, psd_sink_fn *sink,
                          void *ctx) PS_CHECKED;
ps_status psd_image_read(struct psd_image **out, psd_source_fn *source,
                         void *ctx) PS_CHECKED;

#endif
