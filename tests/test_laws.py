"""Laws that hold for any network and any plan: on the whole zoo, and on random networks."""

from __future__ import annotations

import copy
import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor, nn
from torch.utils._pytree import tree_map_only

import oracles
import widthwise as ww
from cases import BY_NAME, Case, every_case
from strategies import Net, masks, nets, plan_of, random_mask
from widthwise.cost import costs_of

TOLERANCE = 1e-5


def some_masks(graph: ww.ChannelGraph, count: int = 3) -> list[np.ndarray]:
    """A narrow, a middling and a wide random mask."""
    rng = np.random.default_rng(0)
    return [random_mask(graph, rng, keep) for keep in (0.0, 0.5, 0.8)][:count]


def facts(graph: ww.ChannelGraph) -> dict[str, Any]:
    """Everything a graph says, in a form that compares and prints."""
    return {
        "axes": {
            name: (axis.width, axis.frozen, (axis.units.start, axis.units.stop), axis.members)
            for name, axis in graph.axes.items()
        },
        "slots": {
            name: tuple(None if ids is None else ids.tolist() for ids in dims)
            for name, dims in graph.slots.items()
        },
        "cost": (graph.macs(), graph.params(), graph.activation_bytes()),
    }


def check_plan(model: nn.Module, inputs: Any, graph: ww.ChannelGraph, kept: np.ndarray) -> None:
    """Shrink by one plan; the proof must pass and every predicted cost must be the true one."""
    plan = plan_of(graph, kept)
    small = ww.shrink(model, plan)
    counted = (oracles.macs(small, inputs), oracles.params(small))
    assert (graph.macs(kept), graph.params(kept)) == counted
    assert (plan.macs(), plan.params()) == counted
    # A transposed tensor with one channel is contiguous, so at width one a copy may be left out or
    # become necessary.
    if min(plan.widths.values(), default=0) > 1:
        assert graph.activation_bytes(kept) == oracles.activation_bytes(small, inputs)


# ------------------------------------------------------------------ masked == shrunk


@every_case()
def test_proof_and_costs(case: Case) -> None:
    """Any plan passes the proof, and costs exactly what the graph predicted."""
    model, inputs = case.build(), case.example_inputs
    graph = ww.trace(model, inputs)
    for kept in some_masks(graph):
        check_plan(model, inputs, graph, kept)


@every_case(
    without={
        "tied_weights": "one weight is read through two of its dims",
        "siamese_xcorr": "its last convolution is a function without a weight to zero",
        "non_local": "q and k meet in a product without a weight to zero",
        "einsum_linear": "it has no linear module to zero",
        "embedding": "rows of a table",
    },
    where=lambda case: not case.mixes_channels,
)
def test_masked_equals_shrunk(case: Case) -> None:
    """The shrunk network computes what the full one does when nobody reads removed channels."""
    model, inputs = case.build(), case.example_inputs
    graph = ww.trace(model, inputs)
    for kept in some_masks(graph):
        small = ww.shrink(model, plan_of(graph, kept), verify=False)
        expected = oracles.masked_outputs(model, graph, kept, inputs)
        assert oracles.relative_error(oracles.outputs(small, inputs), expected) < TOLERANCE


@given(net=nets(), data=st.data())
def test_random_network_and_plan(net: Net, data: st.DataObject) -> None:
    """Masked equals shrunk, and predicted equals counted, for random networks and plans."""
    model, inputs = net.build(), net.example_inputs
    graph = ww.trace(model, inputs)
    kept = data.draw(masks(graph))
    check_plan(model, inputs, graph, kept)
    small = ww.shrink(model, plan_of(graph, kept), verify=False)
    expected = oracles.masked_outputs(model, graph, kept, inputs)
    assert oracles.relative_error(oracles.outputs(small, inputs), expected) < TOLERANCE


# ------------------------------------------------------------------ ties


@every_case(
    without={
        "tied_weights": "a convolution called as a function is invisible to the oracle",
        "siamese_xcorr": "the same",
        "non_local": "a softmax over positions spreads the poison over channels",
        "unknown_op": "the poison spreads over a running sum, which freezes it",
        "sorted_channels": "sorting moves the poison",
        "shared_module": "a module called twice would be poisoned twice",
        "gates_one_by_one": "a gate poisons every channel that it scales",
        "one_channel_output": "the same",
        "mixed_tokens": "the poison of a linear layer is in the last dim, which is space here",
    },
    where=lambda case: not case.mixes_channels,
)
def test_ties_agree_with_poisoned_channels(case: Case) -> None:
    """Channels that share a NaN share a unit, and a NaN in the output means frozen."""
    model, inputs = case.build(), case.example_inputs
    graph = ww.trace(model, inputs)
    frozen = np.ones(graph.unit_count, dtype=bool)
    for axis in graph.axes.values():
        frozen[axis.units] = axis.frozen is not None
    alike = {
        f"{name}.weight"
        for name, module in model.named_modules()
        if getattr(module, "groups", 1) > 1 and not frozen[graph.slots[f"{name}.weight"][1]].all()
    }
    poison = oracles.PoisonedChannels(model, inputs, alike=alike)

    def units(nodes: set[oracles.Node]) -> set[int]:
        known = [n for n in nodes if n[0] in graph.slots and graph.slots[n[0]][n[1]] is not None]
        return {int(graph.slots[name][dim][index]) for name, dim, index in known}

    for component in poison.components():
        found = units(component)
        assert len(found) <= 1 or all(frozen[list(found)]), sorted(component)
    for node in poison.frozen:
        assert all(frozen[list(units({node}))]), node


