/* The clerk: errands put on a desk are done, and answered where they were put. */
#include "server/daemon/clerk.h"
#include "tests/unit/vaults.h"

#include <stdio.h>

static struct psd_vault *vault, *other;
static struct psd_clerk *clerk;
static struct psd_desk  *desk;
static struct ps_signal *ended;

static int fsync_never(int fd)
{
    (void)fd;
    return -1;
}

static void open_vault(struct psd_vault **out, const char *name, bool read_only,
                       const struct psd_disk_ops *disk)
{
    char                           path[300];
    const struct psd_vault_options o = {
        .folder = path, .read_only = read_only, .keep = 2, .disk = disk
    };

    snprintf(path, sizeof(path), "%s/%s", place, name);
    ck_assert_ok(psd_vault_open(out, &o));
}

static void start_clerk(void)
{
    const struct psd_clerk_options o = { vault, other, ended };

    ck_assert_ok(psd_clerk_start(&clerk, &o));
    ck_assert_ok(psd_desk_new(&desk, clerk));
}

static void a_clerk(void)
{
    a_place();
    ck_assert_ok(ps_signal_new(&ended));
    open_vault(&vault, "own", false, NULL);
    start_clerk();
}

static void tear_down(void)
{
    psd_desk_free(&desk);
    ck_assert_ok(psd_clerk_stop(&clerk));
    psd_vault_close(&vault);
    psd_vault_close(&other);
    ps_signal_free(&ended);
    no_place();
}

static struct psd_errand an_errand(enum psd_errand_kind kind, uint64_t id)
{
    struct psd_errand e = { .kind = kind, .id = id, .run = RUN };

    strcpy(e.job, JOB);
    return e;
}

static void put_save(uint64_t id, uint64_t set)
{
    struct psd_errand e = an_errand(PSD_SAVE, id);

    e.image = an_image(0, 1, 1, set);
    ck_assert_ok(psd_desk_put(desk, &e));
    ck_assert_ptr_null(e.image);
}

/* Waits for it. */
static struct psd_answer *answer(void)
{
    struct ps_poll     poll = { .signal = psd_desk_signal(desk) };
    struct psd_answer *a;

    while (!(a = psd_desk_take(desk))) {
        ck_assert_ok(ps_net_poll(&poll, 1, 60000));
        ck_assert(poll.ready);
        ps_signal_clear(poll.signal);
    }
    return a;
}

static void ck_answer(enum psd_errand_kind kind, uint64_t id, ps_status status)
{
    struct psd_answer *a = answer();

    ck_assert_int_eq(a->kind, kind);
    ck_assert_uint_eq(a->id, id);
    ck_assert_msg(a->status == status, "%s", a->why);
    psd_answer_free(&a);
}

START_TEST(errands_are_done_in_their_order)
{
    struct psd_errand  e = an_errand(PSD_LIST, 3);
    struct psd_answer *a;

    put_save(1, 10);
    put_save(2, 20);
    ck_assert_ok(psd_desk_put(desk, &e));
    e = an_errand(PSD_LOAD, 4);
    e.n_parts = 2;
    e.parts[0] = (struct ps_part){ 0, 1, .life = 1, .set = 10 };
    e.parts[1] = (struct ps_part){ 0, 1, .life = 1, .set = 20 };
    ck_assert_ok(psd_desk_put(desk, &e));
    ck_answer(PSD_SAVE, 1, PS_OK);
    ck_answer(PSD_SAVE, 2, PS_OK);
    a = answer();
    ck_assert_int_eq(a->kind, PSD_LIST);
    ck_assert_uint_eq(a->n, 2);
    ck_assert_uint_eq(a->parts[0].set, 20);
    ck_assert_uint_eq(a->parts[1].set, 10);
    psd_answer_free(&a);
    a = answer();
    ck_assert_int_eq(a->kind, PSD_LOAD);
    ck_assert_uint_eq(a->n, 2);
    ck_assert_uint_eq(a->images[0]->set, 10);
    ck_assert_uint_eq(a->images[1]->set, 20);
    psd_answer_free(&a);
    ck_assert_ptr_null(psd_desk_take(desk));
}
END_TEST

START_TEST(what_is_not_needed_is_forgotten_without_an_answer)
{
    struct psd_errand  e = an_errand(PSD_FORGET, 4), last = an_errand(PSD_LIST, 5);
    struct psd_answer *a;

    for (uint64_t set = 1; set <= 3; set++) {
        put_save(set, set);
        ck_answer(PSD_SAVE, set, PS_OK);
    }
    e.n_parts = 1;
    e.parts[0] = (struct ps_part){ 0, 1, .life = 1, .set = 3 };
    ck_assert_ok(psd_desk_put(desk, &e));
    ck_assert_ok(psd_desk_put(desk, &last));
    a = answer();
    ck_assert_uint_eq(a->id, 5);
    ck_assert_uint_eq(a->n, 2);
    psd_answer_free(&a);
}
END_TEST

