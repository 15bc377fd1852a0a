#!/usr/bin/env python3
"""Times of single operations on the CPU beside PyTorch's, forward and with the gradient, in turns in one process.

    PYTHONPATH=build/python python3 scripts/results/op_times.py [--rounds 9] [--threads 1]

For a Python that has PyTorch. Prints a table for docs/performance.md: milliseconds, the medians over the rounds, and the
median of the rounds' ratios. Measure on a quiet machine.
"""
import argparse
import os
import statistics
import sys
import time

parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
parser.add_argument("--rounds", type=int, default=9)
parser.add_argument("--threads", type=int, default=1)
args = parser.parse_args()
os.environ["OMP_NUM_THREADS"] = str(args.threads)  # before either library starts

import numpy as np  # noqa: E402
import torch  # noqa: E402

import fulcrum  # noqa: E402
import fulcrum.functional as F  # noqa: E402

torch.set_num_threads(args.threads)
T = torch.nn.functional
IMAGES, ROWS, FLAT = (64, 32, 32, 32), (512, 1000), (1 << 21,)

# Name, sizes of the inputs, Fulcrum's, PyTorch's.
CASES = [
    ("sum of all", [IMAGES], lambda x: F.sum(x), lambda x: x.sum()),
    ("sum over the last dimension", [IMAGES], lambda x: F.sum(x, [3]), lambda x: x.sum(3)),
    ("sum over the middle", [IMAGES], lambda x: F.sum(x, [1, 2]), lambda x: x.sum((1, 2))),
    ("sum over the first and third", [IMAGES], lambda x: F.sum(x, [0, 2]), lambda x: x.sum((0, 2))),
    ("maximum over the last dimension", [IMAGES], lambda x: F.amax(x, [3]), lambda x: x.amax(3)),
    ("exp", [FLAT], F.exp, torch.exp),
    ("tanh", [FLAT], F.tanh, torch.tanh),
    ("sigmoid", [FLAT], F.sigmoid, torch.sigmoid),
    ("softplus", [FLAT], F.softplus, T.softplus),
    ("gelu", [FLAT], F.gelu, T.gelu),
    ("softmax [512, 1000]", [ROWS], F.softmax, lambda x: T.softmax(x, -1)),
    ("log_softmax [512, 1000]", [ROWS], F.log_softmax, lambda x: T.log_softmax(x, -1)),
    ("32 products [50, 64] × [64, 50]", [(32, 50, 64), (32, 64, 50)], lambda a, b: a @ b, lambda a, b: a @ b),
]


def forward(op, inputs):
    op(*inputs)


def with_gradient(op, inputs, seed):
    op(*inputs).backward(seed)
    for x in inputs:
        x.grad = None


def milliseconds(call):
    start = time.perf_counter()
    call()
    return (time.perf_counter() - start) * 1e3


def compare(ours, theirs):
    ours(), theirs()
    times = [(milliseconds(ours), milliseconds(theirs)) for _ in range(args.rounds)]
    mine, other = (statistics.median(column) for column in zip(*times))
    return f"{mine:.2f} | {other:.2f} | {statistics.median(a / b for a, b in times):.2f}"


def main():
    print(f"# {args.threads} threads, PyTorch {torch.__version__}, medians of {args.rounds}", file=sys.stderr)
    print("| | Fulcrum | PyTorch | ratio | with gradient | PyTorch | ratio |\n|---|---|---|---|---|---|---|")
    draw = np.random.default_rng(0)
    for name, sizes, ours, theirs in CASES:
        arrays = [draw.standard_normal(size).astype("f") for size in sizes]
        a, b = [fulcrum.tensor(x) for x in arrays], [torch.tensor(x) for x in arrays]
        plain = compare(lambda: forward(ours, a), lambda: forward(theirs, b))
        for x in a + b:
            x.requires_grad_()
        seed = draw.standard_normal(theirs(*b).shape).astype("f")
        seeds = fulcrum.tensor(seed), torch.tensor(seed)
        print(f"| {name} | {plain} | " + compare(lambda: with_gradient(ours, a, seeds[0]),
                                                 lambda: with_gradient(theirs, b, seeds[1])) + " |")


if __name__ == "__main__":
    main()
