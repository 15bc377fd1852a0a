"""Module, Parameter and the lists of modules. fulcrum.nn exports them with the layers."""

from typing import TYPE_CHECKING, Any

from . import _copies, _core


class _Parameter:
    """A trained parameter, as an attribute of a module; its initial value is a tensor, an array or nested lists.

        self.scale = nn.Parameter(np.ones(3))      # in __init__; self.scale is then a tensor, f32
    """

    def __init__(self, initial):
        from . import tensor

        self._tensor = tensor(initial, dtype="f32").requires_grad_()
        self._owner = None

    def _give(self, module, name):
        module._check_open(name)
        _refuse_method(name, "parameter")
        if self._owner is not None:
            raise _core.Error(f"[nn] '{name}' is a parameter elsewhere already")
        self._owner = module
        module._parameters[name] = self._tensor
        return self._tensor


if TYPE_CHECKING:  # the attribute is a tensor
    def Parameter(initial: Any) -> _core.Tensor: ...
else:
    Parameter = _Parameter
    Parameter.__name__ = Parameter.__qualname__ = "Parameter"


def _refuse_method(name, kind):
    if hasattr(Module, name):
        raise _core.Error(f"[nn] '{name}' is a method of every module, which a {kind} of this name would hide")


def _as_tensor(value):
    from . import tensor

    return value if isinstance(value, _core.Tensor) else tensor(value)


# Whether a container, or one within it, holds modules or parameters; looks at no more elements than a network may have.
def _holds_modules(value, depth=2):
    if isinstance(value, dict):
        value = list(value.values())
    if depth == 0 or not isinstance(value, (list, tuple)):
        return False
    return any(isinstance(v, (Module, _Parameter, _core.Module)) or _holds_modules(v, depth - 1) for v in value[:1000])


