"""Precise ROI pooling: the mean of a feature map over each bin of a box, exactly.

Jiang et al., "Acquisition of Localization Confidence for Accurate Object Detection" (ECCV 2018,
arXiv:1807.11590). Between cells the map is interpolated bilinearly, and outside it is zero. The
integral of such a surface over a rectangle is separable: one small matrix along each dimension.
So gradients reach features and boxes alike, without an extension.
"""

from __future__ import annotations

import torch
from torch import Tensor


def precise_pooling(features: Tensor, boxes: Tensor, *, size: int, stride: float) -> Tensor:
    """Average a feature map over the bins of boxes.

    Feature cell ``j`` lies at pixel ``stride * j``.

    Args:
        features: ``[batch, channels, height, width]``.
        boxes: ``[batch, boxes, 4]``, each x, y, w, h in pixels of the image; they may reach beyond
            the map. Width and height must be positive.
        size: Bins along each side of a box.
        stride: Pixels of the image per feature cell.

    Returns:
        ``[batch, boxes, channels, size, size]``, of the features' dtype.

    Example:
        >>> import torch
        >>> box = torch.tensor([[[8.0, 8.0, 16.0, 16.0]]])
        >>> precise_pooling(torch.ones(1, 2, 6, 6), box, size=1, stride=8).flatten().tolist()
        [1.0, 1.0]
    """
    precise = torch.promote_types(features.dtype, torch.float32)
    x, y, width, height = (boxes / stride).to(precise).unbind(-1)
    along_y = _bin_means(y, height, size, features.shape[-2]).to(features.dtype)
    along_x = _bin_means(x, width, size, features.shape[-1]).to(features.dtype)
    # All boxes in one product per channel: a product per box would copy the map for each of them.
    rows = along_y.flatten(1, 2).unsqueeze(1) @ features
    rows = rows.unflatten(2, along_y.shape[1:3])
    return (rows @ along_x.unsqueeze(1).transpose(-1, -2)).transpose(1, 2)


def _bin_means(start: Tensor, length: Tensor, size: int, cells: int) -> Tensor:
    """Return what each cell adds to the mean over each bin, ``[batch, boxes, size, cells]``."""
    steps = torch.arange(size + 1, dtype=start.dtype, device=start.device) / size
    edges = start.unsqueeze(-1) + length.unsqueeze(-1) * steps
    places = torch.arange(cells, dtype=start.dtype, device=start.device)
    below = _hat_integral(edges.unsqueeze(-1) - places)
    return (below[..., 1:, :] - below[..., :-1, :]) * (size / length)[..., None, None]


def _hat_integral(end: Tensor) -> Tensor:
    """Integrate the hat function ``max(0, 1 - |t|)`` up to ``end``."""
    end = end.clamp(-1, 1)
    return 0.5 + end - 0.5 * end * end.abs()
