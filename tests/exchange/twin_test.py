"""The PyTorch twin of whole training runs beside `fulcrum reproduce`: the same settings, images and comparison, on two
batches an epoch of made-up data.  tests/python.sh runs this."""

import json
import os
import subprocess
import sys
import tempfile
import unittest
from pathlib import Path

import numpy as np
import torch

SCRIPTS = Path(__file__).resolve().parents[2] / "scripts"
sys.path.insert(0, str(SCRIPTS / "peers"))
import lt_settings  # noqa: E402
import torch_train  # noqa: E402


def write_cifar(folder: Path) -> None:
    folder.mkdir()
    rng = np.random.default_rng(1)
    for name, count in [*((f"data_batch_{i}.bin", 200) for i in range(1, 6)), ("test_batch.bin", 100)]:
        records = rng.integers(0, 256, (count, 3073), np.uint8)
        records[:, 0] = np.arange(count) % 10
        (folder / name).write_bytes(records.tobytes())


class Twin(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        folder = tempfile.TemporaryDirectory()
        cls.addClassCleanup(folder.cleanup)
        cls.dir = Path(folder.name)
        write_cifar(cls.dir / "data")
        cls.fulcrum("--epochs", "2", "--set", "train.limit_batches=2", "--output", cls.dir / "grid")

    @classmethod
    def fulcrum(cls, *words):
        command = [os.environ["FULCRUM_PROGRAM"], "reproduce", "cifar10-lt", "--ratios", "0.1", "--methods", "ce,ldam-drw",
                   "--seeds", "2", "--threads", "1", "--data-dir", cls.dir / "data", *words]
        subprocess.run(command, check=True, capture_output=True)

    def twin(self, *words, code=0):
        command = [sys.executable, SCRIPTS / "peers" / "torch_train.py", self.dir / "grid", "--ratio", "0.1", "--seeds", "0",
                   "1", "--epochs", "2", "--limit-batches", "2", "--threads", "1", "--data-dir", self.dir / "data",
                   "--output", self.dir / "twin", *words]
        done = subprocess.run([str(word) for word in command], capture_output=True, text=True)
        self.assertEqual(done.returncode, code, done.stderr)
        return done

    def test_trains_compares_and_remembers(self):
        first = self.twin()
        table = json.loads(first.stdout)
        grid = json.loads((self.dir / "grid" / "grid.json").read_text())
        for name, row in table["methods"].items():
            theirs = next(r for r in grid["rows"] if r["method"] == name)["last"]["top1"]
            np.testing.assert_allclose(row["fulcrum"]["last"]["values"], 100 * np.array(theirs["values"]), atol=0.01)
            difference = row["fulcrum"]["last"]["mean"] - row["twin"]["last"]["mean"]
            self.assertAlmostEqual(row["fulcrum - twin"]["last"]["difference"], difference, 2)
        self.assertIn("within two sd", first.stderr)
        again = self.twin()
        self.assertEqual(again.stdout, first.stdout)
        self.assertNotIn("epoch 1/2", again.stderr)
        self.assertIn("other settings", self.twin("--amp", "bf16", code=1).stderr)

    def test_other_settings_than_the_grids_are_refused(self):
        self.assertIn("schedule.milestones: twin [2]", self.twin("--epochs", "3", code=1).stderr)

    def test_settings_are_the_programs_at_other_lengths(self):
        for epochs in (15, 200):
            for method in ("ce", "ldam-drw"):
                settings = lt_settings.of_method("cifar10-lt", method, "0.1", epochs)
                self.assertEqual(settings["schedule.milestones"], [159 * epochs // 200])
                self.assertEqual(settings["loss.drw_epoch"], 160 * epochs // 200 if method == "ldam-drw" else 0)

    def test_the_loss_is_ldams_with_pytorchs_weighted_mean(self):
        settings = lt_settings.of_method("cifar10-lt", "ldam-drw", "0.01")
        counts = torch.tensor([5000, 2997, 1796, 1077, 645, 387, 232, 139, 83, 50])
        objective = torch_train.Objective(settings, counts)
        self.assertAlmostEqual(objective.margin[9].item(), 0.5)
        self.assertAlmostEqual(objective.margin[0].item(), 0.5 * 0.01**0.25, 6)
        self.assertAlmostEqual(objective.class_weight.sum().item(), 10, 4)
        logits, labels = torch.randn(4, 10).double(), torch.tensor([0, 9, 9, 3])
        z = logits.float().clone()
        for row, y in zip(z, labels):
            row[y] -= objective.margin[y]
        losses = torch.nn.functional.cross_entropy(30 * z, labels, reduction="none")
        w = objective.class_weight[labels]
        self.assertAlmostEqual(objective(logits, labels, 0).item(), losses.mean().item(), 4)
        self.assertAlmostEqual(objective(logits, labels, 160).item(), ((losses * w).sum() / w.sum()).item(), 4)

    def test_crops_are_windows_of_the_padded_image(self):
        generator = torch.Generator().manual_seed(0)
        pixels = torch.randint(0, 256, (3, 32, 32, 3), dtype=torch.uint8)
        padded = torch.nn.functional.pad(pixels, (0, 0, 4, 4, 4, 4))
        for flip in (False, True):
            for image in torch_train.augmented(padded, torch.tensor([2, 0, 2]), flip, generator)[:1]:
                windows = [padded[2, y : y + 32, x : x + 32] for y in range(9) for x in range(9)]
                windows += [w.flip(1) for w in windows] if flip else []
                self.assertTrue(any(torch.equal(image, torch_train.normalised(w[None])[0]) for w in windows))


if __name__ == "__main__":
    unittest.main()
