"""Tensors are found in whatever a forward returns, and where it leaves them."""

from __future__ import annotations

from collections import OrderedDict, namedtuple
from collections.abc import Callable
from dataclasses import dataclass
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from torch import Tensor, nn

import widthwise as ww
from widthwise.network.outputs import Left, tensors_of

IMAGE = torch.randn(2, 3, 8, 8)


@dataclass
class Scores:
    """Outputs in a dataclass."""

    logits: Tensor


class Slotted:
    """Outputs in slots."""

    __slots__ = ("logits",)

    def __init__(self, logits: Tensor) -> None:
        self.logits = logits


class Table(dict[str, Tensor]):
    """Outputs in a dict of another class."""


Pair = namedtuple("Pair", ["logits"])

WRAPPERS: dict[str, Callable[[Tensor], Any]] = {
    "dataclass": Scores,
    "slots": Slotted,
    "dict": lambda logits: {"logits": logits},
    "subclass of dict": lambda logits: Table(logits=logits),
    "ordered dict": lambda logits: OrderedDict(logits=logits),
    "named tuple": Pair,
    "namespace": lambda logits: SimpleNamespace(logits=logits),
    "nested": lambda logits: [SimpleNamespace(all=(Scores(logits), 3), name="x")],
}


@pytest.mark.parametrize("wrap", WRAPPERS.values(), ids=WRAPPERS)
def test_outputs_keep_their_width_in_whatever_they_are_wrapped(
    wrap: Callable[[Tensor], Any],
) -> None:
    """What is returned inside an object is an output: not narrowed, and compared by the proof."""

    class Net(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.body, self.head = nn.Conv2d(3, 16, 3), nn.Conv2d(16, 10, 1)

        def forward(self, x: Tensor) -> Any:
            return wrap(self.head(self.body(x).relu()))

    net = Net()
    graph = ww.trace(net, IMAGE)
    assert graph.axes["head"].frozen == "network output"
    plan = ww.plan(graph, score=ww.scores.L1(), budget=ww.Macs(0.5))
    small = ww.shrink(net, plan)
    assert [t.shape[1] for t in tensors_of(small(IMAGE))] == [10]
    with torch.no_grad():
        small.get_parameter("head.bias")[0] += 1
    with pytest.raises(ww.errors.ProofError, match="head"):
        ww.prove(net, small, plan)


def test_each_tensor_of_an_object_counts_once() -> None:
    """A class that holds its parts as items and as attributes, as those of transformers do."""
    both = Table(logits=torch.ones(1))
    both.__dict__["logits"] = both["logits"]
    circle = SimpleNamespace(x=torch.ones(2))
    circle.again = circle
    assert len(tensors_of(both)) == len(tensors_of(circle)) == 1


class Auxiliary(nn.Module):
    """Leaves logits for a loss on itself."""

    def __init__(self) -> None:
        super().__init__()
        self.body, self.extra, self.head = (
            nn.Conv2d(3, 16, 3),
            nn.Conv2d(16, 7, 1),
            nn.Conv2d(16, 10, 1),
        )
        self.grid = torch.ones(1)

    def forward(self, x: Tensor) -> Tensor:
        x = self.body(x).relu()
        self.parts = {"logits": self.extra(x)}
        return self.head(x) * self.grid


def test_what_a_forward_leaves_on_its_modules_keeps_its_width() -> None:
    """It is frozen with a reason, and compared; what was there before is neither."""
    net = Auxiliary()
    graph = ww.trace(net, IMAGE)
    assert graph.axes["extra"].frozen == "left on the network as `parts`"
    assert graph.axes["body"].frozen is None
    plan = ww.plan(graph, score=ww.scores.L1(), budget=ww.Macs(0.5))
    proof = ww.prove(net, ww.shrink(net, plan), plan)
    assert "`parts`" in proof.compared and "`grid`" not in proof.compared


def test_weights_made_anew_are_not_left() -> None:
    """Weight norm puts its product on the module: a weight, whose widths follow."""
    with pytest.warns(FutureWarning):
        net = nn.Sequential(nn.utils.weight_norm(nn.Conv2d(3, 8, 1)), nn.Conv2d(8, 2, 1))
    assert ww.trace(net, IMAGE).axes["0"].frozen is None


def test_left_tells_new_tensors_from_old() -> None:
    """A tensor that is replaced is new; one that stays is not."""
    net = Auxiliary()
    left = Left(net)
    net(IMAGE)
    assert [(name, len(tensors)) for name, tensors in left.found()] == [("parts", 1)]
    assert Left(net).found() == []


def test_a_forward_without_outputs_is_refused() -> None:
    """Nothing could be proven."""

    class Silent(nn.Conv2d):
        def forward(self, x: Tensor) -> None:  # type: ignore[override]
            super().forward(x)

    with pytest.raises(ww.errors.TraceError, match="No tensor was found"):
        ww.trace(Silent(3, 8, 3), IMAGE)
