"""Widths of checkpoints that were cut elsewhere."""

from __future__ import annotations

import numpy as np
import pytest
import timm
import torch
from torch import nn

import widthwise as ww
from cases import Case, every_case
from strategies import plan_of, random_mask
from widthwise.errors import PlanError


def conv_net(width: int = 8) -> nn.Module:
    """Two convolutions and a norm."""
    return nn.Sequential(nn.Conv2d(3, width, 3), nn.BatchNorm2d(width), nn.Conv2d(width, 4, 3))


def graph_of(model: nn.Module) -> ww.ChannelGraph:
    """Trace it on an image."""
    return ww.trace(model, torch.zeros(1, 3, 8, 8))


@every_case()
def test_any_cut_is_recognised_by_its_shapes(case: Case) -> None:
    """A plan from the state dict of a narrow network makes a network that loads it."""
    model = case.build()
    graph = ww.trace(model, case.inputs())
    kept = random_mask(graph, np.random.default_rng(1), 0.5)
    narrow = ww.shrink(model, plan_of(graph, kept), verify=False)
    plan = ww.Plan.from_state_dict(graph, narrow.state_dict())
    again = ww.shrink(model, plan, verify=False)
    again.load_state_dict(narrow.state_dict())
    assert (plan.macs(), plan.params()) == (graph.macs(kept), graph.params(kept))


def test_a_pruned_network_of_timm_is_adopted() -> None:
    """Its checkpoint fits the plan, and the network computes the same."""
    full = timm.create_model("efficientnet_b1").eval()
    pruned = timm.create_model("efficientnet_b1_pruned").eval()
    plan = ww.Plan.from_state_dict(ww.trace(full, torch.zeros(1, 3, 64, 64)), pruned.state_dict())
    assert plan.macs() < 0.7 * plan.full_macs
    small = ww.shrink(full, plan)
    small.load_state_dict(pruned.state_dict())
    x = torch.randn(1, 3, 64, 64)
    with torch.no_grad():
        assert torch.allclose(small(x), pruned(x), atol=1e-6)


def test_names_from_wrappers_and_missing_tensors() -> None:
    """Prefixes of wrappers do not matter, and a part of a checkpoint is enough."""
    state = {f"module.{name}": tensor for name, tensor in conv_net(5).state_dict().items()}
    graph = graph_of(conv_net())
    assert ww.Plan.from_state_dict(graph, state).widths["0"] == 5
    assert ww.Plan.from_state_dict(graph, {"1.weight": torch.zeros(3)}).widths["0"] == 3


def test_a_child_that_is_called_as_wrappers_are() -> None:
    """Its name is its name."""

    class Outer(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.module = conv_net()

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return self.module(x)

    model = Outer()
    graph = graph_of(model)
    plan = ww.plan(graph, score=ww.scores.L1(), budget=ww.Macs(0.6))
    state = ww.shrink(model, plan).state_dict()
    assert ww.Plan.from_state_dict(graph, state).widths == plan.widths


def test_of_several_solutions_one_is_taken() -> None:
    """Two axes that a checkpoint tells only together get widths that add up."""

    class Joined(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.a, self.b, self.c = nn.Conv2d(3, 4, 1), nn.Conv2d(3, 6, 1), nn.Conv2d(10, 2, 1)

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return self.c(torch.cat((self.a(x), self.b(x)), 1))

    plan = ww.Plan.from_state_dict(graph_of(Joined()), {"c.weight": torch.zeros(2, 7, 1, 1)})
    assert plan.widths["a"] + plan.widths["b"] == 7


@pytest.mark.parametrize(
    ("state", "says"),
    [
        ({"weight": torch.zeros(3)}, "No tensor of the checkpoint"),
        ({"0.weight": torch.zeros(3)}, "has 1 dims in the checkpoint and 4"),
        ({"0.weight": torch.zeros(9, 3, 3, 3)}, "dim 0 of `0.weight` is 9, 8 in `Sequential`"),
        ({"2.weight": torch.zeros(3, 8, 3, 3)}, "`2` is frozen"),
        (
            {"0.bias": torch.zeros(5), "1.bias": torch.zeros(6)},
            "dim 0 of `1.bias` is 6.*\nWhy: other tensors",
        ),
    ],
)
def test_checkpoints_of_other_networks_are_refused(state: dict, says: str) -> None:  # type: ignore[type-arg]
    """The error names the tensor, what stands in the way, and the way out."""
    with pytest.raises(PlanError, match=says):
        ww.Plan.from_state_dict(graph_of(conv_net()), state)
