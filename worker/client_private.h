/*
 * client_private.h - what the files of the client share; see client.h.
 *
 *     client.c         life, messages in, time
 *     client_ticket.c  what is waited for, and how it fails
 *     client_session.c hello, matrices, lists, reports, goodbye
 *     client_move.c    pushes and pulls: splitting and packing
 *     client_lend.c    gradients that are copied when it is their turn
 *     client_answer.c  pushes and pulls: what the answers bring
 *     client_view.c    pulls whose values stay where they come in
 *     client_rows.c    listing the rows of a sparse matrix
 *     client_rest.c    the end of an epoch
 *     client_resume.c  going on after a rollback
 */
#ifndef PSW_CLIENT_PRIVATE_H
#define PSW_CLIENT_PRIVATE_H

#include "worker/client.h"
#include "worker/lane.h"
#include "worker/view.h"

#include "common/place/place.h"

struct ps_matrix {
    struct psw_client    *client;
    struct ps_matrix     *next;
    struct ps_matrix_spec spec;
    struct ps_place       place;
    size_t                element_bytes;
};

/* What a ticket is for, beside the flags of enum psw_move (1024 is one, too). */
enum psw_purpose {
    PSW_FOR_HELLO = 8,
    PSW_FOR_MATRIX = 16,
    PSW_FOR_LIST = 32,
    PSW_FOR_DRAIN = 64,
    PSW_FOR_BYE = 128,
    PSW_FOR_ROWS = 256,
    PSW_FOR_REST = 512,
};

/* What ROWS_OK fills. */
struct psw_listing {
    const struct ps_matrix *matrix;
    uint64_t                room, n, next;
    uint64_t               *keys;
    void                   *values;
};

struct ps_ticket {
    struct psw_client *client;
    struct ps_ticket  *next, **link; /* in the client's list, oldest last */
    uint32_t           purpose;      /* enum psw_purpose, or psw_move flags */
    uint32_t           n_open;       /* requests not answered */
    bool               done;
    bool               reported; /* its failure was passed on by a later finish */
    ps_status          status;
    char              *why; /* NULL: the status's text */

    uint32_t               n_matrices; /* of a move: how many, and the first one */
    const char            *first;
    uint64_t               clock;
    struct ps_matrix      *matrix; /* of MATRIX */
    uint32_t               n_listed;
    struct ps_matrix_spec *specs; /* of MATRIX: what was asked; of LIST: the answer */
    struct psw_listing     rows;
    ps_view               *view;   /* of a view: while it is made, */
    ps_view              **place;  /* and where it goes then */
    uint64_t               pulled; /* bytes of all values that its answers bring */

    uint32_t life; /* of the client when it began */
    uint32_t n_shards;
    uint64_t oldest[]; /* [n_shards] version that a pull brought; PSW_NOT_PULLED */
};

#define PSW_NOT_PULLED UINT64_MAX

/* The pieces that the next request to a shard will hold. */
struct psw_pack {
    uint32_t          n, room;
    size_t            bytes; /* each piece padded to a multiple of 8 */
    struct psw_piece *pieces;
};

struct psw_shard {
    struct psw_lane lane;
    uint64_t        seq;    /* of the last push */
    uint32_t        parts;  /* pushes of the iteration in progress */
    uint64_t        rested; /* clock + 1 of the rest that it has answered, 0: none; */
    uint64_t        rest_clock; /* with this one */
    uint64_t        epochs;     /* that have ended there, as it said last */
    uint64_t        base;       /* version of the values behind its gradients, */
    bool            used;       /* which were pulled since the last iteration ended */
    uint64_t        done; /* iterations of this worker that were there at the resume */
    size_t shares; /* what it has of a matrix, if that is so many bytes; 0: nothing */
    struct psw_pack  pack;
    struct psw_queue staged, staged_pulls; /* of the move being made */
};

