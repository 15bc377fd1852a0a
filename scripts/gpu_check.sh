#!/usr/bin/env bash
# On a machine with an NVIDIA GPU: builds the CUDA back-end once, and proves or measures one part of it.
#
#   scripts/gpu_check.sh --stage STAGE [--out DIR] [--budget SECONDS] [--cases REGEX] [--epochs N] [--dry-run]
#
#   tests      every CUDA test on the device, the table of operations and PyTorch's golden values there, recorded against
#              eager training, and the tests of the CPU
#   sanitize   compute-sanitizer's memcheck, racecheck and initcheck over our own kernels; --cases picks some of its steps,
#              e.g. 'initcheck' or 'memcheck of the other'
#   r32, r50   the training step of ResNet-32 (batch 128, 512, 1024) and ResNet-50 (64, 256; 224×224), in turns with
#              PyTorch's (scripts/peers/gpu_step.py); --cases picks some, e.g. 'bf16' or 'b256 tf32'
#   risks      what each risk costs a step of ResNet-32 (batch 128) and ResNet-50 (256), in turns with plain SGD's
#   train      CIFAR-10-LT with ResNet-32, SGD and ABSGD, from FULCRUM_DATA_DIR; without it a generated data set of
#              CIFAR's size stands in, and every result says so
#
# All of a call, the build included, ends within --budget (540 s). What has been done lies in DIR (build/gpu-check) as
# lines of JSON, STAGE.jsonl, also where the call is cut off; STAGE.json sums up, STAGE.log is all output. The exit
# status is 1 where something failed, 3 where time ran out before all was done. --dry-run prints the plan.
#
# Needs nvcc, CMake, Ninja, and a Python with PyTorch, whose wheels may hold cuDNN and cuBLAS; PYTHON names another.
# Not oneDNN. Headers and small libraries come from the system, from the prefix FULCRUM_DEPS, or from the folder
# FULCRUM_DEBS, which scripts/gpu_debs.sh fills elsewhere. The build is kept in FULCRUM_GPU_BUILD (build/gpu).
set -uo pipefail
root=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
begin=$SECONDS

say() { printf 'gpu_check: %s\n' "$*" >&2; }
die() { say "$*"; exit 2; }
first() { local path; for path in "$@"; do [ -e "$path" ] && { echo "$path"; return; }; done; return 1; }
usage() { sed -n '2,/^set -/{/^set -/!s/^# \{0,1\}//p}' "${BASH_SOURCE[0]}"; }

stage='' out=$root/build/gpu-check budget=540 cases='' epochs=200 dry=0
while [ $# -gt 0 ]; do
  case $1 in
    --stage | --out | --budget | --cases | --epochs)
      [ $# -ge 2 ] || die "$1 wants a value"
      printf -v "${1#--}" %s "$2"
      shift ;;
    --dry-run) dry=1 ;;
    -h | --help) usage; exit ;;
    *) die "unknown option '$1' (--help lists them)" ;;
  esac
  shift
