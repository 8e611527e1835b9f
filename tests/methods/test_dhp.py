"""Published methods, end to end: on the zoo and on networks people use."""

from __future__ import annotations

import inspect

import pytest
import torch
from torch import nn
from torch.nn import functional
from torch.utils._pytree import tree_flatten

import widthwise as ww
from cases import BY_NAME, every_case
from widthwise.methods import dhp

PUBLISHED = {
    "sparsity": 1e-4,
    "prune_threshold": 5e-3,
    "stop_limit": 0.05,
    "check_every": 100,
    "embedding_dim": 8,
    "min_width": 4,
    "min_keep": 0.0,
    "round_to": 1,
}
"""The defaults of the released code."""

_PARAMETRIZED = "its weight is already parametrized, which is an error with a test of its own"
NOT_SEARCHABLE = {
    "weight_norm": _PARAMETRIZED,
    "weight_norm_per_input": _PARAMETRIZED,
    "weight_norm_per_tap": _PARAMETRIZED,
    "einsum_linear": "bare parameters: no convolution and no linear layer to generate",
    "attention_fused_qkv": "no axis of it is free",
    "inplace_ops": "cannot be trained: autograd refuses what it writes in place",
    "custom_op": "cannot be trained: the operation has no backward",
}


def test_dhp_has_the_published_defaults():
    """Without keywords the hyper-parameters are those of the authors' released code."""
    parameters = inspect.signature(dhp).parameters
    assert {name: parameters[name].default for name in PUBLISHED} == PUBLISHED
    assert all(
        parameters[name].kind is inspect.Parameter.KEYWORD_ONLY
        for name in parameters
        if name not in ("model", "example_inputs")
    )


def test_every_limit_of_dhp_reaches_the_plan():
    """`min_keep`, `round_to`, `include` and `seed` hold in the plan that comes out."""

    def widths(**options):
        torch.manual_seed(0)
        net = nn.Sequential(nn.Conv2d(3, 20, 3), nn.Conv2d(20, 24, 3), nn.Conv2d(24, 2, 3))
        return dhp(net, torch.zeros(1, 3, 8, 8), budget=ww.Macs(0.61), **options).finish()[1].widths

    plain = widths()
    assert all(width % 8 == 0 for width in list(widths(round_to=8).values())[:2])
    assert any(width % 8 for width in list(plain.values())[:2])
    assert widths(include=["0"]) | {"0": 0} == {"0": 0, "1": 24, "2": 2}
    narrowest = {"0": 15, "1": 18, "2": 2}
    assert all(widths(min_keep=0.75, seed=seed) == narrowest for seed in (1, 2, 3))
    assert any(widths(seed=seed) != plain for seed in (2, 3))


def test_embedding_dim_of_dhp_sets_the_size_of_the_hypernetwork():
    """Per 3x3 pair the hypernetwork has ``1 + 2 m + 9 m + 9`` parameters, plus the latents."""
    net = nn.Sequential(nn.Conv2d(3, 4, 3), nn.Conv2d(4, 2, 3))
    search = dhp(net, torch.zeros(1, 3, 8, 8), budget=ww.Macs(1.0), embedding_dim=5)
    trained = [p.numel() for n, p in net.named_parameters() if "hypernetwork" in n]
    assert sum(trained) == (12 + 8) * (1 + 2 * 5 + 9 * 5 + 9) + search.handle.latents.numel()


@every_case(where=lambda case: case.free, without=NOT_SEARCHABLE)
def test_dhp_ends_in_a_proven_narrower_network(case):
    """Any network of the zoo with a convolution is searched, cut and proven."""
    model = case.build().train()
    inputs = case.example_inputs
    search = dhp(model, inputs, budget=ww.Params(0.95), min_width=1)
    optimizer = torch.optim.Adam(model.parameters(), lr=1e-3)
    call = {dict: lambda x: model(**x), tuple: lambda x: model(*x)}.get(type(inputs), model)
    model.eval()
    leaves = tree_flatten(call(inputs))[0]
    sum(leaf.float().square().mean() for leaf in leaves if leaf.requires_grad).backward()
    optimizer.step()
    search.step(optimizer)
    small, plan = search.finish()
    assert plan.params() == sum(p.numel() for p in small.parameters()) <= 0.95 * plan.full_params


def search_briefly(model, *, steps, batch, size, **options):
    """A few steps of SGD on noise, then the narrow network and its plan."""
    torch.manual_seed(0)
    search = dhp(model, torch.zeros(1, 3, size, size), **options)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.01, momentum=0.9)
    for _ in range(steps):
        images, labels = torch.randn(batch, 3, size, size), torch.randint(0, 10, (batch,))
        optimizer.zero_grad()
        functional.cross_entropy(model(images), labels).backward()
        optimizer.step()
        search.step(optimizer)
    return search.finish()


