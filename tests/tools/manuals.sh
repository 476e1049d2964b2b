#!/bin/sh
# Every --option that a program's --help tells stands in its manual.
cd "${top_srcdir:?}" || exit 99
bad=0

options_of() {
    grep -oE -e '--[a-z][a-z-]*' | sort -u
}

for page in psd.8 psctl.1 psexp.1 psbench.1 psim.1; do
    program=${page%.*}
    [ $program = psim ] && program=tests/sim/psim
    help=$("${top_builddir:?}/$program" --help) || { echo "$program --help failed"; bad=1; }
    for option in $(printf '%s\n' "$help" | options_of); do
        grep -qF -e "$option" "doc/man/$page.scd" ||
            { echo "doc/man/$page.scd: $option is missing"; bad=1; }
    done
done
exit $bad
