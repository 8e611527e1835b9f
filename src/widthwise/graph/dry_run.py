"""The dry run: narrow every free axis, run the forward again, and see what does not run.

The narrow run must make the same calls as the full one, and every output must have the shape the
labels foretell. The first call that differs names the guilty ids.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_flatten

from widthwise.graph.copying import narrow_module
from widthwise.graph.inputs import Inputs
from widthwise.graph.mode import Frames, numbers_in, without_values
from widthwise.graph.shapes import run
from widthwise.graph.sheet import Call
from widthwise.graph.units import Units
from widthwise.rules import Label
from widthwise.rules.op import shape_of


@dataclass(frozen=True)
class Success:
    """The narrow network runs as foretold."""

    rescales: bool
    """Whether it computes with numbers that depend on widths, such as ``head_size ** -0.5``."""


@dataclass(frozen=True)
class Failure:
    """Where a narrow run went another way than the full one."""

    call: int
    """Number of the call to blame."""
    path: str
    """Path of the running module."""
    message: str
    """What went wrong, in one line."""
    before: bool = False
    """Whether it went wrong before that call, in code that was about to make it."""


class _Stop(Exception):
    def __init__(self, failure: Failure) -> None:
        super().__init__(failure.message)
        self.failure = failure


class _Rehearsal(TorchDispatchMode):
    @classmethod
    def _should_skip_dynamo(cls) -> bool:
        # PyTorch's hook for modes. Its default guards every call against torch.compile, and imports
        # the compiler for that: two seconds for the first trace of a process.
        return False

    def __init__(
        self,
        calls: Sequence[Call],
        kept_ids: np.ndarray,
        frames: Frames,
        *,
        on_meta: bool,
    ) -> None:
        super().__init__()
        self.next = 0
        self.rescales = False
        self._calls = calls
        self._kept = kept_ids
        self._frames = frames
        self._on_meta = on_meta
        self._counts: dict[int, int] = {}
        # Some operators make a further call when nobody else holds their result, as the full run,
        # which labels results, always does.
        self._held: list[Any] = []

    def __torch_dispatch__(
        self, func: Any, types: Any, args: Sequence[Any] = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        kwargs = kwargs or {}
        if self._on_meta:
            args, kwargs = without_values(args, kwargs)
        number = self.next
        if number >= len(self._calls) or self._calls[number].func is not func:
            self._stop(number - 1, f"what runs after it depends on the width (`{func}`)")
        call = self._calls[number]
        try:
            result = run(func, args, kwargs)
        except Exception as error:
            self._stop(number, _one_line(error))
        self._held.append(result)
        self.rescales |= numbers_in(func, args, kwargs) != call.numbers
        outputs = [leaf for leaf in tree_flatten(result)[0] if isinstance(leaf, Tensor)]
        expected = [
            self._expect(label, shape)
            for label, shape in zip(call.outputs, call.shapes, strict=True)
        ]
        found = [shape_of(output) for output in outputs]
        if found != expected:
            self._stop(number, f"gives {_shapes(found)} where {_shapes(expected)} is expected")
        self.next += 1
        return result

    def _stop(self, number: int, message: str) -> None:
        raise _Stop(Failure(max(number, 0), self._frames.path, message))

    def _expect(self, label: Label, shape: tuple[int, ...]) -> tuple[int, ...]:
        sizes = []
        for ids, size in zip(label, shape, strict=True):
            if ids is not None:
                key = id(ids)
                if key not in self._counts:
                    self._counts[key] = int(self._kept[ids].sum())
                size = self._counts[key]
            sizes.append(size)
        return tuple(sizes)


def rehearse(
    twin: nn.Module,
    inputs: Inputs,
    calls: Sequence[Call],
    units: Units,
    kept: np.ndarray,
    *,
    on_meta: bool,
) -> Success | Failure:
    """Run a network with some units removed, and compare with the full run.

    Args:
        twin: The full network; not changed. Runs in the mode it is in.
        inputs: Its inputs, on its device.
        calls: The calls of the full run.
        units: Units and axes.
        kept: Which units stay. Shape ``[units]``, bool.
        on_meta: Whether tensors the forward makes are moved to the meta device.

    Returns:
        The first difference, if there is one.
    """
    small = narrow_module(twin, units.slots, units.resized, kept)
    frames = Frames(small)
    mode = _Rehearsal(calls, kept[units.of_id], frames, on_meta=on_meta)
    try:
        with torch.no_grad(), frames.follow(), mode:
            inputs.call(small)
    except _Stop as stop:
        return stop.failure
    except Exception as error:
        # Raised between two calls: by the one to come, if that is the same module's.
        upcoming = mode.next < len(calls) and calls[mode.next].path == frames.path
        number = mode.next if upcoming else max(mode.next - 1, 0)
        return Failure(number, frames.path, _one_line(error), before=upcoming)
    return Success(mode.rescales)


def _one_line(error: BaseException) -> str:
    text = str(error).strip().splitlines()
    return f"{type(error).__name__}: {text[0] if text else ''}"[:200].rstrip(": ")


def _shapes(shapes: Sequence[Sequence[int]]) -> str:
    return ", ".join(str(list(shape)) for shape in shapes) or "nothing"
