"""What a score is, and how the weights that belong to a unit are found."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterator, Mapping
from typing import Protocol, cast

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn.utils.parametrize import ParametrizationList, is_parametrized
from torch.nn.utils.spectral_norm import SpectralNorm
from torch.nn.utils.weight_norm import WeightNorm

from widthwise.arguments import described
from widthwise.errors import ConfigError
from widthwise.graph import ChannelGraph
from widthwise.network.batches import evaluating


class Score(Protocol):
    """A number per unit; units with low numbers go first."""

    def __call__(self, graph: ChannelGraph) -> np.ndarray:
        """Return one number per unit, shape ``[units]``. Units of frozen axes may get any."""
        ...


def require_score(score: object) -> None:
    """Raise an error if something is passed for a score that is none.

    Args:
        score: What was passed.

    Raises:
        ConfigError: If it cannot be called on a graph.
    """
    if callable(score) and not inspect.isclass(score):
        return
    name = score.__name__ if inspect.isclass(score) else "L1"
    raise ConfigError(
        f"Expected a score, got {described(score)}.\n"
        f"Hint: write `score=ww.scores.{name}()`; a function of a graph that returns a number per "
        "unit is a score too."
    )


def weights_of(graph: ChannelGraph) -> Iterator[tuple[Tensor, list[np.ndarray | None]]]:
    """Yield every weight of a layer that makes channels, with the units of its dims.

    Weights are those that the network computes with: where one is parametrized, by a search or by
    the user, the computed one. Nothing of the network changes.

    Args:
        graph: The network; one that is being searched keeps the graph of its search.

    Yields:
        A weight of two or more dims, and per dim the unit of every index, or None.

    Raises:
        ConfigError: If the network is on the meta device and has no weights to read.
    """
    for path, module in graph.model.named_modules():
        if isinstance(module, ParametrizationList):
            continue
        prefix = f"{path}." if path else ""
        for names, weight in _computed(module):
            # A tied weight was traced by its first name only.
            name = next((prefix + name for name in names if prefix + name in graph.slots), None)
            if name is None or weight.dim() < 2:
                continue
            if weight.is_meta:
                raise ConfigError(
                    f"This score reads weights, and `{name}` of `{graph.model_name}` is on the "
                    "meta device.\n"
                    "Hint: trace a network that has weights, or use a score that needs none "
                    "(`Uniform`, `Random`)."
                )
            yield weight.detach(), list(graph.slots[name])


@torch.no_grad()
def _computed(module: nn.Module) -> list[tuple[list[str], Tensor]]:
    """Return the parameters a module computes with, and the names their dims may be traced by."""
    stored = {name: p for name, p in module._parameters.items() if p is not None}
    found: list[tuple[list[str], Tensor]] = []
    if is_parametrized(module):
        for name, parametrization in cast(nn.ModuleDict, module.parametrizations).items():
            prefix = f"parametrizations.{name}."
            parts = {prefix + key: p for key, p in parametrization.named_parameters(recurse=False)}
            # What a search generates was traced by the name of the weight itself.
            found += _one_or_parts(parts, _in_eval(module, name, parametrization), also=name)
    for hook in module._forward_pre_hooks.values():
        # The older form of these two keeps the parts of a weight beside it.
        if isinstance(hook, WeightNorm):
            names = [f"{hook.name}_g", f"{hook.name}_v"]
            weight = hook.compute_weight(module)
        elif isinstance(hook, SpectralNorm):
            names = [f"{hook.name}_orig"]
            weight = hook.compute_weight(module, do_power_iteration=False)
        else:
            continue
        found += _one_or_parts({name: stored.pop(name) for name in names}, weight)
    return [*found, *(([name], parameter) for name, parameter in stored.items())]


def _one_or_parts(
    parts: Mapping[str, Tensor], weight: Tensor, *, also: str | None = None
) -> list[tuple[list[str], Tensor]]:
    """Return the computed weight with the names of stored parts of its shape; else the parts."""
    alike = [name for name, part in parts.items() if part.shape == weight.shape]
    if not alike:
        return [([name], part) for name, part in parts.items()]
    return [(alike if also is None else [also, *alike], weight)]


def _in_eval(module: nn.Module, name: str, parametrization: nn.Module) -> Tensor:
    """Compute a parametrized weight without a trace: in training, a spectral norm iterates."""
    with evaluating(parametrization):
        return cast(Tensor, getattr(module, name))


def group_norms(graph: ChannelGraph, power: Callable[[Tensor], Tensor]) -> np.ndarray:
    """Sum a function of the weights over all that belongs to each unit.

    Weights that make a unit and weights that read it both count, because they are removed together.

    Args:
        graph: The network.
        power: Element-wise function of a weight tensor.

    Returns:
        One sum per unit, shape ``[units]``.
    """
    sums = np.zeros(graph.unit_count)
    for weight, slots in weights_of(graph):
        values = power(weight.to(torch.float32))
        for dim, units in enumerate(slots):
            if units is None:
                continue
            others = [other for other in range(weight.dim()) if other != dim]
            along = values.sum(others) if others else values
            sums += np.bincount(units, along.cpu().double().numpy(), minlength=graph.unit_count)
    return sums


def per_axis_mean_one(graph: ChannelGraph, scores: np.ndarray) -> np.ndarray:
    """Divide scores by the mean of their axis, so that wide and narrow layers compare."""
    scaled = scores.copy()
    for axis in graph.axes.values():
        mean = scaled[axis.units].mean()
        if mean > 0:
            scaled[axis.units] /= mean
    return scaled
