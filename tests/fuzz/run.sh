#!/bin/sh
# run.sh SECONDS [FOLDER] - all harnesses under libFuzzer, SECONDS in all.
#
# FOLDER (default: tests/fuzz/kept) keeps, by harness, what was reached, so that
# the next run goes on from there; `finds` in it holds the inputs that broke something.
# Exits 1 when there are any.  Run in the build folder, after `make fuzz`.
seconds=${1:?usage: run.sh SECONDS [FOLDER]}
folder=${2:-tests/fuzz/kept}
corpus=$(CDPATH='' cd -- "$(dirname -- "$0")/corpus" && pwd) || exit 70
harnesses=$(ls tests/fuzz/*.t 2>/dev/null)
[ -n "$harnesses" ] || { echo "run.sh: no tests/fuzz/*.t here: make fuzz" >&2; exit 69; }

export ASAN_OPTIONS="detect_leaks=1:allocator_may_return_null=1:$ASAN_OPTIONS"
export UBSAN_OPTIONS="print_stacktrace=1:$UBSAN_OPTIONS"
mkdir -p "$folder/finds" || exit 73
each=$((seconds / $(echo "$harnesses" | wc -l)))
[ "$each" -gt 0 ] || each=1
found=0

# The last number that libFuzzer's log has behind a word.
last() {
    sed -n "s/.*$1 \\([0-9]*\\).*/\\1/p" "$log" | tail -n 1
}

printf '%-12s %12s %9s %7s %6s\n' harness executions coverage inputs finds
for harness in $harnesses; do
    name=$(basename "$harness" .t)
    log=$folder/$name.log
    mkdir -p "$folder/$name"
    "$harness" -max_total_time="$each" -timeout=20 -rss_limit_mb=2048 -max_len=4096 \
        -print_final_stats=1 -artifact_prefix="$folder/finds/$name-" \
        "$folder/$name" "$corpus/$name" >"$log" 2>&1
    code=$?
    finds=$(grep -c 'Test unit written to' "$log")
    printf '%-12s %12s %9s %7s %6s\n' "$name" "$(last 'stat::number_of_executed_units:')" \
        "$(last 'cov:')" "$(last 'corp:')" "$finds"
    if [ "$code" != 0 ]; then
        found=1
        grep -E 'does not hold|runtime error|ERROR|SUMMARY|Test unit written' "$log"
    fi
done
exit $found
