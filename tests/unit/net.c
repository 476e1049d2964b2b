/* The net room on real sockets of this machine: any free port, or a file in a folder of
 * its own.  Waits have a deadline that only a broken build reaches. */
#include "common/net/net.h"
#include "common/base/slice.h"
#include "tests/unit/suite.h"

#include <arpa/inet.h>
#include <dirent.h>
#include <netinet/in.h>
#include <stdio.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <time.h>
#include <unistd.h>
#include <zmq.h>

#define DEADLINE_MS 20000

static struct ps_net    *net;
static struct ps_server *server;
static struct ps_link   *link_;
static char              folder[64];
static char              path[128];
static char              ipc[160];

static void open_net(void)
{
    strcpy(folder, "/tmp/psd-net-XXXXXX");
    ck_assert_ptr_nonnull(mkdtemp(folder));
    snprintf(path, sizeof(path), "%s/socket", folder);
    snprintf(ipc, sizeof(ipc), "ipc://%s", path);
    ck_assert_ok(ps_net_new(&net));
}

static void close_net(void)
{
    ps_link_close(&link_, 0);
    ps_server_close(&server);
    ps_net_free(&net);
    ck_assert_ptr_null(net);
    unlink(path);
    ck_assert_int_eq(rmdir(folder), 0);
}

static void connected(const char *endpoint)
{
    ck_assert_ok(ps_server_open(&server, net, endpoint));
    ck_assert_ok(ps_link_open(&link_, net, ps_server_endpoint(server)));
}

static void tcp_pair(void)
{
    open_net();
    connected("tcp://127.0.0.1:0");
}

static void nap(void)
{
    nanosleep(&(struct timespec){ .tv_nsec = 1000000 }, NULL);
}

static struct ps_buf *buf_of(size_t bytes, uint8_t first)
{
    struct ps_buf *b;

    ck_assert_ok(ps_buf_new(&b, bytes));
    for (size_t i = 0; i < bytes; i++)
        b->data[i] = (uint8_t)(first + i * 7 + (i >> 8));
    b->len = bytes;
    return b;
}

static struct ps_parcel parcel_of(size_t head_bytes, uint32_t n_frames,
                                  const size_t *frame_bytes)
{
    struct ps_parcel p = { .head = buf_of(head_bytes, 1), .n_frames = n_frames };

    for (uint32_t i = 0; i < n_frames; i++)
        p.frames[i] = buf_of(frame_bytes[i], (uint8_t)(i + 2));
    return p;
}

static void same_buf(const struct ps_buf *got, const struct ps_buf *expected)
{
    ck_assert_uint_eq(got->len, expected->len);
    ck_assert_uint_eq((uintptr_t)got->data % 8, 0);
    if (got->len > 0)
        ck_assert(memcmp(got->data, expected->data, got->len) == 0);
}

static void same_parcel(const struct ps_parcel *got, const struct ps_parcel *expected)
{
    same_buf(got->head, expected->head);
    ck_assert_uint_eq(got->n_frames, expected->n_frames);
    for (uint32_t i = 0; i < got->n_frames; i++)
        same_buf(got->frames[i], expected->frames[i]);
}

/* A full queue takes more when the other side has read some. */
static void send_shared(const struct ps_parcel *p)
{
    ps_status st = PS_ERR_TIMEOUT;

    for (int i = 0; st == PS_ERR_TIMEOUT && i < DEADLINE_MS; i++) {
        struct ps_parcel copy;

        ps_parcel_share(&copy, p);
        if ((st = ps_link_send(link_, &copy)))
            nap();
        ck_assert_ptr_null(copy.head);
    }
    ck_assert_ok(st);
}

static struct ps_parcel at_server(void)
{
    struct ps_parcel p;
    struct ps_poll   poll = { .server = server };
    ps_status        st = PS_ERR_TIMEOUT;

    for (int i = 0; st == PS_ERR_TIMEOUT && i < DEADLINE_MS; i += 100) {
        ck_assert_ok(ps_net_poll(&poll, 1, 100));
        st = ps_server_receive(server, &p);
    }
    ck_assert_ok(st);
    return p;
}

static struct ps_parcel at_link(void)
{
    struct ps_parcel p;
    struct ps_poll   poll = { .link = link_ };

    ck_assert_ok(ps_net_poll(&poll, 1, DEADLINE_MS));
    ck_assert(poll.ready);
    ck_assert_ok(ps_link_receive(link_, &p));
    return p;
}

