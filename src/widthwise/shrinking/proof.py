"""The proof of a cut, for people to ask for and to read."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
from torch import nn

from widthwise import errors
from widthwise.arguments import network_in, require
from widthwise.plans import Plan
from widthwise.shrinking.comparing import compare_cut, telling
from widthwise.shrinking.differences import TOLERANCE
from widthwise.shrinking.rewriting import Steps, has_values, inputs_of, rewritten


@dataclass(frozen=True, kw_only=True)
class Proof:
    """How well the masked and the narrow network agree, and what was compared. Prints itself."""

    error: float
    """Largest difference of any module's outputs, relative to their largest value."""
    dtype: torch.dtype
    """Precision it was computed in: float64 where rounding in float32 hid the agreement."""
    on_kept_channels: bool
    """Whether some operators of the full network were computed on kept channels only: their results
    depend on which channels exist by more than weights, as those of a layer norm do."""
    compared: tuple[str, ...]
    """What was compared, in order of execution: modules by path, the network itself as an empty
    path, and decisions such as a sort by operator in backticks."""
    inputs: str
    """Shapes and dtypes of the inputs."""
    noise: bool
    """Whether values of the inputs were drawn: the example was constant, or was not at hand."""
    woken: tuple[str, ...] = ()
    """Parameters next to zero, such as a gain before training, that had other values in both
    networks: nothing behind them could be seen otherwise."""
    before: Steps = ()
    """The rewrites that came first, each with its agreement; None where it has no reference."""

    def __str__(self) -> str:
        """Sentences for people."""
        modules = sum(1 for name in self.compared if name and not name.startswith("`"))
        lines = [
            f"masked and narrow network agree: relative error {self.error:.1e} "
            f"({TOLERANCE:.0e} allowed), {str(self.dtype).removeprefix('torch.')}",
            f"  compared: the outputs of {modules} module calls and of the network",
            f"  on: {self.inputs}, {'noise' if self.noise else 'as given'}",
        ]
        if self.on_kept_channels:
            lines.append(
                "  results that depend on which channels exist were computed on kept channels only"
            )
        if self.woken:
            lines.append(
                f"  {len(self.woken)} parameters next to zero had other values, the same in both"
            )
        for rewrite, agreement in self.before:
            lines.append(
                f"  before: `{rewrite.name}` "
                + (
                    "computes another function, as it is meant to"
                    if agreement is None
                    else f"equals its reference: relative error {agreement.error:.1e}"
                )
            )
        return "\n".join(lines)


@torch.inference_mode(False)
def prove(model: nn.Module, small: nn.Module, plan: Plan, *, example_inputs: Any = None) -> Proof:
    """Prove that a narrow network computes what the full one does with removed channels masked.

    `shrink` does the same and keeps quiet; this tells what was compared. The masked network is the
    full one with the weights that read removed channels set to zero. The outputs of every leaf
    module are compared on kept channels, and those of the network, in evaluation mode.

    Args:
        model: The full network, with the weights that were cut; not changed. As for `shrink`, the
            user's own where the plan begins with rewrites, or the rewritten one it was made from.
        small: What `shrink` made of it, not trained since; not changed.
        plan: The plan it was cut by.
        example_inputs: A tensor, a tuple or a dict to run both on; by default the example that was
            traced. Noise takes the place of an example that is constant, and of one that a plan
            from a file does not hold.

    Returns:
        The proof.

    Raises:
        ProofError: If they differ, naming the first module whose output does; if the full network
            computes NaN; or if there are no weights to compute with.
        PlanError: If the plan was made for another network.
        TraceError: If the full network does not run on these inputs.

    Example:
        >>> import torch, widthwise as ww
        >>> net = torch.nn.Sequential(torch.nn.Conv2d(3, 8, 3), torch.nn.Conv2d(8, 4, 3))
        >>> graph = ww.trace(net, torch.zeros(1, 3, 8, 8))
        >>> plan = ww.plan(graph, score=ww.scores.L1(), budget=ww.Macs(0.5))
        >>> proof = ww.prove(net, ww.shrink(net, plan, verify=False), plan)
        >>> proof.error < 1e-5, proof.compared, proof.noise
        (True, ('0', '1', ''), True)
    """
    line = "ww.prove(model, small, plan)"
    model, small = network_in(model, line), network_in(small, line)
    require(plan, Plan, "a plan", line)
    if not (has_values(model) and has_values(small)):
        raise errors.ProofError(
            f"There is nothing to compute with: this `{type(model).__name__}` is on the meta "
            "device.\nHint: pass networks with weights; shapes alone are checked by `shrink`."
        )
    inputs = inputs_of(plan, example_inputs)
    network, graph, steps = rewritten(model, plan, inputs, verify=True)
    given, drawn = telling(inputs)
    kept = plan.mask(graph)
    found = [compare_cut(network, small, graph, kept, each) for each in given.of_evaluation]
    worst = max(found, key=lambda agreement: agreement.error)
    return Proof(
        error=worst.error,
        dtype=worst.dtype,
        on_kept_channels=graph.mixes,
        compared=tuple(name for agreement in found for name in agreement.compared),
        woken=tuple(dict.fromkeys(name for agreement in found for name in agreement.woken)),
        inputs="; ".join(each.describe() for each in given.of_evaluation),
        noise=drawn or (example_inputs is None and plan.graph is None),
        before=steps,
    )
