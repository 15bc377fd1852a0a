#!/usr/bin/env bash
# Tiny-ImageNet-LT with list files in the format of ImageNet-LT (200 classes of 64x64, ratio 0.01), ResNet-10, 10 epochs:
# cross entropy, ABSGD, LDAM with deferred class weights, and ABSGD with that. Prints the table of docs/results.md: the last
# epoch's accuracy on the test list, in all and of classes with many, a medium number and few training images.
#
#   scripts/results/tiny_imagenet_lt.sh FOLDER [OUTPUT]     FOLDER/TinyImageNet_LT_{train,val}.txt and what they name
#   scripts/results/tiny_imagenet_lt.sh --tune FOLDER       lambda under LDAM-DRW, on a held-out fifth of the training list
#
# From epoch 8 on, when the learning rate falls by 10, lambda and class weights apply; before it, methods with the same
# loss are the same run, made once: a continuation is bit for bit what one long run would be. ABSGD alone has
# recipe tiny-imagenet-lt's lambda = 5, gamma = 0.9, untuned; under LDAM-DRW, whose losses are several times as large, the
# lambda that --tune found best. SEEDS (0 1 2) and THREADS (1) are taken from the environment.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/../.."

usage="usage: scripts/results/tiny_imagenet_lt.sh [--tune] FOLDER [OUTPUT]"
tune=false
if [ "${1:-}" = --tune ]; then tune=true && shift; fi
data=${1:?$usage}
out=${2:-runs/results/tiny-imagenet-lt$($tune && echo -tune || true)}
switch=8 epochs=10 ldam_lambda=100
common=(--recipe tiny-imagenet-lt --dataset imagenet-lt --data-dir "$data" --imb-type none --imb-factor 1
        --set data.train_list="$data/TinyImageNet_LT_train.txt" --set data.test_list="$data/TinyImageNet_LT_val.txt"
        --model resnet10 --set model.stem=imagenet --set loss.class_weights=none --risk mean
        --set "schedule.milestones=[$switch]" --set schedule.warmup=1 --set train.eval_every=5 --amp bf16
        --threads "${THREADS:-1}" -j 1)
drw=(--set loss.class_weights=balanced --drw-epoch $switch)
mkdir -p "$out"

absgd() {  # lambda
  printf '%s\n' --risk kl --lambda "$1" --gamma 0.9 --set risk.from_epoch=$switch
}

start() {  # folder, options: the epochs up to the switch, unless they are there
  [ -e "$out/$1.json" ] && return
  build/fulcrum train "${common[@]}" --epochs $switch --exist-ok --output "$out/$1" "${@:2}" >"$out/$1.part"
  mv "$out/$1.part" "$out/$1.json"
}

finish() {  # name of the method, folder it starts from, folder of its own, options
  rm -rf "${out:?}/$3" && cp -r "$out/$2" "$out/$3"
  printf '%s | %s\n' "$1" \
    "$(build/fulcrum train --resume "$out/$3" --allow-changes --epochs $epochs "${@:4}")" >>"$out/results.txt"
}

rm -f "$out/results.txt"
if $tune; then
  common+=(--set data.val_fraction=0.2)
  start ldam --loss ldam --seed 0
  finish "LDAM-DRW" ldam inf "${drw[@]}"
  for lambda in 100 30 10; do
    mapfile -t risk < <(absgd $lambda)
    finish "lambda = $lambda" ldam $lambda "${drw[@]}" "${risk[@]}"
  done
  scripts/results/mean_sd.py "$out/results.txt" val.balanced val.many val.medium val.few
  exit
fi
for seed in ${SEEDS:-0 1 2}; do
  start "$seed-ce" --seed "$seed"
  start "$seed-ldam" --seed "$seed" --loss ldam
  finish CE "$seed-ce" "$seed-CE"
  mapfile -t risk < <(absgd 5)
  finish ABSGD "$seed-ce" "$seed-ABSGD" "${risk[@]}"
  finish LDAM-DRW "$seed-ldam" "$seed-LDAM-DRW" "${drw[@]}"
  mapfile -t risk < <(absgd $ldam_lambda)
  finish "ABSGD + LDAM-DRW" "$seed-ldam" "$seed-ABSGD-LDAM-DRW" "${drw[@]}" "${risk[@]}"
done
scripts/results/mean_sd.py "$out/results.txt" top1 many medium few worst_class macro_f1
