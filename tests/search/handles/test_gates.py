"""Gates on units and blocks: where they are, how they move, and what is left without them."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional
from torch.optim import SGD
from torch.utils._pytree import tree_leaves

import widthwise as ww
from cases import every_case
from widthwise.errors import BudgetError, ConfigError, SearchError
from widthwise.models import resolve
from widthwise.rewrites import Drop
from widthwise.rewrites.drop import droppable
from widthwise.search.handles import Gates
from widthwise.search.limits import Limits

IMAGE = torch.randn(2, 3, 32, 32, generator=torch.Generator().manual_seed(0))
HALF = ww.Macs(0.5)


def resnet20(seed: int = 0) -> nn.Module:
    """Our own with values in its normalisations, in evaluation mode."""
    torch.manual_seed(seed)
    model = resolve("widthwise/resnet20").build().eval()
    for module in model.modules():
        if isinstance(module, nn.BatchNorm2d):
            nn.init.uniform_(module.weight, 0.5, 1.5)
            nn.init.normal_(module.bias, std=0.1)
            nn.init.normal_(module.running_mean, std=0.1)
            nn.init.uniform_(module.running_var, 0.5, 1.5)
    return model


def set_gates(search: ww.methods.Search, values: dict[str, float]) -> None:
    """Set gates of blocks by path, and of whole units by ``axis:number``."""
    handle = search.handle
    with torch.no_grad():
        for name, value in values.items():
            if name in handle.blocks:
                number = search.graph.unit_count + handle.blocks.index(name)
            else:
                axis, _, unit = name.partition(":")
                number = search.graph.axes[axis].units.start + int(unit)
            handle.gates[number] = value
            handle._source.held[number] = value


def test_gates_start_at_one_and_change_nothing() -> None:
    """The network computes, bit for bit, what it did."""
    model = resnet20()
    before = model(IMAGE)
    search = ww.methods.sss(model, IMAGE, budget=HALF)
    assert torch.equal(model(IMAGE), before)
    assert len(search.handle.blocks) == 7
    assert "layer2.0" not in search.handle.blocks, "it has a convolution beside it"


def test_without_gates_left_it_is_the_network_without_those_blocks() -> None:
    """Gates of zero: the searched network, the one without the blocks, and the result agree."""
    model = resnet20()
    plain = resnet20()
    search = ww.methods.sss(model, IMAGE, budget=ww.Macs(1.0))
    gone = ("layer1.1", "layer3.2")
    set_gates(search, dict.fromkeys(gone, 0.0))
    searched = model(IMAGE)
    dropped = Drop(gone).apply(plain, IMAGE)
    assert torch.equal(dropped.eval()(IMAGE), searched)
    small, plan = search.finish()
    assert plan.before == (Drop(gone),)
    assert isinstance(small.get_submodule("layer1.1"), nn.Identity)
    assert torch.equal(small.eval()(IMAGE), searched)
    proof = ww.prove(model, small, plan)
    assert [(rewrite, agreed.error) for rewrite, agreed in proof.before] == [(Drop(gone), 0.0)]


def test_units_without_a_gate_left_are_gone_already() -> None:
    """Blocks and units at zero: what is cut computes what the searched network did."""
    closed = {"layer2.1": 0.0} | {f"layer1.0.conv1:{n}": 0.0 for n in range(6)}
    closed |= {f"conv1:{n}": 0.0 for n in (1, 5)} | {f"layer3.1.conv1:{n}": 0.0 for n in range(40)}
    search = ww.methods.sss(resnet20(), IMAGE, budget=HALF)
    set_gates(search, closed)
    alive = search.cost_alive()["macs"]
    model = resnet20()
    search = ww.methods.sss(model, IMAGE, budget=ww.Macs(float(alive)), round_to=1)
    set_gates(search, closed)
    searched = model(IMAGE)
    small, plan = search.finish()
    widths = [plan.widths[name] for name in ("layer1.0.conv1", "conv1", "layer3.1.conv1")]
    assert widths == [10, 14, 24]
    assert plan.macs() == alive
    torch.testing.assert_close(small.eval()(IMAGE), searched, rtol=1e-4, atol=1e-5)


def test_gates_that_are_left_end_up_in_the_weights() -> None:
    """The narrow network and the whole one compute what the gated one did, as plain modules."""
    model = resnet20()
    search = ww.methods.sss(model, IMAGE, budget=ww.Macs(1.0))
    set_gates(search, {"layer1.1": 0.6, "layer2.2": 1.7} | {f"conv1:{n}": 0.5 for n in range(9)})
    searched = model(IMAGE)
    small, plan = search.finish()
    assert plan.widths["conv1"] == 16
    for network in (small.eval(), model):
        torch.testing.assert_close(network(IMAGE), searched, rtol=1e-5, atol=1e-6)
        assert not any(nn.utils.parametrize.is_parametrized(each) for each in network.modules())


def test_the_plan_rebuilds_the_network_from_a_file(tmp_path) -> None:
    """Blocks and units are read from the plan, and the user's own class is all it needs."""
    search = ww.methods.sss(resnet20(), IMAGE, budget=HALF)
    set_gates(search, {"layer1.2": 0.0})
    small, plan = search.finish()
    assert plan.macs() <= 0.5 * plan.full_macs
    ww.save(small, plan, tmp_path)
    again = ww.load(tmp_path, resolve("widthwise/resnet20").build)
    assert torch.equal(again.eval()(IMAGE), small.eval()(IMAGE))


