/* clerk.c - see clerk.h. */
#include "server/daemon/clerk.h"

#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>

struct order {
    struct psd_errand  errand;
    struct psd_answer *answer; /* made before it is taken, so that it cannot fail */
    struct psd_desk   *desk;   /* NULL: it is gone, and nobody waits */
    struct order      *next;
};

struct psd_desk {
    struct psd_clerk  *clerk;
    struct ps_signal  *signal;
    struct psd_answer *first, **last;
};

struct psd_clerk {
    struct psd_vault *vault, *other;
    struct ps_signal *failed;
    pthread_t         thread;
    pthread_mutex_t   mutex; /* of what follows, of desks and of what is in them */
    pthread_cond_t    more;
    struct order     *first, **last;
    struct order     *now; /* the one under way */
    bool              stop;
    ps_status         status;
};

void psd_answer_free(struct psd_answer **answer)
{
    struct psd_answer *a = *answer;

    *answer = NULL;
    if (!a)
        return;
    for (uint32_t i = 0; i < PS_SETS_MAX; i++)
        psd_image_free(&a->images[i]);
    free(a);
}

static void order_free(struct order *o)
{
    psd_image_free(&o->errand.image);
    psd_answer_free(&o->answer);
    free(o);
}

/* ---- errands --------------------------------------------------------------------- */

static bool is_part_of(const struct ps_part *p, const struct ps_part *parts, uint32_t n)
{
    for (uint32_t i = 0; i < n; i++)
        if (p->index == parts[i].index && p->n_shards == parts[i].n_shards &&
            p->life == parts[i].life && p->set == parts[i].set)
            return true;
    return false;
}

static bool is_newer(const struct ps_part *a, const struct ps_part *b)
{
    return a->life != b->life ? a->life > b->life : a->set > b->set;
}

/* What `parts` lacks, at its place; the oldest make way. */
static void merge(struct psd_answer *a, const struct ps_part *more, uint32_t n_more)
{
    for (uint32_t i = 0; i < n_more; i++) {
        uint32_t at = 0;

        if (is_part_of(&more[i], a->parts, a->n))
            continue;
        while (at < a->n && !is_newer(&more[i], &a->parts[at]))
            at++;
        if (at == PS_SETS_MAX)
            continue;
        if (a->n < PS_SETS_MAX)
            a->n++;
        memmove(&a->parts[at + 1], &a->parts[at], (a->n - 1 - at) * sizeof(*a->parts));
        a->parts[at] = more[i];
    }
}

static ps_status list(struct psd_clerk *c, const struct psd_errand *e,
                      struct psd_answer *a)
{
    struct ps_part more[PS_SETS_MAX];
    uint32_t       n_more;
    ps_status      st =
        psd_vault_list(c->vault, e->job, e->run, a->parts, PS_SETS_MAX, &a->n);

    if (st || !c->other)
        return st;
    st = psd_vault_list(c->other, e->job, e->run, more, PS_SETS_MAX, &n_more);
    if (!st)
        merge(a, more, n_more);
    return st;
}

/* From the own folder, or where it has it not, or damaged, from the other. */
static ps_status load_part(struct psd_clerk *c, const struct psd_errand *e,
                           const struct ps_part *part, struct psd_image **out)
{
    ps_status st = psd_vault_load(c->vault, e->job, e->run, part, out);

    if (c->other && (st == PS_ERR_UNKNOWN || st == PS_ERR_DATA))
        st = psd_vault_load(c->other, e->job, e->run, part, out);
    if (st == PS_ERR_UNKNOWN)
        st = ps_fail(PS_ERR_DATA, "job %s: part %u of %u of snapshot %ju is not here",
                     e->job, part->index, part->n_shards, (uintmax_t)part->set);
    return st;
}

static ps_status load(struct psd_clerk *c, const struct psd_errand *e,
                      struct psd_answer *a)
{
    ps_status st = PS_OK;

    for (a->n = 0; !st && a->n < e->n_parts; a->n++)
        st = load_part(c, e, &e->parts[a->n], &a->images[a->n]);
    if (st)
        a->n = 0;
    return st;
}

static ps_status run_errand(struct psd_clerk *c, struct psd_errand *e,
                            struct psd_answer *a)
{
    switch (e->kind) {
    case PSD_SAVE: return psd_vault_save(c->vault, e->image);
    case PSD_LOAD: return load(c, e, a);
    case PSD_LIST: return list(c, e, a);
    case PSD_FORGET: return psd_vault_forget(c->vault, e->job, e->run, &e->parts[0]);
    }
    return PS_ERR_BAD_ARG;
}

/* Without the lock. */
static void run_order(struct psd_clerk *c, struct order *o)
{
    struct psd_answer *a = o->answer;

    a->kind = o->errand.kind;
    a->id = o->errand.id;
    a->status = run_errand(c, &o->errand, a);
    if (a->status)
        snprintf(a->why, sizeof(a->why), "%s", ps_log_last_error());
    psd_image_free(&o->errand.image);
}

/* ---- the thread ------------------------------------------------------------------ */

/* With the lock. */
static void answer(struct order *o)
{
    struct psd_desk *d = o->desk;

    if (d && o->errand.kind != PSD_FORGET) {
        *d->last = o->answer;
        d->last = &o->answer->next;
        o->answer = NULL;
        ps_signal_raise(d->signal);
    }
}

