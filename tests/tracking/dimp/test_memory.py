"""The memory's law: weights are 1 in sum, the first frame counts, nothing exceeds the capacity."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from widthwise.errors import ConfigError
from widthwise.tracking.dimp.memory import MemorySettings, SampleMemory


def memory(initial: int = 3, capacity: int = 8, **settings: float) -> SampleMemory:
    """Samples are told apart by what their features hold: -1, -2, ... for those at the start."""
    features = -torch.arange(1.0, initial + 1).reshape(-1, 1, 1, 1)
    return SampleMemory(
        features, torch.zeros(initial, 4), MemorySettings(capacity=capacity, **settings)
    )


def add(target: SampleMemory, number: float, rate: float) -> None:
    target.add(torch.full((1, 1, 1), number), torch.full((4,), number), rate=rate)


@given(rates=st.lists(st.sampled_from([0.01, 0.02, 0.3]), max_size=40))
def test_law_of_weights(rates: list[float]) -> None:
    """After any updates the sum is 1, the first frame has a quarter, and its samples are there."""
    kept = memory()
    for number, rate in enumerate(rates):
        add(kept, number, rate)
        torch.testing.assert_close(kept.weights.sum(), torch.tensor(1.0))
        assert kept.weights[:3].sum() >= 0.25 - 1e-6
        assert len(kept.weights) == len(kept.features) == len(kept.boxes) == min(number + 4, 8)
        assert kept.features[:3].flatten().tolist() == [-1, -2, -3]
        torch.testing.assert_close(kept.weights[:3], kept.weights[:1].expand(3))
        assert number in kept.features
        assert torch.equal(kept.boxes[3:, 0], kept.features[3:].flatten())


def test_newer_samples_count_more() -> None:
    """Each new sample gets its rate more than the one before; the first one gets its rate."""
    kept = memory(capacity=20)
    add(kept, 0, 0.1)
    torch.testing.assert_close(kept.weights[3], torch.tensor(0.1))
    for number, rate in ((1, 0.1), (2, 0.2), (3, 0.01)):
        add(kept, number, rate)
        ratio = kept.weights[-1] / kept.weights[-2]
        torch.testing.assert_close(ratio, torch.tensor(1 / (1 - rate)))


def test_first_frame_keeps_its_share() -> None:
    """Where it would fall below, it is a quarter exactly, and without the floor it falls."""
    kept, free = memory(capacity=20), memory(capacity=20, first_share=0.0)
    for number in range(10):
        add(kept, number, 0.3)
        add(free, number, 0.3)
    torch.testing.assert_close(kept.weights[:3].sum(), torch.tensor(0.25))
    assert free.weights[:3].sum() < 0.1


def test_least_weight_is_forgotten() -> None:
    """A full memory replaces the sample that counts least, which is the oldest at one rate."""
    kept = memory()
    for number in range(7):
        add(kept, number, 0.05)
    assert sorted(kept.features[3:].flatten().tolist()) == [2, 3, 4, 5, 6]


def test_no_place_is_an_error() -> None:
    """A memory that the first frame fills is refused."""
    with pytest.raises(ConfigError, match="no place"):
        memory(initial=8)