done
case $stage in tests | sanitize | r32 | r50 | risks | train) ;; *) die "--stage: expected tests, sanitize, r32, r50, risks or train, got '$stage'" ;; esac
[[ $budget =~ ^[0-9]+$ && $epochs =~ ^[1-9][0-9]*$ ]] || die "--budget and --epochs are whole numbers"
[[ $out = /* ]] || out=$PWD/$out
build=${FULCRUM_GPU_BUILD:-$root/build/gpu}
[[ $build = /* ]] || build=$PWD/$build

# ---- the machine ------------------------------------------------------------------------------------

find_python() {
  local p
  for p in ${PYTHON:+"$PYTHON"} python3 python "${FULCRUM_PEERS_VENV:-$root/build/peers}/bin/python"; do
    p=$(command -v "$p") && "$p" -c 'import torch' 2>/dev/null && { echo "$p"; return; }
  done
  return 1
}

find_tools() {
  python=$(find_python) || python=''
  # Of a virtual environment too: CMake looks for wheels in the python3 of PATH.
  [ -z "$python" ] || PATH=$(dirname "$python"):$PATH
  nvcc=$(first ${CUDAToolkit_ROOT:+"$CUDAToolkit_ROOT/bin/nvcc"} "$(command -v nvcc)" /usr/local/cuda/bin/nvcc) || nvcc=''
  cmake=$(command -v cmake) || cmake=''
  ninja=$(command -v ninja) || ninja=''
  capability=$(nvidia-smi --query-gpu=compute_cap --format=csv,noheader 2>/dev/null | head -n 1) || capability=''
  [ -n "$capability" ] || [ -z "$python" ] ||
    capability=$("$python" -c 'import torch; print("%d.%d" % torch.cuda.get_device_capability())' 2>/dev/null)
  architecture=${capability//[. ]/}
  # The same cuDNN for both sides: PyTorch's, where that is a wheel's.
  cudnn=$("${python:-false}" -c 'import nvidia.cudnn as c; print(list(c.__path__)[0])' 2>/dev/null) || cudnn=''
  [ -z "$cudnn" ] || export LD_LIBRARY_PATH=$cudnn/lib${LD_LIBRARY_PATH:+:$LD_LIBRARY_PATH}
  cuda=/usr/local/cuda
  [ -z "$nvcc" ] || cuda=$(dirname "$(dirname "$(readlink -f "$nvcc")")")
  sanitizer=$(first "$(command -v compute-sanitizer)" "$cuda"/bin/compute-sanitizer \
    "$cuda"/compute-sanitizer/compute-sanitizer /usr/local/cuda/bin/compute-sanitizer \
    /usr/local/cuda/compute-sanitizer/compute-sanitizer) || sanitizer=''
}

check_tools() {
  local missing=()
  [ -n "$python" ] || missing+=("a Python with PyTorch (PYTHON names one)")
  [ -z "$python" ] || [[ $stage != r50 && $stage != train ]] || "$python" -c 'import numpy, torchvision' 2>/dev/null ||
    missing+=("NumPy and torchvision for $python")
  [ -n "$nvcc" ] || missing+=("nvcc (CUDAToolkit_ROOT names its toolkit)")
  [ -n "$cmake" ] || missing+=(cmake)
  [ -n "$ninja" ] || missing+=(ninja)
  [ -n "$architecture" ] || missing+=("a GPU (neither nvidia-smi nor PyTorch sees one)")
  [ "$stage" != sanitize ] || [ -n "$sanitizer" ] || missing+=(compute-sanitizer)
  [ ${#missing[@]} = 0 ] && return
  printf -v text '%s; ' "${missing[@]}"
  [ $dry = 1 ] || die "missing: ${text%; }"
  say "a real run would stop here, missing: ${text%; }"
}

describe() {  # the machine, as JSON
  GPU_CHECK_NVCC=$("$nvcc" --version | sed -n 's/.*release \([0-9.]*\).*/\1/p') \
  GPU_CHECK_COMMIT=$(git -C "$root" rev-parse --short=12 HEAD 2>/dev/null) "$python" - <<'PY'
import json, os, torch
p = torch.cuda.get_device_properties(0)
smi = os.popen("nvidia-smi --query-gpu=driver_version --format=csv,noheader 2>/dev/null").read().split("\n")[0]
print(json.dumps({"gpu": p.name, "memory_gib": round(p.total_memory / 2**30, 1), "sm": f"{p.major}.{p.minor}",
                  "multiprocessors": p.multi_processor_count, "driver": smi, "nvcc": os.environ["GPU_CHECK_NVCC"],
                  "torch": torch.__version__, "cudnn_of_torch": torch.backends.cudnn.version(),
                  "cpus": os.cpu_count(), "commit": os.environ["GPU_CHECK_COMMIT"]}))
PY
}

# ---- steps ------------------------------------------------------------------------------------------

failed=0 short=0 number=0
left() { echo $((budget - (SECONDS - begin) - 8)); }
row() { [ $dry = 1 ] || printf '%s\n' "$1" >>"$rows"; }

# Runs a step for at most so many seconds and of what is left; its line says how it ended.
step() {  # name, seconds, command …
  local name=$1 limit=$2 started=$SECONDS status=0 seconds end=ok
  shift 2
  if [ $dry = 1 ]; then
    number=$((number + 1))
    printf '%2d. %s (at most %d s)\n      %s\n' "$number" "$name" "$limit" "$*"
    return 0
  fi
  : >"$scratch"  # a step that does not begin has said nothing
  [ "$(left)" -ge "$limit" ] || limit=$(left)
  if [ "$limit" -lt 5 ]; then
    short=1
    row "{\"step\": \"$name\", \"end\": \"no time left\"}"
    return 3
  fi
  say "$name"
  echo "==== $name: $*" >>"$log"
  timeout --signal=TERM --kill-after=10 "$limit" "$@" >"$scratch" 2>&1 || status=$?
  cat "$scratch" >>"$log"
  seconds=$((SECONDS - started))
  case $status in
    0) ;;
    124 | 137 | 143) end=timeout short=1 ;;
    *) end=failed failed=1 ;;
  esac
  [ $end = ok ] || { say "$name: $end (status $status)"; tail -n 25 "$scratch" >&2; }
  row "{\"step\": \"$name\", \"end\": \"$end\", \"status\": $status, \"seconds\": $seconds$(counts_of "$scratch")}"
  return $status
}

