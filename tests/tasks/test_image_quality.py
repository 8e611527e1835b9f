"""PSNR and SSIM follow one protocol, and agree with scikit-image where that does the same."""

from __future__ import annotations

import math

import pytest
import torch
from skimage.metrics import peak_signal_noise_ratio

from widthwise.errors import DataError
from widthwise.tasks.image_quality import as_shown, psnr, ssim


def images(channels: int = 1, side: int = 20) -> tuple[torch.Tensor, torch.Tensor]:
    """A clean image of whole numbers and a restored one of any, some outside 0 to 255."""
    generator = torch.Generator().manual_seed(0)
    clean = torch.randint(0, 256, (channels, side, side), generator=generator)
    noise = 30 * torch.randn(clean.shape, generator=generator)
    return clean + noise, clean.to(torch.uint8)


@pytest.mark.parametrize("channels", [1, 3])
def test_psnr_is_that_of_scikit_image(channels: int) -> None:
    """Of what an image file can hold, without the border."""
    output, clean = images(channels)
    shown = output.clamp(0, 255).round()[:, 2:-2, 2:-2].double().numpy()
    expected = peak_signal_noise_ratio(clean[:, 2:-2, 2:-2].double().numpy(), shown, data_range=255)
    assert psnr(output, clean, shave=2) == pytest.approx(expected, abs=1e-4)


def test_psnr_by_hand() -> None:
    """A difference of 51 of 255 everywhere is -20 log10(1 / 5) dB."""
    clean = torch.full((1, 4, 4), 100, dtype=torch.uint8)
    assert psnr(clean + 51.0, clean, shave=1) == pytest.approx(20 * math.log10(5))
    assert psnr(clean.float(), clean, shave=1) == math.inf


def test_the_output_is_clamped_and_rounded_and_the_clean_image_is_not() -> None:
    """A difference that vanishes in a file does not count; one of the clean image does."""
    clean = torch.full((1, 4, 4), 255.0)
    assert psnr(torch.full((1, 4, 4), 300.0), clean, shave=0) == math.inf
    assert psnr(torch.full((1, 4, 4), 254.7), clean, shave=0) == math.inf
    assert psnr(clean, torch.full((1, 4, 4), 254.7), shave=0) < 70
    assert as_shown(torch.tensor([-3.0, 0.4, 254.6, 300.0])).tolist() == [0, 0, 255, 255]


def test_the_border_is_left_out() -> None:
    """Only the pixels at the border are wrong: with one pixel shaved, nothing is."""
    clean = torch.zeros(1, 20, 20)
    output = torch.full((1, 20, 20), 200.0)
    output[:, 1:-1, 1:-1] = 0
    assert psnr(output, clean, shave=1) == math.inf
    assert ssim(output, clean, shave=1) == pytest.approx(1.0)
    assert psnr(output, clean, shave=0) < 30


def test_ssim_is_that_of_the_paper_in_the_middle() -> None:
    """For one window, means, variances and covariance weighted by a Gaussian give the value."""
    output, clean = images(side=11)
    offsets = torch.arange(11) - 5.0
    line = torch.exp(-offsets.square() / (2 * 1.5**2))
    weights = torch.outer(line, line) / line.sum() ** 2
    x, y = output[0].clamp(0, 255).round(), clean[0].float()
    mean_x, mean_y = (weights * x).sum(), (weights * y).sum()
    var_x = (weights * x.square()).sum() - mean_x**2
    var_y = (weights * y.square()).sum() - mean_y**2
    both = (weights * x * y).sum() - mean_x * mean_y
    c1, c2 = (0.01 * 255) ** 2, (0.03 * 255) ** 2
    expected = (2 * mean_x * mean_y + c1) * (2 * both + c2)
    expected = expected / ((mean_x**2 + mean_y**2 + c1) * (var_x + var_y + c2))
    # scikit-image leaves out 5 pixels at every side: what is left is the one window.
    assert ssim(output, clean, shave=0) == pytest.approx(expected.item(), abs=1e-4)


def test_colours_are_averaged() -> None:
    """SSIM of an RGB image is the mean of its channels."""
    output, clean = images(channels=3)
    each = [ssim(output[c : c + 1], clean[c : c + 1], shave=1) for c in range(3)]
    assert ssim(output, clean, shave=1) == pytest.approx(sum(each) / 3, abs=1e-6)


def test_an_image_smaller_than_the_window_is_refused() -> None:
    """The error says how large it has to be."""
    output, clean = images(side=12)
    with pytest.raises(DataError, match=r"12x12 pixels is too small(?s:.*)13 pixels"):
        ssim(output, clean, shave=1)
