"""Optimizers at the end of a search."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from loops import Net, attach, loss_of, require_carried
from widthwise.errors import PlanError


def test_an_optimizer_of_what_needs_gradients_takes_over_the_computed_weights() -> None:
    """They go into the group that trained the hypernetwork, and are trained from then on."""
    net = Net()
    search = attach(net)
    needed = [each for each in net.parameters() if each.requires_grad]
    flat, rest = [p for p in needed if p.dim() < 2], [p for p in needed if p.dim() > 1]
    optimizer = torch.optim.SGD([{"params": flat, "lr": 0.5}, {"params": rest}], lr=0.1)
    small, _ = search.finish(optimizer)
    require_carried(optimizer, small, has_state=False)
    groups = [[tuple(p.shape) for p in group["params"]] for group in optimizer.param_groups]
    assert [len(shape) for shape in groups[0]] == [1, 1, 1, 1]
    assert [len(shape) for shape in groups[1]] == [4, 4, 2]
    before = small.body.weight.detach().clone()
    loss_of(small, 0).backward()
    optimizer.step()
    assert not torch.equal(small.body.weight, before)


def test_frozen_weights_stay_out() -> None:
    """What the user does not train is not computed, and gets into no optimizer."""
    net = Net()
    net.body.weight.requires_grad_(False)
    search = attach(net)
    optimizer = torch.optim.SGD([p for p in net.parameters() if p.requires_grad], lr=0.1)
    small, _ = search.finish(optimizer)
    held = {id(each) for group in optimizer.param_groups for each in group["params"]}
    assert id(small.stem.weight) in held
    assert id(small.body.weight) not in held
    assert not small.body.weight.requires_grad


def test_an_optimizer_of_something_else_is_left_as_it_was() -> None:
    """And the search goes on."""
    search = attach(Net())
    other = nn.Linear(2, 2)
    optimizer = torch.optim.SGD(other.parameters(), lr=0.1)
    with pytest.raises(PlanError, match="holds no parameter"):
        search.finish(optimizer)
    assert optimizer.param_groups[0]["params"] == list(other.parameters())
    search.finish()
