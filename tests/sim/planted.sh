#!/bin/sh
# Does the simulator find mistakes?  Each of those in common/base/plant.h must be found by
# some seed.
: "${top_builddir:?}"

"$top_builddir/tests/sim/planted" "${PSIM_LAST:-2000}" | awk '
    { n++; bad = / NOT FOUND / ? "not " : ""; print bad "ok " n " - " $0 }
    END { print "1.." n }'
