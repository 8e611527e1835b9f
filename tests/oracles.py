"""Slow, obvious references that share no code with the library.

Each answers one question by running the network and looking: what did it multiply, which channels
does a poisoned channel reach, what does it compute with some channels switched off.
"""

from __future__ import annotations

import copy
from collections import defaultdict
from collections.abc import Collection, Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves, tree_map_only
from torch.utils.flop_counter import FlopCounterMode

aten = torch.ops.aten
_CONV = (nn.modules.conv._ConvNd,)
_TRANSPOSED = (nn.modules.conv._ConvTransposeNd,)
Node = tuple[str, int, int]
"""One channel of one parameter: (name, dim, index)."""


def call(model: nn.Module, inputs: Any) -> Any:
    """Call a network on a tensor, a tuple of positional or a dict of keyword inputs."""
    if isinstance(inputs, dict):
        return model(**inputs)
    return model(*inputs) if isinstance(inputs, tuple) else model(inputs)


def outputs(model: nn.Module, inputs: Any) -> list[Tensor]:
    """Every tensor a network returns on these inputs, without gradients."""
    with torch.no_grad(), plain_attention():
        return [leaf for leaf in tree_leaves(call(model, inputs)) if isinstance(leaf, Tensor)]


@contextmanager
def plain_attention() -> Iterator[None]:
    """Switch off fused attention, which hides its operations."""
    before = torch.backends.mha.get_fastpath_enabled()
    torch.backends.mha.set_fastpath_enabled(False)
    try:
        with sdpa_kernel(SDPBackend.MATH):
            yield
    finally:
        torch.backends.mha.set_fastpath_enabled(before)


def relative_error(actual: list[Tensor], expected: list[Tensor]) -> float:
    """The largest difference, relative to the largest magnitude of the tensor it occurs in."""
    assert len(actual) == len(expected)
    worst = 0.0
    for a, b in zip(actual, expected, strict=True):
        assert a.shape == b.shape, f"shapes differ: {tuple(a.shape)} and {tuple(b.shape)}"
        a, b = a.double(), b.double()
        worst = max(worst, float((a - b).abs().max() / b.abs().max().clamp_min(1e-12)))
    return worst


# ------------------------------------------------------------------ cost


def macs(model: nn.Module, inputs: Any) -> int:
    """MACs of everything that multiplies and adds, by torch's counter (which counts twice that).

    Counted on the meta device where the network runs there: it does not see into the fused kernels
    of a device.
    """
    twin, without_values = _on_meta(model, inputs)
    try:
        return _macs(twin, without_values)
    except (NotImplementedError, RuntimeError):
        return _macs(model, inputs)


def _on_meta(model: nn.Module, inputs: Any) -> tuple[nn.Module, Any]:
    without_values = tree_map_only(Tensor, lambda tensor: tensor.to("meta"), inputs)
    return copy.deepcopy(model).to("meta"), without_values


def _macs(model: nn.Module, inputs: Any) -> int:
    counter = FlopCounterMode(display=False)
    # oneDNN runs recurrent layers in one piece, which the counter does not see into.
    fused = torch._C._get_mkldnn_enabled()
    torch._C._set_mkldnn_enabled(False)
    try:
        with torch.no_grad(), plain_attention(), counter:
            call(model, inputs)
    finally:
        torch._C._set_mkldnn_enabled(fused)
    return counter.get_total_flops() // 2


def params(model: nn.Module) -> int:
    """Entries of all parameters; a shared one counts once."""
    return sum(p.numel() for p in model.parameters())


class _NewTensors(TorchDispatchMode):
    """Adds up the bytes of every tensor that an operation makes."""

    def __init__(self) -> None:
        super().__init__()
        self.alive: list[Tensor] = []  # so that no storage address is used twice
        self.bytes = 0

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        given = [t for t in tree_leaves((args, kwargs)) if isinstance(t, Tensor)]
        out = func(*args, **(kwargs or {}))
        known = {t.untyped_storage()._cdata for t in given}
        for tensor in tree_leaves(out):
            if isinstance(tensor, Tensor) and tensor.untyped_storage()._cdata not in known:
                self.alive.append(tensor)
                self.bytes += tensor.numel() * tensor.element_size()
        return out


def activation_bytes(model: nn.Module, inputs: Any) -> int:
    """Bytes of every new tensor of a forward pass; views and in-place results are free.

    Counted on the meta device where the network runs there: fused kernels of a device differ.
    """
    twin, without_values = _on_meta(model, inputs)
    try:
        return _bytes_written(twin, without_values)
    except (NotImplementedError, RuntimeError):
        return _bytes_written(model, inputs)


def _bytes_written(model: nn.Module, inputs: Any) -> int:
    counter = _NewTensors()
    with torch.no_grad(), plain_attention(), counter:
        call(model, inputs)
    return counter.bytes


# ------------------------------------------------------------------ what a plan means


