#!/usr/bin/env bash
# The KL ball, untuned, beside a sweep of a fixed λ, on a fifth of the training set that is held out, with its imbalance and
# its wrong labels: long-tailed Fashion-MNIST (balanced accuracy), Fashion-MNIST with wrong labels (top-1), and with a
# step imbalance (balanced accuracy); with a folder of CIFAR-10 also CIFAR-10-LT (balanced accuracy). Three seeds, or as many
# as the variable SEEDS says; the risks begin where the grids of `fulcrum reproduce` begin them. Prints the tables of
# docs/results.md; a run that is finished is not trained again.
#
#   [SEEDS=8] scripts/results/kl_ball_sweep.sh [--only-cifar] [--cifar10 BINARY_FOLDER] [OUTPUT]
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/../.."
cifar= fashion=yes
while [ $# -gt 0 ]; do
  case $1 in
    --cifar10) cifar=${2:?--cifar10: expected a folder}; shift 2 ;;
    --only-cifar) fashion=; shift ;;
    -*) echo "kl_ball_sweep.sh: unknown option $1" >&2; exit 2 ;;
    *) break ;;
  esac
done
[ -n "$fashion$cifar" ] || { echo "kl_ball_sweep.sh: --only-cifar takes --cifar10 FOLDER" >&2; exit 2; }
out=${1:-runs/results/kl-ball}
common=(--seeds "${SEEDS:-3}" --amp bf16 --threads 1 --set data.val_fraction=0.2 --set train.eval_every=100)
lt=(--recipe fashion-mnist-lt --eval-metric balanced --set risk.from_epoch=8)
noise=(--recipe fashion-mnist-noise --set data.n_max=1000 --set risk.from_epoch=6)
step=("${lt[@]}" --imb-type step --imb-factor 0.05 --set data.n_max=1000)

sweep() {  # name, flags
  local name=$1
  shift
  build/fulcrum sweep "${common[@]}" "$@" --output "$out/$name" >/dev/null 2>"$out/$name.log" ||
    { tail -n 3 "$out/$name.log" >&2; return 1; }
}
names=()
mkdir -p "$out"
if [ -n "$fashion" ]; then
  (
    sweep lt "${lt[@]}" --risk kl --grid risk.lambda=1,2,5,10,inf
    sweep lt-ball "${lt[@]}" --risk kl_ball --grid risk.rho=0.1,0.2,0.5
  ) &
  first=$!
  sweep noise "${noise[@]}" --risk kl --grid risk.lambda=-1,-2,-5,-10,inf
  sweep noise-ball "${noise[@]}" --risk kl_ball --set risk.sign=negative --grid risk.rho=0.1,0.2,0.5
  sweep step "${step[@]}" --risk kl --grid risk.lambda=1,2,5,inf
  sweep step-ball "${step[@]}" --risk kl_ball --grid risk.rho=0.1,0.2
  wait $first
  names+=(lt lt-ball noise noise-ball step step-ball)
fi
if [ -n "$cifar" ]; then
  cifar_lt=(--recipe cifar10-lt-ldam --epochs 15 --data-dir "$cifar" --eval-metric balanced
            --set 'schedule.milestones=[12,14]' --set schedule.gamma=0.1 --set schedule.warmup=1 --set risk.from_epoch=12)
  sweep cifar-lt "${cifar_lt[@]}" --risk kl --grid risk.lambda=1,2,5,10,inf
  sweep cifar-lt-ball "${cifar_lt[@]}" --risk kl_ball --grid risk.rho=0.1,0.2
  names+=(cifar-lt cifar-lt-ball)
fi
for name in "${names[@]}"; do
  printf '\n%s\n' "$name"
  grep '^|' "$out/$name/sweep.md"
done
