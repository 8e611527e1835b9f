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
from widthwise.healing.product import product_of
from widthwise.healing.route import Norm
from widthwise.healing.rows import rows_made, rows_read
from widthwise.healing.running import Visit

_PLACES = 64
"""Most places of a map that are looked at, of each image."""
_ROWS, _ROWS_PER_INPUT = 32_000, 8
"""Rows to fit to: this many, or so many times as many as numbers that an output is computed of."""
_LARGEST = 6_000
"""Most inputs of an output that are fitted together: the memory grows with their square."""
_AT_ONCE = 32_000_000
"""Numbers that are read at a time."""
_KEPT = 200_000_000
"""Numbers that are kept; of more, fewer places of a map are looked at, or all is read anew."""
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
        if "weight" not in self.layer._parameters:
            return "its weights are computed"
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
        every = _Read(self, pairs, kept)
        for rows in every:
            sums[rows.held_out].add(rows.x, rows.y)
        if not sums[False].count or not sums[True].count:
            return None
        importance = self._gain[:, 0].square().double()
        chosen, before, after = best(sums[False], sums[True], prior, importance)
        spread = sums[True].spread(importance)
        if self.clip is not None:
            chosen, (before, after, spread) = self._clipped(every, sums, [prior, chosen])
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

    def rows(self, pairs: Iterable[Pair], kept: Tensor) -> Iterator[_Rows]:
        """Read what the layer reads, and what it should put out."""
        weight = self.layer.get_parameter("weight")
        reads, groups = weight[0].numel(), getattr(self.layer, "groups", 1)
        wanted = max(_ROWS, _ROWS_PER_INPUT * reads)
        most = max(1, _KEPT // (reads * groups * self.inputs))
        places = min(_PLACES, math.ceil(wanted / self.inputs), most)
        size = max(1, _AT_ONCE // (reads * groups * places))
        dim = -1 if isinstance(self.layer, nn.Linear) else 1 - weight.dim()
        for pair in pairs:
            for start in range(0, pair.wide.given.shape[0], size):
                which = slice(start, start + size)
                wide, narrow = pair.wide.part(which), pair.narrow.part(which)
                assert wide.made is not None
                made = wide.made.index_select(dim, kept)
                product = product_of(self.layer, narrow.given)
                assert product is not None, "asked before"
                x = rows_read(self.layer, product, made.shape, places)
                y = rows_made(self.layer, made, places)
                added: Tensor | float = 0.0
                if (
                    _is_added(wide)
                    and narrow.added is not None
                    and narrow.added.shape == made.shape
                ):
                    assert wide.added is not None
                    added = rows_made(self.layer, narrow.added, places)
                    own = wide.added.index_select(dim, kept)
                    missing = rows_made(self.layer, own, places) - added
                    blind = self._gain.abs() < _BLIND
                    y = y + torch.where(blind, 0.0, missing / self._gain)
                yield _Rows(pair.held_out, x, y, added)

    def _clipped(
        self,
        every: Iterable[_Rows],
        sums: Mapping[bool, Moments],
        layers: Sequence[Affine],
    ) -> tuple[Affine, tuple[float, float, float]]:
        """Fit again, to what is left of the targets when all beyond the bounds is one.

        Args:
            every: What it reads.
            sums: Of that.
            layers: The layer as it is, and as fitted to all.

        Returns:
            The best layer; mean square errors behind the clip, of the layer as it was and of the
            best, and the variance there.
        """
        importance = self._gain[:, 0].square().double()
        *errors, spread = self._errors(every, layers)
        chosen, least = min(zip(layers, errors, strict=True), key=lambda found: found[1])
        for _ in range(_ROUNDS):
            moved = {held_out: found.without_targets() for held_out, found in sums.items()}
            for rows in every:
                moved[rows.held_out].add_targets(rows.x, self._moved(rows, chosen))
            candidate, _, _ = best(moved[False], moved[True], chosen, importance)
            error, _ = self._errors(every, [candidate])
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

    def _errors(self, every: Iterable[_Rows], layers: Sequence[Affine]) -> list[float]:
        """Return the mean square error of layers behind the clip, then the variance there."""
        assert self.clip is not None
        low, high = self.clip
        count, first, second = 0, torch.zeros(()), torch.zeros(())
        missed = [0.0] * len(layers)
        for rows in every:
            if not rows.held_out:
                continue
            target = self._behind(rows.y, rows.added).clamp(low, high)
            count += target.shape[1]
            first = first + target.sum(1).double()
            second = second + target.square().sum(1).double()
            for number, layer in enumerate(layers):
                found = self._behind(_made(layer, rows.x), rows.added).clamp(low, high)
                missed[number] += float((found - target).square().mean((0, 2)).sum())
        variance = (second / count - (first / count).square()).clamp_min(0).mean()
        return [*(each / count for each in missed), float(variance)]


class _Read(Iterable[_Rows]):
    """The rows of a layer: kept, or read anew whenever they are asked for where they are many."""

    def __init__(self, layer: Weights, pairs: Iterable[Pair], kept: Tensor) -> None:
        self._arguments = layer, pairs, kept
        self._known: list[_Rows] | None = None

    def __iter__(self) -> Iterator[_Rows]:
        if self._known is not None:
            yield from self._known
            return
        layer, pairs, kept = self._arguments
        known: list[_Rows] = []
        numbers = 0
        for rows in layer.rows(pairs, kept):
            numbers += rows.x.numel()
            if numbers <= 2 * _KEPT:
                known.append(rows)
            yield rows
        if numbers <= 2 * _KEPT:
            self._known = known


def _is_added(visit: Visit) -> bool:
    made, added = visit.made, visit.added
    return made is not None and added is not None and added.shape == made.shape


def _made(layer: Affine, x: Tensor) -> Tensor:
    made = x.float() @ layer.weight.float().transpose(1, 2)
    return made if layer.bias is None else made + layer.bias.float().unsqueeze(1)
