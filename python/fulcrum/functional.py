"""Operations and losses: `import fulcrum.functional as F`.

Every loss gives one number per sample, [B], for `opt.weigh` to weigh; none is averaged. Logits are [B, C], labels
integers [B], a tensor or an array. class_weight, f32 [C], multiplies the loss of its class. Formulas and sources are in docs/method.md.
"""

from typing import NamedTuple

from ._core import (
    abs, add, aldr_kl_loss, amax, amin, argmax, argsort, avg_pool2d, binary_cross_entropy_with_logits, clamp,
    class_balanced_weights, class_temperatures, concat, conv2d, cross_entropy, div, eq, exp, gather, ge, gelu,
    global_avg_pool2d, group_norm, gt, index_select, layer_norm, ldam_margins, ldr_kl_loss, le, linear, log,
    log_prior, log_softmax, logsumexp, lt, matmul, max_pool2d, maximum, mean, minimum, mse_loss, mul, ne, neg,
    one_hot, pad, permute, Phi, pow, relu, sigmoid, slice, softmax, softplus, sort, sqrt, square, stack, sub,
    sum, tanh, Tensor, topk, transpose, var, where)

__all__ = [
    "abs", "add", "aldr_kl_loss", "amax", "amin", "argmax", "argsort", "avg_pool2d", "balanced_softmax_loss",
    "binary_cross_entropy_with_logits", "clamp", "class_balanced_weights", "class_temperatures", "concat", "conv2d",
    "cross_entropy", "div", "eq", "exp", "focal_loss", "gather", "gce_loss", "ge", "gelu", "global_avg_pool2d",
    "group_norm", "gt", "index_select", "js_loss", "layer_norm", "ldam_loss", "ldam_margins", "ldr_kl_loss", "le",
    "linear", "log", "log_prior", "log_softmax", "logit_adjusted_loss", "logsumexp", "lt", "mae_loss", "matmul",
    "max_pool2d", "maximum", "mean", "minimum", "mse_loss", "mul", "ne", "neg", "one_hot", "pad", "permute", "Phi",
    "pow", "relu", "sce_loss", "sigmoid", "slice", "softmax", "softplus", "sort", "Sorted", "sqrt", "square",
    "stack", "sub", "sum", "tanh", "topk", "transpose", "truncated_gce_loss", "var", "where"]


class Sorted(NamedTuple):
    """The result of sort and topk."""

    values: Tensor
    indices: Tensor


def focal_loss(logits, labels, gamma=2.0, class_weight=None):
    """(1 − p)^gamma · l (Lin et al. 2017): [B]."""
    return cross_entropy(logits, labels, class_weight, phi=Phi.focal(gamma))


def gce_loss(logits, labels, q=0.7, class_weight=None):
    """Generalised cross entropy (1 − p^q)/q, q in (0, 1] (Zhang and Sabuncu 2018): [B]."""
    return cross_entropy(logits, labels, class_weight, phi=Phi.gce(q))


def truncated_gce_loss(logits, labels, q=0.7, k=0.5, class_weight=None):
    """(1 − max(p, k)^q)/q, k in (0, 1) (Zhang and Sabuncu 2018): [B]."""
    return cross_entropy(logits, labels, class_weight, phi=Phi.truncated_gce(q, k))


def sce_loss(logits, labels, a=0.1, b=1.0, class_weight=None):
    """Symmetric cross entropy a·l + b·A·(1 − p) (Wang et al. 2019): [B]."""
    return cross_entropy(logits, labels, class_weight, phi=Phi.sce(a, b))


def mae_loss(logits, labels, class_weight=None):
    """2(1 − p), the absolute error of the probabilities (Ghosh et al. 2017): [B]."""
    return cross_entropy(logits, labels, class_weight, phi=Phi.mae())


def js_loss(logits, labels, pi=0.5, class_weight=None):
    """Jensen-Shannon divergence between label and prediction, scaled; pi in (0, 1) (Englesson and Azizpour 2021): [B]."""
    return cross_entropy(logits, labels, class_weight, phi=Phi.js(pi))


def ldam_loss(logits, labels, margins, scale=30.0, class_weight=None):
    """The cross entropy of a normed head's cosines with margins f32 [C] from ldam_margins (Cao et al. 2019): [B]."""
    return cross_entropy(logits, labels, class_weight, margin=margins, scale=scale)


def balanced_softmax_loss(logits, labels, prior, class_weight=None):
    """The cross entropy of logits + prior, f32 [C] of log_prior(counts) (Ren et al. 2020): [B]."""
    return cross_entropy(logits, labels, class_weight, adjust=prior)


def logit_adjusted_loss(logits, labels, prior, class_weight=None):
    """The same with log_prior(counts, tau) (Menon et al. 2021): [B]."""
    return cross_entropy(logits, labels, class_weight, adjust=prior)
