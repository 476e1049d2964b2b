/*
 * settings.h - what the library itself takes from an experiment file.
 *
 * Thread: any; settings do not change after they were loaded.
 */
#ifndef PSW_SETTINGS_H
#define PSW_SETTINGS_H

#include <ps/worker.h>

#include "common/base/spec.h"

/* The job's learning rate with so many workers: scaled, where the settings say so. */
double psw_settings_lr(const ps_settings *settings, uint32_t workers);

/* The job and optimiser keys; lent, lives as long as the settings.  Its learning rate
 * is not scaled. */
const struct ps_job_spec *psw_settings_job(const ps_settings *settings);

#endif
