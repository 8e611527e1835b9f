"""Kernels in clusters: multiples of a few, which are found, trained, narrowed and removed again."""

from __future__ import annotations

import pytest
import torch
from torch import nn
from torch.nn.utils import parametrize

import widthwise as ww
from widthwise.models.registry import resolve
from widthwise.rewrites import ClusterKernels

X = torch.randn(2, 4, 9, 9, generator=torch.Generator().manual_seed(0))


def convs() -> nn.Sequential:
    """Two convolutions whose kernels are multiples of three, one of them negative, one zero."""
    torch.manual_seed(0)
    few = torch.randn(3, 3, 3)
    few[:, 1, 1] = few[:, 1, 1].abs() + 0.1
    model = nn.Sequential(nn.Conv2d(4, 6, 3, padding=1), nn.ReLU(), nn.Conv2d(6, 5, 3, padding=1))
    for number, layer in enumerate((model[0], model[2])):
        outs, ins = layer.weight.shape[:2]
        multiples = torch.randn(outs, ins, 1, 1)
        multiples[0, 0] = 0
        with torch.no_grad():
            layer.weight.copy_(few[(torch.arange(outs * ins) + number) % 3].view(outs, ins, 3, 3))
            layer.weight.mul_(multiples)
    return model


def test_multiples_of_few_kernels_are_found() -> None:
    """As many clusters as there are kernels: nothing changes, and both layers share them."""
    model = convs()
    new = ClusterKernels("*", 3).apply(model, X)
    assert torch.allclose(new(X), model(X), atol=1e-4)
    shared = {id(each.parametrizations.weight[0].centroids) for each in (new[0], new[2])}
    assert len(shared) == 1


def test_more_clusters_than_kernels_are_no_harm() -> None:
    """Some are shared by none, and nothing is said of it."""
    model = convs()
    assert torch.allclose(ClusterKernels("*", 8).apply(model, X)(X), model(X), atol=1e-4)


def test_every_kernel_is_the_nearest_multiple_of_its_own() -> None:
    """What is left over is at right angles to the shared kernel."""
    torch.manual_seed(1)
    model = nn.Sequential(nn.Conv2d(6, 8, 3), nn.Conv2d(8, 4, 1))
    new = ClusterKernels("0", 5).apply(model, X)
    multiple = new[0].parametrizations.weight[0]
    shared = multiple.centroids.detach()[multiple.index]
    over = model[0].weight.detach() - new[0].weight.detach()
    assert (over * shared).sum((2, 3)).abs().max() < 1e-5
    assert over.abs().max() > 0.01, "five cannot be all forty-eight"


def test_shared_kernels_are_trained_and_made_plain_again() -> None:
    """Gradients reach them and the multiples; PyTorch's own function makes plain layers."""
    new = ClusterKernels("*", 2).apply(convs(), X)
    new(X).square().mean().backward()
    assert all(p.grad is not None and p.grad.abs().sum() > 0 for p in new.parameters())
    plain = new(X)
    for layer in (new[0], new[2]):
        parametrize.remove_parametrizations(layer, "weight")
    assert torch.allclose(new(X), plain, atol=1e-6)
    assert type(new[0]) is nn.Conv2d


def test_clusters_cost_what_was_published() -> None:
    """DHP, Table 2: all MACs, and one multiple and one number for each 3x3 kernel."""
    with torch.device("meta"):
        model, x = resolve("widthwise/srresnet").build(), torch.zeros(1, 3, 128, 128)
        new = ClusterKernels(["body.*", "upsample.*", "tail"]).apply(model, x)
    full, graph = ww.trace(model, x), ww.trace(new, x)
    assert graph.macs() == full.macs()
    rest = sum(p.numel() for p in model.parameters() if p.dim() != 4 or p.shape[-1] != 3)
    kernels = sum(p.numel() // 9 for p in model.parameters() if p.dim() == 4 and p.shape[-1] == 3)
    assert graph.params() == rest + kernels + 256 * 9
    # Published: 0.34 M, a number counted like a multiple.
    assert 2 * kernels == pytest.approx(0.34e6, rel=0.03)


def test_no_kernels_are_refused() -> None:
    """None to share is no network."""
    with pytest.raises(ww.errors.ConfigError, match="At least 1 kernel is shared, got 0"):
        ClusterKernels("0", 0)
