/* The vault on a disk that fails, and after the power has gone. */
#include "tests/unit/faulty_disk.h"
#include "tests/unit/vaults.h"

#include <stdio.h>
#include <sys/stat.h>
#include <unistd.h>

static char              folder[256];
static struct psd_vault *vault;

static void a_faulty_disk(void)
{
    a_place();
    snprintf(folder, sizeof(folder), "%s/state", place);
    faulty_begin();
}

static void no_disk(void)
{
    faulty_forget();
    psd_vault_close(&vault);
    no_place();
}

static ps_status open_vault(void)
{
    const struct psd_vault_options o = { .folder = folder,
                                         .keep = 2,
                                         .disk = &faulty_disk };

    return psd_vault_open(&vault, &o);
}

static ps_status save(uint64_t set)
{
    struct psd_image *i = an_image(0, 1, 1, set);
    ps_status         st;

    ck_assert_ok(ps_buf_new(&i->progress, 3000));
    memset(i->progress->data, (int)set, 3000);
    i->progress->len = 3000;
    st = psd_vault_save(vault, i);
    psd_image_free(&i);
    return st;
}

static ps_status load(uint64_t set)
{
    const struct ps_part part = part_of(0, 1, 1, set);
    struct psd_image    *image;
    ps_status            st = psd_vault_load(vault, JOB, RUN, &part, &image);

    if (st)
        return st;
    ck_assert_uint_eq(image->set, set);
    for (size_t i = 0; i < 3000; i++)
        ck_assert_uint_eq(image->progress->data[i], set);
    psd_image_free(&image);
    return PS_OK;
}

static ps_status forget(uint64_t set)
{
    const struct ps_part part = part_of(0, 1, 1, set);

    return psd_vault_forget(vault, JOB, RUN, &part);
}

static ps_status keep(const char *text)
{
    struct ps_buf *blob;
    ps_status      st;

    ck_assert_ok(ps_buf_copy(&blob, text, strlen(text)));
    st = psd_vault_keep(vault, "blob", blob);
    ps_buf_drop(&blob);
    return st;
}

/* What there is: "30 20 10 blob", each set loaded; "-": no blob. */
static const char *contents(void)
{
    static char    text[256];
    struct ps_part parts[32];
    struct ps_buf *blob;
    uint32_t       n;

    text[0] = '\0';
    ck_assert_ok(psd_vault_list(vault, JOB, RUN, parts, 32, &n));
    for (uint32_t i = 0; i < n; i++) {
        ck_assert_ok(load(parts[i].set));
        sprintf(text + strlen(text), "%ju ", (uintmax_t)parts[i].set);
    }
    ck_assert_ok(psd_vault_recall(vault, "blob", &blob));
    sprintf(text + strlen(text), "%.*s", blob ? (int)blob->len : 1,
            blob ? (char *)blob->data : "-");
    ps_buf_drop(&blob);
    return text;
}

static int count_sets(void)
{
    int         n = 0;
    const char *text = contents();

    while ((text = strchr(text, ' ')))
        n++, text++;
    return n;
}

static void reopen(void)
{
    psd_vault_close(&vault);
    ck_assert_ok(open_vault());
}

/* ---- the nth call fails ------------------------------------------------------------
 */

/* One step, its call number n failing, from sets 10 and 20 and blob a. */
static ps_status fail_in(ps_status (*step)(void), uint64_t n, enum faulty_how how)
{
    ps_status st;

    ck_assert_ok(open_vault());
    ck_assert_ok(save(10));
    ck_assert_ok(save(20));
    ck_assert_ok(keep("a"));
    ck_assert_str_eq(contents(), "20 10 a");
    faulty_fail(n, how);
    st = step();
    if (!faulty_waits() && st)
        ck_assert_msg(st == (faulty_was_sync() ? PS_ERR_IO : PS_ERR_SYSTEM),
                      "call %ju: %s, %s", (uintmax_t)n, ps_status_text(st),
                      ps_log_last_error());
    if (how == FAULTY_SHORT || how == FAULTY_INTERRUPTED)
        ck_assert_ok(st); /* it goes on with the rest, or once more */
    return st;
}

static ps_status save_30(void)
{
    return save(30);
}

static ps_status save_20_again(void)
{
    return save(20);
}

static ps_status keep_b(void)
{
    return keep("b");
}

static ps_status forget_20(void)
{
    ps_status st = save(30);

    return st ? st : forget(30);
}

