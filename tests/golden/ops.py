"""Golden data of single ops: ops.safetensors, a table of small cases with outputs and gradients in full.

Case c (its position in CASES: append only) reads its Philox inputs from stream 2000 + 10 c + position in the case's
`inputs`; the seed gradient dy is symmetric(1.0) of stream 2000 + 10 c + 9, in the layout order of y.  The metadata
lists for each case, in order:
    name, op, case, params, labels (i64 [B], cross-entropy only), y (its shape),
    inputs: [{name, shape, bound, offset, stream, layout, grad}]
where an input is symmetric(bound), or float32(offset) + symmetric(bound), and layout is "nchw" (image), "oihw" (conv
weight) or "plain" (row-major in Fulcrum too).  y and dy of cases that read an "nchw" input are NCHW when 4-D.

Tensors: <case>.y, and <case>.d<input> for each input with grad; batch-norm in training mode also stores
<case>.running_mean and <case>.running_var after the step (momentum 0.1, unbiased variance, eps 1e-5).
"""

from dataclasses import dataclass, field
from typing import Callable

import torch
from torch.nn import functional as F

import philox


@dataclass
class Input:
    name: str
    shape: tuple
    bound: float = 1.0
    offset: float = 0.0
    layout: str = "plain"
    grad: bool = True


@dataclass
class Case:
    name: str
    op: str
    inputs: list
    fn: Callable
    params: dict = field(default_factory=dict)
    labels: list = field(default_factory=list)


def image(shape, **kw):
    return Input("x", shape, layout="nchw", **kw)


def conv(name, x, w, bias=False, **params):
    """Params: stride and padding as (height, width), groups."""
    params = {"stride": (1, 1), "padding": (0, 0), "groups": 1, **params}
    inputs = [image(x), Input("w", w, layout="oihw")] + ([Input("b", (w[0],))] if bias else [])
    return Case(name, "conv2d", inputs, lambda x, w, b=None: F.conv2d(x, w, b, **params), params)


def pool(name, op, fn, shape, kernel, stride, padding):
    params = {"kernel": kernel, "stride": stride, "padding": padding}
    return Case(name, op, [image(shape)], lambda x: fn(x, kernel, stride, padding), params)


def norm(name, shape, training, fused=False):
    """batch_norm of an image (4-D) or rows (2-D); `fused`: relu(batch_norm(x) + r)."""
    channels, layout = (shape[1],), "nchw" if len(shape) == 4 else "plain"
    inputs = [
        Input("x", shape, 2.0, 0.5, layout),
        Input("w", channels, 0.5, 1.0),
        Input("b", channels, 0.5),
        Input("running_mean", channels, 0.5, grad=False),
        Input("running_var", channels, 0.5, 1.0, grad=False),
    ]

    def fn(x, w, b, mean, var, r=None):
        y = F.batch_norm(x, mean, var, w, b, training, 0.1, 1e-5)
        return y if r is None else F.relu(y + r)

    params = {"training": training, "momentum": 0.1, "eps": 1e-5}
    if fused:
        inputs.append(Input("r", shape, 1.0, 0.0, layout))
    return Case(name, "batch_norm_add_relu" if fused else "batch_norm", inputs, fn, params)


def unary(op, fn, shape=(3, 5), bound=2.0, offset=0.0, name=None, **params):
    return Case(name or op, op, [Input("x", shape, bound, offset)], lambda x: fn(x, **params), params)


def binary(op, fn, a, b, offset_b=0.0):
    shapes = "_".join("x".join(map(str, s)) or "scalar" for s in (a, b))
    inputs = [Input("a", a), Input("b", b, 0.5 if offset_b else 1.0, offset_b)]
    return Case(f"{op}_{shapes}", op, inputs, fn)


def reduction(op, fn, dims, shape=(2, 3, 4, 5)):
    """`dims` None: everything.  Without keepdim."""
    name = f"{op}_" + ("all" if dims is None else "".join(map(str, dims)))
    keep = {} if dims is None else {"dim": dims}
    return Case(name, op, [Input("x", shape)], lambda x: fn(x, **keep), {"dims": dims})


def cross_entropy(name, fn, extra=(), bound=3.0, rows=6, classes=5, **params):
    """Per-sample results; `fn(x, labels, *extra, **params)`."""
    inputs = [Input("x", (rows, classes), bound)] + [Input(*e, grad=False) for e in extra]
    labels = [(7 * i + 3) % classes for i in range(rows)]
    target = torch.tensor(labels)
    return Case(name, "cross_entropy", inputs, lambda *t: fn(*t[:1], target, *t[1:], **params), params, labels)


def plain_ce(x, labels, class_weight=None, smoothing=0.0):
    return F.cross_entropy(x, labels, class_weight, reduction="none", label_smoothing=smoothing)


