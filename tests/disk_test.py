#!/usr/bin/env python3
"""What a run does when its disk fails it: full, made read-only, or its directory deleted while it trains.

    tests/disk_test.py PROGRAM

Each must end with exit code 1 and a message that names the file and the reason, leave the last checkpoint whole,
and go on from it once the disk is well. The disk is a small tmpfs in a mount namespace of its own: exit code 77,
skipped, where the system does not allow one.
"""

import os
import shutil
import subprocess
import sys
import tempfile
import time
import unittest
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent / "scripts"))
from kill_test import command, differences, write_data  # noqa: E402

INSIDE = "FULCRUM_DISK_TEST_INSIDE"
PROGRAM = sys.argv.pop() if len(sys.argv) > 1 else ""


class Disk(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.folder = Path(tempfile.mkdtemp(prefix="fulcrum-disk-"))
        write_data(cls.folder / "data")
        cls.whole = cls.folder / "whole"
        subprocess.run(cls.words(cls.whole), check=True, capture_output=True)

    @classmethod
    def tearDownClass(cls):
        shutil.rmtree(cls.folder)

    @classmethod
    def words(cls, run):
        return command(PROGRAM, cls.folder / "data", run)

    def setUp(self):
        self.disk = self.folder / "disk"
        self.disk.mkdir()
        subprocess.run(["mount", "-t", "tmpfs", "-o", "size=32m", "tmpfs", self.disk], check=True)
        self.run_folder = self.disk / "run"

    def tearDown(self):
        subprocess.run(["umount", "-l", self.disk], check=True)
        self.disk.rmdir()

    def start(self):
        """A run that has a checkpoint, still training."""
        process = subprocess.Popen(self.words(self.run_folder), stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
        while process.poll() is None and not (self.run_folder / "previous.safetensors").exists():
            time.sleep(0.0005)
        self.assertIsNone(process.poll())
        return process

    def check_failed(self, process, *parts):
        out, err = process.communicate(timeout=60)
        self.assertEqual(process.returncode, 1, err)
        self.assertEqual(out, "")
        self.assertIn("error: ", err)
        for part in parts:
            self.assertIn(part, err)

    def check_goes_on(self):
        rest = subprocess.run(self.words(self.run_folder), capture_output=True, text=True)
        self.assertEqual(rest.returncode, 0, rest.stderr)
        self.assertIn("resuming at epoch", rest.stderr)
        self.assertEqual(differences(self.whole, self.run_folder), [])

    def test_full(self):
        process = self.start()
        with open(self.disk / "others", "wb") as others:  # somebody else fills it
            try:
                while True:
                    others.write(bytes(1 << 16))
                    others.flush()
            except OSError:
                pass
        self.check_failed(process, "No space left on device", "continue with --resume", str(self.run_folder))
        os.unlink(self.disk / "others")
        self.check_goes_on()

    def test_read_only(self):
        process = self.start()
        subprocess.run(["mount", "--bind", self.run_folder, self.run_folder], check=True)
        subprocess.run(["mount", "-o", "remount,bind,ro", self.run_folder], check=True)
        self.check_failed(process, "Read-only file system", "continue with --resume", str(self.run_folder))
        subprocess.run(["umount", self.run_folder], check=True)
        self.check_goes_on()

    def test_deleted(self):
        process = self.start()
        self.run_folder.rename(self.disk / "gone")
        self.check_failed(process, "No such file or directory", str(self.run_folder))
        self.assertFalse(self.run_folder.exists())
        (self.disk / "gone").rename(self.run_folder)  # what a backup would bring back
        self.check_goes_on()


def main():
    if not os.environ.get(INSIDE):
        allowed = subprocess.run(["unshare", "--map-root-user", "--mount", "mount", "-t", "tmpfs", "tmpfs", "/mnt"],
                                 capture_output=True).returncode == 0
        if not allowed:
            print("skipped: no mount namespace of its own")
            return 77
        os.environ[INSIDE] = "1"
        os.execvp("unshare", ["unshare", "--map-root-user", "--mount", sys.executable, __file__, PROGRAM])
    return 0 if unittest.main(argv=[sys.argv[0]], exit=False).result.wasSuccessful() else 1


if __name__ == "__main__":
    sys.exit(main())
