"""Wide ResNets for small images: pre-activation blocks, few and wide.

Zagoruyko and Komodakis, "Wide Residual Networks" (BMVC 2016, arXiv:1605.07146). Three details are
those of the network that Li et al., "Group Sparsity: The Hinge Between Filter Pruning and
Decomposition" (CVPR 2020, arXiv:2003.08935), prune: convolutions have biases, the second one of a
block has the stride, and the shortcut takes the input before its activation.
"""

from __future__ import annotations

from torch import Tensor, nn

from widthwise.models.options import scaled

STEM_WIDTH = 16
STAGE_WIDTHS = (16, 32, 64)
"""Before they are widened."""


class PreActivationBlock(nn.Module):
    """Two times batch normalisation, ReLU and a 3x3 convolution, and a shortcut: ``x' + f(x)``.

    Args:
        in_channels: Channels entering the block.
        channels: Channels of both convolutions and of the output.
        stride: Stride of the second convolution and of the shortcut.
    """

    def __init__(self, in_channels: int, channels: int, *, stride: int = 1) -> None:
        super().__init__()
        self.bn1 = nn.BatchNorm2d(in_channels)
        self.conv1 = nn.Conv2d(in_channels, channels, 3, padding=1)
        self.bn2 = nn.BatchNorm2d(channels)
        self.conv2 = nn.Conv2d(channels, channels, 3, stride=stride, padding=1)
        self.relu = nn.ReLU()
        self.shortcut: nn.Module = nn.Identity()
        if stride != 1 or in_channels != channels:
            self.shortcut = nn.Conv2d(in_channels, channels, 1, stride=stride)

    def forward(self, images: Tensor) -> Tensor:
        out = self.conv1(self.relu(self.bn1(images)))
        out = self.conv2(self.relu(self.bn2(out)))
        return out + self.shortcut(images)


class WideResNet(nn.Module):
    """A wide ResNet of ``depth`` weighted layers with stages of 16, 32 and 64 times ``widen``.

    Weights have PyTorch's default initialisation.

    Args:
        depth: Weighted layers, shortcuts included: 6 per block of each stage, plus 4.
        widen: Multiplies the channels of the stages, not of the stem.
        num_classes: Outputs of the classifier.
        in_channels: Channels of the input image.
        width_mult: Multiplies all channels; fractions are cut off.

    Raises:
        ValueError: If ``depth`` is not 6n + 4 with n >= 1, or ``width_mult`` leaves no channel.

    Example:
        >>> import torch
        >>> WideResNet(depth=10, widen=2)(torch.zeros(2, 3, 32, 32)).shape
        torch.Size([2, 10])
    """

    def __init__(
        self,
        *,
        depth: int = 16,
        widen: int = 10,
        num_classes: int = 10,
        in_channels: int = 3,
        width_mult: float = 1.0,
    ) -> None:
        super().__init__()
        blocks, rest = divmod(depth - 4, 6)
        if rest or blocks < 1:
            raise ValueError(f"A wide ResNet has depth 6n + 4 (10, 16, 22, 28): got {depth}.")
        full = [STEM_WIDTH, *(widen * width for width in STAGE_WIDTHS)]
        stem, first, second, third = scaled(full, width_mult)
        self.conv = nn.Conv2d(in_channels, stem, 3, padding=1)

        def stage(entering: int, channels: int, stride: int) -> nn.Sequential:
            rest = (PreActivationBlock(channels, channels) for _ in range(blocks - 1))
            return nn.Sequential(PreActivationBlock(entering, channels, stride=stride), *rest)

        self.layer1 = stage(stem, first, 1)
        self.layer2 = stage(first, second, 2)
        self.layer3 = stage(second, third, 2)
        # The published network's: its running statistics are nearly those of the last batch.
        self.bn = nn.BatchNorm2d(third, momentum=0.9)
        self.relu = nn.ReLU()
        self.pool = nn.AdaptiveAvgPool2d(1)
        self.fc = nn.Linear(third, num_classes)

    def forward(self, images: Tensor) -> Tensor:
        out = self.layer3(self.layer2(self.layer1(self.conv(images))))
        return self.fc(self.pool(self.relu(self.bn(out))).flatten(1))
