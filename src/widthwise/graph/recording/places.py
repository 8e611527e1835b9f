"""Where in the code a call happens: places, and the stack of running modules that knows them."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cached_property
from typing import Any

from torch import nn
from torch.nn.modules.module import (
    register_module_forward_hook,
    register_module_forward_pre_hook,
)

from widthwise.network.copying import walk


@dataclass(frozen=True)
class Place:
    """Where in the code a call happens, the same for modules of the same class.

    A verdict on one call ("this view keeps its second factor constant") holds for the same call of
    every sibling: the same operator, as the same-numbered call of a module at the same path below
    an ancestor of the same class.
    """

    kind: str
    below: str
    ordinal: int
    operator: str


def anchors_of(model: nn.Module) -> dict[str, str]:
    """Return the classes that places are spoken of from, by path.

    A layer of torch.nn stands for nothing by itself: its calls are spoken of from the user's class
    around it. The network is like no other module, even of its class.
    """
    anchors = {
        path: _class_of(module)
        for path, module in walk(model)
        if not type(module).__module__.startswith("torch.nn.")
    }
    anchors[""] = f"{_class_of(model)} (network)"
    return anchors


def _class_of(module: nn.Module) -> str:
    return f"{type(module).__module__}.{type(module).__qualname__}"


def anchor_at(anchors: Mapping[str, str], path: str) -> str:
    """Return the path of the innermost anchor around a path."""
    while path not in anchors:
        path = path.rpartition(".")[0]
    return path


def seen_from(path: str, outer: str) -> str | None:
    """Return a path as seen from another that it is, or lies inside of; None if it does not."""
    if not outer or path == outer:
        return path.removeprefix(outer)
    return path.removeprefix(f"{outer}.") if path.startswith(f"{outer}.") else None


class Frames:
    """The stack of running modules. Hooks push and pop; an exception leaves the stack as it was."""

    def __init__(self, model: nn.Module) -> None:
        self._model = model
        self._names = {id(module): name for name, module in walk(model)}
        self._origins: dict[str, tuple[str, str]] = {}
        self._stack: list[list[Any]] = [["", 0]]

    @property
    def path(self) -> str:
        """Path of the innermost running module; empty for the network itself."""
        return str(self._stack[-1][0])

    def next_place(self, operator: str) -> Place:
        """Number the next call of the running module."""
        frame = self._stack[-1]
        frame[1] += 1
        return Place(*self._origin(frame[0]), frame[1], operator)

    def _origin(self, path: str) -> tuple[str, str]:
        """Return the class of the anchor of a path, and the path as seen from it."""
        if path not in self._origins:
            anchor = anchor_at(self._anchors, path)
            self._origins[path] = self._anchors[anchor], seen_from(path, anchor) or ""
        return self._origins[path]

    @cached_property
    def _anchors(self) -> dict[str, str]:
        return anchors_of(self._model)

    @contextmanager
    def follow(self) -> Iterator[None]:
        """Watch the modules for the duration of a forward pass."""

        def enter(module: nn.Module, _: Any) -> None:
            name = self._names.get(id(module))
            if name is not None:
                self._stack.append([name, 0])

        def leave(module: nn.Module, *_: Any) -> None:
            if id(module) in self._names:
                self._stack.pop()

        self._stack = [["", 0]]
        # Two hooks for all modules: to hook each of hundreds takes as long as to run it.
        handles = [register_module_forward_pre_hook(enter), register_module_forward_hook(leave)]
        try:
            yield
        finally:
            for handle in handles:
                handle.remove()
