/*
 * fields.h - the numbers of a job's and a matrix's spec, one table for both ways.
 *
 * Every number is eight bytes.  A stream says how many there are, and new ones go at
 * the end: what an older snapshot lacks keeps its default.
 *
 * Thread: any.
 */
#ifndef PSD_SNAPSHOT_FIELDS_H
#define PSD_SNAPSHOT_FIELDS_H

#include "server/snapshot/stream.h"

void psd_put_job_spec(struct psd_writer *w, const struct ps_job_spec *spec);
void psd_put_matrix_spec(struct psd_writer *w, const struct ps_matrix_spec *spec);

/* Checked as any other spec; PS_ERR_DATA. */
ps_status psd_take_job_spec(struct psd_reader *r, struct ps_job_spec *out) PS_CHECKED;
ps_status psd_take_matrix_spec(struct psd_reader     *r,
                               struct ps_matrix_spec *out) PS_CHECKED;

#endif
