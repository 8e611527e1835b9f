"""What the options of our networks have in common: ``width_mult``, ``image_size`` and choices."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from enum import Enum
from typing import TypeVar

T = TypeVar("T")


class Choice(Enum):
    """A choice that recipes write as text: ``Shortcut("A")`` is ``Shortcut.A``."""

    @classmethod
    def _missing_(cls, value: object) -> None:
        known = ", ".join(repr(member.value) for member in cls)
        raise ValueError(f"`{cls.__name__.lower()}` is one of {known}: got {value!r}.")


def scaled(widths: Iterable[int], width_mult: float) -> list[int]:
    """Multiply widths and cut off fractions.

    Args:
        widths: Channels at ``width_mult`` 1.
        width_mult: The factor.

    Returns:
        Channels.

    Raises:
        ValueError: If a width is left without a channel.

    Example:
        >>> scaled([16, 24], 0.3)
        [4, 7]
    """
    widths = list(widths)
    result = [int(width * width_mult) for width in widths]
    if min(result) < 1:
        raise ValueError(f"width_mult={width_mult} leaves no channel of {min(widths)}.")
    return result


def for_image_size(image_size: int, settings: Mapping[int, T]) -> T:
    """Look up what a network does for images of a size: where it strides.

    Args:
        image_size: Side of the images in pixels: 32 (CIFAR), 64 (Tiny-ImageNet), 224 (ImageNet).
        settings: Image size -> setting, for every size the network is laid out for.

    Returns:
        The setting.

    Raises:
        ValueError: If the network is not laid out for that size.

    Example:
        >>> for_image_size(64, {32: "stem stride 1", 64: "stem stride 2"})
        'stem stride 2'
    """
    if image_size not in settings:
        known = ", ".join(map(str, settings))
        raise ValueError(
            f"`image_size` is one of {known}: got {image_size!r}. It decides where the network "
            "strides; images of other sizes go in all the same, so take the nearest."
        )
    return settings[image_size]
