# json.sh - a look at JSON without a parser at hand: sed and grep.

# is_json FILE: one JSON value.  Strings become s and other scalars v; then the innermost
# lists and objects become v until one value is left.
is_json() {
    [ "$(tr '\n\t' '  ' <"$1" | sed -E '
        s/"([^"\\]|\\.)*"/s/g
        s/-?(0|[1-9][0-9]*)(\.[0-9]+)?([eE][-+]?[0-9]+)?|true|false|null/v/g
        s/ //g
        :again
        s/\[([sv](,[sv])*)?\]/v/g
        s/\{(s:[sv](,s:[sv])*)?\}/v/g
        t again')" = v ]
}

# json_value KEY FILE: the first value of this key, as it stands there; for scalars.
json_value() {
    grep -oE "\"$1\": *(\"[^\"]*\"|[^],}[:space:]]*)" "$2" | head -n 1 | sed -E 's/^"[^"]*": *//; s/^"(.*)"$/\1/'
}
