"""Methods against each other: one table per budget, and what of it can be believed.

Two networks are compared by Welch's interval for the difference of their means over seeds, and all
that are compared with one reference by Holm's correction: with ten methods and no true difference,
one in two tables would otherwise have a winner.
"""

from __future__ import annotations

import math
import statistics
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

from scipy import stats

from widthwise.errors import RunError
from widthwise.measures import Measure
from widthwise.methods import method_title
from widthwise.report.comparison import Spread, finished
from widthwise.report.records import RunRecord
from widthwise.runs.differences import differences
from widthwise.runs.results import ArmResult, FullNetwork

LEVEL = 0.95
"""Of the intervals."""
_OWN = (
    "method.",
    "search.",
    "arms",
    "seed",
    "budget.",
    "tensorboard",
    "carry_optimizer",
    "teacher",
)
"""Beginnings of keys on which runs of one contest may differ: what a method is, and what budget."""
_PLACES = ("task.folder", "task.download", "task.workers", "threads", "hardware.")
"""Of those that should not matter."""
_OF_METHOD = {"found": "", "scratch": ", fresh weights"}
"""Arms whose widths a method has decided -> what is put behind its name."""
_SETTINGS_SHOWN = 2
"""Settings of a method that are named where one method is there with several."""


@dataclass(frozen=True, kw_only=True)
class Difference:
    """A contender's headline minus the reference's."""

    mean: float
    low: float | None
    """End of Welch's 95 % interval; None where one of both has a single seed."""
    high: float | None
    p: float | None
    """Holm's correction of Welch's test, over all contenders of one budget."""

    @property
    def told_apart(self) -> bool:
        """Whether the difference is more than luck, at 5 % for the whole table."""
        return self.p is not None and self.p < 1 - LEVEL


@dataclass(frozen=True, kw_only=True)
class Contender:
    """One way to get a network at one budget, over seeds."""

    title: str
    weights: str
    """``inherited``, ``fresh`` or ``given``; see `ArmResult`."""
    seeds: tuple[int, ...]
    headline: Spread
    macs_fraction: float
    params_fraction: float
    epochs: float
    seconds: float
    minus_reference: Difference | None
    """None for the reference, and where it is not there."""
    network: Path
    """Folder of its weights and plan, of the first seed."""
    milliseconds: float | None = None
    """Of one input, where it was measured."""


@dataclass(frozen=True, kw_only=True)
class Level:
    """All contenders at one budget."""

    budget: str
    contenders: tuple[Contender, ...]
    """The best first."""


@dataclass(frozen=True, kw_only=True)
class Contest:
    """Several methods on one network and one task."""

    name: str
    """Of network and data."""
    measure: Measure
    reference: str
    """Title of what all are compared with."""
    levels: tuple[Level, ...]
    notes: tuple[str, ...]
    """What a reader has to know before believing it."""

    def plain(self) -> dict[str, Any]:
        """Return plain values for JSON."""
        values = asdict(self)
        for level in values["levels"]:
            for contender in level["contenders"]:
                contender["network"] = contender["network"].as_posix()
        return values


def contest(folders: Sequence[Path], *, against: str) -> Contest:
    """Read finished runs of several methods and compare their networks.

    Args:
        folders: Run folders of one network, task and way of training, in any order.
        against: Name of the arm that all are compared with, such as ``uniform``.

    Returns:
        A table per budget.

    Raises:
        RunError: If a run has not finished or is damaged, runs differ in more than method, budget
            and seed, or no run has the arm.
    """
    records = finished(folders)
    _check_alike(records)
    titles = _titles(records)
    levels: dict[str, dict[str, dict[int, list[ArmResult]]]] = {}
    places: dict[int, Path] = {}
    for folder, record in zip(folders, records, strict=True):
        level = levels.setdefault(_budget(record), {})
        for arm in record.results.arms:
            title = titles[id(record)] + _OF_METHOD[arm.arm] if arm.arm in _OF_METHOD else arm.title
            places[id(arm)] = folder / "stages" / arm.arm
            by_seed = level.setdefault(title, {})
            by_seed.setdefault(record.config["seed"], []).append(arm)
    reference = _reference(records, against)
    first = records[0].results
    made = tuple(
        _level(budget, level, reference, first.headline, full=first.full, places=places)
        for budget, level in sorted(levels.items(), reverse=True)
    )
    model = records[0].config["model"]["name"]
    task = records[0].config["task"]
    return Contest(
        name=f"{model} on {task.get('dataset') or task['name']}",
        measure=first.headline,
        reference=reference,
        levels=made,
        notes=tuple(_notes(made)),
    )


