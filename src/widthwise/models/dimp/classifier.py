"""The classifier of DiMP: features, a first filter from pooled features, and its improvement.

Bhat et al., "Learning Discriminative Model Prediction for Tracking" (ICCV 2019, arXiv:1904.07220).
"""

from __future__ import annotations

import math

from torch import Tensor, nn

from widthwise.models.dimp.filter_optimizer import FilterOptimizer
from widthwise.models.dimp.precise_pooling import precise_pooling
from widthwise.models.dimp.precision import at_least_single
from widthwise.models.resnet_cifar import BasicBlock

FILTER_SIZE = 4
"""Rows and columns of a filter, in feature cells."""
_SMALLEST_SQUARE = 1e-5


class NormalisedFeatures(nn.Module):
    """Scale the features of each sample so that filters of any width give scores alike.

    The published factor is ``sqrt(C * H * W / (D * k * k) / sum(x * x))``, with a constant D of
    channels that equals C. Here they cancel, so that a narrower network needs no other constant.
    """

    def forward(self, features: Tensor) -> Tensor:
        features = at_least_single(features)
        height, width = features.shape[-2:]
        energy = (features * features).sum((1, 2, 3), keepdim=True) + _SMALLEST_SQUARE
        return features * (height * width / FILTER_SIZE**2 / energy).sqrt()


class Classifier(nn.Module):
    """Tells the target from the rest with a filter that is made anew for every sequence.

    Args:
        in_channels: Channels of the backbone's map.
        width: Channels of the classifier's own features, and of the filter.
        blocks: Residual blocks in front of the last convolution of the features.
        stride: Pixels of the image per feature cell.
        iterations: Steps in which a filter is improved, unless a call says otherwise.

    Example:
        >>> import torch
        >>> classifier = Classifier(8, 16, blocks=0, stride=16)
        >>> features = classifier.features(torch.randn(2, 8, 6, 6)).unflatten(0, (1, 2))
        >>> boxes = torch.tensor([[[30.0, 30, 20, 20], [32, 30, 20, 20]]])
        >>> filters = classifier.filters(features, boxes)
        >>> len(filters), filters[-1].shape
        (6, torch.Size([1, 16, 4, 4]))
    """

    def __init__(
        self, in_channels: int, width: int, *, blocks: int, stride: int, iterations: int = 5
    ) -> None:
        super().__init__()
        self.stride = stride
        self.features = nn.Sequential(
            *(BasicBlock(in_channels, in_channels) for _ in range(blocks)),
            nn.Conv2d(in_channels, width, 3, padding=1, bias=False),
            NormalisedFeatures(),
        )
        self.before_pooling = nn.Conv2d(width, width, 3, padding=1)
        self.optimizer = FilterOptimizer(stride=stride, iterations=iterations)
        for module in self.modules():
            if isinstance(module, nn.Conv2d):
                taps = module.kernel_size[0] * module.kernel_size[1]
                nn.init.normal_(module.weight, std=math.sqrt(2 / (taps * module.out_channels)))
                if module.bias is not None:
                    nn.init.zeros_(module.bias)

    def first_filter(self, features: Tensor, boxes: Tensor) -> Tensor:
        """Pool the targets of some frames into a filter to start from.

        Args:
            features: Of the training frames, ``[batch, frames, channels, height, width]``.
            boxes: Of the target in them, ``[batch, frames, 4]``: x, y, w, h in pixels of the crop.

        Returns:
            ``[batch, channels, 4, 4]``, the mean over frames.
        """
        maps = self.before_pooling(features.flatten(0, 1))
        pooled = precise_pooling(
            maps, boxes.flatten(0, 1).unsqueeze(1), size=FILTER_SIZE, stride=self.stride
        )
        return pooled.squeeze(1).unflatten(0, features.shape[:2]).mean(1)

    def filters(
        self, features: Tensor, boxes: Tensor, *, iterations: int | None = None
    ) -> list[Tensor]:
        """Make a filter from training frames.

        Args:
            features: As in `first_filter`.
            boxes: As in `first_filter`.
            iterations: Steps of improvement; None for as many as the optimiser has.

        Returns:
            The first filter, and the one after each step; see `FilterOptimizer`.
        """
        first = self.first_filter(features, boxes)
        found: list[Tensor] = self.optimizer(first, features, boxes, iterations=iterations)
        return found
