#!/usr/bin/env python3
"""Differences of runs to a base, seed by seed: the mean, its standard error, and on how many seeds they are above 0.

    scripts/results/paired.py --metric balanced GRID/lt/risk.lambda=inf GRID/lt/risk.lambda=2 GRID/lt-ball/risk.rho=0.2

Each is a folder of a grid or a sweep that holds seed0, seed1, ...; --part test takes the test set instead of the held-out part.
Needs nothing but Python.
"""
import argparse
import json
import math
import statistics
from pathlib import Path


def results(folder, part, metric):
    """{seed: percent} of the finished runs."""
    found = {}
    for path in folder.glob("seed*/result.json"):
        result = json.loads(path.read_text())
        found[path.parent.name] = 100 * (result["val"] if part == "val" else result)[metric]
    return found


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--metric", default="top1")
    parser.add_argument("--part", default="val", choices=["val", "test"])
    parser.add_argument("base", type=Path)
    parser.add_argument("others", type=Path, nargs="+")
    args = parser.parse_args()
    base = results(args.base, args.part, args.metric)
    print("| | seeds | difference | above 0 |\n|---|---|---|---|")
    for folder in args.others:
        other = results(folder, args.part, args.metric)
        differences = [other[seed] - base[seed] for seed in sorted(base.keys() & other.keys())]
        if len(differences) < 2:
            parser.error(f"{folder}: expected two seeds or more that {args.base} has, too, got {len(differences)}")
        error = statistics.stdev(differences) / math.sqrt(len(differences))
        print(f"| {folder.name} | {len(differences)} | {statistics.mean(differences):.2f} ± {error:.2f} | "
              f"{sum(d > 0 for d in differences)} |")


if __name__ == "__main__":
    main()