def holm(values: Sequence[float]) -> list[float]:
    """Correct p-values for being many.

    Holm, "A Simple Sequentially Rejective Multiple Test Procedure" (1979).

    Args:
        values: One per comparison.

    Returns:
        As many, in the same order, none smaller than before.

    Example:
        >>> [round(p, 3) for p in holm([0.01, 0.04, 0.03])]
        [0.03, 0.06, 0.06]
    """
    corrected = [0.0] * len(values)
    largest = 0.0
    for rank, place in enumerate(sorted(range(len(values)), key=lambda place: values[place])):
        largest = max(largest, min(1.0, (len(values) - rank) * values[place]))
        corrected[place] = largest
    return corrected


def _check_alike(records: Sequence[RunRecord]) -> None:
    problems = [
        f"    `{record.name}`: {found.key} is {found.now}, not {found.there} as in "
        f"`{records[0].name}`"
        for record in records[1:]
        for found in differences(records[0].config, record.config)
        if not found.key.startswith((*_OWN, *_PLACES))
        # A stage that another method has instead of none.
        and found.key != "search"
        # What a search leaves to converge is told by the epochs of each network.
        and found.key != "converge.epochs"
    ]
    if problems:
        raise RunError(
            "These runs cannot be compared over methods:\n" + "\n".join(problems[:8]) + "\n"
            "Why: a difference between two methods would also be one of what else differs.\n"
            "Hint: leave out `--against` to see every configuration in its own table."
        )
    seen: dict[tuple[str, str, int], str] = {}
    for record in records:
        key = _budget(record), str(record.config["method"]), record.config["seed"]
        if key in seen:
            raise RunError(
                f"The runs `{seen[key]}` and `{record.name}` have the same method, budget and "
                f"seed, {key[2]}.\n"
                "Why: a run counted twice makes a spread look smaller than it is.\n"
                "Hint: give each run once; `--seed N` of `widthwise search` makes another."
            )
        seen[key] = record.name


def _titles(records: Sequence[RunRecord]) -> dict[int, str]:
    """Name the method of every run, with settings where one method is there with several."""
    titles = {}
    for record in records:
        method = record.config["method"]
        others = [
            each.config["method"]
            for each in records
            if each.config["method"]["name"] == method["name"] and each.config["method"] != method
        ]
        keys = dict.fromkeys(found.key for other in others for found in differences(method, other))
        told = [f"{key} {method.get(key)}" for key in list(keys)[:_SETTINGS_SHOWN]]
        name = method_title(method["name"])
        titles[id(record)] = f"{name} ({', '.join(told)})" if told else name
    return titles


def _budget(record: RunRecord) -> str:
    bounds = {key: value for key, value in record.config["budget"].items() if value is not None}
    return ", ".join(
        f"{value:.0%} of the {key}" if isinstance(value, float) and value <= 1 else f"{key} {value}"
        for key, value in sorted(bounds.items())
    ).replace("macs", "MACs")


def _reference(records: Sequence[RunRecord], against: str) -> str:
    if against in _OF_METHOD:
        raise RunError(
            f"Nothing can be compared with `{against}`: it is another network in every method.\n"
            "Hint: compare with an arm that all have in common, such as `uniform` or `full`."
        )
    for record in records:
        for arm in record.results.arms:
            if arm.arm == against:
                return arm.title
    known = dict.fromkeys(arm.arm for record in records for arm in record.results.arms)
    raise RunError(
        f"No run has the arm `{against}` that all should be compared with.\n"
        f"Hint: they have {', '.join(f'`{name}`' for name in known)}; `--arms [{against}]` of "
        "`widthwise search` trains it."
    )


