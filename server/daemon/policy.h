/*
 * policy.h - which addresses psd is willing to use, and where its shards bind.
 *
 * Messages are not encrypted, so an address that other machines can reach needs the
 * administrator's word.
 *
 * Thread: any.
 */
#ifndef PSD_DAEMON_POLICY_H
#define PSD_DAEMON_POLICY_H

#include "common/config/config.h"

/* PS_ERR_CONFIG and a sentence when an address is not to be used. */
ps_status psd_policy_check(const struct ps_daemon_config *c) PS_CHECKED;

/* Where shard `number` of this process binds: `shard_listen`, and for several shards
 * on ipc:// its path with "-shard<number>". */
void psd_policy_shard_endpoint(const struct ps_daemon_config *c, uint32_t number,
                               char out[PS_ENDPOINT_BYTES]);

#endif
