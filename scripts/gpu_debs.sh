#!/usr/bin/env bash
# Puts into a folder what scripts/gpu_check.sh needs on a GPU machine that nothing can be fetched from: Debian's
# packages of the headers and small libraries (about 4 MB), and the headers of cudnn-frontend.
#
#   scripts/gpu_debs.sh FOLDER            here, on Debian or Ubuntu for x86-64
#   FULCRUM_DEBS=FOLDER scripts/gpu_check.sh --stage tests            there
#
# cudnn-frontend comes from CUDNN_FRONTEND_ROOT, or from where scripts/setup.sh --deps-only puts it.
set -euo pipefail
root=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)

packages=(libeigen3-dev libcli11-dev libtomlplusplus-dev nlohmann-json3-dev libfmt-dev libgtest-dev zlib1g-dev zlib1g
          libpng-dev)
# Their libraries carry a version in their names, which differs between releases.
followed=(libfmt-dev:libfmt libpng-dev:libpng libjpeg-dev:libjpeg)

die() { echo "gpu_debs: $*" >&2; exit 1; }

depends() {  # package, how names begin: those it depends on
  apt-cache depends --no-recommends --no-suggests "$1" | sed -n 's/^ *|\{0,1\}Depends: *//p' | grep "^$2" || true
}

case ${1:---help} in
  -h | --help) sed -n '2,/^set -/{/^set -/!s/^# \{0,1\}//p}' "${BASH_SOURCE[0]}"; exit ;;
  -*) die "unknown option '$1' (--help)" ;;
esac
command -v apt-get >/dev/null || die "there is no apt-get: run it on Debian or Ubuntu"
frontend=${CUDNN_FRONTEND_ROOT:-$root/build/third-party/cudnn-frontend}
mkdir -p "$1"
folder=$(cd "$1" && pwd)

for rule in "${followed[@]}"; do
  mapfile -t libraries < <(depends "${rule%%:*}" "${rule##*:}")
  packages+=("${libraries[@]}")
  for library in "${libraries[@]}"; do  # libjpeg-dev → libjpeg62-turbo-dev → libjpeg62-turbo
    [[ $library != *-dev ]] || mapfile -t -O "${#packages[@]}" packages < <(depends "$library" "${rule##*:}")
  done
done
(cd "$folder" && apt-get -q download "${packages[@]}")
if [ -e "$frontend/include/cudnn_frontend.h" ]; then
  tar -C "$frontend" -czf "$folder/cudnn-frontend.tar.gz" include
else
  echo "gpu_debs: no cudnn_frontend.h in $frontend/include: scripts/setup.sh --deps-only fetches it where nvcc is" >&2
fi
du -sh "$folder"
