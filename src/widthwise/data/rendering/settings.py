"""What rendered clips look like."""

from __future__ import annotations

from dataclasses import dataclass

from widthwise.errors import ConfigError


@dataclass(frozen=True, kw_only=True)
class RenderSettings:
    """Ranges that scenes are drawn from."""

    width: int = 320
    """Of frames, in pixels."""
    height: int = 240
    """Of frames, in pixels."""
    smallest: float = 20.0
    """Side of the smallest target at the start: the square root of its box's area, in pixels."""
    largest: float = 80.0
    """Side of the largest target at the start, in pixels."""
    decoys: bool = True
    """Whether things are pasted that are not the target, so that the edge of a paste does not
    tell where it is."""
    distractors: float = 0.5
    """Share of scenes in which things that look like the target move about."""
    occlusions: float = 0.35
    """Share of scenes in which something passes in front of the target."""
    plain: bool = False
    """Whether the background has one colour, instead of a photograph."""

    def __post_init__(self) -> None:
        problems = [
            f"`{name}` must be {rule}: got {getattr(self, name)}"
            for name, rule, holds in (
                ("width", "at least 32", self.width >= 32),
                ("height", "at least 32", self.height >= 32),
                ("smallest", "at least 8", self.smallest >= 8),
                ("largest", "at least `smallest`", self.largest >= self.smallest),
                (
                    "largest",
                    "at most half the shorter side of a frame",
                    2 * self.largest <= min(self.width, self.height),
                ),
                ("distractors", "in [0, 1]", 0 <= self.distractors <= 1),
                ("occlusions", "in [0, 1]", 0 <= self.occlusions <= 1),
            )
            if not holds
        ]
        if problems:
            raise ConfigError("Rendering is set up wrongly:\n    " + "\n    ".join(problems))
