/*
 * request.h - a request on its way through the shard.  Each step fills the next part.
 */
#ifndef PSD_SHARD_REQUEST_H
#define PSD_SHARD_REQUEST_H

#include "server/shard/apply.h"
#include "server/shard/shard.h"

#define PSD_LISTS 16u /* questions for snapshots under way */
#define PSD_ENDED 64u /* runs of jobs that are remembered as over */

struct psd_request {
    struct psd_shard *shard;
    struct ps_parcel *in; /* lent; a step that keeps it leaves it empty */
    struct ps_header  h;
    struct ps_outbox *out;
    uint64_t          now_ns;
    bool              again;       /* was parked before, */
    uint64_t          deadline_ns; /* until then */

    struct psd_job  *job;
    struct psd_seat *seat; /* NULL: an observer */

    const uint64_t *keys;        /* sparse: of all ranges in order */
    size_t          value_bytes; /* of all ranges, each padded to a multiple of 8 */
    size_t          padding;     /* of the last one, which may be left out */
    bool            sparse;
    bool            skip; /* not finite, and the job skips those */
    bool            seen; /* this push was taken before */
};

/* The pipelines: push.c, pull.c, list.c and rest.c. */
ps_status psd_push_run(struct psd_request *r) PS_CHECKED;
ps_status psd_pull_run(struct psd_request *r) PS_CHECKED;
ps_status psd_list_run(struct psd_request *r) PS_CHECKED;
ps_status psd_rest_run(struct psd_request *r) PS_CHECKED;

/* Steps that both share. */
ps_status psd_request_who(struct psd_request *r) PS_CHECKED;
ps_status psd_request_ranges(struct psd_request *r) PS_CHECKED;
ps_status psd_request_keys(struct psd_request *r) PS_CHECKED;
ps_status psd_request_park(struct psd_request *r, enum psd_reason reason) PS_CHECKED;

/* May this push be acknowledged, as far as the disk is concerned?  Else it waits. */
bool      psd_request_is_durable(const struct psd_request *r);
ps_status psd_request_wait_for_disk(struct psd_request *r) PS_CHECKED;

/*
 * The worker says that it has finished iteration `clock` and that `seq` was the last
 * push of it.  If everything up to that is here, then nothing is under way and it is
 * so: what it lacks here it will never push (another shard was further, and it went on
 * from there).
 */
void psd_request_believe(struct psd_request *r, uint64_t seq, uint64_t clock);

/* Control messages, from the coordinator: control.c.  Each answers OK itself. */
ps_status psd_control_job(struct psd_request *r) PS_CHECKED;
ps_status psd_control_job_end(struct psd_request *r) PS_CHECKED;
ps_status psd_control_matrix(struct psd_request *r) PS_CHECKED;
ps_status psd_control_members(struct psd_request *r) PS_CHECKED;
ps_status psd_control_stats(struct psd_request *r) PS_CHECKED;

ps_status psd_say_ok(struct psd_request *r) PS_CHECKED;

/* The job that a message of the coordinator is about.  PS_ERR_REPEATED: it is of
 * another life of the job, comes late, and is to do nothing. */
ps_status psd_control_job_of(struct psd_request *r) PS_CHECKED;

/* Elements of a range. */
uint64_t psd_request_elements(const struct psd_matrix *m, const struct ps_range *range);

/* Sends an answer of `kind` with the job's clock and version. */
ps_status psd_answer(struct psd_request *r, uint32_t kind, uint64_t version,
                     struct ps_buf **frames, uint32_t n_frames) PS_CHECKED;

/* Somebody asks which snapshots there are. */
struct psd_list {
    struct ps_route route;
    uint64_t        request;
    uint64_t        errand; /* 0: not handed out yet */
    uint64_t        run;
    char            job[PS_NAME_BYTES];
};

/* A run that is over, or has gone to other shards: up to this life it is not here. */
struct psd_ended {
    uint64_t run, life;
};

struct psd_shard {
    struct psd_shard_options  options;
    struct psd_shard_counters counters;
    struct ps_decoder        *decoder;
    struct psd_scratch        scratch; /* of the request that is run, or of a close */
    size_t                    n_jobs, jobs_room;
    struct psd_job          **jobs;

    struct ps_route  coordinator;      /* where its last message came from */
    struct psd_ended ended[PSD_ENDED]; /* a ring */
    uint64_t         n_ended;

    uint64_t           last_errand;
    uint32_t           n_lists;
    struct psd_list    lists[PSD_LISTS];
    size_t             n_last;
    struct psd_image **last; /* [n_last] of jobs that have ended, to be written */
};

/* NULL when there is none. */
struct psd_job *psd_shard_job(const struct psd_shard *shard, uint32_t number);

/* The gate of this job may have moved: closes what can be closed, looks again at what
 * waits, and captures what is to be saved. */
void psd_shard_settle(struct psd_shard *shard, struct psd_job *job, uint64_t now_ns,
                      struct ps_outbox *out);

/* An ERROR to this route. */
void psd_shard_tell(const struct ps_route *to, uint64_t request, ps_status status,
                    const char *text, struct ps_outbox *out);

/* An ERROR to this route, with the thread's last sentence. */
void psd_shard_refuse(struct psd_shard *shard, const struct ps_route *to,
                      uint64_t request, ps_status status, struct ps_outbox *out);

#endif
