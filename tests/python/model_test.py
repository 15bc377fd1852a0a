"""Models, their files, and whole runs."""
import gc
import math
import pathlib
import tempfile
import unittest

import numpy as np
from data_test import rows

import fulcrum
import fulcrum.functional as F
from fulcrum import data, nn


class Net(nn.Module):
    def __init__(self, seed=0):
        super().__init__(seed)
        self.body = nn.Sequential(nn.Conv2d(1, 4, 3, padding=1, bias=False), nn.BatchNorm(4), nn.ReLU())
        self.head = nn.Linear(4, 3)

    def forward(self, x):
        return self.head(F.global_avg_pool2d(self.body(x)))


class Models(unittest.TestCase):
    def test_make_model_and_files(self):
        self.assertIn("resnet32", fulcrum.model_names())
        with tempfile.TemporaryDirectory() as folder:
            path = pathlib.Path(folder, "model.safetensors")
            first, second = (fulcrum.make_model("resnet8", classes=5, channels=1, seed=s) for s in (1, 2))
            fulcrum.save_file(first.state_dict(), path, {"model": "resnet8"})
            self.assertEqual(fulcrum.load_metadata(path), {"model": "resnet8"})
            self.assertEqual(second.load_state_dict(fulcrum.load_file(path)), ([], []))
            x = fulcrum.ones([2, 8, 8, 1])
            np.testing.assert_array_equal(first.eval()(x).numpy(), second.eval()(x).numpy())
            self.assertEqual(first.state_dict()["conv1.weight"].shape, (16, 1, 3, 3))
            self.assertEqual(dict(first.named_parameters())["conv1.weight"].shape, (16, 3, 3, 1))
            state = fulcrum.load_file(path)
            state["more"] = state.pop("fc.bias")
            with self.assertRaisesRegex(fulcrum.Error, "fc.bias"):
                second.load_state_dict(state)
            self.assertEqual(second.load_state_dict({**fulcrum.load_file(path), "more": x}, strict=False), ([], ["more"]))
        with self.assertRaisesRegex(fulcrum.Error, "resnet32"):
            fulcrum.make_model("resnet33")

    def test_names_are_in_the_order_of_registration(self):
        net = fulcrum.make_model("resnet8", classes=5, channels=1)
        self.assertEqual([name for name, _ in net.named_parameters()][:4], ["conv1.weight", "bn1.weight", "bn1.bias", "layer1.0.conv1.weight"])
        self.assertEqual([name for name, _ in net.named_parameters()][-2:], ["fc.weight", "fc.bias"])
        self.assertEqual([name for name, _ in net.named_buffers()][:3], ["bn1.running_mean", "bn1.running_var", "bn1.num_batches_tracked"])
        self.assertEqual(list(fulcrum.Ema(net.to("cpu"), 0.9).tensors())[:2], ["conv1.weight", "bn1.weight"])

    def test_a_network_of_ones_own(self):
        net = Net(seed=3)
        self.assertEqual(sorted(net.state_dict())[:2], ["body.0.weight", "body.1.bias"])
        self.assertEqual(net.head.weight.shape, (3, 4))
        np.testing.assert_array_equal(net.head.weight.numpy(), Net(seed=3).to("cpu").head.weight.numpy())
        self.assertFalse((net.head.weight.numpy() == Net(seed=4).head.weight.numpy()).any())
        twin = Net(seed=9)
        twin.load_state_dict(net.state_dict())
        x = fulcrum.tensor(np.random.default_rng(0).normal(size=(2, 6, 6, 1)).astype(np.float32))
        np.testing.assert_array_equal(net.eval()(x).numpy(), twin.eval()(x).numpy())
        self.assertFalse(net.body.training)
        with self.assertRaisesRegex(fulcrum.Error, "comes too late"):
            net.more = nn.ReLU()
        with self.assertRaisesRegex(fulcrum.Error, "elsewhere"):
            nn.Sequential(net.head)

    def test_layers_by_themselves(self):
        x = fulcrum.tensor(np.arange(32.0, dtype=np.float32).reshape(1, 4, 4, 2))
        a = x.numpy()
        np.testing.assert_array_equal(nn.MaxPool2d(2)(x).numpy(), a.reshape(1, 2, 2, 2, 2, 2).max(axis=(2, 4)))
        np.testing.assert_array_equal(nn.AvgPool2d(2)(x).numpy(), a.reshape(1, 2, 2, 2, 2, 2).mean(axis=(2, 4)))
        np.testing.assert_array_equal(nn.Flatten()(x).numpy(), a.transpose(0, 3, 1, 2).reshape(1, 32))
        np.testing.assert_array_equal(nn.GELU()(x).numpy(), F.gelu(x).numpy())
        np.testing.assert_array_equal(nn.GELU("tanh")(x).numpy(), F.gelu(x, "tanh").numpy())
        with self.assertRaisesRegex(fulcrum.Error, "'none' or 'tanh', got 'erf'"):
            nn.GELU("erf")(x)
        for layer, f in ((nn.Sigmoid(), F.sigmoid), (nn.Tanh(), F.tanh), (nn.Identity(), lambda v: v)):
            np.testing.assert_array_equal(layer(x).numpy(), f(x).numpy())
        dropout = nn.Dropout(0.5)
        self.assertTrue(set(np.unique(dropout(fulcrum.ones([1000])).numpy())) == {0, 2})
        self.assertTrue((dropout.eval()(fulcrum.ones([1000])).numpy() == 1).all())
        layer = nn.Linear(2, 3)
        y = x.reshape([16, 2])
        np.testing.assert_allclose(layer(y).numpy(), y.numpy() @ layer.weight.numpy().T + layer.bias.numpy(), rtol=1e-5)

    def test_writing_a_parameter_reaches_its_bf16_twin(self):
        net = nn.Linear(2, 1, bias=False).to("cpu", "bf16")
        net.weight.copy_(fulcrum.tensor([[2.0, 3.0]]))
        self.assertEqual(net(fulcrum.ones([1, 2], dtype="bf16")).item(), 5)

    def test_recompute(self):
        x = fulcrum.tensor(np.random.default_rng(0).normal(size=(4, 6, 6, 1)).astype(np.float32))
        calls = []

        def train(prepare):
            net = Net(seed=1).to("cpu")
            prepare(net)

            def features(images):
                calls.append(1)
                return F.relu(net.body(images))

            y = fulcrum.recompute(features, x) if len(calls) == 0 else features(x)
            F.sum(net.head(F.global_avg_pool2d(y))).backward()
            return {name: p.grad.numpy().copy() for name, p in net.named_parameters()}, net.state_dict()

        function, _ = train(lambda net: None)
        self.assertEqual(len(calls), 2)
        plain, state = train(lambda net: None)
        module, other = train(lambda net: net.body.set_recompute())
        for name, grad in plain.items():
            np.testing.assert_array_equal(function[name], grad)
            np.testing.assert_array_equal(module[name], grad)
        for name, buffer in state.items():
            np.testing.assert_array_equal(other[name].numpy(), buffer.numpy())
        with self.assertRaisesRegex(ValueError, "mine"):
            def fail(images):
                raise ValueError("mine")
            fulcrum.recompute(fail, x)
        fulcrum.make_model("resnet8", recompute=True)
        with self.assertRaisesRegex(fulcrum.Error, "residual blocks"):
            fulcrum.make_model("mlp", recompute=True)

    def test_ema(self):
        net = nn.Linear(1, 1, bias=False).to("cpu")
        net.weight.copy_(fulcrum.zeros([1, 1]))
        ema = fulcrum.Ema(net, 0.75)
        net.weight.copy_(fulcrum.ones([1, 1]))
        ema.update()
        with ema.applied():
            self.assertEqual(net.weight.item(), 0.25)
        self.assertEqual(net.weight.item(), 1)


