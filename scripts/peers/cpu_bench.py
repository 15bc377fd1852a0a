#!/usr/bin/env python3
"""Fulcrum beside PyTorch in each of its modes, libtorch and dlib on the same CPU cores: images/s, peak memory, and the
time from the start of the process to the end of its first step.  cpu_bench.sh builds what it needs and calls it.

A case is a piece of work; its contestants are warm servers that measure in turns (turns.py), round after round, pinned
to the same cores.  A ratio is the median over rounds of Fulcrum / the other within the round.  PyTorch's best mode is
found for every case: the one with the smallest ratio.

    torch: default               NCHW, its own choice of threads and malloc: what one gets without a setting
    torch: channels_last         and with as many threads as cores, as in the rest
    torch: channels_last, malloc whose malloc keeps its pages (turns.KEEP_PAGES), as in the rest
    torch: compile               torch.compile, channels_last; inference with frozen parameters
    torch: jit                   inference: traced and frozen by TorchScript, channels_last
    libtorch, dlib               ResNet-32 in C++ (libtorch_step.cpp; dlib_step.cpp, f32 alone)

A finished case is written to the JSON and Markdown files at once, so that an interrupted run leaves those before.
"""

import argparse
import datetime
import json
import mmap
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from dataclasses import asdict, dataclass, field
from pathlib import Path

import bench_table
from contestants import CHANNELS_LAST, Work, fulcrum_command, machine, started, torch_command
from turns import KEEP_PAGES, ROOT, Server, ServerError, rise_above_servers, take_turns

PAUSE = 0.3  # seconds between turns
WARM_BYTES = 2 << 30
TRAIN = {"r32-b128": Work("resnet32", 128), "r32-b32": Work("resnet32", 32), "r50-b32": Work("resnet50", 32, 64)}
INFER = {"infer-b1": Work("resnet32", 1, inference=True), "infer-b256": Work("resnet32", 256, inference=True)}
DEMO = {"r8-b128": Work("resnet8", 128, 28, channels=1)}  # scripts/demo.sh


def with_bf16(cases: dict) -> dict:
    return {f"{name}-{precision}": Work(**{**asdict(work), "amp": amp})
            for name, work in cases.items() for precision, amp in (("f32", "off"), ("bf16", "bf16"))}


USUAL = {**with_bf16(TRAIN), "r8-b128-f32": DEMO["r8-b128"], **with_bf16(INFER)}
LARGE = with_bf16({"r50-224": Work("resnet50", 16, 224)})  # a step takes two seconds: by name alone
CASES = {**USUAL, **LARGE}


@dataclass
class Contestant:
    name: str
    command: list
    env: dict = field(default_factory=dict)
    start_s: float = 5  # what its start takes on a quiet machine, roughly

    @property
    def announces(self) -> bool:
        """Whether it says that it is ready before it is asked."""
        return bench_table.is_torch_mode(self.name)


def peers(args: argparse.Namespace, work: Work) -> list:
    """The C++ programs that can do the work; those that were not built are said to be left out at the start."""
    if work.model != "resnet32":
        return []
    flags = ["--batch-size", work.batch_size, "--threads", args.threads, "--amp", work.amp,
             *(["--inference"] if work.inference else [])]
    names = ["libtorch", *(["dlib"] if work.amp == "off" else [])]
    return [Contestant(name, [args.peers_bin / f"{name}_step", *flags], KEEP_PAGES, 3) for name in names
            if (args.peers_bin / f"{name}_step").exists()]


def contestants(args: argparse.Namespace, work: Work) -> list:
    def torch(name: str, options: list, env: dict = KEEP_PAGES, threads: int = args.threads, start_s: float = 5) -> Contestant:
        return Contestant(f"torch: {name}", torch_command(args.python, work, threads, options), env, start_s)

    modes = [torch("default", ["--layout", "nchw"], env={}, threads=0), torch("channels_last", CHANNELS_LAST, env={}),
             torch("channels_last, malloc", CHANNELS_LAST)]
    if not args.no_compile:
        modes.append(torch("compile", [*CHANNELS_LAST, "--compile"], start_s=40))
    if work.inference:
        modes.append(torch("jit", [*CHANNELS_LAST, "--jit"]))
    return [Contestant("fulcrum", fulcrum_command(args.fulcrum, work, args.threads), start_s=2), *modes, *peers(args, work)]


