"""The mode runs every operator, asks its rule, and labels what comes out."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor, nn

from widthwise.graph.recording.ledger import PassLedger
from widthwise.graph.recording.mode import LabelMode
from widthwise.graph.recording.places import Frames, Place
from widthwise.graph.recording.values import RealValues
from widthwise.rules import Label, Op


class Passed:
    """One pass over a network on real tensors, and what a watcher heard."""

    def __init__(self, net: nn.Module, readings: dict[Place, int] | None = None) -> None:
        self.heard: list[tuple[str, str, list[Label]]] = []
        self.ledger = PassLedger.of(net)
        self.frames = Frames(net)
        self._readings = readings or {}
        self.replacement: Tensor | None = None

    def watch(self, op: Op, place: Place, labels: Sequence[Label]) -> Sequence[Tensor] | None:
        self.heard.append((op.name, op.path, list(labels)))
        if self.replacement is not None and op.name == "aten.relu":
            return [self.replacement]
        return None

    def run(self, net: nn.Module, x: Tensor) -> Tensor:
        mode = LabelMode(
            self.frames,
            self.ledger,
            self.ledger,
            self.ledger.remember,
            self._readings,
            self.watch,
            RealValues(),
        )
        with torch.no_grad(), self.frames.follow(), mode:
            return net(x)


def test_every_operator_is_heard_with_its_module_and_labels() -> None:
    """Calls come in order, with the path of the running module; outputs carry the rule's ids."""
    net = nn.Sequential(nn.Conv2d(3, 4, 1), nn.ReLU())
    passed = Passed(net)
    out = passed.run(net, torch.zeros(1, 3, 2, 2))
    assert [(name, path) for name, path, _ in passed.heard] == [
        ("aten.convolution", "0"),
        ("aten.relu", "1"),
    ]
    weight = passed.ledger.label(net[0].weight)[0]
    assert np.array_equal(passed.ledger.label(out)[1], weight)
    assert [ids is None for ids in passed.heard[-1][2][0]] == [True, False, True, True]


def test_the_watcher_may_replace_what_an_operator_returns() -> None:
    """The network goes on with the replacement, which gets the label."""
    net = nn.Sequential(nn.Conv2d(3, 4, 1), nn.ReLU(), nn.Flatten())
    passed = Passed(net)
    passed.replacement = torch.full((1, 4, 2, 2), 7.0)
    assert passed.run(net, torch.zeros(1, 3, 2, 2)).eq(7).all()
    assert passed.ledger.label(passed.replacement)[1] is not None


def test_an_operator_without_a_rule_gives_blank_labels_and_freezes() -> None:
    """Nothing is known of what comes out, and what went in stays, with the place."""

    class Sums(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.conv = nn.Conv2d(3, 4, 1)

        def forward(self, x: Tensor) -> Tensor:
            return self.conv(x).cumsum(1)

    net = Sums()
    passed = Passed(net)
    out = passed.run(net, torch.zeros(1, 3, 2, 2))
    assert passed.ledger.label(out)[1] is None
    assert passed.ledger.frozen[-1][1].startswith("`aten.cumsum` in the outermost forward")


def test_a_reading_is_used_where_its_place_is() -> None:
    """An ambiguous view is read as told, and only at the place that is told of."""

    class Views(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.fc = nn.Linear(3, 12)

        def forward(self, x: Tensor) -> Tensor:
            return self.fc(x).view(-1, 4, 3)

    net = Views()
    plain = Passed(net)
    first = plain.ledger.label(plain.run(net, torch.zeros(2, 3)))
    place = Place(Frames(net)._origin("")[0], "", 1, "aten.view.default")
    told = Passed(net, {place: 1})
    second = told.ledger.label(told.run(net, torch.zeros(2, 3)))
    assert [ids is None for ids in first] != [ids is None for ids in second]
    elsewhere = Passed(net, {Place(place.kind, "", 2, place.operator): 1})
    again = elsewhere.ledger.label(elsewhere.run(net, torch.zeros(2, 3)))
    assert [ids is None for ids in again] == [ids is None for ids in first]


def test_an_identity_that_is_used_again_brings_no_old_label() -> None:
    """On real tensors nothing is held: a new tensor in the place of one that is gone is blank."""
    ledger = PassLedger.of(nn.Linear(2, 2))
    tensor = torch.zeros(3)
    ledger.remember(tensor, (np.arange(3),))
    assert ledger.label(tensor)[0] is not None
    old = id(tensor)
    del tensor
    for _ in range(100):
        fresh = torch.zeros(3)
        assert ledger.label(fresh) == (None,)
        if id(fresh) == old:
            break
