"""Assumptions: adding makes a new set, and each means the same for every sibling."""

from __future__ import annotations

import torch
from torch import nn

import zoo_dry_run as zoo
from widthwise.graph.dry_run.assumptions import (
    Assumptions,
    At,
    Divide,
    Equal,
    Follow,
    Freeze,
    Part,
    Reading,
    Times,
    dims_of,
)
from widthwise.graph.dry_run.attributes import follows_of, modules_around, parts_of
from widthwise.graph.dry_run.rehearsal import Failure
from widthwise.graph.recording.places import Place

PLACE = Place("test.Net", "conv", 1, "aten.convolution.default")
DIM = At(PLACE, of_output=True, tensor=0, dim=1)


def test_adding_makes_a_new_set() -> None:
    """The old set stays as it was, whatever is added."""
    empty = Assumptions()
    full = empty.plus(
        Reading(PLACE, 2),
        Follow("", "width", (DIM,)),
        Equal(DIM, DIM),
        Divide(DIM, 3),
        Freeze(PLACE, "why"),
    )
    assert empty == Assumptions()
    assert full.readings == {PLACE: 2} and full.frozen == {PLACE: "why"}
    assert (len(full.follows), len(full.equals), len(full.divides)) == (1, 1, 1)


def test_the_first_reason_for_freezing_stays_and_the_last_reading_counts() -> None:
    """A place is frozen for what froze it first; a reading that is tried replaces one before."""
    twice = Assumptions().plus(Freeze(PLACE, "first"), Freeze(PLACE, "second"))
    assert twice.frozen == {PLACE: "first"}
    assert Assumptions().plus(Reading(PLACE, 1), Reading(PLACE, 2)).readings == {PLACE: 2}


def recorded(net: nn.Module, *shape: int):
    """The calls of a network, and where to find their siblings."""
    attempt = zoo.study_of(net, torch.zeros(*shape)).solved(Assumptions())
    return attempt.calls, attempt.recording.siblings


def test_dims_parts_and_multiples_are_ids_of_a_call() -> None:
    """A dim has a vector of ids; a part some of it; a multiple all of it, repeated."""
    calls, _ = recorded(nn.Sequential(nn.Conv2d(3, 8, 1)), 1, 3, 4, 4)
    at, ids = next((at, ids) for at, ids in dims_of(calls[0]) if at.of_output)
    assert len(ids) == 8
    assert Part(at, 2, 5).ids(calls[0]).tolist() == ids[2:5].tolist()
    assert Times(at, 2).ids(calls[0]).tolist() == [*ids, *ids]
    assert At(at.place, True, 0, 3).ids(calls[0]) is None
    assert At(at.place, True, 5, 0).ids(calls[0]) is None


def test_a_divided_dim_ties_its_parts_index_by_index() -> None:
    """Twelve in three parts: the first of each part live and die together."""
    calls, siblings = recorded(nn.Sequential(nn.Conv2d(3, 12, 1)), 1, 3, 4, 4)
    at, ids = next((at, ids) for at, ids in dims_of(calls[0]) if at.of_output)
    ((first, second),) = Assumptions().plus(Divide(at, 3)).ties(siblings)
    assert first.tolist() == [*ids[:4], *ids[:4]] and second.tolist() == ids[4:].tolist()
    assert list(Assumptions().plus(Divide(at, 5)).ties(siblings)) == []


def test_an_equal_dim_repeats_the_shorter_along_the_longer() -> None:
    """Eight and four: each of the four is tied to two of the eight."""
    net = nn.Sequential(nn.Conv2d(3, 8, 1), nn.Conv2d(8, 4, 1))
    calls, siblings = recorded(net, 1, 3, 4, 4)
    (long, long_ids), (short, short_ids) = (
        next((at, ids) for at, ids in dims_of(call) if at.of_output) for call in calls
    )
    ((first, second),) = Assumptions().plus(Equal(short, long)).ties(siblings)
    assert first.tolist() == long_ids.tolist() and second.tolist() == [*short_ids, *short_ids]


def test_attributes_of_a_size_are_proposed_from_the_module_and_those_around() -> None:
    """Integers and tuples that equal a narrow size; flags, floats and other numbers are not."""

    class Inner(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.width, self.flag, self.scale, self.other = 8, True, 8.0, 7
            self.conv = nn.Conv2d(3, 8, 1)

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return self.conv(x).relu()

    net = nn.Sequential(Inner(), nn.Conv2d(8, 2, 1))
    study = zoo.study_of(net)
    calls = study.solved(Assumptions()).calls
    call = next(call for call in calls if call.name == "aten.relu")
    around = list(modules_around(call, Failure(1, "0", ""), study.modules))
    assert [type(module).__name__ for _, module in around] == ["Inner"]
    narrowed = [(at, ids) for at, ids in dims_of(call) if at.of_output]
    found = list(follows_of([call], narrowed, around))
    assert [(follow.module, follow.attribute) for follow in found] == [("", "width")]


def test_parts_are_proposed_smallest_multiple_first() -> None:
    """Of numbers that divide a size, the one that needs the fewest parts comes first."""

    class Owner(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.third, self.half = 4, 6

    calls, _ = recorded(nn.Sequential(nn.Conv2d(3, 12, 1)), 1, 3, 4, 4)
    narrowed = [(at, ids) for at, ids in dims_of(calls[0]) if at.of_output]
    proposals = list(parts_of(narrowed, [("", Owner())]))
    assert [p[0].parts for p in proposals if isinstance(p[0], Divide)] == [2, 3]
    assert [p[1].attribute for p in proposals if isinstance(p[0], Divide)] == ["half", "third"]
