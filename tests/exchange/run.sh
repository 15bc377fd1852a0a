#!/usr/bin/env bash
# Runs exchange_test.py with the first Python that has torch and safetensors: that of
# FULCRUM_PEERS_VENV, of build/peers (scripts/peers/setup.sh), or python3. Exits with 77 where there is
# none, which ctest shows as skipped.
#
#   tests/exchange/run.sh PROGRAM
set -euo pipefail
here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
program=$(realpath "$1")
for python in ${FULCRUM_PEERS_VENV:+"$FULCRUM_PEERS_VENV/bin/python"} "$here/../../build/peers/bin/python" python3; do
  if command -v "$python" >/dev/null && "$python" -c 'import numpy, safetensors, torch' 2>/dev/null; then
    FULCRUM_PROGRAM=$program exec "$python" "$here/exchange_test.py" --verbose
  fi
done
echo "skipped: no Python with torch and safetensors (scripts/peers/setup.sh makes one)"
exit 77
