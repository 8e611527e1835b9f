"""Lightning: the search as a callback, in its precisions and on two processes."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import lightning as L
import pytest
import torch
from lightning.pytorch.callbacks import ModelCheckpoint
from torch import Tensor, distributed, nn
from torch.nn import functional
from torch.utils.data import DataLoader, TensorDataset

import widthwise as ww
from documented import block
from loops import HALF, IMAGES, LABELS, Net, attach, require_carried
from processes import Done, Work, on_two_processes
from widthwise.lightning import WidthSearch
from widthwise.tasks.fit import quiet_lightning

PRECISIONS = ["32-true", "bf16-mixed", "bf16-true"]
every_precision = pytest.mark.parametrize("precision", PRECISIONS)


class Mine(L.LightningModule):
    """A module as users write them: it knows nothing about widths."""

    def __init__(
        self, net: nn.Module | None = None, optimizer: torch.optim.Optimizer | None = None
    ) -> None:
        super().__init__()
        self.net, self.optimizer = Net() if net is None else net, optimizer

    def training_step(self, batch: tuple[Tensor, Tensor], batch_idx: int) -> Tensor:
        return functional.cross_entropy(self.net(batch[0]).float(), batch[1])

    def configure_optimizers(self) -> torch.optim.Optimizer:
        return self.optimizer or torch.optim.SGD(self.parameters(), lr=0.1, momentum=0.9)


def fit(
    module: Mine, *callbacks: L.Callback, epochs: int, resume: Path | None = None, **settings: Any
) -> L.Trainer:
    """Train quietly on the CPU; four steps are an epoch."""
    with quiet_lightning():
        trainer = L.Trainer(
            accelerator="cpu",
            max_epochs=epochs,
            callbacks=list(callbacks),
            logger=False,
            enable_checkpointing=any(isinstance(c, ModelCheckpoint) for c in callbacks),
            enable_progress_bar=False,
            enable_model_summary=False,
            **settings,
        )
        data = DataLoader(TensorDataset(IMAGES, LABELS), batch_size=8)
        trainer.fit(module, data, ckpt_path=resume)
    return trainer


def check_cut(**settings: Any) -> None:
    module = Mine()
    fit(module, epochs=1, **settings)
    net = module.net.eval()
    plan = ww.plan(ww.trace(net, example(net)), score=ww.scores.L1(), budget=HALF)
    small = ww.shrink(net, plan)
    assert small.stem.out_channels == plan.widths["stem"]
    half = settings.get("precision") == "bf16-true"
    assert small.head.weight.dtype == (torch.bfloat16 if half else torch.float32)


def check_search(**settings: Any) -> None:
    """Latents go the same way in every precision: 0.02 a step, and what gradients add."""
    search, plain = (WidthSearch("net", attach) for _ in range(2))
    fit(Mine(), search, epochs=2, **settings)
    fit(Mine(), plain, epochs=2)
    latents = search.search.handle.latents
    assert latents.dtype == torch.float32
    torch.testing.assert_close(latents, plain.search.handle.latents, rtol=0, atol=0.02)
    assert [check["step"] for check in search.search.history] == [2, 4, 6, 8]
    small, plan = search.finish()
    assert plan.macs() <= 0.5 * plan.full_macs
    assert small(example(small)).shape == (2, 5)


def check_finish(**settings: Any) -> None:
    search = WidthSearch("net", attach)
    trainer = fit(Mine(), search, epochs=1, **settings)
    (optimizer,) = trainer.optimizers
    small, plan = search.finish(optimizer)
    require_carried(optimizer, small)
    before = small.body.weight.detach().clone()
    fit(Mine(small, optimizer), epochs=1, **settings)
    assert not torch.equal(small.body.weight, before)
    assert small.stem.out_channels == plan.widths["stem"]


def check_resume(folder: Path, **settings: Any) -> None:
    whole, first, second = (WidthSearch("net", attach) for _ in range(3))
    fit(Mine(), whole, epochs=4, **settings)
    fit(Mine(), first, ModelCheckpoint(folder, filename="two"), epochs=2, **settings)
    fit(Mine(Net(seed=7)), second, epochs=4, resume=folder / "two.ckpt", **settings)
    assert second.search.history == whole.search.history
    assert torch.equal(second.search.handle.latents, whole.search.handle.latents)


def example(net: nn.Module) -> Tensor:
    return IMAGES[:2].to(next(net.parameters()).dtype)


@every_precision
def test_cut(precision: Any) -> None:
    """A network that Lightning trained is cut in the precision of its weights."""
    check_cut(precision=precision)


@every_precision
def test_search(precision: Any) -> None:
    """Latents stay in 32 bits, so that small steps are not lost."""
    check_search(precision=precision)


@every_precision
def test_finish(precision: Any) -> None:
    """The trainer's optimizer goes on with the narrow network in another module."""
    check_finish(precision=precision)


