"""Recipes are strict: every wrong key and value is an error that names it."""

from __future__ import annotations

from dataclasses import fields
from pathlib import Path

import pytest
import torch
import yaml

import widthwise as ww
from widthwise.cost import BUDGETS, limit
from widthwise.errors import ConfigError
from widthwise.methods.lw_dna import LwDnaSettings
from widthwise.recipes.config import BudgetConfig, plain
from widthwise.recipes.loader import load_recipe, recipe_names, recipe_parser, recipe_path

DIGITS = recipe_path("digits").read_text(encoding="utf-8")


def write(folder: Path, text: str) -> str:
    """Write a recipe and return its path."""
    path = folder / "mine.yaml"
    path.write_text(text, encoding="utf-8")
    return str(path)


def changed(folder: Path, old: str, new: str) -> str:
    """Write the digits recipe with one thing replaced."""
    assert old in DIGITS
    return write(folder, DIGITS.replace(old, new, 1))


@pytest.mark.parametrize("name", recipe_names())
def test_every_recipe_we_ship_loads(name: str) -> None:
    """A shipped recipe has no unknown keys and only valid values."""
    assert load_recipe(name).seed >= 0


def test_a_resolved_recipe_loads_to_itself(tmp_path: Path) -> None:
    """What a run folder stores as config.yaml is a recipe that means the same."""
    recipe = load_recipe("digits", ["--search.lr", "1e-2", "--arms", "[scratch]"])
    path = write(tmp_path, yaml.safe_dump(plain(recipe), sort_keys=False))
    assert load_recipe(path) == recipe
    assert recipe.search.lr == 0.01
    assert recipe.arms == ("scratch",)


def test_overrides_win_over_the_file_and_leave_the_rest() -> None:
    """One override changes one value, also inside a free mapping."""
    base = load_recipe("digits")
    recipe = load_recipe("digits", ["--converge.epochs=3", "--model.options.num_classes", "7"])
    assert (recipe.converge.epochs, recipe.converge.lr) == (3, base.converge.lr)
    assert recipe.model.options == {**base.model.options, "num_classes": 7}


def test_all_unknown_keys_are_named_with_the_nearest(tmp_path: Path) -> None:
    """Two typos in one file are one error with two lines."""
    path = write(
        tmp_path,
        DIGITS.replace("seed:", "sede:").replace("batch_size:", "batchsize:"),
    )
    with pytest.raises(ConfigError) as caught:
        load_recipe(path)
    assert "`sede` is unknown; the nearest is `seed`" in str(caught.value)
    assert "`task.batchsize` is unknown; the nearest is `task.batch_size`" in str(caught.value)


@pytest.mark.parametrize(
    ("old", "new", "says"),
    [
        ("lr: 0.1", "lr: fast", r"search\.lr(?s:.*)float(?s:.*)fast"),
        ("batch_size: 64", "batch_size: 64.5", r"task\.batch_size(?s:.*)64\.5"),
        ("name: dhp", "name: dph", r"`method\.name`.*'dph'(?s:.*)`dhp`(?s:.*)`lw_dna`"),
        ("  name: dhp\n", "", r"`method\.name`.*is missing(?s:.*)`dhp`"),
        ("name: classification", "name: clasification", "the nearest is `classification`"),
        ("task:\n", "data:\n", r"`task\.name`.*is missing"),
        ("macs: 0.5", "macs: null", "The budget is empty"),
        ("budget:\n  macs: 0.5", "budget: 0.5", r"`budget` is a group of keys.*`budget\.macs`"),
        ("  dataset: digits\n", "", r"task\.dataset"),
        ("arms: [full", "arms: [fall", "`fall`: the nearest is `full`; there are full, uniform"),
        ("arms: [full", "arms: [uniform, full", "`uniform` more than once"),
        ("arms: [full", "teacher: full\narms: [full", "`teacher` has no effect"),
        ("  schedule: cosine", "  distil: 0.4", "needs a `teacher`"),
        ("  schedule: constant", "  distil: 0.4", "`search.distil` has no effect"),
        ("  name: dhp", "  name: dhp\n  rho: 0.4", "`method.rho` is unknown"),
        ("  min_width: 4", "  min_with: 4", "`limits.min_with` is unknown; .*`limits.min_width`"),
        ("  min_width: 4", "  min_width: 0", "`min_width` must be at least 1"),
        ("seed: 0", "seed: -1", "`seed` must not be negative"),
        ("seed: 0", "seed: [", "Cannot read the recipe"),
    ],
)
def test_wrong_values_are_named(tmp_path: Path, old: str, new: str, says: str) -> None:
    """Every wrong value in a file is an error with its key."""
    with pytest.raises(ConfigError, match=says):
        load_recipe(changed(tmp_path, old, new))


@pytest.mark.parametrize(
    ("override", "says"),
    [
        (["--serch.lr", "1"], "--serch.lr"),
        (["--search.l", "1"], "--search.l"),
        (["--search.lr", "fast"], "fast"),
        (["--search.lr"], "expected one argument"),
        (["3"], "unrecognized arguments: 3"),
    ],
)
def test_wrong_overrides_are_named(override: list[str], says: str) -> None:
    """Unknown, shortened, misspelt and stray options are errors that show them and the help."""
    with pytest.raises(ConfigError, match=rf"{says}(?s:.*)--help"):
        load_recipe("digits", override)


def test_an_unknown_recipe_names_the_nearest() -> None:
    """A wrong name is an error with the nearest name and all there are."""
    with pytest.raises(ConfigError, match="nearest name is `digits`"):
        load_recipe("digit")


