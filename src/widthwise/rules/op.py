"""One call of one operator, as a rule sees it."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from torch import Tensor

from widthwise.rules.labels import Ids, Label, all_ids, blank
from widthwise.rules.ledger import Labels, Notes


class Op:
    """One call of one operator.

    Attributes:
        func: The operator overload.
        args: Positional arguments as the dispatcher passes them.
        kwargs: Keyword arguments.
        outputs: The tensors among the outputs, in order.
        path: Path of the module that made the call; empty for the network itself.
        options: Number of readings the rule asked to choose from; see `choice`.
        mixes: Whether the outputs depend on which channels exist by more than weights; see `mix`.
        follow: Set by a rule of a mixing operator whose integer arguments repeat sizes of its
            tensors: changes a list of arguments to fit narrowed tensors.
    """

    def __init__(
        self,
        func: Any,
        args: Sequence[Any],
        kwargs: dict[str, Any],
        outputs: Sequence[Tensor],
        path: str,
        labels: Labels,
        notes: Notes,
        reading: int = 0,
    ) -> None:
        self.func = func
        self.args = args
        self.kwargs = kwargs
        self.outputs = outputs
        self.path = path
        self.mixes = False
        self.follow: Callable[[list[Any]], None] | None = None
        self.options = 0
        self._labels = labels
        self._notes = notes
        self._reading = reading

    @property
    def name(self) -> str:
        """The operator's short name, such as ``aten.view``."""
        return str(self.func.overloadpacket)

    @property
    def out(self) -> Tensor:
        """The first output tensor."""
        return self.outputs[0]

    @property
    def tensors(self) -> list[Tensor]:
        """Every tensor among the arguments, lists included."""
        found: list[Tensor] = []
        for arg in (*self.args, *self.kwargs.values()):
            if isinstance(arg, Tensor):
                found.append(arg)
            elif isinstance(arg, list | tuple):
                found.extend(item for item in arg if isinstance(item, Tensor))
        return found

    def arg(self, index: int, name: str, default: Any = None) -> Any:
        """Return an argument by position or by name."""
        if index < len(self.args):
            return self.args[index]
        return self.kwargs.get(name, default)

    def label(self, tensor: Tensor) -> Label:
        """Return the label of an argument: one id vector or None per dim."""
        return self._labels.label(tensor)

    def is_weight(self, tensor: Tensor) -> bool:
        """Tell whether an argument was computed from parameters and buffers alone."""
        return self._labels.is_weight(tensor)

    def tie(self, first: Ids | None, second: Ids | None) -> Ids | None:
        """Tie two dims that meet index by index, and return the ids of the result.

        A dim without ids has a constant size, so ids that meet it are frozen.

        Args:
            first: Ids of one dim, or None.
            second: Ids of the other dim, of the same length, or None.

        Returns:
            The ids of the joint dim, or None when neither has any.
        """
        if first is None or second is None:
            found = second if first is None else first
            if found is not None:
                self.freeze(found, "meets a dimension of constant size")
            return found
        if first is not second:
            self._notes.tie(first, second)
        # Ids of parameters say more than ids of repeats.
        return second if self._labels.is_loose(first) else first

    def tie_together(self, ids: Ids) -> None:
        """Tie every row of a matrix of ids, shape ``[units, ids per unit]``, into one unit."""
        if ids.ndim == 2 and ids.shape[1] > 1:
            self._notes.tie(np.repeat(ids[:, 0], ids.shape[1] - 1), ids[:, 1:].ravel())

    def equal_counts(self, parts: Ids) -> None:
        """Keep equally many ids of every row of a matrix of ids, whichever they are."""
        for part in parts[1:]:
            self._notes.equal_counts(parts[0], part)

    def freeze(self, ids: Ids | None, reason: str) -> None:
        """Forbid any plan to touch ids, with a reason that names this call."""
        if ids is not None:
            where = f" in `{self.path}`" if self.path else " in the outermost forward"
            self._notes.freeze(ids, f"`{self.name}`{where}: {reason}")

    def number(self, output: Tensor, ids: Ids | None) -> None:
        """Note that an output holds the numbers of channels: none may go if anything reads it."""
        if ids is not None:
            where = f" in `{self.path}`" if self.path else " in the outermost forward"
            reason = f"`{self.name}`{where}: numbers of channels are used as values"
            self._notes.number(output, ids, reason)

    def freeze_all(self, reason: str) -> None:
        """Freeze every id that the arguments carry."""
        for tensor in self.tensors:
            for ids in all_ids(self.label(tensor)):
                self.freeze(ids, reason)

    def constant_ids(self, count: int, reason: str) -> Ids:
        """Make frozen ids for channels that come from nowhere, such as zero padding."""
        ids = self._labels.new_ids(count)
        self.freeze(ids, reason)
        return ids

    def loose_ids(self, count: int) -> Ids:
        """Make ids for repeats of one value: they live and die with whatever they meet."""
        return self._labels.new_ids(count)

    def is_loose(self, ids: Ids | None) -> bool:
        """Tell whether a dim repeats one value, and has met no parameter yet."""
        return ids is not None and self._labels.is_loose(ids)

    def produce(self, ids: Ids | None) -> None:
        """Say that these ids are the output channels of this weighted call."""
        if ids is not None:
            self._notes.produce(ids)

    def consume(self, ids: Ids | None) -> None:
        """Say that these ids of a weight are summed over in this call."""
        if ids is not None:
            self._notes.consume(ids)

    def mix(self, *dims: Ids | None) -> None:
        """Say that the outputs depend on which of these ids exist, by more than weights.

        A mean over channels, a layer norm and a product of activations do. The proof then compares
        with the network computed on kept channels only.
        """
        for ids in dims:
            if ids is not None:
                self.mixes |= self._labels.mix(ids)

    def resize(self, attribute: str, *sizes: Ids | int) -> None:
        """Say that the running module repeats sizes of its tensors in an attribute.

        Args:
            attribute: Name of an integer attribute, or of a tuple of integers.
            *sizes: Ids whose kept ones are counted, or constant sizes.
        """
        self._notes.resize(self.path, attribute, sizes)

    def macs(self, coefficient: int, *factors: Ids | int | None) -> None:
        """Record ``coefficient x product of kept counts`` multiply-accumulates.

        Args:
            coefficient: Constant part.
            *factors: Ids whose kept ones are counted, or a constant size.
        """
        counted = []
        for factor in factors:
            if isinstance(factor, int):
                coefficient *= factor
            elif factor is not None:
                counted.append(factor)
        self._notes.cost(coefficient, tuple(counted))

    def fit_sizes(self, args: list[Any]) -> None:
        """Bring integer arguments in line with narrowed tensors."""
        if self.follow is not None:
            self.follow(args)

    def choice(self, options: int) -> int | None:
        """Ask which of several readings of this call holds.

        One pass cannot tell which factor of ``view(B, 4, 16)`` the code keeps constant. The first
        reading is tried first; the dry run rejects those that do not run.

        Args:
            options: Number of readings, best first.

        Returns:
            The reading to use, or None when all have been rejected and the ids must be frozen.
        """
        self.options = options
        return self._reading if self._reading < options else None


def sizes(label: Label, tensor: Tensor, dim: int) -> Ids | int:
    """Return what a cost counts along one dim: its ids, or its constant size."""
    ids = label[dim]
    return int(tensor.shape[dim]) if ids is None else ids


def keep_dims(label: Label, out: Tensor) -> Label:
    """Return the label if it fits the output's number of dims, else a blank one."""
    return label if len(label) == out.dim() else blank(out.dim())


def pass_through(op: Op) -> Label:
    """Rule of operators that leave the shape of their first tensor as it is."""
    return keep_dims(op.label(op.tensors[0]), op.out)


def shape_of(tensor: Tensor) -> tuple[int, ...]:
    """Return a tensor's shape as plain integers."""
    return tuple(tensor.shape)
