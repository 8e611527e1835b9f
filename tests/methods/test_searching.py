"""What holds for every method that searches while a network trains, whatever it holds it by."""

from __future__ import annotations

import io
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import torch.multiprocessing
from torch import Tensor, distributed, nn
from torch.nn import functional
from torch.optim.swa_utils import AveragedModel

import widthwise as ww
from widthwise.errors import BudgetError, ConfigError, SearchError
from widthwise.methods import METHODS
from widthwise.models import resolve

HALF = ww.Macs(0.5)
SEARCHES: dict[str, Callable[..., ww.methods.Search]] = {
    "dhp": partial(ww.methods.dhp, sparsity=0.5, prune_threshold=0.05, min_width=1),
    "fade": partial(ww.methods.fade, steps=30),
    "growing_reg": partial(ww.methods.growing_reg, growth=0.2, grow_every=1, ceiling=20.0),
    "hinge": partial(ww.methods.hinge, sparsity=2.0, threshold=0.05, round_to=1),
    "slimming": partial(ww.methods.slimming, sparsity=0.3),
    "sss": partial(ww.methods.sss, sparsity=0.1),
}
"""Every method that trains, under so much pressure that a few steps show."""

REQUIRED: dict[str, dict[str, Any]] = {"fade": {"steps": 30}}
"""Arguments that have no default."""

each_method = pytest.mark.parametrize("name", SEARCHES)


class Block(nn.Module):
    """A residual block."""

    def __init__(self) -> None:
        super().__init__()
        self.conv1, self.bn1 = nn.Conv2d(8, 12, 3, padding=1, bias=False), nn.BatchNorm2d(12)
        self.conv2, self.bn2 = nn.Conv2d(12, 8, 3, padding=1, bias=False), nn.BatchNorm2d(8)

    def forward(self, x: Tensor) -> Tensor:
        return (x + self.bn2(self.conv2(self.bn1(self.conv1(x)).relu()))).relu()


class Net(nn.Module):
    """A stem, two residual blocks, a convolution and a classifier, normalised throughout."""

    def __init__(self) -> None:
        super().__init__()
        self.stem, self.norm = nn.Conv2d(3, 8, 3, padding=1, bias=False), nn.BatchNorm2d(8)
        self.first, self.second = Block(), Block()
        self.last, self.end = nn.Conv2d(8, 16, 1), nn.BatchNorm2d(16)
        self.fc = nn.Linear(16, 5)

    def forward(self, x: Tensor) -> Tensor:
        x = self.second(self.first(self.norm(self.stem(x)).relu()))
        return self.fc(self.end(self.last(x)).relu().mean((2, 3)))


IMAGE = torch.zeros(1, 3, 8, 8)


@dataclass
class Training:
    """A network, a search on it, and an optimizer, all from one seed."""

    model: Net
    search: ww.methods.Search
    optimizer: torch.optim.Optimizer

    def run(self, steps: int, *, first: int = 0) -> None:
        """Train on batches that their number decides."""
        for step in range(first, first + steps):
            self.optimizer.zero_grad()
            loss(self.model, *batch(step)).backward()
            self.optimizer.step()
            self.search.step(self.optimizer)


def start(name: str, seed: int = 0, **options: Any) -> Training:
    """Attach a search to a new network."""
    torch.manual_seed(seed)
    model = Net()
    search = SEARCHES[name](model, IMAGE, budget=HALF, **{"check_every": 5, **options})
    optimizer = torch.optim.SGD(model.parameters(), lr=0.05, momentum=0.9, weight_decay=1e-4)
    return Training(model, search, optimizer)


def batch(step: int) -> tuple[Tensor, Tensor]:
    generator = torch.Generator().manual_seed(step)
    images = torch.randn(8, 3, 8, 8, generator=generator)
    return images, torch.randint(0, 5, (8,), generator=generator)


def loss(model: nn.Module, images: Tensor, labels: Tensor) -> Tensor:
    return functional.cross_entropy(model(images), labels)


