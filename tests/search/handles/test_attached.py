"""Hinge's handle: what is attached computes the same, what goes to zero is cut, and how."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from torch import Tensor, nn

import widthwise as ww
from widthwise.errors import ConfigError, SearchError
from widthwise.search.handles.attached import Attached
from widthwise.search.handles.group_norms import Groups
from widthwise.search.handles.matrices import Start
from widthwise.search.limits import Limits
from widthwise.search.prox import HalfThreshold, Prox

IMAGE = torch.zeros(1, 3, 8, 8)


class Net(nn.Module):
    """Two tied convolutions, one between them, and a grouped one, with normalisation."""

    def __init__(self) -> None:
        super().__init__()
        self.stem, self.norm = nn.Conv2d(3, 8, 3, padding=1, bias=False), nn.BatchNorm2d(8)
        self.wide = nn.Conv2d(8, 16, 3, padding=1)
        self.depth = nn.Conv2d(16, 16, 3, padding=1, groups=16)
        self.back = nn.Conv2d(16, 8, 1)
        self.fc = nn.Linear(8, 5)

    def forward(self, x: Tensor) -> Tensor:
        x = self.norm(self.stem(x)).relu()
        x = x + self.back(self.depth(self.wide(x).relu()))
        return self.fc(x.relu().mean((2, 3)))


def net(seed: int = 0) -> Net:
    """A network in evaluation mode whose statistics and biases are not what they start as."""
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        made = Net().eval()
        nn.init.uniform_(made.norm.running_var, 0.5, 1.5)
        nn.init.uniform_(made.norm.running_mean, -0.5, 0.5)
    return made


def attached(model: nn.Module, layers: tuple[str, ...] = ("stem", "wide", "back"), **given):
    """The handle on a network, attached."""
    settings = {
        "groups": Groups.both,
        "start": Start.svd2,
        "limits": Limits(),
        "sparsity": 1.0,
        "threshold": 0.05,
    }
    handle = Attached(ww.trace(model, IMAGE), model, layers=layers, **(settings | given))
    handle.attach()
    return handle


def images(count: int = 4) -> Tensor:
    """Fixed random images."""
    return torch.randn(count, 3, 8, 8, generator=torch.Generator().manual_seed(0))


@pytest.mark.parametrize("start", list(Start))
def test_attaching_changes_nothing_that_is_computed(start: Start) -> None:
    """Filters times matrix are the weight, for each start, and detaching gives it back."""
    model = net()
    before = model(images())
    weight = model.wide.weight
    handle = attached(model, start=start)
    torch.testing.assert_close(model(images()), before, rtol=1e-5, atol=1e-5)
    assert model.wide.weight is not weight
    handle.detach()
    assert model.wide.weight is weight
    assert torch.equal(model(images()), before)


def test_the_starts_are_what_the_paper_says() -> None:
    """Orthonormal filters with singular values in the matrix, or the other way round."""
    model = net()
    values = torch.linalg.svdvals(model.wide.weight.detach().flatten(1))
    norms = {}
    for start in (Start.svd, Start.svd2):
        handle = attached(net(), start=start)
        filters = list(handle.parameters())[1]
        norms[start] = filters.norm(dim=1), handle.matrices[1].norm(dim=0)
    torch.testing.assert_close(norms[Start.svd2][1], values)
    torch.testing.assert_close(norms[Start.svd2][0], torch.ones(16))
    torch.testing.assert_close(norms[Start.svd][0], values)
    torch.testing.assert_close(norms[Start.svd][1], torch.ones(16))
    identity = attached(net(), start=Start.identity)
    assert torch.equal(identity.matrices[1], torch.eye(16))


def zeroed(handle: Attached, layer: int, *, rows: int = 0, columns: int = 0) -> None:
    """Set the last rows and columns of a matrix to zero, in the words of the paper."""
    with torch.no_grad():
        matrix = handle.matrices[layer]
        matrix[:, matrix.shape[1] - rows :] = 0
        matrix[matrix.shape[0] - columns :] = 0


def search_on(model: nn.Module, **given) -> ww.methods.Search:
    """A search by this method, without pressure."""
    return ww.methods.hinge(model, IMAGE, sparsity=0.0, min_keep=0.0, round_to=1, **given)


def test_zero_rows_become_fewer_filters_and_a_1x1() -> None:
    """The network with the attached matrices equals its realised form."""
    model = net()
    search = search_on(model, budget=ww.Macs(1.0), groups="rows", layers=["wide"])
    zeroed(search.handle, 0, rows=11)
    expected = model(images())
    alive, full = search.cost_alive(), search.graph.macs()
    small, _ = search.finish()
    assert type(small.wide) is nn.Sequential
    # The budget of the whole network leaves room for more than five filters; they add nothing.
    torch.testing.assert_close(small(images()), expected, rtol=1e-5, atol=1e-5)
    assert alive["macs"] < full


def test_what_is_alive_is_what_is_cut_when_it_is_the_budget() -> None:
    """With the budget that the live groups cost, the plan keeps these."""
    model = net()
    search = search_on(model, budget=ww.Macs(0.75), groups="rows", layers=["wide"])
    zeroed(search.handle, 0, rows=11)
    expected = model(images())
    cost = search.cost_alive()["macs"]
    search._budgets = (ww.Macs(float(cost)),)
    small, plan = search.finish()
    assert plan.macs() == cost
    assert small.wide[0].out_channels == 5
    assert [rewrite.layers for rewrite in plan.before] == [("wide",)]
    torch.testing.assert_close(small(images()), expected, rtol=1e-5, atol=1e-5)


def test_zero_columns_are_pruned_channels() -> None:
    """No layer is decomposed; the depth-wise convolution behind follows."""
    model = net()
    search = search_on(model, budget=ww.Macs(0.75), groups="columns", layers=["wide"])
    zeroed(search.handle, 0, columns=6)
    small, plan = search.finish()
    assert plan.before == () and type(small.wide) is nn.Conv2d
    kept = plan.kept["wide"].tolist()
    assert 10 <= len(kept) < 16 and set(range(10)) <= set(kept)
    assert small.depth.groups == len(kept)


def test_tied_channels_are_one_group_over_all_matrices() -> None:
    """The norm of a unit counts its columns in every layer that makes it."""
    handle = attached(net(), groups=Groups.columns)
    units = handle.graph.slots["stem.weight"][0]
    assert np.array_equal(units, handle.graph.slots["back.weight"][0])
    stem, _, back = handle.matrices
    expected = (stem.square().sum(1) + back.square().sum(1)).sqrt().detach().numpy()
    np.testing.assert_allclose(handle.importance()[units], expected, rtol=1e-5)


def test_layers_that_are_dearer_as_two_stay_one() -> None:
    """At full rank what is alive costs what the network does, and a plan leaves them whole."""
    model = net()
    search = search_on(model, budget=ww.Macs(0.9), groups="rows")
    assert search.graph.macs() > ww.trace(net(), IMAGE).macs()
    assert search.cost_alive()["macs"] == ww.trace(net(), IMAGE).macs()
    zeroed(search.handle, 1, rows=12)
    expected = model(images())
    small, plan = search.finish()
    assert [rewrite.layers for rewrite in plan.before] == [("wide",)]
    assert type(small.stem) is nn.Conv2d and small.wide[0].out_channels >= 4
    torch.testing.assert_close(small(images()), expected, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("prox", [None, HalfThreshold()])
@pytest.mark.parametrize("groups", [Groups.rows, Groups.columns])
def test_a_step_is_the_prox_of_the_norms(groups: Groups, prox: Prox | None) -> None:
    """Directions stay, lengths are those of the prox with sparsity times the learning rate."""
    handle = attached(net(), layers=("wide",), groups=groups, sparsity=2.0, prox=prox)
    matrix = handle.matrices[0]
    dim = 0 if groups is Groups.rows else 1
    before = matrix.detach().clone()
    handle.step(torch.optim.SGD(handle.model.parameters(), lr=0.05))
    norms, moved = before.norm(dim=dim), matrix.detach().norm(dim=dim)
    expected = (norms - 0.1).clamp_min(0) if prox is None else prox(norms, 0.1, norms.long())
    torch.testing.assert_close(moved, expected, rtol=1e-4, atol=1e-6)
    alive = moved > 1e-6
    angle = nn.functional.cosine_similarity(before, matrix.detach(), dim=dim)
    torch.testing.assert_close(angle[alive], torch.ones(int(alive.sum())), rtol=1e-4, atol=1e-4)


def test_nothing_is_shrunk_while_a_network_warms_up() -> None:
    """The steps are counted in the state of the network, so that a resumed search counts on."""
    model = net()
    handle = attached(model, layers=("wide",), groups=Groups.rows, sparsity=0.1, warm_up=2)
    optimizer = torch.optim.SGD(model.parameters(), lr=1.0)
    norms = [handle.matrices[0].norm().item()]
    for _ in range(3):
        handle.step(optimizer)
        norms.append(handle.matrices[0].norm().item())
    assert norms[0] == pytest.approx(norms[2]) and norms[3] < 0.99 * norms[2]
    resumed = net()
    again = attached(resumed, layers=("wide",), groups=Groups.rows, sparsity=0.1, warm_up=4)
    resumed.load_state_dict(model.state_dict())
    before = again.matrices[0].norm().item()
    again.step(torch.optim.SGD(resumed.parameters(), lr=1.0))
    assert again.matrices[0].norm().item() == pytest.approx(before)
    again.step(torch.optim.SGD(resumed.parameters(), lr=1.0))
    assert again.matrices[0].norm().item() < 0.99 * before


def test_balance_shrinks_in_proportion_to_the_start() -> None:
    """Two layers of other scales lose the same share of their mean norm."""
    model = net()
    with torch.no_grad():
        model.stem.weight.mul_(10)
    handle = attached(
        model, layers=("stem", "wide"), groups=Groups.rows, balanced=True, sparsity=0.1
    )
    before = [m.detach().norm(dim=0) for m in handle.matrices]
    handle.step(torch.optim.SGD(model.parameters(), lr=1.0))
    for old, matrix in zip(before, handle.matrices, strict=True):
        lost = (old - matrix.detach().norm(dim=0)) / old.mean()
        torch.testing.assert_close(lost, torch.full_like(lost, 0.1), rtol=1e-3, atol=1e-4)


def test_annealing_weakens_the_pull_at_half_and_at_a_quarter() -> None:
    """Thresholds are shares of the penalty at the start."""
    handle = attached(net(), layers=("wide",), groups=Groups.rows, annealing=2.0)
    assert handle._annealed() == 1
    for share, expected in ((0.49, 0.5), (0.24, 0.25)):
        fresh = attached(net(), layers=("wide",), groups=Groups.rows, annealing=2.0)
        with torch.no_grad():
            fresh.matrices[0].mul_(share)
        assert fresh._annealed() == expected


def test_the_learning_rate_of_matrices_is_a_ratio() -> None:
    """The last step of the optimizer is made as long as it would have been."""
    results = []
    for lr, ratio in ((0.1, 1.0), (0.02, 5.0)):
        model = net()
        handle = attached(model, layers=("wide",), sparsity=0.0, lr_ratio=ratio)
        optimizer = torch.optim.SGD(model.parameters(), lr=lr, momentum=0.9)
        for _ in range(2):
            optimizer.zero_grad()
            (handle.matrices[0] * torch.arange(16.0)).sum().backward()
            optimizer.step()
            handle.step(optimizer)
        results.append(handle.matrices[0].detach())
    torch.testing.assert_close(*results)


def test_adjusted_steps_are_shorter_where_gradients_are_large() -> None:
    """The power 1.35 of the ratio to the geometric mean, which counts up to 9/5."""
    model = net()
    handle = attached(model, layers=("wide", "back"), sparsity=0.0, adjusted=True)
    before = [m.detach().clone() for m in handle.matrices]
    wide, back = handle.matrices
    (wide.sum() * 4 / (16 * 16**0.5) + back.sum() / (8 * 8**0.5)).backward()
    norms = [float(m.grad.norm(dim=0).sum()) for m in handle.matrices]
    assert norms[0] == pytest.approx(4 * norms[1])
    optimizer = torch.optim.SGD(model.parameters(), lr=1.0)
    gradients = [m.grad.clone() for m in handle.matrices]
    optimizer.step()
    handle.step(optimizer)
    for old, matrix, gradient, factor in zip(
        before, handle.matrices, gradients, [1.8**-1.35, 1.8**1.35], strict=True
    ):
        torch.testing.assert_close(old - matrix, factor * gradient, rtol=1e-3, atol=1e-5)


def test_limits_are_those_of_the_users_own_axes() -> None:
    """An axis that is excluded keeps its channels in the decomposed network too."""
    search = search_on(net(), budget=ww.Macs(0.8), groups="both", exclude=["wide"])
    zeroed(search.handle, 1, columns=9)
    small, plan = search.finish()
    outputs = small.wide[1] if isinstance(small.wide, nn.Sequential) else small.wide
    assert outputs.out_channels == 16
    assert plan.macs() <= 0.8 * plan.full_macs
    with pytest.raises(ConfigError, match="typo"):
        search_on(net(), budget=ww.Macs(0.8), exclude=["typo"])


def test_floors_hold_ranks_and_widths() -> None:
    """However strong the pull, a share of every rank stays alive and is kept."""
    model = net()
    search = ww.methods.hinge(
        model, IMAGE, budget=ww.Macs(0.9), sparsity=100.0, threshold=0.5, min_keep=0.5, round_to=1
    )
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    for _ in range(3):
        search.step(optimizer)
    alive = search.handle.alive()
    for axis in search.graph.axes.values():
        assert alive[axis.units].sum() >= math.ceil(axis.width / 2)


def test_a_network_without_ordinary_convolutions_is_refused() -> None:
    """The error says what matrices are attached to."""
    linear = nn.Sequential(nn.Linear(4, 4), nn.ReLU(), nn.Linear(4, 2))
    with pytest.raises(SearchError, match="no convolution"):
        ww.methods.hinge(linear, torch.zeros(1, 4), budget=ww.Macs(0.5))
    with pytest.raises(ConfigError, match="groups"):
        ww.methods.hinge(net(), IMAGE, budget=ww.Macs(0.5), layers=["depth"])


@pytest.mark.parametrize(
    "given",
    [{"sparsity": -1.0}, {"threshold": math.nan}, {"annealing": -2.0}, {"lr_ratio": 0.0}],
)
def test_numbers_out_of_range_are_named(given: dict[str, float]) -> None:
    """Before anything is attached."""
    model = net()
    with pytest.raises(ConfigError, match=next(iter(given))):
        ww.methods.hinge(model, IMAGE, budget=ww.Macs(0.5), **given)
    assert type(model.wide) is nn.Conv2d


def test_divergence_is_an_error_that_says_what_to_do() -> None:
    """No width is read from matrices that are not finite."""
    search = search_on(net(), budget=ww.Macs(0.5), groups="rows")
    with torch.no_grad():
        search.handle.matrices[0].fill_(math.nan)
    with pytest.raises(SearchError, match="diverged"):
        search.finish()
    search.abandon()
