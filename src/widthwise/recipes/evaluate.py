"""Measure the network that a run has left behind."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from widthwise.errors import RunError
from widthwise.measures import Measure
from widthwise.models import resolve
from widthwise.recipes.config import SearchRecipe
from widthwise.recipes.loader import load_recipe


def evaluate_run(
    folder: Path, settings: Sequence[str] = ()
) -> tuple[list[tuple[Measure, float]], int]:
    """Measure the trained network of a run folder on the test data, from its files alone.

    Args:
        folder: A finished run.
        settings: What to change in its recipe, as on the command line, such as other test data.

    Returns:
        Every measure of its task with its value, and the number of test items.

    Raises:
        RunError: If there is no finished run in the folder.
        DataError: If the data are not on this machine.
    """
    recipe = finished_recipe(folder, settings)
    task = recipe.task.open()
    # In the precision of the run: rounding may decide an item that is hard to tell.
    values = task.evaluate(resolve(str(folder)).build(), recipe.hardware)
    return [(measure, values[measure.name]) for measure in task.measures], task.test_items


def finished_recipe(folder: Path, settings: Sequence[str] = ()) -> SearchRecipe:
    """Load the recipe of a finished run.

    Args:
        folder: A run folder.
        settings: What to change in it, as on the command line.

    Returns:
        The recipe.

    Raises:
        RunError: If there is no finished run in the folder.
    """
    if not (folder / "plan.json").is_file():
        raise RunError(
            f"There is no finished run in `{folder}`: it has no plan.json.\n"
            "Hint: `widthwise search RECIPE --out FOLDER --resume` goes on with an unfinished one."
        )
    return load_recipe(str(folder / "config.yaml"), settings)
