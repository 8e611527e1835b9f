"""A siamese tracker: the features of a target are searched for among those of a frame.

Bertinetto et al., "Fully-Convolutional Siamese Networks for Object Tracking", ECCV workshops 2016.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional

import widthwise as ww
from widthwise.errors import ConfigError
from widthwise.network.copying import copy_module
from widthwise.network.parts import Part

STRIDE = 8
"""Pixels of a crop per cell of the features, and of the scores."""
TEMPLATE_SIDE = 64
"""Height and width of the crop that shows the target, in pixels."""
SEARCH_SIDE = 128
"""Height and width of the crop in which it is searched for, in pixels."""


class SiameseTracker(nn.Module):
    """Scores of every place of a search crop for being where the target of a template is.

    Its own backbone has five layers without padding: zeros at the border would tell it where the
    middle of a crop is, and that is where training targets mostly are.

    Args:
        widths: Channels of the five layers, of which the first, second and fourth halve the size.
            Of another backbone only the last counts: the channels that are compared.
        backbone: Name of a network of timm, of which the layers up to 8 pixels per cell are used,
            with fresh weights; the five layers if not given.

    Raises:
        ConfigError: If there are not five widths above 0, or timm has no such backbone.

    Example:
        >>> network = SiameseTracker()
        >>> template, search = torch.zeros(1, 3, 64, 64), torch.zeros(1, 3, 128, 128)
        >>> network(template, search).shape
        torch.Size([1, 1, 9, 9])
    """

    def __init__(
        self, widths: Sequence[int] = (16, 32, 32, 64, 64), backbone: str | None = None
    ) -> None:
        super().__init__()
        if len(widths) != 5 or min(widths) < 1:
            raise ConfigError(f"`widths` must be five numbers above 0: got {list(widths)}.")
        first, second, third, fourth, last = widths
        layers: list[nn.Module]
        if backbone is None:
            layers = [
                _layer(3, first, stride=2),
                _layer(first, second, stride=2),
                _layer(second, third, stride=1),
                _layer(third, fourth, stride=2),
                nn.Conv2d(fourth, last, 3, bias=False),
            ]
        else:
            found = TimmFeatures(backbone)
            layers = [found, nn.Conv2d(found.channels, last, 1, bias=False)]
        # No activation at the end, so that features can speak against a place too.
        self.backbone = nn.Sequential(*layers, nn.BatchNorm2d(last))
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

    def parts(self) -> Mapping[str, Part]:
        """Give what runs once per video, and what runs once per frame.

        Returns:
            ``template``, from crops to features, and ``search``, from the features of one template
            and any number of search crops to scores.
        """
        crop = torch.zeros(1, 3, TEMPLATE_SIDE, TEMPLATE_SIDE)
        # Only the shape is asked for: a copy without values has no statistics to change.
        shapes: Any = copy_module(self, lambda _, tensor: tensor.detach().to("meta"))
        with torch.no_grad():
            features = torch.zeros(shapes.features(crop.to("meta")).shape)
        search = torch.zeros(1, 3, SEARCH_SIDE, SEARCH_SIDE)
        return {
            "template": Part(module=_TemplatePart(self), inputs={"crop": crop}),
            "search": Part(
                module=_SearchPart(self),
                inputs={"template": features, "crop": search},
                unbatched=frozenset({"template"}),
            ),
        }


class _TemplatePart(nn.Module):
    def __init__(self, tracker: SiameseTracker) -> None:
        super().__init__()
        self.tracker = tracker

    def forward(self, crop: Tensor) -> Tensor:
        return self.tracker.features(crop)


class _SearchPart(nn.Module):
    """Compares all crops with one template, without groups: ONNX has no free number of them."""

    def __init__(self, tracker: SiameseTracker) -> None:
        super().__init__()
        self.tracker = tracker

    def forward(self, template: Tensor, crop: Tensor) -> Tensor:
        scores = functional.conv2d(self.tracker.features(crop), template)
        return scores * self.tracker.scale + self.tracker.shift


class TimmFeatures(nn.Module):
    """The layers of a network of timm up to the last with 8 pixels per cell.

    Args:
        name: As timm calls it.

    Raises:
        ConfigError: If timm has no such network, or it has no such layer.
    """

    def __init__(self, name: str) -> None:
        super().__init__()
        import timm

        try:
            # timm's classes of such networks have no common type.
            whole: Any = timm.create_model(name, features_only=True, pretrained=False)
            strides = whole.feature_info.reduction()
            features: Any = timm.create_model(
                name, features_only=True, pretrained=False, out_indices=(strides.index(STRIDE),)
            )
        except (RuntimeError, ValueError, AttributeError) as error:
            raise ConfigError(
                f"`{name}` cannot be the backbone of a tracker: {error}\n"
                f"Why: features of one cell per {STRIDE} pixels are taken of a network of timm.\n"
                "Hint: `widthwise trace 'timm/*'` lists them; `resnet18` and `mobilenetv2_100` "
                "have such layers."
            ) from error
        self.features = features
        self.channels: int = features.feature_info.channels()[0]

    def forward(self, crop: Tensor) -> Tensor:
        """Compute the features of a crop.

        Args:
            crop: Shape ``[b, 3, s, s]``.

        Returns:
            Shape ``[b, c, s / 8, s / 8]``.
        """
        features: Tensor = self.features(crop)[0]
        return features


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
