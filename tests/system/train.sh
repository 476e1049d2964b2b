#!/bin/sh
# ps_train against a real psd: windows of batches, local steps, averages, batches that grow.
. "$top_srcdir/tests/system/lib.sh"
. "$top_srcdir/tests/system/json.sh"

api=$top_builddir/tests/system/train_api

plan 75

awk 'BEGIN { for (i = 0; i < 67; i++) print i ",0" }' >data.csv
psd_start first --set shards=2
export PSW_COORDINATOR="$endpoint" PSW_TIMEOUT_MS=20000
unset PSW_JOB PSW_TOKEN PSW_RANK PSW_WORLD_SIZE PSW_CONFIG

# ---- one worker goes the way that one process goes alone ---------------------------------

# path NAME JOB-KEYS OPTIMISER-KEYS [TRAIN-KEYS]
path() {
    paths=$((paths + 1))
    ok "$1" "$api" path "job: {$2}
optimiser: {$3}
train: {${4:-epochs: 3, batch: 6}}" "path$paths"
}
paths=0

for strategy in bsp asp ssp; do
    path "$strategy without windows is serial sgd, bit for bit" \
        "strategy: $strategy" 'name: sgd, lr: 0.1, weight_decay: 0.01' \
        'epochs: 3, batch: 6, prefetch: false'
done

# The gradients are whole numbers and rates powers of two: all sums are exact, so what the
# servers make of a window is what serial training makes of its batches.
path "local sgd in windows of 4 of 11" "nfetch: 4, npush: 4" 'name: sgd, lr: 0.25'
path "in windows that are longer than an epoch" "nfetch: 99, npush: 99" 'name: sgd, lr: 0.25'
path "pushed every 2, pulled every 6" "nfetch: 6, npush: 2" 'name: sgd, lr: 0.25'
path "the job's own rule, which is the same" "local: same, nfetch: 4, npush: 4" 'name: sgd, lr: 0.25'
path "the difference of models" "average: model, nfetch: 4, npush: 4" 'name: sgd, lr: 0.25'
path "pushed after each batch" "average: model, nfetch: 3, npush: 1" 'name: sgd, lr: 0.25'
path "pulled once an epoch" \
    "average: model, nfetch: 99, npush: 4, strategy: asp" 'name: sgd, lr: 0.25'
path "momentum of one's own" "local: same, average: model, nfetch: 5, npush: 5" \
    'name: momentum, lr: 0.25, momentum: 0.5' 'epochs: 1, batch: 6'
path "and pushed more often than pulled" "local: same, average: model, nfetch: 6, npush: 2" \
    'name: momentum, lr: 0.25, momentum: 0.5' 'epochs: 1, batch: 6'

path "a rate scaled to the batch" "npush: 4, nfetch: 4" 'name: sgd, lr: 0.5, base_batch: 12'

stairs="job: {local: none, nfetch: 4, npush: 4}
optimiser: {lr: 0.25}
train: {epochs: 3, batch: 6}"
ok "without local steps values stand still in a window" "$api" stairs "$stairs" stairs

# ---- nothing is lost ---------------------------------------------------------------------

# workers CASE COUNT SETTINGS JOB: one process each; all of them end well.
workers() {
    others=
    for rank in $(seq 1 $(($2 - 1))); do
        PSW_WORLD_SIZE=$2 PSW_RANK=$rank "$api" "$1" "$3" "$4" &
        others="$others $!"
    done
    PSW_WORLD_SIZE=$2 PSW_RANK=0 "$api" "$1" "$3" "$4"
    workers_code=$?
    for other in $others; do
        wait "$other" || workers_code=$?
    done
    return $workers_code
}

# Three workers, three epochs of 11 batches each: 99 in all.
tallies=0
for strategy in "bsp" "backup, spares: 0" "ssp, slack: 1" "asp"; do
    for windows in "nfetch: 4, npush: 4" "nfetch: 4, npush: 4, average: model" \
        "nfetch: 1, npush: 4" "nfetch: 8, npush: 4" "nfetch: 4, npush: 1" \
        "nfetch: 3, npush: 5, average: model, local: same"; do
        tallies=$((tallies + 1))
        ok "$strategy, $windows" workers tally 3 "job: {strategy: $strategy, $windows}
train: {epochs: 3, batch: 2}" tally$tallies
        is "counts every batch once" "$("$api" total '' tally$tallies 2>&1)" 99
    done
done
psd_stop first

# ---- what is counted ---------------------------------------------------------------------

psd_start single --set shards=1
export PSW_COORDINATOR="$endpoint"

# of_job JOB KEY: from the status of the servers.
of_job() {
    "$psctl" --json jobs | tr ',' '\n' | sed -n "/\"job\": *\"$1\"/,\$p" >job.json
    json_value "$2" job.json
}

ok "a worker that comes too late goes on at a window's begin" workers late 3 \
    "workers: {count: 3}
job: {strategy: backup, spares: 1, nfetch: 4, npush: 4}
train: {epochs: 3, batch: 2}" late
counted=$("$api" total '' late)
is "and the batches that count are those that are in the sums" "$(of_job late batches)" "$counted"

ok "so does one whose layers come too late, with that batch" workers late-layers 3 \
    "workers: {count: 3}
job: {strategy: backup, spares: 1}
train: {epochs: 3, batch: 2}" late-layers
counted=$("$api" total '' late-layers)
is "and its batches count all or not at all" "$(of_job late-layers batches)" "$counted"

ok "a gradient function has to wait for each layer, and may leave the rest undone" \
    "$api" unfinished "train: {epochs: 3, batch: 6}" unfinished

# 12 batches of 5 of 60 samples: pushes of 12, 6, 3 and 2.
for n in 1 2 4 8; do
    "$api" path "job: {nfetch: $n, npush: $n}
optimiser: {lr: 0.25}
train: {epochs: 1, batch: 5, limit: 60}" bytes$n || echo "# bytes$n failed"
done
bytes=$(of_job bytes1 bytes_pushed)
is "windows of 2 push half the bytes"      "$(of_job bytes2 bytes_pushed)" $((bytes / 2))
is "windows of 4 a quarter"                "$(of_job bytes4 bytes_pushed)" $((bytes / 4))
is "windows of 8 two of twelve pushes"     "$(of_job bytes8 bytes_pushed)" $((bytes / 6))
is "which hold all batches"                "$(of_job bytes8 batches)" 12

# ---- batches that grow -------------------------------------------------------------------

ok "the batch grows as the formula says" "$api" growth "job: {nfetch: 3, npush: 3}
train: {epochs: 6, batch: 4, batch_growth: {every: 2, factor: 1.5}}" growth
ok "impossible growth is refused before anything is pushed" "$api" refused \
    "optimiser: {schedule: {type: step, factor: 0.5, unit: epoch}}
train: {epochs: 1, batch: 4}" refused
ok "so is one that outgrows the data" "$api" outgrown \
    "train: {epochs: 4, batch: 16, batch_growth: {factor: 2}}" outgrown

psd_stop single
is "psd ends cleanly" "$code" 0
