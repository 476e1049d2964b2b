/* status.c - texts and exit codes of the statuses in ps/types.h. */
#include "common/base/status.h"

#include <sysexits.h>

const char *ps_status_text(ps_status status)
{
    switch (status) {
    case PS_OK: return "ok";
    case PS_ERR_NO_MEMORY: return "out of memory";
    case PS_ERR_BAD_ARG: return "bad argument";
    case PS_ERR_BAD_MESSAGE: return "bad message";
    case PS_ERR_UNKNOWN: return "unknown job, matrix or key";
    case PS_ERR_SHAPE: return "wrong shape";
    case PS_ERR_REPEATED: return "already applied";
    case PS_ERR_TIMEOUT: return "deadline passed";
    case PS_ERR_SYSTEM: return "system call failed";
    case PS_ERR_UNAVAILABLE: return "server not available";
    case PS_ERR_CLOSING: return "server is ending";
    case PS_ERR_RANK: return "rank not available";
    case PS_ERR_MISMATCH: return "differs from the job";
    case PS_ERR_DENIED: return "denied";
    case PS_ERR_STALE: return "stale";
    case PS_ERR_NONFINITE: return "not a finite number";
    case PS_ERR_CONFIG: return "bad configuration";
    case PS_ERR_DATA: return "bad data";
    case PS_ERR_FORKED: return "used after fork";
    case PS_ERR_LIMIT: return "limit reached";
    case PS_ERR_PROTOCOL: return "other protocol version";
    case PS_ERR_ABORTED: return "aborted";
    case PS_ERR_ROLLBACK: return "rolled back";
    case PS_ERR_IO: return "disk failed";
    }
    return "unknown status"; /* a number from a newer peer */
}

int ps_status_exit_code(ps_status status)
{
    switch (status) {
    case PS_OK: return 0;
    case PS_ERR_BAD_ARG: return EX_USAGE;
    case PS_ERR_BAD_MESSAGE:
    case PS_ERR_SHAPE:
    case PS_ERR_UNKNOWN:
    case PS_ERR_NONFINITE:
    case PS_ERR_DATA: return EX_DATAERR;
    case PS_ERR_TIMEOUT:
    case PS_ERR_UNAVAILABLE:
    case PS_ERR_CLOSING: return EX_UNAVAILABLE;
    case PS_ERR_REPEATED:
    case PS_ERR_FORKED: return EX_SOFTWARE;
    case PS_ERR_NO_MEMORY:
    case PS_ERR_SYSTEM: return EX_OSERR;
    case PS_ERR_STALE:
    case PS_ERR_LIMIT:
    case PS_ERR_ABORTED:
    case PS_ERR_ROLLBACK: return EX_TEMPFAIL;
    case PS_ERR_IO: return EX_IOERR;
    case PS_ERR_PROTOCOL: return EX_PROTOCOL;
    case PS_ERR_DENIED: return EX_NOPERM;
    case PS_ERR_RANK:
    case PS_ERR_MISMATCH:
    case PS_ERR_CONFIG: return EX_CONFIG;
    }
    return EX_SOFTWARE;
}
