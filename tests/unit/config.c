/* Configuration files: what is accepted, and the sentence for everything that is not.
 */
#include "common/config/config.h"
#include "common/base/cpus.h"
#include "common/base/random.h"
#include "common/config/tree.h"
#include "tests/unit/suite.h"

#include <dirent.h>
#include <math.h>
#include <sys/stat.h>
#include <unistd.h>

#define COUNT(array) (sizeof(array) / sizeof((array)[0]))

static char                     folder[] = "/tmp/psd-config-XXXXXX";
static char                     path[64];
static struct ps_experiment    *e;
static struct ps_daemon_config *d;

static void a_folder(void)
{
    memcpy(folder + sizeof(folder) - 7, "XXXXXX", 6);
    ck_assert_ptr_nonnull(mkdtemp(folder));
    snprintf(path, sizeof(path), "%s/x.yaml", folder);
    e = NULL;
    d = NULL;
}

static void no_folder(void)
{
    ps_experiment_free(&e);
    ps_daemon_config_free(&d);
    unlink(path);
    ck_assert_int_eq(rmdir(folder), 0);
}

static void write_file(const char *text, size_t bytes)
{
    FILE *f = fopen(path, "w");

    ck_assert_ptr_nonnull(f);
    ck_assert_uint_eq(fwrite(text, 1, bytes, f), bytes);
    ck_assert_int_eq(fclose(f), 0);
}

static ps_status load(const char *text, const char *set)
{
    write_file(text, strlen(text));
    return ps_experiment_load(&e, path, &set, set ? 1 : 0);
}

static ps_status load_daemon(const char *text, const char *set)
{
    write_file(text, strlen(text));
    return ps_daemon_config_load(&d, path, &set, set ? 1 : 0);
}

/* The whole sentence; in `says`, a leading ':' stands for the file's name before it. */
static void ck_sentence(const char *says)
{
    char whole[1024];

    snprintf(whole, sizeof(whole), "%s%s", *says == ':' ? path : "", says);
    ck_assert_str_eq(ps_log_last_error(), whole);
}

/* ---- bad files ------------------------------------------------------------------ */

#define TOP_KEYS                                                                       \
    "name, description, seed, servers, workers, job, optimiser, train, test, stop, "   \
    "faults, data, model"
#define FAULT_KEYS "kill, stop, process, rank, at_clock, restart, restart_after, for"

