/* queue.c - see queue.h. */
#include "tests/sim/queue.h"

#include <stdlib.h>

static bool is_before(const struct queued *a, const struct queued *b)
{
    return a->at_ns != b->at_ns ? a->at_ns < b->at_ns : a->order < b->order;
}

bool queue_put(struct queue *q, struct queued entry)
{
    size_t i = q->n;

    if (q->n == q->room) {
        size_t         room = q->room ? 2 * q->room : 256;
        struct queued *grown = realloc(q->heap, room * sizeof(*grown));

        if (!grown)
            return false;
        q->heap = grown;
        q->room = room;
    }
    q->n++;
    for (; i > 0 && is_before(&entry, &q->heap[(i - 1) / 2]); i = (i - 1) / 2)
        q->heap[i] = q->heap[(i - 1) / 2];
    q->heap[i] = entry;
    return true;
}

struct queued queue_take(struct queue *q)
{
    struct queued first = q->heap[0], last = q->heap[--q->n];
    size_t        i = 0;

    for (size_t c = 1; c < q->n; c = 2 * i + 1) {
        if (c + 1 < q->n && is_before(&q->heap[c + 1], &q->heap[c]))
            c++;
        if (!is_before(&q->heap[c], &last))
            break;
        q->heap[i] = q->heap[c];
        i = c;
    }
    if (q->n > 0)
        q->heap[i] = last;
    return first;
}

void queue_free(struct queue *q)
{
    free(q->heap);
    *q = (struct queue){ 0 };
}
