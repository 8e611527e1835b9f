"""Rewrites of users are named, saved and done like ours."""

from __future__ import annotations

import copy
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, ClassVar

import pytest
import torch
from torch import nn

import widthwise as ww
from widthwise import rewrites

IMAGE = torch.randn(1, 3, 8, 8, generator=torch.Generator().manual_seed(0))


@rewrites.register
@dataclass(frozen=True)
class Scale:
    """Multiplies the first weight by a power of two; without it, what follows is not the same."""

    name: ClassVar[str] = "tests.scale"
    power: int
    honest: bool = True

    def apply(self, model: nn.Module, inputs: Any) -> nn.Module:
        new = copy.deepcopy(model)
        with torch.no_grad():
            new[0].weight.mul_(2.0**self.power)
        return new

    def reference(self, model: nn.Module, inputs: Any) -> nn.Module | None:
        return self.apply(model, inputs) if self.honest else model

    def to_spec(self) -> dict[str, Any]:
        return {"power": self.power, "honest": self.honest}

    @classmethod
    def from_spec(cls, spec: Mapping[str, Any]) -> Scale:
        return cls(**spec)


def network() -> nn.Module:
    """Two convolutions."""
    torch.manual_seed(0)
    return nn.Sequential(nn.Conv2d(3, 8, 3), nn.ReLU(), nn.Conv2d(8, 4, 3))


def plan_with(*before: rewrites.Rewrite) -> ww.Plan:
    """Half the MACs, after these rewrites."""
    model = network()
    plan = ww.plan(ww.trace(model, IMAGE), score=ww.scores.L1(), budget=ww.Macs(0.5))
    return replace(plan, before=before, graph=None)


def test_a_rewrite_of_the_user_goes_all_the_way(tmp_path: Path) -> None:
    """It is applied by `shrink`, proven, saved by name, and done again by `load`."""
    model, plan = network(), plan_with(Scale(3))
    small = ww.shrink(model, plan)
    kept = plan.kept["0"]
    assert torch.equal(small[0].weight, 8 * model[0].weight[kept])
    assert ww.prove(model, small, plan).before[0][1].error == 0
    ww.save(small, plan, tmp_path)
    again = ww.load(tmp_path, network)
    assert ww.Plan.load(tmp_path / "plan.json").before == (Scale(3),)
    assert torch.equal(again(IMAGE), small(IMAGE))


def test_a_rewrite_that_is_not_what_it_says_is_refused() -> None:
    """Its reference differs: the proof names it, and the first module."""
    with pytest.raises(ww.errors.ProofError, match=r"`tests\.scale` differs .* first in `0`"):
        ww.shrink(network(), plan_with(Scale(3, honest=False)))


def test_values_of_another_rewrite_are_refused() -> None:
    """A file whose values do not fit is an error that shows them."""
    with pytest.raises(ww.errors.PlanError, match=r"`tests\.scale` is not written like that"):
        rewrites.from_spec({"name": "tests.scale", "force": 3})
    with pytest.raises(ww.errors.PlanError, match="No rewrite is called 7"):
        rewrites.from_spec({"name": 7})
