"""Wrong arguments: what was given, what is wanted, and the line to write."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import distributed, nn
from torch.optim.swa_utils import AveragedModel

import widthwise as ww

X = torch.randn(1, 3, 12, 12, generator=torch.Generator().manual_seed(0))
HALF = ww.Macs(0.5)


class Net(nn.Module):
    """Two convolutions with a normalisation between them."""

    def __init__(self) -> None:
        super().__init__()
        self.first, self.norm, self.last = (
            nn.Conv2d(3, 16, 3),
            nn.BatchNorm2d(16),
            nn.Conv2d(16, 4, 3),
        )

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.last(self.norm(self.first(x)).relu())


NET = Net().eval()
GRAPH = ww.trace(NET, X)
PLAN = ww.plan(GRAPH, score=ww.scores.L1(), budget=HALF)


class Wrapper:
    """What a library puts around a network, such as ultralytics' YOLO."""

    model = NET


class Holder(nn.Module):
    """Holds a network and has no forward: what ultralytics' YOLO is."""

    def __init__(self, network: nn.Module | None = None) -> None:
        super().__init__()
        self.model = "net.onnx" if network is None else network

    def __call__(self, *inputs: Any) -> None:
        raise OSError("nothing can be downloaded")


def plan(**options: Any) -> Callable[[], object]:
    """A call of `ww.plan` with something else than usual."""
    usual = {"score": ww.scores.L1(), "budget": HALF}
    return lambda: ww.plan(GRAPH, **(usual | options))


WRONG: dict[str, tuple[Callable[[], object], str]] = {
    "a class": (lambda: ww.trace(Net, X), r"got the class `Net`(?s:.*)`model = Net\(\.\.\.\)`"),
    "a class to search": (lambda: ww.methods.dhp(Net, X, budget=HALF), "got the class `Net`"),
    "weights": (lambda: ww.trace(NET.state_dict(), X), "`OrderedDict`(?s:.*)load_state_dict"),
    "a function": (lambda: ww.trace(plan, X), "the function `plan`(?s:.*)call it"),
    "swapped inputs": (lambda: ww.trace(X, NET), "a `Tensor`(?s:.*)the network comes first"),
    "a wrapper": (lambda: ww.trace(Wrapper(), X), r"`Wrapper`(?s:.*)its `\.model` is one \(Net\)"),
    "a wrapper of a file": (
        lambda: ww.trace(Holder(), X),
        "`Holder` has no forward(?s:.*)exported to a file",
    ),
    "a swapped plan": (lambda: ww.shrink(PLAN, NET), r"`Plan`(?s:.*)ww\.shrink\(model, plan\)"),
    "a graph for a plan": (lambda: ww.shrink(NET, GRAPH), "Expected a plan.*`ChannelGraph`"),
    "a network for a plan": (lambda: ww.heal(NET, NET, NET, [X]), "Expected a plan"),
    "a network for a graph": (
        lambda: ww.plan(NET, score=ww.scores.L1(), budget=HALF),
        r"got a `Net`(?s:.*)graph = ww\.trace",
    ),
    "a number": (plan(budget=0.5), r"0\.5 is not a budget(?s:.*)`budget=ww\.Macs\(0\.5\)`"),
    "a text": (plan(budget="50%"), r"`budget=ww\.Macs\('50%'\)`"),
    "a class of budgets": (plan(budget=ww.Macs), "the class `Macs` is not a budget"),
    "a number among budgets": (plan(budget=[HALF, 0.3]), r"0\.3 is not a budget"),
    "no budgets": (plan(budget=[]), "no budget in the list"),
    "too much": (plan(budget=ww.Macs(1.5)), r"1\.5 is above 1, so it is a number of macs"),
    "percent": (plan(budget=ww.Macs(50)), "50 is above 1, so it is a number of macs"),
    "a name for a score": (plan(score="l1"), r"got 'l1'(?s:.*)ww\.scores\.L1\(\)"),
    "a class of scores": (
        plan(score=ww.scores.Uniform),
        r"the class `Uniform`(?s:.*)ww\.scores\.Uniform\(\)",
    ),
    "a step that is no integer": (plan(round_to=8.0), r"got 8\.0(?s:.*)`round_to=8`"),
    "half a channel": (plan(min_width=2.5), r"`min_width` must be a whole number.*2\.5"),
    "a search for a number": (lambda: ww.methods.dhp(NET, X, budget=0.5), "is not a budget"),
    "a compression for a number": (lambda: ww.compress(NET, [X], budget=0.5), "is not a budget"),
    "no aim": (lambda: ww.compress(NET, [X]), r"got neither(?s:.*)stop_at="),
    "two aims": (
        lambda: ww.compress(NET, [X], budget=HALF, stop_at="agreement>=0.9"),
        "got both",
    ),
    "no folder": (lambda: ww.load("nowhere", Net), "There is no folder `.*nowhere`"),
    "no file": (lambda: ww.Plan.load("nowhere.json"), r"There is no plan file `.*nowhere\.json`"),
    "a network for what builds it": (
        lambda: ww.load(".", NET),
        r"what builds the network, got a `Net`(?s:.*)lambda: Net\(\.\.\.\)",
    ),
}


