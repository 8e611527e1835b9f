"""Tracking with DiMP.

Bhat et al., "Learning Discriminative Model Prediction for Tracking" (ICCV 2019, arXiv:1904.07220),
with the constants of its published code.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace

import torch
from torch import Tensor

from widthwise.errors import ConfigError
from widthwise.models.dimp.box_head import Levels
from widthwise.models.dimp.filter_optimizer import apply_filter
from widthwise.models.dimp.network import SIDE, STRIDES, Dimp
from widthwise.tracking.dimp.localisation import Finding, LocalisationSettings, Located, locate
from widthwise.tracking.dimp.memory import MemorySettings, SampleMemory
from widthwise.tracking.dimp.refinement import RefinementSettings, refined
from widthwise.tracking.dimp.views import View, looked_at, shifted_box

_FAR = 0.3
"""Shift of a view, as a share of the crop's side: the target stays inside of it."""
_SMALLEST_SIDE = 2.0
"""Of a box, in pixels of the frame."""

VIEWS = (
    View(),
    *(View(shift=(x, y)) for x in (-_FAR, _FAR) for y in (-_FAR, _FAR)),
    View(mirrored=True),
    *(View(blur=blur) for blur in ((3.0, 1.0), (1.0, 3.0), (2.0, 2.0))),
    *(View(degrees=degrees) for degrees in (10.0, -10.0, 45.0, -45.0)),
)
"""What a filter is learned from on the first frame."""


@dataclass(frozen=True, kw_only=True)
class DimpSettings:
    """How DiMP follows a target."""

    side: int = SIDE
    """Height and width of crops in pixels, a multiple of 16."""
    context: float = 5.0
    """Side of a crop, in sides of a square that has the target's area."""
    inside: float = 0.2
    """Share of the target's sides that stays in the frame."""
    first_views: tuple[View, ...] = VIEWS
    """Of the first frame; the first of them is the plain one."""
    random_shift: float = 1 / 6
    """How far views without a shift are moved at random, at most, as a share of the crop's side."""
    dropout: float = 0.2
    """Share of channels left out in further samples of the first frame."""
    dropout_samples: int = 2
    """How many these are."""
    first_iterations: int = 10
    """Steps of the filter on the first frame."""
    iterations: int = 2
    """Steps at a regular update."""
    hard_iterations: int = 1
    """Steps at once where something else looks like the target."""
    update_every: int = 20
    """Frames from one regular update to the next."""
    localisation: LocalisationSettings = field(default_factory=LocalisationSettings)
    """How scores are read."""
    refinement: RefinementSettings = field(default_factory=RefinementSettings)
    """How boxes are refined."""
    memory: MemorySettings = field(default_factory=MemorySettings)
    """What is remembered."""
    seed: int = 0
    """Of everything random: shifts, dropout and start boxes. The same seed gives the same boxes."""


