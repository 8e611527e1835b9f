"""The search as a callback of the user's own LightningModule."""

from __future__ import annotations

import warnings
from pathlib import Path
from typing import Any

import lightning as L
import pytest
import torch
from lightning.pytorch.callbacks import ModelCheckpoint
from torch import Tensor, nn
from torch.utils.data import DataLoader

import widthwise as ww
from widthwise.errors import SearchError
from widthwise.lightning import WidthSearch
from widthwise.methods import dhp
from widthwise.tasks.fit import quiet_lightning

IMAGES = torch.linspace(-1, 1, 32 * 1 * 6 * 6).sin().reshape(32, 1, 6, 6)


class Mine(L.LightningModule):
    """A module as users write them: it knows nothing about widths."""

    def __init__(self, optimizers: int = 1) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.count = optimizers
        self.automatic_optimization = optimizers == 1
        self.net = nn.Sequential(
            *(nn.Conv2d(1, 12, 3, padding=1), nn.BatchNorm2d(12), nn.ReLU()),
            *(nn.Conv2d(12, 16, 3, padding=1), nn.ReLU()),
            *(nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(16, 3)),
        )

    def training_step(self, batch: Tensor, batch_idx: int) -> Tensor:
        return self.net(batch).square().mean()

    def configure_optimizers(self) -> Any:
        made = [torch.optim.SGD(self.parameters(), lr=0.1) for _ in range(self.count)]
        return made if self.count > 1 else made[0]


def make_search(**settings: Any) -> WidthSearch:
    chosen = {"sparsity": 0.2, "check_every": 2, "min_width": 1, **settings}
    return WidthSearch("net", lambda net: dhp(net, IMAGES[:2], budget=ww.Macs(0.5), **chosen))


def fit(
    module: Mine, *callbacks: L.Callback, epochs: int, resume: str | None = None, **settings: Any
) -> L.Trainer:
    """Train quietly on the CPU."""
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
        trainer.fit(module, DataLoader(IMAGES, batch_size=8), ckpt_path=resume)
    return trainer


def test_a_search_runs_until_its_budget_and_stops_the_trainer() -> None:
    """The trainer ends when the search is done, and the small network meets the budget."""
    module, search = Mine(), make_search()
    trainer = fit(module, search, epochs=100)
    assert search.search.done
    assert trainer.current_epoch < 100
    small, plan = search.finish()
    assert plan.macs() <= 0.5 * plan.full_macs
    assert small(IMAGES).shape == (32, 3)
    assert next(small.parameters()).shape[0] == plan.widths["0"]


def test_only_optimizer_steps_count() -> None:
    """With gradients accumulated over two batches, half as many steps of the search are made."""
    search = make_search(sparsity=0.0)
    fit(Mine(), search, epochs=3, accumulate_grad_batches=2)
    assert search.search.history[-1]["step"] == 6


def test_a_search_that_was_done_trains_no_further(tmp_path: Path) -> None:
    """A checkpoint saved when the budget was reached resumes to the same latents."""
    first = make_search()
    trainer = fit(Mine(), first, ModelCheckpoint(tmp_path, filename="done"), epochs=100)
    second = make_search()
    fit(Mine(), second, epochs=100, resume=str(tmp_path / "done.ckpt"))
    assert trainer.current_epoch > 0
    assert torch.equal(second.search.handle.latents, first.search.handle.latents)


def test_an_unknown_network_is_named() -> None:
    """The error lists the modules there are."""
    search = WidthSearch("network", lambda net: dhp(net, IMAGES[:2], budget=ww.Macs(0.5)))
    with pytest.raises(SearchError, match=r"`Mine` has no network `network`(?s:.*)`net`"):
        fit(Mine(), search, epochs=1)


def test_two_optimizers_are_refused() -> None:
    """The error says how many there are and why one is needed."""
    with pytest.raises(SearchError, match=r"has 2(?s:.*)learning rate"):
        fit(Mine(optimizers=2), make_search(), epochs=1)


def test_before_fitting_there_is_no_search() -> None:
    """Finishing too early is an error that says when the search is attached."""
    with pytest.raises(SearchError, match="not attached yet"):
        make_search().finish()


def test_quiet_lightning_lets_other_warnings_through() -> None:
    """Only what Lightning says is silenced, and only inside."""
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        with quiet_lightning():
            warnings.warn("mine", UserWarning, stacklevel=1)
    assert [str(w.message) for w in caught] == ["mine"]
