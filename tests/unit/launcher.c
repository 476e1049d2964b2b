/*
 * What the environment says about a worker: its own variables, those of the launchers,
 * which goes before which, and what is said when they are wrong.
 */
#include "tests/unit/suite.h"

#include "worker/options.h"

#include <ps/worker.h>

extern char **environ;

static struct psw_options found;

static ps_status resolve(const ps_worker_options *given)
{
    return psw_options_resolve(given, &found);
}

/* Nothing that the tests were started with counts. */
static void empty(void)
{
    static char *nothing[] = { NULL };

    environ = nothing;
}

static void set(const char *name, const char *value)
{
    ck_assert_int_eq(setenv(name, value, 1), 0);
}

/* ---- each alias ----------------------------------------------------------------- */

static const char *const ranks[] = {
    "DMLC_WORKER_ID",
    "DMLC_RANK",
    "RANK",
    "SLURM_PROCID",
    "PMIX_RANK",
    "PMI_RANK",
    "OMPI_COMM_WORLD_RANK",
    "JOB_COMPLETION_INDEX",
};

static const char *const sizes[] = {
    "DMLC_NUM_WORKER", "WORLD_SIZE", "SLURM_NTASKS", "PMI_SIZE", "OMPI_COMM_WORLD_SIZE",
};

enum {
    N_RANKS = sizeof(ranks) / sizeof(ranks[0]),
    N_SIZES = sizeof(sizes) / sizeof(sizes[0])
};

START_TEST(nothing_said_is_the_only_worker_of_the_default_job_here)
{
    ck_assert_ok(resolve(NULL));
    ck_assert_str_eq(found.coordinator, "tcp://127.0.0.1:5570");
    ck_assert_str_eq(found.job.name, "default");
    ck_assert_uint_eq(found.rank, 0);
    ck_assert_uint_eq(found.job.workers, 1);
    ck_assert_ptr_null(found.coordinator_from);
}
END_TEST

START_TEST(rank_of_every_launcher_is_taken)
{
    set("WORLD_SIZE", "9");
    set(ranks[_i], "7");
    ck_assert_ok(resolve(NULL));
    ck_assert_uint_eq(found.rank, 7);
}
END_TEST

START_TEST(rank_that_is_no_number_is_named)
{
    set(ranks[_i], "7x");
    ck_assert_status(resolve(NULL), PS_ERR_CONFIG);
    ck_assert_why(ranks[_i]);
    ck_assert_why(": \"7x\", expected a number from 0 to 4095");
}
END_TEST

START_TEST(world_size_of_every_launcher_is_taken)
{
    set(sizes[_i], "9");
    ck_assert_ok(resolve(NULL));
    ck_assert_uint_eq(found.job.workers, 9);
}
END_TEST

START_TEST(world_size_out_of_range_is_named)
{
    set(sizes[_i], "0");
    ck_assert_status(resolve(NULL), PS_ERR_CONFIG);
    ck_assert_why(sizes[_i]);
    ck_assert_why(": \"0\", expected a number from 1 to 4096");
}
END_TEST

/* ---- the coordinator ------------------------------------------------------------ */

START_TEST(coordinator_of_the_ps_lite_tracker_is_host_and_port)
{
    set("DMLC_PS_ROOT_URI", "10.0.0.7");
    set("DMLC_PS_ROOT_PORT", "9091");
    ck_assert_ok(resolve(NULL));
    ck_assert_str_eq(found.coordinator, "tcp://10.0.0.7:9091");
    ck_assert_str_eq(found.coordinator_from, "DMLC_PS_ROOT_URI");
}
END_TEST

START_TEST(half_of_the_tracker_s_pair_is_refused)
{
    set("DMLC_PS_ROOT_URI", "10.0.0.7");
    ck_assert_status(resolve(NULL), PS_ERR_CONFIG);
    ck_assert_why("DMLC_PS_ROOT_URI: \"10.0.0.7\" without DMLC_PS_ROOT_PORT");
    empty();
    set("DMLC_PS_ROOT_PORT", "9091");
    ck_assert_status(resolve(NULL), PS_ERR_CONFIG);
    ck_assert_why("DMLC_PS_ROOT_PORT: \"9091\" without DMLC_PS_ROOT_URI");
}
END_TEST

START_TEST(bad_port_or_host_is_named)
{
    set("DMLC_PS_ROOT_URI", "10.0.0.7");
    set("DMLC_PS_ROOT_PORT", "65536");
    ck_assert_status(resolve(NULL), PS_ERR_CONFIG);
    ck_assert_why("DMLC_PS_ROOT_PORT: \"65536\", expected a number from 1 to 65535");
    empty();
    set("MASTER_ADDR", "tcp://node1");
    ck_assert_status(resolve(NULL), PS_ERR_CONFIG);
    ck_assert_why("MASTER_ADDR: \"tcp://node1\", expected the name or address");
}
END_TEST