def test_blocks_alone_meet_a_budget() -> None:
    """Where no unit has a gate, the blocks with the smallest gates go, as few as are needed."""
    search = ww.methods.sss(resnet20(), IMAGE, budget=ww.Macs(0.7), units=False)
    order = ("layer1.0", "layer3.1", "layer2.2", "layer2.1", "layer1.2", "layer1.1", "layer3.2")
    set_gates(search, {path: 0.1 * (n + 1) for n, path in enumerate(order)})
    assert not search.handle.driven.any()
    assert search.cost_alive()["macs"] == search.graph.macs(), "none is zero yet"
    _, plan = search.finish()
    (drop,) = plan.before
    assert set(drop.blocks) == set(order[:3])
    assert 0.7 - 0.12 < plan.macs() / plan.full_macs <= 0.7
    assert all(width == search.graph.axes[axis].width for axis, width in plan.widths.items())
    with pytest.raises(BudgetError, match="smallest reachable"):
        ww.methods.sss(resnet20(), IMAGE, budget=ww.Macs(0.1), units=False)


def test_limits_by_name_hold_when_their_block_is_dropped() -> None:
    """Floors and exclusions stay those of their axes, also of the ones that are gone."""
    limits = {"min_keep": {"layer1.1.conv1": 0.9, "layer1.0.conv1": 0.75, "conv1": 1.0}}
    search = ww.methods.sss(
        resnet20(), IMAGE, budget=HALF, exclude=["layer1.1.conv1", "layer2.1.conv1"], **limits
    )
    set_gates(search, {"layer1.1": 0.0} | {f"layer1.0.conv1:{n}": 0.0 for n in range(16)})
    _, plan = search.finish()
    assert "layer1.1.conv1" not in plan.widths
    assert (plan.widths["conv1"], plan.widths["layer1.0.conv1"]) == (16, 12)
    assert plan.widths["layer2.1.conv1"] == 32