def test_numbers_in_scientific_notation_are_numbers(tmp_path: Path) -> None:
    """YAML 1.1 reads 1e-1 as text; a recipe means the number, also where texts are allowed."""
    assert load_recipe(changed(tmp_path, "lr: 0.1", "lr: 1e-1")).search.lr == 0.1
    (budget,) = load_recipe(changed(tmp_path, "macs: 0.5", "macs: 3e5")).budget.open()
    graph = ww.trace(torch.nn.Conv2d(3, 400, 3), torch.zeros(1, 3, 40, 40))
    assert limit(budget, graph) == 300_000.0


def test_another_method_can_be_chosen(tmp_path: Path) -> None:
    """Its own keys are there then, those of the other are not, and neither is its search."""
    recipe = load_recipe("digits", ["--method.name", "lw_dna", "--method.rho=0.3", "--arms=[full]"])
    assert recipe.method == LwDnaSettings(rho=0.3)
    assert recipe.search is None
    assert recipe.task == load_recipe("digits").task
    with pytest.raises(ConfigError, match=r"unrecognized.*--method\.sparsity"):
        load_recipe("digits", ["--method.name=lw_dna", "--method.sparsity=1"])
    with pytest.raises(ConfigError, match=r"search\.epochs"):
        load_recipe("digits_lw_dna", ["--method.name=dhp"])
    text = DIGITS.replace("name: dhp", "name: lw_dna").replace("  sparsity: 0.02\n", "")
    text = text.replace("  check_every: 7\n", "")
    with pytest.raises(ConfigError, match="`search` has no effect: the method `lw_dna`"):
        load_recipe(write(tmp_path, text))


@pytest.mark.parametrize(
    ("arm", "says"),
    [("l1", "trains for as long as the search"), ("scratch", "the found network once more")],
)
def test_an_arm_that_makes_no_sense_is_refused(arm: str, says: str) -> None:
    """Where there is no search to be as long as, or found and scratch would be one."""
    with pytest.raises(ConfigError, match=says):
        load_recipe("digits_lw_dna", ["--arms", f"[{arm}, wide]"])


def test_the_help_shows_what_is_chosen(capsys: pytest.CaptureFixture[str]) -> None:
    """Every key of the chosen records with its words, and none of the others."""
    recipe_parser("digits", prog="x").print_help()
    text = capsys.readouterr().out
    assert "--method.sparsity" in text and "--method.rho" not in text
    assert "--task.dataset" in text and "--task.sigma" not in text
    assert "--limits.round_to" in text and "--search.lr" in text
    assert "Names or globs (``layer1.*``) of axes that may be narrowed" in " ".join(text.split())
    recipe_parser("digits", ["--method.name", "lw_dna"], prog="x").print_help()
    text = capsys.readouterr().out
    assert "--method.rho" in text and "--search.lr" not in text


@pytest.mark.parametrize(
    ("text", "round_to"),
    [
        ("measured", "measured"),
        ("16", 16),
        ("{conv1: 16, 'layer1.*': 4}", {"conv1": 16, "layer1.*": 4}),
    ],
)
def test_widths_are_aligned_as_in_python(text: str, round_to: object) -> None:
    """A number, one per name or glob, or what a machine likes; nothing else."""
    assert load_recipe("digits", ["--limits.round_to", text]).limits.round_to == round_to
    with pytest.raises(ConfigError, match="round_to"):
        load_recipe("digits", ["--limits.round_to", "mesured"])


def test_processes_cannot_each_measure_for_themselves() -> None:
    """They would decide for different widths; it is known before any of them starts."""
    options = ["--limits.round_to", "measured", "--budget.latency", "1.0", "--hardware.devices"]
    assert load_recipe("digits", [*options, "1"]).hardware.devices == 1
    with pytest.raises(ConfigError, match="measured by every process") as raised:
        load_recipe("digits", [*options, "2"])
    assert "`limits.round_to: measured`" in str(raised.value)
    with pytest.raises(ConfigError, match=r"`budget\.latency` would be measured"):
        load_recipe("digits", ["--budget.latency", "1.0", "--hardware.devices", "2"])


@pytest.mark.parametrize(
    ("given", "meant"),
    [
        (["--model.weight", "mine.pt"], "--model.weights"),
        (["--budget.mac", "0.5"], "--budget.macs"),
        (["--method.sparsty=3"], "--method.sparsity"),
    ],
)
def test_a_misspelt_option_is_told_the_nearest(given: list[str], meant: str) -> None:
    """As a misspelt key of a file is."""
    with pytest.raises(ConfigError, match=f"is `{meant}`"):
        load_recipe("digits", given)
    with pytest.raises(ConfigError, match="--help` lists"):
        load_recipe("digits", ["--qqqqqq", "3"])


def test_every_budget_can_be_set() -> None:
    """A recipe has a key for each quantity that can be budgeted."""
    assert {field.name for field in fields(BudgetConfig)} == set(BUDGETS)


def test_momentum_is_carried_between_equal_parts() -> None:
    """With other `lr_factors` after the cut, nobody would know whose momentum is whose."""
    factors = ["--search.lr_factors", '{"conv1.*": 0.5}', "--carry_optimizer", "true"]
    both = [*factors, "--converge.lr_factors", '{"conv1.*": 0.5}']
    assert load_recipe("digits", both).converge.lr_factors == {"conv1.*": 0.5}
    with pytest.raises(ConfigError, match="same `lr_factors`"):
        load_recipe("digits", factors)
