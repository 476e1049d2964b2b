/*
 * settings.h - what the library itself takes from an experiment file.
 *
 * Thread: any; settings do not change after they were loaded.
 */
#ifndef PSW_SETTINGS_H
#define PSW_SETTINGS_H

#include <ps/worker.h>

#include "common/base/spec.h"

/* The job and optimiser keys; lent, lives as long as the settings. */
const struct ps_job_spec *psw_settings_job(const ps_settings *settings);

#endif
