#!/usr/bin/env bash
# Builds, then trains six small networks on Fashion-MNIST and prints two tables: a long tail and wrong
# labels, each with plain SGD and with ABSGD. A few minutes on two cores.
#
# Everything else about the runs is in apps/recipes/fashion-mnist-lt.toml and fashion-mnist-noise.toml. λ and
# the epochs were chosen on held-out training images by scripts/results/tune_demo.sh, never on the test set.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

# ---- settings --------------------------------------------------------------------------------------
seed=0
lt=(--recipe fashion-mnist-lt --epochs 8 --set data.n_max=3000 --set train.eval_every=2)
lt_absgd=(--opt absgd --lambda 5 --set risk.from_epoch=6)
lt_deferred=(--set loss.class_weights=balanced --drw-epoch 6)
lt_absgd_deferred=(--opt absgd --lambda 10 --set risk.from_epoch=6)
noise=(--recipe fashion-mnist-noise --epochs 8 --set data.n_max=1000 --set train.eval_every=2)
noise_absgd=(--opt absgd --lambda -3)
# ----------------------------------------------------------------------------------------------------

runs=build/demo
if [ $# -gt 0 ]; then
  sed -n '2,/^set -/s/^# \{0,1\}//p' "${BASH_SOURCE[0]}"
  [ "$1" = --help ] || exit 2
  exit
fi
scripts/setup.sh --program

data=${FULCRUM_DATA_DIR:-/usr/share/datasets/fashion-mnist}
if [ ! -d "$data" ]; then
  echo "demo: no Fashion-MNIST in $data; install the package dataset-fashion-mnist, or set" \
       "FULCRUM_DATA_DIR to a folder with its four files" >&2
  exit 1
fi

mkdir -p "$runs"
results=$runs/results.txt  # name | JSON line of the run
: >"$results"
number=0
train() {  # name, directory, flags
  local name=$1 directory=$2 json
  shift 2
  number=$((number + 1))
  printf '\ndemo: run %d of 6: %s\n' $number "$name" >&2
  json=$(build/fulcrum train "$@" --seed $seed --exist-ok --output "$runs/$directory")
  printf '%s | %s\n' "$name" "$json" >>"$results"
}

start=$SECONDS
train 'long tail: SGD'              lt-sgd            "${lt[@]}"
train 'long tail: ABSGD'            lt-absgd          "${lt[@]}" "${lt_absgd[@]}"
train 'long tail: SGD + deferred'   lt-sgd-deferred   "${lt[@]}" "${lt_deferred[@]}"
train 'long tail: ABSGD + deferred' lt-absgd-deferred "${lt[@]}" "${lt_absgd_deferred[@]}" "${lt_deferred[@]}"
train 'wrong labels: SGD'           noise-sgd         "${noise[@]}"
train 'wrong labels: ABSGD'         noise-absgd       "${noise[@]}" "${noise_absgd[@]}"
seconds=$((SECONDS - start))

# A run's line holds flat numbers and inner objects: "best" and, with a held-out part, "val".
awk -F ' [|] ' -v lt="λ = 5, with class weights 10, from epoch 7 on" -v noise="${noise_absgd[*]}" '
function number(text, key,   found) {  # NaN is null in JSON
  found = match(text, "[{,]\"" key "\":[^,}]*")
  return found ? substr(text, RSTART + length(key) + 4, RLENGTH - length(key) - 4) : "null"
}
function percent(text, key,   value) {
  value = number(text, key)
  return value == "null" ? "-" : sprintf("%.2f", 100 * value)
}
function row(name, when, text) {
  printf "%-18s %-10s %7s %9s %7s %7s %7s %7s\n", name, when, percent(text, "top1"),
         percent(text, "balanced"), percent(text, "many"), percent(text, "medium"),
         percent(text, "few"), percent(text, "worst_class")
}
function heading(title) {
  printf "\n%s\n%-18s %-10s %7s %9s %7s %7s %7s %7s\n", title, "", "epoch", "top-1", "balanced", "many",
         "medium", "few", "worst"
}
# The difference of two accuracies in points, with its standard error on the 10,000 test images.
function against(a, b,   error) {
  error = sqrt((a * (1 - a) + b * (1 - b)) / 10000)
  return sprintf("%+.2f (standard error %.2f)", 100 * (a - b), 100 * error)
}
{
  split($1, part, ": ")
  table = part[1]; name = part[2]
  best = $2; sub(/.*"best":[{]/, "{", best); sub(/}.*/, "}", best)
  last = $2; gsub(/"[a-z]+":[{][^}]*},?/, "", last)
  if (table != shown) {
    if (table == "long tail") heading("Long tail: exponential, smallest class 1 % of the largest; ABSGD " lt)
    else heading("Wrong labels: 40 % symmetric; ABSGD " noise)
    shown = table
  }
  epochs = number(last, "epochs")
  row(name, "last (" epochs ")", last)
  row("", "best (" number(best, "epoch") + 1 ")", best)
  balanced[table, name] = number(last, "balanced"); top[table, name] = number(last, "top1")
  best_top[table, name] = number(best, "top1")
}
END {
  t = "long tail"
  printf "\nRead (last epoch, one seed; another seed moves the numbers, too):\n"
  printf "  long tail, balanced: ABSGD minus SGD %s, both with deferred class weights %s.\n",
         against(balanced[t, "ABSGD"], balanced[t, "SGD"]),
         against(balanced[t, "ABSGD + deferred"], balanced[t, "SGD + deferred"])
  t = "wrong labels"
  printf "  wrong labels, top-1: ABSGD minus SGD %s; from best to last epoch SGD lost %.2f, ABSGD %.2f.\n",
         against(top[t, "ABSGD"], top[t, "SGD"]), 100 * (best_top[t, "SGD"] - top[t, "SGD"]),
         100 * (best_top[t, "ABSGD"] - top[t, "ABSGD"])
}' "$results"
cat <<END
Test accuracies in %. many, medium, few: mean recall of classes with more than 100, 20 to 100, fewer
than 20 training images. "best" is the epoch with the highest top-1 on the test set: it flatters.
Training took $((seconds / 60)):$(printf %02d $((seconds % 60))); the runs are in $runs/.
END
