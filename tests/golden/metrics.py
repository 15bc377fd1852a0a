"""Golden data of the metrics: what scikit-learn says about a few logits, which are stored.

Tensors of metrics.safetensors, for each case in CASES:
    <case>.logits [N,C], <case>.labels [N]      logits are multiples of 1/4, so that ties abound
    <case>.<metric> []                          top1, balanced, loss, macro_f1, ece; for two classes auroc, auprc
and of a detector: detector.scores [N], detector.positive [N], detector.{auroc,auprc,precision,recall}, the last two
of "score >= 0".  The calibration error is that of Guo et al. 2017, which scikit-learn lacks: 15 bins (b/15, (b+1)/15].
"""

import numpy as np
from sklearn import metrics as sk

# name: (samples, classes, classes without samples, offset of the logits of classes nobody shall predict)
CASES = {
    "five_classes": (80, 5, [], []),
    "missing_classes": (60, 5, [3, 4], [4]),  # class 3 is predicted only, class 4 does not occur at all
    "two_classes": (70, 2, [], []),
}
BINS = 15


def calibration_error(probabilities: np.ndarray, labels: np.ndarray) -> float:
    confidence, right = probabilities.max(axis=1), probabilities.argmax(axis=1) == labels
    bins = np.digitize(confidence, np.arange(1, BINS) / BINS, right=True)
    total = 0.0
    for b in range(BINS):
        inside = bins == b
        if inside.any():
            total += inside.sum() * abs(right[inside].mean() - confidence[inside].mean())
    return total / len(labels)


def case(rng: np.random.Generator, samples: int, classes: int, absent: list, unlikely: list) -> dict:
    labels = rng.choice([c for c in range(classes) if c not in absent], samples)
    logits = np.round(4 * rng.normal(size=(samples, classes)) + 4 * np.eye(classes)[labels]) / 4
    logits[:, unlikely] = -10
    logits[:3] = logits[:3, :1]  # all equal: a confidence of 1/C, on the edge of a bin where C = 5
    exponentials = np.exp(logits - logits.max(axis=1, keepdims=True))
    probabilities = exponentials / exponentials.sum(axis=1, keepdims=True)
    predicted = logits.argmax(axis=1)
    out = {
        "logits": logits,
        "labels": labels,
        "top1": sk.accuracy_score(labels, predicted),
        "balanced": np.mean([np.mean(predicted[labels == c] == c) for c in np.unique(labels)]),
        "loss": sk.log_loss(labels, probabilities, labels=range(classes)),
        "macro_f1": sk.f1_score(labels, predicted, average="macro", zero_division=0),
        "ece": calibration_error(probabilities, labels),
    }
    if classes == 2:
        out["auroc"] = sk.roc_auc_score(labels, probabilities[:, 1])
        out["auprc"] = sk.average_precision_score(labels, probabilities[:, 1])
    return out


def detector(rng: np.random.Generator) -> dict:
    positive = rng.random(90) < 0.2
    scores = np.round(2 * (rng.normal(size=90) + positive)) / 2
    return {
        "scores": scores,
        "positive": positive,
        "auroc": sk.roc_auc_score(positive, scores),
        "auprc": sk.average_precision_score(positive, scores),
        "precision": sk.precision_score(positive, scores >= 0),
        "recall": sk.recall_score(positive, scores >= 0),
    }


def metrics() -> tuple[dict, dict]:
    rng = np.random.default_rng(2026)
    out = {}
    for name, settings in CASES.items():
        out.update({f"{name}.{key}": value for key, value in case(rng, *settings).items()})
    out.update({f"detector.{key}": value for key, value in detector(rng).items()})
    return out, {"seed": 2026, "cases": list(CASES)}
