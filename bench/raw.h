/*
 * raw.h - the limit that the transport sets: the bytes of the same requests through the
 * same kind of sockets, with nobody at the other end who looks at them.
 *
 * A server is a process with one ROUTER and one thread for each shard; it answers what
 * looks like a push with a header and what looks like a pull with values.  A client is
 * a DEALER to each shard and sends what lies ready without copying it.  ZeroMQ is used
 * plainly, as its manual shows; nothing here is psd's.
 */
#ifndef BENCH_RAW_H
#define BENCH_RAW_H

#include "common/base/status.h"

#include <stdbool.h>
#include <stdint.h>

#define BENCH_RAW_SHARDS 8u

/*
 * The server's process: binds each endpoint, writes where it listens to the file
 * `announce`, one a line, and serves until it is ended.  Returns an exit code.
 */
int bench_raw_serve(const char *announce, char *const *endpoints, size_t n);

/* One worker's connections.  Thread: one at a time. */
struct bench_raw;

/* Requests of `rows` rows, shared evenly among the `n` endpoints.  Returns when the
 * connections stand. */
ps_status bench_raw_open(struct bench_raw **out, const char *const *endpoints, size_t n,
                         uint32_t rows, uint32_t row_bytes) PS_CHECKED;
void      bench_raw_close(struct bench_raw **raw);

/* A bench_work_fn that counts rows. */
struct bench_raw_work {
    struct bench_raw *raw;
    bool              pulls;
    uint32_t          in_flight;
};
ps_status bench_raw_work(void *work, uint64_t until_ns, uint64_t *done) PS_CHECKED;

#endif