static void there_and_back(struct ps_parcel *sent)
{
    struct ps_parcel got;

    send_shared(sent);
    got = at_server();
    ck_assert_uint_eq(got.route.kind, PS_ROUTE_PEER);
    same_parcel(&got, sent);
    ck_assert_ok(ps_server_send(server, &got)); /* its route leads back */
    got = at_link();
    same_parcel(&got, sent);
    ps_parcel_drop(&got);
    ps_parcel_drop(sent);
}

/* 8191 to 8201: either side of ZeroMQ's read block; 65535, 65536: of our sharing. */
static const size_t sizes[] = { 0,     1,     7,       33,      34,
                                4096,  8191,  8192,    8201,    65535,
                                65536, 65537, 1 << 20, 1000003, PS_FRAME_BYTES };

#define N_SIZES (sizeof(sizes) / sizeof(sizes[0]))

START_TEST(frames_of_any_size_travel_over_tcp)
{
    struct ps_parcel p = parcel_of(100, 1, &sizes[_i]);

    there_and_back(&p);
}
END_TEST

START_TEST(frames_of_any_size_travel_over_ipc)
{
    struct ps_parcel p = parcel_of(100, 1, &sizes[_i]);

    connected(ipc);
    there_and_back(&p);
}
END_TEST

START_TEST(parcel_without_frames_travels)
{
    struct ps_parcel p = parcel_of(1, 0, NULL);

    there_and_back(&p);
}
END_TEST

START_TEST(largest_parcel_travels)
{
    size_t           bytes[PS_FRAMES_MAX];
    struct ps_parcel p;

    for (uint32_t i = 0; i < PS_FRAMES_MAX; i++)
        bytes[i] = i % 3 == 0 ? 0 : (size_t)i << 12;
    p = parcel_of(PS_HEADER_BYTES, PS_FRAMES_MAX, bytes);
    there_and_back(&p);
}
END_TEST

START_TEST(many_parcels_arrive_in_order)
{
    size_t           bytes = 70000;
    struct ps_parcel p = parcel_of(10, 1, &bytes), got;

    for (uint8_t i = 0; i < 200; i++) {
        struct ps_parcel one = { .head = buf_of(2, (uint8_t)(i + 1)), .n_frames = 1 };

        one.frames[0] = ps_buf_share(p.frames[0]);
        send_shared(&one);
        ps_parcel_drop(&one);
        if (i < 8)
            continue; /* keeps up to eight under way */
        got = at_server();
        ck_assert_uint_eq(got.head->data[0], i + 1 - 8);
        ps_parcel_drop(&got);
    }
    ps_parcel_drop(&p);
}
END_TEST

START_TEST(sent_block_is_ours_again_when_it_has_left)
{
    size_t           bytes = 1 << 20;
    struct ps_parcel p = parcel_of(10, 1, &bytes), got;

    send_shared(&p);
    got = at_server();
    for (int i = 0; !ps_buf_sole(p.frames[0]) && i < DEADLINE_MS; i++)
        nap();
    ck_assert(ps_buf_sole(p.frames[0]));
    ps_parcel_drop(&got);
    ps_parcel_drop(&p);
}
END_TEST

START_TEST(what_the_peer_would_refuse_is_not_sent)
{
    size_t           bytes = PS_FRAME_BYTES + 1;
    struct ps_parcel p = parcel_of(10, 1, &bytes);

    ck_assert_status(ps_link_send(link_, &p), PS_ERR_LIMIT);
    ck_assert_ptr_null(p.head);
    p = parcel_of(PS_HEADER_BYTES + 1, 0, NULL);
    ck_assert_status(ps_link_send(link_, &p), PS_ERR_LIMIT);
    ck_assert_why("16385 bytes, at most 16384");
}
END_TEST

START_TEST(nothing_there_is_a_timeout)
{
    struct ps_parcel p;

    ck_assert_status(ps_server_receive(server, &p), PS_ERR_TIMEOUT);
    ck_assert_status(ps_link_receive(link_, &p), PS_ERR_TIMEOUT);
}
END_TEST

START_TEST(reply_to_nobody_is_unavailable)
{
    struct ps_parcel p = parcel_of(10, 0, NULL);

    p.route = (struct ps_route){ .kind = PS_ROUTE_PEER, .bytes = 5, .id = "gone" };
    ck_assert_status(ps_server_send(server, &p), PS_ERR_UNAVAILABLE);
    ck_assert_ptr_null(p.head);
}
END_TEST

