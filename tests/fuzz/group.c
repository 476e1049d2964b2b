/*
 * group.c - small messages that came as one: any bytes.
 *
 * Whatever is taken for a group gives as many parcels as it says, all of which can be
 * read to the end after the group has gone, and is written again as it was.
 */
#include "tests/fuzz/fuzz.h"

#include "common/net/group.h"

#include <stdlib.h>
#include <string.h>

static void read_buf(const struct ps_buf *b)
{
    volatile uint8_t sum = 0;

    fuzz_require((uintptr_t)b->data % 8 == 0);
    for (size_t i = 0; i < b->len; i++)
        sum = (uint8_t)(sum + b->data[i]);
}

static void read_parcel(const struct ps_parcel *p)
{
    read_buf(p->head);
    for (uint32_t i = 0; i < p->n_frames; i++)
        read_buf(p->frames[i]);
}

/* Padding that was not zero is the only difference there may be. */
static void write_again(const struct ps_parcel *parcels, size_t n, const uint8_t *key,
                        size_t n_bytes)
{
    struct psn_group again = { 0 };
    struct ps_parcel p;
    uint8_t         *bytes, got[PSN_KEY_BYTES];
    size_t           room;

    if (psn_group_count(parcels, n, &room) != n)
        fuzz_require(false);
    fuzz_require(room == n_bytes);
    bytes = malloc(room);
    fuzz_require(bytes != NULL);
    psn_group_write(parcels, n, key, bytes);
    fuzz_require(psn_group_open(&again, bytes, room, got) == PS_OK);
    free(bytes);
    fuzz_require(memcmp(got, key, sizeof(got)) == 0);
    for (size_t i = 0; i < n; i++) {
        fuzz_require(psn_group_next(&again, &p));
        fuzz_require(p.n_frames == parcels[i].n_frames);
        fuzz_require(p.head->len == parcels[i].head->len &&
                     memcmp(p.head->data, parcels[i].head->data, p.head->len) == 0);
        ps_parcel_drop(&p);
    }
    fuzz_require(!psn_group_next(&again, &p));
}

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t n_bytes)
{
    struct psn_group group = { 0 };
    struct ps_parcel parcels[PS_GROUP_MAX];
    uint8_t          key[PSN_KEY_BYTES];
    size_t           n = 0;

    if (psn_group_open(&group, bytes, n_bytes, key)) {
        fuzz_require(!group.block);
        return 0;
    }
    while (n < PS_GROUP_MAX && psn_group_next(&group, &parcels[n]))
        n++;
    fuzz_require(n > 0 && !group.block);
    for (size_t i = 0; i < n; i++)
        read_parcel(&parcels[i]);
    write_again(parcels, n, key, n_bytes);
    for (size_t i = n; i-- > 0;)
        ps_parcel_drop(&parcels[i]);
    return 0;
}
