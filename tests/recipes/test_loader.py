"""Recipes are strict: every wrong key and value is an error that names it."""

from __future__ import annotations

from pathlib import Path

import pytest
import yaml

from widthwise.errors import ConfigError
from widthwise.recipes.config import Baseline, plain
from widthwise.recipes.loader import load_recipe, recipe_names, recipe_path

DIGITS = recipe_path("digits").read_text()


def write(folder: Path, text: str) -> str:
    """Write a recipe and return its path."""
    path = folder / "mine.yaml"
    path.write_text(text)
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
    recipe = load_recipe("digits", ["--search.lr", "1e-2", "--compare", "[scratch]"])
    path = write(tmp_path, yaml.safe_dump(plain(recipe), sort_keys=False))
    assert load_recipe(path) == recipe
    assert recipe.search.lr == 0.01
    assert recipe.compare == (Baseline.scratch,)


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
    assert "`data.batchsize` is unknown; the nearest is `data.batch_size`" in str(caught.value)


@pytest.mark.parametrize(
    ("old", "new", "says"),
    [
        ("lr: 0.1", "lr: fast", r"search\.lr(?s:.*)float(?s:.*)fast"),
        ("batch_size: 64", "batch_size: 64.5", r"data\.batch_size(?s:.*)64\.5"),
        ("name: dhp", "name: dph", r"method\.name(?s:.*)dph"),
        ("macs: 0.5", "macs: null", "The budget is empty"),
        ("budget:\n  macs: 0.5", "budget: 0.5", r"`budget` is a group of keys.*`budget\.macs`"),
        ("  name: digits\n", "", r"data\.name"),
        ("compare: [full", "compare: [fall", "full,uniform,scratch"),
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
    """YAML 1.1 reads 1e-4 as text; a recipe means the number."""
    recipe = load_recipe(changed(tmp_path, "macs: 0.5", "macs: 3e5"))
    assert recipe.budget.macs in (300000.0, "3e5")
    assert load_recipe(changed(tmp_path, "lr: 0.1", "lr: 1e-1")).search.lr == 0.1
