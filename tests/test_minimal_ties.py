"""What belongs to one unit, by brute force: narrow less than the graph says, and it must not work.

A unit is taken out of every place that the graph names: each dim of each tensor, and each size
that an attribute repeats. Then places are made wide again, one at a time and several at once. What
still runs and computes what it should was named without need.
"""

from __future__ import annotations

import copy
import warnings
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import combinations
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

import oracles
import widthwise as ww
from cases import BY_NAME, Case, every_case
from strategies import plan_of

TOLERANCE = 1e-5

ONLY_IN_TRAINING = {"aux_head_in_train_mode"}
"""Cases with tensors that no evaluation reads."""

NO_MASK = {
    "tied_weights": "one weight is read through two of its dims",
    "siamese_xcorr": "its last convolution is a function without a weight to zero",
    "non_local": "q and k meet in a product without a weight to zero",
    "einsum_linear": "it has no linear module to zero",
    "embedding": "rows of a table",
}
"""Cases of which the oracle cannot tell what they compute without a channel, and why."""

UNREAD = (
    "in_channels out_channels in_features out_features num_features num_channels num_parameters "
    "embedding_dim kdim vdim head_dim"
).split()
"""Sizes that torch's layers keep for their repr, or to check their input, not to compute. Those of
attention are brought in line because whoever reads them, a further trace too, would be misled."""

AT_MOST = 3
"""Of a unit with many places, so many are left wide together, or narrowed together, at most."""


@dataclass(frozen=True)
class Place:
    """Where a unit occurs: a dim of a tensor, or an attribute of a module."""

    name: str
    """Name of the tensor, or path of the module."""
    part: int | str
    """The dim, or the attribute."""


@dataclass(frozen=True)
class Cut:
    """A network, and the same network without one unit."""

    full: nn.Module
    small: nn.Module
    graph: ww.ChannelGraph
    kept: np.ndarray
    inputs: Any
    axis: str

    @classmethod
    def each(cls, case: Case) -> Iterator[Cut]:
        """Cut one unit of each axis from which two more remain (ones would broadcast)."""
        model = case.build().train(case.name in ONLY_IN_TRAINING)
        graph = ww.trace(model, case.example_inputs)
        rng = np.random.default_rng(0)
        for axis in graph.axes.values():
            if axis.frozen is None and axis.width >= 3:
                kept = graph.everything.copy()
                kept[axis.units.start + rng.integers(axis.width)] = False
                small = ww.shrink(model, plan_of(graph, kept), verify=False)
                yield cls(model, small, graph, kept, case.example_inputs, axis.name)

    @property
    def slots(self) -> list[Place]:
        """Every dim of a tensor in which the unit occurs."""
        return [
            Place(name, dim)
            for name, dims in self.graph.slots.items()
            for dim, units in enumerate(dims)
            if units is not None and not self.kept[units].all()
        ]

    @property
    def attributes(self) -> list[Place]:
        """Every size in an attribute that the cut has changed."""
        return [
            Place(path, name)
            for path, module in self.full.named_modules()
            for name, value in vars(module).items()
            if is_size(value) and getattr(self.small.get_submodule(path), name) != value
        ]

    def sites(self) -> list[list[Place]]:
        """The places, those together that one layer of torch ties: its channels, one side of it."""
        sites: dict[tuple[str, int | str], list[Place]] = {}
        for place in self.slots:
            path = place.name.rpartition(".")[0]
            known = is_layer(self.full.get_submodule(path))
            sites.setdefault((path if known else place.name, place.part), []).append(place)
        for place in self.attributes:
            key: tuple[str, int | str] = (place.name, place.part)
            if is_layer(self.full.get_submodule(place.name)):
                key = next((other for other in sites if other[0] == place.name), key)
            if key in sites or place.part not in UNREAD:
                sites.setdefault(key, []).append(place)
        return list(sites.values())

    def with_wide(self, places: list[Place]) -> nn.Module:
        """The small network with these places as wide as in the full one."""
        variant = copy.deepcopy(self.small)
        dims: dict[str, set[int]] = {}
        for place in places:
            if isinstance(place.part, int):
                dims.setdefault(place.name, set()).add(place.part)
            else:
                value = getattr(self.full.get_submodule(place.name), place.part)
                setattr(variant.get_submodule(place.name), place.part, value)
        for name, wide in dims.items():
            replace(variant, name, self._narrow_but(name, wide))
        return variant

    def _narrow_but(self, name: str, wide: set[int]) -> Tensor:
        tensor = tensors_of(self.full)[name].detach().clone()
        for dim, units in enumerate(self.graph.slots[name]):
            if units is not None and dim not in wide:
                tensor = tensor.index_select(dim, torch.from_numpy(self.kept[units].nonzero()[0]))
        return tensor

    def masked(self, narrow: list[Place] | None = None) -> list[Tensor]:
        """What the full network computes when nobody reads the unit, in these places or in any."""
        slots = {
            name: tuple(
                units if narrow is None or Place(name, dim) in narrow else None
                for dim, units in enumerate(dims)
            )
            for name, dims in self.graph.slots.items()
        }
        graph = SimpleNamespace(slots=slots)
        return oracles.masked_outputs(self.full, graph, self.kept, self.inputs)

    def run(self, model: nn.Module) -> list[Tensor] | None:
        """The outputs of a network; None where it does not run."""
        # The LSTM of oneDNN reads past the end of weights that are too small, and says nothing.
        with warnings.catch_warnings(action="ignore"), torch.backends.mkldnn.flags(enabled=False):
            try:
                return oracles.outputs(copy.deepcopy(model), self.inputs)
            except (RuntimeError, ValueError, AssertionError, IndexError, TypeError):
                return None


