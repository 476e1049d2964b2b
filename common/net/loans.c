/* loans.c - what is lent and borrowed; see near.h. */
#include "common/net/near_private.h"

#include <stdlib.h>
#include <string.h>

/* ---- lending -------------------------------------------------------------------- */

static bool is_back(const struct psn_near *n, uint32_t slot, uint64_t seen)
{
    return n->number[slot] <= seen &&
           atomic_load_explicit(&n->back[slot], memory_order_acquire) !=
               n->number[slot];
}

void psn_near_sweep(struct psn_near *n)
{
    uint64_t seen;

    if (!n->back || n->n_lent == 0)
        return;
    seen = atomic_load_explicit(&n->back[SEEN], memory_order_acquire);
    for (uint32_t i = 0; i < n->n_lent;) {
        uint32_t slot = n->slots[i];

        if (!is_back(n, slot, seen)) {
            i++;
            continue;
        }
        ps_buf_drop(&n->buf[slot]);
        n->slots[i] = n->slots[--n->n_lent];
        n->slots[n->n_lent] = slot;
    }
}

static bool show_sheet(struct psn_near *n, const struct ps_sheet *sheet)
{
    for (size_t i = 0; i < sheet->n_segments; i++)
        if (!psn_near_show(n, sheet->segments[i]))
            return false;
    return true;
}

/* Are as many sheets of the same lent already? */
static bool has_enough(const struct psn_near *n, const struct ps_sheet *sheet)
{
    uint32_t n_same = 0;

    for (uint32_t i = 0; i < n->n_lent; i++) {
        const struct ps_sheet *other = n->buf[n->slots[i]]->sheet;

        n_same += other && other->of == sheet->of;
    }
    return n_same >= PSN_SHEETS;
}

/* The block whose bytes are to be lent for it; NULL: they cannot be. */
static const struct ps_buf *block_of(struct psn_near *n, const struct ps_buf *b)
{
    if (b->sheet &&
        (!b->sheet->list || has_enough(n, b->sheet) || !show_sheet(n, b->sheet)))
        return NULL;
    if (b->sheet)
        return b->sheet->list;
    return b->segment && b->len >= PS_HEAP_LEAST_BYTES ? b : NULL;
}

bool psn_near_lend(struct psn_near *n, struct ps_buf *b, struct psn_loan *out)
{
    const struct ps_buf *block;
    uint32_t             slot;

    if (!n->up || n->n_lent == LOANS)
        return false;
    block = block_of(n, b);
    if (!block || !psn_near_show(n, block->segment))
        return false;
    slot = n->slots[n->n_lent++];
    *out = (struct psn_loan){ .number = ++n->last,
                              .segment = block->segment->number,
                              .offset = (uint64_t)(block->data - block->segment->base),
                              .bytes = block->len,
                              .sheet = b->sheet != NULL,
                              .slot = slot };
    n->buf[slot] = ps_buf_share(b);
    n->number[slot] = out->number;
    return true;
}

void psn_near_take_back(struct psn_near *n, uint32_t n_loans)
{
    for (; n_loans > 0; n_loans--, n->last--)
        ps_buf_drop(&n->buf[n->slots[--n->n_lent]]);
}

/* ---- borrowing ------------------------------------------------------------------ */

struct borrowed {
    struct psn_near         *near;
    uint32_t                 slot;
    size_t                   n_segments;
    struct borrowed_segment *segments[]; /* [n_segments], 1 or more */
};

static void drop_borrowed(void *owner)
{
    struct borrowed *b = owner;

    atomic_store_explicit(&b->near->page[b->slot], 0, memory_order_release);
    atomic_store_explicit(&b->near->returned, true, memory_order_relaxed);
    for (size_t i = 0; i < b->n_segments; i++)
        atomic_fetch_sub(&b->segments[i]->used, 1);
    psn_near_let_go(b->near);
    free(b);
}

/* Does it lie in that segment, as it should? */
static bool is_inside(const struct borrowed_segment *s, uint64_t offset, uint64_t bytes)
{
    return s && bytes > 0 && offset <= s->bytes && bytes <= s->bytes - offset &&
           offset % 8 == 0;
}

/* Is held from here on; `b` has its segments, and is the buffer's. */
static void hold(struct borrowed *b, uint64_t number)
{
    atomic_store_explicit(&b->near->page[b->slot], number, memory_order_relaxed);
    for (size_t i = 0; i < b->n_segments; i++)
        atomic_fetch_add(&b->segments[i]->used, 1);
    atomic_fetch_add_explicit(&b->near->holders, 1, memory_order_relaxed);
}

static ps_status no_memory(void)
{
    return ps_fail(PS_ERR_NO_MEMORY, "net: no memory to borrow");
}

/* Once, though many pieces lie in it; the first has room. */
static ps_status note_segment(struct borrowed **b, struct borrowed_segment *s)
{
    const size_t     n = (*b)->n_segments;
    struct borrowed *grown = *b;

    for (size_t i = n; i-- > 0;)
        if (grown->segments[i] == s)
            return PS_OK;
    if (n > 0)
        grown = realloc(grown,
                        sizeof(*grown) + (n + 1) * sizeof(struct borrowed_segment *));
    if (!grown)
        return no_memory();
    grown->segments[grown->n_segments++] = s;
    *b = grown;
    return PS_OK;
}

/* The list is the other end's memory and may change while it is read, so each place is
 * looked at once. */
