#!/usr/bin/env python3
"""Turns the Python version of CIFAR-10 or CIFAR-100, which torchvision downloads, into the binary version.

    scripts/data/cifar_from_python.py FOLDER OUT

FOLDER is cifar-10-batches-py, cifar-100-python, or the folder that has one of them. Needs NumPy.
"""
import pathlib
import pickle
import sys

import numpy

CIFAR10 = [f"data_batch_{i}" for i in range(1, 6)] + ["test_batch"]
CIFAR100 = ["train", "test"]


class ArraysOnly(pickle.Unpickler):
    """A pickle may name any function to call: these make arrays."""

    ALLOWED = {("numpy.core.multiarray", "_reconstruct"), ("numpy._core.multiarray", "_reconstruct"),
               ("numpy", "ndarray"), ("numpy", "dtype"), ("_codecs", "encode")}

    def find_class(self, module, name):
        if (module, name) not in self.ALLOWED:
            raise pickle.UnpicklingError(f"expected arrays and lists, got {module}.{name}")
        return super().find_class(module, name)


def unpickled(path):
    try:
        with open(path, "rb") as file:
            return ArraysOnly(file, encoding="bytes").load()
    except Exception as error:  # what a damaged pickle raises is anything
        sys.exit(f"{path}: {type(error).__name__}: {error}")


def records(path, keys, classes):
    """Label bytes, one for each key, and planar RGB of every picture."""
    batch = unpickled(path)
    for key in [b"data", *keys]:
        if not isinstance(batch, dict) or key not in batch:
            sys.exit(f"{path}: expected a batch of CIFAR with '{key.decode()}'")
    pixels = numpy.asarray(batch[b"data"], numpy.uint8)
    labels = [numpy.asarray(batch[key]) for key in keys]
    if len(labels[0]) == 0 or pixels.shape != (len(labels[0]), 3072):
        sys.exit(f"{path}: expected {len(labels[0])} rows of 3072 bytes, got {pixels.shape}")
    for values, count in zip(labels, classes):
        if values.min() < 0 or values.max() >= count:
            sys.exit(f"{path}: expected labels in [0, {count}), got {values.min()} to {values.max()}")
    return numpy.column_stack([values.astype(numpy.uint8) for values in labels] + [pixels]).tobytes()


def write_names(path, names):
    path.write_bytes(b"".join(name + b"\n" for name in names))


def main():
    if len(sys.argv) != 3:
        sys.exit(__doc__)
    folder, target = (pathlib.Path(word) for word in sys.argv[1:])
    for source in (folder, folder / "cifar-10-batches-py", folder / "cifar-100-python"):
        if all((source / name).is_file() for name in CIFAR10 + ["batches.meta"]):
            files, keys, classes, meta = CIFAR10, [b"labels"], [10], "batches.meta"
            names = {"batches.meta.txt": b"label_names"}
            break
        if all((source / name).is_file() for name in CIFAR100 + ["meta"]):
            files, keys, classes, meta = CIFAR100, [b"coarse_labels", b"fine_labels"], [20, 100], "meta"
            names = {"coarse_label_names.txt": b"coarse_label_names", "fine_label_names.txt": b"fine_label_names"}
            break
    else:
        sys.exit(f"{folder}: expected {', '.join(CIFAR10)}, batches.meta or {', '.join(CIFAR100)}, meta in it, "
                 "in cifar-10-batches-py or in cifar-100-python")
    target.mkdir(parents=True, exist_ok=True)
    for name in files:
        (target / f"{name}.bin").write_bytes(records(source / name, keys, classes))
    for name, key in names.items():
        write_names(target / name, unpickled(source / meta)[key])


if __name__ == "__main__":
    main()