static void take_order(struct psd_clerk *c)
{
    struct order *o = c->first;
    bool          wanted = o->desk || o->errand.kind == PSD_SAVE;

    c->first = o->next;
    if (!c->first)
        c->last = &c->first;
    c->now = o;
    pthread_mutex_unlock(&c->mutex);
    if (wanted)
        run_order(c, o);
    pthread_mutex_lock(&c->mutex);
    c->now = NULL;
    if (o->answer->status == PS_ERR_IO || o->answer->status == PS_ERR_STALE) {
        c->status = o->answer->status;
        ps_signal_raise(c->failed);
    }
    if (!c->status) /* what cannot be read now is not damaged: nobody is told so */
        answer(o);
    order_free(o);
}

/* Where processors are short, pushes go before snapshots.  Of the calling thread alone,
 * as Linux has it. */
#define NICE 10

static void *run(void *arg)
{
    struct psd_clerk *c = arg;

    (void)setpriority(PRIO_PROCESS, 0, NICE); /* without it, it works all the same */
    pthread_mutex_lock(&c->mutex);
    while (c->first || !c->stop)
        if (c->first)
            take_order(c);
        else
            pthread_cond_wait(&c->more, &c->mutex);
    pthread_mutex_unlock(&c->mutex);
    return NULL;
}

ps_status psd_clerk_start(struct psd_clerk **out, const struct psd_clerk_options *o)
{
    struct psd_clerk *c = calloc(1, sizeof(*c));
    int               failed;

    if (!c)
        return ps_fail(PS_ERR_NO_MEMORY, "psd: no memory for the clerk");
    c->vault = o->vault;
    c->other = o->other;
    c->failed = o->failed;
    c->last = &c->first;
    pthread_mutex_init(&c->mutex, NULL);
    pthread_cond_init(&c->more, NULL);
    failed = pthread_create(&c->thread, NULL, run, c);
    if (failed) {
        free(c);
        return ps_fail(PS_ERR_SYSTEM, "psd: cannot start the clerk's thread: %s",
                       strerror(failed));
    }
    *out = c;
    return PS_OK;
}

ps_status psd_clerk_stop(struct psd_clerk **clerk)
{
    struct psd_clerk *c = *clerk;
    ps_status         st;

    *clerk = NULL;
    if (!c)
        return PS_OK;
    pthread_mutex_lock(&c->mutex);
    c->stop = true;
    pthread_cond_signal(&c->more);
    pthread_mutex_unlock(&c->mutex);
    pthread_join(c->thread, NULL);
    st = c->status;
    pthread_cond_destroy(&c->more);
    pthread_mutex_destroy(&c->mutex);
    free(c);
    return st;
}

/* ---- desks ----------------------------------------------------------------------- */

ps_status psd_desk_new(struct psd_desk **out, struct psd_clerk *clerk)
{
    struct psd_desk *d = calloc(1, sizeof(*d));
    ps_status        st;

    if (!d)
        return ps_fail(PS_ERR_NO_MEMORY, "psd: no memory for a desk");
    d->clerk = clerk;
    d->last = &d->first;
    st = ps_signal_new(&d->signal);
    if (st)
        free(d);
    else
        *out = d;
    return st;
}

void psd_desk_free(struct psd_desk **desk)
{
    struct psd_desk   *d = *desk;
    struct psd_answer *a;

    *desk = NULL;
    if (!d)
        return;
    pthread_mutex_lock(&d->clerk->mutex);
    if (d->clerk->now && d->clerk->now->desk == d)
        d->clerk->now->desk = NULL;
    for (struct order *o = d->clerk->first; o; o = o->next)
        if (o->desk == d)
            o->desk = NULL;
    pthread_mutex_unlock(&d->clerk->mutex);
    while ((a = d->first)) {
        d->first = a->next;
        psd_answer_free(&a);
    }
    ps_signal_free(&d->signal);
    free(d);
}

struct ps_signal *psd_desk_signal(const struct psd_desk *d)
{
    return d->signal;
}

ps_status psd_desk_put(struct psd_desk *d, struct psd_errand *e)
{
    struct psd_clerk *c = d->clerk;
    struct order     *o = calloc(1, sizeof(*o));

    if (!o || !(o->answer = calloc(1, sizeof(*o->answer)))) {
        free(o);
        psd_image_free(&e->image);
        return ps_fail(PS_ERR_NO_MEMORY, "job %s: no memory for an errand", e->job);
    }
    o->errand = *e;
    e->image = NULL;
    o->desk = d;
    pthread_mutex_lock(&c->mutex);
    *c->last = o;
    c->last = &o->next;
    pthread_cond_signal(&c->more);
    pthread_mutex_unlock(&c->mutex);
    return PS_OK;
}

struct psd_answer *psd_desk_take(struct psd_desk *d)
{
    struct psd_answer *a;

    pthread_mutex_lock(&d->clerk->mutex);
    a = d->first;
    if (a) {
        d->first = a->next;
        if (!d->first)
            d->last = &d->first;
        a->next = NULL;
    }
    pthread_mutex_unlock(&d->clerk->mutex);
    return a;
}
