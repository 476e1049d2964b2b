/*
 * near.c - what the other end of a pair on one host may say: words on the unix socket,
 * envelopes, and loans.
 *
 * Whatever it is, what is borrowed can be read to its end, and what was lent comes
 * back.
 */
#include "tests/fuzz/fuzz.h"

#include "common/base/random.h"
#include "common/base/sheet.h"
#include "common/net/near.h"

#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#define BLOCK_BYTES (size_t)40000

static struct psn_near *lender, *borrower;
static struct ps_heap  *heap;
static struct ps_buf   *block;

static void open_ends(void)
{
    uint8_t name[PSN_NAME_BYTES];
    int     listener;

    fuzz_require(ps_random_secret(name, sizeof(name)) == 0);
    listener = psn_near_socket(name, 1);
    fuzz_require(listener >= 0);
    fuzz_require(psn_near_connect(&lender, name) == PS_OK);
    fuzz_require(psn_near_accept(&borrower, accept(listener, NULL, NULL), false) ==
                 PS_OK);
    close(listener);
    fuzz_require(psn_near_listen(borrower) == PS_OK);
    fuzz_require(psn_near_listen(lender) == PS_OK);
    fuzz_require(psn_near_is_up(lender) && psn_near_is_up(borrower));
    fuzz_require(ps_heap_new(&heap) == PS_OK);
    fuzz_require(ps_heap_buf(heap, &block, BLOCK_BYTES) == PS_OK);
    memset(block->data, 7, BLOCK_BYTES);
    block->len = BLOCK_BYTES;
}

static void close_ends(void)
{
    psn_near_drop(&borrower);
    psn_near_drop(&lender);
    ps_buf_drop(&block);
    ps_heap_free(&heap);
}

static void read_sheet(const struct ps_sheet *sheet)
{
    volatile uint8_t sum = 0;

    for (size_t i = 0; sheet && i < sheet->n; i++)
        sum = (uint8_t)(sum + sheet->pieces[i].data[0] +
                        sheet->pieces[i].data[sheet->pieces[i].bytes - 1]);
}

/* To its last byte. */
static void read_all(const struct ps_parcel *p)
{
    volatile uint8_t sum = 0;

    for (uint32_t i = 0; i < p->n_frames; i++)
        read_sheet(p->frames[i]->sheet);
    for (uint32_t i = 0; i < p->n_frames; i++)
        for (size_t at = 0; at < p->frames[i]->len; at += 1000)
            sum = (uint8_t)(sum + p->frames[i]->data[at] +
                            p->frames[i]->data[p->frames[i]->len - 1]);
}

static void borrow(const struct psn_envelope *e, uint32_t n_sent)
{
    struct ps_parcel p = { .n_frames = n_sent };

    for (uint32_t i = 0; i < n_sent; i++)
        fuzz_require(ps_buf_copy(&p.frames[i], "sent", 4) == PS_OK);
    if (psn_near_borrow(borrower, e, &p) == PS_OK) {
        fuzz_require(p.n_frames == n_sent + e->n_loans);
        read_all(&p);
    }
    ps_parcel_drop(&p);
}

/* Bytes as they come. */
static void raw_envelope(struct fuzz_input *in)
{
    struct psn_envelope e;
    const uint8_t      *bytes;
    size_t              n = fuzz_take(in, fuzz_byte(in), &bytes);

    if (psn_envelope_read(&e, bytes, n) == PS_OK)
        borrow(&e, fuzz_byte(in) % 4);
}

/* Loans that are nearly right. */
static void bent_envelope(struct fuzz_input *in)
{
    struct psn_envelope e = { .kind = PSN_LOANS };
    uint32_t            n = 1 + fuzz_byte(in) % 3;

    for (uint32_t i = 0; i < n; i++) {
        struct psn_loan *loan = &e.loans[e.n_loans];
        uint8_t          bend = fuzz_byte(in);

        if (!psn_near_lend(lender, block, loan))
            break;
        e.n_loans++;
        loan->frame = (uint16_t)i;
        if (bend & 1)
            loan->number = fuzz_number(in);
        if (bend & 2)
            loan->segment += fuzz_byte(in);
        if (bend & 4)
            loan->offset = fuzz_number(in);
        if (bend & 8)
            loan->bytes = fuzz_number(in);
        if (bend & 16)
            loan->frame = fuzz_byte(in);
        if (bend & 32)
            loan->slot = (uint32_t)fuzz_number(in);
        if (bend & 64)
            loan->sheet = fuzz_byte(in) % 4;
    }
    borrow(&e, fuzz_byte(in) % 4);
}

/* A sheet whose list says something else when it is read than when it was made. */
static void bent_sheet(struct fuzz_input *in)
{
    struct psn_envelope    e = { .kind = PSN_LOANS, .n_loans = 1 };
    struct ps_buf         *blocks[3] = { block, block, block }, *sheet;
    const size_t           n = 1 + fuzz_byte(in) % 3;
    const uint8_t          bend = fuzz_byte(in);
    struct ps_sheet_place *place;

    fuzz_require(ps_sheet_new(&sheet, 1, heap, blocks, n) == PS_OK);
    place = (void *)sheet->sheet->list->data;
    place += fuzz_byte(in) % sheet->sheet->n;
    if (bend & 1)
        place->segment += fuzz_byte(in);
    if (bend & 2)
        place->offset = fuzz_number(in);
    if (bend & 4)
        place->bytes = fuzz_number(in);
    if (psn_near_lend(lender, sheet, &e.loans[0])) {
        if (bend & 8)
            e.loans[0].bytes = fuzz_number(in);
        borrow(&e, fuzz_byte(in) % 4);
    }
    ps_buf_drop(&sheet);
}

/* One that breaks the rules ends the pair. */
static void word(struct fuzz_input *in)
{
    uint8_t        whole[40] = { 0 };
    const uint8_t *bytes;
    size_t         n = fuzz_take(in, sizeof(whole), &bytes);

    memcpy(whole, bytes, n);
    (void)!send(psn_near_fd(lender), whole, fuzz_byte(in) % 4 ? sizeof(whole) : n,
                MSG_NOSIGNAL | MSG_DONTWAIT);
    if (psn_near_listen(borrower)) {
        close_ends();
        open_ends();
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t n_bytes)
{
    struct fuzz_input in = { bytes, n_bytes };

    open_ends();
    for (int i = 0; i < 16 && in.left > 0; i++)
        switch (fuzz_byte(&in) % 4) {
        case 0: raw_envelope(&in); break;
        case 1: bent_envelope(&in); break;
        case 2: word(&in); break;
        case 3: bent_sheet(&in); break;
        }
    psn_near_sweep(lender);
    close_ends();
    return 0;
}
