/* slice.c - see slice.h. */
#include "common/base/slice.h"

#include <linux/sched.h>
#include <linux/sched/types.h>
#include <sys/syscall.h>
#include <unistd.h>

uint64_t ps_slice_set(uint64_t slice_ns)
{
    struct sched_attr attr = { .size = sizeof(attr) };
    uint64_t          was;

    if (syscall(SYS_sched_getattr, 0, &attr, sizeof(attr), 0) ||
        attr.sched_policy != SCHED_NORMAL)
        return 0;
    was = attr.sched_runtime;
    attr.sched_runtime = slice_ns;
    (void)syscall(SYS_sched_setattr, 0, &attr, 0); /* refused: it stays as it was */
    return was;
}
