"""Narrow networks of transformers, diffusers and others that have `from_pretrained`.

These packages are not imported here: all that is asked of a class is its two methods.
"""

from __future__ import annotations

import functools
import os
from pathlib import Path
from typing import Any

import torch
from torch import nn

from widthwise.arguments import described, require
from widthwise.errors import ConfigError
from widthwise.plans import Plan
from widthwise.shrinking import shrink
from widthwise.shrinking.saved import PLAN


def save_pretrained(
    small: nn.Module, plan: Plan, folder: str | os.PathLike[str], **options: Any
) -> None:
    """Write a narrow network as its own `save_pretrained` does, and its plan beside it.

    Args:
        small: The narrow network, whose class has `save_pretrained`.
        plan: The plan it was cut by.
        folder: Made if it does not exist.
        options: Passed on to the network's own method.

    Raises:
        ConfigError: If the class has no such method.
    """
    line = "save_pretrained(small, plan, folder)"
    require(plan, Plan, "a plan", line)
    if not callable(getattr(small, "save_pretrained", None)):
        raise _no_method(type(small), "save_pretrained", "ww.save(small, plan, folder)")
    small.save_pretrained(folder, **options)  # type: ignore[operator]
    plan.save(Path(folder) / PLAN)


def from_pretrained(kind: type, folder: str | os.PathLike[str], **options: Any) -> Any:
    """Load a narrow network as the `from_pretrained` of its class does.

    Alone, that would build the full network and refuse the weights. Here the network is cut by the
    plan in the folder as soon as it is built, before weights are read.

    Args:
        kind: The class of the network.
        folder: What `save_pretrained` wrote; a folder, also one that was fetched from a hub.
        options: Passed on to the class's own method: ``dtype``, ``device_map``.

    Returns:
        The narrow network, of class `kind`, in evaluation mode where its package does so.

    Raises:
        ConfigError: If the class has no such method.
        PlanError: If there is no plan in the folder, or it belongs to another network.

    Example::

        save_pretrained(small, plan, "narrow")
        small = from_pretrained(ResNetForImageClassification, "narrow")
    """
    if not callable(getattr(kind, "from_pretrained", None)):
        raise _no_method(kind, "from_pretrained", "ww.load(folder, factory)")
    plan = Plan.load(Path(folder) / PLAN)

    # Its signature is what some read settings by.
    @functools.wraps(kind.__init__)  # type: ignore[misc]
    def build(self: nn.Module, *args: Any, **settings: Any) -> None:
        kind.__init__(self, *args, **settings)  # type: ignore[misc]
        # They build on the meta device, which must not catch what a trace makes.
        with torch.device("cpu"):
            small = shrink(self, plan, verify=False)
        vars(self).update(vars(small))

    narrow: Any = type(kind.__name__, (kind,), {"__init__": build, "__module__": kind.__module__})
    network = narrow.from_pretrained(folder, **options)
    network.__class__ = kind
    return network


def _no_method(kind: object, method: str, instead: str) -> ConfigError:
    name = described(kind)
    return ConfigError(
        f"Expected a class of transformers, diffusers or alike, got {name}: it has no `{method}`.\n"
        f"Hint: write `{instead}`."
    )
