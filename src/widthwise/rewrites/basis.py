"""FilterBasis: a convolution becomes combinations of a few shared, shallow filters."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

import torch
from torch import Tensor, nn

from widthwise import errors
from widthwise.rewrites.convolutions import Convolution, replaced, two_for
from widthwise.rewrites.modules import names
from widthwise.rewrites.registry import register


@register
@dataclass(frozen=True)
class FilterBasis:
    """Convolutions become a basis of filters for a part of their inputs, and a 1x1 convolution.

    The inputs are cut into parts of `depth` channels; every part is convolved with the same
    filters, and a 1x1 convolution combines what comes of all parts. Li, Gu, Van Gool, Timofte,
    "Learning Filter Basis for Convolutional Neural Network Compression" (ICCV 2019,
    arXiv:1908.08932), where basis and combinations are trained from scratch; here they start from
    the layer's own weights: the best basis for them in the sense of least squares.

    With `depth` of all input channels it is `Decompose` with singular values.

    Args:
        layers: Paths or globs of convolutions.
        depth: Input channels that a filter of the basis reads; divides those of every layer.
        count: Filters of the basis; as many as the weights have independent ones by default, and
            then the network computes what it did.

    Raises:
        ConfigError: If a number is not positive.
    """

    name: ClassVar[str] = "filter_basis"
    layers: Sequence[str]
    depth: int
    count: int | None = None

    def __post_init__(self) -> None:
        object.__setattr__(self, "layers", names(self.layers))
        if self.depth < 1 or (self.count is not None and self.count < 1):
            raise errors.ConfigError(
                f"A basis of {self.count} filters of {self.depth} channels is none.\n"
                "Hint: both numbers are at least 1."
            )

    def apply(self, model: nn.Module, inputs: Any) -> nn.Module:
        """Return the network with a basis in the place of each layer; ``model`` is not changed.

        Args:
            model: The network, with or without weights.
            inputs: Not looked at.

        Returns:
            A network of the same class that shares no memory with ``model``.

        Raises:
            ConfigError: If a name matches no module, or a module cannot be written so.
        """

        def pair(layer: Convolution) -> nn.Module:
            return Combined(*two_for(layer, *self._fitted(layer.weight.detach())))

        return replaced(model, self.name, self.layers, pair, parts_of=self.depth)

    def reference(self, model: nn.Module, inputs: Any) -> nn.Module | None:
        """Return the network itself, or None where a smaller basis leaves something out."""
        return model if self.count is None else None

    def to_spec(self) -> dict[str, Any]:
        """Return layers and numbers."""
        count = {} if self.count is None else {"count": self.count}
        return {"layers": list(self.layers), "depth": self.depth, **count}

    @classmethod
    def from_spec(cls, spec: Mapping[str, Any]) -> FilterBasis:
        """Build it from what `to_spec` returned."""
        return cls(**spec)

    def _fitted(self, weight: Tensor) -> tuple[Tensor, Tensor]:
        """Return filters ``[q, depth, ...]`` and combinations ``[out, parts * q, 1, ...]``."""
        outs, ins, *kernel = weight.shape
        parts, ones = ins // self.depth, [1] * len(kernel)
        # Every column is what one output reads of one part: [depth x taps, parts x out].
        flat = weight.reshape(outs, parts, -1).permute(2, 1, 0).flatten(1)
        count = min(*flat.shape, self.count or ins * outs)
        if weight.is_meta:
            return (
                weight.new_empty(count, self.depth, *kernel),
                weight.new_empty(outs, parts * count, *ones),
            )
        u, s, v = torch.linalg.svd(flat.double(), full_matrices=False)
        filters = u[:, :count].T.reshape(count, self.depth, *kernel)
        mix = (s[:count, None] * v[:count]).reshape(count, parts, outs).permute(2, 1, 0)
        return (
            filters.to(weight.dtype).contiguous(),
            mix.reshape(outs, parts * count, *ones).to(weight.dtype).contiguous(),
        )


class Combined(nn.Module):
    """Filters that every part of the input is convolved with, and what combines the results.

    Args:
        basis: Reads the channels of one part.
        mix: A 1x1 convolution over what comes of all parts, part after part.
    """

    def __init__(self, basis: nn.Module, mix: nn.Module) -> None:
        super().__init__()
        self.basis = basis
        self.mix = mix

    def forward(self, x: Tensor) -> Tensor:
        depth = self.get_parameter("basis.weight").shape[1]
        parts = x.shape[1] // depth
        out: Tensor = self.basis(x.reshape(x.shape[0] * parts, depth, *x.shape[2:]))
        mixed: Tensor = self.mix(out.reshape(x.shape[0], -1, *out.shape[2:]))
        return mixed
