#!/usr/bin/env python3
"""What a call from Python costs: microseconds an operation on tensors of one element, beside PyTorch's where it is.

    PYTHONPATH=build/python python3 scripts/results/python_overhead.py [--repeats 5]

The arithmetic of one element is next to nothing, so that this is the way there and back: arguments, GIL, allocation,
tape. Each figure is the median over the repeats of the mean over 20 000 calls, on one thread, in microseconds, with the
smallest in brackets. Measure on a quiet machine.
"""
import argparse
import os
import statistics
import time

os.environ["OMP_NUM_THREADS"] = "1"

import fulcrum
import fulcrum.functional as F

CALLS = 20_000


def microseconds(call, repeats):
    for _ in range(1000):
        call()
    times = []
    for _ in range(repeats):
        start = time.perf_counter()
        for _ in range(CALLS):
            call()
        times.append((time.perf_counter() - start) / CALLS * 1e6)
    return f"{statistics.median(times):6.2f} ({min(times):.2f})"


def fulcrum_calls():
    x, y = fulcrum.ones([1]), fulcrum.ones([1])
    leaf = fulcrum.ones([1]).requires_grad_()
    logits, labels = fulcrum.zeros([1, 2]), fulcrum.zeros([1], dtype="i64")
    risk = fulcrum.KlRisk(lambda_=5)
    return {"x + y": lambda: x + y, "x * 2.0": lambda: x * 2.0, "relu": lambda: F.relu(x),
            "x * y, recorded": lambda: leaf * y, "cross entropy [1, 2]": lambda: F.cross_entropy(logits, labels),
            "shape": lambda: x.shape, "to NumPy": x.numpy, "weights of KlRisk": lambda: risk.weights(x)}


def torch_calls():
    try:
        import torch
    except ImportError:
        return {}
    torch.set_num_threads(1)
    x, y = torch.ones(1), torch.ones(1)
    leaf = torch.ones(1, requires_grad=True)
    logits, labels = torch.zeros(1, 2), torch.zeros(1, dtype=torch.int64)
    cross_entropy = torch.nn.functional.cross_entropy
    return {"x + y": lambda: x + y, "x * 2.0": lambda: x * 2.0, "relu": lambda: torch.relu(x),
            "x * y, recorded": lambda: leaf * y,
            "cross entropy [1, 2]": lambda: cross_entropy(logits, labels, reduction="none"),
            "shape": lambda: x.shape, "to NumPy": x.numpy}


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--repeats", type=int, default=5)
    repeats = parser.parse_args().repeats
    theirs = torch_calls()
    print(f"{'microseconds a call':22} {'fulcrum':>15} {'torch':>15}")
    for name, call in fulcrum_calls().items():
        other = microseconds(theirs[name], repeats) if name in theirs else ""
        print(f"{name:22} {microseconds(call, repeats):>15} {other:>15}")


if __name__ == "__main__":
    main()