static const struct {
    const char *text, *set, *says;
} bad_experiments[] = {
    /* not what a configuration is made of */
    { "", NULL, ": empty, expected the keys of an experiment" },
    { "# nothing but words\n", NULL, ": empty, expected the keys of an experiment" },
    { "{}\n", NULL, ": empty, expected the keys of an experiment" },
    { "lenet\n", NULL, ":1: found lenet, expected a mapping with keys of " TOP_KEYS },
    { "- a\n- b\n", NULL,
      ":1: found a list, expected a mapping with keys of " TOP_KEYS },
    { "name: a\n  seed: 1\n", NULL,
      ":2: not YAML: mapping values are not allowed in this context" },
    { "name: [a\nseed: 1\n", NULL,
      ":2: not YAML: did not find expected ',' or ']' while parsing a flow sequence" },
    { "\x7f"
      "ELF\x02\x01",
      NULL,
      ": not a text file (control characters are not allowed at byte 0), expected YAML "
      "in UTF-8" },
    { "name: \xff\n", NULL,
      ": not a text file (invalid leading UTF-8 octet at byte 6), expected YAML in "
      "UTF-8" },
    { "name: a\n---\nname: b\n", NULL, ":2: a second document, expected one" },
    { "name: &x a\n", NULL, ":1: an anchor (&), expected the value itself" },
    { "job: &x {}\n", NULL, ":1: an anchor (&), expected the value itself" },
    { "name: a\nseed: *x\n", NULL, ":2: an alias (*), expected the value itself" },
    { "*x : a\n", NULL, ":1: an alias (*), expected the value itself" },
    { "seed: !!int 1\n", NULL, ":1: a tag (!), expected the value itself" },
    { "model: !m {}\n", NULL, ":1: a tag (!), expected the value itself" },
    { "name: \"a\\0b\"\n", NULL, ":1: a NUL byte, expected text" },
    { "\"na\\0me\": b\n", NULL, ":1: a NUL byte, expected text" },
    { "? [a, b]\n: c\n", NULL, ":1: a list or mapping as a key, expected a word" },
    { "seed: 1\nname: a\nseed: 2\n", NULL, ":3: seed: repeated key, first in line 1" },
    { "job:\n  strategy: bsp\n  strategy: asp\n", NULL,
      ":3: job.strategy: repeated key, first in line 2" },
    { "model: [[[[[[[[[[[[[[[[[[[[a]]]]]]]]]]]]]]]]]]]]\n", NULL,
      ":1: too deep, expected at most 16 levels" },

    /* keys */
    { "name: a\njobs: {}\n", NULL, ":2: jobs: unknown key, expected one of " TOP_KEYS },
    { "<<: {}\n", NULL, ":1: <<: unknown key, expected one of " TOP_KEYS },
    { "servers:\n  process: 1\n", NULL,
      ":2: servers.process: unknown key, expected one of processes, shards, "
      "worker_silence, shard_timeout" },
    { "optimiser: {schedule: {step: 1}}\n", NULL,
      ":1: optimiser.schedule.step: unknown key, expected one of type, factor, floor, "
      "every, warmup, unit" },
    { "\"a\\nb\": 1\n", NULL, ":1: a?b: unknown key, expected one of " TOP_KEYS },

    /* types */
    { "servers: 4\n", NULL,
      ":1: servers: found 4, expected a mapping with keys of processes, shards, "
      "worker_silence, shard_timeout" },
    { "servers:\n", NULL,
      ":1: servers: found no value, expected a mapping with keys of processes, "
      "shards, worker_silence, shard_timeout" },
    { "servers: [1]\n", NULL,
      ":1: servers: found a list, expected a mapping with keys of processes, shards, "
      "worker_silence, shard_timeout" },
    { "seed: {a: 1}\n", NULL,
      ":1: seed: found a mapping, expected a whole number, 0 to 18446744073709551615" },
    { "seed: one\n", NULL,
      ":1: seed: found one, expected a whole number, 0 to 18446744073709551615" },
    { "seed: 1.5\n", NULL,
      ":1: seed: found 1.5, expected a whole number, 0 to 18446744073709551615" },
    { "train: {epochs: 010}\n", NULL,
      ":1: train.epochs: found 010, expected a whole number, 1 to 1000000" },
    { "train: {epochs: 0x10}\n", NULL,
      ":1: train.epochs: found 0x10, expected a whole number, 1 to 1000000" },
    { "train: {epochs: }\n", NULL,
      ":1: train.epochs: found no value, expected a whole number, 1 to 1000000" },
    { "train: {epochs: ''}\n", NULL,
      ":1: train.epochs: found empty text, expected a whole number, 1 to 1000000" },
    { "optimiser: {lr: fast}\n", NULL,
      ":1: optimiser.lr: found fast, expected a number, above 0" },
    { "optimiser: {lr: 0.1x}\n", NULL,
      ":1: optimiser.lr: found 0.1x, expected a number, above 0" },
    { "optimiser: {lr: nan}\n", NULL,
      ":1: optimiser.lr: found nan, expected a number, above 0" },
    { "optimiser: {momentum: 0x1}\n", NULL,
      ":1: optimiser.momentum: found 0x1, expected a number, at least 0 and below 1" },
    { "train: {prefetch: maybe}\n", NULL,
      ":1: train.prefetch: found maybe, expected true or false" },
    { "train: {prefetch: yes}\n", NULL,
      ":1: train.prefetch: found yes, expected true or false" },
    { "job: {npush: 2}\ntrain: {layerwise: true}\n", NULL,
      ":2: train.layerwise: true with job.nfetch 1, job.npush 2 and job.average "
      "gradient, expected 1, 1 and gradient" },
    { "name:\n", NULL, ":1: name: found no value, expected text" },
    { "name: [a]\n", NULL, ":1: name: found a list, expected text" },
    { "job: {strategy: [bsp]}\n", NULL,
      ":1: job.strategy: found a list, expected one of bsp, asp, ssp, backup" },

    /* values */
    { "servers:\n  shards: 0\n", NULL,
      ":2: servers.shards: 0 is out of range, expected 1 to 256" },
    { "servers:\n  shards: 257\n", NULL,
      ":2: servers.shards: 257 is out of range, expected 1 to 256" },
    { "servers: {shards: -1}\n", NULL,
      ":1: servers.shards: -1 is out of range, expected 1 to 256" },
    { "servers: {processes: 65}\n", NULL,
      ":1: servers.processes: 65 is out of range, expected 1 to 64" },
    { "servers: {processes: 4, shards: 3}\n", NULL,
      ":1: servers.shards: 3 for 4 processes, expected at least one each" },
    { "seed: 18446744073709551616\n", NULL,
      ":1: seed: 18446744073709551616 is out of range, expected 0 to "
      "18446744073709551615" },
    { "workers: {count: 4097}\n", NULL,
      ":1: workers.count: 4097 is out of range, expected 1 to 4096" },
    { "workers: {timeout: 0}\n", NULL,
      ":1: workers.timeout: 0 is out of range, expected 0.1 to 86400" },
    { "workers: {count: 2, slow: {rank: 2, factor: 4}}\n", NULL,
      ":1: workers.slow.rank: 2 of 2 workers, expected 0 to 1" },
    { "workers: {slow: {factor: 0.5}}\n", NULL,
      ":1: workers.slow.factor: 0.5 is out of range, expected 1 to 1000" },
    { "workers: {hiccups: {rate: 1.1}}\n", NULL,
      ":1: workers.hiccups.rate: 1.1 is out of range, expected 0 to 1" },
    { "workers: {hiccups: {factor: 1001}}\n", NULL,
      ":1: workers.hiccups.factor: 1001 is out of range, expected 1 to 1000" },
    { "workers: {slow: 3}\n", NULL,
      ":1: workers.slow: found 3, expected a mapping with keys of rank, factor" },
    { "optimiser: {lr: 0}\n", NULL,
      ":1: optimiser.lr: 0 is out of range, expected above 0" },
    { "optimiser: {lr: 1e999}\n", NULL,
      ":1: optimiser.lr: 1e999 is out of range, expected above 0" },
    { "optimiser: {beta2: 1}\n", NULL,
      ":1: optimiser.beta2: 1 is out of range, expected at least 0 and below 1" },
    { "optimiser: {weight_decay: -1e-9}\n", NULL,
      ":1: optimiser.weight_decay: -1e-9 is out of range, expected at least 0" },
    { "optimiser: {schedule: {factor: 1.5}}\n", NULL,
      ":1: optimiser.schedule.factor: 1.5 is out of range, expected above 0 and at "
      "most "
      "1" },
    { "optimiser: {schedule: {floor: 2}}\n", NULL,
      ":1: optimiser.schedule.floor: 2 is out of range, expected 0 to 1" },
    { "optimiser: {schedule: {every: 0}}\n", NULL,
      ":1: optimiser.schedule.every: 0 is out of range, expected 1 to "
      "18446744073709551615" },
    { "job:\n\n  strategy: bps\n", NULL,
      ":3: job.strategy: bps is unknown, expected one of bsp, asp, ssp, backup" },
    { "job: {strategy: 1}\n", NULL,
      ":1: job.strategy: 1 is unknown, expected one of bsp, asp, ssp, backup" },
    { "optimiser: {name: SGD}\n", NULL,
      ":1: optimiser.name: SGD is unknown, expected one of sgd, momentum, nesterov, "
      "adagrad, rmsprop, adam, adamw, ftrl, assign, add" },
    { "stop: {accuracy: 80}\n", NULL,
      ":1: stop.accuracy: 80 is out of range, expected 0 to 1" },
    { "data:\n  format: xls\n", NULL,
      ":2: data.format: xls is unknown, expected one of idx, libsvm, csv, text" },
    { "data:\n  partition: half\n", NULL,
      ":2: data.partition: half is unknown, expected one of none, "
      "disjoint_contiguous, disjoint_round_robin, disjoint_random, overlap_reshuffle" },
    { "data: {label_column: -1048577}\n", NULL,
      ":1: data.label_column: -1048577 is out of range, expected -1048576 to 1048575" },
    { "data: {label_column: last}\n", NULL,
      ":1: data.label_column: found last, expected a whole number, -1048576 to "
      "1048575" },
    { "data: {label_column: --1}\n", NULL,
      ":1: data.label_column: found --1, expected a whole number, -1048576 to "
      "1048575" },
    { "data: {header: 1}\n", NULL, ":1: data.header: found 1, expected true or false" },
    { "name: a b\n", NULL,
      ":1: name: byte 2 of the name is 0x20, expected 1 to 127 printable ASCII "
      "characters without blank or '/', not starting with '.' or '-'" },

    /* model: */
    { "model: 5\n", NULL, ":1: model: not a mapping, expected options of the worker" },
    { "model: {Filters: 5}\n", NULL,
      ":1: model.Filters: not an option's name, expected up to 127 of a-z, 0-9, _ and "
      "-, the first of a-z" },
    { "model: {-x: 5}\n", NULL,
      ":1: model.-x: not an option's name, expected up to 127 of a-z, 0-9, _ and -, "
      "the "
      "first of a-z" },
    { "model: {a: {b: 5}}\n", NULL,
      ":1: model.a: found a mapping, expected a word, a number or a list" },
    { "model:\n  a:\n  - 1\n  - [2]\n", NULL,
      ":4: model.a: a list or mapping within, expected words or numbers" },
    { "model: {a: }\n", NULL,
      ":1: model.a: found no value, expected a word or number" },
    { "model: {a: []}\n", NULL,
      ":1: model.a: found an empty list, expected values in it" },

    /* faults: */
    { "faults: psd\n", NULL,
      ":1: faults: found psd, expected a list of mappings with keys of " FAULT_KEYS },
    { "faults: {kill: psd}\n", NULL,
      ":1: faults: found a mapping, expected a list of mappings with keys "
      "of " FAULT_KEYS },
    { "faults:\n- kill\n", NULL,
      ":2: faults: found kill, expected a mapping with keys of " FAULT_KEYS },
    { "faults:\n- kill: psd\n  when: 3\n", NULL,
      ":3: faults.when: unknown key, expected one of " FAULT_KEYS },
    { "faults:\n- kill: tester\n", NULL,
      ":2: faults.kill: tester is unknown, expected one of psd, worker" },
    { "faults:\n- {kill: worker, at_clock: 1}\n- {stop: worker, at_clock: 0}\n", NULL,
      ":3: faults.at_clock: 0 is out of range, expected 1 to 18446744073709551615" },
    { "faults: [{kill: worker, at_clock: 1, restart_after: -1}]\n", NULL,
      ":1: faults.restart_after: -1 is out of range, expected 0 to 86400" },
    { "faults: [{kill: worker, at_clock: 1, restart_after: 1s}]\n", NULL,
      ":1: faults.restart_after: found 1s, expected a number, 0 to 86400" },
    { "faults: [{at_clock: 1}]\n", NULL,
      ":1: faults: expected either kill or stop: psd or worker" },
    { "faults: [{kill: worker, stop: worker, at_clock: 1}]\n", NULL,
      ":1: faults.kill: expected either kill or stop: psd or worker" },
    { "faults:\n- kill: worker\n", NULL,
      ":2: faults: no at_clock, expected when it is done" },
    { "faults: [{kill: worker, at_clock: 1, rank: 1}]\n", NULL,
      ":1: faults.rank: 1 of 1 workers, expected 0 to 0" },
    { "faults: [{stop: psd, at_clock: 1, process: 1, for: 1}]\n", NULL,
      ":1: faults.process: 1 of 1 psd processes, expected 0 to 0" },
    { "faults: [{stop: psd, at_clock: 1, rank: 1, for: 1}]\n", NULL,
      ":1: faults.rank: a psd has none, expected process" },
    { "faults: [{kill: worker, at_clock: 1, process: 1}]\n", NULL,
      ":1: faults.process: a worker has none, expected rank" },
    { "faults: [{kill: worker, at_clock: 1, for: 1}]\n", NULL,
      ":1: faults.for: of a kill, expected restart_after" },
    { "faults: [{kill: worker, at_clock: 1, restart: false, restart_after: 1}]\n", NULL,
      ":1: faults.restart_after: without a restart" },
    { "faults:\n- {kill: psd, at_clock: 1}\n", NULL,
      ":2: faults.kill: the model would be lost with the psd, expected a job with "
      "job.snapshot_every, job.snapshot_ms or job.ack: durable" },
    { "faults: [{kill: psd, at_clock: 1, restart: false}]\njob: {snapshot_every: 5}\n",
      NULL,
      ":1: faults.restart: the first psd is the coordinator, without which nothing "
      "goes "
      "on, expected true" },
    { "faults: [{stop: worker, at_clock: 1, for: 1, restart_after: 1}]\n", NULL,
      ":1: faults.restart_after: of a stop, expected for" },
    { "faults: [{stop: worker, at_clock: 1, for: 1, restart: false}]\n", NULL,
      ":1: faults.restart: of a stop, expected for" },
    { "faults: [{stop: worker, at_clock: 1}]\n", NULL,
      ":1: faults: a stop without an end, expected for: SECONDS above 0" },

    /* --set */
    { "seed: 1\n", "job.strategy=bps",
      "--set job.strategy=bps: bps is unknown, expected one of bsp, asp, ssp, backup" },
    { "seed: 1\n", "jobs.strategy=bsp",
      "--set jobs.strategy=bsp: jobs: unknown key, expected one of " TOP_KEYS },
    { "seed: 1\n", "jobs=bsp",
      "--set jobs=bsp: unknown key, expected one of " TOP_KEYS },
    { "seed: 1\n", "servers.shards=0",
      "--set servers.shards=0: 0 is out of range, expected 1 to 256" },
    { "seed: 1\n", "servers=3",
      "--set servers=3: found 3, expected a mapping with keys of processes, shards, "
      "worker_silence, shard_timeout" },
    { "seed: 1\n", "seed.more=3",
      "--set seed.more=3: seed: found a mapping, expected a whole number, 0 to "
      "18446744073709551615" },
    { "seed: 1\n", "seed", "--set seed: no key, expected KEY=VALUE or KEY.KEY=VALUE" },
    { "seed: 1\n", "=1", "--set =1: no key, expected KEY=VALUE or KEY.KEY=VALUE" },
    { "seed: 1\n", "a..b=1",
      "--set a..b=1: no key, expected KEY=VALUE or KEY.KEY=VALUE" },
    { "seed: 1\n", "a.=1", "--set a.=1: no key, expected KEY=VALUE or KEY.KEY=VALUE" },
    { "seed: 1\n", "", "--set : no key, expected KEY=VALUE or KEY.KEY=VALUE" },
    { "seed: 1\n", "seed=",
      "--set seed=: found empty text, expected a whole number, 0 to "
      "18446744073709551615" },
    { "seed: 1\n", "seed=[1",
      "--set seed=[1: not YAML: did not find expected ',' or ']' while parsing a "
      "flow "
      "sequence" },
    { "seed: 1\n", "seed={a: 1}",
      "--set seed={a: 1}: a mapping, expected a word or a list" },
    { "seed: 1\n", "name=#1",
      "--set name=#1: a comment, expected a value (in quotes?)" },
    { "seed: 1\n", "name=*a",
      "--set name=*a: an alias (*), expected the value itself" },
    { "- 1\n", "seed=1", "--set seed=1: the file holds no keys to set" },
};

