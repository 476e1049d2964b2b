#!/bin/sh
# The program that README.md and libpsworker(3) show is examples/hello/hello.c, and it
# compiles with nothing but the installed headers.
cd "${top_srcdir:?}" || exit 99
bad=0
shown=$(mktemp) || exit 99
trap 'rm -f "$shown"' EXIT

# The block that begins with the program's first comment, up to the fence.
block_of() {
    awk '/^```/ { inside = 0 }
        /^ \* hello\.c - / { inside = 1; print "/*" }
        inside' "$1"
}

for file in README.md doc/man/libpsworker.3.scd; do
    block_of "$file" >"$shown"
    diff -u --label "$file" --label examples/hello/hello.c "$shown" examples/hello/hello.c || bad=1
done
${CC:-cc} -std=c99 -pedantic -Wall -Wextra -Werror -fsyntax-only \
    -Icommon/include -Iworker/include examples/hello/hello.c || bad=1
exit $bad
