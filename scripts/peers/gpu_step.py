#!/usr/bin/env python3
"""Fulcrum's training step beside PyTorch's on one GPU, in interleaved rounds.

A case is a network, a batch size and a precision (f32, tf32, bf16). Its contestants are Fulcrum's step as a CUDA graph
and run anew each time, and PyTorch's eager step (channels_last, fused SGD; bf16: autocast), each with SGD and with
ABSGD; for ResNet-32 at batch 128 in bf16, which launches limit, also Fulcrum with 8 steps in a graph; for that case and
ResNet-50 at batch 256 in bf16 also PyTorch's compiled step with CUDA graphs: in the mode `reduce-overhead`, and compiled
without and then recorded whole, update included, which saves the most launches. Data are random and fixed on the device.
Both sides time cuDNN's algorithms and keep the fastest.

    scripts/peers/gpu_step.py --model resnet32 --out out/r32.jsonl --budget 480
    scripts/peers/gpu_step.py --model resnet50 --cases 'b256 bf16' --compile-modes max-autotune

Every contestant is a line of JSON in --out as soon as it has been measured (a contestant that fails, its error), and a
line of ratios ends a case: of rates the median over rounds of the quotient within the round, and of the device's memory.
Contestants that don't fit on the device together meet Fulcrum's graph one after the other. A Fulcrum that asks the
system for memory after its warm-up (`system_requests`) counts as failed. What --budget leaves no time for is a line
`left_out`. `--device cpu` tries the script itself out, on whatever machine.
"""

import argparse
import json
import re
import sys
import time
from pathlib import Path

from turns import ROOT, Server, ServerError, ratio, spread, take_turns

HERE = Path(__file__).resolve().parent
REFERENCE = "fulcrum graph sgd"
SEVERAL = "fulcrum graph of 8 sgd"
START_SECONDS = 15.0  # what a contestant may need to start, at the least
PAUSE = 0.05  # before a turn
RATIOS = {  # name: (numerator, denominator) of rates
    "fulcrum / torch eager": (REFERENCE, "torch eager sgd"),
    "fulcrum / torch compiled": (REFERENCE, "torch compiled sgd"),
    "fulcrum / torch compiled, whole step": (REFERENCE, "torch compiled whole sgd"),
    "graph / eager": (REFERENCE, "fulcrum eager sgd"),
    "graph / eager, absgd": ("fulcrum graph absgd", "fulcrum eager absgd"),
    "graph of 8 steps / of 1": (SEVERAL, REFERENCE),
    "absgd step / sgd step": (REFERENCE, "fulcrum graph absgd"),
    "absgd step / sgd step, eager": ("fulcrum eager sgd", "fulcrum eager absgd"),
    "absgd step / sgd step, torch eager": ("torch eager sgd", "torch eager absgd"),
    "absgd: fulcrum / torch eager": ("fulcrum graph absgd", "torch eager absgd"),
}
MEMORY_RATIOS = ["fulcrum / torch eager", "fulcrum / torch compiled", "fulcrum / torch compiled, whole step"]
# Of tensors at most, and taken from the device: with what the allocator keeps. Without the libraries' own.
MEMORY = {"peak": "device_peak_mb", "reserved": "device_reserved_mb"}
# The most wanted first; (batch size, precision, contestants on the device at a time).
CASES = {
    "resnet32": [(b, p, 9) for p in ("bf16", "tf32", "f32") for b in (128, 512, 1024)],
    "resnet50": [(256, "bf16", 3), (64, "bf16", 9), (256, "tf32", 2), (64, "tf32", 4), (256, "f32", 2), (64, "f32", 4)],
}
COMPILED = {("resnet32", 128), ("resnet50", 256)}  # in bf16
LAUNCH_BOUND = {("resnet32", 128)}  # in bf16
IMAGES = {"resnet32": (32, 10), "resnet50": (224, 1000)}  # size, classes


def shared_options(args: argparse.Namespace, batch: int, precision: str, optimizer: str) -> list:
    options = ["--interleave", "--device", args.device, "--model", args.network, "--batch-size", batch,
               "--image-size", args.image_size, "--classes", args.classes,
               "--amp", "bf16" if precision == "bf16" else "off"]
    options += ["--optimizer" if optimizer.startswith("torch") else "--opt", optimizer.split()[-1]]
    if args.device != "cpu":
        options += ["--cudnn-benchmark", *(["--tf32"] if precision == "tf32" else [])]
    return options


