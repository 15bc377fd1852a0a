"""copy and pickle of tensors, modules, and what they refuse."""
import copy
import io
import pickle
import unittest

import numpy as np

import fulcrum
import fulcrum.functional as F
from fulcrum import nn


def pickled(x):
    return pickle.loads(pickle.dumps(x))


class Net(nn.Module):
    def __init__(self, width, scale, seed=0):
        super().__init__(seed)
        self.width, self.note = width, {"scale": scale}
        self.layers = nn.ModuleList([nn.Linear(3, width), nn.Dropout(0.5), nn.BatchNorm(width)])
        self.scale = nn.Parameter(np.full(width, scale))
        self.register_buffer("centre", np.ones(width, np.float32))

    def forward(self, x):
        for layer in self.layers:
            x = layer(x)
        return x.to("f32") * self.scale - self.centre if self.scale.dtype == "f32" else x * self.scale - self.centre


def batch(dtype="f32"):
    return fulcrum.tensor(np.random.default_rng(0).normal(size=(5, 3)), dtype=dtype)


class Tensors(unittest.TestCase):
    def test_every_dtype(self):
        for dtype in ("f32", "bf16", "f64", "u8", "i32", "i64"):
            x = fulcrum.tensor([[1.0, 2, 3], [4, 5, 6]]).to(dtype)
            for again in (pickled(x), copy.deepcopy(x), pickle.loads(pickle.dumps(x, protocol=2))):
                self.assertEqual((again.dtype, again.tolist(), again.requires_grad), (dtype, x.tolist(), False))
                self.assertNotEqual(again.data_ptr(), x.data_ptr())
        self.assertEqual((pickled(fulcrum.tensor(3.5)).shape, pickled(fulcrum.ones([4])[2:]).shape), ((), (2,)))

    def test_leaves_stay_leaves_and_a_shallow_copy_shares_memory(self):
        x = fulcrum.tensor([1.0, 2], requires_grad=True)
        F.sum(x * x).backward()
        deep, shallow = copy.deepcopy(x), copy.copy(x)
        self.assertEqual((deep.grad.tolist(), deep.requires_grad, pickled(x).requires_grad), ([2, 4], True, True))
        self.assertEqual((shallow.data_ptr(), shallow.requires_grad), (x.data_ptr(), True))
        deep.grad.copy_(fulcrum.zeros([2]))
        self.assertEqual(x.grad.tolist(), [2, 4])
        both = copy.deepcopy([x, x])
        self.assertIs(both[0], both[1])
        for use in (copy.copy, copy.deepcopy, pickle.dumps):
            with self.assertRaisesRegex(fulcrum.Error, r"history, which is not copied; detach\(\)"):
                use(x * 2)

    def test_states(self):
        risk = fulcrum.KlRisk(lambda_=2)
        risk.weights(fulcrum.tensor([1.0, 2]))
        again = pickled(risk.state())
        self.assertEqual({name: t.tolist() for name, t in again.items()}, {name: t.tolist() for name, t in risk.state().items()})
        net = nn.Linear(2, 2)
        opt = fulcrum.SGD(net.parameters(), lr=0.1, momentum=0.9)
        opt.load_state_dict(pickled(opt.state_dict()))
        net.load_state_dict(pickled(net.state_dict()))
        for use in (copy.deepcopy, pickle.dumps):
            with self.assertRaisesRegex(fulcrum.Error, r"optimiser .* no copy; load its state_dict\(\)"):
                use(opt)


