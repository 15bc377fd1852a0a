#!/usr/bin/env bash
# What the tests do not say by themselves: memory errors, races, doubtful code, lines that no test runs, and faults that no
# test would notice. Each stage builds in build-quality/STAGE and ends with one line; the exit status is 1 where one
# misses its mark (docs/quality.md has the figures).
#
#   scripts/quality.sh [--jobs N] [STAGE ...]      e.g. scripts/quality.sh coverage mutation
#
#   address    AddressSanitizer and UndefinedBehaviorSanitizer: the tests of core, layers, optim and data
#   thread     ThreadSanitizer: those of the pool, the loader, processes, kernels with OpenMP (Clang)
#   format     clang-format 14 with .clang-format: nothing to change in any C++ or CUDA file
#   tidy       clang-tidy with the checks of .clang-tidy: core, layers, optim, data and apps, no warning
#   coverage   lines that the tests run, by gcovr: at least 90 % of core, of optim and of data
#   mutation   faults that the tests notice (scripts/quality/mutation.py): at least 95 %
#
# Without a stage: all of them. Beyond what setup.sh installs they take, from Debian: gcovr, clang, clang-format, clang-tidy,
# libomp-dev. CLANGXX, CLANG_FORMAT and CLANG_TIDY name other versions: CLANGXX=clang++-16 with libomp-16-dev.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

jobs=$(nproc) stages=() clang=${CLANGXX:-clang++} clang_tidy=${CLANG_TIDY:-clang-tidy}
clang_format=${CLANG_FORMAT:-clang-format}
while [ $# -gt 0 ]; do
  case $1 in
    --jobs) jobs=${2:?quality: expected a number after --jobs}; shift ;;
    -h | --help) sed -n '2,/^set -/s/^# \{0,1\}//p' "${BASH_SOURCE[0]}"; exit ;;
    address | thread | format | tidy | coverage | mutation) stages+=("$1") ;;
    *) echo "quality: unknown stage or option '$1' (--help lists them)" >&2; exit 2 ;;
  esac
  shift
