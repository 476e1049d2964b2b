#!/bin/sh
# Is what psim says of a cluster true?  Measures on this machine what a byte and a message cost,
# predicts with that what psd does here with more workers, other optimisers and strategies,
# and holds both against each other.
#
#     paper.sh [ROUNDS]        in the build folder; `make bench-paper`
#
# Five minutes on a machine that does nothing else.  On one that does, as root, before the others:
# chrt -r 1 make bench-paper
#
# What is measured to be put into the model: kernels, small requests, and of a round of bsp with
# one worker the server's processor time; of LeNet the computing of one worker.  What is
# predicted is everything else.  Prints predicted, measured, and the error; ends with 1 when an
# error exceeds 20 %.
rounds=${1:-5}
build=${PSD_BINDIR:-.}
experiment=${top_srcdir:-..}/conf/experiments/lenet-bsp.yaml
work=$(mktemp -d "${TMPDIR:-/tmp}/psd-paper-XXXXXX") || exit 1
trap 'rm -rf "$work"' EXIT
trap 'exit 1' HUP INT TERM
export PSD_BINDIR="$build"
cores=$(getconf _NPROCESSORS_ONLN)
bytes=$((64 << 20))

# ---- measuring ---------------------------------------------------------------------------
measure() {
    "$build/psbench" --json --quiet --rounds="$rounds" --seconds=0.2 --model=64 \
        --elements=50000000 "$@" 2>/dev/null
}

# value CASE [KEY]: of the first line of that case; KEY limit_value: of the one with LIMIT.
value() {
    sed -nE "s|.*\"case\":\"$1\".*\"value\":([^,]*),.*|\1|p" "$work/lines" | head -n 1
}

memory_limit() {
    sed -nE "s|.*\"case\":\"$1\",\"limit\":\"memory\",\"limit_value\":([^,]*),.*|\1|p" "$work/lines" |
        head -n 1
}

# calculate EXPRESSION: of awk; what comes out below 0 is 0.
calculate() {
    awk "BEGIN { v = $1; printf \"%.6g\", (v < 0) ? 0 : v }" </dev/null
}

# Nanoseconds of a byte that a kernel handles so many elements of in a second.
kernel_ns() {
    calculate "1e9 / 4 / $(value "kernel/$1")"
}

# costs TRANSPORT SMALL: into $work/TRANSPORT.yaml.  SMALL: the transport of its messages.
costs() {
    cpu=$(value "bsp/$1/1w/sgd/cpu") # of a byte that comes in or goes out
    # What the kernels do not explain is the sockets', half of it each way.  Workers have looked for
    # NaN while they copied.
    copy=$(calculate "1e9 * $(memory_limit "bsp/$1/1w/sgd/cpu")")
    check=$(kernel_ns memory/finite)
    step=$(kernel_ns memory/sgd)
    # A chunk's sum stays in the cache: each gradient is read from memory, and added there.
    sum=$(calculate "$check + $(kernel_ns chunk/add)")
    # Bytes in shared memory are not sent.
    [ "$1" = shm ] && carry=0 || carry=$(calculate "(2e9 * $cpu - $step) / 2")
    # Two cores are busy with a small request: a third each worker, server and the sockets.
    request=$(calculate "2e6 / $(value "small/$2/push/requests")")
    wake=$(calculate "(1e6 * $(value "small/$2/push/p50") - $request) / 6")
    cat >"$work/$1.yaml" <<END
name: here-$1
iterations: 20
warmup: 3
hosts: { workers: 4096, shards: 256, together: true, cores: $cores, wake_us: $wake }
network:
  send_us: $(calculate "$request / 12")
  receive_us: $(calculate "$request / 12")
  send_byte_ns: $carry
  receive_byte_ns: $carry
shard:
  message_us: $(calculate "$request / 6")
  answer_us: $(calculate "$request / 6")
  check_byte_ns: $check
  sum_byte_ns: $sum
  step_byte_ns: $step
worker:
  call_us: $(calculate "$request / 9")
  message_us: $(calculate "$request / 9")
  push_byte_ns: $copy
  pull_byte_ns: $copy
compute: { ms: 0, spread: 0 }
END
}

# ---- predicting --------------------------------------------------------------------------
# predict FILE KEY [KEY=VALUE]...
predict() {
    file=$1 key=$2
    shift 2
    for set; do
        shift
        set -- "$@" --set "$set"
    done
    "$build/tests/sim/psim" --model "$file" --json "$@" | sed -nE "s|.*\"$key\":([^,}]*)[,}].*|\1|p"
}

worst=0
# compare NAME PREDICTED MEASURED UNIT
compare() {
    awk -v name="$1" -v p="$2" -v m="$3" -v unit="$4" 'BEGIN {
        printf "%-34s %12.4g %12.4g %-6s %+6.1f %%\n", name, p, m, unit, (p / m - 1) * 100 }'
    worst=$(awk -v p="$2" -v m="$3" -v worst="$worst" 'BEGIN {
        off = (p > m) ? p / m - 1 : 1 - p / m
        print (off > worst) ? off : worst }')
}

compare_rounds() {
    for n in 1 2 4; do
        compare "bsp, $1, $n workers, 64 MiB, sgd" \
            "$(predict "$work/$1.yaml" iteration_p50 workers=$n model.bytes=$bytes)" \
            "$(value "bsp/$1/${n}w/sgd/round")" s
    done
    compare "bsp, $1, 2 workers, 64 MiB, adam" \
        "$(predict "$work/$1.yaml" iteration_p50 workers=2 model.bytes=$bytes model.optimiser=adam \
            shard.step_byte_ns="$(kernel_ns memory/adam)")" \
        "$(value "bsp/$1/2w/adam/round")" s
}

