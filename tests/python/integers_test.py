"""Labels, indices and groups: any integers, as tensors or arrays; what they are not is said by name."""
import unittest

import numpy as np

import fulcrum
import fulcrum.functional as F

dtypes = [np.int64, np.int32, np.int16, np.uint8]


def logits():
    return fulcrum.tensor([[2.0, 0.5, -1], [0.1, 0.2, 0.3]], requires_grad=True)


class Labels(unittest.TestCase):
    def test_every_integer_is_taken_everywhere(self):
        x, labels = logits(), np.array([0, 2])
        exact = fulcrum.tensor(labels)

        def table():
            return fulcrum.full([5], 1.0)

        uses = {"cross_entropy": lambda y: F.cross_entropy(x, y), "focal_loss": lambda y: F.focal_loss(x, y),
                "ldr_kl_loss": lambda y: F.ldr_kl_loss(x, y), "one_hot": lambda y: F.one_hot(y, 3),
                "aldr_kl_loss": lambda y: F.aldr_kl_loss(x, y, table(), y), "gather": lambda y: F.gather(x, 1, y.reshape(2, 1)),
                "index_select": lambda y: F.index_select(x, 1, y),
                "index_copy_": lambda y: fulcrum.zeros([2, 3]).index_copy_(1, y, fulcrum.ones([2, 2]))}
        for name, use in uses.items():
            expected = use(exact).tolist()
            for dtype in dtypes:
                with self.subTest(name, dtype=dtype.__name__):
                    self.assertEqual(use(labels.astype(dtype)).tolist(), expected)
                    if dtype == np.uint8 and name in ("index_select", "index_copy_", "gather", "aldr_kl_loss"):
                        continue  # a tensor of u8 may be a mask
                    self.assertEqual(use(fulcrum.tensor(labels.astype(dtype))).tolist(), expected)

    def test_arrays_are_copied(self):
        x, labels = logits(), np.array([0, 2])
        losses = F.cross_entropy(x, labels)
        labels[:] = 1
        F.sum(losses).backward()
        self.assertLess(x.grad[0][0].item(), 0)

    def test_what_is_no_integer_is_named(self):
        x = logits()
        for labels, words in [([0, 2], r"\[cross_entropy\] labels: expected a fulcrum.Tensor or an array of integers, got list; use "
                                       r"fulcrum.tensor\(labels\)"),
                              (np.array([0.0, 2]), r"expected labels i64 \[2\] or shares of the classes \[2, \d\], got f64 \[2\]"),
                              (np.array([True, False]), "labels: .*got bool"),
                              (fulcrum.tensor([0.0, 2]), r"shares of the classes \[2, \d\], got f32 \[2\]"),
                              (np.array([0]), r"expected labels i64 \[2\] or shares of the classes \[2, \d\], got i64 \[1\]")]:
            with self.assertRaisesRegex(fulcrum.Error, words):
                F.cross_entropy(x, labels)
        with self.assertRaises(TypeError):
            F.cross_entropy(x, None)

    def test_shares_of_the_classes_may_be_an_array(self):
        x = logits()
        q = np.full(x.shape, 1 / x.shape[1], np.float32)
        expected = -np.log(np.exp(x.numpy()) / np.exp(x.numpy()).sum(1, keepdims=True)).mean(1)
        for shares in (q, fulcrum.tensor(q)):
            np.testing.assert_allclose(F.cross_entropy(x, shares).numpy(), expected, rtol=1e-5)

    def test_masks_and_tensors_without_numbers_are_no_rows(self):
        x = logits()
        for mask in (fulcrum.tensor(np.array([True, False])), np.array([True, False])):
            with self.assertRaisesRegex(fulcrum.Error, "index: .*numpy.flatnonzero"):
                F.index_select(x, 0, mask)
        with self.assertRaises((TypeError, fulcrum.Error)):  # and no crash
            F.one_hot(fulcrum.Tensor.__new__(fulcrum.Tensor), 3)


class Context(unittest.TestCase):
    def test_indices_and_groups_of_a_batch(self):
        class Seen(fulcrum.Risk):
            def weights(self, losses, indices, groups):
                self.seen = [(t.dtype, t.tolist()) for t in (indices, groups)]
                return losses.numpy() * 0 + 0.5

        x = fulcrum.tensor([1.0, 2], requires_grad=True)
        opt = fulcrum.SGD([x], lr=0.1, risk=Seen())
        for dtype in dtypes:
            for made in (np.array([1, 0], dtype), fulcrum.tensor(np.array([1, 0], dtype))):
                rows = np.array([1, 0]) if dtype == np.uint8 else made  # a tensor of u8 may be a mask
                opt.weigh(x * x, indices=rows, groups=made)
                opt.risk._checked_weights(fulcrum.tensor([1.0, 2]), rows, made)
                self.assertEqual(opt.risk.seen, [("i64", [1, 0])] * 2)
                group = fulcrum.GroupRisk(2)
                self.assertEqual(group.weights(fulcrum.tensor([1.0, 2]), groups=made).shape, (2,))

    def test_other_lengths_and_dtypes_are_refused_by_name(self):
        x = fulcrum.tensor([1.0, 2], requires_grad=True)
        opt = fulcrum.SGD([x], lr=0.1)
        risk = fulcrum.KlRisk(lambda_=1)
        three = fulcrum.tensor([1, 2, 3])
        for name in ("indices", "groups"):
            with self.assertRaisesRegex(fulcrum.Error, rf"\[weigh\] {name}: expected i64 \[2\], one for each loss, got i64 \[3\]"):
                opt.weigh(x * x, **{name: three})
            with self.assertRaisesRegex(fulcrum.Error, rf"\[risk\] {name}: expected i64 \[2\], one for each loss, got i64 \[3\]"):
                risk.weights(fulcrum.tensor([1.0, 2]), **{name: three})
            with self.assertRaisesRegex(fulcrum.Error, rf"\[weigh\] {name}: expected integers, got f32 \[2\]"):
                opt.weigh(x * x, **{name: fulcrum.tensor([1.0, 2])})
        with self.assertRaisesRegex(fulcrum.Error, r"\[weigh\] indices: .*got bool; use numpy.flatnonzero\(indices\)"):
            opt.weigh(x * x, indices=np.array([True, False]))
        with self.assertRaisesRegex(fulcrum.Error, r"expected losses f32 or f64 \[B\], one per sample, got i64 \[2\]"):
            risk.weights(fulcrum.tensor([1, 2]))


if __name__ == "__main__":
    unittest.main()
