"""results.json: what a run measured of every network, with the measures it speaks of."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from widthwise.errors import RunError
from widthwise.measures import Measure
from widthwise.runs.reading import damaged, read_json

NAME = "results.json"
"""Of the file, in a run folder."""


@dataclass(frozen=True, kw_only=True)
class Before:
    """What an arm did before its network was cut."""

    stage: str
    """Name of the stage in the run folder and in metrics.csv."""
    title: str
    """What to call it, such as ``search``."""
    epochs: int
    """How long it trained."""
    reached: bool | None = None
    """Whether a search ended because it had reached its budget; None where nothing was searched."""
    deciding: float = 0.0
    """Seconds between that training and the cut, in which methods that measure do so."""


@dataclass(frozen=True, kw_only=True)
class ArmResult:
    """One network of the comparison, trained."""

    arm: str
    """Its name in the recipe; the name of its stage too."""
    title: str
    """What to call it in a table."""
    words: str
    """What to call it in the middle of a sentence."""
    weights: str
    """``inherited`` from the network before the cut, ``fresh``, or ``given`` by the user."""
    measures: Mapping[str, float]
    """Name of a measure -> value after the last epoch, never of the best."""
    macs: int
    params: int
    epochs: int
    """In total, those before the cut included."""
    seconds: float
    """Of training, in total; see `Before.deciding` for what it leaves out."""
    widths: Mapping[str, int]
    """Axis -> width."""
    before: Before | None = None
    """None where all training was after the cut, or nothing was cut."""
    teacher: str | None = None
    """Name of the arm it was distilled from."""

    @classmethod
    def from_spec(cls, spec: Mapping[str, Any]) -> ArmResult:
        """Read what `dataclasses.asdict` makes of it."""
        before = spec.get("before")
        return cls(**{**spec, "before": None if before is None else Before(**before)})


@dataclass(frozen=True, kw_only=True)
class FullNetwork:
    """The user's own network, which every share refers to."""

    macs: int
    params: int
    widths: Mapping[str, int]
    """Axis -> width."""
    frozen: Mapping[str, str]
    """Axis -> why it keeps its width."""
    measures: Mapping[str, float] | None = None
    """Of a trained network, before anything was done to it; None where all weights were fresh."""


@dataclass(frozen=True, kw_only=True)
class Results:
    """The results of a finished run."""

    task: str
    """Its name."""
    measures: tuple[Measure, ...]
    """What was measured; the first is the headline."""
    test_items: int
    """Over how many test items."""
    full: FullNetwork
    arms: tuple[ArmResult, ...]
    """The found network first."""

    @property
    def found(self) -> ArmResult:
        """The network whose widths were searched for."""
        return self.arms[0]

    @property
    def headline(self) -> Measure:
        """The measure that is spoken of first."""
        return self.measures[0]

    def uncertainty(self, measure: Measure, arm: ArmResult) -> float | None:
        """Say how far a value may be from that on all such items; None where it is not known."""
        return measure.uncertainty(arm.measures[measure.name], self.test_items)

    def uncertain_difference(
        self, measure: Measure, one: ArmResult, other: ArmResult
    ) -> float | None:
        """Say how far a difference of two values may be off: each is uncertain by itself.

        Networks that err on the same items differ more surely than that; it is an upper bound.

        Args:
            measure: What was measured.
            one: An arm.
            other: Another.

        Returns:
            In the unit of the stored values; None where nothing is known.
        """
        both = [self.uncertainty(measure, arm) for arm in (one, other)]
        known = [value for value in both if value is not None]
        return math.hypot(*known) if len(known) == len(both) else None

    def to_spec(self) -> dict[str, Any]:
        """Return plain values for JSON."""
        spec = asdict(self)
        spec["measures"] = [measure.to_spec() for measure in self.measures]
        return spec

    @classmethod
    def from_spec(cls, spec: Mapping[str, Any]) -> Results:
        """Read what `to_spec` returned.

        Args:
            spec: Plain values.

        Returns:
            The results.
        """
        return cls(
            task=spec["task"],
            measures=tuple(Measure.from_spec(measure) for measure in spec["measures"]),
            test_items=spec["test_items"],
            full=FullNetwork(**spec["full"]),
            arms=tuple(ArmResult.from_spec(arm) for arm in spec["arms"]),
        )


def read_results(folder: Path) -> Results | None:
    """Read results.json of a run folder.

    Args:
        folder: A run folder.

    Returns:
        The results, or None if the run has not got that far.

    Raises:
        RunError: If the file is damaged, or of another version of Widthwise.
    """
    path = folder / NAME
    spec = read_json(path)
    if spec is None:
        return None
    if isinstance(spec, Sequence):
        raise RunError(
            f"`{path}` is of a version of Widthwise that knew one measure only.\n"
            "Hint: read the run with the version in its environment.json, or start it anew."
        )
    try:
        results = Results.from_spec(spec)
        for arm in results.arms:
            arm_lacks = [m.name for m in results.measures if m.name not in arm.measures]
            if arm_lacks:
                raise KeyError(f"measures of `{arm.arm}`: {', '.join(arm_lacks)}")
        _ = results.found, results.headline
    except (KeyError, TypeError, IndexError, RunError) as error:
        hint = "delete it and resume; it is made again."
        raise damaged(path, f"{type(error).__name__}: {error}", hint) from error
    return results
