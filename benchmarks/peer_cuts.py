"""Cut a network with the criteria of Torch-Pruning, to the same MACs as ours."""

from __future__ import annotations

import copy
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional

Pairs = Sequence[tuple[Tensor, Tensor]]


@dataclass(frozen=True)
class Criterion:
    """One of its criteria."""

    steps: int
    """Rounds in which a network is cut, a little in each; what looks at data does so in each."""
    importance: Callable[[nn.Module, Pairs], Any]


def magnitude(network: nn.Module, pairs: Pairs) -> Any:
    """Return the norms of all weights of a channel, its default."""
    import torch_pruning as tp

    return tp.importance.GroupMagnitudeImportance(p=2)


def taylor(network: nn.Module, pairs: Pairs) -> Any:
    """Return weights times gradients, which are left in the network."""
    import torch_pruning as tp

    network.zero_grad()
    for images, labels in pairs:
        functional.cross_entropy(network(images), labels).backward()
    return tp.importance.GroupTaylorImportance()


CRITERIA = {
    "Torch-Pruning, magnitude": Criterion(400, magnitude),
    "Torch-Pruning, Taylor": Criterion(40, taylor),
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

    chosen = CRITERIA[criterion]
    network = copy.deepcopy(network).eval()
    example = pairs[0][0][:1]
    *_, last = (module for module in network.modules() if isinstance(module, nn.Linear))
    pruner = tp.pruner.BasePruner(
        network,
        example,
        importance=chosen.importance(network, pairs),
        global_pruning=True,
        pruning_ratio=1.0,
        iterative_steps=chosen.steps,
        ignored_layers=[last],
    )
    full = _macs(network, example)
    for number in range(chosen.steps):
        if number:
            pruner.importance = chosen.importance(network, pairs)
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
