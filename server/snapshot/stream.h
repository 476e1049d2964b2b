/*
 * stream.h - numbers, texts and bytes in checked blocks.
 *
 *     head      "PSDIMAGE", version, 0
 *     blocks    bytes, last?, XXH3 of them and of what follows, up to 1 MiB
 *
 * All blocks are full but the last.  A block's hash is seeded with its number, so that
 * blocks cannot change places, and the last one says that it is, so that none can be
 * missing.  Numbers are little-endian.  Nothing is taken for granted on the way in: the
 * bytes may be anything.
 *
 * Source: XXH3, Yann Collet, https://xxhash.com.
 *
 * Thread: any.
 */
#ifndef PSD_SNAPSHOT_STREAM_H
#define PSD_SNAPSHOT_STREAM_H

#include "common/base/buf.h"
#include "server/snapshot/image.h"

#define PSD_BLOCK_BYTES ((size_t)1 << 20)

struct psd_writer {
    psd_sink_fn *sink;
    void        *ctx;
    uint8_t     *block; /* [PSD_BLOCK_BYTES] */
    size_t       used;
    uint64_t     number; /* of the block */
    ps_status    status; /* the first failure; nothing is written after it */
};

/* The puts below remember a failure, psd_writer_close tells it. */
void      psd_writer_open(struct psd_writer *w, psd_sink_fn *sink, void *ctx);
ps_status psd_writer_close(struct psd_writer *w) PS_CHECKED;

void psd_put(struct psd_writer *w, const void *bytes, size_t n);
void psd_put_u32(struct psd_writer *w, uint32_t value);
void psd_put_u64(struct psd_writer *w, uint64_t value);
void psd_put_text(struct psd_writer *w, const char *text);

struct psd_reader {
    psd_source_fn *source;
    void          *ctx;
    uint8_t       *block; /* [PSD_BLOCK_BYTES] */
    size_t         bytes, at;
    uint64_t       number; /* of the next block */
    bool           last;   /* the one that is there */
};

ps_status psd_reader_open(struct psd_reader *r, psd_source_fn *source,
                          void *ctx) PS_CHECKED;
void      psd_reader_close(struct psd_reader *r);

/* PS_ERR_DATA and a sentence when there is something left. */
ps_status psd_reader_end(const struct psd_reader *r) PS_CHECKED;

/* PS_ERR_DATA and a sentence when there is no more, or a block is damaged. */
ps_status psd_take(struct psd_reader *r, void *out, size_t n) PS_CHECKED;
ps_status psd_take_u32(struct psd_reader *r, uint32_t *out) PS_CHECKED;
ps_status psd_take_u64(struct psd_reader *r, uint64_t *out) PS_CHECKED;
ps_status psd_take_text(struct psd_reader *r, char *out, size_t room) PS_CHECKED;

/* Memory for as many bytes as there are, whatever n says. */
ps_status psd_take_buf(struct psd_reader *r, size_t n, struct ps_buf **out) PS_CHECKED;
ps_status psd_take_array(struct psd_reader *r, uint64_t n, size_t element_bytes,
                         void **out) PS_CHECKED;

#endif
