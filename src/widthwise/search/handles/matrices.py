"""Filters and the matrices behind them, from which a network's weights are computed."""

from __future__ import annotations

from collections.abc import Sequence
from enum import Enum

import torch
from torch import Tensor, nn

_MOST, _POWER, _NEW = 9 / 5, 1.35, 0.9
"""How far a ratio of gradients counts, to which power, and the share of the latest one in it."""


class Start(Enum):
    """What filters and matrices start from; their product is the weight in all cases."""

    identity = "identity"
    """The filters are the weight, the matrix is the identity. Of a layer with more outputs than
    its filters have weights, `svd2`."""
    svd = "svd"
    """Of a singular value decomposition, the singular values go to the filters."""
    svd2 = "svd2"
    """They go to the matrix."""


class Matrices(nn.Module):
    """Weights ``matrix x filters`` of several layers.

    Args:
        weights: Of convolutions, ``[outputs, inputs, *kernel]``; not changed.
        start: What to start from.
    """

    penalty: Tensor
    """Sum of the norms at the start, a scalar."""
    ratios: Tensor
    """Running gradient norm of each matrix, in units of their geometric mean; zero before any."""
    steps: Tensor
    """Steps that were taken, a scalar."""

    def __init__(self, weights: Sequence[Tensor], start: Start) -> None:
        super().__init__()
        pairs = [_split(weight.detach(), start) for weight in weights]
        self.filters = nn.ParameterList([nn.Parameter(filters) for filters, _ in pairs])
        self.mix = nn.ParameterList([nn.Parameter(mix) for _, mix in pairs])
        self._shapes = [tuple(weight.shape) for weight in weights]
        device = weights[0].device
        self.register_buffer("penalty", torch.zeros((), device=device))
        self.register_buffer("ratios", torch.zeros(len(pairs), device=device))
        self.register_buffer("steps", torch.zeros((), dtype=torch.int64, device=device))
        for number, (_, mix) in enumerate(pairs):
            self.register_buffer(f"before{number}", mix.clone())

    def weight(self, index: int) -> Tensor:
        """Compute the weight of one layer, in full precision under autocast too."""
        mix, filters = self.mix[index], self.filters[index]
        with torch.autocast(mix.device.type, enabled=False):
            return (mix @ filters).reshape(self._shapes[index])

    @torch.no_grad()
    def take_step(self, ratio: float, *, adjusted: bool) -> None:
        """Make the last step of the optimizer longer or shorter, for the matrices alone.

        This is what other learning rates would do, in whatever optimizer.

        Args:
            ratio: How many times as long.
            adjusted: Whether large gradients make it shorter: by the power 1.35 of their norm over
                the geometric mean of all, which counts between 5/9 and 9/5, as in the released
                code of Hinge.
        """
        factors = torch.full_like(self.ratios, ratio)
        norms = [None if m.grad is None else m.grad.norm(dim=0).sum() for m in self.mix]
        if adjusted and all(norm is not None for norm in norms):
            logs = torch.stack([n.float().clamp_min(1e-30).log() for n in norms if n is not None])
            latest = (logs - logs.mean()).exp().clamp(1 / _MOST, _MOST)
            running = _NEW * latest + (1 - _NEW) * self.ratios
            self.ratios.copy_(torch.where(self.ratios > 0, running, latest))
        if adjusted:
            known = self.ratios > 0
            factors = torch.where(known, factors * self.ratios.clamp_min(1e-3) ** -_POWER, factors)
        for number, mix in enumerate(self.mix):
            before = self.get_buffer(f"before{number}")
            mix.copy_(before + factors[number].to(mix.dtype) * (mix - before))

    @torch.no_grad()
    def remember(self) -> None:
        """Keep what the matrices are now: the next step starts there."""
        self.steps.add_(1)
        for number, mix in enumerate(self.mix):
            self.get_buffer(f"before{number}").copy_(mix)


def _split(weight: Tensor, start: Start) -> tuple[Tensor, Tensor]:
    """Return filters ``[r, inputs]`` and a matrix ``[outputs, r]`` that make a weight."""
    flat = weight.flatten(1)
    if start is Start.identity and len(flat) <= flat.shape[1]:
        return flat.clone(), torch.eye(len(flat), dtype=flat.dtype, device=flat.device)
    u, s, v = torch.linalg.svd(flat.double(), full_matrices=False)
    filters, mix = (s[:, None] * v, u) if start is Start.svd else (v, u * s)
    return filters.to(weight.dtype).contiguous(), mix.to(weight.dtype).contiguous()
