"""Networks of one's own: parameters, buffers, lists of modules, layers."""
import unittest

import numpy as np

import fulcrum
import fulcrum.functional as F
from fulcrum import nn


class Scaled(nn.Module):
    def __init__(self, seed=0):
        super().__init__(seed)
        self.layers = nn.ModuleList([nn.Linear(3, 3), nn.Linear(3, 3)])
        self.scale = nn.Parameter([1.0, 2, 3])
        self.register_buffer("mean", np.zeros(3, np.float32))
        self.inner = nn.Sequential(nn.ReLU())

    def forward(self, x):
        for layer in self.layers:
            x = self.inner(layer(x))
        with fulcrum.no_grad():
            self.mean = 0.5 * self.mean + 0.5 * F.mean(x.to("f32"), [0])
        return x * self.scale.to(x.dtype)


def batch():
    return fulcrum.tensor(np.random.default_rng(0).normal(size=(4, 3)).astype(np.float32))


class Children(unittest.TestCase):
    def test_modules_by_name(self):
        class Heads(nn.Module):
            def __init__(self):
                super().__init__()
                self.heads = nn.ModuleDict({"a": nn.Linear(3, 1), "b": nn.Linear(3, 2)})
                self.heads["c"] = nn.Identity()

            def forward(self, x, which):
                return self.heads[which](x)

        net = Heads()
        x = batch()
        self.assertEqual([net(x, name).shape for name in net.heads], [(4, 1), (4, 2), (4, 3)])
        self.assertEqual([name for name, _ in net.named_parameters()], ["heads.a.weight", "heads.a.bias", "heads.b.weight", "heads.b.bias"])
        self.assertEqual((list(net.heads.keys()), len(net.heads), "b" in net.heads, "d" in net.heads), (["a", "b", "c"], 3, True, False))
        self.assertEqual(list(zip(net.heads.keys(), net.heads.values())), list(net.heads.items()))
        with self.assertRaisesRegex(fulcrum.Error, "'a' is a child already"):
            net.heads["a"] = nn.Identity()
        with self.assertRaisesRegex(fulcrum.Error, "'d' comes too late"):
            net.heads["d"] = nn.Identity()
        with self.assertRaises(KeyError):
            net.heads["d"]

    def test_embedding(self):
        for dtype in ("f32", "bf16"):
            net = nn.Sequential(nn.Embedding(5, 3), nn.Linear(3, 2), seed=1).to("cpu", dtype)
            rows = fulcrum.tensor([[4, 0], [4, 1]])
            for given in (rows, rows.numpy(), rows.to("i32"), rows.numpy().astype(np.uint8)):
                self.assertEqual((net[0](given).tolist(), net[0](given).dtype), (net[0].weight.to(dtype)[rows].tolist(), dtype))
            F.sum(net(rows).to("f32")).backward()
            used = [row != [0, 0, 0] for row in net[0].weight.grad.tolist()]
            self.assertEqual(used, [True, True, False, False, True])
        self.assertLess(abs(nn.Embedding(100, 100).weight.numpy().std() - 1), 0.05)
        with self.assertRaisesRegex(fulcrum.Error, r"indices in \[0, 5\), got 5"):
            net[0](np.array([5]))
        with self.assertRaisesRegex(fulcrum.Error, r"\[Embedding\] expected rows i64, got f32 \[1\]"):
            net[0](fulcrum.ones([1]))


