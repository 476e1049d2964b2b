/* envelope.c - what stands before a header; see near.h. */
#include "common/net/near_private.h"

#include <assert.h>
#include <string.h>

struct envelope_head {
    uint8_t  zero, kind, protocol, n_loans;
    uint32_t more_zero;
    uint8_t  name[PSN_NAME_BYTES];
};

static_assert(sizeof(struct envelope_head) == 8 + PSN_NAME_BYTES, "no padding");

size_t psn_envelope_write(const struct psn_envelope *e, uint8_t *to)
{
    struct envelope_head head = { .kind = e->kind,
                                  .protocol = PROTOCOL,
                                  .n_loans = (uint8_t)e->n_loans };

    memcpy(head.name, e->name, sizeof(head.name));
    memcpy(to, &head, sizeof(head));
    memcpy(to + sizeof(head), e->loans, e->n_loans * sizeof(e->loans[0]));
    return sizeof(head) + e->n_loans * sizeof(e->loans[0]);
}

ps_status psn_envelope_read(struct psn_envelope *e, const uint8_t *from, size_t bytes)
{
    struct envelope_head head;

    if (bytes < sizeof(head))
        return PS_ERR_BAD_MESSAGE;
    memcpy(&head, from, sizeof(head));
    if (head.zero != 0 || head.protocol != PROTOCOL || head.n_loans > PS_FRAMES_MAX ||
        head.kind < PSN_WHERE || head.kind > PSN_LOANS ||
        (head.n_loans > 0 && head.kind != PSN_LOANS) ||
        bytes != sizeof(head) + head.n_loans * sizeof(e->loans[0]))
        return PS_ERR_BAD_MESSAGE;
    e->kind = head.kind;
    e->n_loans = head.n_loans;
    memcpy(e->name, head.name, sizeof(e->name));
    memcpy(e->loans, from + sizeof(head), e->n_loans * sizeof(e->loans[0]));
    return PS_OK;
}
