/*
 * snapshot.h - snapshots between a shard, the coordinator and the disk.
 *
 *     snapshot.c   what is to be saved, and who wants to know (SNAPSHOT, KEEP, SETS)
 *     load.c       going back: LOAD, and where each worker is (RESUME)
 *
 * Thread: the shard's.
 */
#ifndef PSD_SHARD_SNAPSHOT_H
#define PSD_SHARD_SNAPSHOT_H

#include "server/shard/errand.h"
#include "server/shard/request.h"

ps_status psd_snapshot_run(struct psd_request *r) PS_CHECKED;
ps_status psd_keep_run(struct psd_request *r) PS_CHECKED;
ps_status psd_sets_run(struct psd_request *r) PS_CHECKED;
ps_status psd_load_run(struct psd_request *r) PS_CHECKED;
ps_status psd_resume_run(struct psd_request *r) PS_CHECKED;

/* Answers those who asked for snapshots that will not be. */
void psd_snapshot_sweep(struct psd_job *job, struct ps_outbox *out);

/* The job goes, for this reason, which is logged: everybody who waits for a snapshot is
 * told so.  What is captured is written anyway when `keep`. */
void psd_snapshot_end(struct psd_shard *shard, struct psd_job *job, ps_status why,
                      bool keep, struct ps_outbox *out);

/* load.c: the errand of a job that is going back; false: none. */
bool psd_load_errand(struct psd_shard *shard, struct psd_job *job,
                     struct psd_errand *out);

#endif
