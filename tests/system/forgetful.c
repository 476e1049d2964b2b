/*
 * forgetful.c - the kernels of a psd that leaves out a step now and then, and says
 * nothing; what measures or checks psd has to find it.
 */
#define psd_backend_cpu true_backend
#include "server/compute/cpu.c"
#undef psd_backend_cpu

#include <stdatomic.h>

#define FORGOTTEN 3u /* one in so many */

static bool is_forgotten(void)
{
    static atomic_uint n_steps;

    return atomic_fetch_add(&n_steps, 1) % FORGOTTEN == FORGOTTEN - 1;
}

static void step(uint32_t kind, uint32_t dtype, const struct psd_hyper *h, size_t n,
                 void *w, void *const *s, const void *g)
{
    if (!is_forgotten())
        true_backend.step(kind, dtype, h, n, w, s, g);
}

/* Without the last of them. */
static void step_rows(uint32_t kind, uint32_t dtype, const struct psd_hyper *h,
                      size_t n, size_t cols, void *const *rows, const void *const *g)
{
    true_backend.step_rows(kind, dtype, h, is_forgotten() ? n - 1 : n, cols, rows, g);
}

const struct psd_backend psd_backend_cpu = {
    .name = "forgetful",
    .set = cpu_set,
    .add = cpu_add,
    .finite = cpu_finite,
    .copy = cpu_copy,
    .share = cpu_share,
    .compensate = cpu_compensate,
    .step = step,
    .step_rows = step_rows,
    .gather = cpu_gather,
};