def seconds_of(args: argparse.Namespace, names: list) -> float:
    """What the cases take on a quiet machine, roughly."""
    each = args.rounds * (args.seconds + PAUSE)
    return sum(c.start_s + each for name in names for c in contestants(args, CASES[name]))


def warm_memory() -> None:
    """Has the host of a virtual machine back as much memory as a contestant takes: a first touch is an order of
    magnitude slower than one of memory that was in use a moment ago, and would fall on whoever starts first."""
    with mmap.mmap(-1, WARM_BYTES, flags=mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS) as memory:
        memory.madvise(mmap.MADV_HUGEPAGE)
        for page in range(0, WARM_BYTES, mmap.PAGESIZE):
            memory[page] = 1


def start(args: argparse.Namespace, contestant: Contestant, scratch: str) -> Server:
    # Compilation counts, so that nothing of an earlier one may be found.
    warm_memory()
    env = {**contestant.env, "TORCHINDUCTOR_CACHE_DIR": tempfile.mkdtemp(dir=scratch)}
    server = Server(contestant.name, contestant.command, args.core_set, env, args.patience, args.realtime)
    if contestant.announces:
        try:
            server.read()
        except BaseException:
            server.kill()
            raise
    return started(server, min(0.5, args.seconds))


def run_case(args: argparse.Namespace, name: str) -> dict:
    servers, left_out = [], {}
    with tempfile.TemporaryDirectory(prefix="cpu_bench", ignore_cleanup_errors=True) as scratch:
        try:
            for contestant in contestants(args, CASES[name]):
                try:
                    servers.append(start(args, contestant, scratch))
                except ServerError as error:
                    left_out[contestant.name] = str(error)
                    print(f"{name}: {error}", file=sys.stderr, flush=True)
            rates, last = take_turns(servers, args.rounds, args.seconds, PAUSE)
            peaks = {server.name: server.peak_mb() for server in servers}
        finally:
            for server in servers:
                server.close()
    rows = bench_table.summarise(rates, CASES[name].batch_size)
    for server in servers:
        rows[server.name].update(peak_mb=round(peaks[server.name], 1), last=last[server.name],
                                 first_step_s=round(last[server.name]["first_step_at"] - server.started, 3))
    return {"name": name, "work": asdict(CASES[name]), "rows": rows, "torch_best": bench_table.best_mode(rows),
            "left_out": left_out}


def warm_files(args: argparse.Namespace) -> None:
    """Reads the programs from the disk once, so that the first case's starts are like the others'."""
    subprocess.run([args.fulcrum, "--version"], check=True, stdout=subprocess.DEVNULL)
    subprocess.run([args.python, "-c", "import torch, torchvision"], check=True)


