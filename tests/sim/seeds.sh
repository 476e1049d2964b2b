#!/bin/sh
# Whole runs of a cluster under virtual time, one for each seed.  A seed that fails is
# named, with the faults that it takes and how to see its messages.
: "${top_builddir:?}"

first=${PSIM_FIRST:-1}
last=${PSIM_LAST:-2000}
out=$("$top_builddir/tests/sim/psim" --seeds "$first..$last" 2>&1)
code=$?

echo 1..1
echo "$out" | sed 's/^/# /'
[ $code -eq 0 ] || printf 'not '
echo "ok 1 - seeds $first to $last: each acknowledged push counts once, bsp is exact"
exit 0
