"""Kernels from pairs of latents, a block at a time."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from widthwise.search.handles import generation

PAIRS, EMBEDDING = 37, 3
NAMES = ("pair", "w1", "b1", "w2", "b2")


def drawn(taps: int) -> list[Tensor]:
    """Values of a hypernetwork, in double precision."""
    generator = torch.Generator().manual_seed(taps)
    shapes = ((), (EMBEDDING,), (EMBEDDING,), (EMBEDDING, taps), (taps,))
    return [
        torch.randn(*shape, PAIRS, generator=generator, dtype=torch.double).requires_grad_()
        for shape in shapes
    ]


@pytest.fixture
def in_blocks(monkeypatch: pytest.MonkeyPatch) -> None:
    """Blocks of five pairs, the last one of two."""
    monkeypatch.setattr(generation, "_BLOCK", 5 * EMBEDDING * 9)
    assert generation._blocks(drawn(9)[3])[-1] == slice(35, 40)


@pytest.mark.usefixtures("in_blocks")
@pytest.mark.parametrize("taps", [1, 9])
def test_blocks_change_no_kernel_and_no_gradient(
    taps: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Against the formula at once, and its gradients by autograd."""
    monkeypatch.setattr(generation, "_MANY", 1 if taps == 9 else 0)
    blocks, whole = drawn(taps), drawn(taps)
    kernels, expected = generation.generate(*blocks), generation._at_once(*whole)
    assert "InBlocks" in type(kernels.grad_fn).__name__
    torch.testing.assert_close(kernels, expected)
    probe = torch.randn_like(expected)
    for found in (kernels, expected):
        (found * probe).sum().backward()
    for name, mine, theirs in zip(NAMES, blocks, whole, strict=True):
        torch.testing.assert_close(mine.grad, theirs.grad, msg=name)


@pytest.mark.parametrize("embedding", [1, 3, 8])
def test_a_kernel_has_the_same_bits_alone_and_with_others(embedding: int) -> None:
    """Wherever its pair lies: what is cut is what was trained."""
    generator = torch.Generator().manual_seed(0)
    shapes = ((), (embedding,), (embedding,), (embedding, 9), (9,))
    values = [torch.randn(*shape, 4099, generator=generator) for shape in shapes]
    together = generation.generate(*values)
    for start, end in ((0, 1), (5, 12), (17, 48), (1000, 4099)):
        alone = generation.generate(*(each[..., start:end] for each in values))
        assert torch.equal(alone, together[:, start:end]), (start, end)


@pytest.mark.usefixtures("in_blocks")
def test_gradients_have_gradients() -> None:
    """A penalty on gradients goes through a search too, also where a part is not trained."""
    values = drawn(9)
    values[1].requires_grad_(False)
    trained = [each for each in values if each.requires_grad]

    def kernels(*given: Tensor) -> Tensor:
        pair, b1, w2, b2 = given
        return generation.generate(pair, values[1], b1, w2, b2)

    assert torch.autograd.gradcheck(kernels, trained)
    assert torch.autograd.gradgradcheck(kernels, trained)


@pytest.mark.usefixtures("in_blocks")
def test_transforms_of_functions_see_through_it() -> None:
    """`torch.func.grad` gives the gradients of autograd."""
    values = drawn(9)
    generation.generate(*values).square().sum().backward()
    of_all = torch.func.grad(lambda *v: generation.generate(*v).square().sum(), argnums=(0, 3))
    for name, found in zip(("pair", "w2"), of_all(*(v.detach() for v in values)), strict=True):
        torch.testing.assert_close(found, values[NAMES.index(name)].grad)
