"""A siamese tracker: the features of a target are searched for among those of a frame.

Bertinetto et al., "Fully-Convolutional Siamese Networks for Object Tracking", ECCV workshops 2016.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional

import widthwise as ww
from widthwise.errors import ConfigError

STRIDE = 8
"""Pixels of a crop per cell of the features, and of the scores."""
TEMPLATE_SIDE = 64
"""Height and width of the crop that shows the target, in pixels."""
SEARCH_SIDE = 128
"""Height and width of the crop in which it is searched for, in pixels."""


class SiameseTracker(nn.Module):
    """Scores of every place of a search crop for being where the target of a template is.

    The backbone has five layers without padding: zeros at the border would tell it where the
    middle of a crop is, and that is where training targets are.

    Args:
        widths: Channels of the five layers, of which the first, second and fourth halve the size.

    Raises:
        ConfigError: If there are not five widths above 0.

    Example:
        >>> network = SiameseTracker()
        >>> template, search = torch.zeros(1, 3, 64, 64), torch.zeros(1, 3, 128, 128)
        >>> network(template, search).shape
        torch.Size([1, 1, 9, 9])
    """

    def __init__(self, widths: Sequence[int] = (16, 32, 32, 64, 64)) -> None:
        super().__init__()
        if len(widths) != 5 or min(widths) < 1:
            raise ConfigError(f"`widths` must be five numbers above 0: got {list(widths)}.")
        first, second, third, fourth, last = widths
        self.backbone = nn.Sequential(
            _layer(3, first, stride=2),
            _layer(first, second, stride=2),
            _layer(second, third, stride=1),
            _layer(third, fourth, stride=2),
            # Without an activation, so that features can speak against a place too.
            nn.Conv2d(fourth, last, 3, bias=False),
            nn.BatchNorm2d(last),
        )
        # Sums of thousands of products; without a small factor the loss saturates at once.
        self.scale = nn.Parameter(torch.tensor(1e-3))
        self.shift = nn.Parameter(torch.tensor(0.0))

    def features(self, crop: Tensor) -> Tensor:
        """Compute the features of a crop; a frame costs one such call.

        Args:
            crop: Values of 0 to 1, shape ``[b, 3, s, s]``.

        Returns:
            Shape ``[b, c, h, w]``, a cell per `STRIDE` pixels.
        """
        features: Tensor = self.backbone(crop * 2 - 1)
        return features

    def compare(self, template: Tensor, search: Tensor) -> Tensor:
        """Compute scores from features.

        Args:
            template: Features of the target, shape ``[b, c, k, k]``.
            search: Features of the crop it is searched for in, shape ``[b, c, h, w]``.

        Returns:
            Shape ``[b, 1, h - k + 1, w - k + 1]``; the middle stands for the middle of the crop.
        """
        return correlation(template, search) * self.scale + self.shift

    def forward(self, template: Tensor, search: Tensor) -> Tensor:
        """Compute scores from crops: `features` of both, then `compare`.

        Traces do not count the template, which is seen once in a video.

        Args:
            template: Values of 0 to 1, shape ``[b, 3, 64, 64]``.
            search: Values of 0 to 1, shape ``[b, 3, 128, 128]``.

        Returns:
            Shape ``[b, 1, 9, 9]`` at these sides.
        """
        with ww.uncounted():
            wanted = self.features(template)
        return self.compare(wanted, self.features(search))


def correlation(template: Tensor, search: Tensor) -> Tensor:
    """Correlate every search map with its own template, over all channels.

    Args:
        template: Shape ``[b, c, k, k]``.
        search: Shape ``[b, c, h, w]``.

    Returns:
        Shape ``[b, 1, h - k + 1, w - k + 1]``.
    """
    batch, channels, height, width = search.shape
    together = search.reshape(1, batch * channels, height, width)
    return functional.conv2d(together, template, groups=batch).transpose(0, 1)


def _layer(given: int, made: int, *, stride: int) -> nn.Sequential:
    return nn.Sequential(
        nn.Conv2d(given, made, 3, stride, bias=False), nn.BatchNorm2d(made), nn.ReLU()
    )