def is_size(value: object) -> bool:
    """Tell whether an attribute is a number or a tuple of numbers."""
    items = value if isinstance(value, tuple | list) else (value,)
    return all(isinstance(item, int) for item in items)


def is_layer(module: nn.Module) -> bool:
    """Tell whether a module is one of torch's own, and not merely made of some."""
    return type(module).__module__.startswith("torch.nn")


def tensors_of(model: nn.Module) -> dict[str, Tensor]:
    """Every parameter and buffer by its first name."""
    return {**dict(model.named_parameters()), **dict(model.named_buffers())}


def replace(model: nn.Module, name: str, value: Tensor) -> None:
    """Put another tensor in the place of a parameter or buffer, wherever it is shared."""
    old = tensors_of(model)[name]
    new = nn.Parameter(value) if isinstance(old, nn.Parameter) else value
    for module in model.modules():
        own = (*module.named_parameters(recurse=False), *module.named_buffers(recurse=False))
        # A tensor that one module holds under two names has a name of its own only once.
        for attribute, tensor in own:
            if tensor is old:
                setattr(module, attribute, new)


def alike(found: list[Tensor] | None, expected: list[Tensor]) -> bool:
    """Tell whether outputs are there, of the expected shapes, and equal up to rounding."""
    return (
        found is not None
        and shapes(found) == shapes(expected)
        and oracles.relative_error(found, expected) < TOLERANCE
    )


def shapes(outputs: list[Tensor]) -> list[torch.Size]:
    """The shapes of outputs."""
    return [output.shape for output in outputs]


def can_mask(case: Case) -> bool:
    """Tell whether zeroing weights shows what a case computes without a channel."""
    return case.name not in NO_MASK and not case.mixes_channels


@every_case()
def test_one_unit_less_runs_and_agrees(case: Case) -> None:
    """Without any one unit a network runs, and computes what the masked network does."""
    for cut in Cut.each(case):
        found = cut.run(cut.small)
        assert found is not None, cut.axis
        assert shapes(found) == shapes(oracles.outputs(copy.deepcopy(cut.full), cut.inputs))
        if can_mask(case):
            assert alike(found, cut.masked()), cut.axis


@every_case()
def test_one_place_less_fails_or_disagrees(case: Case) -> None:
    """With a unit left in any one of its places a network fails, or computes something else."""
    for cut in Cut.each(case):
        small = oracles.outputs(copy.deepcopy(cut.small), cut.inputs)
        idle = [
            place
            for place in (*cut.slots, *cut.attributes)
            if place.part not in UNREAD and alike(cut.run(cut.with_wide([place])), small)
        ]
        assert idle == [], f"narrowed without need, with `{cut.axis}`"


@every_case(
    without={
        "sum_of_attributes": "a split that starts elsewhere also runs, on other values",
    }
)
def test_no_part_of_a_unit_can_go_alone(case: Case) -> None:
    """No smaller set of places can be narrowed: what is tied, is tied by need."""
    for cut in Cut.each(case):
        sites = cut.sites()
        full = oracles.outputs(copy.deepcopy(cut.full), cut.inputs)
        everything = [place for site in sites for place in site]
        assert alike(cut.run(cut.with_wide(everything)), full), "the test itself is wrong"
        for count in range(1, len(sites)):
            if min(count, len(sites) - count) > AT_MOST:
                continue
            for chosen in combinations(sites, count):
                wide = [place for site in chosen for place in site]
                found = cut.run(cut.with_wide(wide))
                if found is None or shapes(found) != shapes(full):
                    continue
                narrow = [place for place in everything if place not in wide]
                # Where no mask of weights is the truth, that it runs at all is too much.
                works = not can_mask(case) or alike(found, cut.masked(narrow))
                assert not works, f"`{cut.axis}` can be narrowed in {narrow} alone"


@pytest.mark.parametrize("name", [name for name, case in BY_NAME.items() if case.free])
def test_every_case_has_a_unit_to_take(name: str) -> None:
    """Each case that has a free axis puts the laws of this file to the test."""
    assert any(cut.slots for cut in Cut.each(BY_NAME[name]))
