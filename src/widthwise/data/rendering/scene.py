"""A scene: what can be seen in every frame of one clip, and where the target is."""

from __future__ import annotations

import io
from dataclasses import dataclass

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from widthwise.data.batches import derived_seed
from widthwise.data.rendering.cutouts import Cutout
from widthwise.data.rendering.drawing import Pasted, Pose, paste, view


@dataclass(frozen=True, kw_only=True)
class Actor:
    """Something pasted, in every frame of a scene."""

    cutout: Cutout
    poses: tuple[Pose | None, ...]
    """One per frame; None where it is not there."""
    bends: Tensor | None = None
    """How it is bent, shape ``[frames, 2, 3, 3]``; see `paste`."""

    def paste(self, frame: Tensor, number: int) -> Pasted | None:
        """Paste it into a frame, which is changed in place; see `drawing.paste`."""
        pose = self.poses[number]
        if pose is None:
            return None
        return paste(
            frame, self.cutout, pose, bend=None if self.bends is None else self.bends[number]
        )


@dataclass(frozen=True, kw_only=True)
class Camera:
    """What of the background one frame shows; see `view`."""

    centre: tuple[float, float]
    zoom: float
    roll: float


@dataclass(frozen=True, kw_only=True)
class Light:
    """How bright one frame is."""

    gain: float
    gamma: float
    cast: tuple[float, float, float]
    """Factors of red, green and blue."""


@dataclass(frozen=True, kw_only=True)
class Sensor:
    """What a camera adds to its pictures."""

    noise: float
    """Standard deviation, for pixels of 0 to 255."""
    quality: int
    """Of JPEG, 1 to 95."""


@dataclass(frozen=True, kw_only=True)
class Shot:
    """One frame, and the truth about it."""

    frame: Tensor
    """uint8, shape ``[3, h, w]``."""
    box: Tensor
    """Of the whole target, what is hidden and what lies outside of the frame included: float64,
    shape ``[4]``; NaN if nothing is left of it."""
    visible: float
    """Share of the target that is seen, 0 to 1."""


@dataclass(frozen=True, kw_only=True)
class Scene:
    """All that is needed to take any frame of a clip."""

    background: Tensor
    """Values of 0 to 1, shape ``[3, h, w]``."""
    cameras: tuple[Camera, ...]
    behind: tuple[Actor, ...]
    target: Actor
    in_front: tuple[Actor, ...]
    lights: tuple[Light, ...]
    sensor: Sensor
    size: tuple[int, int]
    """Height and width of frames."""
    seed: int
    """Of noise."""

    def __len__(self) -> int:
        """Count the frames."""
        return len(self.cameras)

    def shot(self, number: int) -> Shot:
        """Take a frame, the same at every call.

        Args:
            number: From 0.

        Returns:
            The frame and the truth.
        """
        camera = self.cameras[number]
        frame = view(
            self.background,
            centre=camera.centre,
            zoom=camera.zoom,
            roll=camera.roll,
            size=self.size,
        )
        for actor in self.behind:
            actor.paste(frame, number)
        target = self.target.paste(frame, number)
        assert target is not None
        seen = target.covers(*self.size)
        for actor in self.in_front:
            hidden = actor.paste(frame, number)
            if hidden is not None:
                seen &= ~hidden.covers(*self.size)
        frame = self._lit(frame, number)
        box = target.box()
        return Shot(
            frame=_taken(frame, self.sensor, seed=derived_seed(self.seed, number)),
            box=torch.full((4,), torch.nan, dtype=torch.float64) if box is None else box,
            visible=float(seen.sum()) / max(target.area, 1),
        )

    def _lit(self, frame: Tensor, number: int) -> Tensor:
        light = self.lights[number]
        cast = torch.tensor(light.cast).reshape(3, 1, 1)
        return (frame.clamp(0, 1) ** light.gamma * light.gain * cast).clamp(0, 1)


def _taken(frame: Tensor, sensor: Sensor, *, seed: int) -> Tensor:
    generator = torch.Generator().manual_seed(seed)
    noise = torch.randn(frame.shape, generator=generator) * sensor.noise
    pixels = (frame * 255 + noise).round().clamp(0, 255).to(torch.uint8)
    written = io.BytesIO()
    picture = Image.fromarray(pixels.permute(1, 2, 0).numpy())
    picture.save(written, "JPEG", quality=sensor.quality)
    with Image.open(written) as read:
        return torch.from_numpy(np.array(read)).permute(2, 0, 1).contiguous()
