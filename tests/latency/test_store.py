"""Times that are kept between runs of a program."""

from __future__ import annotations

import json
import warnings
from collections.abc import Sequence
from pathlib import Path

import pytest
from torch import nn

from widthwise.latency.calls import Kind, LayerCall
from widthwise.latency.meter import Remembering
from widthwise.latency.store import Store, cache_folder
from widthwise.network.inputs import Inputs

HERE = {"processor": "abacus", "threads": 1}


def linear(outer: int) -> LayerCall:
    """A linear layer."""
    return LayerCall(
        kind=Kind.linear, outer=outer, inner=3, groups=1, size=(2,), options=(), bias=True,
        dtype="float32",
    )  # fmt: skip


class Counting:
    """Tells the outer width as milliseconds, and notes what it was asked."""

    def __init__(self) -> None:
        self.asked: list[int] = []

    def layers(self, calls: Sequence[LayerCall]) -> list[float]:
        self.asked += [call.outer for call in calls]
        return [float(call.outer) for call in calls]

    def networks(self, networks: Sequence[nn.Module], inputs: Inputs) -> list[float]:
        return [1.0 for _ in networks]


def test_what_was_measured_is_not_measured_again(tmp_path: Path) -> None:
    """By the next meter neither, and not twice in one question; another machine starts anew."""
    first, second, other = Counting(), Counting(), Counting()
    assert Remembering(first, Store(HERE, tmp_path)).layers([linear(4), linear(5), linear(4)]) == [
        4, 5, 4
    ]  # fmt: skip
    assert first.asked == [4, 5]
    again = Remembering(second, Store(HERE, tmp_path))
    assert again.layers([linear(5), linear(6)]) == [5, 6] and second.asked == [6]
    elsewhere = Store({**HERE, "threads": 2}, tmp_path)
    assert Remembering(other, elsewhere).layers([linear(5)]) == [5] and other.asked == [5]


def test_two_processes_keep_what_both_have_measured(tmp_path: Path) -> None:
    """The one that writes last has read what the other wrote."""
    one, two = Store(HERE, tmp_path), Store(HERE, tmp_path)
    one.add({"a": 1.0})
    two.add({"b": 2.0})
    assert Store(HERE, tmp_path).times == {"a": 1.0, "b": 2.0}


@pytest.mark.parametrize(
    "content",
    [
        "", "nonsense", "[]", '{"format": 1}', '{"format": 1, "milliseconds": {"a": "fast"}}',
        '{"format": 1, "milliseconds": {"a": -1}}', '{"format": 1, "milliseconds": {"a": NaN}}',
        '{"format": 2, "milliseconds": {}}',
    ],
)  # fmt: skip
def test_a_damaged_file_is_measured_anew_with_a_warning(tmp_path: Path, content: str) -> None:
    """What cannot be read counts as nothing, and the next measurement repairs it."""
    store = Store(HERE, tmp_path)
    store.add({"a": 1.0})
    store.path.write_text(content)
    with pytest.warns(UserWarning, match="measured anew"):
        damaged = Store(HERE, tmp_path)
    assert damaged.times == {}
    damaged.add({"b": 2.0})
    assert json.loads(store.path.read_text())["measured_on"] == HERE
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert Store(HERE, tmp_path).times == {"b": 2.0}


def test_a_folder_that_cannot_be_written_is_no_error(tmp_path: Path) -> None:
    """The times are used all the same, and a warning says how to keep them."""
    (tmp_path / "file").write_text("")
    store = Store(HERE, tmp_path / "file")
    with pytest.warns(UserWarning, match="WIDTHWISE_CACHE"):
        store.add({"a": 1.0})
    assert store.times == {"a": 1.0}


def test_the_folder_can_be_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """By WIDTHWISE_CACHE; else it lies where the system keeps such files."""
    monkeypatch.setenv("WIDTHWISE_CACHE", str(tmp_path))
    assert cache_folder() == tmp_path
    monkeypatch.delenv("WIDTHWISE_CACHE")
    monkeypatch.setattr("sys.platform", "linux")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "xdg"))
    assert cache_folder() == tmp_path / "xdg" / "widthwise"
    monkeypatch.setattr("sys.platform", "win32")
    monkeypatch.setenv("LOCALAPPDATA", str(tmp_path / "local"))
    assert cache_folder() == tmp_path / "local" / "widthwise"
