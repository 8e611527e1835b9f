"""ResNeXts for small images: bottleneck blocks whose 3x3 convolution is grouped.

Xie et al., "Aggregated Residual Transformations for Deep Neural Networks" (CVPR 2017,
arXiv:1611.05431), in the form that Li et al., "Group Sparsity: The Hinge Between Filter Pruning and
Decomposition" (CVPR 2020, arXiv:2003.08935), prune: 32 groups of one channel in the first stage.
"""

from __future__ import annotations

from torch import Tensor, nn

from widthwise.models.options import scaled

STEM_WIDTH = 64
CARDINALITY = 32
GROUP_WIDTHS = (1, 2, 4)
"""Channels per group, by stage."""


class GroupedBlock(nn.Module):
    """1x1, grouped 3x3 and 1x1 convolution, and a shortcut: ``relu(x' + f(x))``.

    Args:
        in_channels: Channels entering the block.
        channels: Channels of the grouped convolution; the output has twice as many.
        groups: Groups of that convolution.
        stride: Its stride, and that of the shortcut.
    """

    expansion = 2

    def __init__(self, in_channels: int, channels: int, *, groups: int, stride: int = 1) -> None:
        super().__init__()
        out_channels = self.expansion * channels
        self.conv1 = nn.Conv2d(in_channels, channels, 1, bias=False)
        self.bn1 = nn.BatchNorm2d(channels)
        self.conv2 = nn.Conv2d(
            channels, channels, 3, stride=stride, padding=1, groups=groups, bias=False
        )
        self.bn2 = nn.BatchNorm2d(channels)
        self.conv3 = nn.Conv2d(channels, out_channels, 1, bias=False)
        self.bn3 = nn.BatchNorm2d(out_channels)
        self.relu = nn.ReLU()
        self.shortcut: nn.Module = nn.Identity()
        if stride != 1 or in_channels != out_channels:
            self.shortcut = nn.Sequential(
                nn.Conv2d(in_channels, out_channels, 1, stride=stride, bias=False),
                nn.BatchNorm2d(out_channels),
            )

    def forward(self, images: Tensor) -> Tensor:
        out = self.relu(self.bn1(self.conv1(images)))
        out = self.relu(self.bn2(self.conv2(out)))
        return self.relu(self.bn3(self.conv3(out)) + self.shortcut(images))


class ResNextCifar(nn.Module):
    """A ResNeXt of ``depth`` weighted layers with three stages, 32 groups at ``width_mult`` 1.

    Weights have PyTorch's default initialisation.

    Args:
        depth: Weighted layers on the longest path, plus 1: 9 per block of each stage, plus 2.
        num_classes: Outputs of the classifier.
        in_channels: Channels of the input image.
        width_mult: Multiplies the number of groups, and the channels of the stem; fractions are cut
            off. The channels of a group stay 1, 2 and 4.

    Raises:
        ValueError: If ``depth`` is not 9n + 2 with n >= 1, or ``width_mult`` leaves no channel.

    Example:
        >>> import torch
        >>> ResNextCifar(depth=20)(torch.zeros(2, 3, 32, 32)).shape
        torch.Size([2, 10])
    """

    def __init__(
        self,
        *,
        depth: int = 20,
        num_classes: int = 10,
        in_channels: int = 3,
        width_mult: float = 1.0,
    ) -> None:
        super().__init__()
        blocks, rest = divmod(depth - 2, 9)
        if rest or blocks < 1:
            raise ValueError(f"A CIFAR ResNeXt has depth 9n + 2 (11, 20, 29, 164): got {depth}.")
        stem, groups = scaled([STEM_WIDTH, CARDINALITY], width_mult)
        self.conv1 = nn.Conv2d(in_channels, stem, 1, bias=False)
        self.bn1 = nn.BatchNorm2d(stem)
        self.relu = nn.ReLU()

        def stage(entering: int, channels: int, stride: int) -> nn.Sequential:
            leaving = GroupedBlock.expansion * channels
            first = GroupedBlock(entering, channels, groups=groups, stride=stride)
            rest = (GroupedBlock(leaving, channels, groups=groups) for _ in range(blocks - 1))
            return nn.Sequential(first, *rest)

        first, second, third = (groups * width for width in GROUP_WIDTHS)
        self.layer1 = stage(stem, first, 1)
        self.layer2 = stage(2 * first, second, 2)
        self.layer3 = stage(2 * second, third, 2)
        self.pool = nn.AdaptiveAvgPool2d(1)
        self.fc = nn.Linear(2 * third, num_classes)

    def forward(self, images: Tensor) -> Tensor:
        out = self.relu(self.bn1(self.conv1(images)))
        out = self.layer3(self.layer2(self.layer1(out)))
        return self.fc(self.pool(out).flatten(1))
