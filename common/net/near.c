/* near.c - see near.h. */
#include "common/net/near.h"

#include "common/base/random.h"
#include "common/base/sheet.h"

#include <assert.h>
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

#define LOANS 4095u /* at a time, in each direction */
#define SEEN LOANS  /* where in the page the highest number stands */
#define PAGE_BYTES ((LOANS + 1) * sizeof(uint64_t))
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

#define PROTOCOL 2u

/* A segment of the other end. */
struct borrowed_segment {
    uint64_t       number;
    const uint8_t *base; /* NULL: the place is free */
    size_t         bytes;
    atomic_uint    used;
    bool           gone;
};

struct psn_near {
    atomic_uint holders; /* the owner and each buffer that is borrowed */
    int         fd;
    bool        up, ended, foreign, server, ipc;
    uint8_t     key[PSN_KEY_BYTES];

    /* Lent. */
    _Atomic(uint64_t)  *back; /* [LOANS + 1] the other end's page; NULL: not yet */
    uint64_t            last; /* number of the last loan */
    uint32_t            n_lent, slots[LOANS]; /* each once; the first n_lent are out */
    struct ps_buf      *buf[LOANS];           /* by slot */
    uint64_t            number[LOANS];        /* of the same */
    size_t              n_shown;
    struct ps_segment **shown; /* which the other end has been given */

    /* Borrowed. */
    _Atomic(uint64_t)        *page; /* [LOANS + 1] our own */
    int                       page_fd;
    uint64_t                  seen; /* highest number */
    atomic_bool               returned;
    uint32_t                  n_segments;
    struct borrowed_segment **segments;
};

/* ---- envelopes ------------------------------------------------------------------ */

struct envelope_head {
    uint8_t  zero, kind, protocol, n_loans;
    uint32_t more_zero;
    uint8_t  name[PSN_NAME_BYTES];
};

static_assert(sizeof(struct envelope_head) == 8 + PSN_NAME_BYTES, "no padding");

size_t psn_envelope_write(const struct psn_envelope *e, uint8_t *to)
{
    struct envelope_head head = { .kind = e->kind,
                                  .protocol = PROTOCOL,
                                  .n_loans = (uint8_t)e->n_loans };

    memcpy(head.name, e->name, sizeof(head.name));
    memcpy(to, &head, sizeof(head));
    memcpy(to + sizeof(head), e->loans, e->n_loans * sizeof(e->loans[0]));
    return sizeof(head) + e->n_loans * sizeof(e->loans[0]);
}

ps_status psn_envelope_read(struct psn_envelope *e, const uint8_t *from, size_t bytes)
{
    struct envelope_head head;

    if (bytes < sizeof(head))
        return PS_ERR_BAD_MESSAGE;
    memcpy(&head, from, sizeof(head));
    if (head.zero != 0 || head.protocol != PROTOCOL || head.n_loans > PS_FRAMES_MAX ||
        head.kind < PSN_WHERE || head.kind > PSN_LOANS ||
        (head.n_loans > 0 && head.kind != PSN_LOANS) ||
        bytes != sizeof(head) + head.n_loans * sizeof(e->loans[0]))
        return PS_ERR_BAD_MESSAGE;
    e->kind = head.kind;
    e->n_loans = head.n_loans;
    memcpy(e->name, head.name, sizeof(e->name));
    memcpy(e->loans, from + sizeof(head), e->n_loans * sizeof(e->loans[0]));
    return PS_OK;
}

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

static void let_go(struct psn_near *n)
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
    let_go(n);
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

static struct borrowed_segment *find_segment(const struct psn_near *n, uint64_t number)
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
        find_segment(n, note->number))
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

static void unmap_gone(struct psn_near *n)
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
    struct borrowed_segment *s = find_segment(n, note->number);

    if (!s)
        return PS_ERR_CLOSING;
    s->gone = true;
    unmap_gone(n);
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

/* ---- lending -------------------------------------------------------------------- */

static bool is_back(const struct psn_near *n, uint32_t slot, uint64_t seen)
{
    return n->number[slot] <= seen &&
           atomic_load_explicit(&n->back[slot], memory_order_acquire) !=
               n->number[slot];
}

void psn_near_sweep(struct psn_near *n)
{
    uint64_t seen;

    if (!n->back || n->n_lent == 0)
        return;
    seen = atomic_load_explicit(&n->back[SEEN], memory_order_acquire);
    for (uint32_t i = 0; i < n->n_lent;) {
        uint32_t slot = n->slots[i];

        if (!is_back(n, slot, seen)) {
            i++;
            continue;
        }
        ps_buf_drop(&n->buf[slot]);
        n->slots[i] = n->slots[--n->n_lent];
        n->slots[n->n_lent] = slot;
    }
}

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

static bool show(struct psn_near *n, struct ps_segment *s)
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

