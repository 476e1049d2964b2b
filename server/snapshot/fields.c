/* fields.c - see fields.h. */
#include "server/snapshot/fields.h"

#include <assert.h>
#include <math.h>
#include <string.h>

struct field {
    uint16_t offset;
    uint8_t  bytes; /* 8: u64 or double, 4: u32, 1: bool */
};

#define COUNT(array) (sizeof(array) / sizeof((array)[0]))
#define JOB(member)                                                                    \
    {                                                                                  \
        offsetof(struct ps_job_spec, member),                                          \
            sizeof(((struct ps_job_spec *)0)->member)                                  \
    }
#define MATRIX(member)                                                                 \
    {                                                                                  \
        offsetof(struct ps_matrix_spec, member),                                       \
            sizeof(((struct ps_matrix_spec *)0)->member)                               \
    }

/* The order is that of the files: never changed, only longer. */
static const struct field job_fields[] = {
    JOB(workers),
    JOB(strategy),
    JOB(spares),
    JOB(slack),
    JOB(scale),
    JOB(lambda),
    JOB(nfetch),
    JOB(npush),
    JOB(local),
    JOB(average),
    JOB(aggregate),
    JOB(on_loss),
    JOB(nonfinite),
    JOB(seed),
    JOB(clocks_per_epoch),
    JOB(ack),
    JOB(snapshot_every),
    JOB(snapshot_ms),
    JOB(optimiser.kind),
    JOB(optimiser.lr),
    JOB(optimiser.momentum),
    JOB(optimiser.beta1),
    JOB(optimiser.beta2),
    JOB(optimiser.rho),
    JOB(optimiser.epsilon),
    JOB(optimiser.weight_decay),
    JOB(optimiser.ftrl_beta),
    JOB(optimiser.ftrl_l1),
    JOB(optimiser.ftrl_l2),
    JOB(optimiser.schedule.kind),
    JOB(optimiser.schedule.factor),
    JOB(optimiser.schedule.floor),
    JOB(optimiser.schedule.every),
    JOB(optimiser.schedule.warmup),
    JOB(optimiser.schedule.epochs),
    JOB(max_rollback),
};

static const struct field matrix_fields[] = {
    MATRIX(number),    MATRIX(dtype),        MATRIX(sparse),   MATRIX(rows),
    MATRIX(cols),      MATRIX(init),         MATRIX(init_a),   MATRIX(init_b),
    MATRIX(optimiser), MATRIX(weight_decay), MATRIX(max_rows), MATRIX(evict),
};

/* A member more: it belongs into the table, and into the size here. */
static_assert(sizeof(struct ps_job_spec) == PS_NAME_BYTES + 264, "job_fields");
static_assert(sizeof(struct ps_matrix_spec) == PS_NAME_BYTES + 88, "matrix_fields");

static void put_fields(struct psd_writer *w, const void *spec,
                       const struct field *fields, size_t n)
{
    psd_put_u32(w, (uint32_t)n);
    for (size_t i = 0; i < n; i++) {
        uint64_t value = 0;

        memcpy(&value, (const char *)spec + fields[i].offset, fields[i].bytes);
        psd_put_u64(w, value);
    }
}

static ps_status take_field(struct psd_reader *r, void *spec, const struct field *f)
{
    uint64_t  value;
    ps_status st = psd_take_u64(r, &value);

    if (st)
        return st;
    if ((f->bytes == 4 && value > UINT32_MAX) || (f->bytes == 1 && value > 1))
        return ps_fail(PS_ERR_DATA, "snapshot: %ju where a smaller number was expected",
                       (uintmax_t)value);
    memcpy((char *)spec + f->offset, &value, f->bytes);
    return PS_OK;
}

static ps_status take_fields(struct psd_reader *r, void *spec,
                             const struct field *fields, size_t n)
{
    uint32_t  there;
    ps_status st = psd_take_u32(r, &there);

    if (!st && there > n)
        st = ps_fail(PS_ERR_DATA,
                     "snapshot: %u settings, expected %zu: it is of a newer psd", there,
                     n);
    for (uint32_t i = 0; !st && i < there; i++)
        st = take_field(r, spec, &fields[i]);
    return st;
}

void psd_put_job_spec(struct psd_writer *w, const struct ps_job_spec *spec)
{
    psd_put_text(w, spec->name);
    put_fields(w, spec, job_fields, COUNT(job_fields));
}

void psd_put_matrix_spec(struct psd_writer *w, const struct ps_matrix_spec *spec)
{
    psd_put_text(w, spec->name);
    put_fields(w, spec, matrix_fields, COUNT(matrix_fields));
}

ps_status psd_take_job_spec(struct psd_reader *r, struct ps_job_spec *out)
{
    ps_status st;

    *out = ps_job_spec_default();
    st = psd_take_text(r, out->name, sizeof(out->name));
    if (!st)
        st = take_fields(r, out, job_fields, COUNT(job_fields));
    if (st)
        return st;
    return ps_job_spec_check(out) ? PS_ERR_DATA : PS_OK;
}

ps_status psd_take_matrix_spec(struct psd_reader *r, struct ps_matrix_spec *out)
{
    ps_status st;

    *out = (struct ps_matrix_spec){ .weight_decay = NAN };
    st = psd_take_text(r, out->name, sizeof(out->name));
    if (!st)
        st = take_fields(r, out, matrix_fields, COUNT(matrix_fields));
    if (st)
        return st;
    return ps_matrix_spec_check(out) ? PS_ERR_DATA : PS_OK;
}
