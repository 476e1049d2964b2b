/* The vault: what is saved is there, whatever happens meanwhile. */
#include "common/base/random.h"
#include "server/snapshot/vault_private.h"
#include "tests/unit/vaults.h"

#include <fcntl.h>
#include <stdio.h>
#include <sys/stat.h>
#include <unistd.h>

static char              folder[256];
static struct psd_vault *vault;
static struct psd_image *back;

static void no_vault(void)
{
    psd_image_free(&back);
    psd_vault_close(&vault);
    no_place();
}

static ps_status open_vault(bool read_only, uint32_t keep)
{
    const struct psd_vault_options o = { .folder = folder,
                                         .read_only = read_only,
                                         .keep = keep };

    return psd_vault_open(&vault, &o);
}

static void an_open_vault(void)
{
    a_place();
    snprintf(folder, sizeof(folder), "%s/state", place);
    ck_assert_ok(open_vault(false, 2));
}

static ps_status save(uint32_t index, uint32_t n_shards, uint64_t life, uint64_t set)
{
    struct psd_image *i = an_image(index, n_shards, life, set);
    ps_status         st = psd_vault_save(vault, i);

    psd_image_free(&i);
    return st;
}

static ps_status load(uint32_t index, uint32_t n_shards, uint64_t life, uint64_t set)
{
    const struct ps_part part = part_of(index, n_shards, life, set);

    psd_image_free(&back);
    return psd_vault_load(vault, JOB, RUN, &part, &back);
}

/* The list as text: "index/n_shards life.set ...". */
static const char *listed(void)
{
    static char    text[1024];
    struct ps_part parts[32];
    uint32_t       n;

    text[0] = '\0';
    ck_assert_ok(psd_vault_list(vault, JOB, RUN, parts, 32, &n));
    for (uint32_t i = 0; i < n; i++)
        sprintf(text + strlen(text), "%s%u/%u %ju.%ju", i ? ", " : "", parts[i].index,
                parts[i].n_shards, (uintmax_t)parts[i].life, (uintmax_t)parts[i].set);
    return text;
}

static struct psd_vault_entry entry;

static ps_status take_entry(void *ctx, const struct psd_vault_entry *e)
{
    (*(int *)ctx)++;
    entry = *e;
    return PS_OK;
}

/* Of all entries the last one is in `entry`. */
static int count_entries(void)
{
    int n = 0;

    ck_assert_ok(psd_vault_each(vault, take_entry, &n));
    return n;
}

static const char *path_of(const char *file)
{
    static char path[600];

    snprintf(path, sizeof(path), "%s/%s", folder, file);
    return path;
}

static const char *path_of_part(void)
{
    char file[300];

    snprintf(file, sizeof(file), "parts/%s", entry.file);
    return path_of(file);
}

/* ---- parts ----------------------------------------------------------------------- */

START_TEST(what_is_saved_can_be_loaded)
{
    ck_assert_ok(save(0, 2, 1, 50));
    ck_assert_ok(save(1, 2, 1, 50));
    ck_assert_ok(load(1, 2, 1, 50));
    ck_assert_uint_eq(back->version, 50001);
    ck_assert_str_eq(back->job, JOB);
    psd_vault_close(&vault);
    ck_assert_ok(open_vault(false, 2));
    ck_assert_ok(load(0, 2, 1, 50));
    ck_assert_uint_eq(back->version, 50000);
    ck_assert_status(load(0, 2, 2, 50), PS_ERR_UNKNOWN);
}
END_TEST

START_TEST(the_newest_are_listed_first)
{
    ck_assert_str_eq(listed(), "");
    ck_assert_ok(save(0, 2, 1, 50));
    ck_assert_ok(save(1, 2, 1, 150));
    ck_assert_ok(save(0, 2, 1, 100));
    ck_assert_ok(save(0, 2, 2, 60));
    ck_assert_str_eq(listed(), "0/2 2.60, 1/2 1.150, 0/2 1.100, 0/2 1.50");
}
END_TEST

