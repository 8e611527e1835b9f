"""A caller's inference mode changes nothing."""

from __future__ import annotations

import torch
from torch import Tensor, nn

import widthwise as ww


class Reading(nn.Module):
    """Reads values, so that it is traced on real tensors."""

    def __init__(self) -> None:
        super().__init__()
        self.body, self.head = nn.Conv2d(3, 16, 3), nn.Linear(16, 10)

    def forward(self, x: Tensor) -> Tensor:
        if x.max().item() > 1e9:
            raise ValueError
        return self.head(self.body(x).mean((2, 3)))


def test_traces_and_cuts_are_as_without_it() -> None:
    """Inputs and example may be inference tensors; the narrow network can be trained."""
    net, inputs = Reading(), torch.randn(2, 3, 8, 8)
    outside = ww.trace(net, inputs)
    with torch.inference_mode():
        graph = ww.trace(net, torch.randn(2, 3, 8, 8))
        plan = ww.plan(graph, score=ww.scores.L1(), budget=ww.Macs(0.5))
        small = ww.shrink(net, plan)
        proof = ww.prove(net, small, plan)
    assert (graph.macs(), list(graph.axes)) == (outside.macs(), list(outside.axes))
    assert outside.macs() > 16 * 3 * 9
    assert proof.error < 1e-5
    small(inputs).sum().backward()
    assert all(parameter.grad is not None for parameter in small.parameters())
