"""Published methods, one file each, with their settings beside them."""

from collections.abc import Mapping
from types import MappingProxyType
from typing import Any

from widthwise.methods.base import Bench, Found, Method
from widthwise.methods.compress import CompressSettings
from widthwise.methods.dhp import DhpSettings, dhp
from widthwise.methods.fade import FadeSettings, fade
from widthwise.methods.growing_reg import GrowingRegSettings, growing_reg
from widthwise.methods.hinge import HingeSettings, hinge
from widthwise.methods.keep import KeepSettings
from widthwise.methods.lw_dna import LwDnaSettings, lw_dna
from widthwise.methods.one_shot import OneShotSettings
from widthwise.methods.random_search import RandomSearchSettings, random_search
from widthwise.methods.rewrite import RewriteSettings
from widthwise.methods.slimming import SlimmingSettings, slimming
from widthwise.methods.sss import SssSettings, sss

METHODS: Mapping[str, type[Any]] = MappingProxyType(
    {
        "compress": CompressSettings,
        "dhp": DhpSettings,
        "fade": FadeSettings,
        "growing_reg": GrowingRegSettings,
        "hinge": HingeSettings,
        "keep": KeepSettings,
        "lw_dna": LwDnaSettings,
        "one_shot": OneShotSettings,
        "random_search": RandomSearchSettings,
        "rewrite": RewriteSettings,
        "slimming": SlimmingSettings,
        "sss": SssSettings,
    }
)
"""The settings of every method, by the name that recipes choose it by."""


def method_title(name: str) -> str:
    """Say what people call a method.

    Args:
        name: Its name in recipes; one that is unknown here, such as of a later version, stays.

    Returns:
        Its title.

    Example:
        >>> method_title("lw_dna")
        'LW-DNA'
    """
    return str(METHODS[name].title) if name in METHODS else name


__all__ = [
    "METHODS",
    "Bench",
    "CompressSettings",
    "DhpSettings",
    "FadeSettings",
    "Found",
    "GrowingRegSettings",
    "HingeSettings",
    "KeepSettings",
    "LwDnaSettings",
    "Method",
    "OneShotSettings",
    "RandomSearchSettings",
    "RewriteSettings",
    "SlimmingSettings",
    "SssSettings",
    "dhp",
    "fade",
    "growing_reg",
    "hinge",
    "lw_dna",
    "method_title",
    "random_search",
    "slimming",
    "sss",
]