START_TEST(an_entry_says_what_it_is)
{
    ck_assert_ok(save(1, 2, 3, 50));
    ck_assert_int_eq(count_entries(), 1);
    ck_assert_str_eq(entry.job, JOB);
    ck_assert_uint_eq(entry.run, RUN);
    ck_assert_uint_eq(entry.part.index, 1);
    ck_assert_uint_eq(entry.part.n_shards, 2);
    ck_assert_uint_eq(entry.part.life, 3);
    ck_assert_uint_eq(entry.part.set, 50);
    ck_assert_uint_eq(entry.strategy, PS_BSP);
    ck_assert_uint_eq(entry.clock, 50);
    ck_assert_uint_eq(entry.version, 50001);
    ck_assert_uint_gt(entry.bytes, 100);
    ck_assert_uint_gt(entry.saved_at, 1600000000);
    ck_assert_ok(psd_vault_verify(vault, &entry));
}
END_TEST

START_TEST(a_part_saved_again_takes_the_place_of_the_first)
{
    ck_assert_ok(save(0, 1, 1, 50));
    ck_assert_ok(save(0, 1, 1, 50));
    ck_assert_str_eq(listed(), "0/1 1.50");
    ck_assert_int_eq(count_parts(folder), 1);
    ck_assert_ok(load(0, 1, 1, 50));
}
END_TEST

START_TEST(files_that_nobody_knows_go_at_the_next_start)
{
    FILE *f = fopen(path_of("parts/train.new"), "w");

    fclose(f);
    ck_assert_ok(save(0, 1, 1, 50));
    psd_vault_close(&vault);
    ck_assert_ok(open_vault(false, 2));
    ck_assert_int_eq(count_parts(folder), 1);
    ck_assert_str_eq(listed(), "0/1 1.50");
}
END_TEST

/* ---- forgetting ------------------------------------------------------------------ */

static ps_status forget(uint32_t index, uint32_t n_shards, uint64_t life, uint64_t set)
{
    const struct ps_part part = part_of(index, n_shards, life, set);

    return psd_vault_forget(vault, JOB, RUN, &part);
}

START_TEST(older_parts_go_but_the_newest_stay)
{
    for (uint64_t set = 10; set <= 50; set += 10) {
        ck_assert_ok(save(0, 2, 1, set));
        ck_assert_ok(save(1, 2, 1, set));
    }
    ck_assert_ok(forget(0, 2, 1, 30));
    ck_assert_str_eq(listed(), "0/2 1.50, 1/2 1.50, 0/2 1.40, 1/2 1.40, 0/2 1.30, "
                               "1/2 1.30, 1/2 1.20, 1/2 1.10");
    ck_assert_int_eq(count_parts(folder), 8);
    ck_assert_ok(forget(1, 2, 2, 90));
    ck_assert_str_eq(listed(), "0/2 1.50, 1/2 1.50, 0/2 1.40, 1/2 1.40, 0/2 1.30");
    ck_assert_ok(load(1, 2, 1, 40));
}
END_TEST

START_TEST(parts_of_lives_with_other_shards_go_too)
{
    ck_assert_ok(save(0, 3, 1, 10));
    ck_assert_ok(save(1, 3, 1, 20));
    ck_assert_ok(save(0, 2, 2, 15));
    ck_assert_ok(forget(0, 2, 1, 20));
    ck_assert_str_eq(listed(), "0/2 2.15, 1/3 1.20");
    ck_assert_ok(forget(0, 2, 2, 15));
    ck_assert_str_eq(listed(), "0/2 2.15");
}
END_TEST

/* ---- damage ---------------------------------------------------------------------- */

static void flip_a_bit(const char *path, off_t at)
{
    int     fd = open(path, O_RDWR);
    uint8_t byte;

    ck_assert_int_eq(pread(fd, &byte, 1, at), 1);
    byte ^= 4;
    ck_assert_int_eq(pwrite(fd, &byte, 1, at), 1);
    close(fd);
}

