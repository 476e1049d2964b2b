#!/bin/sh
# Every header compiles alone; the installed ones also as pedantic C and as C++.
cd "${top_srcdir:?}" || exit 99
inc="-I. -I$top_builddir -Icommon/include -Iworker/include"
bad=0

# EXAMPLES_CFLAGS: where cblas.h is; unset when the examples are left out.
rooms="common server worker tools bench ${EXAMPLES_CFLAGS+examples}"
for h in $(find $rooms -name '*.h' | sort); do
    ${CC:-cc} $inc $EXAMPLES_CFLAGS -D_GNU_SOURCE -std=gnu11 -fsyntax-only -Wall \
        -Wno-unused-function -Werror -x c "$h" ||
        { echo "$h: is not self-contained"; bad=1; }
done

strict="-fsyntax-only -Wall -Wextra -pedantic -Werror"
for h in common/include/ps/*.h worker/include/ps/*.h; do
    ${CC:-cc} $inc $strict -std=c99 -x c "$h" || { echo "$h: is not clean C99"; bad=1; }
    command -v "${CXX:-c++}" >/dev/null || continue
    ${CXX:-c++} $inc $strict -std=c++11 -x c++ "$h" ||
        { echo "$h: is not clean C++11"; bad=1; }
done
exit $bad
