"""The metrics of the program, from Python."""
import math
import unittest

import numpy as np

import fulcrum
from fulcrum import metrics

rng = np.random.default_rng(0)
logits, labels = rng.normal(size=(200, 7)).astype(np.float32), rng.integers(0, 7, 200)


class Evaluate(unittest.TestCase):
    def test_closed_forms(self):
        found = metrics.evaluate(fulcrum.tensor(logits), fulcrum.tensor(labels), [500, 101, 100, 20, 19, 1, 0])
        order = np.argsort(-logits, 1)
        recall = np.array([(order[labels == k, 0] == k).mean() for k in range(7)])
        p = np.exp(logits.astype(float))
        p /= p.sum(1, keepdims=True)
        right, confidence = order[:, 0] == labels, p.max(1)
        bins = np.minimum(np.ceil(confidence * 15).astype(int) - 1, 14)
        f1 = [2 * (right & (labels == k)).sum() / ((labels == k).sum() + (order[:, 0] == k).sum()) for k in range(7)]
        expected = {"top1": right.mean(), "top5": (order[:, :5] == labels[:, None]).any(1).mean(), "balanced": recall.mean(),
                    "worst_class": recall.min(), "many": recall[:2].mean(), "medium": recall[2:4].mean(), "few": recall[4:].mean(),
                    "loss": -np.log(p[np.arange(200), labels]).mean(), "macro_f1": np.mean(f1),
                    "ece": sum(abs((right[bins == b] * 1.0 - confidence[bins == b]).sum()) for b in range(15)) / 200}
        for name, number in expected.items():
            self.assertAlmostEqual(found.pop(name), number, places=9, msg=name)
        np.testing.assert_allclose(found.pop("per_class"), recall)
        self.assertEqual(found, {})

    def test_two_classes_and_no_counts(self):
        z, y = np.array([[0, 1.0], [0, 2], [0, 3], [0, 4]]), np.array([0, 1, 0, 1])
        found = metrics.evaluate(z, y.astype(np.int32))
        self.assertEqual((found["auroc"], "many" in found), (0.75, False))
        self.assertAlmostEqual(found["auprc"], (1 + 2 / 3) / 2)
        self.assertTrue(math.isnan(metrics.evaluate(z, np.ones(4, int))["auroc"]))

    def test_every_float_and_what_is_refused(self):
        exact = metrics.evaluate(logits, labels)
        self.assertEqual(metrics.evaluate(fulcrum.tensor(logits, dtype="f64", requires_grad=True), labels), exact)
        self.assertEqual(metrics.evaluate(logits, tuple(labels.tolist())), exact)
        half = fulcrum.tensor(logits, dtype="bf16")
        self.assertEqual(metrics.evaluate(half, labels), metrics.evaluate(half.to("f32"), labels))
        for arguments, words in [((logits[0], labels), r"logits \[N, C\], got f32 \[7\]"), ((logits, labels[:3]), r"labels \[200\]"),
                                 ((logits, labels + 1), r"labels in \[0, 7\), got 7"), ((logits, labels, [1, 2]), "counts of 7 classes, got 2"),
                                 ((logits, labels * 0.5), "labels: expected .* integers, got float64")]:
            with self.subTest(words), self.assertRaisesRegex(fulcrum.Error, r"^\[metrics\] .*" + words):
                metrics.evaluate(*arguments)


if __name__ == "__main__":
    unittest.main()
