"""Do what a plan says comes before the cut, each step proven against its reference."""

from __future__ import annotations

from typing import Any

import torch
from torch import nn

from widthwise.graph import ChannelGraph, trace
from widthwise.graph.constraints import Constraints
from widthwise.network.copying import named_tensors
from widthwise.network.generated import without_search
from widthwise.network.inputs import Inputs
from widthwise.plans import Plan
from widthwise.rewrites import Rewrite
from widthwise.shrinking.comparing import Agreement, compare_rewrite, telling

Steps = tuple[tuple[Rewrite, Agreement | None], ...]
"""Every rewrite, with how well it agrees with its reference; None where it has none."""


def rewritten(
    model: nn.Module, plan: Plan, inputs: Inputs, *, verify: bool
) -> tuple[nn.Module, ChannelGraph, Steps]:
    """Return the network that a plan cuts, with its graph.

    Args:
        model: The user's own network; or the very one that the plan was made from, rewritten
            already, which is then returned as it is. Of one that is searched, or was copied while
            it was, a copy with the weights that it computes. Not changed.
        plan: The plan.
        inputs: What to trace and to prove on.
        verify: Compare each rewritten network with its reference, if it has one.

    Returns:
        The network, its graph, and the steps that were done.

    Raises:
        ProofError: If a rewritten network differs from its reference.
        TraceError: If a network cannot be traced.
        ConfigError: If a rewrite does not fit the network.
    """
    if plan.graph is not None and plan.graph.is_of(model):
        return without_search(model), plan.graph, ()
    model = without_search(model)
    steps: list[tuple[Rewrite, Agreement | None]] = []
    for rewrite in plan.before:
        new = rewrite.apply(model, inputs)
        agreement = None
        if verify and has_values(model):
            reference = rewrite.reference(model, inputs)
            if reference is not None:
                given, _ = telling(inputs)
                agreement = compare_rewrite(reference, new, given, rewrite.name)
        steps.append((rewrite, agreement))
        model = new
    constraints = Constraints.from_spec(plan.constraints)
    graph = trace(model, inputs, freeze=constraints.freeze, tie=constraints.tie)
    return model, graph, tuple(steps)


def inputs_of(plan: Plan, example_inputs: Any = None) -> Inputs:
    """Return the inputs to work on: those passed, else the graph's, else noise of their shapes."""
    if example_inputs is not None:
        return Inputs.of(example_inputs)
    if plan.graph is not None:
        return plan.graph.inputs
    with torch.device("cpu"):
        return Inputs.from_spec(dict(plan.inputs))


def has_values(model: nn.Module) -> bool:
    """Tell whether a network has weights to compute with: none is on the meta device."""
    return not any(tensor.is_meta for _, tensor in named_tensors(model))
