#!/usr/bin/env bash
# Measures Fulcrum against PyTorch in each of its modes, libtorch and dlib on the same CPU cores: training steps and
# inference, peak memory, start. Builds what is missing, prints a table, and leaves build/cpu_bench.json and .md.
#
#   scripts/peers/cpu_bench.sh                        all cases, below 25 minutes on two quiet cores
#   scripts/peers/cpu_bench.sh --quick                whether everything works
#   scripts/peers/cpu_bench.sh --cases r32-b128-f32,infer-b1-f32 --cores 0,1 --realtime
#   scripts/peers/cpu_bench.sh --help                 the other options, what is measured and how
#
# PyTorch is that of scripts/peers/setup.sh. The row of dlib needs libdlib-dev and libopenblas-dev, that of libtorch a
# compiler that takes PyTorch's headers; a row that cannot be built is left out with a message.
set -euo pipefail
here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
root=$(cd "$here/../.." && pwd)
bin=$root/build/peers-bin
export PYTHONDONTWRITEBYTECODE=1

say() { printf 'cpu_bench: %s\n' "$*" >&2; }

# Answers --help and --list, and refuses wrong options before anything is built.
for word in "$@"; do
  case $word in -h | --help | --list) exec python3 "$here/cpu_bench.py" "$@" ;; esac
done
python3 "$here/cpu_bench.py" --list "$@" >/dev/null 2>&1 || exec python3 "$here/cpu_bench.py" --list "$@"

python=$("$here/setup.sh")
[ -x "$root/build/fulcrum" ] || "$root/scripts/setup.sh"

build() {  # name, what it depends on, compiler flags
  local name=$1 needs=$2 out=$bin/$1_step log=$bin/$1_step.log
  shift 2
  [ "$out" -nt "$here/$name"_step.cpp ] && [ "$out" -nt "$here/step_server.h" ] && [ "$out" -nt "$needs" ] && return
  say "building $name's program (log: $log)"
  rm -f "$out"
  "${CXX:-c++}" -std=c++20 -O2 -march=native "$here/${name}_step.cpp" -o "$out.part" "$@" >"$log" 2>&1 &&
    mv "$out.part" "$out" || say "left out: $name, as its program does not compile: $(grep -m1 error "$log")"
}

mkdir -p "$bin"
torch=$("$python" -c 'import torch; print(torch.__path__[0])')
build libtorch "$torch/version.py" -isystem "$torch/include" -isystem "$torch/include/torch/csrc/api/include" \
  -L"$torch/lib" -Wl,-rpath,"$torch/lib" -ltorch_cpu -lc10
if printf '#include <dlib/revision.h>\n#include <cblas.h>\nint main() { openblas_get_num_threads(); }\n' |
  "${CXX:-c++}" -x c++ - -o /dev/null -lopenblas 2>/dev/null; then
  # OpenBLAS first: the library of dlib is linked with whatever libblas.so.3 there is.
  build dlib "$here/dlib_step.cpp" -Wl,--no-as-needed -lopenblas -ldlib
else
  rm -f "$bin/dlib_step"
  say "left out: dlib; on Debian: apt install libdlib-dev libopenblas-dev"
fi

exec "$python" "$here/cpu_bench.py" "$@"