START_TEST(a_part_that_is_not_there_has_a_sentence)
{
    struct psd_errand  e = an_errand(PSD_LOAD, 1);
    struct psd_answer *a;

    put_save(9, 10);
    ck_answer(PSD_SAVE, 9, PS_OK);
    e.n_parts = 2;
    e.parts[0] = (struct ps_part){ 0, 1, .life = 1, .set = 10 };
    e.parts[1] = (struct ps_part){ 0, 1, .life = 1, .set = 11 };
    ck_assert_ok(psd_desk_put(desk, &e));
    a = answer();
    ck_assert_int_eq(a->status, PS_ERR_DATA);
    ck_assert_uint_eq(a->n, 0);
    ck_assert_str_eq(a->why, "job train: part 0 of 1 of snapshot 11 is not here");
    psd_answer_free(&a);
}
END_TEST

START_TEST(what_is_not_in_the_own_folder_is_read_from_the_other)
{
    struct psd_errand  e = an_errand(PSD_LIST, 3);
    struct psd_answer *a;

    put_save(1, 10);
    put_save(2, 30);
    ck_answer(PSD_SAVE, 1, PS_OK);
    ck_answer(PSD_SAVE, 2, PS_OK);
    psd_desk_free(&desk);
    ck_assert_ok(psd_clerk_stop(&clerk));
    psd_vault_close(&vault);
    open_vault(&vault, "new", false, NULL);
    open_vault(&other, "own", true, NULL);
    start_clerk();
    put_save(1, 20);
    ck_answer(PSD_SAVE, 1, PS_OK);
    ck_assert_ok(psd_desk_put(desk, &e));
    a = answer();
    ck_assert_uint_eq(a->n, 3);
    ck_assert_uint_eq(a->parts[0].set, 30);
    ck_assert_uint_eq(a->parts[1].set, 20);
    ck_assert_uint_eq(a->parts[2].set, 10);
    psd_answer_free(&a);
    e = an_errand(PSD_LOAD, 4);
    e.n_parts = 2;
    e.parts[0] = (struct ps_part){ 0, 1, .life = 1, .set = 10 };
    e.parts[1] = (struct ps_part){ 0, 1, .life = 1, .set = 20 };
    ck_assert_ok(psd_desk_put(desk, &e));
    a = answer();
    ck_assert_int_eq(a->status, PS_OK);
    ck_assert_uint_eq(a->images[0]->set, 10);
    ck_assert_uint_eq(a->images[1]->set, 20);
    psd_answer_free(&a);
}
END_TEST

START_TEST(what_was_to_be_saved_is_saved_though_its_desk_is_gone)
{
    struct ps_part parts[8];
    uint32_t       n;

    for (uint64_t set = 1; set <= 4; set++)
        put_save(set, set);
    psd_desk_free(&desk);
    ck_assert_ok(psd_clerk_stop(&clerk));
    ck_assert_ok(psd_vault_list(vault, JOB, RUN, parts, 8, &n));
    ck_assert_uint_eq(n, 4);
}
END_TEST

static void ck_raised(void)
{
    struct ps_poll poll = { .signal = ended };

    ck_assert_ok(ps_net_poll(&poll, 1, 60000));
    ck_assert(poll.ready);
    ps_signal_clear(ended);
}

START_TEST(a_disk_that_fails_ends_the_process_and_nobody_is_answered)
{
    struct psd_disk_ops broken = psd_disk_system;
    struct psd_errand   e;

    psd_desk_free(&desk);
    ck_assert_ok(psd_clerk_stop(&clerk));
    psd_vault_close(&vault);
    open_vault(&vault, "own", false, &broken);
    start_clerk();
    broken.fsync = fsync_never;
    put_save(1, 10);
    ck_raised();
    ck_assert_ptr_null(psd_desk_take(desk));
    for (uint64_t id = 2; id <= 3; id++) {
        e = an_errand(id == 2 ? PSD_LIST : PSD_LOAD, id);
        e.n_parts = 1;
        ck_assert_ok(psd_desk_put(desk, &e));
        ck_raised();
        ck_assert_ptr_null(psd_desk_take(desk));
    }
    psd_desk_free(&desk);
    ck_assert_status(psd_clerk_stop(&clerk), PS_ERR_IO);
    psd_vault_close(&vault); /* its disk is this function's */
}
END_TEST

static Suite *clerk_suite(void)
{
    Suite *s = suite_create("clerk");
    TCase *t = tcase_create("errands");

    tcase_add_checked_fixture(t, a_clerk, tear_down);
    tcase_add_test(t, errands_are_done_in_their_order);
    tcase_add_test(t, what_is_not_needed_is_forgotten_without_an_answer);
    tcase_add_test(t, a_part_that_is_not_there_has_a_sentence);
    tcase_add_test(t, what_is_not_in_the_own_folder_is_read_from_the_other);
    tcase_add_test(t, what_was_to_be_saved_is_saved_though_its_desk_is_gone);
    tcase_add_test(t, a_disk_that_fails_ends_the_process_and_nobody_is_answered);
    suite_add_tcase(s, t);
    return s;
}

TEST_MAIN(clerk_suite)
