"""The hypernetwork of DHP: weights generated from latents, all layers of one kernel size at once.

Shape letters: ``p`` pairs of (first-dim index, second-dim index) of all weights in a group,
``m`` embedding dim, ``k`` kernel taps (9 for 3x3), ``u`` units of the network.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from threading import get_ident
from typing import Self, cast

import numpy as np
import torch
from torch import Tensor, nn

from widthwise.arguments import is_sharded
from widthwise.errors import SearchError
from widthwise.search.handles.generation import generate


@dataclass(frozen=True, kw_only=True)
class GeneratedLayer:
    """One weight tensor to generate."""

    name: str
    """Name of the weight in the network, such as ``"layer1.0.conv1.weight"``."""
    shape: tuple[int, ...]
    """Its shape; the dims after the second are the kernel."""
    rows: np.ndarray
    """Latent of every index of the first dim, int64; numbers from ``u`` on are private latents."""
    columns: np.ndarray
    """Latent of every index of the second dim, int64."""
    fan_in: int
    """Input channels that one output channel reads: fixes the variance of the generated weight."""
    std: float | None = None
    """Standard deviation that the generated weight starts with instead, and with it steps that are
    not made longer by the embedding; None for the paper's start."""

    @property
    def taps(self) -> int:
        return math.prod(self.shape[2:])

    @property
    def pairs(self) -> int:
        return self.shape[0] * self.shape[1]


class PairGroup(nn.Module):
    """The hypernetwork parameters of all layers with the same number of kernel taps.

    Args:
        layers: The layers, in the order in which their pairs are stored.
        embedding_dim: Length ``m`` of the embedding of a pair.
        generator: Source of the initial values, on the CPU.
    """

    def __init__(
        self, layers: Sequence[GeneratedLayer], *, embedding_dim: int, generator: torch.Generator
    ) -> None:
        super().__init__()
        self.shapes = [layer.shape for layer in layers]
        self.sizes = [layer.pairs for layer in layers]
        self.starts = [0, *np.cumsum(self.sizes).tolist()]
        pairs, taps = self.starts[-1], layers[0].taps
        # Plain tensors, not buffers: a buffer would be sent over the network by DDP every forward.
        self._latents_of = [(_numbers(x.rows), _numbers(x.columns)) for x in layers]

        bound = torch.cat(
            [_full((x.pairs,), math.sqrt(3 / (embedding_dim * x.fan_in * taps))) for x in layers]
        )
        self.b0 = nn.Parameter(_full((pairs,)))
        w1 = _uniform(pairs, embedding_dim, generator=generator).T
        self.w1 = nn.Parameter((w1 * math.sqrt(3)).contiguous())
        self.b1 = nn.Parameter(_full((embedding_dim, pairs)))
        w2 = _uniform(pairs, embedding_dim, taps, generator=generator).permute(1, 2, 0)
        self.w2 = nn.Parameter((w2 * bound).contiguous())
        self.b2 = nn.Parameter(_full((taps, pairs)))

    def forward(self, latents: Tensor) -> list[Tensor]:
        """Generate every weight of the group from all latents, shape ``[u + private]``."""
        b0 = self.b0.split(self.sizes)
        pair = torch.cat([self._pair(latents, each, position) for position, each in enumerate(b0)])
        taps = generate(pair, self.w1, self.b1, self.w2, self.b2)
        # Not slicing: the backward of every slice would fill a whole [k, p] tensor.
        parts = taps.split(self.sizes, 1)
        return [self._as_weight(part, position) for position, part in enumerate(parts)]

    def one(self, latents: Tensor, position: int) -> Tensor:
        """Generate the weight of one layer alone."""
        here = slice(self.starts[position], self.starts[position + 1])
        taps = generate(
            self._pair(latents, self.b0[here], position),
            self.w1[:, here], self.b1[:, here], self.w2[..., here], self.b2[:, here],
        )  # fmt: skip
        return self._as_weight(taps, position)

    def _as_weight(self, taps: Tensor, position: int) -> Tensor:
        """See ``[k, p]`` taps in the shape of a weight."""
        first, second, *kernel = self.shapes[position]
        return taps.reshape(*kernel, first, second).movedim((-2, -1), (0, 1))

    def _pair(self, latents: Tensor, b0: Tensor, position: int) -> Tensor:
        """Compute the first layer of one weight, ``z_a z_b + b0``, shape ``[p]``."""
        rows, columns = self._latents_of[position]
        if rows.device != latents.device:
            rows, columns = rows.to(latents.device), columns.to(latents.device)
            self._latents_of[position] = rows, columns
        first, second = latents.index_select(0, rows), latents.index_select(0, columns)
        # As an outer product: every latent is in as many pairs as the other dim is long.
        return torch.addr(b0.view(len(rows), len(columns)), first, second).flatten()

    @torch.no_grad()
    def start_at(self, std: float, latents: Tensor, position: int) -> None:
        """Give the weight of one layer another standard deviation, and shorten its steps.

        A step of length one in the kernels of a pair moves what is generated by the squared length
        of its embedding, which is ``m`` in the paper; here it becomes 1.
        """
        here = slice(self.starts[position], self.starts[position + 1])
        length = math.sqrt(len(self.w1))
        self.w2[..., here] *= length * std / self.one(latents, position).std()
        self.w1[:, here] /= length


_HALVES = (torch.float16, torch.bfloat16)


