"""Pairs for training, rendered once and kept."""

from __future__ import annotations

import hashlib
import json
import math
import warnings
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path

import numpy as np
import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save
from torch import Tensor

from widthwise.data.batches import derived_seed
from widthwise.data.frame_pairs import MARGIN, CropPair, PairsInMemory, pair_of
from widthwise.data.rendering.settings import RenderSettings
from widthwise.data.rendering.studio import Still, Studio
from widthwise.errors import DataError
from widthwise.files import CACHE_VARIABLE, cache_folder, write_atomically

_SEEN = 0.4
"""Share of the target that has to be seen in both frames."""
_STRETCH = 0.15
"""Largest logarithm of how much larger or smaller than usual search crops are."""
_TRIES = 50
_VERSION = 2
"""Of what is drawn: pairs that are kept belong to one."""

Progress = Callable[[Iterable[int]], Iterable[int]]
"""Shows how far an iteration is."""


def rendered_pairs(
    stills: Sequence[Still],
    settings: RenderSettings,
    *,
    count: int,
    gap: int,
    seed: int,
    progress: Progress = iter,
) -> PairsInMemory:
    """Render pairs, or read them where they were rendered before.

    They are kept in a file, as rendering some thousand takes minutes; see
    `widthwise.files.cache_folder` for where.

    Args:
        stills: Photographs.
        settings: Ranges of scenes.
        count: How many.
        gap: Frames from the first of a pair to the second, at most.
        seed: Decides them completely.
        progress: Shows how far it is.

    Returns:
        The pairs.

    Raises:
        DataError: If the photographs give none.
    """
    path = _place(stills, settings, count=count, gap=gap, seed=seed)
    kept = _read(path, count)
    if kept is not None:
        return kept
    studio = Studio(stills, settings)
    drawn = [draw_pair(studio, seed, number, gap=gap) for number in progress(range(count))]
    pairs = PairsInMemory(
        templates=torch.stack([template for template, _ in drawn]),
        searches=torch.stack([search for _, search in drawn]),
    )
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        write_atomically(path, save({"templates": pairs.templates, "searches": pairs.searches}))
    except OSError as error:
        warnings.warn(
            f"Rendered pairs are not kept: `{path}` cannot be written ({error}). Set "
            f"{CACHE_VARIABLE} to a folder that can.",
            stacklevel=2,
        )
    return pairs


def draw_pair(studio: Studio, seed: int, number: int, *, gap: int) -> CropPair:
    """Render one pair.

    Args:
        studio: Draws scenes.
        seed: Of all pairs.
        number: Of this one.
        gap: Frames from the first to the second, at most.

    Returns:
        The pair, with at least 40 % of the target to be seen in both.

    Raises:
        DataError: If fifty scenes in a row do not show enough of their target.
    """
    for attempt in range(_TRIES):
        numbers = derived_seed(seed, number, attempt), 0
        random = np.random.default_rng(numbers)
        later = int(random.integers(1, gap + 1))
        scene = studio.scene(*numbers, length=later + 1, steps=(0, later))
        first, second = scene.shot(0), scene.shot(1)
        if min(first.visible, second.visible) >= _SEEN:
            stretch = math.exp(random.uniform(-_STRETCH, _STRETCH))
            return pair_of((first.frame, second.frame), (first.box, second.box), stretch=stretch)
    raise DataError(
        f"None of {_TRIES} rendered scenes shows enough of its target.\n"
        "Hint: set `task.render.largest` lower, or give other photographs."
    )


def _place(
    stills: Sequence[Still], settings: RenderSettings, *, count: int, gap: int, seed: int
) -> Path:
    digest = hashlib.sha256()
    facts = {
        **vars(settings),
        "count": count,
        "gap": gap,
        "seed": seed,
        "version": _VERSION,
        "margin": MARGIN,
    }
    digest.update(json.dumps(facts, sort_keys=True).encode())
    for still in stills:
        for tensor in (still.pixels, still.regions):
            digest.update(b"none" if tensor is None else _bytes(tensor))
    return cache_folder() / "rendering" / f"{digest.hexdigest()[:16]}.safetensors"


def _bytes(tensor: Tensor) -> bytes:
    return str(tuple(tensor.shape)).encode() + tensor.contiguous().numpy().tobytes()


def _read(path: Path, count: int) -> PairsInMemory | None:
    """Read pairs; a file that cannot be read is made anew."""
    if not path.is_file():
        return None
    try:
        kept = load_file(path)
        pairs = PairsInMemory(templates=kept["templates"], searches=kept["searches"])
    except (OSError, SafetensorError, KeyError):
        return None
    return pairs if len(pairs) == count == len(pairs.searches) else None
