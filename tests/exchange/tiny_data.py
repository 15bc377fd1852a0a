"""The data set of the tests in this folder."""

import struct
from pathlib import Path

import numpy as np


def write_data(folder: Path) -> None:
    """Fashion-MNIST's files: noise, and for each class a square in a place of its own, not always bright enough."""
    folder.mkdir()
    rng = np.random.default_rng(1)
    for prefix, count in (("train", 320), ("t10k", 200)):
        labels = (np.arange(count) % 10).astype(np.uint8)
        images = rng.integers(0, 120, (count, 28, 28))
        for image, label in zip(images, labels):
            x, y = label % 5 * 5 + 1, label // 5 * 12 + 4
            image[y : y + 8, x : x + 5] += rng.integers(40, 130)
        with open(folder / f"{prefix}-images-idx3-ubyte", "wb") as file:
            file.write(struct.pack(">4I", 0x803, count, 28, 28) + images.astype(np.uint8).tobytes())
        with open(folder / f"{prefix}-labels-idx1-ubyte", "wb") as file:
            file.write(struct.pack(">2I", 0x801, count) + labels.tobytes())
