/* daemon.c - psd.yaml(5) as struct ps_daemon_config; see config.h. */
#include "common/base/cpus.h"
#include "common/config/config.h"
#include "common/config/schema.h"

#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define OPTIONAL CYAML_FLAG_OPTIONAL
#define COUNT(array) (sizeof(array) / sizeof((array)[0]))

/* sun_path of sockaddr_un, without its NUL */
#define IPC_PATH_BYTES 107u
#define IPC_SHARD_PATH_BYTES 98u /* room for "-shard255" */

static const cyaml_strval_t log_levels[] = {
    { "error", PS_LOG_ERR },
    { "warning", PS_LOG_WARN },
    { "info", PS_LOG_INFO },
    { "debug", PS_LOG_DEBUG },
};

#define CPUS_TEXT_BYTES 4096u /* a list of CPUs, as long as anybody writes */

#define TEXT(key, member, bytes)                                                       \
    CYAML_FIELD_STRING_PTR(key, OPTIONAL, struct ps_daemon_config, member, 0, bytes)
#define WHOLE(key, member)                                                             \
    CYAML_FIELD_UINT(key, OPTIONAL, struct ps_daemon_config, member)
#define REAL(key, member)                                                              \
    CYAML_FIELD_FLOAT(key, OPTIONAL, struct ps_daemon_config, member)

static const cyaml_schema_field_t fields[] = {
    TEXT("listen", listen, PS_ENDPOINT_BYTES - 1),
    TEXT("coordinator", coordinator, PS_ENDPOINT_BYTES - 1),
    TEXT("shard_listen", shard_listen, PS_ENDPOINT_BYTES - 1),
    WHOLE("shards", shards),
    TEXT("token", token, PS_NAME_BYTES - 1),
    CYAML_FIELD_BOOL("insecure_plaintext", OPTIONAL, struct ps_daemon_config,
                     insecure_plaintext),
    CYAML_FIELD_ENUM("log_level", OPTIONAL, struct ps_daemon_config, log_level,
                     log_levels, COUNT(log_levels)),
    REAL("worker_silence", worker_silence),
    REAL("shard_timeout", shard_timeout),
    WHOLE("max_jobs", max_jobs),
    WHOLE("keep_finished", keep_finished),
    TEXT("state", state, PS_FOLDER_BYTES - 1),
    WHOLE("keep_snapshots", keep_snapshots),
    TEXT("restore_from", restore_from, PS_FOLDER_BYTES - 1),
    REAL("recovery_wait", recovery_wait),
    CYAML_FIELD_BOOL("shared_memory", OPTIONAL, struct ps_daemon_config, shared_memory),
    TEXT("cpus", cpus, CPUS_TEXT_BYTES),
    TEXT("io_cpus", io_cpus, CPUS_TEXT_BYTES),
    WHOLE("io_threads", io_threads),
    WHOLE("spin_us", spin_us),
    CYAML_FIELD_END,
};

static const struct ps_range ranges[] = {
    { .path = "shards", .min = 0, .max = PS_SHARDS_MAX },
    { .path = "worker_silence", .min = 1, .max = 3600 },
    { .path = "shard_timeout", .min = 1, .max = 3600 },
    { .path = "max_jobs", .min = 1, .max = 4096 },
    { .path = "keep_finished", .min = 0, .max = 4096 },
    { .path = "keep_snapshots", .min = 2, .max = 1024 },
    { .path = "recovery_wait", .min = 0, .max = 86400 },
    { .path = "io_threads", .min = 1, .max = 64 },
    { .path = "spin_us", .min = 0, .max = PS_SPIN_US_MAX },
};

static const struct ps_schema schema = {
    .root = { CYAML_VALUE_MAPPING(CYAML_FLAG_POINTER, struct ps_daemon_config,
                                  fields) },
    .ranges = ranges,
    .n_ranges = COUNT(ranges),
};

static uint32_t cores(void)
{
    long n = sysconf(_SC_NPROCESSORS_ONLN);

    return n < 1 ? 1 : n > (long)PS_SHARDS_MAX ? PS_SHARDS_MAX : (uint32_t)n;
}

/* Its texts are not to be freed: ps_schema_fill copies them. */
static struct ps_daemon_config defaults(void)
{
    return (struct ps_daemon_config){
        .listen = (char *)"tcp://127.0.0.1:5570",
        .token = (char *)"",
        .log_level = PS_LOG_INFO,
        .worker_silence = 15,
        .shard_timeout = 10,
        .max_jobs = 64,
        .keep_finished = 16,
        .keep_snapshots = 2,
        .recovery_wait = 30,
        .shared_memory = true,
        .io_threads = 1,
    };
}

