"""VGG-16 with batch normalisation, for small images.

Simonyan and Zisserman, "Very Deep Convolutional Networks for Large-Scale Image Recognition" (ICLR
2015, arXiv:1409.1556), configuration D, with the small classifiers used on CIFAR.
"""

from __future__ import annotations

from torch import Tensor, nn

from widthwise.models.options import Choice, scaled

STAGE_WIDTHS = (64, 128, 256, 512, 512)
STAGE_DEPTHS = (2, 2, 3, 3, 3)


class Head(Choice):
    """What classifies."""

    linear = "linear"
    """One linear layer."""
    linear3 = "linear3"
    """Three linear layers of 512 features, without activations between them."""


class Vgg16Bn(nn.Module):
    """Thirteen 3x3 convolutions in five stages, each with batch normalisation and ReLU.

    Weights have PyTorch's default initialisation.

    Args:
        num_classes: Outputs of the classifier.
        in_channels: Channels of the input image.
        width_mult: Multiplies all channels; fractions are cut off.
        head: `Head`, or "linear" or "linear3".

    Raises:
        ValueError: If ``head`` is unknown, or ``width_mult`` leaves no channel.

    Example:
        >>> import torch
        >>> Vgg16Bn(width_mult=0.25)(torch.zeros(2, 3, 32, 32)).shape
        torch.Size([2, 10])
    """

    def __init__(
        self,
        *,
        num_classes: int = 10,
        in_channels: int = 3,
        width_mult: float = 1.0,
        head: Head | str = Head.linear,
    ) -> None:
        super().__init__()
        stages, channels = [], in_channels
        for width, depth in zip(scaled(STAGE_WIDTHS, width_mult), STAGE_DEPTHS, strict=True):
            layers: list[nn.Module] = []
            for _ in range(depth):
                layers += [
                    nn.Conv2d(channels, width, 3, padding=1),
                    nn.BatchNorm2d(width),
                    nn.ReLU(),
                ]
                channels = width
            stages.append(nn.Sequential(*layers, nn.MaxPool2d(2)))
        self.features = nn.Sequential(*stages)
        self.pool = nn.AdaptiveAvgPool2d(1)
        hidden = 2 if Head(head) is Head.linear3 else 0
        self.classifier = nn.Sequential(
            *(nn.Linear(channels, channels) for _ in range(hidden)),
            nn.Linear(channels, num_classes),
        )

    def forward(self, images: Tensor) -> Tensor:
        return self.classifier(self.pool(self.features(images)).flatten(1))
