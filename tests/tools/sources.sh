#!/bin/sh
# Every source stands in one of the lists of files, *.am, so that it is in the tarball.
cd "${top_srcdir:?}" || exit 99
bad=0
listed=$(mktemp) || exit 99
trap 'rm -f "$listed"' EXIT

for list in $(find . -name '*.am' ! -path './build*' | sed 's|^\./||'); do
    sed "s|%D%|$(dirname "$list")|g" "$list"
done | tr -s '[:blank:]\\' '\n' >"$listed"

for file in $(find bench common examples proto server tests tools worker \
    -name '*.[ch]' -o -name '*.inc' -o -name '*.proto' -o -name '*.sh' | sort); do
    grep -qxF -e "$file" "$listed" || { echo "$file: in no list of files"; bad=1; }
done
exit $bad
