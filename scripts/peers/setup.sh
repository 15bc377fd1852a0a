#!/usr/bin/env bash
# Makes the Python environment of the PyTorch peers and prints its interpreter on the last line of stdout.
#
#   scripts/peers/setup.sh [VENV]        default: $FULCRUM_PEERS_VENV, else build/peers
#
# An environment that has everything is left as it is, wherever it came from.  PyTorch comes from PyPI; set
# PIP_INDEX_URL or PIP_EXTRA_INDEX_URL for another index, e.g. https://download.pytorch.org/whl/cpu (smaller).
set -euo pipefail

here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
root=$(cd "$here/../.." && pwd)
venv=${1:-${FULCRUM_PEERS_VENV:-$root/build/peers}}

complete() {
  [[ -x $venv/bin/python ]] &&
    "$venv/bin/python" -c 'import numpy, safetensors, sklearn, tensorboard, torch, torchvision' >/dev/null 2>&1
}

if ! complete; then
  if [[ -z ${1:-} && -n ${FULCRUM_PEERS_VENV:-} && -d $venv ]]; then
    echo "setup.sh: FULCRUM_PEERS_VENV=$venv lacks a package of $here/requirements.txt" >&2
    exit 1
  fi
  python=${PYTHON:-python3}
  if ! "$python" -c 'import sys; sys.exit(sys.version_info < (3, 10))' 2>/dev/null; then
    echo "setup.sh: needs Python 3.10 or newer (set PYTHON=...)" >&2
    exit 1
  fi
  if ! "$python" -m venv "$venv" >&2; then
    echo "setup.sh: could not make $venv; on Debian: apt install python3-venv" >&2
    exit 1
  fi
  echo "setup.sh: installing PyTorch and what else $here/requirements.txt names into $venv" >&2
  "$venv/bin/python" -m pip install --quiet --upgrade -r "$here/requirements.txt" >&2
  complete || { echo "setup.sh: $venv is incomplete after pip install" >&2; exit 1; }
fi
"$venv/bin/python" -c 'import torch; print("torch", torch.__version__)' >&2
echo "$venv/bin/python"
