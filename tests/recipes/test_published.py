"""Every recipe we ship fits its network: the axes it names are there and its budget can be met."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch

import widthwise as ww
from widthwise.models import resolve
from widthwise.network.inputs import Inputs
from widthwise.recipes.config import SearchRecipe
from widthwise.recipes.loader import load_recipe, recipe_names
from widthwise.rewrites import Widen
from widthwise.search.limits import Limits
from widthwise.search.planning import select

SHAPES = {
    "digits": (1, 1, 8, 8),
    "cifar10": (1, 3, 32, 32),
    "cifar100": (1, 3, 32, 32),
    "tiny_imagenet": (1, 3, 64, 64),
    "imagenet": (1, 3, 224, 224),
}
CLASSES = {"digits": 10, "cifar10": 10, "cifar100": 100, "tiny_imagenet": 200, "imagenet": 1000}


Shape = tuple[int, ...]


def shapes(recipe: SearchRecipe) -> tuple[tuple[Shape, ...], Shape]:
    """Shapes of what the network of a recipe is given, and of what it must put out."""
    task = recipe.task
    if task.name == "classification":
        return (SHAPES[task.dataset],), (1, CLASSES[task.dataset])
    if task.name == "tracking":
        return ((1, 3, 64, 64), (1, 3, 128, 128)), (1, 1, 9, 9)
    scale, channels = getattr(task, "scale", 1), 3 if task.colour else 1
    small = (1, channels, task.patch // scale, task.patch // scale)
    return (small,), (1, channels, task.patch, task.patch)


def on_meta(recipe: SearchRecipe) -> tuple[torch.nn.Module, tuple[torch.Tensor, ...]]:
    """The network of a recipe and example inputs, without values."""
    with torch.device("meta"):
        network = resolve(recipe.model.name).build(**recipe.model.options).eval()
        return network, tuple(torch.zeros(shape) for shape in shapes(recipe)[0])


@pytest.mark.parametrize("name", recipe_names())
def test_a_recipe_fits_its_network(name: str) -> None:
    """Its network takes the data; a random plan within its limits meets its budget."""
    recipe = load_recipe(name)
    network, example = on_meta(recipe)
    assert network(*example).shape == shapes(recipe)[1]
    own = ww.trace(network, example)
    limits, graph, before = recipe.limits, own, None
    # Every name in the limits is that of an axis, or this raises.
    free = {axis.name for axis in limits.axes(own)}
    assert free
    if recipe.method.name == "lw_dna":
        method = recipe.method
        before = Widen(method.widen).apply(network, Inputs.of(example))
        graph = ww.trace(before, example)
        limits = Limits(min_keep=max(method.rho, method.tau), round_to=limits.round_to)
    elif recipe.method.name == "rewrite":
        before = network
        for rewrite in recipe.method.before:
            before = rewrite.apply(before, Inputs.of(example))
        graph = ww.trace(before, example)
        assert graph.params() < own.params()
    kept = select(graph, ww.scores.Random(seed=0)(graph), recipe.budget.open(), limits, full=own)
    plan = ww.Plan.of(graph, kept)
    assert plan.macs() <= recipe.budget.macs * own.macs()
    if before is None:
        assert_within(plan, limits, free, own)


def assert_within(plan: ww.Plan, limits: Limits, free: set[str], graph: ww.ChannelGraph) -> None:
    """Floors, alignment and the choice of axes hold, by arithmetic of their own."""
    for name, axis in graph.axes.items():
        width = plan.widths[name]
        if name not in free:
            assert width == axis.width
            continue
        channels, full = width * axis.unit_size, axis.width * axis.unit_size
        step = limits.round_to or (8 if full >= 32 else 1)
        assert channels >= min(limits.min_width, full)
        assert channels == full or channels % step == 0
        if not isinstance(limits.min_keep, dict):
            assert width >= np.ceil(limits.min_keep * axis.width)
        elif name in limits.min_keep:
            assert width >= np.ceil(limits.min_keep[name] * axis.width)


@pytest.mark.parametrize(
    ("name", "axis"),
    [("cifar10_resnet20_dhp50", "layer3.0.conv2"), ("cifar10_resnet20_dhp50_short", "layer3*")],
)
def test_the_layers_a_recipe_excludes_stay(name: str, axis: str) -> None:
    """A plan within its limits leaves them alone, and one without its limits does not."""
    recipe = load_recipe(name, ["--limits.exclude", f"[{axis}]"])
    network, example = on_meta(recipe)
    graph = ww.trace(network, example)
    options: dict[str, Any] = {"score": ww.scores.Uniform(), "budget": ww.Macs(0.5)}
    within = ww.plan(graph, **options, **vars(recipe.limits))
    without = ww.plan(graph, **options)
    named = [each for each in graph.axes if each.startswith(axis.rstrip("*"))]
    assert named
    for each in named:
        assert within.widths[each] == graph.axes[each].width > without.widths[each]


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
