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

An attribute that is a module is a child, as in PyTorch. A tree is built when it is first used (called, moved, asked for
its parameters), because what a parameter begins with depends on the seed of the root and on its place; from then on no
child can be added. Initial numbers are those of the same tree in C++.
"""

from typing import Any

from . import _core

__all__ = ["AvgPool2d", "BatchNorm", "Conv2d", "Dropout", "Ema", "Flatten", "GELU", "GlobalAvgPool2d", "Linear",
           "MaxPool2d", "Module", "NormedLinear", "ReLU", "Sequential"]


class Module:
    """A node of a tree of layers. Derive from it, assign children in __init__ and define forward."""

    def __init__(self, seed=0):
        """seed: of the initial weights and the dropout of everything below, where this is the root."""
        object.__setattr__(self, "_children", {})
        object.__setattr__(self, "_core_module", None)
        object.__setattr__(self, "_parent", None)
        object.__setattr__(self, "_recompute", False)
        object.__setattr__(self, "_seed", seed)

    def forward(self, x):
        raise NotImplementedError(f"{type(self).__name__} defines no forward")

    def __call__(self, *inputs):
        self._build()
        if self._recompute:
            return _core._recompute(lambda tensors: self.forward(*tensors), list(inputs))
        return self.forward(*inputs)

    def __setattr__(self, name, value):
        if isinstance(value, _core.Module):
            raise _core.Error(f"[nn] '{name}' is a network of make_model, which is whole: it cannot be a child. Keep it beside "
                              "this module, and give the optimiser the parameters of both")
        if name in self.__dict__.get("_children", {}) and value is not self._children[name]:
            raise _core.Error(f"[nn] '{name}' is a child already, which nothing can replace")
        if isinstance(value, Module):
            self._add(name, value)
        object.__setattr__(self, name, value)

    def __delattr__(self, name):
        if name in self.__dict__.get("_children", {}):
            raise _core.Error(f"[nn] '{name}' is a child, which cannot be taken away")
        object.__delattr__(self, name)

    def _add(self, name, child):
        if "_children" not in self.__dict__:
            raise _core.Error(f"[nn] {type(self).__name__}: call super().__init__() before children are assigned")
        if self._core_module is not None:
            raise _core.Error(f"[nn] {type(self).__name__} is in use already: '{name}' comes too late")
        if child._parent is not None or child._core_module is not None:
            raise _core.Error(f"[nn] '{name}' is a child elsewhere, or in use, already")
        ancestor = self
        while ancestor is not None:
            if child is ancestor:
                raise _core.Error(f"[nn] '{name}' cannot be a child of its own")
            ancestor = ancestor._parent
        object.__setattr__(child, "_parent", self)
        self._children[name] = child

    # What stands for this node in C++: a container here, a layer in the classes below.
    def _make(self, parent, name):
        return _core._container(parent, name, self._seed)

    def _build(self):
        root = self
        while root._parent is not None:
            root = root._parent
        if root._core_module is None:
            root._construct(None, "")
        return self._core_module

    def _construct(self, parent, name):
        object.__setattr__(self, "_core_module", self._make(parent, name))
        for child_name, child in self._children.items():
            child._construct(self._core_module, child_name)

    def children(self):
        """(name, module) of every child, in order."""
        return list(self._children.items())

    def to(self, device="cpu", dtype="f32"):
        """Lays all parameters out on the device; dtype is that of the batches. Before the optimiser, on the root."""
        self._build().to(device, dtype)
        return self

    def train(self, on=True):
        """Training, with batch statistics and dropout, or not."""
        self._build().train(on)
        return self

    def eval(self):
        return self.train(False)

    def freeze(self):
        """Takes it out of the training. Before to() and the optimiser."""
        self._build().freeze()
        return self

    def unfreeze(self):
        """Undoes freeze, from the next train() on; then comes a new optimiser."""
        self._build().unfreeze()
        return self

    def set_recompute(self, on=True):
        """A call keeps nothing but its inputs for the backward pass, in which it runs again; or not."""
        object.__setattr__(self, "_recompute", on)
        return self

    @property
    def training(self):
        return self._build().training

    def parameters(self):
        """What an optimiser takes: the parameters that require a gradient."""
        return self._build().parameters()

    def named_parameters(self):
        """All parameters by name, live; convolution weights [out, kh, kw, in]."""
        return self._build().named_parameters()

    def named_buffers(self):
        return self._build().named_buffers()

    def num_parameters(self):
        return self._build().num_parameters()

    def state_dict(self):
        """A copy on the CPU, under PyTorch's names and with its layout."""
        return self._build().state_dict()

    def load_state_dict(self, state, strict=True):
        """The names that were (missing, unexpected); an Error that lists them changes nothing."""
        return self._build().load_state_dict(state, strict)

    def zero_grad(self):
        self._build().zero_grad()


class _Layer(Module):
    _function: Any = None  # of _core

    def __init__(self, **options):
        super().__init__()
        object.__setattr__(self, "_options", options)

    def _make(self, parent, name):
        return type(self)._function(parent, name, **self._options)

    def forward(self, x):
        return self._core_module(x)

    def __repr__(self):
        return f"{type(self).__name__}({', '.join(f'{k}={v}' for k, v in self._options.items())})"

    @property
    def weight(self):
        """The parameter; None where there is none."""
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
    """x [..., in] -> [..., out], through a fused ReLU if asked."""

    _function = _core._linear

    def __init__(self, in_features, out_features, bias=True, relu=False):
        super().__init__(in_features=in_features, out_features=out_features, bias=bias, relu=relu)


class NormedLinear(_Layer):
    """The cosine of x [..., in] with each class vector -> [..., out]: the head of LDAM."""

    _function = _core._normed_linear

    def __init__(self, in_features, out_features):
        super().__init__(in_features=in_features, out_features=out_features)


class BatchNorm(_Layer):
    """PyTorch's BatchNorm1d and 2d: over all but the last dimension of [N, C] or [N, H, W, C]."""

    _function = _core._batch_norm

    def __init__(self, channels, eps=1e-5, momentum=0.1, affine=True):
        super().__init__(channels=channels, eps=eps, momentum=momentum, affine=affine)

    def fused(self, x, residual=None, relu=False):
        """relu?(bn(x) + residual), in one pass over memory."""
        return self._build().fused(x, residual, relu)

    @property
    def running_mean(self):
        return self._build().running_mean

    @property
    def running_var(self):
        return self._build().running_var


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
    """x [N, H, W, C]; the stride is the kernel by default."""

    _function = _core._max_pool2d

    def __init__(self, kernel_size, stride=None, padding=0):
        super().__init__(kernel_size=kernel_size, stride=kernel_size if stride is None else stride, padding=padding)


class AvgPool2d(_Layer):
    """x [N, H, W, C]; the stride is the kernel by default."""

    _function = _core._avg_pool2d

    def __init__(self, kernel_size, stride=None, padding=0, count_include_pad=True):
        super().__init__(kernel_size=kernel_size, stride=kernel_size if stride is None else stride, padding=padding,
                         count_include_pad=count_include_pad)


class Sequential(Module):
    """One after another; children are named '0', '1', ..."""

    def __init__(self, *layers, seed=0):
        super().__init__(seed)
        for i, layer in enumerate(layers):
            self._add(str(i), layer)

    def forward(self, x):
        for layer in self._children.values():
            x = layer(x)
        return x


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
