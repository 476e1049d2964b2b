/*
 * coordinator.h - who is in, who owns what.
 *
 * The coordinator knows the psd processes of the cluster, their shards, the jobs, each
 * job's workers and matrices, and the map of slots to shards.  It sees no gradient.
 * Like a shard it is a pure state machine: a message and the time in, messages out.
 *
 * What every shard has to know (a new job, a new matrix, a change of members) is sent
 * to all of them and counted off as they answer; only then is the asker answered, so a
 * worker that was told "created" can push at once.
 *
 * Thread: the one that owns it.
 */
#ifndef PSD_COORDINATOR_COORDINATOR_H
#define PSD_COORDINATOR_COORDINATOR_H

#include "common/base/parcel.h"

struct psd_coordinator;

struct psd_coordinator_options {
    uint64_t    server_epoch;
    uint64_t    random_seed;       /* for sessions and job secrets; from the kernel */
    uint64_t    worker_silence_ns; /* a worker silent for longer is lost */
    uint64_t    shard_timeout_ns;  /* a shard that does not answer for longer is lost */
    uint32_t    keep_finished;     /* finished jobs kept for inspection */
    uint32_t    max_jobs;
    const char *token;         /* of the cluster; "" = none */
    const char *endpoint;      /* its own, for status */
    uint64_t recovery_wait_ns; /* so long a lost shard is waited for, in a saved job */
};

ps_status psd_coordinator_new(struct psd_coordinator              **out,
                              const struct psd_coordinator_options *options) PS_CHECKED;
void      psd_coordinator_free(struct psd_coordinator **c);

/*
 * What must survive the end of the process, as bytes; NULL: nothing of it has changed
 * since the last call.  The driver makes it durable before it delivers the outbox, so
 * that nobody has been told what a restored coordinator would not know; when it could
 * not, it says so and is given the state again.
 */
ps_status psd_coordinator_save(struct psd_coordinator *c,
                               struct ps_buf         **out) PS_CHECKED;
void      psd_coordinator_unsaved(struct psd_coordinator *c);

/*
 * Makes a new coordinator, before shards are added, go on from what was saved.  The
 * shards of its own process are lost, so jobs on them go back or fail; other psds and
 * the workers are taken as being there.  PS_ERR_DATA: damaged, and nothing has changed.
 */
ps_status psd_coordinator_restore(struct psd_coordinator *c, uint64_t now_ns,
                                  const void *bytes, size_t n) PS_CHECKED;

/*
 * Shards of this process, or of one that joined: they become PS_ROUTE_SHARD first ..
 * first + n - 1.  They may take the numbers of an earlier start of the same psd, so the
 * driver connects to shards that are new or have another endpoint before it sends the
 * outbox.  `control` is the secret that these shards listen to.
 */
ps_status psd_coordinator_add_shards(struct psd_coordinator *c, uint64_t now_ns,
                                     const char *const *endpoints, uint32_t n,
                                     uint64_t control, const char *host, uint64_t pid,
                                     uint32_t *first) PS_CHECKED;

uint32_t    psd_coordinator_n_shards(const struct psd_coordinator *c);
const char *psd_coordinator_shard_endpoint(const struct psd_coordinator *c,
                                           uint32_t                      shard);

/* One message, from a peer (PS_ROUTE_PEER) or a shard (PS_ROUTE_SHARD).  Takes the
 * parcel's buffers.  Cannot fail: what is wrong is answered or counted. */
void psd_coordinator_handle(struct psd_coordinator *c, uint64_t now_ns,
                            struct ps_parcel *in, struct ps_outbox *out);

/* What its driver has dropped so far before it came here, for the status. */
void psd_coordinator_dropped(struct psd_coordinator *c, uint64_t messages);

/*
 * Time has passed: resend to silent shards, lose silent workers.  Told much later than
 * it wanted, the coordinator takes itself for the one that was silent: that time counts
 * for nobody.
 */
void psd_coordinator_tick(struct psd_coordinator *c, uint64_t now_ns,
                          struct ps_outbox *out);

/* When it wants the next tick; UINT64_MAX: not at all. */
uint64_t psd_coordinator_next_tick(const struct psd_coordinator *c);

/* The server is ending: every worker is told PS_ERR_CLOSING and the sentence. */
void psd_coordinator_close(struct psd_coordinator *c, const char *why,
                           struct ps_outbox *out);

#endif
