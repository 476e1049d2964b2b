/* files.c - see files.h. */
#include "server/daemon/files.h"

#include "common/base/log.h"

#include <errno.h>
#include <fcntl.h>
#include <sys/resource.h>
#include <unistd.h>

#define LOOK_NS UINT64_C(1000000000)

static struct rlimit limit_of_files(void)
{
    struct rlimit files = { 0 };

    getrlimit(RLIMIT_NOFILE, &files); /* of a resource that there is it cannot fail */
    return files;
}

void psd_files_allow_many(void)
{
    struct rlimit files = limit_of_files();

    files.rlim_cur = files.rlim_max;
    setrlimit(RLIMIT_NOFILE, &files); /* refused, it stays as it is */
}

static bool has_room(void)
{
    int fd = fcntl(STDERR_FILENO, F_DUPFD_CLOEXEC, 0);

    if (fd < 0)
        return errno != EMFILE && errno != ENFILE;
    close(fd);
    return true;
}

void psd_files_look(struct psd_files *files, uint64_t now_ns)
{
    bool full;

    if (now_ns < files->next_ns)
        return;
    files->next_ns = now_ns + LOOK_NS;
    full = !has_room();
    if (full && !files->full)
        ps_log(PS_LOG_ERR,
               "psd: no file can be opened any more, of %ju: workers wait outside, "
               "expected a higher limit (ulimit -n, LimitNOFILE)",
               (uintmax_t)limit_of_files().rlim_cur);
    if (!full && files->full)
        ps_log(PS_LOG_INFO, "psd: files can be opened again");
    files->full = full;
}