def everything(model: nn.Module) -> list[Any]:
    """All there is to a network: names, order, bytes, flags, classes, hooks, gradients."""
    return [
        (
            path, type(module), module.training, list(module._modules),
            len(module._forward_hooks), len(module._forward_pre_hooks),
            [
                (name, id(t), t.requires_grad, t.detach().numpy().tobytes(),
                 None if t.grad is None else t.grad.numpy().tobytes())
                for name, t in (*module._parameters.items(), *module._buffers.items())
                if t is not None
            ],
        )
        for path, module in model.named_modules()
    ]  # fmt: skip


def test_every_method_that_trains_is_tested_here() -> None:
    """A method of the frame that is not in the table would go without these tests."""
    in_the_end = {"compress", "one_shot", "random_search"}  # They decide when training is over.
    trained = {name for name, settings in METHODS.items() if settings.trains}
    assert set(SEARCHES) == trained - in_the_end


# ------------------------------------------------------------------ the end


@each_method
@pytest.mark.parametrize("steps", [0, 1, 12])
def test_it_ends_within_its_budget_at_any_time(name: str, steps: int) -> None:
    """Before the first step, after one, and later: a proven network that costs what it may."""
    training = start(name)
    training.run(steps)
    small, plan = training.search.finish(training.optimizer)
    assert type(small) is Net
    assert plan.macs() <= 0.5 * plan.full_macs
    assert plan.full_macs == ww.trace(Net(), IMAGE).macs()
    assert ww.trace(small, IMAGE).macs() == plan.macs()
    assert sum(p.numel() for p in small.parameters()) == plan.params()
    assert plan.method == name


@each_method
def test_it_pushes_units_out_until_it_is_done(name: str) -> None:
    """Under pressure the cost of what is alive falls to the budget, and the search says so."""
    training = start(name, check_every=1, stop_limit=0.02)
    for step in range(300):
        training.run(1, first=step)
        if training.search.done:
            break
    assert training.search.done
    assert training.search.history[0]["cost_fraction"] > 0.9
    assert training.search.cost_alive()["macs"] <= 0.52 * training.search.graph.macs()
    _, plan = training.search.finish()
    assert plan.macs() <= 0.5 * plan.full_macs


@each_method
def test_the_optimizer_trains_the_narrow_network(name: str) -> None:
    """Carried over the cut, it holds the narrow parameters and steps on."""
    training = start(name)
    training.run(3)
    small, _ = training.search.finish(training.optimizer)
    held = {id(p) for group in training.optimizer.param_groups for p in group["params"]}
    assert held == {id(p) for p in small.parameters()}
    before = small.fc.weight.detach().clone()
    training.optimizer.zero_grad()
    loss(small, *batch(9)).backward()
    training.optimizer.step()
    assert not torch.equal(small.fc.weight, before)


@each_method
def test_the_searched_network_stays_whole(name: str) -> None:
    """It computes after the end what it computed before, with parameters of its own."""
    training = start(name)
    training.run(6)
    images = batch(99)[0]
    outputs = training.model.eval()(images)
    training.search.finish()
    assert [n for n, _ in training.model.named_parameters()] == [
        n for n, _ in Net().named_parameters()
    ]
    torch.testing.assert_close(training.model(images), outputs)