START_TEST(every_bad_experiment_has_its_sentence)
{
    for (size_t i = 0; i < COUNT(bad_experiments); i++) {
        ck_assert_status(load(bad_experiments[i].text, bad_experiments[i].set),
                         PS_ERR_CONFIG);
        ck_assert_ptr_null(e);
        ck_sentence(bad_experiments[i].says);
    }
}
END_TEST

#define ENDPOINT "is not an endpoint to use here, expected "
#define LONG_PATH                                                                      \
    "01234567890123456789012345678901234567890123456789012345678901234567890123456789" \
    "0"                                                                                \
    "123456789"
#define CPU_LIST                                                                       \
    "is not a list of CPUs, expected numbers and ranges such as 0-3,8, below 1024, "   \
    "each CPU once"
#define TCP_OR_IPC "tcp://HOST:PORT (port 0 to 65535) or ipc://PATH"

static const struct {
    const char *text, *set, *says;
} bad_daemons[] = {
    { "listen: tcp://127.0.0.1:0\nshard: 2\n", NULL,
      ":2: shard: unknown key, expected one of listen, coordinator, shard_listen, "
      "shards, token, insecure_plaintext, log_level, worker_silence, shard_timeout, "
      "max_jobs, keep_finished, state, keep_snapshots, restore_from, recovery_wait, "
      "shared_memory, cpus, io_cpus, io_threads, spin_us" },
    { "cpus: 0-\n", NULL, ":1: cpus: 0- " CPU_LIST },
    { "cpus: 0,,1\n", NULL, ":1: cpus: 0,,1 " CPU_LIST },
    { "cpus: 3-1\n", NULL, ":1: cpus: 3-1 " CPU_LIST },
    { "cpus: 0-2,1\n", NULL, ":1: cpus: 0-2,1 " CPU_LIST },
    { "cpus: 1024\n", NULL, ":1: cpus: 1024 " CPU_LIST },
    { "cpus: -1\n", NULL, ":1: cpus: -1 " CPU_LIST },
    { "cpus: 0 1\n", NULL, ":1: cpus: 0 1 " CPU_LIST },
    { "cpus: all\n", NULL, ":1: cpus: all " CPU_LIST },
    { "shards: 1\nio_cpus: 0x1\n", NULL, ":2: io_cpus: 0x1 " CPU_LIST },
    { "io_threads: 0\n", NULL, ":1: io_threads: 0 is out of range, expected 1 to 64" },
    { "io_threads: 65\n", NULL,
      ":1: io_threads: 65 is out of range, expected 1 to 64" },
    { "spin_us: 1001\n", NULL,
      ":1: spin_us: 1001 is out of range, expected 0 to 1000" },
    { "state: a\nkeep_snapshots: 1\n", NULL,
      ":2: keep_snapshots: 1 is out of range, expected 2 to 1024" },
    { "recovery_wait: 86401\n", NULL,
      ":1: recovery_wait: 86401 is out of range, expected 0 to 86400" },
    { "restore_from: a\n", NULL,
      ":1: restore_from: expected a state folder as well, and another one" },
    { "state: a\nrestore_from: a\n", NULL,
      ":2: restore_from: expected a state folder as well, and another one" },
    { "shards: 257\n", NULL, ":1: shards: 257 is out of range, expected 0 to 256" },
    { "coordinator: tcp://a:1\nshards: 0\n", NULL,
      ":2: shards: 0 in a psd that joins a coordinator, expected 1 to 256" },
    { "worker_silence: 0.5\n", NULL,
      ":1: worker_silence: 0.5 is out of range, expected 1 to 3600" },
    { "max_jobs: 5000\n", NULL,
      ":1: max_jobs: 5000 is out of range, expected 1 to 4096" },
    { "keep_finished: 5000\n", NULL,
      ":1: keep_finished: 5000 is out of range, expected 0 to 4096" },
    { "insecure_plaintext: on\n", NULL,
      ":1: insecure_plaintext: found on, expected true or false" },
    { "log_level: loud\n", NULL,
      ":1: log_level: loud is unknown, expected one of error, warning, info, debug" },
    { "listen: 127.0.0.1:5570\n", NULL,
      ":1: listen: 127.0.0.1:5570 " ENDPOINT TCP_OR_IPC },
    { "listen: tcp://127.0.0.1\n", NULL,
      ":1: listen: tcp://127.0.0.1 " ENDPOINT TCP_OR_IPC },
    { "listen: tcp://:5570\n", NULL, ":1: listen: tcp://:5570 " ENDPOINT TCP_OR_IPC },
    { "listen: tcp://a:65536\n", NULL,
      ":1: listen: tcp://a:65536 " ENDPOINT TCP_OR_IPC },
    { "listen: tcp://a:1x\n", NULL, ":1: listen: tcp://a:1x " ENDPOINT TCP_OR_IPC },
    { "listen: tcp://a b:1\n", NULL, ":1: listen: tcp://a b:1 " ENDPOINT TCP_OR_IPC },
    { "listen: udp://a:1\n", NULL, ":1: listen: udp://a:1 " ENDPOINT TCP_OR_IPC },
    { "listen: ipc://\n", NULL,
      ":1: listen: ipc:// " ENDPOINT "a path of 1 to 107 bytes after ipc://" },
    { "coordinator: tcp://a:0\n", NULL,
      ":1: coordinator: tcp://a:0 " ENDPOINT
      "tcp://HOST:PORT (port 1 to 65535) or ipc://PATH" },
    { "shards: 2\nshard_listen: tcp://a:7000\n", NULL,
      ":2: shard_listen: tcp://a:7000 " ENDPOINT
      "tcp://HOST:0, or shards: 1, as every shard needs a port" },
    { "shards: 1\nlisten: ipc://a\nshard_listen: ipc://a\n", NULL,
      ":3: shard_listen: ipc://a " ENDPOINT "another path than that of listen" },
    { "shards: 2\nshard_listen: ipc://" LONG_PATH "123456789\n", NULL,
      ":2: shard_listen: "
      "ipc://012345678901234567890123456789012345678901234567890123... " ENDPOINT
      "a path of 1 to 98 bytes, to which every shard adds its number" },
    { "shards: 2\n", "listen=here", "--set listen=here: here " ENDPOINT TCP_OR_IPC },
};