# Here no code needs equal counts, so the brute-force ties are all there are.
@every_case(
    where=lambda case: (
        case.name
        in "chain no_bias residual_add residual_projection pre_activation dense_concat depthwise "
        "grouped_conv flatten_linear transposed_conv pixel_shuffle squeeze_excite unet_skip "
        "interpolate adaptive_pool prelu conv1d conv3d branch_reused stack_sum dict_input".split()
    )
)
def test_units_are_no_larger_than_they_must_be(case: Case) -> None:
    """Channels of different free units never share a NaN: nothing is tied without need."""
    model, inputs = case.build(), case.example_inputs
    graph = ww.trace(model, inputs)
    poison = oracles.PoisonedChannels(model, inputs)
    count = sum(axis.width for axis in graph.axes.values() if axis.frozen is None)
    untouchable = {node for c in poison.components() if c & poison.frozen for node in c}
    reachable = [c for c in poison.components() if not c & untouchable]
    assert count == len(reachable)


# ------------------------------------------------------------------ identity, order, round trips


@every_case()
def test_identity_plan_changes_no_bit(case: Case) -> None:
    """A plan that keeps everything gives the same state and the same output, bit for bit."""
    model, inputs = case.build(), case.example_inputs
    graph = ww.trace(model, inputs)
    small = ww.shrink(model, plan_of(graph, np.ones(graph.unit_count, dtype=bool)))
    assert type(small) is type(model)
    before, after = model.state_dict(), small.state_dict()
    assert list(before) == list(after)
    assert all(torch.equal(before[name], after[name]) for name in before)
    for a, b in zip(oracles.outputs(small, inputs), oracles.outputs(model, inputs), strict=True):
        assert torch.equal(a, b)


@every_case()
def test_shrink_leaves_the_original_alone(case: Case) -> None:
    """Shrinking changes no bit of the network it was given."""
    model, inputs = case.build(), case.example_inputs
    before = copy.deepcopy(model.state_dict())
    graph = ww.trace(model, inputs)
    small = ww.shrink(model, plan_of(graph, some_masks(graph, 1)[0]))
    with torch.no_grad():
        for parameter in small.parameters():
            parameter.zero_()
    after = model.state_dict()
    assert all(torch.equal(before[name], after[name]) for name in before)


@given(net=nets(), seed=st.integers(0, 100))
def test_a_tighter_budget_never_costs_more(net: Net, seed: int) -> None:
    """Plans for falling budgets cost less and less, and each stays within its budget."""
    model, inputs = net.build(), net.example_inputs
    graph = ww.trace(model, inputs)
    score, last = ww.scores.Random(seed=seed), graph.macs()
    for fraction in (0.95, 0.8, 0.6, 0.4, 0.2):
        try:
            plan = ww.plan(graph, score=score, budget=ww.Macs(fraction))
        except ww.errors.BudgetError:
            break
        assert plan.macs() <= min(last, fraction * graph.macs())
        last = plan.macs()


@every_case(where=lambda case: case.free)
def test_saved_plan_is_the_same_plan(case: Case, tmp_path: Path) -> None:
    """A plan that is saved and loaded shrinks to the same network, and saves the same text."""
    model, inputs = case.build(), case.example_inputs
    graph = ww.trace(model, inputs)
    plan = plan_of(graph, some_masks(graph, 2)[1])
    plan.save(tmp_path / "plan.json")
    again = ww.Plan.load(tmp_path / "plan.json")
    again.save(tmp_path / "again.json")
    assert (tmp_path / "plan.json").read_text() == (tmp_path / "again.json").read_text()
    assert again == plan
    json.loads((tmp_path / "plan.json").read_text())
    one, two = ww.shrink(model, plan).state_dict(), ww.shrink(model, again).state_dict()
    assert all(torch.equal(one[name], two[name]) for name in one)


@every_case(where=lambda case: case.free)
def test_a_plan_of_a_widened_network_rebuilds_it(case: Case, tmp_path: Path) -> None:
    """From the user's own class, a plan from a file widens and cuts to the same shapes, proven."""
    model, inputs = case.build(), case.example_inputs
    full, widen = ww.trace(model, inputs), ww.rewrites.Widen(2.0)
    wide = widen.apply(model, inputs)
    graph = ww.trace(wide, inputs)
    kept = some_masks(graph, 2)[1]
    plan = ww.Plan.of(graph, kept, before=[widen], full_cost=costs_of(full))
    plan.save(tmp_path / "plan.json")
    again = ww.Plan.load(tmp_path / "plan.json")
    assert again == plan and again.full_macs == oracles.macs(model, inputs)
    one, two = ww.shrink(wide, plan), ww.shrink(model, again, example_inputs=inputs)
    states = one.state_dict(), two.state_dict()
    assert all(torch.equal(states[0][name], states[1][name]) for name in states[0])
    assert ww.prove(model, two, again, example_inputs=inputs).error < TOLERANCE
    assert again.macs() == oracles.macs(two, inputs)