/* ---- endpoints ------------------------------------------------------------------ */

static bool is_ipc(const char *endpoint)
{
    return !strncmp(endpoint, "ipc://", 6);
}

/* The port of "tcp://host:port", or -1. */
static long port_of(const char *endpoint)
{
    const char *colon = strrchr(endpoint, ':');
    const char *digits = colon ? colon + 1 : "";
    size_t      n = strspn(digits, "0123456789");

    if (strncmp(endpoint, "tcp://", 6) || colon <= endpoint + 6 || n == 0 || n > 5 ||
        digits[n] || strtol(digits, NULL, 10) > 65535)
        return -1;
    return strtol(digits, NULL, 10);
}

static bool is_printable(const char *text)
{
    for (; *text; text++)
        if (*text <= ' ' || *text > '~')
            return false;
    return true;
}

static ps_status bad_endpoint(const struct ps_node *tree, const char *file,
                              const char *key, const char *endpoint, const char *wish)
{
    char where[PS_WHERE_BYTES], shown[PS_SHOWN_BYTES];

    ps_tree_where(tree, key, file, where);
    ps_shown(endpoint, shown);
    return ps_fail(PS_ERR_CONFIG, "%s: %s is not an endpoint to use here, expected %s",
                   where, shown, wish);
}

static ps_status check_endpoint(const struct ps_node *tree, const char *file,
                                const char *key, const char *endpoint, long least_port)
{
    size_t bytes = strlen(endpoint);

    if (is_printable(endpoint) && is_ipc(endpoint)) {
        if (bytes > 6 && bytes - 6 <= IPC_PATH_BYTES)
            return PS_OK;
        return bad_endpoint(tree, file, key, endpoint,
                            "a path of 1 to 107 bytes after ipc://");
    }
    if (is_printable(endpoint) && port_of(endpoint) >= least_port)
        return PS_OK;
    return bad_endpoint(tree, file, key, endpoint,
                        least_port ? "tcp://HOST:PORT (port 1 to 65535) or ipc://PATH"
                                   : "tcp://HOST:PORT (port 0 to 65535) or ipc://PATH");
}

/* Every shard needs its own port or path; several get theirs from one ipc path. */
static ps_status check_shard_endpoint(const struct ps_node *tree, const char *file,
                                      const struct ps_daemon_config *c)
{
    const char *at = c->shard_listen, *wish = NULL;
    ps_status   st = check_endpoint(tree, file, "shard_listen", at, 0);

    if (st)
        return st;
    if (c->shards > 1 && !is_ipc(at) && port_of(at) != 0)
        wish = "tcp://HOST:0, or shards: 1, as every shard needs a port";
    if (c->shards > 1 && is_ipc(at) && strlen(at) - 6 > IPC_SHARD_PATH_BYTES)
        wish = "a path of 1 to 98 bytes, to which every shard adds its number";
    if (c->shards == 1 && is_ipc(at) && !c->coordinator && !strcmp(at, c->listen))
        wish = "another path than that of listen";
    return wish ? bad_endpoint(tree, file, "shard_listen", at, wish) : PS_OK;
}

/* The host of `listen`, port 0; or its path, to which several shards add numbers. */
static ps_status derive_shard_listen(struct ps_daemon_config *c)
{
    const char *from = c->listen;
    int         host = (int)(strrchr(from, ':') - from);
    int         bytes = is_ipc(from) ? asprintf(&c->shard_listen, "%s%s", from,
                                        c->shards > 1 ? "" : "-shard0")
                                     : asprintf(&c->shard_listen, "%.*s:0", host, from);

    if (bytes < 0) {
        c->shard_listen = NULL; /* undefined after a failure */
        return ps_fail(PS_ERR_NO_MEMORY, "config: no memory for an endpoint");
    }
    return PS_OK;
}

/* A coordinator may be that and nothing else; who joins one has something to bring. */
static ps_status check_shards(const struct ps_node *tree, const char *file,
                              const struct ps_daemon_config *c)
{
    char where[PS_WHERE_BYTES];

    if (c->shards > 0 || !c->coordinator)
        return PS_OK;
    ps_tree_where(tree, "shards", file, where);
    return ps_fail(PS_ERR_CONFIG,
                   "%s: 0 in a psd that joins a coordinator, expected 1 to %u", where,
                   PS_SHARDS_MAX);
}

