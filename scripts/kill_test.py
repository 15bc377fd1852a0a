#!/usr/bin/env python3
"""Kills a training run at random moments, resumes it until it has finished, and compares it, bit for bit, with
one that nobody disturbed: weights, optimiser state, risk state, averages, best weights, metrics, predictions.

    scripts/kill_test.py                                    # 200 kills of build/fulcrum
    scripts/kill_test.py --kills 10 --program PROGRAM --seed 7

Every run trains a small network with all that has a state: momentum, ABSGD's u, dropout, augmentation, averaged
weights, a held-out part, label noise, late class weights, and a checkpoint every two steps. The moments are of
five kinds in turn: any time; the first tenth of a second; a random time after a step or an epoch's line was printed; as
soon as a checkpoint is being written; and during an evaluation. The last line says how many kills came where.

Exit status: 0 when all runs are the same, 1 when one differs or fails.
"""

import argparse
import json
import os
import random
import shutil
import signal
import struct
import subprocess
import sys
import tempfile
import time
from collections import Counter
from pathlib import Path

EPOCHS, BATCH, CLASSES = 3, 32, 10
CLOCK = {"images_per_s"}  # what the clock decides, not the state


def write_idx(folder, prefix, count, rng):
    """Ten classes in turn: noise, and a bright square in a place of its own for each class."""
    images = bytearray(struct.pack(">IIII", 0x803, count, 28, 28))
    for i in range(count):
        image = bytearray(rng.randbytes(784))
        x, y = i % CLASSES % 5 * 5 + 1, i % CLASSES // 5 * 12 + 4
        for row in range(y, y + 8):
            image[row * 28 + x:row * 28 + x + 5] = b"\xf0" * 5
        images += image
    (folder / f"{prefix}-images-idx3-ubyte").write_bytes(images)
    labels = struct.pack(">II", 0x801, count) + bytes(i % CLASSES for i in range(count))
    (folder / f"{prefix}-labels-idx1-ubyte").write_bytes(labels)


def write_data(folder):
    folder.mkdir()
    rng = random.Random(3)
    write_idx(folder, "train", 480, rng)
    write_idx(folder, "t10k", 200, rng)


def command(program, data, run):
    settings = ["model.dropout=0.3", "data.pad=2", "data.flip=true", "data.val_fraction=0.2", "loss.class_weights=balanced",
                "schedule.kind=cosine", "data.noise_type=symmetric", "data.noise_rate=0.2"]
    words = [program, "train", "--data-dir", data, "-o", run, "--resume", "auto", "--model", "resnet8", "-b", BATCH,
             "--epochs", EPOCHS, "--threads", 1, "-j", 1, "--seed", 3, "--lr", 0.05, "--log-interval", 1,
             "--recovery-interval", 2, "--opt", "absgd", "--lambda", 1.9, "--gamma", 0.6, "--imb-type", "exp",
             "--imb-factor", 0.5, "--drw-epoch", 1, "--model-ema-decay", 0.9]
    for setting in settings:
        words += ["--set", setting]
    return [str(w) for w in words]


# ---- comparing ----

def read_tensors(path):
    """{name: (dtype, shape, bytes)} and the metadata of a safetensors file."""
    raw = path.read_bytes()
    length = struct.unpack("<Q", raw[:8])[0]
    header = json.loads(raw[8:8 + length])
    metadata = header.pop("__metadata__", {})
    numbers = raw[8 + length:]
    return {name: (t["dtype"], t["shape"], numbers[slice(*t["data_offsets"])]) for name, t in header.items()}, metadata


def without_clock(value):
    if isinstance(value, dict):
        return {k: without_clock(v) for k, v in value.items() if k not in CLOCK}
    return value


def content(path):
    """What must be the same in both runs, as something that can be compared."""
    if path.suffix == ".safetensors":
        tensors, metadata = read_tensors(path)
        progress = without_clock(json.loads(metadata["progress"])) if "progress" in metadata else None
        return tensors, progress, metadata.get("data")
    if path.suffix == ".jsonl":
        return [without_clock(json.loads(line)) for line in path.read_text().splitlines()]
    if path.name == "result.json":
        result = json.loads(path.read_text())
        del result["output"]
        return without_clock(result)
    return path.read_bytes()


# report.html shows times and paths; config.toml and env.json name the directory; .lock names the process; logs tell
# the story of the kills.
STORIES = {"report.html", "config.toml", "env.json", ".lock", "log.txt", "previous.safetensors"}


def compared_files(run):
    return {p.name for p in run.iterdir() if p.name not in STORIES and not p.name.startswith("events.out.")}


def differences(whole, run):
    names, others = compared_files(whole), compared_files(run)
    found = [f"{n}: only in {'the whole run' if n in names else 'the killed one'}" for n in sorted(names ^ others)]
    for name in sorted(names & others):
        a, b = content(whole / name), content(run / name)
        if a == b:
            continue
        detail = ""
        if name.endswith(".safetensors"):
            detail = " (" + ", ".join(sorted(k for k in a[0].keys() | b[0].keys() if a[0].get(k) != b[0].get(k))) + ")"
        found.append(name + detail)
    return found


