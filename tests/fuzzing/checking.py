"""What must be true of a network, two plans and what they leave: `check` says what is not.

The reference is `fuzzing.absent`: the wide network in float64, with NaN where a unit was removed.
"""

from __future__ import annotations

import copy
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.utils._pytree import tree_leaves

import oracles
import widthwise as ww
from fuzzing.absent import absence
from fuzzing.networks import Net
from strategies import plan_of, random_mask
from widthwise.errors import WidthwiseError

TOLERANCE = 1e-9
_STEP = 1e-7
_FEWEST = 4
"""Up to three channels are colours, and of two units one left makes PyTorch run other code."""


class Wrong(AssertionError):
    """A result that passed every check of the library and is not true."""


@dataclass
class Outcome:
    """What happened to one network."""

    refusals: list[str] = field(default_factory=list)
    """Errors of the library, instead of a narrow network."""
    dims: int = 0
    """Dims of weights whose width could be a choice."""
    frozen: list[str] = field(default_factory=list)
    """Those of them that no plan may narrow, with the reason."""


def check(net: Net, plan_seeds: tuple[int, ...] = (0, 1)) -> Outcome:
    """Trace a network, cut it, and compare with the reference.

    Args:
        net: The network.
        plan_seeds: One random plan for each.

    Returns:
        Refusals, and what is frozen.

    Raises:
        Wrong: If something is not true that the library let pass.
    """
    outcome = Outcome()
    model = net.build()
    before = copy.deepcopy(model)
    try:
        graph = ww.trace(model, net.images(1))
    except WidthwiseError as error:
        outcome.refusals.append(f"trace: {error}")
        return outcome
    _count_frozen(model, graph, outcome)
    for seed in plan_seeds:
        kept = random_mask(graph, np.random.default_rng(seed), (0.5, 0.8)[seed % 2])
        plan = plan_of(graph, kept)
        try:
            small = ww.shrink(model, plan)
        except WidthwiseError as error:
            outcome.refusals.append(f"shrink: {error}")
            continue
        _same(model, before)
        check_cut(net, model, small, plan, graph, kept)
    return outcome


def _count_frozen(model: nn.Module, graph: ww.ChannelGraph, outcome: Outcome) -> None:
    """Count weights' output dims; those of the ends, and of fewer than 4 units, are no choice."""
    frozen = {}
    for axis in graph.axes.values():
        units = range(axis.units.start, axis.units.stop)
        if axis.frozen is not None:
            frozen.update(dict.fromkeys(units, axis.frozen))
    for name, module in model.named_modules():
        if not isinstance(module, (nn.Conv1d, nn.Conv2d, nn.Conv3d, nn.Linear)):
            continue
        ids = graph.slots.get(f"{name}.weight", (None,))[0]
        owner = model.get_submodule(name.rpartition(".")[0])
        fixed = name.rpartition(".")[2] in getattr(owner, "fixed", ())
        if name == "head" or fixed or ids is None or len(set(ids.tolist())) < _FEWEST:
            continue
        outcome.dims += 1
        reasons = {frozen[i] for i in ids.tolist() if i in frozen}
        if reasons:
            outcome.frozen.append(f"{name}: {min(reasons)}")


def expects_choice(net: Net) -> bool:
    """Say whether a person would narrow every layer of a network."""
    return not any(block.freezes for block in net.blocks())


def _same(model: nn.Module, before: nn.Module) -> None:
    """The user's own network is as it was, to the bit."""
    old, new = before.state_dict(), model.state_dict()
    if list(old) != list(new) or not all(torch.equal(old[key], new[key]) for key in old):
        raise Wrong("the original's weights were changed")
    if str(before) != str(model):
        raise Wrong("the original's layers were changed")


def _entries(model: nn.Module) -> dict[str, Tensor]:
    return dict((*model.named_parameters(), *model.named_buffers()))


def _kept_indices(
    graph: ww.ChannelGraph, name: str, tensor: Tensor, kept: np.ndarray
) -> list[np.ndarray]:
    dims = graph.slots.get(name) or (None,) * tensor.dim()
    return [
        np.ones(size, bool) if ids is None else kept[ids]
        for size, ids in zip(tensor.shape, dims, strict=True)
    ]


def check_cut(
    net: Net, model: nn.Module, small: nn.Module, plan: ww.Plan, graph: Any, kept: np.ndarray
) -> None:
    """Compare a narrow network with the reference.

    Args:
        net: The description.
        model: What was cut.
        small: What is left of it.
        plan: How.
        graph: Of `model`; only the unit numbers of weights are used.
        kept: One bool per unit.

    Raises:
        Wrong: If they differ, or if the plan predicts another cost than is counted.
        WrongCut: If a channel that is gone meets something that was kept.
    """
    wide, narrow = copy.deepcopy(model).double(), copy.deepcopy(small).double()
    entries, choices = _entries(wide), {}
    for name, tensor in _entries(narrow).items():
        choices[name] = _kept_indices(graph, name, entries[name], kept)
        expected = entries[name].detach().numpy()[np.ix_(*choices[name])]
        if not np.array_equal(tensor.detach().numpy(), expected):
            raise Wrong(f"`{name}` is not the wide one's at the kept indices")
    _make_absent(wide, choices)
    _compare_outputs(net, wide, narrow, "evaluation")
    blocks = net.blocks()
    if not any(block.random_in_training for block in blocks):
        for network in (wide, narrow):
            network.train()
        _compare_outputs(net, wide, narrow, "training")
        _compare_buffers(wide, narrow, choices)
        if not any(block.detaches for block in blocks):
            _compare_gradients(net, wide, narrow, choices)
    if any(block.counts_one_differently for block in blocks) and 1 in plan.widths.values():
        return
    counted = oracles.macs(small, net.images(1)), oracles.params(small)
    if (plan.macs(), plan.params()) != counted:
        raise Wrong(f"MACs and parameters: {plan.macs(), plan.params()} said, {counted} counted")


