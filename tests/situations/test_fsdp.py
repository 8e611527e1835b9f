"""FSDP2, `fully_shard`, on two processes."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from torch import distributed, nn
from torch.distributed.checkpoint.state_dict import (
    StateDictOptions,
    get_model_state_dict,
    get_optimizer_state_dict,
    set_model_state_dict,
    set_optimizer_state_dict,
)
from torch.distributed.fsdp import FullyShardedDataParallel, fully_shard
from torch.optim import Optimizer

import widthwise as ww
from documented import block
from loops import (
    HALF,
    IMAGES,
    Attach,
    Net,
    Program,
    attach,
    loss_of,
    nothing,
    plain,
    require_carried,
    sgd,
)
from processes import Done, Work, on_two_processes
from widthwise.errors import ConfigError, SearchError

WHOLE = StateDictOptions(full_state_dict=True)


def sharded(net: nn.Module, attach: Attach) -> Program:
    """The search is attached, then the network is sharded."""
    search = attach(net)
    fully_shard(net, mesh=distributed.device_mesh.init_device_mesh("cpu", (2,)))
    optimizer = sgd(net)

    def step(number: int) -> None:
        optimizer.zero_grad()
        loss_of(net, number).backward()
        optimizer.step()

    return Program(net, optimizer, step, search)


def gathered(program: Program) -> tuple[Program, Optimizer]:
    """The same network, search and optimizer, whole in every process."""
    whole = plain(Net(seed=5), attach if program.search else nothing)
    whole.model.load_state_dict(get_model_state_dict(program.model, options=WHOLE))
    state = get_optimizer_state_dict(program.model, program.optimizer, options=WHOLE)
    set_optimizer_state_dict(whole.model, whole.optimizer, state, options=WHOLE)
    if whole.search is not None and program.search is not None:
        whole.search.load_state_dict(program.search.state_dict())
    return whole, whole.optimizer


def cut(rank: int, folder: Path) -> None:
    program = sharded(Net(), nothing).run(3)
    with pytest.raises(ConfigError, match=r"spread over processes(?s:.*)get_model_state_dict"):
        ww.trace(program.model, IMAGES[:2])
    whole, _ = gathered(program)
    expected = plain(Net(), nothing).run(3).model
    for tensor, other in zip(whole.model.parameters(), expected.parameters(), strict=True):
        torch.testing.assert_close(tensor, other)
    plan = ww.plan(ww.trace(whole.model, IMAGES[:2]), score=ww.scores.L1(), budget=HALF)
    small = ww.shrink(whole.model, plan)
    with pytest.raises(ConfigError, match="spread over processes"):
        ww.shrink(program.model, plan)
    sharded(small, nothing).run(1)
    assert small.stem.weight.shape[0] == plan.widths["stem"]


def search(rank: int, folder: Path) -> None:
    program = sharded(Net(), attach).run(4)
    expected = plain(Net(), attach).run(4)
    assert program.search is not None and expected.search is not None
    torch.testing.assert_close(program.latents, expected.latents)
    for mine, plain_one in zip(program.search.history, expected.search.history, strict=True):
        assert mine == plain_one
    for end in (program.search.finish, program.search.abandon):
        with pytest.raises(ConfigError, match="spread over processes"):
            end()
    program.run(1, first=4)


def finish(rank: int, folder: Path) -> None:
    whole, optimizer = gathered(sharded(Net(), attach).run(3))
    assert whole.search is not None
    small, plan = whole.search.finish(optimizer)
    require_carried(optimizer, small)
    assert plan == plain_plan()
    state = get_optimizer_state_dict(small, optimizer, options=WHOLE)
    again = sharded(small, nothing)
    set_optimizer_state_dict(small, again.optimizer, state, options=WHOLE)
    again.run(2)
    momentum = again.optimizer.state[small.norm.weight]["momentum_buffer"]
    assert momentum.shape == (plan.widths["stem"],)


def plain_plan() -> ww.Plan:
    program = plain(Net(), attach).run(3)
    assert program.search is not None
    return program.search.finish()[1]


def resume(rank: int, folder: Path) -> None:
    straight = sharded(Net(), attach).run(6)
    first = sharded(Net(), attach).run(3)
    assert first.search is not None and straight.search is not None
    state = get_model_state_dict(first.model, options=WHOLE)
    momenta = get_optimizer_state_dict(first.model, first.optimizer, options=WHOLE)
    if rank == 0:
        torch.save([state, momenta, first.search.state_dict()], folder / "checkpoint.pt")
    distributed.barrier()
    state, momenta, steps = torch.load(folder / "checkpoint.pt", weights_only=True)
    second = sharded(Net(seed=7), attach)
    set_model_state_dict(second.model, state, options=WHOLE)
    set_optimizer_state_dict(second.model, second.optimizer, momenta, options=WHOLE)
    assert second.search is not None
    second.search.load_state_dict(steps)
    second.run(3, first=3)
    assert torch.equal(second.latents, straight.latents)
    assert second.search.history == straight.search.history


def documented(rank: int, folder: Path) -> None:
    program = sharded(Net(), attach).run(3)
    names = {"ww": ww, "Net": Net, "images": IMAGES[:2], "half": HALF}
    names |= {"model": program.model, "search": program.search}
    exec(block("get_model_state_dict"), names)
    assert names["plan"] == plain_plan()


def sharded_first(rank: int, folder: Path) -> None:
    second = sharded(Net(), nothing).model
    first = FullyShardedDataParallel(Net(), device_id=torch.device("cpu"))
    for model in (second, first):
        with pytest.raises(ConfigError, match=r"attach a search, before it is sharded"):
            ww.methods.dhp(model, IMAGES[:2], budget=HALF)


def in_blocks(rank: int, folder: Path) -> None:
    blocks = nn.Sequential(nn.Sequential(nn.Conv2d(3, 8, 3), nn.ReLU()), nn.Conv2d(8, 8, 3))
    ww.methods.dhp(blocks, IMAGES[:2], budget=HALF)
    fully_shard(blocks[0], mesh=distributed.device_mesh.init_device_mesh("cpu", (2,)))
    fully_shard(blocks, mesh=distributed.device_mesh.init_device_mesh("cpu", (2,)))
    with pytest.raises(SearchError, match=r"latents of the search are sharded(?s:.*)at once"):
        blocks(IMAGES)


@pytest.fixture(scope="module")
def done(tmp_path_factory: pytest.TempPathFactory) -> Done:
    works = (cut, search, finish, resume, documented, sharded_first, in_blocks)
    return on_two_processes(works, tmp_path_factory.mktemp("fsdp"))


@pytest.mark.parametrize("work", [cut, search, finish, resume])
def test_attached_first(done: Done, work: Work) -> None:
    """A search goes as in a plain loop; its end, and a cut, are of a gathered network."""
    done.require(work)
    assert work.__name__ in done.names


def test_sharded_first(done: Done) -> None:
    """A search of a network that is sharded is refused with the order that works."""
    done.require(sharded_first)
    assert "sharded_first" in done.names


def test_documented(done: Done) -> None:
    """The block of docs/situations.md finds the plan of a plain loop."""
    done.require(documented)
    assert "documented" in done.names


def test_blocks(done: Done) -> None:
    """So is the block that holds the latents if it is sharded by itself."""
    done.require(in_blocks)
    assert "in_blocks" in done.names
