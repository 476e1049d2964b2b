/* near.c - see near.h. */
#include "common/net/near_private.h"

#include "common/base/random.h"

#include <errno.h>
#include <fcntl.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#define SEGMENTS_MAX 4096u
#define SEGMENT_BYTES_MAX ((uint64_t)1 << 32)

/* What is said on the unix socket; each comes with a descriptor, except GONE. */
enum word {
    WORD_HELLO = 1, /* link: its key, and the page where it gives back */
    WORD_WELCOME,   /* server: its page; number 1: it has the address of ipc */
    WORD_FOREIGN,   /* server: of another user, no page */
    WORD_SEGMENT,   /* number, bytes */
    WORD_GONE,      /* number */
};

struct note {
    uint32_t word, protocol;
    uint64_t number, bytes;
    uint8_t  key[PSN_KEY_BYTES];
};

/* ---- words ---------------------------------------------------------------------- */

static ps_status say(const struct psn_near *n, const struct note *note, int fd)
{
    union {
        struct cmsghdr head;
        char           room[CMSG_SPACE(sizeof(int))];
    } control = { 0 };
    struct iovec  part = { (void *)note, sizeof(*note) };
    struct msghdr m = { .msg_iov = &part, .msg_iovlen = 1 };

    if (fd >= 0) {
        m.msg_control = control.room;
        m.msg_controllen = sizeof(control.room);
        control.head.cmsg_level = SOL_SOCKET;
        control.head.cmsg_type = SCM_RIGHTS;
        control.head.cmsg_len = CMSG_LEN(sizeof(int));
        memcpy(CMSG_DATA(&control.head), &fd, sizeof(fd));
    }
    return sendmsg(n->fd, &m, MSG_DONTWAIT | MSG_NOSIGNAL) == sizeof(*note)
               ? PS_OK
               : PS_ERR_UNAVAILABLE;
}

/* PS_ERR_TIMEOUT: nothing more is there.  *fd: what came with it, or -1. */
static ps_status hear(struct psn_near *n, struct note *note, int *fd)
{
    union {
        struct cmsghdr head;
        char           room[CMSG_SPACE(sizeof(int))];
    } control;
    struct iovec    part = { note, sizeof(*note) };
    struct msghdr   m = { .msg_iov = &part,
                          .msg_iovlen = 1,
                          .msg_control = control.room,
                          .msg_controllen = sizeof(control.room) };
    ssize_t         got = recvmsg(n->fd, &m, MSG_DONTWAIT | MSG_CMSG_CLOEXEC);
    struct cmsghdr *c;

    *fd = -1;
    if (got < 0 && (errno == EAGAIN || errno == EINTR))
        return PS_ERR_TIMEOUT;
    if (got <= 0) {
        n->ended = true;
        return PS_ERR_CLOSING;
    }
    c = CMSG_FIRSTHDR(&m);
    if (c && c->cmsg_level == SOL_SOCKET && c->cmsg_type == SCM_RIGHTS &&
        c->cmsg_len == CMSG_LEN(sizeof(int)))
        memcpy(fd, CMSG_DATA(c), sizeof(*fd));
    if (got == sizeof(*note) && !(m.msg_flags & (MSG_TRUNC | MSG_CTRUNC)) &&
        note->protocol == PROTOCOL)
        return PS_OK;
    if (*fd >= 0)
        close(*fd);
    return PS_ERR_CLOSING;
}

/* Maps somebody else's file for reading, if it is as large as he says and stays so.
 * NULL: not. */
static const void *map_file(int fd, uint64_t bytes)
{
    struct stat there;
    int         seals = fcntl(fd, F_GET_SEALS);
    void       *base;

    if (seals < 0 || !(seals & F_SEAL_SHRINK) || fstat(fd, &there) ||
        (uint64_t)there.st_size != bytes)
        return NULL;
    base = mmap(NULL, bytes, PROT_READ, MAP_SHARED | MAP_NORESERVE, fd, 0);
    return base == MAP_FAILED ? NULL : base;
}

