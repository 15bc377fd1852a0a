#!/usr/bin/env bash
# CIFAR-10-LT (exponential, ratio 0.01), ResNet-32, 15 epochs, three seeds: CE and ABSGD, each with and
# without deferred class weights, and what ABSGD with them becomes for λ → ∞ (CE-DRW, not divided by the
# sum of the class weights: steps as short as ABSGD's). Prints the table of docs/results.md: mean ± sd over
# the seeds of the last epoch's top-1 and balanced accuracy on the test set.
#
#   scripts/results/cifar10_lt.sh CIFAR_BINARY_FOLDER [OUTPUT]
#
# The methods differ from epoch 12 on alone, so each seed trains the first 12 epochs once, and
# continuations of a copy of that run; a continuation is bit for bit what one long run would be.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/../.."

# ---- settings; λ was chosen on a held-out part of the training set (tune_cifar10_lt.sh) -------------
seeds=${SEEDS:-0 1 2}
switch=12 epochs=15
common=(--recipe cifar10-lt-ldam --set 'schedule.milestones=[12,14]' --set schedule.gamma=0.1
        --set schedule.warmup=1 --set train.eval_every=3 --amp bf16 --threads 1)
absgd=(--opt absgd --lambda 2 --gamma 0.9 --set risk.from_epoch=$switch)
absgd_drw=(--opt absgd --lambda 20 --gamma 0.9 --set risk.from_epoch=$switch)
deferred=(--set loss.class_weights=balanced --drw-epoch $switch)
# ----------------------------------------------------------------------------------------------------

data=${1:?usage: scripts/results/cifar10_lt.sh CIFAR_BINARY_FOLDER [OUTPUT]}
out=${2:-runs/results/cifar10-lt}
mkdir -p "$out"

fork() {  # name, flags of the continuation
  local name=$1 run="$out/$seed-$1"
  shift
  rm -rf "$run"
  cp -r "$out/$seed-base" "$run"
  json=$(build/fulcrum train --resume "$run" --allow-changes --epochs $epochs "$@")
  printf '%s | %s\n' "$name" "$json" >>"$out/$seed.txt"
}

one_seed() {
  seed=$1
  rm -f "$out/$seed.txt"
  build/fulcrum train "${common[@]}" --data-dir "$data" --seed "$seed" --epochs $switch --exist-ok \
    --output "$out/$seed-base" >"$out/$seed-base.json"
  fork CE
  fork CE-DRW "${deferred[@]}"
  fork CE-DRW-undivided "${deferred[@]}" --set risk.normalize=batch
  fork ABSGD "${absgd[@]}"
  fork ABSGD-DRW "${absgd_drw[@]}" "${deferred[@]}"
}

# One thread a run, and the seeds side by side: faster than one seed after the other on all cores.
for seed in $seeds; do one_seed "$seed" & done
wait
for seed in $seeds; do cat "$out/$seed.txt"; done >"$out/results.txt"
scripts/results/mean_sd.py "$out/results.txt" top1 balanced many medium few worst_class