/* How far a resume is. */
enum psw_stage {
    PSW_GOING = 0, /* there is none */
    PSW_PAUSING,   /* a HELLO is due */
    PSW_GREETING,  /* it is under way */
    PSW_OPENING,   /* the matrices' maps are */
    PSW_ASKING,    /* the shards are asked where this worker is */
};

struct psw_resume {
    enum psw_stage stage;
    uint64_t       due_ns;   /* PAUSING */
    uint32_t       n_open;   /* OPENING, ASKING: answers that are missing */
    bool           untold;   /* no call has failed for it yet */
    bool           unmapped; /* some matrix may have a map of an older life */
    uint64_t       n;        /* resumes that are through */

    /* Requests to the coordinator that wait for the end of it; none is sent. */
    struct psw_lane held;
};

struct psw_client {
    struct psw_client_options options; /* strings below */
    char                     *coordinator_text, *token_text, *host_text;

    struct ps_decoder *decoder;
    struct ps_heap    *heap; /* for what is pushed; NULL: none */
    struct ps_tray     tray; /* for headers, and what is small of that */
    struct psw_lane    coordinator;
    uint32_t           n_shards;
    struct psw_shard  *shards;

    /* from WELCOME */
    bool     welcome;
    bool     leaving; /* it has said goodbye: a rollback is no concern of its */
    uint32_t life;    /* how many there were */
    uint32_t job, incarnation;
    uint64_t session, server_epoch, map_epoch;
    uint64_t job_life; /* number of the life that has this epoch */

    uint64_t          clock;
    uint64_t          epochs; /* of the job that this worker knows have ended */
    uint64_t          told;   /* by shards: where it goes on after this iteration */
    double            weight;
    uint32_t          batches; /* of the iteration in progress */
    uint64_t          last_request;
    struct ps_traffic traffic;
    struct ps_ticket *tickets;
    uint32_t          n_drains; /* of them, those that wait for all pushes */
    uint32_t          held;     /* how often psw_client_hold is in force */
    struct ps_matrix *matrices;

    /* reports that no OK was received for; the first n_reporting are under way */
    struct ps_report_record *reports;
    size_t                   n_reports, reports_room, n_reporting;
    uint64_t                 report_seq, reports_due_ns;
    ps_status                report_status; /* of the first that was refused */
    char                     why_report[PS_TEXT_BYTES];

    struct psw_resume resume;

    ps_status broken; /* a NOTICE came */
    char      why_broken[PS_TEXT_BYTES];
};

#define PSW_REPORT_DELAY_NS (PSW_SECOND_NS / 5) /* to let reports gather */

/* client_ticket.c */
ps_status psw_ticket_new(struct psw_client *c, uint32_t purpose,
                         struct ps_ticket **out) PS_CHECKED;
void      psw_ticket_free(struct ps_ticket *t);
void      psw_ticket_fail(struct ps_ticket *t, ps_status status, const char *fmt, ...)
    __attribute__((format(printf, 3, 4)));
void psw_ticket_request_done(struct ps_ticket *t);
void psw_ticket_about(const struct ps_ticket *t, char *text, size_t bytes);
void psw_client_settle(struct psw_client *c);

/* client.c */
ps_status psw_client_usable(const struct psw_client *c) PS_CHECKED;
ps_status psw_request_new(struct psw_client *c, struct ps_ticket *ticket,
                          struct ps_header *h, uint32_t n_pieces,
                          struct psw_request **out) PS_CHECKED;

/*
 * Makes another request of it, of the same exchange: what `h` says now, without payload
 * and under a new number, so that answers to the old one that come again mean nothing.
 * False: no memory, and it is as it was.
 */
bool psw_request_change(struct psw_client *c, struct psw_request *r,
                        struct ps_header *h);

/* Makes an empty push of it, which nobody waits for, so that the shard's count of
 * pushes comes right and the iteration can end.  False: no memory. */
bool psw_request_empty(struct psw_client *c, struct psw_request *r);

