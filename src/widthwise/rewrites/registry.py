"""Where rewrites are kept by name, ours and the user's alike, so that a plan file can name them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, TypeVar

from widthwise import errors
from widthwise.rewrites.base import Rewrite

_Kind = TypeVar("_Kind", bound=type[Rewrite])

_REWRITES: dict[str, type[Rewrite]] = {}


def register(kind: _Kind) -> _Kind:
    """Make a rewrite known by its name, replacing any that had it. Use as a class decorator.

    Args:
        kind: A class as `Rewrite` describes.

    Returns:
        The class, unchanged.
    """
    _REWRITES[kind.name] = kind
    return kind


def to_spec(rewrite: Rewrite) -> dict[str, Any]:
    """Return what a plan file says of a rewrite: its name, and plain values."""
    return {"name": rewrite.name, **rewrite.to_spec()}


def from_spec(spec: Mapping[str, Any]) -> Rewrite:
    """Build a rewrite from what `to_spec` returned.

    Args:
        spec: Its name, and the values that its class wrote. Not changed.

    Returns:
        The rewrite.

    Raises:
        PlanError: If no rewrite of that name is registered, or the values are not its own.
    """
    values = dict(spec)
    name = values.pop("name", None)
    kind = _REWRITES.get(name) if isinstance(name, str) else None
    if kind is None:
        raise errors.unknown_rewrite(name, _REWRITES)
    try:
        return kind.from_spec(values)
    except (KeyError, TypeError, ValueError) as error:
        raise errors.PlanError(
            f"`{name}` is not written like that: {values!r}\n    {type(error).__name__}: {error}"
        ) from error
