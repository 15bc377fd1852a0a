#!/usr/bin/env bash
# Makes a Debian package that runs on every x86-64 machine, with kernels for AVX2 and AVX-512 in it that the
# dynamic loader chooses (glibc-hwcaps), and looks at what came out.
#
#   scripts/package.sh [BUILD]        default: build/package; the package's path is the last line
#
# Needs what scripts/setup.sh installs, and binutils. Prints which library each level of processor gets.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."
build=${1:-build/package}
levels="x86-64-v3 x86-64-v4"

cmake -S . -B "$build" -G Ninja -DCMAKE_BUILD_TYPE=Release -DBUILD_SHARED_LIBS=ON -DFULCRUM_CPU_ARCH= \
  "-DFULCRUM_CPU_LEVELS=${levels// /;}" -DFULCRUM_CUDA=OFF -DFULCRUM_TESTS=OFF >&2
cmake --build "$build" >&2
(cd "$build" && cpack -G DEB) >&2
package=$(ls -t "$build"/fulcrum_*.deb | head -1)

unpacked=$(mktemp -d)
trap 'rm -rf "$unpacked"' EXIT
dpkg-deb -x "$package" "$unpacked"
library=$(find "$unpacked" -name 'libfulcrum_core.so.*.*.*' -not -path '*hwcaps*')
folder=$(dirname "$library")

foreign=$(nm -DC --defined-only "$library" | cut -d' ' -f3- | grep -v 'fulcrum::' || true)
[ -z "$foreign" ] || { printf 'package.sh: exported, but not ours:\n%s\n' "$foreign" >&2; exit 1; }

for level in "" $levels; do
  [ -z "$level" ] || [ -e "$folder/glibc-hwcaps/$level" ] || { echo "package.sh: no library for $level" >&2; exit 1; }
  chosen=$(GLIBC_TUNABLES= "/lib64/ld-linux-x86-64.so.2" --glibc-hwcaps-mask "${level:-none}" \
    --list "$unpacked/usr/bin/fulcrum" | sed -n 's|.*libfulcrum_core[^ ]* => \([^ ]*\) .*|\1|p')
  echo "${level:-without}: ${chosen#"$unpacked"}" >&2
done
echo "$package"
