"""Outputs are compared as they come, and the first that differs is named."""

from __future__ import annotations

import weakref

import pytest
import torch

from widthwise.errors import ProofError
from widthwise.shrinking.differences import Differences, differences


def test_the_first_that_differs_is_named_not_the_worst() -> None:
    """What follows a wrong module is wrong too, and tells nothing."""
    right = [("a", [torch.ones(2)]), ("b", [torch.ones(2)]), ("", [torch.ones(2)])]
    found = [("a", [torch.ones(2)]), ("b", [torch.full((2,), 1.5)]), ("", [torch.zeros(2)])]
    assert differences(right, found).of_all() == ("b", 0.5)


@pytest.mark.parametrize(
    ("right", "found", "name"),
    [
        ([("a", [torch.ones(2)])], [("a", [torch.ones(3)])], "a"),
        ([("a", [torch.ones(2)])], [("b", [torch.ones(2)])], "a"),
        ([("a", [torch.ones(2)])], [], "a"),
        ([], [("b", [torch.ones(2)])], "b"),
        ([("", [torch.ones(2), torch.ones(2)])], [("", [torch.ones(2)])], "the network's output"),
    ],
)
def test_what_one_has_alone_differs(right, found, name) -> None:
    """Another shape, another name, too few and too many."""
    assert differences(right, found).of_all() == (name, float("inf"))


def test_what_has_been_compared_is_dropped() -> None:
    """A detector's outputs in two networks do not fit into memory together."""
    output = torch.ones(2)
    gone = weakref.ref(output)
    result = Differences([("a", [output]), ("b", [torch.ones(1)])])
    del output
    assert gone() is not None
    result.append(("a", [torch.ones(2)]))
    assert gone() is None
    result.append(("b", [torch.ones(1)]))
    assert result.of_all()[1] == 0.0 and result.names == ["a", "b"]


def test_what_is_not_finite_proves_nothing() -> None:
    """NaN differs from itself; a decision may be made from padding."""
    padding, wrong = torch.tensor([float("inf")]), torch.tensor([float("nan")])
    result = differences([("`sort`", [padding])], [("`sort`", [padding])])
    assert result.of_all()[1] == 0.0
    result.require_finite()
    with pytest.raises(ProofError, match="`a`"):
        differences([("a", [wrong])], [("a", [wrong])]).require_finite()
