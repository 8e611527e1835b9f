"""The dispatch mode that carries labels through a forward pass."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_map

from widthwise.graph.recording.blame import OwnError
from widthwise.graph.recording.places import Frames, Place
from widthwise.graph.recording.values import Values, tensors_in
from widthwise.rules import Label, Op, blank, lookup
from widthwise.rules.ledger import Labels, Notes

Watcher = Callable[[Op, Place, Sequence[Label]], "Sequence[Tensor] | None"]


class LabelMode(TorchDispatchMode):
    """Run every operator, ask its rule, label its outputs.

    Args:
        frames: Knows which module is running.
        labels: Tells what tensors carry.
        notes: Takes down what rules say.
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
        labels: Labels,
        notes: Notes,
        remember: Callable[[Tensor, Label], None],
        readings: dict[Place, int],
        watch: Watcher,
        values: Values,
    ) -> None:
        super().__init__()
        self._frames = frames
        self._labels = labels
        self._notes = notes
        self._remember = remember
        self._readings = readings
        self._watch = watch
        self._values = values

    def label(self, tensor: Tensor) -> Label:
        """Return the label of a tensor the pass has seen; blank if it has not."""
        return self._labels.label(tensor)

    def __torch_dispatch__(
        self, func: Any, types: Any, args: Sequence[Any] = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        """Run one operator and label what it returns."""
        kwargs = kwargs or {}
        given = self._as_given(args) if torch.Tag.inplace_view in func.tags else args
        result = self._values.run(func, args, kwargs)
        try:
            return self._label(func, given, kwargs, result)
        except Exception as error:
            raise OwnError from error

    def _as_given(self, args: Sequence[Any]) -> Sequence[Any]:
        """Return arguments that keep their shapes when the first of them gets another one."""
        given = args[0].detach()
        self._remember(given, self._labels.label(args[0]))
        return (given, *args[1:])

    def _label(self, func: Any, args: Sequence[Any], kwargs: dict[str, Any], result: Any) -> Any:
        outputs = tensors_in(result)
        place = self._frames.next_place(str(func))
        op = Op(
            func,
            args,
            kwargs,
            outputs,
            self._frames.path,
            self._labels,
            self._notes,
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
