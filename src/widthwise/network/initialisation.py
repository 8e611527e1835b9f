"""Fresh weights for a network of other widths, as its own constructor would have drawn them.

Slices of a layer's weights have the scale of that layer, which is wrong for a narrower one, and
many networks draw theirs in their constructor, by rules that no module can be asked for. So the
constructor is run again, and every layer of `torch.nn` that it makes is given the sizes that the
layer has in the network at hand: all that the constructor then draws, it draws at those widths.
"""

from __future__ import annotations

import inspect
import random
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from widthwise.errors import ConfigError
from widthwise.network.copying import named_tensors

Build = Callable[[], nn.Module]
_Made = Callable[[nn.Module, dict[str, Any]], None]
"""Told of a layer about to be made and of its arguments by name, which it may change."""


@torch.no_grad()
def draw_fresh(network: nn.Module, build: Build | None) -> None:
    """Give a network the weights that a new one of its widths would have.

    With a constructor, the result is what the user's own code would have drawn had she written
    these widths into it: for a class with a width multiplier, bit for bit the network that it
    makes. Parameters that the class makes without a layer of `torch.nn` (layer scales, position
    embeddings) are drawn at full width and cut, or drawn from again where more are needed. Modules
    that the constructor does not make, such as the parts of a decomposed convolution, are reset by
    PyTorch's rules.

    Values are drawn from PyTorch's global generator, so seed it for the same weights again.
    Constructors of other threads must not run meanwhile.

    Args:
        network: Changed in place: every parameter, and the buffers that the constructor makes of
            the same shape (running statistics). It keeps its devices and dtypes.
        build: Makes the full network. None if there is only this network: then every module is
            reset by its own ``reset_parameters``, from the inside out. That is PyTorch's
            initialisation of layers, not what a constructor of the user's may have made of it.

    Raises:
        ConfigError: If it cannot be known what fresh weights are: the constructor fails or makes
            other layers each time, or, without one, a parameter has no ``reset_parameters``.

    Example:
        >>> def build():
        ...     net = nn.Sequential(nn.Conv2d(3, 8, 3), nn.Conv2d(8, 2, 3))
        ...     for layer in net:
        ...         _ = nn.init.constant_(layer.weight, 1 / layer.in_channels)
        ...     return net
        >>> narrow = nn.Sequential(nn.Conv2d(3, 4, 3), nn.Conv2d(4, 2, 3))
        >>> draw_fresh(narrow, build)
        >>> narrow[1].weight.detach().unique()
        tensor([0.2500])
    """
    if build is None:
        _reset(network, made=frozenset())
        return
    kind = type(network).__name__
    full, paths = _construct_full(build, kind)
    fresh = _construct_narrow(build, network, full, paths, kind)
    drawn, before = dict(named_tensors(fresh)), dict(named_tensors(full))
    _reset(network, made=frozenset(drawn))
    parameters = dict(network.named_parameters())
    for name, tensor in named_tensors(network):
        new = drawn.get(name)
        if new is None:
            continue
        if new.shape == tensor.shape:
            tensor.copy_(new)
        elif name in parameters:
            tensor.copy_(_cut(name, new, before[name], tensor))


def _construct_full(build: Build, kind: str) -> tuple[nn.Module, list[str | None]]:
    """Build the full network; return it, and the path of every layer in order of construction."""
    order: list[nn.Module] = []
    with _random_states_kept(), _layers_told(lambda layer, _: order.append(layer)):
        full = _built(build, kind)
    path_of = {id(module): path for path, module in full.named_modules()}
    return full, [path_of.get(id(layer)) for layer in order]


def _construct_narrow(
    build: Build, network: nn.Module, full: nn.Module, paths: list[str | None], kind: str
) -> nn.Module:
    """Build the network again, with the sizes of the one at hand."""
    wide, narrow = dict(full.named_modules()), dict(network.named_modules())
    # A layer is told of once, and again by the constructor of each class it derives from.
    numbers: dict[int, int] = {}
    kept: list[nn.Module] = []

    def resize(layer: nn.Module, arguments: dict[str, Any]) -> None:
        if id(layer) not in numbers:
            numbers[id(layer)] = len(kept)
            kept.append(layer)
        number = numbers[id(layer)]
        path = paths[number] if number < len(paths) else None
        old, new = wide.get(path or ""), narrow.get(path or "")
        if path is None or old is None or type(old) is not type(new):
            return
        for name, value in arguments.items():
            size, now = getattr(old, name, None), getattr(new, name, None)
            if _is_size(size) and _is_size(now) and size != now and _same_size(value, size):
                arguments[name] = now

    with _layers_told(resize, every_class=True):
        fresh = _built(build, kind)
    if len(kept) != len(paths):
        raise ConfigError(
            f"The constructor of `{kind}` makes {len(paths)} layers the first time and "
            f"{len(kept)} the second.\n"
            "Why: its fresh weights at other widths are drawn by running it again.\n"
            "Hint: what it builds must not depend on anything random or on what it built before."
        )
    return fresh


