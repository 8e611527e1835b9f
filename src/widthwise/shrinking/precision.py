"""Let a network compute in the precision of a proof, whatever precision its code asks for."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import torch
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_map

_FLOATS = (torch.float16, torch.bfloat16, torch.float32)


class _AtLeast(TorchDispatchMode):
    """Raises the number formats that operators are asked for."""

    def __init__(self, dtype: torch.dtype) -> None:
        super().__init__()
        self._dtype = dtype

    def __torch_dispatch__(
        self, func: Any, types: Any, args: Sequence[Any] = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        args, kwargs = tree_map(self._raised, (tuple(args), kwargs or {}))
        return func(*args, **kwargs)

    def _raised(self, value: Any) -> Any:
        if not isinstance(value, torch.dtype):
            return value
        if value.is_complex:
            return self._raised(value.to_real()).to_complex()
        less = value in _FLOATS and torch.finfo(value).eps > torch.finfo(self._dtype).eps
        return self._dtype if less else value


@contextmanager
def at_least(dtype: torch.dtype) -> Iterator[None]:
    """Compute in a precision where code asks for less: ``x.half()``, ``torch.arange(8).float()``.

    A network that mixes those with its weights would not run once its weights are more precise.

    Args:
        dtype: Such as float64. It is PyTorch's default meanwhile.

    Yields:
        Nothing.
    """
    before = torch.get_default_dtype()
    torch.set_default_dtype(dtype)
    try:
        with _AtLeast(dtype):
            yield
    finally:
        torch.set_default_dtype(before)
