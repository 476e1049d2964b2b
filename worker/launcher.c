/* launcher.c - see launcher.h. */
#include "worker/launcher.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define ALIASES_MAX 8

extern char **environ;

static const struct {
    const char *ours;
    const char *aliases[ALIASES_MAX + 1]; /* ends with NULL */
} numbers[] = {
    [PSW_NUMBER_RANK] = { "PSW_RANK",
                          { "DMLC_WORKER_ID", "DMLC_RANK", "RANK", "SLURM_PROCID",
                            "PMIX_RANK", "PMI_RANK", "OMPI_COMM_WORLD_RANK",
                            "JOB_COMPLETION_INDEX" } },
    [PSW_NUMBER_WORLD_SIZE] = { "PSW_WORLD_SIZE",
                                { "DMLC_NUM_WORKER", "WORLD_SIZE", "SLURM_NTASKS",
                                  "PMI_SIZE", "OMPI_COMM_WORLD_SIZE" } },
};

const char *psw_variable(const char *name)
{
    const char *value = getenv(name);

    return value && value[0] != '\0' ? value : NULL;
}

ps_status psw_variable_number(const char *name, uint64_t least, uint64_t most,
                              uint32_t *out)
{
    const char        *text = psw_variable(name);
    char              *end;
    unsigned long long n;

    if (!text)
        return PS_OK;
    errno = 0;
    n = strtoull(text, &end, 10);
    if (text[0] < '0' || text[0] > '9' || *end || errno || n < least || n > most)
        return ps_fail(PS_ERR_CONFIG,
                       "%s: \"%.100s\", expected a number from %ju to %ju", name, text,
                       (uintmax_t)least, (uintmax_t)most);
    *out = (uint32_t)n;
    return PS_OK;
}

/* ---- are the launchers asked? --------------------------------------------------- */

static bool any_of_ours(void)
{
    for (char **e = environ; e && *e; e++) {
        const char *value = strchr(*e, '=');

        if (strncmp(*e, "PSW_", 4) == 0 && value && value[1] != '\0' &&
            strncmp(*e, "PSW_ENV_COMPAT=", 15) != 0)
            return true;
    }
    return false;
}

ps_status psw_launcher_counts(bool *counts)
{
    const char *said = psw_variable("PSW_ENV_COMPAT");

    if (said && strcmp(said, "0") != 0 && strcmp(said, "1") != 0)
        return ps_fail(PS_ERR_CONFIG, "PSW_ENV_COMPAT: \"%.100s\", expected 0 or 1",
                       said);
    *counts = said ? said[0] == '1' : !any_of_ours();
    return PS_OK;
}

/* ---- numbers -------------------------------------------------------------------- */

/* ps-lite starts the same program in three roles; only one of them is ours to play. */
static ps_status check_role(void)
{
    const char *role = psw_variable("DMLC_ROLE");

    if (role && strcmp(role, "worker") != 0)
        return ps_fail(PS_ERR_CONFIG,
                       "DMLC_ROLE: \"%.100s\", expected worker, as which this process "
                       "joins",
                       role);
    return PS_OK;
}

static ps_status agree(const char *const *names, const char *ours, uint64_t least,
                       uint64_t most, uint32_t *out)
{
    const char *first = NULL;
    uint32_t    value = 0;

    for (; *names; names++) {
        uint32_t  said = 0;
        ps_status st = psw_variable_number(*names, least, most, &said);

        if (st)
            return st;
        if (!psw_variable(*names))
            continue;
        if (first && said != value)
            return ps_fail(PS_ERR_CONFIG,
                           "%s: %u, but %s: %u; expected the same, or %s to say which",
                           first, value, *names, said, ours);
        if (!first)
            first = *names;
        value = said;
    }
    if (first)
        *out = value;
    return PS_OK;
}

ps_status psw_launcher_number(enum psw_number which, bool aliases, uint64_t least,
                              uint64_t most, uint32_t *out)
{
    const char *ours = numbers[which].ours;
    ps_status   st = PS_OK;

    if (psw_variable(ours))
        return psw_variable_number(ours, least, most, out);
    if (!aliases)
        return PS_OK;
    if (which == PSW_NUMBER_RANK)
        st = check_role();
    return st ? st : agree(numbers[which].aliases, ours, least, most, out);
}

/* ---- the coordinator ------------------------------------------------------------ */

static ps_status check_host(const char *name, const char *host)
{
    if (!strpbrk(host, "/ \t\n") && strlen(host) < 256)
        return PS_OK;
    return ps_fail(PS_ERR_CONFIG,
                   "%s: \"%.100s\", expected the name or address of a host", name,
                   host);
}

/* An IPv6 address stands in brackets before a port. */
static ps_status write_endpoint(const char *name, const char *host, const char *port,
                                char *out, size_t bytes)
{
    bool bare = strchr(host, ':') && host[0] != '[';
    int  n = snprintf(out, bytes, bare ? "tcp://[%s]:%s" : "tcp://%s:%s", host, port);

    if (n < 0 || (size_t)n >= bytes)
        return ps_fail(PS_ERR_CONFIG,
                       "%s: %d bytes as an endpoint, expected at most %zu", name, n,
                       bytes - 1);
    return PS_OK;
}

/* The tracker of ps-lite says both parts, and means both. */
static ps_status tracker_port(const char *host, const char **port)
{
    uint32_t  n = 0;
    ps_status st = psw_variable_number("DMLC_PS_ROOT_PORT", 1, 65535, &n);

    *port = psw_variable("DMLC_PS_ROOT_PORT");
    if (!st && host && !*port)
        st = ps_fail(PS_ERR_CONFIG,
                     "DMLC_PS_ROOT_URI: \"%.100s\" without "
                     "DMLC_PS_ROOT_PORT, expected both",
                     host);
    if (!st && *port && !host)
        st = ps_fail(PS_ERR_CONFIG,
                     "DMLC_PS_ROOT_PORT: \"%.100s\" without "
                     "DMLC_PS_ROOT_URI, expected both",
                     *port);
    return st;
}

/*
 * Of torch's pair only the host is taken: at MASTER_PORT torch's own store listens, or
 * will, so a coordinator can be on that machine but never at that port.
 */
ps_status psw_launcher_coordinator(char *out, size_t bytes, const char **from)
{
    const char *root = psw_variable("DMLC_PS_ROOT_URI");
    const char *master = psw_variable("MASTER_ADDR");
    const char *port;
    ps_status   st = tracker_port(root, &port);

    *from = NULL;
    if (!st && root)
        st = check_host("DMLC_PS_ROOT_URI", root);
    if (!st && master)
        st = check_host("MASTER_ADDR", master);
    if (!st && root && master && strcmp(root, master) != 0)
        st = ps_fail(PS_ERR_CONFIG,
                     "DMLC_PS_ROOT_URI: %s, but MASTER_ADDR: %s; expected the same, or "
                     "PSW_COORDINATOR to say which",
                     root, master);
    if (st || (!root && !master))
        return st;
    *from = root ? "DMLC_PS_ROOT_URI" : "MASTER_ADDR";
    return write_endpoint(*from, root ? root : master, root ? port : PSW_DEFAULT_PORT,
                          out, bytes);
}
