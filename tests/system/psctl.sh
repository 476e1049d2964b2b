#!/bin/sh
# psctl against a running psd: tables, JSON, and what it says when there is none.
. "$top_srcdir/tests/system/lib.sh"
. "$top_srcdir/tests/system/json.sh"

hello=$top_builddir/hello

plan 57

# ---- the command line ----------------------------------------------------------------

ok   "help is printed"              "$psctl" --help
ends "version is printed"        0 '^psctl [0-9]' "$psctl" --version
ends "a command is needed"      64 'no command: expected status, jobs' "$psctl"
ends "unknown command"          64 '^psctl: walk: no such command' "$psctl" walk
ends "unknown option"           64 'psctl --help' "$psctl" --bogus status
ends "one argument too many"    64 '^psctl: more: too many arguments' "$psctl" jobs more
ends "timeout out of range"     64 '^psctl: 0: not a timeout' "$psctl" --timeout=0 jobs
ends "timeout that is no number" 64 '^psctl: 5s: not a timeout' "$psctl" --timeout 5s jobs
ends "interval out of range"    64 '^psctl: 0: not an interval' "$psctl" --interval=0 top
ends "a count that is none"     64 '^psctl: -1: not a number of rounds' "$psctl" --count=-1 top
ends "rounds of what has none"  64 '^psctl: jobs: --interval and --count' "$psctl" --count=2 jobs
ends "address of another kind"  64 '^psctl: .*udp://x:1' "$psctl" -c udp://x:1 status

# ---- nobody there --------------------------------------------------------------------

psd_start gone
at=$endpoint
psd_stop gone
ends "no psd is said in a sentence" 69 "^psctl: .*$at" "$psctl" -c "$at" --timeout=1 status
is   "it is one line"              "$(wc -l <ends.out)" 1
ends "the environment names it"  69 "$at" env PSW_COORDINATOR="$at" "$psctl" --timeout 1 jobs

# ---- a psd without jobs --------------------------------------------------------------

psd_start main --set shards=2
PSW_COORDINATOR=$endpoint
export PSW_COORDINATOR

ends "status in one line"        0 "^psd at $endpoint, up [0-9]* s: 1 process, 2 shards, 0 jobs" \
    "$psctl" status
is   "and no more"                "$(wc -l <ends.out)" 1
ends "no jobs, only the titles"  0 '^JOB  *STATE' "$psctl" jobs
is   "one line again"             "$(wc -l <ends.out)" 1
ends "both shards are shown"     0 '^ *1  *up .*tcp://127.0.0.1:' "$psctl" shards
is   "with their titles"          "$(wc -l <ends.out)" 3

# ---- a job that waits for its second worker --------------------------------------------

PSW_JOB=pair PSW_WORLD_SIZE=2 PSW_TIMEOUT_MS=${deadline}000
export PSW_JOB PSW_WORLD_SIZE PSW_TIMEOUT_MS

# Its first worker has finished an iteration and waits for the other.
is_waiting() {
    "$psctl" shards --json >waiting.json && grep -q '"waiting": 1' waiting.json
}

PSW_RANK=0 "$hello" >first.out 2>&1 &
first=$!
pids="$pids $first"
wait_until is_waiting

ends "the job is listed"         0 '^pair  *waiting  *bsp  *2  *1 ' "$psctl" jobs
ends "status shows it too"       0 '^pair  *waiting ' "$psctl" status
ends "the worker that is there"  0 '^pair  *0  *active ' "$psctl" workers
ends "the worker that is not"    0 '^pair  *1  *expected ' "$psctl" workers
ends "a shard has its parameters" 0 '^ *[01]  *up  *1  *16 B ' "$psctl" shards
ends "a matrix takes so much"    0 '^pair  *x  *dense  *f32  *1  *4  *16 B  *0 B$' "$psctl" matrices
ends "a request waits"           0 '^ *[01]  *up  *1  *16 B  *0 B  *16 B  *0  *0  *[0-9]*  *[0-9]*  *1 ' \
    "$psctl" shards

for part in status jobs workers matrices shards; do
    ends "$part is JSON"         0 '"schema_version": 1' "$psctl" --json $part
    ok   "$part is well-formed"    is_json ends.out
    cp ends.out $part.json
done

ends "top shows the job"         0 '^pair  *waiting  *bsp  *1 ' "$psctl" top --count=2 --interval=0.1
is   "in every round"             "$(grep -c '^pair  *waiting' ends.out)" 2
ok   "and its workers"            grep -q '^pair  *1  *expected ' ends.out
ok   "first without rates"        awk '/^pair *waiting/ { exit $7 != "-" }' ends.out
is   "then with them"             "$(awk '/^pair *waiting/ { rate = $7 } END { print rate }' ends.out)" 0
ok   "without control characters" sh -c "! grep -q '$(printf '\033')' ends.out"
"$psctl" top --json --count=3 --interval=0.1 >top.json
is   "as JSON one line a round"   "$(wc -l <top.json)" 3
tail -n 1 top.json >round.json
ok   "each well-formed"           is_json round.json
is   "with rates"                 "$(json_value bytes_pushed_per_second round.json)" 0.0
"$psctl" top --interval=3600 >top.out 2>&1 &
top=$!
pids="$pids $top"
wait_until grep -q '^pair' top.out
kill -TERM $top
wait_until is_zombie $top || kill -9 $top
wait $top
is   "it ends well when told to"  "$?" 0

# Every key that psctl(1) names.
missing=
for key in endpoint uptime_seconds server_epoch bad_messages denied servers host pid \
    shards shard state jobs parameter_bytes state_bytes allocated_bytes rows \
    evicted pushes pulls repeated refused waiting job number strategy workers active clock matrices elements samples bytes_pushed \
    bytes_pulled age_seconds members rank incarnation silent_seconds retries skipped late \
    staleness_mean staleness_max snapshot matrix_accounts matrix kind dtype cols; do
    grep -q "\"$key\":" status.json || missing="$missing $key"
done
is "status has every key of the manual" "$missing" ""
ok "a worker's object has its job" grep -q '"job": "pair"' workers.json
ok "a matrix's has it too"         grep -q '"job": "pair"' matrices.json

# ---- and its end -----------------------------------------------------------------------

ok "the second worker comes" env PSW_RANK=1 "$hello"
wait_until is_zombie "$first" || kill -9 "$first"
wait "$first"
is   "both end well" "$?" 0
ends "the job is over"           0 '^pair  *finished ' "$psctl" jobs
ends "its workers have left"     0 '^pair  *1  *left ' "$psctl" workers
psd_stop main

# ---- a token ---------------------------------------------------------------------------

psd_start locked --set token=sesame
ends "no token is refused"      77 '^psctl: .*token' "$psctl" -c "$endpoint" status
ends "with the token"            0 '^psd at' "$psctl" -c "$endpoint" --token=sesame status
psd_stop locked