static bool show_sheet(struct psn_near *n, const struct ps_sheet *sheet)
{
    for (size_t i = 0; i < sheet->n_segments; i++)
        if (!show(n, sheet->segments[i]))
            return false;
    return true;
}

/* Are as many sheets of the same lent already? */
static bool has_enough(const struct psn_near *n, const struct ps_sheet *sheet)
{
    uint32_t n_same = 0;

    for (uint32_t i = 0; i < n->n_lent; i++) {
        const struct ps_sheet *other = n->buf[n->slots[i]]->sheet;

        n_same += other && other->of == sheet->of;
    }
    return n_same >= PSN_SHEETS;
}

/* The block whose bytes are to be lent for it; NULL: they cannot be. */
static const struct ps_buf *block_of(struct psn_near *n, const struct ps_buf *b)
{
    if (b->sheet &&
        (!b->sheet->list || has_enough(n, b->sheet) || !show_sheet(n, b->sheet)))
        return NULL;
    if (b->sheet)
        return b->sheet->list;
    return b->segment && b->len >= PS_HEAP_LEAST_BYTES ? b : NULL;
}

bool psn_near_lend(struct psn_near *n, struct ps_buf *b, struct psn_loan *out)
{
    const struct ps_buf *block;
    uint32_t             slot;

    if (!n->up || n->n_lent == LOANS)
        return false;
    block = block_of(n, b);
    if (!block || !show(n, block->segment))
        return false;
    slot = n->slots[n->n_lent++];
    *out = (struct psn_loan){ .number = ++n->last,
                              .segment = block->segment->number,
                              .offset = (uint64_t)(block->data - block->segment->base),
                              .bytes = block->len,
                              .sheet = b->sheet != NULL,
                              .slot = slot };
    n->buf[slot] = ps_buf_share(b);
    n->number[slot] = out->number;
    return true;
}

void psn_near_take_back(struct psn_near *n, uint32_t n_loans)
{
    for (; n_loans > 0; n_loans--, n->last--)
        ps_buf_drop(&n->buf[n->slots[--n->n_lent]]);
}

/* ---- borrowing ------------------------------------------------------------------ */

struct borrowed {
    struct psn_near         *near;
    uint32_t                 slot;
    size_t                   n_segments;
    struct borrowed_segment *segments[]; /* [n_segments], 1 or more */
};

static void drop_borrowed(void *owner)
{
    struct borrowed *b = owner;

    atomic_store_explicit(&b->near->page[b->slot], 0, memory_order_release);
    atomic_store_explicit(&b->near->returned, true, memory_order_relaxed);
    for (size_t i = 0; i < b->n_segments; i++)
        atomic_fetch_sub(&b->segments[i]->used, 1);
    let_go(b->near);
    free(b);
}

/* Does it lie in that segment, as it should? */
static bool is_inside(const struct borrowed_segment *s, uint64_t offset, uint64_t bytes)
{
    return s && bytes > 0 && offset <= s->bytes && bytes <= s->bytes - offset &&
           offset % 8 == 0;
}

/* Is held from here on; `b` has its segments, and is the buffer's. */
static void hold(struct borrowed *b, uint64_t number)
{
    atomic_store_explicit(&b->near->page[b->slot], number, memory_order_relaxed);
    for (size_t i = 0; i < b->n_segments; i++)
        atomic_fetch_add(&b->segments[i]->used, 1);
    atomic_fetch_add_explicit(&b->near->holders, 1, memory_order_relaxed);
}

static ps_status no_memory(void)
{
    return ps_fail(PS_ERR_NO_MEMORY, "net: no memory to borrow");
}

/* Once, though many pieces lie in it; the first has room. */
static ps_status note_segment(struct borrowed **b, struct borrowed_segment *s)
{
    const size_t     n = (*b)->n_segments;
    struct borrowed *grown = *b;

    for (size_t i = n; i-- > 0;)
        if (grown->segments[i] == s)
            return PS_OK;
    if (n > 0)
        grown = realloc(grown,
                        sizeof(*grown) + (n + 1) * sizeof(struct borrowed_segment *));
    if (!grown)
        return no_memory();
    grown->segments[grown->n_segments++] = s;
    *b = grown;
    return PS_OK;
}

/* The list is the other end's memory and may change while it is read, so each place is
 * looked at once. */
static ps_status read_list(struct borrowed                     **b,
                           const volatile struct ps_sheet_place *list, size_t n,
                           struct ps_sheet_piece *pieces)
{
    struct borrowed_segment *s = NULL;
    ps_status                st = PS_OK;

    for (size_t i = 0; !st && i < n; i++) {
        const uint64_t segment = list[i].segment, offset = list[i].offset,
                       bytes = list[i].bytes;

        if (!s || s->number != segment) {
            s = find_segment((*b)->near, segment);
            st = s ? note_segment(b, s) : PS_ERR_BAD_MESSAGE;
        }
        if (!st && !is_inside(s, offset, bytes))
            st = PS_ERR_BAD_MESSAGE;
        if (!st)
            pieces[i] = (struct ps_sheet_piece){ s->base + offset, bytes };
    }
    return st;
}

