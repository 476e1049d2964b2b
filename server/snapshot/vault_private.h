/*
 * vault_private.h - what the files of the vault share.
 *
 *     vault.c        the folder: lock, epoch, who may use it
 *     vault_parts.c  files of parts, written and read
 *     manifest.c     what is known of them
 *
 * Thread: see vault.h.
 */
#ifndef PSD_SNAPSHOT_VAULT_PRIVATE_H
#define PSD_SNAPSHOT_VAULT_PRIVATE_H

#include "server/snapshot/manifest.h"

#include <pthread.h>

#define PSD_PATH_BYTES (PS_FOLDER_BYTES + PSD_FILE_BYTES + 16u)

struct psd_vault {
    const struct psd_disk_ops *disk;
    bool                       read_only;
    uint32_t                   keep;
    char                       folder[PS_FOLDER_BYTES];
    int                        lock; /* file; -1: none */
    uint64_t                   epoch;
    uint64_t                   n_written; /* files, for their names */

    pthread_mutex_t      mutex; /* of what follows */
    struct psd_manifest *manifest;
    ps_status            dead; /* PS_ERR_IO, PS_ERR_STALE: for good */
};

/* "folder/name" and "folder/parts/name". */
void psd_vault_path(const struct psd_vault *v, const char *name,
                    char out[PSD_PATH_BYTES]);
void psd_vault_part_path(const struct psd_vault *v, const char *name,
                         char out[PSD_PATH_BYTES]);

/* The calling thread alone may use the manifest; PS_ERR_IO or PS_ERR_STALE and a
 * sentence when the vault is dead. */
ps_status psd_vault_enter(struct psd_vault *v) PS_CHECKED;

/* ... and no more; a status that ends the vault is remembered.  Returns it. */
ps_status psd_vault_leave(struct psd_vault *v, ps_status st);

/* Is the folder still ours?  PS_ERR_STALE and a sentence. */
ps_status psd_vault_check_epoch(const struct psd_vault *v) PS_CHECKED;

/* Makes a file that is open, or a folder, durable: PS_ERR_IO. */
ps_status psd_vault_sync(const struct psd_vault *v, int fd,
                         const char *path) PS_CHECKED;
ps_status psd_vault_sync_folder(const struct psd_vault *v, const char *path) PS_CHECKED;

/* All of the bytes, or PS_ERR_SYSTEM. */
ps_status psd_vault_write(const struct psd_vault *v, int fd, const char *path,
                          const void *bytes, size_t n) PS_CHECKED;

#endif
