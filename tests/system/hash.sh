#!/bin/sh
# The model of a bsp run is the same bit for bit: without sockets, and with real
# processes, whatever the number of shards and of psd processes.
. "$top_srcdir/tests/system/lib.sh"

plan 5

pure=$top_builddir/tests/sim/pure
toy=$top_builddir/tests/system/toy

printf 'seed: 11\noptimiser: {name: adam}\n' >toy.yaml
expected=$("$pure" 3 2)
is "the run without sockets ends" "${#expected}" 64

# train JOB: three workers; what they print, each line once
train() {
    for rank in 0 1 2; do
        PSW_COORDINATOR=$coordinator PSW_JOB=$1 PSW_RANK=$rank PSW_WORLD_SIZE=3 \
            PSW_CONFIG=toy.yaml "$toy" >"$1-$rank.out" 2>&1 &
        workers="$workers $!"
        pids="$pids $!"
    done
    for worker in $workers; do
        wait "$worker"
    done
    workers=
    cat "$1"-[012].out | sort -u
}
workers=

for shards in 1 2 4; do
    psd_start "shards$shards" --set shards=$shards
    coordinator=$endpoint
    train "toy$shards" >got
    is "$shards shards, one psd" "$(cat got)" "$expected"
    psd_stop "shards$shards"
done

psd_start head --set shards=1
coordinator=$endpoint
psd_start tail --set shards=2 --set coordinator="$coordinator"
train toys >got
is "two psd processes with three shards" "$(cat got)" "$expected"