def _level(
    budget: str,
    networks: Mapping[str, Mapping[int, Sequence[ArmResult]]],
    reference: str,
    measure: Measure,
    *,
    full: FullNetwork,
    places: Mapping[int, Path],
) -> Level:
    # Where several runs have trained the same network with one seed, it counts once.
    values = {
        title: [
            statistics.fmean(arm.measures[measure.name] for arm in by_seed[seed])
            for seed in sorted(by_seed)
        ]
        for title, by_seed in networks.items()
    }
    compared = _compared(values, reference)
    contenders = []
    for title, by_seed in networks.items():
        arms = [arm for seed in sorted(by_seed) for arm in by_seed[seed]]
        contenders.append(
            Contender(
                title=title,
                weights=arms[0].weights,
                seeds=tuple(sorted(by_seed)),
                headline=Spread.of(values[title]),
                macs_fraction=statistics.fmean(arm.macs for arm in arms) / full.macs,
                params_fraction=statistics.fmean(arm.params for arm in arms) / full.params,
                epochs=statistics.fmean(arm.epochs for arm in arms),
                seconds=statistics.fmean(arm.seconds for arm in arms),
                minus_reference=compared.get(title),
                network=places[id(arms[0])],
            )
        )
    best_first = sorted(
        contenders,
        key=lambda contender: contender.headline.mean,
        reverse=measure.higher_is_better,
    )
    return Level(budget=budget, contenders=tuple(best_first))


def _compared(values: Mapping[str, Sequence[float]], reference: str) -> dict[str, Difference]:
    if reference not in values:
        return {}
    base = values[reference]
    raw = {title: _welch(own, base) for title, own in values.items() if title != reference}
    tested = {title: found.p for title, found in raw.items() if found.p is not None}
    corrected = dict(zip(tested, holm(list(tested.values())), strict=True))
    return {title: replace(found, p=corrected.get(title)) for title, found in raw.items()}


def _welch(own: Sequence[float], base: Sequence[float]) -> Difference:
    """Compare two means without supposing equal spreads (Welch, 1947)."""
    mean = statistics.fmean(own) - statistics.fmean(base)
    if min(len(own), len(base)) < 2:
        return Difference(mean=mean, low=None, high=None, p=None)
    parts = [statistics.variance(values) / len(values) for values in (own, base)]
    error = math.sqrt(sum(parts))
    if error == 0:
        # No spread at all on either side: nothing to make an interval of.
        return Difference(mean=mean, low=None, high=None, p=None)
    freedom = error**4 / sum(
        part**2 / (len(values) - 1) for part, values in zip(parts, (own, base), strict=True)
    )
    half = float(stats.t.ppf((1 + LEVEL) / 2, freedom)) * error
    p = 2 * float(stats.t.sf(abs(mean) / error, freedom))
    return Difference(mean=mean, low=mean - half, high=mean + half, p=p)


def _notes(levels: Sequence[Level]) -> list[str]:
    notes = []
    for level in levels:
        epochs = {round(contender.epochs, 1) for contender in level.contenders}
        if len(epochs) > 1:
            notes.append(
                f"At {level.budget}, networks were trained for {min(epochs):g} to "
                f"{max(epochs):g} epochs: part of a difference may be that."
            )
        single = [c.title for c in level.contenders if len(c.seeds) == 1]
        if single:
            notes.append(
                f"At {level.budget}, one seed each, so nothing is known of the spread: "
                f"{', '.join(single)}."
            )
        shares = [c.macs_fraction for c in level.contenders if c.macs_fraction < 0.999]
        if shares and max(shares) - min(shares) > 0.02:
            notes.append(
                f"At {level.budget}, networks have {min(shares):.1%} to {max(shares):.1%} of the "
                "MACs."
            )
    return notes
