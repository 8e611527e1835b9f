"""The Trainer of transformers: a search is a callback of a few lines, in docs/situations.md."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn
from torch.utils.data import Dataset

import widthwise as ww
from documented import block
from loops import HALF, IMAGES, LABELS, attach, require_carried
from widthwise.search.search import Search

pytest.importorskip("accelerate", reason="the Trainer needs it")
transformers = pytest.importorskip("transformers", reason="a test of its Trainer")

DOCUMENTED: dict[str, Any] = {}
exec(block("TrainerCallback"), DOCUMENTED)


class Images(Dataset[dict[str, Any]]):
    """What the Trainer is given: dictionaries."""

    def __len__(self) -> int:
        return len(IMAGES)

    def __getitem__(self, index: int) -> dict[str, Any]:
        return {"pixel_values": IMAGES[index], "labels": LABELS[index]}


def network(seed: int = 0) -> nn.Module:
    """Make a ResNet of two small stages."""
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        return transformers.ResNetForImageClassification(
            transformers.ResNetConfig(
                embedding_size=8, hidden_sizes=[8, 12], depths=[1, 1], layer_type="basic",
                num_labels=5, downsample_in_first_stage=False,
            )
        )  # fmt: skip


def trainer(
    model: nn.Module, folder: Path, *, search: Search | None = None, steps: int, **options: Any
) -> Any:
    """Make a quiet Trainer on the CPU, with the learning rate of other tests."""
    arguments = transformers.TrainingArguments(
        output_dir=str(folder), max_steps=steps, per_device_train_batch_size=8, use_cpu=True,
        learning_rate=0.1, lr_scheduler_type="constant", optim="sgd", optim_args="momentum=0.9",
        report_to=[], disable_tqdm=True, save_strategy=options.pop("save_strategy", "no"),
        dataloader_pin_memory=False, logging_strategy="no", **options,
    )  # fmt: skip
    made = transformers.Trainer(
        model=model,
        args=arguments,
        train_dataset=Images(),
        callbacks=[] if search is None else [DOCUMENTED["WidthSearch"](search)],
    )
    made.remove_callback(transformers.PrinterCallback)
    return made


def test_cut(tmp_path: Path) -> None:
    """A network that the Trainer trained is cut."""
    made = trainer(network(), tmp_path, steps=2)
    made.train()
    model = made.model.eval()
    plan = ww.plan(ww.trace(model, IMAGES[:2]), score=ww.scores.L1(), budget=HALF)
    small = ww.shrink(made.model, plan)
    assert type(small) is type(model)
    assert small(IMAGES).logits.shape == (32, 5)


@pytest.mark.parametrize("bf16", [False, True])
def test_search(bf16: bool, tmp_path: Path) -> None:
    """Every step of the Trainer is one of the search, and gradients may be accumulated."""
    model = network()
    search = attach(model)
    before = search.handle.latents.detach().clone()
    made = trainer(
        model, tmp_path, search=search, steps=4, gradient_accumulation_steps=2, bf16=bf16
    )
    made.train()
    assert [check["step"] for check in search.history] == [2, 4]
    # Each goes 0.02 towards zero in each step, whatever its gradient does to it.
    free = [axis.units for axis in search.graph.axes.values() if axis.frozen is None]
    closer = before.abs() - search.handle.latents.detach().abs()
    assert torch.cat([closer[units] for units in free]).median() == pytest.approx(0.08, abs=0.01)
    small, plan = search.finish()
    assert type(small) is type(model)
    assert plan.macs() <= 0.5 * plan.full_macs


def test_finish(tmp_path: Path) -> None:
    """The Trainer's optimizer goes on in another Trainer, with the narrow network."""
    model = network()
    search = attach(model)
    made = trainer(model, tmp_path, search=search, steps=2)
    made.train()
    small, _ = search.finish(made.optimizer)
    require_carried(made.optimizer, small)
    before = small.classifier[1].weight.detach().clone()
    after = trainer(small, tmp_path, steps=2)
    after.optimizer = made.optimizer
    after.train()
    assert not torch.equal(small.classifier[1].weight, before)


def test_resume(tmp_path: Path) -> None:
    """The Trainer's checkpoint, and the state of the search beside it, are all it takes."""
    ends = []
    for name, steps in (("straight", 6), ("stopped", 3)):
        model = network()
        search = attach(model)
        options = {"save_strategy": "steps", "save_steps": 3}
        trainer(model, tmp_path / name, search=search, steps=steps, **options).train()
        ends.append(search)
    folder = tmp_path / "stopped" / "checkpoint-3"
    model = network(seed=7)
    search = attach(model)
    search.load_state_dict(json.loads((folder / "search.json").read_text()))
    made = trainer(model, tmp_path / "stopped", search=search, steps=6)
    made.train(resume_from_checkpoint=str(folder))
    assert torch.equal(search.handle.latents, ends[0].handle.latents)
    assert search.history == ends[0].history
