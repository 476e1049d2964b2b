#!/bin/sh
# The benchmarks, for a moment: what they print has its shape, and what they count is exact.
# How fast anything is, is not looked at.
. "$top_srcdir/tests/system/lib.sh"
. "$top_srcdir/tests/system/json.sh"

plan 21

bench=$top_builddir/psbench-sparse
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
shape="^\{\"case\":\"[a-z0-9/-]+\",\"limit\":\"(zeromq|memory)\",\"limit_value\":$figure"
shape="$shape,\"value\":$figure,\"unit\":\"rows/s\",\"ratio\":$figure,.*\"rounds\":2\}\$"

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

ok "all cases are measured" measure
is "32 in each of four settings" "$(cases_of)" 128
is "each beside two limits" "$(wc -l <lines.json)" 256
ok "every line has its shape" every_line "$shape"
head -n 1 lines.json >first.json
ok "and is JSON" is_json first.json
ok "a ratio is the value over the limit" ratios_fit
is "every row was applied once, in each setting" \
    "$(grep -cE '^tally: [1-9][0-9]*000 rows pushed over (tcp|ipc), each applied once$' notes)" 4
is "the command that repeats it is told" "$(head -n 1 notes)" \
    "psbench-sparse --rounds=2 --seconds=0.01 --rows=3000 --batch=1000 --json"
is "nothing is left behind" "$(ls -d psbench-* 2>/dev/null)" ""

measure --only='ipc/2s1w/pull/*' --alone
is "cases can be chosen" "$(cases_of)" 4
ok "and measured alone" every_line '"limit":null,"limit_value":null'

ends "the table is printed" 0 '^tcp/1s1w/push-add/random/1 .*\.\.' \
    "$bench" --rounds=1 --seconds=0.01 --rows=1000 --batch=1000 --only=tcp/1s1w/push-add/random/1
ends "unknown cases are named" 78 '^psbench-sparse: --only=tcp/nothing: no such case' \
    "$bench" --only=tcp/nothing
ends "rows that are no whole batches are refused" 64 'a multiple of --batch' \
    "$bench" --rows=10001
ends "a batch that one frame cannot hold is refused" 64 'from 1 to 16384' \
    "$bench" --batch=16385
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

printf '#!/bin/sh\necho no memory at all >&2\nexit 71\n' >psd
chmod +x psd
ends "a psd that does not start is named" 69 'psd ended with exit code 71: no memory at all' \
    env PSD_BINDIR="$work" "$bench" --only='tcp/1s1w/pull/*'
