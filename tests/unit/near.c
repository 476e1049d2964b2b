/* Processes of one host that lend each other memory: two ends in this process, each
 * with mappings of its own, over real sockets. */
#include "common/net/near.h"
#include "common/base/random.h"
#include "common/base/sheet.h"
#include "common/net/net.h"
#include "tests/unit/suite.h"

#include <errno.h>
#include <poll.h>
#include <stdio.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>
#include <zmq.h>

#define DEADLINE_MS 20000
#define BYTES (size_t)100000

static struct ps_net    *net;
static struct ps_server *server;
static struct ps_link   *link_;
static struct ps_heap   *heap;

static struct ps_buf *block(size_t bytes, uint8_t first)
{
    struct ps_buf *b;

    ck_assert_ok(ps_heap_buf(heap, &b, bytes));
    for (size_t i = 0; i < bytes; i++)
        b->data[i] = (uint8_t)(first + i % 251);
    b->len = bytes;
    return b;
}

/* ---- a link and a server ------------------------------------------------------- */

static void open_pair(void)
{
    ck_assert_ok(ps_net_new(&net));
    ck_assert_ok(ps_server_open(&server, net, "tcp://127.0.0.1:0"));
    ck_assert_ok(ps_link_open(&link_, net, ps_server_endpoint(server)));
    ck_assert_ok(ps_heap_new(&heap));
}

static void close_pair(void)
{
    ps_link_close(&link_, 0);
    ps_server_close(&server);
    ps_net_free(&net);
    ps_heap_free(&heap);
}

/* What comes at either end, for so long. */
static void pass(int ms)
{
    struct ps_poll   polls[] = { { .server = server }, { .link = link_ } };
    struct ps_parcel p;

    ck_assert_ok(ps_net_poll(polls, 2, ms));
    if (polls[0].ready && ps_server_receive(server, &p) == PS_OK)
        ps_parcel_drop(&p);
    if (polls[1].ready && ps_link_receive(link_, &p) == PS_OK)
        ps_parcel_drop(&p);
}

static void meet(void)
{
    ps_server_share(server);
    ps_link_share(link_);
    for (int i = 0; !ps_link_is_near(link_) && i < DEADLINE_MS; i += 100)
        pass(100);
    ck_assert(ps_link_is_near(link_));
}

static void open_near_pair(void)
{
    open_pair();
    meet();
}

/* A parcel with these frames, which stay ours too. */
static struct ps_parcel parcel_of(struct ps_buf *const *frames, uint32_t n)
{
    struct ps_parcel p = { .n_frames = n };

    ck_assert_ok(ps_buf_copy(&p.head, "head", 4));
    for (uint32_t i = 0; i < n; i++)
        p.frames[i] = ps_buf_share(frames[i]);
    return p;
}

static void send_up(struct ps_buf *const *frames, uint32_t n)
{
    struct ps_parcel p = parcel_of(frames, n);

    ck_assert_ok(ps_link_send(link_, &p));
}

static struct ps_parcel at_server(void)
{
    struct ps_poll   poll = { .server = server };
    struct ps_parcel p;
    ps_status        st = PS_ERR_TIMEOUT;

    for (int i = 0; st && i < DEADLINE_MS; i += 100) {
        ck_assert_ok(ps_net_poll(&poll, 1, 100));
        st = ps_server_receive(server, &p);
    }
    ck_assert_ok(st);
    return p;
}

static struct ps_parcel at_link(void)
{
    struct ps_poll   poll = { .link = link_ };
    struct ps_parcel p;
    ps_status        st = PS_ERR_TIMEOUT;

    for (int i = 0; st && i < DEADLINE_MS; i += 100) {
        ck_assert_ok(ps_net_poll(&poll, 1, 100));
        st = ps_link_receive(link_, &p);
    }
    ck_assert_ok(st);
    return p;
}

static void answer(const struct ps_parcel *to, struct ps_buf *const *frames, uint32_t n)
{
    struct ps_parcel p = parcel_of(frames, n);

    p.route = to->route;
    ck_assert_ok(ps_server_send(server, &p));
}

static void same(const struct ps_buf *a, const struct ps_buf *b)
{
    ck_assert_uint_eq(a->len, b->len);
    ck_assert(memcmp(a->data, b->data, a->len) == 0);
}

START_TEST(frames_of_a_heap_are_lent_and_come_back)
{
    struct ps_buf   *b = block(BYTES, 1);
    struct ps_parcel got;

    send_up(&b, 1);
    got = at_server();
    same(got.frames[0], b);
    b->data[5] = 99; /* the same memory */
    ck_assert_uint_eq(got.frames[0]->data[5], 99);
    ck_assert(!ps_buf_sole(b));
    ps_parcel_drop(&got);
    send_up(NULL, 0); /* looks what has come back */
    ck_assert(ps_buf_sole(b));
    ps_buf_drop(&b);
}
END_TEST

