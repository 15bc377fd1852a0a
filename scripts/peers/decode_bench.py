#!/usr/bin/env python3
"""Fulcrum's loader on a folder of JPEGs beside a bare libjpeg loop and PyTorch's DataLoader, interleaved.

All read FOLDER/train with the same number of workers on the same cores.  Fulcrum and PyTorch (ImageFolder with PIL)
also crop after padding, flip, normalise to f32 and make batches; the bare loop (bare_decode.cpp, compiled here) only
reads and decodes.  With --pack Fulcrum's loader on a pack of the same data runs as well.  Every round measures each in
turn; a ratio is the median over rounds of Fulcrum / that row within the round.

With --photos N the folder's images become N photographs first: 500 x 375 pixels of images side by side, quality 95, which are
about 0.6 bytes a pixel as ImageNet's are.  Fulcrum and PyTorch then make random parts of them, resized to --image-size.

    scripts/peers/decode_bench.py FOLDER [--image-size 224] [--pack] [--photos N] [--rounds 5] [--json FILE]

Needs a Python with torch and torchvision (scripts/peers/setup.sh prints one), a C++ compiler and libjpeg-dev.
"""

import argparse
import json
import os
import random
import subprocess
import sys
import tempfile
from pathlib import Path

from cpu_step import machine, report
from turns import HERE, ROOT, Server, take_turns


def fulcrum_flags(args: argparse.Namespace) -> list:
    part = "data.random_resized_crop=true" if args.photos else f"data.pad={args.pad}"
    return [
        "--interleave", "--workers", args.workers, "--batch-size", args.batch_size, "--threads", args.workers,
        "--set", part, "--set", "data.flip=true",
    ]


def make_photos(source: Path, n: int, folder: Path) -> None:
    from PIL import Image

    draw = random.Random(0)
    files = sorted(source.glob("train/*/*"))
    for i in range(n):
        photo = Image.new("RGB", (500, 375))
        width, height = Image.open(files[0]).size
        for y in range(0, photo.height, height):
            for x in range(0, photo.width, width):
                photo.paste(Image.open(draw.choice(files)).convert("RGB"), (x, y))
        for part in ("train", "test") if i < 2 else ("train",):
            path = folder / part / str(i % 2) / f"{i}.jpg"
            path.parent.mkdir(parents=True, exist_ok=True)
            photo.save(path, quality=95)


def contestants(args: argparse.Namespace, scratch: Path) -> list:
    if args.photos:
        make_photos(args.folder, args.photos, scratch / "photos")
        args.folder = scratch / "photos"
    folder = ["--dataset", "folder", "--data-dir", args.folder, "--set", f"data.image_size={args.image_size}"]
    bare = scratch / "bare_decode"
    subprocess.run([os.environ.get("CXX", "c++"), "-O2", "-std=c++20", "-pthread", HERE / "bare_decode.cpp", "-o", bare,
                    "-ljpeg"], check=True)
    rows = [
        Server("fulcrum", [args.fulcrum, "data", "bench", *folder, *fulcrum_flags(args)], args.core_set),
        Server("bare libjpeg", [bare, args.folder / "train", args.workers], args.core_set),
        Server("torch DataLoader", [
            args.python, HERE / "torch_loader.py", args.folder / "train", "--workers", args.workers, "--batch-size",
            args.batch_size, "--pad", args.pad, "--image-size", args.image_size,
            *["--random-resized-crop"] * bool(args.photos),
        ], args.core_set),
    ]
    if args.pack:
        subprocess.run([str(w) for w in [args.fulcrum, "data", "pack", *folder, scratch / "packs"]], check=True,
                       stdout=subprocess.DEVNULL)
        pack = ["--dataset", "pack", "--data-dir", scratch / "packs"]
        rows.append(Server("fulcrum, packed", [args.fulcrum, "data", "bench", *pack, *fulcrum_flags(args)], args.core_set))
    return rows


def parse_args() -> argparse.Namespace:
    p = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    p.add_argument("folder", type=Path, help="with train/CLASS/*.jpg and test/CLASS/*.jpg")
    p.add_argument("--workers", type=int, default=2)
    p.add_argument("--batch-size", type=int, default=128)
    p.add_argument("--pad", type=int, default=4)
    p.add_argument("--image-size", type=int, default=0)
    p.add_argument("--photos", type=int, default=0, metavar="N", help="of this number, made of the folder's images")
    p.add_argument("--pack", action="store_true")
    p.add_argument("--rounds", type=int, default=5)
    p.add_argument("--seconds", type=float, default=4.0, help="of every turn")
    p.add_argument("--fulcrum", type=Path, default=ROOT / "build" / "fulcrum")
    p.add_argument("--python", type=Path, default=Path(sys.executable))
    p.add_argument("--json", type=Path, default=None, help="write all numbers to this file")
    args = p.parse_args()
    if args.photos and not args.image_size:
        args.image_size = 224
    args.core_set = set(sorted(os.sched_getaffinity(0))[: args.workers])
    return args


def main() -> None:
    args = parse_args()
    about = machine()
    with tempfile.TemporaryDirectory() as scratch:
        rows = contestants(args, Path(scratch))
        for row in rows:
            row.run(1.0)  # warm: files are in the page cache, worker processes have started
        results, _ = take_turns(rows, args.rounds, args.seconds)
        for row in rows:
            row.close()
    what = f"{args.photos} photographs" if args.photos else args.folder
    print(f"{what}, {args.workers} workers, batch {args.batch_size}, {about['cpu']}")
    summary = report(results)
    if args.json:
        args.json.write_text(json.dumps({"machine": about, "results": summary}, indent=1) + "\n")


if __name__ == "__main__":
    main()
