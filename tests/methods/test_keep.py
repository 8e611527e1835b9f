"""The method that narrows nothing."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest
import torch
from torch import nn

import widthwise as ww
from widthwise.errors import BudgetError
from widthwise.methods import KeepSettings
from widthwise.search.limits import Limits

X = torch.randn(1, 3, 16, 16, generator=torch.Generator().manual_seed(0))


def bench() -> Any:
    """As much of a job as the method looks at."""

    def network() -> nn.Module:
        torch.manual_seed(0)
        return nn.Sequential(nn.Conv2d(3, 40, 3), nn.ReLU(), nn.Conv2d(40, 5, 3))

    return SimpleNamespace(network=network, example=X)


def test_everything_stays() -> None:
    """Widths and weights are those that the network was built with."""
    found = KeepSettings().decide(bench(), budget=[ww.Macs(1.0)], limits=Limits(), seed=0)
    assert torch.equal(found.network(X), bench().network()(X))
    assert found.plan.widths == {"0": 40, "2": 5}
    assert found.plan.macs() == found.plan.full_macs
    assert found.plan.method == "keep"


def test_a_budget_below_its_cost_is_refused() -> None:
    """Nothing would be done about it."""
    with pytest.raises(BudgetError, match="`keep` narrows nothing"):
        KeepSettings().decide(bench(), budget=[ww.Macs(0.9)], limits=Limits(), seed=0)
