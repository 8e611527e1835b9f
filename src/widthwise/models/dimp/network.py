"""DiMP: a backbone, a classifier that finds the target, and a branch that fits a box around it.

Bhat et al., "Learning Discriminative Model Prediction for Tracking" (ICCV 2019, arXiv:1904.07220).
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import torch
from torch import Tensor, nn

import widthwise as ww
from widthwise.errors import ConfigError
from widthwise.models.dimp.backbones import backbone_named
from widthwise.models.dimp.box_head import BoxHead, Levels
from widthwise.models.dimp.classifier import Classifier
from widthwise.models.dimp.filter_optimizer import apply_filter
from widthwise.network.batches import evaluating

SIDE = 288
"""Height and width of the crops of the published trackers, in pixels."""
STRIDES = (8, 16)
"""Pixels of a crop per cell of the two maps of the backbone."""
_IMAGENET_MEAN = (0.485, 0.456, 0.406)
_IMAGENET_STD = (0.229, 0.224, 0.225)


class DimpOutput(NamedTuple):
    """What the network makes of a batch of sequences."""

    scores: Tensor
    """``[batch, filters, frames, rows, columns]``, by the first filter and by that of each step."""
    overlaps: Tensor
    """``[batch, frames, boxes]``: twice the predicted overlap, minus 1."""


class Dimp(nn.Module):
    """A tracker whose filter is learned, from the first frames of a sequence, inside the forward.

    Args:
        backbone: Name of a network of timm, of which only the layers up to stride 16 are built; a
            MODEL as `widthwise.models.resolve` takes it, of which only these stay, such as the run
            folder of a narrowed classifier, whose weights are kept; or a module that returns two
            maps, of strides 8 and 16.
        pretrained: Whether a network of timm gets the weights that timm has for it.
        classifier_width: Channels of the classifier's features and of its filter.
        classifier_blocks: Residual blocks in front of them.
        box_width: Channels of the box branch.
        iterations: Steps in which the filter is improved in a forward.

    Raises:
        ConfigError: If there is no such network, or the backbone does not return such maps.

    Example:
        >>> network = Dimp("test_resnet", classifier_width=32, box_width=16)
        >>> frames, boxes = torch.rand(1, 2, 3, 64, 64), torch.rand(1, 2, 4) * 20 + 10
        >>> output = network.eval()(frames, boxes, frames, boxes[:, :, None].expand(1, 2, 5, 4))
        >>> output.scores.shape, output.overlaps.shape
        (torch.Size([1, 6, 2, 5, 5]), torch.Size([1, 2, 5]))
    """

    def __init__(
        self,
        backbone: str | nn.Module = "resnet50",
        *,
        pretrained: bool = False,
        classifier_width: int = 512,
        classifier_blocks: int = 0,
        box_width: int = 256,
        iterations: int = 5,
    ) -> None:
        super().__init__()
        if isinstance(backbone, str):
            backbone = backbone_named(backbone, STRIDES, pretrained=pretrained)
        fine, coarse = _channels(backbone)
        self.backbone = backbone
        self.classifier = Classifier(
            coarse,
            classifier_width,
            blocks=classifier_blocks,
            stride=STRIDES[1],
            iterations=iterations,
        )
        self.box_head = BoxHead(fine, coarse, strides=STRIDES, width=box_width)
        self.mean: Tensor
        self.std: Tensor
        shape = (1, 3, 1, 1)
        self.register_buffer("mean", torch.tensor(_IMAGENET_MEAN).reshape(shape), persistent=False)
        self.register_buffer("std", torch.tensor(_IMAGENET_STD).reshape(shape), persistent=False)

    def maps(self, crops: Tensor) -> Levels:
        """Run the backbone.

        Args:
            crops: Values of 0 to 1, ``[frames, 3, side, side]``.

        Returns:
            Maps of strides 8 and 16.
        """
        fine, coarse = self.backbone((crops - self.mean) / self.std)
        return Levels(fine, coarse)

    def forward(
        self,
        template_crops: Tensor,
        template_boxes: Tensor,
        search_crops: Tensor,
        search_boxes: Tensor,
    ) -> DimpOutput:
        """Learn each target from its template frames, then look for it in its search frames.

        Traces count what a tracker pays for every frame: the search frames, with the last filter.

        Args:
            template_crops: Values of 0 to 1, ``[batch, frames, 3, side, side]``. The box branch
                sees the first frame of each sequence.
            template_boxes: ``[batch, frames, 4]``, x, y, w, h in pixels of the crops.
            search_crops: ``[batch, frames, 3, side, side]``; as many frames or fewer or more.
            search_boxes: To be judged, ``[batch, frames, boxes, 4]``.

        Returns:
            Scores of places, and predicted overlaps of boxes.
        """
        batch, frames = search_crops.shape[:2]
        with ww.uncounted():
            filters, modulation = self._learned(template_crops, template_boxes)
        maps = self.maps(search_crops.flatten(0, 1))
        features = self.classifier.features(maps.coarse).unflatten(0, (batch, frames))
        with ww.uncounted():
            scores = [apply_filter(features, each) for each in filters[:-1]]
        scores.append(apply_filter(features, filters[-1]))
        repeated = Levels(*(each.repeat_interleave(frames, dim=0) for each in modulation))
        embedded = self.box_head.embedded(maps)
        overlaps = self.box_head.overlaps(repeated, embedded, search_boxes.flatten(0, 1))
        return DimpOutput(torch.stack(scores, dim=1), overlaps.unflatten(0, (batch, frames)))

    def _learned(self, crops: Tensor, boxes: Tensor) -> tuple[list[Tensor], Levels]:
        batch, frames = crops.shape[:2]
        maps = self.maps(crops.flatten(0, 1))
        features = self.classifier.features(maps.coarse).unflatten(0, (batch, frames))
        first = Levels(*(each.unflatten(0, (batch, frames))[:, 0] for each in maps))
        return self.classifier.filters(features, boxes), self.box_head.modulation(
            first, boxes[:, 0]
        )


def dimp18(backbone: str | nn.Module = "resnet18", *, pretrained: bool = False) -> Dimp:
    """Build DiMP-18: as published, but for another backbone.

    Args:
        backbone: As `Dimp` takes it.
        pretrained: Whether a named backbone gets timm's weights.

    Returns:
        The network: one residual block and 256 channels in its classifier.
    """
    return Dimp(backbone, pretrained=pretrained, classifier_width=256, classifier_blocks=1)


def dimp50(backbone: str | nn.Module = "resnet50", *, pretrained: bool = False) -> Dimp:
    """Build DiMP-50: as published, but for another backbone.

    Args:
        backbone: As `Dimp` takes it.
        pretrained: Whether a named backbone gets timm's weights.

    Returns:
        The network: no residual block and 512 channels in its classifier.
    """
    return Dimp(backbone, pretrained=pretrained, classifier_width=512, classifier_blocks=0)


def example_inputs(
    *, side: int = SIDE, batch: int = 1, template_frames: int = 1, boxes: int = 1
) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Make inputs to trace the network with: one search frame, boxes in the middle.

    Args:
        side: Height and width of crops, in pixels.
        batch: Sequences.
        template_frames: Frames that a filter is learned from.
        boxes: To be judged in the search frame.

    Returns:
        As `Dimp.forward` takes them.

    Example:
        >>> [tuple(each.shape) for each in example_inputs(side=96)]
        [(1, 1, 3, 96, 96), (1, 1, 4), (1, 1, 3, 96, 96), (1, 1, 1, 4)]
    """
    generator = torch.Generator().manual_seed(0)
    box = torch.tensor([0.4, 0.4, 0.2, 0.2]) * side
    templates = torch.rand(batch, template_frames, 3, side, side, generator=generator)
    search = torch.rand(batch, 1, 3, side, side, generator=generator)
    return (
        templates,
        box.expand(batch, template_frames, 4).clone(),
        search,
        box.expand(batch, 1, boxes, 4).clone(),
    )


