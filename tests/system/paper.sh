#!/bin/sh
# psim --model: what comes out is what can be worked out by hand, where it can.
. "$top_srcdir/tests/system/lib.sh"
. "$top_srcdir/tests/system/json.sh"

plan 51

psim=$top_builddir/tests/sim/psim

# Nothing costs anything but the work, which takes equally long every time.
cat >free.yaml <<END
iterations: 10
warmup: 2
model: { bytes: 4000000 }
hosts: { wake_us: 0 }
network: { bandwidth: 1e18, latency_us: 0, send_us: 0, receive_us: 0, send_byte_ns: 0, receive_byte_ns: 0 }
shard: { message_us: 0, answer_us: 0, check_byte_ns: 0, sum_byte_ns: 0, step_byte_ns: 0, send_byte_ns: 0 }
worker: { call_us: 0, message_us: 0, push_byte_ns: 0, pull_byte_ns: 0 }
compute: { ms: 40, spread: 0 }
END

# paper FILE [KEY=VALUE]...: results in lines.json
paper() {
    file=$1
    shift
    for set; do
        shift
        set -- "$@" --set "$set"
    done
    timeout $deadline "$psim" --model "$file" --json "$@" >lines.json 2>notes
}

# that KEY: its value in the first line.
that() {
    json_value "$1" lines.json
}

# holds EXPRESSION: of awk.
holds() {
    awk "BEGIN { exit !($1) }" </dev/null
}

# near NAME GOT EXPECTED SHARE
near() {
    holds "$2 > $3 * (1 - $4) && $2 < $3 * (1 + $4)"
    code_=$?
    report $code_ "$1"
    [ $code_ -eq 0 ] || echo "# got $2, expected $3 within $4 of it"
}

# one STRATEGY [OPTION: VALUE]...: a file with this strategy alone.
one() {
    cat free.yaml
    echo "strategies:"
    echo "  - strategy: $1"
    shift
    for option; do
        echo "    $option"
    done
}
for strategy in bsp asp; do
    one $strategy >$strategy.yaml
done
one ssp 'slack: 2' >ssp.yaml
one backup 'spares: 1' >backup.yaml

# ---- by hand -----------------------------------------------------------------------------
ok   "one worker, and nothing costs anything" paper bsp.yaml workers=1
near "it is as fast as its work" "$(that iterations_per_second)" 25 0.000001
is   "and never waits" "$(holds "$(that waiting) < 0.000001" && echo yes)" yes
ok   "so are ten on four shards" paper bsp.yaml workers=10 shards=4
near "together they are ten times as fast" "$(that gradients_per_second)" 250 0.000001
link="network.bandwidth=1e8 compute.ms=1 model.bytes=1000000"
# shellcheck disable=SC2086
ok   "four workers, one link" paper bsp.yaml workers=4 $link
near "four answers, and the push of who got the last" "$(that iteration_p50)" 0.051 0.01
near "the link carries no more in that time" "$(that link_bytes_per_second)" 4e6/0.051 0.01
# shellcheck disable=SC2086
ok   "two shards, two links" paper bsp.yaml workers=4 shards=2 $link
near "answers take half the time, the push through its own link does not" "$(that iteration_p50)" 0.031 0.01
ok   "64 workers, where one number stands for several" \
    paper bsp.yaml workers=64 network.bandwidth=1e9 compute.ms=1 model.bytes=40000000 iterations=3 warmup=1
near "all pushes, and then most answers" "$(that iteration_p50)" 5 0.03
near "the link carries as many bytes" "$(that link_bytes_per_second)" 64*4e7/5 0.03
ok   "asp on one link" paper asp.yaml workers=4 network.bandwidth=1e8 compute.ms=1
near "uses both ways of it" "$(that gradients_per_second)" 25 0.05
is   "and no more than there is" "$(holds "$(that gradients_per_second) <= 25" && echo yes)" yes
ok   "latency alone" paper bsp.yaml workers=2 network.latency_us=5000 model.bytes=4000
near "an iteration is the work and the way there and back" "$(that iteration_p50)" 0.05 0.001
ok   "two workers on one core" paper asp.yaml workers=2 hosts.workers=2 hosts.cores=1
near "each is half as fast" "$(that iterations_per_second)" 12.5 0.01
ok   "on two cores" paper asp.yaml workers=2 hosts.workers=2 hosts.cores=2
near "they do not disturb each other" "$(that iterations_per_second)" 25 0.001
ok   "two that sleep on one core" paper asp.yaml workers=2 hosts.workers=2 hosts.cores=1 compute.sleeps=true
near "neither do these" "$(that iterations_per_second)" 25 0.001
ok   "a step that takes long" paper bsp.yaml workers=3 shard.step_byte_ns=10
near "adds once to an iteration" "$(that iteration_p50)" 0.08 0.001
ok   "sums that take long" paper bsp.yaml workers=3 shard.sum_byte_ns=10
near "add once for each worker" "$(that iteration_p50)" 0.16 0.001

# ---- strategies --------------------------------------------------------------------------
slow="workers=8 compute.slow.share=0.125 compute.slow.factor=4 compute.spread=0.05"
# shellcheck disable=SC2086
ok   "bsp with a slow worker" paper bsp.yaml $slow
near "is as slow as that" "$(that iteration_p50)" 0.16 0.15
is   "and nothing is stale" "$(that staleness_max)" 0.0
# shellcheck disable=SC2086
ok   "backup with one spare" paper backup.yaml $slow
near "does without it" "$(that iteration_p50)" 0.04 0.25
is   "whose gradients are mostly too late" "$(holds "$(that late) > 0.02" && echo yes)" yes
# shellcheck disable=SC2086
ok   "ssp with slack 2" paper ssp.yaml $slow
is   "nobody is further ahead than that" "$(that ahead_max)" 2
# shellcheck disable=SC2086
ok   "asp" paper asp.yaml $slow
is   "somebody is" "$(holds "$(that ahead_max) > 2" && echo yes)" yes
near "most do not wait" "$(that iteration_p50)" 0.04 0.05
ok   "asp with equal workers" paper asp.yaml workers=8 compute.spread=0.1
near "a gradient misses those of the others" "$(that staleness_mean)" 7 0.03

# ---- what it prints ----------------------------------------------------------------------
cat >cases.yaml <<END
workers: [2, 40]
shards: [1, 3]
iterations: 5
seed: 5
batch: 32
strategies: [{ strategy: bsp }, { strategy: backup, spare_share: 0.1 }, { strategy: asp }]
END
ok "every case of a file" paper cases.yaml
is "is a line" "$(wc -l <lines.json)" 12
head -n 1 lines.json >first.json
ok "and JSON" is_json first.json
mv lines.json before.json
ok "again" paper cases.yaml
ok "gives the same, bit for bit" cmp before.json lines.json
ok "another seed" paper cases.yaml seed=6
ok "gives something else" test "$(cat before.json)" != "$(cat lines.json)"

# ---- what is wrong -----------------------------------------------------------------------
ends "a file that is not there" 71 'nowhere.yaml' "$psim" --model nowhere.yaml
ends "a number that is none" 78 '^psim: --set workers=0: found 0, expected whole numbers, 1 to 4096' \
    "$psim" --model cases.yaml --set workers=0
ends "a key that is none" 78 'cases.yaml: *\|--set netwrk.*unknown key, expected one of name' \
    "$psim" --model cases.yaml --set netwrk.bandwidth=1