def test_a_step_is_accelerated_proximal_gradient() -> None:
    """Of the gradient, with momentum, whatever the optimizer has done to the gates."""
    model = resnet20().train()
    search = ww.methods.sss(model, IMAGE, budget=HALF, sparsity=0.2, momentum=0.5)
    optimizer = SGD(model.parameters(), lr=0.1, momentum=0.9, weight_decay=0.3)
    gates = search.handle.gates
    free = torch.cat([torch.from_numpy(search.graph.free.copy()), torch.ones(7, dtype=torch.bool)])
    x, v = gates.detach().clone(), torch.zeros_like(gates)
    for _ in range(3):
        optimizer.zero_grad()
        functional.cross_entropy(model(IMAGE), torch.tensor([1, 2])).backward()
        optimizer.step()
        search.step(optimizer)
        z = x - 0.1 * gates.grad
        z = z.sign() * (z.abs() - 0.1 * 0.2).clamp_min(0)
        v = z - x + 0.5 * v
        x = torch.where(free, z + 0.5 * v, x)
        torch.testing.assert_close(gates.detach(), x)
    assert not torch.equal(x[free], torch.ones_like(x[free]))


def test_a_gradient_that_is_skipped_moves_no_gate() -> None:
    """After an overflow of mixed precision gates stay, and the next step goes on."""
    model = resnet20()
    search = ww.methods.sss(model, IMAGE, budget=HALF)
    optimizer = SGD(model.parameters(), lr=0.1)
    before = search.handle.gates.detach().clone()
    search.handle.gates.grad = torch.full_like(before, torch.inf)
    search.step(optimizer)
    assert torch.equal(search.handle.gates, before)
    search.handle.gates.grad = None
    with pytest.raises(SearchError, match=r"before `optimizer\.zero_grad\(\)`"):
        search.step(optimizer)


def test_an_axis_at_its_floor_is_not_pressed() -> None:
    """With no more gates than its floor that are not zero, only the gradient moves them."""
    net = nn.Sequential(nn.Conv2d(3, 6, 3), nn.ReLU(), nn.Conv2d(6, 4, 3), nn.Conv2d(4, 2, 3))
    search = ww.methods.sss(net, IMAGE, budget=HALF, min_width=3, sparsity=1.0)
    set_gates(search, {f"0:{n}": 0.0 for n in range(3)})
    search.handle.gates.grad = torch.zeros_like(search.handle.gates)
    search.step(SGD(net.parameters(), lr=0.1))
    units = {name: search.handle.gates[axis.units] for name, axis in search.graph.axes.items()}
    assert units["0"].tolist() == [0, 0, 0, 1, 1, 1]
    assert (units["2"] < 1).all()
    assert units["3"].tolist() == [1, 1], "the output has no gate"


class Shared(nn.Module):
    """Two layers share a weight; a third one reads what they make and is not trained."""

    def __init__(self) -> None:
        super().__init__()
        self.first, self.twice = nn.Conv2d(3, 6, 1), nn.Conv2d(6, 6, 1)
        self.again, self.frozen = nn.Conv2d(6, 6, 1), nn.Conv2d(6, 8, 1)
        self.again.weight = self.twice.weight
        self.frozen.weight.requires_grad_(False)
        self.last = nn.Conv2d(8, 2, 1)

    def forward(self, x: Tensor) -> Tensor:
        return self.last(self.frozen(self.again(self.twice(self.first(x)).relu()).relu()).relu())


def test_what_cannot_be_gated_stays_whole() -> None:
    """Units that a shared or an untrained weight reads have no gate."""
    net = Shared()
    search = ww.methods.sss(net, IMAGE, budget=ww.Macs(0.9), round_to=1)
    driven = [n for n, a in search.graph.axes.items() if search.handle.driven[a.units].all()]
    assert driven == ["frozen"]
    _, plan = search.finish()
    assert plan.widths["first"] == 6
    with pytest.raises(SearchError, match="nothing that could have a gate"):
        ww.methods.sss(net.requires_grad_(False), IMAGE, budget=HALF)


@pytest.mark.parametrize("momentum", [1.0, -0.1])
def test_momentum_out_of_range_is_named(momentum: float) -> None:
    """Beyond 1 gates would not come to rest."""
    with pytest.raises(ConfigError, match="`momentum`"):
        ww.methods.sss(resnet20(), IMAGE, budget=HALF, momentum=momentum)


