"""Filter groups: the best filters of every group, and as cheap as published."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn

import widthwise as ww
from widthwise.models.registry import resolve
from widthwise.rewrites import FilterBasis, FilterGroups

X = torch.randn(2, 8, 9, 9, generator=torch.Generator().manual_seed(0))


def conv(kernel: int = 3) -> nn.Sequential:
    """One convolution with stride, padding and bias."""
    torch.manual_seed(0)
    return nn.Sequential(nn.Conv2d(8, 12, kernel, stride=2, padding=1))


def composed(pair: nn.Module) -> Tensor:
    """The kernel that filters in groups and their combinations amount to."""
    filters, mix = pair[0].weight.detach(), pair[1].weight.detach().flatten(1)
    size = filters.shape[1]
    parts = [
        torch.einsum("oi,ichw->ochw", mix[:, at : at + size], filters[at : at + size])
        for at in range(0, len(filters), size)
    ]
    return torch.cat(parts, dim=1)


@pytest.mark.parametrize("size", [1, 2, 4, 8])
def test_groups_are_the_best_of_their_size(size: int) -> None:
    """Every group is as near to the weights as its singular values allow."""
    model = conv()
    pair = FilterGroups("0", size).apply(model, X)[0]
    weight = model[0].weight.detach()
    error = (composed(pair) - weight).square()
    for at in range(0, 8, size):
        flat = weight[:, at : at + size].flatten(1)
        left_out = torch.linalg.svdvals(flat)[size:].square().sum()
        assert torch.isclose(error[:, at : at + size].sum(), left_out, rtol=1e-4, atol=1e-6)
    assert pair[0].groups == 8 // size
    assert pair(X).shape == model(X).shape


def test_a_kernel_of_one_loses_nothing() -> None:
    """As many filters as inputs are all that a 1x1 convolution has."""
    model = conv(kernel=1)
    assert torch.allclose(FilterGroups("0", 2).apply(model, X)(X), model(X), atol=1e-5)


def test_one_group_is_a_basis_over_all_inputs() -> None:
    """The same function as a basis as deep as the layer."""
    model = conv()
    first = FilterGroups("0", 8).apply(model, X)
    second = FilterBasis("0", 8, 8).apply(model, X)
    assert torch.allclose(first(X), second(X), atol=1e-5)


def test_a_denoiser_costs_what_was_published() -> None:
    """DHP, Table 3: DnCNN in filter groups has 36.6 % of the MACs and 0.20 M parameters."""
    model, x = resolve("widthwise/dncnn").build(), torch.randn(1, 1, 128, 128)
    graph = ww.trace(FilterGroups("body.*.0", 16).apply(model, x), x)
    assert graph.macs() / ww.trace(model, x).macs() == pytest.approx(0.366, abs=0.005)
    assert graph.params() == pytest.approx(0.20e6, abs=0.005e6)


def test_wrong_sizes_are_refused() -> None:
    """Channels that the size does not divide, and sizes below one."""
    with pytest.raises(ww.errors.ConfigError, match=r"`0`: 8 input channels are no multiple of 3"):
        FilterGroups("0", 3).apply(conv(), X)
    with pytest.raises(ww.errors.ConfigError, match="at least 1 channel, got 0"):
        FilterGroups("0", 0)
