"""Short names for found networks, formed as timm names pretrained ones."""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import PurePath
from typing import Any


def tag(config: Mapping[str, Any], *, macs_fraction: float) -> str:
    """Name a found network: ``architecture.methodPERCENT_dataset``.

    The percentage is that of the MACs that remain. Options of the constructor and the seed are
    not part of the name, so that it stays short: it says what a network is, not which one.

    Args:
        config: Plain values of a run's configuration: ``model``, ``method`` and ``data``, each with
            its ``name``.
        macs_fraction: MACs of the found network as a fraction of those of the full one.

    Returns:
        A name of letters, digits, underscores and one dot, which can be that of a file.

    Example:
        >>> names = {"model": "widthwise/resnet20", "method": "dhp", "data": "cifar10"}
        >>> tag({key: {"name": name} for key, name in names.items()}, macs_fraction=0.4999)
        'resnet20.dhp50_cifar10'
    """
    model, method, data = (config[key]["name"] for key in ("model", "method", "data"))
    # `package.module:factory`, `source/NAME`, or the path of a folder: the last part says it.
    architecture = _word(PurePath(model.rpartition(":")[2]).name)
    percent = max(1, round(100 * macs_fraction))
    return f"{architecture}.{_word(method)}{percent}_{_word(PurePath(data).name)}"


def _word(name: str) -> str:
    return re.sub(r"[^a-z0-9]+", "_", name.lower()).strip("_") or "network"
