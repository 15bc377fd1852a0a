"""Tensors and weights shared with PyTorch, and the same numbers from both."""
import gc
import io
import pathlib
import runpy
import sys
import unittest

import numpy as np
import torch

import fulcrum
import fulcrum.functional as F
from fulcrum.torch import Weigher


class Sharing(unittest.TestCase):
    def test_every_dtype_both_ways(self):
        for name, dtype in [("f32", torch.float32), ("f64", torch.float64), ("bf16", torch.bfloat16), ("u8", torch.uint8),
                            ("i32", torch.int32), ("i64", torch.int64)]:
            theirs = torch.arange(6).reshape(2, 3).to(dtype)
            ours = fulcrum.from_dlpack(theirs)
            self.assertEqual((ours.dtype, ours.data_ptr()), (name, theirs.data_ptr()))
            back = torch.from_dlpack(ours)
            self.assertEqual((back.dtype, back.data_ptr(), back.shape), (dtype, theirs.data_ptr(), theirs.shape))
            back[1, 2] = 42
            self.assertEqual(ours[1][2].item(), 42)

    def test_either_side_may_go_first(self):
        ours = fulcrum.from_dlpack(torch.full((1000,), 3.0))
        theirs = torch.from_dlpack(fulcrum.full([1000], 5))
        gc.collect()
        for _ in range(10):
            fulcrum.zeros([1000]), torch.zeros(1000)
        self.assertEqual((F.sum(ours).item(), theirs.sum().item()), (3000, 5000))

    def test_other_strides_are_refused(self):
        with self.assertRaisesRegex(fulcrum.Error, "contiguous"):
            fulcrum.from_dlpack(torch.zeros(2, 3).t())


class Losses(unittest.TestCase):
    def test_labels_that_are_shares_of_the_classes(self):
        x, weight = torch.randn(5, 3, requires_grad=True), torch.tensor([0.5, 1.0, 2.0])
        q = torch.softmax(torch.randn(5, 3), 1)
        options = {"weight": weight, "label_smoothing": 0.1}
        theirs = torch.nn.functional.cross_entropy(x, q, reduction="none", **options)
        theirs.sum().backward()
        ours = fulcrum.from_dlpack(x.detach().clone())
        ours.requires_grad = True
        losses = F.cross_entropy(ours, fulcrum.from_dlpack(q), fulcrum.from_dlpack(weight), smoothing=0.1)
        F.sum(losses).backward()
        torch.testing.assert_close(torch.from_dlpack(losses.detach()), theirs.detach())
        torch.testing.assert_close(torch.from_dlpack(ours.grad), x.grad)


