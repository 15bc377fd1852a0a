#!/usr/bin/env bash
# Builds, and runs every test. The exit status is that of the tests; the last line counts them.
# Where there is an nvcc with cuDNN and no GPU, the CUDA back-end is built, too, in build/cuda, and the
# tests that need a GPU skip themselves. Where there is one, setup.sh has built it in build. The packages of
# tests/requirements.txt come from PyPI into build/test-venv; where that fails, the tests that need them skip.
#
#   scripts/test.sh [--debug] [-- ctest options]      e.g. scripts/test.sh -- -R KlRisk
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

setup=() deps=1 binary=build
while [ $# -gt 0 ]; do
  case $1 in
    --debug) binary=build/debug setup=(--debug) ;;
    --no-deps) deps=0 ;;
    --) shift; break ;;
    -h | --help) sed -n '2,/^set -/s/^# \{0,1\}//p' "${BASH_SOURCE[0]}"; exit ;;
    *) echo "test: unknown option '$1' (--help lists them)" >&2; exit 2 ;;
  esac
  shift
done

venv=$PWD/build/test-venv
python_packages() {
  "$venv/bin/python" -c 'import material, mkdocs, mypy, nanobind, numpy, onnx, onnxruntime, safetensors, tensorboard' 2>/dev/null && return
  [ $deps = 1 ] && python3 -m venv "$venv" &&
    "$venv/bin/python" -m pip install --quiet --disable-pip-version-check -r tests/requirements.txt
}
[ $deps = 0 ] || scripts/setup.sh --deps-only
options=()
if python_packages >&2; then
  options=(-DPython_EXECUTABLE="$venv/bin/python")
else
  echo "test: no $venv: tests of the Python package, of files for other programs and of the documentation skip" >&2
fi
scripts/setup.sh --no-deps "${setup[@]}" -- "${options[@]}"

log=$binary/tests.log
status=0
ctest --test-dir "$binary" --parallel "$(nproc)" --output-on-failure --no-tests=error "$@" 2>&1 |
  tee "$log" || status=$?

cuda_tests() {
  local targets=(fulcrum fulcrum_pretend fulcrum_tests fulcrum_cudnn_tests fulcrum_cuda_program_tests)
  # One architecture, and the tests of the device alone: what is tested here is that all of it compiles and links.
  cmake --preset cuda -DCMAKE_CUDA_ARCHITECTURES="${CUDAARCHS:-90}" -DFULCRUM_TEST_FILES='cuda_[a-z0-9_]*|golden|norm|ops' >"$log.cuda" 2>&1 ||
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
