"""Remembering a network and putting it back."""

from __future__ import annotations

import torch
from torch import nn

from widthwise.search.snapshot import Snapshot


def test_restore_puts_back_what_training_changes() -> None:
    """Values, statistics, gradients, flags and modes are as they were, in the same objects."""
    net = nn.Sequential(nn.Linear(3, 3), nn.BatchNorm1d(3))
    net[0].bias.requires_grad_(False)
    net[0].weight.grad = torch.ones(3, 3)
    objects = list(net.parameters())
    values = {name: value.clone() for name, value in net.state_dict().items()}
    snapshot = Snapshot(net)
    net(torch.randn(4, 3)).sum().backward()
    with torch.no_grad():
        for parameter in net.parameters():
            parameter.add_(1).requires_grad_(True)
    net.eval()
    net[0].weight = nn.Parameter(torch.zeros(3, 3))
    snapshot.restore()
    assert all(one is other for one, other in zip(net.parameters(), objects, strict=True))
    assert all(torch.equal(value, values[name]) for name, value in net.state_dict().items())
    assert torch.equal(net[0].weight.grad, torch.ones(3, 3))
    assert net[1].weight.grad is None
    assert not net[0].bias.requires_grad
    assert net.training and net[0].training


def test_a_buffer_that_was_replaced_or_cleared_comes_back() -> None:
    """A buffer of another shape, or none, is replaced by what it was."""
    net = nn.BatchNorm1d(3)
    snapshot = Snapshot(net)
    net.running_mean = torch.ones(5)
    net.running_var = None
    snapshot.restore()
    assert torch.equal(net.running_mean, torch.zeros(3))
    assert torch.equal(net.running_var, torch.ones(3))
