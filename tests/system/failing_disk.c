/*
 * failing_disk.c - a psd whose disk fails as long as the file is there that
 * PSD_TEST_DISK_FAILS names: nothing becomes durable then.
 */
#include <errno.h>
#include <stdbool.h>
#include <stdlib.h>
#include <sys/syscall.h>
#include <unistd.h>

static bool fails(void)
{
    const char *sign = getenv("PSD_TEST_DISK_FAILS");

    return sign && access(sign, F_OK) == 0;
}

static int sync_unless_it_fails(long call, int fd)
{
    if (!fails())
        return (int)syscall(call, fd);
    errno = EIO;
    return -1;
}

/* These two go before the system's, in libraries as well. */
int fsync(int fd)
{
    return sync_unless_it_fails(SYS_fsync, fd);
}

int fdatasync(int fd)
{
    return sync_unless_it_fails(SYS_fdatasync, fd);
}