START_TEST(every_bad_daemon_file_has_its_sentence)
{
    for (size_t i = 0; i < COUNT(bad_daemons); i++) {
        ck_assert_status(load_daemon(bad_daemons[i].text, bad_daemons[i].set),
                         PS_ERR_CONFIG);
        ck_assert_ptr_null(d);
        ck_sentence(bad_daemons[i].says);
    }
}
END_TEST

START_TEST(a_file_that_cannot_be_read_says_why)
{
    ck_assert_status(ps_experiment_load(&e, path, NULL, 0), PS_ERR_SYSTEM);
    ck_sentence(": cannot be opened: No such file or directory");
    ck_assert_status(ps_daemon_config_load(&d, folder, NULL, 0), PS_ERR_SYSTEM);
    ck_assert_why("cannot be read: Is a directory");
}
END_TEST

START_TEST(a_file_over_the_limits_is_refused)
{
    size_t bytes = PS_TREE_BYTES + 1;
    char  *text = malloc(bytes + 1);

    memset(text, '#', bytes);
    text[bytes] = '\0';
    ck_assert_status(load(text, NULL), PS_ERR_CONFIG);
    ck_sentence(": too large, expected at most 1048576 bytes");

    strcpy(text, "model:\n a: [");
    for (unsigned i = 0; i < PS_TREE_NODES; i++)
        strcat(text + 9 + 4 * i, " 1,\n");
    strcat(text, "]\n");
    ck_assert_status(load(text, NULL), PS_ERR_CONFIG);
    ck_assert_why("too much, expected at most 4096 values");
    free(text);
}
END_TEST

START_TEST(long_and_strange_values_are_shown_short)
{
    char text[600] = "job: {strategy: \"\\a\\e";

    memset(text + strlen(text), 'x', 300);
    strcat(text, "\"}\n");
    ck_assert_status(load(text, NULL), PS_ERR_CONFIG);
    ck_assert_why(":1: job.strategy: ??xxxx");
    ck_assert_why("xxx... is unknown, expected one of bsp, asp, ssp, backup");

    snprintf(text, sizeof(text), "name: %0128d\n", 1);
    ck_assert_status(load(text, NULL), PS_ERR_CONFIG);
    ck_sentence(":1: name: too long with 128 bytes, expected at most 127");
}
END_TEST

START_TEST(a_file_whose_name_is_no_job_name_asks_for_one)
{
    const char *text = "seed: 1\n";

    ck_assert_status(ps_experiment_parse(&e, "my run.yaml", text, strlen(text)),
                     PS_ERR_CONFIG);
    ck_assert_why("my run.yaml: name: byte 3 of the name is 0x20");
}
END_TEST

/* ---- good files ----------------------------------------------------------------- */

START_TEST(an_experiment_that_says_little_gets_defaults)
{
    ck_assert_ok(load("seed: 7\n", NULL));
    ck_assert_str_eq(e->name, "x");
    ck_assert_str_eq(e->job.name, "x");
    ck_assert_ptr_null(e->description);
    ck_assert_ptr_null(e->command);
    ck_assert_uint_eq(e->seed, 7);
    ck_assert_uint_eq(e->job.seed, 7);
    ck_assert_uint_eq(e->server_processes, 1);
    ck_assert_uint_eq(e->server_shards, 2);
    ck_assert_uint_eq(e->workers, 1);
    ck_assert_double_eq(e->timeout, 30);
    ck_assert_uint_eq(e->slow_rank, 0);
    ck_assert_double_eq(e->slow_factor, 1);
    ck_assert_double_eq(e->hiccup_rate, 0);
    ck_assert_double_eq(e->hiccup_factor, 1);
    ck_assert_uint_eq(e->job.strategy, PS_BSP);
    ck_assert_uint_eq(e->job.aggregate, PS_MEAN);
    ck_assert_uint_eq(e->job.on_loss, PS_LOSS_SHRINK);
    ck_assert_uint_eq(e->job.nonfinite, PS_NONFINITE_REFUSE);
    ck_assert_uint_eq(e->job.optimiser.kind, PS_SGD);
    ck_assert_uint_eq(e->epochs, 1);
    ck_assert_uint_eq(e->batch, 64);
    ck_assert_uint_eq(e->limit, 0);
    ck_assert(e->prefetch);
    ck_assert(!e->layerwise);
    ck_assert_double_eq(e->stop_accuracy, 0);
    ck_assert_str_eq(e->data_format, "idx");
    ck_assert_ptr_null(e->train_features);
    ck_assert_uint_eq(e->partition, PS_PARTITION_NONE);
    ck_assert_int_eq(e->label_column, -1);
    ck_assert(!e->header);
    ck_assert_uint_eq(e->n_model, 0);
    ck_assert_uint_eq(e->n_faults, 0);
    ck_assert_double_eq(e->worker_silence, 15);
    ck_assert_double_eq(e->shard_timeout, 10);
}
END_TEST

START_TEST(the_default_experiment_is_complete)
{
    ck_assert_ok(ps_experiment_default(&e));
    ck_assert_str_eq(e->name, "default");
    ck_assert_ok(ps_job_spec_check(&e->job));
}
END_TEST

START_TEST(every_key_reaches_its_place)
{
    ck_assert_ok(load("name: n\n"
                      "description: 'a: b'\n"
                      "seed: 18446744073709551615\n"
                      "servers: {processes: 2, shards: 5}\n"
                      "workers: {count: 3, command: lenet --quick, timeout: 1.5,\n"
                      "  slow: {rank: 2, factor: 4}, hiccups: {rate: 0.5, factor: 3}}\n"
                      "job: {strategy: asp, aggregate: sum, on_loss: abort,\n"
                      "      nonfinite: skip}\n"
                      "optimiser: {name: adam, lr: 0.25, momentum: 0.5, beta1: 0.625,\n"
                      "  beta2: 0.75, rho: 0.125, epsilon: 1e-3, weight_decay: 2,\n"
                      "  ftrl_beta: 3, ftrl_l1: 4, ftrl_l2: 5,\n"
                      "  schedule: {type: cosine, factor: 0.5, floor: 0.25, every: 9,\n"
                      "             warmup: 8, unit: epoch}}\n"
                      "train: {epochs: 4, batch: 16, limit: 100, prefetch: false,\n"
                      "        layerwise: true}\n"
                      "stop: {accuracy: 0.75}\n"
                      "data: {format: csv, train_features: a, train_labels: b,\n"
                      "       test_features: c, test_labels: d, label_column: -3,\n"
                      "       header: true, partition: overlap_reshuffle}\n"
                      "model: {filters: [16, 16], dropout: 0.5, kind: 'x y'}\n",
                      NULL));
    ck_assert_str_eq(e->job.name, "n");
    ck_assert_str_eq(e->description, "a: b");
    ck_assert_uint_eq(e->seed, UINT64_MAX);
    ck_assert_uint_eq(e->server_processes, 2);
    ck_assert_uint_eq(e->server_shards, 5);
    ck_assert_uint_eq(e->workers, 3);
    ck_assert_uint_eq(e->job.workers, 3);
    ck_assert_str_eq(e->command, "lenet --quick");
    ck_assert_double_eq(e->timeout, 1.5);
    ck_assert_uint_eq(e->slow_rank, 2);
    ck_assert_double_eq(e->slow_factor, 4);
    ck_assert_double_eq(e->hiccup_rate, 0.5);
    ck_assert_double_eq(e->hiccup_factor, 3);
    ck_assert_uint_eq(e->job.strategy, PS_ASP);
    ck_assert_uint_eq(e->job.aggregate, PS_SUM);
    ck_assert_uint_eq(e->job.on_loss, PS_LOSS_ABORT);
    ck_assert_uint_eq(e->job.nonfinite, PS_NONFINITE_SKIP);
    ck_assert_uint_eq(e->job.optimiser.kind, PS_ADAM);
    ck_assert_double_eq(e->job.optimiser.lr, 0.25);
    ck_assert_double_eq(e->job.optimiser.momentum, 0.5);
    ck_assert_double_eq(e->job.optimiser.beta1, 0.625);
    ck_assert_double_eq(e->job.optimiser.beta2, 0.75);
    ck_assert_double_eq(e->job.optimiser.rho, 0.125);
    ck_assert_double_eq(e->job.optimiser.epsilon, 1e-3);
    ck_assert_double_eq(e->job.optimiser.weight_decay, 2);
    ck_assert_double_eq(e->job.optimiser.ftrl_beta, 3);
    ck_assert_double_eq(e->job.optimiser.ftrl_l1, 4);
    ck_assert_double_eq(e->job.optimiser.ftrl_l2, 5);
    ck_assert_uint_eq(e->job.optimiser.schedule.kind, PS_LR_COSINE);
    ck_assert_double_eq(e->job.optimiser.schedule.factor, 0.5);
    ck_assert_double_eq(e->job.optimiser.schedule.floor, 0.25);
    ck_assert_uint_eq(e->job.optimiser.schedule.every, 9);
    ck_assert_uint_eq(e->job.optimiser.schedule.warmup, 8);
    ck_assert(e->job.optimiser.schedule.epochs);
    ck_assert_uint_eq(e->epochs, 4);
    ck_assert_uint_eq(e->batch, 16);
    ck_assert_uint_eq(e->limit, 100);
    ck_assert(!e->prefetch);
    ck_assert(e->layerwise);
    ck_assert_double_eq(e->stop_accuracy, 0.75);
    ck_assert_str_eq(e->train_features, "a");
    ck_assert_str_eq(e->train_labels, "b");
    ck_assert_str_eq(e->test_features, "c");
    ck_assert_str_eq(e->test_labels, "d");
    ck_assert_str_eq(e->data_format, "csv");
    ck_assert_int_eq(e->label_column, -3);
    ck_assert(e->header);
    ck_assert_uint_eq(e->partition, PS_PARTITION_OVERLAP_RESHUFFLE);
    ck_assert_uint_eq(e->n_model, 3);
    ck_assert_str_eq(e->model[0].key, "filters");
    ck_assert_str_eq(e->model[0].value, "16,16");
    ck_assert_str_eq(e->model[1].value, "0.5");
    ck_assert_str_eq(e->model[2].value, "x y");
}
END_TEST

