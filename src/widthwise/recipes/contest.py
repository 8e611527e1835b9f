"""Milliseconds of the networks of a contest, measured side by side."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import widthwise as ww
from widthwise.latency.engines import Setting
from widthwise.latency.side_by_side import Subject, side_by_side
from widthwise.models import resolve
from widthwise.network.inputs import Inputs
from widthwise.report.contest import Contender, Contest
from widthwise.runs import read_config


def with_times(
    contest: Contest,
    setting: Setting,
    *,
    seconds: float = 2.0,
    progress: Callable[[str], None] | None = None,
) -> Contest:
    """Measure every network of a contest, in turns, and note the medians.

    Seeds of one method have widths of their own; that of the first seed is measured.

    Args:
        contest: Of runs that still have their networks.
        setting: Engine, batch, threads and device.
        seconds: To spend on the clock for each network.
        progress: Called with what is being done.

    Returns:
        The contest with milliseconds, None where the engine cannot run a network.

    Raises:
        RunError: If a run folder is damaged.
        PlanError: If a plan in it is.
    """
    contenders = [each for level in contest.levels for each in level.contenders]
    subjects = [_subject(each) for each in contenders]
    found = side_by_side(subjects, [setting], seconds=seconds, memory=False, progress=progress)
    times = iter(None if each.times is None else each.times.median for each in found)
    return replace(
        contest,
        levels=tuple(
            replace(
                level,
                contenders=tuple(
                    replace(each, milliseconds=next(times)) for each in level.contenders
                ),
            )
            for level in contest.levels
        ),
    )


def _subject(contender: Contender) -> Subject:
    run = contender.network.parent.parent
    model = read_config(run)["model"]
    full = resolve(model["name"])
    network = ww.load(contender.network, lambda: full.build(**model["options"]))
    return Subject(
        name=contender.title,
        network=network.eval(),
        example=Inputs.of(resolve(str(run)).example()),
    )