@pytest.mark.parametrize("name", ["mobilenet_v2", "densenet121"])
def test_dhp_on_networks_the_authors_code_has_no_class_for(name):
    """Classes of torchvision are searched as they are, and end proven at half the MACs."""
    torchvision = pytest.importorskip("torchvision")
    model = torchvision.models.get_model(name, weights=None, num_classes=10)
    small, plan = search_briefly(model, steps=2, batch=4, size=64, budget=ww.Macs(0.5))
    assert type(small) is type(model)
    assert 0.49 < plan.macs() / plan.full_macs <= 0.5
    assert ww.trace(small, torch.zeros(1, 3, 64, 64)).macs() == plan.macs()


def test_dhp_finds_the_channels_that_matter():
    """Units that carry the signal keep larger latents than units that carry nothing."""

    class Gate(nn.Module):
        """Only the first 4 of 16 channels can reach the output."""

        def __init__(self):
            super().__init__()
            self.first = nn.Conv2d(1, 16, 3, padding=1)
            self.second = nn.Conv2d(16, 1, 1)
            self.register_buffer("gate", torch.eye(16)[:4].sum(0).reshape(1, 16, 1, 1))

        def forward(self, x):
            return self.second(self.first(x).relu() * self.gate)

    torch.manual_seed(0)
    model = Gate()
    search = dhp(model, torch.zeros(1, 1, 8, 8), budget=ww.Macs(0.3), min_width=1, sparsity=1.0)
    with torch.no_grad():
        search.handle.latents[search.graph.axes["first"].units] = 1.0
    optimizer = torch.optim.SGD(model.parameters(), lr=0.02, momentum=0.9)
    for _ in range(60):
        images = torch.randn(8, 1, 8, 8)
        target = functional.avg_pool2d(images.abs(), 3, 1, 1)
        optimizer.zero_grad()
        functional.mse_loss(model(images), target).backward()
        optimizer.step()
        search.step(optimizer)
    _, plan = search.finish()
    assert plan.kept["first"].tolist() == [0, 1, 2, 3]


def test_grouped_convolution_is_cut_by_whole_groups():
    """The latents of a group belong to one unit, so a cut removes the group."""
    case = BY_NAME["grouped_conv"]
    model = case.build()
    search = dhp(model, case.example_inputs, budget=ww.Macs(0.6), min_width=1)
    small, plan = search.finish()
    groups = [(m.in_channels, m.groups) for m in small.modules() if isinstance(m, nn.Conv2d)]
    assert all(channels % count == 0 for channels, count in groups)
    assert plan.macs() <= 0.6 * plan.full_macs


def paced(seed: int, lr: float, steps: int, **options):
    """A search with a length, trained until it is done; returns it and how long that took."""
    torch.manual_seed(seed)
    net = nn.Sequential(
        nn.Conv2d(3, 16, 3), nn.BatchNorm2d(16), nn.ReLU(), nn.Conv2d(16, 24, 3),
        nn.BatchNorm2d(24), nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(24, 4),
    )  # fmt: skip
    search = dhp(
        net, torch.zeros(1, 3, 8, 8), budget=ww.Macs(0.5), steps=steps, check_every=5,
        stop_limit=0.02, seed=seed, **options,
    )  # fmt: skip
    optimizer = torch.optim.SGD(net.parameters(), lr=lr, momentum=0.9)
    for step in range(2 * steps):
        generator = torch.Generator().manual_seed(step)
        images = torch.randn(16, 3, 8, 8, generator=generator)
        labels = torch.randint(4, (16,), generator=generator)
        optimizer.zero_grad()
        functional.cross_entropy(net(images), labels).backward()
        optimizer.step()
        search.step(optimizer)
        if search.done:
            break
    return search, step + 1


@pytest.mark.parametrize("lr", [0.005, 0.1])
@pytest.mark.parametrize("steps", [60, 200])
def test_a_search_with_a_length_reaches_its_budget_then(steps: int, lr: float) -> None:
    """Whatever the learning rate; the cost falls all the way and not only in the end."""
    search, taken = paced(0, lr, steps)
    assert 0.9 * steps <= taken <= 1.2 * steps
    costs = [check["cost_fraction"] for check in search.history]
    assert costs[len(costs) * 3 // 4] < costs[0] - 0.05
    _, plan = search.finish()
    assert plan.macs() <= 0.5 * plan.full_macs


def test_a_search_with_a_length_resumes_where_it_was() -> None:
    """Steps done and the pace of the moment are in its state."""
    search, _ = paced(0, 0.05, 100)
    state = search.state_dict()
    assert 90 <= state["handle"]["done"] <= 120 and state["handle"]["distance"] > 0
    fresh, _ = paced(0, 0.05, 1)
    fresh.load_state_dict(state | {"network": fresh.state_dict()["network"]})
    assert fresh.state_dict()["handle"] == state["handle"]


def test_a_length_of_nothing_is_refused() -> None:
    """The error names the setting."""
    with pytest.raises(ww.errors.ConfigError, match="`steps` must be at least 1"):
        dhp(nn.Conv2d(3, 4, 3), torch.zeros(1, 3, 8, 8), budget=ww.Macs(0.5), steps=0)