/* Before, possibly between, and after. */
static const struct {
    ps_status (*step)(void);
    const char *before, *between, *after;
    int         files;
} steps[] = {
    { save_30, "20 10 a", "", "30 20 10 a", 3 },
    { save_20_again, "20 10 a", "", "20 10 a", 2 },
    { keep_b, "20 10 a", "", "20 10 b", 2 },
    { forget_20, "20 10 a", "30 20 10 a", "30 20 a", 2 },
};

#define N_STEPS (sizeof(steps) / sizeof(steps[0]))

START_TEST(whichever_call_fails_what_was_there_stays)
{
    const enum faulty_how how = (enum faulty_how)(_i / (int)N_STEPS);
    const size_t          at = (size_t)_i % N_STEPS;
    uint64_t              n = 1;

    for (bool more = true; more; n++) {
        ps_status   st = fail_in(steps[at].step, n, how);
        const char *found;

        more = !faulty_waits();
        faulty_fail(0, how);
        if (st != PS_ERR_IO && !(more && faulty_was_unlink()))
            ck_assert_int_eq(count_parts(folder),
                             count_sets()); /* nothing is left over */
        if (st == PS_ERR_IO) {
            ck_assert_status(save(40), PS_ERR_IO);
            ck_assert_why("not used any more");
        } else if (st) { /* as if it had not been asked */
            ck_assert_ok(steps[at].step());
            ck_assert_str_eq(contents(), steps[at].after);
        }
        reopen();
        found = contents();
        if (st != PS_ERR_IO)
            ck_assert_str_eq(found, steps[at].after);
        else
            ck_assert_msg(!strcmp(found, steps[at].before) ||
                              !strcmp(found, steps[at].between) ||
                              !strcmp(found, steps[at].after),
                          "call %ju: %s", (uintmax_t)n, found);
        if (st != PS_ERR_IO)
            ck_assert_int_eq(count_parts(folder), steps[at].files);
        ck_assert_ok(save(50));
        psd_vault_close(&vault);
        remove_all(folder);
    }
    ck_assert_uint_gt(n, 2);
}
END_TEST

START_TEST(a_start_that_fails_can_be_repeated)
{
    const enum faulty_how how = (enum faulty_how)_i;

    for (int there = 0; there < 2; there++) {
        bool more = true;

        for (uint64_t n = 1; more; n++) {
            ps_status st;

            if (there) {
                ck_assert_ok(open_vault());
                ck_assert_ok(save(10));
                psd_vault_close(&vault);
            }
            faulty_fail(n, how);
            st = open_vault();
            more = !faulty_waits();
            faulty_fail(0, how);
            if (how == FAULTY_SHORT || how == FAULTY_INTERRUPTED)
                ck_assert_ok(st);
            if (st)
                ck_assert_ptr_null(vault);
            reopen();
            ck_assert_str_eq(contents(), there ? "10 -" : "-");
            psd_vault_close(&vault);
            remove_all(folder);
        }
    }
}
END_TEST

/* ---- the power goes ----------------------------------------------------------------
 */

/* What is there after each step of the play below. */
static const char *const after[] = {
    "-",       "10 -",    "20 10 -", "20 10 a",    "30 20 10 a",
    "30 20 a", "30 20 b", "30 20 b", "40 30 20 b", "40 30 b",
};

#define N_AFTER (sizeof(after) / sizeof(after[0]))

static size_t done_at[N_AFTER]; /* operations when the step returned */

static void step_is_done(size_t i)
{
    ck_assert_str_eq(contents(), after[i]);
    done_at[i] = faulty_recorded();
}

static void play(void)
{
    faulty_record(folder);
    ck_assert_ok(open_vault());
    step_is_done(0);
    ck_assert_ok(save(10));
    step_is_done(1);
    ck_assert_ok(save(20));
    step_is_done(2);
    ck_assert_ok(keep("a"));
    step_is_done(3);
    ck_assert_ok(save(30));
    step_is_done(4);
    ck_assert_ok(forget(30));
    step_is_done(5);
    reopen();
    ck_assert_ok(keep("b"));
    step_is_done(6);
    ck_assert_ok(save(20));
    step_is_done(7);
    ck_assert_ok(save(40));
    step_is_done(8);
    ck_assert_ok(forget(40));
    step_is_done(9);
    psd_vault_close(&vault);
}