class DimpTracker:
    """A tracker, see `widthwise.tracking.running.Tracker`.

    After each frame, `finding` tells what its scores said. Where the target was not found the box
    stays, and where it is uncertain nothing is learned.

    Args:
        network: In evaluation mode, on any device. Not changed.
        settings: How it follows.

    Raises:
        ConfigError: If crops of that side have no whole number of cells.
    """

    def __init__(self, network: Dimp, settings: DimpSettings | None = None) -> None:
        self.settings = settings or DimpSettings()
        if self.settings.side < 4 * STRIDES[1] or self.settings.side % STRIDES[1]:
            raise ConfigError(
                f"`side` must be a multiple of {STRIDES[1]} of at least {4 * STRIDES[1]}: got "
                f"{self.settings.side}.\n"
                "Why: a crop is divided into cells, and the middle of one is where the target was."
            )
        self._network = network
        self.score = float("nan")
        """Score of the place in the last frame, as a share in ``[0, 1]``; NaN before the second."""

    @torch.no_grad()
    def start(self, frame: Tensor, box: Tensor) -> None:
        """Learn a filter on views of the first frame; see `Tracker`."""
        settings, network = self.settings, self._network
        self._generator = torch.Generator().manual_seed(settings.seed)
        self._number = 0
        self.score = float("nan")
        self.finding = Finding.NORMAL
        self._centre = box[:2].double().cpu() + box[2:].double().cpu() / 2
        self._size = box[2:].double().cpu()
        views = [settings.first_views[0], *map(self._moved, settings.first_views[1:])]
        maps = self._maps(frame, views)
        features = network.classifier.features(maps.coarse)
        size = self._size * settings.side / self._crop_side
        boxes = torch.stack([shifted_box(size, view, side=settings.side) for view in views])
        copies = settings.dropout_samples
        features = torch.cat([features, *(self._dropped(features[:1]) for _ in range(copies))])
        boxes = torch.cat([boxes, boxes[:1].expand(copies, 4)]).to(features)
        self._memory = SampleMemory(features, boxes, settings.memory)
        iterations = settings.first_iterations
        self._filter = network.classifier.filters(
            features[None], boxes[None], iterations=iterations
        )[-1]
        self._modulation = network.box_head.modulation(
            Levels(*(each[:1] for each in maps)), boxes[:1]
        )

    @torch.no_grad()
    def follow(self, frame: Tensor) -> Tensor:
        """Find the target, fit the box, and learn from it; see `Tracker`."""
        self._number += 1
        maps = self._maps(frame, [View()])
        features = self._network.classifier.features(maps.coarse)
        located = self._located(features)
        self.finding = located.finding
        # What is learned is 1 at the target and 0 elsewhere; both can be overshot.
        self.score = min(max(located.score, 0.0), 1.0)
        if located.finding is not Finding.NOT_FOUND:
            # Cells of this crop, which the memory needs, are those around the last centre.
            before, zoom = self._centre, self.settings.side / self._crop_side
            self._centre = before + located.moved * STRIDES[1] / zoom
            self._keep_inside(frame)
            self._refine(maps, before, zoom)
            self._keep_inside(frame)
            if located.finding is not Finding.UNCERTAIN:
                self._learn(features, self._in_crop(before, zoom))
        return torch.cat([self._centre - self._size / 2, self._size])

    @property
    def _crop_side(self) -> float:
        """Side of a crop around the target, in pixels of the frame."""
        return self.settings.context * float(self._size.prod().sqrt())

    def _maps(self, frame: Tensor, views: list[View]) -> Levels:
        crops = looked_at(
            frame, self._centre, self._crop_side, size=self.settings.side, views=views
        )
        return self._network.maps(crops.to(self._network.mean))

    def _located(self, features: Tensor) -> Located:
        scores = apply_filter(features[None], self._filter)[0, 0]
        cells = self._size * self.settings.side / self._crop_side / STRIDES[1]
        return locate(scores, cells, self.settings.localisation)

    def _in_crop(self, centre: Tensor, zoom: float) -> Tensor:
        """Return the present box in pixels of a crop around a centre."""
        middle = (self._centre - centre) * zoom + self.settings.side / 2
        size = self._size * zoom
        return torch.cat([middle - size / 2, size]).to(self._network.mean)

    def _refine(self, maps: Levels, centre: Tensor, zoom: float) -> None:
        head = self._network.box_head
        embedded = head.embedded(maps)
        found = refined(
            self._in_crop(centre, zoom),
            lambda boxes: head.overlaps(self._modulation, embedded, boxes[None])[0],
            self.settings.refinement,
            self._generator,
        )
        if found is not None:
            box = found.double().cpu()
            middle = box[:2] + box[2:] / 2 - self.settings.side / 2
            self._centre, self._size = centre + middle / zoom, box[2:] / zoom

    def _keep_inside(self, frame: Tensor) -> None:
        extent = torch.tensor([frame.shape[2], frame.shape[1]]).double()
        self._size = self._size.clamp(min=_SMALLEST_SIDE).minimum(extent)
        reach = (0.5 - self.settings.inside) * self._size
        self._centre = self._centre.maximum(-reach).minimum(extent + reach)

    def _learn(self, features: Tensor, box: Tensor) -> None:
        settings, hard = self.settings, self.finding is Finding.HARD_NEGATIVE
        rate = settings.memory.hard_rate if hard else settings.memory.rate
        self._memory.add(features[0], box, rate=rate)
        if hard:
            iterations = settings.hard_iterations
        elif self._number % settings.update_every == 0:
            iterations = settings.iterations
        else:
            return
        self._filter = self._network.classifier.optimizer(
            self._filter,
            self._memory.features[None],
            self._memory.boxes[None],
            sample_weights=self._memory.weights[None].to(features),
            iterations=iterations,
        )[-1]

    def _moved(self, view: View) -> View:
        """Move a view at random, unless it is moved already."""
        if view.shift != (0.0, 0.0):
            return view
        x, y = (torch.rand(2, generator=self._generator) * 2 - 1) * self.settings.random_shift
        return replace(view, shift=(float(x), float(y)))

    def _dropped(self, features: Tensor) -> Tensor:
        """Leave out channels at random, and strengthen the others."""
        keep = 1 - self.settings.dropout
        chosen = torch.rand(1, features.shape[1], 1, 1, generator=self._generator) < keep
        return features * chosen.to(features) / keep
