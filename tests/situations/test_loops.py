"""Loops of one process: mixed precision, accumulated gradients, compiled networks."""

from __future__ import annotations

import shutil
from functools import partial
from pathlib import Path

import pytest
import torch
from torch import nn
from torch.amp import GradScaler
from torch.optim import Optimizer

from loops import (
    Attach,
    Program,
    Situation,
    check_cut,
    check_finish,
    check_resume,
    check_search,
    looped,
    loss_of,
    plain,
    sgd,
)


def mixed(
    dtype: torch.dtype, net: nn.Module, attach: Attach, optimizer: Optimizer | None = None
) -> Program:
    """Autocast with a gradient scaler."""
    search = attach(net)
    optimizer = optimizer or sgd(net)
    scaler = GradScaler("cpu", init_scale=256.0)

    def step(number: int) -> None:
        optimizer.zero_grad()
        with torch.autocast("cpu", dtype):
            loss = loss_of(net, number)
        scaler.scale(loss).backward()
        scaler.unscale_(optimizer)
        nn.utils.clip_grad_norm_(net.parameters(), 100.0)
        scaler.step(optimizer)
        scaler.update()

    return Program(net, optimizer, step, search, (scaler,))


def accumulated(net: nn.Module, attach: Attach, optimizer: Optimizer | None = None) -> Program:
    """Every batch twice, at half its loss."""
    search = attach(net)
    optimizer = optimizer or sgd(net)

    def step(number: int) -> None:
        for _ in range(2):
            (loss_of(net, number) / 2).backward()
        optimizer.step()
        optimizer.zero_grad()

    return Program(net, optimizer, step, search)


def compiled_before(
    net: nn.Module, attach: Attach, optimizer: Optimizer | None = None, *, by: str = "aot_eager"
) -> Program:
    """The search gets the compiled network."""
    model = torch.compile(net, backend=by)
    search = attach(model)
    return looped(model, optimizer, search)


def compiled_after(
    net: nn.Module, attach: Attach, optimizer: Optimizer | None = None, *, by: str = "aot_eager"
) -> Program:
    """What is searched is compiled."""
    search = attach(net)
    return looped(torch.compile(net, backend=by), optimizer, search)


def compiled_in_place(
    net: nn.Module, attach: Attach, optimizer: Optimizer | None = None, *, by: str = "aot_eager"
) -> Program:
    """`net.compile()`, before the search."""
    net.compile(backend=by)
    search = attach(net)
    return looped(net, optimizer, search)


LOOPS: dict[str, Situation] = {
    "plain": plain,
    "fp16": partial(mixed, torch.float16),
    "bf16": partial(mixed, torch.bfloat16),
    "accumulated": accumulated,
    "compiled before": compiled_before,
    "compiled after": compiled_after,
    "compiled in place": compiled_in_place,
}
TOLERANCE = {"fp16": 2e-3, "bf16": 1e-2}
"""How far latents are after four steps of 0.02 each."""

# PyTorch's compiler looks at gradients of generated weights, and hides what it is warned of.
pytestmark = pytest.mark.filterwarnings("ignore:The .grad attribute of a Tensor:UserWarning")
every_loop = pytest.mark.parametrize("loop", LOOPS)


@pytest.fixture(autouse=True)
def _compile_anew() -> None:
    """Code that other tests compiled must not count against this one's limit of recompilations."""
    torch.compiler.reset()


@every_loop
def test_cut(loop: str) -> None:
    """A network that was trained so is cut as the network inside is."""
    check_cut(LOOPS[loop])


@every_loop
def test_search(loop: str) -> None:
    """A search takes the steps of a plain loop, and ends within its budget."""
    check_search(LOOPS[loop], TOLERANCE.get(loop, 1e-5))


@every_loop
def test_finish(loop: str) -> None:
    """The optimizer goes on with the narrow network."""
    check_finish(LOOPS[loop])


@every_loop
def test_resume(loop: str, tmp_path: Path) -> None:
    """Stopped and resumed, a search ends as one that was not stopped."""
    check_resume(LOOPS[loop], tmp_path)


@pytest.mark.slow
@pytest.mark.skipif(shutil.which("g++") is None, reason="the usual compiler needs one of C++")
@pytest.mark.parametrize("loop", [compiled_before, compiled_after, compiled_in_place])
def test_inductor(loop: Situation) -> None:
    """The usual compiler gives what the quick one of the other tests gives."""
    situation = partial(loop, by="inductor")
    check_cut(situation)
    check_search(situation)
    check_finish(situation)
