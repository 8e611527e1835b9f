"""DnCNN: convolutions in a row that estimate what to add to a noisy image to make it clean.

Zhang et al., "Beyond a Gaussian Denoiser: Residual Learning of Deep CNN for Image Denoising" (TIP
2017, arXiv:1608.03981). Head and blocks have biases, as in the networks that DHP (Li et al., 2020,
arXiv:2003.13683) starts from; the paper's blocks have none.
"""

from __future__ import annotations

from torch import Tensor, nn


class DnCNN(nn.Module):
    """A 3x3 convolution with ReLU, blocks of convolution, normalisation and ReLU, a convolution.

    The output is the input plus what the last convolution gives. Weights have PyTorch's default
    initialisation.

    Args:
        in_channels: Channels of the image: 1 for grey, 3 for colour.
        features: Channels of every layer but the last.
        blocks: Blocks between the first and the last convolution: 15 for the 17 layers published.
        norm: Whether blocks have batch normalisation.

    Raises:
        ValueError: If a number is below 1.

    Example:
        >>> import torch
        >>> DnCNN(features=8, blocks=2)(torch.zeros(2, 1, 30, 20)).shape
        torch.Size([2, 1, 30, 20])
    """

    def __init__(
        self, *, in_channels: int = 1, features: int = 64, blocks: int = 15, norm: bool = True
    ) -> None:
        super().__init__()
        if min(in_channels, features, blocks) < 1:
            raise ValueError(
                "DnCNN needs at least one input channel, feature and block: got "
                f"{in_channels}, {features} and {blocks}."
            )
        self.head = nn.Conv2d(in_channels, features, 3, padding=1)
        self.relu = nn.ReLU()
        self.body = nn.Sequential(*(_block(features, norm=norm) for _ in range(blocks)))
        self.tail = nn.Conv2d(features, in_channels, 3, padding=1)

    def forward(self, images: Tensor) -> Tensor:
        return images + self.tail(self.body(self.relu(self.head(images))))


def _block(features: int, *, norm: bool) -> nn.Sequential:
    convolution = nn.Conv2d(features, features, 3, padding=1)
    norms = [nn.BatchNorm2d(features)] if norm else []
    return nn.Sequential(convolution, *norms, nn.ReLU())
