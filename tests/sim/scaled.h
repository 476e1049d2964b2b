/*
 * scaled.h - in the model one element stands for many, so that a large model fits; what
 * is counted in elements or bytes is smaller by as much.  Included before everything
 * else in psim, which has its own objects of common/place and of the worker's requests.
 */
#ifndef TESTS_SIM_SCALED_H
#define TESTS_SIM_SCALED_H

extern unsigned
    sim_one_for; /* elements that one stands for: a power of two, 1 .. 2^14 */

#define PS_CHUNK_BYTES ((1u << 20) / sim_one_for)
#define PS_ONE_SLOT_BYTES ((64u << 10) / sim_one_for)
#define PS_SLOT_ALIGN (sim_one_for < 16 ? 16u / sim_one_for : 1u)

#endif