def _make_absent(wide: nn.Module, choices: dict[str, list[np.ndarray]]) -> None:
    with torch.no_grad():
        for name, tensor in _entries(wide).items():
            if tensor.is_floating_point() and tensor.dim():
                there = np.ix_(*choices[name])
                gone = np.ones(tuple(tensor.shape), bool)
                gone[there] = False
                tensor[torch.from_numpy(gone)] = float("nan")


def _compare_outputs(net: Net, wide: nn.Module, narrow: nn.Module, mode: str) -> None:
    x = net.images(3, seed=5).double()
    with absence():
        expected = tree_leaves(wide(x.clone()))
    with torch.no_grad():
        actual = tree_leaves(narrow(x.clone()))
    error = oracles.relative_error(actual, expected)
    if not error < TOLERANCE:
        raise Wrong(f"outputs in {mode} differ by {error:.1e}")


def _compare_buffers(
    wide: nn.Module, narrow: nn.Module, choices: dict[str, list[np.ndarray]]
) -> None:
    """Statistics after one pass in training mode."""
    expected = dict(wide.named_buffers())
    for name, tensor in narrow.named_buffers():
        if tensor.is_floating_point():
            there = expected[name].numpy()[np.ix_(*choices[name])]
            if not np.allclose(tensor.numpy(), there, rtol=1e-8, atol=1e-10):
                raise Wrong(f"the statistics `{name}` differ after a step")


def _compare_gradients(
    net: Net, wide: nn.Module, narrow: nn.Module, choices: dict[str, list[np.ndarray]]
) -> None:
    """The slope along a random direction, of the narrow network's gradients and of differences.

    At a kink (two equal values under a maximum) differences to the left and right are not the same,
    and say nothing; three directions get a chance.
    """
    slopes = []
    for seed in range(3):
        x = net.images(3, seed=6 + seed).double()
        slope, left, right = _slopes(x, wide, narrow, choices, seed)
        close = 1e-5 * max(1.0, abs(slope))
        if abs(slope - left) < close and abs(slope - right) < close:
            return
        if abs(left - right) < close:
            slopes.append(f"{slope:.6g} and {left:.6g}")
    if slopes:
        raise Wrong(f"gradients: slopes, and those by differences: {', '.join(slopes)}")


def _slopes(
    x: Tensor, wide: nn.Module, narrow: nn.Module, choices: dict[str, list[np.ndarray]], seed: int
) -> tuple[float, float, float]:
    generator = torch.Generator().manual_seed(seed)
    parameters, wide_parameters = dict(narrow.named_parameters()), dict(wide.named_parameters())
    steps = {
        name: torch.randn(p.shape, generator=generator, dtype=p.dtype)
        for name, p in parameters.items()
    }
    loss = _loss(tree_leaves(narrow(x.clone())))
    gradients = torch.autograd.grad(loss, list(parameters.values()), allow_unused=True)
    slope = sum(
        float((gradient * steps[name]).sum())
        for name, gradient in zip(parameters, gradients, strict=True)
        if gradient is not None
    )
    buffers = {name: buffer.clone() for name, buffer in wide.named_buffers()}
    before = {name: p.detach().clone() for name, p in wide_parameters.items()}
    losses = []
    for sign in (-1, 0, 1):
        with torch.no_grad():
            for name, buffer in wide.named_buffers():
                buffer.copy_(buffers[name])
            for name, step in steps.items():
                wide_parameters[name].copy_(before[name])
                wide_parameters[name][_where(choices[name])] += sign * _STEP * step
        with absence():
            losses.append(float(_loss(tree_leaves(wide(x.clone())))))
    with torch.no_grad():
        for name, p in wide_parameters.items():
            p.copy_(before[name])
    return slope, (losses[1] - losses[0]) / _STEP, (losses[2] - losses[1]) / _STEP


def _where(kept: list[np.ndarray]) -> tuple[Tensor, ...]:
    return tuple(torch.from_numpy(index) for index in np.ix_(*map(np.flatnonzero, kept)))


def _loss(leaves: list[Tensor]) -> Tensor:
    return torch.stack([leaf.square().mean() for leaf in leaves]).sum()


def script(net: Net, plan_seed: int) -> str:
    """Write a program of a few lines that shows one failure."""
    return (
        'import sys; sys.path.insert(0, "tests")\n'
        "from fuzzing.checking import check\n"
        "from fuzzing.networks import Net, Part\n"
        f"check({net!r}, ({plan_seed},))\n"
    )


def reduced(net: Net, plan_seed: int) -> tuple[Net, int]:
    """Find a smaller network that fails too, in whatever way, under some plan."""
    for smaller in net.smaller():
        for seed in range(4):
            try:
                check(smaller, (seed,))
            except Exception:
                return reduced(smaller, seed)
    return net, plan_seed
