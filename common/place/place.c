/* place.c - see place.h. */
#include "common/place/place.h"

#include <string.h>

/* ---- slots --------------------------------------------------------------------- */

static uint64_t round_up(uint64_t n, uint64_t unit)
{
    return (n + unit - 1) / unit * unit;
}

static void cut_dense(struct ps_place *place)
{
    uint64_t bytes = place->n_elements * place->element_bytes;
    uint64_t slots = bytes < PS_ONE_SLOT_BYTES ? 1 : PS_DENSE_SLOTS;
    uint64_t each = (place->n_elements + slots - 1) / slots;

    place->slot_elements = round_up(each, PS_SLOT_ALIGN);
    place->n_slots = (uint32_t)((place->n_elements + place->slot_elements - 1) /
                                place->slot_elements);
}

void ps_place_cut(struct ps_place *place, const struct ps_matrix_spec *spec)
{
    memset(place, 0, sizeof(*place));
    place->is_whole = true;
    place->sparse = spec->sparse;
    place->element_bytes = (uint32_t)ps_dtype_bytes(spec->dtype);
    if (spec->sparse) {
        place->n_slots = PS_SPARSE_SLOTS;
        return;
    }
    place->n_elements = ps_matrix_elements(spec);
    cut_dense(place);
}

uint64_t ps_place_slot(const struct ps_place *place, uint32_t slot, uint64_t *count)
{
    uint64_t first = slot * place->slot_elements;
    uint64_t left = place->n_elements - first;

    *count = left < place->slot_elements ? left : place->slot_elements;
    return first;
}

/* ---- who gets them ------------------------------------------------------------- */

static uint32_t least_loaded(const uint64_t *load, uint32_t n_shards)
{
    uint32_t least = 0;

    for (uint32_t s = 1; s < n_shards; s++)
        if (load[s] < load[least])
            least = s;
    return least;
}

/*
 * To which height does `bytes` of water rise over the loads?  A shard whose load is
 * above the level stays dry, so it is left out and the level looked for again.
 */
static uint64_t water_level(const uint64_t *load, uint32_t n_shards, uint64_t bytes)
{
    uint64_t level = UINT64_MAX;

    for (;;) {
        uint64_t sum = bytes, n = 0, next;

        for (uint32_t s = 0; s < n_shards; s++)
            if (load[s] < level) {
                sum += load[s];
                n++;
            }
        next = (sum + n - 1) / n;
        if (next >= level)
            return level;
        level = next;
    }
}

/*
 * Shard by shard in the order of their numbers, each takes slots until what was given
 * out so far is nearest to what they should have together.  So no error is carried on
 * from one shard to the next.
 */
static void spread_dense(struct ps_place *place, uint64_t *load, uint32_t n_shards)
{
    uint64_t slot_bytes = place->slot_elements * place->element_bytes;
    uint64_t bytes = place->n_elements * place->element_bytes;
    uint64_t level = water_level(load, n_shards, bytes);
    uint64_t wanted = 0;
    uint32_t slot = 0;

    for (uint32_t s = 0; s < n_shards; s++) {
        uint64_t until;

        if (load[s] < level)
            wanted += level - load[s];
        until =
            wanted < bytes ? (wanted + slot_bytes / 2) / slot_bytes : place->n_slots;
        for (; slot < until && slot < place->n_slots; slot++) {
            uint64_t count;

            ps_place_slot(place, slot, &count);
            place->shard_of[slot] = (uint16_t)s;
            load[s] += count * place->element_bytes;
        }
    }
}

/* To be called when slots have been given to shards. */
static void look_whether_whole(struct ps_place *place)
{
    place->is_whole = true;
    for (uint32_t slot = 1; place->is_whole && slot < place->n_slots; slot++)
        place->is_whole = place->shard_of[slot] == place->shard_of[0];
}

