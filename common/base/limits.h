/*
 * limits.h - the bounds of the protocol, the same on both sides.  doc/protocol.md
 * repeats them for the reader.
 */
#ifndef PS_BASE_LIMITS_H
#define PS_BASE_LIMITS_H

#define PS_PROTOCOL_VERSION 1u

#ifndef PS_CHUNK_BYTES            /* on paper it is another */
#define PS_CHUNK_BYTES (1u << 20) /* most that one chunk holds */
#endif
#define PS_HEADER_BYTES (16u << 10)                   /* most that one header takes */
#define PS_FRAME_BYTES (PS_CHUNK_BYTES + (64u << 10)) /* most that one frame takes */
#define PS_FRAMES_MAX 32u                             /* payload frames of a message */
#define PS_GROUP_MAX 64u           /* small messages that travel as one, */
#define PS_GROUP_BYTES (32u << 10) /* and what they take together */
#define PS_RANGES_MAX 256u         /* ranges of a request */
#define PS_REPORTS_MAX 64u         /* metric records of a message */

#define PS_LIST_MAX 32u        /* matrices of a message */
#define PS_STATS_MAX 256u      /* job accounts of a message */
#define PS_SETS_MAX 256u       /* parts of snapshots of a message */
#define PS_SLOT_RUNS_MAX 4096u /* of a map */

#define PS_NAME_BYTES 128u     /* job, matrix and metric names, with the NUL */
#define PS_TEXT_BYTES 1024u    /* a sentence on the wire, with the NUL */
#define PS_ENDPOINT_BYTES 256u /* with the NUL */
#define PS_FOLDER_BYTES 1024u  /* path of a folder, with the NUL */
#define PS_WORKERS_MAX 4096u   /* of a job */
#define PS_SHARDS_MAX 256u     /* of a cluster */
#define PS_MATRICES_MAX 4096u  /* of a job */

/* For which a thread looks for messages before it sleeps, in us. */
#define PS_SPIN_US_MAX 1000u

#endif
