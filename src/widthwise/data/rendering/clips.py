"""Rendered clips: sequences of frames with the truth about every one."""

from __future__ import annotations

import torch

from widthwise.data.batches import derived_seed
from widthwise.data.clips import Clip
from widthwise.data.rendering.studio import Studio
from widthwise.errors import DataError

_SEEN = 0.4
"""Share of the target that has to be seen in the first frame."""
_TRIES = 50


def render_clip(studio: Studio, seed: int, number: int, *, length: int) -> Clip:
    """Render a clip in whose first frame the target is seen.

    Args:
        studio: Draws scenes.
        seed: Of all clips.
        number: Of this one.
        length: Number of frames.

    Returns:
        The clip, in memory. Boxes are those of the whole target, whatever hides it; it is absent
        where nothing of it is seen.

    Raises:
        DataError: If fifty scenes in a row do not show enough of their target in the first frame.
    """
    for attempt in range(_TRIES):
        # Behind the numbers of pairs, which have a 0 there.
        scene = studio.scene(derived_seed(seed, number, attempt), 1, length=length)
        if scene.shot(0).visible < _SEEN:
            continue
        shots = [scene.shot(frame) for frame in range(length)]
        return Clip(
            name=f"rendered-{number + 1:03}",
            images=tuple(shot.frame for shot in shots),
            boxes=torch.stack([shot.box for shot in shots]),
            absent=torch.tensor([shot.visible == 0 for shot in shots]),
        )
    raise DataError(
        f"None of {_TRIES} rendered scenes shows enough of its target in the first frame.\n"
        "Hint: render smaller targets, or give other photographs."
    )