class Weights(unittest.TestCase):
    def test_weights_are_shared_and_have_no_gradient(self):
        losses = torch.tensor([0.1, 0.5, 2.0, 3.0], requires_grad=True)
        weigher = Weigher(fulcrum.KlRisk(lambda_=5, gamma=0.7))
        total = weigher(losses)
        p = torch.softmax(losses.detach() / 5, 0)
        torch.testing.assert_close(weigher.weights, p)
        torch.testing.assert_close(total, (p * losses).sum())
        total.backward()
        torch.testing.assert_close(losses.grad, p)
        self.assertFalse(weigher.weights.requires_grad)

    def test_half_precision_and_groups(self):
        losses = torch.tensor([1.0, 2.0], dtype=torch.bfloat16, requires_grad=True)
        weigher = Weigher(fulcrum.GroupRisk(2, eta=0.5))
        weigher(losses, groups=torch.tensor([0, 1])).backward()
        q = torch.softmax(torch.tensor([0.5, 1.0]), 0)
        torch.testing.assert_close(weigher.weights, q)
        torch.testing.assert_close(losses.grad, q.to(torch.bfloat16))

    def test_a_risk_in_python(self):
        class Largest(fulcrum.Risk):
            def weights(self, losses, indices, groups):
                return losses.numpy() == losses.numpy().max()

        weigher = Weigher(Largest())
        torch.testing.assert_close(weigher.weigh(torch.tensor([1.0, 3, 2])), torch.tensor([0.0, 1, 0]))
        self.assertEqual(weigher.risk.summary().steps, 1)

    def test_torch_and_fulcrum_train_alike(self):
        """The same linear model under ABSGD, differentiated and stepped by PyTorch, and by Fulcrum."""
        rng = np.random.default_rng(0)
        x, y = rng.normal(size=(64, 5)), rng.integers(0, 3, 64)
        model = torch.nn.Linear(5, 3).double()
        weight, bias = (fulcrum.tensor(p.detach().numpy(), requires_grad=True) for p in model.parameters())
        theirs = torch.optim.SGD(model.parameters(), lr=0.3, momentum=0.9)
        weigher = Weigher(fulcrum.KlRisk(lambda_=2, gamma=0.7))
        ours = fulcrum.ABSGD([weight, bias], lr=0.3, momentum=0.9, lambda_=2, gamma=0.7)
        for _ in range(20):
            losses = torch.nn.functional.cross_entropy(model(torch.from_numpy(x)), torch.from_numpy(y), reduction="none")
            theirs.zero_grad()
            weigher(losses).backward()
            theirs.step()
            own = F.cross_entropy(F.linear(fulcrum.from_numpy(x), weight, bias), fulcrum.from_numpy(y))
            ours.zero_grad()
            ours.weigh(own).backward()
            ours.step()
        np.testing.assert_allclose(own.numpy(), losses.detach().numpy(), rtol=1e-9)
        np.testing.assert_allclose(weight.numpy(), model.weight.detach().numpy(), rtol=1e-9)

    def test_a_run_goes_on_from_its_checkpoint(self):
        rng = np.random.default_rng(0)
        x, y = torch.from_numpy(rng.normal(size=(6, 8, 5))).float(), torch.from_numpy(rng.integers(0, 3, (6, 8)))

        def made():
            torch.manual_seed(0)
            model = torch.nn.Linear(5, 3)
            return {"model": model, "optimizer": torch.optim.SGD(model.parameters(), lr=0.3, momentum=0.9),
                    "weigher": Weigher(fulcrum.KlRisk(lambda_=2, gamma=0.7))}

        def train(parts, batches):
            for b in batches:
                parts["optimizer"].zero_grad()
                parts["weigher"](torch.nn.functional.cross_entropy(parts["model"](x[b]), y[b], reduction="none")).backward()
                parts["optimizer"].step()

        parts, file = made(), io.BytesIO()
        train(parts, range(3))
        torch.save({name: part.state_dict() for name, part in parts.items()}, file)
        train(parts, range(3, 6))
        again = made()
        file.seek(0)
        for name, state in torch.load(file).items():  # plain tensors, weights_only
            again[name].load_state_dict(state)
        train(again, range(3, 6))
        self.assertTrue(torch.equal(again["model"].weight, parts["model"].weight))
        with self.assertRaisesRegex(fulcrum.Error, "lacks 'kl'"):
            again["weigher"].load_state_dict({"statistics": torch.zeros(4)})

    def test_the_example(self):
        script = pathlib.Path(__file__).parents[2] / "examples/python/torch_absgd.py"
        arguments, sys.argv = sys.argv, [str(script), "--epochs", "5"]
        try:
            runpy.run_path(str(script), run_name="__main__")
        finally:
            sys.argv = arguments


