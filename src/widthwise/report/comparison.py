"""Several finished runs side by side: what is the same over seeds, and what is luck."""

from __future__ import annotations

import statistics
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from widthwise.errors import RunError
from widthwise.measures import Measure
from widthwise.report.records import RESUME, RunRecord, missing_run, read_run
from widthwise.report.words import name_of
from widthwise.runs.differences import Difference, differences
from widthwise.runs.results import Results

_SAME = ("seed", "tensorboard", "task.folder", "task.download", "task.workers")
"""Keys on which the runs of one group may differ: the seed, and what no result depends on."""


@dataclass(frozen=True, kw_only=True)
class Spread:
    """One quantity over seeds."""

    values: tuple[float, ...]
    """In the order of the seeds."""
    mean: float
    std: float | None
    """Sample standard deviation (divisor n - 1); None for a single value."""

    @classmethod
    def of(cls, values: Sequence[float]) -> Spread:
        """Summarise values.

        Args:
            values: At least one.

        Returns:
            The summary.

        Example:
            >>> Spread.of([1.0, 2.0, 3.0]).std
            1.0
        """
        std = statistics.stdev(values) if len(values) > 1 else None
        return cls(values=tuple(values), mean=statistics.fmean(values), std=std)


@dataclass(frozen=True, kw_only=True)
class ArmSummary:
    """One network of a recipe, over seeds."""

    title: str
    """What to call it in a table."""
    measures: Mapping[str, Spread]
    """Name of a measure -> it after the last epoch."""
    found_minus: Mapping[str, Spread] | None
    """Each measure of the found network minus this one's, seed by seed; None for the found one."""
    macs: float
    """Mean, for one input."""
    params: float
    """Mean."""
    macs_fraction: float
    """Of the full network's MACs."""
    params_fraction: float
    """Of the full network's parameters."""
    epochs: float
    """Mean of the epochs trained in total, those before a cut included."""
    seconds: float
    """Mean of the training time."""


@dataclass(frozen=True, kw_only=True)
class Group:
    """Runs of one configuration that differ in the seed."""

    name: str
    """Tag of the found network; with what tells the groups apart where the tag does not."""
    seeds: tuple[int, ...]
    measures: tuple[Measure, ...]
    """What was measured; the first is the headline."""
    arms: Mapping[str, ArmSummary]
    """Name of an arm -> its network, the found one first."""
    config: Mapping[str, Any]
    """Of the run with the smallest seed."""
    runs: tuple[Mapping[str, Any], ...]
    """Name, seed and environment of every run, in the order of the seeds."""


@dataclass(frozen=True, kw_only=True)
class Comparison:
    """All groups, in the order they were given."""

    groups: tuple[Group, ...]

    def plain(self) -> dict[str, Any]:
        """Return plain values for JSON."""
        return asdict(self)


def compare_runs(folders: Sequence[Path]) -> Comparison:
    """Read finished runs and summarise them.

    Args:
        folders: Run folders, in any order.

    Returns:
        One group per configuration.

    Raises:
        RunError: If a run has not finished or is damaged, or two runs of one configuration have the
            same seed.
    """
    groups: list[list[RunRecord]] = []
    for record in finished(folders):
        for group in groups:
            if not _differing(group[0], record):
                _check_seed(group, record)
                group.append(record)
                break
        else:
            groups.append([record])
    first = [group[0] for group in groups]
    return Comparison(
        groups=tuple(
            _summary(
                sorted(group, key=lambda record: record.config["seed"]), _name(group[0], first)
            )
            for group in groups
        )
    )


def finished(folders: Sequence[Path]) -> list[RunRecord]:
    """Read runs, all of which have to be finished.

    Args:
        folders: Run folders.

    Returns:
        Their records, in the same order.

    Raises:
        RunError: If a run has not finished or is damaged. All that have not finished are named.
    """
    missing = {folder: missing_run(folder) for folder in folders}
    problems = [f"    `{folder}`: {why}" for folder, why in missing.items() if why]
    if problems:
        raise RunError(
            f"{len(problems)} of {len(missing)} runs cannot be compared:\n"
            + "\n".join(problems)
            + f"\n{RESUME}"
        )
    return [read_run(folder) for folder in folders]


def _differing(one: RunRecord, other: RunRecord) -> list[Difference]:
    return [d for d in differences(one.config, other.config) if d.key not in _SAME]


def _check_seed(group: Sequence[RunRecord], record: RunRecord) -> None:
    for other in group:
        if other.config["seed"] == record.config["seed"]:
            raise RunError(
                f"The runs `{other.name}` and `{record.name}` have the same configuration and the "
                f"same seed, {record.config['seed']}.\n"
                "Why: a run counted twice makes a spread look smaller than it is.\n"
                "Hint: give each run once; `--seed N` of `widthwise search` makes another."
            )


def _name(record: RunRecord, others: Sequence[RunRecord]) -> str:
    name = name_of(record)
    alike = [other for other in others if other is not record and name_of(other) == name]
    told = {
        difference.key: difference.there
        for other in alike
        for difference in _differing(record, other)
    }
    details = ", ".join(f"{key}={value}" for key, value in told.items())
    return f"{name} ({details})" if details else name


def _summary(records: Sequence[RunRecord], name: str) -> Group:
    results = records[0].results
    return Group(
        name=name,
        seeds=tuple(record.config["seed"] for record in records),
        measures=results.measures,
        arms={
            arm.arm: _arm([record.results for record in records], place)
            for place, arm in enumerate(results.arms)
        },
        config=records[0].config,
        runs=tuple(
            {"run": r.name, "seed": r.config["seed"], "environment": r.environment} for r in records
        ),
    )


def _arm(results: Sequence[Results], place: int) -> ArmSummary:
    rows = [result.arms[place] for result in results]
    names = [measure.name for measure in results[0].measures]

    def mean(key: str) -> float:
        return statistics.fmean(getattr(row, key) for row in rows)

    def fraction(key: str) -> float:
        return statistics.fmean(
            getattr(row, key) / getattr(result.full, key)
            for row, result in zip(rows, results, strict=True)
        )

    def minus(name: str) -> Spread:
        return Spread.of(
            [
                result.found.measures[name] - row.measures[name]
                for row, result in zip(rows, results, strict=True)
            ]
        )

    return ArmSummary(
        title=rows[0].title,
        measures={name: Spread.of([row.measures[name] for row in rows]) for name in names},
        found_minus={name: minus(name) for name in names} if place else None,
        macs=mean("macs"),
        params=mean("params"),
        macs_fraction=fraction("macs"),
        params_fraction=fraction("params"),
        epochs=mean("epochs"),
        seconds=mean("seconds"),
    )
