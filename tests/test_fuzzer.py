"""Random networks against a reference that shares no code with the library; see `fuzzing`."""

from __future__ import annotations

import copy
from collections.abc import Callable
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from torch import nn

import widthwise as ww
from fuzzing.absent import WrongCut
from fuzzing.checking import Outcome, Wrong, check, check_cut, expects_choice, reduced, script
from fuzzing.networks import BLOCKS, ENDS, Net, Part, random_net
from strategies import plan_of, random_mask

PER_TEST, QUICK, ALL = 20, 200, 5_000
REFUSED, FROZEN = 0.005, 0.01
"""Largest shares of refused networks, and of frozen dims that a person would narrow."""


def checked(net: Net, plan_seeds: tuple[int, ...] = (0, 1)) -> list[Outcome]:
    """Check a network, one plan after the other; a failure shows a program that has it too."""
    outcomes = []
    for seed in plan_seeds:
        try:
            outcomes.append(check(net, (seed,)))
        except Exception as error:
            raise Wrong(f"{error}\n\n{script(*reduced(net, seed))}") from error
    return outcomes


LIMITS = {"mixed_experts": "an einsum merges two channel dims, of which one stays free"}
"""Blocks of which a person would narrow more, and why not."""


@pytest.mark.parametrize("kind", BLOCKS)
def test_every_block(kind: str) -> None:
    """A network of one block: nothing wrong, nothing refused, and all free that can be."""
    for size, end in ((4, "image"), (6, "classes")):
        for outcome in checked(Net(5, (Part(kind, size),), end)):
            assert outcome.refusals == []
            if kind not in LIMITS and not BLOCKS[kind].freezes:
                assert outcome.frozen == []


FOUND = {
    "vmap computes otherwise at width one, which shifted the numbers of what came after it": Net(
        5,
        (
            Part("tanh_gate", 6),
            Part("per_image", 3),
            Part("residual", 6, (Part("separate_attention", 3),)),
            Part("residual", 6, (Part("reflected", 2),)),
        ),
        seed=1,
    ),
    "a cell's state is as wide as what it reads, by chance": Net(6, (Part("cell", 6),)),
}
"""Networks on which the library was wrong, and how."""


@pytest.mark.parametrize("cause", FOUND)
def test_what_was_found(cause: str) -> None:
    """It is not wrong any more, nothing is refused and nothing frozen."""
    for outcome in checked(FOUND[cause]):
        assert (outcome.refusals, outcome.frozen) == ([], [])


@pytest.mark.parametrize(
    ("part", "widths"),
    [
        # An attribute equals half of the channels by chance; tying all of them passes a dry run.
        (Part("maxout", 5), {"stem": 7, "parts.0.conv": 5}),
        # With one channel left in each half, a copy is left out.
        (Part("shuffle_unit", 2), {"stem": 7, "parts.0.enter": 2}),
    ],
    ids=lambda value: value.kind if isinstance(value, Part) else "",
)
def test_units_are_as_small_as_they_can_be(part: Part, widths: dict[str, int]) -> None:
    """What the code ties is tied, and no more."""
    net = Net(7, (part,))
    axes = ww.trace(net.build(), net.images(1)).axes
    assert {name: axes[name].width for name in widths if axes[name].frozen is None} == widths


def test_there_are_blocks_enough() -> None:
    """At least sixty building blocks, and every end."""
    assert len(BLOCKS) >= 60
    assert {random_net(number).end for number in range(30)} == set(ENDS)


@pytest.mark.parametrize("first", range(0, QUICK, PER_TEST))
def test_random_networks(first: int) -> None:
    """Nothing is wrong and nothing is refused in the first networks."""
    for number in range(first, first + PER_TEST):
        for outcome in checked(random_net(number)):
            assert outcome.refusals == []


@pytest.mark.slow
@pytest.mark.parametrize("first", range(0, ALL, ALL // 10))
def test_many_random_networks(first: int) -> None:
    """Nothing is wrong, and refusals and frozen dims are as rare as promised."""
    refused, dims, frozen = [], 0, []
    for number in range(first, first + ALL // 10):
        net = random_net(number)
        outcomes = checked(net)
        refused += [outcome.refusals for outcome in outcomes if outcome.refusals]
        if expects_choice(net):
            dims += outcomes[0].dims
            frozen += outcomes[0].frozen
    assert len(refused) <= 2 * REFUSED * ALL / 10, refused
    assert len(frozen) <= FROZEN * dims, frozen


def _change_weight(small: nn.Module) -> None:
    small.get_parameter("parts.1.conv.weight").add_(1e-3)


def _scale_output(small: nn.Module) -> None:
    small.parts[1].register_forward_hook(lambda module, args, out: out * (1 + 1e-6))


def _learn_faster(small: nn.Module) -> None:
    small.get_submodule("parts.0.body.1").momentum = 0.2


def _add_gradients(small: nn.Module) -> None:
    small.parts[1].conv.register_forward_hook(
        lambda module, args, out: out + (module.bias - module.bias.detach()).sum()
    )


@pytest.mark.parametrize(
    ("harm", "seen"),
    [
        (_change_weight, "kept indices"),
        (_scale_output, "outputs in evaluation"),
        (_learn_faster, "statistics"),
        (_add_gradients, "gradients"),
    ],
)
def test_the_reference_sees_what_is_wrong(harm: Callable[[nn.Module], None], seen: str) -> None:
    """A narrow network that is harmed in one way after the cut is found to be wrong."""
    net = Net(5, (Part("conv_norm_act", 5), Part("plain", 4)))
    model = net.build()
    graph = ww.trace(model, net.images(1))
    kept = random_mask(graph, np.random.default_rng(0))
    plan = plan_of(graph, kept)
    small = ww.shrink(model, plan)
    check_cut(net, model, copy.deepcopy(small), plan, graph, kept)
    with torch.no_grad():
        harm(small)
    with pytest.raises(Wrong, match=seen):
        check_cut(net, model, small, plan, graph, kept)


def test_the_reference_sees_untied_channels() -> None:
    """One channel that is removed in the weight and another in its bias stop the reference."""
    net = Net(5, (Part("residual", 4, (Part("plain", 4),)),))
    model = net.build()
    graph = ww.trace(model, net.images(1))
    made, *others = graph.slots["stem.weight"]
    kept = graph.everything.copy()
    kept[made[0]] = False
    plan = plan_of(graph, kept)
    small = ww.shrink(model, plan)
    untied = SimpleNamespace(slots={**graph.slots, "stem.weight": (made[::-1].copy(), *others)})
    small.stem.weight = nn.Parameter(model.stem.weight[torch.from_numpy(kept[made[::-1]])])
    with pytest.raises((Wrong, WrongCut)):
        check_cut(net, model, small, plan, untied, kept)
