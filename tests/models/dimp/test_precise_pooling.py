"""Precise pooling is the mean of the interpolated map, with gradients for features and boxes."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

from widthwise.models.dimp.precise_pooling import precise_pooling


def sampled(features: Tensor, box: Tensor, *, size: int, stride: float) -> Tensor:
    """The same by many samples in the middle of small squares of the zero-padded map."""
    fine, padding = 400, 4
    padded = F.pad(features, [padding] * 4)
    x, y, width, height = (box / stride).tolist()
    steps = (torch.arange(size * fine, dtype=torch.float64) + 0.5) / (size * fine)
    columns, rows = x + width * steps + padding, y + height * steps + padding
    # grid_sample counts from -1 at the first cell to 1 at the last.
    scaled_x = 2 * columns / (padded.shape[-1] - 1) - 1
    scaled_y = 2 * rows / (padded.shape[-2] - 1) - 1
    grid = torch.stack(torch.meshgrid(scaled_y, scaled_x, indexing="ij")[::-1], dim=-1)
    surface = F.grid_sample(padded[None], grid[None], align_corners=True)[0]
    return F.avg_pool2d(surface, fine)


def test_equals_dense_sampling() -> None:
    """Boxes inside, over the border and smaller than a cell agree with 400 samples a bin side."""
    generator = torch.Generator().manual_seed(0)
    features = torch.randn(1, 3, 7, 9, dtype=torch.float64, generator=generator)
    boxes = torch.tensor(
        [[[9.3, 5.1, 41.0, 30.2], [-13.0, 30.5, 40.0, 35.0], [20.2, 21.7, 3.0, 5.0]]],
        dtype=torch.float64,
    )
    pooled = precise_pooling(features, boxes, size=3, stride=8.0)
    for index, box in enumerate(boxes[0]):
        expected = sampled(features[0], box, size=3, stride=8.0)
        torch.testing.assert_close(pooled[0, index], expected, rtol=0, atol=2e-5)


def test_gradients_of_features_and_boxes() -> None:
    """Gradients for the map and for all four numbers of a box equal numerical ones."""
    generator = torch.Generator().manual_seed(1)
    features = torch.randn(2, 2, 5, 6, dtype=torch.float64, generator=generator)
    boxes = torch.tensor([[[3.3, 5.1, 21.0, 17.2]], [[-5.7, 9.4, 22.1, 18.3]]], dtype=torch.float64)
    assert torch.autograd.gradcheck(
        lambda features, boxes: precise_pooling(features, boxes, size=2, stride=8.0),
        (features.requires_grad_(), boxes.requires_grad_()),
    )


def test_places_have_more_digits_than_features() -> None:
    """With features in bfloat16 a box far from the corner is still where it is, to a hundredth."""
    ramp = (torch.arange(40.0) - 35).expand(1, 1, 40, 40)
    box = torch.tensor([[[281.3, 100.0, 10.0, 10.0]]])
    pooled = precise_pooling(ramp.bfloat16(), box, size=1, stride=8.0)
    assert pooled.dtype == torch.bfloat16
    torch.testing.assert_close(pooled.item(), 286.3 / 8 - 35, atol=0.01, rtol=0)