def command_of(args: argparse.Namespace, name: str, batch: int, precision: str) -> list:
    """`name`: fulcrum graph|graph of 8|eager OPT, torch eager|compiled|compiled whole OPT."""
    options = shared_options(args, batch, precision, name)
    if name.startswith("fulcrum"):
        graph = ["--no-graph"] if " eager " in name else ["--steps-per-graph", 8] if name == SEVERAL else []
        return [args.fulcrum, "bench", *options, *(graph if args.device != "cpu" else [])]
    command = [args.python, HERE / "torch_step.py", *options, "--warmup", args.warmup, "--chunk", args.chunk]
    if "compiled whole" in name:
        mode = "max-autotune-no-cudagraphs" if "max-autotune" in args.compile_modes else "default"
        command += ["--compile", "--compile-mode", mode, *(["--cuda-graph"] if args.device != "cpu" else [])]
    elif "compiled" in name:
        command += ["--compile", "--compile-mode", args.compile_modes[0]]
    return command


def contestants(args: argparse.Namespace, batch: int, precision: str) -> list:
    names = [REFERENCE, "fulcrum graph absgd", "torch eager sgd", "torch eager absgd", "fulcrum eager sgd",
             "fulcrum eager absgd"]
    if precision == "bf16" and (args.model, batch) in LAUNCH_BOUND:
        names.append(SEVERAL)
    if precision == "bf16" and (args.model, batch) in COMPILED and not args.no_compile:
        names += ["torch compiled sgd", "torch compiled whole sgd"]
    wanted = lambda n: re.search(args.contestants, n) and not (args.torch_only and n.startswith("fulcrum"))
    return [n for n in names if wanted(n)]


class Results:
    """The lines of --out and of stdout."""

    def __init__(self, path: Path | None):
        self.file = None
        if path:
            path.parent.mkdir(parents=True, exist_ok=True)
            self.file = path.open("a")

    def add(self, row: dict) -> None:
        if self.file:
            self.file.write(json.dumps(row) + "\n")
            self.file.flush()

    def close(self) -> None:
        if self.file:
            self.file.close()


class OutOfTime(ServerError):
    pass


class Contestant(Server):
    """Counts how often it asked the system for memory in all of its measurements, which follow its warm-up."""

    requests = 0

    def run(self, seconds: float) -> dict:
        answer = super().run(seconds)
        self.requests += answer.get("system_requests", 0)
        return answer


def start(args: argparse.Namespace, name: str, batch: int, precision: str, deadline: float) -> Contestant:
    left = deadline - time.monotonic()
    if left < START_SECONDS:
        raise OutOfTime(f"{name}: no time left")
    server = Contestant(name, command_of(args, name, batch, precision), patience=min(args.patience, left))
    try:
        if name.startswith("torch"):
            server.read()  # ready: compiled and warm
        server.run(0.5)
        server.patience = args.patience
    except ServerError as error:
        server.process.kill()
        server.close()
        if time.monotonic() >= deadline:
            raise OutOfTime(str(error)) from None
        raise
    return server


def run_group(args: argparse.Namespace, names: list, batch: int, precision: str, fail) -> tuple:
    """Rates and last answers of those that could be measured, and the names of those that there was no time for."""
    servers, late = [], []
    deadline = args.deadline - len(names) * args.rounds * (args.seconds + PAUSE)  # the turns come after the starts
    try:
        for name in names:
            try:
                servers.append(start(args, name, batch, precision, deadline))
            except OutOfTime:
                late.append(name)
            except ServerError as error:
                fail(name, error)
        if not servers:
            return {}, {}, late
        measured = take_turns(servers, args.rounds, args.seconds, PAUSE, fail)
        for server in servers:
            if server.requests:
                fail(server.name, f"{server.name}: asked the system for memory {server.requests} times after its warm-up, "
                                  "expected 0")
        return *measured, late
    finally:
        for server in servers:
            server.close()


def groups_of(names: list, at_once: int) -> list:
    if len(names) <= at_once:
        return [names]
    rest = names[1:]
    return [[names[0], *rest[i : i + at_once - 1]] for i in range(0, len(rest), at_once - 1)]


def ratios_of(groups: list) -> dict:
    """Within a round where both were measured together, else of medians."""
    every = {}
    for results in groups:
        for name, rates in results.items():
            every.setdefault(name, rates)
    found = {}
    for label, (a, b) in RATIOS.items():
        together = next((r for r in groups if a in r and b in r), None)
        if together:
            found[label] = round(ratio(together[a], together[b]), 4)
        elif a in every and b in every:
            found[label] = round(spread(every[a])["median"] / spread(every[b])["median"], 4)
    return found


def memory_ratios(last: dict) -> dict:
    """`last`: an answer of each contestant; without a device there are none."""
    found = {}
    for label in MEMORY_RATIOS:
        a, b = (last.get(name, {}) for name in RATIOS[label])
        for kind, key in MEMORY.items():
            if a.get(key) and b.get(key):
                found[f"memory, {kind}: {label}"] = round(a[key] / b[key], 4)
    return found


