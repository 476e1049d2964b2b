/* The process in which something began, and its children. */
#include "worker/home.h"
#include "tests/unit/suite.h"

#include <sys/wait.h>
#include <unistd.h>

static struct psw_home home;

static void at_home(void)
{
    psw_home_take(&home);
}

static void leave(void)
{
    psw_home_leave(&home);
    ck_assert_ptr_null((const void *)(uintptr_t)home.mark);
}

/* What a child's own child finds, too. */
static bool a_child_is_at_home(int generations)
{
    pid_t child = fork();
    int   status;

    if (child == 0)
        _exit(psw_is_at_home(&home) ||
              (generations > 1 && a_child_is_at_home(generations - 1)));
    ck_assert_int_eq(waitpid(child, &status, 0), child);
    ck_assert(WIFEXITED(status));
    return WEXITSTATUS(status) != 0;
}

START_TEST(a_child_is_not_at_home)
{
    ck_assert(psw_is_at_home(&home));
    ck_assert(!a_child_is_at_home(2));
    ck_assert(psw_is_at_home(&home));
}
END_TEST

START_TEST(nor_is_it_where_the_kernel_empties_no_page)
{
    struct psw_home whole = home;

    home.mark = NULL;
    ck_assert(psw_is_at_home(&home));
    ck_assert(!a_child_is_at_home(2));
    home = whole;
}
END_TEST

START_TEST(who_takes_it_in_a_child_is_at_home_there)
{
    pid_t child = fork();
    int   status;

    if (child == 0) {
        psw_home_take(&home);
        _exit(psw_is_at_home(&home) && home.pid == getpid() ? 0 : 1);
    }
    ck_assert_int_eq(waitpid(child, &status, 0), child);
    ck_assert_int_eq(status, 0);
}
END_TEST

static Suite *home_suite(void)
{
    Suite *s = suite_create("home");
    TCase *forks = tcase_create("forks");

    tcase_add_checked_fixture(forks, at_home, leave);
    tcase_add_test(forks, a_child_is_not_at_home);
    tcase_add_test(forks, nor_is_it_where_the_kernel_empties_no_page);
    tcase_add_test(forks, who_takes_it_in_a_child_is_at_home_there);
    suite_add_tcase(s, forks);
    return s;
}

TEST_MAIN(home_suite)