/* ---- beginning and end ---------------------------------------------------------- */

static ps_status near_new(struct psn_near **out, int fd)
{
    struct psn_near *n = calloc(1, sizeof(*n));
    void            *page;
    ps_status        st;

    if (!n) {
        close(fd);
        return ps_fail(PS_ERR_NO_MEMORY, "net: no memory to lend");
    }
    st = ps_memory_file("psd-returns", PAGE_BYTES, &n->page_fd, &page);
    if (st) {
        close(fd);
        free(n);
        return st;
    }
    n->page = page;
    n->fd = fd;
    for (uint32_t i = 0; i < LOANS; i++)
        n->slots[i] = i;
    atomic_init(&n->holders, 1);
    *out = n;
    return PS_OK;
}

static void near_free(struct psn_near *n)
{
    for (uint32_t i = 0; i < n->n_segments; i++) {
        if (n->segments[i]->base)
            munmap((void *)n->segments[i]->base, n->segments[i]->bytes);
        free(n->segments[i]);
    }
    free(n->segments);
    munmap(n->page, PAGE_BYTES);
    if (n->page_fd >= 0)
        close(n->page_fd);
    close(n->fd);
    free(n);
}

/* The other end has the page, and nobody else will get it. */
static void page_is_shown(struct psn_near *n)
{
    close(n->page_fd);
    n->page_fd = -1;
}

void psn_near_let_go(struct psn_near *n)
{
    if (atomic_fetch_sub_explicit(&n->holders, 1, memory_order_acq_rel) == 1)
        near_free(n);
}

/* What was lent is not ours to wait for any more: see near.h. */
static void forget_loans(struct psn_near *n)
{
    for (uint32_t i = 0; i < n->n_lent; i++)
        ps_buf_drop(&n->buf[n->slots[i]]);
    n->n_lent = 0;
    for (size_t i = 0; i < n->n_shown; i++)
        ps_segment_drop(&n->shown[i]);
    free(n->shown);
    n->shown = NULL;
    n->n_shown = 0;
    if (n->back)
        munmap(n->back, PAGE_BYTES);
    n->back = NULL;
    n->up = false;
}

void psn_near_drop(struct psn_near **near)
{
    struct psn_near *n = *near;

    *near = NULL;
    if (!n)
        return;
    forget_loans(n);
    psn_near_let_go(n);
}

static void print_name(const uint8_t *name, char out[2 * PSN_NAME_BYTES + 1])
{
    for (unsigned i = 0; i < PSN_NAME_BYTES; i++)
        snprintf(out + 2 * i, 3, "%02x", name[i]);
}

void psn_near_ipc(const uint8_t name[PSN_NAME_BYTES], char out[PS_ENDPOINT_BYTES])
{
    char text[2 * PSN_NAME_BYTES + 1];

    print_name(name, text);
    snprintf(out, PS_ENDPOINT_BYTES, "ipc://@psd-%s-messages", text);
}

static socklen_t address_of(struct sockaddr_un *at, const uint8_t *name)
{
    char text[2 * PSN_NAME_BYTES + 1];
    int  n;

    print_name(name, text);
    at->sun_family = AF_UNIX;
    at->sun_path[0] = '\0'; /* abstract: goes with its process */
    n = snprintf(at->sun_path + 1, sizeof(at->sun_path) - 1, "psd-%s", text);
    return (socklen_t)(offsetof(struct sockaddr_un, sun_path) + 1 + (size_t)n);
}

static bool is_foreign(int fd)
{
    struct ucred peer;
    socklen_t    bytes = sizeof(peer);

    return getsockopt(fd, SOL_SOCKET, SO_PEERCRED, &peer, &bytes) ||
           peer.uid != geteuid();
}

