"""Measure the network that a run has left behind."""

from __future__ import annotations

from pathlib import Path

import torch

from widthwise.data.batches import eval_batches
from widthwise.errors import RunError
from widthwise.models import resolve
from widthwise.recipes.loader import load_recipe
from widthwise.recipes.setting import load_data


def evaluate_run(folder: Path) -> tuple[float, int]:
    """Measure the trained network of a run folder on the test split.

    Args:
        folder: A finished run.

    Returns:
        Accuracy in [0, 1] and the number of images.

    Raises:
        RunError: If there is no finished run in the folder.
    """
    if not (folder / "plan.json").is_file():
        raise RunError(
            f"There is no finished run in `{folder}`: it has no plan.json.\n"
            "Hint: `widthwise search RECIPE --out FOLDER --resume` goes on with an unfinished one."
        )
    recipe = load_recipe(str(folder / "config.yaml"))
    data = load_data(recipe.data)
    network = resolve(str(folder)).build().eval()
    mean, std = (torch.tensor(values).reshape(-1, 1, 1) for values in (data.mean, data.std))
    right = 0
    # In the precision of the run: rounding may decide an image that is hard to tell.
    with torch.inference_mode(), recipe.hardware.precision.autocast(mean.device):
        for images, labels in eval_batches(
            data.test, batch_size=recipe.data.batch_size, workers=recipe.data.workers
        ):
            scores = network((images - mean) / std)
            right += int((scores.argmax(dim=1) == labels).sum())
    return right / len(data.test), len(data.test)
