"""Sizes that modules remember for others to read: what they take, return, or call their features.

No forward need read them, so no dry run misses them; but people build heads by them. A size follows
a width only where it is known which one it tells of, by the name it has:

- ``in_channels``, ``in_features``, ``in_chs``: of what its module takes; ``out_...``: of what its
  module returns. These are the names that PyTorch, torchvision and timm give them.
- ``num_features``, ``embed_dim``: of what the `forward_features` of its module returns;
  ``num_features`` of a head without one: of what its layer `fc` takes.
- ``head_hidden_size``: of what the classifier takes that `get_classifier` returns.
- ``num_chs`` of an entry of ``feature_info``: of what the module returns that the entry names.

The last three are the contract of timm's networks. The size must also equal that width, and no
other width of the same tensor.
"""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from enum import Enum, auto
from typing import Any, TypeGuard

import numpy as np
from torch import Tensor, nn
from torch.utils._pytree import tree_leaves

from widthwise.graph.recording.ledger import PassLedger
from widthwise.network.copying import walk
from widthwise.network.narrowing import is_known_layer
from widthwise.rules import Label, UnitNumbers

_TAKES = ("in_channels", "in_features", "in_chs")
_RETURNS = ("out_channels", "out_features", "out_chs")
_SIZE = re.compile(
    r"(^|_)(channels?|chans|chs|dims?|embed|features?|hidden(_size)?|(in)?planes|width)(_|$)"
)
"""In the name of an attribute: it may tell of a width."""


class Side(Enum):
    """Which tensors of a module a size tells of."""

    TAKES = auto()
    """Those it is called with."""
    RETURNS = auto()
    """Those it returns."""
    FEATURES = auto()
    """Those that its `forward_features` returns."""


@dataclass(frozen=True)
class Remembered:
    """A size in an attribute of a module, and the place whose width it is."""

    path: str
    """Of the module that holds it."""
    attribute: str
    """A name, or names and keys with dots between them; see `narrowing.repeats`."""
    size: int
    place: str
    """Path of the module whose tensors have this width."""
    side: Side


def remembered(model: nn.Module) -> Iterator[Remembered]:
    """Yield the sizes in a network of which it is known what they tell of.

    Args:
        model: The network; not changed.

    Yields:
        The sizes, module by module.
    """
    for path, module in walk(model):
        if is_known_layer(module):
            continue
        held = vars(module)
        for names, side in ((_TAKES, Side.TAKES), (_RETURNS, Side.RETURNS)):
            for name in names:
                if _is_size(size := held.get(name)):
                    yield Remembered(path, name, size, path, side)
        extracts = callable(getattr(type(module), "forward_features", None))
        for name in ("num_features", "embed_dim") if extracts else ():
            if _is_size(size := held.get(name)):
                yield Remembered(path, name, size, path, Side.FEATURES)
        if not extracts and module._modules.get("fc") is not None:
            if _is_size(size := held.get("num_features")):
                yield Remembered(path, "num_features", size, _join(path, "fc"), Side.TAKES)
        if _is_size(size := held.get("head_hidden_size")):
            if (classifier := _classifier(module)) is not None:
                place = _join(path, classifier)
                yield Remembered(path, "head_hidden_size", size, place, Side.TAKES)
        for key, entry in _feature_info(module):
            if isinstance(entry.get("module"), str) and _is_size(size := entry.get("num_chs")):
                yield Remembered(
                    path, f"{key}.num_chs", size, _join(path, entry["module"]), Side.RETURNS
                )


