"""Every recipe we ship fits its network: the axes it names are there and its budget can be met."""

from __future__ import annotations

import numpy as np
import pytest
import torch

import widthwise as ww
from widthwise.models import resolve
from widthwise.recipes.loader import load_recipe, recipe_names
from widthwise.recipes.setting import budgets
from widthwise.search.limits import Limits

SHAPES = {
    "digits": (1, 1, 8, 8),
    "cifar10": (1, 3, 32, 32),
    "tiny_imagenet": (1, 3, 64, 64),
}
CLASSES = {"digits": 10, "cifar10": 10, "tiny_imagenet": 200}


@pytest.mark.parametrize("name", recipe_names())
def test_a_recipe_fits_its_network(name: str) -> None:
    """Its network takes the images and has the classes; a random plan meets its budget."""
    recipe = load_recipe(name)
    method = recipe.method
    with torch.device("meta"):
        network = resolve(recipe.model.name).build(**recipe.model.options)
        outputs = network.eval()(torch.zeros(SHAPES[recipe.data.name]))
    assert outputs.shape[1] == CLASSES[recipe.data.name]
    graph = ww.trace(network, torch.zeros(SHAPES[recipe.data.name], device="meta"))
    limits = Limits(
        min_width=method.min_width,
        min_keep=method.min_keep,
        exclude=method.exclude,
        include=method.include,
    )
    searched = {axis.name for axis in limits.axes(graph)}
    assert searched.isdisjoint(method.exclude or ())
    plan = ww.plan(
        graph,
        score=ww.scores.Random(seed=0),
        budget=budgets(recipe.budget),
        min_width=method.min_width,
        min_keep=method.min_keep,
        exclude=method.exclude,
    )
    assert plan.macs() <= recipe.budget.macs * graph.macs()
    floors = method.min_keep if isinstance(method.min_keep, dict) else {}
    for axis, ratio in floors.items():
        assert plan.widths[axis] >= np.ceil(ratio * graph.axes[axis].width)


def test_a_floor_holds_for_the_axes_it_names() -> None:
    """One floor per glob: named axes keep that share, the others may go down to one unit."""
    network = torch.nn.Sequential(*(torch.nn.Conv2d(10, 10, 1) for _ in range(4)))
    graph = ww.trace(network, torch.zeros(1, 10, 4, 4))
    settings = {"score": ww.scores.Random(seed=0), "budget": ww.Macs(0.3)}
    plan = ww.plan(graph, min_keep={"1": 0.8, "[12]": 0.5}, **settings)
    assert plan.widths["1"] >= 8
    assert plan.widths["2"] >= 5
    assert plan.widths["0"] == 1
    with pytest.raises(ww.errors.ConfigError, match="`min_keep` names no axis"):
        ww.plan(graph, min_keep={"7": 0.5}, **settings)
    with pytest.raises(ww.errors.ConfigError, match="within"):
        ww.plan(graph, min_keep={"1": 1.5}, **settings)
