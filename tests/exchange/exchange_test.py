"""Models between PyTorch and Fulcrum, in files: PyTorch takes Fulcrum's with every name matched, Fulcrum takes
PyTorch's through scripts/export_torch.py, and both compute the same from them.  tests/python.sh runs this."""

import contextlib
import io
import sys
import tempfile
import unittest
from pathlib import Path

import numpy as np
import torch
from safetensors.torch import load_file

SCRIPTS = Path(__file__).resolve().parents[2] / "scripts"
sys.path[:0] = [str(SCRIPTS), str(SCRIPTS / "peers")]
import export_torch  # noqa: E402
from cifar_resnet import cifar_resnet  # noqa: E402
from program import fulcrum  # noqa: E402
from tiny_data import write_data  # noqa: E402

MEAN, STDDEV = 0.2860, 0.3530  # fashion_mnist_statistics() of data/idx.h
LOGITS_TOLERANCE = 1e-4  # f32 in another order of summation


class Exchange(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.folder = tempfile.TemporaryDirectory()
        cls.dir = Path(cls.folder.name)
        cls.addClassCleanup(cls.folder.cleanup)
        write_data(cls.dir / "data")
        raw = (cls.dir / "data" / "t10k-images-idx3-ubyte").read_bytes()[16:]
        pixels = torch.frombuffer(bytearray(raw), dtype=torch.uint8).reshape(-1, 1, 28, 28)
        cls.images = (pixels.float() / 255 - MEAN) / STDDEV
        cls.labels = torch.arange(len(pixels)) % 10
        cls.flags = ["--model", "resnet8", "--dataset", "fashion-mnist", "--data-dir", str(cls.dir / "data")]
        fulcrum("train", "--epochs", "6", "--batch-size", "32", "--opt", "absgd", "--lambda", "5",
                "--output", str(cls.dir / "run"), *cls.flags)

    def export(self, *words, status: int = 0) -> str:
        out = io.StringIO()
        with contextlib.redirect_stdout(out), contextlib.redirect_stderr(out):
            self.assertEqual(export_torch.main([str(word) for word in words]), status, out.getvalue())
        return out.getvalue()

    def check_same(self, path: Path, model: torch.nn.Module, *flags: str) -> None:
        """`fulcrum eval path` computes what the model does."""
        metrics = fulcrum("eval", str(path), "--logits", str(self.dir / "logits"), *self.flags, *flags)
        ours = load_file(self.dir / "logits")
        model.eval()
        with torch.no_grad():
            theirs = model(self.images)
        self.assertTrue(torch.equal(ours["labels"], self.labels))
        self.assertLess((ours["logits"] - theirs).abs().max().item(), LOGITS_TOLERANCE)
        loss = torch.nn.functional.cross_entropy(theirs, self.labels).item()
        self.assertAlmostEqual(metrics["loss"], loss, delta=1e-5)
        two = theirs.topk(2).values
        tied = two[:, 0] - two[:, 1] < 2 * LOGITS_TOLERANCE
        agree = ours["logits"].argmax(1) == theirs.argmax(1)
        self.assertTrue((agree | tied).all())
        self.assertLess(tied.sum().item(), 10)
        right = (theirs.argmax(1) == self.labels).float().mean().item()
        self.assertAlmostEqual(metrics["top1"], right, delta=tied.float().mean().item() + 1e-6)

    def test_fulcrums_files_in_pytorch(self):
        for name in ("last", "best"):
            with self.subTest(name):
                path = self.dir / "run" / f"{name}.safetensors"
                model = cifar_resnet("resnet8", in_channels=1)
                model.load_state_dict(export_torch.model_part(path), strict=True)
                self.check_same(path, model)

    def test_last_has_the_optimiser_and_the_way_back_leaves_it_out(self):
        last = self.dir / "run" / "last.safetensors"
        self.assertTrue(any(name.startswith("optim.") for name in load_file(last)))
        self.export(last, self.dir / "last.pt")
        model = cifar_resnet("resnet8", in_channels=1)
        model.load_state_dict(torch.load(self.dir / "last.pt", weights_only=True), strict=True)
        self.check_same(last, model)

    def test_averaged_weights_take_the_place_of_what_they_average(self):
        run = self.dir / "averaged"
        fulcrum("train", "--epochs", "1", "--batch-size", "32", "--lr", "0.05", "--threads", "2",
                "--model-ema-decay", "0.9", "--output", str(run), *self.flags)
        model = cifar_resnet("resnet8", in_channels=1)
        model.load_state_dict(export_torch.model_part(run / "last.safetensors"), strict=True)
        self.check_same(run / "last.safetensors", model)

    def test_pytorchs_model_in_fulcrum(self):
        torch.manual_seed(3)
        model = cifar_resnet("resnet8", in_channels=1)
        for _ in range(3):
            model(self.images)  # moves the running statistics
        wrapped = {f"module.{name}": t for name, t in model.state_dict().items()}
        torch.save({"epoch": 3, "state_dict": wrapped, "best_acc1": 0.5}, self.dir / "model.pth")
        said = self.export(self.dir / "model.pth", self.dir / "model.safetensors")
        self.assertIn(f"{len(wrapped)} tensors", said)
        self.check_same(self.dir / "model.safetensors", model)

    def test_torchvisions_networks_in_fulcrum(self):
        try:
            import torchvision
        except ImportError:
            self.skipTest("no torchvision")
        for name in ("resnet18", "resnet50", "resnext50_32x4d"):
            with self.subTest(name):
                torch.manual_seed(3)
                model = torchvision.models.get_model(name, weights=None, num_classes=10)
                model.conv1 = torch.nn.Conv2d(1, 64, 7, stride=2, padding=3, bias=False)
                with torch.no_grad():
                    for _ in range(20):
                        model(self.images)  # moves the running statistics to where they belong
                torch.save(model.state_dict(), self.dir / "model.pt")
                self.export(self.dir / "model.pt", self.dir / "model.safetensors")
                self.check_same(self.dir / "model.safetensors", model, "--model", name)

    def test_a_plain_state_dict_with_other_names_and_dtypes(self):
        state = {"_orig_mod.linear.weight": torch.ones(2, 3, dtype=torch.float16), "linear2.bias": torch.ones(2),
                 "mask": torch.tensor([True, False])}
        torch.save(state, self.dir / "plain.pt")
        self.export(self.dir / "plain.pt", self.dir / "plain.safetensors", "--rename", "linear=fc")
        tensors = load_file(self.dir / "plain.safetensors")
        self.assertEqual(set(tensors), {"fc.weight", "linear2.bias", "mask"})
        self.assertEqual(tensors["fc.weight"].dtype, torch.float32)
        self.assertEqual(tensors["mask"].tolist(), [1, 0])

    def test_tied_weights_and_other_keys(self):
        shared = torch.arange(6.0).reshape(2, 3)
        torch.save({"ema": {"a": shared, "b": shared.T}}, self.dir / "ema.pt")
        self.assertIn("the keys 'ema'", self.export(self.dir / "ema.pt", self.dir / "ema.safetensors", status=1))
        self.export(self.dir / "ema.pt", self.dir / "ema.safetensors", "--key", "ema")
        self.assertTrue(torch.equal(load_file(self.dir / "ema.safetensors")["b"], shared.T))

    def test_refusals(self):
        target = self.dir / "refused.safetensors"
        torch.save({"state_dict": Path("code would run")}, self.dir / "code.pt")
        (self.dir / "text.pt").write_text("no checkpoint")
        torch.save({"w": torch.ones(2, dtype=torch.complex64)}, self.dir / "complex.pt")
        torch.save({"module.w": torch.ones(2), "w": torch.ones(2)}, self.dir / "twice.pt")
        for source, message in (("code.pt", "weights_only=True"), ("text.pt", "expected a file that torch.load"),
                                ("complex.pt", "complex64"), ("twice.pt", "would be named w"),
                                ("missing.pt", "missing.pt")):
            with self.subTest(source):
                self.assertIn(message, self.export(self.dir / source, target, status=1))
        torch.save({"w": torch.ones(2)}, self.dir / "w.pt")
        self.assertIn("got fc", self.export(self.dir / "w.pt", target, "--rename", "fc=head", status=1))
        self.assertFalse(target.exists())

    def test_a_model_by_name(self):
        try:
            import torchvision
        except ImportError:
            self.skipTest("no torchvision")
        target = self.dir / "named.safetensors"
        self.export("torchvision:shufflenet_v2_x0_5", target, "--random")
        names = torchvision.models.shufflenet_v2_x0_5().state_dict().keys()
        self.assertEqual(set(load_file(target)), set(names))
        self.assertIn("nonesuch", self.export("torchvision:nonesuch", target, "--random", status=1))


if __name__ == "__main__":
    unittest.main()
