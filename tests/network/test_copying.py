"""A copied module tree is what `copy.deepcopy` makes, with other tensors in it."""

from __future__ import annotations

import copy
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from widthwise.network.copying import copy_module, named_tensors, to_meta, walk


class Web(nn.Module):
    """Modules and tensors that are reached in more ways than one."""

    def __init__(self) -> None:
        super().__init__()
        self.first = nn.Conv2d(3, 4, 1)
        self.again = self.first
        self.listed = [nn.Linear(4, 4), self.first.weight]
        self.table = {"conv": self.first, 3: (self.first, "x"), "sizes": (1, 2)}
        self.tied = nn.Linear(4, 4)
        self.tied.weight = self.listed[0].weight
        self.other = nn.Sequential(nn.BatchNorm2d(4), nn.LSTM(4, 4))
        self.parent = [self]
        self.act = torch.relu
        self.registers = set[int]()
        self.first.register_forward_hook(print)


def unchanged(_: str, tensor: Tensor) -> Tensor:
    return tensor


def test_what_is_shared_is_shared_in_the_copy() -> None:
    """Aliases, cycles and tied weights are kept, and nothing is shared with the original."""
    web = Web()
    new = copy_module(web, lambda _, tensor: tensor.detach().clone())
    assert isinstance(new, Web)
    assert new.again is new.first is new.table["conv"] is new.table[3][0]
    assert new.first is not web.first
    assert new.listed[1] is new.first.weight is not web.first.weight
    assert new.tied.weight is new.listed[0].weight is not web.tied.weight
    assert new.parent[0] is new
    assert new.act is torch.relu
    assert new.registers == set()
    assert new.registers is not web.registers
    assert list(new.first._forward_hooks.values()) == [print]
    assert new.first._forward_hooks is not web.first._forward_hooks


@pytest.mark.parametrize("module", [Web(), nn.LSTM(3, 4, 2), nn.MultiheadAttention(4, 2)], ids=str)
def test_the_copy_has_the_attributes_that_deepcopy_gives(module: nn.Module) -> None:
    """Every module of the copy has the same attributes, of the same types and reprs."""
    mine, theirs = copy_module(module, unchanged), copy.deepcopy(module)
    for one, other in zip(mine.modules(), theirs.modules(), strict=True):
        assert type(one) is type(other)
        assert list(vars(one)) == list(vars(other))
        assert [type(v) for v in vars(one).values()] == [type(v) for v in vars(other).values()]
        assert repr(one) == repr(other)


class Custom(nn.Linear):
    """Copied by a method of its own."""

    def __deepcopy__(self, memo: dict[int, Any]) -> Custom:
        new = Custom(self.in_features, self.out_features)
        new.made_by = "itself"
        new.weight = memo[id(self.weight)]
        return new


class Stateful(nn.Linear):
    """Leaves a cache out of its state."""

    cache: str | None = None

    def __getstate__(self) -> dict[str, Any]:
        return {**vars(self), "cache": None}


class Delegating(nn.Module):
    """Answers for the module inside."""

    def __init__(self, inside: nn.Module) -> None:
        super().__init__()
        self.inside = inside

    def __getattr__(self, name: str) -> Any:
        try:
            return super().__getattr__(name)
        except AttributeError:
            return getattr(self._modules["inside"], name)


def test_modules_that_copy_themselves_do() -> None:
    """`__deepcopy__`, `__getstate__` and `__getattr__` of a user's class mean what they say."""
    stateful = Stateful(2, 2)
    stateful.cache = "full"
    new = copy_module(nn.Sequential(Custom(2, 2), stateful, Delegating(nn.Linear(2, 2))), to_meta)
    assert new[0].made_by == "itself"
    assert new[0].weight.is_meta
    assert new[1].cache is None
    assert new[2].in_features == 2
    assert new[2].inside.weight.is_meta
    # Odd, but what deepcopy does: it asks the wrapper, and the module inside answers.
    assert type(copy_module(Delegating(Custom(2, 2)), to_meta)) is Custom


def test_results_of_autograd_are_copied_as_values() -> None:
    """A module that keeps a computed tensor, which deepcopy refuses, can be copied."""
    module = nn.Linear(2, 2)
    module.kept = module.weight * 2
    new = copy_module(module, unchanged)
    assert torch.equal(new.kept, module.kept)
    assert new.kept is not module.kept


def test_named_tensors_are_those_of_pytorch() -> None:
    """Parameters come before buffers, each once, under the names that PyTorch gives them."""
    web = Web()
    expected = [*web.named_parameters(), *web.named_buffers()]
    found = list(named_tensors(web))
    assert [name for name, _ in found] == [name for name, _ in expected]
    assert all(a is b for (_, a), (_, b) in zip(found, expected, strict=True))


def test_walk_yields_what_named_modules_yields() -> None:
    """The same modules under the same names in the same order, each once, without missing ones."""
    shared = nn.Sequential(nn.Linear(2, 2), nn.ReLU())
    net = nn.ModuleDict({"a": nn.Sequential(shared, nn.Linear(2, 3)), "b": shared})
    net["a"].register_module("absent", None)
    net["c"] = nn.ModuleList([net["a"][1], nn.Identity()])
    assert list(walk(net)) == list(net.named_modules())
