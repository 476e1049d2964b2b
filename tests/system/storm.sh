#!/bin/sh
# psd is killed and started again while 32 workers train: all of them knock at once, go
# back to the snapshot and go on, and their sums are exact.
. "$top_srcdir/tests/system/lib.sh"
. "$top_srcdir/tests/system/counts.sh"

workers=32
plan 6

at=tcp://127.0.0.1:$(steady_port)
psd_starts() {
    psd_start psd --set shards=2 --set "state=$work/state" --set "listen=$at"
}

each() {
    rank=0
    while [ $rank -lt $workers ]; do
        "$@" storm-$rank || return 1
        rank=$((rank + 1))
    done
}

has_saved() {
    "$psctl" --coordinator="$at" --json jobs >jobs.json 2>/dev/null &&
        grep -A3 '"snapshot": {' jobs.json | grep -q '"clock": [1-9]'
}

trains() {
    wait_until has_done "$1" 30
}

# It has heard that its job went back, and has finished an iteration since.
is_back() {
    sed '1,/^back/d' "$1.out" | grep -q '^done'
}

psd_starts
count_on storm $workers 'job: {strategy: bsp, snapshot_every: 10}' 0
ok "$workers workers train" each trains
ok "a snapshot is there" wait_until has_saved
psd_stop psd KILL
began=$(date +%s%N)
psd_starts
ok "all resume" each wait_until is_back
echo "# all $workers back after $((($(date +%s%N) - began) / 1000000)) ms"
touch enough
ok "all come to their end" all_end storm
ok "the sums are exact" are_exact storm
is "nobody was lost" "$(cat psd.log storm-*.out | grep -cE '^again|was silent')" 0
