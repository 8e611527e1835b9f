"""What one pass over a network writes down: ids, ties, frozen ids, costs and every call."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
import torch
from torch import Tensor, nn
from torch.utils.weak import TensorWeakRef

from widthwise.graph.costs import Cost
from widthwise.graph.recording.numbers import numbers_in
from widthwise.graph.recording.places import Place, anchors_of
from widthwise.network.copying import named_tensors, walk
from widthwise.network.uncounted import counts
from widthwise.rules import Components, Ids, Label, Op, blank
from widthwise.rules.labels import all_ids
from widthwise.rules.op import shape_of


@dataclass(frozen=True)
class Slot:
    """One dim of one parameter or buffer, and where its ids start."""

    tensor: str
    dim: int
    start: int
    length: int

    @property
    def ids(self) -> Ids:
        """The ids of its indices."""
        return np.arange(self.start, self.start + self.length)


@dataclass(frozen=True)
class Call:
    """One operator call of the pass, enough to compare a narrower run with it."""

    func: object
    path: str
    place: Place
    options: int
    inputs: tuple[Label, ...]
    outputs: tuple[Label, ...]
    shapes: tuple[tuple[int, ...], ...]
    bytes_written: tuple[int, ...]
    numbers: tuple[float, ...]
    """The values, not sizes, among its arguments; see `numbers_in`."""

    @property
    def name(self) -> str:
        """The operator's short name, such as ``aten.view``."""
        return str(self.place.operator).rpartition(".")[0]

    @property
    def is_convolution(self) -> bool:
        """Whether the operator is a convolution."""
        return self.name == "aten.convolution"


def _storage_of(tensor: Tensor) -> int:
    """Return what tells where a tensor's values are: two that share them have the same; or 0."""
    try:
        return int(tensor.untyped_storage()._cdata)
    except (NotImplementedError, RuntimeError):
        # Sparse tensors and those of `torch.vmap` have no one place.
        return 0


