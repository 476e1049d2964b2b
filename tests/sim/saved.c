/* saved.c - see saved.h. */
#include "tests/sim/saved.h"

#include "tests/sim/mail.h"

#define SLOW_DISK 50u
#define ENDING_NS (PLAN_SECOND / 20) /* until a psd whose disk failed has stopped */

static uint64_t disk_time(struct world *w, const struct disk *d)
{
    uint64_t ns = w->plan->disk_ns + world_draw(w, w->plan->disk_ns);

    return w->now_ns + (d->slow_ns > w->now_ns ? SLOW_DISK * ns : ns);
}

/* While a disk is to fail, the first write does, and then one of two. */
bool saved_fails(struct world *w, struct disk *d)
{
    bool strikes = d->strikes;

    if (d->dead || d->fail_ns <= w->now_ns)
        return d->dead;
    d->strikes = false;
    return strikes || world_draw(w, 2);
}

/* What a psd does that cannot trust its disk any more, in a moment: it says that it
 * ends to its coordinator and nobody else. */
static void begin_end(struct world *w, uint32_t i)
{
    world_say(w, "host %u: its disk has failed", i);
    disk_die(&w->hosts[i].disk);
    w->hosts[i].end_ns = w->now_ns + world_draw(w, ENDING_NS);
}

static void run_errands(struct world *w, const struct node *at)
{
    struct host      *h = &w->hosts[at->host];
    struct psd_errand errand;

    while (psd_shard_errand(h->shards[at->shard], &errand)) {
        bool fails =
            errand.kind == PSD_FORGET && !h->disk.dead && saved_fails(w, &h->disk);

        if ((!fails || world_draw(w, 2)) &&
            disk_take(&h->disk, at->shard, &errand, disk_time(w, &h->disk)))
            world_wrong(w, "simulator: %s", ps_log_last_error());
        if (fails)
            begin_end(w, at->host);
    }
}

static void keep_memory(struct disk *d, struct ps_buf **memory)
{
    ps_buf_drop(&d->memory);
    d->memory = *memory;
    *memory = NULL;
}

/* Before anybody hears of it.  False: nobody may. */
static bool remember(struct world *w)
{
    struct host   *h = &w->hosts[0];
    struct ps_buf *memory;

    if (h->mute)
        return false;
    if (psd_coordinator_save(w->coordinator, &memory)) {
        world_wrong(w, "coordinator: %s", ps_log_last_error());
        return false;
    }
    if (!memory)
        return true;
    if (!saved_fails(w, &h->disk)) {
        keep_memory(&h->disk, &memory);
        return true;
    }
    if (!h->disk.dead && world_draw(w, 2))
        keep_memory(&h->disk, &memory);
    ps_buf_drop(&memory);
    h->mute = true;
    if (!h->disk.dead)
        begin_end(w, 0);
    return false;
}

void saved_post_shard(struct world *w, const struct node *at)
{
    mail_post(w, at);
    run_errands(w, at);
}

void saved_post_coordinator(struct world *w, const struct node *at)
{
    if (remember(w))
        mail_post(w, at);
    else
        ps_outbox_clear(&w->out);
}

void saved_run(struct world *w, uint32_t i)
{
    struct host       *h = &w->hosts[i];
    const struct disk *disks[PLAN_HOSTS];
    size_t             n = 0;
    uint64_t           n_works = h->disk.n_works;
    struct node        at = { .kind = NODE_SHARD, .host = (uint8_t)i, .life = h->life };

    if (!h->life || n_works == 0 || disk_next(&h->disk) > w->now_ns)
        return;
    if (disk_first(&h->disk)->kind == PSD_SAVE && saved_fails(w, &h->disk)) {
        disk_fail(&h->disk, world_draw(w, 2));
        begin_end(w, i);
        return;
    }
    for (uint32_t k = 0; k < PLAN_HOSTS; k++)
        if (k == i || w->plan->shared)
            disks[n++] = &w->hosts[k].disk;
    at.shard = (uint16_t)disk_first(&h->disk)->shard;
    disk_finish(&h->disk, h->shards, w->now_ns, disks, n, &w->out);
    saved_post_shard(w, &at);
}