#define SOME_FAULTS                                                                    \
    "servers: {processes: 2, worker_silence: 2.5, shard_timeout: 3}\n"                 \
    "workers: {count: 3}\n"                                                            \
    "job: {snapshot_every: 50}\n"                                                      \
    "faults:\n"                                                                        \
    "- {kill: psd, at_clock: 200, restart_after: 1.5}\n"                               \
    "- {kill: psd, process: 1, at_clock: 210, restart: false}\n"                       \
    "- {kill: worker, rank: 1, at_clock: 50}\n"                                        \
    "- {stop: worker, rank: 2, at_clock: 80, for: 2}\n"

START_TEST(faults_reach_their_place)
{
    ck_assert_ok(load(SOME_FAULTS, NULL));
    ck_assert_double_eq(e->worker_silence, 2.5);
    ck_assert_double_eq(e->shard_timeout, 3);
    ck_assert_uint_eq(e->n_faults, 4);
    ck_assert_uint_eq(e->faults[0].kill, PS_VICTIM_PSD);
    ck_assert_uint_eq(e->faults[0].stop, PS_VICTIM_NONE);
    ck_assert_uint_eq(e->faults[0].process, 0);
    ck_assert_uint_eq(e->faults[0].at_clock, 200);
    ck_assert(e->faults[0].restart);
    ck_assert_double_eq(e->faults[0].restart_after, 1.5);
    ck_assert_uint_eq(e->faults[1].process, 1);
    ck_assert(!e->faults[1].restart);
    ck_assert_uint_eq(e->faults[2].kill, PS_VICTIM_WORKER);
    ck_assert_uint_eq(e->faults[2].rank, 1);
    ck_assert_double_eq(e->faults[2].restart_after, 0);
    ck_assert_uint_eq(e->faults[3].stop, PS_VICTIM_WORKER);
    ck_assert_uint_eq(e->faults[3].kill, PS_VICTIM_NONE);
    ck_assert_double_eq(e->faults[3].duration, 2);
}
END_TEST

START_TEST(faults_can_be_set_and_taken_away)
{
    ck_assert_ok(load(SOME_FAULTS, "faults=[{stop: psd, at_clock: 3, for: 0.5}]"));
    ck_assert_uint_eq(e->n_faults, 1);
    ck_assert_uint_eq(e->faults[0].at_clock, 3);
    ps_experiment_free(&e);
    ck_assert_ok(load(SOME_FAULTS, "faults=[]"));
    ck_assert_uint_eq(e->n_faults, 0);
}
END_TEST

START_TEST(too_many_faults_are_refused)
{
    char   text[16384] = "faults:\n";
    size_t used = strlen(text);

    for (int i = 0; i < 257; i++)
        used += (size_t)snprintf(text + used, sizeof(text) - used,
                                 "- {kill: worker, at_clock: 1}\n");
    ck_assert_status(load(text, NULL), PS_ERR_CONFIG);
    ck_sentence(":1: faults: 257 entries, expected at most 256");
}
END_TEST

START_TEST(windows_and_batches_that_grow_reach_their_places)
{
    ck_assert_ok(load("job: {nfetch: 8, npush: 4, local: same, average: model}\n"
                      "optimiser: {base_batch: 128}\n"
                      "train: {batch: 16, batch_growth: {every: 3, factor: 1.5,\n"
                      "                                  max: 512}}\n",
                      NULL));
    ck_assert_uint_eq(e->job.nfetch, 8);
    ck_assert_uint_eq(e->job.npush, 4);
    ck_assert_uint_eq(e->job.local, PS_LOCAL_SAME);
    ck_assert_uint_eq(e->job.average, PS_AVERAGE_MODEL);
    ck_assert_uint_eq(e->base_batch, 128);
    ck_assert_uint_eq(e->growth_every, 3);
    ck_assert_double_eq(e->growth_factor, 1.5);
    ck_assert_uint_eq(e->growth_max, 512);
}
END_TEST

START_TEST(a_batch_does_not_grow_unless_told)
{
    ck_assert_ok(load("train: {batch: 1048576}\n", NULL));
    ck_assert_uint_eq(e->growth_every, 1);
    ck_assert_double_eq(e->growth_factor, 1);
    ck_assert_uint_eq(e->growth_max, 1048576);
    ck_assert_uint_eq(e->base_batch, 0);
}
END_TEST

START_TEST(epochs_of_unequal_length_are_no_unit_of_time)
{
    ck_assert_status(load("optimiser: {schedule: {unit: epoch}}\n"
                          "train: {batch_growth: {factor: 2}}\n",
                          NULL),
                     PS_ERR_CONFIG);
    ck_assert_why("optimiser.schedule.unit: epoch, but under train.batch_growth");
    ck_assert_status(
        load("train: {batch: 64, batch_growth: {factor: 2, max: 63}}\n", NULL),
        PS_ERR_CONFIG);
    ck_assert_why("train.batch_growth.max: 63 is below train.batch, 64");
    ck_assert_ok(load("optimiser: {schedule: {unit: epoch}}\n"
                      "train: {batch: 64, batch_growth: {factor: 1, max: 63}}\n",
                      NULL)); /* nothing grows */
}
END_TEST

/* lr 0.25 for 64 samples; 4 workers of 32. */
static const struct {
    const char *job;
    double      lr;
} rates[] = {
    { "job: {strategy: bsp}", 0.5 },
    { "job: {strategy: bsp, npush: 8}", 0.5 },
    { "job: {strategy: bsp, aggregate: sum}", 0.125 },
    { "job: {strategy: backup, spares: 1}", 0.375 },
    { "job: {strategy: asp}", 0.125 },
    { "job: {strategy: asp, scale: workers}", 0.5 },
    { "job: {strategy: asp, scale: delay-compensated}", 0.125 },
    { "job: {strategy: ssp, scale: staleness}", 0.5 },
    { "job: {strategy: ssp, scale: versions}", 0.5 },
};

START_TEST(the_learning_rate_is_scaled_to_what_a_step_averages)
{
    char text[256];

    snprintf(text, sizeof(text),
             "workers: {count: 4}\noptimiser: {lr: 0.25, base_batch: 64}\n"
             "train: {batch: 32}\n%s\n",
             rates[_i].job);
    ck_assert_ok(load(text, NULL));
    ck_assert_double_eq(ps_experiment_lr(e, 4), rates[_i].lr);
    ck_assert_double_eq(e->job.optimiser.lr, 0.25); /* what run.yaml says */
    e->base_batch = 0;
    ck_assert_double_eq(ps_experiment_lr(e, 4), 0.25);
}
END_TEST

