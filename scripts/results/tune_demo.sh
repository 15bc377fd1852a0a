#!/usr/bin/env bash
# How the demo's λ and switching epochs were chosen: every candidate on two seeds, judged on a fifth
# of the training set that is held out (with its wrong labels, where labels are wrong). The test set
# plays no part. Prints mean ± sd of the held-out metrics.
#
#   scripts/results/tune_demo.sh [OUTPUT]
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/../.."
out=${1:-runs/results/tune-demo}
mkdir -p "$out"

lt='--recipe fashion-mnist-lt --epochs 8 --set data.n_max=3000'
noise='--recipe fashion-mnist-noise --epochs 8 --set data.n_max=1000'
drw='--set loss.class_weights=balanced --drw-epoch 6'
candidates="
lt-sgd                  | $lt
lt-absgd-2-from0        | $lt --opt absgd --lambda 2
lt-absgd-5-from6        | $lt --opt absgd --lambda 5 --set risk.from_epoch=6
lt-absgd-2-from6        | $lt --opt absgd --lambda 2 --set risk.from_epoch=6
lt-absgd-1-from6        | $lt --opt absgd --lambda 1 --set risk.from_epoch=6
lt-absgd-0.5-from6      | $lt --opt absgd --lambda 0.5 --set risk.from_epoch=6
lt-absgd-1-from4        | $lt --opt absgd --lambda 1 --set risk.from_epoch=4
drw-sgd                 | $lt $drw
drw-absgd-10-from6      | $lt $drw --opt absgd --lambda 10 --set risk.from_epoch=6
drw-absgd-5-from6       | $lt $drw --opt absgd --lambda 5 --set risk.from_epoch=6
drw-absgd-20-from6      | $lt $drw --opt absgd --lambda 20 --set risk.from_epoch=6
drw-absgd-50-from6      | $lt $drw --opt absgd --lambda 50 --set risk.from_epoch=6
noise-sgd               | $noise
noise-absgd-m3-from0    | $noise --opt absgd --lambda -3
noise-absgd-m1-from2    | $noise --opt absgd --lambda -1 --set risk.from_epoch=2
noise-absgd-m2-from2    | $noise --opt absgd --lambda -2 --set risk.from_epoch=2
"
run() {  # seed, "name | flags"
  local seed=$1 name=${2%%|*} flags=${2#*|} json
  name=${name// /}
  # shellcheck disable=SC2086
  json=$(build/fulcrum train $flags --seed "$seed" --threads 1 --set data.val_fraction=0.2 \
    --set train.eval_every=100 --exist-ok --output "$out/$name-$seed" 2>"$out/$name-$seed.log")
  printf '%s | %s\n' "$name" "$(grep -o '"val":{.*}' <<<"$json" | sed 's/^"val"://; s/},"worst_class":[^}]*}$/}/')"
}
export -f run
export out
grep '|' <<<"$candidates" | while read -r line; do for seed in 0 1; do printf '%s\0%s\0' $seed "$line"; done; done |
  xargs -0 -n 2 -P "$(nproc)" bash -c 'run "$@"' run >"$out/results.txt"
sort -o "$out/results.txt" "$out/results.txt"
scripts/results/mean_sd.py "$out/results.txt" top1 balanced many medium worst_class