void psw_client_send(struct psw_client *c, uint64_t now_ns, struct ps_outbox *out);
const char *psw_lane_name(const struct psw_lane *lane, char *text, size_t bytes);

/* client_session.c: an answer of the coordinator; the request is still the caller's. */
void psw_session_answer(struct psw_client *c, const struct psw_request *r,
                        const struct ps_header *h);
void psw_session_tick(struct psw_client *c, uint64_t now_ns);

/* What a HELLO says beside who it is from. */
void psw_session_hello(const struct psw_client *c, struct ps_header *h);

/* Takes a WELCOME: the shards, the epoch, but not the clock.  On failure nothing has
 * changed and *why is a sentence. */
ps_status psw_session_enter(struct psw_client *c, const struct ps_header *h,
                            const char **why) PS_CHECKED;

/* Forgets the shards with what is for them. */
void psw_session_leave(struct psw_client *c);

/* A map for the matrix; false: it does not fit. */
bool              psw_session_place(const struct psw_client *c, struct ps_matrix *m,
                                    const struct ps_header *h);
bool              psw_session_same_shape(const struct ps_matrix_spec *a,
                                         const struct ps_matrix_spec *b);
struct ps_matrix *psw_session_matrix(const struct psw_client *c, const char *name);

/* client_resume.c */
bool psw_is_resuming(const struct psw_client *c);

/* Is the request the resume's own, and is the answer one that begins it? */
bool psw_resume_owns(const struct psw_request *r);
bool psw_resume_begins(const struct psw_client *c, const struct psw_lane *lane,
                       const struct ps_header *h);

/* psw_client_roll_back, also of a client that has said goodbye. */
void psw_resume_go_back(struct psw_client *c, uint64_t now_ns, struct ps_outbox *out);

/* An answer to a request of its own. */
void psw_resume_answer(struct psw_client *c, const struct psw_lane *lane,
                       const struct ps_header *h, uint64_t now_ns);
void psw_resume_tick(struct psw_client *c, uint64_t now_ns);

/* The end, with the maps of the new life; the decoder's last header is gone then. */
void psw_resume_settle(struct psw_client *c);

/* client_answer.c: the same of a shard.  True: the request was changed into another
 * one, which is to be sent at once. */
bool psw_answer_run(struct psw_client *c, struct psw_shard *shard,
                    struct psw_request *r, const struct ps_header *h,
                    const struct ps_parcel *in);

/* client_view.c: an answer to what brings a view, that is no ERROR. */
void psw_view_answer(struct psw_client *c, struct psw_shard *shard,
                     const struct psw_request *r, uint64_t version,
                     const struct ps_parcel *in);

/* client_rows.c: an answer that is no ERROR. */
void psw_rows_answer(struct psw_client *c, struct psw_request *r,
                     const struct ps_header *h, const struct ps_parcel *in);

/* client_rest.c: a shard's answer to a rest. */
void psw_rest_answer(struct psw_client *c, struct psw_shard *shard,
                     const struct psw_request *r, const struct ps_header *h);

/* client_lend.c: the gradients that the pieces name in a block of `bytes`, each piece's
 * beginning 8-aligned; *finite: without NaN and infinity. */
ps_status psw_lend_copy(struct psw_client *c, const struct psw_piece *pieces,
                        uint32_t n, size_t bytes, struct ps_buf **out,
                        bool *finite) PS_CHECKED;

/* Sends to a shard; of what is lent at most one request is copied for it. */
void psw_lend_send(struct psw_client *c, struct psw_shard *sh, uint64_t now_ns,
                   struct ps_outbox *out);

/* The ticket is over, so its caller's gradients are copied now, or never. */
void psw_lend_end(struct psw_client *c, const struct ps_ticket *ticket);

/* client_move.c */
bool   psw_in_iteration(const struct psw_client *c);
size_t psw_padded(size_t bytes);

/* What a pull says beside its ranges. */
struct ps_header psw_pull_header(const struct psw_client *c,
                                 const struct psw_shard  *shard);

#endif
