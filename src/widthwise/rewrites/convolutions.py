"""Which convolutions can be put together anew from their weights."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from torch import Tensor, nn

from widthwise.rewrites.modules import copied, matching_modules, refused, replace_module

_CONVOLUTIONS = (nn.Conv1d, nn.Conv2d, nn.Conv3d)
Convolution = nn.Conv1d | nn.Conv2d | nn.Conv3d


def plain_convolutions(
    model: nn.Module, rewrite: str, patterns: Sequence[str], *, parts_of: int = 1
) -> list[Convolution]:
    """Return the convolutions that some pattern names, in order.

    Args:
        model: The network.
        rewrite: Name of the rewrite that asks, for the error.
        patterns: Paths, or globs over convolutions.
        parts_of: Input channels that come together; divides those of every layer.

    Returns:
        Ordinary convolutions without groups, whose weights are theirs alone.

    Raises:
        ConfigError: If a pattern matches none, or a module is something else. All such are named.
    """
    found = matching_modules(model, "layers", patterns, nn.modules.conv._ConvNd)
    problems = [
        f"`{path}`: {reason}"
        for path, module in found.items()
        for reason in [_reason(model, module, parts_of)]
        if reason is not None
    ]
    if problems:
        raise refused(rewrite, problems)
    return [module for module in found.values() if isinstance(module, _CONVOLUTIONS)]


def replaceable(model: nn.Module) -> list[str]:
    """Return the paths of the convolutions that something else can be put in the place of.

    Args:
        model: The network.

    Returns:
        Ordinary convolutions without groups, hooks or shared weights, in order.
    """
    return [
        path
        for path, module in model.named_modules()
        if path and isinstance(module, _CONVOLUTIONS) and _reason(model, module, 1) is None
    ]


def replaced(
    model: nn.Module,
    rewrite: str,
    patterns: Sequence[str],
    build: Callable[[Convolution], nn.Module],
    *,
    parts_of: int = 1,
) -> nn.Module:
    """Return a copy of a network with something else in the place of convolutions.

    Args:
        model: The network; not changed.
        rewrite: Name of the rewrite that asks, for the error.
        patterns: Which; see `plain_convolutions`.
        build: Makes what stands in the place of each.
        parts_of: Input channels that come together; divides those of every layer.

    Returns:
        A network of the same class that shares no memory with ``model``.

    Raises:
        ConfigError: As `plain_convolutions` does.
    """
    new = copied(model)
    for layer in plain_convolutions(new, rewrite, patterns, parts_of=parts_of):
        replace_module(new, layer, build(layer))
    return new


def two_for(
    layer: Convolution, filters: Tensor, mix: Tensor, *, groups: int = 1
) -> tuple[Convolution, Convolution]:
    """Build two convolutions in the place of one: filters, and what combines them.

    Args:
        layer: The one. Its bias goes to the second.
        filters: Weight of the first, which has the kernel, stride and padding of the layer.
        mix: Weight of the second, whose kernel has size 1.
        groups: Of the first.

    Returns:
        Both, without drawing random numbers.
    """
    # Made without values, for they are known, and drawing some would move the random state.
    kind: Any = _kind(layer)
    first = kind(
        groups * filters.shape[1],
        len(filters),
        layer.kernel_size,
        layer.stride,
        layer.padding,
        layer.dilation,
        groups=groups,
        bias=False,
        padding_mode=layer.padding_mode,
        device="meta",
    )
    ones = (1,) * (mix.dim() - 2)
    last = kind(mix.shape[1], len(mix), ones, bias=layer.bias is not None, device="meta")
    first.weight = nn.Parameter(filters, layer.weight.requires_grad)
    last.weight = nn.Parameter(mix, layer.weight.requires_grad)
    if layer.bias is not None:
        last.bias = layer.bias
    return first, last


def _kind(layer: nn.Module) -> type[Convolution] | None:
    """Return the class of convolutions that a layer computes as; None if it does something else.

    A class of the user's own that only draws other initial weights is an ordinary convolution.
    """
    own: Any = type(layer)
    for kind in _CONVOLUTIONS:
        if isinstance(layer, kind) and "weight" in layer._parameters:
            same = own.forward is kind.forward and own._conv_forward is kind._conv_forward
            return kind if same else None
    return None


def _reason(model: nn.Module, layer: nn.Module, parts_of: int) -> str | None:
    """Return why a module cannot be put together anew; None if it can."""
    if _kind(layer) is None:
        return f"a `{type(layer).__name__}` is not an ordinary convolution."
    assert isinstance(layer, _CONVOLUTIONS)
    if layer.groups > 1:
        return "it has groups, which are narrow already."
    if layer.in_channels % parts_of:
        return f"{layer.in_channels} input channels are no multiple of {parts_of}."
    if layer._forward_pre_hooks or layer._forward_hooks:
        return "hooks hang on it, such as those of `weight_norm`, and would be lost."
    holders = [
        module
        for module in model.modules()
        for p in module._parameters.values()
        if p is layer.weight
    ]
    if len(holders) > 1:
        return "it shares its weight with another layer."
    return None
