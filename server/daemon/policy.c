/* policy.c - see policy.h. */
#include "server/daemon/policy.h"
#include "common/net/net.h"

#include <string.h>

static ps_status check_bind(const struct ps_daemon_config *c, const char *key,
                            const char *endpoint)
{
    if (ps_endpoint_check(endpoint))
        return PS_ERR_CONFIG;
    if (c->insecure_plaintext || ps_endpoint_is_local(endpoint))
        return PS_OK;
    return ps_fail(
        PS_ERR_CONFIG,
        "%s: %s can be reached from other machines and messages are not "
        "encrypted, expected a loopback address, or insecure_plaintext: true "
        "on a network you trust",
        key, endpoint);
}

/* Workers are told where the shards are; "everywhere" is no answer. */
static ps_status check_reachable(const char *endpoint)
{
    static const char *const wild[] = { "tcp://*:", "tcp://0.0.0.0:", "tcp://[::]:" };

    for (size_t i = 0; i < sizeof(wild) / sizeof(wild[0]); i++)
        if (strncmp(endpoint, wild[i], strlen(wild[i])) == 0)
            return ps_fail(PS_ERR_CONFIG,
                           "shard_listen: %s does not tell workers where to connect, "
                           "expected an address of this machine",
                           endpoint);
    return PS_OK;
}

ps_status psd_policy_check(const struct ps_daemon_config *c)
{
    ps_status st = PS_OK;

    if (!c->coordinator) /* else nothing binds there */
        st = check_bind(c, "listen", c->listen);
    else if (ps_endpoint_check(c->coordinator))
        st = PS_ERR_CONFIG;
    if (st || c->shards == 0) /* nobody binds there, nor connects */
        return st;
    st = check_bind(c, "shard_listen", c->shard_listen);
    return st ? st : check_reachable(c->shard_listen);
}

void psd_policy_shard_endpoint(const struct ps_daemon_config *c, uint32_t number,
                               char out[PS_ENDPOINT_BYTES])
{
    bool several_files = c->shards > 1 && strncmp(c->shard_listen, "ipc://", 6) == 0;

    if (several_files)
        snprintf(out, PS_ENDPOINT_BYTES, "%.200s-shard%u", c->shard_listen, number);
    else
        snprintf(out, PS_ENDPOINT_BYTES, "%s", c->shard_listen);
}