int psn_near_socket(const uint8_t name[PSN_NAME_BYTES], int backlog)
{
    struct sockaddr_un at = { 0 };
    socklen_t          bytes = address_of(&at, name);
    int fd = socket(AF_UNIX, SOCK_SEQPACKET | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);

    if (fd >= 0 && (bind(fd, (struct sockaddr *)&at, bytes) || listen(fd, backlog))) {
        close(fd);
        return -1;
    }
    return fd;
}

ps_status psn_near_connect(struct psn_near **out, const uint8_t name[PSN_NAME_BYTES])
{
    struct sockaddr_un at = { 0 };
    socklen_t          bytes = address_of(&at, name);
    int         fd = socket(AF_UNIX, SOCK_SEQPACKET | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    struct note note = { .word = WORD_HELLO, .protocol = PROTOCOL };
    ps_status   st;

    if (fd < 0)
        return ps_fail(PS_ERR_SYSTEM, "net: cannot make a unix socket: %m");
    if (connect(fd, (struct sockaddr *)&at, bytes) || is_foreign(fd)) {
        close(fd);
        return PS_ERR_UNAVAILABLE;
    }
    st = near_new(out, fd);
    if (st)
        return st;
    if (ps_random_secret(note.key, sizeof(note.key)))
        st = ps_fail(PS_ERR_SYSTEM, "net: no random numbers: %m");
    memcpy((*out)->key, note.key, sizeof(note.key));
    if (!st)
        st = say(*out, &note, (*out)->page_fd);
    if (st)
        psn_near_drop(out);
    else
        page_is_shown(*out);
    return st;
}

ps_status psn_near_accept(struct psn_near **out, int fd, bool ipc)
{
    bool      foreign = is_foreign(fd);
    ps_status st = near_new(out, fd);

    if (st)
        return st;
    (*out)->server = true;
    (*out)->foreign = foreign;
    (*out)->ipc = ipc;
    return PS_OK;
}

int psn_near_fd(const struct psn_near *n)
{
    return n->fd;
}

const uint8_t *psn_near_key(const struct psn_near *n)
{
    return n->key;
}

bool psn_near_has_ipc(const struct psn_near *n)
{
    return n->ipc;
}

bool psn_near_is_up(const struct psn_near *n)
{
    return n->up;
}

bool psn_near_has_ended(const struct psn_near *n)
{
    return n->ended;
}

/* ---- listening ------------------------------------------------------------------ */

static ps_status take_page(struct psn_near *n, int fd)
{
    const void *page = fd < 0 || n->back ? NULL : map_file(fd, PAGE_BYTES);

    if (!page)
        return PS_ERR_CLOSING;
    n->back = (void *)page;
    n->up = true;
    return PS_OK;
}

static ps_status take_hello(struct psn_near *n, const struct note *note, int fd)
{
    struct note answer = { .word = n->foreign ? WORD_FOREIGN : WORD_WELCOME,
                           .protocol = PROTOCOL,
                           .number = n->ipc };

    memcpy(n->key, note->key, sizeof(n->key));
    if (n->foreign)
        return say(n, &answer, -1) ? PS_ERR_CLOSING : PS_OK;
    if (take_page(n, fd) || say(n, &answer, n->page_fd))
        return PS_ERR_CLOSING;
    page_is_shown(n);
    return PS_OK;
}

struct borrowed_segment *psn_near_segment(const struct psn_near *n, uint64_t number)
{
    for (uint32_t i = n->n_segments; i-- > 0;)
        if (n->segments[i]->base && n->segments[i]->number == number)
            return n->segments[i];
    return NULL;
}

static struct borrowed_segment *place_for_segment(struct psn_near *n)
{
    struct borrowed_segment **grown;

    for (uint32_t i = 0; i < n->n_segments; i++)
        if (!n->segments[i]->base)
            return n->segments[i];
    if (n->n_segments == SEGMENTS_MAX)
        return NULL;
    grown = reallocarray(n->segments, n->n_segments + 1, sizeof(*grown));
    if (!grown)
        return NULL;
    n->segments = grown;
    grown[n->n_segments] = calloc(1, sizeof(**grown));
    return grown[n->n_segments] ? grown[n->n_segments++] : NULL;
}

static ps_status take_segment(struct psn_near *n, const struct note *note, int fd)
{
    struct borrowed_segment *s;
    const void              *base;

    if (!n->up || fd < 0 || note->bytes == 0 || note->bytes > SEGMENT_BYTES_MAX ||
        psn_near_segment(n, note->number))
        return PS_ERR_CLOSING;
    s = place_for_segment(n);
    base = s ? map_file(fd, note->bytes) : NULL;
    if (!base)
        return PS_ERR_CLOSING;
    s->number = note->number;
    s->bytes = note->bytes;
    s->base = base;
    s->gone = false;
    return PS_OK;
}

void psn_near_unmap_gone(struct psn_near *n)
{
    for (uint32_t i = 0; i < n->n_segments; i++) {
        struct borrowed_segment *s = n->segments[i];

        if (!s->base || !s->gone || atomic_load(&s->used) > 0)
            continue;
        munmap((void *)s->base, s->bytes);
        s->base = NULL;
    }
}

static ps_status take_gone(struct psn_near *n, const struct note *note)
{
    struct borrowed_segment *s = psn_near_segment(n, note->number);

    if (!s)
        return PS_ERR_CLOSING;
    s->gone = true;
    psn_near_unmap_gone(n);
    return PS_OK;
}

static ps_status take_word(struct psn_near *n, const struct note *note, int fd)
{
    switch (note->word) {
    case WORD_HELLO:
        return n->server && !n->up ? take_hello(n, note, fd) : PS_ERR_CLOSING;
    case WORD_WELCOME:
        n->ipc = note->number == 1;
        return n->server ? PS_ERR_CLOSING : take_page(n, fd);
    case WORD_FOREIGN: n->foreign = true; return n->server ? PS_ERR_CLOSING : PS_OK;
    case WORD_SEGMENT: return take_segment(n, note, fd);
    case WORD_GONE: return take_gone(n, note);
    }
    return PS_ERR_CLOSING;
}

ps_status psn_near_listen(struct psn_near *n)
{
    struct note note;
    int         fd;
    ps_status   st;

    while ((st = hear(n, &note, &fd)) == PS_OK) {
        st = take_word(n, &note, fd);
        if (fd >= 0)
            close(fd);
        if (st)
            break;
    }
    if (st == PS_ERR_TIMEOUT)
        return PS_OK;
    n->up = false;
    return st;
}

/* ---- showing -------------------------------------------------------------------- */

/* Tells the other end of segments that have no memory any more. */
static void forget_closed(struct psn_near *n)
{
    for (size_t i = 0; i < n->n_shown;) {
        struct note note = { .word = WORD_GONE,
                             .protocol = PROTOCOL,
                             .number = n->shown[i]->number };

        if (!atomic_load(&n->shown[i]->closed) || say(n, &note, -1)) {
            i++;
            continue;
        }
        ps_segment_drop(&n->shown[i]);
        n->shown[i] = n->shown[--n->n_shown];
    }
}

bool psn_near_show(struct psn_near *n, struct ps_segment *s)
{
    struct note         note = { .word = WORD_SEGMENT,
                                 .protocol = PROTOCOL,
                                 .number = s->number,
                                 .bytes = s->bytes };
    struct ps_segment **grown;

    for (size_t i = n->n_shown; i-- > 0;)
        if (n->shown[i] == s)
            return true;
    forget_closed(n);
    grown = reallocarray(n->shown, n->n_shown + 1, sizeof(*grown));
    if (!grown)
        return false;
    n->shown = grown;
    if (say(n, &note, s->fd))
        return false;
    grown[n->n_shown++] = ps_segment_hold(s);
    return true;
}
