#!/usr/bin/env bash
# How the λ of cifar10_lt.sh was chosen: the same 12 + 3 epochs on seed 0 with a fifth of the training
# set held out, one continuation per candidate. The test set plays no part. Prints held-out metrics.
#
#   scripts/results/tune_cifar10_lt.sh CIFAR_BINARY_FOLDER [OUTPUT]
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/../.."
data=${1:?usage: scripts/results/tune_cifar10_lt.sh CIFAR_BINARY_FOLDER [OUTPUT]}
out=${2:-runs/results/tune-cifar10-lt}
mkdir -p "$out"
switch=12 epochs=15
common="--recipe cifar10-lt-ldam --data-dir $data --seed 0 --set schedule.milestones=[12,14]
  --set schedule.gamma=0.1 --set schedule.warmup=1 --set train.eval_every=100 --set data.val_fraction=0.2 --amp bf16"
# shellcheck disable=SC2086
build/fulcrum train $common --threads 1 --epochs $switch --exist-ok --output "$out/base" >/dev/null

drw='--set loss.class_weights=balanced --drw-epoch 12'
absgd='--opt absgd --set risk.from_epoch=12'
candidates="
CE           |
ABSGD-10     | $absgd --lambda 10
ABSGD-5      | $absgd --lambda 5
ABSGD-2      | $absgd --lambda 2
ABSGD-1      | $absgd --lambda 1
CE-DRW       | $drw
CE-DRW-undivided | $drw --set risk.normalize=batch
ABSGD-DRW-20 | $drw $absgd --lambda 20
ABSGD-DRW-10 | $drw $absgd --lambda 10
ABSGD-DRW-5  | $drw $absgd --lambda 5
ABSGD-DRW-2  | $drw $absgd --lambda 2
"
run() {  # "name | flags"
  local name=${1%%|*} flags=${1#*|} json
  name=${name// /}
  rm -rf "${out:?}/$name"
  cp -r "$out/base" "$out/$name"
  # shellcheck disable=SC2086
  json=$(build/fulcrum train --resume "$out/$name" --allow-changes --epochs $epochs --threads 1 $flags \
    2>"$out/$name.log")
  printf '%s | %s\n' "$name" "$(grep -o '"val":{.*}' <<<"$json" | sed 's/^"val"://; s/},"worst_class":[^}]*}$/}/')"
}
export -f run
export out epochs
grep '|' <<<"$candidates" | tr '\n' '\0' | xargs -0 -n 1 -P "$(nproc)" bash -c 'run "$@"' run >"$out/results.txt"
sort -o "$out/results.txt" "$out/results.txt"
scripts/results/mean_sd.py "$out/results.txt" top1 balanced many medium worst_class
