/*
 * ps/types.h - the words that both sides of psd share: statuses, element types,
 * initialisers, optimisers.
 *
 * Every number here travels on the wire or stands in a file.  New ones go at the
 * end of their list and none is ever reused.
 */
#ifndef PS_TYPES_H
#define PS_TYPES_H

#include <stddef.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

#define PS_API __attribute__((visibility("default")))
#define PS_CHECKED __attribute__((warn_unused_result))

/*
 * How a call went.  Zero is success and failures are negative, so that
 * `if (st)` reads "if it failed".
 */
typedef enum ps_status {
    PS_OK = 0,
    PS_ERR_NO_MEMORY = -1,
    PS_ERR_BAD_ARG = -2,     /* the caller's mistake; retrying will not help */
    PS_ERR_BAD_MESSAGE = -3, /* the peer's mistake, or a damaged frame */
    PS_ERR_UNKNOWN = -4,     /* no such job, matrix or key */
    PS_ERR_SHAPE = -5,       /* element count or type differs from the matrix's */
    PS_ERR_REPEATED = -6,    /* a push that was applied before */
    PS_ERR_TIMEOUT = -7,     /* the deadline passed; retrying may help */
    PS_ERR_SYSTEM = -8,      /* a system call failed; the sentence holds its reason */
    PS_ERR_UNAVAILABLE = -9, /* no server there, or it does not answer */
    PS_ERR_CLOSING = -10,    /* the server is ending and said so */
    PS_ERR_RANK = -11,       /* rank taken, out of range, or gone from the job */
    PS_ERR_MISMATCH = -12,   /* differs from what the job was created with */
    PS_ERR_DENIED = -13,     /* wrong token or session */
    PS_ERR_STALE = -14,      /* from an older clock, incarnation or epoch */
    PS_ERR_NONFINITE = -15,  /* the gradient holds a NaN or an infinity */
    PS_ERR_CONFIG = -16,     /* a configuration file or value is not acceptable */
    PS_ERR_DATA = -17,       /* a data file is missing, truncated or damaged */
    PS_ERR_FORKED = -18,     /* the handle belongs to the parent process */
    PS_ERR_LIMIT = -19,      /* a configured limit would be exceeded */
    PS_ERR_PROTOCOL = -20,   /* the peer speaks another protocol version */
    PS_ERR_ABORTED = -21,    /* the job was aborted, or the host program said stop */
    PS_ERR_ROLLBACK = -22, /* the job went back to an earlier clock: go on from there */
    PS_ERR_IO = -23, /* what was written may be lost: the disk is not to be trusted */
} ps_status;

/* A short lower-case text, never NULL, never to be freed. */
PS_API const char *ps_status_text(ps_status status);

/* The sysexits code that a program ending for this reason should return. */
PS_API int ps_status_exit_code(ps_status status);

/* Element type of a matrix. */
typedef enum ps_dtype {
    PS_F32 = 1,
    PS_F64 = 2,
    PS_I64 = 3, /* exact counters; only with the optimisers `add` and `assign` */
} ps_dtype;

/*
 * How an element starts: a function of the job's seed, the matrix's name and the
 * element's index alone, so that neither placement nor order of arrival matters.
 */
typedef enum ps_init {
    PS_INIT_ZERO = 0,
    PS_INIT_CONSTANT = 1, /* a */
    PS_INIT_UNIFORM = 2,  /* in [a, b) */
    PS_INIT_NORMAL = 3,   /* mean a, standard deviation b */
} ps_init;

/* What a sparse matrix does when it has as many rows as it may have. */
typedef enum ps_evict {
    PS_EVICT_NONE = 0,      /* a new row is an error */
    PS_EVICT_LRU = 1,       /* the row goes that was used longest ago */
    PS_EVICT_FREQUENCY = 2, /* the row goes that was used least often */
} ps_evict;

/* How a gradient becomes a step; the formulas stand in server/optim/optim.h. */
typedef enum ps_optimiser {
    PS_OPTIMISER_JOB = 0, /* of a matrix: what the job says */
    PS_SGD = 1,
    PS_MOMENTUM = 2,
    PS_NESTEROV = 3,
    PS_ADAGRAD = 4,
    PS_RMSPROP = 5,
    PS_ADAM = 6,
    PS_ADAMW = 7,
    PS_FTRL = 8,
    PS_ASSIGN = 9, /* w = g: the last in rank order wins */
    PS_ADD = 10,   /* w += g: sums, never means */
} ps_optimiser;

/*
 * How the samples are parted among the workers.  The disjoint schemes give each sample
 * to one worker for the whole run, and two workers' numbers of samples differ by one
 * at most.
 */
typedef enum ps_partition {
    PS_PARTITION_NONE = 0,                 /* no parts: see ps_batch */
    PS_PARTITION_DISJOINT_CONTIGUOUS = 1,  /* neighbours stay together */
    PS_PARTITION_DISJOINT_ROUND_ROBIN = 2, /* sample i to worker i mod W */
    PS_PARTITION_DISJOINT_RANDOM = 3,      /* slices of one permutation */
    PS_PARTITION_OVERLAP_RESHUFFLE = 4,    /* all to everyone, in an order of its own */
} ps_partition;

#ifdef __cplusplus
}
#endif
#endif