# ---- killing ----

class Life:
    """One process of the run."""

    def __init__(self, words, log):
        self.log = log
        self.log.write_bytes(b"")
        self.start = time.monotonic()
        with open(log, "ab") as err:
            self.process = subprocess.Popen(words, stdout=subprocess.DEVNULL, stderr=err)

    def over(self):
        return self.process.poll() is not None

    def wait_until(self, seen):
        while not self.over():
            if seen():
                return
            time.sleep(0.0002)

    def sleep(self, seconds):
        end = time.monotonic() + seconds
        while time.monotonic() < end and not self.over():
            time.sleep(min(0.001, seconds))

    def printed(self):
        return self.log.read_text(errors="replace")

    def last_line(self):
        lines = self.printed().splitlines()
        return lines[-1] if lines else ""

    def kill(self):
        self.process.send_signal(signal.SIGKILL)
        return self.process.wait() == -signal.SIGKILL


def ends_epoch(line):
    """"epoch 2/3 step 9/9 …": what comes next is the evaluation."""
    words = line.split()
    if len(words) < 4 or words[2] != "step":
        return False
    step, steps = words[3].split("/")
    return step == steps


def where(life, run):
    """Where a kill came, by what it left."""
    if any(p.name.endswith(".tmp") for p in run.glob("*.tmp")):
        return "write"
    line = life.last_line()
    if ends_epoch(line):
        return "evaluation"
    if " step " in line and line.startswith("epoch"):
        return "step"
    return "epoch end" if line.startswith("epoch") else "start"


def strike(life, run, rng, kind, whole_seconds):
    """Waits for a moment of the kind; the process may end before."""
    if kind == "any time":
        life.sleep(rng.uniform(0, whole_seconds))
    elif kind == "start":
        life.sleep(rng.uniform(0, 0.1))
    elif kind == "after a line":
        lines = rng.randint(1, 6)
        life.wait_until(lambda: life.printed().count("\nepoch ") + life.printed().startswith("epoch ") >= lines)
        life.sleep(rng.uniform(0, 0.02))
    elif kind == "write":
        life.sleep(rng.uniform(0, whole_seconds / 2))
        names = ["last.safetensors.tmp", "previous.safetensors.tmp", "best.safetensors.tmp", "samples.safetensors.tmp"]
        temporary = run / rng.choice(names[:1] * 3 + names)
        life.wait_until(temporary.exists)
        life.sleep(rng.choice([0, rng.uniform(0, 0.002)]))
    else:
        life.wait_until(lambda: ends_epoch(life.last_line()))
        life.sleep(rng.uniform(0, 0.05))


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    root = Path(__file__).resolve().parent.parent
    parser.add_argument("--program", default=root / "build" / "fulcrum", type=Path)
    parser.add_argument("--kills", type=int, default=200)
    parser.add_argument("--kills-per-run", type=int, default=12, help="after these a run is left to finish")
    parser.add_argument("--seed", type=int, default=1, help="of the moments")
    args = parser.parse_args()
    rng = random.Random(args.seed)
    kinds = ["any time", "start", "after a line", "write", "evaluation"]
    places, runs, lives, failures = Counter(), 0, 0, 0
    with tempfile.TemporaryDirectory(prefix="fulcrum-kill-") as temporary:
        folder = Path(temporary)
        write_data(folder / "data")
        start = time.monotonic()
        subprocess.run(command(args.program, folder / "data", folder / "whole"), check=True,
                       stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        seconds = time.monotonic() - start
        print(f"one run takes {seconds:.2f} s", flush=True)
        while sum(places.values()) < args.kills:
            run, runs, mine = folder / "killed", runs + 1, 0
            run.mkdir()
            while True:
                life = Life(command(args.program, folder / "data", run), folder / "log")
                lives += 1
                if mine < args.kills_per_run and sum(places.values()) < args.kills:
                    strike(life, run, rng, kinds[(runs + mine) % len(kinds)], seconds)
                    if life.kill():
                        places[where(life, run)] += 1
                        mine += 1
                        continue
                if life.process.wait() != 0:
                    failures += 1
                    print(f"run {runs}: exit status {life.process.returncode}: {life.printed()}", flush=True)
                    break
                found = differences(folder / "whole", run)
                if found:
                    failures += 1
                    print(f"run {runs} differs after {mine} kills: {'; '.join(found)}", flush=True)
                break
            shutil.rmtree(run)
    told = ", ".join(f"{n} in {place}" for place, n in places.most_common())
    print(f"{sum(places.values())} kills of {runs} runs ({told}), {lives} processes, {failures} runs that differ or failed")
    return 1 if failures else 0


if __name__ == "__main__":
    sys.exit(main())
