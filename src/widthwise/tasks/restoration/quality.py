"""How near a restored image is to the clean one: PSNR and SSIM, by one protocol.

The output is brought to the 256 values an image file can hold, the clean image is taken as it is,
pixels at the border are left out, and values of several images are averaged, never pooled. This is
how Li et al. evaluate denoising and super-resolution ("DHP", arXiv:2003.13683, released code).
torchmetrics pools over the batch, and is not used.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor

from widthwise.errors import DataError
from widthwise.measures import Measure

PEAK = 255.0
"""Largest pixel value."""
SMALLEST = 11
"""Side in pixels of the window that SSIM looks through."""
LUMA = (65.738 / 256, 129.057 / 256, 25.064 / 256)
"""Weights of red, green and blue in brightness, as in ITU-R BT.601 without its offset."""

PSNR = Measure(name="psnr", title="PSNR", unit="dB", digits=2)
"""Peak signal-to-noise ratio, in dB."""
SSIM = Measure(name="ssim", title="SSIM", digits=4)
"""Structural similarity, 1 for equal images."""


def as_shown(output: Tensor) -> Tensor:
    """Bring values to those that an image file can hold.

    Args:
        output: Pixels on the scale of 0 to 255, any shape.

    Returns:
        Whole numbers in [0, 255], float32.
    """
    return output.float().clamp(0.0, PEAK).round()


@dataclass(frozen=True, kw_only=True)
class Comparison:
    """What of an image is compared."""

    shave: int
    """Pixels left out at every side."""
    luma: bool = False
    """Whether brightness alone is compared, instead of all channels together."""

    def psnr(self, output: Tensor, clean: Tensor) -> float:
        """Compute the peak signal-to-noise ratio of one image.

        Args:
            output: Pixels of the restored image on the scale of 0 to 255, shape ``[c, h, w]``;
                clamped and rounded before they are compared.
            clean: The clean image, of the same shape, as it is.

        Returns:
            dB; infinity for equal images.

        Example:
            >>> import torch
            >>> compared = Comparison(shave=1)
            >>> round(compared.psnr(torch.zeros(1, 5, 5), torch.full((1, 5, 5), 25.5)), 6)
            20.0
        """
        difference = self._seen(as_shown(output)) - self._seen(clean)
        error = (difference / PEAK).double().square().mean().item()
        return math.inf if error == 0 else -10 * math.log10(error)

    def ssim(self, output: Tensor, clean: Tensor) -> float:
        """Compute the structural similarity of one image.

        Wang et al., "Image Quality Assessment: From Error Visibility to Structural Similarity" (TIP
        2004): a Gaussian window of 11x11 pixels, standard deviation 1.5, and the mean of all
        channels.

        Args:
            output: As of `psnr`.
            clean: As of `psnr`.

        Returns:
            At most 1, which is reached by equal images.

        Raises:
            DataError: If the image is smaller than the window.
        """
        from skimage.metrics import structural_similarity

        shown, target = (self._seen(image) for image in (as_shown(output), clean))
        if min(target.shape[1:]) < SMALLEST:
            _, height, width = clean.shape
            raise DataError(
                f"An image of {height}x{width} pixels is too small to be measured: SSIM needs "
                f"{SMALLEST + 2 * self.shave} pixels in both directions.\n"
                "Hint: test on larger images."
            )
        return float(
            structural_similarity(
                target.cpu().numpy(),
                shown.cpu().numpy(),
                channel_axis=0,
                data_range=PEAK,
                gaussian_weights=True,
                sigma=1.5,
                use_sample_covariance=False,
            )
        )

    def _seen(self, image: Tensor) -> Tensor:
        _, height, width = image.shape
        shave = self.shave
        inner = image[:, shave : height - shave, shave : width - shave].float()
        if not self.luma:
            return inner
        weights = torch.tensor(LUMA, device=inner.device).reshape(3, 1, 1)
        return (inner * weights).sum(0, keepdim=True)
