"""Methods against each other: who is compared with whom, intervals, corrections, refusals."""

from __future__ import annotations

import itertools
import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from run_folders import PSNR, make_run
from widthwise.cli import main
from widthwise.errors import RunError
from widthwise.report.contest import Contest, contest, holm
from widthwise.report.contest_views import (
    columns,
    contest_figure,
    markdown,
    rows,
    verdict,
    write_contest,
)
from widthwise.report.theme import arm_colour, arm_marker, house_style

UNIFORM = (0.900, 0.904, 0.902, 0.898)
DHP = (0.890, 0.893, 0.888, 0.891)
Hinge = (0.901, 0.899, 0.905, 0.900)


def run(
    folder: Path, method: str, seed: int, found: float, *, uniform: float | None = None, **keys: Any
) -> Path:
    """A finished run of a method; keys of its configuration by dotted name, ``__`` for dots."""
    name = "-".join([method, str(seed), *map(str, keys.values())])
    values = {"found": found, "full": 0.93}
    arms = ["full"]
    if uniform is not None:
        values["uniform"] = uniform
        arms.append("uniform")
    place = make_run(folder / name, seed=seed, values=values, arms=arms)
    config = yaml.safe_load((place / "config.yaml").read_text())
    config["method"] = {"name": method}
    for key, value in keys.items():
        *above, last = key.split("__")
        part = config
        for step in above:
            part = part.setdefault(step, {})
        part[last] = value
    (place / "config.yaml").write_text(yaml.safe_dump(config))
    return place


@pytest.fixture
def runs(tmp_path: Path) -> list[Path]:
    """Four seeds of two methods; uniform widths were trained beside one of them."""
    return [
        *(run(tmp_path, "dhp", n, DHP[n], uniform=UNIFORM[n]) for n in range(4)),
        *(run(tmp_path, "hinge", n, Hinge[n]) for n in range(4)),
    ]


def row(found: Contest, title: str) -> Any:
    (level,) = found.levels
    return next(each for each in level.contenders if each.title == title)


def test_all_are_compared_with_one(runs: list[Path]) -> None:
    """By Welch's test over seeds, whichever run has trained the reference."""
    found = contest(runs, against="uniform")
    assert found.reference == "Uniform widths"
    (level,) = found.levels
    assert level.budget == "50% of the MACs"
    assert [each.title for each in level.contenders] == [
        "Full network",
        "Hinge",
        "Uniform widths",
        "DHP",
    ]
    dhp = row(found, "DHP").minus_reference
    test = stats.ttest_ind(DHP, UNIFORM, equal_var=False)
    assert dhp.mean == pytest.approx(sum(DHP) / 4 - sum(UNIFORM) / 4)
    assert (dhp.low, dhp.high) == pytest.approx(tuple(test.confidence_interval(0.95)))
    assert row(found, "Uniform widths").minus_reference is None
    assert dhp.told_apart
    assert not row(found, "Hinge").minus_reference.told_apart


def test_one_network_of_two_runs_counts_once_per_seed(runs: list[Path], tmp_path: Path) -> None:
    """Uniform widths beside another method are no further seeds."""
    more = [run(tmp_path, "slimming", n, 0.9, uniform=UNIFORM[n]) for n in range(4)]
    found = contest([*runs, *more], against="uniform")
    assert row(found, "Uniform widths").seeds == (0, 1, 2, 3)
    assert row(found, "Uniform widths").headline.values == UNIFORM
    assert row(found, "Full network").seeds == (0, 1, 2, 3)


def test_budgets_are_tables_of_their_own(runs: list[Path], tmp_path: Path) -> None:
    """A network at a quarter of the MACs is not compared with one at half."""
    more = [run(tmp_path, "dhp", n, 0.8 + n / 100, budget__macs=0.25) for n in range(2)]
    found = contest([*runs, *more], against="uniform")
    assert [level.budget for level in found.levels] == ["50% of the MACs", "25% of the MACs"]
    assert all(each.minus_reference is None for each in found.levels[1].contenders)
    assert "Nothing is compared" in verdict(found, found.levels[1])


def test_one_method_with_two_settings_is_two_contenders(runs: list[Path], tmp_path: Path) -> None:
    """They are told apart by what differs."""
    more = [run(tmp_path, "dhp", n, 0.9, method__steps=500) for n in range(2)]
    (level,) = contest([*runs, *more], against="uniform").levels
    titles = [each.title for each in level.contenders]
    assert "DHP (steps 500)" in titles
    assert "DHP (steps None)" in titles


@given(st.lists(st.floats(0, 1), min_size=1, max_size=8))
def test_holms_correction(values: list[float]) -> None:
    """Never smaller than the value, never above Bonferroni's, and in the same order."""
    corrected = holm(values)
    for value, after in zip(values, corrected, strict=True):
        assert value <= after <= min(1.0, len(values) * value) + 1e-12
    order = sorted(range(len(values)), key=lambda place: values[place])
    assert all(corrected[a] <= corrected[b] for a, b in itertools.pairwise(order))
    assert holm([0.01, 0.04, 0.03]) == pytest.approx([0.03, 0.06, 0.06])


