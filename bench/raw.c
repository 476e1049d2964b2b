/* raw.c - see raw.h. */
#include "bench/raw.h"

#include "common/base/limits.h"
#include "common/net/net.h"

#include <errno.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <zmq.h>

#define ANSWER_MS 30000 /* a request that is not answered by then never is */

/* Below, a copy costs less than lending and being told when the bytes have left. */
#define LEND_BYTES 1024u

#define TABLE_BYTES (UINT64_C(1) << 32)

/* About as long as psd's own header of such a request. */
struct header {
    uint64_t answer_at, answer_bytes;
    uint8_t  rest[40];
};

static void keep(void *data, void *hint)
{
    (void)data, (void)hint;
}

/* Sends bytes that stay as they are as long as the sockets. */
static int lend(void *socket, const void *bytes, size_t n, int flags)
{
    zmq_msg_t m;

    if (n < LEND_BYTES)
        return zmq_send(socket, bytes, n, flags) < 0 ? -1 : 0;
    if (zmq_msg_init_data(&m, (void *)(uintptr_t)bytes, n, keep, NULL))
        return -1;
    if (zmq_msg_send(&m, socket, flags) >= 0)
        return 0;
    zmq_msg_close(&m);
    return -1;
}

/* ---- server --------------------------------------------------------------------- */

/* What answers are made of.  Memory is behind a part as soon as that was asked for. */
static struct table {
    pthread_mutex_t lock;
    uint8_t        *bytes;
    uint64_t        filled;
} table = { .lock = PTHREAD_MUTEX_INITIALIZER };

static int reserve_table(void)
{
    void *at = mmap(NULL, TABLE_BYTES, PROT_READ | PROT_WRITE,
                    MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);

    if (at == MAP_FAILED)
        return -1;
    table.bytes = at;
    return 0;
}

/* Pages that were only read would all be the same one, which is always in the cache. */
static int fill_table(uint64_t at, uint64_t bytes)
{
    if (bytes > TABLE_BYTES || at > TABLE_BYTES - bytes)
        return -1;
    pthread_mutex_lock(&table.lock);
    if (at + bytes > table.filled) {
        memset(table.bytes + table.filled, 1, at + bytes - table.filled);
        table.filled = at + bytes;
    }
    pthread_mutex_unlock(&table.lock);
    return 0;
}

/* Receives the rest of a message and drops it. */
static int drop_rest(void *socket, zmq_msg_t *part)
{
    while (zmq_msg_more(part))
        if (zmq_msg_recv(part, socket, 0) < 0)
            return -1;
    return 0;
}

static int answer_one(void *socket)
{
    zmq_msg_t     peer, part;
    struct header h = { 0 };
    int           rc = -1;

    zmq_msg_init(&peer);
    zmq_msg_init(&part);
    if (zmq_msg_recv(&peer, socket, 0) < 0 || zmq_msg_recv(&part, socket, 0) < 0)
        goto out;
    if (zmq_msg_size(&part) == sizeof(h))
        memcpy(&h, zmq_msg_data(&part), sizeof(h));
    if (fill_table(h.answer_at, h.answer_bytes) || drop_rest(socket, &part) ||
        zmq_msg_send(&peer, socket, ZMQ_SNDMORE) < 0 ||
        zmq_send(socket, &h, sizeof(h), h.answer_bytes ? ZMQ_SNDMORE : 0) < 0)
        goto out;
    rc =
        h.answer_bytes ? lend(socket, table.bytes + h.answer_at, h.answer_bytes, 0) : 0;
out:
    zmq_msg_close(&peer);
    zmq_msg_close(&part);
    return rc;
}

static void *serve(void *socket)
{
    while (answer_one(socket) == 0)
        ;
    fprintf(stderr, "raw server: %s\n", zmq_strerror(errno));
    exit(EXIT_FAILURE); /* its clients would wait for it */
}

static int announce_all(const char *file, void *const *sockets, size_t n)
{
    char  draft[4096];
    FILE *f;
    int   wrong;

    snprintf(draft, sizeof(draft), "%s.draft", file);
    if (!(f = fopen(draft, "w")))
        return -1;
    for (size_t i = 0; i < n; i++) {
        char   at[PS_ENDPOINT_BYTES];
        size_t room = sizeof(at);

        if (zmq_getsockopt(sockets[i], ZMQ_LAST_ENDPOINT, at, &room) == 0)
            fprintf(f, "%s\n", at);
    }
    wrong = ferror(f);
    return fclose(f) || wrong || rename(draft, file) ? -1 : 0;
}

