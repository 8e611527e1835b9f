"""Scores that look at data: against brute force, by hand, and on the zoo."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn
from torch.utils._pytree import tree_map

import widthwise as ww
from cases import Case, every_case
from widthwise.errors import ConfigError, SearchError
from widthwise.network.inputs import Inputs
from widthwise.search.scores import reconstruction
from widthwise.search.scores.readers import readers_of


def rows(count: int, width: int, seed: int = 0) -> Tensor:
    """Rows of random numbers that have something to do with each other."""
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(count, width, generator=generator) @ torch.randn(
        width, width, generator=generator
    )


class Mixed(nn.Module):
    """Six units, of which a convolution of three taps and a linear layer read each."""

    def __init__(self) -> None:
        super().__init__()
        self.make = nn.Conv1d(4, 6, 1)
        self.reads = nn.Conv1d(6, 3, 3, padding=1)
        self.also = nn.Linear(6, 2)

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        x = self.make(x).relu()
        return self.reads(x), self.also(x.mean(2))


def refitted(columns: Tensor, targets: Tensor) -> Tensor:
    """Return the mean square that the best affine map of the columns misses, per target."""
    ones = torch.ones(len(columns), 1, dtype=columns.dtype)
    known = torch.cat((columns, ones), 1)
    found = torch.linalg.lstsq(known, targets, driver="gelsd").solution
    return (targets - known @ found).square().mean(0)


def test_the_greedy_order_is_that_of_exhaustive_search(monkeypatch: pytest.MonkeyPatch) -> None:
    """At every step the unit goes without which all refitted readers miss least; and that much."""
    monkeypatch.setattr(reconstruction, "_RIDGE", 1e-9)
    torch.manual_seed(3)
    net = Mixed().eval()
    x = rows(600, 4).reshape(40, 15, 4).transpose(1, 2)
    graph = ww.trace(net, x[:1])
    score = ww.scores.Reconstruction([x])
    removal = score.removals(graph)["make"]

    seen = score._seen(graph, readers_of(graph))
    with torch.no_grad():
        made = net.make(x).relu()
        patches = nn.functional.pad(made, (1, 1)).unfold(2, 3, 1)  # [40, 6, 15, 3]
    reads = patches.permute(0, 2, 1, 3).reshape(600, 6, 3).double()
    also = made.mean(2).double()
    with torch.no_grad():
        wanted = net.reads(made).transpose(1, 2).reshape(600, 3).double(), net.also(also.float())

    def missed(gone: tuple[int, ...]) -> float:
        left = [unit for unit in range(6) if unit not in gone]
        first = refitted(reads[:, left].reshape(600, -1), wanted[0])
        second = refitted(also[:, left], wanted[1].double())
        total = (first * seen["reads"].importance).sum() + (second * seen["also"].importance).sum()
        return float(total)

    gone: tuple[int, ...] = ()
    for step, unit in enumerate(removal.order.tolist()):
        trials = {each: missed((*gone, each)) for each in range(6) if each not in gone}
        assert unit == min(trials, key=lambda each: trials[each])
        gone = (*gone, unit)
        assert removal.damage[step + 1] == pytest.approx(missed(gone), rel=1e-3, abs=1e-6)


def test_one_of_two_equal_units_goes_first_and_the_other_stays() -> None:
    """Scored at once, both would cost nothing; one by one, the second costs what they carry."""
    torch.manual_seed(0)
    net = nn.Sequential(nn.Linear(5, 4), nn.ReLU(), nn.Linear(4, 3))
    with torch.no_grad():
        net[0].bias.add_(1)
        for parameter in (net[0].weight, net[0].bias):
            parameter[1] = parameter[0]
    graph = ww.trace(net, torch.zeros(1, 5))
    removal = ww.scores.Reconstruction([rows(400, 5)]).removals(graph)["0"]
    assert removal.order[0] in (0, 1)
    assert removal.damage[1] < 1e-3 * removal.damage[-1]
    assert {0, 1} - {int(removal.order[1])} != {int(removal.order[0])}


def test_importance_is_what_errors_cost_the_answers() -> None:
    """At the last layer, answers that are drawn give the curvature of the divergence."""
    torch.manual_seed(0)
    net = nn.Sequential(nn.Linear(5, 4), nn.ReLU(), nn.Linear(4, 3))
    x = rows(20_000, 5)
    graph = ww.trace(net, x[:1])
    seen = ww.scores.Reconstruction([x])._seen(graph, readers_of(graph))["2"]
    with torch.no_grad():
        shares = net(x).softmax(1)
    # A linear layer without places: p (1 - p), halved.
    expected = 0.5 * (shares * (1 - shares)).mean(0).double()
    assert torch.allclose(seen.importance, expected, rtol=0.05)


def linear_loss(outputs: Tensor, target: Tensor) -> Tensor:
    """A loss that is linear in the outputs, so that first order is all there is."""
    return (outputs * target).mean(0).sum()


def without(net: nn.Sequential, unit: int) -> nn.Sequential:
    """The same network with what reads a unit set to zero."""
    other = nn.Sequential(nn.Linear(4, 6), nn.ReLU(), nn.Linear(6, 2))
    other.load_state_dict(net.state_dict())
    with torch.no_grad():
        other[2].weight[:, unit] = 0
    return other


def test_taylor_and_fisher_are_what_a_linear_loss_changes_by() -> None:
    """The square of the change of a batch's loss, and the mean square of that of each item's."""
    torch.manual_seed(0)
    net = nn.Sequential(nn.Linear(4, 6), nn.ReLU(), nn.Linear(6, 2))
    graph = ww.trace(net, torch.zeros(1, 4))
    pairs = [(rows(16, 4, seed), torch.randn(16, 2)) for seed in range(3)]
    units = graph.axes["0"].units
    taylor = ww.scores.Taylor(loss=linear_loss, batches=pairs)(graph)[units]
    fisher = ww.scores.Fisher(loss=linear_loss, batches=pairs)(graph)[units]
    with torch.no_grad():
        for unit in range(6):
            other = without(net, unit)
            changes = [((net(x) - other(x)) * y).sum(1) for x, y in pairs]
            assert taylor[unit] == pytest.approx(
                sum(float(each.mean()) ** 2 for each in changes), rel=1e-4, abs=1e-9
            )
            squares = torch.cat(changes).square().mean()
            assert fisher[unit] == pytest.approx(float(squares), rel=1e-4, abs=1e-9)


def test_variance_counts_the_weights_that_read() -> None:
    """Twice the variance of what is read times the square of the weight, summed over readers."""
    net = nn.Sequential(nn.Linear(2, 2, bias=False), nn.Linear(2, 2, bias=False))
    with torch.no_grad():
        net[0].weight.copy_(torch.tensor([[1.0, 0.0], [0.0, 5.0]]))
        net[1].weight.copy_(torch.tensor([[3.0, 1.0], [4.0, 0.0]]))
    graph = ww.trace(net, torch.zeros(1, 2))
    x = torch.tensor([[1.0, 2.0], [3.0, 2.0]])
    found = ww.scores.Variance([x[:1], x[1:]])(graph)[graph.axes["0"].units]
    np.testing.assert_allclose(found, [1.0 * 25, 0.0])


def test_rank_is_that_of_the_maps() -> None:
    """A map that is the same in every row has rank one; a diagonal has as many as pixels."""
    net = nn.Sequential(nn.Conv2d(1, 2, 1, bias=False), nn.Conv2d(2, 1, 1))
    with torch.no_grad():
        net[0].weight.copy_(torch.tensor([0.0, 1.0]).reshape(2, 1, 1, 1))
    graph = ww.trace(net, torch.zeros(1, 1, 4, 4))
    x = torch.stack([torch.eye(4), torch.ones(4, 4)]).unsqueeze(1)
    found = ww.scores.FeatureRank([x])(graph)[graph.axes["0"].units]
    np.testing.assert_allclose(found, [0.0, 2.5])


@every_case(
    without={
        "reads_values": "its forward takes another way on other inputs",
        "inplace_ops": "its gradients cannot be computed",
    }
)
def test_every_network_is_scored_and_stays_as_it_was(case: Case) -> None:
    """Finite scores for every unit, also of what no layer reads; gradients and modes untouched."""
    model, inputs = case.build(), case.example_inputs
    model.train()
    graph = ww.trace(model, inputs)
    before = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    batch = tree_map(lambda t: t + torch.randn(t.shape) if t.is_floating_point() else t, inputs)
    for score in (
        ww.scores.Reconstruction([batch]),
        ww.scores.Fisher(batches=[batch]),
        ww.scores.Variance([batch]),
        ww.scores.FeatureRank([batch]),
    ):
        found = score(graph)
        free = [axis.units for axis in graph.axes.values() if axis.frozen is None]
        assert all(np.isfinite(found[units]).all() for units in free), score
        assert all((found[units] >= 0).all() for units in free), score
    assert model.training
    assert all(p.grad is None for p in model.parameters())
    assert all(torch.equal(before[name], tensor) for name, tensor in model.state_dict().items())


def test_networks_that_are_not_trained_are_scored_too() -> None:
    """Without parameters that require gradients, and under `no_grad`."""
    net = nn.Sequential(nn.Linear(4, 6), nn.ReLU(), nn.Linear(6, 2)).requires_grad_(False)
    graph = ww.trace(net, torch.zeros(1, 4))
    with torch.no_grad():
        for score in (
            ww.scores.Fisher(batches=[rows(8, 4)]),
            ww.scores.Reconstruction([rows(8, 4)]),
        ):
            assert score(graph)[graph.axes["0"].units].max() > 0


def score_of(name: str, batches: Any) -> Any:
    """Build a score by name."""
    if name in ("Fisher", "Taylor"):
        extra = {"loss": linear_loss} if name == "Taylor" else {}
        return getattr(ww.scores, name)(batches=batches, **extra)
    return getattr(ww.scores, name)(batches)


@pytest.mark.parametrize("name", ["Fisher", "Reconstruction", "Variance", "FeatureRank", "Taylor"])
def test_bad_batches_are_named(name: str) -> None:
    """None at all, and NaN in one of them."""
    net = nn.Sequential(nn.Linear(4, 6), nn.Linear(6, 2))
    graph = ww.trace(net, torch.zeros(1, 4))
    bad = torch.full((3, 4), float("nan"))
    with pytest.raises(ConfigError, match="no batches"):
        score_of(name, [])(graph)
    with pytest.raises(ConfigError, match="not finite"):
        score_of(name, [(bad, torch.zeros(3, 2))] if name == "Taylor" else [bad])(graph)


def test_errors_of_losses_are_named() -> None:
    """No pair, a loss without gradient, a gradient that is infinite."""
    net = nn.Sequential(nn.Linear(4, 6), nn.Linear(6, 2))
    graph = ww.trace(net, torch.zeros(1, 4))
    x, y = rows(3, 4), torch.zeros(3, 2)
    with pytest.raises(ConfigError, match="no pair"):
        ww.scores.Taylor(loss=linear_loss, batches=[x])(graph)
    with pytest.raises(ConfigError, match="does not depend"):
        ww.scores.Taylor(loss=lambda out, _: out.detach().sum(), batches=[(x, y)])(graph)
    with pytest.raises(SearchError, match="not finite"):
        ww.scores.Taylor(loss=lambda out, _: (0 * out).sqrt().sum(), batches=[(x, y)])(graph)


def test_gradients_are_needed() -> None:
    """Code that works in place on what is needed again is named, with what to use instead."""
    net = nn.Sequential(
        *(nn.Linear(4, 6), nn.Linear(6, 6), nn.Sigmoid(), nn.ReLU(inplace=True), nn.Linear(6, 2))
    )
    graph = ww.trace(net, torch.zeros(1, 4))
    with pytest.raises(ConfigError, match="needs gradients"):
        ww.scores.Reconstruction([rows(8, 4)])(graph)


def test_weights_are_needed() -> None:
    """A network on the meta device has nothing to run."""
    net = nn.Sequential(nn.Linear(4, 6), nn.Linear(6, 2)).to("meta")
    graph = ww.trace(net, torch.zeros(1, 4))
    with pytest.raises(ConfigError, match="meta device"):
        ww.scores.Variance([rows(3, 4)])(graph)


def test_a_layer_that_reads_too_much_is_not_refitted(monkeypatch: pytest.MonkeyPatch) -> None:
    """It then counts variances alone, and units are scored apart."""
    torch.manual_seed(0)
    net = nn.Sequential(nn.Linear(5, 4), nn.ReLU(), nn.Linear(4, 3))
    graph = ww.trace(net, torch.zeros(1, 5))
    monkeypatch.setattr(reconstruction, "_LARGEST", 3)
    x = rows(400, 5)
    score = ww.scores.Reconstruction([x])
    removal = score.removals(graph)["0"]
    seen = score._seen(graph, readers_of(graph))["2"]
    with torch.no_grad():
        variance = net[1](net[0](x)).double().var(0, correction=0)
    squares = net[2].weight.detach().double().square() * seen.importance.unsqueeze(1)
    expected = (squares.sum(0) * variance).numpy()
    np.testing.assert_allclose(np.diff(removal.damage), np.sort(expected), rtol=1e-3)


def test_inputs_are_read_as_the_forward_takes_them() -> None:
    """The same as a tensor, a tuple and a dict."""

    class Named(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.a, self.b = nn.Linear(4, 6), nn.Linear(6, 2)

        def forward(self, x: Tensor) -> Tensor:
            return self.b(input=self.a(x).relu())

    net = Named()
    graph = ww.trace(net, torch.zeros(1, 4))
    x = rows(32, 4)
    found = [
        ww.scores.Fisher(batches=[batch])(graph) for batch in (x, (x,), {"x": x}, Inputs.of(x))
    ]
    assert all(np.array_equal(found[0], other) for other in found[1:])


class Windows(nn.Module):
    """Two halves of the places are handed to a layer as items of their own, or as they are."""

    def __init__(self, folded: bool) -> None:
        super().__init__()
        self.a, self.b, self.c = nn.Conv1d(3, 6, 1), nn.Conv1d(6, 6, 1), nn.Linear(6, 4)
        self.folded = folded

    def forward(self, x: Tensor) -> Tensor:
        x = self.a(x).relu()
        if self.folded:
            n, c, size = x.shape
            # The windows of an item in a row, as attention over windows has them.
            x = x.reshape(n, c, 2, size // 2).transpose(1, 2).reshape(2 * n, c, size // 2)
            x = self.b(x).relu()
            x = x.reshape(n, 2, x.shape[1], size // 2).transpose(1, 2)
            x = x.reshape(n, x.shape[1], size)
        else:
            x = self.b(x).relu()
        return self.c(x.mean(2))


class Halves(Windows):
    """A layer is called once for each half, or for both together."""

    def forward(self, x: Tensor) -> Tensor:
        x = self.a(x).relu()
        if self.folded:
            x = torch.cat([self.b(x[:, :, :4]), self.b(x[:, :, 4:])], 2).relu()
        else:
            x = self.b(x).relu()
        return self.c(x.mean(2))


@pytest.mark.parametrize("kind", [Windows, Halves])
def test_how_a_layer_is_called_does_not_matter(kind: type[Windows]) -> None:
    """Places that are folded into the batch, and places of two calls, count as places."""
    torch.manual_seed(0)
    plain, folded = kind(False).eval(), kind(True).eval()
    folded.load_state_dict(plain.state_dict())
    batches = [torch.randn(16, 3, 8)]
    graphs = [ww.trace(net, batches[0][:1]) for net in (plain, folded)]
    fisher = [ww.scores.Fisher(batches=batches)(graph) for graph in graphs]
    removals = [ww.scores.Reconstruction(batches).removals(graph) for graph in graphs]
    for name in ("a", "b"):
        units = [graph.axes[name].units for graph in graphs]
        assert np.allclose(fisher[0][units[0]], fisher[1][units[1]], rtol=1e-3)
        # Errors at one place count with those of the other places of a call: not quite the same.
        ratio = removals[1][name].damage[-1] / removals[0][name].damage[-1]
        assert 0.55 < ratio < 1.5
