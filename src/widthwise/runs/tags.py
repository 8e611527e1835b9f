"""Short names for found networks, formed as timm names pretrained ones."""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import PurePath
from typing import Any


def tag(config: Mapping[str, Any], *, macs_fraction: float) -> str:
    """Name a found network: ``architecture.methodPERCENT_data``.

    The percentage is that of the MACs that remain. Options of the constructor and the seed are
    not part of the name, so that it stays short: it says what a network is, not which one.

    Args:
        config: Plain values of a run's configuration: ``model``, ``method`` and ``task``, each with
            its ``name``; the task may have a ``dataset``.
        macs_fraction: MACs of the found network as a fraction of those of the full one.

    Returns:
        A name of letters, digits, underscores and one dot, which can be that of a file.

    Example:
        >>> config = {"model": {"name": "widthwise/resnet20"}, "method": {"name": "hinge"}}
        >>> config["task"] = {"name": "classification", "dataset": "cifar10"}
        >>> tag(config, macs_fraction=0.4999)
        'resnet20.hinge50_cifar10'
    """
    model, method = config["model"]["name"], config["method"]["name"]
    # `package.module:factory`, `source/NAME`, or the path of a folder: the last part says it.
    architecture = _word(PurePath(model.rpartition(":")[2]).name)
    percent = max(1, round(100 * macs_fraction))
    return f"{architecture}.{_word(method)}{percent}_{_word(PurePath(data_of(config)).name)}"


def data_of(config: Mapping[str, Any]) -> str:
    """Name the data of a run: the data set of its task, or the task if it has none by name."""
    task = config["task"]
    return str(task.get("dataset") or task["name"])


def _word(name: str) -> str:
    return re.sub(r"[^a-z0-9]+", "_", name.lower()).strip("_") or "network"
