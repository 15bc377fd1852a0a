#!/usr/bin/env python3
"""Fulcrum's training step beside PyTorch's on the same CPU cores, in one interleaved run.

Every round measures each contestant in turn for `--seconds`, in alternating order, so that a slow minute of the
machine hits all of them.  All are servers (`--interleave`), warm, and idle between their turns; PyTorch's malloc is
told to keep its pages, without which its step may be several times slower.  A row's ratio is the median over rounds of
Fulcrum / that row within the round.

    scripts/peers/cpu_step.py                              ResNet-32, batch 128, 2 threads, f32
    scripts/peers/cpu_step.py --amp bf16                   CPU autocast against Fulcrum's bf16
    scripts/peers/cpu_step.py --all --json build/cpu_step.json

Needs a Python with torch: scripts/peers/setup.sh prints one; it may differ from the one that runs this script.
"""

import argparse
import json
import os
import sys
from pathlib import Path

from contestants import CHANNELS_LAST, Work, fulcrum_server, machine, torch_server
from turns import KEEP_PAGES, ROOT, ratio, spread, take_turns


def contestants(args: argparse.Namespace) -> list:
    """Started one after the other, so that warm-ups do not disturb each other."""
    work = Work(args.model, args.batch_size, args.image_size, amp=args.amp, optimizer=args.optimizer)
    rows = []
    if not args.torch_only:
        if not args.fulcrum.exists():
            raise SystemExit(f"{args.fulcrum} does not exist: build it (scripts/setup.sh) or pass --torch-only")
        rows.append(fulcrum_server(args.fulcrum, work, args.threads, args.fulcrum_args, cores=args.core_set))

    def torch(name: str, options: list, env: dict = KEEP_PAGES) -> None:
        rows.append(torch_server(name, args.python, work, args.threads, options, args.warmup, cores=args.core_set, env=env))

    torch("torch channels_last", CHANNELS_LAST)
    torch("torch nchw", ["--layout", "nchw"])
    if args.all:
        torch("torch channels_last, default malloc", CHANNELS_LAST, {})
        torch("torch channels_last, compile", [*CHANNELS_LAST, "--compile"])
    return rows


def report(results: dict) -> dict:
    summary = {}
    print(f"\n{'':36} {'median':>8} {'min':>8} {'max':>8} {'fulcrum / it':>13}   images/s")
    for name, rates in results.items():
        row = spread(rates)
        if "fulcrum" in results and name != "fulcrum":
            row["fulcrum_ratio"] = ratio(results["fulcrum"], rates)
        column = f"{row['fulcrum_ratio']:13.3f}" if "fulcrum_ratio" in row else " " * 13
        print(f"{name:36} {row['median']:8.1f} {row['min']:8.1f} {row['max']:8.1f} {column}")
        summary[name] = row
    return summary


def parse_args() -> argparse.Namespace:
    default_python = Path(os.environ.get("FULCRUM_PEERS_VENV", ROOT / "build" / "peers")) / "bin" / "python"
    p = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    p.add_argument("--model", default="resnet32")
    p.add_argument("--batch-size", type=int, default=128)
    p.add_argument("--image-size", type=int, default=32)
    p.add_argument("--threads", type=int, default=2)
    p.add_argument("--amp", default="off", choices=["off", "bf16"])
    p.add_argument("--optimizer", default="sgd", choices=["sgd", "absgd"])
    p.add_argument("--rounds", type=int, default=5)
    p.add_argument("--seconds", type=float, default=6.0, help="of every turn")
    p.add_argument("--warmup", type=int, default=3, help="PyTorch's untimed steps at its start")
    p.add_argument("--cores", default=None, help="e.g. 0,1; default: the first --threads that are allowed")
    p.add_argument("--all", action="store_true", help="also PyTorch with default malloc and with torch.compile")
    p.add_argument("--torch-only", action="store_true", help="leave Fulcrum out")
    p.add_argument("--fulcrum", type=Path, default=ROOT / "build" / "fulcrum")
    p.add_argument("--fulcrum-args", nargs=argparse.REMAINDER, default=[], help="the rest goes to `fulcrum bench`")
    p.add_argument("--python", type=Path, default=default_python if default_python.exists() else Path(sys.executable))
    p.add_argument("--json", type=Path, default=None, help="write all numbers to this file")
    args = p.parse_args()
    allowed = sorted(os.sched_getaffinity(0))
    args.core_set = {int(c) for c in args.cores.split(",")} if args.cores else set(allowed[: args.threads])
    if args.rounds < 1:
        p.error("--rounds must be at least 1")
    return args


def main() -> int:
    args = parse_args()
    about = machine()
    rows = contestants(args)
    try:
        results, last = take_turns(rows, args.rounds, args.seconds)
    finally:
        for row in rows:
            row.close()
    print(f"{args.model}, batch {args.batch_size}, {args.threads} threads, "
          f"{'f32' if args.amp == 'off' else args.amp}, {args.optimizer}, {about['cpu']} {about['isa']}")
    summary = report(results)
    if about["load_before"] > 0.5:
        print(f"warning: the load was {about['load_before']:.1f} before the start; these numbers are not to be trusted")
    if args.json:
        settings = {k: str(v) for k, v in vars(args).items() if k not in ("core_set", "json", "python", "fulcrum")}
        record = {"settings": settings, "machine": about, "results": summary, "last": last}
        args.json.parent.mkdir(parents=True, exist_ok=True)
        args.json.write_text(json.dumps(record, indent=1) + "\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
