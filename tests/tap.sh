#!/bin/sh
# tap.sh COMMAND... - runs one test for the TAP driver.
#
# A test that prints a plan speaks TAP itself; of any other the exit code is the one
# result: 0 passed, 77 skipped (the last thing it said is the reason), else failed.  A
# failure is counted once: the exit code matters only when no test has said "not ok".
out=$(mktemp) || exit 99
trap 'rm -f "$out"' EXIT
trap 'exit 99' HUP INT TERM

case $1 in
*.sh) sh "$@" >"$out" 2>&1 ;;
*) "$@" >"$out" 2>&1 ;;
esac
code=$?
cat "$out"

if grep -q '^1\.\.[0-9]' "$out"; then
    grep -q '^not ok' "$out" && exit 0
    exit $code
fi
name=$(sed -n 's/^# //p' "$1" | head -n 1)
case $code in
0) echo "ok 1 - $name" ;;
77) echo "ok 1 - $name # SKIP $(tail -n 1 "$out")" ;;
*) echo "not ok 1 - $name" ;;
esac
echo 1..1