START_TEST(a_damaged_file_is_named_and_not_loaded)
{
    ck_assert_ok(save(0, 1, 1, 50));
    ck_assert_ok(save(0, 1, 1, 100));
    count_entries(); /* the last one is the oldest */
    flip_a_bit(path_of_part(), 60);
    ck_assert_status(psd_vault_verify(vault, &entry), PS_ERR_DATA);
    ck_assert_why(entry.file);
    ck_assert_why("it is damaged: its BLAKE2b is another one");
    ck_assert_status(load(0, 1, 1, 50), PS_ERR_DATA);
    ck_assert_why(entry.file);
    ck_assert_ok(load(0, 1, 1, 100));
}
END_TEST

START_TEST(a_file_that_is_gone_or_short_is_not_listed)
{
    ck_assert_ok(save(0, 1, 1, 50));
    ck_assert_ok(save(0, 1, 1, 100));
    count_entries();
    ck_assert_int_eq(truncate(path_of_part(), 90), 0);
    ck_assert_str_eq(listed(), "0/1 1.100");
    ck_assert_status(load(0, 1, 1, 50), PS_ERR_DATA);
    ck_assert_why("it is damaged: 90 bytes, expected ");
    ck_assert_int_eq(unlink(path_of_part()), 0);
    ck_assert_str_eq(listed(), "0/1 1.100");
    ck_assert_status(psd_vault_verify(vault, &entry), PS_ERR_DATA);
}
END_TEST

/* The newest part as it was written, so that it can be damaged again and again. */
static uint8_t part_bytes[4096];
static size_t  n_part_bytes;

static void save_two_parts(void)
{
    FILE *f;

    ck_assert_ok(save(0, 1, 1, 100));
    count_entries();
    ck_assert_ok(save(0, 1, 1, 50));
    f = fopen(path_of_part(), "r");
    n_part_bytes = fread(part_bytes, 1, sizeof(part_bytes), f);
    fclose(f);
    ck_assert_uint_gt(n_part_bytes, 300);
    ck_assert_uint_lt(n_part_bytes, sizeof(part_bytes));
}

static void write_part(size_t n)
{
    int fd = open(path_of_part(), O_WRONLY | O_TRUNC);

    ck_assert_int_eq(write(fd, part_bytes, n), (ssize_t)n);
    close(fd);
}

static void ck_only_the_older_one_loads(void)
{
    ck_assert_status(load(0, 1, 1, 100), PS_ERR_DATA);
    ck_assert_ptr_null(back);
    ck_assert_ok(load(0, 1, 1, 50));
    ck_assert_uint_eq(back->version, 50000);
}

START_TEST(every_truncation_of_the_newest_leads_to_the_one_before)
{
    save_two_parts();
    for (size_t n = 0; n < n_part_bytes; n++) {
        write_part(n);
        ck_assert_str_eq(listed(), "0/1 1.50");
        ck_only_the_older_one_loads();
    }
    write_part(n_part_bytes);
    ck_assert_str_eq(listed(), "0/1 1.100, 0/1 1.50");
    ck_assert_ok(load(0, 1, 1, 100));
}
END_TEST

/* PSD_TEST_FLIPS: how many. */
START_TEST(every_flipped_bit_of_the_newest_leads_to_the_one_before)
{
    const char *wish = getenv("PSD_TEST_FLIPS");
    uint64_t    flips = wish ? strtoull(wish, NULL, 10) : 500;

    save_two_parts();
    for (uint64_t i = 0; i < flips; i++) {
        uint64_t bit = ps_random_below(RUN, 1, i, 8 * n_part_bytes);

        part_bytes[bit / 8] ^= (uint8_t)(1u << bit % 8);
        write_part(n_part_bytes);
        ck_only_the_older_one_loads();
        part_bytes[bit / 8] ^= (uint8_t)(1u << bit % 8);
    }
    write_part(n_part_bytes);
    ck_assert_ok(load(0, 1, 1, 100));
}
END_TEST

/* Whole files, but not those that the manifest means. */
START_TEST(a_part_that_is_another_one_is_not_loaded)
{
    struct psd_manifest *m;

    ck_assert_ok(save(0, 1, 1, 50));
    count_entries();
    psd_vault_close(&vault);
    ck_assert_ok(psd_manifest_open(&m, folder, false));
    entry.part.set = 60;
    ck_assert_ok(psd_manifest_put(m, &entry));
    psd_manifest_close(&m);
    ck_assert_ok(open_vault(false, 2));
    ck_assert_str_eq(listed(), "0/1 1.60");
    ck_assert_status(load(0, 1, 1, 60), PS_ERR_DATA);
    ck_assert_why("it holds part 0 of 1 of set 50 of job train");
    ck_assert_ptr_null(back);
}
END_TEST