/* What is read from another's folder is saved again in one's own. */
static ps_status check_folders(const struct ps_node *tree, const char *file,
                               const struct ps_daemon_config *c)
{
    char where[PS_WHERE_BYTES];

    if (!c->restore_from || (c->state && strcmp(c->state, c->restore_from) != 0))
        return PS_OK;
    ps_tree_where(tree, "restore_from", file, where);
    return ps_fail(PS_ERR_CONFIG,
                   "%s: expected a state folder as well, and another one", where);
}

/* ---- CPUs ----------------------------------------------------------------------- */

static ps_status bad_cpus(const struct ps_node *tree, const char *file, const char *key,
                          const char *text)
{
    char where[PS_WHERE_BYTES], shown[PS_SHOWN_BYTES];

    ps_tree_where(tree, key, file, where);
    ps_shown(text, shown);
    return ps_fail(PS_ERR_CONFIG,
                   "%s: %s is not a list of CPUs, expected numbers and ranges such as "
                   "0-3,8, below %u, each CPU once",
                   where, shown, PS_CPUS_MAX);
}

static ps_status check_cpus(const struct ps_node *tree, const char *file,
                            const char *key, const char *text)
{
    struct ps_cpus cpus, allowed;
    char           where[PS_WHERE_BYTES], there[PS_CPUS_TEXT_BYTES];

    if (!text)
        return PS_OK;
    if (!ps_cpus_parse(&cpus, text))
        return bad_cpus(tree, file, key, text);
    ps_cpus_allowed(&allowed);
    for (uint32_t i = 0; i < cpus.n; i++) {
        if (ps_cpus_has(&allowed, cpus.cpu[i]))
            continue;
        ps_tree_where(tree, key, file, where);
        ps_cpus_text(&allowed, there);
        return ps_fail(PS_ERR_CONFIG,
                       "%s: CPU %u is not there, or not for psd, expected some of %s",
                       where, cpus.cpu[i], there);
    }
    return PS_OK;
}

/* Who says where shards run says how many, unless he says that, too. */
static uint32_t shards_for(const char *text)
{
    struct ps_cpus cpus;

    if (!text || !ps_cpus_parse(&cpus, text))
        return cores();
    return cpus.n < PS_SHARDS_MAX ? cpus.n : PS_SHARDS_MAX;
}

static ps_status finish(struct ps_daemon_config *c, const struct ps_node *tree,
                        const char *file)
{
    struct ps_daemon_config unsaid = defaults();
    ps_status               st = check_cpus(tree, file, "cpus", c->cpus);

    if (!st)
        st = check_cpus(tree, file, "io_cpus", c->io_cpus);
    unsaid.shards = shards_for(c->cpus);
    if (!st)
        st = ps_schema_fill(&schema, tree, c, &unsaid);
    if (!st)
        st = check_endpoint(tree, file, "listen", c->listen, 0);
    if (!st && c->coordinator)
        st = check_endpoint(tree, file, "coordinator", c->coordinator, 1);
    if (!st)
        st = check_shards(tree, file, c);
    if (!st)
        st = check_folders(tree, file, c);
    if (!st && !c->shard_listen)
        st = derive_shard_listen(c);
    return st ? st : check_shard_endpoint(tree, file, c);
}

/* ---- life ----------------------------------------------------------------------- */

ps_status ps_daemon_config_load(struct ps_daemon_config **out, const char *file,
                                const char *const *sets, size_t n_sets)
{
    const char     *name = file ? file : "default"; /* in complaints */
    struct ps_node *tree;
    void           *c = NULL;
    ps_status st = file ? ps_tree_read(&tree, file) : ps_tree_parse(&tree, name, "", 0);

    for (size_t i = 0; !st && i < n_sets; i++)
        st = ps_tree_set(tree, sets[i]);
    if (!st)
        st = ps_schema_load(&c, &schema, tree, name);
    if (!st)
        st = finish(c, tree, name);
    ps_tree_free(&tree);
    if (st) {
        ps_schema_free(&schema, &c);
        return st;
    }
    *out = c;
    return PS_OK;
}

ps_status ps_daemon_config_print(const struct ps_daemon_config *c, FILE *to)
{
    struct ps_node *tree;
    ps_status       st = ps_schema_tree(&tree, &schema, c);

    if (st)
        return st;
    st = ps_tree_print(tree, to);
    ps_tree_free(&tree);
    return st;
}

void ps_daemon_config_free(struct ps_daemon_config **c)
{
    void *data = *c;

    ps_schema_free(&schema, &data);
    *c = NULL;
}