def shares_ce(name, extra=(), smoothing=0.0):
    """Labels that are shares of the classes, with a gradient of their own."""
    inputs = [Input("x", (6, 5), 3.0), Input("q", (6, 5), 0.5, 0.5)] + [Input(*e, grad=False) for e in extra]
    params = {"smoothing": smoothing}
    return Case(f"cross_entropy_of_{name}", "cross_entropy_of_shares", inputs, lambda *t: plain_ce(*t, **params), params)


def smoothed_then_weighted_ce(x, labels, class_weight, smoothing):
    """w_y * smoothed loss; PyTorch itself weights the smoothing term of class c with w_c, not with w_y."""
    return class_weight[labels] * plain_ce(x, labels, smoothing=smoothing)


def margin_ce(x, labels, adjust, margin, class_weight=None, scale=1.0, smoothing=0.0):
    """z' = scale (z - margin_y e_y) + adjust; w_y times the (smoothed) cross-entropy of z'."""
    z = scale * (x - margin * F.one_hot(labels, x.shape[1])) + adjust
    loss = plain_ce(z, labels, smoothing=smoothing)
    return loss if class_weight is None else class_weight[labels] * loss


def per_sample_mse(x, t):
    return F.mse_loss(x, t, reduction="none").flatten(1).mean(1)


def per_sample_bce(x, t):
    loss = F.binary_cross_entropy_with_logits(x, t, reduction="none")
    return loss.flatten(1).mean(1) if loss.dim() > 1 else loss


CLASS_WEIGHT = ("class_weight", (5,), 0.5, 1.0)
ADJUST, MARGIN = ("adjust", (5,), 1.0), ("margin", (5,), 0.25, 0.25)


def target(shape):
    return Input("t", shape, 0.5, 0.5, grad=False)


