/* model_kernels.c - kernels that count what they would do; see model.h. */
#include "server/compute/backend.h"
#include "tests/sim/model_private.h"

static struct kernel_bytes bytes;

static void set_or_add(uint32_t dtype, size_t n, void *dst, double c, const void *src)
{
    (void)dst, (void)c, (void)src;
    bytes.summed += n * ps_dtype_bytes(dtype);
}

static bool is_finite(uint32_t dtype, size_t n, const void *src)
{
    (void)src;
    bytes.checked += n * ps_dtype_bytes(dtype);
    return true;
}

static void share(uint32_t dtype, size_t n, double count, void *mean, void *g)
{
    (void)count, (void)mean, (void)g;
    bytes.summed += n * ps_dtype_bytes(dtype);
}

static void compensate(uint32_t dtype, size_t n, double lambda, void *g, const void *w,
                       const void *was)
{
    (void)lambda, (void)g, (void)w, (void)was;
    bytes.summed += n * ps_dtype_bytes(dtype);
}

static void step(uint32_t kind, uint32_t dtype, const struct psd_hyper *h, size_t n,
                 void *w, void *const *s, const void *g)
{
    (void)kind, (void)h, (void)w, (void)s, (void)g;
    bytes.stepped += n * ps_dtype_bytes(dtype);
}

/* There are no sparse matrices in a simulation. */
static void step_rows(uint32_t kind, uint32_t dtype, const struct psd_hyper *h,
                      size_t n, size_t cols, void *const *rows, const void *const *g)
{
    (void)kind, (void)h, (void)rows, (void)g;
    bytes.stepped += n * cols * ps_dtype_bytes(dtype);
}

static void gather(size_t n, size_t row_bytes, void *out, const void *const *rows)
{
    (void)n, (void)row_bytes, (void)out, (void)rows;
}

const struct psd_backend model_kernels = {
    .name = "counting",
    .set = set_or_add,
    .add = set_or_add,
    .finite = is_finite,
    .share = share,
    .compensate = compensate,
    .step = step,
    .step_rows = step_rows,
    .gather = gather,
};

struct kernel_bytes model_kernels_count(void)
{
    struct kernel_bytes since = bytes;

    bytes = (struct kernel_bytes){ 0 };
    return since;
}
