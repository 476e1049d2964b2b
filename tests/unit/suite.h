/*
 * suite.h - what every unit test shares: assertions on statuses, and a main().
 *
 * One suite a file; Check prints TAP when CK_TAP_LOG_FILE_NAME is "-".
 */
#ifndef TESTS_UNIT_SUITE_H
#define TESTS_UNIT_SUITE_H

#include "common/base/status.h"

#include <check.h>
#include <stdlib.h>
#include <string.h>

#define ck_assert_status(call, expected)                                               \
    do {                                                                               \
        ps_status got_ = (call);                                                       \
        ck_assert_msg(got_ == (expected), "%s: %s (%s), expected %s", #call,           \
                      ps_status_text(got_), ps_log_last_error(),                       \
                      ps_status_text(expected));                                       \
    } while (0)

#define ck_assert_ok(call) ck_assert_status(call, PS_OK)

/* The last sentence says this somewhere. */
#define ck_assert_why(part)                                                            \
    ck_assert_msg(strstr(ps_log_last_error(), part) != NULL,                           \
                  "\"%s\" is not in \"%s\"", part, ps_log_last_error())

#define TEST_MAIN(suite)                                                               \
    int main(void)                                                                     \
    {                                                                                  \
        SRunner *runner = srunner_create(suite());                                     \
        int      failed;                                                               \
                                                                                       \
        srunner_run_all(runner, CK_ENV);                                               \
        failed = srunner_ntests_failed(runner);                                        \
        srunner_free(runner);                                                          \
        return failed ? EXIT_FAILURE : EXIT_SUCCESS;                                   \
    }

#endif
