/*
 * manifest.h - which parts a vault holds, and its blobs: a SQLite file.
 *
 * Every change is one transaction, durable when the call returns: a rollback journal
 * with synchronous EXTRA, which also makes the end of the journal durable.  So the file
 * alone, or with the journal that a crash left, is all there is, and can be copied.
 *
 * Thread: one at a time.
 */
#ifndef PSD_SNAPSHOT_MANIFEST_H
#define PSD_SNAPSHOT_MANIFEST_H

#include "server/snapshot/vault.h"

struct psd_manifest;

/*
 * The file in `folder`; made, unless it is only read.  Where it cannot be read without
 * being changed, since a crash left its journal, a copy is read.
 *
 * PS_ERR_UNKNOWN   (read_only) there is none
 * PS_ERR_DATA      it is damaged, or of a newer psd
 */
ps_status psd_manifest_open(struct psd_manifest **out, const char *folder,
                            bool read_only) PS_CHECKED;
void      psd_manifest_close(struct psd_manifest **manifest);

/* PS_ERR_IO and PS_ERR_SYSTEM as vault.h says. */
ps_status psd_manifest_put(struct psd_manifest          *manifest,
                           const struct psd_vault_entry *entry) PS_CHECKED;

/* Those of entries[n] are there no more: all or none. */
ps_status psd_manifest_drop(struct psd_manifest          *manifest,
                            const struct psd_vault_entry *entries, size_t n) PS_CHECKED;

/* All entries, or those of one run of a job: by job, run, and the newest first.  The
 * caller frees the array. */
ps_status psd_manifest_all(struct psd_manifest *manifest, const char *job, uint64_t run,
                           struct psd_vault_entry **out, size_t *n) PS_CHECKED;

ps_status psd_manifest_keep(struct psd_manifest *manifest, const char *key,
                            const struct ps_buf *blob) PS_CHECKED;
ps_status psd_manifest_recall(struct psd_manifest *manifest, const char *key,
                              struct ps_buf **out) PS_CHECKED;

#endif
