"""The dry run: narrow every free axis, run the forward again, and see what does not run.

The narrow run must make the same calls as the full one, and every output must have the shape the
labels foretell. The first call that differs names the guilty ids.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import chain
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.utils._python_dispatch import TorchDispatchMode

from widthwise.graph.axes import Units
from widthwise.graph.recording.blame import OwnError
from widthwise.graph.recording.copies import UNSEEN, by_one_name
from widthwise.graph.recording.ledger import Call
from widthwise.graph.recording.numbers import numbers_in
from widthwise.graph.recording.places import Frames
from widthwise.graph.recording.values import Values, tensors_in
from widthwise.network.copying import walk
from widthwise.network.inputs import Inputs
from widthwise.network.narrowing import narrow_module
from widthwise.network.outputs import tensors_of
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
    size: tuple[int, int] | None = None
    """The first size that was expected and the one that was found, where it was of that call."""
    diverged: bool = False
    """Whether it is the call after that one that is another."""

    @property
    def emptied(self) -> bool:
        """Whether the call leaves no channel of those it takes."""
        return self.size is not None and self.size[1] == 0


@dataclass(frozen=True)
class Breakdown:
    """Where a narrow network does not run at all."""

    number: int
    """Of the pass."""
    call: int
    """About the number of the last call it made: at width one, copies are left out."""
    path: str
    """Path of the module that raised; empty for the network itself."""


class _Stop(Exception):
    def __init__(self, failure: Failure) -> None:
        super().__init__(failure.message)
        self.failure = failure


class _Enough(Exception):
    """The run has come past the last call of interest."""


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
        values: Values,
        last: int | None,
    ) -> None:
        super().__init__()
        self._last = last
        self.next = 0
        self.rescales = False
        self._calls = calls
        self._kept = kept_ids
        self._frames = frames
        self._values = values
        self._counts: dict[int, int] = {}
        # Some operators make a further call when nobody else holds their result, as the full run
        # does; on real tensors, neither run does, for they would not fit into memory.
        self._held: list[Tensor] = []

    def __torch_dispatch__(
        self, func: Any, types: Any, args: Sequence[Any] = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        kwargs = kwargs or {}
        if self._copies(func):
            return self._values.run(func, args, kwargs)
        number = self.next
        if self._last is not None and number > self._last:
            raise _Enough
        if number >= len(self._calls) or by_one_name(self._calls[number].func) is not by_one_name(
            func
        ):
            message = f"what runs after it depends on the width (`{func}`)"
            self._stop(number - 1, message, diverged=True)
        try:
            result = self._values.run(func, args, kwargs)
        except OwnError:
            raise
        except Exception as error:
            self._stop(number, _one_line(error))
        try:
            self._compare(self._calls[number], numbers_in(func, args, kwargs), tensors_in(result))
        except _Stop:
            raise
        except Exception as error:
            raise OwnError from error
        self.next += 1
        return result

    def _copies(self, func: Any) -> bool:
        """Go past what one run does and the other does not, and changes nothing.

        A copy is left out at width one, and PyTorch detaches a new tensor that somebody holds.

        Returns:
            Whether the operator is of that kind, and the full run did not call it.
        """
        while self._upcoming in UNSEEN and func is not self._upcoming:
            self.next += 1
        return func in UNSEEN and func is not self._upcoming

    @property
    def _upcoming(self) -> Any:
        return self._calls[self.next].func if self.next < len(self._calls) else None

    def _compare(self, call: Call, numbers: tuple[float, ...], outputs: list[Tensor]) -> None:
        self._held += (output for output in outputs if output.is_meta)
        self.rescales |= numbers != call.numbers
        expected = [
            self._expect(label, shape)
            for label, shape in zip(call.outputs, call.shapes, strict=True)
        ]
        found = [shape_of(output) for output in outputs]
        if found != expected:
            message = f"gives {_shapes(found)} where {_shapes(expected)} is expected"
            self._stop(self.next, message, _first_difference(expected, found))
        if expected != list(call.shapes) and (size := _first_emptied(call.shapes, expected)):
            self._stop(self.next, "leaves no channel of those it takes", (size, 0))

    def _stop(
        self,
        number: int,
        message: str,
        size: tuple[int, int] | None = None,
        diverged: bool = False,
    ) -> None:
        path = self._frames.path
        raise _Stop(Failure(max(number, 0), path, message, size=size, diverged=diverged))

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
    values: Values,
    *,
    last: int | None = None,
) -> Success | Failure:
    """Run a network with some units removed, and compare with the full run.

    Args:
        twin: The full network; not changed. Runs in the mode it is in.
        inputs: Its inputs, on its device.
        calls: The calls of the full run.
        units: Units and axes.
        kept: Which units stay. Shape ``[units]``, bool.
        values: Runs the operators.
        last: Number of the last call of interest; all, if not given.

    Returns:
        The first difference, if there is one. A mistake of ours is no difference: it is raised.
    """
    small = narrow_module(twin, units.slots, units.resized, kept)
    frames = Frames(small)
    mode = _Rehearsal(calls, kept[units.of_id], frames, values, last)
    try:
        with torch.no_grad(), frames.follow(), mode:
            inputs.call(small)
    except _Stop as stop:
        return stop.failure
    except _Enough:
        return Success(mode.rescales)
    except OwnError as error:
        raise error.reveal() from None
    except Exception as error:
        # Raised between two calls: by the one to come, if that is the same module's.
        upcoming = mode.next < len(calls) and calls[mode.next].path == frames.path
        number = mode.next if upcoming else max(mode.next - 1, 0)
        path = _raised_in(error, small) or frames.path
        return Failure(number, path, _one_line(error), before=upcoming)
    return Success(mode.rescales)


class _Running(TorchDispatchMode):
    """Runs operators and counts them."""

    @classmethod
    def _should_skip_dynamo(cls) -> bool:
        return False  # As in `_Rehearsal`.

    def __init__(self, values: Values) -> None:
        super().__init__()
        self.count = 0
        self._values = values

    def __torch_dispatch__(
        self, func: Any, types: Any, args: Sequence[Any] = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        self.count += 1
        return self._values.run(func, args, kwargs or {})


def run_through(
    small: nn.Module,
    inputs: Inputs,
    results: Sequence[tuple[int, ...]],
    values: Values,
    number: int = 0,
) -> Breakdown | None:
    """Run a narrow network, and see that its outputs have the shapes they should.

    Args:
        small: The network; runs in the mode it is in, and may be changed by that.
        inputs: Its inputs, on its device.
        results: The shapes of the tensors that it returns.
        values: Runs the operators.
        number: Number of the pass, for the record.

    Returns:
        Where it broke down, if it did.
    """
    mode = _Running(values)
    try:
        with torch.no_grad(), mode:
            result = inputs.call(small)
    except OwnError as error:
        raise error.reveal() from None
    except Exception as error:
        return Breakdown(number, max(mode.count - 1, 0), _raised_in(error, small))
    found = [shape_of(tensor) for tensor in tensors_of(result)]
    return None if found == list(results) else Breakdown(number, mode.count - 1, "")


def _raised_in(error: BaseException, model: nn.Module) -> str:
    """Return the path of the module one of whose methods raised, which need not be `forward`."""
    names = {id(module): name for name, module in walk(model)}
    raised_in = ""
    step = error.__traceback__
    while step is not None:
        raised_in = names.get(id(step.tb_frame.f_locals.get("self")), raised_in)
        step = step.tb_next
    return raised_in


def _one_line(error: BaseException) -> str:
    text = str(error).strip().splitlines()
    return f"{type(error).__name__}: {text[0] if text else ''}"[:200].rstrip(": ")


def _first_difference(
    expected: Sequence[Sequence[int]], found: Sequence[Sequence[int]]
) -> tuple[int, int] | None:
    for one, other in zip(expected, found, strict=False):
        for size, other_size in zip(one, other, strict=False):
            if size != other_size:
                return size, other_size
    return None


def _first_emptied(full: Sequence[Sequence[int]], narrow: Sequence[Sequence[int]]) -> int | None:
    pairs = zip(chain.from_iterable(full), chain.from_iterable(narrow), strict=True)
    return next((size for size, other in pairs if size and not other), None)


def _shapes(shapes: Sequence[Sequence[int]]) -> str:
    return ", ".join(str(list(shape)) for shape in shapes) or "nothing"