done
[[ $jobs =~ ^[1-9][0-9]*$ ]] || { echo "quality: expected --jobs of at least 1, got '$jobs'" >&2; exit 2; }
[ ${#stages[@]} -gt 0 ] || stages=(address thread format tidy coverage mutation)
mkdir -p build-quality

need() {  # program, package
  command -v "$1" >/dev/null || { echo "$1 is missing (Debian: apt-get install $2)"; return 1; }
}

# Warnings are the concern of the usual build: with other options compilers have other ones, also about Eigen.
configure() {  # stage, CMake options
  cmake -S . -B "build-quality/$1" -G Ninja -DFULCRUM_CUDA=OFF -DFULCRUM_MPI=OFF -DFULCRUM_PYTHON=OFF \
    -DFULCRUM_INSTALL=OFF -DFULCRUM_WERROR=OFF "${@:2}" >"build-quality/$1.log" 2>&1 || { tail -n 20 "build-quality/$1.log" >&2; return 1; }
}

build_tests() {  # stage, CMake options
  configure "$@" -DFULCRUM_APPS=OFF &&
    nice cmake --build "build-quality/$1" --parallel "$jobs" --target fulcrum_tests >>"build-quality/$1.log" 2>&1 ||
    { tail -n 40 "build-quality/$1.log" >&2; echo "the build failed"; return 1; }
}

# Runs the tests of a stage, in shards; "N tests passed", or their output and a line that counts findings.
run_tests() {  # stage, GoogleTest filter
  local stage=$1 filter=${2:-*} shards=$(((jobs + 1) / 2)) shard failed=0 pids=() pid
  export OMP_NUM_THREADS=2 OMP_WAIT_POLICY=PASSIVE GTEST_TOTAL_SHARDS=$shards
  for ((shard = 0; shard < shards; shard++)); do
    GTEST_SHARD_INDEX=$shard nice "build-quality/$stage/fulcrum_tests" --gtest_brief=1 --gtest_filter="$filter" \
      >"build-quality/$stage.tests.$shard" 2>&1 & pids+=($!)
  done
  for pid in "${pids[@]}"; do wait "$pid" || failed=1; done
  if [ $failed = 1 ]; then
    tail -n 200 "build-quality/$stage".tests.* >&2
    echo "failed; $(cat "build-quality/$stage".tests.* | grep -acE '^(SUMMARY: |.*runtime error: |\[  FAILED  \] .*\()') findings (build-quality/$stage.tests.*)"
    return 1
  fi
  sed -n 's/^\[  PASSED  \] \([0-9]*\) tests\?\.$/\1/p' "build-quality/$stage".tests.* |
    awk '{ sum += $1 } END { print sum " tests passed, no findings" }'
}

address() {
  build_tests address -DCMAKE_BUILD_TYPE=None -DCMAKE_CXX_FLAGS='-O1 -g1' -DFULCRUM_SANITIZE=ON || return
  ASAN_OPTIONS=allocator_may_return_null=1 run_tests address '-*GoldenImagenetNetworks*'
}

# The OpenMP of Clang tells ThreadSanitizer of its barriers (Archer, part of libomp); with that of GCC, which does not, the
# end of each parallel region looks like a race. oneDNN has threads of its own and is built without the sanitizer.
# Clang 16 crashes on kernels for AVX-512.
thread() {
  need "$clang" clang || return
  local archer
  archer=$(dirname "$(readlink -f "$(command -v "$clang")")")/../lib/libarcher.so
  [ -e "$archer" ] || { echo "libarcher.so is missing (Debian: apt-get install libomp-dev)"; return 1; }
  build_tests thread -DCMAKE_BUILD_TYPE=None -DCMAKE_CXX_FLAGS='-O1 -g1' -DCMAKE_CXX_COMPILER="$clang" -DFULCRUM_SANITIZE=thread \
    -DFULCRUM_ONEDNN=OFF -DFULCRUM_CPU_ARCH=x86-64-v3 \
    -DFULCRUM_TEST_FILES='autograd|communicator|data_(colours|folders|images|loader|mix|pack)|kernels|ops|optim|tensor|winograd_conv' ||
    return
  OMP_TOOL_LIBRARIES=$archer TSAN_OPTIONS="ignore_noninstrumented_modules=1 allocator_may_return_null=1" run_tests thread
}

format() {
  need "$clang_format" clang-format || return
  local files wrong
  files=$(git ls-files '*.cpp' '*.h' '*.cu' '*.cuh')
  xargs "$clang_format" --dry-run <<<"$files" >build-quality/format.log 2>&1 || true
  wrong=$(sed -n 's/^\([^:]*\):.*clang-format-violations.*/\1/p' build-quality/format.log | sort -u)
  [ -z "$wrong" ] || printf '%s\n' "$wrong" >&2
  echo "$(grep -c . <<<"$wrong" || true) of $(wc -l <<<"$files") files differ"
  [ -z "$wrong" ]
}

tidy() {
  need "$clang_tidy" clang-tidy && need "$clang" clang || return
  configure tidy -DCMAKE_CXX_COMPILER="$clang" -DFULCRUM_UNITY=OFF || { echo "CMake failed"; return 1; }
  local log=build-quality/tidy.warnings files
  files=$(find core layers optim data apps -name '*.cpp' ! -path 'core/cuda/*' ! -path 'core/mpi/communicator.cpp' | sort)
  # A file on which it ends otherwise than well, or not at all, is not a clean one.
  check_one() {
    "$clang_tidy" --quiet -p build-quality/tidy --extra-arg=-Wno-unknown-warning-option "$1" 2>/dev/null && echo "clean: $1"
  }
  export -f check_one
  export clang_tidy
  printf '%s\n' "$files" | nice xargs -P "$jobs" -n 1 bash -c 'check_one "$1"' _ >"$log" || true
  grep -E '(warning|error): ' "$log" | sort -u >"$log.unique" || true
  grep -A3 -E '(warning|error): ' "$log" | tail -n 200 >&2 || true
  local clean
  clean=$(grep -c '^clean: ' "$log" || true)
  echo "$(wc -l <"$log.unique") warnings, $clean of $(wc -l <<<"$files") files clean"
  [ "$clean" = "$(wc -l <<<"$files")" ]
}

coverage() {
  need gcovr gcovr || return
  build_tests coverage -DCMAKE_BUILD_TYPE=None -DCMAKE_CXX_FLAGS='-O1 -g1 --coverage -fprofile-update=atomic' || return
  find build-quality/coverage -name '*.gcda' -delete
  run_tests coverage '-*GoldenImagenetNetworks*' >/dev/null || { echo "tests failed"; return 1; }
  # What takes a GPU or a launcher of processes does not run here.
  gcovr --root . --object-directory build-quality/coverage --filter core/ --filter optim/ --filter data/ \
    --exclude core/cuda/ --exclude core/mpi/ -j "$jobs" --txt build-quality/coverage.txt \
    --json-summary build-quality/coverage.json build-quality/coverage >>build-quality/coverage.log 2>&1 ||
    { tail -n 20 build-quality/coverage.log >&2; echo "gcovr failed"; return 1; }
  scripts/quality/coverage.py build-quality/coverage.json
}

mutation() {
  local missed=0
  nice scripts/quality/mutation.py --jobs "$jobs" 2>&1 | tee build-quality/mutation.txt >&2 || missed=1
  sed -n 's/^mutation: //p' build-quality/mutation.txt | tail -n 1
  return $missed
}

status=0 told=()
for stage in "${stages[@]}"; do
  start=$SECONDS
  figure=$("$stage") || status=1
  told+=("$(printf '%-9s %s (%d s)' "$stage" "${figure:-failed}" $((SECONDS - start)))")
  echo "quality: ${told[-1]}"
done
if [ ${#told[@]} -gt 1 ]; then printf '%s\n' '' "${told[@]}"; fi
exit $status
