"""What a network is trained with out of stored pairs."""

from __future__ import annotations

import pytest
import torch

from widthwise.data.frame_pairs import MARGIN, STORED_SIDE
from widthwise.models.siamese import SEARCH_SIDE, STRIDE
from widthwise.tasks.tracking.pairs import balanced_loss, labels, middle_pair, training_pair


def marked_pairs(count: int) -> tuple[torch.Tensor, torch.Tensor]:
    """Black crops with a bright cross in the middle of the search crop."""
    templates = torch.zeros(count, 3, 64, 64, dtype=torch.uint8)
    searches = torch.zeros(count, 3, STORED_SIDE, STORED_SIDE, dtype=torch.uint8)
    middle = STORED_SIDE // 2
    searches[:, :, middle - 1 : middle + 1, middle - 1 : middle + 1] = 255
    return templates, searches


def test_the_target_is_where_it_is_said_to_be() -> None:
    """Shifted and mirrored, its middle lies as far from the crop's as the distance tells."""
    pairs = marked_pairs(64)
    (_, crops), distances = training_pair(pairs, seed=1)
    bright = crops.mean(1) > 0.3
    for seen, distance in zip(bright, distances, strict=True):
        rows, columns = seen.nonzero().float().mean(0).add(0.5).tolist()
        assert columns - SEARCH_SIDE / 2 == pytest.approx(float(distance[0]))
        assert rows - SEARCH_SIDE / 2 == pytest.approx(float(distance[1]))
    assert distances.abs().max() <= MARGIN
    assert len(distances[:, 0].unique()) > 10


def test_seeds_decide_what_is_random() -> None:
    """The same seed gives the same pair, and what is given is not changed."""
    templates = torch.randint(0, 256, (4, 3, 64, 64)).to(torch.uint8)
    searches = torch.randint(0, 256, (4, 3, STORED_SIDE, STORED_SIDE)).to(torch.uint8)
    kept = templates.clone(), searches.clone()
    first, again, other = (training_pair((templates, searches), seed=seed) for seed in (5, 5, 6))
    assert torch.equal(first[0][1], again[0][1])
    assert not torch.equal(first[1], other[1])
    assert torch.equal(templates, kept[0])
    assert torch.equal(searches, kept[1])


def test_in_tests_the_target_is_in_the_middle() -> None:
    """Nothing is drawn, and the middle is cut out."""
    (_, crops), distances = middle_pair(marked_pairs(2))
    assert crops.shape == (2, 3, SEARCH_SIDE, SEARCH_SIDE)
    assert (crops[0, 0] > 0.5).nonzero().float().mean(0).tolist() == [63.5, 63.5]
    assert not distances.any()


def test_cells_on_the_target_are_marked() -> None:
    """Those within the radius, and the nearest one however small it is."""
    there = torch.tensor([[0.0, 0.0], [STRIDE * 2.0, -STRIDE * 1.0], [3.0, 0.0]])
    marks = labels(there, cells=9, radius=STRIDE)
    assert marks.sum((1, 2, 3)).tolist() == [5, 5, 2]
    assert marks[1, 0, 3, 6] == 1
    single = labels(there[:2], cells=9, radius=0.1)
    assert single[:, 0].nonzero().tolist() == [[0, 4, 4], [1, 3, 6]]


def test_target_and_surroundings_weigh_the_same() -> None:
    """However few cells are marked, a wrong answer on all of them costs as much."""
    wanted = labels(torch.zeros(1, 2), cells=9, radius=8)
    missed, seen_everywhere = torch.full((1, 1, 9, 9), -20.0), torch.full((1, 1, 9, 9), 20.0)
    assert float(balanced_loss(missed, wanted)) == pytest.approx(10, rel=1e-4)
    assert float(balanced_loss(seen_everywhere, wanted)) == pytest.approx(10, rel=1e-4)
    right = torch.where(wanted > 0, 20.0, -20.0)
    assert float(balanced_loss(right, wanted)) < 1e-6
