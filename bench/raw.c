/* raw.c - see raw.h. */
#include "bench/raw.h"

#include "common/base/limits.h"
#include "common/net/net.h"

#include <errno.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <zmq.h>

#define ANSWER_MS 30000 /* a request that is not answered by then never is */

/* About as long as psd's own header of such a request. */
struct header {
    uint32_t pulls;
    uint32_t value_bytes;
    uint8_t  rest[48];
};

static void keep(void *data, void *hint)
{
    (void)data, (void)hint;
}

/* Lends the bytes, which stay as they are as long as the sockets. */
static int lend(void *socket, const void *bytes, size_t n, int flags)
{
    zmq_msg_t m;

    if (zmq_msg_init_data(&m, (void *)(uintptr_t)bytes, n, keep, NULL))
        return -1;
    if (zmq_msg_send(&m, socket, flags) >= 0)
        return 0;
    zmq_msg_close(&m);
    return -1;
}

/* ---- server --------------------------------------------------------------------- */

/* Values of answers; a push may not be longer than psd's frames are. */
static uint8_t values[PS_FRAME_BYTES];

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
    if (h.value_bytes > sizeof(values) || drop_rest(socket, &part) ||
        zmq_msg_send(&peer, socket, ZMQ_SNDMORE) < 0 ||
        zmq_send(socket, &h, sizeof(h), h.pulls ? ZMQ_SNDMORE : 0) < 0)
        goto out;
    rc = h.pulls ? lend(socket, values, h.value_bytes, 0) : 0;
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
    memset(values, 1, sizeof(values)); /* or all of it would be one page of zeros */
    for (; i < n; i++)
        if (!(sockets[i] = zmq_socket(context, ZMQ_ROUTER)) ||
            zmq_bind(sockets[i], endpoints[i]))
            break;
    if (i < n || announce_all(announce, sockets, n)) {
        fprintf(stderr, "raw server: cannot listen: %s\n", zmq_strerror(errno));
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
    void    *context;
    size_t   n;
    void    *sockets[BENCH_RAW_SHARDS];
    uint32_t rows, row_bytes;
    uint8_t *keys, *gradient; /* of a whole request */
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
    free(r->keys);
    free(r->gradient);
    free(r);
}

/* The part of a request that goes to shard `i`. */
static ps_status ask(const struct bench_raw *r, size_t i, bool pulls)
{
    size_t        first = i * r->rows / r->n;
    size_t        rows = (i + 1) * r->rows / r->n - first;
    struct header h = { .pulls = pulls,
                        .value_bytes = (uint32_t)(rows * r->row_bytes) };

    if (zmq_send(r->sockets[i], &h, sizeof(h), ZMQ_SNDMORE) < 0 ||
        lend(r->sockets[i], r->keys + first * sizeof(uint64_t), rows * sizeof(uint64_t),
             pulls ? 0 : ZMQ_SNDMORE))
        return failed("send");
    if (!pulls &&
        lend(r->sockets[i], r->gradient + first * r->row_bytes, rows * r->row_bytes, 0))
        return failed("send");
    return PS_OK;
}

static ps_status take_answer(const struct bench_raw *r, size_t i)
{
    zmq_msg_t part;
    ps_status st = PS_OK;

    zmq_msg_init(&part);
    do {
        if (zmq_msg_recv(&part, r->sockets[i], 0) < 0)
            st = failed("receive");
    } while (!st && zmq_msg_more(&part));
    zmq_msg_close(&part);
    return st;
}

ps_status bench_raw_work(void *work, uint64_t until_ns, uint64_t *done)
{
    const struct bench_raw_work *w = work;
    const struct bench_raw      *r = w->raw;
    uint64_t                     asked = 0, answered = 0;
    ps_status                    st = PS_OK;
    bool                         more = true;

    while (!st && (more || answered < asked)) {
        for (; !st && more && asked - answered < w->in_flight; asked++)
            for (size_t i = 0; !st && i < r->n; i++)
                st = ask(r, i, w->pulls);
        for (size_t i = 0; !st && i < r->n; i++)
            st = take_answer(r, i);
        answered++;
        more = ps_now_ns() < until_ns;
    }
    *done = answered * r->rows;
    return st;
}

ps_status bench_raw_open(struct bench_raw **out, const char *const *endpoints, size_t n,
                         uint32_t rows, uint32_t row_bytes)
{
    struct bench_raw *r = calloc(1, sizeof(*r));
    ps_status         st = PS_OK;

    if (r)
        *r = (struct bench_raw){ .context = zmq_ctx_new(),
                                 .rows = rows,
                                 .row_bytes = row_bytes,
                                 .keys = malloc(rows * sizeof(uint64_t)),
                                 .gradient = malloc((size_t)rows * row_bytes) };
    if (!r || !r->context || !r->keys || !r->gradient) {
        bench_raw_close(&r);
        return ps_fail(PS_ERR_NO_MEMORY, "raw client: no memory");
    }
    memset(r->keys, 1, rows * sizeof(uint64_t));
    memset(r->gradient, 1, (size_t)rows * row_bytes);
    while (!st && r->n < n)
        st = connect_one(r, endpoints[r->n]);
    if (!st) {
        struct bench_raw_work one = { .raw = r, .in_flight = 1 };
        uint64_t              done;

        st = bench_raw_work(&one, 0, &done); /* now the connections stand */
    }
    if (st)
        bench_raw_close(&r);
    *out = r;
    return st;
}
