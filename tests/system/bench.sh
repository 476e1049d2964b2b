#!/bin/sh
# The benchmarks, for a moment: what they print has its shape, and what they count is exact.
# How fast anything is, is not looked at.
. "$top_srcdir/tests/system/lib.sh"
. "$top_srcdir/tests/system/json.sh"

plan 57

bench=$top_builddir/psbench
export PSD_BINDIR="$top_builddir" TMPDIR="$work"

# measure OPTION...: results in lines.json, everything else in notes.
measure() {
    timeout $deadline "$bench" --json --rounds=2 --seconds=0.01 --rows=3000 --batch=1000 \
        "$@" >lines.json 2>notes
}

# every_line PATTERN
every_line() {
    [ -s lines.json ] && ! grep -qvE "$1" lines.json
}

figure='[0-9]+(\.[0-9]+)?(e[+-]?[0-9]+)?'
shape="^\{\"case\":\"[a-zA-Z0-9/-]+\",\"limit\":\"[a-z]+\",\"limit_value\":$figure"
shape="$shape,\"value\":$figure,\"unit\":\"[a-zA-Z/]+\",\"ratio\":$figure,.*\"rounds\":2\}\$"

# ratios_fit: each is its value over its limit, and lies between the extremes.
ratios_fit() {
    awk -F'[:,}]' '
        {
            for (i = 1; i < NF; i += 2) v[$i] = $(i + 1)
            for (k in v) { name = k; gsub(/[{"]/, "", name); f[name] = v[k] }
            wrong = f["value"] / f["limit_value"] / f["ratio"] - 1
            if (wrong > 1e-3 || wrong < -1e-3 || f["value"] < f["lowest"] * 0.999 ||
                f["value"] > f["highest"] * 1.001 || f["value"] <= 0) {
                print
                bad = 1
            }
        }
        END { exit bad }' lines.json
}

cases_of() {
    sed -E 's/^\{"case":"([^"]*)".*/\1/' lines.json | sort -u | wc -l
}

# every_value: what stands in every line.
every_value() {
    ok "every line has its shape" every_line "$shape"
    ok "a ratio is the value over the limit" ratios_fit
}

# ---- sparse ------------------------------------------------------------------------------
ok "all sparse cases are measured" measure --only='sparse/*'
is "32 in each of six settings" "$(cases_of)" 192
is "each beside two limits" "$(wc -l <lines.json)" 384
every_value
head -n 1 lines.json >first.json
ok "and is JSON" is_json first.json
is "every row was applied once, in each setting" \
    "$(grep -cE '^tally: [1-9][0-9]*000 rows pushed over (tcp|ipc|shm), each applied once$' notes)" 6
is "the command that repeats it is told" "$(head -n 1 notes)" \
    "psbench --rounds=2 --seconds=0.01 --only='sparse/*' --json --rows=3000 --batch=1000 --model=64 --elements=100000000 --idle=1000"
is "nothing is left behind" "$(ls -d psbench-* 2>/dev/null)" ""

measure --only='sparse/ipc/2s1w/pull/*' --alone
is "cases can be chosen" "$(cases_of)" 4
ok "and measured alone" every_line '"limit":null,"limit_value":null'
ends "rows that are no whole batches are refused" 64 'a multiple of --batch' \
    "$bench" --rows=10001
ends "a batch that one frame cannot hold is refused" 64 'from 1 to 16384' \
    "$bench" --batch=16385

# ---- dense and small ---------------------------------------------------------------------
ok "dense values are moved" measure --only='dense/*KiB' --only='dense/shm/*/4MiB'
is "in three ways each and in views, over sockets and in memory" "$(cases_of)" 25
every_value
ok "views are timed in memory" measure --only='dense/shm/view/*KiB/*' --only='dense/shm/view/4MiB/*'
is "one at a time" "$(cases_of)" 6
every_value
ok "small requests are measured" measure --only='small/*'
is "one at a time and many, over tcp and ipc" "$(cases_of)" 16
every_value

# ---- rounds, kernels and memory ----------------------------------------------------------
ok "rounds are measured" measure --only='bsp/*' --model=1
is "of 1, 2 and 4 workers with each optimiser, by time and processor time" "$(cases_of)" 144
every_value
ok "kernels are measured" measure --only='kernel/*' --elements=100003
is "in memory and in a chunk" "$(cases_of)" 22
every_value
ok "connections are measured" measure --only='connections/shm/*' --idle=5
is "of 2, 20 and 200 at work in two ways, and of idle ones" "$(cases_of)" 20
ok "memory is measured" measure --only='memory/*' --model=1
is "of psd and workers" "$(cases_of)" 5
every_value

# ---- the program -------------------------------------------------------------------------
ends "the cases are listed" 0 '^sparse/tcp/1s1w/push-add/random/1$' "$bench" --list
ends "the table is printed" 0 '^dense/tcp/push/4KiB  *[0-9.]* [GMk]*B/s  *[0-9.]*\.\.' \
    "$bench" --rounds=1 --seconds=0.01 --only=dense/tcp/push/4KiB
ends "unknown cases are named" 78 '^psbench: --only=tcp/nothing: no such case' \
    "$bench" --only=tcp/nothing
printf '#!/bin/sh\necho no memory at all >&2\nexit 71\n' >psd
chmod +x psd
ends "a psd that does not start is named" 69 'psd ended with exit code 71: no memory at all' \
    env PSD_BINDIR="$work" "$bench" --only='dense/*'

# A psd that acknowledges a push now and then without doing it has no results.
ln -sf "$top_builddir/tests/system/psd_forgetful" psd
for suite in dense small sparse bsp; do
    PSD_BINDIR="$work" measure --only="$suite/tcp/*push*/4KiB" --only="$suite/tcp/push/requests" \
        --only="$suite/tcp/1s1w/push-add/random/1" --only="$suite/tcp/2w/adam/round" --model=1
    is "work that was not done is found: $suite" "$?$(wc -c <lines.json)" 650
done
rm psd

# ---- snapshots ---------------------------------------------------------------------------
snapshot=$top_builddir/psbench-snapshot
timeout $deadline "$snapshot" --json --model=6 --push=64 --every=5 --iterations=10 --rounds=1 \
    --pause=0 >lines.json 2>notes
is "pushes are timed without snapshots, beside and behind them" \
    "$(sed 's/.*"snapshots":"\([a-z]*\)","pushes":\([0-9]*\),.*/\1 \2/' lines.json | tr '\n' ' ')" \
    "none 10 background 10 synchronous 10 "
ok "in lines of one shape" every_line "\"p50_ms\":$figure,\"p99_ms\":$figure,\"extra_p99_ms\":-?$figure,.*\"model_mib\":6"
is "nothing of it is left" "$(ls -d psbench-* 2>/dev/null)" ""
ends "the table has a line for each" 0 '^synchronous  .*a snapshot takes' \
    "$snapshot" --model=2 --push=64 --every=2 --iterations=2 --rounds=1 --pause=0
ends "a push larger than the model is refused" 64 'three times --push' \
    "$snapshot" --model=2 --push=1024

# ---- shards alone ------------------------------------------------------------------------
bench=$top_builddir/psbench-scale
ok "a shard beside one is measured" timeout $deadline "$bench" --json --shards=1 --rounds=1 \
    --seconds=0.01 --cpu --only='scale/*/1MiB/*'
timeout $deadline "$bench" --json --shards=1 --rounds=2 --seconds=0.01 \
    --only='scale/*/1MiB/*' >lines.json 2>notes
is "one beside one, which has the same name, and a speedup, of three kinds" "$(cases_of)" 6
ok "every line has its shape" every_line "$shape"
ends "more shards than CPUs are refused" 64 '^psbench-scale: --shards=[0-9]*: there are' \
    "$bench" --shards=64

ends "where.sh says when there is no perf" 1 '^where.sh: perf is not installed' \
    env PATH=/nonexistent PSD_BINDIR="$top_builddir" /bin/sh "$top_srcdir/bench/where.sh"
