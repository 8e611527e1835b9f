"""Sizes that modules remember for others to read follow a cut where it is known what they tell."""

from __future__ import annotations

import pytest
import timm
import torch
import torch.nn.functional as F
from torch import Tensor, nn

import widthwise as ww


def half(net: nn.Module, inputs: Tensor) -> tuple[nn.Module, ww.Plan, tuple[str, ...]]:
    """Cut a network to half of its MACs; also the sizes that the graph calls stale."""
    graph = ww.trace(net, inputs)
    plan = ww.plan(graph, score=ww.scores.Uniform(), budget=ww.Macs(0.5))
    return ww.shrink(net, plan, verify=False), plan, graph.stale(plan.mask(graph))


@pytest.mark.parametrize(
    "name",
    [
        "resnet18",
        "mobilenetv3_small_100",
        "convnext_atto",
        "efficientnet_b0",
        "regnetx_002",
        "densenet121",
        "vgg11",
    ],
)
def test_a_cut_network_of_timm_gets_a_new_head(name: str) -> None:
    """`num_features`, `head_hidden_size` and those of the head follow, so a new head fits."""
    image = torch.randn(1, 3, 64, 64)
    small, plan, stale = half(timm.create_model(name).eval(), image)
    assert stale == ()
    assert plan.mask and small.forward_features(image).shape[1] == small.num_features
    small.reset_classifier(5)
    assert small(image).shape == (1, 5)


@pytest.mark.parametrize("name", ["resnet18", "mobilenetv3_small_100", "densenet121"])
def test_feature_info_says_what_the_cut_network_has(name: str) -> None:
    """Each entry's `num_chs` is the number of channels its module puts out."""
    small, _, _ = half(timm.create_model(name).eval(), torch.randn(1, 3, 64, 64))
    full = {entry["module"]: entry["num_chs"] for entry in timm.create_model(name).feature_info}
    found: dict[str, int] = {}
    for path in full:
        small.get_submodule(path).register_forward_hook(
            lambda _, __, out, path=path: found.update({path: out.shape[1]})
        )
    small(torch.randn(1, 3, 64, 64))
    assert {entry["module"]: entry["num_chs"] for entry in small.feature_info} == found
    assert all(found[path] < full[path] for path in full)


class Segments(nn.Module):
    """A backbone of timm that returns feature maps, and a head that reads two of them."""

    def __init__(self) -> None:
        super().__init__()
        self.backbone = timm.create_model(
            "test_efficientnet", features_only=True, out_indices=(1, 2), pretrained=False
        )
        low, high = self.backbone.feature_info.channels()
        self.low, self.high = nn.Conv2d(low, 8, 1), nn.Conv2d(high, 8, 1)
        self.last = nn.Conv2d(8, 2, 1)

    def forward(self, x: Tensor) -> Tensor:
        low, high = self.backbone(x)
        return self.last(self.low(low) + F.interpolate(self.high(high), low.shape[-2:]))


def test_a_nested_backbone_tells_its_channels() -> None:
    """`feature_info.channels()` of a features-only network gives the widths after the cut."""
    net = Segments().eval()
    small, _, _ = half(net, torch.randn(1, 3, 64, 64))
    assert small.backbone.feature_info.channels() == [small.low.in_channels, small.high.in_channels]
    assert net.backbone.feature_info.channels() == [net.low.in_channels, net.high.in_channels]


class Block(nn.Module):
    """Remembers what it takes and returns, and a width that nothing says more of."""

    def __init__(self, in_channels: int, out_channels: int, width: int) -> None:
        super().__init__()
        self.in_channels, self.out_channels, self.width = in_channels, out_channels, width
        self.first = nn.Conv2d(in_channels, width, 1)
        self.last = nn.Conv2d(width, out_channels, 1)

    def forward(self, x: Tensor) -> Tensor:
        return self.last(F.relu(self.first(x)))


def test_names_that_tell_of_a_place_follow_it() -> None:
    """`in_channels` and `out_channels` follow; a plain `width` stays, and is called stale."""
    net = nn.Sequential(Block(3, 16, 16), Block(16, 4, 12))
    small, plan, stale = half(net, torch.randn(1, 3, 8, 8))
    trunk = small[0].last.out_channels
    assert trunk < 16
    assert (small[0].out_channels, small[1].in_channels) == (trunk, trunk)
    assert (small[0].in_channels, small[1].out_channels) == (3, 4)
    assert small[0].width == 16 and small[1].width == 12
    assert stale == ("0.width", "1.width")
    assert plan.attributes["0.out_channels"] == (trunk,)
    assert net[0].out_channels == 16


