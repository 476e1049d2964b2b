/*
 * files.h - does psd have a file left to open?
 *
 * Every worker is a connection to the coordinator and one or two to each shard, and
 * each of them a file of this process.  Without one more, nobody else can connect, and
 * nobody is told: connections wait in the kernel.  So psd looks, and says so.
 *
 * Thread: the one that asks.
 */
#ifndef PSD_DAEMON_FILES_H
#define PSD_DAEMON_FILES_H

#include <stdbool.h>
#include <stdint.h>

struct psd_files {
    uint64_t next_ns; /* it has been looked so far */
    bool     full;    /* and that has been said */
};

/* Raises what this process may open to what the system lets it. */
void psd_files_allow_many(void);

/* Looks, once a second at most, and says what has changed. */
void psd_files_look(struct psd_files *files, uint64_t now_ns);

#endif
