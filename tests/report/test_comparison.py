"""Several runs in one table: grouping, means and spreads, paired differences, refusals."""

from __future__ import annotations

import json
import statistics
from pathlib import Path
from typing import Any

import pytest
import yaml

from run_folders import PSNR, make_run
from widthwise.errors import RunError
from widthwise.report.comparison import Comparison, Spread, compare_runs
from widthwise.report.comparison_views import (
    columns,
    comparison_figure,
    markdown,
    rows,
    seeds,
    write_comparison,
)
from widthwise.report.theme import house_style

FOUND = (0.90, 0.92, 0.91)
FULL = (0.92, 0.93, 0.94)
"""Accuracies by seed, not in the order in which the runs are given."""


def run(folder: Path, seed: int, **options: Any) -> Path:
    values = {"found": FOUND[seed], "full": FULL[seed]}
    return make_run(folder / f"seed{seed}", seed=seed, values=values, **options)


def change(folder: Path, key: str, value: object) -> Path:
    """Set one key of a run's configuration, such as ``task.folder``."""
    path = folder / "config.yaml"
    config = yaml.safe_load(path.read_text(encoding="utf-8"))
    *above, last = key.split(".")
    place = config
    for name in above:
        place = place[name]
    place[last] = value
    path.write_text(yaml.safe_dump(config))
    return folder


@pytest.fixture
def comparison(tmp_path: Path) -> Comparison:
    """Three seeds of one recipe, given out of order."""
    return compare_runs([run(tmp_path, seed) for seed in (2, 0, 1)])


def test_seeds_are_one_group(comparison: Comparison) -> None:
    """Runs that differ in the seed are summarised, in the order of their seeds."""
    (group,) = comparison.groups
    assert group.name == "resnet20.dhp50_digits"
    assert group.seeds == (0, 1, 2)
    assert list(group.arms) == ["found", "full", "uniform"]
    found = group.arms["found"]
    accuracy = found.measures["accuracy"]
    assert accuracy.values == FOUND
    assert accuracy.mean == pytest.approx(0.91)
    assert accuracy.std == pytest.approx(0.01)
    assert found.found_minus is None
    assert (found.macs, found.epochs) == (1_266_000, 10)
    assert found.macs_fraction == pytest.approx(1_266_000 / 2_532_992)


def test_differences_are_paired(comparison: Comparison) -> None:
    """Found minus baseline is taken seed by seed, so its spread is not that of the accuracies."""
    minus = comparison.groups[0].arms["full"].found_minus
    assert minus is not None
    difference = minus["accuracy"]
    expected = [found - full for found, full in zip(FOUND, FULL, strict=True)]
    assert difference.values == pytest.approx(expected)
    assert difference.mean == pytest.approx(statistics.fmean(expected))
    assert difference.std == pytest.approx(statistics.stdev(expected))


def test_a_single_run_has_no_spread(tmp_path: Path) -> None:
    """One value has a mean and no standard deviation, and the table says so."""
    (group,) = compare_runs([run(tmp_path, 0)]).groups
    assert group.arms["found"].measures["accuracy"] == Spread(values=(0.9,), mean=0.9, std=None)
    assert "no spread is known" in seeds(group)
    assert next(rows(group))[1] == "90.00 %"


@pytest.mark.parametrize("key", ["task.folder", "task.workers", "tensorboard"])
def test_what_no_result_depends_on_does_not_part_runs(key: str, tmp_path: Path) -> None:
    """Runs on two machines, with data in other places, are seeds of one recipe."""
    folders = [run(tmp_path, 0), change(run(tmp_path, 1), key, "elsewhere")]
    assert len(compare_runs(folders).groups) == 1


def test_recipes_are_groups_told_apart_by_what_differs(tmp_path: Path) -> None:
    """Same network and budget, another setting: the name of the group says which."""
    other = change(run(tmp_path / "other", 0), "method.name", "dhp")
    change(other, "method.sparsity", 0.02)
    mine = change(run(tmp_path, 0), "method.sparsity", 0.01)
    third = change(run(tmp_path / "third", 0), "task.dataset", "cifar10")
    names = [group.name for group in compare_runs([mine, other, third]).groups]
    assert names == [
        "resnet20.dhp50_digits (method.sparsity=0.01)",
        "resnet20.dhp50_digits (method.sparsity=0.02)",
        "resnet20.dhp50_cifar10",
    ]