@dataclass
class PassLedger:
    """The ledger of a pass: it holds the labels and takes the notes (see `rules.ledger`).

    Attributes:
        slots: Every labelled dim of every parameter and buffer, in order of ids.
        ties: Pairs of id vectors that live and die together.
        counts: Pairs of id vectors of which equally many are kept.
        frozen: Id vectors no plan may touch, with the reason.
        produced: Output channels of weighted operators, in execution order.
        consumed: Ids of weights that are summed over.
        joined: Ties between weights that another weight is computed of, such as their sum.
        costs: MACs of one input.
        calls: Every call of the pass.
        used: Names of the parameters and buffers that some operator read.
        mixed: Ids on whose existence some result depends, by more than weights.
        resized: Sizes that attributes of modules repeat, by module path and attribute.
        remembered: Ids at the places of sizes that modules remember, by module path and attribute;
            None where no dim has that size. See `remembered.listen`.
        anchors: The classes that places are spoken of from, by path; see `anchors_of`.
        components: The connected component of every id by `ties`; None until somebody asks.
    """

    slots: list[Slot] = field(default_factory=list)
    ties: list[tuple[Ids, Ids]] = field(default_factory=list)
    counts: list[tuple[Ids, Ids]] = field(default_factory=list)
    frozen: list[tuple[Ids, str]] = field(default_factory=list)
    produced: list[Ids] = field(default_factory=list)
    consumed: list[Ids] = field(default_factory=list)
    joined: list[tuple[Ids, Ids]] = field(default_factory=list)
    costs: list[Cost] = field(default_factory=list)
    calls: list[Call] = field(default_factory=list)
    used: set[str] = field(default_factory=set)
    mixed: list[Ids] = field(default_factory=list)
    resized: dict[tuple[str, str], tuple[Ids | int, ...]] = field(default_factory=dict)
    remembered: dict[tuple[str, str], list[Ids | None]] = field(default_factory=dict)
    anchors: dict[str, str] = field(default_factory=dict)
    id_count: int = 0
    parameter_ids: int = 0
    components: Components | None = None
    _ties_before: int = 0
    _labels: dict[int, tuple[Tensor | TensorWeakRef, Label]] = field(default_factory=dict)
    _names: dict[int, str] = field(default_factory=dict)
    _numbers: dict[int, tuple[Tensor, list[tuple[Ids, str]]]] = field(default_factory=dict)
    _weights: dict[int, Tensor] = field(default_factory=dict)
    _storages: dict[int, int] = field(default_factory=dict)
    _by_storage: dict[tuple[int, tuple[int, ...]], Tensor] = field(default_factory=dict)

    @classmethod
    def of(cls, model: nn.Module) -> PassLedger:
        """Give every index of every dim of every parameter and buffer its id.

        Kernel dims of convolutions get none: they are space.

        Args:
            model: The network.

        Returns:
            A ledger with labels and nothing else.
        """
        ledger = cls(anchors=anchors_of(model))
        spatial = {
            id(tensor)
            for _, module in walk(model)
            if isinstance(module, nn.modules.conv._ConvNd)
            for tensor in (module.weight,)
        }
        for name, tensor in named_tensors(model):
            label: list[Ids | None] = []
            for dim, size in enumerate(shape_of(tensor)):
                if id(tensor) in spatial and dim >= 2:
                    label.append(None)
                    continue
                ledger.slots.append(Slot(name, dim, ledger.id_count, size))
                label.append(ledger.new_ids(size))
            ledger._labels[id(tensor)] = (tensor, tuple(label))
            ledger._names[id(tensor)] = name
            ledger._weights[id(tensor)] = tensor
            storage = _storage_of(tensor)
            ledger._storages[id(tensor)] = storage
            ledger._by_storage[storage, shape_of(tensor)] = tensor
        ledger.parameter_ids = ledger.id_count
        return ledger

    def label(self, tensor: Tensor) -> Label:
        """Return the label of a tensor; one the pass has not seen is blank."""
        name = self._names.get(id(tensor))
        if name is not None:
            self.used.add(name)
            if _storage_of(tensor) != self._storages[id(tensor)]:
                self._tie_to_new_data(tensor)
        found = self._labels.get(id(tensor))
        if found is None:
            parameter = self._parameter_of(tensor)
            return blank(tensor.dim()) if parameter is None else self.label(parameter)
        holder, label = found
        # The identity of one that is gone may have been given to another.
        is_it = holder is tensor or (isinstance(holder, TensorWeakRef) and holder() is tensor)
        return label if is_it else blank(tensor.dim())

    def remember(self, tensor: Tensor, label: Label) -> None:
        """Note the label of a tensor. One without values is held; real ones may not fit."""
        self._labels[id(tensor)] = (tensor if tensor.is_meta else TensorWeakRef(tensor), label)

    def is_weight(self, tensor: Tensor) -> bool:
        """Tell whether a tensor was computed from parameters and buffers alone."""
        if id(tensor) in self._weights:
            return True
        return id(tensor) not in self._labels and self._parameter_of(tensor) is not None

    def _parameter_of(self, tensor: Tensor) -> Tensor | None:
        """Return the parameter whose ``data`` a tensor is, which no operator has made."""
        storage = _storage_of(tensor)
        return self._by_storage.get((storage, shape_of(tensor))) if storage else None

    def _tie_to_new_data(self, parameter: Tensor) -> None:
        """Tie a parameter whose ``data`` the code has set to the tensor that it was set to."""
        storage, shape = _storage_of(parameter), shape_of(parameter)
        self._storages[id(parameter)] = storage
        _, own = self._labels[id(parameter)]
        for holder, label in list(self._labels.values()):
            made = holder() if isinstance(holder, TensorWeakRef) else holder
            if made is None or made is parameter or shape_of(made) != shape:
                continue
            if _storage_of(made) == storage:
                for ids, new in zip(own, label, strict=True):
                    if ids is not None and new is not None:
                        self.tie(ids, new)
                        self.joined.append((ids, new))
                return

    def tie(self, first: Ids, second: Ids) -> None:
        """Note a tie."""
        self.ties.append((first, second))
        self.components = None

    def equal_counts(self, first: Ids, second: Ids) -> None:
        """Note that equally many are kept."""
        self.counts.append((first, second))

    def freeze(self, ids: Ids, reason: str) -> None:
        """Note frozen ids."""
        self.frozen.append((ids, reason))

    def number(self, tensor: Tensor, ids: Ids, reason: str) -> None:
        """Note that a tensor holds places of ids."""
        _, known = self._numbers.get(id(tensor), (tensor, []))
        self._numbers[id(tensor)] = (tensor, [*known, (ids, reason)])

    def read(self, tensor: Tensor) -> None:
        """Note that somebody uses what a tensor holds."""
        _, numbers = self._numbers.get(id(tensor), (tensor, []))
        self.frozen += numbers

    def new_ids(self, count: int) -> Ids:
        """Make new ids."""
        self.id_count += count
        self.components = None
        return np.arange(self.id_count - count, self.id_count)

    def is_loose(self, ids: Ids) -> bool:
        """Tell whether none of these ids belongs to a parameter."""
        return bool(len(ids)) and bool(ids.min() >= self.parameter_ids)

    def produce(self, ids: Ids) -> None:
        """Note output channels."""
        self.produced.append(ids)

    def consume(self, ids: Ids) -> None:
        """Note ids of a weight that are summed over."""
        self.consumed.append(ids)

    def cost(self, coefficient: int, factors: tuple[Ids, ...]) -> None:
        """Note MACs."""
        if counts():
            self.costs.append(Cost(coefficient, factors))

    def mix(self, ids: Ids) -> bool:
        """Note ids on whose existence a result depends."""
        self.mixed.append(ids)
        return True

    def resize(self, path: str, attribute: str, sizes: tuple[Ids | int, ...]) -> None:
        """Note sizes that an attribute repeats."""
        self.resized[path, attribute] = sizes

    def watch(self, op: Op, place: Place, labels: Sequence[Label]) -> None:
        """Write down a call."""
        tensors = op.tensors
        for tensor in tensors:
            self.read(tensor)
        if op.outputs and tensors and all(self.is_weight(tensor) for tensor in tensors):
            self._weights.update({id(out): out for out in op.outputs})
            self.joined += self.ties[self._ties_before :]
        self._ties_before = len(self.ties)
        self.calls.append(
            Call(
                func=op.func,
                path=op.path,
                place=place,
                options=op.options,
                inputs=tuple(self.label(tensor) for tensor in tensors),
                outputs=tuple(labels),
                shapes=tuple(shape_of(out) for out in op.outputs),
                bytes_written=tuple(
                    0 if aliases else out.element_size()
                    for out, aliases in zip(op.outputs, _aliases(op), strict=True)
                ),
                numbers=numbers_in(op.func, op.args, op.kwargs),
            )
        )

    def ids_of(self, tensor: str, dim: int) -> Ids | None:
        """Return the ids along a dim of a parameter or buffer; None if it has no such dim."""
        return next((s.ids for s in self.slots if (s.tensor, s.dim) == (tensor, dim)), None)

    def summed(self) -> np.ndarray:
        """Return which ids of weights are summed over, in all weights that one is computed of.

        Returns:
            Shape ``[ids]``, bool.
        """
        found = np.zeros(self.id_count, bool)
        for ids in self.consumed:
            found[ids] = True
        counts = -1, int(found.sum())
        while counts[0] < counts[1]:
            for first, second in self.joined:
                found[first] = found[second] = found[first] | found[second]
            counts = counts[1], int(found.sum())
        return found

    def activation_costs(self) -> list[Cost]:
        """Return the bytes each call writes to new memory, as costs in kept ids."""
        found = []
        for call in self.calls:
            for label, shape, size in zip(
                call.outputs, call.shapes, call.bytes_written, strict=True
            ):
                if size:
                    constant = math.prod(
                        n for n, ids in zip(shape, label, strict=True) if ids is None
                    )
                    found.append(Cost(size * constant, tuple(all_ids(label))))
        return found


# Views that their schemas do not call views.
_VIEWS = (
    torch.ops.aten._unsafe_view,
    torch.ops.aten._reshape_alias,
    torch.ops.aten.unsafe_chunk,
    torch.ops.aten.unsafe_split,
    torch.ops.aten.unsafe_split_with_sizes,
)


def _aliases(op: Op) -> list[bool]:
    """Tell for each output tensor whether it shares memory with an argument."""
    returns = op.func._schema.returns
    if op.func.overloadpacket in _VIEWS:
        return [True] * len(op.outputs)
    flags = [found.alias_info is not None for found in returns]
    if len(flags) != len(op.outputs):
        # One return that is a list of tensors (split, unbind).
        flags = [flags[0] if flags else False] * len(op.outputs)
    return flags
