#!/usr/bin/env python3
"""Writes a data set of CIFAR-10's size and layout that was never photographed: a smooth pattern for each class,
moved about, under noise. For timing and trying out where there is no CIFAR-10; no accuracy on it means anything.

    scripts/data/like_cifar10.py OUT [--images 50000] [--seed 0]

Needs NumPy.
"""
import argparse
import pathlib

import numpy


def pictures(generator, patterns, labels):
    """[N, 3, 32, 32] u8: the label's pattern, rolled by up to 4 pixels each way, and noise."""
    images = numpy.empty((len(labels), 3, 32, 32), numpy.uint8)
    for i, label in enumerate(labels):
        pattern = numpy.roll(patterns[label], generator.integers(-4, 5, 2), (1, 2))
        noise = generator.normal(0, 40, pattern.shape)
        images[i] = numpy.clip(pattern + noise, 0, 255)
    return images


def write(path, images, labels):
    records = numpy.concatenate([labels.astype(numpy.uint8)[:, None], images.reshape(len(labels), -1)], 1)
    path.write_bytes(records.tobytes())


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("out", type=pathlib.Path)
    parser.add_argument("--images", type=int, default=50000, help="for training; a fifth of it for the test")
    parser.add_argument("--seed", type=int, default=0)
    args = parser.parse_args()
    generator = numpy.random.default_rng(args.seed)
    patterns = numpy.kron(generator.uniform(70, 186, (10, 3, 8, 8)), numpy.ones((1, 1, 4, 4)))
    args.out.mkdir(parents=True, exist_ok=True)
    count = args.images // 5
    for name in [*(f"data_batch_{i}" for i in range(1, 6)), "test_batch"]:
        labels = generator.permutation(numpy.arange(count) % 10)
        write(args.out / f"{name}.bin", pictures(generator, patterns, labels), labels)
    names = "".join(f"pattern {i}\n" for i in range(10))
    (args.out / "batches.meta.txt").write_text(names)


if __name__ == "__main__":
    main()
