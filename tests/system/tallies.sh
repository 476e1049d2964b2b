#!/bin/sh
# Eight workers, processes of their own, count together: sums of integers are exact under
# asp, and under ssp nobody is ever further ahead than the slack.
. "$top_srcdir/tests/system/lib.sh"

tally=$top_builddir/tests/system/worker_tally

plan 8

psd_start psd --set shards=4
export PSW_COORDINATOR="$endpoint" PSW_TIMEOUT_MS=50000 PSW_WORLD_SIZE=8

# eight NAME ARGUMENT...: each in NAME-RANK.out; all of them end well.
eight() {
    as=$1
    shift
    of_eight=
    for rank in 0 1 2 3 4 5 6 7; do
        PSW_RANK=$rank "$tally" "$@" >"$as-$rank.out" &
        of_eight="$of_eight $!"
        pids="$pids $!"
    done
    eight_code=0
    for one in $of_eight; do
        wait "$one" || eight_code=$?
    done
    return $eight_code
}

export PSW_JOB=count
ok "eight workers count, without waiting for each other" eight count count
export PSW_OBSERVER=1
ok "the sums are exact, dense and by key" "$tally" sums
unset PSW_OBSERVER

for slack in 0 1 4; do
    export PSW_JOB="slack-$slack"
    rm -f here-*
    ok "slack $slack: no value that a worker pulls lacks more of anybody" \
        eight "slack-$slack" slack "$slack"
    is "slack $slack: and it is used" "$(sort -nu slack-$slack-*.out | tail -n1)" "$slack"
done