START_TEST(full_queue_is_a_timeout_and_holds_whole_parcels)
{
    size_t           bytes[2] = { 1 << 20, 3 };
    struct ps_parcel p = parcel_of(10, 2, bytes), copy, got;
    uint32_t         n = 1;

    send_shared(&p);
    for (ps_status st = PS_OK; st == PS_OK && n < 100000; n++) {
        ps_parcel_share(&copy, &p);
        st = ps_link_send(link_, &copy);
        if (st) {
            ck_assert_status(st, PS_ERR_TIMEOUT);
            break;
        }
    }
    ck_assert_uint_ge(n, 64);
    for (; n > 0; n--) {
        got = at_server();
        same_parcel(&got, &p);
        ps_parcel_drop(&got);
    }
    ck_assert_status(ps_server_receive(server, &got), PS_ERR_TIMEOUT);
    ps_parcel_drop(&p);
}
END_TEST

/* A peer that speaks ZeroMQ, but not ours. */
static void *stranger(void **context)
{
    int   linger = 1000;
    void *socket;

    *context = zmq_ctx_new();
    socket = zmq_socket(*context, ZMQ_DEALER);
    zmq_setsockopt(socket, ZMQ_LINGER, &linger, sizeof(linger));
    ck_assert_int_eq(zmq_connect(socket, ps_server_endpoint(server)), 0);
    return socket;
}

static void stranger_sends(void *socket, const size_t *part_bytes, size_t n)
{
    static uint8_t bytes[PS_FRAME_BYTES + 1];

    memset(bytes, 1, sizeof(bytes));
    for (size_t i = 0; i < n; i++)
        ck_assert_int_ge(
            zmq_send(socket, bytes, part_bytes[i], i + 1 < n ? ZMQ_SNDMORE : 0), 0);
}

static void dropped_is(uint64_t expected)
{
    struct ps_parcel p;
    struct ps_poll   poll = { .server = server };

    for (int i = 0; ps_server_dropped(server) < expected && i < DEADLINE_MS; i += 100) {
        ck_assert_ok(ps_net_poll(&poll, 1, 100));
        ck_assert_status(ps_server_receive(server, &p), PS_ERR_TIMEOUT);
    }
    ck_assert_uint_eq(ps_server_dropped(server), expected);
}

static void still_serving(void)
{
    size_t           bytes = 5000;
    struct ps_parcel p = parcel_of(100, 1, &bytes);

    there_and_back(&p);
}

START_TEST(malformed_messages_are_dropped_and_counted)
{
    size_t parts[2 + PS_FRAMES_MAX] = { 10 };
    size_t long_header[] = { PS_HEADER_BYTES + 1, 8 };
    size_t empty_header[] = { 0, 8, 8 };
    void  *context, *socket = stranger(&context);

    stranger_sends(socket, parts, 2 + PS_FRAMES_MAX); /* 33 frames */
    dropped_is(1);
    stranger_sends(socket, long_header, 2);
    stranger_sends(socket, empty_header, 3);
    stranger_sends(socket, empty_header, 1);
    dropped_is(4);
    zmq_close(socket);
    zmq_ctx_term(context);
    still_serving();
}
END_TEST

START_TEST(oversized_frame_ends_only_its_own_connection)
{
    size_t           parts[] = { 10, PS_FRAME_BYTES + 1 };
    size_t           good[] = { 10, 20 };
    struct ps_poll   poll = { .server = server };
    struct ps_parcel p;
    ps_status        st = PS_ERR_TIMEOUT;
    void            *context, *socket = stranger(&context);

    stranger_sends(socket, good, 2);
    p = at_server();
    ps_parcel_drop(&p);
    stranger_sends(socket, parts, 2);
    still_serving();
    /* It may come back.  What it sends before it has noticed goes with the connection.
     */
    for (int i = 0; st && i < DEADLINE_MS; i += 500) {
        stranger_sends(socket, good, 2);
        ck_assert_ok(ps_net_poll(&poll, 1, 500));
        st = ps_server_receive(server, &p);
    }
    ck_assert_ok(st);
    ck_assert_uint_eq(p.head->len, 10);
    ps_parcel_drop(&p);
    zmq_close(socket);
    zmq_ctx_term(context);
    ck_assert_uint_eq(ps_server_dropped(server), 0);
}
END_TEST

