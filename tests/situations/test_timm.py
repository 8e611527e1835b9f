"""The parts of timm's training script: optimizers, schedules, scaler, average, checkpoints."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from timm.models import load_checkpoint, resume_checkpoint
from timm.optim import create_optimizer_v2
from timm.scheduler import create_scheduler_v2
from timm.utils import CheckpointSaver, ModelEmaV3, NativeScaler
from torch import nn
from torch.optim import Optimizer

import widthwise as ww
from loops import (
    Attach,
    Net,
    Program,
    attach,
    check_cut,
    check_finish,
    check_search,
    loss_of,
    nothing,
    plain,
    require_carried,
)


def script(
    net: nn.Module, attach: Attach, optimizer: Optimizer | None = None, *, opt: str = "momentum"
) -> Program:
    """What timm's script makes, in its order; the search is attached once the network is built."""
    search = attach(net)
    if optimizer is None:
        # Two groups: weights, and what weight decay does not touch, such as the latents.
        optimizer = create_optimizer_v2(net, opt=opt, lr=0.1, weight_decay=1e-5, momentum=0.9)
    scaler = NativeScaler(device="cpu")
    average = ModelEmaV3(net, decay=0.9)
    scheduler, _ = create_scheduler_v2(optimizer, "step", decay_epochs=2, decay_rate=0.5)

    def step(number: int) -> None:
        optimizer.zero_grad()
        with torch.autocast("cpu", torch.bfloat16):
            loss = loss_of(net, number)
        scaler(loss, optimizer, clip_grad=100.0, parameters=net.parameters())
        average.update(net)
        scheduler.step(number)

    return Program(net, optimizer, step, search, (scaler, average, scheduler))


def by_hand(net: nn.Module, attach: Attach) -> Program:
    """A plain loop with the learning rates of that schedule."""
    program = plain(net, attach)
    step = program.step

    def step_and_decay(number: int) -> None:
        step(number)
        program.optimizer.param_groups[0]["lr"] = 0.1 * 0.5 ** (number // 2)

    return Program(net, program.optimizer, step_and_decay, program.search)


def test_cut() -> None:
    """A network that the script trained is cut as any."""
    check_cut(script)


def test_search() -> None:
    """A search takes the steps of a plain loop with the same learning rates."""
    check_search(script, tolerance=1e-2, like=by_hand)


@pytest.mark.parametrize("opt", ["momentum", "adamw", "lamb", "lion", "adafactor", "muon"])
def test_finish(opt: str) -> None:
    """Each optimizer goes on with the narrow network, group by group, and so do its schedules."""
    if opt == "momentum":
        check_finish(script)
    program = script(Net(), attach, opt=opt).run(3)
    assert program.search is not None
    _, average, scheduler = program.others
    rates = [group["lr"] for group in program.optimizer.param_groups]
    small, plan = program.search.finish(program.optimizer)
    require_carried(program.optimizer, small)
    assert [group["lr"] for group in program.optimizer.param_groups] == rates
    average.module = ww.shrink(average.module, plan)
    scheduler.step(8)
    assert [group["lr"] for group in program.optimizer.param_groups] != rates
    script(small, nothing, program.optimizer).run(2)
    average.update(small)
    assert average.module.head.weight.shape == small.head.weight.shape


def test_resume(tmp_path: Path) -> None:
    """Timm's own checkpoint holds all but the state of the search, which is saved beside it."""
    straight = script(Net(), attach).run(6)
    first, second = script(Net(), attach).run(3), script(Net(seed=7), attach)
    assert first.search is not None and second.search is not None and straight.search is not None
    scaler, average, _ = first.others
    saver = CheckpointSaver(
        first.model, first.optimizer, model_ema=average, amp_scaler=scaler,
        checkpoint_dir=str(tmp_path), recovery_dir=str(tmp_path),
    )  # fmt: skip
    saver.save_checkpoint(epoch=2)
    torch.save(first.search.state_dict(), tmp_path / "search.pt")

    scaler, average, scheduler = second.others
    last = str(tmp_path / "last.pth.tar")
    epoch = resume_checkpoint(second.model, last, second.optimizer, scaler, log_info=False)
    load_checkpoint(average.module, last, use_ema=True)
    second.search.load_state_dict(torch.load(tmp_path / "search.pt", weights_only=True))
    assert epoch == 3
    scheduler.step(epoch - 1)
    second.run(3, first=3)
    assert torch.equal(second.latents, straight.latents)
    assert second.search.history == straight.search.history
    assert torch.equal(average.module.head.weight, straight.others[1].module.head.weight)
