"""Recipes of methods that search while they train, run from the command line, made small."""

from __future__ import annotations

from pathlib import Path

import pytest
from torch import nn

import widthwise as ww
from widthwise.cli import main
from widthwise.models import resolve
from widthwise.rewrites import Drop
from widthwise.runs import read_json
from widthwise.runs.results import ArmResult, read_results

SMALL = [
    *("--model.name", "widthwise/resnet14"),
    *("--task.batch_size", "256"),
    *("--search.epochs", "2"),
    *("--converge.epochs", "1"),
    *("--method.check_every", "2"),
    *("--arms", "[uniform, scratch]"),
    *("--carry_optimizer", "true"),
    *("--threads", "1"),
]
"""6 blocks, and 5 steps per epoch."""


def run(folder: Path, recipe: str, *options: str) -> dict[str, ArmResult]:
    """Run a recipe, made small; return its arms by name."""
    assert main(["search", recipe, "--out", str(folder), *SMALL, *options]) == 0
    results = read_results(folder)
    assert results is not None
    return {arm.arm: arm for arm in results.arms}


@pytest.mark.parametrize(
    "recipe", ["digits_slimming", "digits_sss", "digits_growing_reg", "digits_fade"]
)
def test_a_recipe_ends_within_its_budget(recipe: str, tmp_path: Path) -> None:
    """Found, uniform and fresh arms at equal epochs and costs; the folder loads and is judged."""
    arms = run(tmp_path / "run", recipe)
    plan = ww.Plan.load(tmp_path / "run" / "plan.json")
    assert f"digits_{plan.method}" == recipe
    assert 0.4 < plan.macs() / plan.full_macs <= 0.5
    assert arms["found"].macs == arms["scratch"].macs == plan.macs() >= arms["uniform"].macs
    assert len({arm.epochs for arm in arms.values()}) == 1
    history = read_json(tmp_path / "run" / "stages" / "search" / "history.json")
    assert history
    assert (tmp_path / "run" / "stages" / "search" / "importance" / "0000.json").exists()
    assert main(["eval", str(tmp_path / "run")]) == 0


def test_a_run_without_some_of_its_blocks(tmp_path: Path) -> None:
    """Blocks that are dropped are missing in the network, its table and its page, and it loads."""
    folder = tmp_path / "run"
    # Without units, the budget is met by blocks.
    arms = run(folder, "digits_sss", "--method.units", "false", "--budget.macs", "0.8")
    plan = ww.Plan.load(folder / "plan.json")
    (drop,) = plan.before
    assert isinstance(drop, Drop)
    assert plan.macs() <= 0.8 * plan.full_macs
    network = ww.load(folder, lambda: resolve("widthwise/resnet14").build(in_channels=1))
    for block in drop.blocks:
        assert isinstance(network.get_submodule(block), nn.Identity)
        assert f"{block}.conv1" not in arms["found"].widths
    assert arms["scratch"].widths == arms["found"].widths
    assert (folder / "figures" / "widths.svg").exists()
    assert main(["eval", str(folder)]) == 0
    assert main(["report", str(folder)]) == 0
