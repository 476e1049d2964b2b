# images.sh - small data sets for plays: noisy images of nine kinds, as IDX files.
#
#     . "$top_srcdir/tests/system/images.sh"
#     images 640 1 train      # train-images, train-labels

# be32 NUMBER: its four bytes, the highest first, as escapes for printf.
be32() {
    printf '\\%03o' $(($1 >> 24 & 255)) $(($1 >> 16 & 255)) $(($1 >> 8 & 255)) $(($1 & 255))
}

# images N SEED NAME: N noisy images of 8 x 8 as IDX files; where the bright bar is makes
# the label, 1 to 9.  No byte of them is 0, which not every awk can print.
images() {
    printf "\\0\\0\\010\\003$(be32 "$1")$(be32 8)$(be32 8)" >"$3-images"
    LC_ALL=C awk -v n="$1" -v seed="$2" 'BEGIN {
        for (i = 0; i < n; i++)
            for (p = 0; p < 64; p++) {
                seed = (seed * 75 + 74) % 65537
                kind = i * 7 % 9
                bar = kind < 8 ? p % 8 == kind : int(p / 8) == 3
                printf "%c", 1 + seed % 90 + (bar ? 60 : 0)
            }
        }' >>"$3-images"
    printf "\\0\\0\\010\\001$(be32 "$1")" >"$3-labels"
    LC_ALL=C awk -v n="$1" 'BEGIN {
        for (i = 0; i < n; i++)
            printf "%c", 1 + i * 7 % 9
        }' >>"$3-labels"
}