CASES = [
    conv("conv_k3", (2, 3, 5, 6), (4, 3, 3, 3), padding=(1, 1)),
    conv("conv_k3_stride2", (2, 3, 7, 6), (4, 3, 3, 3), padding=(1, 1), stride=(2, 2)),
    conv("conv_1x1", (2, 5, 3, 4), (3, 5, 1, 1)),
    conv("conv_1x1_stride2", (2, 3, 5, 4), (4, 3, 1, 1), stride=(2, 2)),
    conv("conv_7x7_stride2", (1, 2, 11, 9), (3, 2, 7, 7), padding=(3, 3), stride=(2, 2)),
    conv("conv_3x5", (2, 2, 6, 7), (3, 2, 3, 5), padding=(1, 2), stride=(2, 1)),
    conv("conv_groups2", (2, 4, 5, 4), (6, 2, 3, 3), padding=(1, 1), groups=2),
    conv("conv_depthwise", (2, 4, 5, 5), (4, 1, 3, 3), padding=(1, 1), groups=4),
    conv("conv_depthwise_multiplier", (1, 3, 5, 4), (6, 1, 3, 3), padding=(1, 1), groups=3, stride=(2, 2)),
    conv("conv_bias", (2, 3, 4, 5), (5, 3, 3, 3), bias=True, padding=(1, 1)),
    conv("conv_batch1_odd", (1, 3, 7, 5), (5, 3, 3, 3), bias=True),
    conv("conv_batch1_pixel", (1, 3, 1, 1), (4, 3, 3, 3), padding=(1, 1)),
    pool("max_pool_2_2", "max_pool2d", F.max_pool2d, (2, 3, 5, 6), 2, 2, 0),
    pool("max_pool_3_2_1", "max_pool2d", F.max_pool2d, (2, 3, 7, 6), 3, 2, 1),
    pool("avg_pool_2_2", "avg_pool2d", F.avg_pool2d, (2, 3, 5, 6), 2, 2, 0),
    pool("avg_pool_3_2_1", "avg_pool2d", F.avg_pool2d, (2, 3, 7, 6), 3, 2, 1),
    Case("global_avg_pool", "global_avg_pool", [image((2, 3, 5, 7))], lambda x: F.adaptive_avg_pool2d(x, 1)),
    norm("batch_norm_train", (3, 4, 3, 5), True),
    norm("batch_norm_eval", (3, 4, 3, 5), False),
    norm("batch_norm_rows_train", (7, 5), True),
    norm("batch_norm_rows_eval", (7, 5), False),
    norm("batch_norm_add_relu_train", (3, 4, 3, 5), True, fused=True),
    norm("batch_norm_add_relu_eval", (3, 4, 3, 5), False, fused=True),
    Case("linear", "linear", [Input("x", (4, 7)), Input("w", (5, 7)), Input("b", (5,))], F.linear),
    Case("linear_batch1_no_bias", "linear", [Input("x", (1, 9)), Input("w", (3, 9))], F.linear),
    Case("matmul", "matmul", [Input("a", (4, 6)), Input("b", (6, 5))], torch.matmul),
    unary("softmax", torch.softmax, (4, 7), 4.0, dim=-1),
    unary("softmax", torch.softmax, (3, 5), 200.0, name="softmax_large", dim=-1),
    unary("log_softmax", torch.log_softmax, (4, 7), 4.0, dim=-1),
    unary("log_softmax", torch.log_softmax, (3, 5), 200.0, name="log_softmax_large", dim=-1),
    cross_entropy("cross_entropy", plain_ce),
    cross_entropy("cross_entropy_large", plain_ce, bound=200.0),
    cross_entropy("cross_entropy_batch1", plain_ce, rows=1),
    cross_entropy("cross_entropy_weight", plain_ce, [CLASS_WEIGHT]),
    cross_entropy("cross_entropy_smoothing", plain_ce, smoothing=0.1),
    cross_entropy("cross_entropy_weight_smoothing_torch", plain_ce, [CLASS_WEIGHT], smoothing=0.1),
    cross_entropy("cross_entropy_weight_smoothing", smoothed_then_weighted_ce, [CLASS_WEIGHT], smoothing=0.1),
    cross_entropy("cross_entropy_adjust_margin", margin_ce, [ADJUST, MARGIN]),
    cross_entropy("cross_entropy_everything", margin_ce, [ADJUST, MARGIN, CLASS_WEIGHT], scale=3.0, smoothing=0.1),
    Case("bce", "bce_with_logits", [Input("x", (7,), 3.0), target((7,))], per_sample_bce),
    Case("bce_rows", "bce_with_logits", [Input("x", (4, 3), 3.0), target((4, 3))], per_sample_bce),
    Case("bce_large", "bce_with_logits", [Input("x", (7,), 150.0), target((7,))], per_sample_bce),
    Case("mse", "mse", [Input("x", (4, 5)), Input("t", (4, 5))], per_sample_mse),
    unary("exp", torch.exp),
    unary("log", torch.log, bound=1.5, offset=2.0),
    unary("sqrt", torch.sqrt, bound=1.5, offset=2.0),
    unary("tanh", torch.tanh),
    unary("sigmoid", torch.sigmoid, bound=4.0),
    unary("relu", torch.relu),
    binary("add", torch.add, (3, 5), (3, 5)),
    binary("add", torch.add, (3, 4, 5), (5,)),
    binary("add", torch.add, (3, 4), ()),
    binary("sub", torch.sub, (4, 1), (1, 5)),
    binary("mul", torch.mul, (2, 3, 4), (3, 1)),
    binary("mul", torch.mul, (1,), (2, 3)),
    binary("div", torch.div, (2, 3, 4), (2, 1, 4), 1.5),
    reduction("sum", torch.sum, None),
    reduction("sum", torch.sum, (0,)),
    reduction("sum", torch.sum, (1, 3)),
    reduction("mean", torch.mean, None),
    reduction("mean", torch.mean, (3,)),
    reduction("mean", torch.mean, (0, 2)),
    unary("gelu", F.gelu, bound=4.0),
    unary("gelu", F.gelu, bound=4.0, name="gelu_tanh", approximate="tanh"),
    shares_ce("shares"),
    shares_ce("shares_weight_smoothing", [CLASS_WEIGHT], smoothing=0.1),
]


def ops() -> tuple[dict, dict]:
    out, listing = {}, []
    for number, case in enumerate(CASES):
        base = 2000 + 10 * number
        tensors = []
        for i, spec in enumerate(case.inputs):
            value = torch.from_numpy(philox.symmetric(spec.shape, spec.bound, base + i, spec.offset)).double()
            tensors.append(value.requires_grad_(spec.grad))
        y = case.fn(*tensors)
        y.backward(torch.from_numpy(philox.symmetric(y.shape, 1.0, base + 9)).double())
        out[f"{case.name}.y"] = y.detach().numpy()
        for spec, value in zip(case.inputs, tensors):
            if spec.grad:
                out[f"{case.name}.d{spec.name}"] = value.grad.numpy()
            elif spec.name.startswith("running_") and case.params["training"]:
                out[f"{case.name}.{spec.name}"] = value.numpy()
        row = {"name": case.name, "op": case.op, "case": number, "params": case.params, "y": list(y.shape)}
        if case.labels:
            row["labels"] = case.labels
        row["inputs"] = [
            {
                "name": s.name, "shape": list(s.shape), "bound": s.bound, "offset": s.offset, "stream": base + i,
                "layout": s.layout, "grad": s.grad,
            }
            for i, s in enumerate(case.inputs)
        ]
        listing.append(row)
    return out, {"seed": philox.SEED, "cases": listing}