class Modules(unittest.TestCase):
    def assert_same(self, net, again):
        self.assertIsNot(again, net)
        ours, theirs = net.state_dict(), again.state_dict()
        self.assertEqual(list(ours), list(theirs))
        for name in ours:
            np.testing.assert_array_equal(ours[name].numpy(), theirs[name].numpy(), err_msg=name)
        self.assertEqual([(n, p.requires_grad, p.dtype) for n, p in net.named_parameters()],
                         [(n, p.requires_grad, p.dtype) for n, p in again.named_parameters()])

    def test_networks_of_ones_own_in_every_dtype(self):
        for dtype in ("f32", "bf16", "f64"):
            net = Net(4, 0.1, seed=3).to("cpu", dtype)
            net(batch(dtype))  # moves running statistics, and the generator of dropout
            for copied in (copy.deepcopy, pickled):
                with self.subTest(dtype=dtype, copied=copied.__name__):
                    again = copied(net)
                    self.assert_same(net, again)
                    self.assertEqual((again.width, again.note, again.scale.requires_grad), (4, {"scale": 0.1}, True))
                    before = again.scale.tolist()
                    self.assertEqual(again(batch(dtype)).tolist(), net(batch(dtype)).tolist())  # with dropout
                    again.scale.copy_(fulcrum.zeros([4]))
                    self.assertEqual((net.scale.tolist(), again.state_dict()["scale"].tolist()), (before, [0] * 4))

    def test_modes_and_what_is_frozen(self):
        net = Net(4, 1)
        net.layers[0].freeze()
        net.scale.requires_grad = False
        net.to("cpu").train()
        net.layers[1].eval()
        for again in (copy.deepcopy(net), pickled(net)):
            self.assert_same(net, again)
            self.assertEqual([m.training for m in (again, *again.layers)], [True, False, False, True])
            self.assertEqual([p.requires_grad for p in again.train().parameters()], [True] * 2)
        opt = fulcrum.SGD(again.parameters(), lr=0.1)
        opt.weigh(F.sum(F.square(again(batch())), [1])).backward()
        opt.step()

    def test_networks_by_name(self):
        net = fulcrum.make_model("resnet8", classes=3, channels=1, seed=2, dropout=0.3).to("cpu", "bf16")
        x = fulcrum.ones([2, 8, 8, 1]).to("bf16")
        net(x)
        fulcrum.freeze_backbone(net)
        for copied in (copy.deepcopy, pickled):
            again = copied(net)
            self.assert_same(net, again)
            self.assertEqual(again(x).tolist(), net(x).tolist())
            self.assertEqual(again.training, net.training)
        whole = nn.Sequential(fulcrum.make_model("resnet8", classes=3, channels=1), nn.Linear(3, 2))
        whole.eval()
        self.assert_same(whole, pickled(whole))
        self.assertFalse(pickled(whole)[0].training)
        with self.assertRaisesRegex(fulcrum.Error, "a part of a network of make_model has no copy"):
            copy.deepcopy(net.children()[0])

    def test_a_part_becomes_a_child_with_its_weights(self):
        net = Net(4, 1, seed=5)
        net.parameters()
        part = copy.deepcopy(net.layers[0])
        other = nn.Sequential(nn.Linear(3, 3), part)
        np.testing.assert_array_equal(other.state_dict()["1.weight"].numpy(), net.layers[0].weight.numpy())
        longer = copy.deepcopy(nn.Sequential(nn.Linear(2, 2)))
        longer.append(nn.Linear(2, 2))
        self.assertEqual(len(longer.parameters()), 4)
        built = nn.Sequential(nn.Linear(2, 2))
        built.eval()
        longer = copy.deepcopy(built).append(nn.Dropout())
        np.testing.assert_array_equal(longer.state_dict()["0.weight"].numpy(), built[0].weight.numpy())

    def test_a_network_that_is_not_built_is_copied_as_it_is(self):
        block = nn.Linear(2, 2)
        net = nn.Sequential(*[copy.deepcopy(block) for _ in range(3)], seed=1)
        same = nn.Sequential(*[nn.Linear(2, 2) for _ in range(3)], seed=1)
        self.assert_same(net, same)
        with self.assertRaisesRegex(fulcrum.Error, "a copy of Sequential would share its children"):
            copy.copy(net)

    def test_what_is_frozen_stays_so_before_the_network_is_built(self):
        net = Net(4, 2.0)
        net.scale.requires_grad = False
        for again in (copy.deepcopy(net), pickled(net)):
            self.assertFalse(again.scale.requires_grad)
            again.to("cpu")
            self.assertEqual([name for name, p in again.named_parameters() if not p.requires_grad], ["scale"])

    def test_files(self):
        file = io.BytesIO()
        pickle.dump({"net": Net(2, 1), "x": batch()}, file)
        file.seek(0)
        self.assertEqual(sorted(pickle.load(file)), ["net", "x"])


if __name__ == "__main__":
    unittest.main()
