"""Deep learning in which every sample of a batch carries its own weight.

    import fulcrum
    import fulcrum.functional as F

    model = fulcrum.make_model("resnet8", classes=10, channels=1).to("cpu")
    opt = fulcrum.ABSGD(model.parameters(), lr=0.1, lambda_=5)
    for x, y in loader:                            # fulcrum.data.Loader
        losses = F.cross_entropy(model(x), y)      # [B], one per sample
        opt.zero_grad()
        opt.weigh(losses).backward()               # sum of p_i l_i, p_i ~ exp(l_i / lambda)
        opt.step()

Names and semantics are PyTorch's; images are [N, H, W, C]. What Fulcrum refuses raises fulcrum.Error.
"""

from . import _core
from ._core import (
    ABAdam, ABSGD, Adam, Chi2Risk, Classifier, CvarRisk, Error, GroupRisk, KlBallRisk, KlRisk, MeanRisk, Module, Optimizer,
    OutOfMemory, RgdRisk, Risk, RiskSummary, SGD, Schedule, Tensor, TiltedRisk, UInit, UUpdate, __version__, backends,
    empty, empty_cache, freeze_backbone, from_dlpack, full, grad_enabled, head_prefix, inference_mode, load_file,
    load_metadata, make_model, memory_stats, model_names, no_grad, ones, rand, randn, save_file, zeros)

__all__ = [
    "ABAdam", "ABSGD", "Adam", "Chi2Risk", "Classifier", "CvarRisk", "Ema", "Error", "GroupRisk", "KlBallRisk", "KlRisk",
    "MeanRisk", "ModelInputs", "Module", "Optimizer", "OutOfMemory", "RgdRisk", "Risk", "RiskSummary", "SGD", "Schedule", "Tensor",
    "TiltedRisk", "UInit", "UUpdate", "__version__", "arange", "backends", "data", "empty", "empty_cache", "eye",
    "freeze_backbone", "from_dlpack", "from_numpy", "full", "full_like", "functional", "grad_enabled",
    "head_prefix", "inference_mode", "load_file", "load_metadata", "load_model", "make_model", "memory_stats", "metrics", "model_names",
    "nn", "no_grad", "ones", "ones_like", "rand", "randn", "recompute", "save_file", "tensor", "zeros", "zeros_like"]

_numpy_names = {"f32": "float32", "f64": "float64", "u8": "uint8", "i32": "int32", "i64": "int64"}
_wider = {"bool": "u8", "int8": "i32", "int16": "i32", "uint16": "i32", "uint32": "i64", "uint64": "i64", "float16": "f32"}


def from_numpy(array):
    """A tensor sharing the memory of a NumPy array: float32, float64, uint8, int32 or int64, contiguous and writable."""
    return from_dlpack(array)


def tensor(values, dtype=None, device="cpu", requires_grad=False):
    """A copy of numbers, nested lists or an array, as a tensor.

    Without a dtype, an array keeps its own, or gets the next wider one that tensors have: float16 becomes 'f32', small
    integers 'i32', bool 'u8'. Python's floats become 'f32', its integers 'i64'.
    """
    result = values.detach().clone() if isinstance(values, Tensor) else from_dlpack(_numbers(values, dtype))
    if dtype is not None:
        result = result.to(dtype)
    result = result.to(device)
    return result.requires_grad_() if requires_grad else result


# A copy, in a dtype that tensors have.
def _numbers(values, dtype):
    import numpy as np

    try:
        array = np.array(values, order="C")
    except ValueError as error:  # lists of different lengths
        raise Error(f"[tensor] expected numbers in lists of equal lengths: {error}") from None
    if array.dtype == object and array.size and all(isinstance(v, int) for v in array.flat):
        array = array.astype(np.float64) if dtype in ("f32", "bf16", "f64") else array
    if array.dtype in (np.uint64, object) and array.size and dtype not in ("f32", "bf16", "f64"):
        large = [v for v in ([array.max()] if array.dtype == np.uint64 else array.flat) if isinstance(v, (int, np.integer))
                 and not -2**63 <= int(v) < 2**63]
        if large:
            raise Error(f"[tensor] expected integers in the range of i64, got {large[0]}; dtype='f32' takes it as a float")
    if array.dtype.kind not in "biuf":
        raise Error(f"[tensor] expected numbers, got {array.dtype if array.dtype.kind == 'c' else _what_is_no_number(array)}")
    if dtype not in _numpy_names:
        dtype = _wider.get(array.dtype.name)
        if not hasattr(values, "dtype") and array.dtype == np.float64:
            dtype = "f32"
    return array.astype(_numpy_names[dtype]) if dtype else array


def _what_is_no_number(array):
    return next((f"{type(v).__name__} in it" for v in array.flat if not isinstance(v, (int, float))), "none")


def _with_arrays(self, function, types, arguments, keywords):
    def plain(value):
        if isinstance(value, Tensor):
            return value.numpy()
        return type(value)(plain(v) for v in value) if type(value) in (list, tuple) else value

    return function(*plain(tuple(arguments)), **{name: plain(value) for name, value in keywords.items()})


# NumPy's functions take a tensor as an array; otherwise np.mean(x) would call x.mean(axis=None, dtype=None, out=None).
Tensor.__array_function__ = _with_arrays  # type: ignore[attr-defined]


# Wraps a function in a mode, for decorators such as @fulcrum.no_grad().
def _within(mode, function):
    import functools

    @functools.wraps(function)
    def within(*arguments, **keywords):
        with mode():
            return function(*arguments, **keywords)

    return within


def zeros_like(x, dtype=None, device=None):
    """Zeros in the shape of x and, by default, in its dtype and on its device."""
    return full_like(x, 0, dtype, device)


def ones_like(x, dtype=None, device=None):
    """Ones in the shape of x and, by default, in its dtype and on its device."""
    return full_like(x, 1, dtype, device)


def full_like(x, value, dtype=None, device=None):
    """One number in the shape of x and, by default, in its dtype and on its device."""
    return full(x.shape, value, dtype or x.dtype, device or x.device)


def arange(start, stop=None, step=1, dtype=None, device="cpu"):
    """start, start + step, ... below stop, or 0, 1, ... below start: 'i64' where all three are integers, else 'f32'."""
    import numpy as np

    numbers = np.arange(start, stop, step) if stop is not None else np.arange(0, start, step)
    if numbers.size == 0:
        raise Error(f"[arange] expected at least one number, got none from {start} to {stop} by {step}")
    return tensor(numbers, dtype or ("f32" if numbers.dtype.kind == "f" else "i64"), device)


def eye(size, dtype="f32", device="cpu"):
    """[size, size] with ones on the diagonal, else zeros."""
    import numpy as np

    return tensor(np.eye(size), dtype, device)


def recompute(function, *inputs):
    """function(*inputs), which keeps only its inputs for the backward pass, and runs again there.

    Like torch.utils.checkpoint. The function returns one tensor, and may use parameters and other tensors besides its
    inputs; dropout draws the same numbers again, and running statistics are updated once.
    """
    return _core._recompute(lambda tensors: function(*tensors), list(inputs))


from . import data, functional, metrics, nn  # noqa: E402: they use the definitions above
from ._load_model import ModelInputs, load_model  # noqa: E402
from .nn import Ema  # noqa: E402
