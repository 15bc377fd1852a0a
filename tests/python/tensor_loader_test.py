"""Batches of rows of tensors."""
import unittest

import numpy as np

import fulcrum
import fulcrum.functional as F
from fulcrum import data, nn

rng = np.random.default_rng(0)
x, y = rng.normal(size=(10, 3)).astype(np.float32), rng.normal(size=10)


class TensorLoaders(unittest.TestCase):
    def test_rows_of_every_dtype_with_their_indices(self):
        tensors = [fulcrum.tensor(rng.integers(0, 200, (10, 2))).to(dtype) for dtype in ("f32", "bf16", "f64", "i32", "i64", "u8")]
        loader = data.TensorLoader(*tensors, batch_size=4, shuffle=True, seed=3)
        self.assertEqual((len(loader), loader.size), (3, 10))
        seen = []
        for batch in loader:
            rows = batch.indices.tolist()
            self.assertEqual((len(batch), batch.indices.dtype), (len(rows), "i64"))
            for part, whole in zip(batch, tensors):
                self.assertEqual((part.dtype, part.tolist()), (whole.dtype, [whole.tolist()[i] for i in rows]))
            seen += rows
        self.assertEqual((seen, sorted(seen)), (loader.order(0), list(range(10))))

    def test_the_order_is_that_of_the_loader_of_images(self):
        images = data.from_arrays(np.zeros((10, 2, 2, 1), np.uint8), np.zeros(10, int))
        for options in ({"seed": 5, "shuffle": True}, {"indices": [4, 2, 9, 7, 1]}, {"shuffle": True, "drop_last": True},
                        {"indices": np.array([4, 2, 9, 7, 1]), "shuffle": True, "seed": 2}):
            ours = data.TensorLoader(x, y, batch_size=4, **options)
            theirs = data.Loader(images, batch_size=4, **options)
            self.assertEqual((len(ours), ours.size), (len(theirs), theirs.size))
            for epoch in range(3):
                self.assertEqual([b.indices.tolist() for b in ours.epoch(epoch)], [b.indices.tolist() for b in theirs.epoch(epoch)])

    def test_epochs_follow_each_other_and_may_be_entered_anywhere(self):
        loader = data.TensorLoader(x, y, batch_size=3, shuffle=True)
        epochs = [[b.indices.tolist() for b in loader] for _ in range(2)]
        self.assertNotEqual(epochs[0], epochs[1])
        self.assertEqual([b.indices.tolist() for b in loader.epoch(1, first_batch=2)], epochs[1][2:])

    def test_samplers(self):
        loader = data.TensorLoader(x, batch_size=2, sampler=data.Sampler(3, lambda epoch: [epoch, 5, 6]))
        self.assertEqual([b.indices.tolist() for b in loader.epoch(4)], [[4, 5], [6]])
        with self.assertRaisesRegex(fulcrum.Error, r"sampler: expected rows in \[0, 10\), got 5 to 10"):
            loader.order(10)

    def test_what_is_refused(self):
        cases = [((), {}, "number of rows, got none"), ((x, y[:4]), {}, r"number of rows, got \[\(10, 3\), \(4,\)\]"),
                 ((fulcrum.tensor(1.0),), {}, r"got \[\(\)\]"), ((x,), {"batch_size": 0}, "batch_size: expected an integer of at least 1, got 0"),
                 ((x,), {"indices": x[:, 0] > 0}, r"indices: .*got bool \[10\]; numpy.flatnonzero"),
                 ((x,), {"indices": [1, 10]}, r"indices: expected rows in \[0, 10\), got 1 to 10"),
                 ((x,), {"indices": []}, "at least one sample"), ((x,), {"batch_size": 4.0}, "expected an integer of at least 1, got 4.0"),
                 ((x,), {"batch_size": 11, "drop_last": True}, "at least one batch of 11, got 10"),
                 ((x,), {"sampler": data.sequential_sampler([1]), "shuffle": True}, "either a sampler or indices and shuffle")]
        for tensors, options, words in cases:
            with self.subTest(words), self.assertRaisesRegex(fulcrum.Error, words):
                data.TensorLoader(*tensors, **options)
        with self.assertRaisesRegex(fulcrum.Error, "first_batch: expected at least 0, got -1"):
            data.TensorLoader(x).epoch(0, -1)
        with self.assertRaises(TypeError):
            data.TensorLoader(x, bath_size=3)

    def test_a_regression(self):
        weight = np.array([[1.0], [-2], [0.5]], np.float32)
        loader = data.TensorLoader(x, (x @ weight)[:, 0], batch_size=5, shuffle=True)
        net = nn.Linear(3, 1).to("cpu")
        opt = fulcrum.ABSGD(net.parameters(), lr=0.1, momentum=0, lambda_=20)
        for _ in range(100):
            for rows, target in loader:
                opt.zero_grad()
                opt.weigh(F.mse_loss(net(rows).reshape(-1), target)).backward()
                opt.step()
        np.testing.assert_allclose(net.weight.numpy().T, weight, atol=0.01)


if __name__ == "__main__":
    unittest.main()