@pytest.mark.parametrize("name", WRONG)
def test_wrong_arguments_are_answered_with_the_line_to_write(name: str) -> None:
    """No error of Python's own: one of ours, which says what to do."""
    call, message = WRONG[name]
    with pytest.raises(ww.errors.WidthwiseError, match=message):
        call()


@pytest.mark.parametrize(
    "wrapped",
    [
        torch.compile(NET),
        nn.DataParallel(NET),
        nn.DataParallel(torch.compile(NET)),
        AveragedModel(NET),
        Holder(NET),
    ],
    ids=["compiled", "parallel", "both", "average", "holder"],
)
def test_what_is_around_a_network_is_looked_through(wrapped: nn.Module, tmp_path: Path) -> None:
    """Names, scores, cuts, proofs, healing and files are those of the network inside."""
    graph = ww.trace(wrapped, X)
    assert list(graph.axes) == list(GRAPH.axes)
    found = ww.plan(graph, score=ww.scores.L1(), budget=HALF)
    assert found.widths == PLAN.widths
    small = ww.shrink(wrapped, found)
    assert type(small) is Net
    assert ww.prove(wrapped, small, found).error < 1e-5
    ww.heal(torch.compile(small), wrapped, found, [torch.randn(64, 3, 12, 12)], steps=0)
    ww.save(torch.compile(small), found, tmp_path)
    assert torch.equal(ww.load(tmp_path, Net).eval()(X), small(X))
    assert type(ww.widen(wrapped, X, 2.0, factory=Net)) is Net


def test_a_search_says_that_trained_weights_are_gone() -> None:
    """Once normalisations have seen batches; a network that was only tried out is no such."""
    tried_out, trained = Net(), Net()
    tried_out.train()(X)
    for _ in range(11):
        trained.train()(X)
    with pytest.warns(UserWarning, match=r"have seen 11 batches(?s:.*)ww\.compress"):
        search = ww.methods.dhp(trained, X, budget=HALF)
    search.abandon()
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        ww.methods.dhp(tried_out, X, budget=HALF)


def test_a_search_comes_before_the_wrapper_of_distributed_training(tmp_path: Path) -> None:
    """Tracing and cutting look through it; a search is refused, with the order that works."""
    distributed.init_process_group(
        "gloo", init_method=f"file://{tmp_path / 'store'}", rank=0, world_size=1
    )
    try:
        wrapped = nn.parallel.DistributedDataParallel(Net())
        found = ww.plan(ww.trace(wrapped, X), score=ww.scores.L1(), budget=HALF)
        assert type(ww.shrink(wrapped, found)) is Net
        with pytest.raises(ww.errors.SearchError, match=r"dhp\(model(?s:.*)then"):
            ww.methods.dhp(wrapped, X, budget=HALF)
        net = Net()
        search = ww.methods.dhp(net, X, budget=HALF)
        after = nn.parallel.DistributedDataParallel(net)
        optimizer = torch.optim.SGD(after.parameters(), lr=0.1)
        for _ in range(3):
            optimizer.zero_grad()
            after(torch.randn(4, 3, 12, 12)).square().mean().backward()
            optimizer.step()
            search.step(optimizer)
        small, _ = search.finish()
        assert type(small) is Net
    finally:
        distributed.destroy_process_group()


def test_sparse_weights_are_refused_by_name() -> None:
    """The error says which, and what to do."""
    net = nn.Sequential(nn.Linear(4, 4), nn.Linear(4, 2))
    net[0].weight = nn.Parameter(net[0].weight.detach().to_sparse())
    with pytest.raises(ww.errors.TraceError, match=r"`0\.weight` of `Sequential` is sparse"):
        ww.trace(net, torch.randn(1, 4))