START_TEST(answers_are_lent_and_come_back)
{
    struct ps_buf   *b = block(BYTES, 1);
    struct ps_parcel asked, got;

    send_up(NULL, 0);
    asked = at_server();
    answer(&asked, &b, 1);
    got = at_link();
    b->data[5] = 99;
    ck_assert_uint_eq(got.frames[0]->data[5], 99);
    ck_assert(!ps_buf_sole(b));
    ps_parcel_drop(&asked);
    ps_parcel_drop(&got);
    send_up(NULL, 0);
    asked = at_server();
    ck_assert(ps_buf_sole(b));
    ps_parcel_drop(&asked);
    ps_buf_drop(&b);
}
END_TEST

START_TEST(frames_arrive_in_their_order_lent_or_not)
{
    struct ps_buf   *all = block(BYTES, 5), *plain, *frames[7];
    struct ps_parcel got;

    ck_assert_ok(ps_buf_copy(&plain, all->data, BYTES));
    frames[0] = block(64 << 10, 1);
    ck_assert_ok(ps_buf_copy(&frames[1], "small", 5));
    ck_assert_ok(ps_buf_view(&frames[2], all, 8000, 40000));
    frames[3] = plain;
    ck_assert_ok(ps_buf_view(&frames[4], all, 64, 100)); /* not worth it */
    frames[5] = block(1 << 20, 2);
    ck_assert_ok(ps_buf_copy(&frames[6], "", 0));
    send_up(frames, 7);
    got = at_server();
    ck_assert_uint_eq(got.n_frames, 7);
    for (int i = 0; i < 7; i++)
        same(got.frames[i], frames[i]);
    all->data[8000] = 200;
    ck_assert_uint_eq(got.frames[2]->data[0], 200);
    ck_assert_uint_ne(got.frames[3]->data[8000], 200);
    ps_parcel_drop(&got);
    for (int i = 0; i < 7; i++)
        ps_buf_drop(&frames[i]);
    ps_buf_drop(&all);
}
END_TEST

static struct ps_buf *two_blocks(struct ps_buf **first)
{
    struct ps_buf *blocks[2] = { block(BYTES, 1), block(BYTES, 2) }, *sheet;

    ck_assert_ok(ps_sheet_new(&sheet, 1, heap, blocks, 2));
    *first = blocks[0];
    ps_buf_drop(&blocks[1]);
    return sheet;
}

START_TEST(sheets_are_lent_among_other_frames)
{
    struct ps_buf   *frames[4], *first;
    struct ps_parcel got;

    ck_assert_ok(ps_buf_copy(&frames[0], "small", 5));
    frames[1] = two_blocks(&first);
    frames[2] = block(BYTES, 3);
    ck_assert_ok(ps_buf_copy(&frames[3], "also", 4));
    send_up(frames, 4);
    got = at_server();
    ck_assert_uint_eq(got.n_frames, 4);
    for (int i = 0; i < 4; i++)
        same(got.frames[i], frames[i]);
    ck_assert_uint_eq(got.frames[1]->sheet->bytes, 2 * BYTES);
    first->data[5] = 99;
    ck_assert_uint_eq(got.frames[1]->sheet->pieces[0].data[5], 99);
    ps_parcel_drop(&got);
    for (int i = 0; i < 4; i++)
        ps_buf_drop(&frames[i]);
    ps_buf_drop(&first);
}
END_TEST

/* The one who borrows has mapped it for reading. */
START_TEST(who_borrows_cannot_write)
{
    struct ps_buf   *b = block(BYTES, 1);
    struct ps_parcel got;
    int              ends[2];

    send_up(&b, 1);
    got = at_server();
    ck_assert_int_eq(
        mprotect((void *)((uintptr_t)got.frames[0]->data & ~(uintptr_t)4095), 4096,
                 PROT_READ | PROT_WRITE),
        -1);
    ck_assert_int_eq(pipe(ends), 0);
    ck_assert_int_eq(write(ends[1], "x", 1), 1);
    ck_assert_int_eq(read(ends[0], got.frames[0]->data, 1), -1);
    ck_assert_int_eq(errno, EFAULT);
    close(ends[0]);
    close(ends[1]);
    ps_parcel_drop(&got);
    ps_buf_drop(&b);
}
END_TEST

START_TEST(what_was_lent_stays_when_the_link_is_gone)
{
    struct ps_buf   *b = block(BYTES, 3);
    struct ps_parcel got;

    send_up(&b, 1);
    got = at_server();
    ps_buf_drop(&b);
    ps_heap_free(&heap);
    ps_link_close(&link_, 0);
    ck_assert_uint_eq(got.frames[0]->data[BYTES - 1], (uint8_t)(3 + (BYTES - 1) % 251));
    ps_parcel_drop(&got);
}
END_TEST

