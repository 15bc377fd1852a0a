#!/usr/bin/env python3
"""Writes (or, with --check, recomputes and compares) the golden data of the C++ tests.

Truth comes from PyTorch in float64.  Inputs are not stored: both languages fill them from the same Philox streams
(philox.py) with values that float32 represents exactly, so one file checks a float64 path tightly and a float32 path
with its own tolerance.  Every tensor here is in PyTorch's layout order (NCHW, OIHW) and, unless its file is a
model's, f64; the C++ tests permute.

    resnet*, resnext*, sce_cnn.safetensors      networks.py
    ops.safetensors                             ops.py
    optim.safetensors                           traces.py
    metrics.safetensors                         metrics.py (scikit-learn)
    torch_model.safetensors                     model_file.py

Each file's `__metadata__` has one key, "golden", a JSON object with all that is needed to rebuild the inputs.

    python make_golden.py [--check] [file ...]      needs what scripts/peers/setup.sh installs
"""

import argparse
import json
import sys
from pathlib import Path

import numpy as np
import torch
from safetensors import safe_open
from safetensors.numpy import save_file
from safetensors.torch import save_file as save_torch_file

sys.dont_write_bytecode = True
import metrics  # noqa: E402
import model_file  # noqa: E402
import networks  # noqa: E402
import ops  # noqa: E402
import philox  # noqa: E402
import traces  # noqa: E402

HERE = Path(__file__).resolve().parent
# lr: longer steps are chaotic in float32 where a network is deep.
FILES = {
    "resnet32": lambda: networks.network("resnet32", 3, 32),
    "resnet8": lambda: networks.network("resnet8", 1, 28),
    "resnet18": lambda: networks.network("resnet18", 3, 64, batch=2),
    "resnet18_cifar": lambda: networks.network("resnet18", 3, 32, stem="cifar"),
    "resnet34": lambda: networks.network("resnet34", 3, 64, batch=2, lr=3e-5),
    "resnet50": lambda: networks.network("resnet50", 3, 64, batch=2),
    "resnet101": lambda: networks.network("resnet101", 3, 64, batch=2, lr=5e-6),
    "resnet152": lambda: networks.network("resnet152", 3, 64, batch=2, lr=5e-6),
    "resnext50_32x4d": lambda: networks.network("resnext50_32x4d", 3, 64, batch=2),
    "sce_cnn": lambda: networks.network("sce_cnn", 3, 32, batch=8),
    "ops": ops.ops,
    "optim": traces.optim,
    "metrics": metrics.metrics,
    "torch_model": model_file.model_file,
}
# Summation orders differ between CPUs and thread counts; ten training steps of a network amplify that a little.
TOLERANCE = 1e-8
MAX_BYTES = 700_000


def write(path: Path, tensors: dict, about: dict) -> None:
    metadata = {"golden": json.dumps(about, separators=(",", ":"))}
    if all(isinstance(t, torch.Tensor) for t in tensors.values()):
        save_torch_file(tensors, path, metadata=metadata)  # a state dict, as it is
    else:
        save_file({name: np.array(t, dtype=np.float64, order="C") for name, t in tensors.items()}, path, metadata)


def differences(path: Path, tensors: dict, about: dict) -> list[str]:
    if not path.exists():
        return [f"{path.name}: missing"]
    found = []
    with safe_open(path, "numpy") as file:
        if json.loads(file.metadata()["golden"]) != json.loads(json.dumps(about)):
            found.append(f"{path.name}: metadata differs")
        names = set(file.keys())
        found += [f"{path.name}: {name} is only on one side" for name in sorted(names ^ set(tensors))]
        for name in sorted(names & set(tensors)):
            stored, fresh = file.get_tensor(name), np.asarray(tensors[name])
            if stored.shape != fresh.shape or not np.allclose(
                stored, fresh, rtol=TOLERANCE, atol=TOLERANCE * np.abs(np.nan_to_num(fresh)).max(initial=0), equal_nan=True
            ):
                found.append(f"{path.name}: {name} differs")
    return found


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--check", action="store_true", help="compare with the committed files, write nothing")
    parser.add_argument("files", nargs="*", help=f"of {', '.join(FILES)}; default: all")
    args = parser.parse_args()
    for name in args.files:
        if name not in FILES:
            parser.error(f"unknown file {name}, expected one of {', '.join(FILES)}")
    torch.set_default_device("cpu")
    philox.check_known_answers()
    found = []
    for name in args.files or FILES:
        path = HERE / f"{name}.safetensors"
        tensors, about = FILES[name]()
        if args.check:
            found += differences(path, tensors, about)
        else:
            write(path, tensors, about)
            print(f"{path.name}: {len(tensors)} tensors, {path.stat().st_size} bytes")
    total = sum((HERE / f"{name}.safetensors").stat().st_size for name in FILES)
    if total > MAX_BYTES:
        found.append(f"the golden files hold {total} bytes, more than {MAX_BYTES}")
    print("\n".join(found) if found else f"{'same as committed, ' if args.check else ''}{total} bytes in all")
    return 1 if found else 0


if __name__ == "__main__":
    sys.exit(main())