def _built(build: Build, kind: str) -> nn.Module:
    try:
        with torch.enable_grad():
            return build()
    except Exception as error:
        raise ConfigError(
            f"The constructor of `{kind}` cannot be run at other widths: "
            f"{type(error).__name__}: {error}\n"
            "Why: fresh weights are drawn by the network's own constructor, layer by layer at the "
            "widths of the plan.\n"
            "Hint: leave out the arms with fresh weights, or draw them with your own code."
        ) from error


def _is_size(value: Any) -> bool:
    """Tell whether an attribute is an integer or a shape, not a tensor or a flag."""
    return type(value) is int or isinstance(value, tuple)


def _same_size(value: Any, size: Any) -> bool:
    """Tell whether an argument is what the layer keeps as an attribute, such as 8 for ``(8,)``."""
    if isinstance(value, list | tuple):
        return tuple(value) == size
    return type(value) is int and size in (value, (value,))


def _cut(name: str, new: Tensor, full: Tensor, like: Tensor) -> Tensor:
    """Give a parameter drawn at full width another shape: every part of it is like every other."""
    if new.numel() and bool((new == new.flatten()[0]).all()):
        return new.flatten()[0].expand(like.shape)
    # A table that each construction computes alike is not random: which rows stay would matter.
    computed = full.shape == new.shape and torch.equal(full.to(new.device), new)
    if new.dim() != like.dim() or computed:
        raise ConfigError(
            f"Fresh values of `{name}` at the shape {list(like.shape)} are not known: the "
            f"constructor makes {'a table' if computed else 'random numbers'} of "
            f"{list(new.shape)}.\n"
            "Why: it is no layer of torch.nn, so its size cannot be given to the constructor.\n"
            "Hint: exclude its axis, or leave out the arms with fresh weights."
        )
    if all(n >= m for n, m in zip(new.shape, like.shape, strict=True)):
        return new[tuple(slice(size) for size in like.shape)]
    # A wider network needs more numbers of this kind than were drawn: as many, from the same ones.
    return new.flatten()[torch.randint(new.numel(), like.shape, device=new.device)]


def _reset(network: nn.Module, *, made: frozenset[str]) -> None:
    """Reset by PyTorch's rules whatever a constructor does not make."""
    without: list[str] = []
    modules = list(network.named_modules())
    # From the inside out: a module that resets its children has the last word.
    for path, module in reversed(modules):
        own = [f"{path}.{name}".lstrip(".") for name, _ in module.named_parameters(recurse=False)]
        if made and (not own or made.issuperset(own)):
            continue
        reset = getattr(module, "reset_parameters", None) or getattr(
            module, "_reset_parameters", None
        )
        if callable(reset):
            reset()
        else:
            without += own
    if without:
        raise ConfigError(
            f"Fresh values of {len(without)} parameters of `{type(network).__name__}` are not "
            f"known, first `{without[0]}`: its module has no `reset_parameters`.\n"
            "Hint: say how the network is built, with `factory=`; then its own constructor draws "
            "them."
        )


_LOCK = threading.RLock()


@contextmanager
def _layers_told(made: _Made, *, every_class: bool = False) -> Iterator[None]:
    """Call a function for every layer of `torch.nn` that is about to be made."""
    running: set[int] = set()
    originals = {kind: kind.__init__ for kind in _layer_classes()}

    def wrap(original: Callable[..., None]) -> Callable[..., None]:
        signature = inspect.signature(original)

        def init(self: nn.Module, *args: Any, **kwargs: Any) -> None:
            first = id(self) not in running
            if not first and not every_class:
                original(self, *args, **kwargs)
                return
            running.add(id(self))
            try:
                bound = signature.bind(self, *args, **kwargs)
                made(self, bound.arguments)
                original(*bound.args, **bound.kwargs)
            finally:
                if first:
                    running.discard(id(self))

        return init

    with _LOCK:
        try:
            for kind, original in originals.items():
                kind.__init__ = wrap(original)  # type: ignore[method-assign]
            yield
        finally:
            for kind, original in originals.items():
                kind.__init__ = original  # type: ignore[method-assign]


def _layer_classes() -> list[type[nn.Module]]:
    """List the layers of `torch.nn` that have parameters, and the classes they derive from."""
    layers = [
        kind
        for kind in vars(nn).values()
        if isinstance(kind, type)
        and issubclass(kind, nn.Module)
        and (hasattr(kind, "reset_parameters") or hasattr(kind, "_reset_parameters"))
    ]
    found = {
        base: None
        for kind in layers
        for base in kind.__mro__
        if base is not nn.Module and issubclass(base, nn.Module) and "__init__" in vars(base)
    }
    return list(found)


@contextmanager
def _random_states_kept() -> Iterator[None]:
    python, numbers = random.getstate(), np.random.get_state()  # noqa: NPY002 (users may use it)
    try:
        with torch.random.fork_rng(devices=[]):
            # Another start than the second construction has, so that the two differ where random.
            torch.manual_seed(torch.initial_seed() ^ 0x5EED)
            yield
    finally:
        random.setstate(python)
        np.random.set_state(numbers)  # noqa: NPY002
