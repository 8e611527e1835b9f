"""Cut a network with the criteria of Torch-Pruning, to the same MACs as ours."""

from __future__ import annotations

import copy
from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional

STEPS = 400
"""Rounds in which the package's own benchmark cuts a network, a little in each."""

Pairs = Sequence[tuple[Tensor, Tensor]]


def magnitude(network: nn.Module, pairs: Pairs) -> Any:
    """Return the norms of all weights of a channel, its default."""
    import torch_pruning as tp

    return tp.importance.GroupMagnitudeImportance(p=2)


def taylor(network: nn.Module, pairs: Pairs) -> Any:
    """Return weights times gradients, which are left in the network."""
    import torch_pruning as tp

    for images, labels in pairs:
        functional.cross_entropy(network(images), labels).backward()
    return tp.importance.GroupTaylorImportance()


def hessian(network: nn.Module, pairs: Pairs) -> Any:
    """Return weights times squared gradients of single images."""
    import torch_pruning as tp

    found = tp.importance.GroupHessianImportance()
    for images, labels in pairs:
        for image, label in zip(images.split(1), labels.split(1), strict=True):
            network.zero_grad()
            functional.cross_entropy(network(image), label).backward()
            found.accumulate_grad(network)
    return found


CRITERIA: dict[str, Callable[[nn.Module, Pairs], Any]] = {
    "Torch-Pruning, magnitude": magnitude,
    "Torch-Pruning, Taylor": taylor,
    "Torch-Pruning, Hessian": hessian,
}


def cut(network: nn.Module, criterion: str, pairs: Pairs, keep: float) -> tuple[nn.Module, float]:
    """Cut a copy until it has at most a share of the MACs, as the package's benchmark does.

    Args:
        network: A classifier. Not changed.
        criterion: One of `CRITERIA`.
        pairs: Images and labels.
        keep: Share of the MACs to keep.

    Returns:
        The first network of all rounds that is small enough, and its share of the MACs.
    """
    import torch_pruning as tp

    network = copy.deepcopy(network).eval()
    example = pairs[0][0][:1]
    *_, last = (module for module in network.modules() if isinstance(module, nn.Linear))
    pruner = tp.pruner.BasePruner(
        network,
        example,
        importance=CRITERIA[criterion](network, pairs),
        global_pruning=True,
        pruning_ratio=1.0,
        iterative_steps=STEPS,
        ignored_layers=[last],
    )
    full = _macs(network, example)
    for _ in range(STEPS):
        pruner.step()
        share = _macs(network, example) / full
        if share <= keep:
            network.zero_grad()
            return network, share
    raise RuntimeError(f"{criterion} did not come down to {keep} of the MACs")


@torch.no_grad()
def _macs(network: nn.Module, example: Tensor) -> float:
    import torch_pruning as tp

    return float(tp.utils.count_ops_and_params(network, example)[0])