# What gtest, ctest or compute-sanitizer counted, as more keys of the line.
counts_of() {
  "$python" - "$1" <<'PY'
import json, re, sys
text = open(sys.argv[1], errors="replace").read()
found = {}
for key, pattern in {"passed": r"\[  PASSED  \] (\d+) tests?", "skipped": r"\[  SKIPPED \] (\d+) tests?",
                     "ctest": r"(\d+% tests passed, .*)", "errors": r"ERROR SUMMARY: (\d+) error",
                     "hazards": r"RACECHECK SUMMARY: (\d+ hazards? .*)"}.items():
    hits = re.findall(pattern, text)
    if hits:
        found[key] = int(hits[-1]) if hits[-1].isdigit() else hits[-1]
names = re.findall(r"^\[  FAILED  \] ([\w/.]+)", text, re.M) + re.findall(r"^\s+\d+ - (\S+) \((?:Failed|Timeout|SEG)", text, re.M)
if names:
    found["failures"] = sorted(set(names))[:40]
print(", " + json.dumps(found)[1:-1] if found else "", end="")
PY
}

finish() {
  local status=$?
  trap - EXIT
  rm -f "$scratch"
  "$python" - "$rows" "$out/$stage.json" "$stage" "$((SECONDS - begin))" "$status" <<'PY'
import json, sys
rows = []
for line in open(sys.argv[1]):
    try:
        rows.append(json.loads(line))
    except ValueError:  # cut off while it was written
        rows.append({"left_out": line[:200]})
record = {"stage": sys.argv[3], "seconds": int(sys.argv[4]), "status": int(sys.argv[5]),
          "machine": next((r["machine"] for r in rows if "machine" in r), None),
          "not_ok": [r for r in rows if r.get("end", "ok") != "ok" or "error" in r or "left_out" in r],
          "rows": [r for r in rows if "machine" not in r]}
json.dump(record, open(sys.argv[2], "w"), indent=1)
for r in rows:
    if "step" in r:
        print(f"{r['end']:12} {r.get('seconds', 0):4} s  {r['step']}")
PY
  say "$out/$stage.json; status $status"
  exit "$status"
}

# ---- building ---------------------------------------------------------------------------------------

