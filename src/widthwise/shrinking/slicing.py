"""Rewrite a network at a plan's widths. Decides nothing."""

from __future__ import annotations

from torch import nn

from widthwise.graph import ChannelGraph, trace
from widthwise.graph.constraints import Constraints
from widthwise.network.copying import named_tensors
from widthwise.network.inputs import Inputs
from widthwise.network.narrowing import narrow_module
from widthwise.plans import Plan
from widthwise.shrinking.proof import prove


def shrink(model: nn.Module, plan: Plan, *, verify: bool = True) -> nn.Module:
    """Return a narrower copy of a network, and prove that it computes the same.

    Every parameter and buffer is sliced to the indices of kept units, and the integer attributes of
    known layers (``in_channels``, ``groups``, ...) follow. The proof runs the full
    network with the consumers of removed channels zeroed, and the narrow network, on the example
    inputs.

    Args:
        model: The full network, with the weights to keep; not changed. A network on the meta device
            is narrowed without a proof, for there is nothing to compute with.
        plan: Made for this network, by `plan`, by a search, or loaded from a file.
        verify: Prove the result. Takes two to three forward passes.

    Returns:
        A new module of the same class, in the same mode, that shares no memory with `model`.

    Raises:
        PlanError: If the plan was made for another network.
        ProofError: If the narrow network computes something else; names the first module that does.

    Example:
        >>> import torch, widthwise as ww
        >>> net = torch.nn.Sequential(torch.nn.Conv2d(3, 8, 3), torch.nn.Conv2d(8, 4, 3))
        >>> graph = ww.trace(net, torch.randn(1, 3, 8, 8))
        >>> plan = ww.plan(graph, score=ww.scores.L1(), budget=ww.Macs(0.5))
        >>> ww.shrink(net, plan)
        Sequential(
          (0): Conv2d(3, 4, kernel_size=(3, 3), stride=(1, 1))
          (1): Conv2d(4, 4, kernel_size=(3, 3), stride=(1, 1))
        )
    """
    graph = graph_of(model, plan)
    kept = plan.mask(graph)
    small = narrow_module(model, graph.slots, graph.resized, kept)
    if verify and not any(tensor.is_meta for _, tensor in named_tensors(model)):
        prove(model, small, graph, kept)
    return small


def graph_of(model: nn.Module, plan: Plan) -> ChannelGraph:
    """Return the graph a plan was made from, or trace the network again as the plan says."""
    if plan.graph is not None and plan.graph.is_of(model):
        return plan.graph
    constraints = Constraints.from_spec(plan.constraints)
    inputs = Inputs.from_spec(dict(plan.inputs))
    return trace(model, inputs, freeze=constraints.freeze, tie=constraints.tie)
