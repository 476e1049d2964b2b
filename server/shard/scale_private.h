/*
 * scale_private.h - what the files of scale.h share.
 *
 *     scale.c            the table, and the scales that are a number
 *     scale_versions.c   versions
 *     scale_delay.c      delay-compensated
 */
#ifndef PSD_SHARD_SCALE_PRIVATE_H
#define PSD_SHARD_SCALE_PRIVATE_H

#include "server/shard/scale.h"

/* One scale; what is NULL does nothing.  The functions are those of scale.h, but that
 * `row` writes in place; those with a matrix are not called for exact ones. */
struct psd_scale_kind {
    ps_status (*make)(struct psd_scale *s);
    void (*drop)(struct psd_scale *s);
    void (*pulled)(struct psd_scale *s, uint32_t rank, uint64_t version);
    ps_status (*gave)(struct psd_scale *s, const struct psd_given *given,
                      struct psd_matrix *m);
    void (*begin)(const struct psd_scale *s, struct psd_update *u);
    double (*factor)(const struct psd_update *u);
    ps_status (*room)(struct psd_scale *s, const struct psd_update *u,
                      const struct psd_matrix *m, const struct psd_chunk *chunk,
                      uint64_t n);
    void (*chunk)(struct psd_scale *s, const struct psd_update *u,
                  const struct psd_matrix *m, const struct psd_chunk *chunk,
                  uint64_t from, uint64_t to, void *gradient);
    void (*row)(struct psd_scale *s, const struct psd_update *u,
                const struct psd_matrix *m, uint64_t key, const void *value,
                void *gradient);
    void (*end)(struct psd_scale *s, uint32_t rank, uint64_t base);
    void (*leave)(struct psd_scale *s, uint32_t rank);
    uint64_t (*bytes)(const struct psd_scale *s);
};

struct psd_versions;
struct psd_delay;

struct psd_scale {
    const struct ps_job_spec    *job;
    const struct psd_scale_kind *kind;
    struct psd_versions         *versions; /* of scale_versions.c */
    struct psd_delay            *delay;    /* of scale_delay.c */
};

extern const struct psd_scale_kind psd_scale_versions, psd_scale_delay;

#endif
