#!/usr/bin/env bash
# Builds libFuzzer's programs with Clang 16 or newer, in build-fuzz, and runs each for a while from the corpora in tests/fuzz.
# What a target finds is left in build-fuzz/found/NAME; the last lines say how many executions each had.
#
#   scripts/fuzz.sh [SECONDS [TARGET ...]]      e.g. scripts/fuzz.sh 60 png list
#   RUNS=10000000 scripts/fuzz.sh 1200          until so many executions, or 1200 seconds
#   LENGTH=160 scripts/fuzz.sh 60 csv list      inputs of up to so many bytes (8192): several times as many of them
#
# CLANG names the compiler: by default clang++-16 (Debian's clang-16, libclang-rt-16-dev, libomp-16-dev), else clang++.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

clang=${CLANG:-$(command -v clang++-16 || command -v clang++)}
seconds=${1:-60}
[[ $seconds =~ ^[0-9]+$ ]] || { echo "usage: scripts/fuzz.sh [SECONDS [TARGET ...]]" >&2; exit 2; }
shift || true
targets=("$@")
if [ ${#targets[@]} = 0 ]; then
  for file in tests/fuzz/corpus/*/; do targets+=("$(basename "$file")"); done
fi

# Without oneDNN and for any processor: no parser uses either, and Clang 16 crashes on kernels for AVX-512. Clang's warnings are not those that the code is kept free of.
cmake -S . -B build-fuzz -G Ninja -DCMAKE_BUILD_TYPE=RelWithDebInfo -DCMAKE_CXX_COMPILER="$clang" -DFULCRUM_FUZZ=ON \
  -DFULCRUM_WERROR=OFF -DFULCRUM_CUDA=OFF -DFULCRUM_ONEDNN=OFF -DFULCRUM_MPI=OFF -DFULCRUM_PYTHON=OFF -DFULCRUM_INSTALL=OFF -DFULCRUM_CPU_ARCH= >/dev/null
cmake --build build-fuzz --parallel "$(nproc)" --target "${targets[@]/#/fuzz_}"

# The search for uses of a stack after a return spends two thirds of the time on tidying up after exceptions; short backtraces
# of allocations, a small quarantine and memory that is not filled are another 10 to 45 % more executions a second.
export ASAN_OPTIONS=detect_stack_use_after_return=0:malloc_context_size=2:quarantine_size_mb=8:thread_local_quarantine_size_kb=64:max_malloc_fill_size=0
status=0 told=()
for name in "${targets[@]}"; do
  mkdir -p "build-fuzz/grown/$name" "build-fuzz/found/$name"
  log=build-fuzz/$name.log
  nice -n 19 "build-fuzz/fuzz_$name" -runs="${RUNS:--1}" -max_total_time="$seconds" -timeout=10 -rss_limit_mb=2048 -max_len="${LENGTH:-8192}" \
    -print_final_stats=1 -artifact_prefix="build-fuzz/found/$name/" "build-fuzz/grown/$name" "tests/fuzz/corpus/$name" \
    >"$log" 2>&1 || { status=1; tail -n 40 "$log"; }
  told+=("$name: $(sed -n 's/^stat::number_of_executed_units: *//p' "$log") executions, $(find "build-fuzz/found/$name" -type f | wc -l) findings")
done
printf '%s\n' "${told[@]}"
exit $status