NOT_GATED = {
    "tied_weights": "what reads the units has its weight in common with another layer",
    "learned_queries": "what it computes attention of is read by no weight alone",
}


@every_case(where=lambda case: case.free, without=NOT_GATED)
def test_closed_gates_are_a_cut_on_any_network(case) -> None:
    """On every network of the zoo: gates of a plan's removed units at zero equal the cut."""
    model = case.build()
    graph = ww.trace(model, case.example_inputs)
    if graph.mixes:
        pytest.skip("what is computed of a channel depends on which others there are")
    handle = Gates(graph, model, budgets=[], limits=Limits(), sparsity=0.1, blocks=False)
    axes = [name for name, axis in graph.axes.items() if handle.driven[axis.units].all()]
    plan = ww.plan(graph, score=ww.scores.Random(seed=1), budget=ww.Params(0.98), include=axes)
    small = ww.shrink(model, plan)
    handle.attach()
    with torch.no_grad():
        handle.gates[torch.from_numpy(~plan.mask(graph))] = 0.0
    call = {dict: lambda m, x: m(**x), tuple: lambda m, x: m(*x)}.get(
        type(case.example_inputs), lambda m, x: m(x)
    )
    with torch.no_grad():
        narrow, gated = (tree_leaves(call(m.eval(), case.example_inputs)) for m in (small, model))
    for one, other in zip(narrow, gated, strict=True):
        if isinstance(one, Tensor):
            torch.testing.assert_close(one, other, rtol=1e-3, atol=1e-4)


# ------------------------------------------------------------------ blocks that can be dropped


class Wide(nn.Module):
    """A pre-activation block, which starts with an in-place ReLU, in a wrapper."""

    def __init__(self, *, bias: bool) -> None:
        super().__init__()
        self.inner = nn.Sequential(
            nn.Conv2d(4, 4, 3, padding=1, bias=False),
            nn.BatchNorm2d(4),
            nn.ReLU(inplace=True),
            nn.Conv2d(4, 4, 3, padding=1, bias=bias),
        )

    def forward(self, x: Tensor) -> Tensor:
        return x + self.inner(x)


def test_blocks_that_can_be_dropped_are_found_by_running_them() -> None:
    """With what silences them; a convolution with a bias behind the norm is left when silent."""
    net = nn.Sequential(
        nn.Conv2d(3, 4, 1), Wide(bias=False), nn.Sequential(Wide(bias=True)), nn.BatchNorm2d(4)
    )
    before = {name: tensor.clone() for name, tensor in net.state_dict().items()}
    assert droppable(net, IMAGE) == {"1": ("1.inner.1.weight", "1.inner.1.bias")}
    assert all(torch.equal(tensor, before[name]) for name, tensor in net.state_dict().items())


def test_of_nested_blocks_the_outermost_is_dropped() -> None:
    """A wrapper around one block is that block."""
    net = nn.Sequential(nn.Conv2d(3, 4, 1), nn.Sequential(Wide(bias=False)))
    assert list(droppable(net, IMAGE)) == ["1"]


@pytest.mark.parametrize(("name", "count"), [("mobilenet_v2", 10), ("resnet50", 12)])
def test_blocks_of_torchvision_are_found(name: str, count: int) -> None:
    """All with an identity shortcut, and what is found can be dropped with proof."""
    torchvision = pytest.importorskip("torchvision")
    model = torchvision.models.get_model(name, weights=None)
    image = torch.randn(1, 3, 64, 64)
    found = droppable(model, image)
    assert len(found) == count
    search = ww.methods.sss(model, image, budget=ww.Macs(0.9))
    set_gates(search, {list(found)[1]: 0.0})
    _, plan = search.finish()
    assert plan.before == (Drop(list(found)[1]),)