START_TEST(entries_that_lead_elsewhere_are_left_out)
{
    static const char *const files[] = { "../epoch", ".", "", "a b", "a\nb" };
    struct psd_manifest     *m;

    ck_assert_ok(save(0, 1, 1, 50));
    count_entries();
    psd_vault_close(&vault);
    ck_assert_ok(psd_manifest_open(&m, folder, false));
    for (size_t i = 0; i < sizeof(files) / sizeof(files[0]); i++) {
        entry.part.set = 10 + i;
        strcpy(entry.file, files[i]);
        ck_assert_ok(psd_manifest_put(m, &entry));
    }
    psd_manifest_close(&m);
    ck_assert_ok(open_vault(false, 2));
    ck_assert_int_eq(count_entries(), 1);
    ck_assert_str_eq(listed(), "0/1 1.50");
    ck_assert_int_eq(access(path_of("epoch"), F_OK), 0);
}
END_TEST

START_TEST(a_damaged_manifest_is_not_written_to)
{
    struct stat there;

    ck_assert_ok(save(0, 1, 1, 50));
    psd_vault_close(&vault);
    ck_assert_int_eq(stat(path_of("manifest.sqlite"), &there), 0);
    ck_assert_int_eq(truncate(path_of("manifest.sqlite"), there.st_size - 4096), 0);
    ck_assert_status(open_vault(false, 2), PS_ERR_DATA);
    ck_assert_why("manifest.sqlite");
}
END_TEST

START_TEST(a_manifest_that_is_none_is_refused)
{
    FILE *f;

    psd_vault_close(&vault);
    f = fopen(path_of("manifest.sqlite"), "w");
    fprintf(f, "this is not a database, and too long for an empty one");
    fclose(f);
    ck_assert_status(open_vault(false, 2), PS_ERR_DATA);
    ck_assert_why("manifest.sqlite");
}
END_TEST

/* ---- who may use it ----------------------------------------------------------------
 */

START_TEST(a_second_psd_is_refused_and_told_who_is_there)
{
    struct psd_vault *first = vault;
    char              expected[64];

    vault = NULL;
    snprintf(expected, sizeof(expected), "process %ld uses it", (long)getpid());
    ck_assert_status(open_vault(false, 2), PS_ERR_UNAVAILABLE);
    ck_assert_why(expected);
    ck_assert_uint_eq(psd_vault_epoch(first), 1);
    psd_vault_close(&first);
    ck_assert_ok(open_vault(false, 2));
    ck_assert_uint_eq(psd_vault_epoch(vault), 2);
}
END_TEST

/* Where the lock does not help, on some network file systems. */
START_TEST(a_psd_that_was_replaced_commits_nothing_any_more)
{
    struct ps_buf *blob;
    FILE          *f;

    ck_assert_ok(ps_buf_copy(&blob, "x", 1));
    ck_assert_ok(save(0, 1, 1, 50));
    f = fopen(path_of("epoch"), "w");
    fprintf(f, "2\n");
    fclose(f);
    ck_assert_status(save(0, 1, 1, 100), PS_ERR_STALE);
    ck_assert_why("another psd has started on it, the epoch is 2 and ours was 1");
    ck_assert_status(psd_vault_keep(vault, "k", blob), PS_ERR_STALE);
    ck_assert_int_eq(count_parts(folder), 1);
    ps_buf_drop(&blob);
}
END_TEST

START_TEST(a_folder_is_private_and_needs_its_parent)
{
    struct stat there;

    ck_assert_int_eq(stat(folder, &there), 0);
    ck_assert_uint_eq(there.st_mode & 0777, 0700);
    psd_vault_close(&vault);
    strcat(folder, "/a/b");
    ck_assert_status(open_vault(false, 2), PS_ERR_SYSTEM);
    ck_assert_why("/state/a/b: cannot be made: No such file or directory");
    folder[strlen(folder) - 4] = '\0';
}
END_TEST

