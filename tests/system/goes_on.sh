#!/bin/sh
# A psd is killed, twice, and started again, while two workers count: they go on from the
# snapshots, and every sum that they see on the way is exact.  So it is when the psd that
# is killed is one that had joined, and the coordinator goes on.
. "$top_srcdir/tests/system/lib.sh"

goes_on=$top_builddir/tests/system/worker_goes_on

plan 12

export PSW_WORLD_SIZE=2 PSW_TIMEOUT_MS=50000

has_saved() {
    "$psctl" --coordinator="$at" --json jobs >jobs.json 2>/dev/null &&
        grep -A3 '"snapshot": {' jobs.json | grep -q '"clock": [1-9]'
}

# Of the first job that is not over.
clock_now() {
    "$psctl" --coordinator="$at" jobs 2>/dev/null |
        awk '$2 == "running" || $2 == "waiting" { print $6; exit }'
}

is_at() {
    clock=$(clock_now)
    [ "${clock:-0}" -ge "$1" ]
}

# workers END GATE...: two of them, in worker-RANK.out and .err.
workers() {
    for rank in 0 1; do
        PSW_RANK=$rank PSW_COORDINATOR=$at "$goes_on" "$@" \
            >"worker-$rank.out" 2>"worker-$rank.err" &
        eval "worker_$rank=$!"
        pids="$pids $!"
    done
}

they_end() {
    for rank in 0 1; do
        eval "one=\$worker_$rank"
        wait_until is_zombie "$one"
        wait "$one"
        is "worker $rank comes to its end" "$?" 0
        sed 's/^/# /' "worker-$rank.err"
    done
    ok "and has gone back on the way" grep -q 'went back [1-9]' worker-0.out
}

# The coordinator itself.
psd_start one --set shards=2 --set shard_timeout=1 --set "state=$work/one"
at=$endpoint
export PSW_JOB=alone
workers 200 90 150
wait_until has_saved
for round in first second; do
    gate=$([ $round = first ] && echo 90 || echo 150)
    wait_until is_at $((gate - 30))
    psd_stop one KILL
    psd_start one --set shards=2 --set shard_timeout=1 --set "state=$work/one" \
        --set "listen=$at"
    is "it is back where it was, the $round time" "$endpoint" "$at"
    : >"alone-$gate"
done
they_end
ok "the job is over" wait_until grep -q finished one.log

# One that has joined.
psd_start two --set shards=1 --set "coordinator=$at" --set "state=$work/two"
export PSW_JOB=together
workers 120 90
wait_until has_saved
wait_until is_at 60
psd_stop two KILL
says "the coordinator finds out" one.log "together: goes back to a snapshot"
psd_start two --set shards=1 --set "coordinator=$at" --set "state=$work/two"
: >together-90
they_end
ok "parts of it are in both folders" test "$(ls "$work/one/parts" | grep -c together)" -ge 2 \
    -a "$(ls "$work/two/parts" | grep -c together)" -ge 1
psd_stop two
psd_stop one
is "psd ends cleanly" "$code" 0
