"""What a forward keeps outside of the network: caches of its modules' source files and classes.

A grid that is computed once per size and kept in a dictionary of the file, or behind
``functools.cache``, would still be there after a trial run: on the meta device, or at its widths.
"""

from __future__ import annotations

import sys
from collections import OrderedDict, defaultdict
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache
from operator import is_
from types import FunctionType
from typing import Any

from torch import nn

from widthwise.network.copying import walk

_CONTAINERS = (dict, OrderedDict, defaultdict, list, set)
_CACHE = type(cache(len))
_NOT_USERS = ("torch.", "builtins.", "typing.", "functools.")


@contextmanager
def outside_kept(model: nn.Module) -> Iterator[None]:
    """Bring back what a call of a network changes outside of it.

    Containers of the files and classes of its modules, and of the files of functions that these
    import, get the contents back that they had; what ``functools`` remembers there is forgotten if
    the call added to it.

    Args:
        model: The network that is called inside.
    """
    containers: dict[int, tuple[Any, Any]] = {}
    caches: dict[int, tuple[Any, int]] = {}
    for value in _values(model):
        if type(value) in _CONTAINERS:
            containers[id(value)] = value, value.copy()
        elif type(value) is _CACHE:
            caches[id(value)] = value, value.cache_info().misses
    try:
        yield
    finally:
        for value, before in containers.values():
            if not _same(value, before):
                value.clear()
                value.extend(before) if type(value) is list else value.update(before)
        for value, misses in caches.values():
            if value.cache_info().misses != misses:
                value.cache_clear()


def _values(model: nn.Module) -> Iterator[Any]:
    """Yield the globals that code of a network's modules may keep something in."""
    classes = {
        each
        for kind in {type(module) for _, module in walk(model)}
        for each in kind.__mro__
        if not _is_theirs(each.__module__)
    }
    scopes: dict[int, dict[str, Any]] = {}
    for each in classes:
        for value in vars(each).values():
            yield value
            yield from _enclosed(value)
        file = sys.modules.get(each.__module__)
        if file is not None:
            scopes[id(vars(file))] = vars(file)
    for scope in list(scopes.values()):
        for value in list(scope.values()):
            # A cached function hides the one that it calls.
            function = getattr(value, "__wrapped__", value)
            if isinstance(function, FunctionType) and not _is_theirs(function.__module__):
                scopes[id(function.__globals__)] = function.__globals__
    for scope in scopes.values():
        for name, value in list(scope.items()):
            if not name.startswith("__"):
                yield value
                yield from _enclosed(value)


def _enclosed(value: Any) -> Iterator[Any]:
    """Yield the caches of ``functools`` that a decorator keeps beside the function it replaced.

    Other things that a function encloses are left alone: a list there is how somebody counts calls.
    """
    if isinstance(value, staticmethod | classmethod):
        value = value.__func__
    if isinstance(value, FunctionType) and not _is_theirs(value.__module__):
        for cell in value.__closure__ or ():
            try:
                content = cell.cell_contents
            except ValueError:
                # Nothing has been put there yet.
                continue
            if type(content) is _CACHE:
                yield content


def _is_theirs(file: str | None) -> bool:
    return f"{file}.".startswith(_NOT_USERS)


def _same(value: Any, before: Any) -> bool:
    """Tell whether a container holds the very same things."""
    if len(value) != len(before):
        return False
    # Registries of libraries have thousands of entries: these comparisons run without Python code.
    if isinstance(value, dict):
        in_place = all(map(is_, value, before))
        return in_place and all(map(is_, value.values(), before.values()))
    if isinstance(value, list):
        return all(map(is_, value, before))
    return bool(value == before)