# ---- LeNet -------------------------------------------------------------------------------
batch=32
iterations=400 epochs=4

# reported METRIC: the mean of what the workers of a run have reported.
reported() {
    awk -F'"value":' -v metric="\"$1\"" 'index($0, metric) { sum += $2; n++ } END { print sum / n }' \
        "$work/run/metrics.jsonl"
}

# run_lenet WORKERS [--set KEY=VALUE]...: iterations of a worker per second, the share of them that
# is no computing, the bytes of a push, and how much the time of computing varies.
run_lenet() {
    count=$1
    shift
    rm -rf "$work/run"
    "$build/psexp" run "$experiment" --out "$work/run" --set workers.count="$count" \
        --set train.limit=$((iterations * batch * count)) --set train.batch=$batch \
        --set train.epochs=$epochs --set train.layerwise=false --set servers.shards=1 \
        --set test.limit=100 "$@" >"$work/run.out" 2>&1 || { cat "$work/run.out" >&2; return 1; }
    echo "$(calculate "$(summary samples_per_second) / $batch / $count")" \
        "$(reported exchange_share)" \
        "$(awk "BEGIN { printf \"%d\", $(summary bytes_pushed) / $(summary pushes) }" </dev/null)" \
        "$(reported compute_spread)"
}

summary() {
    sed -nE "s/^ *\"$1\": ([^,]*),?\$/\1/p" "$work/run/summary.json" | head -n 1
}

# predicts STRATEGY WORKERS [KEY=VALUE]...: iterations of a worker per second.
predicts() {
    { cat "$work/lenet.yaml"; echo "strategies: [{ strategy: $1 }]"; } >"$work/strategy.yaml"
    count=$2
    shift 2
    predict "$work/strategy.yaml" iterations_per_second workers="$count" "$@"
}

# A machine is not as fast now as a minute ago.  So the computing of one worker is measured in each
# round anew, and what is predicted with it is held against what is measured right behind.
lenet_round() {
    # shellcheck disable=SC2046
    set -- $(run_lenet 1)
    [ $# = 4 ] || exit 1
    { sed -E "s/^compute:.*//; s/^  step_byte_ns:.*/  step_byte_ns: $(kernel_ns memory/nesterov)/" "$work/shm.yaml"
        echo "model: { bytes: $3, optimiser: nesterov }"
        echo "compute: { ms: $(calculate "1e3 * (1 - $2) / $1"), spread: $4 }"; } >"$work/lenet.yaml"
    echo "$(predicts bsp 1) $1" >>"$work/lenet-bsp-1"
    for strategy in bsp asp; do
        for workers in 2 4; do
            measured=$(run_lenet $workers --set job.strategy=$strategy) || exit 1
            echo "$(predicts $strategy $workers) ${measured%% *}" >>"$work/lenet-$strategy-$workers"
        done
    done
}

# compare_round NAME FILE: the one of which the error is the median.
compare_round() {
    # shellcheck disable=SC2046
    compare "$1" $(awk '{ print $1 / $2, $1, $2 }' "$2" | sort -n |
        sed -n "$(((rounds + 1) / 2))p" | cut -d ' ' -f 2-) iter/s
}

# compare_asleep NAME STRATEGY "PSEXP ARGUMENTS" "PSIM KEYS": 4 workers, the median of three runs.
compare_asleep() {
    for run in 1 2 3; do
        # shellcheck disable=SC2086
        run_lenet 4 --set job.strategy="$2" --set workers.pace=0.04 $3 || exit 1
    done >"$work/runs"
    # shellcheck disable=SC2086
    compare "$1" "$(predicts "$2" 4 compute.sleeps=true compute.ms=40 compute.spread=0 $4)" \
        "$(sort -n "$work/runs" | sed -n '2s/ .*//p')" iter/s
}

compare_lenets() {
    iterations=400 epochs=4
    for round in $(seq "$rounds"); do
        lenet_round
    done
    compare_round "LeNet, 1 worker" "$work/lenet-bsp-1"
    for workers in 2 4; do
        for strategy in bsp asp; do
            compare_round "LeNet, $workers workers, $strategy" "$work/lenet-$strategy-$workers"
        done
    done
    iterations=100 epochs=1
    compare_asleep "40 ms asleep, 4 workers, bsp" bsp
    compare_asleep "40 ms asleep, 4 workers, asp" asp
    compare_asleep "one of 4 three times as slow, bsp" bsp \
        "--set workers.slow.rank=3 --set workers.slow.factor=3" \
        "compute.slow.share=0.25 compute.slow.factor=3"
}

# ---- all of it ---------------------------------------------------------------------------
printf 'measuring, %s rounds\n' "$rounds"
measure --only='kernel/memory/*' --only=kernel/chunk/add --only='small/*/push/*' --only='bsp/*/1w/sgd/*' \
    --only='bsp/*/[24]w/sgd/round' --only='bsp/*/2w/adam/round' >"$work/lines"
for transport in tcp ipc shm; do
    [ "$transport" = tcp ] && small=tcp || small=ipc
    costs $transport $small
done
for transport in tcp ipc shm; do
    echo; cat "$work/$transport.yaml"
done
echo
printf '%-34s %12s %12s %-6s %8s\n' '' predicted measured '' error
for transport in tcp ipc shm; do
    compare_rounds $transport
done
compare_lenets
printf 'largest error: %.1f %%\n' "$(calculate "$worst * 100")"
awk "BEGIN { exit $worst > 0.2 }" </dev/null
