#!/usr/bin/env python3
"""docs/figures/lambda-*.svg, of the sweeps of the KL ball's page: accuracy on the held-out part over λ, and that of the ball,
which chooses λ by itself.

    scripts/results/kl_ball_sweep.sh runs/results/kl-ball
    scripts/figures/lambda.py runs/results/kl-ball docs/figures

Reads sweep.json; needs nothing but Python.
"""

import json
import sys
from pathlib import Path

from weights import BLUE, BOTTOM, GREY, HEIGHT, INK, ORANGE, TOP, WIDTH, text, write

DEFAULT_RHO = "0.2"


def accuracies(sweep, key):
    """{value of the key: (mean, sd)} in percent."""
    points = json.loads((sweep / "sweep.json").read_text())["points"]
    return {p["settings"][key]: (100 * p["val"]["mean"], 100 * p["val"]["sd"]) for p in points}


def drawing(folder, name, title, measure):
    fixed = accuracies(folder / name, "risk.lambda")
    ball = accuracies(folder / f"{name}-ball", "risk.rho")[DEFAULT_RHO]
    order = sorted(fixed, key=lambda value: abs(float(value)))  # infinity is last
    every = [*fixed.values(), ball]
    low = int(min(mean - sd for mean, sd in every)) - 1
    high = int(max(mean + sd for mean, sd in every)) + 2
    tick = 5 if high - low > 14 else 2
    low -= low % tick
    scale = (HEIGHT - TOP - BOTTOM) / (high - low)
    step = (WIDTH - 40) / len(order)

    def y(value):
        return HEIGHT - BOTTOM - (value - low) * scale

    def x(i):
        return 38 + (i + 0.5) * step

    out = []
    for value in range(low, high + 1, tick):
        out.append(f'<path d="M34 {y(value):.1f}H{WIDTH}" stroke="{GREY}" stroke-width="0.5"/>')
        out.append(text(29, y(value) + 4, f"{value:g}", "end", 11))
    mean, sd = ball
    out.append(f'<rect x="34" y="{y(mean + sd):.1f}" width="{WIDTH - 34}" height="{2 * sd * scale:.1f}" fill="{ORANGE}" '
               'fill-opacity="0.15"/>')
    out.append(f'<path d="M34 {y(mean):.1f}H{WIDTH}" stroke="{ORANGE}" stroke-width="2" stroke-dasharray="6 4"/>')
    path = " ".join(f"{'ML'[i > 0]}{x(i):.1f} {y(fixed[value][0]):.1f}" for i, value in enumerate(order))
    out.append(f'<path d="{path}" stroke="{BLUE}" stroke-width="2" fill="none"/>')
    for i, value in enumerate(order):
        mean, sd = fixed[value]
        out.append(f'<path d="M{x(i):.1f} {y(mean - sd):.1f}V{y(mean + sd):.1f}" stroke="{BLUE}" stroke-width="1.5"/>')
        out.append(f'<circle cx="{x(i):.1f}" cy="{y(mean):.1f}" r="4" fill="{BLUE}"/>')
        words = "∞ (SGD)" if "inf" in value else value.replace("-", "−")
        out.append(text(x(i), HEIGHT - BOTTOM + 14, words, size=11))
    return [*out, text(0, 14, title, "start", 14, more=' font-weight="600"'),
            text(0, 32, f'{measure}, percent: <tspan fill="{BLUE}" font-weight="600">fixed λ</tspan>, '
                 f'<tspan fill="{ORANGE}" font-weight="600">KL ball</tspan>', "start", fill=INK),
            text(WIDTH / 2 + 18, HEIGHT - 6, "λ")]


def main():
    if len(sys.argv) != 3:
        sys.exit(__doc__)
    sweeps, figures = map(Path, sys.argv[1:])
    write(figures / "lambda-imbalance.svg", "Accuracy over λ on a long tail",
          drawing(sweeps, "lt", "Long tail", "balanced accuracy"))
    write(figures / "lambda-noise.svg", "Accuracy over λ under wrong labels",
          drawing(sweeps, "noise", "40 % wrong labels", "top-1 on noisy labels"))


if __name__ == "__main__":
    main()
