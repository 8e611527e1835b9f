"""How a layer of each kind is repaired, from what it reads and what it should put out."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from widthwise.healing.moments import Affine, Moments, best
from widthwise.healing.pairs import Pair
from widthwise.healing.product import CONVOLUTIONS
from widthwise.healing.route import Fate, Norm
from widthwise.healing.weights import Weights

NORMS = (nn.LayerNorm, nn.GroupNorm, nn.modules.instancenorm._InstanceNorm)
KINDS = (*CONVOLUTIONS, nn.Linear, Norm, *NORMS)
"""The layers that can be repaired."""
_NOTHING = float("nan"), float("nan")


def _correct(norm: Norm, mean: Tensor, var: Tensor, new_mean: Tensor, new_var: Tensor) -> None:
    """Change statistics as much as mean and variance of what a normalisation reads have changed."""
    assert norm.running_mean is not None and norm.running_var is not None
    ratio = (new_var.clamp_min(0) + norm.eps) / (var.clamp_min(0) + norm.eps)
    with torch.no_grad():
        norm.running_mean.add_((new_mean - mean).to(norm.running_mean))
        norm.running_var.mul_(ratio.to(norm.running_var))


@dataclass(frozen=True)
class Statistics:
    """A batch normalisation: correct its running statistics by how its inputs have changed.

    They are corrected and not replaced: a few inputs tell how two networks differ, but not what
    the network was trained on.
    """

    layer: Norm
    what: str = "statistics"

    def reason_not_to(self) -> str | None:
        """Say why this layer stays as it is."""
        return None if self.layer.track_running_stats else "keeps no statistics"

    def apply(self, pairs: Iterable[Pair], kept: Tensor) -> tuple[float, float]:
        """Repair the layer; there is no error to return."""
        count = 0
        sums = [torch.zeros(())] * 4
        for pair in pairs:
            found = []
            for x in (pair.wide.given.index_select(1, kept), pair.narrow.given):
                x = x.transpose(0, 1).flatten(1).double()
                found += [x.sum(1), x.square().sum(1)]
            count += x.shape[1]
            sums = [known + new for known, new in zip(sums, found, strict=True)]
        mean, square, new_mean, new_square = (each / count for each in sums)
        _correct(self.layer, mean, square - mean.square(), new_mean, new_square - new_mean.square())
        return _NOTHING


def channel_dim(norm: nn.Module, given: Tensor) -> int | None:
    """Find the dim over which a normalisation without statistics has gains.

    Args:
        norm: The layer; classes derived from ``nn.LayerNorm`` may have channels in front.
        given: What it reads.

    Returns:
        The dim; None if the layer does something else.
    """
    if not isinstance(norm, nn.LayerNorm):
        return 1
    if type(norm).forward is nn.LayerNorm.forward:
        return -1
    with torch.no_grad():
        made = norm.forward(given)
        for dim in (-1, 1):
            x = given.movedim(dim, -1)
            if list(x.shape[-1:]) != list(norm.normalized_shape):
                continue
            expected = F.layer_norm(x, norm.normalized_shape, norm.weight, norm.bias, norm.eps)
            if torch.allclose(made, expected.movedim(-1, dim), rtol=1e-3, atol=1e-4):
                return dim
    return None


@dataclass(frozen=True)
class ScaleAndShift:
    """A normalisation without statistics: fit its gain and bias, channel by channel."""

    layer: nn.Module
    what: str = "scale and shift"

    def reason_not_to(self) -> str | None:
        """Say why this layer stays as it is."""
        weight, bias = (getattr(self.layer, name, None) for name in ("weight", "bias"))
        if not isinstance(weight, nn.Parameter) or not isinstance(bias, nn.Parameter):
            return "has no gain and bias"
        return None if weight.dim() == 1 else "normalises over more than channels"

    def apply(self, pairs: Iterable[Pair], kept: Tensor) -> tuple[float, float] | None:
        """Repair the layer, and return its relative error before and after."""
        weight, bias = (self.layer.get_parameter(name) for name in ("weight", "bias"))
        sums = {held_out: Moments() for held_out in (False, True)}
        for pair in pairs:
            assert pair.wide.made is not None
            with torch.no_grad():
                made = self.layer.forward(pair.narrow.given)
            dim = channel_dim(self.layer, pair.narrow.given)
            if dim is None:
                return None
            target = pair.wide.made.movedim(dim, 0)[kept]
            sums[pair.held_out].add(
                made.movedim(dim, 0).flatten(1).unsqueeze(2), target.flatten(1).unsqueeze(2)
            )
        if not sums[False].count or not sums[True].count:
            return None
        one = torch.ones(len(weight), 1, 1, dtype=torch.float64, device=weight.device)
        prior = Affine(one, torch.zeros_like(one[..., 0]))
        chosen, before, after = best(sums[False], sums[True], prior)
        with torch.no_grad():
            scale, shift = chosen.weight.flatten(), chosen.bias
            assert shift is not None
            bias.copy_(bias.double() * scale + shift.flatten())
            weight.copy_(weight.double() * scale)
        spread = sums[True].spread() or 1.0
        return (before / spread) ** 0.5, (after / spread) ** 0.5


Repair = Weights | Statistics | ScaleAndShift


def repair_of(layer: nn.Module, norm: Norm | None, fate: Fate, inputs: int) -> Repair:
    """Return how a layer is repaired.

    Args:
        layer: Of the narrow network.
        norm: The batch normalisation that reads its outputs, if one does.
        fate: What becomes of its outputs.
        inputs: How many inputs there are.

    Returns:
        The repair.
    """
    if isinstance(layer, Norm):
        return Statistics(layer)
    if isinstance(layer, NORMS):
        return ScaleAndShift(layer)
    return Weights(layer, norm, fate.clip, inputs)
