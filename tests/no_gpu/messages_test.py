#!/usr/bin/env python3
"""What the program says where there is no GPU that it can use: each row of the table in docs/errors.md, section "No GPU".

    tests/no_gpu/messages_test.py PROGRAM LIBRARY [unittest options]

LIBRARY (pretend.cpp) answers for the driver, the devices and cuDNN, so that neither a GPU nor its absence is needed.
Exit code 77, skipped, where the program was built without the CUDA back-end.
"""

import os
import re
import subprocess
import sys
import tempfile
import unittest
from pathlib import Path

PAGE = Path(__file__).resolve().parents[2] / "docs" / "errors.md"
PROGRAM, LIBRARY = (os.path.abspath(sys.argv.pop(1)) for _ in range(2)) if len(sys.argv) > 2 else ("", "")
# What the library pretends, for the first cell of each row.
PRETENDED = {
    "no driver": "no driver",
    "a driver that is too old": "old driver",
    "the toolkit's stub of a driver": "stub driver",
    "a driver without a device": "no device",
    "a driver that fails": "broken driver",
    "no cuDNN": "no cuDNN",
    "cuDNN of another major version": "old cuDNN",
    "fewer devices than asked for": "one device",
}


def rows():
    """The cells of the table: what is wrong, message."""
    section = PAGE.read_text().split("\n## No GPU\n")[1].split("\n## ")[0]
    lines = [line for line in section.splitlines() if line.startswith("|")][2:]
    return [(name.strip(), message.strip().strip("`")) for _, name, message, *_ in (line.split("|") for line in lines)]


def run(pretended, *words):
    environment = {name: value for name, value in os.environ.items()
                   if name not in ("CUDA_VISIBLE_DEVICES", "FULCRUM_DEVICE", "LD_PRELOAD")}
    with tempfile.TemporaryDirectory(prefix="fulcrum-no-gpu-") as folder:
        done = subprocess.run([PROGRAM, *words], capture_output=True, text=True, timeout=60, cwd=folder,
                              env={**environment, "LD_PRELOAD": LIBRARY, "FULCRUM_PRETEND": pretended})
        return done, os.listdir(folder)


def device_of(message):
    return "cuda:3" if "got cuda:3" in message else "cuda"


class Messages(unittest.TestCase):
    def test_every_row_has_its_pretence(self):
        self.assertEqual(sorted(name for name, _ in rows()), sorted(PRETENDED))

    def test_every_row_is_true(self):
        for name, message in rows():
            pattern = ".*".join(re.escape(part) for part in message.split("…"))
            for words in (["train", "--model", "resnet8"], ["bench", "--model", "resnet8"]):
                with self.subTest(name, command=words[0]):
                    done, left = run(PRETENDED[name], *words, "--device", device_of(message))
                    self.assertEqual(done.returncode, 1, done.stderr)
                    self.assertEqual(done.stdout, "")
                    self.assertRegex(done.stderr, rf"\Aerror: {pattern}\n\Z")
                    self.assertEqual(left, [])

    def test_info_gives_the_reason_and_goes_on(self):
        for name, message in rows():
            reason = message.partition(", but ")[2]
            if not reason:  # there is a device
                continue
            with self.subTest(name):
                done, _ = run(PRETENDED[name], "info")
                self.assertEqual(done.returncode, 0, done.stderr)
                pattern = ".*".join(re.escape(part) for part in reason.split("…"))
                self.assertRegex(done.stdout, rf"(?m)^device +cuda: none, {pattern}$")

    def test_the_cpu_does_not_mind(self):
        words = ["bench", "--model", "resnet8", "-b", "2", "--size", "8", "--steps", "1", "--no-profile", "--device", "cpu"]
        for pretended in PRETENDED.values():
            with self.subTest(pretended):
                done, _ = run(pretended, *words)
                self.assertEqual(done.returncode, 0, done.stderr)


if __name__ == "__main__":
    if not LIBRARY:
        print("skipped: this program was built without the CUDA back-end")
        sys.exit(77)
    unittest.main()