unpack_debs() {  # folder, prefix
  local deb link target
  if [ -e "$2/unpacked" ] && [ -z "$(find "$1" -newer "$2/unpacked" -type f)" ]; then return; fi
  rm -rf "$2" && mkdir -p "$2/usr/lib"
  for deb in "$1"/*.deb; do dpkg -x "$deb" "$2" || return; done
  # Debian still has libraries in /lib, and links to them from the root.
  if [ -d "$2/lib" ] && [ ! -L "$2/lib" ]; then cp -a "$2/lib/." "$2/usr/lib/" && rm -r "${2:?}/lib"; fi
  find "$2" -type l -lname '/*' | while read -r link; do
    target=$(readlink "$link")
    target=${target#/}
    ln -sfn "$2/usr/${target#usr/}" "$link"
  done
  [ ! -e "$1/cudnn-frontend.tar.gz" ] || tar -C "$2/usr" -xzf "$1/cudnn-frontend.tar.gz"
  touch "$2/unpacked"
}

options=()
choose_options() {
  local prefix=${FULCRUM_DEPS:-} wheel flags=''
  if [ -z "$prefix" ] && [ -n "${FULCRUM_DEBS:-}" ]; then
    [ -d "$FULCRUM_DEBS" ] || die "FULCRUM_DEBS: there is no folder $FULCRUM_DEBS"
    prefix=$build/deps/usr
    [ $dry = 1 ] || unpack_debs "$(cd "$FULCRUM_DEBS" && pwd)" "$build/deps" || die "cannot unpack FULCRUM_DEBS"
  fi
  options=(-G Ninja -DCMAKE_MAKE_PROGRAM="$ninja" -DCMAKE_BUILD_TYPE=Release -DFULCRUM_CUDA=ON -DFULCRUM_ONEDNN=OFF
           -DFULCRUM_MPI=OFF -DFULCRUM_PYTHON=OFF -DFULCRUM_INSTALL=OFF -DFULCRUM_WERROR=OFF
           -DCMAKE_CUDA_COMPILER="$nvcc" -DCMAKE_CUDA_ARCHITECTURES="${architecture:-90}")
  [ -z "$prefix" ] || options+=(-DCMAKE_PREFIX_PATH="$prefix")
  # jpeglib.h of the .debs must not meet the machine's own jconfig.h.
  [ ! -d "$prefix/include/x86_64-linux-gnu" ] || flags="-isystem $prefix/include/x86_64-linux-gnu"
  [ -z "$cudnn" ] || options+=(-DCUDNN_ROOT="$cudnn")
  [ -n "${CUDNN_FRONTEND_ROOT:-}" ] || [ ! -e "$prefix/include/cudnn_frontend.h" ] ||
    options+=(-DCUDNN_FRONTEND_ROOT="$prefix")
  # A toolkit may be the compiler alone; PyTorch's wheels then have cuBLAS.
  if [ -n "$python" ] && ! first "$cuda"/include/cublasLt.h "$cuda"/targets/*/include/cublasLt.h >/dev/null; then
    wheel=$("$python" -c 'import glob, nvidia; print(*[f for r in nvidia.__path__ for f in glob.glob(r + "/*/include/cublasLt.h")][:1])')
    wheel=${wheel%/include/cublasLt.h}
    if [ -n "$wheel" ]; then
      options+=(-DCUDA_cublasLt_LIBRARY="$(first "$wheel"/lib/libcublasLt.so.*)")
      flags+=" -idirafter $wheel/include"
    fi
  fi
  [ -z "$flags" ] || options+=(-DCMAKE_CXX_FLAGS="$flags")
}

build_targets() {
  step configure 120 "$cmake" -S "$root" -B "$build" "${options[@]}" &&
    step build 330 "$cmake" --build "$build" --parallel "$(nproc)" --target "$@"
}

# ---- stages -----------------------------------------------------------------------------------------

# The suites of fulcrum_tests that match a filter; before it is built, as a dry run may find it, a word for them.
suites_of() {  # GoogleTest filter
  [ -x "$build/fulcrum_tests" ] || { echo "SUITES($1)"; return; }
  "$build/fulcrum_tests" --gtest_list_tests --gtest_filter="$1" | sed -nE 's|^([^ ]*/)?([^ /]+)\..*|\2|p' | sort -u
}

