"""Averages of the weights, of PyTorch and of timm."""

from __future__ import annotations

from functools import partial
from pathlib import Path

import pytest
import torch
from timm.utils import ModelEmaV3
from torch import nn
from torch.optim import Optimizer
from torch.optim.swa_utils import AveragedModel, get_ema_multi_avg_fn

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
    nothing,
    plain,
)


class Pytorchs(AveragedModel):
    """An exponential average by PyTorch."""

    def __init__(self, model: nn.Module) -> None:
        super().__init__(model, multi_avg_fn=get_ema_multi_avg_fn(0.5), use_buffers=True)


class Timms(ModelEmaV3):
    """An exponential average by timm."""

    def __init__(self, model: nn.Module) -> None:
        super().__init__(model, decay=0.5)

    def update_parameters(self, model: nn.Module) -> None:
        self.update(model)


AVERAGES = {"pytorch": Pytorchs, "timm": Timms}
every_average = pytest.mark.parametrize("kind", AVERAGES)


def averaged(
    kind: str, net: nn.Module, attach: Attach, optimizer: Optimizer | None = None
) -> Program:
    """An average that is made when the search is attached, and follows every step."""
    program = plain(net, attach, optimizer)
    average = AVERAGES[kind](net)
    step = program.step

    def step_and_follow(number: int) -> None:
        step(number)
        average.update_parameters(net)

    return Program(net, program.optimizer, step_and_follow, program.search, (average,))


@every_average
def test_cut(kind: str) -> None:
    """An average is cut as a network of the same weights is, whole or by its `.module`."""
    check_cut(partial(averaged, kind))
    (average,) = averaged(kind, Net(), nothing).run(3).others
    plan = ww.plan(ww.trace(average, IMAGES[:2]), score=ww.scores.L1(), budget=HALF)
    for each in (average, average.module):
        small = ww.shrink(each, plan)
        assert type(small) is Net
        kept = list(plan.kept["stem"])
        assert torch.equal(small.norm.weight, average.module.norm.weight[kept])


@every_average
def test_search(kind: str) -> None:
    """An average beside it changes nothing about a search, and is cut by its plan."""
    check_search(partial(averaged, kind))
    program = averaged(kind, Net(), attach).run(4)
    (average,) = program.others
    assert program.search is not None
    expected = average.module.body.weight.detach().clone()
    _, plan = program.search.finish()
    small = ww.shrink(average, plan)
    kept = torch.tensor(plan.kept["body"])[:, None], torch.tensor(plan.kept["stem"])
    assert torch.equal(small.body.weight, expected[kept])


@every_average
def test_finish(kind: str) -> None:
    """With its module cut, an average goes on with the narrow network."""
    check_finish(partial(averaged, kind))
    program = averaged(kind, Net(), attach).run(3)
    (average,) = program.others
    assert program.search is not None
    small, plan = program.search.finish(program.optimizer)
    average.module = ww.shrink(average, plan)
    before = average.module.head.weight.detach().clone()
    plain(small, nothing, program.optimizer).run(2)
    average.update_parameters(small)
    torch.testing.assert_close(average.module.head.weight, (before + small.head.weight) / 2)


@every_average
def test_resume(kind: str, tmp_path: Path) -> None:
    """The average is in the checkpoint."""
    check_resume(partial(averaged, kind), tmp_path)