class Parameters(unittest.TestCase):
    def test_a_parameter_is_a_tensor_at_every_time_and_trained_with_the_layers(self):
        initial = np.array([1.0, 2, 3])
        net = Scaled(seed=1)
        self.assertEqual((net.scale.tolist(), net.scale.dtype), (initial.tolist(), "f32"))
        with fulcrum.no_grad():
            net.scale *= 2
        self.assertEqual([name for name, _ in net.named_parameters()], ["scale", "layers.0.weight", "layers.0.bias", "layers.1.weight",
                                                        "layers.1.bias"])
        self.assertEqual((net.num_parameters(), len(net.parameters())), (27, 5))
        kept = net.scale
        net.to("cpu")
        opt = fulcrum.SGD(net.parameters(), lr=0.5)
        y = net(batch())
        opt.weigh(F.sum(F.square(y), [1])).backward()
        gradient = net.scale.grad.numpy().copy()
        self.assertTrue(np.abs(gradient).max() > 0)
        opt.step()
        np.testing.assert_allclose(kept.numpy(), 2 * initial - 0.5 * gradient, rtol=1e-6)
        np.testing.assert_array_equal(net.state_dict()["scale"].numpy(), kept.numpy())
        other = Scaled(seed=2)
        other.load_state_dict(net.state_dict())
        np.testing.assert_array_equal(other.scale.numpy(), kept.numpy())
        np.testing.assert_array_equal(other.mean.numpy(), net.mean.numpy())
        other.freeze()
        self.assertEqual((other.parameters(), other.scale.requires_grad), ([], False))

    def test_parameters_in_bf16_and_averages(self):
        net = Scaled().to("cpu", "bf16")
        ema = fulcrum.Ema(net, 0.75)
        self.assertEqual(net.scale.dtype, "f32")
        net.scale.copy_(fulcrum.zeros([3]))
        self.assertEqual(net(batch().to("bf16")).tolist(), [[0] * 3] * 4)
        ema.update()
        self.assertEqual(ema.tensors()["scale"].tolist(), [0.75, 1.5, 2.25])
        self.assertIn("mean", ema.tensors())

    def test_buffers_are_written_and_saved(self):
        net = Scaled().eval()
        self.assertEqual([name for name, _ in net.named_buffers()], ["mean"])
        net(batch())
        first = net.mean.tolist()
        self.assertNotEqual(first, [0, 0, 0])
        self.assertEqual(net.state_dict()["mean"].tolist(), first)
        net.mean = np.ones(3)
        net.mean += 1
        self.assertEqual(dict(net.named_buffers())["mean"].tolist(), [2, 2, 2])
        with self.assertRaisesRegex(fulcrum.Error, r"expected a tensor of shape \[3\]"):
            net.mean = np.ones(4)
        counts = nn.Sequential()
        counts.register_buffer("counts", [3, 4])
        self.assertEqual(counts.state_dict()["counts"].tolist(), [3, 4])

    def test_what_cannot_be_a_parameter_is_refused(self):
        net = Scaled()
        shared = nn.Parameter([1.0])
        net.first = shared
        cases = [(lambda: setattr(net, "second", shared), "'second' is a parameter elsewhere already"),
                 (lambda: setattr(net, "scale", fulcrum.ones([3])), "'scale' is a parameter already.* copy_"),
                 (lambda: delattr(net, "scale"), "'scale' is a parameter, which cannot be taken away"),
                 (lambda: delattr(net, "mean"), "'mean' is a buffer"),
                 (lambda: net.register_buffer("scale", [1.0]), "has a 'scale' already"),
                 (lambda: net.register_buffer("train", [1.0]), "has a 'train' already"),
                 (lambda: setattr(net, "more", [nn.Parameter([1.0])]), "a list with modules or parameters"),
                 (lambda: setattr(nn.Linear(1, 1), "more", nn.Parameter([1.0])), "Linear is a layer, which is whole"),
                 (lambda: setattr(nn.Linear(1, 1), "more", nn.ReLU()), "Linear is a layer, which is whole")]
        for use, words in cases:
            with self.subTest(words), self.assertRaisesRegex(fulcrum.Error, words):
                use()
        net.to("cpu")
        for use in (lambda: setattr(net, "late", nn.Parameter([1.0])), lambda: net.register_buffer("late", [1.0])):
            with self.assertRaisesRegex(fulcrum.Error, "'late' comes too late"):
                use()

        class Headless(nn.Module):
            def __init__(self):
                self.scale = nn.Parameter([1.0])

        with self.assertRaisesRegex(fulcrum.Error, r"call super\(\).__init__\(\) before 'scale'"):
            Headless()


class Lists(unittest.TestCase):
    def test_lists_are_indexed_and_iterated(self):
        layers = [nn.Linear(2, 2), nn.ReLU(), nn.Linear(2, 1)]
        for modules in (nn.Sequential(*layers[:2]).append(layers[2]), nn.ModuleList(nn.Linear(i + 1, 1) for i in range(3))):
            self.assertEqual(len(modules), 3)
            self.assertEqual(list(modules), modules.children())
            self.assertIs(modules[-1], modules[2])
            self.assertEqual(modules[:2], list(modules)[:2])
            self.assertRaises(IndexError, lambda: modules[3])
        with self.assertRaisesRegex(NotImplementedError, "ModuleList defines no forward"):
            modules(fulcrum.ones([1, 1]))

    def test_a_network_of_two_modules_is_refused_at_every_use_of_the_second(self):
        shared = fulcrum.make_model("mlp", classes=2, channels=1, image=8)
        first, second = nn.Sequential(shared), nn.Sequential(nn.Linear(3, 3), shared)
        first(fulcrum.ones([1, 8, 8, 1]))
        for _ in range(2):
            with self.assertRaisesRegex(fulcrum.Error, "a module without a parent for '1', got '0' of another"):
                second.parameters()
        self.assertEqual(shared.name, "0")
        third = nn.Sequential()
        third.head = head = fulcrum.make_model("mlp")
        third.head = head  # the same once more

    def test_modules_in_plain_containers_are_refused(self):
        net = nn.Sequential()
        for kind, value in (("list", [nn.ReLU()]), ("tuple", (1, nn.ReLU())), ("dict", {"a": nn.ReLU()}),
                            ("list", [[nn.ReLU()]]), ("list", [fulcrum.make_model("mlp")])):
            with self.subTest(kind), self.assertRaisesRegex(fulcrum.Error, f"is a {kind} with modules .*nn.ModuleList"):
                net.heads = value
        net.sizes = [1, 2]
        self.assertEqual(net.sizes, [1, 2])

    def test_a_tree_is_shown(self):
        net = nn.Sequential(nn.Linear(2, 3), nn.Sequential(nn.ReLU(), nn.Dropout(0.1)), nn.ModuleList())
        self.assertEqual(repr(net).split("\n"), [
            "Sequential(", "  (0): Linear(in_features=2, out_features=3, bias=True, relu=False)", "  (1): Sequential(",
            "    (0): ReLU()", "    (1): Dropout(p=0.1)", "  )", "  (2): ModuleList()", ")"])