tests_stage() {
  build_targets fulcrum fulcrum_tests fulcrum_cuda_program_tests getting_started || return
  local tests=$build/fulcrum_tests cpu
  export FULCRUM_GPU_REQUIRED=1  # a test that finds no device fails
  # Kernels that were written without a device come first.
  step "own convolutions and norms" 90 "$tests" --gtest_brief=1 --gtest_filter="$newest"
  step "operations on the device" 120 env FULCRUM_TEST_DEVICE=cuda "$tests" --gtest_brief=1 \
    --gtest_filter='Ops*:*/Ops*:OpValues*:*/Norm.*'
  step "golden values on the device" 120 env FULCRUM_TEST_DEVICE=cuda "$tests" --gtest_brief=1 \
    --gtest_filter='Golden*:*/Golden*'
  step "CUDA tests, the others" 150 "$tests" --gtest_brief=1 --gtest_filter="Cuda*:*/Cuda*:-$newest"
  step "recorded against eager training" 120 "$build/fulcrum_cuda_program_tests" --gtest_brief=1
  # Of ctest's tests those of what was built here: the others' programs are not there.
  cpu=$(suites_of '-Cuda*:*/Cuda*' | paste -sd '|')
  step "tests of the CPU" 300 "$(dirname "$cmake")/ctest" --test-dir "$build" --parallel "$(nproc)" --output-on-failure --no-tests=error \
    --timeout 200 -R "^($cpu|GettingStarted|GettingStartedText|KillAndResume|FailingDisk)\$"
}

newest='CudaConv3x3*:*/CudaConv3x3*:CudaNorm*:*/CudaNorm*:CudaBatchNorm*:*/CudaBatchNorm*'

# Some machines have a device that the sanitizer cannot look into: each of its runs would fail.
sanitizer_works() {
  [ $dry = 0 ] || return 0
  local source=$build/sanitized.cu
  printf '%s\n' 'int main() { void* p = nullptr; return cudaMalloc(&p, 1) != cudaSuccess || cudaFree(p) != cudaSuccess; }' >"$source"
  step "compute-sanitizer on this device" 60 bash -c '"$1" -o "$2" "$2.cu" && "$3" --error-exitcode 9 "$2"' - \
    "$nvcc" "$build/sanitized" "$sanitizer"
}

# Own kernels alone: under the sanitizer cuDNN and cuBLAS take minutes, and their reports are not ours to mend.
sanitize_stage() {
  sanitizer_works || return
  build_targets fulcrum_tests || return
  export FULCRUM_GPU_REQUIRED=1
  local tool filter others
  # The properties of risks are thousands of launches of kernels that the other suites have.
  others=$(suites_of "Cuda*:*/Cuda*:-$newest" |
    grep -Ev 'Conv$|ConvSettings|Gemm|Cudnn|Cublas|Program|Replay|Step|Properties' | sed 's|.*|&.*:*/&.*|' | paste -sd ':')
  [ -n "$others" ] || { failed=1; row '{"step": "suites", "end": "failed", "status": 1}'; return; }
  local name any=0
  for filter in "$newest" "$others"; do
    for tool in memcheck racecheck initcheck; do
      name="$tool of $([ "$filter" = "$newest" ] && echo own convolutions and norms || echo the other kernels)"
      [[ -z $cases || $name =~ $cases ]] || continue
      any=1
      step "$name" 150 "$sanitizer" --tool "$tool" --error-exitcode 9 --print-limit 20 \
        "$build/fulcrum_tests" --gtest_brief=1 --gtest_filter="$filter"
    done
  done
  [ $any = 1 ] || { failed=1; say "--cases '$cases' fits no step"; row '{"step": "cases", "end": "failed", "status": 1}'; }
}

