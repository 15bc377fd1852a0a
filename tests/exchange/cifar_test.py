#!/usr/bin/env python3
"""The Python version of CIFAR-10 and CIFAR-100, through scripts/data/cifar_from_python.py, as the program sees it.

    FULCRUM_PROGRAM=build/fulcrum tests/exchange/cifar_test.py
"""
import pathlib
import pickle
import subprocess
import sys
import tempfile
import unittest

import numpy as np

from program import fulcrum

SCRIPT = pathlib.Path(__file__).parents[2] / "scripts/data/cifar_from_python.py"
rng = np.random.default_rng(3)


def write(path, content):
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(pickle.dumps(content, protocol=2))


def batch(count, keys):
    pixels = rng.integers(0, 256, (count, 3072)).astype(np.uint8)
    return {b"data": pixels, **{key: [i % classes for i in range(count)] for key, classes in keys.items()}}


def convert(*words):
    return subprocess.run([sys.executable, SCRIPT, *words], capture_output=True, text=True)


class FromPython(unittest.TestCase):
    def setUp(self):
        self.folder = tempfile.TemporaryDirectory()
        self.addCleanup(self.folder.cleanup)
        self.root = pathlib.Path(self.folder.name)

    def stats(self, name):
        return fulcrum("data", "stats", "--dataset", name, "--data-dir", str(self.root / "out"))

    def converted(self):
        done = convert(self.root / "in", self.root / "out")
        self.assertEqual(done.returncode, 0, done.stderr)

    def test_cifar10(self):
        names = [b"class %d" % i for i in range(10)]
        write(self.root / "in/cifar-10-batches-py/batches.meta", {b"label_names": names})
        batches = [batch(20, {b"labels": 10}) for _ in range(6)]
        for part, content in zip(["data_batch_1", "data_batch_2", "data_batch_3", "data_batch_4", "data_batch_5",
                                  "test_batch"], batches):
            write(self.root / "in/cifar-10-batches-py" / part, content)
        self.converted()
        stats = self.stats("cifar10")
        self.assertEqual(stats["images"], 100)
        self.assertEqual(stats["class_names"], [name.decode() for name in names])
        pixels = np.concatenate([b[b"data"] for b in batches[:5]]).reshape(-1, 3, 1024) / 255
        np.testing.assert_allclose(stats["mean"], pixels.mean((0, 2)), rtol=1e-5)

    def test_cifar100(self):
        keys = {b"coarse_labels": 20, b"fine_labels": 100}
        write(self.root / "in/meta", {b"coarse_label_names": [b"c%d" % i for i in range(20)],
                                      b"fine_label_names": [b"f%d" % i for i in range(100)]})
        write(self.root / "in/train", batch(200, keys))
        write(self.root / "in/test", batch(100, keys))
        self.converted()
        stats = self.stats("cifar100")
        self.assertEqual(stats["images"], 200)
        self.assertEqual(stats["class_names"][99], "f99")

    def test_refuses_code_and_other_folders(self):
        self.assertIn("expected data_batch_1", convert(self.root, self.root / "out").stderr)
        for part in ("meta", "train", "test"):
            write(self.root / "in" / part, {b"data": pathlib.PurePath("x")})
        refused = convert(self.root / "in", self.root / "out")
        self.assertEqual(refused.returncode, 1)
        self.assertIn("expected arrays and lists, got pathlib", refused.stderr)


if __name__ == "__main__":
    unittest.main()
