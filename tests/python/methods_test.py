"""Methods of tensors: what they refuse and what torch_test.py does not compare."""
import unittest

import numpy as np

import fulcrum
import fulcrum.functional as F


class Methods(unittest.TestCase):
    def test_views_share_memory(self):
        x = fulcrum.zeros([2, 1, 3])
        for view in (x.squeeze(), x.unsqueeze(0), x.flatten(), x.flatten(1, 2)):
            self.assertEqual(view.data_ptr(), x.data_ptr())
        self.assertEqual((fulcrum.tensor(3.0).flatten().shape, fulcrum.tensor(3.0).unsqueeze(0).shape), ((1,), (1,)))

    def test_what_is_refused(self):
        x = fulcrum.ones([2, 3])
        for use, words in [(lambda: x.max(1), r"\[max\] expected no arguments; amax\(dim\) .* F.maximum"),
                           (lambda: x.min(dim=1), r"\[min\] expected no arguments; amin\(dim\)"),
                           (lambda: x.unsqueeze(4), r"\[unsqueeze\] expected a dimension in \[-3, 2\], got 4"),
                           (lambda: x.flatten(1, 0), r"\[flatten\] expected start_dim to come before"),
                           (lambda: F.normalize(x, 3), r"\[normalize\] expected p of 1, 2 or inf, got 3"),
                           (lambda: F.mae_loss(x[0], x[1]), r"\[mae_loss\] .*got \[3\] and \[3\]; for regression: \(x − y\).abs\(\)"),
                           (lambda: F.mae_loss(x, x), "for regression")]:
            with self.subTest(words), self.assertRaisesRegex(fulcrum.Error, words):
                use()

    def test_log1p_near_zero_and_in_bf16(self):
        x = np.array([1e-12, -1e-8, 0, 5e-4, 0.4, 0.6, 1e6])
        np.testing.assert_allclose(F.log1p(fulcrum.tensor(x)).numpy(), np.log1p(x), rtol=1e-13)
        half = F.log1p(fulcrum.tensor(x, dtype="bf16"))
        self.assertEqual(half.dtype, "bf16")
        np.testing.assert_allclose(half.to("f32").numpy(), np.log1p(x), rtol=2e-2)


if __name__ == "__main__":
    unittest.main()
