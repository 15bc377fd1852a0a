"""Tensors: memory shared with NumPy, lifetimes, gradients, errors."""
import gc
import math
import threading
import unittest
import weakref

import numpy as np

import fulcrum
import fulcrum.functional as F


class Sharing(unittest.TestCase):
    def test_every_dtype_goes_both_ways_without_a_copy(self):
        for name, dtype in [("f32", "float32"), ("f64", "float64"), ("u8", "uint8"), ("i32", "int32"), ("i64", "int64")]:
            array = np.arange(6, dtype=dtype).reshape(2, 3)
            tensor = fulcrum.from_numpy(array)
            self.assertEqual((tensor.dtype, tensor.shape), (name, (2, 3)))
            self.assertEqual(tensor.data_ptr(), array.ctypes.data)
            array[1, 2] = 42
            self.assertEqual(tensor[1][2].item(), 42)
            back = tensor.numpy()
            back[0, 0] = 7
            self.assertEqual((array[0, 0], back.dtype), (7, array.dtype))

    def test_scalars_and_slices_are_shared(self):
        rows = np.zeros((4, 3), np.float32)
        fulcrum.from_numpy(rows[1:3]).copy_(fulcrum.ones([2, 3]))
        np.testing.assert_array_equal(rows.sum(axis=1), [0, 3, 3, 0])
        self.assertEqual(fulcrum.from_numpy(np.array(2.5)).item(), 2.5)

    def test_asarray_and_dlpack_are_understood(self):
        tensor = fulcrum.tensor([[1, 2], [3, 4]])
        self.assertEqual(np.asarray(tensor).tolist(), [[1, 2], [3, 4]])
        self.assertEqual(np.asarray(tensor, dtype=np.float64).dtype, np.float64)
        shared = np.from_dlpack(tensor)
        self.assertEqual(shared.ctypes.data, tensor.data_ptr())

    def test_memory_lives_as_long_as_either_side(self):
        array = np.full(1000, 3, np.float32)
        tensor = fulcrum.from_numpy(array)
        watch = weakref.ref(array)
        del array
        gc.collect()
        self.assertIsNotNone(watch())
        self.assertEqual(F.sum(tensor).item(), 3000)
        del tensor
        gc.collect()
        self.assertIsNone(watch())

        view = fulcrum.full([1000], 5).numpy()
        for _ in range(10):  # what the pool hands out must not be what the view shows
            fulcrum.zeros([1000])
        self.assertTrue((view == 5).all())

    def test_a_graph_keeps_an_array_that_is_gone(self):
        weight = fulcrum.ones([3]).requires_grad_()
        y = F.sum(weight * fulcrum.from_numpy(np.array([1, 2, 3], np.float32)))
        gc.collect()
        y.backward()
        self.assertEqual(weight.grad.tolist(), [1, 2, 3])

    def test_a_view_of_a_parameter_survives_its_move(self):
        model = fulcrum.make_model("resnet8", channels=1)
        view = dict(model.named_parameters())["fc.weight"].numpy()
        before = view.copy()
        model.to("cpu")
        np.testing.assert_array_equal(view, before)

    def test_a_seed_is_left_as_it_was(self):
        given = np.ones(3, np.float32)
        x = fulcrum.zeros([3]).requires_grad_()
        (x * 1.0).backward(fulcrum.from_numpy(given))
        (x * 1.0).backward(fulcrum.from_numpy(given))
        x.backward(fulcrum.from_numpy(given))
        self.assertEqual((given.tolist(), x.grad.tolist()), ([1, 1, 1], [3, 3, 3]))

    def test_what_cannot_be_shared_is_refused_in_words(self):
        read_only = np.zeros(3)
        read_only.flags.writeable = False
        cases = [(np.zeros((4, 4))[:, ::2], "contiguous"), (read_only, "read-only"), (np.zeros(3, np.complex64), "complex64"),
                 (np.zeros((0, 3)), "at least 1"), (np.zeros((1,) * 6), "at most 5 dimensions"), (np.zeros(2, bool), "bool8"),
                 ("text", "got str"), (None, "NoneType")]
        for source, words in cases:
            with self.subTest(words), self.assertRaisesRegex(fulcrum.Error, words):
                fulcrum.from_dlpack(source)
        with self.assertRaisesRegex(fulcrum.Error, "NumPy has no bf16"):
            fulcrum.ones([2], dtype="bf16").numpy()