START_TEST(torch_s_master_says_the_host_and_its_port_is_torch_s_own)
{
    set("MASTER_ADDR", "node1");
    set("MASTER_PORT", "29500");
    ck_assert_ok(resolve(NULL));
    ck_assert_str_eq(found.coordinator, "tcp://node1:5570");
    ck_assert_str_eq(found.coordinator_from, "MASTER_ADDR");
}
END_TEST

START_TEST(address_with_colons_gets_brackets)
{
    set("MASTER_ADDR", "fe80::1");
    ck_assert_ok(resolve(NULL));
    ck_assert_str_eq(found.coordinator, "tcp://[fe80::1]:5570");
    set("MASTER_ADDR", "[fe80::1]");
    ck_assert_ok(resolve(NULL));
    ck_assert_str_eq(found.coordinator, "tcp://[fe80::1]:5570");
}
END_TEST

/* ---- when they disagree --------------------------------------------------------- */

START_TEST(launchers_that_agree_are_as_good_as_one)
{
    for (int i = 0; i < N_RANKS; i++)
        set(ranks[i], "3");
    for (int i = 0; i < N_SIZES; i++)
        set(sizes[i], "4");
    set("DMLC_PS_ROOT_URI", "node1");
    set("DMLC_PS_ROOT_PORT", "9091");
    set("MASTER_ADDR", "node1");
    ck_assert_ok(resolve(NULL));
    ck_assert_uint_eq(found.rank, 3);
    ck_assert_uint_eq(found.job.workers, 4);
    ck_assert_str_eq(found.coordinator, "tcp://node1:9091");
}
END_TEST

/* torchrun under Slurm: one task a node, several ranks in it. */
START_TEST(launchers_that_disagree_are_named_with_both_values)
{
    set("RANK", "5");
    set("SLURM_PROCID", "1");
    ck_assert_status(resolve(NULL), PS_ERR_CONFIG);
    ck_assert_why("RANK: 5, but SLURM_PROCID: 1");
    ck_assert_why("PSW_RANK");
    empty();
    set("DMLC_NUM_WORKER", "8");
    set("SLURM_NTASKS", "2");
    ck_assert_status(resolve(NULL), PS_ERR_CONFIG);
    ck_assert_why("DMLC_NUM_WORKER: 8, but SLURM_NTASKS: 2");
    ck_assert_why("PSW_WORLD_SIZE");
    empty();
    set("DMLC_PS_ROOT_URI", "node1");
    set("DMLC_PS_ROOT_PORT", "9091");
    set("MASTER_ADDR", "node2");
    ck_assert_status(resolve(NULL), PS_ERR_CONFIG);
    ck_assert_why("DMLC_PS_ROOT_URI: node1, but MASTER_ADDR: node2");
    ck_assert_why("PSW_COORDINATOR");
}
END_TEST

START_TEST(process_in_another_role_is_no_worker)
{
    set("DMLC_ROLE", "server");
    set("DMLC_WORKER_ID", "0");
    ck_assert_status(resolve(NULL), PS_ERR_CONFIG);
    ck_assert_why("DMLC_ROLE: \"server\", expected worker");
    set("DMLC_ROLE", "worker");
    ck_assert_ok(resolve(NULL));
}
END_TEST

/* ---- who goes before whom ------------------------------------------------------- */

START_TEST(any_variable_of_ours_makes_the_launchers_silent)
{
    set("RANK", "5");
    set("WORLD_SIZE", "8");
    set("MASTER_ADDR", "node1");
    set("PSW_TOKEN", "sesame");
    ck_assert_ok(resolve(NULL));
    ck_assert_uint_eq(found.rank, 0);
    ck_assert_uint_eq(found.job.workers, 1);
    ck_assert_str_eq(found.coordinator, "tcp://127.0.0.1:5570");
    set("PSW_TOKEN", ""); /* set to nothing counts as not set */
    ck_assert_ok(resolve(NULL));
    ck_assert_uint_eq(found.rank, 5);
}
END_TEST

START_TEST(compatibility_asks_the_launchers_for_what_ours_leave_open)
{
    set("PSW_ENV_COMPAT", "1");
    set("PSW_RANK", "2");
    set("RANK", "5");
    set("SLURM_PROCID", "1"); /* would disagree, and is not asked */
    set("WORLD_SIZE", "8");
    set("PSW_COORDINATOR", "tcp://node7:1234");
    set("MASTER_ADDR", "node1");
    ck_assert_ok(resolve(NULL));
    ck_assert_uint_eq(found.rank, 2);
    ck_assert_uint_eq(found.job.workers, 8);
    ck_assert_str_eq(found.coordinator, "tcp://node7:1234");
    ck_assert_str_eq(found.coordinator_from, "PSW_COORDINATOR");
}
END_TEST