def test_a_run_is_not_counted_twice(tmp_path: Path) -> None:
    """The same configuration and seed again is refused, whatever the folder is called."""
    again = make_run(tmp_path / "again", seed=0)
    with pytest.raises(RunError, match=r"`seed0` and `again`(?s:.*)same seed, 0"):
        compare_runs([run(tmp_path, 0), again])


def test_unfinished_runs_are_named_all_at_once(tmp_path: Path) -> None:
    """Every run that is missing or has not finished is listed with its reason."""
    done, killed = run(tmp_path, 0), run(tmp_path, 1)
    (killed / "results.json").unlink()
    with pytest.raises(RunError) as caught:
        compare_runs([done, killed, tmp_path / "nowhere"])
    text = str(caught.value)
    assert "2 of 3 runs" in text
    assert f"`{killed}`: the run in it has not finished" in text
    assert f"`{tmp_path / 'nowhere'}`: there is no run in it" in text
    assert f"`{done}`" not in text


def test_the_json_is_a_measurement(comparison: Comparison, tmp_path: Path) -> None:
    """Besides all values it carries configuration, seeds, command, machine and versions."""
    write_comparison(comparison, tmp_path / "out")
    (group,) = json.loads((tmp_path / "out" / "compare.json").read_text(encoding="utf-8"))["groups"]
    assert group["arms"]["found"]["measures"]["accuracy"]["values"] == list(FOUND)
    assert group["seeds"] == [0, 1, 2]
    assert group["config"]["model"]["name"] == "widthwise/resnet20"
    assert [entry["run"] for entry in group["runs"]] == ["seed0", "seed1", "seed2"]
    for entry in group["runs"]:
        known = entry["environment"]
        assert known["processor"] == "A processor"
        assert known["packages"] == {"torch": "2.11"}
        assert known["command"].startswith("widthwise search")


def test_the_markdown_is_a_table(comparison: Comparison) -> None:
    """Every line has as many cells as the header, with means, spreads and signs."""
    text = markdown(comparison)
    table = [line for line in text.splitlines() if line.startswith("|")]
    assert {line.count("|") for line in table} == {len(columns(comparison.groups[0])) + 1}
    assert "| Found widths | 91.00 ± 1.00 % |  | 1.27 M (50.0%) |" in text
    assert "| Full network | 93.00 ± 1.00 % | −2.00 ± 1.00 points | 2.53 M (100.0%) |" in text
    assert "n = 3 seeds (0, 1, 2)" in text
    assert "Trained on: A processor, torch 2.11, widthwise 0.1.0." in text


def test_the_figure_has_a_dot_per_seed(comparison: Comparison) -> None:
    """Each network has one dot per seed at its accuracy, and a row of its own with its name."""
    with house_style():
        figure = comparison_figure(comparison)
    axes = figure.axes[0]
    labels = [label.get_text() for label in axes.get_yticklabels()]
    assert labels == ["Found widths", "Full network", "Uniform widths"]
    dots = [c.get_offsets() for c in axes.collections if len(c.get_offsets()) == 3]
    assert [list(place[:, 0]) for place in dots[:2]] == [list(FOUND), list(FULL)]
    assert [set(place[:, 1]) for place in dots] == [{1}, {2}, {3}]


def test_all_files_are_written_the_same_every_time(comparison: Comparison, tmp_path: Path) -> None:
    """The four files are there, and writing again changes no byte."""
    write_comparison(comparison, tmp_path / "out")
    before = {file.name: file.read_bytes() for file in (tmp_path / "out").iterdir()}
    assert set(before) == {"compare.json", "compare.md", "compare.svg", "compare.png"}
    write_comparison(comparison, tmp_path / "out")
    assert {file.name: file.read_bytes() for file in (tmp_path / "out").iterdir()} == before


def test_tasks_have_panels_of_their_own(tmp_path: Path) -> None:
    """Runs that measure other things stand in one figure, each under the name of its measure."""
    denoised = make_run(
        tmp_path / "other",
        data="photographs",
        measures=[PSNR],
        values={"found": 27.5, "full": 27.6},
    )
    comparison = compare_runs([run(tmp_path, 0), denoised])
    with house_style():
        panels = comparison_figure(comparison).axes
    assert [axes.get_xlabel().split(";")[0] for axes in panels] == ["test accuracy", "PSNR"]
    assert columns(comparison.groups[1])[1] == "PSNR"
    assert [row[1:3] for row in rows(comparison.groups[1])][:2] == [
        ("27.500 dB", ""),
        ("27.600 dB", "−0.100 dB"),
    ]
