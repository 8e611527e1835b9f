"""The tensors that come out of a network: returned, in whatever they are wrapped, or left on it."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from types import FunctionType, MethodType, ModuleType
from typing import Any

from torch import Tensor, nn

from widthwise.network.copying import walk

_OF_EVERY_MODULE = frozenset(vars(nn.Module()))
_WHOLE = (str, bytes, int, float, complex, bool, type(None), type, FunctionType, MethodType)


def tensors_of(value: Any) -> list[Tensor]:
    """Find the tensors in what a forward returns.

    Besides tuples, lists and dicts of any class, objects are looked into: dataclasses, namespaces
    and whatever keeps its parts as attributes. Modules are not: their tensors are no outputs.

    Args:
        value: What was returned.

    Returns:
        The tensors, in an order that is the same for objects of the same make.

    Example:
        >>> import torch
        >>> from types import SimpleNamespace
        >>> len(tensors_of({"out": SimpleNamespace(x=torch.ones(1), parts=(torch.ones(2), 3))}))
        2
    """
    return list(_tensors(value, set()))


def _tensors(value: Any, seen: set[int]) -> Iterator[Tensor]:
    if isinstance(value, Tensor):
        yield value
        return
    if isinstance(value, (*_WHOLE, nn.Module, ModuleType)) or id(value) in seen:
        return
    seen.add(id(value))
    for part in _parts(value):
        yield from _tensors(part, seen)


def _parts(value: Any) -> Iterable[Any]:
    if isinstance(value, Mapping):
        inside = list(value.values())
    elif isinstance(value, list | tuple):
        inside = list(value)
    else:
        inside = []
    slots = (name for kind in type(value).__mro__ for name in _slots(kind))
    held = [getattr(value, name) for name in slots if hasattr(value, name)]
    # A class of outputs may hold its parts as items and as attributes; each counts once.
    known = {id(part) for part in inside}
    held += getattr(value, "__dict__", {}).values()
    return [*inside, *(part for part in held if id(part) not in known)]


def _slots(kind: type) -> Iterable[str]:
    slots = vars(kind).get("__slots__", ())
    return (slots,) if isinstance(slots, str) else slots


class Left:
    """Watches for tensors that a forward leaves on its modules, such as logits for a loss.

    Args:
        model: The network, before it runs.
    """

    def __init__(self, model: nn.Module) -> None:
        self._model = model
        # Held, not only their ids: an id is given anew once its owner is gone.
        self._before = {
            id(tensor): tensor for _, value in self._attributes() for tensor in tensors_of(value)
        }

    def _attributes(self) -> Iterator[tuple[str, Any]]:
        for path, module in walk(self._model):
            for name, value in vars(module).items():
                if name not in _OF_EVERY_MODULE:
                    yield f"{path}.{name}" if path else name, value

    def found(self) -> list[tuple[str, list[Tensor]]]:
        """Return what is there now and was not before: attributes by path, and their tensors."""
        now = ((name, tensors_of(value)) for name, value in self._attributes())
        new = ((name, [t for t in found if id(t) not in self._before]) for name, found in now)
        return [(name, tensors) for name, tensors in new if tensors]