int bench_raw_serve(const char *announce, char *const *endpoints, size_t n)
{
    void     *context = zmq_ctx_new();
    void     *sockets[BENCH_RAW_SHARDS];
    pthread_t threads[BENCH_RAW_SHARDS];
    size_t    i = 0;

    if (!context || n == 0 || n > BENCH_RAW_SHARDS)
        return EXIT_FAILURE;
    for (; i < n; i++)
        if (!(sockets[i] = zmq_socket(context, ZMQ_ROUTER)) ||
            zmq_bind(sockets[i], endpoints[i]))
            break;
    if (i < n || reserve_table() || announce_all(announce, sockets, n)) {
        fprintf(stderr, "raw server: cannot begin: %s\n", zmq_strerror(errno));
        return EXIT_FAILURE;
    }
    for (i = 1; i < n; i++)
        if (pthread_create(&threads[i], NULL, serve, sockets[i]))
            return EXIT_FAILURE;
    serve(sockets[0]);
    return EXIT_FAILURE;
}

/* ---- client --------------------------------------------------------------------- */

struct bench_raw {
    void  *context;
    size_t n;
    void  *sockets[BENCH_RAW_SHARDS];
};

static ps_status failed(const char *what)
{
    return ps_fail(PS_ERR_SYSTEM, "raw client: cannot %s: %s", what,
                   zmq_strerror(errno));
}

static ps_status connect_one(struct bench_raw *r, const char *endpoint)
{
    int   wait_ms = ANSWER_MS, linger_ms = 0;
    void *socket = zmq_socket(r->context, ZMQ_DEALER);

    if (!socket)
        return failed("make a socket");
    r->sockets[r->n++] = socket;
    if (zmq_setsockopt(socket, ZMQ_RCVTIMEO, &wait_ms, sizeof(wait_ms)) ||
        zmq_setsockopt(socket, ZMQ_LINGER, &linger_ms, sizeof(linger_ms)) ||
        zmq_connect(socket, endpoint))
        return failed("connect");
    return PS_OK;
}

void bench_raw_close(struct bench_raw **raw)
{
    struct bench_raw *r = *raw;

    *raw = NULL;
    if (!r)
        return;
    for (size_t i = 0; i < r->n; i++)
        zmq_close(r->sockets[i]);
    if (r->context)
        zmq_ctx_term(r->context);
    free(r);
}

ps_status bench_raw_ask(const struct bench_raw *r, size_t server,
                        const struct bench_raw_request *q)
{
    void               *socket = r->sockets[server];
    const struct header h = { .answer_at = q->answer_at,
                              .answer_bytes = q->answer_bytes };
    const int           after_keys = q->values_bytes ? ZMQ_SNDMORE : 0;
    const int after_header = q->keys_bytes || q->values_bytes ? ZMQ_SNDMORE : 0;

    if (zmq_send(socket, &h, sizeof(h), after_header) < 0 ||
        (q->keys_bytes && lend(socket, q->keys, q->keys_bytes, after_keys)) ||
        (q->values_bytes && lend(socket, q->values, q->values_bytes, 0)))
        return failed("send");
    return PS_OK;
}

ps_status bench_raw_take(const struct bench_raw *r, size_t server)
{
    zmq_msg_t part;
    ps_status st = PS_OK;

    zmq_msg_init(&part);
    do {
        if (zmq_msg_recv(&part, r->sockets[server], 0) < 0)
            st = failed("receive");
    } while (!st && zmq_msg_more(&part));
    zmq_msg_close(&part);
    return st;
}

/* When each has answered once the connections stand. */
static ps_status greet(const struct bench_raw *r)
{
    ps_status st = PS_OK;

    for (size_t i = 0; !st && i < r->n; i++) {
        st = bench_raw_ask(r, i, &(struct bench_raw_request){ 0 });
        if (!st)
            st = bench_raw_take(r, i);
    }
    return st;
}

ps_status bench_raw_open(struct bench_raw **out, const char *const *endpoints, size_t n)
{
    struct bench_raw *r = calloc(1, sizeof(*r));
    ps_status         st = PS_OK;

    if (!r || !(r->context = zmq_ctx_new())) {
        free(r);
        return ps_fail(PS_ERR_NO_MEMORY, "raw client: no memory");
    }
    while (!st && r->n < n)
        st = connect_one(r, endpoints[r->n]);
    if (!st)
        st = greet(r);
    if (st)
        bench_raw_close(&r);
    *out = r;
    return st;
}

const char *bench_raw_version(void)
{
    static char text[32];
    int         major, minor, patch;

    zmq_version(&major, &minor, &patch);
    snprintf(text, sizeof(text), "%d.%d.%d", major, minor, patch);
    return text;
}
