#!/usr/bin/env bash
# Installs what is missing and builds Fulcrum; the program is then build/fulcrum.
#
#   scripts/setup.sh [--deps-only | --no-deps] [--program] [--debug] [-- CMake options]
#
#   --deps-only   install, do not build
#   --no-deps     build, do not look at packages
#   --program     build the program alone, without tests and Python module: a third of the files
#   --debug       with AddressSanitizer and UBSan, in build/debug
#
# On Debian and Ubuntu missing packages come from apt, as root or through sudo. Elsewhere the script
# says what to install, and goes on as soon as that is there. It may be run as often as you like. Where
# there is an nvcc, the headers of cudnn-frontend come from PyPI into build/third-party; where there is a
# GPU, too, the program is built for it. Without one -- -DFULCRUM_CUDA=ON does that.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

# package | how to see that it is there without dpkg | what it is for
# The first word of the test is a command (cmd), a header of C++ (hdr), a module of Python (py) or a file (file).
packages="
g++                   | cmd c++                    | C++20 compiler (GCC 12 or Clang 16, or newer) with OpenMP
cmake                 | cmd cmake                  | CMake 3.25 or newer
ninja-build           | cmd ninja                  | Ninja
libeigen3-dev         | hdr eigen3/Eigen/Core      | Eigen 3.4: reference arithmetic
libcli11-dev          | hdr CLI/CLI.hpp            | CLI11 2: command line
libtomlplusplus-dev   | hdr toml++/toml.h          | toml++ 3: recipes
nlohmann-json3-dev    | hdr nlohmann/json.hpp      | nlohmann-json 3
libfmt-dev            | hdr fmt/format.h           | fmt 9 or newer
zlib1g-dev            | hdr zlib.h                 | zlib: gzipped data files
libjpeg-dev           | hdr jpeglib.h              | libjpeg(-turbo): JPEG images
libpng-dev            | hdr png.h                  | libpng 1.6: PNG images
libgtest-dev          | hdr gtest/gtest.h          | GoogleTest
libdnnl-dev           | hdr oneapi/dnnl/dnnl.hpp   | oneDNN 2: fast convolutions (optional)
libopenmpi-dev        | cmd mpicxx                 | MPI: training in several processes (optional)
openmpi-bin           | cmd mpirun                 | its launcher (optional)
python3-dev           | cmd python3-config         | headers of Python: for pip install . (optional)
python3-venv          | py  ensurepip              | environments of Python: for tests (optional)
dataset-fashion-mnist | file ${FULCRUM_DATA_DIR:-/usr/share/datasets/fashion-mnist} | Fashion-MNIST: demo data (optional)
"
optional=" libdnnl-dev libopenmpi-dev openmpi-bin python3-dev python3-venv dataset-fashion-mnist "

say() { printf 'setup: %s\n' "$*" >&2; }
die() { say "$*"; exit 1; }
trim() { local s=$1; s=${s#"${s%%[![:space:]]*}"}; printf %s "${s%"${s##*[![:space:]]}"}"; }
compiler() { command -v "${CXX:-c++}" || command -v g++ || command -v clang++; }

has_header() {
  local cxx
  cxx=$(compiler) && printf '#include <%s>\n' "$1" | "$cxx" -std=c++20 -E -x c++ - >/dev/null 2>&1
}

present() {  # package, kind, what
  [ "$(dpkg-query -W -f '${db:Status-Status}' "$1" 2>/dev/null)" = installed ] && return
  case $2 in
    cmd) command -v "$3" >/dev/null ;;
    hdr) has_header "$3" ;;
    py) python3 -c "import $3" 2>/dev/null ;;
    file) [ -e "$3" ] ;;
  esac
}

missing=()  # packages
find_missing() {
  local package test purpose kind what
  missing=() purposes=()
  while IFS='|' read -r package test purpose; do
    package=$(trim "$package")
    [ -n "$package" ] || continue
    read -r kind what <<<"$test"
    present "$package" "$kind" "$(trim "$what")" && continue
    missing+=("$package")
    purposes+=("$(trim "$purpose")")
  done <<<"$packages"
}

