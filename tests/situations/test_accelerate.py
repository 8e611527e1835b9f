"""Accelerate, in either order, in full and in mixed precision."""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn
from torch.optim import Optimizer

import widthwise as ww
from documented import block
from loops import (
    HALF,
    IMAGES,
    Attach,
    Net,
    Program,
    Situation,
    attach,
    check_cut,
    check_finish,
    check_search,
    loss_of,
    sgd,
)
from processes import Done, on_two_processes
from widthwise.errors import SearchError
from widthwise.search.search import Search

accelerate = pytest.importorskip("accelerate", reason="a test of Accelerate")


def looped(
    accelerator: Any, model: nn.Module, optimizer: Optimizer, search: Search | None
) -> Program:
    def step(number: int) -> None:
        optimizer.zero_grad()
        accelerator.backward(loss_of(model, number))
        optimizer.step()

    return Program(model, optimizer, step, search, (accelerator,))


def searched_first(
    precision: str, net: nn.Module, attach: Attach, optimizer: Optimizer | None = None
) -> Program:
    """The search is attached, then network and optimizer are prepared."""
    accelerator = accelerate.Accelerator(cpu=True, mixed_precision=precision)
    search = attach(net)
    model, optimizer = accelerator.prepare(net, optimizer or sgd(net))
    return looped(accelerator, model, optimizer, search)


def prepared_first(
    precision: str, net: nn.Module, attach: Attach, optimizer: Optimizer | None = None
) -> Program:
    """The network is prepared, then searched; the optimizer is made and prepared last."""
    accelerator = accelerate.Accelerator(cpu=True, mixed_precision=precision)
    model = accelerator.prepare(net)
    search = attach(model)
    return looped(accelerator, model, accelerator.prepare(optimizer or sgd(model)), search)


ORDERS = {"search first": searched_first, "prepare first": prepared_first}
TOLERANCE = {"no": 1e-5, "bf16": 1e-2}
every_order = pytest.mark.parametrize("order", ORDERS)
every_precision = pytest.mark.parametrize("precision", TOLERANCE)


@pytest.fixture(autouse=True)
def _new_accelerator() -> Iterator[None]:
    """Accelerate keeps one state per process, which has one precision."""
    yield
    accelerate.state.AcceleratorState._reset_state(reset_partial_state=True)


@every_precision
@every_order
def test_cut(order: str, precision: str) -> None:
    """A network that Accelerate trained is cut as the network inside is."""
    check_cut(partial(ORDERS[order], precision))


@every_precision
@every_order
def test_search(order: str, precision: str) -> None:
    """A search takes the steps of a plain loop, and ends within its budget."""
    check_search(partial(ORDERS[order], precision), TOLERANCE[precision])


@every_precision
@every_order
def test_finish(order: str, precision: str) -> None:
    """The prepared optimizer goes on with the narrow network."""
    check_finish(partial(ORDERS[order], precision))


def check_resume(situation: Situation, folder: Path) -> None:
    straight = situation(Net(), attach).run(6)
    first, second = situation(Net(), attach).run(3), situation(Net(seed=7), attach)
    for program in (first, second):
        program.others[0].register_for_checkpointing(program.search)
    first.others[0].save_state(folder)
    first.others[0].wait_for_everyone()
    second.others[0].load_state(folder)
    second.run(3, first=3)
    assert second.search is not None and straight.search is not None
    assert torch.equal(second.latents, straight.latents)
    assert second.search.history == straight.search.history


@every_precision
@every_order
def test_resume(order: str, precision: str, tmp_path: Path) -> None:
    """`save_state` and `load_state` keep a search that is registered for checkpoints."""
    check_resume(partial(ORDERS[order], precision), tmp_path)


def test_documented() -> None:
    """The block of docs/situations.md: the search is in Accelerate's checkpoints."""
    names = {"ww": ww, "torch": torch, "model": Net(), "images": IMAGES[:2], "half": HALF}
    names["accelerator"] = accelerate.Accelerator(cpu=True)
    exec(block("accelerator.prepare"), names)
    assert names["accelerator"]._custom_objects == [names["search"]]


def both_orders(rank: int, folder: Path) -> None:
    check_cut(partial(searched_first, "no"))
    check_search(partial(searched_first, "no"))
    check_finish(partial(searched_first, "no"))
    check_resume(partial(searched_first, "no"), folder / "state")
    with pytest.raises(SearchError, match="attach the search first"):
        prepared_first("no", Net(), attach)
    prepared = accelerate.Accelerator(cpu=True).prepare(Net())
    plan = ww.plan(ww.trace(prepared, IMAGES[:2]), score=ww.scores.L1(), budget=HALF)
    assert type(ww.shrink(prepared, plan)) is Net


def test_two_processes(tmp_path: Path) -> None:
    """Accelerate wraps there: the search comes first, and the other order is refused."""
    done: Done = on_two_processes([both_orders], tmp_path, group=False)
    done.require(both_orders)
    assert "both_orders" in done.names
