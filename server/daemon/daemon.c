/* daemon.c - see daemon.h. */
#include "server/daemon/daemon.h"
#include "common/base/random.h"
#include "server/daemon/policy.h"
#include "server/daemon/signals.h"

#include <stdlib.h>
#include <string.h>
#include <unistd.h>

/* A number that nobody can guess, never 0. */
static ps_status draw_secret(uint64_t *out)
{
    do
        if (ps_random_secret(out, sizeof(*out)))
            return ps_fail(PS_ERR_SYSTEM, "psd: no random numbers: %m");
    while (*out == 0);
    return PS_OK;
}

/* The list was checked with the rest of the configuration. */
static bool cpus_of(const char *text, struct ps_cpus *out)
{
    return text && ps_cpus_parse(out, text);
}

static ps_status start_net(struct psd_daemon *d)
{
    struct ps_cpus cpus;
    bool           told = cpus_of(d->config->io_cpus, &cpus);
    ps_status      st = ps_net_new(&d->net);

    return st ? st : ps_net_threads(d->net, d->config->io_threads, told ? &cpus : NULL);
}

ps_status psd_daemon_start_shards(struct psd_daemon *d)
{
    struct ps_cpus                  cpus;
    bool                            pinned = cpus_of(d->config->cpus, &cpus);
    char                            endpoint[PS_ENDPOINT_BYTES];
    struct psd_shard_thread_options o = {
        .net = d->net,
        .failed = d->stop,
        .endpoint = endpoint,
        .clerk = d->clerk,
        .spin_us = d->config->spin_us,
        .shard = { .control = d->control,
                   .backend = &psd_backend_cpu,
                   .can_save = d->clerk != NULL,
                   .shares = d->config->shared_memory },
    };

    while (d->n_shards < d->config->shards) {
        ps_status st;

        o.number = d->n_shards;
        o.cpu = pinned ? cpus.cpu[d->n_shards % cpus.n] : -1;
        psd_policy_shard_endpoint(d->config, d->n_shards, endpoint);
        st = psd_shard_thread_start(&d->shards[d->n_shards], &o);
        if (st) /* a bad address came from the configuration */
            return st == PS_ERR_BAD_ARG ? PS_ERR_CONFIG : st;
        ps_log(PS_LOG_DEBUG, "psd: a shard listens on %s",
               psd_shard_thread_endpoint(d->shards[d->n_shards]));
        d->n_shards++;
    }
    if (pinned && d->n_shards > 0)
        ps_log(PS_LOG_INFO, "psd: shards run on CPUs %s alone", d->config->cpus);
    return PS_OK;
}

void psd_daemon_endpoints(const struct psd_daemon *d, const char *out[PS_SHARDS_MAX])
{
    for (uint32_t i = 0; i < d->n_shards; i++)
        out[i] = psd_shard_thread_endpoint(d->shards[i]);
}

/* All are asked before the first is waited for, so they end at the same time. */
static ps_status stop_shards(struct psd_daemon *d, const char *why)
{
    ps_status st = PS_OK;

    for (uint32_t i = 0; i < d->n_shards; i++)
        psd_shard_thread_stop(d->shards[i], why);
    for (uint32_t i = 0; i < d->n_shards; i++) {
        ps_status one = psd_shard_thread_join(&d->shards[i]);

        if (st == PS_OK)
            st = one;
    }
    return st;
}

static ps_status write_line(const char *file, const char *line)
{
    FILE *f = fopen(file, "we");
    bool  bad;

    if (!f)
        return ps_fail(PS_ERR_SYSTEM, "psd: cannot write %s: %m", file);
    bad = fprintf(f, "%s\n", line) < 0;
    if (fclose(f) || bad)
        return ps_fail(PS_ERR_SYSTEM, "psd: cannot write %s: %m", file);
    return PS_OK;
}

/* By renaming, so that whoever waits for the file finds it whole. */
ps_status psd_daemon_announce(const struct psd_daemon *d, const char *endpoint)
{
    char     *draft;
    ps_status st;

    if (!d->announce)
        return PS_OK;
    if (asprintf(&draft, "%s.%ld", d->announce, (long)getpid()) < 0)
        return ps_fail(PS_ERR_NO_MEMORY, "psd: no memory for a file name");
    st = write_line(draft, endpoint);
    if (st == PS_OK && rename(draft, d->announce)) {
        st = ps_fail(PS_ERR_SYSTEM, "psd: cannot write %s: %m", d->announce);
        unlink(draft);
    }
    free(draft);
    return st;
}

/* The state folder, and the thread that alone waits for its disk. */
static ps_status open_state(struct psd_daemon *d)
{
    const struct ps_daemon_config *c = d->config;
    struct psd_vault_options own = { .folder = c->state, .keep = c->keep_snapshots };
    struct psd_vault_options others = { .folder = c->restore_from, .read_only = true };
    struct psd_clerk_options clerk = { .failed = d->stop };
    ps_status                st;

    if (!c->state)
        return PS_OK;
    st = psd_vault_open(&d->vault, &own);
    if (!st && c->restore_from)
        st = psd_vault_open(&d->other, &others);
    if (st)
        return st;
    clerk.vault = d->vault;
    clerk.other = d->other;
    ps_log(PS_LOG_INFO, "state %s: start %ju", c->state,
           (uintmax_t)psd_vault_epoch(d->vault));
    return psd_clerk_start(&d->clerk, &clerk);
}

/* What the shards wanted to be saved is saved first. */
static ps_status close_state(struct psd_daemon *d)
{
    ps_status st = psd_clerk_stop(&d->clerk);

    psd_vault_close(&d->other);
    psd_vault_close(&d->vault);
    return st;
}

static ps_status set_up(struct psd_daemon *d)
{
    ps_status st = draw_secret(&d->control);

    if (!st)
        st = draw_secret(&d->server_epoch);
    if (gethostname(d->host, sizeof(d->host) - 1))
        strcpy(d->host, "localhost");
    if (!st)
        st = ps_signal_new(&d->stop);
    if (!st)
        st = psd_signals_catch(d->stop);
    if (!st)
        st = start_net(d);
    return st ? st : open_state(d);
}

ps_status psd_daemon_run(const struct ps_daemon_config *config, const char *announce)
{
    struct psd_daemon d = { .config = config, .announce = announce };
    ps_status         st = set_up(&d), ended, closed;
    const char       *why;

    if (st == PS_OK)
        st = config->coordinator ? psd_daemon_join(&d) : psd_daemon_coordinate(&d);
    why = psd_signals_reason();
    if (st == PS_OK)
        ps_log(PS_LOG_INFO, "%s, ending", why ? why : "psd failed");
    ended = stop_shards(&d, why);
    closed = close_state(&d);
    ps_net_free(&d.net); /* waits for what the sockets have still to send, 1 s */
    /* d.stop stays: a signal may come until the process is gone. */
    return st ? st : closed ? closed : ended;
}