# (name, with Fulcrum, with PyTorch, dimensions of x or numbers)
numbers = np.array([[-0.5, 1e-9, 0, 3e-5], [1.5, -0.75, 100, -1e-7], [0.25, 0.5, 2, 7]])
alike = [
    ("squeeze", lambda x: x.squeeze(), lambda x: x.squeeze(), [2, 1, 3, 1]),
    ("squeeze of one", lambda x: x.squeeze(-1), lambda x: x.squeeze(-1), [2, 1, 3, 1]),
    ("squeeze of none", lambda x: x.squeeze(0), lambda x: x.squeeze(0), [2, 1, 3, 1]),
    ("unsqueeze", lambda x: x.unsqueeze(1), lambda x: x.unsqueeze(1), [2, 3]),
    ("unsqueeze at the end", lambda x: x.unsqueeze(-1), lambda x: x.unsqueeze(-1), [2, 3]),
    ("flatten", lambda x: x.flatten(), lambda x: x.flatten(), [2, 3, 4]),
    ("flatten from 1", lambda x: x.flatten(1), lambda x: x.flatten(1), [2, 3, 4, 2]),
    ("flatten to -2", lambda x: x.flatten(0, -2), lambda x: x.flatten(0, -2), [2, 3, 4]),
    ("softmax", lambda x: x.softmax(0), lambda x: x.softmax(0), [3, 4]),
    ("log_softmax", lambda x: x.log_softmax(1), lambda x: x.log_softmax(1), [3, 4]),
    ("relu", lambda x: x.relu(), lambda x: x.relu(), [3, 4]),
    ("sigmoid", lambda x: x.sigmoid(), lambda x: x.sigmoid(), [3, 4]),
    ("tanh", lambda x: x.tanh(), lambda x: x.tanh(), [3, 4]),
    ("clamp", lambda x: x.clamp(-0.5, 0.7), lambda x: x.clamp(-0.5, 0.7), [3, 4]),
    ("clamp from below", lambda x: x.clamp(min=0.1), lambda x: x.clamp(min=0.1), [3, 4]),
    ("masked_fill", lambda x: x.masked_fill(x > 0.2, 9), lambda x: x.masked_fill(x > 0.2, 9), [3, 4]),
    ("max", lambda x: x.max(), lambda x: x.max(), [3, 4]),
    ("min", lambda x: x.min(), lambda x: x.min(), [3, 4]),
    ("log1p", F.log1p, torch.log1p, numbers),
    ("normalize", F.normalize, torch.nn.functional.normalize, [3, 4]),
    ("normalize rows of zeros", lambda x: F.normalize(x, dim=0), lambda x: torch.nn.functional.normalize(x, dim=0), numbers * [1, 1, 0, 1]),
    ("normalize by sums", lambda x: F.normalize(x, 1, -1), lambda x: torch.nn.functional.normalize(x, 1, -1), [3, 4]),
    ("normalize by the largest", lambda x: F.normalize(x, float("inf")),
     lambda x: torch.nn.functional.normalize(x, float("inf")), [3, 4])]


class Operations(unittest.TestCase):
    def test_values_and_gradients_are_pytorchs(self):
        rng = np.random.default_rng(0)
        for name, ours, theirs, x in alike:
            for dtype in ("float64", "float32"):
                with self.subTest(name, dtype=dtype):
                    given = (rng.normal(size=x) if isinstance(x, list) else x).astype(dtype)
                    a, b = fulcrum.tensor(given, requires_grad=True), torch.tensor(given, requires_grad=True)
                    p, q = ours(a), theirs(b)
                    self.assertEqual(p.shape, tuple(q.shape))
                    weight = rng.normal(size=p.shape).astype(dtype)
                    F.sum(p * fulcrum.tensor(weight)).backward()
                    (q * torch.from_numpy(np.asarray(weight))).sum().backward()
                    tolerance = {"rtol": 1e-12 if dtype == "float64" else 2e-6, "atol": 1e-300 if name == "log1p" else 1e-7}
                    np.testing.assert_allclose(p.detach().numpy(), q.detach().numpy(), **tolerance)
                    np.testing.assert_allclose(a.grad.numpy(), b.grad.numpy(), **tolerance)

    def test_kl_div_is_pytorchs_summed_for_each_sample(self):
        rng = np.random.default_rng(0)
        logits, target = rng.normal(size=(2, 5, 3, 4))
        target = np.exp(target) * (target > -1)
        target /= target.sum((1, 2), keepdims=True)
        theirs = torch.nn.functional.kl_div
        for log_target in (False, True):
            t = np.log(target + 0.1) if log_target else target
            a, b = (make(logits, requires_grad=True) for make in (fulcrum.tensor, torch.tensor))
            c, d = (make(t, requires_grad=True) for make in (fulcrum.tensor, torch.tensor))
            p = F.kl_div(a.log_softmax(2), c, log_target)
            q = theirs(b.log_softmax(2), d, reduction="none", log_target=log_target).sum((1, 2))
            np.testing.assert_allclose(p.detach().numpy(), q.detach().numpy(), rtol=1e-9)
            F.sum(p).backward()
            theirs(b.log_softmax(2), torch.tensor(t), reduction="sum", log_target=log_target).backward()
            np.testing.assert_allclose(a.grad.numpy(), b.grad.numpy(), atol=1e-12)


class Saving(unittest.TestCase):
    def test_torch_saves_states_and_tensors(self):
        risk = fulcrum.KlRisk(lambda_=2)
        risk.weights(fulcrum.tensor([1.0, 2]))
        file = io.BytesIO()
        torch.save({"risk": risk.state(), "torch": torch.ones(2)}, file)
        file.seek(0)
        again = torch.load(file, weights_only=False)
        self.assertEqual(again["risk"]["kl"].tolist(), risk.state()["kl"].tolist())


if __name__ == "__main__":
    unittest.main()