@each_method
def test_a_failed_proof_leaves_it_running(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing is lost: the network computes what it did, and training ends in the same plan."""
    whole, broken = start(name), start(name)
    whole.run(8)
    broken.run(4)

    def fail(*_: Any, **__: Any) -> None:
        raise ww.errors.ProofError("on purpose")

    outputs = broken.model.eval()(batch(99)[0])
    with monkeypatch.context() as patch, pytest.raises(ww.errors.ProofError):
        patch.setattr("widthwise.search.search.shrink", fail)
        broken.search.finish()
    torch.testing.assert_close(broken.model(batch(99)[0]), outputs, rtol=0, atol=0)
    broken.model.train()
    broken.run(4, first=4)
    assert_same_plan(whole.search.finish()[1], broken.search.finish()[1])


@each_method
def test_one_search_gives_several_plans(name: str) -> None:
    """Asked on the way and at the end, for less and for more; and it goes on as if unasked."""
    unasked, asked = start(name), start(name)
    unasked.run(8)
    asked.run(4)
    outputs = asked.model.eval()(batch(99)[0])
    plans = {share: asked.search.plan(ww.Macs(share)) for share in (0.8, 0.35)}
    torch.testing.assert_close(asked.model(batch(99)[0]), outputs, rtol=0, atol=0)
    asked.model.train()
    asked.run(4, first=4)
    now = asked.search.plan()
    _, plan = asked.search.finish()
    assert_same_plan(now, plan)
    assert_same_plan(unasked.search.finish()[1], plan)
    for share, each in plans.items():
        assert each.macs() <= share * each.full_macs
        assert dict(each.budget) == {"macs": share}
        small = ww.shrink(asked.model, each)
        assert ww.trace(small, IMAGE).macs() == each.macs()
    assert plans[0.35].macs() < plans[0.8].macs()
    with pytest.raises(ww.errors.SearchError, match="finished"):
        asked.search.plan()


@each_method
def test_a_plan_that_cannot_be_leaves_it_running(name: str) -> None:
    """The budget is out of reach; the search is not over."""
    training = start(name)
    training.run(2)
    with pytest.raises(BudgetError):
        training.search.plan(ww.Macs(0.0001))
    training.run(2, first=2)
    assert training.search.finish()[1].macs() > 0


# ------------------------------------------------------------------ dropped


@each_method
def test_abandoned_it_leaves_the_network_bit_for_bit(name: str) -> None:
    """Values, statistics, order, objects, flags, gradients, classes and hooks are as before."""
    torch.manual_seed(0)
    model = Net()
    model.fc.bias.requires_grad_(False)
    loss(model, *batch(0)).backward()
    before = everything(model)
    search = SEARCHES[name](model, IMAGE, budget=HALF)
    Training(model, search, torch.optim.SGD(model.parameters(), lr=0.1)).run(4)
    model.eval()
    model.fc.requires_grad_(False)
    search.abandon()
    assert everything(model) == before


@each_method
def test_a_budget_out_of_reach_touches_nothing(name: str) -> None:
    """With the floors no plan is that cheap: said at once."""
    torch.manual_seed(0)
    model = Net()
    before = everything(model)
    with pytest.raises(BudgetError, match="smallest reachable"):
        SEARCHES[name](model, IMAGE, budget=ww.Macs(0.001), min_width=4)
    assert everything(model) == before


# ------------------------------------------------------------------ resume


def assert_same_plan(one: ww.Plan, other: ww.Plan) -> None:
    assert one.widths == other.widths
    assert one.before == other.before
    for axis, kept in one.kept.items():
        np.testing.assert_array_equal(other.kept[axis], kept)


@each_method
def test_resumed_it_ends_in_the_same_plan(name: str) -> None:
    """Saved and loaded half-way through a file, by a network that started from other weights."""
    whole = start(name)
    whole.run(20)
    small, plan = whole.search.finish()

    first = start(name)
    first.run(11)
    file = io.BytesIO()
    parts = (first.model, first.search, first.optimizer)
    torch.save([part.state_dict() for part in parts], file)
    file.seek(0)
    states = torch.load(file, weights_only=True)
    second = start(name, seed=99)
    for part, state in zip((second.model, second.search, second.optimizer), states, strict=True):
        part.load_state_dict(state)
    second.run(9, first=11)
    assert second.search.history == whole.search.history
    resumed, again = second.search.finish()
    assert_same_plan(plan, again)
    for one, other in zip(small.parameters(), resumed.parameters(), strict=True):
        assert torch.equal(one, other)


# ------------------------------------------------------------------ other ways of training


@each_method
def test_it_works_under_autocast(name: str) -> None:
    """In bfloat16 the search takes its steps, learns much the same, and ends proven."""
    plain, rounded = start(name), start(name)
    plain.run(6)
    for step in range(6):
        rounded.optimizer.zero_grad()
        with torch.autocast("cpu", dtype=torch.bfloat16):
            value = loss(rounded.model, *batch(step))
        value.backward()
        rounded.optimizer.step()
        rounded.search.step(rounded.optimizer)
    driven = plain.search.handle.driven
    expected, found = (each.search.handle.importance()[driven] for each in (plain, rounded))
    assert not np.array_equal(expected, found)
    assert np.corrcoef(expected, found)[0, 1] > 0.9
    assert all(p.dtype is torch.float32 for p in rounded.model.parameters())
    _, plan = rounded.search.finish()
    assert plan.macs() <= 0.5 * plan.full_macs


@each_method
def test_gradients_may_be_accumulated(name: str) -> None:
    """Two half batches per step move the search as the whole batch does."""
    whole, halves = start(name), start(name)
    for training in (whole, halves):
        training.model.eval()  # With the statistics of each batch, halves are another function.
    whole.run(4)
    for step in range(4):
        halves.optimizer.zero_grad()
        for images, labels in zip(*(part.split(4) for part in batch(step)), strict=True):
            (loss(halves.model, images, labels) / 2).backward()
        halves.optimizer.step()
        halves.search.step(halves.optimizer)
    np.testing.assert_allclose(
        halves.search.handle.importance(), whole.search.handle.importance(), rtol=1e-3, atol=1e-5
    )


@each_method
def test_copies_made_during_a_search_outlive_it(name: str) -> None:
    """An average of the weights computes what it did after the search's end, and can be cut."""
    training = start(name)
    training.run(2)
    average = AveragedModel(training.model).eval()
    images = batch(99)[0]
    before = average(images)
    _, plan = training.search.finish()
    assert torch.equal(average(images), before)
    assert type(ww.shrink(average, plan)) is Net


def _one_of_two(rank: int, store: str, folder: str) -> None:
    """Search on half of every batch, from weights of its own, and leave the plans."""
    torch.set_num_threads(1)
    distributed.init_process_group("gloo", init_method=store, rank=rank, world_size=2)
    for name in SEARCHES:
        training = start(name, seed=rank)
        wrapped = nn.parallel.DistributedDataParallel(training.model)
        for step in range(6):
            training.optimizer.zero_grad()
            images, labels = batch(step)
            loss(wrapped, images[rank::2], labels[rank::2]).backward()
            training.optimizer.step()
            training.search.step(training.optimizer)
        np.save(f"{folder}/{name}_{rank}.npy", training.search.handle.importance())
        training.search.finish()[1].save(f"{folder}/{name}_{rank}.json")
    distributed.destroy_process_group()


@pytest.fixture(scope="module")
def two_processes(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """What two processes leave that search together with every method."""
    folder = tmp_path_factory.mktemp("two")
    arguments = (f"file://{folder / 'store'}", str(folder))
    torch.multiprocessing.spawn(_one_of_two, arguments, nprocs=2)
    yield folder


@each_method
def test_two_processes_end_in_the_same_plan(name: str, two_processes: Path) -> None:
    """Wrapped after the search, each with half of the data, both learn and decide the same."""
    learned = [np.load(two_processes / f"{name}_{rank}.npy") for rank in (0, 1)]
    np.testing.assert_array_equal(*learned)
    assert_same_plan(*(ww.Plan.load(two_processes / f"{name}_{rank}.json") for rank in (0, 1)))


# ------------------------------------------------------------------ networks


def mobilenet_v2() -> nn.Module:
    """That of torchvision."""
    torchvision = pytest.importorskip("torchvision")
    return torchvision.models.mobilenet_v2(weights=None, num_classes=10)


NETWORKS: dict[str, Callable[[], nn.Module]] = {
    "resnet56": lambda: resolve("widthwise/resnet56").build(),
    "densenet40": lambda: resolve("widthwise/densenet40").build(),
    "mobilenet_v2": mobilenet_v2,
}


@pytest.mark.parametrize("network", NETWORKS)
@pytest.mark.parametrize("name", sorted(set(SEARCHES) - {"dhp"}))  # in models/test_shipped.py
def test_networks_of_the_papers_end_within_budget(name: str, network: str) -> None:
    """Attached, two steps, finished: proven, below half the MACs, of the same class."""
    torch.manual_seed(0)
    model = NETWORKS[network]()
    # Small maps are standardised over few values, and a batch of two would not be a training step.
    images = torch.randn(4, 3, 64, 64) if network == "mobilenet_v2" else torch.randn(2, 3, 32, 32)
    search = SEARCHES[name](model, images[:1], budget=HALF)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.01, momentum=0.9)
    for _ in range(2):
        optimizer.zero_grad()
        functional.cross_entropy(model(images), torch.arange(len(images))).backward()
        optimizer.step()
        search.step(optimizer)
    small, plan = search.finish(optimizer)
    assert type(small) is type(model)
    assert 0.4 < plan.macs() / plan.full_macs <= 0.5
    assert ww.trace(small, images[:1]).macs() == plan.macs()


# ------------------------------------------------------------------ what goes wrong


@each_method
def test_a_network_without_values_is_refused(name: str) -> None:
    """On the meta device nothing can be trained."""
    with torch.device("meta"):
        model = Net()
    with pytest.raises(SearchError, match=r"`stem\.weight` is on the meta device"):
        SEARCHES[name](model, IMAGE, budget=HALF)


@each_method
def test_divergence_is_an_error(name: str) -> None:
    """No plan is made of weights that are not numbers."""
    training = start(name, check_every=1)
    training.run(1)
    with pytest.raises(SearchError, match="lower the learning rate"):
        training.optimizer.zero_grad()
        loss(training.model, torch.full((8, 3, 8, 8), torch.nan), batch(0)[1]).backward()
        training.optimizer.step()
        training.search.step(training.optimizer)
        training.search.finish()


@each_method
def test_an_optimizer_of_something_else_is_an_error(name: str) -> None:
    """One that does not hold what the search moves has no learning rate for it."""
    training = start(name)
    stranger = torch.optim.SGD(Net().parameters(), lr=0.1)
    loss(training.model, *batch(0)).backward()
    with pytest.raises(SearchError, match="create the optimizer after the search"):
        training.search.step(stranger)


@each_method
def test_numbers_out_of_range_are_named(name: str) -> None:
    """Every number of the settings is checked, and the error says its keyword."""
    numbers = {
        field: value
        for field, value in vars(METHODS[name]()).items()
        if type(value) in (int, float) and field != "embedding_dim"
    }  # fmt: skip
    assert {"stop_limit", "check_every"} < set(numbers)
    for field in numbers:
        with pytest.raises(ConfigError, match=f"`{field}`"):
            options = {**REQUIRED.get(name, {}), field: -1}
            getattr(ww.methods, name)(Net(), IMAGE, budget=HALF, **options)


@each_method
def test_steps_by_name_align_the_axes_of_that_name(name: str) -> None:
    """Also where blocks are dropped or layers decomposed, and the network has other axes."""
    # Only the channels of Hinge's groups of columns are axes of the network itself.
    options = {"groups": "columns"} if name == "hinge" else {}
    training = start(name, round_to={"first.*": 4, "second.*": 3}, **options)
    own = {axis.name: axis.width for axis in ww.trace(Net(), IMAGE).axes.values()}
    training.run(30)
    _, plan = training.search.finish(training.optimizer)
    narrowed = {
        axis: width for axis, width in plan.widths.items() if width < own[axis.removesuffix(".1")]
    }
    steps = {"first.conv1": 4, "second.conv1": 3}
    assert set(steps) & {axis.removesuffix(".1") for axis in narrowed}
    for axis, width in narrowed.items():
        assert width % steps.get(axis.removesuffix(".1"), 1) == 0


@pytest.mark.parametrize("name", ["dhp", "fade"])
def test_a_search_of_a_known_length_is_done_at_its_end(name: str) -> None:
    """Whatever `check_every` is: who trains for just so many steps asks then."""
    training = start(name, steps=33, check_every=10)
    training.run(33)
    assert [check["step"] for check in training.search.history] == [10, 20, 30, 33]
    assert training.search.done or name == "dhp"
