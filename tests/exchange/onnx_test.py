"""Fulcrum's models in onnxruntime: the checker of onnx accepts the file, and both compute the same logits.
tests/python.sh runs this."""

import json
import tempfile
import unittest
from pathlib import Path

import numpy as np
import onnx
import onnxruntime
from safetensors.numpy import load_file
from program import fulcrum
from tiny_data import write_data

TOLERANCE = 1e-4  # of the largest logit, and at least of 1: f32 in another order of summation

# Every kind of block, stem and head; the networks left out differ from one here in depth or width alone.
NETWORKS = {
    "resnet8": ["--model-ema-decay", "0.5"],
    "resnet10": [],
    "resnet18": ["--set", "model.stem=cifar", "--set", "model.dropout=0.1"],
    "resnext50_32x4d": [],
    "sce_cnn": [],
    "resnet20": ["--loss", "ldam"],  # the head of LDAM
}


class Onnx(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        folder = tempfile.TemporaryDirectory()
        cls.addClassCleanup(folder.cleanup)
        cls.dir = Path(folder.name)
        write_data(cls.dir / "data")
        raw = (cls.dir / "data" / "t10k-images-idx3-ubyte").read_bytes()[16:]
        cls.pixels = np.frombuffer(raw, np.uint8).reshape(-1, 1, 28, 28).astype(np.float32) / 255
        cls.data = ["--dataset", "fashion-mnist", "--data-dir", str(cls.dir / "data")]

    def train(self, model: str, flags: list[str]) -> str:
        run = str(self.dir / model)
        fulcrum("train", "--smoke", "--model", model, "-b", "8", "--lr", "0.01", "-o", run, *self.data, *flags)
        return run

    def logits(self, run: str) -> np.ndarray:
        fulcrum("eval", run, *self.data, "--logits", str(self.dir / "logits"))
        return load_file(self.dir / "logits")["logits"]

    def check_same(self, file: Path, images: np.ndarray, expected: np.ndarray) -> None:
        session = onnxruntime.InferenceSession(file, providers=["CPUExecutionProvider"])
        for batch in (1, 7, len(images)):  # of any size
            got = session.run(["logits"], {"images": images[:batch]})[0]
            self.assertEqual(got.shape, expected[:batch].shape)
            self.assertLess(np.abs(got - expected[:batch]).max(), TOLERANCE * max(1, np.abs(expected).max()))

    def test_every_network(self):
        for model, flags in NETWORKS.items():
            with self.subTest(model):
                run, file = self.train(model, flags), self.dir / f"{model}.onnx"
                said = fulcrum("export", run, "--onnx", str(file))
                self.assertEqual(said["images"], ["batch", 1, 28, 28])
                onnx.checker.check_model(onnx.load(file), full_check=True)
                inputs = json.loads({p.key: p.value for p in onnx.load(file).metadata_props}["inputs"])
                self.assertEqual(inputs["shape"], [28, 28, 1])
                expected = self.logits(run)
                self.assertGreater(expected.std(), 0.001)
                self.check_same(file, (self.pixels - inputs["mean"][0]) / np.float32(inputs["std"][0]), expected)

    def test_normalisation_inside(self):
        run, file = self.train("resnet8", ["--exist-ok"]), self.dir / "inside.onnx"
        self.assertTrue(fulcrum("export", run, "--onnx", str(file), "--normalize")["normalized_inside"])
        onnx.checker.check_model(onnx.load(file), full_check=True)
        self.check_same(file, self.pixels, self.logits(run))


if __name__ == "__main__":
    unittest.main()