class Runs(unittest.TestCase):
    def test_absgd_learns(self):
        dataset = data.from_arrays(*rows())
        mean, stddev = data.channel_statistics(dataset)
        loader = data.Loader(dataset, batch_size=32, shuffle=True, mean=mean, stddev=stddev)
        for make in (lambda: fulcrum.make_model("resnet8", classes=3, channels=1),
                     lambda: nn.Sequential(nn.Flatten(), nn.Linear(144, 16, relu=True), nn.Linear(16, 3))):
            model = make().to("cpu")
            opt = fulcrum.ABSGD(model.parameters(), lr=0.1, lambda_=5)
            totals = []
            for _ in range(12):
                total = 0
                for x, y in loader:
                    losses = F.cross_entropy(model(x), y)
                    opt.zero_grad()
                    opt.weigh(losses).backward()
                    opt.step()
                    total += F.mean(losses).item()
                totals.append(total)
            self.assertLess(totals[-1], 0.7 * totals[0])
            self.assertTrue(opt.finite)

    def test_losses_are_per_sample_and_have_their_formulas(self):
        z = np.array([[2.0, 0.5, -1], [0.1, 0.2, 0.3]])
        y = np.array([0, 2])
        p = np.exp(z) / np.exp(z).sum(1, keepdims=True)
        p = p[[0, 1], y]
        l = -np.log(p)
        logits, labels = fulcrum.tensor(z), fulcrum.tensor(y)
        prior = F.log_prior([10, 5, 1])
        adjusted = z + prior.numpy()
        balanced = -(adjusted[[0, 1], y] - np.log(np.exp(adjusted).sum(1)))
        cases = [(F.cross_entropy, {}, l), (F.focal_loss, {"gamma": 2}, (1 - p) ** 2 * l),
                 (F.gce_loss, {"q": 0.7}, (1 - p ** 0.7) / 0.7), (F.mae_loss, {}, 2 * (1 - p)),
                 (F.truncated_gce_loss, {"q": 0.7, "k": 0.5}, (1 - np.maximum(p, 0.5) ** 0.7) / 0.7),
                 (F.sce_loss, {"a": 0.1, "b": 1}, 0.1 * l - np.log(1e-4) * (1 - p)),
                 (F.cross_entropy, {"class_weight": fulcrum.tensor([2.0, 1, 3], dtype="f64")}, l * [2, 3]),
                 (F.balanced_softmax_loss, {"prior": prior.to("f64")}, balanced)]
        for f, options, expected in cases:
            with self.subTest(f.__name__):
                np.testing.assert_allclose(f(logits, labels, **options).numpy(), expected, rtol=1e-6)
        for wrong in (-1.0, math.nan):
            with self.assertRaisesRegex(fulcrum.Error, "expected finite class weights of at least 0, got .* for class 1"):
                F.cross_entropy(logits, labels, class_weight=fulcrum.tensor([1.0, wrong, 1]))
        table = fulcrum.full([5], 1.0)
        self.assertEqual(F.aldr_kl_loss(logits.to("f32"), labels, table, fulcrum.tensor([1, 4])).shape, (2,))
        self.assertEqual([t == 1 for t in table.tolist()], [True, False, True, True, False])


