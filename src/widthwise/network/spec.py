"""Example inputs as JSON: shapes instead of tensors, every other plain value as it is."""

from __future__ import annotations

import enum
import sys
from collections import OrderedDict
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import torch
from torch import Tensor

from widthwise import errors

_PLAIN = (type(None), bool, int, float, str)
_FEW = 64
"""Most whole numbers of a tensor that are kept: lengths and counts, which say what code does."""


def to_spec(value: Any) -> dict[str, Any]:
    """Describe a value, so that `from_spec` returns its like.

    Args:
        value: A tensor, a plain value, a member of an enum, a NumPy scalar, a dtype, a device, a
            shape, or lists, tuples and dicts of these. Anything else is noted by its class only.

    Returns:
        One entry, keyed by what the value is; a shape and a dtype for a tensor, and the values
        where they are few whole numbers. JSON can hold it.
    """
    kind = type(value)
    if isinstance(value, Tensor):
        spec = {"shape": list(value.shape), "dtype": _short(value.dtype)}
        counts = not (value.is_floating_point() or value.is_complex())
        if counts and not value.is_meta and value.numel() <= _FEW:
            spec["values"] = value.tolist()
        return spec
    if kind in _PLAIN:
        return {"value": value}
    # Inside of a function, an enum cannot be found again.
    if isinstance(value, enum.Enum) and "<locals>" not in kind.__qualname__:
        return {"enum": [kind.__module__, kind.__qualname__, value.name]}
    if isinstance(value, np.generic) and value.dtype.kind in "biuf":
        return {"numpy": [value.dtype.name, value.item()]}
    if isinstance(value, torch.dtype):
        return {"torch.dtype": _short(value)}
    if isinstance(value, torch.device):
        return {"torch.device": str(value)}
    if kind is torch.Size:
        return {"torch.Size": list(value)}
    if kind in (list, tuple):
        return {kind.__name__: [to_spec(item) for item in value]}
    if kind is dict and all(type(key) is str for key in value):
        return {"dict": {key: to_spec(item) for key, item in value.items()}}
    if kind in (dict, OrderedDict):
        name = "items" if kind is dict else "ordered"
        return {name: [[to_spec(key), to_spec(item)] for key, item in value.items()]}
    return {"unknown": f"{kind.__module__}.{kind.__qualname__}"}


def unknown_in(spec: Any) -> Iterator[str]:
    """Yield the classes in a description that a file cannot hold."""
    if isinstance(spec, dict):
        if isinstance(spec.get("unknown"), str):
            yield spec["unknown"]
        else:
            for item in spec.values():
                yield from unknown_in(item)
    elif isinstance(spec, list):
        for item in spec:
            yield from unknown_in(item)


def from_spec(spec: dict[str, Any], generator: torch.Generator) -> Any:
    """Build a value from what `to_spec` returned.

    Args:
        spec: The description. Those of Widthwise 0.x, where tuples were lists, are read too.
        generator: On the CPU; draws the noise that tensors of real numbers get. Others get what is
            written, or zeros.

    Returns:
        The value; tensors are on the CPU.

    Raises:
        PlanError: If a file cannot hold such a value, or its class is not imported.
    """
    if "shape" in spec:
        dtype = getattr(torch, spec["dtype"])
        # Whatever the default device is, the generator is on the CPU.
        if dtype.is_floating_point:
            return torch.randn(spec["shape"], generator=generator, device="cpu").to(dtype)
        if "values" in spec:
            return torch.tensor(spec["values"], dtype=dtype, device="cpu").reshape(spec["shape"])
        return torch.zeros(spec["shape"], dtype=dtype, device="cpu")
    [(kind, held)] = spec.items()
    return _READERS[kind](held, generator)


def _pairs(held: Any, generator: torch.Generator) -> Iterator[tuple[Any, Any]]:
    for key, item in held:
        yield from_spec(key, generator), from_spec(item, generator)


def _enum(held: Any, _: torch.Generator) -> Any:
    module, name, member = held
    # Looked up, not imported: a plan file must not decide what code runs.
    found: Any = sys.modules.get(module)
    for part in name.split("."):
        found = getattr(found, part, None)
    if not (isinstance(found, type) and issubclass(found, enum.Enum)):
        raise errors.unknown_input(
            f"{module}.{name}", f"import `{module}` first: its enum is looked up, not imported."
        )
    return found[member]


def _unknown(held: Any, _: torch.Generator) -> Any:
    raise errors.unknown_input(held)


_READERS: dict[str, Callable[[Any, torch.Generator], Any]] = {
    "value": lambda held, _: held,
    "enum": _enum,
    "numpy": lambda held, _: np.dtype(held[0]).type(held[1]),
    "torch.dtype": lambda held, _: getattr(torch, held),
    "torch.device": lambda held, _: torch.device(held),
    "torch.Size": lambda held, _: torch.Size(held),
    "list": lambda held, generator: [from_spec(item, generator) for item in held],
    "tuple": lambda held, generator: tuple(from_spec(item, generator) for item in held),
    "dict": lambda held, generator: {k: from_spec(v, generator) for k, v in held.items()},
    "items": lambda held, generator: dict(_pairs(held, generator)),
    "ordered": lambda held, generator: OrderedDict(_pairs(held, generator)),
    "unknown": _unknown,
}


def _short(dtype: torch.dtype) -> str:
    return str(dtype).removeprefix("torch.")
