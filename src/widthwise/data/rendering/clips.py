"""Rendered clips: sequences of frames with the truth about every one."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property

import torch
from torch import Tensor

from widthwise.data.batches import derived_seed
from widthwise.data.rendering.scene import Scene
from widthwise.data.rendering.studio import Studio

_SEEN = 0.4
"""Share of the target that has to be seen in the first frame."""


@dataclass(frozen=True)
class RenderedClip:
    """A clip whose frames are rendered when they are first asked for, and kept."""

    name: str
    scene: Scene

    def __len__(self) -> int:
        """Count the frames."""
        return len(self.scene)

    @property
    def size(self) -> tuple[int, int]:
        """Height and width of frames, in pixels."""
        return self.scene.size

    @cached_property
    def _shots(self) -> tuple[Tensor, Tensor, Tensor]:
        shots = [self.scene.shot(number) for number in range(len(self))]
        return (
            torch.stack([shot.frame for shot in shots]),
            torch.stack([shot.box for shot in shots]),
            torch.tensor([shot.visible for shot in shots]),
        )

    @property
    def boxes(self) -> Tensor:
        """Of the target in every frame, hidden parts included: float64, shape ``[n, 4]``."""
        return self._shots[1]

    @property
    def visible(self) -> Tensor:
        """Share of the target that is seen, shape ``[n]``."""
        return self._shots[2]

    @property
    def absent(self) -> Tensor:
        """Whether nothing of the target is seen, bool, shape ``[n]``."""
        return self.visible == 0

    def frames(self, start: int = 0, stop: int | None = None) -> Iterator[Tensor]:
        """Give frames.

        Args:
            start: The first, from 0.
            stop: Behind the last; None for all.

        Yields:
            uint8, shape ``[3, h, w]`` each.
        """
        yield from self._shots[0][start:stop]


def render_clip(studio: Studio, seed: int, number: int, *, length: int) -> RenderedClip:
    """Draw a clip in whose first frame the target is seen.

    Args:
        studio: Draws scenes.
        seed: Of all clips.
        number: Of this one.
        length: Number of frames.

    Returns:
        The clip.
    """
    attempt = 0
    while True:
        scene = studio.scene(derived_seed(seed, number, attempt), 1, length=length)
        if scene.shot(0).visible >= _SEEN:
            return RenderedClip(name=f"rendered-{number + 1:03}", scene=scene)
        attempt += 1
