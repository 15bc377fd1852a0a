#!/usr/bin/env python3
"""What a checkpoint costs: trains twice as many steps, with and without one every N steps, in turns.

    scripts/results/checkpoint_cost.py FULCRUM [--model resnet32] [--steps 40] [--interval 1] [--turns 3]

Images are random, in CIFAR-10's binary version. Prints the seconds of each run, the median cost of a checkpoint in
milliseconds, its share of a step's time, and from which interval on it is below one per cent of the run.
"""

import argparse
import os
import subprocess
import tempfile
import time
from pathlib import Path
from statistics import median

BATCH = 128


def seconds(program, folder, model, steps, interval):
    start = time.monotonic()
    subprocess.run([program, "train", "--dataset", "cifar10", "--data-dir", folder, "-o", folder / "run", "--exist-ok",
                    "--model", model, "-b", str(BATCH), "--epochs", "1", "--threads", "1", "-j", "1", "--set",
                    f"train.limit_batches={steps}", "--recovery-interval", str(interval)],
                   check=True, capture_output=True)
    return time.monotonic() - start


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("program")
    parser.add_argument("--model", default="resnet32")
    parser.add_argument("--steps", type=int, default=40)
    parser.add_argument("--interval", type=int, default=1)
    parser.add_argument("--turns", type=int, default=3)
    args = parser.parse_args()
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary)
        for name, records in [(f"data_batch_{i}.bin", args.steps * BATCH // 5 + 1) for i in range(1, 6)] + [("test_batch.bin", 8)]:
            (folder / name).write_bytes(b"".join(bytes([i % 10]) + os.urandom(3072) for i in range(records)))
        pairs = []
        for _ in range(args.turns):
            plain = seconds(args.program, folder, args.model, args.steps, 0)
            often = seconds(args.program, folder, args.model, args.steps, args.interval)
            pairs.append((plain, often))
            print(f"without {plain:.2f} s, with {often:.2f} s", flush=True)
        size = (folder / "run/last.safetensors").stat().st_size
    step = median(p for p, _ in pairs) / args.steps
    cost = max(median(o - p for p, o in pairs), 0) / (args.steps // args.interval)
    print(f"{args.model}: {size / 1e6:.1f} MB, {1000 * cost:.1f} ms a checkpoint, {1000 * step:.0f} ms a step; "
          f"below 1 % from an interval of {max(1, int(100 * cost / step) + 1)} steps on")


if __name__ == "__main__":
    main()
