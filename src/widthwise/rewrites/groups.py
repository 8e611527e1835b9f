"""FilterGroups: a convolution becomes one in groups, and a 1x1 convolution that mixes them."""

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
class FilterGroups:
    """Convolutions become one in groups of inputs, as many filters as inputs, and a 1x1.

    Peng, Tan, Li, Zhang, Xie, Pu, "Extreme Network Compression via Filter Group Approximation"
    (ECCV 2018, arXiv:1807.11254). Of every group of inputs the filters are those that come nearest
    to the layer's own weights in the sense of least squares, and the 1x1 convolution puts the
    layer together from them. As a comparator of restoration networks it is trained from scratch.

    Args:
        layers: Paths or globs of convolutions.
        size: Input channels in a group, and filters that read them; divides those of every layer.

    Raises:
        ConfigError: If the size is not positive.
    """

    name: ClassVar[str] = "filter_groups"
    layers: Sequence[str]
    size: int

    def __post_init__(self) -> None:
        object.__setattr__(self, "layers", names(self.layers))
        if self.size < 1:
            raise errors.ConfigError(f"A group has at least 1 channel, got {self.size!r}.")

    def apply(self, model: nn.Module, inputs: Any) -> nn.Module:
        """Return the network with two convolutions in the place of each; ``model`` is not changed.

        Args:
            model: The network, with or without weights.
            inputs: Not looked at.

        Returns:
            A network of the same class that shares no memory with ``model``.

        Raises:
            ConfigError: If a name matches no module, or a module cannot be written so.
        """

        def pair(layer: Convolution) -> nn.Module:
            filters, mix = self._fitted(layer.weight.detach())
            groups = layer.in_channels // self.size
            return nn.Sequential(*two_for(layer, filters, mix, groups=groups))

        return replaced(model, self.name, self.layers, pair, parts_of=self.size)

    def reference(self, model: nn.Module, inputs: Any) -> nn.Module | None:
        """Return None: a group of filters computes less than the layer did."""
        return None

    def to_spec(self) -> dict[str, Any]:
        """Return layers and size."""
        return {"layers": list(self.layers), "size": self.size}

    @classmethod
    def from_spec(cls, spec: Mapping[str, Any]) -> FilterGroups:
        """Build it from what `to_spec` returned."""
        return cls(**spec)

    def _fitted(self, weight: Tensor) -> tuple[Tensor, Tensor]:
        """Return filters ``[in, size, ...]`` and combinations ``[out, in, 1, ...]``."""
        outs, ins, *kernel = weight.shape
        filters = torch.zeros_like(weight[:1, : self.size].expand(ins, -1, *[-1] * len(kernel)))
        mix = weight.new_zeros(outs, ins, *[1] * len(kernel))
        if weight.is_meta:
            return filters, mix
        for first in range(0, ins, self.size):
            group = slice(first, first + self.size)
            flat = weight[:, group].flatten(1).T.double()
            u, s, v = torch.linalg.svd(flat, full_matrices=False)
            # Fewer than `size` are independent where the layer has few outputs.
            count = min(self.size, len(s))
            chosen = slice(first, first + count)
            filters[chosen] = u[:, :count].T.reshape(count, self.size, *kernel).to(weight.dtype)
            mix[:, chosen] = (s[:count] * v[:count].T).reshape(outs, count, *mix.shape[2:]).to(mix)
        return filters, mix