START_TEST(what_was_lent_to_a_link_that_is_gone_comes_back)
{
    struct ps_buf   *b = block(BYTES, 3);
    struct ps_poll   poll = { .server = server };
    struct ps_parcel asked;

    send_up(NULL, 0);
    asked = at_server();
    for (int i = 0; i < 3; i++)
        answer(&asked, &b, 1);
    ps_link_close(&link_, 0);
    for (int i = 0; !ps_buf_sole(b) && i < DEADLINE_MS; i += 100)
        ck_assert_ok(ps_net_poll(&poll, 1, 100));
    ck_assert(ps_buf_sole(b));
    ps_parcel_drop(&asked);
    ps_buf_drop(&b);
}
END_TEST

/* The link keeps its end until the last is dropped. */
START_TEST(what_is_still_read_is_not_taken_back_with_the_link)
{
    struct ps_buf   *b = block(BYTES, 3);
    struct ps_poll   poll = { .server = server };
    struct ps_parcel asked, got;

    send_up(NULL, 0);
    asked = at_server();
    answer(&asked, &b, 1);
    got = at_link();
    ps_link_close(&link_, 0);
    for (int i = 0; i < 5; i++)
        ck_assert_ok(ps_net_poll(&poll, 1, 20));
    ck_assert(!ps_buf_sole(b));
    ps_parcel_drop(&got);
    for (int i = 0; !ps_buf_sole(b) && i < DEADLINE_MS; i += 100)
        ck_assert_ok(ps_net_poll(&poll, 1, 100));
    ck_assert(ps_buf_sole(b));
    ps_parcel_drop(&asked);
    ps_buf_drop(&b);
}
END_TEST

/* Another return address is another connection. */
START_TEST(messages_go_another_way_once_both_have_met)
{
    struct ps_parcel first, second;

    send_up(NULL, 0);
    first = at_server();
    meet();
    send_up(NULL, 0);
    second = at_server();
    ck_assert(!ps_route_same(&first.route, &second.route));
    answer(&first, NULL, 0); /* both are heard */
    answer(&second, NULL, 0);
    ps_parcel_drop(&first);
    ps_parcel_drop(&second);
    first = at_link();
    second = at_link();
    ps_parcel_drop(&first);
    ps_parcel_drop(&second);
}
END_TEST

/* Its permissions say who may. */
START_TEST(a_server_on_a_path_of_its_own_has_no_other_address)
{
    char             path[64] = "/tmp/psd-near-XXXXXX", endpoint[96];
    struct ps_parcel first, second;

    ck_assert_ptr_nonnull(mkdtemp(path));
    snprintf(endpoint, sizeof(endpoint), "ipc://%s/socket", path);
    ps_link_close(&link_, 0);
    ps_server_close(&server);
    ck_assert_ok(ps_server_open(&server, net, endpoint));
    ck_assert_ok(ps_link_open(&link_, net, endpoint));
    send_up(NULL, 0);
    first = at_server();
    meet();
    send_up(NULL, 0);
    second = at_server();
    ck_assert(ps_route_same(&first.route, &second.route));
    ps_parcel_drop(&first);
    ps_parcel_drop(&second);
    ps_server_close(&server);
    ck_assert_int_eq(rmdir(path), 0);
}
END_TEST

START_TEST(a_server_that_does_not_share_is_sent_everything)
{
    struct ps_buf   *b = block(BYTES, 1);
    struct ps_parcel got;

    ps_link_share(link_);
    send_up(&b, 1);
    got = at_server();
    same(got.frames[0], b);
    b->data[5] = 99;
    ck_assert_uint_ne(got.frames[0]->data[5], 99);
    ck_assert_uint_eq(ps_server_dropped(server), 0);
    ps_parcel_drop(&got);
    ps_buf_drop(&b);
}
END_TEST

START_TEST(a_server_that_does_not_share_is_sent_no_sheets)
{
    struct ps_buf   *frames[3], *first;
    struct ps_parcel got;

    ps_link_share(link_);
    ck_assert_ok(ps_buf_copy(&frames[0], "small", 5));
    frames[1] = two_blocks(&first);
    frames[2] = block(BYTES, 3);
    send_up(frames, 3);
    got = at_server();
    ck_assert_uint_eq(got.n_frames, 2);
    same(got.frames[0], frames[0]);
    same(got.frames[1], frames[2]);
    ps_parcel_drop(&got);
    ps_buf_drop(&frames[0]);
    ps_buf_drop(&frames[1]);
    ps_buf_drop(&frames[2]);
    ck_assert(ps_buf_sole(first));
    ps_buf_drop(&first);
}
END_TEST

