/* status.h - reporting a failure once, where it is first known. */
#ifndef PS_BASE_STATUS_H
#define PS_BASE_STATUS_H

#include <ps/types.h>

#include "common/base/log.h"

/*
 * The function that discovers a failure logs it and names it.  Callers pass the
 * status up unchanged and say nothing, so one fault is one line.
 */
#define ps_fail(status, ...) (ps_log(PS_LOG_ERR, __VA_ARGS__), (status))

#endif
