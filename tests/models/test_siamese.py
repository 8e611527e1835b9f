"""The siamese tracker: its correlation, its cost, and its cut at any batch size."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

import widthwise as ww
from widthwise.errors import ConfigError
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
