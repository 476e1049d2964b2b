/*
 * raw.h - the limit that the transport sets: the bytes of the same requests through the
 * same kind of sockets, with nobody at the other end who looks at them.
 *
 * A server is a process with one ROUTER and one thread for each shard; it answers with
 * a header, and as many bytes of a table of its own as it is asked for.  A client is a
 * DEALER to each shard and sends what lies ready without copying it.  What either
 * receives it drops.  ZeroMQ is used plainly, as its manual shows; nothing here is
 * psd's.
 */
#ifndef BENCH_RAW_H
#define BENCH_RAW_H

#include "common/base/status.h"

#include <stdint.h>

#define BENCH_RAW_SHARDS 8u

/*
 * The server's process: binds each endpoint, writes where it listens to the file
 * `announce`, one a line, and serves until it is ended.  Returns an exit code.
 */
int bench_raw_serve(const char *announce, char *const *endpoints, size_t n);

/* "4.3.4" */
const char *bench_raw_version(void);

/* One worker's connections.  Thread: one at a time. */
struct bench_raw;

/* Returns when the connections stand. */
ps_status bench_raw_open(struct bench_raw **out, const char *const *endpoints,
                         size_t n) PS_CHECKED;
void      bench_raw_close(struct bench_raw **raw);

struct bench_raw_request {
    /* A frame each, where there are any.  They are lent: the bytes stay as they are as
     * long as the client is open. */
    const void *keys, *values;
    size_t      keys_bytes, values_bytes;

    /* Of the server's table, from `answer_at` on; 0: it answers with a header alone. At
     * most 4 GiB in all. */
    uint64_t answer_at;
    size_t   answer_bytes;
};

/* A server's answers come in the order of its requests. */
ps_status bench_raw_ask(const struct bench_raw *raw, size_t server,
                        const struct bench_raw_request *request) PS_CHECKED;
ps_status bench_raw_take(const struct bench_raw *raw, size_t server) PS_CHECKED;

#endif
