/*
 * wire.h - what the bytes of a message mean.
 *
 * A message is a header frame (protobuf, proto/ps.proto, at most PS_HEADER_BYTES)
 * and payload frames.  This room turns the header's bytes into struct ps_header and
 * back, and checks every field on the way in; it is the only one that includes the
 * generated protobuf-c code.  doc/protocol.md says which kind uses which field.
 *
 * Decoding allocates nothing on the warm path: what a header points at lies in the
 * decoder's arena and is valid until its next decode.
 *
 * Thread: a decoder belongs to one thread; encoding needs no state.
 */
#ifndef PS_WIRE_WIRE_H
#define PS_WIRE_WIRE_H

#include "common/base/parcel.h"
#include "common/base/spec.h"
#include "common/place/place.h"

enum ps_kind {
    PS_MSG_ERROR = 1,  /* answer: status, text */
    PS_MSG_NOTICE = 2, /* unasked, request 0: status, text ("the server is ending") */
    PS_MSG_OK = 3,     /* answer to anything that needs no more */

    /* worker or tool -> coordinator, and the answers */
    PS_MSG_HELLO = 10,
    PS_MSG_WELCOME = 11,
    PS_MSG_MATRIX = 12,    /* open or create one matrix */
    PS_MSG_MATRIX_OK = 13, /* its spec and who owns what */
    PS_MSG_LIST = 14,      /* names of the job's matrices, in byte order */
    PS_MSG_LIST_OK = 15,   /* `matrices`, in pieces: `after` asks for the next */
    PS_MSG_REPORT = 16,
    PS_MSG_BEAT = 17,
    PS_MSG_BYE = 18,
    PS_MSG_STATUS = 19, /* -> STATUS_OK with one payload frame of JSON */
    PS_MSG_STATUS_OK = 20,
    PS_MSG_WATCH = 21, /* a job's reports after number `after` */
    PS_MSG_WATCH_OK = 22,
    PS_MSG_CHECKPOINT = 23, /* of a job, now -> OK with the clock of it */

    /* a joining psd -> coordinator */
    PS_MSG_JOIN = 30,
    PS_MSG_JOIN_OK = 31,
    PS_MSG_PART = 32,

    /* coordinator -> shard; each is answered with OK or ERROR */
    PS_MSG_JOB = 40,
    PS_MSG_JOB_END = 41,
    PS_MSG_MATRIX_ADD = 42,
    PS_MSG_MEMBERS = 43,
    PS_MSG_STATS = 44, /* -> STATS_OK */
    PS_MSG_STATS_OK = 45,
    PS_MSG_SETS = 46, /* which snapshots of a run can you read? -> SETS_OK */
    PS_MSG_SETS_OK = 47,
    PS_MSG_LOAD = 48,     /* read them into the matrices */
    PS_MSG_SNAPSHOT = 49, /* make one when the job has come to `clock` */

    /* worker -> shard, the data path */
    PS_MSG_PUSH = 50,
    PS_MSG_PUSH_OK = 51,
    PS_MSG_PULL = 52,
    PS_MSG_PULL_OK = 53, /* also the answer to a push with PS_FLAG_PULL */
    PS_MSG_ROWS = 54,    /* rows of a sparse matrix that exist, from `after` on */
    PS_MSG_ROWS_OK = 55, /* frames: keys, values; `after` for the next, 0: the end */
    PS_MSG_RESUME = 56,  /* after a rollback: where am I? -> RESUME_OK */
    PS_MSG_RESUME_OK = 57,

    /* between a shard and the coordinator, unasked and not answered */
    PS_MSG_SAVED = 58, /* this part is on disk */
    PS_MSG_KEEP = 59,  /* what is older than this set is not needed any more */
};

enum ps_flags {
    PS_FLAG_FINISH = 1,   /* push: the worker's iteration `clock` ends with it */
    PS_FLAG_PULL = 2,     /* push: answer with the values of the same ranges */
    PS_FLAG_CREATE = 4,   /* matrix: create it when it does not exist */
    PS_FLAG_OBSERVER = 8, /* hello: reads only, has no rank */
    PS_FLAG_REST = 16,    /* push, empty: no more until everyone has said so */
    PS_FLAG_FINITE = 64,  /* push: its sender has seen neither NaN nor infinity */
    PS_FLAG_VIEW = 32,    /* pull: the range is of many chunks, answer with a sheet */
};

enum ps_member_state {
    PS_MEMBER_EXPECTED = 1, /* has not said hello yet */
    PS_MEMBER_ACTIVE = 2,
    PS_MEMBER_LEFT = 3, /* said goodbye */
    PS_MEMBER_LOST = 4, /* silent for too long */
};

/*
 * A piece of a request.  Dense: elements first .. first+count-1 of the matrix, all
 * owned by the shard asked.  Sparse: `count` rows, whose keys are the next `count`
 * u64 of the payload's first frame (the key frame).
 */
struct ps_range {
    uint32_t matrix;
    uint64_t first;
    uint64_t count;
};

struct ps_member {
    uint32_t rank;
    uint32_t incarnation;
    uint32_t state;   /* enum ps_member_state */
    uint64_t session; /* what its messages to shards must carry */
    uint64_t
        clock; /* ACTIVE: it has finished so many iterations, or never pushes them */
    uint64_t epochs; /* ACTIVE: that had ended when it joined */
};

/* One line of the run record: what a worker reported, and when. */
struct ps_report_record {
    uint64_t number; /* given by the coordinator, from 1 */
    uint64_t clock;
    uint64_t time_us; /* since the job was created */
    uint32_t rank;
    char     name[PS_NAME_BYTES];
    double   value;
};

