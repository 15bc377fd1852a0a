#!/usr/bin/env python3
"""TensorBoard's own reader on the event files of a run that was continued twice.

    FULCRUM_PROGRAM=build/fulcrum tests/exchange/tensorboard_test.py

The run goes on from an older checkpoint once, as after a kill: every epoch must appear once, with the
numbers of metrics.jsonl.
"""
import json
import os
import pathlib
import shutil
import struct
import subprocess
import tempfile

from tensorboard.backend.event_processing.event_accumulator import EventAccumulator


def write_data(folder, size=12):
    """Noise in Fashion-MNIST's format."""
    folder.mkdir()
    for prefix, n in (("train", 200), ("t10k", 50)):
        pixels = bytes((i * i * 37 + i) % 251 for i in range(n * size * size))
        (folder / f"{prefix}-images-idx3-ubyte").write_bytes(struct.pack(">4I", 0x803, n, size, size) + pixels)
        labels = bytes(i % 10 for i in range(n))
        (folder / f"{prefix}-labels-idx1-ubyte").write_bytes(struct.pack(">2I", 0x801, n) + labels)


def main():
    program = os.environ["FULCRUM_PROGRAM"]
    with tempfile.TemporaryDirectory() as folder:
        root = pathlib.Path(folder)
        run = root / "run"
        write_data(root / "data")

        def train(epochs):
            subprocess.run([program, "train", "--model", "resnet8", "--data-dir", root / "data", "-o", run,
                            "--epochs", str(epochs), "--lr", "0.01", "--threads", "1", "--resume", "auto"],
                           check=True, capture_output=True)

        train(1)
        shutil.copy(run / "last.safetensors", root / "old")
        train(2)
        shutil.copy(root / "old", run / "last.safetensors")
        train(3)

        events = EventAccumulator(str(run))
        events.Reload()
        rows = [json.loads(line) for line in (run / "metrics.jsonl").read_text().splitlines()]
        assert len(rows) == 3, rows
        for tag, value in (("test/top1", lambda r: r["test"]["top1"]), ("train/loss", lambda r: r["train"]["loss"]),
                           ("lr", lambda r: r["lr"])):
            scalars = events.Scalars(tag)
            assert [s.step for s in scalars] == [1, 2, 3], (tag, scalars)
            for scalar, row in zip(scalars, rows):
                assert abs(scalar.value - value(row)) <= 1e-6 * abs(value(row)), (tag, scalar, row)
        print("tags:", ", ".join(sorted(events.Tags()["scalars"])))


main()