START_TEST(a_server_that_comes_again_is_found_again)
{
    char             endpoint[PS_ENDPOINT_BYTES];
    struct ps_buf   *b = block(BYTES, 1);
    struct ps_parcel got;
    struct ps_poll   heard = { .link = link_ };

    strcpy(endpoint, ps_server_endpoint(server));
    ps_server_close(&server);
    for (int i = 0; ps_link_is_near(link_) && i < DEADLINE_MS; i += 100)
        ck_assert_ok(ps_net_poll(&heard, 1, 100));
    ck_assert(!ps_link_is_near(link_));
    for (int i = 0; ps_server_open(&server, net, endpoint) && i < DEADLINE_MS; i += 10)
        poll(NULL, 0, 10); /* ZeroMQ has yet to let go of the port */
    ck_assert_ptr_nonnull(server);
    ps_server_share(server);
    for (int i = 0; !ps_link_is_near(link_) && i < DEADLINE_MS; i += 100) {
        send_up(NULL, 0);
        pass(100);
    }
    ck_assert(ps_link_is_near(link_));
    send_up(&b, 1);
    while ((got = at_server()).n_frames == 0) /* of those from before */
        ps_parcel_drop(&got);
    b->data[5] = 99;
    ck_assert_uint_eq(got.frames[0]->data[5], 99);
    ps_parcel_drop(&got);
    ps_buf_drop(&b);
}
END_TEST

/* ---- strangers ----------------------------------------------------------------- */

static void *context, *stranger;

static void open_stranger(void)
{
    int linger = 0;

    context = zmq_ctx_new();
    stranger = zmq_socket(context, ZMQ_DEALER);
    zmq_setsockopt(stranger, ZMQ_LINGER, &linger, sizeof(linger));
    ck_assert_int_eq(zmq_connect(stranger, ps_server_endpoint(server)), 0);
}

static void close_stranger(void)
{
    zmq_close(stranger);
    zmq_ctx_term(context);
}

/* All that was sent before has been looked at then, and nothing of it was a parcel. */
static void only_what_is_good_arrives(void)
{
    struct ps_parcel got;

    ck_assert_int_eq(zmq_send(stranger, "good", 4, 0), 4);
    got = at_server();
    ck_assert(got.head->len == 4 && !memcmp(got.head->data, "good", 4));
    ck_assert_uint_eq(got.n_frames, 0);
    ps_parcel_drop(&got);
}

static void send_envelope(const void *bytes, size_t n)
{
    ck_assert_int_eq(zmq_send(stranger, bytes, n, ZMQ_SNDMORE), (int)n);
    ck_assert_int_eq(zmq_send(stranger, "head", 4, 0), 4);
}

START_TEST(envelopes_that_are_none_do_no_harm)
{
    struct psn_envelope e = { .kind = PSN_LOANS, .n_loans = 2 };
    uint8_t             bytes[PSN_ENVELOPE_BYTES];
    size_t              n = psn_envelope_write(&e, bytes);

    ps_server_share(server);
    open_stranger();
    for (size_t cut = 1; cut <= n; cut++)
        send_envelope(bytes, cut);
    for (size_t bit = 8; bit < 8 * n; bit++) {
        bytes[bit / 8] ^= (uint8_t)(1u << bit % 8);
        send_envelope(bytes, n);
        ck_assert_int_eq(zmq_send(stranger, bytes, n, 0), (int)n); /* no head */
        bytes[bit / 8] ^= (uint8_t)(1u << bit % 8);
        if (bit % 16 == 0)
            only_what_is_good_arrives();
    }
    only_what_is_good_arrives();
    close_stranger();
}
END_TEST

/* A near of its own, as an evil worker has it. */
static struct psn_near *evil(void)
{
    struct psn_near    *n = NULL;
    struct psn_envelope e = { .kind = PSN_WHERE };
    uint8_t             bytes[PSN_ENVELOPE_BYTES];

    ck_assert_int_gt(zmq_send(stranger, bytes, psn_envelope_write(&e, bytes), 0), 0);
    for (int i = 0, got = -1; got < 0 && i < DEADLINE_MS; i += 20) {
        struct ps_poll   poll = { .server = server };
        struct ps_parcel p;

        ck_assert_ok(ps_net_poll(&poll, 1, 20));
        ck_assert_status(ps_server_receive(server, &p), PS_ERR_TIMEOUT);
        got = zmq_recv(stranger, bytes, sizeof(bytes), ZMQ_DONTWAIT);
        if (got > 0)
            ck_assert_ok(psn_envelope_read(&e, bytes, (size_t)got));
    }
    ck_assert_uint_eq(e.kind, PSN_HERE);
    ck_assert_ok(psn_near_connect(&n, e.name));
    for (int i = 0; !psn_near_is_up(n) && i < DEADLINE_MS; i += 20) {
        struct ps_poll poll = { .server = server };

        ck_assert_ok(ps_net_poll(&poll, 1, 20));
        ck_assert_ok(psn_near_listen(n));
    }
    ck_assert(psn_near_is_up(n));
    return n;
}

