"""What the program measures on a test set, for logits of any origin.

    m = metrics.evaluate(logits, labels, train.class_counts)
    m["balanced"], m["few"], m["per_class"][3]
"""

from typing import Any

from . import _core

__all__ = ["evaluate"]


def evaluate(logits, labels, counts=None) -> "dict[str, Any]":
    """The program's metrics of logits [N, C] and labels [N], tensors, arrays or lists: shares in [0, 1], NaN where undefined.

    top1, top5; balanced (the mean of the classes' recalls), worst_class (the smallest); per_class, the recall of each class;
    macro_f1, over the classes that occur; ece (expected calibration error, 15 bins); loss (the mean cross entropy). With two
    classes: auroc and auprc of class 1. With counts, the number of training samples of each class: many, medium and few, the
    mean recall of classes with more than 100, 20 to 100, and fewer samples.
    """
    from . import tensor

    if not isinstance(logits, _core.Tensor):
        logits = tensor(logits, dtype="f32")
    labels, counts = (tensor(v) if isinstance(v, (list, tuple)) else v for v in (labels, counts))
    return _core._metrics(logits, labels, counts)
