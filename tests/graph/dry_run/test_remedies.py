"""Which assumption is chosen for which kind of code, one small network for each."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
import torch
from torch import nn

import zoo_dry_run as zoo
from widthwise.graph.dry_run.assumptions import Assumptions, At, Part, Times
from widthwise.graph.dry_run.attempt import Attempt
from widthwise.graph.dry_run.loop import settle

ROWS = torch.zeros(4, 3)
TOKENS = torch.zeros(1, 5, 6)


def where(source: At | Part | Times | int) -> str:
    """A dim in a few letters: operator, `<` for what it takes or `>` for what it gives, places."""
    match source:
        case At():
            name = source.place.operator.removeprefix("aten.").partition(".")[0]
            return f"{name}{'>' if source.of_output else '<'}{source.tensor}.{source.dim}"
        case Part():
            return f"{where(source.whole)}[{source.start}:{source.stop}]"
        case Times():
            return f"{source.times} x {where(source.once)}"
    return str(source)


def brief(assumptions: Assumptions) -> Iterator[str]:
    """Assumptions in a line each."""
    for follow in assumptions.follows:
        name = f"{follow.module}.{follow.attribute}".strip(".")
        yield f"{name} follows {', '.join(map(where, follow.sources))}"
    for equal in assumptions.equals:
        yield f"{where(equal.first)} equals {where(equal.second)}"
    for divide in assumptions.divides:
        yield f"{divide.parts} divides {where(divide.source)}"
    for place, number in assumptions.readings.items():
        yield f"{place.operator.removeprefix('aten.').partition('.')[0]} is read as {number}"
    for place in assumptions.frozen:
        yield f"frozen: {where(place) if isinstance(place, At) else place.operator}"


def free(attempt: Attempt) -> dict[str, int]:
    """Widths of the free axes."""
    return {name: axis.width for name, axis in attempt.units.axes.items() if axis.frozen is None}


@pytest.mark.parametrize(
    ("factory", "inputs", "chosen", "widths"),
    [
        pytest.param(
            zoo.Viewed,
            zoo.IMAGE,
            ["channels follows view<0.1"],
            {"first": 12},
            id="an integer follows",
        ),
        pytest.param(
            zoo.SplitBySizes,
            zoo.IMAGE,
            ["sizes follows split_with_sizes>0.1, split_with_sizes>1.1"],
            {"first[0:10]": 10, "first[10:14]": 4},
            id="a tuple of parts follows",
        ),
        pytest.param(
            zoo.ShapedByTuple,
            zoo.IMAGE,
            ["shape follows view>0.0, 1, 1"],
            {"first": 8},
            id="an entry of a tuple follows, the rest stays",
        ),
        pytest.param(
            zoo.SplitLater,
            ROWS,
            ["key follows view>0.2[3:6]", "value follows view>0.2[6:11]"],
            {"first": 3, "first#2": 5},
            id="attributes follow the parts of a later split",
        ),
        pytest.param(
            zoo.Parts,
            zoo.IMAGE,
            ["key follows view>0.2[0:3]", "value follows view>0.2[3:8]"],
            {"first": 3, "first#2": 5},
            id="attributes follow the parts of a sum",
        ),
        pytest.param(
            zoo.MultipleOf,
            torch.zeros(1, 6),
            ["width follows view>0.1[0:5]", "2 divides view>0.1", "view is read as 2"],
            {"enter": 5, "up": 4},
            id="an attribute of which a width is a multiple follows",
        ),
        pytest.param(
            zoo.FractionOf,
            TOKENS,
            ["table.dim follows 4 x mul<1.0"],
            {"embed": 4},
            id="a multiple of a width follows, in a child",
        ),
        pytest.param(
            zoo.MeetsAgain,
            ROWS,
            ["width follows view<0.1", "view<0.1 equals view<0.1"],
            {"a": 6},
            id="two widths that one attribute shapes are equal",
        ),
        pytest.param(
            zoo.EqualWidths,
            TOKENS,
            ["view<0.2 equals t<0.0"],
            {"embed": 8},
            id="a width that code splits by another is equal to it",
        ),
        pytest.param(
            zoo.Divided,
            TOKENS,
            ["3 divides view<0.1"],
            {"first": 4},
            id="a constant divides",
        ),
        pytest.param(
            zoo.SecondReading,
            torch.zeros(2, 6),
            ["view is read as 1"],
            {"first": 4},
            id="another reading",
        ),
        pytest.param(
            zoo.EmptiedSlice,
            zoo.IMAGE,
            ["slice is read as 1"],
            {"first": 8, "gates": 1},
            id="what a slice may not leave empty goes as one",
        ),
        pytest.param(
            zoo.Refinable,
            zoo.IMAGE,
            ["convolution is read as 1"],
            {"stem": 4, "split": 6, "down": 4},
            id="a finer reading of what runs",
        ),
        pytest.param(
            zoo.Refused,
            zoo.IMAGE,
            ["frozen: aten.relu.default"],
            {},
            id="the call is frozen",
        ),
        pytest.param(
            zoo.CountedByCode,
            zoo.IMAGE,
            ["frozen: convolution<1.0"],
            {},
            id="the dim of that size is frozen",
        ),
    ],
)
def test_remedy_is_chosen(
    factory: type[nn.Module], inputs: torch.Tensor, chosen: list[str], widths: dict[str, int]
) -> None:
    """The assumptions that a trace ends with, and the widths they leave free."""
    attempt = settle(zoo.study_of(factory(), inputs))
    assert attempt.failure is None
    assert list(brief(attempt.assumptions)) == chosen
    assert free(attempt) == widths


class Twice(nn.Module):
    """Two modules of a class whose code needs a remedy, of different widths."""

    def __init__(self) -> None:
        super().__init__()
        self.a, self.b = zoo.Viewed(), zoo.Viewed()
        self.b.channels = 7
        self.b.first, self.b.last = nn.Conv2d(3, 7, 1), nn.Linear(7, 2)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.a(x) + self.b(x)


def test_a_remedy_holds_for_siblings() -> None:
    """What helps one module of a class is assumed of the others at once, each by its own width."""
    attempt = settle(zoo.study_of(Twice()))
    assert list(brief(attempt.assumptions)) == ["channels follows view<0.1"]
    assert free(attempt) == {"a.first": 12, "b.first": 7}
    assert {key for key in attempt.units.resized if key[1] == "channels"} == {
        ("a", "channels"),
        ("b", "channels"),
    }