static ps_status read_list(struct borrowed                     **b,
                           const volatile struct ps_sheet_place *list, size_t n,
                           struct ps_sheet_piece *pieces)
{
    struct borrowed_segment *s = NULL;
    ps_status                st = PS_OK;

    for (size_t i = 0; !st && i < n; i++) {
        const uint64_t segment = list[i].segment, offset = list[i].offset,
                       bytes = list[i].bytes;

        if (!s || s->number != segment) {
            s = psn_near_segment((*b)->near, segment);
            st = s ? note_segment(b, s) : PS_ERR_BAD_MESSAGE;
        }
        if (!st && !is_inside(s, offset, bytes))
            st = PS_ERR_BAD_MESSAGE;
        if (!st)
            pieces[i] = (struct ps_sheet_piece){ s->base + offset, bytes };
    }
    return st;
}

static ps_status borrow_sheet(struct borrowed **b, const struct psn_loan *loan,
                              const uint8_t *list, struct ps_buf **out)
{
    const size_t           n = loan->bytes / sizeof(struct ps_sheet_place);
    struct ps_sheet_piece *pieces = malloc(n * sizeof(*pieces));
    ps_status              st = pieces ? PS_OK : no_memory();

    if (!st)
        st = read_list(b, (const volatile void *)list, n, pieces);
    if (!st)
        st = ps_sheet_adopt(out, pieces, n, drop_borrowed, *b);
    if (st)
        free(pieces);
    return st;
}

static ps_status borrow(struct psn_near *n, const struct psn_loan *loan,
                        struct ps_buf **out)
{
    struct borrowed_segment *s = psn_near_segment(n, loan->segment);
    struct borrowed         *b;
    ps_status                st;

    if (loan->bytes > PS_FRAME_BYTES || !is_inside(s, loan->offset, loan->bytes) ||
        (loan->sheet && loan->bytes % sizeof(struct ps_sheet_place) != 0))
        return PS_ERR_BAD_MESSAGE;
    b = malloc(sizeof(*b) + sizeof(struct borrowed_segment *));
    if (!b)
        return no_memory();
    *b = (struct borrowed){ .near = n, .slot = loan->slot };
    st = note_segment(&b, s);
    if (!st && loan->sheet)
        st = borrow_sheet(&b, loan, s->base + loan->offset, out);
    else if (!st)
        st = ps_buf_adopt(out, (uint8_t *)s->base + loan->offset, loan->bytes,
                          drop_borrowed, b);
    if (st)
        free(b);
    else
        hold(b, loan->number);
    return st;
}

/* A number higher than all before, a slot that nothing is held in. */
static bool is_next(const struct psn_near *n, const struct psn_loan *loan,
                    const struct psn_loan *before)
{
    return loan->number > (before ? before->number : n->seen) && loan->sheet <= 1 &&
           (!before || loan->frame > before->frame) && loan->slot < LOANS &&
           atomic_load_explicit(&n->page[loan->slot], memory_order_relaxed) == 0;
}

/* Numbers and places of the loans are good, and so is the count of all frames. */
static bool is_good(const struct psn_near *n, const struct psn_envelope *e,
                    const struct ps_parcel *p)
{
    uint32_t n_all = e->n_loans + p->n_frames;

    if (n_all > PS_FRAMES_MAX)
        return false;
    for (uint32_t i = 0; i < e->n_loans; i++)
        if (e->loans[i].frame >= n_all ||
            !is_next(n, &e->loans[i], i ? &e->loans[i - 1] : NULL))
            return false;
    return true;
}

/* A segment is shown before the first loan of it, so whoever knows them all need not
 * ask the kernel; which those of a sheet are only its list says. */
static bool knows_segments(const struct psn_near *n, const struct psn_envelope *e)
{
    for (uint32_t i = 0; i < e->n_loans; i++)
        if (e->loans[i].sheet || !psn_near_segment(n, e->loans[i].segment))
            return false;
    return true;
}

ps_status psn_near_borrow(struct psn_near *n, const struct psn_envelope *e,
                          struct ps_parcel *p)
{
    struct ps_buf *frames[PS_FRAMES_MAX];
    uint32_t       n_all = e->n_loans + p->n_frames, sent = p->n_frames, got = 0;
    ps_status      st = PS_OK;

    if (!n->up || !is_good(n, e, p) || (!knows_segments(n, e) && psn_near_listen(n)))
        return PS_ERR_BAD_MESSAGE;
    psn_near_unmap_gone(n);
    for (uint32_t i = 0; i < n_all; i++)
        frames[i] = NULL;
    for (; !st && got < e->n_loans; got++)
        st = borrow(n, &e->loans[got], &frames[e->loans[got].frame]);
    if (e->n_loans)
        n->seen = e->loans[e->n_loans - 1].number;
    atomic_store_explicit(&n->page[SEEN], n->seen, memory_order_release);
    for (uint32_t i = 0, raw = 0; i < n_all; i++)
        if (!frames[i] && raw < sent && !st)
            frames[i] = p->frames[raw++];
    if (!st) {
        memcpy(p->frames, frames, n_all * sizeof(frames[0]));
        p->n_frames = n_all;
        return PS_OK;
    }
    for (uint32_t i = 0; i < n_all; i++)
        ps_buf_drop(&frames[i]);
    return st;
}

bool psn_near_has_returned(struct psn_near *n)
{
    return atomic_exchange_explicit(&n->returned, false, memory_order_relaxed);
}
