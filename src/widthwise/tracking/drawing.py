"""Boxes drawn into frames."""

from __future__ import annotations

from typing import Any

import numpy as np
from PIL import Image, ImageDraw
from torch import Tensor

TRUE = (64, 220, 64)
"""Colour of true boxes."""
FOUND = (255, 64, 64)
"""Colour of boxes that a tracker has found."""


def marked(frame: Tensor, *, truth: Tensor | None = None, found: Tensor | None = None) -> Any:
    """Draw boxes into a frame.

    Args:
        frame: uint8, shape ``[3, h, w]``. Not changed.
        truth: The true box, shape ``[4]``; nothing is drawn if it is not given or unknown.
        found: That of a tracker.

    Returns:
        uint8 array, shape ``[h, w, 3]``.
    """
    picture = Image.fromarray(frame.permute(1, 2, 0).contiguous().numpy())
    pen = ImageDraw.Draw(picture)
    for box, colour in ((truth, TRUE), (found, FOUND)):
        if box is not None and bool(box.isfinite().all()):
            x, y, width, height = box.tolist()
            pen.rectangle(
                [x, y, x + max(width, 1), y + max(height, 1)],
                outline=colour,
                width=max(1, picture.width // 200),
            )
    return np.array(picture)