/* What a worker has moved so far; cumulative. */
struct ps_traffic {
    uint64_t samples;
    uint64_t bytes_pushed, bytes_pulled;         /* as sent */
    uint64_t bytes_pushed_raw, bytes_pulled_raw; /* before any codec */
    uint64_t pushes, pulls;                      /* requests */
    uint64_t retries;
};

/*
 * A shard's account of one job, or of one matrix of it: then only bytes, state_bytes
 * and rows are said.  An entry for job 0 is the shard's own: `refused` counts requests
 * it denied, `skipped` messages it could not read.
 */
struct ps_job_stats {
    uint32_t job;
    uint32_t matrix;  /* its number; 0: the job's account */
    uint64_t clock;   /* last closed iteration (bsp), else the slowest worker's */
    uint64_t version; /* updates applied */
    uint64_t bytes;   /* of parameters */
    uint64_t state_bytes;
    uint64_t rows; /* of sparse matrices */
    uint64_t pushes, pulls, repeated, refused, skipped, late;
    uint64_t staleness_sum, staleness_max; /* updates between a pull and its push */
    uint64_t waiting;                      /* requests parked at the gate */
    uint64_t batches;                      /* behind the finished pushes */
    uint64_t evicted;                      /* rows of sparse matrices */
    uint64_t allocated_bytes;              /* for all of it, with what is kept beside */
    uint64_t saved;                        /* set of the newest snapshot on disk */
    uint64_t save_failures;
};

/*
 * One header.  Unused fields are zero.  Pointers are lent: to the encoder for the
 * call, from the decoder until its next decode.
 */
struct ps_header {
    uint32_t kind;    /* enum ps_kind */
    uint64_t request; /* chosen by the asker, returned in the answer */
    int32_t  status;  /* ps_status of an ERROR or NOTICE */
    uint32_t flags;

    uint32_t job;     /* number of the job */
    uint64_t session; /* the secret that shows who may ask; 0 = none yet */
    uint32_t rank;
    uint32_t incarnation;
    uint64_t server_epoch, membership_epoch, map_epoch;
    uint64_t run; /* JOB, SETS: random number of this run of the job */

    uint64_t seq;   /* of a push, per worker and shard, from 1; pull: of the last one */
    uint64_t clock; /* push: the iteration it belongs to; pull, rest: iterations done */
    uint64_t epochs; /* OK to MEMBERS: epochs of training that have ended */
    uint64_t
        version;    /* updates that the answer includes; push: of the pull behind it */
    uint32_t parts; /* with FINISH: pushes of this iteration to this shard */
    uint32_t batches; /* with FINISH: behind it; 0 counts as 1 */
    double   weight;  /* samples behind the gradient, >= 0 */
    uint64_t after;   /* WATCH, LIST: the last number already known */
    uint32_t
        wait_ms; /* PULL, PUSH with PULL or REST: longest that the gate may keep it
                    waiting before it is answered with PS_ERR_TIMEOUT; 0: for ever */

    uint32_t    index;    /* JOIN_OK, JOB: number of the (first) shard */
    uint32_t    n_shards; /* JOB: shards of the cluster */
    uint64_t    pid;
    const char *text; /* a sentence, or the reason of a BYE; "" never NULL */
    const char *name; /* job name (HELLO, WATCH), host (JOIN) */
    const char *token;

    const struct ps_job_spec *job_spec; /* NULL = absent */

    uint32_t                     n_matrices;
    const struct ps_matrix_spec *matrices;

    uint32_t               n_ranges;
    const struct ps_range *ranges;

    uint32_t                  n_slot_runs;
    const struct ps_slot_run *slot_runs;

    uint32_t                n_members;
    const struct ps_member *members;

    uint32_t           n_endpoints; /* of shards, by shard number */
    const char *const *endpoints;

    uint32_t                       n_reports;
    const struct ps_report_record *reports;

    const struct ps_traffic *traffic; /* NULL = absent */

    uint32_t                   n_job_stats;
    const struct ps_job_stats *job_stats;

    uint32_t              n_sets; /* SETS_OK, LOAD */
    const struct ps_part *sets;
};

struct ps_decoder;

ps_status ps_decoder_new(struct ps_decoder **out) PS_CHECKED;
void      ps_decoder_free(struct ps_decoder **d);

/*
 * Bytes to header.  PS_ERR_BAD_MESSAGE (damaged, a field out of its range, more
 * than PS_HEADER_BYTES), PS_ERR_PROTOCOL (another version).  After a failure h holds
 * nothing but kind and request, as far as they could be read, so that it can be
 * answered.  The bytes may be anything.
 */
ps_status ps_wire_decode(struct ps_decoder *d, const void *bytes, size_t n_bytes,
                         struct ps_header *h) PS_CHECKED;

/* Times that the decoder asked for memory; stands still on the warm path. */
uint64_t ps_decoder_grown(const struct ps_decoder *d);

/*
 * Header to a new buffer.  PS_ERR_LIMIT when it would not fit PS_HEADER_BYTES.  NULL
 * texts are empty; a sentence that is too long is cut.
 */
ps_status ps_wire_encode(const struct ps_header *h, struct ps_buf **out) PS_CHECKED;

/* The same to a buffer from the tray, if it is small. */
ps_status ps_wire_encode_on(struct ps_tray *tray, const struct ps_header *h,
                            struct ps_buf **out) PS_CHECKED;

/*
 * Encodes `h`, adds the frames and puts the message into the outbox.  The frames
 * are taken (dropped on failure), the array is the caller's.
 */
ps_status ps_wire_send(struct ps_outbox *out, const struct ps_route *to,
                       const struct ps_header *h, struct ps_buf **frames,
                       uint32_t n_frames) PS_CHECKED;

/* The word of a kind, for logs: "push_ok"; "unknown" if it is none. */
const char *ps_kind_name(uint32_t kind);

#endif
