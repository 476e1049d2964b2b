/*
 * disk.h - the system calls by which a vault keeps its files, as a table, so that a
 * test can let the nth of them fail and write down what happened.
 *
 * Thread: any.
 */
#ifndef PSD_SNAPSHOT_DISK_H
#define PSD_SNAPSHOT_DISK_H

#include <stddef.h>
#include <sys/types.h>

/* Each does what the call of that name does; -1 with errno. */
struct psd_disk_ops {
    int (*open)(const char *path, int flags, mode_t mode);
    ssize_t (*read)(int fd, void *bytes, size_t n);
    ssize_t (*write)(int fd, const void *bytes, size_t n);
    int (*fsync)(int fd); /* of a file or a folder */
    int (*close)(int fd);
    int (*rename)(const char *from, const char *to);
    int (*unlink)(const char *path);
    int (*mkdir)(const char *path, mode_t mode);
};

extern const struct psd_disk_ops psd_disk_system;

#endif
