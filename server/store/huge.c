/* huge.c - see huge.h. */
#include "server/store/huge.h"

#include <stdint.h>
#include <stdlib.h>
#include <sys/mman.h>

#define ALIGN ((size_t)64)

void *psd_huge_alloc(size_t bytes)
{
    size_t align = bytes < PSD_HUGE_BYTES ? ALIGN : PSD_HUGE_BYTES;
    void  *p;

    if (bytes > SIZE_MAX - align)
        return NULL;
    p = aligned_alloc(align, (bytes + align - 1) / align * align);
    if (p && align == PSD_HUGE_BYTES)
        madvise(p, bytes, MADV_HUGEPAGE); /* or it is only slower */
    return p;
}
