"""x[key] and x[key] = numbers, against NumPy."""
import unittest

import numpy as np

import fulcrum
import fulcrum.functional as F

array = np.arange(60, dtype=np.float64).reshape(3, 4, 5)
rows = np.array([2, 0, 2])


def dtype_of(array):
    return {"float64": "f64", "float32": "f32", "int64": "i64", "uint8": "u8", "int32": "i32"}[str(array.dtype)]


class Reading(unittest.TestCase):
    keys = [1, -1, np.int64(2), slice(None), slice(1, 3), slice(-2, None), None, ..., (), (1, 2), (1, 2, 3), (-1, -2, -3),
            (slice(None), 1), (slice(None), slice(1, 3)), (..., 2), (..., None), (None, 1, ..., slice(2, 4)), (1, ..., 2),
            (slice(None), None, 1, None, slice(1, 2)), (slice(0, 2), slice(1, 4), slice(2, 5)), (0, None, 1), [2, 0], [-1, 1],
            rows, rows.astype(np.uint8), (slice(None), rows), (slice(None), slice(1, 3), [0, -1]), (..., [1, 2]), (1, rows),
            rows.reshape(3, 1), ((1, 0),), (slice(None), np.array([[0, 1], [2, 3]]), 1), (None, rows, None)]

    def test_keys_are_numpys(self):
        for dtype in (np.float64, np.uint8, np.int64):
            a = array.astype(dtype)
            x = fulcrum.tensor(a)
            for key in self.keys:
                with self.subTest(key=key, dtype=dtype):
                    y = x[key]
                    expected = a[key]
                    self.assertEqual((y.shape, y.dtype), (np.shape(expected), dtype_of(a)))
                    np.testing.assert_array_equal(y.numpy(), expected)

    def test_tensors_are_indices(self):
        x = fulcrum.tensor(array)
        for index in (fulcrum.tensor(rows), fulcrum.tensor(rows, dtype="i32"), fulcrum.tensor([-1, 0, 2])):
            np.testing.assert_array_equal(x[index].numpy(), array[rows])
            np.testing.assert_array_equal(x[:, index, 1].numpy(), array[:, index.numpy(), 1])
        np.testing.assert_array_equal(x[fulcrum.tensor(1)].numpy(), array[1])
        np.testing.assert_array_equal(x[fulcrum.tensor([[0, 1]])].numpy(), array[[[0, 1]]])
        # PyTorch's rule, where NumPy would put the indices first.
        np.testing.assert_array_equal(x[0, :, fulcrum.tensor([1, 2])].numpy(), array[0][:, [1, 2]])

    def test_gradients(self):
        for key in self.keys:
            x = fulcrum.tensor(array, requires_grad=True)
            F.sum(F.square(x[key])).backward()
            expected = np.zeros_like(array)
            np.add.at(expected, key, 2 * array[key])
            with self.subTest(key=key):
                np.testing.assert_array_equal(x.grad.numpy(), expected)

    def test_leading_rows_are_views(self):
        x = fulcrum.tensor(array)
        for key in (1, slice(1, 2), (1, 2), (1, slice(1, 3)), (1, 2, 3)):
            x[key].copy_(fulcrum.zeros(array[key].shape if np.ndim(array[key]) else [], "f64"))
            self.assertEqual(np.abs(x.numpy()[key]).sum(), 0)

    def test_what_is_refused(self):
        x = fulcrum.tensor(array)
        mask = "a mask; F.where"
        cases = [(slice(None, None, 2), "step of 1"), (slice(2, 2), "at least one row"), ((0, 0, 0, 0), "at most 3 indices"),
                 ((..., ...), "one Ellipsis"), ((rows, rows), "F.gather"), (x > 3, mask), (array > 3, mask), (True, mask),
                 ([True, False, True], mask), (np.bool_(True), mask), ([], "at least one index"), ([0.5], "got float64"),
                 ("a", "got str"), (1.5, "got float")]
        for key, words in cases:
            with self.subTest(words=words, key=key), self.assertRaisesRegex(fulcrum.Error, words):
                x[key]
        for key in (3, -4, (0, 4), [5], [-4], array[:1, 0, 0].astype(int) + 99):
            with self.assertRaises(IndexError):
                x[key]
        with self.assertRaisesRegex(fulcrum.Error, "at most 0 indices"):
            fulcrum.tensor(1.0)[0]