def inputs_like(shapes: Sequence[Sequence[int]]) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Make example inputs of some shapes, with boxes that have an area.

    Args:
        shapes: Of the four inputs, with one search frame.

    Returns:
        As `Dimp.forward` takes them.

    Example:
        >>> shapes = [(2, 3, 3, 64, 64), (2, 3, 4), (2, 1, 3, 64, 64), (2, 1, 5, 4)]
        >>> [tuple(each.shape) for each in inputs_like(shapes)] == shapes
        True
    """
    (batch, frames, _, _, side), _, _, (_, _, boxes, _) = shapes
    return example_inputs(side=side, batch=batch, template_frames=frames, boxes=boxes)


@torch.no_grad()
def _channels(backbone: nn.Module) -> tuple[int, int]:
    """Read the widths of both maps off a run; what a narrowed backbone says may be old."""
    parameter = next(backbone.parameters(), torch.zeros(()))
    image = torch.zeros(1, 3, 64, 64, dtype=parameter.dtype, device=parameter.device)
    with evaluating(backbone):
        shapes = [tuple(each.shape) for each in backbone(image)]
    expected = [(64 // stride, 64 // stride) for stride in STRIDES]
    if any(len(shape) != 4 for shape in shapes) or [each[2:] for each in shapes] != expected:
        raise ConfigError(
            f"The backbone `{type(backbone).__name__}` returns maps of shapes {shapes} for an "
            "image of 64x64 pixels, expected one of 8x8 cells and one of 4x4.\n"
            f"Why: DiMP reads maps of strides {STRIDES[0]} and {STRIDES[1]}.\n"
            "Hint: pass a module that returns these two, each `[batch, channels, height, width]`."
        )
    return shapes[0][1], shapes[1][1]
