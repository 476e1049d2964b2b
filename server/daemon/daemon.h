/*
 * daemon.h - one psd process: its shards, and its part in the cluster.
 *
 *     main thread     the coordinator, or what joins this process to one
 *     shard threads   one for each shard, with a socket of its own
 *     clerk           writes and reads snapshots, where there is a `state` folder
 *
 * Threads meet in messages only; the coordinator talks to the shards of its own process
 * as it does to any other's.
 *
 * Thread: the main one.
 */
#ifndef PSD_DAEMON_DAEMON_H
#define PSD_DAEMON_DAEMON_H

#include "common/config/config.h"
#include "server/daemon/clerk.h"
#include "server/daemon/shard_thread.h"

struct psd_daemon {
    const struct ps_daemon_config *config;
    const char                    *announce; /* file, or NULL */
    struct ps_net                 *net;
    struct ps_signal              *stop;  /* raised: the process is to end */
    struct psd_vault              *vault; /* the `state` folder; NULL: none */
    struct psd_vault              *other; /* `restore_from`; NULL: none */
    struct psd_clerk              *clerk; /* NULL: no `state` folder */
    uint64_t                 control;     /* secret of the coordinator and our shards */
    uint64_t                 server_epoch;
    char                     host[PS_NAME_BYTES]; /* name of this machine */
    uint32_t                 n_shards;            /* started */
    struct psd_shard_thread *shards[PS_SHARDS_MAX];
};

/* Serves until SIGTERM or SIGINT, then ends cleanly: PS_OK. */
ps_status psd_daemon_run(const struct ps_daemon_config *config,
                         const char                    *announce) PS_CHECKED;

/* For the two roles below: starts every shard; their endpoints, [n_shards]. */
ps_status psd_daemon_start_shards(struct psd_daemon *d) PS_CHECKED;
void psd_daemon_endpoints(const struct psd_daemon *d, const char *out[PS_SHARDS_MAX]);

/* For the two roles below: ready; the coordinator is at `endpoint`. */
ps_status psd_daemon_announce(const struct psd_daemon *d,
                              const char              *endpoint) PS_CHECKED;

/*
 * The two roles: coordinator_driver.c and member.c.  Each starts the shards, serves
 * until `stop` is raised, and says goodbye to its peers; psd_daemon_run ends the
 * shards.
 */
ps_status psd_daemon_coordinate(struct psd_daemon *d) PS_CHECKED;
ps_status psd_daemon_join(struct psd_daemon *d) PS_CHECKED;

#endif
