#!/bin/sh
# libpsworker against a real psd: what worker_api.c does, and what it is told when
# something is wrong.
. "$top_srcdir/tests/system/lib.sh"

api=$top_builddir/tests/system/worker_api

plan 51

psd_start first --set shards=3
export PSW_COORDINATOR="$endpoint" PSW_TIMEOUT_MS=20000

# ---- what works ----------------------------------------------------------------------

ok "dense matrices of all types, and ranges" "$api" dense
ok "rows by key, named twice and in any order" "$api" sparse
ok "many requests at once, waited for in any order" "$api" async
ok "an observer reads and does not wait" "$api" observer
ok "a worker that leaves does not hold back the others" "$api" abandoned
ok "a child process is told that nothing here is its own" "$api" forked
ok "a worker paces itself" env PSW_PACE= PSW_SLOW= PSW_HICCUPS= "$api" pace

threads=$top_builddir/tests/system/worker_threads
ok "callbacks are told once, in a later call" "$threads" callbacks
ok "from inside a callback every call works" "$threads" nested
ok "what is not done when the worker goes is told so" "$threads" ending
ok "a child process runs no callback of its parent" "$threads" forked
ok "threads with a worker each train together" "$threads" threads
ok "a worker goes from thread to thread" "$threads" handed
ok "two threads at once inside a worker are refused" "$threads" two_inside

layers=$top_builddir/tests/system/worker_layers
ok "a model moves layer by layer, and bsp's sums are right" "$layers" together
ok "no layer is written while it is read, whoever pushes" "$layers" disturbed
ok "layers in the wrong order are refused" "$layers" misuse

# together CASE WORKERS: one process each, all of them end well.
together() {
    others=
    for rank in $(seq 1 $(($2 - 1))); do
        PSW_WORLD_SIZE=$2 PSW_RANK=$rank "$api" "$1" &
        others="$others $!"
    done
    PSW_WORLD_SIZE=$2 PSW_RANK=0 "$api" "$1"
    together_code=$?
    for other in $others; do
        wait "$other" || together_code=$?
    done
    return $together_code
}

ok "one worker moves a model of many sizes" together model 1
ok "two workers do, and see the same sums" together model 2
ok "three workers do" together model 3
ok "the mean is weighted by samples" together mean 2

psd_start spins --set shards=3 --set spin_us=200
ok "shards and workers may look before they sleep" \
    env PSW_COORDINATOR="$endpoint" PSW_SPIN_US=200 "$api" async
psd_stop spins

psd_start single --set shards=1
export PSW_COORDINATOR="$endpoint"
"$api" hash one >hash.1 2>&1
psd_start pair --set shards=4
export PSW_COORDINATOR="$endpoint"
"$api" hash one >hash.4 2>&1
"$api" hash two >hash.other 2>&1
ok   "a model has a hash" grep -qxE '[0-9a-f]{64}' hash.1
is   "the hash does not depend on the shards" "$(cat hash.1)" "$(cat hash.4)"
is   "nor on the name of the job" "$(cat hash.1)" "$(cat hash.other)"
psd_stop single
psd_stop pair

psd_start impatient --set worker_silence=3
export PSW_COORDINATOR="$endpoint"
ok   "a worker that computes for long is not silent" "$api" busy 6
is   "it was never given up" "$(grep -c 'silent\|lost' impatient.log)" 0
psd_stop impatient

# ---- what is refused -------------------------------------------------------------------

export PSW_COORDINATOR="$(cat first.at)"
ok "wrong shapes, types and names are named" "$api" shapes
ok "a push that is not finite changes nothing" "$api" nonfinite
ok "taken ranks and other counts of workers are named" "$api" ranks
printf 'optimiser:\n  name: adam\n  lr: 0.5\n' >other.yaml
ok "another optimiser is named" "$api" mismatch other.yaml
ok "a program can say its own settings" "$api" settings
ok "a deadline says who was waited for" "$api" timeout

# variable NAME VALUE PATTERN
variable() {
    ends "$1=$2 is refused" 78 "$3" env "$1=$2" "$api" open
}

variable PSW_RANK        one      'PSW_RANK: "one", expected a number from 0 to'
variable PSW_RANK        -1       'PSW_RANK: "-1", expected a number from 0 to'
variable PSW_WORLD_SIZE  0        'PSW_WORLD_SIZE: "0", expected a number from 1 to'
variable PSW_SPIN_US     1001     'PSW_SPIN_US: "1001", expected a number from 0 to 1000'
variable PSW_TIMEOUT_MS  30s      'PSW_TIMEOUT_MS: "30s", expected a number from 1 to'
variable PSW_COORDINATOR nowhere  'PSW_COORDINATOR: .*nowhere'
variable PSW_JOB         'a job'  'PSW_JOB: .*name'
ends "a rank beyond the workers is refused" 78 'rank 3 of job default: expected 0 to 1' \
    env PSW_RANK=3 PSW_WORLD_SIZE=2 "$api" open

psd_start guarded --set token=sesame
ends "no token is denied" 77 'token' env PSW_COORDINATOR="$endpoint" "$api" open
ok   "the right token opens" env PSW_COORDINATOR="$endpoint" PSW_TOKEN=sesame "$api" open
gone=$endpoint
psd_stop guarded
ends "nobody there is said so" 69 "coordinator $gone: nobody answers, waited 0.5 s" \
    env PSW_COORDINATOR="$gone" PSW_TIMEOUT_MS=500 "$api" open

# ---- the server ends while workers wait ------------------------------------------------

# left_waiting NAME SIGNAL: a worker waits in a pull, then its psd gets the signal.
left_waiting() {
    psd_start "$1" --set shards=2
    PSW_COORDINATOR="$endpoint" PSW_TIMEOUT_MS=4000 "$api" waiting "$1.ready" \
        2>"$1.worker" &
    worker=$!
    pids="$pids $worker"
    wait_until is_settled $worker "$1.ready"
    psd_stop "$1" "$2"
    wait_until is_zombie $worker
    wait $worker
    worker_code=$?
}

left_waiting killed KILL
is   "a worker of a killed psd ends with 69" "$worker_code" 69
says "and says that it heard nothing" killed.worker 'nothing heard from shard\|no answer from shard'
left_waiting ended TERM
is   "a worker of a psd that ends does, too" "$worker_code" 69
says "and passes its reason on" ended.worker '^server is ending: .*SIGTERM'

is   "psd did not fall over any of that" "$(kill -0 "$pid_first" && echo up)" up
is   "nor complain about messages" "$(grep -c 'bad message\|malformed' first.log)" 0
psd_stop first
is   "and ends cleanly" "$code" 0