START_TEST(loans_of_what_was_never_shown_are_refused)
{
    struct psn_near    *n;
    struct psn_envelope e = { .kind = PSN_LOANS, .n_loans = 1 };
    struct ps_buf      *b = block(BYTES, 1);
    uint8_t             bytes[PSN_ENVELOPE_BYTES];
    struct psn_loan     good;

    ps_server_share(server);
    open_stranger();
    n = evil();
    memcpy(e.name, psn_near_key(n), sizeof(e.name));
    ck_assert(psn_near_lend(n, b, &good)); /* shows the segment */
    for (int i = 0; i < 11; i++) {
        struct psn_loan bad = good;

        bad.number = (uint64_t)i + 1;
        switch (i) {
        case 0: bad.segment += 1000; break;
        case 1: bad.offset = b->segment->bytes; break;
        case 2: bad.offset = UINT64_MAX - 7; break;
        case 3: bad.bytes = PS_FRAME_BYTES + 1; break;
        case 4: bad.bytes = 0; break;
        case 5: bad.offset += 4; break;
        case 6: bad.frame = 1; break;
        case 7: bad.slot = 4095; break;
        case 8: bad.number = 0; break;
        case 9: bad.sheet = 1; break; /* no list is as long */
        case 10: bad.sheet = 2; break;
        }
        e.loans[0] = bad;
        send_envelope(bytes, psn_envelope_write(&e, bytes));
    }
    only_what_is_good_arrives();
    ck_assert_uint_eq(ps_server_dropped(server), 11);
    psn_near_drop(&n);
    ps_buf_drop(&b);
    close_stranger();
}
END_TEST

/* A file that may shrink would end the reader with SIGBUS. */
START_TEST(files_that_are_not_sealed_are_refused)
{
    struct psn_near  *n;
    struct ps_segment loose = { .number = 77, .bytes = 1 << 20 };
    struct ps_buf     b = { .len = BYTES, .segment = &loose };
    struct psn_loan   loan;
    struct ps_poll    served = { .server = server };
    struct pollfd     ended = { .events = POLLIN };

    loose.fd = memfd_create("loose", MFD_CLOEXEC);
    ck_assert_int_eq(ftruncate(loose.fd, (off_t)loose.bytes), 0);
    loose.base = b.data =
        mmap(NULL, loose.bytes, PROT_READ | PROT_WRITE, MAP_SHARED, loose.fd, 0);
    atomic_init(&loose.holders, 10);
    atomic_init(&b.owners, 10);
    ps_server_share(server);
    open_stranger();
    n = evil();
    ck_assert(psn_near_lend(n, &b, &loan));
    ended.fd = psn_near_fd(n);
    for (int i = 0; poll(&ended, 1, 0) == 0 && i < DEADLINE_MS; i += 20)
        ck_assert_ok(ps_net_poll(&served, 1, 20));
    ck_assert_status(psn_near_listen(n), PS_ERR_CLOSING);
    ck_assert(psn_near_has_ended(n));
    psn_near_drop(&n);
    munmap(loose.base, loose.bytes);
    close(loose.fd);
    close_stranger();
}
END_TEST

START_TEST(another_user_is_not_lent_anything)
{
    struct psn_envelope e = { .kind = PSN_HERE };
    int                 listener, status;
    pid_t               child;

    if (geteuid() != 0)
        return; /* only root can be somebody else */
    ck_assert_int_eq(ps_random_secret(e.name, sizeof(e.name)), 0);
    listener = psn_near_socket(e.name, 1);
    ck_assert_int_ge(listener, 0);
    child = fork();
    if (child == 0) {
        struct psn_near *n;

        if (setgid(65534) || setuid(65534))
            _exit(2);
        _exit(psn_near_connect(&n, e.name) == PS_ERR_UNAVAILABLE ? 0 : 1);
    }
    ck_assert_int_eq(waitpid(child, &status, 0), child);
    ck_assert_int_eq(status, 0);
    close(listener);
}
END_TEST

/* ---- two ends ------------------------------------------------------------------ */

static struct psn_near *lender, *borrower;

static void open_ends(void)
{
    uint8_t name[PSN_NAME_BYTES];
    int     listener;

    ck_assert_ok(ps_heap_new(&heap));
    ck_assert_int_eq(ps_random_secret(name, sizeof(name)), 0);
    listener = psn_near_socket(name, 1);
    ck_assert_int_ge(listener, 0);
    ck_assert_ok(psn_near_connect(&lender, name));
    ck_assert_ok(psn_near_accept(&borrower, accept(listener, NULL, NULL), false));
    close(listener);
    ck_assert_ok(psn_near_listen(borrower));
    ck_assert_ok(psn_near_listen(lender));
    ck_assert(psn_near_is_up(lender) && psn_near_is_up(borrower));
}

static void close_ends(void)
{
    psn_near_drop(&lender);
    psn_near_drop(&borrower);
    ps_heap_free(&heap);
}

static struct psn_envelope lend(struct ps_buf *b)
{
    struct psn_envelope e = { .kind = PSN_LOANS, .n_loans = 1 };

    ck_assert(psn_near_lend(lender, b, &e.loans[0]));
    return e;
}

