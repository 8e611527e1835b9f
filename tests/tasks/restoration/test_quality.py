"""PSNR and SSIM follow one protocol, and agree with scikit-image where that does the same."""

from __future__ import annotations

import math

import pytest
import torch
from skimage.color import rgb2ycbcr
from skimage.metrics import peak_signal_noise_ratio, structural_similarity

from widthwise.errors import DataError
from widthwise.tasks.restoration.quality import LUMA, Comparison, as_shown


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
    assert Comparison(shave=2).psnr(output, clean) == pytest.approx(expected, abs=1e-4)


def test_psnr_by_hand() -> None:
    """A difference of 51 of 255 everywhere is -20 log10(1 / 5) dB."""
    clean = torch.full((1, 4, 4), 100, dtype=torch.uint8)
    assert Comparison(shave=1).psnr(clean + 51.0, clean) == pytest.approx(20 * math.log10(5))
    assert Comparison(shave=1).psnr(clean.float(), clean) == math.inf


def test_the_output_is_clamped_and_rounded_and_the_clean_image_is_not() -> None:
    """A difference that vanishes in a file does not count; one of the clean image does."""
    compared = Comparison(shave=0)
    clean, other = torch.full((1, 4, 4), 255.0), torch.full((1, 4, 4), 254.7)
    assert compared.psnr(torch.full((1, 4, 4), 300.0), clean) == math.inf
    assert compared.psnr(other, clean) == math.inf
    assert compared.psnr(clean, other) < 70
    assert as_shown(torch.tensor([-3.0, 0.4, 254.6, 300.0])).tolist() == [0, 0, 255, 255]


def test_the_border_is_left_out() -> None:
    """Only the pixels at the border are wrong: with one pixel shaved, nothing is."""
    clean = torch.zeros(1, 20, 20)
    output = torch.full((1, 20, 20), 200.0)
    output[:, 1:-1, 1:-1] = 0
    assert Comparison(shave=1).psnr(output, clean) == math.inf
    assert Comparison(shave=1).ssim(output, clean) == pytest.approx(1.0)
    assert Comparison(shave=0).psnr(output, clean) < 30


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
    assert Comparison(shave=0).ssim(output, clean) == pytest.approx(expected.item(), abs=1e-4)


def test_colours_are_averaged() -> None:
    """SSIM of an RGB image is the mean of its channels."""
    output, clean = images(channels=3)
    each = [Comparison(shave=1).ssim(output[c : c + 1], clean[c : c + 1]) for c in range(3)]
    assert Comparison(shave=1).ssim(output, clean) == pytest.approx(sum(each) / 3, abs=1e-6)


def test_an_image_smaller_than_the_window_is_refused() -> None:
    """The error says how large it has to be."""
    output, clean = images(side=12)
    with pytest.raises(DataError, match=r"12x12 pixels is too small(?s:.*)13 pixels"):
        Comparison(shave=1).ssim(output, clean)


def test_brightness_is_that_of_the_standard_without_its_offset() -> None:
    """PSNR of luma is that of scikit-image's Y, of images rounded before and not after."""
    output, clean = images(channels=3)
    shown, target = (
        rgb2ycbcr(image.permute(1, 2, 0).double().numpy() / 255)[3:-3, 3:-3, 0]
        for image in (output.clamp(0, 255).round(), clean)
    )
    expected = peak_signal_noise_ratio(target, shown, data_range=255)
    # Its weights are 65.481, 128.553 and 24.966 of 255: the same to four digits.
    assert Comparison(shave=3, luma=True).psnr(output, clean) == pytest.approx(expected, abs=1e-2)
    assert Comparison(shave=3).psnr(output, clean) < expected - 1


def test_similarity_of_brightness_is_that_of_the_grey_image() -> None:
    """SSIM with luma is that of the weighted sum of the channels."""
    output, clean = images(channels=3)
    weights = torch.tensor(LUMA).reshape(3, 1, 1)
    grey = [(image.float() * weights).sum(0, keepdim=True) for image in (as_shown(output), clean)]
    expected = structural_similarity(
        grey[1][0].numpy(),
        grey[0][0].numpy(),
        data_range=255.0,
        gaussian_weights=True,
        sigma=1.5,
        use_sample_covariance=False,
    )
    assert Comparison(shave=0, luma=True).ssim(output, clean) == pytest.approx(expected, abs=1e-6)
