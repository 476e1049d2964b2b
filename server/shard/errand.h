/*
 * errand.h - what a shard wants done with snapshots.
 *
 * A shard opens no file: it says what it wants, whoever drives it (the daemon's saver
 * thread, the simulator's disk) does it whenever it can, and says how it went.  Errands
 * are numbered; an answer to one that is not under way any more (its job went back, or
 * ended) is ignored, and what it brought is freed.
 *
 * Thread: the one that owns the shard.
 */
#ifndef PSD_SHARD_ERRAND_H
#define PSD_SHARD_ERRAND_H

#include "common/wire/wire.h"
#include "server/shard/shard.h"
#include "server/snapshot/image.h"

enum psd_errand_kind {
    PSD_SAVE = 1,   /* `image`, durably; -> psd_shard_saved */
    PSD_LOAD = 2,   /* parts[n_parts] of `run`; -> psd_shard_loaded */
    PSD_LIST = 3,   /* what can be read of `run`? -> psd_shard_listed */
    PSD_FORGET = 4, /* parts older than parts[0] are not needed; no answer */
};

struct psd_errand {
    enum psd_errand_kind kind;
    uint64_t             id;
    char                 job[PS_NAME_BYTES];
    uint64_t             run;
    struct psd_image    *image; /* SAVE: the driver's from now on; else NULL */
    uint32_t             n_parts;
    struct ps_part       parts[PS_SETS_MAX];
};

/* The next one; false: none.  To be asked after every psd_shard_handle, _tick, _saved,
 * _loaded and _listed. */
bool psd_shard_errand(struct psd_shard *shard, struct psd_errand *out);

/* How errand `id` went; `why` is a sentence when status is not PS_OK. */
void psd_shard_saved(struct psd_shard *shard, uint64_t now_ns, uint64_t id,
                     ps_status status, const char *why, struct ps_outbox *out);

/* images[n] in the order of the errand's parts; takes each, whatever becomes of it. */
void psd_shard_loaded(struct psd_shard *shard, uint64_t now_ns, uint64_t id,
                      struct psd_image **images, uint32_t n, ps_status status,
                      const char *why, struct ps_outbox *out);

/* parts[n], the newest first: the highest life, and of one life the highest set. */
void psd_shard_listed(struct psd_shard *shard, uint64_t now_ns, uint64_t id,
                      const struct ps_part *parts, uint32_t n, ps_status status,
                      const char *why, struct ps_outbox *out);

#endif
