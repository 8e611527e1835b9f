"""The finished runs of a sweep in one table and one figure."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from widthwise.errors import RunError
from widthwise.report.comparison import Comparison, compare_runs
from widthwise.report.contest import Contest, contest
from widthwise.runs.results import read_results

_FIRST = "uniform"
"""The arm that others are compared with, where it was trained."""


def compared(folders: Sequence[Path]) -> tuple[Contest | Comparison, str | None]:
    """Compare runs over methods and budgets if that can be done, else by configuration.

    Args:
        folders: Of finished runs, at least one.

    Returns:
        The comparison, and why it is not one over methods and budgets.

    Raises:
        RunError: If a run is damaged, or two are of one configuration and seed.
    """
    arm = common_arm(folders)
    if arm is None:
        why = "the runs have no arm in common beside the found network"
    else:
        try:
            return contest(folders, against=arm), None
        except RunError as error:
            why = str(error).split("\nWhy:")[0]
    return compare_runs(folders), why


def common_arm(folders: Sequence[Path]) -> str | None:
    """Choose the arm that all networks are compared with.

    Args:
        folders: Of finished runs.

    Returns:
        An arm that all of them have: ``uniform``, or else the first; None if there is none.
    """
    results = [read_results(folder) for folder in folders]
    arms = [[arm.arm for arm in found.arms[1:]] for found in results if found is not None]
    common = [name for name in (arms[0] if arms else []) if all(name in each for each in arms)]
    return _FIRST if _FIRST in common else next(iter(common), None)
