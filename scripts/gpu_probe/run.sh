#!/usr/bin/env bash
# Measures, on the GPU at hand and in one call of less than eight minutes, what the design of the CUDA
# back-end depends on, and prints it as JSON lines:
#
#   scripts/gpu_probe/run.sh [--dry-run] [--seconds N] [--kinds norm,conv_sums] >probe.jsonl
#
#   launch     an empty kernel, in a stream and in a CUDA graph
#   copy       device memory, pinned and pageable transfers
#   norm       cuDNN's batch norm (+ add) + ReLU in one kernel against two simple passes
#   conv_sums  a bf16 convolution that also sums its output against a convolution and a separate pass
#   conv_bf16, conv_tf32, conv_f32
#              cuDNN's first plans for each convolution of ResNet-32 (batch 128, 512) and ResNet-50
#              (64, 256), forward, data and weight gradient; the first one also on images padded to 4 and
#              8 channels
#
# in this order, or only what --kinds lists, in its order: all of it may not fit into the time.
#
# Times are medians in µs; graph_us is without the cost of launching. Each line is printed as soon as it is
# measured, and so survives when time runs out. --dry-run builds all graphs for an H200, without a GPU.
#
# Needs nvcc (PATH or /usr/local/cuda), cuDNN 9 (CUDNN_ROOT, beside CUDA, or pip's wheel) and
# cudnn-frontend (CUDNN_FRONTEND_ROOT, the folder FULCRUM_DEBS that scripts/gpu_debs.sh fills, or where
# scripts/setup.sh puts it). Builds in build/gpu_probe.
set -euo pipefail
here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
root=$(cd "$here/../.." && pwd)

die() { echo "gpu_probe: $*" >&2; exit 1; }
first() {  # the first of the paths that exists
  local path
  for path in "$@"; do [ -e "$path" ] && { echo "$path"; return; }; done
  return 1
}

nvcc=$(command -v nvcc || first /usr/local/cuda/bin/nvcc) || die "no nvcc in PATH or /usr/local/cuda/bin"
cuda=$(dirname "$(dirname "$(readlink -f "$nvcc")")")
wheel=$(python3 -c 'import nvidia.cudnn as c; print(list(c.__path__)[0])' 2>/dev/null || true)
include=$(first ${CUDNN_ROOT:+"$CUDNN_ROOT/include/cudnn.h"} "$cuda/include/cudnn.h" "$wheel/include/cudnn.h" \
  /usr/include/cudnn.h /usr/include/x86_64-linux-gnu/cudnn.h) || die "no cudnn.h: set CUDNN_ROOT"
library=$(first ${CUDNN_ROOT:+"$CUDNN_ROOT/lib/libcudnn.so.9" "$CUDNN_ROOT/lib64/libcudnn.so.9"} \
  "$cuda/lib64/libcudnn.so.9" "$wheel/lib/libcudnn.so.9" /usr/lib/x86_64-linux-gnu/libcudnn.so.9) ||
  die "no libcudnn.so.9: set CUDNN_ROOT"

out=$root/build/gpu_probe
mkdir -p "$out"
packed=${FULCRUM_DEBS:+$FULCRUM_DEBS/cudnn-frontend.tar.gz}
[ ! -e "$packed" ] || tar -C "$out" -xzf "$packed"
frontend=$(first ${CUDNN_FRONTEND_ROOT:+"$CUDNN_FRONTEND_ROOT/include/cudnn_frontend.h"} \
  ${packed:+"$out/include/cudnn_frontend.h"} "$root/build/third-party/cudnn-frontend/include/cudnn_frontend.h" \
  /usr/include/cudnn_frontend.h) ||
  die "no cudnn_frontend.h: scripts/setup.sh --deps-only fetches it; CUDNN_FRONTEND_ROOT or FULCRUM_DEBS names it"
flags=(-std=c++20 -O1 -arch="${PROBE_ARCH:-sm_90}" -cudart shared -isystem "$(dirname "$include")"
       -isystem "$(dirname "$frontend")" -DCUDNN_FRONTEND_SKIP_JSON_LIB -DNV_CUDNN_FRONTEND_USE_DYNAMIC_LOADING
       -Xcompiler -Wall,-Wextra)
for source in kernels.cu graphs.cpp probe.cpp; do
  object=$out/$source.o
  if [ -e "$object" ] && [ -z "$(find "$here" -newer "$object" -name '*.[hc]*')" ]; then continue; fi
  "$nvcc" "${flags[@]}" -c "$here/$source" -o "$object"
done
"$nvcc" -arch="${PROBE_ARCH:-sm_90}" -cudart shared "$out"/*.o -o "$out/probe" -ldl \
  -Xlinker -rpath -Xlinker "$cuda/lib64"

if [[ " $* " == *" --dry-run "* ]]; then  # cuDNN still needs a driver; the toolkit's stub suffices
  ln -sf "$cuda/lib64/stubs/libcuda.so" "$out/libcuda.so.1"
  export LD_LIBRARY_PATH=${LD_LIBRARY_PATH:+$LD_LIBRARY_PATH:}$out
fi
exec "$out/probe" --cudnn "$library" "$@"
