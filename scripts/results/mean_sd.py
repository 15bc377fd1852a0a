#!/usr/bin/env python3
"""Prints mean ± sample standard deviation, in percent, of keys of "name | {json}" lines, by name.

    scripts/results/mean_sd.py results.txt top1 balanced
    scripts/results/mean_sd.py results.txt val.balanced      # of the held-out part
"""
import functools
import json
import statistics
import sys


def cell(values):
    if any(v is None for v in values):
        return "-"
    spread = f" ± {100 * statistics.stdev(values):.1f}" if len(values) > 1 else ""
    return f"{100 * statistics.mean(values):.1f}{spread}"


def main():
    path, keys = sys.argv[1], sys.argv[2:]
    rows = {}
    with open(path, encoding="utf-8") as lines:
        for line in lines:
            name, text = line.split(" | ", 1)
            rows.setdefault(name, []).append(json.loads(text))
    print("| method | runs | " + " | ".join(keys) + " |")
    print("|---" * (len(keys) + 2) + "|")
    for name, results in rows.items():
        cells = [cell([functools.reduce(dict.__getitem__, k.split("."), r) for r in results]) for k in keys]
        print(f"| {name} | {len(results)} | " + " | ".join(cells) + " |")


if __name__ == "__main__":
    main()