START_TEST(an_optimiser_brings_its_own_defaults)
{
    struct ps_optimiser_spec book;

    for (uint32_t kind = PS_SGD; kind <= PS_ADD; kind++) {
        char text[64];

        book = ps_optimiser_spec_default(kind);
        snprintf(text, sizeof(text), "optimiser: {name: %s, rho: 0.5}\n",
                 ps_optimiser_name(kind));
        ck_assert_ok(load(text, NULL));
        ck_assert_uint_eq(e->job.optimiser.kind, kind);
        ck_assert_double_eq(e->job.optimiser.rho, 0.5);
        ck_assert_double_eq(e->job.optimiser.lr, book.lr);
        ck_assert_double_eq(e->job.optimiser.epsilon, book.epsilon);
        ck_assert_double_eq(e->job.optimiser.weight_decay, book.weight_decay);
        ps_experiment_free(&e);
    }
}
END_TEST

START_TEST(there_is_a_shard_for_every_process)
{
    ck_assert_ok(load("servers: {processes: 5}\n", NULL));
    ck_assert_uint_eq(e->server_shards, 5);
}
END_TEST

START_TEST(empty_text_is_as_if_left_out)
{
    ck_assert_ok(load("name: ''\ndescription: ''\ndata: {format: ''}\n", NULL));
    ck_assert_str_eq(e->name, "x");
    ck_assert_ptr_null(e->description);
    ck_assert_str_eq(e->data_format, "idx");
}
END_TEST

START_TEST(later_overrides_win)
{
    const char *text = "servers: {shards: 2}\ndescription: x\nmodel: {filters: 1}\n";
    const char *sets[] = { "servers.shards=3", "model.filters=[6, 16]",
                           "model.new=a=b",    "optimiser.schedule.every=2",
                           "servers.shards=4", "description=",
                           "name=it.is" };

    write_file(text, strlen(text));
    ck_assert_ok(ps_experiment_load(&e, path, sets, COUNT(sets)));
    ck_assert_uint_eq(e->server_shards, 4);
    ck_assert_str_eq(e->name, "it.is");
    ck_assert_ptr_null(e->description);
    ck_assert_uint_eq(e->job.optimiser.schedule.every, 2);
    ck_assert_uint_eq(e->n_model, 2);
    ck_assert_str_eq(e->model[0].value, "6,16");
    ck_assert_str_eq(e->model[1].value, "a=b");
}
END_TEST

START_TEST(an_empty_daemon_file_is_all_defaults)
{
    ck_assert_ok(load_daemon("# nothing\n", NULL));
    ck_assert_str_eq(d->listen, "tcp://127.0.0.1:5570");
    ck_assert_ptr_null(d->coordinator);
    ck_assert_str_eq(d->shard_listen, "tcp://127.0.0.1:0");
    ck_assert_uint_ge(d->shards, 1);
    ck_assert_uint_le(d->shards, 256);
    ck_assert_str_eq(d->token, "");
    ck_assert(!d->insecure_plaintext);
    ck_assert_uint_eq(d->log_level, PS_LOG_INFO);
    ck_assert_double_eq(d->worker_silence, 15);
    ck_assert_double_eq(d->shard_timeout, 10);
    ck_assert_uint_eq(d->max_jobs, 64);
    ck_assert_uint_eq(d->keep_finished, 16);
    ck_assert_ptr_null(d->state);
    ck_assert_uint_eq(d->keep_snapshots, 2);
    ck_assert_ptr_null(d->restore_from);
    ck_assert_double_eq(d->recovery_wait, 30);
    ck_assert(d->shared_memory);
    ck_assert_ptr_null(d->cpus);
    ck_assert_ptr_null(d->io_cpus);
    ck_assert_uint_eq(d->io_threads, 1);
    ck_assert_uint_eq(d->spin_us, 0);
}
END_TEST

/* On the CPUs that this test may use, whatever they are. */
START_TEST(a_shard_for_each_cpu_unless_it_says_how_many)
{
    struct ps_cpus all;
    char           list[PS_CPUS_TEXT_BYTES], text[PS_CPUS_TEXT_BYTES + 32];

    ps_cpus_allowed(&all);
    ps_cpus_text(&all, list);
    snprintf(text, sizeof(text), "cpus: %s\n", list);
    ck_assert_ok(load_daemon(text, NULL));
    ck_assert_str_eq(d->cpus, list);
    ck_assert_uint_eq(d->shards, all.n < 256 ? all.n : 256);
    ps_daemon_config_free(&d);
    ck_assert_ok(load_daemon(text, "shards=3"));
    ck_assert_uint_eq(d->shards, 3);
    ps_daemon_config_free(&d);
    snprintf(text, sizeof(text), "cpus: %u\n", all.cpu[0]);
    ck_assert_ok(load_daemon(text, NULL));
    ck_assert_uint_eq(d->shards, 1);
}
END_TEST

START_TEST(a_cpu_that_is_not_there_is_named_beside_those_that_are)
{
    static const char *const keys[] = { "cpus", "io_cpus" };
    struct ps_cpus           all;
    char                     list[PS_CPUS_TEXT_BYTES], text[64], says[512];
    uint16_t                 missing = 0;

    ps_cpus_allowed(&all);
    ps_cpus_text(&all, list);
    while (missing < PS_CPUS_MAX && ps_cpus_has(&all, missing))
        missing++;
    if (missing == PS_CPUS_MAX)
        return; /* the system does not tell */
    for (size_t i = 0; i < COUNT(keys); i++) {
        snprintf(text, sizeof(text), "%s: %u,%u\n", keys[i], all.cpu[0], missing);
        snprintf(says, sizeof(says),
                 ":1: %s: CPU %u is not there, or not for psd, expected some of %s",
                 keys[i], missing, list);
        ck_assert_status(load_daemon(text, NULL), PS_ERR_CONFIG);
        ck_sentence(says);
    }
}
END_TEST

static const struct {
    const char *text, *listen, *shard_listen;
} endpoints[] = {
    { "shards: 4\n", "tcp://10.0.0.7:5570", "tcp://10.0.0.7:0" },
    { "shards: 4\n", "tcp://[::1]:0", "tcp://[::1]:0" },
    { "shards: 1\n", "tcp://localhost:1", "tcp://localhost:0" },
    { "shards: 4\n", "ipc:///run/psd/socket", "ipc:///run/psd/socket" },
    { "shards: 1\n", "ipc:///run/psd/socket", "ipc:///run/psd/socket-shard0" },
    { "shards: 0\n", "ipc:///run/psd/socket", "ipc:///run/psd/socket-shard0" },
    { "shards: 1\nshard_listen: ipc:///a\n", "ipc:///b", "ipc:///a" },
    { "shards: 1\nshard_listen: tcp://a:7\n", "ipc:///b", "tcp://a:7" },
};

START_TEST(shards_listen_where_the_coordinator_does)
{
    for (size_t i = 0; i < COUNT(endpoints); i++) {
        char set[64];

        snprintf(set, sizeof(set), "listen=%s", endpoints[i].listen);
        ck_assert_ok(load_daemon(endpoints[i].text, set));
        ck_assert_str_eq(d->listen, endpoints[i].listen);
        ck_assert_str_eq(d->shard_listen, endpoints[i].shard_listen);
        ps_daemon_config_free(&d);
    }
}
END_TEST

START_TEST(a_joining_daemon_needs_no_listen)
{
    ck_assert_ok(load_daemon("coordinator: tcp://ps0:5570\nlog_level: debug\n", NULL));
    ck_assert_str_eq(d->coordinator, "tcp://ps0:5570");
    ck_assert_uint_eq(d->log_level, PS_LOG_DEBUG);
}
END_TEST

/* ---- round trips ---------------------------------------------------------------- */

static size_t printed(const struct ps_experiment *x, char **text)
{
    size_t bytes;
    FILE  *f = open_memstream(text, &bytes);

    ck_assert_ok(ps_experiment_print(x, f));
    fclose(f);
    return bytes;
}

