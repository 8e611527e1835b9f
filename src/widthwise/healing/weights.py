"""Fit the weights of a convolution or a linear layer to what the full network's layer puts out."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property

import torch
from torch import Tensor, nn

from widthwise.healing.moments import Affine, Moments, best
from widthwise.healing.pairs import Pair
from widthwise.healing.route import Norm
from widthwise.healing.rows import rows_made, rows_read

_PLACES = 64
"""Most places of a map that are looked at, of each image."""
_ROWS, _ROWS_PER_INPUT = 32_000, 8
"""Rows to fit to: this many, or so many times as many as numbers that an output is computed of."""
_LARGEST = 6_000
"""Most inputs of an output that are fitted together: the memory grows with their square."""
_AT_ONCE = 32_000_000
"""Numbers that are read at a time."""
_ROUNDS = 2
"""How often targets beyond the bounds of a clip are moved to where the outputs are."""
_BLIND = 1e-3
"""A normalisation of a smaller gain hides the layer: nothing that is added is made up for."""


@dataclass(frozen=True)
class _Rows:
    """What a layer reads, what it should put out, and what is added behind the normalisation."""

    held_out: bool
    x: Tensor
    y: Tensor
    added: Tensor | float


@dataclass(frozen=True)
class Weights:
    """A convolution or linear layer, with what reads its outputs.

    Attributes:
        layer: Of the narrow network; changed in place.
        norm: The batch normalisation that reads its outputs, if one does.
        clip: Bounds to which what comes of them is set then, as by ``relu``; what is beyond in both
            networks needs no fit.
        inputs: How many inputs there are.
    """

    layer: nn.Module
    norm: Norm | None
    clip: tuple[float, float] | None
    inputs: int
    what: str = "weights"

    def reason_not_to(self) -> str | None:
        """Say why this layer stays as it is; None if nothing stands in the way."""
        if hasattr(self.layer, "parametrizations"):
            return "weights are computed by a parametrization"
        if self.layer.get_parameter("weight")[0].numel() > _LARGEST:
            return f"reads more than {_LARGEST:,} numbers"
        return None

    def apply(self, pairs: Iterable[Pair], kept: Tensor) -> tuple[float, float] | None:
        """Repair the layer.

        Args:
            pairs: Of its calls.
            kept: Which of the full network's outputs it has.

        Returns:
            The relative error of what comes of its outputs, before and after, on inputs that
            nothing was fitted to; None if there are too few to hold some out.
        """
        prior = self._as_it_is()
        sums = {held_out: Moments(constant=prior.bias is not None) for held_out in (False, True)}
        for rows in self._rows(pairs, kept):
            sums[rows.held_out].add(rows.x, rows.y)
        if not sums[False].count or not sums[True].count:
            return None
        importance = self._gain[:, 0].square().double()
        chosen, before, after = best(sums[False], sums[True], prior, importance)
        spread = sums[True].spread(importance)
        if self.clip is not None:
            chosen, (before, after, spread) = self._clipped(pairs, kept, sums, [prior, chosen])
        self._become(chosen)
        return (before / (spread or 1.0)) ** 0.5, (after / (spread or 1.0)) ** 0.5

    def _as_it_is(self) -> Affine:
        weight, bias = self.layer.get_parameter("weight").detach(), self._bias
        groups = getattr(self.layer, "groups", 1)
        flat = weight.double().reshape(groups, weight.shape[0] // groups, -1)
        if bias is not None:
            return Affine(flat, bias.detach().double().reshape(groups, -1))
        # The normalisation can take any constant in.
        return Affine(flat, None if self.norm is None else torch.zeros_like(flat[..., 0]))

    @property
    def _bias(self) -> Tensor | None:
        bias = getattr(self.layer, "bias", None)
        return bias if isinstance(bias, Tensor) else None

    def _become(self, chosen: Affine) -> None:
        weight, bias = self.layer.get_parameter("weight"), self._bias
        with torch.no_grad():
            weight.copy_(chosen.weight.reshape(weight.shape))
            if chosen.bias is None:
                return
            if bias is not None:
                bias.copy_(chosen.bias.reshape(-1))
            elif self.norm is not None and self.norm.running_mean is not None:
                self.norm.running_mean.sub_(chosen.bias.reshape(-1).to(self.norm.running_mean))

    @cached_property
    def _gain(self) -> Tensor:
        """Factor of the normalisation, shape ``[groups, 1, outputs of a group]``."""
        return self._per_output(self._scale_and_shift[0])

    @cached_property
    def _shift(self) -> Tensor:
        return self._per_output(self._scale_and_shift[1])

    @cached_property
    def _scale_and_shift(self) -> tuple[Tensor, Tensor]:
        norm, count = self.norm, len(self.layer.get_parameter("weight"))
        device = self.layer.get_parameter("weight").device
        if norm is None:
            return torch.ones(count, device=device), torch.zeros(count, device=device)
        assert norm.running_mean is not None and norm.running_var is not None
        gain = (norm.running_var.detach().float() + norm.eps).rsqrt()
        gain = gain if norm.weight is None else gain * norm.weight.detach()
        shift = -norm.running_mean.detach() * gain
        return gain, shift if norm.bias is None else shift + norm.bias.detach()

    def _per_output(self, values: Tensor) -> Tensor:
        return values.float().reshape(getattr(self.layer, "groups", 1), 1, -1)

    def _rows(self, pairs: Iterable[Pair], kept: Tensor) -> Iterator[_Rows]:
        reads = self.layer.get_parameter("weight")[0].numel()
        wanted = max(_ROWS, _ROWS_PER_INPUT * reads)
        places = min(_PLACES, math.ceil(wanted / self.inputs))
        groups = getattr(self.layer, "groups", 1)
        size = max(1, _AT_ONCE // (reads * groups * places))
        dim = (
            -1
            if isinstance(self.layer, nn.Linear)
            else 1 - self.layer.get_parameter("weight").dim()
        )
        for pair in pairs:
            for start in range(0, pair.wide.given.shape[0], size):
                which = slice(start, start + size)
                wide, narrow = pair.wide.part(which), pair.narrow.part(which)
                assert wide.made is not None
                made = wide.made.index_select(dim, kept)
                x = rows_read(self.layer, narrow.given, made.shape, places)
                y = rows_made(self.layer, made, places)
                added: Tensor | float = 0.0
                if wide.added is not None and narrow.added is not None:
                    added = rows_made(self.layer, narrow.added, places)
                    own = wide.added.index_select(dim, kept)
                    missing = rows_made(self.layer, own, places) - added
                    blind = self._gain.abs() < _BLIND
                    y = y + torch.where(blind, 0.0, missing / self._gain)
                yield _Rows(pair.held_out, x, y, added)

    def _clipped(
        self,
        pairs: Iterable[Pair],
        kept: Tensor,
        sums: Mapping[bool, Moments],
        layers: Sequence[Affine],
    ) -> tuple[Affine, tuple[float, float, float]]:
        """Fit again, to what is left of the targets when all beyond the bounds is one.

        Args:
            pairs: Of the calls.
            kept: Which of the full network's outputs the layer has.
            sums: Of what it reads.
            layers: The layer as it is, and as fitted to all.

        Returns:
            The best layer; mean square errors behind the clip, of the layer as it was and of the
            best, and the variance there.
        """
        importance = self._gain[:, 0].square().double()
        *errors, spread = self._errors(pairs, kept, layers)
        chosen, least = min(zip(layers, errors, strict=True), key=lambda found: found[1])
        for _ in range(_ROUNDS):
            moved = {held_out: found.without_targets() for held_out, found in sums.items()}
            for rows in self._rows(pairs, kept):
                moved[rows.held_out].add_targets(rows.x, self._moved(rows, chosen))
            candidate, _, _ = best(moved[False], moved[True], chosen, importance)
            error, _ = self._errors(pairs, kept, [candidate])
            if error >= least:
                break
            chosen, least = candidate, error
        return chosen, (errors[0], least, spread)

    def _moved(self, rows: _Rows, layer: Affine) -> Tensor:
        """Return targets that miss nothing where they and the outputs are beyond the same bound."""
        assert self.clip is not None
        low, high = self.clip
        target, found = (self._behind(y, rows.added) for y in (rows.y, _made(layer, rows.x)))
        wanted = torch.where(target <= low, found.clamp(max=low), target)
        wanted = torch.where(target >= high, found.clamp(min=high), wanted)
        blind = self._gain.abs() < _BLIND
        return rows.y + torch.where(blind, 0.0, (wanted - target) / self._gain)

    def _behind(self, y: Tensor, added: Tensor | float) -> Tensor:
        """Return what comes of outputs in front of the clip."""
        return y.float() * self._gain + self._shift + added

    def _errors(self, pairs: Iterable[Pair], kept: Tensor, layers: Sequence[Affine]) -> list[float]:
        """Return the mean square error of layers behind the clip, then the variance there."""
        assert self.clip is not None
        low, high = self.clip
        count, first, second = 0, torch.zeros(()), torch.zeros(())
        missed = [0.0] * len(layers)
        for rows in self._rows((pair for pair in pairs if pair.held_out), kept):
            target = self._behind(rows.y, rows.added).clamp(low, high)
            count += target.shape[1]
            first = first + target.sum(1).double()
            second = second + target.square().sum(1).double()
            for number, layer in enumerate(layers):
                found = self._behind(_made(layer, rows.x), rows.added).clamp(low, high)
                missed[number] += float((found - target).square().mean((0, 2)).sum())
        variance = (second / count - (first / count).square()).clamp_min(0).mean()
        return [*(each / count for each in missed), float(variance)]


def _made(layer: Affine, x: Tensor) -> Tensor:
    made = x.float() @ layer.weight.float().transpose(1, 2)
    return made if layer.bias is None else made + layer.bias.float().unsqueeze(1)
