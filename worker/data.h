/*
 * data.h - a data set in memory, and the files it is read from.
 *
 * data.c holds the handle and its accessors, data_idx.c, data_csv.c and data_libsvm.c
 * each fill it from one format, data_file.c reads plain and gzip files for all of them,
 * by bytes or by lines.
 *
 * Thread: the one that owns the data set.
 */
#ifndef PSW_DATA_H
#define PSW_DATA_H

#include <ps/worker.h>

#include "common/base/status.h"

#include <locale.h>
#include <stdbool.h>
#include <zlib.h>

struct ps_data {
    /* One of the three, as the file was: */
    uint8_t  *bytes;   /* IDX: [n][n_features] */
    float    *dense;   /* CSV: [n][n_features] */
    uint64_t *indices; /* LIBSVM: [rows[n]], from 0, with `values` and `rows` */
    float    *values;
    uint64_t *rows; /* [n + 1]: where each row begins; rows[0] is 0 */

    uint8_t *labels;  /* IDX: [n] */
    double  *targets; /* CSV, LIBSVM: [n] */
    uint64_t n, n_features;
    uint32_t n_classes; /* 0: the targets are no classes */
    bool     signs;     /* the targets are -1 and 1, the classes 0 and 1 */
    double   mean, deviation;

    /* `order` is for (seed, rank, workers, epoch) if `ordered`, `part` for the first
     * three if `parted`. */
    struct sample_order {
        uint32_t *order; /* [n] the samples of `epoch`, first those of the part */
        uint32_t *part;  /* [n], under a partition: the worker's samples */
        uint64_t  n_part;
        uint64_t  seed, epoch;
        uint32_t  rank, workers;
        bool      ordered, parted;
    } at;
    ps_partition partition;
};

/* ---- files --------------------------------------------------------------------- */

struct data_file {
    const char *name;
    gzFile      gz;
    uint64_t    bytes;  /* on disk */
    uint64_t    line;   /* of the last line read, from 1 */
    char       *buffer; /* lines: begin .. end - 1 are not handed out yet */
    size_t      begin, end, room;
    bool        ended;   /* nothing more to read into the buffer */
    locale_t    numbers; /* "1.5" is one and a half wherever we are */
};

ps_status psw_file_open(struct data_file *f, const char *name) PS_CHECKED;
/* The same for the functions below that take lines and numbers apart. */
ps_status psw_file_open_text(struct data_file *f, const char *name) PS_CHECKED;
void      psw_file_close(struct data_file *f);

/* As many of `want` bytes as the file still has. */
ps_status psw_file_read(struct data_file *f, void *to, uint64_t want,
                        uint64_t *got) PS_CHECKED;

/*
 * The next line without its end ("\n" or "\r\n"), ending in a NUL and holding no other;
 * valid until the next call.  NULL: there is none.
 */
ps_status psw_file_line(struct data_file *f, char **line) PS_CHECKED;

/*
 * Numbers: decimal, all of `text`, finite in their type.  A failure's sentence says
 * data FILE:LINE: WHAT [NUMBER]: "TEXT", expected a finite number.
 */
ps_status psw_file_float(const struct data_file *f, const char *what, uint64_t number,
                         const char *text, float *out) PS_CHECKED;
ps_status psw_file_double(const struct data_file *f, const char *what, const char *text,
                          double *out) PS_CHECKED;

/* `text` as a sentence may hold it: printable, and cut where `shown` ends. */
const char *psw_file_show(const char *text, char shown[64]);

/* Makes room for `need` elements of `each` bytes; *array may move. */
ps_status psw_file_grow(const struct data_file *f, void *array, size_t each,
                        uint64_t *room, uint64_t need) PS_CHECKED;

/* ---- handles ------------------------------------------------------------------- */

/* Takes the target of sample n, the one being read; *room is that of the targets. */
ps_status psw_data_label(struct ps_data *d, const struct data_file *f, uint64_t *room,
                         const char *text) PS_CHECKED;

/*
 * Finishes what a reader of lines has filled: classes, moments of the n_values at
 * `values`, room for the order.  A data set without samples is PS_ERR_DATA.
 */
ps_status psw_data_finish(struct ps_data *d, const struct data_file *f,
                          const float *values, uint64_t n_values) PS_CHECKED;

#endif
