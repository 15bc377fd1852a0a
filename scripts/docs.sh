#!/usr/bin/env bash
# Builds the documentation as a site in build/docs/html, without a warning, and checks its links.
# Needs mkdocs with its theme Material: pip install -r docs/requirements.txt, or Debian's mkdocs-material.
# Exit status 77 where they are not installed. PYTHON names the Python that has them; without it that of
# build/test-venv is tried, which scripts/test.sh makes, then python3.
#
#   scripts/docs.sh [--out FOLDER] [--repository URL]
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

out=build/docs options=()
while [ $# -gt 0 ]; do
  case $1 in
    --out) out=$2; shift ;;
    --repository) options+=("$1" "$2"); shift ;;
    -h | --help) sed -n '2,/^set -/s/^# \{0,1\}//p' "${BASH_SOURCE[0]}"; exit ;;
    *) echo "docs: unknown option '$1' (--help lists them)" >&2; exit 2 ;;
  esac
  shift
done
for python in ${PYTHON:-build/test-venv/bin/python python3}; do
  if "$python" -c 'import mkdocs, material, pymdownx' 2>/dev/null; then
    PYTHONDONTWRITEBYTECODE=1 exec "$python" scripts/docs/site.py "$out" "${options[@]}"
  fi
done
echo "docs: skipped: ${PYTHON:-python3} has no mkdocs with Material (pip install -r docs/requirements.txt)"
exit 77