def write(path: Path, text: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    part = path.with_name(path.name + ".part")
    part.write_text(text)
    part.replace(path)


def commit() -> str | None:
    """None where there is no git, or no history."""
    if not shutil.which("git"):
        return None
    git = subprocess.run(["git", "-C", ROOT, "describe", "--always", "--dirty"], capture_output=True, text=True)
    return git.stdout.strip() or None


def parse_args() -> argparse.Namespace:
    p = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    p.add_argument("--cases", default=",".join(USUAL), help=f"some of %(default)s,{','.join(LARGE)}")
    p.add_argument("--cores", default=None, help="e.g. 0,1, one thread each; default: the first two that are allowed")
    p.add_argument("--rounds", type=int, default=5)
    p.add_argument("--seconds", type=float, default=1.2, help="of every turn; at least one step")
    p.add_argument("--quick", action="store_true", help="one round of 0.3 s: whether everything works, no figures")
    p.add_argument("--no-compile", action="store_true", help="without torch.compile, whose starts take a third of the time")
    p.add_argument("--realtime", action="store_true",
                   help="contestants run with real-time priority (as under chrt -f 50), for machines with other work")
    p.add_argument("--patience", type=float, default=300, help="seconds that a contestant may take to answer")
    p.add_argument("--out", type=Path, default=ROOT / "build" / "cpu_bench", help="OUT.json and OUT.md are written")
    p.add_argument("--fulcrum", type=Path, default=ROOT / "build" / "fulcrum")
    p.add_argument("--python", type=Path, default=Path(sys.executable), help="one with torch and torchvision")
    p.add_argument("--peers-bin", type=Path, default=ROOT / "build" / "peers-bin")
    p.add_argument("--list", action="store_true", help="print the cases with their contestants, run nothing")
    args = p.parse_args()
    args.names = [name for name in args.cases.split(",") if name]
    unknown = [name for name in args.names if name not in CASES]
    if unknown or not args.names:
        p.error(f"--cases: expected some of {', '.join(CASES)}, got {args.cases!r}")
    if args.quick:
        args.rounds, args.seconds = 1, 0.3
    if args.rounds < 1 or args.seconds <= 0:
        p.error("--rounds must be at least 1 and --seconds positive")
    allowed = sorted(os.sched_getaffinity(0))
    try:
        args.core_set = {int(c) for c in args.cores.split(",")} if args.cores else set(allowed[:2])
    except ValueError:
        p.error(f"--cores: expected numbers with commas, got {args.cores!r}")
    if not args.core_set <= set(allowed):
        p.error(f"--cores: expected some of {allowed}, got {args.cores}")
    args.threads = len(args.core_set)
    return args


def measure(args: argparse.Namespace) -> int:
    about = {"date": datetime.date.today().isoformat(), "commit": commit(), "machine": machine(),
             "cores": sorted(args.core_set), "rounds": args.rounds, "seconds": args.seconds, "realtime": args.realtime}
    load = about["machine"]["load_before"]
    if load > 0.5 and not args.realtime:
        print(f"warning: the load is {load:.1f}; these numbers are not to be trusted without --realtime", file=sys.stderr)
    warm_files(args)
    if args.realtime:
        try:
            rise_above_servers()
        except PermissionError:
            print("cpu_bench: --realtime needs the right to a real-time priority (root, or ulimit -r)", file=sys.stderr)
            return 2
    cases, failed, begin = [], {}, time.monotonic()
    for i, name in enumerate(args.names):
        print(f"case {i + 1} of {len(args.names)}: {name}", file=sys.stderr, flush=True)
        try:
            cases.append(run_case(args, name))
        except ServerError as error:
            failed[name] = str(error)
            print(f"{name}: {error}", file=sys.stderr, flush=True)
        record = {**about, "cases": cases, "failed": failed}
        write(args.out.with_name(args.out.name + ".json"), json.dumps(record, indent=1) + "\n")
        write(args.out.with_name(args.out.name + ".md"), bench_table.markdown(cases))
    print(bench_table.markdown(cases))
    print(f"{(time.monotonic() - begin) / 60:.1f} minutes; {args.out}.json, {args.out}.md", file=sys.stderr)
    return 1 if failed or any(case["left_out"] for case in cases) else 0


def main() -> int:
    args = parse_args()
    print(f"{len(args.names)} cases, about {seconds_of(args, args.names) / 60:.0f} minutes on a quiet machine", file=sys.stderr)
    if args.list:
        for name in args.names:
            print(f"{name}: {'; '.join(c.name for c in contestants(args, CASES[name]))}")
        return 0
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))  # servers are ended, temporary folders removed
    try:
        return measure(args)
    except KeyboardInterrupt:
        print(f"interrupted; finished cases are in {args.out}.json and {args.out}.md", file=sys.stderr)
        return 130


if __name__ == "__main__":
    sys.exit(main())
