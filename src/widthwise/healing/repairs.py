"""How a layer of each kind is repaired, from what it reads and what it should put out."""

from __future__ import annotations

from dataclasses import dataclass, field

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from widthwise.healing.moments import Affine, Moments, best
from widthwise.healing.pairs import Norm, Visit

_CONVOLUTIONS = (nn.Conv1d, nn.Conv2d)
_NORMS = (nn.LayerNorm, nn.GroupNorm, nn.modules.instancenorm._InstanceNorm)
KINDS = (*_CONVOLUTIONS, nn.Linear, Norm, *_NORMS)
"""The layers that can be repaired."""
_POSITIONS = 64
"""Places of a map that are looked at, of each image."""
_LARGEST = 6_000
"""Most inputs of an output that are fitted together: the memory grows with their square."""
_NOTHING = float("nan"), float("nan")


@dataclass
class Weights:
    """A convolution or linear layer: fit its weights and its bias.

    Attributes:
        layer: Of the narrow network; changed in place.
        norm: The batch normalisation that reads its outputs, if one does: it takes the constant
            away, and its statistics are corrected with the weights.
    """

    layer: nn.Module
    norm: Norm | None
    what: str = "weights"

    def __post_init__(self) -> None:
        constant = self.norm is not None or _bias(self.layer) is not None
        self._train, self._held_out = (Moments(constant=constant) for _ in range(2))

    def reason_not_to(self) -> str | None:
        """Say why this layer stays as it is; None if nothing stands in the way."""
        if hasattr(self.layer, "parametrizations"):
            return "weights are computed by a parametrization"
        if self.layer.get_parameter("weight")[0].numel() > _LARGEST:
            return f"reads more than {_LARGEST:,} numbers"
        return None

    def add(self, held_out: bool, target: Tensor, narrow: Visit, rows: Tensor) -> None:
        """Take in one call."""
        moments = self._held_out if held_out else self._train
        moments.add(*_read_and_made(self.layer, narrow.given, target, rows))

    @property
    def is_checked(self) -> bool:
        """Whether some inputs were held out."""
        return self._held_out.count > 0 < self._train.count

    def apply(self) -> tuple[float, float]:
        """Repair the layer, and return its relative error before and after."""
        weight, bias = self.layer.get_parameter("weight"), _bias(self.layer)
        groups = getattr(self.layer, "groups", 1)
        prior = Affine(
            weight.detach().double().reshape(groups, weight.shape[0] // groups, -1),
            None if bias is None else bias.detach().double().reshape(groups, -1),
        )
        chosen, before, after = best(self._train, self._held_out, prior)
        with torch.no_grad():
            weight.copy_(chosen.weight.reshape(weight.shape))
            if bias is not None and chosen.bias is not None:
                bias.copy_(chosen.bias.reshape(-1))
        if self.norm is not None:
            _correct(self.norm, *self._train.outputs(chosen))
        spread = self._held_out.spread() or 1.0
        return (before / spread) ** 0.5, (after / spread) ** 0.5


def _bias(layer: nn.Module) -> Tensor | None:
    bias = getattr(layer, "bias", None)
    return bias if isinstance(bias, Tensor) else None


def _read_and_made(
    layer: nn.Module, given: Tensor, target: Tensor, kept: Tensor
) -> tuple[Tensor, Tensor]:
    """Return what outputs are computed of, ``[groups, n, d]``, and what they should be."""
    if isinstance(layer, nn.Linear):
        return given.reshape(1, -1, given.shape[-1]), target[..., kept].reshape(1, -1, len(kept))
    assert isinstance(layer, _CONVOLUTIONS)
    flat = given.dim() == layer.weight.dim() - 1
    x, y = (given.unsqueeze(0), target.unsqueeze(0)) if flat else (given, target)
    if isinstance(layer, nn.Conv1d):
        x, y = x.unsqueeze(2), y.unsqueeze(2)
    return _patches(layer, x, y.shape[-2:]), _targets(layer, y[:, kept])


def _places(height: int, width: int) -> Tensor:
    """Choose positions of a map, the same ones every time, spread evenly."""
    count = height * width
    if count <= _POSITIONS:
        return torch.arange(count)
    generator = torch.Generator().manual_seed(count)
    return torch.randperm(count, generator=generator)[:_POSITIONS]


def _targets(layer: nn.Conv1d | nn.Conv2d, y: Tensor) -> Tensor:
    chosen = y.flatten(2)[..., _places(*y.shape[-2:]).to(y.device)]
    parts = chosen.unflatten(1, (layer.groups, -1))
    return parts.permute(1, 0, 3, 2).flatten(1, 2)


def _patches(layer: nn.Conv1d | nn.Conv2d, x: Tensor, size: torch.Size) -> Tensor:
    pad = list(layer._reversed_padding_repeated_twice)
    mode = "constant" if layer.padding_mode == "zeros" else layer.padding_mode
    x = F.pad(x, pad + [0, 0] * (4 - len(pad) // 2 - 2), mode) if any(pad) else x
    kernel, stride, dilation = (
        (1, *each) if len(each) == 1 else tuple(each)
        for each in (layer.kernel_size, layer.stride, layer.dilation)
    )
    places = _places(*size).to(x.device)
    rows, columns = places // size[1] * stride[0], places % size[1] * stride[1]
    taps = [
        x[:, :, rows + i * dilation[0], columns + j * dilation[1]]
        for i in range(kernel[0])
        for j in range(kernel[1])
    ]
    # [n, channels, places, taps] -> [groups, n * places, channels of a group * taps]
    patches = torch.stack(taps, -1).unflatten(1, (layer.groups, -1))
    return patches.permute(1, 0, 3, 2, 4).flatten(3).flatten(1, 2)


def _correct(norm: Norm, mean: Tensor, var: Tensor, new_mean: Tensor, new_var: Tensor) -> None:
    """Change statistics as much as mean and variance of what a normalisation reads have changed."""
    assert norm.running_mean is not None and norm.running_var is not None
    ratio = (new_var.clamp_min(0) + norm.eps) / (var.clamp_min(0) + norm.eps)
    with torch.no_grad():
        norm.running_mean.add_((new_mean - mean).to(norm.running_mean))
        norm.running_var.mul_(ratio.to(norm.running_var))


@dataclass
class Statistics:
    """A batch normalisation: correct its running statistics by how its inputs have changed.

    They are corrected and not replaced: a few inputs tell how two networks differ, but not what
    the network was trained on.
    """

    layer: Norm
    what: str = "statistics"
    is_checked: bool = True
    """Nothing is fitted, so that no inputs need to be held out."""
    _sums: list[Tensor] = field(default_factory=list)

    def reason_not_to(self) -> str | None:
        """Say why this layer stays as it is."""
        return None if self.layer.track_running_stats else "keeps no statistics"

    def add(self, held_out: bool, wide: Tensor, narrow: Visit, rows: Tensor) -> None:
        """Take in one call; `wide` is what the full network's layer reads."""
        found = []
        for x in (wide[:, rows], narrow.given):
            x = x.transpose(0, 1).flatten(1).double()
            found += [torch.full((), x.shape[1]), x.sum(1), x.square().sum(1)]
        known = self._sums or [torch.zeros_like(each) for each in found]
        self._sums = [a + b for a, b in zip(known, found, strict=True)]

    def apply(self) -> tuple[float, float]:
        """Repair the layer; there is no error to return."""
        count, wide, wide_squares, narrow_count, narrow, narrow_squares = self._sums
        mean, narrow_mean = wide / count, narrow / narrow_count
        var = wide_squares / count - mean.square()
        narrow_var = narrow_squares / narrow_count - narrow_mean.square()
        _correct(self.layer, mean, var, narrow_mean, narrow_var)
        return _NOTHING


@dataclass
class ScaleAndShift:
    """A normalisation without statistics: fit its gain and bias, channel by channel."""

    layer: nn.Module
    what: str = "scale and shift"
    _train: Moments = field(default_factory=Moments)
    _held_out: Moments = field(default_factory=Moments)

    def reason_not_to(self) -> str | None:
        """Say why this layer stays as it is."""
        weight = getattr(self.layer, "weight", None)
        if weight is None or _bias(self.layer) is None:
            return "has no gain and bias"
        return None if weight.dim() == 1 else "normalises over more than channels"

    def add(self, held_out: bool, target: Tensor, narrow: Visit, rows: Tensor) -> None:
        """Take in one call."""
        dim = -1 if isinstance(self.layer, nn.LayerNorm) else 1
        x = narrow.made.movedim(dim, 0).flatten(1).unsqueeze(2)
        y = target.movedim(dim, 0)[rows].flatten(1).unsqueeze(2)
        (self._held_out if held_out else self._train).add(x, y)

    @property
    def is_checked(self) -> bool:
        """Whether some inputs were held out."""
        return self._held_out.count > 0 < self._train.count

    def apply(self) -> tuple[float, float]:
        """Repair the layer, and return its relative error before and after."""
        weight, bias = self.layer.get_parameter("weight"), _bias(self.layer)
        one = torch.ones(len(weight), 1, 1, dtype=torch.float64, device=weight.device)
        prior = Affine(one, torch.zeros_like(one[..., 0]))
        chosen, before, after = best(self._train, self._held_out, prior)
        with torch.no_grad():
            scale, shift = chosen.weight.flatten(), chosen.bias
            assert shift is not None and bias is not None
            bias.copy_(bias.double() * scale + shift.flatten())
            weight.copy_(weight.double() * scale)
        spread = self._held_out.spread() or 1.0
        return (before / spread) ** 0.5, (after / spread) ** 0.5


Repair = Weights | Statistics | ScaleAndShift


def repair_of(layer: nn.Module, norm: Norm | None) -> Repair:
    """Return how a layer is repaired.

    Args:
        layer: Of the narrow network.
        norm: The batch normalisation that reads its outputs, if one does.

    Returns:
        The repair, with nothing taken in yet.
    """
    if isinstance(layer, Norm):
        return Statistics(layer)
    if isinstance(layer, _NORMS):
        return ScaleAndShift(layer)
    return Weights(layer, norm)
