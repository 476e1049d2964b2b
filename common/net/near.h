/*
 * near.h - two processes of one host lend each other memory, inside this room.
 *
 * A *near* is one end of such a pair: a unix socket between a link and a server, beside
 * the connection on which ZeroMQ carries their messages.  What a frame of a message
 * holds, if it lies in a segment of a heap (common/base/heap.h), stays where it is: the
 * message says which segment, where, and how much (a *loan*), and the receiver, who has
 * mapped the segment for reading, makes a buffer of it.  So a push is written once, and
 * an answer is read where the shard keeps it.
 *
 *     lender                                  borrower
 *     keeps a reference to the buffer         maps the lender's segments, read only
 *     reads the borrower's page               writes its own page
 *
 * Each side writes to memory of its own only, and nothing that the other side says is
 * believed without looking: a size is sealed, a place is checked.  Loans are numbered;
 * one is taken only if its number is higher than all before, so that a message which
 * comes late finds nothing.  The lender also gives each a *slot*, which no other loan
 * has meanwhile.  In his page the borrower says for each slot which loan he holds there
 * (0: none), and the highest number of all that he has seen.  So a loan is back when
 * its number has been seen and is not in its slot, whether it was dropped, refused or
 * never came, and one that is held for long is in nobody's way.  What cannot be lent
 * goes as bytes.
 *
 * A sheet (common/base/sheet.h) is lent as the block in which its list lies, and
 * whatever the list names with it.  Who keeps them pins memory of the lender's, so of
 * the sheets of one thing no more than PSN_SHEETS are lent at a time.
 *
 * Segments and pages are handed over as descriptors on the unix socket, a segment when
 * something of it is lent for the first time: who was never answered with parameters of
 * a job cannot map that job's segments.  Both ends must be of the same user.
 *
 * An end lives until its owner has dropped it and so have all who hold what was
 * borrowed; only then does the other one hear that it has gone, and take its memory
 * back.  Who drops an end before the other one has gone must not use what it has lent
 * again, that is, take no more blocks from the heaps behind it.
 *
 * Thread: the socket's; borrowed buffers are dropped by any.
 */
#ifndef PS_NET_NEAR_H
#define PS_NET_NEAR_H

#include "common/base/parcel.h"

#define PSN_NAME_BYTES 16u /* random, of a server */
#define PSN_KEY_BYTES 16u  /* random, of a near */

struct psn_near;

/* The versions of a matrix, say, that a worker looks at, at a time. */
#define PSN_SHEETS 8u

struct psn_loan {
    uint64_t number, segment, offset, bytes;
    uint16_t frame; /* which of the message's */
    uint16_t sheet; /* 1: the bytes are the list of one; else 0 */
    uint32_t slot;
};

/* What stands before a header for this room alone: a part that begins with a byte that
 * no header begins with. */
enum psn_kind {
    PSN_NONE = 0,
    PSN_WHERE = 1, /* link: is there a server on this host? */
    PSN_HERE = 2,  /* server: under this name */
    PSN_LOANS = 3, /* which near it is of, and loans for the message behind it */
    PSN_GROUP = 4, /* which near it may be of, and messages; group.h */
};

struct psn_envelope {
    uint8_t         kind;
    uint32_t        n_loans;
    uint8_t         name[PSN_NAME_BYTES]; /* HERE; LOANS: the near's key */
    struct psn_loan loans[PS_FRAMES_MAX];
};

#define PSN_ENVELOPE_BYTES                                                             \
    (8u + PSN_NAME_BYTES + PS_FRAMES_MAX * sizeof(struct psn_loan))

/* Gives the bytes, at most PSN_ENVELOPE_BYTES. */
size_t psn_envelope_write(const struct psn_envelope *e, uint8_t *to);

/* PS_ERR_BAD_MESSAGE: these are none. */
ps_status psn_envelope_read(struct psn_envelope *e, const uint8_t *from,
                            size_t bytes) PS_CHECKED;

/* ---- a near --------------------------------------------------------------------- */

/* A server's listening socket of that name; -1 with errno. */
int psn_near_socket(const uint8_t name[PSN_NAME_BYTES], int backlog);

/* Where a server of that name, if it is not on a unix socket anyway, takes messages
 * too: cheaper than TCP over loopback. */
void psn_near_ipc(const uint8_t name[PSN_NAME_BYTES], char out[PS_ENDPOINT_BYTES]);

/* The link's end: connects to the server of that name.  PS_ERR_UNAVAILABLE: there is
 * none on this host. */
ps_status psn_near_connect(struct psn_near **out,
                           const uint8_t     name[PSN_NAME_BYTES]) PS_CHECKED;

/* The server's end of a connection that it took; takes the descriptor in every case.
 * `ipc`: there is the address of psn_near_ipc. */
ps_status psn_near_accept(struct psn_near **out, int fd, bool ipc) PS_CHECKED;

/* NULL is fine. */
void psn_near_drop(struct psn_near **near);

int            psn_near_fd(const struct psn_near *n); /* readable: listen */
const uint8_t *psn_near_key(const struct psn_near *n);

/* Does the server take messages at psn_near_ipc? */
bool psn_near_has_ipc(const struct psn_near *n);

/* Both ends are there. */
bool psn_near_is_up(const struct psn_near *n);

/* The other end has gone, and what was lent to it is free. */
bool psn_near_has_ended(const struct psn_near *n);

/* Takes what has come on the unix socket.  PS_ERR_CLOSING: the other end has gone, or
 * does not keep to the rules. */
ps_status psn_near_listen(struct psn_near *n) PS_CHECKED;

/* Drops what the other end has given back. */
void psn_near_sweep(struct psn_near *n);

/* Lends the buffer's bytes; false: they have to go as bytes. */
bool psn_near_lend(struct psn_near *n, struct ps_buf *b, struct psn_loan *out);

/* The message with the last `n_loans` was not sent. */
void psn_near_take_back(struct psn_near *n, uint32_t n_loans);

/* Puts what the loans name among the frames of a message that came.
 * PS_ERR_BAD_MESSAGE: it cannot be, or comes too late. */
ps_status psn_near_borrow(struct psn_near *n, const struct psn_envelope *e,
                          struct ps_parcel *p) PS_CHECKED;

/* Something that was borrowed has been given back since the last call. */
bool psn_near_has_returned(struct psn_near *n);

#endif
