#!/usr/bin/env bash
# Builds, and runs every test. The exit status is that of the tests; the last line counts them.
#
#   scripts/test.sh [--debug] [-- ctest options]      e.g. scripts/test.sh -- -R KlRisk
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

setup=() binary=build
while [ $# -gt 0 ]; do
  case $1 in
    --debug) binary=build/debug ;&
    --no-deps) setup+=("$1") ;;
    --) shift; break ;;
    -h | --help) sed -n '2,/^set -/s/^# \{0,1\}//p' "${BASH_SOURCE[0]}"; exit ;;
    *) echo "test: unknown option '$1' (--help lists them)" >&2; exit 2 ;;
  esac
  shift
done
scripts/setup.sh "${setup[@]}"

log=$binary/tests.log
status=0
ctest --test-dir "$binary" --parallel "$(nproc)" --output-on-failure --no-tests=error "$@" 2>&1 |
  tee "$log" || status=$?
echo "fulcrum: $(grep -a 'tests passed' "$log" || echo 'the tests did not run')"
exit $status