START_TEST(what_was_skipped_counts_as_given_back_and_comes_too_late)
{
    struct ps_buf      *b[3] = { block(BYTES, 1), block(BYTES, 2), block(BYTES, 3) };
    struct psn_envelope e[3];
    struct ps_parcel    p = { .n_frames = 0 };

    for (int i = 0; i < 3; i++)
        e[i] = lend(b[i]);
    ck_assert_ok(psn_near_borrow(borrower, &e[2], &p));
    psn_near_sweep(lender);
    ck_assert(ps_buf_sole(b[0]) && ps_buf_sole(b[1]) && !ps_buf_sole(b[2]));
    same(p.frames[0], b[2]);
    ps_parcel_drop(&p);
    ck_assert_status(psn_near_borrow(borrower, &e[0], &p), PS_ERR_BAD_MESSAGE);
    ck_assert_status(psn_near_borrow(borrower, &e[2], &p), PS_ERR_BAD_MESSAGE);
    psn_near_sweep(lender);
    ck_assert(ps_buf_sole(b[2]));
    for (int i = 0; i < 3; i++)
        ps_buf_drop(&b[i]);
}
END_TEST

START_TEST(a_message_that_was_not_sent_is_taken_back)
{
    struct ps_buf      *b = block(BYTES, 1);
    struct psn_envelope first = lend(b), again;

    psn_near_take_back(lender, 1);
    ck_assert(ps_buf_sole(b));
    again = lend(b);
    ck_assert_uint_eq(again.loans[0].number, first.loans[0].number);
    ps_buf_drop(&b);
}
END_TEST

START_TEST(loans_have_a_limit_and_go_on_when_one_comes_back)
{
    struct ps_buf      *b = block(BYTES, 1);
    struct psn_envelope first = lend(b);
    struct psn_loan     loan;
    struct ps_parcel    p = { .n_frames = 0 };
    int                 n = 1;

    while (psn_near_lend(lender, b, &loan))
        n++;
    ck_assert_int_eq(n, 4095);
    ck_assert_ok(psn_near_borrow(borrower, &first, &p));
    ps_parcel_drop(&p);
    psn_near_sweep(lender);
    ck_assert(psn_near_lend(lender, b, &loan));
    ck_assert(!psn_near_lend(lender, b, &loan));
    ps_buf_drop(&b);
}
END_TEST

/* More loans than there are slots pass one that is kept. */
START_TEST(a_loan_that_is_held_for_long_is_in_nobodys_way)
{
    struct ps_buf      *kept = block(BYTES, 1), *b = block(BYTES, 2);
    struct psn_envelope e = lend(kept);
    struct ps_parcel    first = { .n_frames = 0 }, p;

    ck_assert_ok(psn_near_borrow(borrower, &e, &first));
    for (int i = 0; i < 10000; i++) {
        p = (struct ps_parcel){ .n_frames = 0 };
        e = lend(b);
        if (i % 3 == 0)
            continue; /* lost */
        ck_assert_ok(psn_near_borrow(borrower, &e, &p));
        ps_parcel_drop(&p);
        psn_near_sweep(lender);
        ck_assert(ps_buf_sole(b));
        ck_assert(!ps_buf_sole(kept));
    }
    ps_parcel_drop(&first);
    psn_near_sweep(lender);
    ck_assert(ps_buf_sole(kept));
    ps_buf_drop(&kept);
    ps_buf_drop(&b);
}
END_TEST

/* ---- sheets -------------------------------------------------------------------- */

#define PIECES 5

static struct ps_buf *sheet_of(struct ps_buf **blocks, size_t n, uint64_t of)
{
    struct ps_buf *b;

    ck_assert_ok(ps_sheet_new(&b, of, heap, blocks, n));
    return b;
}

/* The first two are neighbours, and so are the next two. */
static void make_blocks(struct ps_buf *blocks[PIECES])
{
    struct ps_buf *between;

    blocks[0] = block(64 << 10, 1);
    blocks[1] = block(64 << 10, 2);
    between = block(64 << 10, 0);
    blocks[2] = block(64 << 10, 3);
    blocks[3] = block(BYTES, 4);
    blocks[4] = block(PS_HEAP_LEAST_BYTES, 5);
    blocks[4]->len = 40;
    ps_buf_drop(&between);
}

static void drop_blocks(struct ps_buf *blocks[PIECES])
{
    for (int i = 0; i < PIECES; i++)
        ps_buf_drop(&blocks[i]);
}

/* The bytes that a sheet names, one behind the other. */
static void holds_blocks(const struct ps_sheet *sheet, struct ps_buf *const *blocks)
{
    size_t piece = 0, at = 0;

    for (int i = 0; i < PIECES; i++) {
        ck_assert_uint_lt(piece, sheet->n);
        ck_assert(memcmp(sheet->pieces[piece].data + at, blocks[i]->data,
                         blocks[i]->len) == 0);
        at += blocks[i]->len;
        if (at == sheet->pieces[piece].bytes) {
            piece++;
            at = 0;
        }
    }
    ck_assert_uint_eq(piece, sheet->n);
}

