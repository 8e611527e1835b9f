"""Run a network as far as a layer, hold it there, and let it go on when the layer is repaired."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any, TypeVar, cast

import torch
from torch import Tensor, nn
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

from widthwise import errors
from widthwise.network.inputs import Inputs

_Value = TypeVar("_Value")


@dataclass(frozen=True)
class Visit:
    """One call of a layer.

    Attributes:
        given: Its first input.
        made: Its output; None where it has not run yet.
        added: What is added to its output, where that was there before.
    """

    given: Tensor
    made: Tensor | None
    added: Tensor | None = None

    def part(self, which: slice) -> Visit:
        """Return the same of some of the inputs."""
        return Visit(_part(self.given, which), _part(self.made, which), _part(self.added, which))


def _part(value: _Value, which: slice) -> _Value:
    # A layer may put out something else than a tensor; it is left alone.
    return cast(_Value, value[which]) if isinstance(value, Tensor) else value


class _Stopped(BaseException):
    """Nothing more is to be seen. Passes by code that catches every exception."""


class _Births(TorchDispatchMode):
    """Keep what the operations with some numbers have made."""

    def __init__(self, numbers: Iterable[int]) -> None:
        super().__init__()
        self._numbers = frozenset(numbers)
        self._number = 0
        self.made: dict[int, Any] = {}

    def __torch_dispatch__(
        self, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: Any = None
    ) -> Any:
        output = func(*args, **(kwargs or {}))
        if self._number in self._numbers:
            self.made[self._number] = output
        self._number += 1
        return output

    def take(self, number: int | None) -> Tensor | None:
        """Hand over what an operation made, if it was one tensor."""
        found = tree_leaves(self.made.pop(number, None)) if number is not None else []
        return found[0] if len(found) == 1 and isinstance(found[0], Tensor) else None


class Run:
    """One forward pass that stops at a layer, until it is asked for the next.

    It runs in a thread of its own, of which there is never more than one at work.

    Args:
        network: In evaluation mode.
        inputs: What to run on.
        after: Whether it stops behind a layer, rather than in front of it: there, what the layer
            computes with can still be changed.
        added: Number of the operation that makes what is added to the output of a layer, by path.
    """

    def __init__(
        self, network: nn.Module, inputs: Inputs, *, after: bool, added: Mapping[str, int | None]
    ) -> None:
        self._network, self._inputs, self._after, self._added = network, inputs, after, added
        self._births = _Births(number for number in added.values() if number is not None)
        self._go, self._there = threading.Semaphore(0), threading.Semaphore(0)
        self._wanted = ""
        self._visit: Visit | None = None
        self._error: BaseException | None = None
        self._over = False
        self._handles = [
            self._listen(path, module) for path, module in network.named_modules() if path
        ]
        self._thread = threading.Thread(target=self._work, daemon=True)
        self._thread.start()

    def reach(self, path: str) -> Visit | None:
        """Go on until a layer.

        Args:
            path: Of the layer.

        Returns:
            What is there; None if the pass has ended without coming by.
        """
        if self._over:
            return None
        self._wanted, self._visit = path, None
        self._go.release()
        self._there.acquire()
        if isinstance(self._error, Exception):
            name, given = type(self._network).__name__, self._inputs.describe()
            raise errors.forward_failed(name, "", given, self._error) from self._error
        if self._error is not None:
            raise self._error
        return self._visit

    def close(self) -> None:
        """Go no further."""
        if not self._over:
            self._over = True
            self._go.release()
        self._thread.join()
        for handle in self._handles:
            handle.remove()

    def _listen(self, path: str, module: nn.Module) -> Any:
        def hook(_: nn.Module, args: Any, kwargs: Any, output: Any = None) -> None:
            if threading.current_thread() is not self._thread or path != self._wanted:
                return
            given = [*args, *kwargs.values()][0]
            self._visit = Visit(given, output, self._births.take(self._added.get(path)))
            self._pause()

        register: Callable[..., Any] = (
            module.register_forward_hook if self._after else module.register_forward_pre_hook
        )
        return register(hook, with_kwargs=True)

    def _pause(self) -> None:
        self._there.release()
        self._go.acquire()
        if self._over:
            raise _Stopped

    def _work(self) -> None:
        self._go.acquire()
        try:
            if not self._over:
                with torch.no_grad(), self._births:
                    self._inputs.call(self._network)
        except _Stopped:
            pass
        except BaseException as error:
            self._error = error
        finally:
            self._over = True
            self._there.release()


def visits(network: nn.Module, path: str, calls: int, inputs: Inputs) -> list[Visit]:
    """Run a network as far as a layer, from the beginning.

    Args:
        network: In evaluation mode; not changed.
        path: Of the layer.
        calls: How often it is called.
        inputs: What to run on.

    Returns:
        Its calls, in order.
    """
    found: list[Visit] = []

    def hook(_: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any], output: Any) -> None:
        given = [*args, *kwargs.values()][0]
        # What comes after may work in place.
        more = len(found) + 1 < calls
        given, made = (
            each.detach().clone() if more and isinstance(each, Tensor) else each
            for each in (given, output)
        )
        found.append(Visit(given, made))
        if len(found) == calls:
            raise _Stopped

    handle = network.get_submodule(path).register_forward_hook(hook, with_kwargs=True)
    try:
        with torch.no_grad():
            inputs.call(network)
    except _Stopped:
        pass
    finally:
        handle.remove()
    return found
