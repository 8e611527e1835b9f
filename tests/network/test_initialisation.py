"""Fresh weights at other widths are those that the network's own constructor draws."""

from __future__ import annotations

import math

import pytest
import timm
import torch
import torchvision
from torch import Tensor, nn

import widthwise as ww
from widthwise.errors import ConfigError
from widthwise.models import resolve
from widthwise.network.initialisation import draw_fresh


def halved(model: nn.Module, size: int = 32) -> nn.Module:
    graph = ww.trace(model, torch.zeros(1, 3, size, size))
    plan = ww.plan(graph, score=ww.scores.Uniform(), budget=ww.Macs(0.3))
    return ww.shrink(model, plan, verify=False)


def stds(model: nn.Module) -> dict[str, float]:
    return {
        name: float(p.detach().std())
        for name, p in model.named_parameters()
        if p.dim() > 1 and p.numel() >= 4000
    }


@pytest.mark.parametrize("name", ["resnet20", "densenet40", "mobilenet_v2", "vgg16_bn"])
def test_a_width_multiplier_gives_the_same_bits(name: str) -> None:
    """Where the class can be built at these widths, fresh weights are bit for bit what it draws."""
    spec = resolve(f"widthwise/{name}")
    torch.manual_seed(3)
    expected = spec.build(width_mult=0.5)
    wide, kept = spec.build(), dict(expected.named_parameters())
    graph = ww.trace(wide, torch.zeros(1, 3, 32, 32))
    mask = graph.everything.copy()
    for axis in graph.axes.values():
        tensor, dim = axis.members[0]
        width = kept[tensor].shape[dim] * axis.width // wide.get_parameter(tensor).shape[dim]
        if axis.frozen is None:
            mask[axis.units.start + width : axis.units.stop] = False
    plan = ww.Plan.of(graph, mask)
    narrow = ww.shrink(wide, plan, verify=False)
    torch.manual_seed(3)
    draw_fresh(narrow, spec.build)
    found = dict(narrow.named_parameters())
    if {n: p.shape for n, p in found.items()} != {n: p.shape for n, p in kept.items()}:
        pytest.skip("this class rounds its widths to other ones than the axes allow")
    assert all(torch.equal(found[name], value) for name, value in kept.items())


@pytest.mark.parametrize(
    "build",
    [
        torchvision.models.mobilenet_v2,
        torchvision.models.resnet18,
        torchvision.models.regnet_x_400mf,
        torchvision.models.efficientnet_b0,
    ],
    ids=lambda build: build.__name__,
)
def test_scales_follow_the_rule_of_the_constructor(build) -> None:
    """Kaiming's fan-out rule, which torchvision's constructors use, holds at the new widths."""
    narrow = halved(build(), 64)
    draw_fresh(narrow, build)
    for name, module in narrow.named_modules():
        if isinstance(module, nn.Conv2d) and module.weight.numel() >= 4000:
            fan_out = module.weight[:, 0].numel()
            expected = math.sqrt(2 / fan_out)
            if "regnet" in build.__name__:
                k = module.kernel_size[0] * module.kernel_size[1]
                expected = math.sqrt(2 / (k * module.out_channels))
            assert float(module.weight.detach().std()) == pytest.approx(expected, rel=0.1), name


def test_layer_scales_are_drawn_again() -> None:
    """A parameter that no layer of torch.nn makes gets its constant back, not a trained value."""

    def build() -> nn.Module:
        return timm.create_model("convnext_atto", num_classes=10)

    model = build()
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(1.0)
    narrow = halved(model, 64)
    draw_fresh(narrow, build)
    gammas = [p for name, p in narrow.named_parameters() if name.endswith("gamma")]
    assert gammas and all(torch.equal(g, torch.full_like(g, 1e-6)) for g in gammas)


def test_statistics_start_anew() -> None:
    """Running statistics of normalisation are those of a new network."""

    def build() -> nn.Module:
        return nn.Sequential(nn.Conv2d(3, 8, 3), nn.BatchNorm2d(8), nn.Conv2d(8, 2, 3))

    model = build()
    model(torch.randn(4, 3, 8, 8))
    narrow = halved(model, 8)
    draw_fresh(narrow, build)
    assert float(narrow[1].running_mean.abs().sum()) == 0.0
    assert int(narrow[1].num_batches_tracked) == 0


def test_the_same_seed_gives_the_same_weights() -> None:
    """Fresh weights depend on PyTorch's generator alone, and layers are as before afterwards."""
    build = torchvision.models.resnet18
    narrow = halved(build(), 32)
    before = nn.Conv2d.__init__
    torch.manual_seed(1)
    draw_fresh(narrow, build)
    first = [p.detach().clone() for p in narrow.parameters()]
    torch.manual_seed(1)
    draw_fresh(narrow, build)
    assert all(torch.equal(a, b) for a, b in zip(first, narrow.parameters(), strict=True))
    assert nn.Conv2d.__init__ is before


class Scaled(nn.Module):
    """Has a parameter of its own, which no layer makes."""

    def __init__(self, table: Tensor | None = None) -> None:
        super().__init__()
        self.conv = nn.Conv2d(3, 8, 3)
        self.table = nn.Parameter(torch.randn(8, 1, 1) if table is None else table.clone())
        self.last = nn.Conv2d(8, 2, 3)

    def forward(self, x: Tensor) -> Tensor:
        return self.last(self.conv(x) * self.table)


def test_a_wider_network_gets_more_of_the_same_numbers() -> None:
    """A parameter of the user's own is as random in a wider network."""
    wide = Scaled()
    wide.conv, wide.last = nn.Conv2d(3, 512, 3), nn.Conv2d(512, 2, 3)
    wide.table = nn.Parameter(torch.zeros(512, 1, 1))
    draw_fresh(wide, Scaled)
    assert len(wide.table.detach().unique()) == 8
    assert float(wide.conv.weight.detach().std()) == pytest.approx(1 / math.sqrt(81), rel=0.05)


def test_computed_tables_are_refused() -> None:
    """Which rows of a table that is no random number would be fresh cannot be known."""
    table = torch.arange(8.0).reshape(8, 1, 1)
    with pytest.raises(ConfigError, match="`table`"):
        draw_fresh(halved(Scaled(table), 8), lambda: Scaled(table))


def test_without_a_constructor_every_parameter_must_know_its_reset() -> None:
    """A bare network with a parameter nobody can reset is refused, and the way out is named."""
    with pytest.raises(ConfigError, match=r"(?s)`table`.*factory="):
        draw_fresh(halved(Scaled(), 8), None)


def test_without_a_constructor_layers_are_reset() -> None:
    """PyTorch's own rule is used for the layers of a bare network."""
    narrow = nn.Sequential(nn.Conv2d(16, 64, 3), nn.ReLU(), nn.Conv2d(64, 64, 3))
    with torch.no_grad():
        narrow[2].weight.fill_(7.0)
    draw_fresh(narrow, None)
    assert stds(narrow)["2.weight"] == pytest.approx(1 / math.sqrt(3 * 64 * 9), rel=0.05)


def test_a_constructor_that_differs_each_time_is_refused() -> None:
    """A network that is built otherwise the second time has no fresh weights to speak of."""
    made: list[int] = []

    def build() -> nn.Module:
        made.append(1)
        return nn.Sequential(*[nn.Conv2d(3, 3, 1) for _ in range(len(made) + 1)])

    with pytest.raises(ConfigError, match="layers the first time"):
        draw_fresh(build(), build)
