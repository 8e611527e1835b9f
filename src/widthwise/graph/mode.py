"""The dispatch mode that carries labels through a forward pass."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.nn.modules.module import (
    register_module_forward_hook,
    register_module_forward_pre_hook,
)
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_map

from widthwise.graph.values import Values, tensors_in
from widthwise.rules import Label, Op, blank, lookup
from widthwise.rules.op import Ledger


@dataclass(frozen=True)
class Place:
    """Where in the code a call happens, the same for modules of the same class.

    A verdict on one call ("this view keeps its second factor constant") holds for the same call of
    every sibling: the same operator, as the same-numbered call of a module at the same path below
    an ancestor of the same class.
    """

    kind: str
    below: str
    ordinal: int
    operator: str


def anchors_of(model: nn.Module) -> dict[str, str]:
    """Return the classes that places are spoken of from, by path.

    A layer of torch.nn stands for nothing by itself: its calls are spoken of from the user's class
    around it. The network is like no other module, even of its class.
    """
    anchors = {
        path: _class_of(module)
        for path, module in model.named_modules()
        if not type(module).__module__.startswith("torch.nn.")
    }
    anchors[""] = f"{_class_of(model)} (network)"
    return anchors


def _class_of(module: nn.Module) -> str:
    return f"{type(module).__module__}.{type(module).__qualname__}"


def anchor_at(anchors: Mapping[str, str], path: str) -> str:
    """Return the path of the innermost anchor around a path."""
    while path not in anchors:
        path = path.rpartition(".")[0]
    return path


def seen_from(path: str, outer: str) -> str | None:
    """Return a path as seen from another that it is, or lies inside of; None if it does not."""
    if not outer or path == outer:
        return path.removeprefix(outer)
    return path.removeprefix(f"{outer}.") if path.startswith(f"{outer}.") else None


class Frames:
    """The stack of running modules. Hooks push and pop; an exception leaves the stack as it was."""

    def __init__(self, model: nn.Module) -> None:
        self._model = model
        self._names = {id(module): name for name, module in model.named_modules()}
        self._origins: dict[str, tuple[str, str]] = {}
        self._stack: list[list[Any]] = [["", 0]]

    @property
    def path(self) -> str:
        """Path of the innermost running module; empty for the network itself."""
        return str(self._stack[-1][0])

    def next_place(self, operator: str) -> Place:
        """Number the next call of the running module."""
        frame = self._stack[-1]
        frame[1] += 1
        return Place(*self._origin(frame[0]), frame[1], operator)

    def _origin(self, path: str) -> tuple[str, str]:
        """Return the class of the anchor of a path, and the path as seen from it."""
        if path not in self._origins:
            anchor = anchor_at(self._anchors, path)
            self._origins[path] = self._anchors[anchor], seen_from(path, anchor) or ""
        return self._origins[path]

    @cached_property
    def _anchors(self) -> dict[str, str]:
        return anchors_of(self._model)

    @contextmanager
    def follow(self) -> Iterator[None]:
        """Watch the modules for the duration of a forward pass."""

        def enter(module: nn.Module, _: Any) -> None:
            name = self._names.get(id(module))
            if name is not None:
                self._stack.append([name, 0])

        def leave(module: nn.Module, *_: Any) -> None:
            if id(module) in self._names:
                self._stack.pop()

        self._stack = [["", 0]]
        # Two hooks for all modules: to hook each of hundreds takes as long as to run it.
        handles = [register_module_forward_pre_hook(enter), register_module_forward_hook(leave)]
        try:
            yield
        finally:
            for handle in handles:
                handle.remove()


Watcher = Callable[[Op, Place, Sequence[Label]], "Sequence[Tensor] | None"]


class LabelMode(TorchDispatchMode):
    """Run every operator, ask its rule, label its outputs.

    Args:
        frames: Knows which module is running.
        ledger: Takes down what rules say.
        remember: Called with every output tensor and its label.
        readings: The reading to use at places where rules have a choice.
        watch: Called after each operator; may return other output tensors to go on with.
        values: Runs the operators.
    """

    @classmethod
    def _should_skip_dynamo(cls) -> bool:
        # PyTorch's hook for modes. Its default guards every call against torch.compile, and imports
        # the compiler for that: two seconds for the first trace of a process.
        return False

    def __init__(
        self,
        frames: Frames,
        ledger: Ledger,
        remember: Callable[[Tensor, Label], None],
        readings: dict[Place, int],
        watch: Watcher,
        values: Values,
    ) -> None:
        super().__init__()
        self._frames = frames
        self._ledger = ledger
        self._remember = remember
        self._readings = readings
        self._watch = watch
        self._values = values

    def label(self, tensor: Tensor) -> Label:
        """Return the label of a tensor the pass has seen; blank if it has not."""
        return self._ledger.label(tensor)

    def __torch_dispatch__(
        self, func: Any, types: Any, args: Sequence[Any] = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        """Run one operator and label what it returns."""
        kwargs = kwargs or {}
        result = self._values.run(func, args, kwargs)
        outputs = tensors_in(result)
        place = self._frames.next_place(str(func))
        op = Op(
            func,
            args,
            kwargs,
            outputs,
            self._frames.path,
            self._ledger,
            self._readings.get(place, 0),
        )
        labels = _ask(op)
        replaced = self._watch(op, place, labels)
        if replaced is not None:
            outputs = list(replaced)
            fresh = iter(outputs)
            result = tree_map(
                lambda leaf: next(fresh) if isinstance(leaf, Tensor) else leaf, result
            )
        for output, label in zip(outputs, labels, strict=True):
            self._remember(output, label)
        return result


@contextmanager
def plain_attention() -> Iterator[None]:
    """Compute attention by plain operators.

    Fused paths hide operators from a mode, and which of them runs depends on sizes.
    """
    fast = torch.backends.mha.get_fastpath_enabled()
    torch.backends.mha.set_fastpath_enabled(False)
    try:
        with sdpa_kernel(SDPBackend.MATH):
            yield
    finally:
        torch.backends.mha.set_fastpath_enabled(fast)


_NUMBERS = (float, int)


def numbers_in(func: Any, args: Sequence[Any], kwargs: dict[str, Any]) -> tuple[float, ...]:
    """Return the numbers among the arguments of a call."""
    given = (value for value in (*args, *kwargs.values()) if type(value) in _NUMBERS)
    return tuple(value for value in given if is_number(func, value))


def is_number(func: Any, value: Any) -> bool:
    """Tell whether an argument is a number to compute with, not a size or a dim."""
    # Floats always are; integers are where the operator is pointwise.
    kinds = (float, int) if torch.Tag.pointwise in func.tags else (float,)
    return isinstance(value, kinds) and not isinstance(value, bool)


def _ask(op: Op) -> list[Label]:
    if not op.outputs:
        return []
    rule = lookup(op.func)
    if rule is None:
        op.freeze_all("has no rule")
        return [blank(out.dim()) for out in op.outputs]
    said = rule(op)
    if said is None:
        return [blank(out.dim()) for out in op.outputs]
    # A label is a tuple of vectors; several labels come in a list.
    labels: list[Label] = list(said) if isinstance(said, list) else [said]  # type: ignore[list-item]
    labels += [blank(out.dim()) for out in op.outputs[len(labels) :]]
    return labels