@every_precision
def test_resume(precision: Any, tmp_path: Path) -> None:
    """Two epochs, a checkpoint, and two more epochs elsewhere equal four epochs."""
    check_resume(tmp_path, precision=precision)


@pytest.mark.filterwarnings("ignore:The .grad attribute of a Tensor:UserWarning")
@pytest.mark.parametrize("compiled", ["network", "module"])
def test_compiled(compiled: str) -> None:
    """What is compiled may be the network in the module, or the module around it."""
    torch.compiler.reset()
    net = torch.compile(Net(), backend="aot_eager") if compiled == "network" else Net()
    module = torch.compile(Mine(net), backend="aot_eager") if compiled == "module" else Mine(net)
    search = WidthSearch("net", attach)
    trainer = fit(module, search, epochs=1)
    small, plan = search.finish(trainer.optimizers[0])
    assert type(small) is Net
    assert plan.macs() <= 0.5 * plan.full_macs
    require_carried(trainer.optimizers[0], small)


def test_documented(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The block of docs/situations.md ends in a network within the budget."""
    monkeypatch.chdir(tmp_path)
    batches = DataLoader(TensorDataset(IMAGES, LABELS), batch_size=8)
    names: dict[str, Any] = {"L": L, "ww": ww, "images": IMAGES[:2], "half": HALF}
    names |= {"module": Mine(), "batches": batches}
    with quiet_lightning():
        exec(block("widths.finish"), names)
    assert names["plan"].macs() <= 0.5 * names["plan"].full_macs
    require_carried(names["trainer"].optimizers[0], names["small"])


DDP: dict[str, Any] = {"strategy": "ddp", "devices": 2, "use_distributed_sampler": False}
"""Both processes get all data, so that all is as in one."""


def cut(rank: int, folder: Path) -> None:
    check_cut(**DDP)


def search(rank: int, folder: Path) -> None:
    check_search(**DDP)


def finish(rank: int, folder: Path) -> None:
    check_finish(**DDP)


def resume(rank: int, folder: Path) -> None:
    check_resume(folder, **DDP)


def different_data(rank: int, folder: Path) -> None:
    search = WidthSearch("net", attach)
    trainer = fit(Mine(), search, epochs=2, strategy="ddp", devices=2)
    small, _ = search.finish(trainer.optimizers[0])
    mine = torch.cat([tensor.detach().flatten() for tensor in small.parameters()])
    both = [torch.empty_like(mine) for _ in range(2)]
    distributed.all_gather(both, mine)
    assert torch.equal(both[0], both[1])


@pytest.fixture(scope="module")
def done(tmp_path_factory: pytest.TempPathFactory) -> Done:
    works = (cut, search, finish, resume, different_data)
    return on_two_processes(works, tmp_path_factory.mktemp("ddp"), group=False)


@pytest.mark.parametrize("work", [cut, search, finish, resume])
def test_ddp(done: Done, work: Work) -> None:
    """With the same data in both processes, all is as in one."""
    done.require(work)
    assert work.__name__ in done.names


def test_ddp_agrees(done: Done) -> None:
    """With data of their own, processes find the same widths and weights."""
    done.require(different_data)
    assert "different_data" in done.names
