#!/usr/bin/env python3
"""Two processes of one thread against one process of two threads: images a second, their ratio, and the share of the
all-reduce of gradients that hides behind the backward pass.

    scripts/results/scaling.py                        # ResNet-32, batch 128
    scripts/results/scaling.py --processes 4 --amp bf16 --sync-bn

Rounds in turns; medians over the rounds. The machine should have nothing else to do: processes that wait for each other
take a core each.
"""

import argparse
import json
import statistics
import subprocess
from pathlib import Path


def bench(program, words, processes):
    line = [str(program), "bench", "--no-profile", *words]
    if processes > 1:
        line = ["mpirun", "--quiet", "--allow-run-as-root", "--oversubscribe", "-n", str(processes), *line]
    out = subprocess.run(line, check=True, stdout=subprocess.PIPE, text=True).stdout
    return json.loads(out.splitlines()[-1])


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    root = Path(__file__).resolve().parent.parent.parent
    parser.add_argument("--program", default=root / "build" / "fulcrum", type=Path)
    parser.add_argument("--processes", type=int, default=2)
    parser.add_argument("--model", default="resnet32")
    parser.add_argument("--batch-size", default="128", help="of all processes")
    parser.add_argument("--amp", default="off")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--seconds", default="3")
    parser.add_argument("--sync-bn", action="store_true")
    args = parser.parse_args()
    words = ["--model", args.model, "-b", args.batch_size, "--amp", args.amp, "--seconds", args.seconds]
    one, many, rows = [], [], []
    for _ in range(args.rounds):
        one.append(bench(args.program, [*words, "--threads", str(args.processes)], 1)["images_per_s"])
        rows.append(bench(args.program, [*words, "--threads", "1"] + ["--sync-bn"] * args.sync_bn, args.processes))
        many.append(rows[-1]["images_per_s"])
    median = statistics.median
    print(f"{args.model}, batch {args.batch_size}, amp {args.amp}, {args.rounds} rounds of {args.seconds} s")
    print(f"1 process, {args.processes} threads: {median(one):.0f} images/s")
    print(f"{args.processes} processes, 1 thread each: {median(many):.0f} images/s")
    print(f"ratio (median of the rounds): {median(b / a for a, b in zip(one, many)):.3f}")
    print(f"all-reduce of {rows[0]['gradient_bytes'] / 1e6:.2f} MB: alone {median(r['all_reduce_ms'] for r in rows):.2f} ms, "
          f"exposed {median(r['all_reduce_exposed_ms'] for r in rows):.2f} ms of a step of "
          f"{median(r['step_ms'] for r in rows):.1f} ms; {100 * median(r['all_reduce_overlap'] for r in rows):.0f} % overlaps")


if __name__ == "__main__":
    main()
