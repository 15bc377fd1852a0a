"""What copies and pickles of modules hold, and how a tree gets it back once it is built.

Every node keeps its own numbers, and small things of the tree below it: modes, what is trained, the positions of generators. A
copy of a part is whole by itself, and may become a child of another tree.
"""

from . import _core


def tensor_again(*pickled):
    return _core._unpickled(*pickled)  # pickle takes no functions of the extension


def saved(core):
    """Of a built module: all that building it anew does not give. Numbers share the module's memory or are copies."""
    return {"placement": core._placement, "modes": core._modes(), "generators": core.generator_state(),
            "fixed": [name for name, p in core.named_parameters() if not p.requires_grad],
            "numbers": {} if isinstance(core, _core._Container) else core.state_dict()}


def made_again(arguments, state):
    """A network of make_model with these arguments and what `saved` gave."""
    core = _core.make_model(*arguments)
    _restore_flags(core, state)
    if state["placement"] not in (None, ("cpu", "f32")):
        core.to(*state["placement"])
    core.load_state_dict(state["numbers"])
    _restore_generators(core, state)
    return core


def restore_tree(root):
    """Gives a tree of fulcrum.nn what its nodes, or some of them, kept when they were copied."""
    for node, is_root in _outermost(root, True):
        core, state = node._core_module, node._saved
        _restore_flags(core, state)
        if is_root and state["placement"] not in (None, ("cpu", "f32")):
            core.to(*state["placement"])
        _restore_numbers(node)
        _restore_generators(core, state)


# The nodes with a saved state whose ancestors have none.
def _outermost(node, is_root=False):
    if getattr(node, "_saved", None):
        yield node, is_root
    else:
        for child in _modules_in(node):
            yield from _outermost(child)


def _modules_in(node):
    return [child for child in node._children.values() if not isinstance(child, _core.Module)]


def _restore_flags(core, state):
    core._set_modes(state["modes"])
    fixed = set(state["fixed"])
    for name, p in core.named_parameters():
        p.requires_grad = name not in fixed


# After to(), as f64 numbers do not fit into the parameters before.
def _restore_numbers(node):
    state = node._saved
    if state:
        if isinstance(node._core_module, _core._Container):
            for name, numbers in state["numbers"].items():
                node._parameters[name].copy_(numbers)
        else:
            node._core_module.load_state_dict(state["numbers"])
        object.__setattr__(node, "_saved", None)
    for child in _modules_in(node):
        _restore_numbers(child)


def _restore_generators(core, state):
    positions = core.generator_state()
    core.load_generator_state({name: state["generators"].get(name, position) for name, position in positions.items()})