class Children(unittest.TestCase):
    def test_a_network_by_name_is_a_child_with_its_weights(self):
        backbone = fulcrum.make_model("resnet8", classes=5, channels=1, seed=3)
        x = fulcrum.from_numpy(np.random.default_rng(0).normal(size=(4, 12, 12, 1)).astype("f"))
        logits = backbone.eval()(x).numpy().copy()
        net = nn.Sequential(backbone, nn.Linear(5, 2))
        self.assertIn("0.layer1.0.conv1.weight", net.state_dict())
        self.assertEqual(net.num_parameters(), backbone.num_parameters() + 12)
        self.assertIn("(0): fulcrum.Module(conv1, bn1, layer1, layer2, layer3, fc; ", repr(net))
        net.to("cpu").eval()
        np.testing.assert_array_equal(net[0](x).numpy(), logits)
        self.assertEqual(net[0].features(x).shape, (4, 64))
        self.assertEqual(backbone.name, "0")
        opt = fulcrum.SGD(net.train().parameters(), lr=0.1)
        for _ in range(2):
            opt.zero_grad()
            opt.weigh(F.cross_entropy(net(x), fulcrum.tensor([0, 1, 1, 0]))).backward()
            opt.step()
        self.assertFalse(np.array_equal(backbone.eval()(x).numpy(), logits))
        with self.assertRaisesRegex(fulcrum.Error, "'1' is a child elsewhere already, '0'"):
            nn.Sequential(nn.ReLU(), backbone)
        del net, opt
        gc.collect()
        self.assertEqual((backbone.name, backbone(x).shape), ("", (4, 5)))

    def test_a_first_use_that_fails_gives_the_network_back(self):
        class Broken(nn.Module):
            def _make(self, parent, name):
                raise KeyError("broken")

        backbone = fulcrum.make_model("mlp", classes=2, channels=1, image=8)
        try:
            nn.Sequential(backbone, Broken()).parameters()
        except KeyError as error:
            kept = error  # and with it the frames of the attempt
        self.assertEqual((backbone.name, str(kept)), ("", "'broken'"))
        net = nn.Sequential(backbone)
        net(fulcrum.ones([1, 8, 8, 1]))
        self.assertEqual(backbone.name, "0")

    def test_a_network_that_recomputes_may_be_gone_before_the_backward_pass(self):
        for make in (lambda: fulcrum.make_model("resnet8", classes=3, channels=1, recompute=True),
                     lambda: nn.Sequential(fulcrum.make_model("mlp", classes=3, channels=1, image=8))):
            net = make()
            if isinstance(net, nn.Module):
                net[0].set_recompute()
            weight = net.named_parameters()[-1][1]
            y = net(fulcrum.ones([2, 8, 8, 1])).sum()
            del net
            gc.collect()
            others = [fulcrum.make_model("resnet8", classes=3, channels=1) for _ in range(3)]
            y.backward()
            self.assertIsNotNone(weight.grad)
            del others

    def test_names_of_methods_and_functions_are_refused(self):
        net = nn.Sequential()
        with self.assertRaisesRegex(fulcrum.Error, "'train' is a method of every module"):
            net.train = nn.ReLU()
        with self.assertRaisesRegex(fulcrum.Error, "'to' is a method of every module"):
            net.to = nn.Parameter([1.0])
        with self.assertRaisesRegex(fulcrum.Error, "expected a module as '0', got .*func"):
            nn.Sequential(F.relu)

    def test_what_cannot_be_a_child_is_refused(self):
        a, b = nn.Sequential(), nn.Sequential()
        a.b = b
        with self.assertRaisesRegex(fulcrum.Error, "'a' cannot be a child of its own"):
            b.a = a
        with self.assertRaisesRegex(fulcrum.Error, "'b' is a child already"):
            a.b = None
        with self.assertRaisesRegex(fulcrum.Error, "'b' is a child, which cannot be taken away"):
            del a.b

    def test_unfreeze(self):
        net = nn.Sequential(nn.Linear(2, 2), nn.Linear(2, 2))
        net.freeze()
        self.assertEqual(len(net.parameters()), 0)
        net.unfreeze()
        self.assertEqual(len(net.parameters()), 4)


class Schedules(unittest.TestCase):
    def test_factors(self):
        cosine = fulcrum.Schedule("cosine", epochs=10, warmup=2)
        self.assertEqual(cosine.factor(0), 0.5)
        drops = fulcrum.Schedule("multistep", epochs=10, milestones=[4, 8], factors=[0.1, 0.5])
        np.testing.assert_allclose([drops.factor(e) for e in (3, 4, 8)], [1, 0.1, 0.05])
        with self.assertRaisesRegex(fulcrum.Error, "expected constant"):
            fulcrum.Schedule("linear")


if __name__ == "__main__":
    unittest.main()
