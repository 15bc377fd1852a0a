#!/usr/bin/env bash
# Tiny-ImageNet-LT with list files in the format of ImageNet-LT (200 classes of 64x64, ratio 0.01), ResNet-10, 10 epochs:
# cross entropy, ABSGD, and ABSGD with LDAM and deferred class weights. Prints the table of docs/results.md: the last
# epoch's accuracy on the test list, in all and of classes with many, a medium number and few training images.
#
#   scripts/results/tiny_imagenet_lt.sh FOLDER [OUTPUT]     FOLDER/TinyImageNet_LT_{train,val}.txt and what they name
#
# lambda = 5, gamma = 0.9 as in recipe tiny-imagenet-lt, untuned; from epoch 8 on, when the learning rate falls by 10.
# CE and ABSGD share their first 8 epochs: a continuation is bit for bit what one long run would be.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/../.."

data=${1:?usage: scripts/results/tiny_imagenet_lt.sh FOLDER [OUTPUT]}
out=${2:-runs/results/tiny-imagenet-lt}
switch=8 epochs=10
common=(--recipe tiny-imagenet-lt --dataset imagenet-lt --data-dir "$data" --imb-type none --imb-factor 1
        --set data.train_list="$data/TinyImageNet_LT_train.txt" --set data.test_list="$data/TinyImageNet_LT_val.txt"
        --model resnet10 --set model.stem=imagenet --set loss.class_weights=none --risk mean
        --set "schedule.milestones=[$switch]" --set schedule.warmup=1 --set train.eval_every=5 --amp bf16
        --threads "${THREADS:-1}" -j 1)
absgd=(--risk kl --lambda 5 --gamma 0.9 --set risk.from_epoch=$switch)
mkdir -p "$out"

run() {  # name, options
  local name=$1
  shift
  printf '%s | %s\n' "$name" "$(build/fulcrum train "$@")" >>"$out/results.txt"
}

rm -f "$out/results.txt"
for seed in ${SEEDS:-0 1 2}; do
  base=$out/$seed-base
  build/fulcrum train "${common[@]}" --seed "$seed" --epochs $switch --exist-ok --output "$base" >"$base.json"
  for name in CE ABSGD; do rm -rf "$out/$seed-$name" && cp -r "$base" "$out/$seed-$name"; done
  run CE --resume "$out/$seed-CE" --allow-changes --epochs $epochs
  run ABSGD --resume "$out/$seed-ABSGD" --allow-changes --epochs $epochs "${absgd[@]}"
  run "ABSGD + LDAM-DRW" "${common[@]}" --seed "$seed" --epochs $epochs --exist-ok --output "$out/$seed-ldam" \
    "${absgd[@]}" --loss ldam --set loss.class_weights=balanced --drw-epoch $switch
done
scripts/results/mean_sd.py "$out/results.txt" top1 many medium few worst_class macro_f1