class Writing(unittest.TestCase):
    keys = [1, slice(1, 3), (1, 2), (1, 2, 3), ..., slice(None), rows[:2], [2, 0], (slice(None), 1), (slice(None), slice(1, 3)),
            (..., 2), (..., slice(1, 3)), (slice(1, 3), 2), (slice(None), [3, 0]),
            (slice(1, 3), slice(None), [-1]), np.array([[0], [1]]), (slice(None), np.array([[0], [1]]))]

    def test_keys_are_numpys(self):
        for dtype in (np.float64, np.int64, np.uint8):
            for key in self.keys:
                expected, x = array.astype(dtype), fulcrum.tensor(array.astype(dtype))
                numbers = np.arange(expected[key].size).reshape(np.shape(expected[key])) + 100
                with self.subTest(key=key, dtype=dtype):
                    x[key] = fulcrum.tensor(numbers)
                    expected[key] = numbers
                    np.testing.assert_array_equal(x.numpy(), expected)
                    x[key] = 7
                    expected[key] = 7
                    if dtype == np.float64:  # what has arithmetic
                        x[key] += 2
                        expected[key] += 2
                    np.testing.assert_array_equal(x.numpy(), expected)

    def test_an_integer_before_indices(self):
        expected, x = array.copy(), fulcrum.tensor(array)
        x[1, :, [2, 0]] = np.zeros((4, 2))
        expected[1][:, [2, 0]] = 0
        np.testing.assert_array_equal(x.numpy(), expected)

    def test_a_memory_of_samples(self):
        memory, index = fulcrum.zeros([5, 2]), fulcrum.tensor([4, 1])
        memory[index] = 0.5 * memory[index] + fulcrum.ones([2, 2])
        self.assertEqual(memory.tolist(), [[0, 0], [1, 1], [0, 0], [0, 0], [1, 1]])
        memory.index_copy_(1, fulcrum.tensor([1]), fulcrum.full([5, 1], 3.0)).index_copy_(0, index, fulcrum.zeros([2, 2]))
        self.assertEqual(memory.tolist(), [[0, 3], [0, 0], [0, 3], [0, 3], [0, 0]])

    def test_parameters_are_written_with_their_twins(self):
        net = fulcrum.nn.Linear(2, 2, bias=False).to("cpu", "bf16")
        for key, numbers in (([0, 1], [[1.0, 2], [3, 4]]), ((slice(None), 1), [5.0, 6]), (1, [7.0, 8])):
            net.weight[key] = np.array(numbers)
        self.assertEqual(net(fulcrum.ones([1, 2], dtype="bf16")).tolist(), [[6, 15]])

    def test_what_is_refused(self):
        x = fulcrum.tensor(array)
        cases = [((rows, 1), 0, "two steps"), ((slice(None), 1, 2), 0, "two steps"), (None, 0, "no None"), (1, "a", "got str"),
                 (1, np.zeros(3), r"shape \[4, 5\], got \[3\]"), ([0, 1], np.zeros(3), r"shape \[2, 4, 5\], got \[3\]"),
                 (array > 3, 0, "F.where"), (slice(None, None, 2), 0, "step of 1")]
        for key, numbers, words in cases:
            with self.subTest(words=words), self.assertRaisesRegex(fulcrum.Error, words):
                x[key] = numbers
        w = fulcrum.ones([2]).requires_grad_()
        for key in (0, [0]):
            for target, numbers in ((w * 2, 1), (fulcrum.zeros([2]), w[key])):
                with self.assertRaisesRegex(fulcrum.Error, "in place has no gradient"):
                    target[key] = numbers


class Sources(unittest.TestCase):
    def test_a_part_of_itself_is_read_before_it_is_written(self):
        for key, source in (([2, 1, 0, 3], slice(0, 4)), ([1, 2, 3], slice(0, 3)), (slice(1, 4), slice(0, 3))):
            x, y = fulcrum.arange(4, dtype="f32"), np.arange(4, dtype="f")
            x[key] = x[source]
            y[key] = y[source].copy()
            self.assertEqual(x.tolist(), y.tolist())

    def test_indices_beyond_the_end_are_named_as_given(self):
        x = fulcrum.arange(3)
        for key in (fulcrum.tensor(-4), [-4], fulcrum.tensor([-4])):
            with self.assertRaisesRegex(IndexError, "index -4 of a dimension of 3"):
                x[key]

    def test_arrays_beside_operators_keep_the_history(self):
        w, a = fulcrum.tensor([1.0, 2]).requires_grad_(), np.array([3, 4], "f")
        for ours, theirs in ((w * a, [3, 8]), (a * w, [3, 8]), (w + a, [4, 6]), (a - w, [2, 2]), (a / w, [3, 2]),
                             (w.reshape(1, 2) @ a.reshape(2, 1), [[11]]), (a.reshape(1, 2) @ w.reshape(2, 1), [[11]])):
            self.assertTrue(ours.requires_grad)
            self.assertEqual(ours.tolist(), theirs)
        with self.assertRaises(TypeError):
            w @ 2

if __name__ == "__main__":
    unittest.main()
