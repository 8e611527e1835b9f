"""Choose axes by name or glob."""

from __future__ import annotations

import difflib
from collections.abc import Sequence
from fnmatch import fnmatchcase

from widthwise.errors import ConfigError
from widthwise.graph.graph import ChannelGraph


def is_named(name: str, pattern: str) -> bool:
    """Tell whether a name is the pattern, or matches it as a glob such as ``layer1.*``."""
    return name == pattern or fnmatchcase(name, pattern)


def matching(graph: ChannelGraph, option: str, patterns: Sequence[str]) -> set[str]:
    """Return the names of the axes that some pattern matches.

    Args:
        graph: The network.
        option: What the patterns were passed as, for the error.
        patterns: Names or globs; a single string counts as a list of one.

    Returns:
        Names of axes.

    Raises:
        ConfigError: If a pattern matches no axis.
    """
    patterns = [patterns] if isinstance(patterns, str) else list(patterns)
    found: set[str] = set()
    unknown = []
    for pattern in patterns:
        names = {name for name in graph.axes if is_named(name, pattern)}
        found |= names
        if not names:
            near = difflib.get_close_matches(pattern, list(graph.axes), n=3)
            unknown.append(f"    {pattern!r}" + (f"; nearest: {', '.join(near)}" if near else ""))
    if unknown:
        raise ConfigError(
            f"`{option}` names no axis of {graph.model_name}:\n"
            + "\n".join(unknown)
            + "\nHint: `print(graph)` lists the axes; an axis has the name of the first layer that "
            "produces it."
        )
    return found
