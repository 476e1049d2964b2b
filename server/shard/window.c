/* window.c - see window.h. */
#include "server/shard/window.h"

#include "common/base/plant.h"

#include <stddef.h>

static uint64_t bit_of(uint64_t seq)
{
    return (uint64_t)1 << (seq % 64);
}

static uint64_t *word_of(struct psd_window *w, uint64_t seq)
{
    return &w->bits[seq % PSD_WINDOW / 64];
}

static bool is_set(const struct psd_window *w, uint64_t seq)
{
    return w->bits[seq % PSD_WINDOW / 64] & bit_of(seq);
}

enum psd_seen psd_window_look(const struct psd_window *w, uint64_t seq)
{
    if (PSD_PLANTED(PLANT_DEDUPE) && seq == w->low)
        return PSD_FRESH;
    if (seq <= w->low)
        return PSD_SEEN;
    if (seq - w->low > PSD_WINDOW)
        return PSD_TOO_FAR;
    return is_set(w, seq) ? PSD_SEEN : PSD_FRESH;
}

void psd_window_mark(struct psd_window *w, uint64_t seq, uint64_t version)
{
    *word_of(w, seq) |= bit_of(seq);
    w->versions[seq % PSD_WINDOW] = version;
    while (is_set(w, w->low + 1)) {
        w->low++;
        *word_of(w, w->low) &= ~bit_of(w->low); /* free for low + PSD_WINDOW */
    }
}

bool psd_window_is_next(const struct psd_window *w, uint64_t seq)
{
    for (size_t i = 0; i < PSD_WINDOW / 64; i++)
        if (w->bits[i])
            return false; /* a number above `low` */
    return seq == w->low + 1;
}

uint64_t psd_window_version(const struct psd_window *w, uint64_t seq)
{
    /* Numbers above low may have taken the place of one a window below them. */
    if (seq + PSD_WINDOW <= w->low || (seq <= w->low && is_set(w, seq)))
        return 0;
    return w->versions[seq % PSD_WINDOW];
}
