"""Whether training runs code that evaluation does not, and that is worth to be followed."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from dis import get_instructions
from itertools import pairwise
from types import CodeType, FunctionType
from typing import Any

import torch
from torch.utils._python_dispatch import TorchDispatchMode

from widthwise.graph.recording.copies import by_one_name
from widthwise.graph.recording.passes import Pass, Recording
from widthwise.graph.recording.values import Values, tensors_in
from widthwise.network.copying import copy_module, named_tensors, walk
from widthwise.network.outputs import tensors_of
from widthwise.rules.op import shape_of

_EMPTY = (torch.ops.aten.empty, torch.ops.aten.new_empty, torch.ops.aten.empty_like)
"""Where dropout draws its mask."""
_BETWEEN = {"TO_BOOL", "UNARY_NOT", "COPY", "CACHE", "EXTENDED_ARG", "NOT_TAKEN"}
"""What comes between reading a flag and jumping by it."""


def trains_otherwise(training: Pass, evaluation: Recording, values: Values) -> bool:
    """Run a training pass, and tell whether it does more than to drop out and to take statistics.

    It can only if some module branches on its mode; PyTorch's own, and dropout functions that are
    told the mode, do no more than that. It does if it returns other tensors, reads one that
    evaluation does not, or calls what is neither pointwise nor random: it rolls features, say, or
    takes a mean to keep.

    Args:
        training: The pass; its network is not changed.
        evaluation: What the pass of evaluation wrote down.
        values: Runs the operators.

    Returns:
        Whether there is something to follow; not if the pass fails.
    """
    if not any(map(_branches_on_mode, {type(module) for _, module in walk(training.twin)})):
        return False
    twin = copy_module(training.ready(), lambda _, tensor: tensor)
    names = {id(tensor): name for name, tensor in named_tensors(twin) if tensor.dim()}
    mode = _Listening(names, values)
    try:
        with torch.no_grad(), mode:
            result = training.inputs.call(twin)
    except Exception:
        return False
    returned = [shape_of(tensor)[1:] for tensor in tensors_of(result)]
    if returned != [shape[1:] for shape in evaluation.results[0]]:
        return True
    if not mode.read <= evaluation.ledger.used:
        return True
    more = mode.calls - _counted(call.func for call in evaluation.calls(0))
    return not all(map(_is_harmless, more))


def _branches_on_mode(kind: type) -> bool:
    """Tell whether code of a class, but for PyTorch's own, branches on `training` or keeps it."""
    if kind.__module__.startswith("torch.") or kind is object:
        return False
    members = [getattr(member, "__func__", member) for member in vars(kind).values()]
    codes = [member.__code__ for member in members if isinstance(member, FunctionType)]
    return any(map(_branches, codes)) or any(map(_branches_on_mode, kind.__bases__))


def _branches(code: CodeType) -> bool:
    if any(_branches(inner) for inner in code.co_consts if isinstance(inner, CodeType)):
        return True
    if "training" not in code.co_names:
        return False
    steps = [step for step in get_instructions(code) if step.opname not in _BETWEEN]
    return any(
        step.argval == "training" and ("JUMP" in after.opname or "STORE" in after.opname)
        for step, after in pairwise(steps)
    )


def _counted(calls: Iterable[Any]) -> Counter[Any]:
    """Count calls; of a batch of two, PyTorch may have to copy what of one it can view."""
    return Counter(map(by_one_name, calls))


def _is_harmless(func: Any) -> bool:
    """Tell whether an operator keeps every channel where it is, whatever widths there are."""
    return (
        torch.Tag.pointwise in func.tags
        or torch.Tag.nondeterministic_seeded in func.tags
        or func.overloadpacket in _EMPTY
        or "batch_norm" in str(func)
    )


class _Listening(TorchDispatchMode):
    """Runs operators, counts them, and notes which parameters and buffers they read."""

    @classmethod
    def _should_skip_dynamo(cls) -> bool:
        return False  # As in `dry_run.rehearsal`.

    def __init__(self, names: dict[int, str], values: Values) -> None:
        super().__init__()
        self._calls: list[Any] = []
        self.read: set[str] = set()
        self._names = names
        self._values = values

    @property
    def calls(self) -> Counter[Any]:
        """How often each operator was called."""
        return _counted(self._calls)

    def __torch_dispatch__(
        self, func: Any, types: Any, args: Sequence[Any] = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        self._calls.append(func)
        given = tensors_in((*args, *(kwargs or {}).values()))
        self.read.update(self._names[id(t)] for t in given if id(t) in self._names)
        return self._values.run(func, args, kwargs or {})
