"""What a network is trained with out of stored pairs: shifted, mirrored, in another light."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional

from widthwise.data.frame_pairs import MARGIN, CropPair
from widthwise.models.siamese import SEARCH_SIDE, STRIDE

_LIGHT = 0.2
"""Largest share by which a crop is made brighter or darker."""
_GREY = 0.1
"""Share of pairs in grey."""

Inputs = tuple[Tensor, Tensor]
"""Template ``[b, 3, 64, 64]`` and search crop ``[b, 3, 128, 128]``, values of 0 to 1."""


def training_pair(pair: CropPair, *, seed: int) -> tuple[Inputs, Tensor]:
    """Make what a network is trained with.

    Args:
        pair: Stored pairs. Not changed.
        seed: Determines completely what is random about it.

    Returns:
        Inputs, and the distance of the target from the middle of the search crop, x and y in
        pixels, shape ``[b, 2]``.
    """
    templates, searches = pair
    count, device = len(templates), templates.device
    generator = torch.Generator().manual_seed(seed)
    shifts = torch.randint(-MARGIN, MARGIN + 1, (count, 2), generator=generator)
    mirrored = torch.rand(count, generator=generator) < 0.5
    grey = torch.rand(count, generator=generator) < _GREY
    light = 1 + _LIGHT * (2 * torch.rand(count, 2, generator=generator) - 1)
    # To shift the target to the right, what is seen has to move to the left.
    starts = MARGIN - shifts
    crops = torch.stack(
        [
            search[:, top : top + SEARCH_SIDE, left : left + SEARCH_SIDE]
            for search, (left, top) in zip(searches, starts.tolist(), strict=True)
        ]
    )
    both = []
    for images, factor in ((templates, light[:, 0]), (crops, light[:, 1])):
        pixels = images.float() / 255
        pixels = torch.where(_each(mirrored, device), pixels.flip(3), pixels)
        pixels = torch.where(_each(grey, device), pixels.mean(1, keepdim=True), pixels)
        both.append((pixels * _each(factor, device)).clamp(0, 1))
    across = torch.where(mirrored, -shifts[:, 0], shifts[:, 0])
    return (both[0], both[1]), torch.stack([across, shifts[:, 1]], dim=1).float().to(device)


def middle_pair(pair: CropPair) -> tuple[Inputs, Tensor]:
    """Make what a network is tested with: the target is in the middle.

    Args:
        pair: Stored pairs. Not changed.

    Returns:
        As of `training_pair`.
    """
    templates, searches = pair
    inner = slice(MARGIN, MARGIN + SEARCH_SIDE)
    inputs = templates.float() / 255, searches[:, :, inner, inner].float() / 255
    return inputs, torch.zeros(len(templates), 2, device=templates.device)


def labels(distances: Tensor, *, cells: int, radius: float) -> Tensor:
    """Mark the cells of the scores that lie on the target.

    Args:
        distances: Of the target from the middle, x and y in pixels, shape ``[b, 2]``.
        cells: Height and width of the scores.
        radius: Pixels that still count as the target; at least its nearest cell does.

    Returns:
        1 where the target is, else 0, shape ``[b, 1, cells, cells]``.

    Example:
        >>> labels(torch.tensor([[8.0, 0.0]]), cells=3, radius=4.0)[0, 0]
        tensor([[0., 0., 0.],
                [0., 0., 1.],
                [0., 0., 0.]])
    """
    places = (torch.arange(cells, device=distances.device) - (cells - 1) / 2) * STRIDE
    across = places[None, None, :] - distances[:, 0, None, None]
    down = places[None, :, None] - distances[:, 1, None, None]
    squares = across**2 + down**2
    nearest = squares == squares.amin((1, 2), keepdim=True)
    return ((squares <= radius**2) | nearest).float()[:, None]


def balanced_loss(scores: Tensor, wanted: Tensor) -> Tensor:
    """Compute the logistic loss in which target and surroundings weigh the same.

    Args:
        scores: Shape ``[b, 1, n, n]``.
        wanted: 1 and 0, of the same shape.

    Returns:
        A mean over pairs.
    """
    losses = functional.binary_cross_entropy_with_logits(
        scores.float(), wanted.to(scores.device), reduction="none"
    )
    parts = [
        (losses * mask).sum((1, 2, 3)) / mask.sum((1, 2, 3)).clamp(min=1)
        for mask in (wanted, 1 - wanted)
    ]
    return (parts[0] + parts[1]).mean() / 2


def _each(values: Tensor, device: torch.device) -> Tensor:
    return values.reshape(-1, 1, 1, 1).to(device)
