#!/usr/bin/env bash
# Builds, and runs every test. The exit status is that of the tests; the last line counts them.
# Where there is an nvcc with cuDNN and no GPU, the CUDA back-end is built, too, in build/cuda, and the
# tests that need a GPU skip themselves. Where there is one, setup.sh has built it in build.
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

cuda_tests() {
  local targets=(fulcrum fulcrum_tests fulcrum_cudnn_tests fulcrum_cuda_program_tests)
  # One architecture: what is tested here is that all of it compiles and links.
  cmake --preset cuda -DCMAKE_CUDA_ARCHITECTURES="${CUDAARCHS:-90}" >"$log.cuda" 2>&1 ||
    { tail -n 20 "$log.cuda"; return 1; }
  cmake --build build/cuda --parallel "$(nproc)" --target "${targets[@]}" || return
  ctest --test-dir build/cuda --output-on-failure --no-tests=error -R '^(Cuda|Cudnn)' 2>&1 | tee -a "$log"
}
if [ $# = 0 ] && [ "$binary" = build ] && ! grep -q '^CMAKE_CUDA_COMPILER:' build/CMakeCache.txt && { command -v nvcc || [ -x /usr/local/cuda/bin/nvcc ]; } >/dev/null; then
  if [ -e build/third-party/cudnn-frontend/include/cudnn_frontend.h ] || [ -n "${CUDNN_FRONTEND_ROOT:-}" ]; then
    cuda_tests || status=$?
  else
    echo "fulcrum: no headers of cudnn-frontend: the CUDA back-end is not built"
  fi
fi
echo "fulcrum: $(grep -a 'tests passed' "$log" | paste -sd ';' || echo 'the tests did not run')"
exit $status