REBUILD = """
import pickle, sys, torch
sys.path.insert(0, {tests!r})
import widthwise as ww
from cases import BY_NAME
import oracles
def no_pickle(*args, **kwargs):
    raise AssertionError("a pickle was read")
pickle.load = pickle.loads = pickle.Unpickler = torch.load = no_pickle
for name in {names!r}:
    case = BY_NAME[name]
    model = ww.load({folder!r} + "/" + name, case.factory).eval()
    torch.save(oracles.outputs(model, case.example_inputs), {folder!r} + "/" + name + ".pt")
"""


def test_rebuilt_in_a_fresh_process(tmp_path: Path) -> None:
    """A saved network is rebuilt from its folder and its class alone, reading no pickle."""
    names = ["chain", "residual_add", "pixel_shuffle", "grouped_conv", "fixed_width_in_forward"]
    expected = {}
    for name in names:
        case = BY_NAME[name]
        model, inputs = case.build(), case.example_inputs
        graph = ww.trace(model, inputs)
        plan = plan_of(graph, some_masks(graph, 1)[0])
        small = ww.shrink(model, plan)
        ww.save(small, plan, tmp_path / name)
        expected[name] = oracles.outputs(small, inputs)
    tests = str(Path(__file__).parent)
    code = REBUILD.format(tests=tests, names=names, folder=str(tmp_path))
    subprocess.run([sys.executable, "-c", code], check=True, timeout=120)
    for name in names:
        for a, b in zip(torch.load(tmp_path / f"{name}.pt"), expected[name], strict=True):
            assert torch.equal(a, b), name


# ------------------------------------------------------------------ what a trace depends on


def with_batch(inputs: Any, size: int) -> Any:
    """The same inputs with another batch size."""
    return tree_map_only(Tensor, lambda t: t.repeat(size, *[1] * (t.dim() - 1)), inputs)


@every_case(without={"siamese_xcorr": "its batch is the number of exemplars, a width"})
def test_trace_ignores_the_batch_size(case: Case) -> None:
    """The graph, its costs included, is that of one input whatever the batch."""
    model = case.build()
    one = ww.trace(model, case.example_inputs)
    three = ww.trace(model, with_batch(case.example_inputs, 3))
    assert facts(one) == facts(three)


@every_case()
def test_trace_ignores_the_mode(case: Case) -> None:
    """The graph is the same in train and in eval mode."""
    model = case.build()
    assert facts(ww.trace(model.train(), case.example_inputs)) == facts(
        ww.trace(model.eval(), case.example_inputs)
    )


@every_case()
def test_trace_ignores_requires_grad(case: Case) -> None:
    """The graph is the same with frozen and with trainable parameters, and inside no_grad."""
    model = case.build()
    trainable = facts(ww.trace(model, case.example_inputs))
    model.requires_grad_(False)
    assert facts(ww.trace(model, case.example_inputs)) == trainable
    with torch.no_grad():
        assert facts(ww.trace(model, case.example_inputs)) == trainable


@every_case(
    without={
        "reads_values": "its forward needs values: without weights it is an error",
        "learned_queries": "the same",
    }
)
def test_trace_needs_no_weights(case: Case) -> None:
    """The graph of a network on the meta device is that of the real one."""
    real = facts(ww.trace(case.factory(), case.example_inputs))
    with torch.device("meta"):
        empty = case.factory()
    assert facts(ww.trace(empty, case.example_inputs)) == real


@every_case()
def test_trace_leaves_no_mark(case: Case) -> None:
    """A traced network, its gradients, hooks and modes, and the random state are as before."""
    model = case.build().train()
    next(model.modules()).register_forward_hook(lambda *_: None)
    [m.eval() for m in list(model.modules())[1::2]]
    for parameter in model.parameters():
        parameter.grad = torch.ones_like(parameter)

    def snapshot() -> list[Any]:
        modules = [
            (name, type(m), m.training, sorted(vars(m)), len(m._forward_hooks))
            for name, m in model.named_modules()
        ]
        parameters = [(n, id(p), p.requires_grad, id(p.grad)) for n, p in model.named_parameters()]
        return [modules, parameters, [(n, id(b)) for n, b in model.named_buffers()]]

    values = copy.deepcopy(model.state_dict())
    random_state = torch.get_rng_state()
    before = snapshot()
    ww.trace(model, case.example_inputs)
    assert snapshot() == before
    assert torch.equal(torch.get_rng_state(), random_state)
    for name, value in model.state_dict().items():
        assert torch.equal(value, values[name]), name
    assert all(bool((p.grad == 1).all()) for p in model.parameters())