/* What is printed loads, to something that prints the same; print says every field. */
static void ck_round_trip(const struct ps_experiment *x)
{
    struct ps_experiment *again;
    char                 *first, *second;
    size_t                bytes = printed(x, &first);

    ck_assert_ok(ps_experiment_parse(&again, "again", first, bytes));
    printed(again, &second);
    ck_assert_str_eq(first, second);
    ck_assert_mem_eq(&x->job.optimiser.lr, &again->job.optimiser.lr, sizeof(double));
    ck_assert_ok(ps_job_spec_same(&x->job, &again->job));
    ck_assert_int_eq(x->label_column, again->label_column);
    ck_assert_uint_eq(x->n_model, again->n_model);
    for (size_t i = 0; i < x->n_model; i++)
        ck_assert_str_eq(x->model[i].value, again->model[i].value);
    if (x->description)
        ck_assert_str_eq(x->description, again->description);
    ps_experiment_free(&again);
    free(first);
    free(second);
}

static const char *const awkward[] = {
    "true",
    "~",
    "null",
    "1e3",
    "a: b",
    " # no comment",
    "'",
    "\"",
    "- a",
    "[a",
    "{",
    "*a",
    "&a",
    "!a",
    "%a",
    "@a",
    "`",
    "a\nb",
    "\tx ",
    "\\",
    "\x01\x1f\x7f",
    "\xc3\xa9\xe2\x82\xac",
    "\xf0\x9f\x90\x9f",
    "a\r\n\n  b",
    "...",
    "---",
    "? a",
    "| x",
    "> x",
    "\xc2\x85",
    "=",
};

START_TEST(printed_text_loads_as_it_was)
{
    for (size_t i = 0; i < COUNT(awkward); i++) {
        ck_assert_ok(load("model: {a: b}\ndescription: d\n", NULL));
        free(e->description);
        free(e->model[0].value);
        e->description = strdup(awkward[i]);
        e->model[0].value = strdup(awkward[i]);
        ck_round_trip(e);
        ps_experiment_free(&e);
    }
}
END_TEST

START_TEST(printed_faults_load_as_they_were)
{
    struct ps_experiment *again;
    char                 *text;
    size_t                bytes;

    ck_assert_ok(load(SOME_FAULTS, NULL));
    ck_round_trip(e);
    bytes = printed(e, &text);
    ck_assert_ok(ps_experiment_parse(&again, "again", text, bytes));
    ck_assert_uint_eq(again->n_faults, 4);
    ck_assert(!again->faults[1].restart);
    ck_assert_uint_eq(again->faults[1].process, 1);
    ck_assert_double_eq(again->faults[3].duration, 2);
    ps_experiment_free(&again);
    free(text);
}
END_TEST

START_TEST(printed_numbers_load_as_they_were)
{
    ck_assert_ok(ps_experiment_default(&e));
    for (uint64_t i = 0; i < 500; i++) {
        e->job.optimiser.lr =
            ldexp(ps_random_uniform(1, 2, i), (int)ps_random_below(1, 3, i, 200) - 100);
        e->job.optimiser.momentum = ps_random_uniform(1, 4, i);
        e->label_column = (int)ps_random_below(1, 6, i, 2000) - 1000;
        e->seed = e->job.seed = ps_random_u64(1, 5, i);
        e->job.optimiser.schedule.every = 1 + ps_random_below(1, 6, i, UINT64_MAX);
        e->job.optimiser.kind = PS_SGD + (uint32_t)(i % PS_ADD);
        free(e->name);
        e->name = strdup("default");
        ck_round_trip(e);
    }
}
END_TEST

START_TEST(a_printed_daemon_config_loads_as_it_was)
{
    struct ps_daemon_config *again;
    char                    *text;
    size_t                   bytes;
    FILE                    *f = open_memstream(&text, &bytes);

    ck_assert_ok(
        load_daemon("coordinator: tcp://a:1\nshards: 3\ntoken: 'x: \"'\n"
                    "insecure_plaintext: true\nlog_level: warning\n"
                    "worker_silence: 1.1\nshard_timeout: 2\nmax_jobs: 5\n"
                    "keep_finished: 0\nstate: /a b\nkeep_snapshots: 7\n"
                    "restore_from: /c\nrecovery_wait: 0.5\nshared_memory: false\n"
                    "io_threads: 3\nspin_us: 70\n",
                    NULL));
    ck_assert_ok(ps_daemon_config_print(d, f));
    fclose(f);
    write_file(text, bytes);
    free(text);
    ck_assert_ok(ps_daemon_config_load(&again, path, NULL, 0));
    ck_assert_str_eq(again->listen, d->listen);
    ck_assert_str_eq(again->coordinator, "tcp://a:1");
    ck_assert_str_eq(again->shard_listen, d->shard_listen);
    ck_assert_uint_eq(again->shards, 3);
    ck_assert_str_eq(again->token, "x: \"");
    ck_assert(again->insecure_plaintext);
    ck_assert_uint_eq(again->log_level, PS_LOG_WARN);
    ck_assert_double_eq(again->worker_silence, 1.1);
    ck_assert_double_eq(again->shard_timeout, 2);
    ck_assert_uint_eq(again->max_jobs, 5);
    ck_assert_uint_eq(again->keep_finished, 0);
    ck_assert_str_eq(again->state, "/a b");
    ck_assert_uint_eq(again->keep_snapshots, 7);
    ck_assert_str_eq(again->restore_from, "/c");
    ck_assert_double_eq(again->recovery_wait, 0.5);
    ck_assert(!again->shared_memory);
    ck_assert_uint_eq(again->io_threads, 3);
    ck_assert_uint_eq(again->spin_us, 70);
    ps_daemon_config_free(&again);
}
END_TEST

START_TEST(print_says_when_it_cannot_write)
{
    FILE *full = fopen("/dev/full", "w");

    ck_assert_ok(ps_experiment_default(&e));
    ck_assert_status(ps_experiment_print(e, full), PS_ERR_SYSTEM);
    ck_assert_why("config: cannot be written: No space left on device");
    fclose(full);
}
END_TEST

/* ---- what ships, and what is left of it ----------------------------------------- */

static void shipped(const char *name, char out[512])
{
    const char *top = getenv("top_srcdir");

    snprintf(out, 512, "%s/conf/%s", top ? top : ".", name);
}

static const struct {
    const char *name, *command;
    uint32_t    strategy, scale, workers, optimiser;
    double      lr;
    const char *model; /* the first option of the worker */
} experiments[] = {
    { "lenet-asp", "lenet", PS_ASP, PS_SCALE_NONE, 2, PS_NESTEROV, 0.005, "16,16" },
    { "lenet-asp-delay", "lenet", PS_ASP, PS_SCALE_DELAY, 4, PS_NESTEROV, 0.0025,
      "16,16" },
    { "lenet-asp-staleness", "lenet", PS_ASP, PS_SCALE_STALENESS, 4, PS_NESTEROV, 0.01,
      "16,16" },
    { "lenet-asp-versions", "lenet", PS_ASP, PS_SCALE_VERSIONS, 4, PS_NESTEROV, 0.01,
      "16,16" },
    { "lenet-backup", "lenet", PS_BACKUP, PS_SCALE_NONE, 3, PS_NESTEROV, 0.01,
      "16,16" },
    { "lenet-bsp", "lenet", PS_BSP, PS_SCALE_NONE, 2, PS_NESTEROV, 0.01, "16,16" },
    { "lenet-bsp-faults", "lenet", PS_BSP, PS_SCALE_NONE, 2, PS_NESTEROV, 0.01,
      "16,16" },
    { "lenet-full-bsp", "lenet", PS_BSP, PS_SCALE_NONE, 2, PS_NESTEROV, 0.01, "32,64" },
    { "lenet-local-sgd", "lenet", PS_BSP, PS_SCALE_NONE, 2, PS_SGD, 0.1, "16,16" },
    { "lenet-nfetch", "lenet", PS_ASP, PS_SCALE_NONE, 2, PS_SGD, 0.05, "16,16" },
    { "lenet-ssp", "lenet", PS_SSP, PS_SCALE_NONE, 2, PS_NESTEROV, 0.005, "16,16" },
    { "lenet5-bsp", "lenet", PS_BSP, PS_SCALE_NONE, 2, PS_NESTEROV, 0.01, "6,16" },
    { "logreg-asp", "logreg", PS_ASP, PS_SCALE_NONE, 2, PS_FTRL, 0.5, "40000" },
    { "logreg-bsp", "logreg", PS_BSP, PS_SCALE_NONE, 2, PS_FTRL, 0.5, "40000" },
    { "wordvec-asp", "wordvec", PS_ASP, PS_SCALE_NONE, 2, PS_ADAGRAD, 0.1,
      "bible Gen1:1-Rev22:21 </dev/null" },
    { "wordvec-ssp", "wordvec", PS_SSP, PS_SCALE_NONE, 2, PS_ADAGRAD, 0.1,
      "bible Gen1:1-Rev22:21 </dev/null" },
};

