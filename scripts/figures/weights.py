#!/usr/bin/env python3
"""docs/figures/weights-*.svg, from two runs: what a sample weighs by the size of its class, and by whether its label is right.

    build/fulcrum train --recipe fashion-mnist-lt --model mlp --lr 0.02 --opt absgd --lambda 5 --output runs/lt
    build/fulcrum train --recipe fashion-mnist-noise --model mlp --lr 0.02 --opt absgd --lambda -2 \\
      --set risk.from_epoch=2 --output runs/noise
    scripts/figures/weights.py runs/lt runs/noise docs/figures

A minute on two cores. Reads samples.safetensors and data.json of the runs; needs nothing but Python.
"""

import array
import json
import struct
import sys
from pathlib import Path

INK, GREY, BLUE, ORANGE = "#444", "#8888", "#2f74b5", "#d9762b"
WIDTH, HEIGHT, TOP, BOTTOM = 330, 230, 46, 40


def samples(run):
    """The one-dimensional tensors of samples.safetensors."""
    blob = (Path(run) / "samples.safetensors").read_bytes()
    size = struct.unpack("<Q", blob[:8])[0]
    header = json.loads(blob[8:8 + size])
    kinds = {"F32": "f", "I64": "q"}
    out = {}
    for name, entry in header.items():
        if name != "__metadata__" and entry["dtype"] in kinds and len(entry["shape"]) == 1:
            begin, end = entry["data_offsets"]
            out[name] = array.array(kinds[entry["dtype"]], blob[8 + size + begin:8 + size + end])
    return out


def text(x, y, words, anchor="middle", size=12, fill=INK, more=""):
    return f'<text x="{x:.1f}" y="{y:.1f}" text-anchor="{anchor}" font-size="{size}" fill="{fill}"{more}>{words}</text>'


def axis(top_value, ticks):
    """Horizontal lines with their values."""
    scale = (HEIGHT - TOP - BOTTOM) / top_value
    out = []
    for value in ticks:
        y = HEIGHT - BOTTOM - value * scale
        out.append(f'<path d="M34 {y:.1f}H{WIDTH}" stroke="{GREY}" stroke-width="{1.5 if value == 0 else 0.5}"/>')
        out.append(text(29, y + 4, f"{value:g}", "end", 11))
    return scale, out


def by_class(run):
    data = samples(run)
    counts = json.loads((Path(run) / "data.json").read_text())["train_counts"]
    means = []
    for k in range(len(counts)):
        weights = [w for w, label in zip(data["mean_weight"], data["label"]) if label == k and w == w]  # NaN: not visited
        means.append(sum(weights) / len(weights))
    order = sorted(range(len(counts)), key=lambda k: -counts[k])
    top = max(2, *means) * 1.08
    scale, out = axis(top, [t / 2 for t in range(0, int(top * 2) + 1)])
    step = (WIDTH - 40) / len(counts)
    for i, k in enumerate(order):
        x, h = 38 + i * step, means[k] * scale
        out.append(f'<rect x="{x:.1f}" y="{HEIGHT - BOTTOM - h:.1f}" width="{step - 4:.1f}" height="{h:.1f}" fill="{BLUE}"/>')
        out.append(text(x + step / 2 - 2, HEIGHT - BOTTOM + 14, counts[k], size=9.5))
    out += [text(0, 14, "Rare and hard classes weigh more: λ = 5", "start", 14, more=' font-weight="600"'),
            text(0, 32, "mean weight of a sample, by class", "start"),
            text(WIDTH / 2 + 18, HEIGHT - 6, "training images of the class")]
    return out


def by_label(run):
    data = samples(run)
    bins = 24
    top_weight = 2.4
    shares = {}
    for wrong in (False, True):
        chosen = [w for w, a, b in zip(data["mean_weight"], data["label"], data["clean_label"]) if (a != b) == wrong and w == w]
        counts = [0] * bins
        for w in chosen:
            counts[min(bins - 1, int(w / top_weight * bins))] += 1
        shares[wrong] = [100 * c / len(chosen) for c in counts]
    top = max(*shares[False], *shares[True]) * 1.1
    scale, out = axis(top, range(0, int(top) + 1, 10 if top > 25 else 5))
    step = (WIDTH - 40) / bins
    for wrong, colour in ((True, ORANGE), (False, BLUE)):
        for i, share in enumerate(shares[wrong]):
            h = share * scale
            out.append(f'<rect x="{38 + i * step:.1f}" y="{HEIGHT - BOTTOM - h:.1f}" width="{step - 1:.1f}" '
                       f'height="{h:.1f}" fill="{colour}" fill-opacity="0.75"/>')
    for value in (0, 0.5, 1, 1.5, 2):
        out.append(text(38 + value / top_weight * bins * step, HEIGHT - BOTTOM + 14, f"{value:g}", size=11))
    out += [text(0, 14, "Wrong labels weigh less: λ = −2", "start", 14, more=' font-weight="600"'),
            text(0, 32, f'percent of samples, labels <tspan fill="{ORANGE}" font-weight="600">wrong</tspan> or '
                 f'<tspan fill="{BLUE}" font-weight="600">right</tspan>', "start"),
            text(WIDTH / 2 + 18, HEIGHT - 6, "mean weight of the sample")]
    return out


def write(path, title, drawing):
    width, height = WIDTH + 24, HEIGHT + 24
    lines = [f'<svg xmlns="http://www.w3.org/2000/svg" width="{width}" height="{height}" viewBox="0 0 {width} {height}" '
             'font-family="system-ui, sans-serif" role="img">', f"<title>{title}</title>",
             '<rect width="100%" height="100%" rx="8" fill="#fff"/>', '<g transform="translate(12 12)">', *drawing, "</g>", "</svg>"]
    path.write_text("\n".join(lines) + "\n")


def main():
    if len(sys.argv) != 4:
        sys.exit(__doc__)
    lt, noise, folder = sys.argv[1:]
    write(Path(folder) / "weights-classes.svg", "What a sample weighs, by the size of its class", by_class(lt))
    write(Path(folder) / "weights-labels.svg", "What a sample weighs, by whether its label is right", by_label(noise))


if __name__ == "__main__":
    main()
