"""What rules ask and what they say: a pass that is not written down hears both."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import Tensor

from widthwise.graph.recording.ledger import PassLedger
from widthwise.rules import Ids, Label, Op, blank
from widthwise.rules.ledger import NO_NOTES, Labels, Notes

FIRST, SECOND = np.array([0, 1, 2]), np.array([3, 4, 5])


class Given:
    """Labels that a test gives; ids from 100 on belong to no parameter."""

    def __init__(self, *labels: tuple[Tensor, Label]) -> None:
        self._labels = labels
        self.count = 100
        self.asked: list[Ids] = []

    def label(self, tensor: Tensor) -> Label:
        found = (label for known, label in self._labels if known is tensor)
        return next(found, blank(tensor.dim()))

    def is_weight(self, tensor: Tensor) -> bool:
        return False

    def is_loose(self, ids: Ids) -> bool:
        return bool((ids >= 100).all())

    def new_ids(self, count: int) -> Ids:
        self.count += count
        return np.arange(self.count - count, self.count)

    def mix(self, ids: Ids) -> bool:
        self.asked.append(ids)
        return bool((ids > 3).any())


def op(labels: Labels, notes: Notes, path: str = "block") -> Op:
    """A call of an addition."""
    return Op(torch.ops.aten.add.Tensor, (), {}, [torch.zeros(1, 3)], path, labels, notes)


def test_nothing_is_written_down_without_notes() -> None:
    """A rule may say anything to `NO_NOTES`; what it asks is answered as ever."""
    labels = Given()
    call = op(labels, NO_NOTES)
    assert call.tie(FIRST, SECOND) is FIRST
    assert call.tie(FIRST, None) is FIRST
    call.equal_counts(np.stack([FIRST, SECOND]))
    call.produce(FIRST)
    call.consume(FIRST)
    call.macs(2, FIRST)
    call.resize("groups", FIRST)
    assert call.loose_ids(2).tolist() == [100, 101]
    assert call.constant_ids(2, "padding").tolist() == [102, 103]
    call.mix(FIRST)
    assert not call.mixes
    call.mix(SECOND, None)
    assert call.mixes and len(labels.asked) == 2


def test_a_pass_takes_down_what_a_rule_says() -> None:
    """Ties, counts, frozen ids with the place, costs and sizes are on the ledger of a pass."""
    ledger = PassLedger(id_count=6, parameter_ids=6)
    call = op(ledger, ledger)
    assert call.tie(FIRST, SECOND) is FIRST
    call.equal_counts(np.stack([FIRST, SECOND]))
    call.tie(FIRST, None)
    call.macs(2, FIRST, 5, None)
    call.resize("groups", FIRST, 7)
    assert [(a.tolist(), b.tolist()) for a, b in ledger.ties] == [([0, 1, 2], [3, 4, 5])]
    assert len(ledger.counts) == 1
    ((frozen, why),) = ledger.frozen
    assert frozen is FIRST and why == "`aten.add` in `block`: meets a dimension of constant size"
    (cost,) = ledger.costs
    assert (cost.coefficient, [f.tolist() for f in cost.factors]) == (10, [[0, 1, 2]])
    assert list(ledger.resized) == [("block", "groups")]
    assert ledger.resized["block", "groups"][1] == 7


@pytest.mark.parametrize("order", [(FIRST, np.array([7, 8, 9])), (np.array([7, 8, 9]), FIRST)])
def test_ids_of_parameters_say_more_than_those_of_repeats(order: tuple[Ids, Ids]) -> None:
    """Where a repeat meets a parameter, the result has the parameter's ids."""
    ledger = PassLedger(id_count=10, parameter_ids=6)
    assert op(ledger, ledger).tie(*order) is FIRST
