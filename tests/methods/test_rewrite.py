"""The method that rewrites layers: as the recipe says, and narrower where the budget is less."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest
import torch
from torch import nn

import widthwise as ww
from widthwise.errors import ConfigError
from widthwise.methods import RewriteSettings
from widthwise.models.registry import resolve
from widthwise.recipes.loader import load_recipe
from widthwise.rewrites import Factorise
from widthwise.search.limits import Limits

SPEC = {"name": "factorise", "layers": ["layer?.*.conv2"], "count": 2}
X = torch.randn(1, 3, 32, 32, generator=torch.Generator().manual_seed(0))


def bench() -> Any:
    """As much of a job as the method looks at."""

    def network() -> nn.Module:
        torch.manual_seed(0)
        return resolve("widthwise/resnet20").build().eval()

    return SimpleNamespace(network=network, example=X)


def test_a_roomy_budget_leaves_what_was_written() -> None:
    """The rewritten network, with the weights that the rewrite makes of fresh ones."""
    found = RewriteSettings(rewrites=[SPEC]).decide(
        bench(), budget=[ww.Macs(1.0)], limits=Limits(), seed=0
    )
    written = Factorise("layer?.*.conv2", 2).apply(bench().network(), X)
    assert torch.equal(found.network(X), written(X))
    assert found.plan.before == (Factorise("layer?.*.conv2", 2),)
    assert found.plan.macs() < found.plan.full_macs
    assert found.optimizer is None


def test_a_tight_budget_narrows_it_uniformly() -> None:
    """Fractions are of the network that was given, not of the rewritten one."""
    budget = ww.Macs(0.3)
    found = RewriteSettings(rewrites=[SPEC]).decide(
        bench(), budget=[budget], limits=Limits(round_to=1), seed=0
    )
    own = ww.trace(bench().network(), X).macs()
    written = ww.trace(Factorise("layer?.*.conv2", 2).apply(bench().network(), X), X)
    assert ww.trace(found.network, X).macs() == found.plan.macs() <= 0.3 * own < written.macs()
    shares = [found.plan.widths[name] / axis.width for name, axis in written.axes.items()]
    narrowed = [share for share in shares if share < 1]
    assert max(narrowed) - min(narrowed) < 0.13


def test_wrong_rewrites_are_named() -> None:
    """None, an unknown one, and values that are not its own."""
    with pytest.raises(ConfigError, match=r"`method\.rewrites` is empty"):
        RewriteSettings()
    with pytest.raises(ConfigError, match="No rewrite is called 'factorize'"):
        RewriteSettings(rewrites=[{"name": "factorize"}])
    with pytest.raises(ConfigError, match="`factorise` is not written like that"):
        RewriteSettings(rewrites=[{"name": "factorise", "depth": 2}])


def test_a_command_line_chooses_rewrites() -> None:
    """Any recipe takes the method, whose values are those of a plan file."""
    written = '[{name: factorise, layers: ["layer?.*.conv2"], count: 2}]'
    options = ["--method.name", "rewrite", "--method.rewrites", written]
    recipe = load_recipe("cifar10_resnet20_dhp50", options)
    assert recipe.method.before == (Factorise("layer?.*.conv2", 2),)
    assert recipe.search is None
