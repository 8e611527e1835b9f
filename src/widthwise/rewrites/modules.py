"""Choose modules by name, and put others in their place: what rewrites share."""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Sequence

from torch import Tensor, nn

from widthwise.errors import ConfigError
from widthwise.graph.names import is_named
from widthwise.network.copying import copy_module


def names(patterns: str | Iterable[str]) -> tuple[str, ...]:
    """Return patterns as a tuple; a single name counts as a list of one."""
    return (patterns,) if isinstance(patterns, str) else tuple(patterns)


def matching_modules(
    model: nn.Module, option: str, patterns: Sequence[str], kind: type[nn.Module] = nn.Module
) -> dict[str, nn.Module]:
    """Return the modules that some pattern names, by path, in order.

    Args:
        model: The network.
        option: What the patterns were passed as, for the error.
        patterns: Paths, which may be of any module, or globs over those of one kind.
        kind: What globs look for.

    Returns:
        Modules by path.

    Raises:
        ConfigError: If a pattern matches none.
    """
    modules = {path: module for path, module in model.named_modules() if path}
    found: set[str] = set()
    unknown = []
    for pattern in patterns:
        own = {
            path
            for path, module in modules.items()
            if path == pattern or (isinstance(module, kind) and is_named(path, pattern))
        }
        found |= own
        if not own:
            near = difflib.get_close_matches(pattern, list(modules), n=3)
            unknown.append(f"    {pattern!r}" + (f"; nearest: {', '.join(near)}" if near else ""))
    if unknown:
        raise ConfigError(
            f"`{option}` names no module of `{type(model).__name__}`:\n"
            + "\n".join(unknown)
            + "\nHint: `model.named_modules()` lists all paths; globs such as `layer1.*` do, too."
        )
    return {path: module for path, module in modules.items() if path in found}


def copied(model: nn.Module) -> nn.Module:
    """Return a copy of a network that shares no memory with it."""

    def clone(_: str, tensor: Tensor) -> Tensor:
        return tensor.detach().clone()

    return copy_module(model, clone)


def replace_module(model: nn.Module, old: nn.Module, new: nn.Module) -> None:
    """Put a module in the place of another, everywhere. Changes ``model``."""
    new.train(old.training)
    for parent in list(model.modules()):
        # Not `named_children`, which tells each child once.
        for name, child in list(parent._modules.items()):
            if child is old:
                setattr(parent, name, new)


def refused(rewrite: str, problems: Sequence[str]) -> ConfigError:
    """Return the error that lists why modules cannot be rewritten."""
    return ConfigError(f"`{rewrite}` cannot do that:\n" + "\n".join(f"    {p}" for p in problems))
