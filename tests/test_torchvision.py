"""Every classification network of torchvision goes through trace, plan, shrink and proof."""

from __future__ import annotations

import gc
import sys
from collections.abc import Iterator

import pytest

from torchvision_all import BUDGET, Row, all_names, check, table

# One of each kind of structure, small enough for every run.
QUICK = (
    "alexnet",
    "googlenet",
    "mnasnet0_5",
    "mobilenet_v3_small",
    "regnet_y_400mf",
    "resnet18",
    "shufflenet_v2_x0_5",
    "squeezenet1_1",
)


@pytest.fixture(scope="module")
def rows() -> Iterator[list[Row]]:
    """The rows of the table, which is printed at the end (`pytest -s` shows it)."""
    collected: list[Row] = []
    yield collected
    sys.stdout.write(f"\n{table(collected)}\n")


@pytest.mark.parametrize(
    "name",
    [pytest.param(n, marks=() if n in QUICK else pytest.mark.slow) for n in all_names()],
)
def test_half_the_macs_with_proof(name: str, rows: list[Row]) -> None:
    """L1 at half the MACs lands within 1 % of the budget and the shrunk network is proven."""
    row = check(name)
    gc.collect()
    rows.append(row)
    assert BUDGET - 0.01 < row.kept_macs <= BUDGET
    assert row.proof_error < 1e-5
