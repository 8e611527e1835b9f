"""Copies of a network that is searched become plain networks."""

from __future__ import annotations

import copy
from collections.abc import Callable

import pytest
import torch
from torch import nn
from torch.optim.swa_utils import AveragedModel, get_ema_multi_avg_fn

import widthwise as ww
from widthwise.network.generated import without_search

X = torch.randn(4, 3, 12, 12, generator=torch.Generator().manual_seed(0))


class Net(nn.Module):
    """Two convolutions with a normalisation between them."""

    def __init__(self) -> None:
        super().__init__()
        self.first, self.norm, self.last = (
            nn.Conv2d(3, 16, 3),
            nn.BatchNorm2d(16),
            nn.Conv2d(16, 4, 3),
        )

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.last(self.norm(self.first(x)).relu())


def searched(steps: int = 3) -> tuple[Net, ww.methods.Search, AveragedModel]:
    """A network in the middle of a search, and an average of its weights."""
    torch.manual_seed(0)
    net = Net()
    search = ww.methods.dhp(net, X, budget=ww.Macs(0.5))
    optimizer = torch.optim.SGD(net.parameters(), lr=0.1)
    average = AveragedModel(net, multi_avg_fn=get_ema_multi_avg_fn(0.5))
    for _ in range(steps):
        optimizer.zero_grad()
        net(X).square().mean().backward()
        optimizer.step()
        search.step(optimizer)
        average.update_parameters(net)
    return net, search, average


@pytest.mark.parametrize("finished", [False, True])
def test_a_copy_is_cut_by_the_plan_of_the_search(finished: bool) -> None:
    """A copy, and an average; while the search is attached, and when it has ended."""
    net, search, average = searched()
    copied = copy.deepcopy(net)
    if finished:
        _, plan = search.finish()
    else:
        plan = ww.plan(ww.trace(Net(), X), score=ww.scores.Uniform(), budget=ww.Macs(0.5))
    for model in (copied, average.module, average):
        small = ww.shrink(model, plan)
        assert type(small) is Net
        assert small.first.out_channels == plan.widths["first"]
        assert [name for name, _ in small.named_parameters()] == [
            name for name, _ in Net().named_parameters()
        ]


def test_the_weights_are_those_that_were_computed() -> None:
    """In the same order as ever; the searched network goes on as it was, and other copies do."""
    net, search, average = searched()
    other = copy.deepcopy(net)
    expected = average.module.first.weight.detach().clone()
    plain = without_search(average.module)
    assert type(plain.first) is nn.Conv2d
    assert list(plain.state_dict()) == list(Net().state_dict())
    assert torch.equal(plain.first.weight, expected)
    assert plain.first.weight.requires_grad
    net.eval()
    assert torch.equal(without_search(net)(X), net(X))
    # Its class is that of the original, whose weight is still generated.
    assert torch.equal(other.eval()(X), net(X))
    net.train()(X).mean().backward()
    assert search.finish()[1].macs() <= 0.5 * ww.trace(Net(), X).macs()


@pytest.mark.parametrize("layout", [torch.contiguous_format, torch.channels_last])
@pytest.mark.parametrize("method", [ww.methods.dhp, ww.methods.hinge])
def test_a_search_leaves_the_layout_in_memory_as_it_is(
    method: Callable[..., ww.methods.Search], layout: torch.memory_format
) -> None:
    """Of weights, and so of everything behind an image of one channel, which has no layout."""
    net = nn.Sequential(nn.Conv2d(1, 16, 3), nn.BatchNorm2d(16), nn.Conv2d(16, 8, 3))
    before = net.to(memory_format=layout)[2].weight.stride()
    image = torch.randn(2, 1, 12, 12)
    method(net, image, budget=ww.Macs(0.5))
    assert net[2].weight.stride() == before
    assert net(image).is_contiguous(memory_format=layout)
    # Also where it is changed while the search goes on.
    net.to(memory_format=torch.channels_last)
    assert net(image).is_contiguous(memory_format=torch.channels_last)


def test_a_network_without_a_search_is_returned_as_it_is() -> None:
    """Not even copied; parametrizations of other kinds stay."""
    net = Net()
    assert without_search(net) is net
    nn.utils.parametrizations.weight_norm(net.first)
    assert without_search(net) is net


def test_what_was_compiled_in_place_is_copied_without_it() -> None:
    """The compiled call is that of the full network: a narrow one with it would compute that."""
    net = Net().eval()
    net.compile(backend="eager")
    plan = ww.plan(ww.trace(net, X), score=ww.scores.L1(), budget=ww.Macs(0.5))
    small = ww.shrink(net, plan)
    assert small._compiled_call_impl is None
    assert net._compiled_call_impl is not None
    hidden: list[int] = []
    small.first.register_forward_hook(lambda *args: hidden.append(args[2].shape[1]))
    small(X)
    assert hidden == [8]


def test_layers_that_share_a_weight_share_it_afterwards() -> None:
    """Also where the search is of a part of a network, whose hooks hang on that part."""

    class Twice(nn.Module):
        """One convolution's weight in two layers."""

        def __init__(self) -> None:
            super().__init__()
            self.a, self.b = nn.Conv2d(8, 8, 1), nn.Conv2d(8, 8, 1)
            self.b.weight = self.a.weight
            self.stem, self.last = nn.Conv2d(3, 8, 1), nn.Conv2d(8, 2, 1)

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return self.last(self.b(self.a(self.stem(x)).relu()))

    whole = nn.Sequential(Twice(), nn.Conv2d(2, 2, 1))
    ww.methods.dhp(whole[0], X, budget=ww.Macs(0.9))
    plain = without_search(copy.deepcopy(whole))
    assert plain[0].a.weight is plain[0].b.weight
    assert not plain[0]._forward_pre_hooks and not plain[0]._forward_hooks
    assert torch.allclose(plain(X), whole(X), atol=1e-6)
