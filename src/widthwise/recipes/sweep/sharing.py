"""How runs that go on at the same time share the cores and the graphics cards of one machine."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from widthwise.recipes.config import SearchRecipe

_THREADS = "OMP_NUM_THREADS"
_CARDS = "CUDA_VISIBLE_DEVICES"


@dataclass(frozen=True, kw_only=True)
class Share:
    """What processes get."""

    slots: tuple[Mapping[str, str], ...]
    """Environment variables of the processes in each slot."""
    notes: tuple[str, ...]
    """What the user should know."""


def cores() -> int:
    """Count the cores that this process may use."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def share(
    recipes: Sequence[SearchRecipe],
    *,
    at_once: int,
    cores: int,
    cards: int,
    environment: Mapping[str, str],
) -> Share:
    """Divide a machine.

    Threads are what the recipe says. Where it says nothing, a run alone takes all cores, and
    several at a time divide them.

    Args:
        recipes: Of all runs.
        at_once: Runs at a time.
        cores: Of the machine.
        cards: Graphics cards of the machine; 0 if runs use none.
        environment: Of this process: what the user has set there is left as it is.

    Returns:
        The share of each slot.
    """
    notes: list[str] = []
    variables: dict[str, str] = {}
    said = [recipe.threads for recipe in recipes if recipe.threads is not None]
    if len(said) < len(recipes) and at_once > 1 and _THREADS not in environment:
        each = max(1, cores // at_once)
        variables[_THREADS] = str(each)
        said.append(each)
        notes.append(
            f"{at_once} runs at a time share {cores} cores: {each} "
            f"thread{'s' if each > 1 else ''} each (`--threads` decides otherwise)."
        )
    most = max(said, default=1)
    if at_once > 1 and at_once * most > cores:
        notes.append(
            f"{at_once} runs at a time with up to {most} thread{'s' if most > 1 else ''} each are "
            f"more than the {cores} cores of this machine: they slow each other down. "
            "Fewer `--jobs` or `--threads` do not."
        )
    slots: list[Mapping[str, str]] = [variables] * at_once
    if cards > 1 and at_once > 1:
        devices = max(recipe.hardware.devices for recipe in recipes)
        given = [name for name in environment.get(_CARDS, "").split(",") if name]
        names = given or [str(number) for number in range(cards)]
        slots = [
            {**variables, _CARDS: ",".join(_dealt(names, slot, devices))} for slot in range(at_once)
        ]
    needed = at_once * max(recipe.hardware.devices for recipe in recipes) if cards else 0
    if at_once > 1 and needed > cards:
        notes.append(
            f"{at_once} runs at a time share {cards} graphics card{'s' if cards > 1 else ''}, and "
            "their memory."
        )
    return Share(slots=tuple(slots), notes=tuple(notes))


def _dealt(names: Sequence[str], slot: int, devices: int) -> list[str]:
    places = dict.fromkeys((slot * devices + number) % len(names) for number in range(devices))
    return [names[place] for place in places]