def masked_outputs(model: nn.Module, graph: Any, kept: np.ndarray, inputs: Any) -> list[Tensor]:
    """What the full network computes when nobody reads the removed channels.

    Args:
        model: The network at full width. Not changed.
        graph: Its channel graph; only the unit numbers of weights are used.
        kept: One bool per unit.
        inputs: What to run it on.

    Returns:
        The output tensors of a copy whose convolutions and linear layers ignore every removed
        input channel.
    """
    model = copy.deepcopy(model)
    for prefix, module in model.named_modules():
        if not isinstance(module, (*_CONV, nn.Linear)):
            continue
        name = f"{prefix}.weight" if prefix else "weight"
        slots = graph.slots.get(name)
        dim = 0 if isinstance(module, _TRANSPOSED) else 1
        if slots is None or slots[dim] is None:
            continue
        removed = torch.from_numpy(~kept[slots[dim]])
        with torch.no_grad():
            module.weight.index_fill_(dim, removed.nonzero().flatten(), 0)
    return outputs(model, inputs)


# ------------------------------------------------------------------ which channels belong together


class PoisonedChannels:
    """Ties found by brute force: set one channel to NaN and see who reads a NaN.

    Convolutions and linear layers stop the poison at their door and note which of their input
    channels it came through. A produced channel and every channel it poisons are tied; poison in
    the network's output marks the channel as untouchable. Only modules are watched, so a network
    that calls convolutions as functions is out of reach, and so is one that normalises over
    channels (the poison would reach all of them).

    Args:
        model: The network.
        inputs: What it is called with.
        alike: Names of the weights of grouped convolutions whose groups are all narrowed alike; of
            the others, whole groups are removed.
    """

    def __init__(self, model: nn.Module, inputs: Any, *, alike: Collection[str] = ()) -> None:
        self.alike = alike
        self.model = copy.deepcopy(model)
        self.inputs = inputs
        self.modules = {
            f"{name}.weight" if name else "weight": module
            for name, module in self.model.named_modules()
            if isinstance(module, (*_CONV, nn.Linear))
        }
        self.frozen: set[Node] = set()
        self.ties: list[tuple[Node, Node]] = []
        self._source: Node | None = None
        self._reached: list[tuple[str, int]] = []
        self._called: set[str] = set()
        for name, module in self.modules.items():
            module.register_forward_pre_hook(lambda m, args, n=name: self._stop(n, args))
            module.register_forward_hook(lambda m, args, out, n=name: self._poison(n, out))
        outputs(self.model, self.inputs)
        for name in sorted(self._called):
            self._probe(name)

    @staticmethod
    def _channel_dim(module: nn.Module) -> int:
        return -1 if isinstance(module, nn.Linear) else 1

    def _stop(self, name: str, args: tuple[Tensor, ...]) -> tuple[Tensor, ...]:
        self._called.add(name)
        x = args[0]
        dim = self._channel_dim(self.modules[name])
        bad = x.isnan().movedim(dim, 0).flatten(1).any(1).nonzero().flatten()
        self._reached += [(name, int(j)) for j in bad]
        return (x.nan_to_num(), *args[1:])

    def _poison(self, name: str, out: Tensor) -> Tensor:
        if self._source is None or self._source[0] != name:
            return out
        out = out.clone()
        out.movedim(self._channel_dim(self.modules[name]), 0)[self._source[2]] = float("nan")
        return out

    def _probe(self, name: str) -> None:
        module = self.modules[name]
        transposed, groups = isinstance(module, _TRANSPOSED), getattr(module, "groups", 1)
        width = module.weight.shape[1] * groups if transposed else module.weight.shape[0]
        for i in range(width):
            source = self._out_node(name, i)
            self._source, self._reached = (name, 0, i), []
            finals = outputs(self.model, self.inputs)
            self.ties += [(source, self._in_node(reader, j)) for reader, j in self._reached]
            if any(final.isnan().any() for final in finals if final.is_floating_point()):
                self.frozen.add(source)
        self._source = None
        if groups > 1:
            reads = module.in_channels // groups
            makes = module.out_channels // groups
            if name in self.alike:
                for node, count in ((self._in_node, reads), (self._out_node, makes)):
                    for index in range(groups * count):
                        self.ties.append((node(name, index % count), node(name, index)))
                return
            for group in range(groups):
                inside = [self._in_node(name, group * reads + j) for j in range(reads)]
                inside += [self._out_node(name, group * makes + i) for i in range(makes)]
                self.ties += [(inside[0], other) for other in inside[1:]]

    def _out_node(self, name: str, index: int) -> Node:
        module = self.modules[name]
        if not isinstance(module, _TRANSPOSED):
            return (name, 0, index)
        # The out-channels of a grouped transposed convolution are no dimension of its weight.
        return (name, 1, index) if module.groups == 1 else (name + "/out", 0, index)

    def _in_node(self, name: str, index: int) -> Node:
        module = self.modules[name]
        if isinstance(module, _TRANSPOSED):
            return (name, 0, index)
        if getattr(module, "groups", 1) == 1:
            return (name, 1, index)
        return (name + "/in", 1, index)  # nor are the in-channels of a grouped convolution

    def components(self) -> list[set[Node]]:
        """The sets of channels that belong together."""
        neighbours: dict[Node, set[Node]] = defaultdict(set)
        for a, b in self.ties:
            neighbours[a].add(b)
            neighbours[b].add(a)
        seen: set[Node] = set()
        found = []
        for start in neighbours:
            if start in seen:
                continue
            stack, component = [start], set()
            while stack:
                node = stack.pop()
                if node not in component:
                    component.add(node)
                    stack.extend(neighbours[node])
            seen |= component
            found.append(component)
        return found