START_TEST(a_sheet_is_lent_whole_and_comes_back_whole)
{
    struct ps_buf      *blocks[PIECES], *sheet;
    struct psn_envelope e;
    struct ps_parcel    p = { .n_frames = 0 };

    make_blocks(blocks);
    sheet = sheet_of(blocks, PIECES, 1);
    ck_assert_uint_eq(sheet->sheet->n, 3);
    e = lend(sheet);
    ck_assert_ok(psn_near_borrow(borrower, &e, &p));
    ps_buf_drop(&sheet);
    ck_assert_uint_eq(p.n_frames, 1);
    ck_assert_uint_eq(p.frames[0]->len, 0);
    holds_blocks(p.frames[0]->sheet, blocks);
    ck_assert_ptr_ne(p.frames[0]->sheet->pieces[0].data, blocks[0]->data);
    blocks[0]->data[5] = 99; /* the same memory */
    ck_assert_uint_eq(p.frames[0]->sheet->pieces[0].data[5], 99);
    psn_near_sweep(lender);
    for (int i = 0; i < PIECES; i++)
        ck_assert(!ps_buf_sole(blocks[i]));
    ps_parcel_drop(&p);
    psn_near_sweep(lender);
    for (int i = 0; i < PIECES; i++)
        ck_assert(ps_buf_sole(blocks[i]));
    drop_blocks(blocks);
}
END_TEST

START_TEST(a_sheet_outlives_the_end_that_lent_it)
{
    struct ps_buf      *blocks[PIECES], *sheet;
    struct psn_envelope e;
    struct ps_parcel    p = { .n_frames = 0 };

    make_blocks(blocks);
    sheet = sheet_of(blocks, PIECES, 1);
    e = lend(sheet);
    ck_assert_ok(psn_near_borrow(borrower, &e, &p));
    psn_near_drop(&lender);
    ck_assert_status(psn_near_listen(borrower), PS_ERR_CLOSING);
    psn_near_drop(&borrower);
    holds_blocks(p.frames[0]->sheet, blocks);
    ps_buf_drop(&sheet);
    drop_blocks(blocks);
    ps_heap_free(&heap);
    ck_assert_uint_eq(p.frames[0]->sheet->pieces[0].data[0], 1);
    ps_parcel_drop(&p);
}
END_TEST

START_TEST(of_the_sheets_of_one_thing_only_some_are_lent_at_a_time)
{
    struct ps_buf      *blocks[PIECES], *sheet[3];
    struct psn_envelope e[PSN_SHEETS];
    struct psn_loan     loan;
    struct ps_parcel    p = { .n_frames = 0 };

    make_blocks(blocks);
    sheet[0] = sheet_of(blocks, PIECES, 1);
    sheet[1] = sheet_of(blocks, 2, 1);
    sheet[2] = sheet_of(blocks, 2, 2);
    for (uint32_t i = 0; i < PSN_SHEETS; i++)
        e[i] = lend(sheet[i % 2]);
    ck_assert(!psn_near_lend(lender, sheet[0], &loan));
    ck_assert(psn_near_lend(lender, sheet[2], &loan));
    ck_assert_ok(psn_near_borrow(borrower, &e[0], &p));
    ps_parcel_drop(&p);
    psn_near_sweep(lender);
    ck_assert(psn_near_lend(lender, sheet[0], &loan));
    ck_assert(!psn_near_lend(lender, sheet[1], &loan));
    for (int i = 0; i < 3; i++)
        ps_buf_drop(&sheet[i]);
    drop_blocks(blocks);
}
END_TEST

START_TEST(a_sheet_with_a_block_that_lies_in_no_segment_is_not_lent)
{
    struct ps_buf  *blocks[2] = { block(BYTES, 1), NULL }, *sheet;
    struct psn_loan loan;

    ck_assert_ok(ps_buf_copy(&blocks[1], "abcdefgh", 8));
    sheet = sheet_of(blocks, 2, 1);
    ck_assert_uint_eq(sheet->sheet->bytes, BYTES + 8);
    ck_assert(!psn_near_lend(lender, sheet, &loan));
    ps_buf_drop(&sheet);
    ps_buf_drop(&blocks[0]);
    ps_buf_drop(&blocks[1]);
}
END_TEST

