/* ask.c - see ask.h. */
#include "tools/ask.h"

#include "common/net/net.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define ASK_AGAIN_MS 1000 /* a question may be lost; all of them are harmless */

struct asker {
    struct ps_net     *net;
    struct ps_link    *link;
    struct ps_decoder *decoder;
    struct ps_parcel   answer;
    uint64_t           request;
    char               coordinator[PS_ENDPOINT_BYTES];
    char               token[PS_NAME_BYTES];
};

ps_status asker_open(struct asker **out, const char *coordinator, const char *token)
{
    struct asker *a = calloc(1, sizeof(*a));
    ps_status     st;

    if (!a)
        return ps_fail(PS_ERR_NO_MEMORY, "no memory");
    snprintf(a->coordinator, sizeof(a->coordinator), "%s", coordinator);
    snprintf(a->token, sizeof(a->token), "%s", token);
    st = ps_net_new(&a->net);
    if (!st)
        st = ps_decoder_new(&a->decoder);
    if (!st)
        st = ps_link_open(&a->link, a->net, a->coordinator);
    if (st) {
        asker_close(&a);
        return st;
    }
    *out = a;
    return PS_OK;
}

void asker_close(struct asker **a)
{
    struct asker *gone = *a;

    *a = NULL;
    if (!gone)
        return;
    ps_parcel_drop(&gone->answer);
    if (gone->link)
        ps_link_close(&gone->link, 0);
    ps_decoder_free(&gone->decoder);
    ps_net_free(&gone->net);
    free(gone);
}

static ps_status send_question(struct asker *a, struct ps_header *h)
{
    struct ps_parcel p = { .route = { .kind = PS_ROUTE_COORDINATOR } };
    ps_status        st;

    h->request = ++a->request;
    h->text = "";
    h->token = a->token;
    st = ps_wire_encode(h, &p.head);
    if (st)
        return st;
    st = ps_link_send(a->link, &p);
    return st == PS_ERR_TIMEOUT ? PS_OK : st; /* not connected yet: asked again */
}

/* Waits for an answer to any of the questions from `first` on. */
static ps_status receive(struct asker *a, uint64_t first, int timeout_ms,
                         struct ps_header *answer)
{
    struct ps_poll poll = { .link = a->link };
    ps_status      st = ps_net_poll(&poll, 1, timeout_ms);

    if (!st && !poll.ready)
        st = PS_ERR_TIMEOUT;
    if (st)
        return st;
    ps_parcel_drop(&a->answer);
    st = ps_link_receive(a->link, &a->answer);
    if (!st)
        st = ps_wire_decode(a->decoder, a->answer.head->data, a->answer.head->len,
                            answer);
    if (!st && answer->request < first)
        st = PS_ERR_TIMEOUT; /* an answer to an older question: look again */
    return st;
}

/* Asks again each `again_ms`. */
static ps_status ask_again(struct asker *a, struct ps_header *question, int timeout_ms,
                           int again_ms, struct ps_header *answer)
{
    const uint64_t first = a->request + 1;
    const uint64_t end = ps_now_ns() + (uint64_t)timeout_ms * 1000000u;
    uint64_t       again = 0;
    uint64_t       now;

    while ((now = ps_now_ns()) < end) {
        uint64_t  next;
        ps_status st = PS_OK;

        if (now >= again) {
            again = now + (uint64_t)again_ms * 1000000u;
            st = send_question(a, question);
        }
        next = again < end ? again : end;
        if (!st)
            st = receive(a, first, (int)((next - now) / 1000000u) + 1, answer);
        if (st == PS_OK && answer->kind == PS_MSG_ERROR)
            return ps_fail(answer->status ? answer->status : PS_ERR_BAD_MESSAGE, "%s",
                           answer->text);
        if (st != PS_ERR_TIMEOUT)
            return st;
    }
    return ps_fail(PS_ERR_UNAVAILABLE, "no psd answers at %s within %g s",
                   a->coordinator, timeout_ms / 1000.0);
}

static ps_status ask(struct asker *a, struct ps_header *question, int timeout_ms,
                     struct ps_header *answer)
{
    return ask_again(a, question, timeout_ms, ASK_AGAIN_MS, answer);
}

static ps_status join_frames(const struct ps_parcel *p, char **text, size_t *bytes)
{
    *bytes = 0;
    for (uint32_t i = 0; i < p->n_frames; i++)
        *bytes += p->frames[i]->len;
    *text = malloc(*bytes + 1);
    if (!*text)
        return ps_fail(PS_ERR_NO_MEMORY, "no memory for a status of %zu bytes", *bytes);
    for (uint32_t i = 0, at = 0; i < p->n_frames; i++) {
        memcpy(*text + at, p->frames[i]->data, p->frames[i]->len);
        at += (uint32_t)p->frames[i]->len;
    }
    return PS_OK;
}

ps_status asker_status(struct asker *a, int timeout_ms, json_t **out)
{
    struct ps_header question = { .kind = PS_MSG_STATUS, .name = "" };
    struct ps_header answer;
    json_error_t     why;
    char            *text;
    size_t           bytes;
    ps_status        st = ask(a, &question, timeout_ms, &answer);

    if (st)
        return st;
    st = join_frames(&a->answer, &text, &bytes);
    if (st)
        return st;
    *out = json_loadb(text, bytes, 0, &why);
    free(text);
    if (!*out)
        return ps_fail(PS_ERR_BAD_MESSAGE, "the status from %s is no JSON: %s",
                       a->coordinator, why.text);
    return PS_OK;
}

ps_status asker_watch(struct asker *a, const char *job, uint64_t after, int timeout_ms,
                      struct ps_header *h)
{
    struct ps_header question = { .kind = PS_MSG_WATCH, .name = job, .after = after };

    return ask(a, &question, timeout_ms, h);
}

ps_status asker_checkpoint(struct asker *a, const char *job, int timeout_ms,
                           uint64_t *clock)
{
    struct ps_header question = { .kind = PS_MSG_CHECKPOINT, .name = job };
    struct ps_header answer;
    ps_status        st = ask_again(a, &question, timeout_ms, timeout_ms, &answer);

    if (!st)
        *clock = answer.clock;
    return st;
}
