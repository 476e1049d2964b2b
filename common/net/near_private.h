/*
 * near_private.h - what the files of a near share; see near.h.
 *
 *     near.c      beginning and end, words on the unix socket, segments
 *     loans.c     lending and borrowing
 *     envelope.c  what stands before a header
 *
 * Thread: the socket's.
 */
#ifndef PSN_NET_NEAR_PRIVATE_H
#define PSN_NET_NEAR_PRIVATE_H

#include "common/net/near.h"

#include "common/base/sheet.h"

#define LOANS 4095u /* at a time, in each direction */
#define SEEN LOANS  /* where in the page the highest number stands */
#define PAGE_BYTES ((LOANS + 1) * sizeof(uint64_t))
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

/* Shows the other end a segment, unless it knows it.  False: it does not. */
bool psn_near_show(struct psn_near *n, struct ps_segment *s);

/* A segment of the other end; NULL: it has not been shown. */
struct borrowed_segment *psn_near_segment(const struct psn_near *n, uint64_t number);

/* Those that have no memory any more, and of which nothing is held. */
void psn_near_unmap_gone(struct psn_near *n);

/* A buffer that was borrowed is gone; the last one takes the near with it. */
void psn_near_let_go(struct psn_near *n);

#endif
