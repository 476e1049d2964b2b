#!/bin/sh
# Every test that doc/guarantees.md names is there, in the file that it names: a test
# without a file is in that of the one before.
cd "${top_srcdir:?}" || exit 99
bad=0
named=0
file=

words() {
    tr '\n' ' ' <doc/guarantees.md | grep -oE '`([a-z_]+: )?[a-z0-9_]+`' | tr -d '` '
}

for word in $(words); do
    name=${word#*:}
    case $word in
    *:*_*) file=${word%%:*} ;;
    *_*_*_*) ;;
    *) continue ;;
    esac
    named=$((named + 1))
    grep -q "^START_TEST($name)" "tests/unit/$file.c" ||
        { echo "doc/guarantees.md: tests/unit/$file.c has no test $name"; bad=1; }
done
[ "$named" -ge 40 ] || { echo "only $named tests are named"; bad=1; }
exit $bad
