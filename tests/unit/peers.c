/* peers.c - see peers.h. */
#include "tests/unit/peers.h"

#include <stdio.h>

struct psd_coordinator *c;
struct ps_outbox        out;
uint64_t                now;

struct ps_parcel mail[KEPT], sent[KEPT];
size_t           n_mail, n_sent;

static const struct play *play;
static struct ps_decoder *reader;

void open_world(const struct play *p)
{
    play = p;
    now = 1000 * SECOND;
    ck_assert_ok(ps_decoder_new(&reader));
}

void close_world(void)
{
    psd_coordinator_free(&c);
    ck_assert_ptr_null(c);
    ps_decoder_free(&reader);
    ps_outbox_free(&out);
    forget(mail, &n_mail);
    forget(sent, &n_sent);
}

struct psd_coordinator_options usual_options(void)
{
    return (struct psd_coordinator_options){
        .server_epoch = EPOCH,
        .random_seed = 42,
        .worker_silence_ns = SILENCE,
        .shard_timeout_ns = SHARD_TIMEOUT,
        .keep_finished = 2,
        .max_jobs = 4,
        .token = "",
        .endpoint = "tcp://127.0.0.1:5570",
    };
}

/* ---- carrying messages ---------------------------------------------------------- */

const struct ps_header *read_head(const struct ps_parcel *p)
{
    static struct ps_header h;

    ck_assert_ok(ps_wire_decode(reader, p->head->data, p->head->len, &h));
    return &h;
}

void forget(struct ps_parcel *list, size_t *n)
{
    for (size_t i = 0; i < *n; i++)
        ps_parcel_drop(&list[i]);
    *n = 0;
}

void keep(struct ps_parcel *list, size_t *n, struct ps_parcel *p)
{
    if (*n == KEPT)
        forget(list, n);
    list[(*n)++] = *p;
    p->head = NULL;
    p->n_frames = 0;
}

struct ps_route peer_route(unsigned peer)
{
    struct ps_route route = { .kind = PS_ROUTE_PEER, .bytes = 2 };

    route.id[0] = (uint8_t)peer;
    route.id[1] = (uint8_t)(peer >> 8);
    return route;
}

static void put_in(struct ps_route route, const struct ps_header *h)
{
    struct ps_parcel p = { .route = route };

    ck_assert_ok(ps_wire_encode(h, &p.head));
    if (play->goes_in)
        play->goes_in(&p);
    psd_coordinator_handle(c, now, &p, &out);
    ck_assert_ptr_null(p.head);
}

void shard_says(uint32_t shard, const struct ps_header *h)
{
    put_in((struct ps_route){ .kind = PS_ROUTE_SHARD, .index = (uint16_t)shard }, h);
}

static void has_worked(void)
{
    if (play->has_worked)
        play->has_worked();
}

static void deliver(struct ps_parcel *p)
{
    if (p->route.kind == PS_ROUTE_SHARD) {
        struct ps_header ask = *read_head(p);

        play->shard_hears(p->route.index, &ask);
        keep(sent, &n_sent, p);
    } else {
        keep(mail, &n_mail, p);
    }
}

void carry(void)
{
    has_worked();
    while (out.n > 0) {
        struct ps_outbox batch = out;

        out = (struct ps_outbox){ 0 };
        for (size_t i = 0; i < batch.n; i++)
            deliver(&batch.parcels[i]);
        ps_outbox_free(&batch);
        has_worked();
    }
}

void say(unsigned peer, const struct ps_header *h)
{
    put_in(peer_route(peer), h);
    carry();
}

void wait_for(uint64_t ns)
{
    uint64_t until = now + ns;

    while (now < until) {
        now += until - now < SECOND ? until - now : SECOND;
        psd_coordinator_tick(c, now, &out);
        carry();
        if (play->second)
            play->second();
    }
}

/* ---- looking at what came ------------------------------------------------------- */

const struct ps_parcel *mail_to(unsigned peer, uint64_t request)
{
    struct ps_route route = peer_route(peer);

    for (size_t i = n_mail; i-- > 0;)
        if (ps_route_same(&mail[i].route, &route) &&
            read_head(&mail[i])->request == request)
            return &mail[i];
    return NULL;
}

const struct ps_header *answer(unsigned peer, uint64_t request, uint32_t kind)
{
    const struct ps_parcel *p = mail_to(peer, request);
    const struct ps_header *h;

    ck_assert_msg(p != NULL, "peer %u has no answer to %u", peer, (unsigned)request);
    h = read_head(p);
    ck_assert_msg(h->kind == kind, "peer %u got %s (%s), expected %s", peer,
                  ps_kind_name(h->kind), h->text, ps_kind_name(kind));
    return h;
}

void expect_error(unsigned peer, uint64_t request, ps_status status, const char *part)
{
    const struct ps_header *h = answer(peer, request, PS_MSG_ERROR);

    ck_assert_msg(h->status == (int)status, "\"%s\" is %d, expected %d", h->text,
                  h->status, (int)status);
    ck_assert_msg(strstr(h->text, part) != NULL, "\"%s\" is not in \"%s\"", part,
                  h->text);
}

