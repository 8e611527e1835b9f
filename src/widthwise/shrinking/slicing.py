"""Rewrite a network at a plan's widths. Decides nothing."""

from __future__ import annotations

from typing import Any

import torch
from torch import nn

from widthwise.arguments import network_in, require
from widthwise.network.narrowing import narrow_module
from widthwise.plans import Plan
from widthwise.shrinking.comparing import telling
from widthwise.shrinking.exclusion import prove_cut
from widthwise.shrinking.rewriting import has_values, inputs_of, rewritten


@torch.inference_mode(False)  # Its weights are to be trained, whoever calls.
def shrink(
    model: nn.Module, plan: Plan, *, verify: bool = True, example_inputs: Any = None
) -> nn.Module:
    """Return a narrower copy of a network, and prove that it computes the same.

    Every parameter and buffer is sliced to the indices of kept units, and the integer attributes of
    known layers (``in_channels``, ``groups``, ...) follow. The proof runs the full
    network with the consumers of removed channels zeroed, and the narrow network, on the example
    inputs; `prove` returns it. Where the plan begins with rewrites, they are done first, and proven
    against the networks they must equal.

    Args:
        model: The full network, with the weights to keep; not changed. Where the plan begins with
            rewrites, this is the user's own network, before them; or the very one, rewritten
            already, that the plan was made from. A network on the meta device is narrowed without
            a proof, for there is nothing to compute with. Of one that is compiled or wrapped for
            data parallelism, the module inside is cut: wrap the result again.
        plan: Made for this network, by `plan`, by a search, or loaded from a file.
        verify: Prove the result. Takes two to three forward passes.
        example_inputs: What to prove on, as for `trace`; see `prove`. By default the example that
            was traced.

    Returns:
        A new module of the same class, in the same mode, that shares no memory with `model`.

    Raises:
        PlanError: If the plan was made for another network.
        ProofError: If the narrow network computes something else; names the first module that does,
            and the fewest axes found without which the cut is proven.
        TraceError: If a plan without its graph meets a network that cannot be traced.

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
    model = network_in(model, "ww.shrink(model, plan)")
    require(plan, Plan, "a plan", "ww.shrink(model, plan)")
    inputs = inputs_of(plan, example_inputs)
    network, graph, _ = rewritten(model, plan, inputs, verify=verify)
    kept = plan.mask(graph)
    small = narrow_module(network, graph.slots, graph.resized, kept)
    if verify and has_values(network):
        prove_cut(network, small, graph, kept, telling(inputs)[0])
    return small
