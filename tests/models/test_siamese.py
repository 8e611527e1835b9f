"""The siamese tracker: its correlation, its cost, and its cut at any batch size."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

import widthwise as ww
from widthwise.errors import ConfigError
from widthwise.models import resolve
from widthwise.models.siamese import SiameseTracker, correlation


def crops(batch: int) -> tuple[Tensor, Tensor]:
    """A template and a search crop."""
    return torch.rand(batch, 3, 64, 64), torch.rand(batch, 3, 128, 128)


def test_correlation_is_that_of_each_pair() -> None:
    """Folding the batch into the channels gives what one convolution per pair gives."""
    template, search = torch.randn(3, 5, 2, 2), torch.randn(3, 5, 6, 7)
    alone = [torch.nn.functional.conv2d(search[i : i + 1], template[i : i + 1]) for i in range(3)]
    torch.testing.assert_close(correlation(template, search), torch.cat(alone))


def test_template_is_not_counted() -> None:
    """A frame costs the features of the search crop and the correlation."""
    network = SiameseTracker().eval()
    sides = (63, 31, 29, 14, 12)
    layers = ((3, 16), (16, 32), (32, 32), (32, 64), (64, 64))
    features = sum(9 * a * b * s * s for (a, b), s in zip(layers, sides, strict=True))
    assert ww.trace(network, crops(1)).macs() == features + 64 * 4 * 4 * 9 * 9


@pytest.mark.parametrize("traced", [1, 2])
def test_cut_works_at_any_batch(traced: int) -> None:
    """Traced at one batch size, the proven narrow network is the masked one at another."""
    torch.manual_seed(0)
    network = SiameseTracker((8, 8, 8, 16, 16)).eval()
    graph = ww.trace(network, crops(traced))
    assert all(axis.frozen is None for axis in graph.axes.values())
    plan = ww.plan(graph, score=ww.scores.L1(), budget=ww.Macs(0.5))
    small = ww.shrink(network, plan)
    template, search = crops(5)
    together = small(template, search)
    alone = [small(template[i : i + 1], search[i : i + 1]) for i in range(5)]
    assert plan.macs() <= graph.macs() / 2
    torch.testing.assert_close(together, torch.cat(alone))


def test_wrong_widths_are_refused() -> None:
    """Four widths, or one of zero, are an error that says so."""
    with pytest.raises(ConfigError, match="five numbers"):
        SiameseTracker((1, 2, 3, 4))


@pytest.mark.parametrize("backbone", ["resnet18", "mobilenetv2_050"])
def test_backbones_of_timm_are_narrowed(backbone: str) -> None:
    """Up to the layer of eight pixels per cell; the rest of the network is not built."""
    torch.manual_seed(0)
    network = SiameseTracker(backbone=backbone).eval()
    assert network(*crops(2)).shape == (2, 1, 9, 9)
    graph = ww.trace(network, crops(2))
    plan = ww.plan(graph, score=ww.scores.L1(), budget=ww.Macs(0.5))
    assert plan.macs() <= graph.macs() / 2
    assert ww.shrink(network, plan)(*crops(1)).shape == (1, 1, 9, 9)


@pytest.mark.parametrize("backbone", ["no_such_network", "vit_tiny_patch16_224"])
def test_backbones_without_such_features_are_refused(backbone: str) -> None:
    """With what is wanted of one, and some that have it."""
    with pytest.raises(ConfigError, match=f"`{backbone}` cannot be the backbone(.|\\n)*resnet18"):
        SiameseTracker(backbone=backbone)


def test_it_is_found_by_name_with_both_inputs() -> None:
    """Examples of a template and a search crop; one shape cannot stand for both."""
    spec = resolve("widthwise/siamese")
    assert [tuple(each.shape) for each in spec.example()] == [(1, 3, 64, 64), (1, 3, 128, 128)]
    assert spec.build()(*spec.example()).shape == (1, 1, 9, 9)
    with pytest.raises(ConfigError, match=r"takes 2 inputs(.|\n)*--input"):
        spec.example((1, 3, 96, 96))
