"""What every training loop must do with widths, whatever is around its network.

A situation is a function that makes a program's pieces of a network; the checks run it.
"""

from __future__ import annotations

import copy
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional

import widthwise as ww
from widthwise.network.sharding import whole
from widthwise.search.search import Search

IMAGES = torch.randn(32, 3, 8, 8, generator=torch.Generator().manual_seed(0))
LABELS = torch.randint(0, 5, (32,), generator=torch.Generator().manual_seed(1))
HALF = ww.Macs(0.5)


class Net(nn.Module):
    """Two convolutions with a normalisation between them, and a classifier."""

    def __init__(self, seed: int = 0) -> None:
        super().__init__()
        with torch.random.fork_rng():
            torch.manual_seed(seed)
            self.stem, self.norm = nn.Conv2d(3, 16, 3, bias=False), nn.BatchNorm2d(16)
            self.body, self.head = nn.Conv2d(16, 24, 3, padding=1), nn.Linear(24, 5)

    def forward(self, x: Tensor) -> Tensor:
        x = self.norm(self.stem(x)).relu()
        return self.head(self.body(x).relu().mean((2, 3)))


def attach(model: nn.Module) -> Search:
    """Attach a search that moves its latents by 0.02 in every step."""
    return ww.methods.dhp(model, IMAGES[:2], budget=HALF, sparsity=0.2, check_every=2)


def sgd(model: nn.Module) -> torch.optim.Optimizer:
    return torch.optim.SGD(model.parameters(), lr=0.1, momentum=0.9)


def batch(step: int) -> tuple[Tensor, Tensor]:
    """Return the images and labels of a step: eight of them."""
    chosen = torch.arange(8 * step, 8 * step + 8) % len(IMAGES)
    return IMAGES[chosen], LABELS[chosen]


def loss_of(model: nn.Module, step: int) -> Tensor:
    images, labels = batch(step)
    return functional.cross_entropy(model(images).float(), labels)


@dataclass
class Program:
    """The pieces of a training program."""

    model: nn.Module
    """What the loop calls."""
    optimizer: torch.optim.Optimizer
    step: Callable[[int], None]
    """Makes one step of the optimizer on a batch."""
    search: Search | None = None
    others: tuple[Any, ...] = field(default=())
    """What else has a state to keep: a scaler, a schedule, an average."""

    def run(self, steps: int, *, first: int = 0) -> Program:
        """Train for some steps, as a loop with a search does."""
        for number in range(first, first + steps):
            self.step(number)
            if self.search is not None:
                self.search.step(self.optimizer)
        return self

    @property
    def latents(self) -> Tensor:
        assert self.search is not None
        return whole(self.search.handle.latents).detach().clone()

    @property
    def kept(self) -> list[Any]:
        """All that goes into a checkpoint."""
        return [self.model, self.optimizer, self.search, *self.others]


Attach = Callable[[nn.Module], Search | None]
Situation = Callable[..., Program]
"""Called with a network, with what attaches a search to it or does nothing, and with the optimizer
to go on with, if there is one."""


def nothing(model: nn.Module) -> None:
    """Attach no search."""


def plain(
    net: nn.Module, attach: Attach = nothing, optimizer: torch.optim.Optimizer | None = None
) -> Program:
    """The loop of every tutorial."""
    search = attach(net)
    return looped(net, optimizer, search)


def looped(
    model: nn.Module, optimizer: torch.optim.Optimizer | None, search: Search | None
) -> Program:
    """The same around what is in a wrapper already."""
    trains = optimizer or sgd(model)

    def step(number: int) -> None:
        trains.zero_grad()
        loss_of(model, number).backward()
        trains.step()

    return Program(model, trains, step, search)


def check_cut(situation: Situation) -> None:
    """A network that was trained so is traced, cut and proven as the network inside is."""
    net = Net()
    model = situation(net, nothing).run(3).model.eval()
    graph = ww.trace(model, IMAGES[:2])
    plan = ww.plan(graph, score=ww.scores.L1(), budget=HALF)
    small = ww.shrink(model, plan)
    inside = Net()
    inside.load_state_dict(net.state_dict())
    expected = ww.shrink(inside, plan)
    assert type(small) is Net
    assert list(graph.axes) == ["stem", "body", "head"]
    assert plan.macs() <= 0.5 * plan.full_macs
    for name, tensor in expected.state_dict().items():
        assert torch.equal(small.state_dict()[name], tensor), name


def check_search(situation: Situation, tolerance: float = 1e-5, *, like: Situation = plain) -> None:
    """A search takes the steps that it takes in a plain loop, and ends within its budget."""
    program = situation(Net(), attach).run(4)
    expected = like(Net(), attach).run(4)
    assert program.search is not None and expected.search is not None
    torch.testing.assert_close(program.latents, expected.latents, rtol=0, atol=tolerance)
    # Each optimizer step, too: of what generates the weights, and of what is trained directly.
    trained = dict(program.search.model.named_parameters())
    for name, tensor in expected.search.model.named_parameters():
        torch.testing.assert_close(trained[name], tensor, rtol=0, atol=tolerance, msg=name)
    assert [check["step"] for check in program.search.history] == [2, 4]
    small, plan = program.search.finish()
    assert type(small) is Net
    assert plan.macs() <= 0.5 * plan.full_macs
    assert small(IMAGES).shape == (32, 5)


def check_finish(situation: Situation) -> None:
    """The optimizer goes on with the narrow network, with the momentum of what was kept."""
    program = situation(Net(), attach).run(3)
    assert program.search is not None
    inside = program.search.model
    momentum = program.optimizer.state[inside.norm.weight]["momentum_buffer"].clone()
    small, plan = program.search.finish(program.optimizer)
    require_carried(program.optimizer, small)
    carried = program.optimizer.state[small.norm.weight]["momentum_buffer"]
    assert torch.equal(carried, momentum[list(plan.kept["stem"])])
    before = copy.deepcopy(small.state_dict())
    situation(small, nothing, program.optimizer).run(2)
    for name, tensor in small.named_parameters():
        assert not torch.equal(tensor, before[name]), name
    assert small.stem.out_channels == plan.widths["stem"]


def require_carried(
    optimizer: torch.optim.Optimizer, small: nn.Module, *, has_state: bool = True
) -> None:
    """The optimizer holds the parameters of a network, and state of their shapes."""
    held = [each for group in optimizer.param_groups for each in group["params"]]
    assert {id(each) for each in held} == {id(each) for each in small.parameters()}
    assert any(optimizer.state[each] for each in held) is has_state
    for each in held:
        for value in optimizer.state[each].values():
            if isinstance(value, Tensor) and value.dim():
                assert value.shape == each.shape


def check_resume(situation: Situation, folder: Path) -> None:
    """Stopped, saved, built anew and loaded, a search ends as one that was not stopped."""
    whole_run = situation(Net(), attach).run(6)
    first = situation(Net(), attach).run(3)
    file = folder / "checkpoint.pt"
    torch.save([each.state_dict() for each in first.kept], file)
    second = situation(Net(seed=7), attach)
    for each, state in zip(second.kept, torch.load(file, weights_only=True), strict=True):
        each.load_state_dict(state)
    second.run(3, first=3)
    assert second.search is not None and whole_run.search is not None
    assert torch.equal(second.latents, whole_run.latents)
    assert second.search.history == whole_run.search.history
    assert second.search.finish()[1] == whole_run.search.finish()[1]
