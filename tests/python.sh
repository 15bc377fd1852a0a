#!/usr/bin/env bash
# Runs a script with the first Python that has the modules: that of FULCRUM_PEERS_VENV, of build/peers
# (scripts/peers/setup.sh), of build/test-venv (scripts/test.sh), or python3. Exits with 77 where there is none,
# which ctest shows as skipped.
#
#   tests/python.sh 'numpy, torch' SCRIPT [ARGUMENT ...]
set -euo pipefail
here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
modules=$1
shift
for python in ${FULCRUM_PEERS_VENV:+"$FULCRUM_PEERS_VENV/bin/python"} "$here"/../build/{peers,test-venv}/bin/python python3; do
  if command -v "$python" >/dev/null && "$python" -c "import $modules" 2>/dev/null; then
    exec "$python" "$@"
  fi
done
echo "skipped: no Python with $modules (scripts/peers/setup.sh makes one)"
exit 77