START_TEST(shipped_experiments_load)
{
    for (size_t i = 0; i < COUNT(experiments); i++) {
        char file[512], name[64];

        snprintf(name, sizeof(name), "experiments/%s.yaml", experiments[i].name);
        shipped(name, file);
        ck_assert_ok(ps_experiment_load(&e, file, NULL, 0));
        ck_assert_str_eq(e->name, experiments[i].name);
        ck_assert_str_eq(e->command, experiments[i].command);
        ck_assert_ptr_nonnull(e->description);
        ck_assert_uint_eq(e->job.strategy, experiments[i].strategy);
        ck_assert_uint_eq(e->job.scale, experiments[i].scale);
        ck_assert_uint_eq(e->job.optimiser.kind, experiments[i].optimiser);
        ck_assert_double_eq(e->job.optimiser.lr, experiments[i].lr);
        ck_assert_uint_eq(e->workers, experiments[i].workers);
        ck_assert_str_eq(e->model[0].value, experiments[i].model);
        ck_assert_uint_eq(e->job.nfetch, e->job.npush);
        ck_round_trip(e);
        ps_experiment_free(&e);
    }
}
END_TEST

static int is_yaml(const struct dirent *entry)
{
    size_t n = strlen(entry->d_name);

    return n > 5 && !strcmp(entry->d_name + n - 5, ".yaml");
}

START_TEST(no_other_experiments_ship)
{
    struct dirent **entries;
    char            place[512];
    int             n;

    shipped("experiments", place);
    n = scandir(place, &entries, is_yaml, NULL);
    ck_assert_int_eq(n, COUNT(experiments));
    for (int i = 0; i < n; i++)
        free(entries[i]);
    free(entries);
}
END_TEST

/* What the file of defaults says is what psd does without it. */
START_TEST(shipped_daemon_file_says_the_defaults)
{
    struct ps_daemon_config *none;
    char                     file[512];

    ck_assert_ok(load_daemon("", NULL));
    none = d;
    shipped("psd.yaml", file);
    ck_assert_ok(ps_daemon_config_load(&d, file, NULL, 0));
    ck_assert_str_eq(d->listen, none->listen);
    ck_assert_ptr_null(d->coordinator);
    ck_assert_str_eq(d->shard_listen, none->shard_listen);
    ck_assert_uint_eq(d->shards, none->shards);
    ck_assert_str_eq(d->token, none->token);
    ck_assert(d->insecure_plaintext == none->insecure_plaintext);
    ck_assert_uint_eq(d->log_level, none->log_level);
    ck_assert_double_eq(d->worker_silence, none->worker_silence);
    ck_assert_double_eq(d->shard_timeout, none->shard_timeout);
    ck_assert_uint_eq(d->max_jobs, none->max_jobs);
    ck_assert_uint_eq(d->keep_finished, none->keep_finished);
    ck_assert_ptr_null(d->state);
    ck_assert_uint_eq(d->keep_snapshots, none->keep_snapshots);
    ck_assert_ptr_null(d->restore_from);
    ck_assert_double_eq(d->recovery_wait, none->recovery_wait);
    ck_assert(d->shared_memory == none->shared_memory);
    ck_assert_ptr_null(d->cpus);
    ck_assert_ptr_null(d->io_cpus);
    ck_assert_uint_eq(d->io_threads, none->io_threads);
    ck_assert_uint_eq(d->spin_us, none->spin_us);
    ps_daemon_config_free(&none);
}
END_TEST

static size_t read_shipped(char *text, size_t room)
{
    char   file[512];
    FILE  *f;
    size_t bytes;

    shipped("experiments/lenet-bsp.yaml", file);
    f = fopen(file, "r");
    ck_assert_ptr_nonnull(f);
    bytes = fread(text, 1, room, f);
    ck_assert_uint_gt(bytes, 500);
    ck_assert_uint_lt(bytes, room);
    fclose(f);
    return bytes;
}

/* It loads, and then completely; or it is refused. */
static void ck_sound(const char *text, size_t bytes)
{
    ps_status st = ps_experiment_parse(&e, "file", text, bytes);

    if (!st)
        ck_round_trip(e);
    else
        ck_assert_status(st, PS_ERR_CONFIG);
    ps_experiment_free(&e);
}

START_TEST(no_truncation_does_harm)
{
    char   text[4096];
    size_t bytes = read_shipped(text, sizeof(text));

    for (size_t n = 0; n < bytes; n++)
        ck_sound(text, n);
}
END_TEST

START_TEST(no_mutation_does_harm)
{
    static const char marks[] = ":{}[],&*!|>'\"%@`#-?\n\t \\\0\xff\xc3\x80"
                                "0123456789ae.";
    char              whole[4096], text[4096];
    size_t            bytes = read_shipped(whole, sizeof(whole));

    for (uint64_t i = 0; i < 5000; i++) {
        memcpy(text, whole, bytes);
        for (uint64_t k = 0; k <= ps_random_below(7, 1, i, 4); k++) {
            size_t at = ps_random_below(7, 10 + k, i, bytes);
            size_t mark = ps_random_below(7, 20 + k, i, sizeof(marks) - 1);

            text[at] = k == 3 ? (char)ps_random_u64(7, 30, i) : marks[mark];
        }
        ck_sound(text, bytes);
    }
}
END_TEST

static Suite *config_suite(void)
{
    Suite *s = suite_create("config");
    TCase *bad = tcase_create("bad files");
    TCase *good = tcase_create("good files");
    TCase *print = tcase_create("printing");
    TCase *ship = tcase_create("shipped");

    tcase_add_checked_fixture(bad, a_folder, no_folder);
    tcase_add_test(bad, every_bad_experiment_has_its_sentence);
    tcase_add_test(bad, every_bad_daemon_file_has_its_sentence);
    tcase_add_test(bad, a_cpu_that_is_not_there_is_named_beside_those_that_are);
    tcase_add_test(bad, a_file_that_cannot_be_read_says_why);
    tcase_add_test(bad, a_file_over_the_limits_is_refused);
    tcase_add_test(bad, long_and_strange_values_are_shown_short);
    tcase_add_test(bad, a_file_whose_name_is_no_job_name_asks_for_one);
    suite_add_tcase(s, bad);

    tcase_add_checked_fixture(good, a_folder, no_folder);
    tcase_add_test(good, an_experiment_that_says_little_gets_defaults);
    tcase_add_test(good, the_default_experiment_is_complete);
    tcase_add_test(good, faults_reach_their_place);
    tcase_add_test(good, faults_can_be_set_and_taken_away);
    tcase_add_test(bad, too_many_faults_are_refused);
    tcase_add_test(good, every_key_reaches_its_place);
    tcase_add_test(good, windows_and_batches_that_grow_reach_their_places);
    tcase_add_test(good, a_batch_does_not_grow_unless_told);
    tcase_add_test(good, epochs_of_unequal_length_are_no_unit_of_time);
    tcase_add_loop_test(good, the_learning_rate_is_scaled_to_what_a_step_averages, 0,
                        (int)COUNT(rates));
    tcase_add_test(good, an_optimiser_brings_its_own_defaults);
    tcase_add_test(good, there_is_a_shard_for_every_process);
    tcase_add_test(good, empty_text_is_as_if_left_out);
    tcase_add_test(good, later_overrides_win);
    tcase_add_test(good, an_empty_daemon_file_is_all_defaults);
    tcase_add_test(good, a_shard_for_each_cpu_unless_it_says_how_many);
    tcase_add_test(good, shards_listen_where_the_coordinator_does);
    tcase_add_test(good, a_joining_daemon_needs_no_listen);
    suite_add_tcase(s, good);

    tcase_add_checked_fixture(print, a_folder, no_folder);
    tcase_add_test(print, printed_text_loads_as_it_was);
    tcase_add_test(print, printed_numbers_load_as_they_were);
    tcase_add_test(print, printed_faults_load_as_they_were);
    tcase_add_test(print, a_printed_daemon_config_loads_as_it_was);
    tcase_add_test(print, print_says_when_it_cannot_write);
    suite_add_tcase(s, print);

    tcase_add_checked_fixture(ship, a_folder, no_folder);
    tcase_add_test(ship, shipped_experiments_load);
    tcase_add_test(ship, no_other_experiments_ship);
    tcase_add_test(ship, shipped_daemon_file_says_the_defaults);
    tcase_add_test(ship, no_truncation_does_harm);
    tcase_add_test(ship, no_mutation_does_harm);
    suite_add_tcase(s, ship);
    return s;
}

TEST_MAIN(config_suite)