class Module:
    """A node of a tree of layers. Derive from it, assign children in __init__ and define forward."""

    def __init__(self, seed=0):
        """seed: for the initial weights and the dropout of the whole tree, if this module is its root."""
        for name, value in {"_children": {}, "_parameters": {}, "_buffers": {}, "_core_module": None, "_parent": None,
                            "_recompute": False, "_seed": seed, "_saved": None}.items():
            object.__setattr__(self, name, value)

    def forward(self, x):
        raise NotImplementedError(f"{type(self).__name__} defines no forward")

    def __call__(self, *inputs, **options):
        """forward(*inputs, **options); with set_recompute() all inputs must be tensors."""
        self._build()
        if self._recompute:
            return _core._recompute(lambda tensors: self.forward(*tensors, **options), list(inputs))
        return self.forward(*inputs, **options)

    def __setattr__(self, name, value):
        if _holds_modules(value):
            raise _core.Error(f"[nn] '{name}' is a {type(value).__name__} with modules or parameters in it, which would not be "
                              "trained, moved or saved: nn.ModuleList(modules) has them as children")
        if name in self._named("_children") and value is not self._children[name]:
            raise _core.Error(f"[nn] '{name}' is a child already, which nothing can replace")
        if name in self._named("_parameters") and value is not self._parameters[name]:  # the same after +=
            raise _core.Error(f"[nn] '{name}' is a parameter already, which nothing can replace; with no_grad(), copy_ and "
                              "the operators in place write its numbers")
        if name in self._named("_buffers") and value is not self._buffers[name]:
            self._buffers[name].copy_(_as_tensor(value))
            return
        if isinstance(value, (Module, _core.Module)):
            self._add(name, value)
        elif isinstance(value, _Parameter):
            value = value._give(self, name)
        object.__setattr__(self, name, value)

    def __delattr__(self, name):
        for kind, word in (("_children", "child"), ("_parameters", "parameter"), ("_buffers", "buffer")):
            if name in self._named(kind):
                raise _core.Error(f"[nn] '{name}' is a {word}, which cannot be taken away")
        object.__delattr__(self, name)

    def register_buffer(self, name, tensor):
        """Adds state that is not trained, but saved and moved by to(): a copy of numbers or of a tensor, as an attribute
        of this name. What is assigned to the attribute later is copied into it. Integers stay on the CPU."""
        from . import tensor as copy_of

        self._check_open(name)
        if name in self.__dict__ or hasattr(type(self), name):
            raise _core.Error(f"[nn] {type(self).__name__} has a '{name}' already, which a buffer would hide")
        self._buffers[name] = copy_of(tensor)
        object.__setattr__(self, name, self._buffers[name])

    # Also empty before __init__ of this class has run.
    def _named(self, kind):
        return self.__dict__.get(kind, {})

    def _check_open(self, name):
        if "_children" not in self.__dict__:
            raise _core.Error(f"[nn] {type(self).__name__}: call super().__init__() before '{name}' is assigned")
        if self._core_module is not None:
            raise _core.Error(f"[nn] {type(self).__name__} is in use already: '{name}' comes too late")

    def _add(self, name, child):
        self._check_open(name)
        _refuse_method(name, "child")
        if isinstance(child, _core.Module):  # a network of make_model, which is built already
            if child.name or any(child is c for n, c in self._children.items() if n != name):
                raise _core.Error(f"[nn] '{name}' is a child elsewhere already" + (f", '{child.name}'" if child.name else ""))
            self._children[name] = child
            return
        if not isinstance(child, Module):
            raise _core.Error(f"[nn] expected a module as '{name}', got {type(child).__name__}; a function is called in forward, or "
                              "is a class derived from nn.Module")
        if child._parent is not None or child._core_module is not None:
            raise _core.Error(f"[nn] '{name}' is a child elsewhere, or in use, already")
        ancestor = self
        while ancestor is not None:
            if child is ancestor:
                raise _core.Error(f"[nn] '{name}' cannot be a child of its own")
            ancestor = ancestor._parent
        object.__setattr__(child, "_parent", self)
        self._children[name] = child

    # The C++ module of this node: a container here, a layer in nn's classes.
    def _make(self, parent, name):
        return _core._container(parent, name, self._seed)

    def _build(self):
        root = self
        while root._parent is not None:
            root = root._parent
        if root._core_module is None:
            try:
                root._construct(None, "")
                _copies.restore_tree(root)
            except BaseException:
                root._forget()  # half a tree must not pass for a complete one
                raise
        return self._core_module

    def _forget(self):
        core = self._core_module
        object.__setattr__(self, "_core_module", None)
        for child in self._children.values():
            if isinstance(child, Module):
                child._forget()
            elif core is not None and any(child is mine for mine in core.children()):
                core.release(child)

    def _construct(self, parent, name):
        core = self._make(parent, name)
        object.__setattr__(self, "_core_module", core)
        for own, tensor in self._parameters.items():
            trained = tensor.requires_grad
            core.add_parameter(own, tensor)
            tensor.requires_grad = trained
        for own, tensor in self._buffers.items():
            core.add_buffer(own, tensor)
        for child_name, child in self._children.items():
            if isinstance(child, Module):
                child._construct(core, child_name)
            else:
                core.adopt(child_name, child)

    def __copy__(self):
        raise _core.Error(f"[nn] a copy of {type(self).__name__} would share its children, which belong to one module; copy.deepcopy "
                          "copies them, too")

    # For pickle and copy.deepcopy: the attributes, and what is not in them if the tree is built.
    def __getstate__(self):
        fixed = [name for name, p in self._parameters.items() if not p.requires_grad]
        state = {**self.__dict__, "_parent": None, "_core_module": None, "_fixed": fixed}
        if self._core_module is None:
            return state
        state["_saved"] = _copies.saved(self._core_module)
        state["_parameters"] = {name: p.detach().to("cpu").to("f32") for name, p in self._parameters.items()}
        state["_buffers"] = {name: b.to("cpu") for name, b in self._buffers.items()}
        state["_saved"]["numbers"].update((name, p.detach().to("cpu")) for name, p in self._parameters.items())
        return {**state, **state["_parameters"], **state["_buffers"]}

    def __setstate__(self, state):
        for name, value in state.items():
            object.__setattr__(self, name, value)
        for name, p in self._parameters.items():
            p.requires_grad = name not in state["_fixed"]
        for child in self._children.values():
            if isinstance(child, Module):
                object.__setattr__(child, "_parent", self)

    def __repr__(self):
        rows = [f"\n({name}): {child!r}".replace("\n", "\n  ") for name, child in self._named("_children").items()]
        return f"{type(self).__name__}({''.join(rows)}" + ("\n)" if rows else ")")

    def children(self):
        """Every child, in order."""
        return list(self._children.values())

    def named_children(self):
        """(name, module) of every child, in order."""
        return list(self._children.items())

    def to(self, device="cpu", dtype="f32"):
        """Moves all parameters to the device; dtype is that of the batches. On the root, before the optimiser."""
        self._build().to(device, dtype)
        return self

    def train(self, mode=True):
        """Switches to training mode, with batch statistics and dropout, or (mode=False) to evaluation mode."""
        self._build().train(mode)
        return self

    def eval(self):
        return self.train(False)

    def freeze(self):
        """Excludes the module from training: no gradients, evaluation mode. Call it before to() and the optimiser."""
        self._build().freeze()
        return self

    def unfreeze(self):
        """Undoes freeze from the next train() on; the optimiser must be made anew."""
        self._build().unfreeze()
        return self

    def set_recompute(self, on=True):
        """If on, a call keeps only its inputs for the backward pass, in which it runs again."""
        object.__setattr__(self, "_recompute", on)
        return self

    @property
    def training(self):
        return self._build().training

    def parameters(self):
        """The parameters that require a gradient, for an optimiser."""
        return self._build().parameters()

    def named_parameters(self):
        """(name, parameter) of every parameter, live; convolution weights [out, kh, kw, in]."""
        return self._build().named_parameters()

    def named_buffers(self):
        """(name, tensor) of every buffer, live."""
        return self._build().named_buffers()

    def num_parameters(self):
        return self._build().num_parameters()

    def state_dict(self):
        """A copy on the CPU, under PyTorch's names and with its layout."""
        return self._build().state_dict()

    def load_state_dict(self, state, strict=True):
        """Returns the names that were (missing, unexpected).

        Raises Error, which lists the tensors and changes nothing, for other shapes and, if strict, for such names.
        """
        return self._build().load_state_dict(state, strict)

    def generator_state(self):
        """The positions of dropout's random generators, by name; a checkpoint holds them beside state_dict()."""
        return self._build().generator_state()

    def load_generator_state(self, state):
        """Raises Error, which names what is missing or unexpected, and then changes nothing."""
        self._build().load_generator_state(state)

    def zero_grad(self):
        self._build().zero_grad()


