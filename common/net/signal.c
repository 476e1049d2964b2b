/* signal.c - an eventfd as ps_signal; see net.h. */
#include "common/net/socket.h"

#include <errno.h>
#include <stdlib.h>
#include <sys/eventfd.h>
#include <unistd.h>

struct ps_signal {
    int fd;
};

ps_status ps_signal_new(struct ps_signal **out)
{
    struct ps_signal *s = malloc(sizeof(*s));

    if (!s)
        return ps_fail(PS_ERR_NO_MEMORY, "signal: no memory");
    s->fd = eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC);
    if (s->fd < 0) {
        free(s);
        return ps_fail(PS_ERR_SYSTEM, "signal: cannot make an eventfd: %m");
    }
    *out = s;
    return PS_OK;
}

void ps_signal_free(struct ps_signal **s)
{
    if (*s)
        close((*s)->fd);
    free(*s);
    *s = NULL;
}

void ps_signal_raise(struct ps_signal *s)
{
    int kept_errno = errno; /* a signal handler must leave it alone */

    /* Fails only when the counter is full: raised as can be. */
    (void)eventfd_write(s->fd, 1);
    errno = kept_errno;
}

void ps_signal_clear(struct ps_signal *s)
{
    eventfd_t raised;

    (void)eventfd_read(s->fd, &raised); /* fails when it was not raised: as good */
}

int ps_signal_fd(const struct ps_signal *s)
{
    return s->fd;
}