class Numbers(unittest.TestCase):
    def test_tensor_copies_and_converts(self):
        array = np.array([1, 2, 3], np.float64)
        copy = fulcrum.tensor(array)
        array[0] = 9
        self.assertEqual((copy.dtype, copy.tolist()), ("f64", [1, 2, 3]))
        self.assertEqual(fulcrum.tensor([1, 2]).dtype, "i64")
        self.assertEqual(fulcrum.tensor([[1.5], [2]]).dtype, "f32")
        self.assertEqual(fulcrum.tensor([0.1], dtype="f64").item(), 0.1)
        self.assertEqual(fulcrum.tensor([1.5, 2], dtype="bf16").tolist(), [1.5, 2])
        self.assertEqual(fulcrum.tensor(3.5).shape, ())

    def test_tensor_takes_every_kind_of_number(self):
        for given, dtype in ((np.array([True, False]), "u8"), ([True, False], "u8"), (np.int8([-1, 2]), "i32"),
                             (np.int16([-1]), "i32"), (np.uint16([65535]), "i32"), (np.uint32([2**32 - 1]), "i64"),
                             (np.uint64([2**63 - 1]), "i64"), (np.float16([0.5]), "f32"),
                             (np.float64([0.5]), "f64"), (np.int32([1]), "i32")):
            with self.subTest(given=given):
                x = fulcrum.tensor(given)
                self.assertEqual((x.dtype, x.tolist()), (dtype, np.asarray(given).tolist()))
        self.assertEqual(fulcrum.tensor([True, False], dtype="f32").tolist(), [1, 0])
        self.assertEqual(fulcrum.tensor(np.int8([3]), dtype="bf16").tolist(), [3])
        for given, words in ((["a"], "expected numbers, got str"), (None, "got NoneType in it"), ([1, None], "got NoneType in it"),
                             ([1j], "got complex128"), ([[1], [2, 3]], "lists of equal lengths"), (["1"], "got str"),
                             ([1, 2**70], "range of i64, got 1180591620717411303424;"), (np.array([2**63], np.uint64), "range of i64"),
                             ([-2**63 - 1], "range of i64")):
            with self.subTest(words), self.assertRaisesRegex(fulcrum.Error, words):
                fulcrum.tensor(given)
        self.assertEqual([fulcrum.tensor(v, dtype="f32").tolist() for v in ([2**63], np.array([2**63], np.uint64))], [[2**63]] * 2)
        with self.assertRaisesRegex(fulcrum.Error, "got str"):
            fulcrum.tensor(["1"], dtype="f32")

    def test_operators_agree_with_numpy(self):
        a, b = np.array([[1.0, -2], [3, 4]]), np.array([[2.0, 5], [-7, 8]])
        x, y = fulcrum.tensor(a), fulcrum.tensor(b)
        pairs = [(x + y, a + b), (x - y, a - b), (x * y, a * b), (x / y, a / b), (x @ y, a @ b), (-x, -a), (2 + x, 2 + a),
                 (2 - x, 2 - a), (x - 2, a - 2), (3 * x, 3 * a), (x / 4, a / 4), (2 / x, 2 / a), (x[1], a[1]),
                 (x[-1], a[-1]), (x[0:1], a[0:1]), (x.reshape([4]), a.reshape(4)), (F.sum(x, [0]), a.sum(0)),
                 (F.mean(x), a.mean()), (F.softplus(x), np.log1p(np.exp(a))), (F.transpose(x, 0, 1), a.T),
                 (F.gelu(x), np.vectorize(lambda v: v * (1 + math.erf(v / math.sqrt(2))) / 2)(a)),
                 (F.gelu(x, approximate="tanh"), a * (1 + np.tanh(math.sqrt(2 / math.pi) * (a + 0.044715 * a**3))) / 2),
                 (F.maximum(x, y), np.maximum(a, b)), (F.concat([x, y], 1), np.concatenate([a, b], 1))]
        for i, (ours, theirs) in enumerate(pairs):
            with self.subTest(i):
                np.testing.assert_allclose(ours.numpy(), theirs, rtol=1e-12)
        self.assertEqual([row.tolist() for row in x], a.tolist())

    def test_gradients(self):
        x = fulcrum.tensor([1.0, 2, 3], dtype="f64", requires_grad=True)
        F.sum(F.exp(x) * x).backward()
        v = np.array([1.0, 2, 3])
        np.testing.assert_allclose(x.grad.numpy(), np.exp(v) * (1 + v), rtol=1e-12)
        for mode in (fulcrum.no_grad, fulcrum.inference_mode):
            with mode():
                self.assertFalse(fulcrum.grad_enabled() or (x * 2).requires_grad)
        self.assertTrue(fulcrum.grad_enabled() and (x * 2).requires_grad)

    def test_errors_are_fulcrums_with_its_words(self):
        with self.assertRaisesRegex(fulcrum.Error, r"^\[matmul\] "):
            fulcrum.ones([2, 3]) @ fulcrum.ones([2, 3])
        self.assertTrue(issubclass(fulcrum.OutOfMemory, fulcrum.Error) and issubclass(fulcrum.Error, RuntimeError))
        with self.assertRaisesRegex(fulcrum.OutOfMemory, r"^\[memory\] "):
            fulcrum.empty([1 << 46])
        with self.assertRaisesRegex(fulcrum.Error, "f33"):
            fulcrum.ones([1], dtype="f33")
        with self.assertRaises(IndexError):
            fulcrum.ones([2])[2]
        with self.assertRaises(TypeError):
            F.relu("x")

    def test_threads_share_and_drop_tensors(self):
        array, failures = np.ones(100, np.float32), []

        def work():
            for _ in range(200):
                if F.sum(fulcrum.from_numpy(array) * 2).item() != 200:
                    failures.append(1)

        threads = [threading.Thread(target=work) for _ in range(4)]
        for thread in threads: thread.start()
        for thread in threads: thread.join()
        self.assertEqual(failures, [])


