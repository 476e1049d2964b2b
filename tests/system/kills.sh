#!/bin/sh
# Three rounds of tests/kill/rounds.sh, which says what they are.
. "$top_srcdir/tests/system/lib.sh"

plan 1
TMPDIR=$work
export TMPDIR
ok "psd killed under load: nothing lost, nothing doubled, everyone told" \
    sh "$top_srcdir/tests/kill/rounds.sh" 3 7