def run_case(args: argparse.Namespace, case: tuple, results: Results) -> None:
    batch, precision, at_once = case
    title = f"{args.model} b{batch} {precision}"
    failed, late = [], []

    def fail(name: str, error: Exception | str) -> None:
        failed.append(name)
        args.failures.append(f"{title}: {error}")
        print(args.failures[-1], file=sys.stderr, flush=True)
        results.add({"case": title, "contestant": name, "error": str(error)})

    groups, answers = [], {}
    for names in groups_of(contestants(args, batch, precision), at_once):
        rates, last, no_time = run_group(args, names, batch, precision, fail)
        groups.append(rates)
        late += [n for n in no_time if n not in answers]
        for name, values in rates.items():
            if name in answers:
                continue
            answers[name] = last[name]
            row = {"case": title, "contestant": name, **spread(values),
                   "step_ms": round(1e3 * batch / spread(values)["median"], 4), "last": last[name]}
            results.add(row)
            memory = last[name].get("device_peak_mb", last[name]["peak_mb"])
            print(f"{title:24} {name:28} {row['median']:10.1f} images/s {row['step_ms']:9.3f} ms {memory:9.0f} MB",
                  flush=True)
    found = {**ratios_of(groups), **memory_ratios(answers)}
    results.add({"case": title, "ratios": found, "failed": failed})
    for label, value in found.items():
        print(f"{title:24} {label:54} {value:.3f}", flush=True)
    if late:
        results.add({"case": title, "left_out": late})
        print(f"{title}: no time for: " + ", ".join(late), flush=True)


def parse_args() -> argparse.Namespace:
    p = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    p.add_argument("--model", required=True, choices=sorted(CASES))
    p.add_argument("--cases", default="", help="only those whose 'bBATCH PRECISION' matches this regular expression")
    p.add_argument("--contestants", default="", help="only those whose name matches this regular expression")
    p.add_argument("--rounds", type=int, default=5)
    p.add_argument("--seconds", type=float, default=1.5, help="of every turn")
    p.add_argument("--warmup", type=int, default=10, help="PyTorch's untimed steps at its start")
    p.add_argument("--chunk", type=int, default=20, help="PyTorch's steps per timing sample")
    p.add_argument("--budget", type=float, default=1e9, help="seconds; a case that cannot begin in time is left out")
    p.add_argument("--patience", type=float, default=240, help="seconds that a contestant may take to answer")
    p.add_argument("--compile-modes", nargs="+", default=["reduce-overhead"], choices=["reduce-overhead", "max-autotune"])
    p.add_argument("--no-compile", action="store_true", help="leave the compiled contestants out")
    p.add_argument("--torch-only", action="store_true", help="leave Fulcrum out")
    p.add_argument("--device", default="cuda", choices=["cuda", "cpu"])
    p.add_argument("--network", default=None, help="another network in place of --model's (to try the script out)")
    p.add_argument("--image-size", type=int, default=None, help="in place of the case's")
    p.add_argument("--fulcrum", type=Path, default=ROOT / "build" / "fulcrum")
    p.add_argument("--python", type=Path, default=Path(sys.executable), help="one with torch")
    p.add_argument("--out", type=Path, default=None, help="lines of JSON are appended to this file")
    p.add_argument("--list", action="store_true", help="print the cases and commands, run nothing")
    args = p.parse_args()
    if args.rounds < 1:
        p.error("--rounds must be at least 1")
    size, args.classes = IMAGES[args.model]
    args.image_size = args.image_size or size
    args.network = args.network or args.model
    args.deadline = time.monotonic() + args.budget
    args.failures = []
    return args


def main() -> int:
    args = parse_args()
    cases = [c for c in CASES[args.model] if re.search(args.cases, f"b{c[0]} {c[1]}")]
    if not cases:
        raise SystemExit(f"--cases: nothing matches {args.cases!r}")
    if args.list:
        for batch, precision, _ in cases:
            for name in contestants(args, batch, precision):
                print(f"{args.model} b{batch} {precision}, {name}: "
                      + " ".join(str(w) for w in command_of(args, name, batch, precision)))
        return 0
    results, left_out = Results(args.out), []
    for case in cases:
        # The turns of a first group, and a start each: about what the case needs at the least.
        need = min(case[2], 5) * (args.rounds * args.seconds + START_SECONDS / 3)
        if left_out or args.deadline - time.monotonic() < need:
            left_out.append(f"b{case[0]} {case[1]}")
        else:
            run_case(args, case, results)
    if left_out:
        results.add({"model": args.model, "left_out": left_out})
        print("no time for: " + ", ".join(left_out))
    results.close()
    for failure in args.failures:  # again, where they are seen
        print(f"FAILED: {failure}", file=sys.stderr)
    return 1 if args.failures else 0


if __name__ == "__main__":
    sys.exit(main())
