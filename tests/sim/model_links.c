/* model_links.c - a host's link to the network; see model.h. */
#include "tests/sim/model_private.h"

static void move_next(struct model *m, struct link *l);

static void has_arrived(struct model *m, struct event *e)
{
    struct message *f = (struct message *)e;

    link_put(m, &f->to->thread.host->in, f->from->thread.host->number, f);
}

static void is_through(struct model *m, struct event *e)
{
    struct link    *l = (struct link *)e;
    struct message *f = l->moving;

    l->moving = NULL;
    if (l->receives)
        process_receive(m, f);
    move_next(m, l);
}

/* Of each flow that has something one message in turn. */
static void move_next(struct model *m, struct link *l)
{
    struct flow *flow = l->first;
    uint64_t     ns;

    if (l->moving || !flow)
        return;
    l->first = flow->next;
    if (!l->first)
        l->end = &l->first;
    l->moving = mailbox_take(&flow->box);
    if (flow->box.first) {
        flow->next = NULL;
        *l->end = flow;
        l->end = &flow->next;
    }
    ns = model_ns((double)l->moving->bytes / m->s->bandwidth * 1e9);
    l->bytes += l->moving->bytes;
    l->busy_ns += ns;
    l->event.happen = is_through;
    model_after(m, ns, &l->event);
    if (!l->receives) { /* its first byte is there while the last is still to be sent */
        l->moving->event.happen = has_arrived;
        model_after(m, model_ns(m->s->latency_us * 1e3), &l->moving->event);
    }
}

void link_put(struct model *m, struct link *l, uint32_t other, struct message *f)
{
    struct flow *flow = &l->flows[other];

    if (!flow->box.first) {
        flow->next = NULL;
        *l->end = flow;
        l->end = &flow->next;
    }
    mailbox_put(&flow->box, f);
    move_next(m, l);
}
