#!/bin/sh
# Every source is formatted as .clang-format says; `make format` does it.
cd "${top_srcdir:?}" || exit 99

clang_format=$(command -v clang-format-14 || command -v clang-format) || {
    echo "clang-format 14 is not installed"
    exit 77
}
case $("$clang_format" --version) in
*"version 14."*) ;;
*)
    echo "clang-format 14 is not installed: other versions format differently"
    exit 77
    ;;
esac
find bench common examples server tests tools worker -name '*.[ch]' | sort |
    xargs "$clang_format" --dry-run -Werror