static int raw_connection(void)
{
    struct sockaddr_in at = { .sin_family = AF_INET };
    int                fd = socket(AF_INET, SOCK_STREAM, 0);

    at.sin_port = htons((uint16_t)atoi(strrchr(ps_server_endpoint(server), ':') + 1));
    at.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    ck_assert_int_eq(connect(fd, (struct sockaddr *)&at, sizeof(at)), 0);
    return fd;
}

START_TEST(garbage_bytes_do_no_harm)
{
    uint8_t          garbage[4096];
    struct ps_parcel p = parcel_of(100, 0, NULL), got;

    for (unsigned round = 0; round < 64; round++) {
        int fd = raw_connection();

        for (size_t i = 0; i < sizeof(garbage); i++)
            garbage[i] = (uint8_t)((i + 1) * 2654435761u * (round + 1) >> 13);
        if (round % 4 == 0) /* a greeting that begins well */
            memcpy(garbage, "\xff\0\0\0\0\0\0\0\x01\x7f\x03\0NULL", 16);
        /* The other end may have hung up already. */
        (void)!send(fd, garbage, sizeof(garbage), MSG_NOSIGNAL);
        close(fd);
    }
    send_shared(&p);
    for (;;) { /* some noise looks like messages of peers that speak ZMTP 1.0 */
        got = at_server();
        if (got.head->len == p.head->len &&
            memcmp(got.head->data, p.head->data, 100) == 0)
            break;
        ps_parcel_drop(&got);
    }
    ps_parcel_drop(&got);
    ps_parcel_drop(&p);
}
END_TEST

/* One send, whose parcel is gone afterwards however it went. */
static ps_status send_small(void)
{
    struct ps_parcel p = parcel_of(10, 0, NULL);
    ps_status        st = ps_link_send(link_, &p);

    ck_assert_ptr_null(p.head);
    return st;
}

/* Of 64 at most; the sender never waits, so ZeroMQ has no occasion of its own to look
 * what has left. */
START_TEST(queue_that_was_read_is_not_taken_for_a_full_one)
{
    struct ps_parcel first = parcel_of(10, 0, NULL), got;

    send_shared(&first); /* now the connection stands */
    ps_parcel_drop(&first);
    got = at_server();
    ps_parcel_drop(&got);
    for (int burst = 0; burst < 200; burst++) {
        for (int i = 0; i < 32; i++)
            ck_assert_ok(send_small());
        for (int i = 0; i < 32; i++) {
            got = at_server();
            ps_parcel_drop(&got);
        }
    }
}
END_TEST

START_TEST(link_to_nobody_opens_and_its_queue_is_bounded)
{
    int taken = 0;

    ck_assert_ok(ps_link_open(&link_, net, ipc));
    while (taken < 10000 && send_small() == PS_OK)
        taken++;
    ck_assert_int_gt(taken, 0);
    ck_assert_int_lt(taken, 10000);
    ck_assert_status(send_small(), PS_ERR_TIMEOUT);
}
END_TEST

START_TEST(what_is_sent_before_the_connection_stands_arrives)
{
    struct ps_parcel got;

    ck_assert_ok(ps_link_open(&link_, net, ipc));
    ck_assert_ok(send_small());
    ck_assert_ok(ps_server_open(&server, net, ipc));
    got = at_server();
    ps_parcel_drop(&got);
}
END_TEST

START_TEST(link_finds_a_server_that_comes_later)
{
    struct ps_parcel p = parcel_of(10, 0, NULL);

    ck_assert_ok(ps_link_open(&link_, net, ipc));
    ck_assert_ok(ps_server_open(&server, net, ipc));
    there_and_back(&p);
}
END_TEST

START_TEST(address_in_use_is_named)
{
    struct ps_server *second = NULL;

    ck_assert_ok(ps_server_open(&server, net, "tcp://127.0.0.1:0"));
    ck_assert_status(ps_server_open(&second, net, ps_server_endpoint(server)),
                     PS_ERR_UNAVAILABLE);
    ck_assert_why("cannot bind tcp://127.0.0.1:");
    ck_assert_why(": address in use");
    ck_assert_ptr_null(second);
}
END_TEST

START_TEST(served_ipc_path_is_in_use)
{
    struct ps_server *second = NULL;
    struct ps_parcel  p = parcel_of(10, 0, NULL);

    connected(ipc);
    ck_assert_status(ps_server_open(&second, net, ipc), PS_ERR_UNAVAILABLE);
    ck_assert_why(": address in use");
    there_and_back(&p);
}
END_TEST