/* Each in its turn, in the last place of the list. */
START_TEST(lists_that_name_what_was_never_shown_are_refused)
{
    struct ps_buf *blocks[PIECES], *sheet;

    make_blocks(blocks);
    sheet = sheet_of(blocks, PIECES, 1);
    for (int i = 0; i < 6; i++) {
        struct ps_sheet_place *last = (void *)sheet->sheet->list->data;
        struct psn_envelope    e = lend(sheet);
        struct ps_parcel       p = { .n_frames = 0 };
        struct ps_sheet_place  good;

        last += sheet->sheet->n - 1;
        good = *last;
        switch (i) {
        case 0: last->segment += 1000; break;
        case 1: last->offset = blocks[0]->segment->bytes; break;
        case 2: last->offset = UINT64_MAX - 7; break;
        case 3: last->bytes = UINT64_MAX; break;
        case 4: last->bytes = 0; break;
        case 5: last->offset += 4; break;
        }
        ck_assert_status(psn_near_borrow(borrower, &e, &p), PS_ERR_BAD_MESSAGE);
        ck_assert_uint_eq(p.n_frames, 0);
        *last = good;
        psn_near_sweep(lender);
        e = lend(sheet);
        ck_assert_ok(psn_near_borrow(borrower, &e, &p));
        ps_parcel_drop(&p);
        psn_near_sweep(lender);
    }
    ps_buf_drop(&sheet);
    ck_assert(ps_buf_sole(blocks[0]));
    drop_blocks(blocks);
}
END_TEST

static int mappings(void)
{
    FILE *f = fopen("/proc/self/maps", "r");
    char  line[512];
    int   n = 0;

    while (fgets(line, sizeof(line), f))
        n += strstr(line, "/memfd:psd ") != NULL;
    fclose(f);
    return n;
}

START_TEST(segments_of_a_heap_that_is_gone_are_let_go)
{
    struct ps_buf      *b = block(BYTES, 1);
    struct psn_envelope e = lend(b);
    struct ps_parcel    p = { .n_frames = 0 };

    ck_assert_ok(psn_near_borrow(borrower, &e, &p));
    ck_assert_int_eq(mappings(), 2); /* the heap's, and the borrower's */
    ps_parcel_drop(&p);
    psn_near_sweep(lender);
    ps_buf_drop(&b);
    ps_heap_free(&heap);
    ck_assert_int_eq(mappings(), 1);
    ck_assert_ok(ps_heap_new(&heap));
    b = block(BYTES, 1);
    e = lend(b); /* says that the old one has gone */
    ck_assert_ok(psn_near_borrow(borrower, &e, &p));
    ck_assert_int_eq(mappings(), 2);
    ps_parcel_drop(&p);
    ps_buf_drop(&b);
}
END_TEST

static Suite *near_suite(void)
{
    Suite *s = suite_create("near");
    TCase *near = tcase_create("near"), *far = tcase_create("far"),
          *ends = tcase_create("ends");

    tcase_set_timeout(near, 60);
    tcase_add_checked_fixture(near, open_near_pair, close_pair);
    tcase_add_test(near, frames_of_a_heap_are_lent_and_come_back);
    tcase_add_test(near, answers_are_lent_and_come_back);
    tcase_add_test(near, frames_arrive_in_their_order_lent_or_not);
    tcase_add_test(near, sheets_are_lent_among_other_frames);
    tcase_add_test(near, who_borrows_cannot_write);
    tcase_add_test(near, what_was_lent_stays_when_the_link_is_gone);
    tcase_add_test(near, what_was_lent_to_a_link_that_is_gone_comes_back);
    tcase_add_test(near, what_is_still_read_is_not_taken_back_with_the_link);
    tcase_add_test(near, a_server_that_comes_again_is_found_again);
    suite_add_tcase(s, near);

    tcase_set_timeout(far, 60);
    tcase_add_checked_fixture(far, open_pair, close_pair);
    tcase_add_test(far, messages_go_another_way_once_both_have_met);
    tcase_add_test(far, a_server_on_a_path_of_its_own_has_no_other_address);
    tcase_add_test(far, a_server_that_does_not_share_is_sent_everything);
    tcase_add_test(far, a_server_that_does_not_share_is_sent_no_sheets);
    tcase_add_test(far, envelopes_that_are_none_do_no_harm);
    tcase_add_test(far, loans_of_what_was_never_shown_are_refused);
    tcase_add_test(far, files_that_are_not_sealed_are_refused);
    tcase_add_test(far, another_user_is_not_lent_anything);
    suite_add_tcase(s, far);

    tcase_add_checked_fixture(ends, open_ends, close_ends);
    tcase_add_test(ends, what_was_skipped_counts_as_given_back_and_comes_too_late);
    tcase_add_test(ends, a_message_that_was_not_sent_is_taken_back);
    tcase_add_test(ends, loans_have_a_limit_and_go_on_when_one_comes_back);
    tcase_add_test(ends, a_loan_that_is_held_for_long_is_in_nobodys_way);
    tcase_add_test(ends, a_sheet_is_lent_whole_and_comes_back_whole);
    tcase_add_test(ends, a_sheet_outlives_the_end_that_lent_it);
    tcase_add_test(ends, of_the_sheets_of_one_thing_only_some_are_lent_at_a_time);
    tcase_add_test(ends, a_sheet_with_a_block_that_lies_in_no_segment_is_not_lent);
    tcase_add_test(ends, lists_that_name_what_was_never_shown_are_refused);
    tcase_add_test(ends, segments_of_a_heap_that_is_gone_are_let_go);
    suite_add_tcase(s, ends);
    return s;
}

TEST_MAIN(near_suite)