def test_a_size_that_its_place_does_not_have_stays() -> None:
    """An `out_channels` that equals another width, by chance, does not follow that."""
    net = nn.Sequential(Block(3, 16, 12), nn.Conv2d(16, 4, 1))
    net[0].out_channels = 12
    small, _, stale = half(net, torch.randn(1, 3, 8, 8))
    assert small[0].first.out_channels < 12 and small[0].out_channels == 12
    assert "0.out_channels" in stale


class Pyramid(nn.Module):
    """Two maps of equal full width; whether they stay equal depends on who reads them."""

    def __init__(self, tied: bool) -> None:
        super().__init__()
        self.out_channels, self.tied = 8, tied
        self.a, self.b = nn.Conv2d(3, 8, 1), nn.Conv2d(3, 8, 1)

    def forward(self, x: Tensor) -> dict[str, Tensor]:
        a, b = self.a(x), self.b(x)
        return {"a": a, "b": a + b if self.tied else b}


class Reads(nn.Module):
    """Reads both maps of a pyramid by layers of their own, one a little narrower than the other."""

    def __init__(self, tied: bool) -> None:
        super().__init__()
        self.pyramid = Pyramid(tied)
        self.a, self.b = nn.Conv2d(8, 2, 1), nn.Conv2d(8, 2, 3, padding=1)

    def forward(self, x: Tensor) -> Tensor:
        maps = self.pyramid(x)
        return self.a(maps["a"]) + self.b(maps["b"])


@pytest.mark.parametrize("tied", [True, False])
def test_a_size_of_several_maps_follows_if_they_stay_alike(tied: bool) -> None:
    """`out_channels` of maps that are tied follows; of maps that may differ, it is called stale."""
    small, _, stale = half(Reads(tied), torch.randn(1, 3, 8, 8))
    width = small.pyramid.a.out_channels
    assert width < 8
    assert small.pyramid.out_channels == (width if tied else 8)
    assert stale == (() if tied else ("pyramid.out_channels",))


class Products(nn.Module):
    """Every product of two vectors of one full length: no telling which one a size is of."""

    def __init__(self) -> None:
        super().__init__()
        self.out_features = 8
        self.a, self.b = nn.Linear(6, 8), nn.Linear(6, 8)

    def forward(self, x: Tensor) -> Tensor:
        return self.a(x)[..., :, None] * self.b(x)[..., None, :]


class ReadsProducts(nn.Module):
    """Sums products along either side."""

    def __init__(self) -> None:
        super().__init__()
        self.products, self.rows, self.columns = Products(), nn.Linear(8, 2), nn.Linear(8, 2)

    def forward(self, x: Tensor) -> Tensor:
        products = self.products(x)
        return self.rows(products.mean(-1)) + self.columns(products.mean(-2))


def test_a_size_that_two_dims_have_stays() -> None:
    """Of two widths at one place, neither is followed."""
    small, _, stale = half(ReadsProducts(), torch.randn(1, 6))
    assert small.products.a.out_features < 8 or small.products.b.out_features < 8
    assert small.products.out_features == 8 and stale == ("products.out_features",)


class Grouped(nn.Module):
    """Calls group normalisation by function, with its number of groups in an attribute."""

    def __init__(self) -> None:
        super().__init__()
        self.num_groups = 4
        self.first, self.last = nn.Conv2d(3, 8, 1), nn.Conv2d(8, 2, 1)

    def forward(self, x: Tensor) -> Tensor:
        return self.last(F.group_norm(self.first(x), self.num_groups))


def test_attributes_that_rules_resize_are_listed() -> None:
    """What a rule changes in a user's module is listed with what else changes; PyTorch's is not."""
    small, plan, _ = half(Grouped(), torch.randn(1, 3, 4, 4))
    assert small.num_groups == small.first.out_channels // 2 < 4
    assert dict(plan.attributes) == {"num_groups": (small.num_groups,)}
    net = nn.Sequential(nn.Conv2d(3, 8, 1), nn.GroupNorm(4, 8), nn.Conv2d(8, 2, 1))
    small, plan, _ = half(net, torch.randn(1, 3, 4, 4))
    assert small[1].num_groups < 4 and dict(plan.attributes) == {}


def test_remembering_costs_the_network_no_hook() -> None:
    """The network that was traced has no hook and no method of ours."""
    net = timm.create_model("test_resnet").eval()
    before = {path: set(vars(module)) for path, module in net.named_modules()}
    ww.trace(net, torch.zeros(1, 3, 64, 64))
    assert {path: set(vars(module)) for path, module in net.named_modules()} == before
    assert not any(m._forward_hooks or m._forward_pre_hooks for m in net.modules())
