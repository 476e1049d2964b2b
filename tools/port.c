/* port.c - see port.h. */
#include "tools/port.h"

#include "common/base/random.h"

#include <arpa/inet.h>
#include <netinet/in.h>
#include <stdbool.h>
#include <stdio.h>
#include <sys/socket.h>
#include <unistd.h>

#define LOWEST 10240u
#define HIGHEST 65535u
#define TRIES 1000u

/* What the kernel gives to outgoing connections. */
static void read_range(unsigned *low, unsigned *high)
{
    FILE *f = fopen("/proc/sys/net/ipv4/ip_local_port_range", "re");

    if (!f || fscanf(f, "%u %u", low, high) != 2) {
        *low = 32768;
        *high = 60999;
    }
    if (f)
        fclose(f);
}

static bool is_free(unsigned port)
{
    struct sockaddr_in at = { .sin_family = AF_INET,
                              .sin_port = htons((uint16_t)port),
                              .sin_addr.s_addr = htonl(INADDR_LOOPBACK) };
    int                one = 1;
    int                s = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    bool               free_now;

    if (s < 0)
        return false;
    setsockopt(s, SOL_SOCKET, SO_REUSEADDR, &one, sizeof(one)); /* as psd does */
    free_now = bind(s, (struct sockaddr *)&at, sizeof(at)) == 0;
    close(s);
    return free_now;
}

ps_status port_choose(unsigned *port)
{
    unsigned low, high;
    uint32_t luck;

    read_range(&low, &high);
    if (ps_random_secret(&luck, sizeof(luck)) != 0)
        return ps_fail(PS_ERR_SYSTEM, "no random bytes: %m");
    for (unsigned i = 0; i < TRIES; i++) {
        unsigned candidate = LOWEST + (luck + i) % (HIGHEST - LOWEST + 1);

        if ((candidate < low || candidate > high) && is_free(candidate)) {
            *port = candidate;
            return PS_OK;
        }
        luck = luck * 1664525u + 1013904223u; /* anywhere else */
    }
    return ps_fail(
        PS_ERR_UNAVAILABLE,
        "no free port below %u or above %u, where the kernel gives none away", low,
        high);
}
