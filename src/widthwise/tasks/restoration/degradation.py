"""What a network is to undo: how its input is made, and how its output is judged."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Protocol

import torch
from torch import Tensor

from widthwise.data.batches import derived_seed
from widthwise.data.bicubic import larger
from widthwise.tasks.restoration.quality import PEAK, Comparison

TEST_SEED = 0
"""Noise of test images belongs to the task: no seed of a run changes it."""


class Degradation(Protocol):
    """Makes inputs of a network out of what is stored, and says what to compare."""

    title: str
    """Of the degraded image in reports."""
    advice: str
    """What to set where a network does not fit."""

    @property
    def scale(self) -> int:
        """Side of the clean image in sides of the degraded one."""
        ...

    @property
    def comparison(self) -> Comparison:
        """How outputs are compared with clean images."""
        ...

    def inputs(self, given: Tensor, *, seed: int) -> Tensor:
        """Make training inputs.

        Args:
            given: uint8, shape ``[b, c, h, w]``. Not changed.
            seed: Determines completely what is random about them.

        Returns:
            Pixels on the scale of 0 to 1.
        """
        ...

    def test_input(self, given: Tensor, number: int) -> Tensor:
        """Make the input of a test image, the same at every call and on every device.

        Args:
            given: uint8, shape ``[c, h, w]``.
            number: Of the image among the test images.

        Returns:
            Pixels on the scale of 0 to 1, on the device of what is given.
        """
        ...

    def unrestored(self, given: Tensor, number: int) -> Tensor:
        """Return what a person would look at without a network: of the size of the clean image.

        Args:
            given: As of `test_input`.
            number: As of `test_input`.

        Returns:
            Pixels on the scale of 0 to 1.
        """
        ...

    def facts(self) -> Mapping[str, Any]:
        """Say what an exported file has to carry."""
        ...


@dataclass(frozen=True, kw_only=True)
class Noise:
    """White Gaussian noise: fresh in every training step, always the same in tests."""

    sigma: float
    """Standard deviation, for pixels of 0 to 255."""

    title = "noisy"
    advice = "`--model.options.in_channels {channels}`, or `--task.colour`"
    scale = 1
    comparison = Comparison(shave=1)

    def inputs(self, given: Tensor, *, seed: int) -> Tensor:
        """Add noise; nothing is clipped or rounded. See `Degradation.inputs`."""
        return noisy(given.float() / PEAK, sigma=self.sigma, seed=seed)

    def test_input(self, given: Tensor, number: int) -> Tensor:
        """Add the noise that belongs to a number; see `Degradation.test_input`."""
        # Drawn on the CPU, so that every device is tested on the same noise.
        clean = given.cpu().float() / PEAK
        seed = derived_seed(TEST_SEED, number)
        return noisy(clean, sigma=self.sigma, seed=seed).to(given.device)

    def unrestored(self, given: Tensor, number: int) -> Tensor:
        """Return the noisy image; see `Degradation.unrestored`."""
        return self.test_input(given, number)

    def facts(self) -> Mapping[str, Any]:
        """Name the noise; see `Degradation.facts`."""
        return {
            "input": "noisy pixels / 255; the output is clean pixels / 255",
            "sigma": self.sigma,
        }


@dataclass(frozen=True, kw_only=True)
class Downscaling:
    """Bicubic scaling to a fraction of the size."""

    scale: int
    shave: int
    """Pixels at the border that are not measured."""
    luma: bool
    """Whether brightness alone is compared."""

    title = "bicubic"
    advice = (
        "`--model.options.scale {scale}` and `--model.options.in_channels {channels}`, or "
        "`--task.scale` and `--task.colour`"
    )

    @property
    def comparison(self) -> Comparison:
        """How outputs are compared with large images."""
        return Comparison(shave=self.shave, luma=self.luma)

    def inputs(self, given: Tensor, *, seed: int) -> Tensor:
        """Return small images as they are; see `Degradation.inputs`."""
        return given.float() / PEAK

    def test_input(self, given: Tensor, number: int) -> Tensor:
        """Return a small image as it is; see `Degradation.test_input`."""
        return given.float() / PEAK

    def unrestored(self, given: Tensor, number: int) -> Tensor:
        """Enlarge by bicubic scaling; see `Degradation.unrestored`."""
        return larger(given, self.scale).float() / PEAK

    def facts(self) -> Mapping[str, Any]:
        """Name the scale; see `Degradation.facts`."""
        return {
            "input": "pixels of the small image / 255; the output is pixels of the large one / 255",
            "scale": self.scale,
            "luma": self.luma,
            "shave": self.shave,
        }


def noisy(clean: Tensor, *, sigma: float, seed: int) -> Tensor:
    """Add white Gaussian noise; nothing is clipped or rounded.

    Args:
        clean: Pixels on the scale of 0 to 1. Not changed.
        sigma: Standard deviation of the noise on the scale of 0 to 255.
        seed: Determines the noise completely, on one kind of device.

    Returns:
        A new tensor.
    """
    generator = torch.Generator(device=clean.device).manual_seed(seed)
    noise = torch.randn(clean.shape, generator=generator, device=clean.device)
    return clean + noise * (sigma / PEAK)
