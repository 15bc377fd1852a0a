"""Risks and optimisers against closed forms in NumPy."""
import copy
import math
import unittest

import numpy as np

import fulcrum
import fulcrum.functional as F

losses = np.array([0.1, 0.5, 2.0, 3.0])


def weights(risk, l=losses, **context):
    return risk.weights(fulcrum.tensor(l), **context).numpy()


class Risks(unittest.TestCase):
    def test_closed_forms(self):
        e = np.exp(losses / 5)
        groups = fulcrum.tensor([0, 0, 1, 1])
        cases = [(fulcrum.MeanRisk(), np.full(4, 0.25)),
                 (fulcrum.KlRisk(lambda_=5, gamma=0.7), e / e.sum()),
                 (fulcrum.TiltedRisk(5), e / e.sum()),
                 (fulcrum.KlRisk(lambda_=math.inf), np.full(4, 0.25)),
                 (fulcrum.CvarRisk(0.5), np.array([0, 0, 0.5, 0.5])),
                 (fulcrum.RgdRisk(1), np.exp(np.minimum(losses, 1) / 2) / 4),
                 (fulcrum.Chi2Risk(100), np.array([0, 0, 0, 1.0]))]
        for risk, expected in cases:
            with self.subTest(risk.name):
                np.testing.assert_allclose(weights(risk), expected, rtol=1e-9)
        q = np.exp(0.01 * np.array([0.3, 2.5]))
        q /= q.sum()
        np.testing.assert_allclose(weights(fulcrum.GroupRisk(2), groups=groups), np.repeat(q / 2, 2), rtol=1e-9)
        ball = fulcrum.KlBallRisk(fraction=0.5)
        p = weights(ball)
        self.assertAlmostEqual(p.sum() ** 2 / (4 * (p ** 2).sum()), 0.5, places=5)
        self.assertTrue(ball.lambda_ > 0)

    def test_the_moving_average(self):
        risk = fulcrum.KlRisk(lambda_=2, gamma=0.25)
        weights(risk)
        second = losses[::-1] * 0.5
        u = 0.75 * np.exp(losses / 2).mean() + 0.25 * np.exp(second / 2).mean()
        np.testing.assert_allclose(weights(risk, second), np.exp(second / 2) / (4 * u), rtol=1e-9)
        self.assertAlmostEqual(risk.log_u, math.log(u), places=9)
        self.assertEqual(risk.summary().steps, 2)
        risk.lambda_ = -2
        self.assertEqual(risk.lambda_, -2)

    def test_a_risk_in_python(self):
        class Largest(fulcrum.Risk):
            def weights(self, losses, indices, groups):
                self.seen = (None if indices is None else indices.tolist(), groups)
                l = losses.numpy()
                return fulcrum.tensor((l == l.max()).astype(l.dtype))

        risk = Largest()
        x = fulcrum.tensor([1.0, 2, 3], requires_grad=True)
        opt = fulcrum.SGD([x], lr=0.5, risk=risk)
        opt.weigh(x * x, indices=fulcrum.tensor([7, 8, 9])).backward()
        opt.step()
        self.assertEqual((x.tolist(), opt.weights.tolist(), risk.seen), ([1, 2, 0], [0, 0, 1], ([7, 8, 9], None)))
        self.assertIs(opt.risk, risk)

        class Wrong(fulcrum.Risk):
            def weights(self, losses, indices, groups):
                return fulcrum.ones([2])

        opt.risk = Wrong()
        with self.assertRaisesRegex(fulcrum.Error, r"expected weights f32 \[3\] .*got f32 \[2\]"):
            opt.weigh(x * x)

    def test_what_a_risk_in_python_remembers_is_saved(self):
        class Smooth(fulcrum.Risk):
            def __init__(self):
                super().__init__()
                self.memory, self.counts = fulcrum.zeros([4]), np.zeros(4)
                self.asked = 0

            def weights(self, losses, indices, groups):
                rows = indices.numpy()
                self.memory.numpy()[rows] += losses.numpy()
                self.counts[rows] += 1
                return self.memory.numpy()[rows] / self.counts[rows]  # f32 / f64: an array in f64

            def state(self):
                self.asked += 1
                return {**super().state(), "memory": self.memory, "counts": self.counts}

        def made():
            x = fulcrum.tensor([1.0, 3.0], requires_grad=True)
            return x, fulcrum.SGD([x], lr=0.1, risk=Smooth())

        x, opt = made()
        opt.weigh(x * x, indices=fulcrum.tensor([3, 1])).backward()
        self.assertEqual(opt.weights.tolist(), [1, 9])
        state = opt.state_dict()
        self.assertEqual(opt.risk.asked, 1)
        self.assertEqual((state["risk.memory"].tolist(), state["risk.counts"].tolist()), ([0, 9, 0, 1], [0, 1, 0, 1]))
        self.assertEqual(sorted(opt.risk.state()), ["counts", "memory", "statistics"])
        y, other = made()
        other.load_state_dict(state)
        self.assertEqual((other.risk.memory.tolist(), other.risk.counts.tolist()), ([0, 9, 0, 1], [0, 1, 0, 1]))
        self.assertEqual(other.risk.summary().steps, 1)
        _, third = made()
        third.risk.load_state_dict(opt.risk.state_dict())
        self.assertEqual(third.risk.counts.tolist(), [0, 1, 0, 1])
        with self.assertRaisesRegex(fulcrum.Error, "lacks 'risk.memory'"):
            del state["risk.memory"]
            other.load_state_dict(state)

    def test_a_risk_goes_on_from_its_state(self):
        def risks():
            return [fulcrum.KlRisk(lambda_=2, gamma=0.5), fulcrum.KlBallRisk(rho=0.1, every=2), fulcrum.GroupRisk(2), fulcrum.MeanRisk()]

        groups = fulcrum.tensor([0, 0, 1, 1])
        for risk, other in zip(risks(), risks()):
            with self.subTest(risk.name):
                for k in range(3):
                    weights(risk, losses * k, groups=groups)
                state = risk.state_dict()
                expected = weights(risk, losses[::-1].copy(), groups=groups)
                other.load_state_dict(state)  # a copy: the step after it is not in it
                np.testing.assert_array_equal(weights(other, losses[::-1].copy(), groups=groups), expected)
                self.assertEqual(other.summary().steps, 4)

    def test_a_state_of_another_risk_is_refused(self):
        risk = fulcrum.KlRisk(lambda_=2)
        state = risk.state_dict()
        for other, words in [({**state, "more": state["kl"]}, "there is no 'more' in this risk"),
                             ({"kl": state["kl"]}, "the state lacks 'statistics'"),
                             ({**state, "kl": fulcrum.zeros([1])}, r"expected 'kl' of shape \[\d\], got \[1\]")]:
            with self.assertRaisesRegex(fulcrum.Error, r"\[risk\] " + words):
                risk.load_state_dict(other)
            self.assertEqual(risk.lambda_, 2)
        with self.assertRaisesRegex(fulcrum.Error, r"a risk has no copy; load its state_dict\(\)"):
            copy.deepcopy(risk)

    def test_a_risk_in_python_has_statistics(self):
        class Fixed(fulcrum.Risk):
            def weights(self, losses, indices, groups):
                return self.p

        x = fulcrum.tensor([1.0, 2], requires_grad=True)
        opt = fulcrum.SGD([x], lr=0.1, risk=Fixed())
        for p in ([1.0, 0], [0.5, 0.5], [math.nan, 1]):  # the last is not counted
            opt.risk.p = fulcrum.tensor(p)
            opt.weigh(x * x)
        opt.risk.p = np.array([2, 2])
        p = opt.risk._checked_weights(fulcrum.tensor([1.0, 2]), None, None)  # what fulcrum.torch.Weigher calls
        self.assertEqual((p.dtype, p.tolist()), ("f32", [2, 2]))
        summary = opt.risk.summary()
        self.assertEqual((summary.steps, summary.weight_sum, summary.effective_fraction), (3, 2, 2.5 / 3))
        opt.risk.reset_summary()
        self.assertEqual(opt.risk.summary().steps, 0)

    def test_negative_weights_of_a_risk_in_python_are_refused(self):
        class Fixed(fulcrum.Risk):
            def weights(self, losses, indices, groups):
                return self.p

        risk = Fixed()
        for risk.p in (fulcrum.tensor([1.0, -0.5]), np.array([1, -0.5])):
            with self.assertRaisesRegex(fulcrum.Error, r"at least 0 from .*Fixed, got -0.5 for sample 1 of the batch"):
                risk._checked_weights(fulcrum.tensor([1.0, 2]), None, None)

    def test_a_loss_that_is_not_finite_weighs_nothing_and_changes_nothing(self):
        for risk in (fulcrum.KlRisk(lambda_=2), fulcrum.CvarRisk(0.5), fulcrum.KlBallRisk(rho=0.1)):
            before = {name: t.tolist() for name, t in risk.state_dict().items()}
            self.assertEqual(weights(risk, np.array([1, np.nan])).tolist(), [0, 0])
            self.assertEqual({name: t.tolist() for name, t in risk.state_dict().items()}, before)

    def test_what_a_risk_in_python_lacks_is_said(self):
        class Nothing(fulcrum.Risk):
            pass

        class Super(fulcrum.Risk):
            def weights(self, losses, indices, groups):
                return super().weights(losses, indices, groups)

        class Text(Nothing):
            def weights(self, losses, indices, groups):
                return None

            def state(self):
                return {"memory": 3}

        class Headless(fulcrum.Risk):
            def __init__(self):
                self.memory = 1

        class Raises(fulcrum.Risk):
            def weights(self, losses, indices, groups):
                raise ValueError("mine")

            def state(self):
                return self.state_of_one

        x = fulcrum.tensor([1.0, 2], requires_grad=True)
        opt = fulcrum.SGD([x], lr=0.1)
        for make in (Nothing, Super, fulcrum.Risk):
            opt.risk = make()
            with self.assertRaisesRegex(fulcrum.Error, r"expected .*(Nothing|Super|Risk) to define weights\(self, "):
                opt.weigh(x * x)
        with self.assertRaisesRegex(fulcrum.Error, "to define weights"):
            Nothing().weights(x)
        opt.risk = Text()
        with self.assertRaisesRegex(fulcrum.Error, "expected weights from .*Text, a tensor or an array .*NoneType"):
            opt.weigh(x * x)
        with self.assertRaisesRegex(fulcrum.Error, "as 'memory' in state.. of .*Text, got int"):
            opt.state_dict()
        class Hides(Text):
            def state(self):
                return {"statistics": fulcrum.zeros([2])}

        opt.risk = Hides()
        with self.assertRaisesRegex(fulcrum.Error, "'statistics' in state.. of .*Hides is a name of Risk's own"):
            opt.state_dict()
        for use in (lambda: fulcrum.SGD([x], lr=0.1, risk=Headless()), lambda: setattr(opt, "risk", Headless())):
            with self.assertRaisesRegex(fulcrum.Error, r"calls super\(\).__init__\(\), got .*Headless"):
                use()
        with self.assertRaises(TypeError):
            opt.risk = 3
        opt.risk = Raises()
        with self.assertRaisesRegex(ValueError, "mine"):
            opt.weigh(x * x)
        with self.assertRaisesRegex(AttributeError, "state_of_one"):
            opt.state_dict()
        with self.assertRaises(TypeError):  # whose overridden methods the optimiser would not call
            class Derived(fulcrum.KlRisk):
                pass

    def test_what_is_refused(self):
        for make in [lambda: fulcrum.KlRisk(lambda_=0), lambda: fulcrum.CvarRisk(0), lambda: fulcrum.KlBallRisk(),
                     lambda: fulcrum.Chi2Risk(-1), lambda: fulcrum.GroupRisk(2).weights(fulcrum.ones([2]))]:
            with self.assertRaises(fulcrum.Error):
                make()


