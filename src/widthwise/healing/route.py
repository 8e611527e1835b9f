"""The way of a forward through the layers of a network, and what becomes of their outputs."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves
from torch.utils.weak import WeakTensorKeyDictionary

from widthwise.network.inputs import Inputs

Norm = nn.modules.batchnorm._BatchNorm
_ADDITIONS = (torch.ops.aten.add.Tensor, torch.ops.aten.add_.Tensor)
_RECTIFIERS = (torch.ops.aten.relu.default, torch.ops.aten.relu_.default)
_CLAMPS = (
    torch.ops.aten.hardtanh.default,
    torch.ops.aten.hardtanh_.default,
    torch.ops.aten.clamp.default,
    torch.ops.aten.clamp_.default,
)


@dataclass(frozen=True)
class Fate:
    """What becomes of the output of a layer, as far as nothing else reads it on the way.

    First a batch normalisation may read it, then something may be added, then it may be clipped.

    Attributes:
        norm: Path of the batch normalisation.
        added: Number of the operation that made what is added; it ran before the layer.
        clip: Bounds that all beyond is set to, as by ``relu``.
    """

    norm: str | None = None
    added: int | None = None
    clip: tuple[float, float] | None = None


@dataclass(frozen=True)
class Route:
    """The layers of a network in the order in which a forward calls them.

    Attributes:
        calls: How often each is called, by path.
        fates: What becomes of the outputs of those that are called once, by path.
        bytes_per_input: Size of the largest tensor that the forward makes of one input.
    """

    calls: Mapping[str, int]
    fates: Mapping[str, Fate]
    bytes_per_input: float

    @classmethod
    def of(cls, network: nn.Module, inputs: Inputs, kinds: tuple[type[nn.Module], ...]) -> Route:
        """Run a network once, in evaluation mode.

        Args:
            network: Not changed.
            inputs: What to run it on.
            kinds: Classes of the layers.

        Returns:
            The route.
        """
        recorder = _Recorder()
        handles = []
        for path, module in network.named_modules():
            if isinstance(module, kinds):
                handles += [
                    module.register_forward_pre_hook(recorder.before(path)),
                    module.register_forward_hook(recorder.after(path, module)),
                ]
        try:
            with torch.no_grad(), recorder:
                recorder.read(inputs.call(network))
        finally:
            for handle in handles:
                handle.remove()
        return cls(
            recorder.calls,
            {path: recorder.fate(path) for path, count in recorder.calls.items() if count == 1},
            recorder.largest / (inputs.batch or 1),
        )


@dataclass(eq=False)
class _Value:
    """A tensor that nothing but one layer, a normalisation and an addition has touched."""

    path: str
    norm: str | None = None
    added: int | None = None
    reads: int = 0
    clip: tuple[float, float] | None = None
    next: _Value | None = None


@dataclass(eq=False)
class _Recorder(TorchDispatchMode):
    calls: dict[str, int] = field(default_factory=dict)
    largest: int = 0

    def __post_init__(self) -> None:
        super().__init__()
        self._number = 0
        self._births = WeakTensorKeyDictionary()
        self._values = WeakTensorKeyDictionary()
        self._started: dict[str, int] = {}
        self._first: dict[str, _Value] = {}

    def before(self, path: str) -> Callable[..., None]:
        def hook(*_: Any) -> None:
            self.calls[path] = self.calls.get(path, 0) + 1
            self._started[path] = self._number

        return hook

    def after(self, path: str, module: nn.Module) -> Callable[..., None]:
        def hook(_: nn.Module, args: tuple[Any, ...], output: Any) -> None:
            if not isinstance(output, Tensor):
                return
            if isinstance(module, Norm):
                read = self._values.get(args[0]) if args else None
                if read is not None and read.norm is None and read.added is None:
                    read.next = self._values[output] = _Value(read.path, norm=path)
            else:
                self._first[path] = self._values[output] = _Value(path)

        return hook

    def read(self, values: Any) -> None:
        """Note that tensors are read."""
        for tensor in tree_leaves(values):
            if isinstance(tensor, Tensor) and tensor in self._values:
                self._values[tensor].reads += 1

    def __torch_dispatch__(
        self,
        func: Any,
        types: Any,
        args: tuple[Any, ...] = (),
        kwargs: dict[str, Any] | None = None,
    ) -> Any:
        kwargs = kwargs or {}
        self.read((args, kwargs))
        joined = None
        if func in _ADDITIONS and kwargs.get("alpha", 1) == 1:
            joined = self._joined(args)
        elif (bounds := _bounds(func, args, kwargs)) is not None and args[0] in self._values:
            self._values[args[0]].clip = bounds
        output = func(*args, **kwargs)
        for tensor in tree_leaves(output):
            if isinstance(tensor, Tensor):
                self._births[tensor] = self._number
                self._values.pop(tensor, None)
                self.largest = max(self.largest, tensor.numel() * tensor.element_size())
        if joined is not None:
            self._values[output] = joined
        self._number += 1
        return output

    def _joined(self, args: tuple[Any, ...]) -> _Value | None:
        """Return the value that an addition makes, of the one summand that came last."""
        if not all(isinstance(each, Tensor) for each in args[:2]) or args[0].shape != args[1].shape:
            return None
        for own, other in (args[:2], args[1::-1]):
            value, born = self._values.get(own), self._births.get(other)
            if value is None or value.added is not None or born is None:
                continue
            if born < self._started[value.path]:
                value.next = _Value(value.path, value.norm, born)
                return value.next
        return None

    def fate(self, path: str) -> Fate:
        """Follow an output as long as there is one reader."""
        value = self._first.get(path)
        while value is not None and value.reads == 1 and value.next is not None:
            if value.next.norm is not None and self.calls[value.next.norm] > 1:
                break
            value = value.next
        if value is None:
            return Fate()
        return Fate(value.norm, value.added, value.clip if value.reads == 1 else None)


def _bounds(
    func: Any, args: tuple[Any, ...], kwargs: Mapping[str, Any]
) -> tuple[float, float] | None:
    if func in _RECTIFIERS:
        return 0.0, math.inf
    if func not in _CLAMPS or kwargs:
        return None
    default = (-1.0, 1.0) if func in _CLAMPS[:2] else (None, None)
    low, high = [*args[1:], *default[len(args) - 1 :]][:2]
    return (-math.inf if low is None else float(low)), (math.inf if high is None else float(high))
