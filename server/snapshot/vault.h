/*
 * vault.h - the folder in which a psd keeps snapshots, and what is known to be in it.
 *
 *     lock                 held by the psd that uses the folder; its process number
 *     epoch                how many times a psd has started on it
 *     manifest.sqlite      which parts there are, with size and BLAKE2b; small blobs
 *     parts/JOB.RUN...     one image each, see image.h
 *
 * A part is there when the manifest says so, and the manifest says so last: the file is
 * written under another name, made durable, renamed, the folder made durable, and then
 * its row is committed.  So whatever happens meanwhile, what was there before stays.  A
 * file without a row is nobody's, and goes when the folder is opened next.
 *
 * When the system fails to make something durable, nobody knows what is on the disk,
 * and trying again would only hide it: PS_ERR_IO, from then on for everything, and the
 * process should end.  A full disk is no such thing: PS_ERR_SYSTEM, and what there was
 * is there.
 *
 * A folder may also be only read, by psctl, or by a psd that takes over from another:
 * without lock and epoch, and nothing in it is changed.
 *
 * Thread: any; two images are not saved at the same time, and nothing else waits for a
 * file that is being written.
 */
#ifndef PSD_SNAPSHOT_VAULT_H
#define PSD_SNAPSHOT_VAULT_H

#include "server/snapshot/disk.h"
#include "server/snapshot/image.h"

#define PSD_BLAKE2B_BYTES 32u
#define PSD_FILE_BYTES 255u /* of a file's name, with the NUL */

struct psd_vault;

struct psd_vault_options {
    const char                *folder; /* made, 0700, unless it is only read */
    bool                       read_only;
    uint32_t                   keep; /* newest sets that psd_vault_forget leaves */
    const struct psd_disk_ops *disk; /* NULL: psd_disk_system */
};

/*
 * PS_ERR_UNAVAILABLE   another psd uses the folder; the sentence has its process number
 * PS_ERR_UNKNOWN       (read_only) it is no vault
 */
ps_status psd_vault_open(struct psd_vault              **out,
                         const struct psd_vault_options *options) PS_CHECKED;
void      psd_vault_close(struct psd_vault **vault);

/* How many times a psd has started on the folder, this one included. */
uint64_t psd_vault_epoch(const struct psd_vault *vault);

/* What the manifest says of a part. */
struct psd_vault_entry {
    char           job[PS_NAME_BYTES];
    uint64_t       run;
    struct ps_part part;
    uint32_t       strategy; /* enum ps_strategy */
    uint64_t       clock, version;
    uint64_t       bytes;
    uint64_t       saved_at;             /* seconds since 1970 */
    char           file[PSD_FILE_BYTES]; /* in parts/ */
    uint8_t        hash[PSD_BLAKE2B_BYTES];
};

/*
 * Durable when it returns.  A part of the same name makes way for it.
 *
 * PS_ERR_SYSTEM   not written, such as of a full disk: as if it had not been asked
 * PS_ERR_IO       see above
 * PS_ERR_STALE    another psd has started on the folder: as good as PS_ERR_IO
 */
ps_status psd_vault_save(struct psd_vault       *vault,
                         const struct psd_image *image) PS_CHECKED;

/*
 * The parts of a run whose files are there with their size, by (life, set), the newest
 * first: the first `room` of them.
 */
ps_status psd_vault_list(struct psd_vault *vault, const char *job, uint64_t run,
                         struct ps_part *parts, uint32_t room, uint32_t *n) PS_CHECKED;

/*
 * PS_ERR_UNKNOWN   there is no such part; leaves no line
 * PS_ERR_DATA      its file is not what was written; the sentence names it
 */
ps_status psd_vault_load(struct psd_vault *vault, const char *job, uint64_t run,
                         const struct ps_part *part, struct psd_image **out) PS_CHECKED;

/*
 * Nobody will go back to a set before `part`: of its shard the older ones go, but
 * `keep` are left; under bsp and backup also those of lives with another number of
 * shards.
 */
ps_status psd_vault_forget(struct psd_vault *vault, const char *job, uint64_t run,
                           const struct ps_part *part) PS_CHECKED;

/* Every part, by job, run and then the newest first; stops at the first failure.  In
 * `fn` the vault may be used. */
typedef ps_status psd_vault_fn(void *ctx, const struct psd_vault_entry *entry);
ps_status         psd_vault_each(struct psd_vault *vault, psd_vault_fn *fn,
                                 void *ctx) PS_CHECKED;

/* Reads the file and compares; PS_ERR_DATA and a sentence that names it. */
ps_status psd_vault_verify(struct psd_vault             *vault,
                           const struct psd_vault_entry *entry) PS_CHECKED;

/* The file of an entry that psd_vault_each told, hash and all. */
ps_status psd_vault_read(struct psd_vault *vault, const struct psd_vault_entry *entry,
                         struct psd_image **out) PS_CHECKED;

/* A small blob by name: durable when it returns; *out NULL: there is none. */
ps_status psd_vault_keep(struct psd_vault *vault, const char *key,
                         const struct ps_buf *blob) PS_CHECKED;
ps_status psd_vault_recall(struct psd_vault *vault, const char *key,
                           struct ps_buf **out) PS_CHECKED;

#endif
