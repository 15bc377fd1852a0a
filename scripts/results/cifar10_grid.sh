#!/usr/bin/env bash
# The whole comparison on CIFAR-10: every method of the grids, long-tailed and step imbalance at ratio 0.1 and 0.01, 40 %
# wrong labels, symmetric and asymmetric; three seeds, full schedules. Stopped or killed, the same command goes on. What it
# costs: --dry-run. A table and a report in OUTPUT/cifar10-lt, cifar10-st and cifar10-noise.
#
#   scripts/results/cifar10_grid.sh CIFAR_BINARY_FOLDER OUTPUT [options of fulcrum reproduce]
#   scripts/results/cifar10_grid.sh /data/cifar10 runs/cifar10 --device cuda --amp bf16
#   scripts/results/cifar10_grid.sh /data/cifar10 runs/smoke --smoke
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/../.."
usage='usage: scripts/results/cifar10_grid.sh CIFAR_BINARY_FOLDER OUTPUT [options of fulcrum reproduce]'
data=${1:?$usage} output=${2:?$usage}
shift 2
grid() {  # name, variants, options
  build/fulcrum reproduce "$1" --ratios "$2" --data-dir "$data" --output "$output/$1" "${@:3}"
}
grid cifar10-lt 0.1,0.01 "$@"
grid cifar10-st 0.1,0.01 "$@"
grid cifar10-noise sym-0.4,asym-0.4 "$@"
