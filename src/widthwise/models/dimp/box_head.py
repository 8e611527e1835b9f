"""The box branch of DiMP: predicts how well boxes cover the target, so that they can be improved.

Danelljan et al., "ATOM: Accurate Tracking by Overlap Maximization" (CVPR 2019, arXiv:1811.07628).
"""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor, nn

from widthwise.models.dimp.precise_pooling import precise_pooling
from widthwise.models.dimp.precision import at_least_single


class Levels(NamedTuple):
    """A pair that belongs to two feature levels."""

    fine: Tensor
    """Of the level with the smaller stride."""
    coarse: Tensor
    """Of the other."""


class BoxHead(nn.Module):
    """Predicts the overlap of boxes with the target, once it has seen the target.

    Args:
        fine_channels: Channels of the backbone's finer map.
        coarse_channels: Channels of its coarser map.
        strides: Pixels of the image per cell of the two.
        width: Channels of the branch; the reference has half of them on the finer level.

    Example:
        >>> head = BoxHead(8, 16, strides=(8, 16), width=32).eval()
        >>> maps = Levels(torch.randn(1, 8, 12, 12), torch.randn(1, 16, 6, 6))
        >>> boxes = torch.tensor([[[30.0, 30, 20, 20], [35, 30, 20, 20]]])
        >>> modulation = head.modulation(maps, boxes[:, 0])
        >>> head.overlaps(modulation, head.embedded(maps), boxes).shape
        torch.Size([1, 2])
    """

    def __init__(
        self,
        fine_channels: int,
        coarse_channels: int,
        *,
        strides: tuple[int, int],
        width: int = 256,
    ) -> None:
        super().__init__()
        self.strides = strides
        self.reference_fine = _convolution(fine_channels, width // 2)
        self.reference_fine_pooled = _convolution(width // 2, width, padding=0)
        self.reference_coarse = _convolution(coarse_channels, width)
        self.modulation_fine = _convolution(2 * width, width, kernel=1)
        self.modulation_coarse = _convolution(2 * width, width, kernel=1)
        self.test_fine = nn.Sequential(
            _convolution(fine_channels, width), _convolution(width, width)
        )
        self.test_coarse = nn.Sequential(
            _convolution(coarse_channels, width), _convolution(width, width)
        )
        self.pooled_fine = _linear(width, bins=5)
        self.pooled_coarse = _linear(width, bins=3)
        self.overlap = nn.Linear(2 * width, 1)
        for module in self.modules():
            if isinstance(module, nn.Conv2d | nn.Linear):
                nn.init.kaiming_normal_(module.weight)
                if module.bias is not None:
                    nn.init.zeros_(module.bias)
            elif isinstance(module, nn.BatchNorm2d | nn.BatchNorm1d):
                nn.init.uniform_(module.weight)

    def modulation(self, maps: Levels, boxes: Tensor) -> Levels:
        """Describe the target, from a frame in which its box is known.

        Args:
            maps: Of the backbone, ``[batch, channels, height, width]`` each.
            boxes: ``[batch, 4]``, x, y, w, h in pixels of the crop.

        Returns:
            A factor for each channel of the test path, ``[batch, width]`` each.
        """
        box = boxes.unsqueeze(1)
        fine_stride, coarse_stride = self.strides
        fine = self.reference_fine(maps.fine)
        fine = precise_pooling(fine, box, size=3, stride=fine_stride).squeeze(1)
        coarse = self.reference_coarse(maps.coarse)
        coarse = precise_pooling(coarse, box, size=1, stride=coarse_stride).squeeze(1)
        both = torch.cat([self.reference_fine_pooled(fine), coarse], dim=1)
        return Levels(
            self.modulation_fine(both).flatten(1), self.modulation_coarse(both).flatten(1)
        )

    def embedded(self, maps: Levels) -> Levels:
        """Compute what boxes of a frame are judged by; this costs the same for any number of boxes.

        Args:
            maps: Of the backbone, ``[frames, channels, height, width]`` each.

        Returns:
            ``[frames, width, height, width]`` each.
        """
        return Levels(self.test_fine(maps.fine), self.test_coarse(maps.coarse))

    def overlaps(self, modulation: Levels, embedded: Levels, boxes: Tensor) -> Tensor:
        """Predict how much boxes share with the target. Gradients reach the boxes.

        Args:
            modulation: Of the target, one row per frame.
            embedded: Of the frames.
            boxes: ``[frames, boxes, 4]``, x, y, w, h in pixels of the crop.

        Returns:
            ``[frames, boxes]``: twice the overlap, minus 1; not limited to this range.
        """
        fine_stride, coarse_stride = self.strides
        # A factor per channel may as well come after the pooling, where maps are small.
        fine = precise_pooling(embedded.fine, boxes, size=5, stride=fine_stride)
        fine = fine * modulation.fine[:, None, :, None, None]
        coarse = precise_pooling(embedded.coarse, boxes, size=3, stride=coarse_stride)
        coarse = coarse * modulation.coarse[:, None, :, None, None]
        both = torch.cat(
            [self.pooled_fine(fine.flatten(0, 1)), self.pooled_coarse(coarse.flatten(0, 1))], dim=1
        )
        return at_least_single(self.overlap(both)).reshape(boxes.shape[:2])


def _convolution(
    given: int, made: int, *, kernel: int = 3, padding: int | None = None
) -> nn.Module:
    padding = kernel // 2 if padding is None else padding
    return nn.Sequential(
        nn.Conv2d(given, made, kernel, padding=padding), nn.BatchNorm2d(made), nn.ReLU()
    )


def _linear(width: int, *, bins: int) -> nn.Module:
    return nn.Sequential(
        nn.Flatten(), nn.Linear(width * bins**2, width), nn.BatchNorm1d(width), nn.ReLU()
    )
