/*
 * queue.h - what is to happen in a virtual time, the earliest first; of two at the same
 * time the one with the lower order.
 *
 * Thread: one.
 */
#ifndef TESTS_SIM_QUEUE_H
#define TESTS_SIM_QUEUE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct queued {
    uint64_t at_ns, order;
    void    *what; /* the caller's */
};

struct queue {
    struct queued *heap;
    size_t         n, room;
};

/* False: no memory. */
bool queue_put(struct queue *q, struct queued entry);

/* The first; there is one. */
struct queued queue_take(struct queue *q);

void queue_free(struct queue *q);

#endif
