/*
 * view.h - a view while it is put together: spans of a matrix's elements, where they
 * are in memory, and the buffers that keep them there.
 *
 * It knows neither requests nor processes, and belongs to nobody else once it is made:
 * it outlives the worker that asked for it.
 *
 * Thread: one at a time while it is made; then its memory is anybody's to read.
 */
#ifndef PSW_VIEW_H
#define PSW_VIEW_H

#include "common/base/limits.h"
#include "common/base/sheet.h"

#include <ps/worker.h>

#include <sys/types.h>

/* `holder`: the process that may release it. */
ps_status psw_view_new(ps_view **out, pid_t holder) PS_CHECKED;

/*
 * Elements first .. first+count-1, of which each takes `element_bytes`, are what the
 * frames hold, which are shared; or the sheet, where the first frame is one.
 * PS_ERR_BAD_MESSAGE: they are not as many, or are cut where they must not be.
 */
ps_status psw_view_add(ps_view *view, uint64_t first, uint64_t count,
                       size_t element_bytes, struct ps_buf *const *frames,
                       uint32_t n_frames) PS_CHECKED;

/* All has been added: puts it in order. */
void psw_view_end(ps_view *view);

#endif