void expect_notice(unsigned peer, ps_status status, const char *part)
{
    const struct ps_header *h = answer(peer, 0, PS_MSG_NOTICE);

    ck_assert_int_eq(h->status, (int)status);
    ck_assert_msg(strstr(h->text, part) != NULL, "\"%s\" is not in \"%s\"", part,
                  h->text);
}

const struct ps_header *told(uint32_t shard, uint32_t kind)
{
    for (size_t i = n_sent; i-- > 0;)
        if (sent[i].route.index == shard && read_head(&sent[i])->kind == kind)
            return read_head(&sent[i]);
    ck_abort_msg("shard %u was not told %s", shard, ps_kind_name(kind));
    return NULL;
}

size_t count_told(uint32_t kind)
{
    size_t n = 0;

    for (size_t i = 0; i < n_sent; i++)
        n += read_head(&sent[i])->kind == kind;
    return n;
}

struct ps_member told_member(uint32_t shard, uint32_t rank)
{
    const struct ps_header *h = told(shard, PS_MSG_MEMBERS);

    for (uint32_t i = 0; i < h->n_members; i++)
        if (h->members[i].rank == rank)
            return h->members[i];
    return (struct ps_member){ 0 };
}

uint32_t told_state(uint32_t shard, uint32_t rank)
{
    return told_member(shard, rank).state;
}

void expect_word(const char *job, const char *word)
{
    ck_assert_str_eq(watch(900, 900, job, 0)->text, word);
}

/* ---- what peers say ------------------------------------------------------------- */

uint64_t fresh(void)
{
    static uint64_t last = 100;

    return ++last;
}

struct ps_job_spec spec_of(const char *name, uint32_t workers)
{
    struct ps_job_spec spec = ps_job_spec_default();

    snprintf(spec.name, sizeof(spec.name), "%s", name);
    spec.workers = workers;
    return spec;
}

struct ps_matrix_spec matrix_spec(const char *name, uint64_t rows, uint64_t cols)
{
    struct ps_matrix_spec spec = { .dtype = PS_F32, .rows = rows, .cols = cols };

    snprintf(spec.name, sizeof(spec.name), "%s", name);
    return spec;
}

uint64_t hello(unsigned peer, uint64_t request, uint32_t rank,
               const struct ps_job_spec *spec)
{
    struct ps_header h = {
        .kind = PS_MSG_HELLO,
        .request = request,
        .rank = rank,
        .pid = peer,
        .text = "host-a",
        .name = spec->name,
        .job_spec = spec,
    };

    say(peer, &h);
    return request;
}

struct worker welcomed(unsigned peer, uint64_t request)
{
    const struct ps_header *h = answer(peer, request, PS_MSG_WELCOME);

    ck_assert_uint_ne(h->session, 0);
    return (struct worker){ peer,           h->job,     h->rank,
                            h->incarnation, h->session, h->server_epoch };
}

struct worker join_as(unsigned peer, uint32_t rank, const struct ps_job_spec *spec)
{
    hello(peer, 1, rank, spec);
    return welcomed(peer, 1);
}

struct worker observe(unsigned peer, const char *job)
{
    struct ps_header h = {
        .kind = PS_MSG_HELLO,
        .request = 1,
        .flags = PS_FLAG_OBSERVER,
        .pid = peer,
        .text = "host-b",
        .name = job,
    };

    say(peer, &h);
    return welcomed(peer, 1);
}

struct ps_header from(const struct worker *w, uint32_t kind, uint64_t request)
{
    return (struct ps_header){
        .kind = kind,
        .request = request,
        .job = w->job,
        .rank = w->rank,
        .incarnation = w->incarnation,
        .session = w->session,
        .server_epoch = w->epoch,
    };
}

uint64_t hello_again(const struct worker *w, uint64_t request, const char *job)
{
    struct ps_header h = from(w, PS_MSG_HELLO, request);

    h.name = job;
    h.flags = w->rank == OBSERVER ? PS_FLAG_OBSERVER : 0;
    h.pid = w->peer;
    h.text = "host-a";
    say(w->peer, &h);
    return request;
}

uint64_t beat(const struct worker *w, uint64_t request, uint64_t clock)
{
    struct ps_header h = from(w, PS_MSG_BEAT, request);

    h.clock = clock;
    say(w->peer, &h);
    return request;
}

uint64_t bye(const struct worker *w, uint64_t request, const char *reason)
{
    struct ps_header h = from(w, PS_MSG_BYE, request);

    h.text = reason;
    say(w->peer, &h);
    return request;
}

uint64_t ask_matrix(const struct worker *w, uint64_t request, uint32_t flags,
                    const struct ps_matrix_spec *spec)
{
    struct ps_header h = from(w, PS_MSG_MATRIX, request);

    h.flags = flags;
    h.n_matrices = 1;
    h.matrices = spec;
    say(w->peer, &h);
    return request;
}

const struct ps_header *watch(unsigned peer, uint64_t request, const char *job,
                              uint64_t after)
{
    struct ps_header h = {
        .kind = PS_MSG_WATCH,
        .request = request,
        .name = job,
        .after = after,
    };

    say(peer, &h);
    return answer(peer, request, PS_MSG_WATCH_OK);
}
