/*
 * signals.h - SIGTERM and SIGINT as something that a poll can wait for.
 *
 * Thread: the main one; the handler runs on any.
 */
#ifndef PSD_DAEMON_SIGNALS_H
#define PSD_DAEMON_SIGNALS_H

#include "common/net/net.h"

/*
 * The first SIGTERM or SIGINT raises `stop`, which has to live as long as the process;
 * the second ends the process at once.  SIGPIPE and SIGXFSZ (a file
 * larger than it may be) are ignored.
 */
ps_status psd_signals_catch(struct ps_signal *stop) PS_CHECKED;

/* Why the process ends, for those who are told: "psd received SIGTERM".  NULL: it has
 * failed, and ends as if it were killed: who waits for it goes on when it is back. */
const char *psd_signals_reason(void);

#endif
