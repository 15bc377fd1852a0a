#!/usr/bin/env python3
"""Draws test accuracy over epochs, one line for each run, as an SVG on standard output.

    scripts/figures/curves.py NAME=RUN NAME=RUN … > curves.svg          # RUN: a run's folder, with its metrics.jsonl
"""

import json
import sys
from pathlib import Path

WIDTH, HEIGHT, LEFT, RIGHT, TOP, BOTTOM = 760, 340, 52, 150, 16, 40
COLOURS = ["#767676", "#0b6bcb", "#c2410c", "#0f7b4d", "#7c3aed", "#b45309"]


def accuracies(run):
    """[(epoch, top-1 in percent)] of the epochs that were evaluated."""
    rows = map(json.loads, (Path(run) / "metrics.jsonl").read_text().splitlines())
    return [(row["epoch"] + 1, 100 * row["test"]["top1"]) for row in rows if "test" in row]


def main():
    runs = [argument.split("=", 1) for argument in sys.argv[1:]]
    if not runs or any(len(run) != 2 for run in runs):
        sys.exit(__doc__)
    curves = {name: accuracies(run) for name, run in runs}
    epochs = max(x for curve in curves.values() for x, _ in curve)
    low = 10 * int(min(y for curve in curves.values() for _, y in curve) // 10)
    high = 10 * (1 + int(max(y for curve in curves.values() for _, y in curve) // 10))

    def place(x, y):
        return (LEFT + (WIDTH - LEFT - RIGHT) * x / epochs, TOP + (HEIGHT - TOP - BOTTOM) * (high - y) / (high - low))

    print(f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {HEIGHT}" font-family="sans-serif" font-size="13">')
    print(f'<rect width="{WIDTH}" height="{HEIGHT}" fill="#fff"/>')
    for y in range(low, high + 1, 10):
        (x0, at), (x1, _) = place(0, y), place(epochs, y)
        print(f'<path d="M{x0} {at:.1f}H{x1}" stroke="#ddd"/><text x="{x0 - 8}" y="{at + 4:.1f}" text-anchor="end">{y}</text>')
    for x in range(0, epochs + 1, max(1, epochs // 5)):
        print(f'<text x="{place(x, low)[0]:.1f}" y="{HEIGHT - BOTTOM + 20}" text-anchor="middle">{x}</text>')
    print(f'<text x="{LEFT}" y="{HEIGHT - 4}">epoch; test top-1 in percent</text>')
    # Names stand where their lines end, but not on each other.
    ends = sorted(curves, key=lambda name: -curves[name][-1][1])
    below = TOP
    for name in ends:
        colour = COLOURS[list(curves).index(name) % len(COLOURS)]
        points = " ".join(f"{x:.1f},{y:.1f}" for x, y in (place(*point) for point in curves[name]))
        print(f'<polyline points="{points}" fill="none" stroke="{colour}" stroke-width="1.5"/>')
        x, y = place(*curves[name][-1])
        below = max(y + 4, below + 16)
        print(f'<text x="{x + 6:.1f}" y="{below:.1f}" fill="{colour}">{name} {curves[name][-1][1]:.1f}</text>')
    print("</svg>")


if __name__ == "__main__":
    main()
