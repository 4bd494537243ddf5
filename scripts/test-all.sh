#!/bin/sh
# Runs every suite, one after the other, whatever becomes of the one before; says at the end how many
# minutes each took and which failed.
set -eu
cd "$(dirname "$0")/.."
. scripts/say.sh

report=
code=0
for suite in test test-long test-crash test-faults test-compose test-neighbours judge-rate; do
    began=$(date +%s)
    ended=passed
    "${MAKE:-make}" "$suite" || { ended=FAILED && code=1; }
    minutes=$(((($(date +%s) - began) + 30) / 60))
    report="$report
$suite: $ended, $minutes min"
done
say "$report"
exit $code
