/*
 * shard_thread.h - a shard, its socket, and the thread that feeds one to the other.
 *
 * Thread: the one that starts it; what it starts shares nothing with the others.
 */
#ifndef PSD_DAEMON_SHARD_THREAD_H
#define PSD_DAEMON_SHARD_THREAD_H

#include "common/net/net.h"
#include "server/daemon/clerk.h"
#include "server/shard/shard.h"

struct psd_shard_thread;

struct psd_shard_thread_options {
    struct ps_net           *net;
    struct ps_signal        *failed;   /* raised when the thread cannot go on */
    const char              *endpoint; /* to bind */
    struct psd_clerk        *clerk;    /* does its errands; NULL: it has none */
    uint32_t                 number;   /* in this process, for the thread's name */
    int                      cpu;      /* on which alone it runs; negative: on any */
    uint32_t                 spin_us;  /* it looks before it sleeps; see net/spin.h */
    struct psd_shard_options shard;
};

/* Binds and starts; from then on it answers. */
ps_status psd_shard_thread_start(struct psd_shard_thread              **out,
                                 const struct psd_shard_thread_options *o) PS_CHECKED;

const char *psd_shard_thread_endpoint(const struct psd_shard_thread *t); /* as bound */

/* Asks it to tell its workers why and to end; does not wait. */
void psd_shard_thread_stop(struct psd_shard_thread *t, const char *why);

/* Waits for its end, frees it, and returns what it failed of.  NULL is fine. */
ps_status psd_shard_thread_join(struct psd_shard_thread **t) PS_CHECKED;

#endif
