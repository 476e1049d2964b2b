/*
 * shard.h - a slice of every job's model, and the state machine that owns it.
 *
 * A shard takes a message and the time and answers with messages.  It opens no socket,
 * reads no clock, draws no random number and takes no lock; what drives it (ZeroMQ in
 * the daemon, a loop in a test, the simulator) is not its concern.
 *
 * Everything that can be refused is refused before the first byte of state changes, so
 * there is no undo.  A request that the gate does not let through yet is parked, whole,
 * and looked at again when the gate has moved.
 *
 * Thread: the one that owns it.
 */
#ifndef PSD_SHARD_SHARD_H
#define PSD_SHARD_SHARD_H

#include "common/base/parcel.h"
#include "server/compute/backend.h"

struct psd_shard;

struct psd_shard_options {
    uint64_t control; /* secret that the coordinator's messages must carry */
    const struct psd_backend *backend;
    bool                      can_save; /* its driver does errands: see errand.h */
    bool shares; /* its driver can show memory to others: common/base/heap.h */
};

/* What a shard refused without being able to answer, and other odd things. */
struct psd_shard_counters {
    uint64_t bad_messages; /* header or payload damaged */
    uint64_t dropped;      /* by the driver: no messages at all */
    uint64_t denied;       /* wrong session, unknown job */
};

ps_status psd_shard_new(struct psd_shard              **out,
                        const struct psd_shard_options *options) PS_CHECKED;
void      psd_shard_free(struct psd_shard **shard);

/*
 * One message.  Takes the parcel's buffers; answers are added to `out`.  Cannot fail:
 * what is wrong with a message is answered or counted.
 */
void psd_shard_handle(struct psd_shard *shard, uint64_t now_ns, struct ps_parcel *in,
                      struct ps_outbox *out);

/*
 * Time has passed: answers those that have waited for as long as they wanted, naming
 * the workers that they waited for.
 */
void psd_shard_tick(struct psd_shard *shard, uint64_t now_ns, struct ps_outbox *out);

/* When it wants the next tick; UINT64_MAX: not at all. */
uint64_t psd_shard_next_tick(const struct psd_shard *shard);

/* The shard is ending: answers every parked request and tells every worker it has
 * heard from with PS_ERR_CLOSING and the sentence. */
void psd_shard_close(struct psd_shard *shard, const char *why, struct ps_outbox *out);

/* What its driver has dropped so far before it came here, for the shard's account. */
void psd_shard_dropped(struct psd_shard *shard, uint64_t messages);

struct psd_shard_counters psd_shard_count(const struct psd_shard *shard);

#endif