START_TEST(a_folder_that_is_only_read_is_not_changed)
{
    ck_assert_ok(save(0, 1, 1, 50));
    struct psd_vault *writer = vault;
    vault = NULL;
    ck_assert_ok(open_vault(true, 0)); /* while the other is open */
    ck_assert_str_eq(listed(), "0/1 1.50");
    ck_assert_ok(load(0, 1, 1, 50));
    psd_vault_close(&vault);
    ck_assert_uint_eq(psd_vault_epoch(writer), 1);
    psd_vault_close(&writer);
    strcat(folder, "/none");
    ck_assert_status(open_vault(true, 0), PS_ERR_UNKNOWN);
    ck_assert_why("/none: there is no manifest of snapshots");
    ck_assert_int_ne(access(folder, F_OK), 0);
    folder[strlen(folder) - 5] = '\0';
}
END_TEST

/* ---- blobs -------------------------------------------------------------------------
 */

START_TEST(blobs_are_kept)
{
    struct ps_buf *blob, *got;

    ck_assert_ok(psd_vault_recall(vault, "coordinator", &got));
    ck_assert_ptr_null(got);
    for (int i = 0; i < 2; i++) {
        ck_assert_ok(ps_buf_copy(&blob, i ? "second\0!" : "first", i ? 8 : 5));
        ck_assert_ok(psd_vault_keep(vault, "coordinator", blob));
        ps_buf_drop(&blob);
    }
    psd_vault_close(&vault);
    ck_assert_ok(open_vault(false, 2));
    ck_assert_ok(psd_vault_recall(vault, "coordinator", &got));
    ck_assert_uint_eq(got->len, 8);
    ck_assert_mem_eq(got->data, "second\0!", 8);
    ps_buf_drop(&got);
}
END_TEST

static Suite *vault_suite(void)
{
    Suite *s = suite_create("vault");
    TCase *parts = tcase_create("parts");
    TCase *damage = tcase_create("damage");
    TCase *who = tcase_create("who");

    tcase_add_checked_fixture(parts, an_open_vault, no_vault);
    tcase_add_test(parts, what_is_saved_can_be_loaded);
    tcase_add_test(parts, the_newest_are_listed_first);
    tcase_add_test(parts, an_entry_says_what_it_is);
    tcase_add_test(parts, a_part_saved_again_takes_the_place_of_the_first);
    tcase_add_test(parts, files_that_nobody_knows_go_at_the_next_start);
    tcase_add_test(parts, older_parts_go_but_the_newest_stay);
    tcase_add_test(parts, parts_of_lives_with_other_shards_go_too);
    tcase_add_test(parts, blobs_are_kept);
    suite_add_tcase(s, parts);

    tcase_set_timeout(damage, 600);
    tcase_add_checked_fixture(damage, an_open_vault, no_vault);
    tcase_add_test(damage, a_damaged_file_is_named_and_not_loaded);
    tcase_add_test(damage, a_file_that_is_gone_or_short_is_not_listed);
    tcase_add_test(damage, every_truncation_of_the_newest_leads_to_the_one_before);
    tcase_add_test(damage, every_flipped_bit_of_the_newest_leads_to_the_one_before);
    tcase_add_test(damage, a_part_that_is_another_one_is_not_loaded);
    tcase_add_test(damage, entries_that_lead_elsewhere_are_left_out);
    tcase_add_test(damage, a_damaged_manifest_is_not_written_to);
    tcase_add_test(damage, a_manifest_that_is_none_is_refused);
    suite_add_tcase(s, damage);

    tcase_add_checked_fixture(who, an_open_vault, no_vault);
    tcase_add_test(who, a_second_psd_is_refused_and_told_who_is_there);
    tcase_add_test(who, a_psd_that_was_replaced_commits_nothing_any_more);
    tcase_add_test(who, a_folder_is_private_and_needs_its_parent);
    tcase_add_test(who, a_folder_that_is_only_read_is_not_changed);
    suite_add_tcase(s, who);
    return s;
}

TEST_MAIN(vault_suite)
