"""Contestants that measure in turns: servers that answer "run SECONDS" on stdin with a JSON line, warm, and idle
between their turns, so that a slow minute of the machine hits all of them.

    rows = [Server("fulcrum", [program, "bench", "--interleave"]), …]
    results, last = take_turns(rows, rounds=5, seconds=4)    # {name: [images/s of each round]}, {name: its last answer}
"""

import json
import os
import re
import select
import statistics
import subprocess
import sys
import time
from pathlib import Path

HERE = Path(__file__).resolve().parent
ROOT = HERE.parents[1]
DRIVER_PRIORITY, SERVER_PRIORITY = 60, 50  # of real-time scheduling
KEEP_PAGES = {"MALLOC_MMAP_THRESHOLD_": str(2**30), "MALLOC_TRIM_THRESHOLD_": str(2**32)}


class ServerError(SystemExit):
    """Ends the program with its message where nobody catches it."""


class Server:
    def __init__(self, name: str, command: list, cores: set | None = None, env: dict | None = None,
                 patience: float | None = None, realtime: bool = False):
        """Runs on `cores` (all), with `env` added, and is given up after `patience` seconds without an answer."""
        self.name = name
        self.patience = patience

        def prepare() -> None:
            if cores:
                os.sched_setaffinity(0, cores)
            if realtime:
                os.sched_setscheduler(0, os.SCHED_FIFO, os.sched_param(SERVER_PRIORITY))

        self.started = time.monotonic()
        self.process = subprocess.Popen(
            [str(word) for word in command],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            env={**{k: v for k, v in os.environ.items() if k not in KEEP_PAGES}, **(env or {})},
            preexec_fn=prepare,
        )

    def read(self) -> dict:
        if self.patience and not select.select([self.process.stdout], [], [], self.patience)[0]:
            raise ServerError(f"{self.name}: no answer within {self.patience:.0f} s")
        line = self.process.stdout.readline()
        if not line:
            raise ServerError(f"{self.name} ended with status {self.process.wait()}: {' '.join(self.process.args)}")
        try:
            answer = json.loads(line)
        except ValueError:
            raise ServerError(f"{self.name}: expected a JSON line, got {line!r}") from None
        if "error" in answer:
            raise ServerError(f"{self.name}: {answer['error']}")
        return answer

    def run(self, seconds: float) -> dict:
        try:
            self.process.stdin.write(f"run {seconds}\n")
            self.process.stdin.flush()
        except BrokenPipeError:
            pass  # read() says how it ended
        return self.read()

    def peak_mb(self) -> float:
        """The most memory that the running process has held; unlike ru_maxrss without what it was forked from."""
        status = Path(f"/proc/{self.process.pid}/status").read_text()
        return int(re.search(r"VmHWM:\s*(\d+) kB", status)[1]) / 1024

    def close(self) -> None:
        try:
            self.process.stdin.close()
        except BrokenPipeError:
            pass
        try:
            self.process.wait(timeout=self.patience)
        except subprocess.TimeoutExpired:
            self.kill()

    def kill(self) -> None:
        self.process.kill()
        self.process.wait()


def rise_above_servers() -> None:
    """Gives this process a real-time priority that servers with `realtime` cannot starve; they don't inherit it."""
    os.sched_setscheduler(0, os.SCHED_FIFO | os.SCHED_RESET_ON_FORK, os.sched_param(DRIVER_PRIORITY))


def take_turns(rows: list, rounds: int, seconds: float, pause: float = 0.3, fail=None) -> tuple:
    """Every round measures each in turn, in alternating order. One that fails ends it all; where there is a fail(name, error)
    the others go on, and what it has measured stays."""
    results, last, running = {row.name: [] for row in rows}, {}, list(rows)
    for i in range(rounds):
        if not running:
            break
        for row in running[:] if i % 2 == 0 else running[::-1]:
            time.sleep(pause)  # the previous contestant's threads go to sleep
            try:
                last[row.name] = row.run(seconds)
            except ServerError as error:
                if fail is None:
                    raise
                row.kill()  # it may hang, and be in the way of the others
                fail(row.name, error)
                running.remove(row)
            else:
                results[row.name].append(last[row.name]["images_per_s"])
        line = "  ".join(f"{row.name} {results[row.name][-1]:.1f}" for row in running)
        print(f"round {i + 1}/{rounds}: {line}", file=sys.stderr, flush=True)
    return {name: rates for name, rates in results.items() if rates}, last


def spread(rates: list) -> dict:
    return {"median": statistics.median(rates), "min": min(rates), "max": max(rates), "rounds": rates}


def ratio(rates: list, others: list) -> float:
    """The median over rounds of the one / the other within the round."""
    return statistics.median(a / b for a, b in zip(rates, others))
