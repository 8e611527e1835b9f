"""Where a verdict on a call holds: the calls at a place."""

from __future__ import annotations

from widthwise.graph.recording.ledger import Call
from widthwise.graph.recording.places import Place
from widthwise.graph.recording.siblings import Siblings, anchor_of, place_from

ANCHORS = {"": "Net (network)", "a": "Block", "a.inner": "Wrapped", "b": "Block", "c": "Other"}


def call(path: str, kind: str, below: str, ordinal: int = 1) -> Call:
    """One call of a view, with nothing else about it."""
    place = Place(kind, below, ordinal, "aten.view.default")
    return Call(None, path, place, 0, (), (), (), (), ())


IN_A, IN_B = call("a", "Block", ""), call("b", "Block", "")
DEEP = call("a.inner.conv", "Wrapped", "conv")


def test_siblings_are_the_same_call_of_modules_of_one_class() -> None:
    """Another class, another number and another path below the class make another place."""
    others = [call("c", "Other", ""), call("a", "Block", "", 2), call("b.fc", "Block", "fc")]
    siblings = Siblings([[IN_A, *others, IN_B]], ANCHORS)
    assert siblings.at(IN_A.place) == {"a": [IN_A], "b": [IN_B]}


def test_a_call_is_seen_from_its_class_and_from_those_around_it() -> None:
    """What a wrapped layer does in one block is told from what its class does everywhere."""
    assert anchor_of(DEEP) == "a.inner"
    assert place_from(ANCHORS, DEEP, "a.inner") == DEEP.place
    seen = place_from(ANCHORS, DEEP, "a")
    assert seen == Place("Block", "inner.conv", 1, "aten.view.default")
    elsewhere = call("c.inner.conv", "Wrapped", "conv")
    assert Siblings([[DEEP, elsewhere]], {**ANCHORS, "c.inner": "Wrapped"}).at(seen) == {
        "a": [DEEP]
    }


def test_a_call_outside_is_seen_from_the_network() -> None:
    """It then has no siblings."""
    assert place_from(ANCHORS, IN_B, "a").kind == "Net (network)"
    assert Siblings([[IN_A, IN_B]], ANCHORS).at(place_from(ANCHORS, IN_B, "a")) == {"": [IN_B]}


def test_the_first_pass_says_what_is_at_a_place() -> None:
    """Training numbers calls otherwise: its pass speaks for modules that only it runs."""
    again, only = call("a", "Block", ""), call("b", "Block", "")
    siblings = Siblings([[IN_A], [again, only]], ANCHORS)
    found = siblings.at(IN_A.place)
    assert found["a"][0] is IN_A
    assert found["b"][0] is only
    assert list(siblings.everywhere(IN_A.place)) == [IN_A, again, only]
