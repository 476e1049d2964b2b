/* endpoint.c - what an endpoint says, before ZeroMQ is asked; see net.h. */
#include "common/net/net.h"

#include <arpa/inet.h>
#include <netinet/in.h>
#include <stdlib.h>
#include <string.h>
#include <sys/un.h>

#define EXPECTED "expected tcp://host:port or ipc://path"

static ps_status check_ipc(const char *endpoint, const char *path)
{
    size_t most = sizeof(((struct sockaddr_un *)0)->sun_path) - 1;

    /* '*' would make ZeroMQ invent a path. */
    if (*path == '\0' || *path == '*')
        return ps_fail(PS_ERR_BAD_ARG, "endpoint %s: no path, " EXPECTED, endpoint);
    if (strlen(path) > most)
        return ps_fail(PS_ERR_BAD_ARG, "endpoint %s: a path of %zu bytes, at most %zu",
                       endpoint, strlen(path), most);
    return PS_OK;
}

/* "host:port"; an IPv6 host stands in brackets. */
static ps_status check_tcp(const char *endpoint, const char *address)
{
    const char *colon = strrchr(address, ':');
    const char *close = strchr(address, ']');
    size_t      host = colon ? (size_t)(colon - address) : 0;
    size_t      digits = colon ? strspn(colon + 1, "0123456789") : 0;

    if (digits == 0 || digits > 5 || colon[1 + digits] != '\0' ||
        strtoul(colon + 1, NULL, 10) > 65535)
        return ps_fail(PS_ERR_BAD_ARG,
                       "endpoint %s: no port from 0 to 65535, " EXPECTED, endpoint);
    if (host == 0 || strcspn(address, ";/@ ") < host)
        return ps_fail(PS_ERR_BAD_ARG, "endpoint %s: no host, " EXPECTED, endpoint);
    if (address[0] == '[' ? close != colon - 1 : strchr(address, ':') != colon)
        return ps_fail(PS_ERR_BAD_ARG,
                       "endpoint %s: not a host, an IPv6 address stands in brackets",
                       endpoint);
    return PS_OK;
}

ps_status ps_endpoint_check(const char *endpoint)
{
    if (strlen(endpoint) >= PS_ENDPOINT_BYTES)
        return ps_fail(PS_ERR_BAD_ARG, "endpoint of %zu bytes, at most %u",
                       strlen(endpoint), PS_ENDPOINT_BYTES - 1);
    if (strncmp(endpoint, "tcp://", 6) == 0)
        return check_tcp(endpoint, endpoint + 6);
    if (strncmp(endpoint, "ipc://", 6) == 0)
        return check_ipc(endpoint, endpoint + 6);
    return ps_fail(PS_ERR_BAD_ARG, "endpoint %s: not an endpoint, " EXPECTED, endpoint);
}

bool ps_endpoint_is_local(const char *endpoint)
{
    char            host[PS_ENDPOINT_BYTES] = "";
    const char     *colon = strrchr(endpoint, ':');
    struct in_addr  v4;
    struct in6_addr v6;

    if (strncmp(endpoint, "ipc://", 6) == 0)
        return true;
    if (strncmp(endpoint, "tcp://", 6) != 0 || colon < endpoint + 6 ||
        (size_t)(colon - endpoint) >= sizeof(host))
        return false;
    memcpy(host, endpoint + 6, (size_t)(colon - endpoint) - 6);
    if (strcmp(host, "localhost") == 0)
        return true;
    if (inet_pton(AF_INET, host, &v4) == 1)
        return ntohl(v4.s_addr) >> 24 == 127;
    if (host[0] != '[' || host[strlen(host) - 1] != ']')
        return false;
    host[strlen(host) - 1] = '\0';
    if (inet_pton(AF_INET6, host + 1, &v6) != 1)
        return false;
    return IN6_IS_ADDR_LOOPBACK(&v6) ||
           (IN6_IS_ADDR_V4MAPPED(&v6) && v6.s6_addr[12] == 127);
}
