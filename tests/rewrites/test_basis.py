"""A basis of shallow filters: exact where it is whole, the best one where it is not."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn

import widthwise as ww
from widthwise.models.registry import resolve
from widthwise.rewrites import Decompose, FilterBasis, Kind

X = torch.randn(2, 8, 9, 9, generator=torch.Generator().manual_seed(0))


def conv() -> nn.Sequential:
    """One convolution with stride, padding and bias."""
    torch.manual_seed(0)
    return nn.Sequential(nn.Conv2d(8, 12, 3, stride=2, padding=1))


def composed(layer: nn.Module, depth: int) -> Tensor:
    """The kernel that a basis and its combinations amount to, part by part."""
    basis, mix = layer.basis.weight.detach(), layer.mix.weight.detach().flatten(1)
    parts = mix.shape[1] // len(basis)
    kernels = [
        torch.einsum("ob,bphw->ophw", mix[:, part * len(basis) : (part + 1) * len(basis)], basis)
        for part in range(parts)
    ]
    assert basis.shape[1] == depth
    return torch.cat(kernels, dim=1)


@pytest.mark.parametrize("depth", [1, 2, 4, 8])
def test_a_whole_basis_changes_nothing(depth: int) -> None:
    """As many filters as are independent: the same outputs, and the same kernel put together."""
    model = conv()
    new = FilterBasis("0", depth).apply(model, X)
    assert torch.allclose(new(X), model(X), atol=1e-5)
    assert torch.allclose(composed(new[0], depth), model[0].weight.detach(), atol=1e-5)
    assert len(new[0].basis.weight) == min(9 * depth, 8 // depth * 12)


@pytest.mark.parametrize("count", [1, 3, 6])
def test_a_smaller_basis_is_the_best_of_its_size(count: int) -> None:
    """No basis found by gradient descent from it, or from chance, comes nearer to the weights."""
    model = conv()
    found = FilterBasis("0", 2, count).apply(model, X)[0]
    wanted = model[0].weight.detach()
    error = (composed(found, 2) - wanted).square().sum()
    for start in range(3):
        generator = torch.Generator().manual_seed(start)
        basis = torch.randn(count, 2, 3, 3, generator=generator, requires_grad=True)
        mix = torch.randn(12, 4, count, generator=generator, requires_grad=True)
        optimizer = torch.optim.LBFGS([basis, mix], max_iter=200)

        def missed(basis: Tensor = basis, mix: Tensor = mix) -> Tensor:
            made = torch.einsum("ojb,bphw->ojphw", mix, basis).reshape(wanted.shape)
            return (made - wanted).square().sum()

        def closure(optimizer=optimizer, missed=missed) -> Tensor:
            optimizer.zero_grad()
            loss = missed()
            loss.backward()
            return loss

        optimizer.step(closure)
        assert missed().item() >= error.item() - 1e-4


def test_filters_over_all_inputs_are_a_decomposition() -> None:
    """The same filters, up to their sign, as singular values give."""
    model = conv()
    basis = FilterBasis("0", 8, 5).apply(model, X)[0]
    pair = Decompose("0", Kind.SVD, rank=5).apply(model, X)[0]
    assert torch.allclose(
        basis.basis.weight.detach().abs(), pair[0].weight.detach().abs(), atol=1e-5
    )


@pytest.mark.parametrize(
    ("depth", "count", "macs", "params"), [(64, 14, 17.49e9, 0.60e6), (32, 32, 19.77e9, 0.74e6)]
)
def test_costs_are_those_of_the_table_but_for_what_it_leaves_out(
    depth: int, count: int, macs: float, params: float
) -> None:
    """DHP, Table 2: no last convolution of the body, and MACs of one part of the inputs only."""
    model, x = resolve("widthwise/srresnet").build(), torch.zeros(1, 3, 128, 128)
    graph = ww.trace(FilterBasis("body.*.conv?", depth, count).apply(model, x), x)
    last, pixels, layers = 64 * 64 * 9, 128**2, 32
    other_parts = layers * (64 // depth - 1) * count * depth * 9 * pixels
    assert graph.macs() - last * pixels - other_parts == pytest.approx(macs, rel=0.003)
    assert graph.params() - last == pytest.approx(params, abs=0.01e6)


def test_wrong_layers_and_numbers_are_refused() -> None:
    """Channels that do not divide, groups, and numbers below one."""
    with pytest.raises(ww.errors.ConfigError, match=r"`0`: 8 input channels are no multiple of 3"):
        FilterBasis("0", 3).apply(conv(), X)
    grouped = nn.Sequential(nn.Conv2d(8, 8, 3, groups=2))
    with pytest.raises(ww.errors.ConfigError, match="it has groups"):
        FilterBasis("0", 2).apply(grouped, X)
    with pytest.raises(ww.errors.ConfigError, match="at least 1"):
        FilterBasis("0", 0)
