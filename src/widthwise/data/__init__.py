"""Data sets by name, and the batches made of them."""

from __future__ import annotations

import difflib
from collections.abc import Callable

from widthwise.data.arrays import ImageClasses, Split
from widthwise.data.digits import load_digits
from widthwise.errors import ConfigError

DATASETS: dict[str, Callable[[], ImageClasses]] = {"digits": load_digits}
"""Name in a recipe -> what loads the data set."""


def load_dataset(name: str) -> ImageClasses:
    """Load a data set by name.

    Args:
        name: A key of `DATASETS`.

    Returns:
        The data set.

    Raises:
        ConfigError: If there is no such data set.
    """
    if name not in DATASETS:
        near = difflib.get_close_matches(name, DATASETS, n=3)
        hint = f"the nearest name is `{near[0]}`; " if near else ""
        known = ", ".join(f"`{known}`" for known in DATASETS)
        raise ConfigError(f"No data set named `{name}`.\nHint: {hint}there are {known}.")
    return DATASETS[name]()


__all__ = ["DATASETS", "ImageClasses", "Split", "load_dataset", "load_digits"]
