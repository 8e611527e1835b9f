"""Scenes drawn at random, a number each: what a clip or a pair for training is taken of."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional

from widthwise.data.batches import derived_seed
from widthwise.data.rendering import motion
from widthwise.data.rendering.cutouts import Cutout, any_piece, cut_out, regions_of
from widthwise.data.rendering.drawing import Pose
from widthwise.data.rendering.motion import CALM, FAST, Pace, Random
from widthwise.data.rendering.scene import Actor, Camera, Light, Scene, Sensor
from widthwise.data.rendering.settings import RenderSettings
from widthwise.errors import DataError

_ANY_PIECE = 0.4
"""Share of things that are rectangles and ellipses, where there are others."""
_FAST = 0.25
_STILL_CAMERA = 0.2
_FADE = 0.1


@dataclass(frozen=True, kw_only=True)
class Still:
    """A photograph that scenes are made of."""

    pixels: Tensor
    """uint8, shape ``[3, h, w]``."""
    regions: Tensor | None = None
    """Number of the thing that every pixel belongs to, shape ``[h, w]``."""


class Studio:
    """Draws scenes from photographs.

    Args:
        stills: At least two.
        settings: Ranges.

    Raises:
        DataError: If there are fewer than two photographs.
    """

    def __init__(self, stills: Sequence[Still], settings: RenderSettings) -> None:
        if len(stills) < 2:
            raise DataError(
                f"Clips cannot be rendered from {len(stills)} photographs.\n"
                "Why: the target comes from one of them, and the background from another.\n"
                "Hint: give at least two."
            )
        self._stills = tuple(stills)
        self.settings = settings

    @cached_property
    def _things(self) -> list[list[Cutout]]:
        """Segments of every photograph that can pass for things."""
        return [
            [cut_out(still.pixels, mask) for mask in regions_of(still.regions)]
            if still.regions is not None
            else []
            for still in self._stills
        ]

    @cached_property
    def _with_things(self) -> list[int]:
        return [number for number, things in enumerate(self._things) if things]

    def scene(self, *numbers: int, length: int, steps: Sequence[int] | None = None) -> Scene:
        """Draw a scene.

        Args:
            *numbers: Seed and number of the scene: they decide it completely.
            length: Frames that pass.
            steps: Which of them are kept; all if not given.

        Returns:
            The scene, of the frames that are kept.
        """
        seed = derived_seed(*numbers)
        random = np.random.default_rng(seed)
        kept = range(length) if steps is None else steps
        photograph, thing = self._thing(random)
        backdrop = self._backdrop(random, without=photograph)
        fast = random.random() < _FAST
        cast = _Cast(random, settings=self.settings, length=length, kept=kept, backdrop=backdrop)
        target = cast.target(thing, FAST if fast else CALM)
        behind, in_front = [], []
        if self.settings.decoys:
            for _ in range(int(random.integers(3, 7))):
                _, piece = self._thing(random)
                behind.append(cast.extra(piece, moving=random.random() < 0.5))
        if random.random() < self.settings.distractors:
            for _ in range(int(random.integers(1, 4))):
                behind.append(cast.extra(self._alike(random, photograph, thing), moving=True))
        if random.random() < self.settings.occlusions:
            for _ in range(int(random.integers(1, 3))):
                in_front.append(cast.passing(self._thing(random)[1], target))
        return Scene(
            background=backdrop,
            cameras=cast.cameras(still=random.random() < _STILL_CAMERA),
            behind=tuple(behind),
            target=target,
            in_front=tuple(in_front),
            lights=cast.lights(fade=random.random() < _FADE),
            sensor=Sensor(noise=float(random.uniform(1, 4)), quality=int(random.integers(60, 96))),
            size=(self.settings.height, self.settings.width),
            seed=seed,
        )

    def _thing(self, random: Random) -> tuple[int, Cutout]:
        """Draw something to paste, and the number of its photograph."""
        if self._with_things and random.random() >= _ANY_PIECE:
            number = self._with_things[int(random.integers(len(self._with_things)))]
            things = self._things[number]
            return number, things[int(random.integers(len(things)))]
        number = int(random.integers(len(self._stills)))
        return number, any_piece(self._stills[number].pixels, random)

    def _alike(self, random: Random, photograph: int, thing: Cutout) -> Cutout:
        """Draw something that looks like the target but is not."""
        kind = int(random.integers(3))
        if kind == 0:
            return _other_hue(thing, random)
        if kind == 1:
            return _other_hue(thing.mirrored(), random)
        return any_piece(self._stills[photograph].pixels, random)

    def _backdrop(self, random: Random, *, without: int) -> Tensor:
        number = int(random.integers(len(self._stills) - 1))
        photograph = self._stills[number + (number >= without)].pixels.float() / 255
        if self.settings.plain:
            return photograph.mean((1, 2), keepdim=True).expand_as(photograph).contiguous()
        return photograph


class _Cast:
    """Draws the paths of everything in one scene.

    Args:
        random: Decides.
        settings: Ranges.
        length: Frames that pass.
        kept: Those of them that the scene has.
        backdrop: The background.
    """

    def __init__(
        self,
        random: Random,
        *,
        settings: RenderSettings,
        length: int,
        kept: Sequence[int],
        backdrop: Tensor,
    ) -> None:
        self._random = random
        self._settings = settings
        self._length = length
        self._kept = list(kept)
        self._backdrop = backdrop
        self._frame = np.array([settings.width, settings.height], dtype=float)

    def target(self, cutout: Cutout, pace: Pace) -> Actor:
        """Let the target move about, a side and a half away from the border at first."""
        settings, random = self._settings, self._random
        side = math.exp(random.uniform(math.log(settings.smallest), math.log(settings.largest)))
        return self._moving(cutout, side=side, pace=pace, margin=0.5 * side, bent=True)

    def extra(self, cutout: Cutout, *, moving: bool) -> Actor:
        """Let something else be in the scene."""
        settings, random = self._settings, self._random
        side = math.exp(random.uniform(math.log(settings.smallest), math.log(settings.largest)))
        pace = CALM if moving else Pace(sigma=0.0)
        return self._moving(cutout, side=side, pace=pace, margin=0.0, bent=False)

    def passing(self, cutout: Cutout, target: Actor) -> Actor:
        """Let something pass in front of the target, within 5 to 15 frames."""
        random = self._random
        middle = int(random.integers(len(target.poses)))
        pose = target.poses[middle]
        assert pose is not None
        wide = target.cutout.alpha.shape[1] * pose.across
        side = float(random.uniform(0.3, 0.9)) * wide
        angle = random.uniform(0, 2 * np.pi)
        speed = (wide + side) / random.integers(5, 16)
        velocity = speed * np.array([np.cos(angle), np.sin(angle)])
        after = np.array(self._kept)[:, None] - self._kept[middle]
        points = np.array([pose.x, pose.y]) + after * velocity
        thing = _sized(cutout, side)
        return Actor(
            cutout=thing,
            poses=tuple(
                Pose(x=x, y=y, across=1.0, down=1.0, step=(velocity[0], velocity[1]))
                if -side < x < self._frame[0] + side and -side < y < self._frame[1] + side
                else None
                for x, y in points
            ),
        )

    def cameras(self, *, still: bool) -> tuple[Camera, ...]:
        """Let the camera wander over the background."""
        random, length = self._random, self._length
        height, width = self._backdrop.shape[1:]
        # The background fills the frame, and a little more, where the view is not zoomed.
        scale = 1.15 * max(self._frame[0] / width, self._frame[1] / height)
        points = motion.path(
            random,
            length,
            start=np.array([width, height]) * random.uniform(0.35, 0.65, 2),
            low=np.zeros(2),
            high=np.array([width, height], dtype=float),
            side=1.0,
            pace=Pace(sigma=0.0 if still else 0.6 / scale),
        )
        zooms = np.exp(motion.wandering(random, length, sigma=0.0 if still else 0.004))
        rolls = motion.wandering(random, length, sigma=0.0 if still else math.radians(0.4))
        return tuple(
            Camera(
                centre=(points[frame][0], points[frame][1]),
                zoom=scale * float(np.clip(zooms[frame], 0.8, 1.25)),
                roll=float(np.clip(rolls[frame], -math.radians(2), math.radians(2))),
            )
            for frame in self._kept
        )

    def lights(self, *, fade: bool) -> tuple[Light, ...]:
        """Let the light change slowly."""
        random, length = self._random, self._length
        gains = random.uniform(0.8, 1.2) + motion.wandering(random, length, sigma=0.01)
        gammas = random.uniform(0.85, 1.2) + motion.wandering(random, length, sigma=0.006)
        casts = random.uniform(0.97, 1.03, 3) + np.stack(
            [motion.wandering(random, length, sigma=0.003) for _ in range(3)], axis=1
        )
        if fade:
            gains = gains * np.linspace(0.4, 1.0, length)
        return tuple(
            Light(
                gain=float(np.clip(gains[frame], 0.3, 1.3)),
                gamma=float(np.clip(gammas[frame], 0.8, 1.25)),
                cast=tuple(np.clip(casts[frame], 0.95, 1.05).tolist()),
            )
            for frame in self._kept
        )

    def _moving(
        self, cutout: Cutout, *, side: float, pace: Pace, margin: float, bent: bool
    ) -> Actor:
        random, length = self._random, self._length
        thing = self._blended(_sized(cutout, side))
        room = np.minimum(1.5 * side, 0.45 * self._frame) if bent else np.zeros(2)
        points = motion.path(
            random,
            length,
            start=random.uniform(room, self._frame - room),
            low=np.full(2, margin),
            high=self._frame - margin,
            side=side,
            pace=pace,
        )
        alive = 1.0 if pace.sigma else 0.0
        sizes = np.clip(np.exp(motion.wandering(random, length, sigma=0.012 * alive)), 0.55, 1.8)
        aspects = np.clip(motion.wandering(random, length, sigma=0.006 * alive), -0.1, 0.1)
        rolls = np.clip(motion.wandering(random, length, sigma=0.02 * alive), -0.26, 0.26)
        shears = np.clip(motion.wandering(random, length, sigma=0.01 * alive), -0.1, 0.1)
        steps = np.gradient(points, axis=0) if length > 1 else np.zeros_like(points)
        return Actor(
            cutout=thing,
            poses=tuple(
                Pose(
                    x=points[frame][0],
                    y=points[frame][1],
                    across=sizes[frame] * math.exp(aspects[frame]),
                    down=sizes[frame] * math.exp(-aspects[frame]),
                    roll=rolls[frame],
                    shear=shears[frame],
                    step=(steps[frame][0], steps[frame][1]),
                )
                for frame in self._kept
            ),
            bends=self._bends() if bent else None,
        )

    def _bends(self) -> Tensor:
        random, length = self._random, self._length
        points = [motion.wandering(random, length, sigma=0.003) for _ in range(18)]
        bends = np.clip(np.stack(points, axis=1)[self._kept], -0.05, 0.05)
        return torch.from_numpy(bends).reshape(-1, 2, 3, 3)

    def _blended(self, cutout: Cutout) -> Cutout:
        """Move a thing's mean colour towards the background's, as light that falls on both does."""
        weight = cutout.alpha.sum().clamp(min=1e-6)
        mean = (cutout.pixels * cutout.alpha).sum((1, 2)) / weight
        towards = 0.3 * (self._backdrop.mean((1, 2)) - mean)
        pixels = (cutout.pixels + towards.reshape(3, 1, 1)).clamp(0, 1)
        return Cutout(pixels=pixels, alpha=cutout.alpha)


def _sized(cutout: Cutout, side: float) -> Cutout:
    """Resize a thing, so that the square root of its box's area is a number of pixels."""
    high, wide = cutout.alpha.shape
    factor = side / math.sqrt(high * wide)
    size = max(round(high * factor), 2), max(round(wide * factor), 2)
    layers = functional.interpolate(
        torch.cat([cutout.pixels, cutout.alpha[None]])[None],
        size=size,
        mode="bilinear",
        antialias=True,
        align_corners=False,
    )[0]
    return Cutout(pixels=layers[:3], alpha=layers[3])


def _other_hue(cutout: Cutout, random: Random) -> Cutout:
    """Turn the hue of a thing by 20 to 180 degrees."""
    angle = math.radians(random.uniform(20, 180)) * random.choice([-1, 1])
    cosine, sine = math.cos(angle), math.sin(angle)
    # A rotation around the grey axis of the colour cube (Rodrigues).
    axis = torch.full((3,), 1 / math.sqrt(3))
    cross = torch.tensor(
        [[0.0, -axis[2], axis[1]], [axis[2], 0.0, -axis[0]], [-axis[1], axis[0], 0.0]]
    )
    turn = cosine * torch.eye(3) + sine * cross + (1 - cosine) * torch.outer(axis, axis)
    pixels = torch.einsum("ij,jhw->ihw", turn, cutout.pixels).clamp(0, 1)
    return Cutout(pixels=pixels, alpha=cutout.alpha)
