/*
 * server.h - the processes on the other side: a psd, and, if it is wanted, a raw
 * server beside it.
 *
 * Thread: one.
 */
#ifndef BENCH_SERVER_H
#define BENCH_SERVER_H

#include "bench/raw.h"
#include "common/base/limits.h"
#include "tools/process.h"

enum bench_server {
    BENCH_PSD,
    BENCH_RAW_SERVER,
    BENCH_SERVERS,
};

struct bench_servers {
    char          *folder; /* of sockets and logs */
    struct process processes[BENCH_SERVERS];
    char           coordinator[PS_ENDPOINT_BYTES];
    size_t         shards;
    char           raw[BENCH_RAW_SHARDS][PS_ENDPOINT_BYTES];
};

enum bench_more {
    BENCH_RAW, /* a raw server beside psd */
    BENCH_PSD_ALONE,
    BENCH_STATE, /* psd keeps snapshots, in the folder; no raw server */
};

/*
 * Starts them, each with so many shards, on free ports of loopback (transport "tcp") or
 * on sockets in a folder of their own ("ipc", and "shm", where psd shares memory with
 * its workers), and waits until they listen.  psd is
 * found as psexp finds it.
 */
ps_status bench_servers_start(struct bench_servers *s, const char *transport,
                              size_t shards, enum bench_more more) PS_CHECKED;

/* Ends what runs and removes the folder.  PS_ERR_UNAVAILABLE when one of them had ended
 * by itself; the sentence says how. */
ps_status bench_servers_stop(struct bench_servers *s) PS_CHECKED;

/* Waits until the process has written `file`, which it moves there as a whole. */
ps_status bench_await_file(struct process *p, const char *file) PS_CHECKED;

/* Processor time that it has used until now, of all its threads. */
ps_status bench_process_seconds(const struct process *p, double *seconds) PS_CHECKED;

/* What it holds in memory now. */
ps_status bench_process_bytes(pid_t pid, double *bytes) PS_CHECKED;

#endif
