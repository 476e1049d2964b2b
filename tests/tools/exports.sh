#!/bin/sh
# libpsworker exports what exports.txt says: nothing missing, nothing extra.
so="${top_builddir:?}/.libs/libpsworker.so"
test -f "$so" || { echo "no shared library was built"; exit 77; }
nm -D --defined-only "$so" | awk '$3 !~ /gcov|mangle_path|^__[a-z]*san_|^_end$|^_edata$|^__bss_start$/ { print $3 }' |
    LC_ALL=C sort | diff "$top_srcdir/tests/tools/exports.txt" -
