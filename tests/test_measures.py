"""Measures write, compare and remember themselves."""

from __future__ import annotations

import json

import pytest

from widthwise.errors import RunError
from widthwise.measures import Measure

LOSS = Measure(name="loss", title="loss", higher_is_better=False, digits=3)
ACCURACY = Measure(name="accuracy", title="test accuracy", unit="%", scale=100, is_share=True)


def test_a_measure_survives_json() -> None:
    """What a run folder keeps of a measure makes the same measure."""
    assert Measure.from_spec(json.loads(json.dumps(ACCURACY.to_spec()))) == ACCURACY


def test_a_broken_measure_is_said() -> None:
    """A measure without a title is an error of the run folder."""
    with pytest.raises(RunError, match="cannot be read"):
        Measure.from_spec({"name": "accuracy"})


def test_gain_follows_the_direction() -> None:
    """Lower is better for a loss, higher for accuracy."""
    assert LOSS.gain(0.2, 0.3) == pytest.approx(0.1)
    assert ACCURACY.gain(0.2, 0.3) == pytest.approx(-0.1)


def test_only_shares_know_their_uncertainty() -> None:
    """Wilson's interval holds at 100 % too; a mean of unknown spread has none."""
    assert LOSS.uncertainty(0.2, 100) is None
    at_the_edge = ACCURACY.uncertainty(1.0, 100)
    assert at_the_edge is not None and 0.01 < at_the_edge < 0.03


def test_no_difference_has_no_sign() -> None:
    """A difference that rounds to zero is written without a sign."""
    assert ACCURACY.write_difference(-0.0004) == "0.0 points"
    assert ACCURACY.write_difference(0.004) == "+0.4 points"
