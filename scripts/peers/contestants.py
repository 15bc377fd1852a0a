"""Fulcrum and PyTorch as contestants of `turns.take_turns` on CPU cores: their commands, and what they are to do.

    work = Work("resnet32", batch_size=128, amp="bf16")
    server = fulcrum_server(program, work, threads=2, cores={0, 1})
    server = torch_server("torch nchw", python, work, 2, ["--layout", "nchw"], cores={0, 1}, env=KEEP_PAGES)
"""

import os
import re
from dataclasses import dataclass
from pathlib import Path

from turns import HERE, Server

CHANNELS_LAST = ["--layout", "channels_last"]


@dataclass(frozen=True)
class Work:
    """What all contestants of a comparison do: one training step after the other, or forward passes."""

    model: str
    batch_size: int
    image_size: int = 32
    channels: int = 3
    amp: str = "off"  # or bf16
    inference: bool = False
    optimizer: str = "sgd"

    def flags(self) -> list:
        """Those that `fulcrum bench` and torch_step.py have in common."""
        flags = ["--model", self.model, "--amp", self.amp, "--batch-size", self.batch_size,
                 "--image-size", self.image_size, "--channels", self.channels]
        return flags + (["--inference"] if self.inference else [])


def fulcrum_command(program: Path, work: Work, threads: int, options: list = ()) -> list:
    opt = [] if work.inference else ["--opt", work.optimizer]
    return [program, "bench", "--interleave", *work.flags(), "--threads", threads, *opt, *options]


def torch_command(python: Path, work: Work, threads: int, options: list = (), warmup: int = 3) -> list:
    opt = [] if work.inference else ["--optimizer", work.optimizer]
    return [python, HERE / "torch_step.py", "--interleave", *work.flags(), "--threads", threads, *opt,
            "--chunk", 1, "--warmup", warmup, *options]


def fulcrum_server(program: Path, work: Work, threads: int, options: list = (), **server) -> Server:
    return started(Server("fulcrum", fulcrum_command(program, work, threads, options), **server))


def torch_server(name: str, python: Path, work: Work, threads: int, options: list, warmup: int = 3, **server) -> Server:
    row = Server(name, torch_command(python, work, threads, options, warmup), **server)
    try:
        row.read()  # ready: compiled
    except BaseException:
        row.kill()
        raise
    return started(row)


def started(row: Server, seconds: float = 0.5) -> Server:
    """Warm; ended where that fails."""
    try:
        row.run(seconds)
    except BaseException:
        row.kill()
        raise
    return row


def machine() -> dict:
    info = Path("/proc/cpuinfo").read_text()
    name = re.search(r"model name\s*:\s*(.*)", info)
    flags = set((re.search(r"flags\s*:\s*(.*)", info) or [""])[0].split())
    isa = [f for f in ("avx2", "avx512f", "avx512_bf16", "amx_bf16") if f in flags]
    return {"cpu": name[1] if name else "unknown", "isa": isa, "load_before": os.getloadavg()[0]}
