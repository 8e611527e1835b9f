"""Take an optimizer along when a network is cut: its momentum is sliced like the weights."""

from __future__ import annotations

import warnings
from dataclasses import replace
from typing import Any

import numpy as np
import torch
from torch import nn
from torch.optim import Optimizer

from widthwise.arguments import network_in
from widthwise.errors import PlanError
from widthwise.graph import ChannelGraph
from widthwise.network.narrowing import narrow_tensor
from widthwise.plans import Plan
from widthwise.shrinking.rewriting import inputs_of, rewritten


def carry_optimizer(optimizer: Optimizer, model: nn.Module, small: nn.Module, plan: Plan) -> None:
    """Make an optimizer of a network one of its narrow copy, with its state cut the same way.

    State tensors of the shape of their parameter (momentum, second moments) keep the entries of
    kept units, and so do those that are 1 along some of its dims (the factors of Adafactor);
    numbers (step counts) stay. The state of a parameter with tensors of other shapes is dropped,
    with a warning. Parameters that the network does not hold, such as the latents of a search, are
    dropped. What the optimizer has no state for starts without, and so do layers that a rewrite of
    the plan has put in the place of others; those join the first group of parameters.

    Args:
        optimizer: Changed in place: its groups hold the parameters of ``small``, with the settings
            they had.
        model: The full network, whose parameters the optimizer holds: where the plan begins with
            rewrites, the rewritten one, or the one that is rewritten when it is cut.
        small: What `shrink` made of it.
        plan: The plan it was cut by.

    Raises:
        PlanError: If the optimizer holds no parameter of ``model``, or the plan does not fit.

    Example:
        >>> import widthwise as ww
        >>> net = nn.Sequential(nn.Conv2d(3, 8, 3), nn.ReLU(), nn.Conv2d(8, 2, 3))
        >>> optimizer = torch.optim.SGD(net.parameters(), lr=0.1, momentum=0.9)
        >>> net(torch.ones(1, 3, 8, 8)).sum().backward()
        >>> optimizer.step()
        >>> graph = ww.trace(net, torch.ones(1, 3, 8, 8))
        >>> plan = ww.plan(graph, score=ww.scores.L1(), budget=ww.Macs(0.5))
        >>> small = ww.shrink(net, plan)
        >>> carry_optimizer(optimizer, net, small, plan)
        >>> optimizer.state[small[0].weight]["momentum_buffer"].shape
        torch.Size([4, 3, 3, 3])
    """
    line = "ww.carry_optimizer(optimizer, model, small, plan)"
    model, small = network_in(model, line), network_in(small, line)
    graph, kept = _graph_of(model, plan)
    names = {id(parameter): name for name, parameter in model.named_parameters()}
    narrow = dict(small.named_parameters())
    known = narrow.keys() & names.values()
    carried: dict[torch.Tensor, dict[str, object]] = {}
    groups: list[list[nn.Parameter]] = []
    lost: list[str] = []
    for group in optimizer.param_groups:
        held = [(names[id(p)], p) for p in group["params"] if id(p) in names]
        for name, parameter in held:
            if name not in known:
                continue
            indices = tuple(
                None if slot is None else kept[slot].nonzero()[0] for slot in graph.slots[name]
            )
            state = optimizer.state.get(parameter)
            if state:
                cut = {key: _cut(value, parameter, indices) for key, value in state.items()}
                if _LOST in cut.values():
                    lost.append(name)
                else:
                    carried[narrow[name]] = cut
        mine = {name for name, _ in held}
        groups.append([parameter for name, parameter in narrow.items() if name in mine])
    if not any(groups):
        raise PlanError(
            f"The optimizer holds no parameter of this `{type(model).__name__}`.\n"
            "Hint: pass the network that the optimizer was made for, not a copy of it."
        )
    _add_new(groups, [p for name, p in narrow.items() if name not in known])
    # All at once, so that an error above leaves the optimizer as it was.
    for group, parameters in zip(optimizer.param_groups, groups, strict=True):
        group["params"] = parameters
    optimizer.state.clear()
    optimizer.state.update(carried)
    if lost:
        warnings.warn(
            f"The state that {type(optimizer).__name__} has for {', '.join(lost[:5])}"
            f"{' and others' if len(lost) > 5 else ''} cannot be cut; they start without.\n"
            "Why: its tensors have shapes that do not say which entries belong to which channels.",
            stacklevel=2,
        )


def _graph_of(model: nn.Module, plan: Plan) -> tuple[ChannelGraph, np.ndarray]:
    """Return the graph of the network that a plan cuts, and the units it keeps."""
    inputs = inputs_of(plan)
    _, graph, _ = rewritten(model, replace(plan, before=()), inputs, verify=False)
    try:
        return graph, plan.mask(graph)
    except PlanError:
        if not plan.before:
            raise
    _, graph, _ = rewritten(model, plan, inputs, verify=False)
    return graph, plan.mask(graph)


def _add_new(groups: list[list[nn.Parameter]], new: list[nn.Parameter]) -> None:
    """Put what rewrites have made into the first group that holds anything."""
    next((group for group in groups if group), []).extend(new)


_LOST = object()


def _cut(value: Any, parameter: torch.Tensor, indices: tuple[np.ndarray | None, ...]) -> Any:
    """Cut one entry of a parameter's state as the parameter is cut; `_LOST` if that cannot be."""
    whole = all(
        kept is None or len(kept) == size
        for kept, size in zip(indices, parameter.shape, strict=True)
    )
    if not isinstance(value, torch.Tensor) or value.numel() <= 1 or whole:
        return value
    if value.dim() != parameter.dim() or any(
        own not in (1, size) for own, size in zip(value.shape, parameter.shape, strict=True)
    ):
        return _LOST
    return narrow_tensor(
        value,
        tuple(
            None if own == 1 and size > 1 else kept
            for own, size, kept in zip(value.shape, parameter.shape, indices, strict=True)
        ),
    )
