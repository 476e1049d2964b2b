/*
 * clerk.h - the thread that writes and reads snapshots, so that no shard waits for a
 * disk.
 *
 * A shard's thread has a *desk*: it puts errands there, the clerk does them one after
 * the other, whoever's they are, lays the answers on the desk and raises its signal.
 *
 * A disk that failed for good (see vault.h) ends the process: the clerk raises
 * `failed`, and nobody is answered any more.
 *
 * Thread: clerk, the main one; a desk is made and freed by the main one, and belongs to
 * its shard's thread between.
 */
#ifndef PSD_DAEMON_CLERK_H
#define PSD_DAEMON_CLERK_H

#include "common/net/net.h"
#include "server/shard/errand.h"
#include "server/snapshot/vault.h"

struct psd_clerk;
struct psd_desk;

struct psd_clerk_options {
    struct psd_vault *vault;  /* lent */
    struct psd_vault *other;  /* to read from as well; NULL: none */
    struct ps_signal *failed; /* raised when the thread cannot go on */
};

ps_status psd_clerk_start(struct psd_clerk              **out,
                          const struct psd_clerk_options *o) PS_CHECKED;

/* Waits until what was to be saved is saved, frees it, and returns what it failed of.
 * NULL is fine. */
ps_status psd_clerk_stop(struct psd_clerk **clerk) PS_CHECKED;

/* How an errand went; psd_answer_free frees what it still holds. */
struct psd_answer {
    enum psd_errand_kind kind;
    uint64_t             id;
    ps_status            status;
    char                 why[PS_TEXT_BYTES];
    uint32_t             n;                   /* of images or parts */
    struct psd_image    *images[PS_SETS_MAX]; /* of a LOAD, in the order of its parts */
    struct ps_part       parts[PS_SETS_MAX];  /* of a LIST, the newest first */
    struct psd_answer   *next;
};

void psd_answer_free(struct psd_answer **answer);

ps_status psd_desk_new(struct psd_desk **out, struct psd_clerk *clerk) PS_CHECKED;

/* What it wanted to be saved will be.  NULL is fine. */
void psd_desk_free(struct psd_desk **desk);

/* Raised when there is an answer. */
struct ps_signal *psd_desk_signal(const struct psd_desk *desk);

/* Takes its image, also on failure. */
ps_status psd_desk_put(struct psd_desk *desk, struct psd_errand *errand) PS_CHECKED;

/* The next answer, which the caller frees; NULL: none. */
struct psd_answer *psd_desk_take(struct psd_desk *desk);

#endif
