#!/bin/sh
# Every #include is allowed by layers.txt: down or level, never up.
cd "${top_srcdir:?}" || exit 99

find common server worker tools bench examples -name '*.[ch]' | sort | xargs awk '
    function complain(what) {
        print FILENAME ":" FNR ": " what
        bad = 1
    }
    FILENAME == ARGV[1] {
        if ($1 ~ /^#/ || NF == 0)
            next
        if ($1 ~ /^</) {
            kept[$1] = 1
            for (i = 2; i <= NF; i++) keeper[$1, $i] = 1
        } else {
            sub(/:$/, "", $1)
            room[$1] = 1
            for (i = 2; i <= NF; i++) may[$1, $i] = 1
        }
        next
    }
    FNR == 1 {
        from = FILENAME
        sub(/\/[^\/]*$/, "", from)
        public = from ~ /\/include\/ps$/ # only system headers and each other
        if (!public && !(from in room))
            complain("layers.txt does not know the room " from)
    }
    !/^[ \t]*#[ \t]*include/ { next }
    {
        sub(/^[ \t]*#[ \t]*include[ \t]*/, "")
    }
    /^"/ {
        to = substr($1, 2)
        sub(/\/?[^\/]*$/, "", to)
        if (to == "" && from ~ /^examples\//)
            to = from # an example is a program of its own and names its files as such
        if (!((from, to) in may))
            complain(from " may not include " $1)
    }
    /^</ && !public {
        for (k in kept)
            if (index($1, k) == 1 && !((k, from) in keeper))
                complain(from " may not include " $1)
    }
    END { exit bad }' tests/tools/layers.txt