START_TEST(compatibility_0_never_asks_them)
{
    set("PSW_ENV_COMPAT", "0");
    set("RANK", "5");
    set("WORLD_SIZE", "8");
    ck_assert_ok(resolve(NULL));
    ck_assert_uint_eq(found.rank, 0);
    ck_assert_uint_eq(found.job.workers, 1);
    set("PSW_ENV_COMPAT", "yes");
    ck_assert_status(resolve(NULL), PS_ERR_CONFIG);
    ck_assert_why("PSW_ENV_COMPAT: \"yes\", expected 0 or 1");
}
END_TEST

START_TEST(options_of_the_call_go_before_everything)
{
    ps_worker_options o = PS_WORKER_OPTIONS;

    o.rank = 1;
    o.workers = 2;
    o.coordinator = "tcp://node9:9";
    set("PSW_ENV_COMPAT", "1");
    set("PSW_RANK", "0");
    set("PSW_WORLD_SIZE", "5");
    set("RANK", "not asked");
    set("WORLD_SIZE", "not asked");
    set("MASTER_ADDR", "not asked");
    set("DMLC_ROLE", "server");
    ck_assert_ok(resolve(&o));
    ck_assert_uint_eq(found.rank, 1);
    ck_assert_uint_eq(found.job.workers, 2);
    ck_assert_str_eq(found.coordinator, "tcp://node9:9");
    ck_assert_ptr_null(found.coordinator_from);
}
END_TEST

START_TEST(launchers_go_before_the_settings_and_those_before_the_default)
{
    ps_worker_options o = PS_WORKER_OPTIONS;
    ps_settings      *s;
    uint32_t          rank, workers;

    ck_assert_ok(ps_settings_parse(&s, "workers: {count: 3, command: x}\n"));
    o.settings = s;
    ck_assert_ok(resolve(&o));
    ck_assert_uint_eq(found.job.workers, 3);
    ck_assert_ok(ps_launched(s, &rank, &workers));
    ck_assert_uint_eq(rank, 0);
    ck_assert_uint_eq(workers, 3);
    set("SLURM_NTASKS", "6");
    set("SLURM_PROCID", "4");
    ck_assert_ok(resolve(&o));
    ck_assert_uint_eq(found.job.workers, 6);
    ck_assert_ok(ps_launched(s, &rank, &workers));
    ck_assert_uint_eq(rank, 4);
    ck_assert_uint_eq(workers, 6);
    ps_settings_free(&s);
}
END_TEST

START_TEST(observer_has_no_rank_whoever_started_it)
{
    ps_worker_options o = PS_WORKER_OPTIONS;

    o.observer = 1;
    set("RANK", "5");
    set("SLURM_PROCID", "1");
    set("DMLC_ROLE", "scheduler");
    set("MASTER_ADDR", "node1");
    ck_assert_ok(resolve(&o));
    ck_assert_str_eq(found.coordinator, "tcp://node1:5570");
}
END_TEST

static Suite *suite(void)
{
    Suite *s = suite_create("launcher");
    TCase *t = tcase_create("launcher");

    tcase_add_checked_fixture(t, empty, NULL);
    tcase_add_test(t, nothing_said_is_the_only_worker_of_the_default_job_here);
    tcase_add_loop_test(t, rank_of_every_launcher_is_taken, 0, N_RANKS);
    tcase_add_loop_test(t, rank_that_is_no_number_is_named, 0, N_RANKS);
    tcase_add_loop_test(t, world_size_of_every_launcher_is_taken, 0, N_SIZES);
    tcase_add_loop_test(t, world_size_out_of_range_is_named, 0, N_SIZES);
    tcase_add_test(t, coordinator_of_the_ps_lite_tracker_is_host_and_port);
    tcase_add_test(t, half_of_the_tracker_s_pair_is_refused);
    tcase_add_test(t, bad_port_or_host_is_named);
    tcase_add_test(t, torch_s_master_says_the_host_and_its_port_is_torch_s_own);
    tcase_add_test(t, address_with_colons_gets_brackets);
    tcase_add_test(t, launchers_that_agree_are_as_good_as_one);
    tcase_add_test(t, launchers_that_disagree_are_named_with_both_values);
    tcase_add_test(t, process_in_another_role_is_no_worker);
    tcase_add_test(t, any_variable_of_ours_makes_the_launchers_silent);
    tcase_add_test(t, compatibility_asks_the_launchers_for_what_ours_leave_open);
    tcase_add_test(t, compatibility_0_never_asks_them);
    tcase_add_test(t, options_of_the_call_go_before_everything);
    tcase_add_test(t, launchers_go_before_the_settings_and_those_before_the_default);
    tcase_add_test(t, observer_has_no_rank_whoever_started_it);
    suite_add_tcase(s, t);
    return s;
}

TEST_MAIN(suite)
