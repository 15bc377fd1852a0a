"""Operations and losses: `import fulcrum.functional as F`.

Every loss gives one number per sample, [B], for `opt.weigh` to weigh; none is averaged. Logits are [B, C], labels
integers [B], a tensor or an array. class_weight, f32 [C], multiplies the loss of its class. Formulas and sources are in docs/method.md.
"""

from typing import NamedTuple

from ._core import (
    Error, abs, add, aldr_kl_loss, amax, amin, argmax, argsort, avg_pool2d, binary_cross_entropy_with_logits, clamp,
    class_balanced_weights, class_temperatures, concat, conv2d, cross_entropy, div, eq, exp, gather, ge, gelu,
    global_avg_pool2d, group_norm, gt, index_select, layer_norm, ldam_margins, ldr_kl_loss, le, linear, log,
    log_prior, log_softmax, logsumexp, lt, matmul, max_pool2d, maximum, mean, minimum, mse_loss, mul, ne, neg,
    no_grad, one_hot, pad, permute, Phi, pow, relu, sigmoid, slice, softmax, softplus, sort, sqrt, square, stack, sub,
    sum, tanh, Tensor, topk, transpose, var, where)

__all__ = [
    "abs", "add", "aldr_kl_loss", "amax", "amin", "argmax", "argsort", "avg_pool2d", "balanced_softmax_loss",
    "binary_cross_entropy_with_logits", "clamp", "class_balanced_weights", "class_temperatures", "concat", "conv2d",
    "cross_entropy", "div", "eq", "exp", "focal_loss", "gather", "gce_loss", "ge", "gelu", "global_avg_pool2d",
    "group_norm", "gt", "index_select", "js_loss", "kl_div", "layer_norm", "ldam_loss", "ldam_margins", "ldr_kl_loss", "le",
    "linear", "log", "log1p", "log_prior", "log_softmax", "logit_adjusted_loss", "logsumexp", "lt", "mae_loss", "matmul",
    "max_pool2d", "maximum", "mean", "minimum", "mse_loss", "mul", "ne", "neg", "normalize", "one_hot", "pad", "permute", "Phi",
    "pow", "relu", "sce_loss", "sigmoid", "slice", "softmax", "softplus", "sort", "Sorted", "sqrt", "square",
    "stack", "sub", "sum", "tanh", "topk", "transpose", "truncated_gce_loss", "var", "where"]


class Sorted(NamedTuple):
    """The result of sort and topk."""

    values: Tensor
    indices: Tensor


def log1p(x):
    """log(1 + x), exact also where x is small."""
    wide = x.to("f32") if x.dtype == "bf16" else x
    plain = log(wide + 1.0)
    with no_grad():  # the gradient of `plain` is exact as it is; its digits near 0 are not (Kahan's correction)
        u = wide.detach() + 1.0
        exact = where(eq(u, 1.0), wide.detach(), wide.detach() * log(u) / (u - 1.0))
        missing = where(lt(abs(wide.detach()), 0.5), exact - plain.detach(), 0.0)
    return (plain + missing).to(x.dtype)


def normalize(x, p=2.0, dim=1, eps=1e-12):
    """x / max(‖x‖_p, eps) along `dim`; p is 1, 2 or infinity."""
    if p == 2:
        norm = sqrt(maximum(sum(square(x), dim, keepdim=True), eps * eps))  # not the norm's gradient at 0, which is NaN
    elif p == 1:
        norm = maximum(sum(abs(x), dim, keepdim=True), eps)
    elif p == float("inf"):
        norm = maximum(amax(abs(x), dim, keepdim=True), eps)
    else:
        raise Error(f"[normalize] expected p of 1, 2 or inf, got {p}")
    return div(x, norm)


def kl_div(input, target, log_target=False):
    """KL(target ‖ exp(input)), summed over all but the first dimension: [B].

    As PyTorch's with reduction="none", summed for each sample: input holds log-probabilities, target probabilities, or their
    logarithms if log_target.
    """
    if log_target:
        parts = mul(exp(target), sub(target, input))
    else:
        parts = sub(mul(target, log(where(gt(target, 0.0), target, 1.0))), mul(target, input))  # 0·log 0 = 0
    return sum(parts, list(range(1, input.ndim)))


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
    """2(1 − p), the absolute error of the probabilities (Ghosh et al. 2017): [B]. For classes; in regression: (x − y).abs()."""
    if logits.ndim != 2 or getattr(labels, "ndim", 1) != 1:
        raise Error(f"[mae_loss] expected logits [B, C] and labels [B] of classes, got {list(logits.shape)} and "
                    f"{list(labels.shape)}; for regression: (x − y).abs()")
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