def _thread() -> int:
    # Compiled code cannot ask, and would break into pieces.
    return 0 if torch.compiler.is_compiling() else get_ident()


@dataclass(frozen=True)
class _Held:
    """The weights of one forward pass, and the state of the parameters they were generated from."""

    weights: dict[str, list[Tensor]]
    state: tuple[tuple[int, int], ...]


class Hypernetwork(nn.Module):
    """Latents, and the generators of all weights.

    Args:
        layers: What to generate.
        unit_count: Units of the network.
        private_count: Latents beyond the units: indices of weight dims that belong to no unit,
            such as the one input channel of a depth-wise convolution. They are trained, never
            regularised, and no plan can remove them.
        embedding_dim: Length ``m`` of the embedding of a pair.
        seed: Seed of the initial values, which do not depend on the device. The global random
            state is neither read nor advanced.
        device: Where the parameters live.
        dtype: Their dtype, and that of what is generated; 32 bits where it has fewer.
    """

    def __init__(
        self,
        layers: Sequence[GeneratedLayer],
        *,
        unit_count: int,
        private_count: int,
        embedding_dim: int,
        seed: int,
        device: torch.device,
        dtype: torch.dtype,
    ) -> None:
        super().__init__()
        generator = torch.Generator("cpu").manual_seed(seed)
        self.latents = nn.Parameter(_normal(unit_count, generator=generator))
        self.private: nn.Parameter | None = None
        if private_count:
            self.private = nn.Parameter(_normal(private_count, generator=generator))
        by_taps: dict[int, list[GeneratedLayer]] = {}
        self._place: list[tuple[str, int]] = []
        for layer in layers:
            same = by_taps.setdefault(layer.taps, [])
            self._place.append((f"taps{layer.taps}", len(same)))
            same.append(layer)
        self.groups = nn.ModuleDict(
            {
                f"taps{taps}": PairGroup(same, embedding_dim=embedding_dim, generator=generator)
                for taps, same in by_taps.items()
            }
        )
        for layer, (group, position) in zip(layers, self._place, strict=True):
            if layer.std is not None:
                start_at = cast(PairGroup, self.groups[group]).start_at
                start_at(layer.std, self._all_latents(), position)
        self.to(device=device, dtype=dtype)
        self._held: dict[int, _Held] = {}
        """By thread: forward passes may run side by side."""

    def _apply(self, fn: Callable[[Tensor], Tensor], recurse: bool = True) -> Self:
        """Move and convert as any module, but never to fewer than 32 bits."""

        # A step moves a latent by a few millionths: with 16 bits it would stay where it is.
        def precise(tensor: Tensor) -> Tensor:
            new = fn(tensor)
            return tensor.to(new.device) if new.dtype in _HALVES else new

        return super()._apply(precise, recurse)

    def weight(self, index: int) -> Tensor:
        """The weight of layer ``index``: the one generated for this forward pass, or a new one."""
        group, position = self._place[index]
        held = self._held.get(_thread())
        # A pass that Ctrl-C broke off leaves its weights behind, and they grow old.
        if held is not None and held.state == self._state():
            return held.weights[group][position]
        # Activation checkpointing recomputes a part of the forward pass and counts what autograd
        # saves; the original pass found the weight ready and saved nothing for it.
        with torch.autograd.graph.saved_tensors_hooks(_same, _same):
            return cast(PairGroup, self.groups[group]).one(self._all_latents(), position)

    def hold(self, module: nn.Module, args: object) -> None:
        """Forward pre-hook of the network: generate every weight once."""
        if is_sharded(self.latents):
            raise SearchError(
                "The latents of the search are sharded while the network runs.\n"
                "Why: they are needed as a whole from its first layer to its last, and a block "
                "that is sharded by itself has its parameters whole only while it runs.\n"
                "Hint: shard the whole network at once, `fully_shard(model)`, or its other blocks: "
                "the latents are kept in the first layer that is searched."
            )
        latents = self._all_latents()
        weights = {name: group(latents) for name, group in self.groups.items()}
        self._held[_thread()] = _Held(weights, self._state())

    def release(self, module: nn.Module, args: object, output: object) -> None:
        """Forward hook of the network: forget the generated weights."""
        self._held.pop(_thread(), None)

    def _state(self) -> tuple[tuple[int, int], ...]:
        """Describe the parameters such that any change of them shows; not in compiled code."""
        if torch.compiler.is_compiling():
            return ()
        return tuple((id(each), each._version) for each in self.parameters())

    def _all_latents(self) -> Tensor:
        return self.latents if self.private is None else torch.cat([self.latents, self.private])


# Everything is drawn on the CPU, so that the seed alone decides it. Without the device said, these
# functions follow `torch.set_default_device`, and then refuse a generator of the CPU.
def _uniform(*shape: int, generator: torch.Generator) -> Tensor:
    return torch.empty(shape, device="cpu").uniform_(-1, 1, generator=generator)


def _normal(count: int, *, generator: torch.Generator) -> Tensor:
    return torch.randn(count, generator=generator, device="cpu")


def _full(shape: tuple[int, ...], value: float = 0.0) -> Tensor:
    return torch.full(shape, value, device="cpu")


def _numbers(units: np.ndarray) -> Tensor:
    return torch.from_numpy(units.astype(np.int64))


def _same(tensor: Tensor) -> Tensor:
    return tensor