bench_stage() {  # model
  build_targets fulcrum || return
  local flags=(--model "$1" --fulcrum "$build/fulcrum" --python "$python" --cases "$cases")
  # The rows are written by the script itself; the time left is known when it starts.
  [ $dry = 1 ] || flags+=(--out "$rows" --budget "$(($(left) - 10))")
  step "steps of $1 in turns with PyTorch" "$budget" "$python" "$root/scripts/peers/gpu_step.py" "${flags[@]}"
  if [ $dry = 1 ]; then
    "${python:-python3}" "$root/scripts/peers/gpu_step.py" "${flags[@]}" --list | sed 's/^/        /'
  elif grep -q '"left_out"' "$rows"; then
    short=1
  fi
  # Which plans won, for each convolution.
  [ $dry = 1 ] || cp "${XDG_CACHE_HOME:-${HOME:-}/.cache}"/fulcrum/*.plans "$out" 2>/dev/null || true
}

risks_stage() {
  build_targets fulcrum || return
  local model flags
  for model in resnet50 resnet32; do
    flags=(--batch-size 128)
    [ $model = resnet32 ] || flags=(--batch-size 256 --image-size 224)
    step "what the risks cost a step of $model" 220 "$python" "$root/scripts/results/risk_cost.py" --fulcrum "$build/fulcrum" \
      --device cuda --amp bf16 --cudnn-benchmark --model $model "${flags[@]}"
    [ $dry = 1 ] || [ ! -s "$scratch" ] || cp "$scratch" "$out/risks-$model.txt"
  done
}

train_stage() {
  build_targets fulcrum || return
  local data=${FULCRUM_DATA_DIR:-} what='CIFAR-10' optimizer runs=$build/runs
  if ! first "$data/data_batch_1.bin" "$data/cifar-10-batches-bin/data_batch_1.bin" >/dev/null; then
    data=$build/like-cifar10 what='generated, of the size of CIFAR-10: accuracies mean nothing'
    [ -e "$data/test_batch.bin" ] || step "generating data" 120 "$python" "$root/scripts/data/like_cifar10.py" "$data"
  fi
  for optimizer in sgd absgd; do
    # The recipe has class weights and ABSGD's risk, which the name of an optimiser alone leaves as they are.
    local flags=(--opt "$optimizer" --set loss.class_weights=none)
    if [ $optimizer = sgd ]; then flags+=(--risk mean); else flags+=(--lambda 5 --set "risk.from_epoch=$((epochs * 4 / 5))"); fi
    step "train $optimizer" 240 "$build/fulcrum" train --recipe cifar10-lt --data-dir "$data" --device cuda --amp bf16 \
      --cudnn-benchmark --epochs "$epochs" --set train.eval_every=10 \
      --set "schedule.milestones=[$((epochs * 159 / 200))]" \
      --exist-ok --output "$runs/$optimizer" "${flags[@]}"
    [ $dry = 1 ] || training_row "$optimizer" "$what" "$runs/$optimizer"
  done
}

training_row() {  # optimiser, data, run
  [ -e "$3/metrics.jsonl" ] || return 0
  cp "$3/metrics.jsonl" "$out/train-$1.jsonl"
  row "$("$python" - "$@" <<'PY'
import json, statistics, sys
optimizer, data, run = sys.argv[1:]
rows = [json.loads(line) for line in open(run + "/metrics.jsonl")]
tested = [r for r in rows if "test" in r]
last = {k: v for k, v in tested[-1]["test"].items() if k != "per_class"} if tested else None
print(json.dumps({"train": optimizer, "data": data, "epochs": len(rows), "loss": rows[-1]["train"]["loss"], "test": last,
                  "images_per_s": statistics.median(r["images_per_s"] for r in rows)}))
PY
)"
}

# ---- the call ---------------------------------------------------------------------------------------

find_tools
check_tools
choose_options
if [ $dry = 1 ]; then
  echo "stage $stage, at most $budget s; results in $out"
  for tool in python nvcc cmake ninja sanitizer capability; do printf '%-11s %s\n' "$tool" "${!tool:-not found}"; done
else
  mkdir -p "$out" "$build"
  rows=$out/$stage.jsonl log=$out/$stage.log scratch=$(mktemp)
  { : >"$rows" && : >"$log"; } || die "cannot write to $out"
  trap finish EXIT
  row "{\"machine\": $(describe || echo null)}"
fi
case $stage in
  tests) tests_stage ;;
  sanitize) sanitize_stage ;;
  r32) bench_stage resnet32 ;;
  r50) bench_stage resnet50 ;;
  risks) risks_stage ;;
  train) train_stage ;;
esac
[ $failed = 0 ] || exit 1
[ $short = 0 ] || exit 3
exit 0