START_TEST(ipc_path_goes_with_its_server)
{
    ck_assert_ok(ps_server_open(&server, net, ipc));
    ck_assert_str_eq(ps_server_endpoint(server), ipc);
    ck_assert_int_eq(access(path, F_OK), 0);
    ps_server_close(&server);
    ck_assert_int_ne(access(path, F_OK), 0);
}
END_TEST

START_TEST(stale_ipc_path_is_taken_over)
{
    struct sockaddr_un at = { .sun_family = AF_UNIX };
    int                fd = socket(AF_UNIX, SOCK_STREAM, 0);
    struct ps_parcel   p = parcel_of(10, 0, NULL);

    memcpy(at.sun_path, path, strlen(path));
    ck_assert_int_eq(bind(fd, (struct sockaddr *)&at, sizeof(at)), 0);
    close(fd); /* as after kill -9: the file stays */
    connected(ipc);
    there_and_back(&p);
}
END_TEST

START_TEST(file_in_the_way_is_kept)
{
    FILE *f = fopen(path, "w");

    fclose(f);
    ck_assert_status(ps_server_open(&server, net, ipc), PS_ERR_BAD_ARG);
    ck_assert_why("a file that is not a socket");
    ck_assert_int_eq(access(path, F_OK), 0);
}
END_TEST

static const struct {
    const char *endpoint;
    ps_status   status;
    const char *why;
} unbindable[] = {
    { "", PS_ERR_BAD_ARG, "expected tcp://host:port or ipc://path" },
    { "127.0.0.1:5570", PS_ERR_BAD_ARG, "expected tcp://host:port or ipc://path" },
    { "udp://127.0.0.1:1", PS_ERR_BAD_ARG, "not an endpoint" },
    { "tcp://127.0.0.1", PS_ERR_BAD_ARG, "no port" },
    { "tcp://127.0.0.1:", PS_ERR_BAD_ARG, "no port" },
    { "tcp://127.0.0.1:65536", PS_ERR_BAD_ARG, "no port from 0 to 65535" },
    { "tcp://127.0.0.1:12x", PS_ERR_BAD_ARG, "no port" },
    { "tcp://:5570", PS_ERR_BAD_ARG, "no host" },
    { "tcp://::1:5570", PS_ERR_BAD_ARG, "in brackets" },
    { "tcp://[::1]5:5570", PS_ERR_BAD_ARG, "in brackets" },
    { "tcp://192.0.2.1:0", PS_ERR_UNAVAILABLE, "not an address or interface of this" },
    { "tcp://no-such-interface:0", PS_ERR_UNAVAILABLE, "not an address or interface" },
    { "ipc://", PS_ERR_BAD_ARG, "no path" },
    { "ipc://*", PS_ERR_BAD_ARG, "no path" },
    { "ipc:///no/such/folder/socket", PS_ERR_BAD_ARG, "no such folder" },
};

START_TEST(endpoint_that_cannot_be_bound_is_explained)
{
    ck_assert_status(ps_server_open(&server, net, unbindable[_i].endpoint),
                     unbindable[_i].status);
    ck_assert_why(unbindable[_i].endpoint);
    ck_assert_why(unbindable[_i].why);
    ck_assert_ptr_null(server);
}
END_TEST

START_TEST(link_refuses_what_is_no_endpoint)
{
    ck_assert_status(ps_link_open(&link_, net, "localhost:5570"), PS_ERR_BAD_ARG);
    ck_assert_status(ps_link_open(&link_, net, "tcp://127.0.0.1:0"), PS_ERR_BAD_ARG);
    ck_assert_why("cannot connect to tcp://127.0.0.1:0: port 0");
}
END_TEST

static const struct {
    const char *endpoint;
    bool        local;
} places[] = {
    { "tcp://127.0.0.1:5570", true },
    { "tcp://127.8.9.10:0", true },
    { "tcp://localhost:1", true },
    { "tcp://[::1]:5570", true },
    { "ipc:///run/psd", true },
    { "tcp://[::ffff:127.0.0.1]:1", true },
    { "tcp://10.0.0.1:5570", false },
    { "tcp://0.0.0.0:5570", false },
    { "tcp://*:5570", false },
    { "tcp://127.evil.example:1", false },
    { "tcp://[::]:5570", false },
    { "tcp://[fe80::1]:1", false },
    { "tcp://ps0:5570", false },
    { "tcp://", false },
    { "nonsense", false },
    { "", false },
};

