"""Layers, and networks of one's own:

    class Net(nn.Module):
        def __init__(self):
            super().__init__(seed=1)
            self.conv = nn.Conv2d(1, 8, 3, padding=1)
            self.bn = nn.BatchNorm(8)
            self.head = nn.Linear(8, 10)

        def forward(self, x):                      # [N, H, W, 1] -> [N, 10]
            return self.head(F.global_avg_pool2d(F.relu(self.bn(self.conv(x)))))

    net = Net().to("cpu")

An attribute that is a module is a child, as in PyTorch, nn.Parameter(numbers) a parameter, nn.ModuleList(modules) a list of
children; register_buffer(name, numbers) adds state that is saved but not trained. A tree is built at its first use (a
call, to(), parameters()), because initial weights depend on the root's seed and on their place in the tree; from then on
nothing can be added. Initial weights are those of the same tree in C++.
"""

from typing import Any

from . import _core
from ._module import Module, ModuleDict, ModuleList, Parameter, Sequential

__all__ = ["AvgPool2d", "BatchNorm", "Conv2d", "Dropout", "Ema", "Embedding", "Flatten", "GELU", "GlobalAvgPool2d", "GroupNorm",
           "Identity", "LayerNorm", "Linear", "MaxPool2d", "Module", "ModuleDict", "ModuleList", "NormedLinear", "Parameter", "ReLU",
           "Sequential", "Sigmoid", "Tanh"]


class _Layer(Module):
    _function: Any = None  # of _core

    def __init__(self, **options):
        super().__init__()
        object.__setattr__(self, "_options", options)

    def _make(self, parent, name):
        return type(self)._function(parent, name, **self._options)

    def _check_open(self, name):
        raise _core.Error(f"[nn] {type(self).__name__} is a layer, which is whole: '{name}' belongs beside it, into an "
                          "nn.Module that has both")

    def forward(self, x):
        return self._core_module(x)

    def __repr__(self):
        return f"{type(self).__name__}({', '.join(f'{k}={v}' for k, v in self._options.items())})"

    @property
    def weight(self):
        """The parameter, or None if the layer has none."""
        return getattr(self._build(), "weight", None)

    @property
    def bias(self):
        return getattr(self._build(), "bias", None)


class Conv2d(_Layer):
    """x [N, H, W, in] -> [N, H', W', out]; sizes are one number or (height, width)."""

    _function = _core._conv2d

    def __init__(self, in_channels, out_channels, kernel_size, stride=1, padding=0, dilation=1, groups=1, bias=True):
        super().__init__(in_channels=in_channels, out_channels=out_channels, kernel_size=kernel_size, stride=stride,
                         padding=padding, dilation=dilation, groups=groups, bias=bias)


class Linear(_Layer):
    """x [..., in] -> [..., out], with a fused ReLU if `relu`."""

    _function = _core._linear

    def __init__(self, in_features, out_features, bias=True, relu=False):
        super().__init__(in_features=in_features, out_features=out_features, bias=bias, relu=relu)


class NormedLinear(_Layer):
    """The cosine of x [..., in] with each class vector -> [..., out]: the head of LDAM."""

    _function = _core._normed_linear

    def __init__(self, in_features, out_features):
        super().__init__(in_features=in_features, out_features=out_features)


class BatchNorm(_Layer):
    """PyTorch's BatchNorm1d and 2d: normalises over all but the last dimension of [N, C] or [N, H, W, C]."""

    _function = _core._batch_norm

    def __init__(self, num_features, eps=1e-5, momentum=0.1, affine=True):
        super().__init__(num_features=num_features, eps=eps, momentum=momentum, affine=affine)

    def fused(self, x, residual=None, relu=False):
        """relu?(bn(x) + residual), in one pass over memory."""
        return self._build().fused(x, residual, relu)

    @property
    def running_mean(self):
        return self._build().running_mean

    @property
    def running_var(self):
        return self._build().running_var


class LayerNorm(_Layer):
    """Normalises over the last dimension of [..., C]; normalized_shape is C."""

    _function = _core._layer_norm

    def __init__(self, normalized_shape, eps=1e-5, elementwise_affine=True):
        super().__init__(normalized_shape=normalized_shape, eps=eps, elementwise_affine=elementwise_affine)


class GroupNorm(_Layer):
    """Normalises each sample of [N, ..., C] within num_groups groups of channels; num_channels is C."""

    _function = _core._group_norm

    def __init__(self, num_groups, num_channels, eps=1e-5, affine=True):
        super().__init__(num_groups=num_groups, num_channels=num_channels, eps=eps, affine=affine)


class Embedding(_Layer):
    """Rows of a table by number: integers [...] in [0, num_embeddings) -> [..., embedding_dim]; begins from a standard normal."""

    _function = _core._embedding

    def __init__(self, num_embeddings, embedding_dim):
        super().__init__(num_embeddings=num_embeddings, embedding_dim=embedding_dim)

    def forward(self, x):
        from . import tensor

        x = x if isinstance(x, _core.Tensor) else tensor(x).to(self.weight.device)
        return self._core_module(x.to("i64") if x.dtype in ("i32", "u8") else x)


class Identity(Module):
    """x, as it is: in the place of a layer that is left out."""

    def forward(self, x):
        return x


class Sigmoid(Module):
    """1 / (1 + e⁻ˣ)."""

    def forward(self, x):
        return x.sigmoid()


class Tanh(Module):
    """The hyperbolic tangent."""

    def forward(self, x):
        return x.tanh()


class Dropout(_Layer):
    """In training, zeroes elements with probability p in [0, 1) and scales the rest by 1/(1 − p)."""

    _function = _core._dropout

    def __init__(self, p=0.5):
        super().__init__(p=p)


class ReLU(_Layer):
    _function = _core._relu


class GELU(_Layer):
    """x·Φ(x); approximate="tanh" for the formula with tanh."""

    _function = _core._gelu

    def __init__(self, approximate="none"):
        super().__init__(approximate=approximate)


class Flatten(_Layer):
    """[N, ...] -> [N, rest]; images come out in the order C, H, W, as PyTorch's."""

    _function = _core._flatten


class GlobalAvgPool2d(_Layer):
    """[N, H, W, C] -> [N, C]."""

    _function = _core._global_avg_pool2d


class MaxPool2d(_Layer):
    """x [N, H, W, C]; the stride defaults to the kernel size."""

    _function = _core._max_pool2d

    def __init__(self, kernel_size, stride=None, padding=0):
        super().__init__(kernel_size=kernel_size, stride=kernel_size if stride is None else stride, padding=padding)


class AvgPool2d(_Layer):
    """x [N, H, W, C]; the stride defaults to the kernel size."""

    _function = _core._avg_pool2d

    def __init__(self, kernel_size, stride=None, padding=0, count_include_pad=True):
        super().__init__(kernel_size=kernel_size, stride=kernel_size if stride is None else stride, padding=padding,
                         count_include_pad=count_include_pad)


class Ema(_core.Ema):
    """An exponential moving average of the weights of a network, from nn or make_model:

        ema = fulcrum.Ema(model, 0.999)            # after model.to()
        opt.step(); ema.update()
        with ema.applied():                        # the model holds the averages
            evaluate(model)

    average <- decay * average + (1 - decay) * value, for every parameter and running statistic.
    """

    def __init__(self, model, decay):
        super().__init__(model._build() if isinstance(model, Module) else model, decay)