def listen(model: nn.Module, ledger: PassLedger) -> None:
    """Have the modules of a network write down which ids the sizes tell of that it remembers.

    Args:
        model: The network of one pass, not to be used again: it gets hooks.
        ledger: Gets, when the network is run, the ids at each place.
    """
    places: dict[tuple[str, Side], list[Remembered]] = defaultdict(list)
    for one in remembered(model):
        places[one.place, one.side].append(one)
    if not places:
        return
    modules = dict(walk(model))

    def note(told: Sequence[Remembered], value: Any) -> None:
        # What more than one tensor makes a feature map: timm takes the first.
        labels = [ledger.label(leaf) for leaf in tree_leaves(value) if isinstance(leaf, Tensor)]
        for one in told:
            for label in labels[:1] if "." in one.attribute else labels:
                ledger.remembered.setdefault((one.path, one.attribute), []).append(
                    _of_size(label, one.size)
                )

    for (place, side), told in places.items():
        module = modules.get(place, modules.get(_flat(place, told[0].path)))
        if module is None:
            continue
        if side is Side.TAKES:
            module.register_forward_pre_hook(
                lambda _, args, kwargs, told=told: note(told, (args, kwargs)), with_kwargs=True
            )
        elif side is Side.RETURNS:
            module.register_forward_hook(lambda _, args, result, told=told: note(told, result))
        else:
            _listen_to_features(module, told, note)


def _listen_to_features(module: nn.Module, told: Sequence[Remembered], note: Any) -> None:
    forward: Any = module.forward_features

    def forward_features(*args: Any, **kwargs: Any) -> Any:
        result = forward(*args, **kwargs)
        note(told, result)
        return result

    vars(module)["forward_features"] = forward_features


def unfollowed(
    model: nn.Module,
    slots: Mapping[str, tuple[UnitNumbers | None, ...]],
    resized: Mapping[tuple[str, str], Any],
) -> Iterator[tuple[str, list[UnitNumbers]]]:
    """Yield sizes that may tell of a width, and stay: nothing says of which.

    Args:
        model: The network; not changed.
        slots: Per tensor and dim, the unit of every index.
        resized: What follows, by module path and attribute.

    Yields:
        Attributes by dotted name, and the units of every dim of that size in their modules.
    """
    for path, module in walk(model):
        if is_known_layer(module):
            continue
        sizes = {
            name: value
            for name, value in vars(module).items()
            if _is_size(value) and value > 1 and _SIZE.search(name)
        }
        for key, entry in _feature_info(module):
            if _is_size(size := entry.get("num_chs")):
                sizes[f"{key}.num_chs"] = size
        for name, size in sizes.items():
            if (path, name) in resized:
                continue
            inside = f"{path}." if path else ""
            found = [
                units
                for tensor, dims in slots.items()
                if tensor.startswith(inside)
                for units in dims
                if units is not None and len(units) == size
            ]
            if found:
                yield _join(path, name), found


def _of_size(label: Label, size: int) -> np.ndarray | None:
    """Return the ids of the only dim of a size; None if there is none, or several."""
    found = [ids for ids in label if ids is not None and len(ids) == size]
    return found[0] if len(found) == 1 else None


def _is_size(value: object) -> TypeGuard[int]:
    return type(value) is int and value > 0


def _join(path: str, inside: str) -> str:
    return f"{path}.{inside}".strip(".")


def _flat(place: str, outer: str) -> str:
    """Return how timm's `features_only` networks name a module that was nested more deeply."""
    start = len(outer) + 1 if outer else 0
    return place[:start] + place[start:].replace(".", "_")


def _classifier(module: nn.Module) -> str | None:
    """Return the path, from a module, of the layer that its `get_classifier` returns."""
    get = getattr(type(module), "get_classifier", None)
    if not callable(get):
        return None
    try:
        found = get(module)
    except Exception:
        # Of another library, by another contract.
        return None
    return next((path for path, inner in walk(module) if inner is found), None)


def _feature_info(module: nn.Module) -> Iterator[tuple[str, Mapping[str, Any]]]:
    """Yield the entries of timm's `feature_info`, a list or a record with one, and their keys."""
    held: Any = vars(module).get("feature_info")
    key = "feature_info"
    if held is not None and not isinstance(held, list | tuple):
        held, key = vars(held).get("info") if hasattr(held, "__dict__") else None, f"{key}.info"
    if isinstance(held, list | tuple):
        for number, entry in enumerate(held):
            if isinstance(entry, dict):
                yield f"{key}.{number}", entry