static ps_status borrow_sheet(struct borrowed **b, const struct psn_loan *loan,
                              const uint8_t *list, struct ps_buf **out)
{
    const size_t           n = loan->bytes / sizeof(struct ps_sheet_place);
    struct ps_sheet_piece *pieces = malloc(n * sizeof(*pieces));
    ps_status              st = pieces ? PS_OK : no_memory();

    if (!st)
        st = read_list(b, (const volatile void *)list, n, pieces);
    if (!st)
        st = ps_sheet_adopt(out, pieces, n, drop_borrowed, *b);
    if (st)
        free(pieces);
    return st;
}

static ps_status borrow(struct psn_near *n, const struct psn_loan *loan,
                        struct ps_buf **out)
{
    struct borrowed_segment *s = find_segment(n, loan->segment);
    struct borrowed         *b;
    ps_status                st;

    if (loan->bytes > PS_FRAME_BYTES || !is_inside(s, loan->offset, loan->bytes) ||
        (loan->sheet && loan->bytes % sizeof(struct ps_sheet_place) != 0))
        return PS_ERR_BAD_MESSAGE;
    b = malloc(sizeof(*b) + sizeof(struct borrowed_segment *));
    if (!b)
        return no_memory();
    *b = (struct borrowed){ .near = n, .slot = loan->slot };
    st = note_segment(&b, s);
    if (!st && loan->sheet)
        st = borrow_sheet(&b, loan, s->base + loan->offset, out);
    else if (!st)
        st = ps_buf_adopt(out, (uint8_t *)s->base + loan->offset, loan->bytes,
                          drop_borrowed, b);
    if (st)
        free(b);
    else
        hold(b, loan->number);
    return st;
}

/* A number higher than all before, a slot that nothing is held in. */
static bool is_next(const struct psn_near *n, const struct psn_loan *loan,
                    const struct psn_loan *before)
{
    return loan->number > (before ? before->number : n->seen) && loan->sheet <= 1 &&
           (!before || loan->frame > before->frame) && loan->slot < LOANS &&
           atomic_load_explicit(&n->page[loan->slot], memory_order_relaxed) == 0;
}

/* Numbers and places of the loans are good, and so is the count of all frames. */
static bool is_good(const struct psn_near *n, const struct psn_envelope *e,
                    const struct ps_parcel *p)
{
    uint32_t n_all = e->n_loans + p->n_frames;

    if (n_all > PS_FRAMES_MAX)
        return false;
    for (uint32_t i = 0; i < e->n_loans; i++)
        if (e->loans[i].frame >= n_all ||
            !is_next(n, &e->loans[i], i ? &e->loans[i - 1] : NULL))
            return false;
    return true;
}

/* A segment is shown before the first loan of it, so whoever knows them all need not
 * ask the kernel; which those of a sheet are only its list says. */
static bool knows_segments(const struct psn_near *n, const struct psn_envelope *e)
{
    for (uint32_t i = 0; i < e->n_loans; i++)
        if (e->loans[i].sheet || !find_segment(n, e->loans[i].segment))
            return false;
    return true;
}

ps_status psn_near_borrow(struct psn_near *n, const struct psn_envelope *e,
                          struct ps_parcel *p)
{
    struct ps_buf *frames[PS_FRAMES_MAX];
    uint32_t       n_all = e->n_loans + p->n_frames, sent = p->n_frames, got = 0;
    ps_status      st = PS_OK;

    if (!n->up || !is_good(n, e, p) || (!knows_segments(n, e) && psn_near_listen(n)))
        return PS_ERR_BAD_MESSAGE;
    unmap_gone(n);
    for (uint32_t i = 0; i < n_all; i++)
        frames[i] = NULL;
    for (; !st && got < e->n_loans; got++)
        st = borrow(n, &e->loans[got], &frames[e->loans[got].frame]);
    if (e->n_loans)
        n->seen = e->loans[e->n_loans - 1].number;
    atomic_store_explicit(&n->page[SEEN], n->seen, memory_order_release);
    for (uint32_t i = 0, raw = 0; i < n_all; i++)
        if (!frames[i] && raw < sent && !st)
            frames[i] = p->frames[raw++];
    if (!st) {
        memcpy(p->frames, frames, n_all * sizeof(frames[0]));
        p->n_frames = n_all;
        return PS_OK;
    }
    for (uint32_t i = 0; i < n_all; i++)
        ps_buf_drop(&frames[i]);
    return st;
}

bool psn_near_has_returned(struct psn_near *n)
{
    return atomic_exchange_explicit(&n->returned, false, memory_order_relaxed);
}
