"""What README.md, docs/python.md and docs/own-loss.md show in Python runs, top to bottom, on small data."""
import json
import os
import pathlib
import re
import sys
import tempfile
import unittest
from unittest import mock

import numpy as np

import fulcrum
import fulcrum.functional as F
from fulcrum import data

docs = pathlib.Path(__file__).parents[2] / "docs"


def blocks(page):
    return re.findall(r"^```python\n(.*?)^```$", (docs / page).read_text(), re.MULTILINE | re.DOTALL)


def fashion(folder, train):
    rng = np.random.default_rng(int(train))
    labels = np.arange(400 if train else 40) % 10
    return data.from_arrays(rng.integers(0, 256, (len(labels), 12, 12, 1), np.uint8), labels)


def a_run(folder):
    folder.mkdir(parents=True)
    model = fulcrum.make_model("resnet8", classes=10, channels=1)
    inputs = {"shape": [12, 12, 1], "mean": [0.5], "std": [0.25], "classes": [str(k) for k in range(10)]}
    fulcrum.save_file(model.state_dict(), folder / "best.safetensors",
                      {"inputs": json.dumps(inputs), "config": "[model]\nname = 'resnet8'\n\n[loss]\nname = 'ce'\n"})
    (folder / "config.toml").write_text("[risk]\nname = 'kl'\nlambda = 5.0\n")
    (folder / "result.json").write_text('{"seed": 1, "balanced": 0.5, "best": {"balanced": 0.6}}')
    (folder / "metrics.jsonl").write_text('{"train": {"loss": 2.0}}\n{"train": {"loss": 1.5}}\n')


class Pages(unittest.TestCase):
    def run_page(self, page, names):
        for i, block in enumerate(blocks(page)):
            if "fulcrum.torch" in block or ("tomllib" in block and sys.version_info < (3, 11)):
                continue
            with self.subTest(page=page, block=i):
                exec(compile(block, f"{page}, block {i + 1} in Python", "exec"), names)

    def test_python_md(self):
        here, names = os.getcwd(), {}
        quiet = mock.patch.object(data, "load_fashion_mnist", fashion), mock.patch("builtins.print")
        with tempfile.TemporaryDirectory() as folder, quiet[0], quiet[1]:
            os.chdir(folder)
            try:
                a_run(pathlib.Path("runs/first"))
                pathlib.Path("runs/unfinished").mkdir()
                self.run_page("python.md", names)
                self.assertEqual(names["rows"], [{"run": "first", "risk": "kl", "lambda": 5, "seed": 1, "balanced": 0.5,
                                                  "best": 0.6, "first loss": 2, "last loss": 1.5}])
                self.check_two_heads(names["TwoHeads"]())
                self.check_resume(names)
            finally:
                os.chdir(here)

    def check_two_heads(self, model):
        x = fulcrum.ones([2, 12, 12, 1])
        logits, projection = model.eval()(x)
        np.testing.assert_array_equal(logits.numpy(), model.backbone(x).numpy())
        self.assertEqual((logits.shape, projection.shape), ((2, 10), (2, 16)))

    def check_resume(self, names):
        """The loop's state comes back, into a model that went elsewhere meanwhile."""
        before = {part: {name: t.numpy().copy() for name, t in named.items()} for part, named in names["everything"]().items()}
        for p in names["model"].parameters():
            p.copy_(fulcrum.zeros_like(p))
        names["ema"].update()
        names["opt"].weigh(fulcrum.ones([2]))
        self.assertEqual(names["resume"]("loop.safetensors"), 10)
        for part, named in names["everything"]().items():
            for name, tensor in named.items():
                np.testing.assert_array_equal(tensor.numpy(), before[part][name], err_msg=f"{part} {name}")

    def test_readme(self):
        loader = data.Loader(fashion(None, train=True), batch_size=200)
        self.run_page("../README.md", {"loader": loader})

    def test_own_loss_md(self):
        names = {}
        self.run_page("own-loss.md", names)
        logits, labels = fulcrum.tensor([[1.0, 2], [0.5, -1]], requires_grad=True), fulcrum.tensor([0, 1])
        p = np.exp(-F.cross_entropy(logits, labels).detach().numpy())
        np.testing.assert_allclose(names["poly1_loss"](logits, labels).detach().numpy(), -np.log(p) + 1 - p, rtol=1e-6)
        memory = fulcrum.zeros([5, 2])
        losses = names["elr_loss"](logits, labels, fulcrum.tensor([3, 1]), memory)
        q = F.softmax(logits).detach().numpy()
        np.testing.assert_allclose(memory.numpy()[[3, 1]], 0.3 * q, rtol=1e-6)
        np.testing.assert_allclose(losses.detach().numpy(), -np.log(p) + 3 * np.log(1 - 0.3 * (q * q).sum(1)), rtol=1e-5)
        F.sum(losses).backward()
        targets = F.one_hot(labels, 2)
        s = 1 / (1 + np.exp(-logits.detach().numpy()))
        shifted = np.maximum(s - 0.05, 0)
        expected = np.where(targets.numpy() > 0, -np.log(s), -shifted**4 * np.log(1 - shifted)).sum(1)
        np.testing.assert_allclose(names["asymmetric_loss"](logits, targets).detach().numpy(), expected, rtol=1e-5)


if __name__ == "__main__":
    unittest.main()
