"""Models that the program trained, from their files."""
import json
import pathlib
import tempfile
import unittest

import numpy as np

import fulcrum
from fulcrum import data

rng = np.random.default_rng(0)
inputs = {"shape": [12, 8, 3], "mean": [0.5, 0.4, 0.3], "std": [0.25, 0.2, 0.3], "classes": ["cat", "dog"]}


def config(network="resnet8", loss="ce", stem=""):
    return (f"[data]\nname = \"it's\"\nmean = []\n\n[model]\nname = '{network}'\nstem = '{stem}'\ndropout = 0.25\n\n"
            f"[loss]\nname = '{loss}'\nldam_scale = 20.0\n")


def write(path, net, extra=None, **settings):
    fulcrum.save_file({**net.state_dict(), **(extra or {})}, path, {"config": config(**settings), "inputs": json.dumps(inputs)})


class LoadModel(unittest.TestCase):
    def setUp(self):
        folder = tempfile.TemporaryDirectory()
        self.addCleanup(folder.cleanup)
        self.run_dir = pathlib.Path(folder.name)

    def test_a_run_gives_its_last_model_and_what_it_was_trained_on(self):
        best, last = (fulcrum.make_model("resnet8", classes=2, seed=seed).eval() for seed in (1, 2))
        write(self.run_dir / "best.safetensors", best)
        self.assert_same(fulcrum.load_model(self.run_dir)[0], best)
        average = fulcrum.full([2], 7.0)
        write(self.run_dir / "last.safetensors", last, {"ema.fc.bias": average, "optim.momentum.fc.bias": average, "state.control": average})
        model, given = fulcrum.load_model(str(self.run_dir))
        self.assertEqual((model.state_dict()["fc.bias"].tolist(), model.training), ([7, 7], False))
        last.load_state_dict({**last.state_dict(), "fc.bias": average})
        self.assert_same(model, last)
        self.assert_same(fulcrum.load_model(self.run_dir / "best.safetensors")[0], best)
        self.assertEqual((given.image_shape, given.mean, given.stddev, given.class_names, given.logit_scale),
                         ((12, 8, 3), inputs["mean"], inputs["std"], ["cat", "dog"], 1))

    def assert_same(self, model, other):
        x = fulcrum.tensor(rng.normal(size=(2, 12, 8, 3)), dtype="f32")
        self.assertEqual(model(x).tolist(), other(x).tolist())

    def test_other_networks(self):
        for name, options in (("mlp", {"image": (12, 8)}), ("resnet18", {"stem": "cifar"}), ("resnet8", {"normed_head": True})):
            with self.subTest(name):
                net = fulcrum.make_model(name, classes=2, **options).eval()
                write(self.run_dir / "best.safetensors", net, network=name, stem=options.get("stem", ""),
                      loss="ldam" if "normed_head" in options else "ce")
                model, given = fulcrum.load_model(self.run_dir)
                self.assert_same(model, net)
                self.assertEqual(given.logit_scale, 20 if "normed_head" in options else 1)

    def test_images_are_prepared_as_the_loader_does(self):
        images = rng.integers(0, 256, (5, 12, 8, 3), np.uint8)
        loader = data.Loader(data.from_arrays(images, np.zeros(5, int)), mean=inputs["mean"], stddev=inputs["std"])
        given = fulcrum.ModelInputs((12, 8, 3), inputs["mean"], inputs["std"], inputs["classes"])
        for form in (images, fulcrum.tensor(images)):
            np.testing.assert_allclose(given.prepare(form).numpy(), next(iter(loader)).images.numpy(), atol=1e-6)
        for wrong in (images[:, :4], images[0], images.astype(np.float32)):
            with self.assertRaisesRegex(fulcrum.Error, r"expected images u8 \[N, 12, 8, 3\], got "):
                given.prepare(wrong)

    def test_what_is_refused(self):
        with self.assertRaisesRegex(fulcrum.Error, "expected a run's directory with last.safetensors or best.safetensors"):
            fulcrum.load_model(self.run_dir)
        file = self.run_dir / "mine.safetensors"
        fulcrum.save_file({"x": fulcrum.ones([1])}, file, {"config": config()})
        with self.assertRaisesRegex(fulcrum.Error, r"mine.safetensors: expected the metadata 'inputs'"):
            fulcrum.load_model(file)
        with self.assertRaisesRegex(fulcrum.Error, "nowhere"):
            fulcrum.load_model(self.run_dir / "nowhere.safetensors")


if __name__ == "__main__":
    unittest.main()
