"""Least squares from sums alone: what is kept of any number of inputs does not grow with them."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

RIDGES = (1e-8, 1e-4, 1e-3, 1e-2, 1e-1, 1.0)
"""Weights of the prior, the weights as they are, in units of the mean square of the inputs."""
_EPS = 1e-5
_NOTHING = 1e-13
"""Of the variance: an error of rounding, which no fit can mend."""


class Moments:
    """Sums of products of what layers read and should put out, one group of channels at a time.

    Inputs ``x`` have shape ``[groups, n, d]`` and targets ``y`` ``[groups, n, o]``.

    Args:
        constant: Whether a constant is fitted too.
    """

    def __init__(self, *, constant: bool = True) -> None:
        self.constant = constant
        self.count = 0
        self.x: Tensor = torch.zeros(())
        self.y: Tensor = torch.zeros(())
        self.xx: Tensor = torch.zeros(())
        self.xy: Tensor = torch.zeros(())
        self.yy: Tensor = torch.zeros(())

    def add(self, x: Tensor, y: Tensor) -> None:
        """Add rows."""
        x = x.float()
        self.count += x.shape[1]
        # Products in float32, sums over batches in float64.
        self.x = self.x + x.sum(1).double()
        self.xx = self.xx + (x.transpose(1, 2) @ x).double()
        self.add_targets(x, y)

    def add_targets(self, x: Tensor, y: Tensor) -> None:
        """Add the targets of rows that are in already; see `without_targets`."""
        x, y = x.float(), y.float()
        self.y = self.y + y.sum(1).double()
        self.xy = self.xy + (x.transpose(1, 2) @ y).double()
        self.yy = self.yy + y.square().sum(1).double()

    def without_targets(self) -> Moments:
        """Return the sums of the same rows, for other targets."""
        same = Moments(constant=self.constant)
        same.count, same.x, same.xx = self.count, self.x, self.xx
        return same

    def centred(self) -> tuple[Tensor, Tensor, Tensor]:
        """Return covariances of inputs, of inputs with targets, and variances of targets.

        Mean products, where no constant is fitted.
        """
        if not self.constant:
            return self.xx / self.count, self.xy / self.count, self.yy / self.count
        x, y = self.x / self.count, self.y / self.count
        return (
            self.xx / self.count - x.unsqueeze(2) * x.unsqueeze(1),
            self.xy / self.count - x.unsqueeze(2) * y.unsqueeze(1),
            self.yy / self.count - y.square(),
        )

    def error(self, layer: Affine, importance: Tensor | float = 1.0) -> float:
        """Return the mean square of what a layer's outputs miss.

        Args:
            layer: The layer.
            importance: Weight of each output, shape ``[groups, o]``.

        Returns:
            The mean over the outputs.
        """
        xx, xy, yy = self.centred()
        weight = layer.weight
        missed = yy - 2 * (weight * xy.transpose(1, 2)).sum(2) + ((weight @ xx) * weight).sum(2)
        if layer.bias is not None:
            off = (self.y - (weight @ self.x.unsqueeze(2)).squeeze(2)) / self.count - layer.bias
            missed = missed + off.square()
        return float((missed.clamp_min(0) * importance).mean())

    def spread(self, importance: Tensor | float = 1.0) -> float:
        """Return the mean variance of the targets, weighted as in `error`."""
        return float((self.centred()[2].clamp_min(0) * importance).mean())

    def matched(self, layer: Affine) -> Affine:
        """Scale and shift the outputs of a layer to the means and variances of the targets."""
        if layer.bias is None:
            return layer
        xx, _, wanted = self.centred()
        found = ((layer.weight @ xx) * layer.weight).sum(2)
        ratio = ((wanted.clamp_min(0) + _EPS) / (found.clamp_min(0) + _EPS)).sqrt()
        return self.levelled(layer.weight * ratio.unsqueeze(2))

    def levelled(self, weight: Tensor) -> Affine:
        """Return the layer of some weights whose outputs have the means of the targets."""
        means = self.x / self.count, self.y / self.count
        return Affine(weight, means[1] - (weight @ means[0].unsqueeze(2)).squeeze(2))


@dataclass(frozen=True)
class Affine:
    """``y = weight x + bias`` in each group: shapes ``[groups, o, d]`` and ``[groups, o]``.

    Without a bias there is no constant.
    """

    weight: Tensor
    bias: Tensor | None


def fitted(moments: Moments, prior: Affine, ridge: float) -> Affine:
    """Return the layer that misses least, drawn towards the one there is.

    Args:
        moments: Of inputs and targets.
        prior: The layer as it is.
        ridge: How strongly it is drawn to that.

    Returns:
        The minimum of ``|y - weight x - bias|^2 + ridge |weight - prior|^2`` over both, scaled by
        the mean square of the centred inputs; the layer as it is where that cannot be solved.
    """
    xx, xy, _ = moments.centred()
    strength = ridge * xx.diagonal(dim1=1, dim2=2).mean(1) + 1e-12
    wanted = xy.transpose(1, 2) - prior.weight @ xx
    eye = torch.eye(xx.shape[1], dtype=xx.dtype, device=xx.device)
    system = xx + strength[:, None, None] * eye
    factor, failed = torch.linalg.cholesky_ex(system)
    if bool(failed.any()):
        # Rounding: there are fewer rows than inputs, and the ridge is too weak to tell.
        return prior
    change = torch.cholesky_solve(wanted.transpose(1, 2), factor)
    weight = prior.weight + change.transpose(1, 2)
    if prior.bias is None:
        return Affine(weight, None)
    return moments.levelled(weight)


def best(
    train: Moments, held_out: Moments, prior: Affine, importance: Tensor | float = 1.0
) -> tuple[Affine, float, float]:
    """Choose the ridge on held-out inputs; leave the layer as it is where none is better.

    Args:
        train: What layers are fitted to.
        held_out: What they are compared on.
        prior: The layer as it is.
        importance: Of each output, see `Moments.error`.

    Returns:
        The layer, and its error on held-out inputs before and after.
    """
    before = held_out.error(prior, importance)
    chosen, least = prior, before
    if before <= _NOTHING * held_out.spread(importance):
        return prior, before, before
    matched = train.matched(prior)
    for candidate in (matched, *(fitted(train, matched, ridge) for ridge in RIDGES)):
        error = held_out.error(candidate, importance)
        if error < least:
            chosen, least = candidate, error
    return chosen, before, least
