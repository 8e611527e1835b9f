"""Teach the trace an operator of your own, and rank units by a score of your own."""

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor, nn

import widthwise as ww
from widthwise.rules import Op, pass_through, register


@torch.library.custom_op("example::twice", mutates_args=())
def twice(x: Tensor) -> Tensor:
    """Double every value."""
    return 2 * x


@twice.register_fake
def _(x: Tensor) -> Tensor:
    return torch.empty_like(x)


class Net(nn.Module):
    """Two layers with the operator in between."""

    def __init__(self) -> None:
        super().__init__()
        self.first, self.last = nn.Conv2d(3, 16, 3), nn.Conv2d(16, 8, 3)

    def forward(self, x: Tensor) -> Tensor:
        return self.last(twice(self.first(x)).relu())


model, image = Net(), torch.randn(1, 3, 16, 16)
print("without a rule:", ww.trace(model, image).axes["first"].frozen)


@register(torch.ops.example.twice)
def twice_rule(op: Op) -> tuple:
    """The channels that go in come out."""
    return pass_through(op)


graph = ww.trace(model, image)
print("with a rule:   ", graph.axes["first"].frozen or "free")


@dataclass(frozen=True)
class Bias:
    """Absolute bias of the channels that a unit consists of."""

    def __call__(self, graph: ww.ChannelGraph) -> np.ndarray:
        """Score every unit."""
        scores = np.zeros(graph.unit_count)
        for name, parameter in graph.model.named_parameters():
            if name.endswith("bias"):
                np.add.at(scores, graph.slots[name][0], parameter.detach().abs().numpy())
        return scores


plan = ww.plan(graph, score=Bias(), budget=ww.Macs("50%"))
print(plan)
print(ww.shrink(model, plan))