void ps_place_assign(struct ps_place *place, uint64_t *load, uint32_t n_shards)
{
    if (place->sparse) {
        for (uint32_t slot = 0; slot < place->n_slots; slot++)
            place->shard_of[slot] = (uint16_t)(slot * n_shards / place->n_slots);
    } else if (place->n_slots == 1) {
        uint32_t shard = least_loaded(load, n_shards);

        place->shard_of[0] = (uint16_t)shard;
        load[shard] += place->n_elements * place->element_bytes;
    } else {
        spread_dense(place, load, n_shards);
    }
    look_whether_whole(place);
}

/* ---- where is it? -------------------------------------------------------------- */

/* The output function of splitmix64 (Steele, Lea, Flood, OOPSLA 2014). */
static uint64_t mix(uint64_t key)
{
    uint64_t z = key + 0x9e3779b97f4a7c15u;

    z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9u;
    z = (z ^ (z >> 27)) * 0x94d049bb133111ebu;
    return z ^ (z >> 31);
}

uint32_t ps_place_key_slot(uint64_t key)
{
    return (uint32_t)(mix(key) >> 52); /* the 12 highest bits: 4096 slots */
}

uint32_t ps_place_key_shard(const struct ps_place *place, uint64_t key)
{
    return place->shard_of[ps_place_key_slot(key)];
}

void ps_place_key_shards(const struct ps_place *place, const uint64_t *keys, uint64_t n,
                         uint16_t *shards)
{
    for (uint64_t i = 0; i < n; i++)
        shards[i] = place->shard_of[ps_place_key_slot(keys[i])];
}

uint64_t ps_place_keys_on(const struct ps_place *place, uint32_t shard,
                          const uint64_t *keys, uint64_t n)
{
    uint64_t i = 0;

    if (place->is_whole)
        return place->shard_of[0] == shard ? n : 0;
    while (i < n && place->shard_of[ps_place_key_slot(keys[i])] == shard)
        i++;
    return i;
}

uint64_t ps_place_chunk_elements(const struct ps_place *place)
{
    return PS_CHUNK_BYTES / place->element_bytes;
}

bool ps_place_next(const struct ps_place *place, uint64_t *at, uint64_t end,
                   struct ps_piece *piece)
{
    uint64_t chunk = ps_place_chunk_elements(place);
    uint64_t stop = (*at / chunk + 1) * chunk;
    uint32_t slot;

    if (end > place->n_elements)
        end = place->n_elements;
    if (*at >= end)
        return false;
    slot = (uint32_t)(*at / place->slot_elements);
    if (stop > end)
        stop = end;
    piece->shard = place->shard_of[slot];
    piece->first = *at;
    while (++slot < place->n_slots && slot * place->slot_elements < stop)
        if (place->shard_of[slot] != piece->shard)
            stop = slot * place->slot_elements;
    piece->count = stop - *at;
    *at = stop;
    return true;
}

uint32_t ps_place_runs(const struct ps_place *place, struct ps_slot_run *runs,
                       uint32_t room)
{
    uint32_t n = 0;

    for (uint32_t slot = 0; slot < place->n_slots; slot++) {
        if (slot == 0 || place->shard_of[slot] != place->shard_of[slot - 1]) {
            if (n < room)
                runs[n] = (struct ps_slot_run){ .shard = place->shard_of[slot] };
            n++;
        }
        if (n <= room)
            runs[n - 1].n_slots++;
    }
    return n;
}

bool ps_place_take_runs(struct ps_place *place, const struct ps_slot_run *runs,
                        uint32_t n_runs, uint32_t n_shards)
{
    uint32_t slot = 0;

    for (uint32_t i = 0; i < n_runs; i++) {
        if (runs[i].shard >= n_shards || runs[i].n_slots > place->n_slots - slot)
            return false;
        for (uint32_t end = slot + runs[i].n_slots; slot < end; slot++)
            place->shard_of[slot] = (uint16_t)runs[i].shard;
    }
    look_whether_whole(place);
    return slot == place->n_slots;
}