class Norms(unittest.TestCase):
    def test_layer_and_group_norm(self):
        x = np.random.default_rng(0).normal(size=(2, 3, 3, 4))
        t = fulcrum.tensor(x, dtype="f32")
        layer = (x - x.mean(-1, keepdims=True)) / np.sqrt(x.var(-1, keepdims=True) + 1e-3)
        groups = x.reshape(2, 9, 2, 2)
        group = (groups - groups.mean((1, 3), keepdims=True)) / np.sqrt(groups.var((1, 3), keepdims=True) + 1e-5)
        group = group.reshape(x.shape)
        weight, bias = fulcrum.tensor([1.0, 2, 3, 4]), fulcrum.full([4], 0.5)
        for net, f, plain in ((nn.LayerNorm(4, eps=1e-3), lambda *a: F.layer_norm(t, *a, eps=1e-3), layer),
                              (nn.GroupNorm(2, 4), lambda *a: F.group_norm(t, 2, *a), group)):
            np.testing.assert_allclose(f().numpy(), plain, atol=1e-5)
            scaled = plain * [1, 2, 3, 4] + 0.5
            np.testing.assert_allclose(f(weight, bias).numpy(), scaled, atol=1e-5)
            np.testing.assert_allclose(net(t).numpy(), plain, atol=1e-5)
            net.weight.copy_(weight)
            net.bias.copy_(bias)
            np.testing.assert_allclose(net(t).numpy(), scaled, atol=1e-5)
        self.assertEqual(nn.LayerNorm(4, elementwise_affine=False).named_parameters(), [])
        self.assertIsNone(nn.GroupNorm(2, 4, affine=False).weight)
        with self.assertRaisesRegex(fulcrum.Error, "group"):
            nn.GroupNorm(3, 4)(t)


class Generators(unittest.TestCase):
    def net(self, seed=1):
        return nn.Sequential(nn.Linear(3, 16), nn.Dropout(0.5), nn.Linear(16, 2), nn.Dropout(0.2), seed=seed).to("cpu")

    def test_training_with_dropout_goes_on_bit_for_bit(self):
        x, y = batch(), fulcrum.tensor([0, 1, 0, 1])

        def steps(net, opt, n):
            for _ in range(n):
                opt.zero_grad()
                opt.weigh(F.cross_entropy(net(x), y)).backward()
                opt.step()

        net = self.net()
        opt = fulcrum.ABSGD(net.parameters(), lr=0.1, lambda_=2)
        steps(net, opt, 3)
        model, optimizer, generators = net.state_dict(), opt.state_dict(), net.generator_state()
        self.assertEqual(list(generators), ["1.generator", "3.generator"])
        steps(net, opt, 3)
        ends = []
        for load in (True, False):
            other = self.net()
            again = fulcrum.ABSGD(other.parameters(), lr=0.1, lambda_=2)
            other.load_state_dict(model)
            again.load_state_dict(optimizer)
            if load:
                other.load_generator_state(generators)
            steps(other, again, 3)
            ends.append(other[0].weight.numpy())
        np.testing.assert_array_equal(ends[0], net[0].weight.numpy())
        self.assertFalse((ends[1] == net[0].weight.numpy()).all())

    def test_what_is_missing_changes_nothing(self):
        net = self.net()
        state = net.generator_state()
        net(batch())
        moved = {name: position.item() for name, position in net.generator_state().items()}
        self.assertNotEqual(moved["1.generator"], state["1.generator"].item())
        for wrong, words in ((dict(list(state.items())[:1]), "lacks '3.generator'"),
                             ({**state, "more": state["1.generator"]}, "got 3"),
                             ({**state, "3.generator": fulcrum.zeros([1])}, "expected '3.generator' i64")):
            with self.assertRaisesRegex(fulcrum.Error, words):
                net.load_generator_state(wrong)
        self.assertEqual({name: position.item() for name, position in net.generator_state().items()}, moved)
        self.assertEqual(fulcrum.make_model("mlp", dropout=0.5).generator_state().keys(),
                         fulcrum.make_model("mlp", dropout=0.5, seed=2).generator_state().keys())


class HalfATree(unittest.TestCase):
    def test_does_not_pass_for_the_whole(self):
        class Net(nn.Module):
            def __init__(self):
                super().__init__()
                setattr(self, "a.b", nn.Parameter([1.0]))

        net = Net()
        for use in (net.parameters, net.named_parameters, net.state_dict):
            with self.assertRaisesRegex(fulcrum.Error, "without dots"):
                use()

if __name__ == "__main__":
    unittest.main()