START_TEST(only_loopback_and_files_are_local)
{
    ck_assert_msg(ps_endpoint_is_local(places[_i].endpoint) == places[_i].local, "%s",
                  places[_i].endpoint);
}
END_TEST

START_TEST(raised_signal_wakes_a_poll_until_cleared)
{
    struct ps_signal *signal;
    struct ps_poll    polls[] = { { .server = server }, { 0 }, { .signal = NULL } };

    ck_assert_ok(ps_signal_new(&signal));
    polls[2].signal = signal;
    ck_assert_ok(ps_net_poll(polls, 3, 0));
    ck_assert(!polls[0].ready && !polls[1].ready && !polls[2].ready);
    ps_signal_raise(signal);
    ps_signal_raise(signal);
    ck_assert_ok(ps_net_poll(polls, 3, DEADLINE_MS));
    ck_assert(!polls[0].ready && !polls[1].ready && polls[2].ready);
    ps_signal_clear(signal);
    ps_signal_clear(signal);
    ck_assert_ok(ps_net_poll(polls, 3, 0));
    ck_assert(!polls[2].ready);
    ps_signal_free(&signal);
    ck_assert_ptr_null(signal);
}
END_TEST

START_TEST(poll_says_who_is_ready)
{
    struct ps_poll   polls[] = { { .server = server }, { .link = link_ } };
    struct ps_parcel p = parcel_of(10, 0, NULL);

    send_shared(&p);
    ck_assert_ok(ps_net_poll(polls, 2, DEADLINE_MS));
    ck_assert(polls[0].ready && !polls[1].ready);
    ps_parcel_drop(&p);
    p = at_server();
    ck_assert_ok(ps_server_send(server, &p));
    ck_assert_ok(ps_net_poll(polls, 2, DEADLINE_MS));
    ck_assert(!polls[0].ready && polls[1].ready);
}
END_TEST

/* Whoever sends takes notice of what has happened to the socket, so that its descriptor
 * does not say it any more. */
START_TEST(what_came_before_something_was_sent_is_heard)
{
    struct ps_poll   polls[] = { { .server = server }, { .link = link_ } };
    struct ps_parcel p = parcel_of(10, 0, NULL), to_link;

    send_shared(&p);
    to_link = at_server();
    ck_assert_ok(ps_net_poll(polls, 2, 0));
    ck_assert(!polls[0].ready && !polls[1].ready); /* and both are left alone */
    send_shared(&p);
    usleep(50000);
    ck_assert_ok(ps_server_send(server, &to_link));
    ck_assert_ok(ps_net_poll(polls, 1, DEADLINE_MS));
    ck_assert(polls[0].ready);
    usleep(50000);
    send_shared(&p);
    ck_assert_ok(ps_net_poll(polls + 1, 1, DEADLINE_MS));
    ck_assert(polls[1].ready);
    ps_parcel_drop(&p);
}
END_TEST

START_TEST(the_second_message_is_heard_when_the_first_was_taken)
{
    struct ps_poll   poll = { .server = server };
    struct ps_parcel p = parcel_of(10, 0, NULL);

    send_shared(&p);
    send_shared(&p);
    usleep(50000);
    ps_parcel_drop(&p);
    for (int i = 0; i < 2; i++) {
        ck_assert_ok(ps_net_poll(&poll, 1, DEADLINE_MS));
        ck_assert(poll.ready);
        ck_assert_ok(ps_server_receive(server, &p));
        ps_parcel_drop(&p);
    }
    ck_assert_ok(ps_net_poll(&poll, 1, 0));
    ck_assert(!poll.ready);
}
END_TEST

/* Of the thread with this name; 0: the system does not say. */
static uint64_t slice_of(const char *name)
{
    DIR           *tasks = opendir("/proc/self/task");
    struct dirent *task;
    uint64_t       slice_ns = 0;

    ck_assert_ptr_nonnull(tasks);
    while ((task = readdir(tasks))) {
        char  file[300], line[200];
        bool  found = false;
        FILE *f;

        snprintf(file, sizeof(file), "/proc/self/task/%s/sched", task->d_name);
        f = fopen(file, "re");
        if (!f)
            continue;
        while (fgets(line, sizeof(line), f)) {
            found = found || strncmp(line, name, strlen(name)) == 0;
            if (found && strncmp(line, "se.slice", 8) == 0)
                slice_ns = strtoull(strchr(line, ':') + 1, NULL, 10);
        }
        fclose(f);
    }
    closedir(tasks);
    return slice_ns;
}