class Optimisers(unittest.TestCase):
    def step(self, make, start=(1.0, -2.0)):
        x = fulcrum.tensor(list(start), dtype="f64", requires_grad=True)
        opt = make([x])
        for _ in range(3):
            opt.zero_grad()
            opt.weigh(x * x).backward()
            opt.step()
        return x.numpy()

    def test_sgd_with_momentum(self):
        x, m = np.array([1.0, -2.0]), 0
        for _ in range(3):
            m = 0.9 * m + x + 0.1 * x  # mean of two losses x², weight decay
            x = x - 0.1 * m
        np.testing.assert_allclose(self.step(lambda p: fulcrum.SGD(p, lr=0.1, momentum=0.9, weight_decay=0.1)), x, rtol=1e-9)

    def test_adam(self):
        x, m, v = np.array([1.0, -2.0]), 0, 0
        for t in range(1, 4):
            g = x
            m, v = 0.9 * m + 0.1 * g, 0.999 * v + 0.001 * g * g
            x = x - 0.1 * (m / (1 - 0.9 ** t)) / (np.sqrt(v / (1 - 0.999 ** t)) + 1e-8)
        np.testing.assert_allclose(self.step(lambda p: fulcrum.Adam(p, lr=0.1)), x, rtol=1e-9)

    def test_absgd_is_sgd_with_the_kl_risk_and_sgd_where_lambda_is_infinite(self):
        absgd = self.step(lambda p: fulcrum.ABSGD(p, lr=0.1, momentum=0.5, lambda_=2, gamma=0.6))
        sgd = self.step(lambda p: fulcrum.SGD(p, lr=0.1, momentum=0.5, risk=fulcrum.KlRisk(lambda_=2, gamma=0.6)))
        plain = self.step(lambda p: fulcrum.SGD(p, lr=0.1, momentum=0.5))
        np.testing.assert_array_equal(absgd, sgd)
        self.assertFalse((absgd == plain).any())
        np.testing.assert_array_equal(self.step(lambda p: fulcrum.ABSGD(p, lr=0.1, momentum=0.5)), plain)
        adam = self.step(lambda p: fulcrum.ABAdam(p, lr=0.1, lambda_=2, gamma=0.6))
        risk = fulcrum.KlRisk(lambda_=2, gamma=0.6)
        np.testing.assert_array_equal(adam, self.step(lambda p: fulcrum.Adam(p, lr=0.1, risk=risk)))

    def test_groups_and_state(self):
        a, b = (fulcrum.tensor([1.0], requires_grad=True) for _ in range(2))
        opt = fulcrum.ABSGD([{"params": [a]}, {"params": [b], "lr_scale": 0.5}], lr=0.5, lambda_=3, momentum=0.9)
        opt.weigh(a + b).backward()
        opt.step()
        self.assertEqual((a.item(), b.item(), opt.steps, opt.finite), (0.5, 0.75, 1, True))
        opt.lambda_ = 4
        self.assertEqual((opt.lambda_, opt.risk.lambda_), (4, 4))
        state = opt.state_dict()
        other = fulcrum.ABSGD([{"params": [a]}, {"params": [b], "lr_scale": 0.5}], lr=0.5, momentum=0.9)
        other.load_state_dict(state)
        self.assertEqual((other.steps, other.lambda_), (1, 4))
        del state["control"]
        with self.assertRaisesRegex(fulcrum.Error, "lacks 'control'"):
            other.load_state_dict(state)
        with self.assertRaisesRegex(fulcrum.Error, "'lr'"):
            fulcrum.SGD([{"params": [a], "lr": 1}], lr=1)

    def test_losses_in_bf16_are_refused_with_the_way_out(self):
        x = fulcrum.tensor([1.0], requires_grad=True)
        with self.assertRaisesRegex(fulcrum.Error, r"got bf16 \[1\]; begin the loss with logits.to\('f32'\)"):
            fulcrum.SGD([x], lr=1).weigh(x.to("bf16"))


if __name__ == "__main__":
    unittest.main()
