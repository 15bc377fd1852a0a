"""What an optimiser does once a loss or gradient is not finite."""
import math
import unittest
import warnings

import fulcrum


def made(**options):
    x = fulcrum.tensor([1.0], requires_grad=True)
    return x, fulcrum.SGD([x], lr=0.5, **options)


# The warnings of a step with the loss factor·x, whose gradient is the factor.
def step(x, opt, factor):
    with warnings.catch_warnings(record=True) as said:
        warnings.simplefilter("always")
        opt.zero_grad()
        opt.weigh(x * factor).backward()
        opt.step()
    return said


class NonFinite(unittest.TestCase):
    def test_warns_once_and_stops_the_updates(self):
        x, opt = made()
        self.assertEqual((opt.on_non_finite, step(x, opt, 1), x.item()), ("warn", [], 0.5))
        warned = step(x, opt, math.inf)
        self.assertEqual((len(warned), warned[0].category, warned[0].filename), (1, RuntimeWarning, __file__))
        self.assertRegex(str(warned[0].message), r"not finite after 1 updates.*clear_non_finite\(\)")
        self.assertEqual((step(x, opt, 1), x.item(), opt.finite), ([], 0.5, False))
        opt.clear_non_finite()
        self.assertEqual((step(x, opt, 1), x.item(), opt.finite), ([], 0, True))
        self.assertEqual(len(step(x, opt, math.nan)), 1)  # news again

    def test_a_gradient_counts_as_well(self):
        x, opt = made()
        x.grad = fulcrum.tensor([math.nan])
        with self.assertWarnsRegex(RuntimeWarning, "gradient was not finite after 0 updates"):
            opt.step()
        self.assertEqual(x.item(), 1)

    def test_raises(self):
        x, opt = made(on_non_finite="raise")
        step(x, opt, 1)
        with self.assertRaisesRegex(fulcrum.Error, r"^\[step\] a loss or gradient was not finite"):
            step(x, opt, math.inf)
        self.assertEqual(x.item(), 0.5)
        with self.assertRaisesRegex(fulcrum.Error, "not finite"):  # as long as it is not cleared
            step(x, opt, 1)
        opt.on_non_finite = "warn"
        self.assertEqual(len(step(x, opt, 1)), 1)
        opt.on_non_finite = "raise"
        self.assertRaises(fulcrum.Error, step, x, opt, 1)

    def test_a_warning_may_be_an_error(self):
        x, opt = made()
        opt.weigh(x * math.inf).backward()
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            self.assertRaises(RuntimeWarning, opt.step)

    def test_skips_the_batch(self):
        makes = [lambda p: fulcrum.SGD(p, lr=0.5, on_non_finite="skip"), lambda p: fulcrum.ABSGD(p, lr=0.5, on_non_finite="skip"),
                 lambda p: fulcrum.Adam(p, lr=0.5, on_non_finite="skip"), lambda p: fulcrum.ABAdam(p, lr=0.5, on_non_finite="skip")]
        for make in makes:
            x = fulcrum.tensor([1.0], requires_grad=True)
            opt = make([x])
            with self.subTest(type(opt).__name__):
                said = [step(x, opt, factor) for factor in (1, math.nan, 1)]
                self.assertEqual((said, opt.steps, opt.finite), ([[], [], []], 2, True))
                self.assertLess(x.item(), 0.1)

    def test_other_words_are_refused(self):
        with self.assertRaisesRegex(fulcrum.Error, "on_non_finite: expected 'warn', 'raise' or 'skip', got 'ignore'"):
            made(on_non_finite="ignore")
        _, opt = made()
        with self.assertRaisesRegex(fulcrum.Error, "got ''"):
            opt.on_non_finite = ""


if __name__ == "__main__":
    unittest.main()