/* Where the kernel knows slices: else there is nothing to see. */
START_TEST(threads_that_move_bytes_have_short_slices_and_others_keep_theirs)
{
    const uint64_t    mine = ps_slice_set(700000);
    const bool        knows = ps_slice_set(700000) == 700000;
    struct ps_net    *other;
    struct ps_server *s;

    ck_assert_ok(ps_net_new(&other));
    ck_assert_ok(ps_server_open(&s, other, "tcp://127.0.0.1:0"));
    if (knows && slice_of("ZMQbg/IO/0"))
        ck_assert_uint_eq(slice_of("ZMQbg/IO/0"), PS_SLICE_SHORT_NS);
    ck_assert_uint_eq(ps_slice_set(mine), knows ? 700000 : mine);
    ps_server_close(&s);
    ps_net_free(&other);
}
END_TEST

START_TEST(time_goes_forward)
{
    uint64_t before = ps_now_ns();

    nap();
    ck_assert_uint_ge(ps_now_ns() - before, 1000000);
}
END_TEST

static Suite *net_suite(void)
{
    Suite *s = suite_create("net");
    TCase *pair = tcase_create("pair");
    TCase *bare = tcase_create("bare");

    tcase_set_timeout(pair, 120);
    tcase_add_checked_fixture(pair, tcp_pair, close_net);
    tcase_add_loop_test(pair, frames_of_any_size_travel_over_tcp, 0, N_SIZES);
    tcase_add_test(pair, parcel_without_frames_travels);
    tcase_add_test(pair, largest_parcel_travels);
    tcase_add_test(pair, many_parcels_arrive_in_order);
    tcase_add_test(pair, sent_block_is_ours_again_when_it_has_left);
    tcase_add_test(pair, what_the_peer_would_refuse_is_not_sent);
    tcase_add_test(pair, nothing_there_is_a_timeout);
    tcase_add_test(pair, reply_to_nobody_is_unavailable);
    tcase_add_test(pair, full_queue_is_a_timeout_and_holds_whole_parcels);
    tcase_add_test(pair, queue_that_was_read_is_not_taken_for_a_full_one);
    tcase_add_test(pair, malformed_messages_are_dropped_and_counted);
    tcase_add_test(pair, oversized_frame_ends_only_its_own_connection);
    tcase_add_test(pair, garbage_bytes_do_no_harm);
    tcase_add_test(pair, raised_signal_wakes_a_poll_until_cleared);
    tcase_add_test(pair, poll_says_who_is_ready);
    tcase_add_test(pair, what_came_before_something_was_sent_is_heard);
    tcase_add_test(pair, the_second_message_is_heard_when_the_first_was_taken);
    suite_add_tcase(s, pair);

    tcase_set_timeout(bare, 120);
    tcase_add_checked_fixture(bare, open_net, close_net);
    tcase_add_loop_test(bare, frames_of_any_size_travel_over_ipc, 0, N_SIZES);
    tcase_add_test(bare, link_to_nobody_opens_and_its_queue_is_bounded);
    tcase_add_test(bare, what_is_sent_before_the_connection_stands_arrives);
    tcase_add_test(bare, link_finds_a_server_that_comes_later);
    tcase_add_test(bare, address_in_use_is_named);
    tcase_add_test(bare, served_ipc_path_is_in_use);
    tcase_add_test(bare, ipc_path_goes_with_its_server);
    tcase_add_test(bare, stale_ipc_path_is_taken_over);
    tcase_add_test(bare, file_in_the_way_is_kept);
    tcase_add_loop_test(bare, endpoint_that_cannot_be_bound_is_explained, 0,
                        sizeof(unbindable) / sizeof(unbindable[0]));
    tcase_add_test(bare, link_refuses_what_is_no_endpoint);
    tcase_add_loop_test(bare, only_loopback_and_files_are_local, 0,
                        sizeof(places) / sizeof(places[0]));
    tcase_add_test(bare,
                   threads_that_move_bytes_have_short_slices_and_others_keep_theirs);
    tcase_add_test(bare, time_goes_forward);
    suite_add_tcase(s, bare);
    return s;
}

TEST_MAIN(net_suite)
