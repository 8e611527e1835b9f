"""What a user asks to freeze and to tie by name, beyond what the code shows."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from torch import Tensor, nn

import widthwise as ww
from widthwise.errors import TraceError

IMAGE = torch.randn(1, 3, 8, 8, generator=torch.Generator().manual_seed(0))


class Branches(nn.Module):
    """Two branches that never meet, and a transposed convolution."""

    def __init__(self) -> None:
        super().__init__()
        self.left = nn.Sequential(nn.Conv2d(3, 8, 3), nn.ReLU(), nn.Conv2d(8, 4, 1))
        self.right = nn.Sequential(nn.Conv2d(3, 8, 3), nn.ReLU(), nn.Conv2d(8, 4, 1))
        self.up = nn.Sequential(nn.ConvTranspose2d(3, 8, 2), nn.Conv2d(8, 4, 1))

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        return self.left(x), self.right(x), self.up(x)


def free(graph: ww.ChannelGraph) -> list[str]:
    return [axis.name for axis in graph.axes.values() if axis.frozen is None]


@pytest.mark.parametrize(
    ("pattern", "rest"),
    [
        ("left", ["right.0", "up.0"]),
        ("left.0", ["right.0", "up.0"]),
        ("*.0.weight", []),
        ("[lr]*.0", ["up.0"]),
        ("up.1.weight", ["left.0", "right.0"]),
    ],
)
def test_tensors_frozen_by_name_keep_their_shapes(pattern: str, rest: list[str]) -> None:
    """A module, a tensor or a glob; the reason says which pattern it was."""
    graph = ww.trace(Branches(), IMAGE, freeze=[pattern])
    assert free(graph) == rest
    reasons = {axis.frozen for axis in graph.axes.values()} - {None, "network output"}
    assert reasons == {f"frozen by name (`{pattern}`)"}


def test_tied_layers_narrow_together() -> None:
    """Channels of two layers that never meet become units of one axis; the cut still runs."""
    model = Branches()
    graph = ww.trace(model, IMAGE, tie=[("left.0", "right.0", "up.0")])
    assert free(graph) == ["left.0"]
    small = ww.shrink(model, ww.plan(graph, score=ww.scores.L1(), budget=ww.Macs(0.5)))
    assert small.left[0].out_channels == small.right[0].out_channels == small.up[0].out_channels


def test_a_saved_plan_remembers_what_was_asked(tmp_path: Path) -> None:
    """A network is built again from the file alone, though its code shows neither."""
    model = Branches()
    graph = ww.trace(model, IMAGE, freeze=["up"], tie=[("left.0", "right.0")])
    plan = ww.plan(graph, score=ww.scores.L1(), budget=ww.Macs(0.8))
    small = ww.shrink(model, plan)
    ww.save(small, plan, tmp_path)
    again = ww.load(tmp_path, Branches)
    for mine, theirs in zip(again(IMAGE), small(IMAGE), strict=True):
        assert torch.equal(mine, theirs)


@pytest.mark.parametrize(
    ("wish", "says"),
    [
        ({"freeze": ["lefd"]}, "the nearest names are `left`"),
        ({"tie": [("left.0", "left.1")]}, "names no layer with a weight"),
        ({"tie": [("left.0", "left.2")]}, "`left.0` has 8, `left.2` has 4"),
    ],
)
def test_wishes_that_cannot_be_met_are_said(wish: dict[str, object], says: str) -> None:
    """Unknown names come with the nearest; layers of different width with their widths."""
    with pytest.raises(TraceError, match=says.replace("(", r"\(")):
        ww.trace(Branches(), IMAGE, **wish)
