/* keymap.c - see keymap.h. */
#include "server/shard/keymap.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>

void psd_keymap_free(struct psd_keymap *m)
{
    size_t bytes = m->bytes;

    free(m->keys);
    free(m->places);
    free(m->table);
    *m = (struct psd_keymap){ .bytes = bytes };
}

/* The upper bits of a product; those of a shard's keys that are alike are mixed in. */
static size_t slot_of(const struct psd_keymap *m, uint64_t key)
{
    size_t i = (key ^ key >> 32) * 0x9E3779B97F4A7C15u >> 20 & (m->n_table - 1);

    while (m->table[i] && m->keys[m->table[i] - 1] != key)
        i = (i + 1) & (m->n_table - 1);
    return i;
}

static void fill_table(struct psd_keymap *m)
{
    memset(m->table, 0, m->n_table * sizeof(*m->table));
    for (size_t i = 0; i < m->n; i++)
        m->table[slot_of(m, m->keys[i])] = (uint32_t)i + 1;
}

static ps_status no_memory(size_t keys)
{
    return ps_fail(PS_ERR_NO_MEMORY, "keys: no memory for %zu of them", keys);
}

static ps_status grow_places(struct psd_keymap *m, size_t room)
{
    uint64_t *keys = realloc(m->keys, room * sizeof(*keys));
    uint8_t  *places;

    if (!keys)
        return no_memory(room);
    m->keys = keys;
    if (m->bytes > 0) {
        places = realloc(m->places, room * m->bytes);
        if (!places)
            return no_memory(room);
        m->places = places;
    }
    m->room = room;
    return PS_OK;
}

ps_status psd_keymap_reserve(struct psd_keymap *m, size_t more)
{
    size_t    need = m->n + more, room = m->room ? m->room : 16;
    size_t    n_table = m->n_table ? m->n_table : 32;
    uint32_t *table;
    ps_status st;

    while (room < need)
        room *= 2;
    if (room > UINT32_MAX / 4)
        return ps_fail(PS_ERR_LIMIT, "keys: %zu of them, expected at most %u", need,
                       UINT32_MAX / 4);
    if (room == m->room)
        return PS_OK;
    while (n_table <= 2 * room)
        n_table *= 2;
    table = malloc(n_table * sizeof(*table));
    if (!table)
        return no_memory(room);
    st = grow_places(m, room);
    if (st) {
        free(table);
        return st;
    }
    free(m->table);
    m->table = table;
    m->n_table = n_table;
    fill_table(m);
    return PS_OK;
}

static void *place_of(const struct psd_keymap *m, size_t i)
{
    return m->places + i * m->bytes;
}

bool psd_keymap_has(const struct psd_keymap *m, uint64_t key)
{
    return m->n > 0 && m->table[slot_of(m, key)];
}

void *psd_keymap_find(const struct psd_keymap *m, uint64_t key)
{
    return psd_keymap_has(m, key) ? place_of(m, m->table[slot_of(m, key)] - 1) : NULL;
}

void *psd_keymap_add(struct psd_keymap *m, uint64_t key)
{
    assert(m->n < m->room && !psd_keymap_has(m, key));
    m->table[slot_of(m, key)] = (uint32_t)m->n + 1;
    m->keys[m->n++] = key;
    if (m->bytes == 0)
        return NULL;
    return memset(place_of(m, m->n - 1), 0, m->bytes);
}

void psd_keymap_keep(struct psd_keymap *m, bool (*keep)(void *place, const void *ctx),
                     const void        *ctx)
{
    size_t kept = 0;

    for (size_t i = 0; i < m->n; i++) {
        if (!keep(place_of(m, i), ctx))
            continue;
        if (kept < i) {
            m->keys[kept] = m->keys[i];
            memcpy(place_of(m, kept), place_of(m, i), m->bytes);
        }
        kept++;
    }
    if (kept == m->n)
        return;
    m->n = kept;
    fill_table(m);
}
