"""What public functions ask of what they are given, before anything else is done."""

from __future__ import annotations

import inspect
from collections.abc import Mapping

from torch import Tensor, nn
from torch.optim.swa_utils import AveragedModel

from widthwise.errors import ConfigError


def network_in(model: object, line: str) -> nn.Module:
    """Return the network itself, without what PyTorch puts around it.

    That is `torch.compile`, data parallelism, and averages of weights, of PyTorch and of timm; and
    modules that hold one network and have no forward of their own, such as the `YOLO` of
    ultralytics, which predicts, and downloads what it may need for that, when it is called.

    Args:
        model: What was passed for a network.
        line: The call as it is meant, such as ``ww.trace(model, example_inputs)``.

    Returns:
        The module inside; the same if nothing is around it.

    Raises:
        ConfigError: If it is no module, holds none, or its weights are spread over processes.

    Example:
        >>> net = nn.Linear(2, 2)
        >>> network_in(nn.DataParallel(net), "ww.trace(model, example_inputs)") is net
        True
    """
    if not isinstance(model, nn.Module):
        raise ConfigError(
            f"Expected a network (a `torch.nn.Module`), got {described(model)}.\n"
            f"Hint: {_hint(model)}write `{line}`."
        )
    inside = _inside(model)
    if inside is not None:
        return network_in(inside, line)
    if any(map(_shards, model.modules())) or any(map(is_sharded, model.parameters())):
        raise ConfigError(
            f"The weights of this `{type(model).__name__}` are spread over processes "
            "(`fully_shard`, or tensor parallelism).\n"
            "Why: none of them holds whole weights to look at and to slice.\n"
            "Hint: trace and cut it, or attach a search, before it is sharded. What was trained so "
            "is gathered by `torch.distributed.checkpoint.state_dict.get_model_state_dict` with "
            "`full_state_dict=True`: load that into a network that is not sharded (with a search "
            f"attached in the same way, if there is one), then `{line}`."
        )
    return model


def is_sharded(tensor: Tensor) -> bool:
    """Tell whether a tensor is spread over processes.

    Args:
        tensor: Any.

    Returns:
        Whether it is a `DTensor`.

    Example:
        >>> import torch
        >>> is_sharded(torch.zeros(2))
        False
    """
    # Its class cannot be asked for without importing half a second of distributed code.
    return type(tensor).__name__ == "DTensor"


def _shards(module: nn.Module) -> bool:
    """Tell whether a module shares its weights out, even if they are whole at this moment."""
    return bool(_kinds(module) & {"FSDPModule", "FullyShardedDataParallel"})


def _kinds(module: nn.Module) -> set[str]:
    """Name the classes of a module; some take seconds to import, such as PyTorch's compiler."""
    return {kind.__name__ for kind in type(module).__mro__}


def _inside(model: nn.Module) -> nn.Module | None:
    if "OptimizedModule" in _kinds(model):
        return model.get_submodule("_orig_mod")
    wrapped = isinstance(
        model, nn.DataParallel | nn.parallel.DistributedDataParallel | AveragedModel
    )
    if wrapped or _kinds(model) & {"ModelEmaV2", "ModelEmaV3"}:
        return model.get_submodule("module")
    kind = type(model)
    if kind.forward is not nn.Module.forward or kind.__call__ is nn.Module.__call__:
        return None
    held = dict(model.named_children())
    if len(held) != 1:
        names = ", ".join(f"`{name}`" for name in held) or "none"
        raise ConfigError(
            f"`{kind.__name__}` has no forward and not one network in it. Its modules: {names}.\n"
            "Hint: pass the network that it calls; one that was exported to a file cannot be cut."
        )
    return held.popitem()[1]


def require(value: object, kind: type, what: str, line: str) -> None:
    """Raise an error if something is passed for another thing.

    Args:
        value: What was passed.
        kind: What it must be.
        what: The same in words, such as ``a plan``.
        line: The call as it is meant.

    Raises:
        ConfigError: If it is none.
    """
    if not isinstance(value, kind):
        raise ConfigError(
            f"Expected {what} (`{kind.__name__}`), got {described(value)}.\nHint: write `{line}`."
        )


def described(value: object) -> str:
    """Say what a value is, in a few words for an error.

    Args:
        value: Any.

    Returns:
        Such as ``the class `ResNet``` or ``a `dict```.

    Example:
        >>> described(nn.Linear), described(0.5)
        ('the class `Linear`', '0.5')
    """
    if inspect.isclass(value):
        return f"the class `{value.__name__}`"
    if isinstance(value, bool | int | float | str) or value is None:
        return repr(value)
    if inspect.isroutine(value):
        return f"the function `{getattr(value, '__name__', value)}`"
    kind = type(value).__name__
    return f"{'an' if kind[0] in 'AEIOUaeiou' else 'a'} `{kind}`"


def _hint(model: object) -> str:
    if inspect.isclass(model) and issubclass(model, nn.Module):
        return f"build it first, `model = {model.__name__}(...)`, and "
    if isinstance(model, Mapping):
        return "build the network, load these weights with `model.load_state_dict(...)`, and "
    if isinstance(model, Tensor):
        return "the network comes first: "
    if inspect.isroutine(model):
        return "if it builds the network, call it; if it is one, put it into an `nn.Module`; "
    inner = getattr(model, "model", None)
    if isinstance(inner, nn.Module):
        return f"its `.model` is one ({type(inner).__name__}): "
    return ""