class _Listed(Module):
    def append(self, module):
        self._add(str(len(self)), module)
        return self

    def __len__(self):
        return len(self._children)

    def __iter__(self):
        return iter(self._children.values())

    def __getitem__(self, index):
        """The module at index (from the end if negative), or for a slice a list of modules."""
        return list(self._children.values())[index]


class ModuleList(_Listed):
    """A list of modules, as children '0', '1', ...; the module that holds it calls them in its forward."""

    def __init__(self, modules=()):
        super().__init__()
        self.extend(modules)

    def extend(self, modules):
        for module in modules:
            self.append(module)
        return self


class ModuleDict(Module):
    """Modules by name, as children of these names; the module that holds it calls them in its forward."""

    def __init__(self, modules=()):
        super().__init__()
        self.update(modules)

    def update(self, modules):
        for name, module in dict(modules).items():
            self[name] = module

    def __setitem__(self, name, module):
        if name in self._children:
            raise _core.Error(f"[nn] '{name}' is a child already, which nothing can replace")
        self._add(name, module)

    def __getitem__(self, name):
        return self._children[name]

    def __contains__(self, name):
        return name in self._children

    def __len__(self):
        return len(self._children)

    def __iter__(self):
        return iter(self._children)

    def keys(self):
        return self._children.keys()

    def values(self):
        return self._children.values()

    def items(self):
        return self._children.items()


class Sequential(_Listed):
    """Modules that run one after another, as children '0', '1', ..."""

    def __init__(self, *layers, seed=0):
        super().__init__(seed)
        for layer in layers:
            self.append(layer)

    def forward(self, x):
        for layer in self:
            x = layer(x)
        return x
