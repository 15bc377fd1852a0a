#!/usr/bin/env python3
"""Turns an image folder train/CLASS/*, test/CLASS/* of 32x32 pictures into the CIFAR-10 binary layout.

    python3 scripts/data/cifar10_from_folder.py FOLDER OUT

Writes data_batch_1.bin … data_batch_5.bin, test_batch.bin and batches.meta.txt. Classes are numbered
in alphabetical order, which for CIFAR-10 is the original numbering. Needs Pillow and NumPy.
"""
import pathlib
import sys

import numpy
from PIL import Image


def records(folder, classes):
    """Label byte and planar RGB of every picture, classes interleaved by file name."""
    files = sorted((path.name, label, path) for label, name in enumerate(classes)
                   for path in (folder / name).iterdir())
    for _, label, path in files:
        pixels = numpy.asarray(Image.open(path).convert("RGB"))
        if pixels.shape != (32, 32, 3):
            sys.exit(f"{path}: expected 32x32 pixels, got {pixels.shape}")
        yield bytes([label]) + pixels.transpose(2, 0, 1).tobytes()


def main():
    source, target = (pathlib.Path(a) for a in sys.argv[1:])
    classes = sorted(p.name for p in (source / "train").iterdir())
    target.mkdir(parents=True, exist_ok=True)
    train = list(records(source / "train", classes))
    size = -(-len(train) // 5)
    for i in range(5):
        (target / f"data_batch_{i + 1}.bin").write_bytes(b"".join(train[i * size:(i + 1) * size]))
    (target / "test_batch.bin").write_bytes(b"".join(records(source / "test", classes)))
    (target / "batches.meta.txt").write_text("\n".join(classes) + "\n")


if __name__ == "__main__":
    main()
