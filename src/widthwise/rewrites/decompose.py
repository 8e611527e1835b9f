"""Decompose: a convolution becomes two, so that its rank is a width."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import Enum
from typing import Any, ClassVar

import torch
from torch import Tensor, nn

from widthwise import errors
from widthwise.rewrites.convolutions import Convolution, replaced, two_for
from widthwise.rewrites.modules import names
from widthwise.rewrites.registry import register


class Kind(Enum):
    """What the two convolutions start from."""

    IDENTITY = "identity"
    """The first keeps the filters, the second is the identity."""
    SVD = "svd"
    """The first has orthonormal filters, the second weighs them: for a weight ``W`` of shape
    ``[inputs x taps, outputs]`` with ``W = U S V^T``, they hold ``U`` and ``S V^T``."""


@register
@dataclass(frozen=True)
class Decompose:
    """Convolutions become two: filters of the same kernel, then a 1x1 convolution that mixes them.

    The number of filters is the rank of the layer, and an ordinary axis of the network that is
    traced, named ``LAYER.0``: it is planned, searched and cut as every other. Cutting it leaves
    the layer's outputs as they are; the cost falls once it is well below the full rank. Where the
    layer had a bias, the 1x1 convolution has it, so no cut of the rank removes it.

    The idea is that of Li et al., "Group Sparsity: The Hinge Between Filter Pruning and
    Decomposition for Network Compression" (CVPR 2020, arXiv:2003.08935): their attached matrix is
    the 1x1 convolution, its rows are the rank. Both starts are among theirs (``p-identity`` and
    ``svd2``); the decomposition is computed in float64.

    Args:
        layers: Paths or globs of convolutions.
        kind: What the two start from.
        rank: Filters of the first one; all by default, and then the network computes what it did.
            Fewer make another network, the closest of that rank, and need `Kind.SVD`.

    Raises:
        ConfigError: If the rank is not positive, or is asked for without `Kind.SVD`.
    """

    name: ClassVar[str] = "decompose"
    layers: Sequence[str]
    kind: Kind = Kind.IDENTITY
    rank: int | None = None

    def __post_init__(self) -> None:
        object.__setattr__(self, "layers", names(self.layers))
        object.__setattr__(self, "kind", Kind(self.kind))
        if self.rank is not None and (self.rank < 1 or self.kind is not Kind.SVD):
            raise errors.ConfigError(
                f"A rank of {self.rank!r} is not to be had from `{self.kind}`.\n"
                "Why: only singular values say which part of a layer to leave out.\n"
                "Hint: use `Kind.SVD` with a rank of at least 1, or plan the width of `LAYER.0`."
            )

    def apply(self, model: nn.Module, inputs: Any) -> nn.Module:
        """Return the network with two convolutions in the place of each; ``model`` is not changed.

        Args:
            model: The network, with or without weights.
            inputs: Not looked at.

        Returns:
            A network of the same class that shares no memory with ``model``.

        Raises:
            ConfigError: If a name matches no module, or a module cannot be decomposed.
        """

        def pair(layer: Convolution) -> nn.Module:
            return nn.Sequential(*two_for(layer, *self._factors(layer.weight.detach())))

        return replaced(model, self.name, self.layers, pair)

    def reference(self, model: nn.Module, inputs: Any) -> nn.Module | None:
        """Return the network itself, or None where a rank leaves something out."""
        return model if self.rank is None else None

    def to_spec(self) -> dict[str, Any]:
        """Return layers, kind, and the rank if there is one."""
        rank = {} if self.rank is None else {"rank": self.rank}
        return {"layers": list(self.layers), "kind": self.kind.value, **rank}

    @classmethod
    def from_spec(cls, spec: Mapping[str, Any]) -> Decompose:
        """Build it from what `to_spec` returned."""
        return cls(**spec)

    def _factors(self, weight: Tensor) -> tuple[Tensor, Tensor]:
        """Return both weights, of shapes ``[rank, in, ...]`` and ``[out, rank, 1, ...]``."""
        count, ones = len(weight), (1,) * (weight.dim() - 2)
        full = count if self.kind is Kind.IDENTITY else min(count, weight[0].numel())
        rank = min(full, self.rank or full)
        if weight.is_meta:
            return weight.new_empty(rank, *weight.shape[1:]), weight.new_empty(count, rank, *ones)
        if self.kind is Kind.IDENTITY:
            second = torch.eye(count, dtype=weight.dtype, device=weight.device)
            return weight.clone(), second.reshape(count, count, *ones)
        flat = weight.flatten(1).T.double()
        u, s, v = torch.linalg.svd(flat, full_matrices=False)
        first = u[:, :rank].T.reshape(rank, *weight.shape[1:])
        second = (s[:rank, None] * v[:rank]).T.reshape(count, rank, *ones)
        return first.to(weight.dtype).contiguous(), second.to(weight.dtype).contiguous()