list_missing() {
  local i
  for i in "${!missing[@]}"; do printf '  %-22s %s\n' "${missing[$i]}" "${purposes[$i]}" >&2; done
}

install_missing() {
  local root=() log status=0
  if [ "$(id -u)" != 0 ]; then
    command -v sudo >/dev/null || return 1
    root=(sudo)
  fi
  log=$(mktemp)
  say "installing ${missing[*]}"
  apt_steps >"$log" 2>&1 </dev/null || status=$?
  [ $status = 0 ] || tail -n 20 "$log" >&2
  rm -f "$log"
  return $status
}

apt_steps() {
  local package wanted=()
  "${root[@]}" apt-get -q -o Acquire::Retries=3 update || return
  for package in "${missing[@]}"; do
    # Not every release has the optional ones.
    [[ $optional == *" $package "* ]] && ! apt-cache show "$package" >/dev/null && continue
    wanted+=("$package")
  done
  [ ${#wanted[@]} = 0 ] || "${root[@]}" env DEBIAN_FRONTEND=noninteractive apt-get -q -y \
    -o Acquire::Retries=3 install --no-install-recommends "${wanted[@]}"
}

dependencies() {
  find_missing
  [ ${#missing[@]} = 0 ] && return
  if command -v apt-get >/dev/null && install_missing; then find_missing; fi
  [ ${#missing[@]} = 0 ] && return
  say "not installed (names of the Debian packages):"
  list_missing
  local package
  for package in "${missing[@]}"; do
    [[ $optional == *" $package "* ]] && continue
    command -v apt-get >/dev/null && die "as root: apt-get install --no-install-recommends ${missing[*]}"
    die "install these with the system's package manager and run this script again"
  done
  say "these are optional: going on without them"
}

# For the CUDA back-end: headers that no distribution has, from PyPI, where there is an nvcc to use them.
frontend=build/third-party/cudnn-frontend
frontend_pin="nvidia-cudnn-frontend==1.32.0 --hash=sha256:c6006556017a4d1c914c52a556c71b1267f2d6a0500f742e7b4edef539878df0"

has_nvcc() {
  [ -n "${CUDACXX:-}" ] || command -v nvcc >/dev/null || [ -x /usr/local/cuda/bin/nvcc ] ||
    [ -x "${CUDAToolkit_ROOT:-}/bin/nvcc" ] ||
    python3 -c 'import glob, nvidia, sys
sys.exit(not any(glob.glob(p + "/*/bin/nvcc") for p in nvidia.__path__))' 2>/dev/null
}

cudnn_frontend() {
  has_nvcc || return 0
  [ -n "${CUDNN_FRONTEND_ROOT:-}" ] || [ -e $frontend/include/cudnn_frontend.h ] ||
    has_header cudnn_frontend_version.h || fetch_frontend ||
    say "no headers of cudnn-frontend, which a build for GPUs needs: CUDNN_FRONTEND_ROOT may name them"
}

# The wheel is for one Python; its headers are for all.
fetch_frontend() {
  local folder status=0
  say "fetching ${frontend_pin%% *} from PyPI"
  folder=$(mktemp -d)
  {
    echo "$frontend_pin" >"$folder/requirements.txt" &&
      python3 -m pip download -q --no-deps --only-binary=:all: --python-version 3.11 --implementation cp \
        --abi cp311 --platform manylinux_2_28_x86_64 --require-hashes -r "$folder/requirements.txt" -d "$folder" &&
      python3 -m zipfile -e "$folder"/*.whl "$folder/unpacked" &&
      mkdir -p $frontend && cp -r "$folder/unpacked/include" $frontend/unpacked && mv $frontend/unpacked $frontend/include
  } >&2 || status=$?
  rm -rf "$folder"
  return $status
}

# core/cpu/onednn.cpp speaks version 2 of oneDNN's interface.
onednn_major() {
  local cxx
  cxx=$(compiler) || return 0
  printf '#include <oneapi/dnnl/dnnl_version.h>\nDNNL_VERSION_MAJOR\n' |
    "$cxx" -E -P -x c++ - 2>/dev/null | tail -n 1 | tr -dc 0-9 || true
}

cached() { sed -n "s/^$1:[A-Z]*=//p" "$binary/CMakeCache.txt" 2>/dev/null || true; }

check_cmake() {
  local version
  version=$(cmake --version | sed -n '1s/[^0-9]*\([0-9.]*\).*/\1/p')
  [ "$(printf '%s\n' 3.25 "$version" | sort -V | head -n 1)" = 3.25 ] ||
    die "CMake 3.25 or newer is needed, found $version"
}

build() {
  local options=("$@") fresh=() onednn
  check_cmake
  onednn=$(onednn_major)
  if [[ " ${options[*]} " != *" -DFULCRUM_ONEDNN="* ]]; then
    if [ "$onednn" = 2 ]; then
      options+=(-DFULCRUM_ONEDNN=ON)
    else
      say "oneDNN 2 is not here${onednn:+ (version $onednn is)}: building without it; wide networks are slower"
      options+=(-DFULCRUM_ONEDNN=OFF)
    fi
  fi
  if [ -e /dev/nvidiactl ] && has_nvcc && [[ " ${options[*]} " != *" -DFULCRUM_CUDA="* ]]; then
    local all usable
    all=$(nvidia-smi --query-gpu=compute_cap --format=csv,noheader 2>/dev/null | sort -Vu) || all=''
    usable=$(grep -Ev '^[1-7]\.' <<<"$all" | tr -d . | paste -sd ';') || usable=''  # of several those from 8.0 on
    if [ -n "$all" ] && [ -z "$usable" ]; then
      say "GPUs of compute capability $(paste -sd ' ' <<<"$all"); 8.0 or later is needed: building for the CPU alone"
    else
      options+=(-DFULCRUM_CUDA=AUTO)
      [[ " ${options[*]} " == *" -DCMAKE_CUDA_ARCHITECTURES="* ]] || options+=(-DCMAKE_CUDA_ARCHITECTURES="${usable:-native}")
    fi
  fi
  # A cache of another generator, or of a tree that has moved, cannot be configured again.
  if [ -e "$binary/CMakeCache.txt" ] &&
     { [ "$(cached CMAKE_GENERATOR)" != Ninja ] || [ "$(cached CMAKE_HOME_DIRECTORY)" != "$PWD" ]; }; then
    fresh=(--fresh)
  fi
  say "configuring in $binary"
  mkdir -p "$binary"
  if ! cmake "${fresh[@]}" --preset "$preset" "${options[@]}" >"$binary/configure.log" 2>&1; then
    tail -n 30 "$binary/configure.log" >&2
    die "configuring failed; all of it is in $binary/configure.log"
  fi
  say "building on $(nproc) cores"
  cmake --build "$binary" --parallel "$(nproc)" "${target[@]}" >&2
  say "done: $binary/fulcrum"
}

deps=1 make=1 preset=cpu binary=build target=()
while [ $# -gt 0 ]; do
  case $1 in
    --deps-only) make=0 ;;
    --no-deps) deps=0 ;;
    --program) target=(--target fulcrum) ;;
    --debug) preset=cpu-debug binary=build/debug ;;
    --) shift; break ;;
    -h | --help) sed -n '2,/^set -/s/^# \{0,1\}//p' "${BASH_SOURCE[0]}"; exit ;;
    *) die "unknown option '$1' (--help lists them)" ;;
  esac
  shift
done
[ $deps = 0 ] || { dependencies; cudnn_frontend; }
[ $make = 0 ] || build "$@"