static void ck_after_crash(size_t n, uint64_t seed)
{
    const char *found;
    size_t      step = 0; /* the last one that had returned */
    bool        any = n < done_at[0];

    while (step + 1 < N_AFTER && done_at[step + 1] <= n)
        step++;
    ck_assert_int_eq(mkdir(folder, 0700), 0);
    faulty_crash(n, seed ? 10000 * seed + n : 0, folder);
    ck_assert_msg(open_vault() == PS_OK, "%zu operations, seed %ju: %s", n,
                  (uintmax_t)seed, ps_log_last_error());
    found = contents();
    ck_assert_msg((any && !strcmp(found, "-")) || !strcmp(found, after[step]) ||
                      (step + 1 < N_AFTER && !strcmp(found, after[step + 1])),
                  "%zu operations, seed %ju: \"%s\", expected \"%s\"", n,
                  (uintmax_t)seed, found, after[step]);
    ck_assert_ok(save(60));
    ck_assert_ok(load(60));
    psd_vault_close(&vault);
    remove_all(folder);
}

/* PSD_TEST_CRASHES: how many after each operation. */
START_TEST(whenever_the_power_goes_what_was_acknowledged_is_there)
{
    const char *wish = getenv("PSD_TEST_CRASHES");
    uint64_t    seeds = wish ? strtoull(wish, NULL, 10) : 1;
    size_t      n;

    play();
    n = faulty_recorded();
    ck_assert_uint_gt(n, 100);
    /* The record stays; what is opened from now on is below another folder. */
    snprintf(folder, sizeof(folder), "%s/crash", place);
    for (size_t i = 0; i <= n; i++)
        for (uint64_t seed = 0; seed <= seeds; seed++)
            ck_after_crash(i, seed);
}
END_TEST

/* The folder is made, and the psd ends before that is durable: the next one sees to it.
 */
START_TEST(a_folder_from_a_start_in_vain_is_made_durable)
{
    char whole[256];

    faulty_record(place);
    faulty_fail(3, FAULTY_BROKEN);
    ck_assert_status(open_vault(), PS_ERR_IO);
    ck_assert(faulty_was_sync());
    ck_assert_ok(open_vault());
    ck_assert_ok(save(10));
    psd_vault_close(&vault);
    snprintf(whole, sizeof(whole), "%s/crash", place);
    ck_assert_int_eq(mkdir(whole, 0700), 0);
    faulty_crash(faulty_recorded(), 0, whole);
    faulty_forget();
    snprintf(folder, sizeof(folder), "%s/crash/state", place);
    ck_assert_ok(open_vault());
    ck_assert_str_eq(contents(), "10 -");
}
END_TEST

/* psctl and restore_from, after a crash: what a journal holds counts, and stays. */
START_TEST(a_folder_is_read_as_it_is_and_not_changed)
{
    const struct psd_vault_options reader = { .folder = folder, .read_only = true };
    size_t                         n, n_journals = 0;

    play();
    n = faulty_recorded();
    snprintf(folder, sizeof(folder), "%s/crash", place);
    for (size_t i = done_at[0]; i <= n; i += 3) {
        const char *found;
        char        read[256], journal[300];
        bool        before;

        ck_assert_int_eq(mkdir(folder, 0700), 0);
        faulty_crash(i, i, folder);
        snprintf(journal, sizeof(journal), "%s/manifest.sqlite-journal", folder);
        before = access(journal, F_OK) == 0;
        ck_assert_ok(psd_vault_open(&vault, &reader));
        strcpy(read, contents());
        ck_assert(before == (access(journal, F_OK) == 0));
        n_journals += before;
        psd_vault_close(&vault);
        ck_assert_ok(open_vault());
        found = contents();
        ck_assert_str_eq(read, found);
        psd_vault_close(&vault);
        remove_all(folder);
    }
    ck_assert_uint_gt(n_journals, 5);
}
END_TEST

static Suite *faults_suite(void)
{
    Suite *s = suite_create("vault_faults");
    TCase *t = tcase_create("faults");

    tcase_set_timeout(t, 120);
    tcase_add_checked_fixture(t, a_faulty_disk, no_disk);
    tcase_add_loop_test(t, whichever_call_fails_what_was_there_stays, 0,
                        N_STEPS * FAULTY_HOWS);
    tcase_add_loop_test(t, a_start_that_fails_can_be_repeated, 0, FAULTY_HOWS);
    tcase_add_test(t, a_folder_from_a_start_in_vain_is_made_durable);
    tcase_add_test(t, a_folder_is_read_as_it_is_and_not_changed);
    tcase_add_test(t, whenever_the_power_goes_what_was_acknowledged_is_there);
    suite_add_tcase(s, t);
    return s;
}

TEST_MAIN(faults_suite)