class LikePyTorch(unittest.TestCase):
    """What reads like PyTorch means the same, or is refused."""

    def test_equality_is_of_elements_and_truth_of_one(self):
        guess = F.argmax(fulcrum.tensor([[0.0, 1], [1, 0]]))
        self.assertEqual((guess == fulcrum.tensor([1, 0])).tolist(), [1, 1])
        self.assertEqual(np.mean(guess == fulcrum.tensor([1, 1])), 0.5)
        x = fulcrum.tensor([1.0, 2])
        self.assertEqual(((x == 1).tolist(), (x != 1).tolist()), ([1, 0], [0, 1]))
        self.assertFalse(x == None)  # noqa: E711
        self.assertFalse(bool(fulcrum.tensor([0.0])))
        self.assertTrue(bool(fulcrum.tensor(2)))
        with self.assertRaisesRegex(fulcrum.Error, "the truth of a tensor of shape"):
            bool(x)
        self.assertEqual(len({x: 1, x: 2}), 1)
        rows = fulcrum.tensor([[5.0, 5], [5, 5]])
        self.assertEqual(len({rows[0], rows[1]}), 2)
        self.assertEqual((x == 1.5).tolist(), [0, 0])
        self.assertEqual((fulcrum.tensor([1, 2]) == 1.5).tolist(), [0, 0])
        self.assertEqual((x == np.array([1, 3], np.float32)).tolist(), [1, 0])
        self.assertEqual((np.array([1, 3], np.float32) != x).tolist(), [0, 1])
        self.assertFalse(x == "text")

    def test_in_place_operators_write(self):
        x = fulcrum.tensor([1.0, 2])
        y = x
        x += 1
        x *= fulcrum.tensor([2.0, 3])
        x -= 1
        x /= 2
        self.assertEqual(y.tolist(), [1.5, 4])
        x += np.ones(2, np.float32)
        self.assertEqual(y.tolist(), [2.5, 5])
        z = fulcrum.zeros([3, 2])
        z[0] = 1
        z[1] += 2
        z[1:3] = np.full((2, 2), 7, np.float32)
        self.assertEqual(z.tolist(), [[1, 1], [7, 7], [7, 7]])
        with self.assertRaises(IndexError):
            z[3] = 1
        w = fulcrum.tensor([1.0]).requires_grad_()
        with self.assertRaisesRegex(fulcrum.Error, "within no_grad"):
            w -= 0.5
        for _ in range(2):
            F.sum(F.square(w)).backward()
            with fulcrum.no_grad():
                for p in [w]:
                    p -= 0.25 * p.grad
            w.grad = None
        self.assertEqual(w.tolist(), [0.25])
        with self.assertRaisesRegex(fulcrum.Error, "what is written in place has no gradient"):
            fulcrum.zeros([1]).copy_(w * 2)

    def test_arrays_on_the_left_leave_the_history(self):
        x = fulcrum.tensor([1.0, 2]).requires_grad_()
        for y in (np.float32(2) * x, np.float64(2) * x, x * np.float32(2)):
            self.assertTrue(y.requires_grad)
            self.assertEqual(y.tolist(), [2, 4])

    def test_large_integers_and_byte_orders(self):
        big = 2 ** 53 + 1
        self.assertEqual(fulcrum.tensor([big]).item(), big)
        self.assertEqual(fulcrum.tensor([big]).tolist(), [big])
        with self.assertRaisesRegex(fulcrum.Error, "byte order, got >f4"):
            fulcrum.from_numpy(np.ones(3, ">f4"))

    def test_reductions_take_one_dimension_several_or_all(self):
        a = np.random.default_rng(0).normal(size=(2, 3, 4))
        x = fulcrum.tensor(a)
        log_sum = lambda v, **over: np.log(np.exp(v).sum(**over))  # noqa: E731
        var = lambda v, **over: v.var(ddof=1, **over)  # noqa: E731
        for name, theirs in (("sum", np.sum), ("mean", np.mean), ("amax", np.max), ("amin", np.min), ("var", var),
                             ("logsumexp", log_sum)):
            f = getattr(F, name)
            for dim in (0, -1, 1, (0, 2), [1, 2], (0, 1, 2)):
                expected = theirs(a, axis=tuple(dim) if isinstance(dim, list) else dim)
                kept = theirs(a, axis=tuple(dim) if isinstance(dim, list) else dim, keepdims=True)
                with self.subTest(name, dim=dim):
                    for ours in (f(x, dim), f(x, dim=dim), getattr(x, name)(dim)):
                        np.testing.assert_allclose(ours.numpy(), expected, rtol=1e-12)
                    self.assertEqual(f(x, dim, keepdim=True).shape, kept.shape)
            np.testing.assert_allclose([f(x).item(), getattr(x, name)().item()], theirs(a), rtol=1e-12)
        self.assertAlmostEqual(x.var(correction=0).item(), a.var())
        for dim in (0, 1, 2, -1, -2):
            for ours in (F.argmax(x, dim), x.argmax(dim=dim)):
                np.testing.assert_array_equal(ours.numpy(), a.argmax(dim))
            np.testing.assert_array_equal(F.argmax(x, dim, keepdim=True).numpy(), a.argmax(dim, keepdims=True))
        np.testing.assert_array_equal(x.argmax().numpy(), a.argmax(-1))

    def test_methods(self):
        a = np.random.default_rng(0).normal(size=(2, 3))
        x = fulcrum.tensor(a, requires_grad=True)
        pairs = [(x.exp(), np.exp(a)), (abs(x), abs(a)), (x.abs().log(), np.log(abs(a))), (x.abs().sqrt(), np.sqrt(abs(a))),
                 (x.reshape(3, 2), a.reshape(3, 2)), (x.view(-1), a.reshape(-1)), (x.reshape((6, 1)), a.reshape(6, 1)),
                 (x.view([1, -1]), a.reshape(1, -1)), (x.T, a.T), (x.permute(1, 0), a.T), (x.permute([1, 0]), a.T),
                 (x.transpose(0, -1), a.T), (x.sum().reshape(()), a.sum()), (x.sum().view(1), a.sum(keepdims=True)[0])]
        for i, (ours, theirs) in enumerate(pairs):
            with self.subTest(i):
                np.testing.assert_allclose(ours.detach().numpy(), theirs, rtol=1e-12)
                self.assertTrue(ours.requires_grad)
        loss = fulcrum.tensor([1.23456])
        self.assertEqual((f"{loss:.2f}", f"{fulcrum.tensor(7):03d}", f"{fulcrum.tensor(0.5)}"), ("1.23", "007", "0.5"))
        self.assertEqual(f"{loss}", str(loss))
        for use, words in ((lambda: f"{x:.2f}", "expected one element for the format '.2f'"),
                           (lambda: x.sum().T, "expected a matrix"),
                           (lambda: x.reshape("a"), "expected integers"), (lambda: x.reshape(2, "a"), "expected integers"),
                           (lambda: x.permute(0.5), "expected integers"), (lambda: x.reshape(5), "reshape")):
            with self.assertRaisesRegex(fulcrum.Error, words):
                use()

    def test_order(self):
        numbers = np.array([[3, 1, 2, 1], [0, 9, 9, -1]], "f")
        x = fulcrum.tensor(numbers)
        for dim in (0, 1, -1):
            self.assertEqual(F.argsort(x, dim).tolist(), np.argsort(numbers, dim, kind="stable").tolist())
        values, indices = x.sort(descending=True)
        self.assertEqual((values.tolist(), indices.tolist()), ([[3, 2, 1, 1], [9, 9, 0, -1]], [[0, 2, 1, 3], [1, 2, 0, 3]]))
        values, indices = x.topk(2, largest=False)
        self.assertEqual((values.tolist(), indices.tolist()), ([[1, 1], [-1, 0]], [[1, 3], [3, 0]]))
        w = fulcrum.tensor(numbers).requires_grad_()
        F.topk(w, 1, dim=0)[0].sum().backward()
        self.assertEqual(w.grad.tolist(), [[1, 0, 0, 1], [0, 1, 1, 0]])
        with self.assertRaisesRegex(fulcrum.Error, r"expected k in \[1, 4\], got 5"):
            x.topk(5)

    def test_powers(self):
        a, b = np.array([0.0, 1.5, 2]), np.array([[2.0], [0], [-1]])
        for ours, theirs in ((fulcrum.tensor(a) ** b[:2], a ** b[:2]), (2 ** fulcrum.tensor(b), 2 ** b),
                             (a[1:] ** fulcrum.tensor(b), a[1:] ** b), (F.pow(fulcrum.tensor(a), 2), a ** 2)):
            np.testing.assert_allclose(ours.numpy(), theirs, rtol=1e-12)
        x, y = fulcrum.tensor([0.0, 0.0, 2.0]).requires_grad_(), fulcrum.tensor([0.0, 2.0, 3.0]).requires_grad_()
        (x ** y).sum().backward()
        self.assertEqual(x.grad.tolist(), [0, 0, 12])
        self.assertEqual(y.grad.tolist()[:2], [0, 0])
        self.assertAlmostEqual(y.grad.tolist()[2], 8 * math.log(2), places=5)

    def test_random_numbers_are_those_of_their_seed(self):
        x = fulcrum.randn([1000, 20], seed=3)
        self.assertLess(abs(x.mean().item()), 0.03)
        self.assertLess(abs(x.var().item() - 1), 0.03)
        self.assertEqual(x.tolist(), fulcrum.randn([1000, 20], seed=3).tolist())
        self.assertNotEqual(x.tolist(), fulcrum.randn([1000, 20], seed=3, stream=1).tolist())
        y = fulcrum.rand(5000, seed=3, dtype="f64").numpy()
        self.assertTrue(y.dtype == np.float64 and 0 <= y.min() < 0.01 and 0.99 < y.max() < 1)
        with self.assertRaises(TypeError):
            fulcrum.rand(3)
        self.assertLess(max(fulcrum.rand(100000, seed=3, dtype="bf16").to("f32").tolist()), 1)
        with self.assertRaisesRegex(fulcrum.Error, "expected a floating dtype, got i64"):
            fulcrum.rand(3, seed=1, dtype="i64")

    def test_numbers_that_an_integer_dtype_does_not_hold(self):
        for call in (lambda: fulcrum.full(2, 300, "u8"), lambda: fulcrum.full(2, 2**53 + 1, "i64"),
                     lambda: fulcrum.full(2, float("nan"), "i32"), lambda: fulcrum.zeros(2, "i32").__setitem__(0, 2**31)):
            with self.assertRaisesRegex(fulcrum.Error, "expected a number in"):
                call()
        self.assertEqual(fulcrum.full(1, -(2**31), "i32").tolist(), [-(2**31)])

    def test_what_pytorch_has_beside_operators(self):
        x = fulcrum.tensor([3.0, 1])
        self.assertEqual((F.add(x, 2).tolist(), F.div(x, 2).tolist(), (+x).tolist()), ([5, 3], [1.5, 0.5], [3, 1]))
        self.assertEqual((int(x[0]), x.pow(2).tolist(), F.pow(2.0, x).tolist()), (3, [9, 1], [8, 2]))
        self.assertEqual(fulcrum.zeros(2).copy_(np.ones(2, "f")).tolist(), [1, 1])
        self.assertEqual((x.sort().values.tolist(), x.topk(1).indices.tolist()), ([1, 3], [0]))

        @fulcrum.no_grad()
        def double(t, factor=2):
            """Doubles."""
            return t * factor

        self.assertFalse(double(x.requires_grad_(), factor=3).requires_grad)
        self.assertEqual((double.__name__, double.__doc__), ("double", "Doubles."))
        with self.assertRaisesRegex(fulcrum.Error, "a function that returns one tensor, got tuple"):
            fulcrum.recompute(lambda t: (t, t), x)

    def test_functions_of_numpy_take_tensors_as_arrays(self):
        a = np.random.default_rng(0).normal(size=(2, 3))
        x = fulcrum.tensor(a)
        for f in (np.mean, np.sum, np.argmax, np.var, np.transpose, lambda v: np.sum(v, axis=0, keepdims=True),
                  lambda v: np.reshape(v, (3, 2)), lambda v: np.concatenate([v, v], axis=1), lambda v: np.argmax(v, axis=0)):
            ours, theirs = f(x), f(a)
            self.assertEqual(type(ours), type(theirs))
            np.testing.assert_array_equal(ours, theirs)

    def test_creation(self):
        for make, number in ((fulcrum.zeros, 0), (fulcrum.ones, 1)):
            self.assertEqual((make(2).tolist(), make((1, 2)).tolist()), ([number] * 2, [[number] * 2]))
        self.assertEqual((fulcrum.full(2, 7).tolist(), fulcrum.empty(3, "f64").shape), ([7, 7], (3,)))
        x = fulcrum.zeros([2, 1], "f64")
        for y, number in ((fulcrum.zeros_like(x), 0), (fulcrum.ones_like(x), 1), (fulcrum.full_like(x, 2.5), 2.5)):
            self.assertEqual((y.dtype, y.device, y.tolist()), ("f64", "cpu", [[number], [number]]))
        self.assertEqual(fulcrum.zeros_like(x, dtype="i64").dtype, "i64")
        for ours, theirs in ((fulcrum.arange(3), np.arange(3)), (fulcrum.arange(2, 8, 3), np.arange(2, 8, 3)),
                             (fulcrum.arange(3, 0, -1), np.arange(3, 0, -1)),
                             (fulcrum.arange(0, 1, 0.25), np.arange(0, 1, 0.25, np.float32)),
                             (fulcrum.eye(3), np.eye(3, dtype=np.float32)), (fulcrum.arange(2, dtype="f64"), np.arange(2.0))):
            np.testing.assert_array_equal(ours.numpy(), theirs)
            self.assertEqual(ours.numpy().dtype, theirs.dtype)
        with self.assertRaisesRegex(fulcrum.Error, "at least one number"):
            fulcrum.arange(3, 1)

    def test_what_a_graph_needs_may_not_be_overwritten(self):
        x = fulcrum.tensor([1.0, 2.0], requires_grad=True)
        for write in (lambda: x.copy_(x + 1), lambda: x.__setitem__(0, 5.0), lambda: x.__iadd__(1)):
            y, z = (x * x).sum(), (x + x).sum()
            with fulcrum.no_grad():
                write()
            with self.assertRaisesRegex(fulcrum.Error, r"'mul' needs a tensor f32 \[2\] as it was"):
                y.backward()
            z.backward()  # needs no numbers

    def test_clamp_and_softmax(self):
        self.assertEqual(F.clamp(fulcrum.tensor([-3.0, 0, 3]), -1, 2).tolist(), [-1, 0, 2])
        self.assertEqual(F.clamp(fulcrum.tensor([-3.0, 3]), max=2).tolist(), [-3, 2])
        self.assertEqual(F.maximum(fulcrum.tensor([-3.0, 3]), 0).tolist(), [0, 3])
        np.testing.assert_allclose(F.sum(F.softmax(fulcrum.tensor(np.eye(3)), 0), [0]).numpy(), 1)


if __name__ == "__main__":
    unittest.main()
