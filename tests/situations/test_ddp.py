"""`DistributedDataParallel`, on two processes."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from torch import distributed, nn
from torch.nn.parallel import DistributedDataParallel
from torch.optim import Optimizer

import widthwise as ww
from loops import (
    HALF,
    IMAGES,
    Attach,
    Net,
    Program,
    attach,
    check_cut,
    check_finish,
    check_resume,
    check_search,
    looped,
)
from processes import Done, Work, on_two_processes
from widthwise.errors import SearchError


def parallel(net: nn.Module, attach: Attach, optimizer: Optimizer | None = None) -> Program:
    """The search is attached, then the network is wrapped."""
    search = attach(net)
    return looped(DistributedDataParallel(net), optimizer, search)


def compiled_parallel(
    net: nn.Module, attach: Attach, optimizer: Optimizer | None = None
) -> Program:
    """What is wrapped is compiled."""
    search = attach(net)
    model = torch.compile(DistributedDataParallel(net), backend="aot_eager")
    return looped(model, optimizer, search)


def cut(rank: int, folder: Path) -> None:
    check_cut(parallel)


def search(rank: int, folder: Path) -> None:
    check_search(parallel)


def finish(rank: int, folder: Path) -> None:
    check_finish(parallel)


def resume(rank: int, folder: Path) -> None:
    own = folder / str(rank)
    own.mkdir()
    check_resume(parallel, own)


def compiled(rank: int, folder: Path) -> None:
    own = folder / f"compiled{rank}"
    own.mkdir()
    check_cut(compiled_parallel)
    check_search(compiled_parallel)
    check_finish(compiled_parallel)
    check_resume(compiled_parallel, own)


def different_batches(rank: int, folder: Path) -> None:
    """Each process has its own data, and loads the one checkpoint there is."""
    program = parallel(Net(seed=rank), attach)
    for number in range(3):
        program.step(2 * number + rank)
        assert program.search is not None
        program.search.step(program.optimizer)
    if rank == 0:
        torch.save([each.state_dict() for each in program.kept], folder / "checkpoint.pt")
    distributed.barrier()
    resumed = parallel(Net(seed=5 + rank), attach)
    states = torch.load(folder / "checkpoint.pt", weights_only=True)
    for each, state in zip(resumed.kept, states, strict=True):
        each.load_state_dict(state)
    for each in (program, resumed):
        each.step(6 + rank)
        assert each.search is not None
        each.search.step(each.optimizer)
        small, plan = each.search.finish()
        mine = torch.cat([tensor.flatten() for tensor in small.parameters()])
        both = [torch.empty_like(mine) for _ in range(2)]
        # Processes with other widths could not even exchange these.
        distributed.all_gather(both, mine)
        assert torch.equal(both[0], both[1])
        assert plan.macs() <= 0.5 * plan.full_macs
    assert torch.equal(program.latents, resumed.latents)


def wrapped_first(rank: int, folder: Path) -> None:
    """Tracing and cutting look through the wrapper; a search says that it comes before."""
    wrapped = DistributedDataParallel(Net())
    with pytest.raises(SearchError, match=r"dhp\(model(?s:.*)then `DistributedDataParallel"):
        ww.methods.dhp(wrapped, IMAGES[:2], budget=HALF)
    with pytest.raises(SearchError, match=r"dhp\(model(?s:.*)then `DistributedDataParallel"):
        ww.methods.dhp(torch.compile(wrapped), IMAGES[:2], budget=HALF)
    plan = ww.plan(ww.trace(wrapped, IMAGES[:2]), score=ww.scores.L1(), budget=HALF)
    small = DistributedDataParallel(ww.shrink(wrapped, plan))
    small(IMAGES).sum().backward()
    assert type(small.module) is Net


@pytest.fixture(scope="module")
def done(tmp_path_factory: pytest.TempPathFactory) -> Done:
    works = (cut, search, finish, resume, compiled, different_batches, wrapped_first)
    return on_two_processes(works, tmp_path_factory.mktemp("ddp"))


@pytest.mark.parametrize("work", [cut, search, finish, resume])
def test_attached_first(done: Done, work: Work) -> None:
    """With the same batches in both processes, all is as in a plain loop."""
    done.require(work)
    assert work.__name__ in done.names


def test_compiled(done: Done) -> None:
    """The same with `torch.compile` around it."""
    done.require(compiled)
    assert "compiled" in done.names


def test_processes_agree(done: Done) -> None:
    """On different batches, each finds the same widths and weights, and resumes from one file."""
    done.require(different_batches)
    assert "different_batches" in done.names


def test_wrapped_first(done: Done) -> None:
    """A network that is wrapped is cut; a search of it is refused with the order that works."""
    done.require(wrapped_first)
    assert "wrapped_first" in done.names