def test_one_seed_has_no_interval(tmp_path: Path) -> None:
    """The difference is shown, nothing is claimed, and the note says why."""
    found = contest([run(tmp_path, "dhp", 0, 0.88, uniform=0.9)], against="uniform")
    minus = row(found, "DHP").minus_reference
    assert minus.mean == pytest.approx(-0.02)
    assert (minus.low, minus.high, minus.p) == (None, None, None)
    assert not minus.told_apart
    assert any("one seed each" in note for note in found.notes)
    assert "no difference can be told from luck" in verdict(found, found.levels[0])


def test_what_could_have_been_seen_is_said(tmp_path: Path) -> None:
    """Where nothing is told apart, the widest interval is named."""
    runs = [run(tmp_path, "hinge", n, Hinge[n], uniform=UNIFORM[n]) for n in range(4)]
    for path in runs:
        results = json.loads((path / "results.json").read_text())
        results["arms"] = [arm for arm in results["arms"] if arm["arm"] != "full"]
        (path / "results.json").write_text(json.dumps(results))
    found = contest(runs, against="uniform")
    minus = row(found, "Hinge").minus_reference
    half = 100 * (minus.high - minus.low) / 2
    assert f"differences of less than {half:.1f} points" in verdict(found, found.levels[0])


def test_runs_that_differ_in_more_are_refused(runs: list[Path], tmp_path: Path) -> None:
    """Other data, other limits or another training are another experiment."""
    other = run(tmp_path, "dhp", 9, 0.9, converge__distil=0.0)
    with pytest.raises(RunError, match=r"converge\.distil is 0\.0, not 0\.4"):
        contest([*runs, other], against="uniform")
    with pytest.raises(RunError, match="same method, budget and seed"):
        contest([*runs, run(tmp_path / "again", "dhp", 1, 0.9)], against="uniform")
    with pytest.raises(RunError, match="another network in every method"):
        contest(runs, against="found")
    with pytest.raises(RunError, match=r"No run has the arm `l1`(.|\n)*`found`, `full`, `uniform`"):
        contest(runs, against="l1")


def test_different_epochs_are_noted(runs: list[Path]) -> None:
    """They are shown in the table, and said under it."""
    results = json.loads((runs[5] / "results.json").read_text())
    results["arms"][0]["epochs"] += 30
    (runs[5] / "results.json").write_text(json.dumps(results))
    found = contest(runs, against="uniform")
    assert any("trained for 10 to 17.5 epochs" in note for note in found.notes)


def test_smaller_can_be_better(tmp_path: Path) -> None:
    """The best comes first in any case, and a verdict speaks of better and worse."""
    runs = [run(tmp_path, "dhp", n, DHP[n], uniform=UNIFORM[n]) for n in range(4)]
    for path in runs:
        results = json.loads((path / "results.json").read_text())
        results["measures"][0]["higher_is_better"] = False
        (path / "results.json").write_text(json.dumps(results))
    found = contest(runs, against="uniform")
    assert found.levels[0].contenders[0].title == "DHP"
    assert "DHP (better)" in verdict(found, found.levels[0])


def test_files_and_screen_say_the_same(
    runs: list[Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Every row of the table is in the Markdown and on the screen; JSON has the numbers."""
    out = tmp_path / "out"
    assert main(["compare", *map(str, runs), "--against", "uniform", "--out", str(out)]) == 0
    screen = capsys.readouterr().out
    found = contest(runs, against="uniform")
    text = (out / "compare.md").read_text()
    assert text == markdown(found)
    for line in rows(found, found.levels[0]):
        assert all(cell in screen for cell in line)
        assert "| " + " | ".join(line) + " |" in text
    dhp = row(found, "DHP").minus_reference
    assert f"[−{-100 * dhp.low:.2f}, −{-100 * dhp.high:.2f}]" in text
    kept = json.loads((out / "compare.json").read_text())
    assert kept["levels"][0]["contenders"][0]["title"] == "Full network"
    assert (out / "compare.svg").stat().st_size > 1000


def test_a_measure_in_decibel_is_written_so(tmp_path: Path) -> None:
    """Units are those of the measure."""
    folder = make_run(
        tmp_path / "a", values={"found": 27.5, "full": 28.0, "uniform": 27.0}, measures=(PSNR,)
    )
    write_contest(contest([folder], against="uniform"), tmp_path / "out")
    assert "27.50" in (tmp_path / "out" / "compare.md").read_text()


def test_milliseconds_stand_in_table_and_figure(tmp_path: Path) -> None:
    """Where they were measured, in a column and a panel of their own; left out elsewhere."""
    found = contest([run(tmp_path, "dhp", 0, 0.88, uniform=0.9)], against="uniform")
    assert "Milliseconds" not in columns(found)
    (level,) = found.levels
    times = [replace(each, milliseconds=1.5 + n) for n, each in enumerate(level.contenders)]
    known = replace(found, levels=(replace(level, contenders=tuple(times)),))
    assert "Milliseconds" in columns(known)
    place = columns(known).index("Milliseconds")
    assert [row[place] for row in rows(known, known.levels[0])] == ["1.5", "2.5", "3.5"]
    with house_style():
        one, two = contest_figure(found), contest_figure(known)
    assert [len(figure.axes) for figure in (one, two)] == [1, 2]
    assert two.axes[1].get_xlabel() == "milliseconds for one input"


def test_no_two_networks_are_drawn_alike() -> None:
    """Colours begin anew after a few; then the points have another shape."""
    drawn = {(arm_colour(place), arm_marker(place)) for place in range(20)}
    assert len(drawn) == 20 and len({colour for colour, _ in drawn}) < 20
