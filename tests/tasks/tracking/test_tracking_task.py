"""Tracking as a task: what a job asks of it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from torch import nn

import widthwise as ww
from rendered import SMALL, still
from training import FLOAT32
from widthwise.data.clip_layouts import write_clip
from widthwise.data.rendering.clips import render_clip
from widthwise.data.rendering.studio import Studio
from widthwise.errors import ConfigError, DataError
from widthwise.models.siamese import SiameseTracker
from widthwise.tasks import TASKS
from widthwise.tasks.stage import StageConfig
from widthwise.tasks.tracking.settings import Footage, Rules
from widthwise.tasks.tracking.task import Tracking

TINY = (4, 6, 6, 8, 8)


@pytest.fixture
def photographs(tmp_path: Path) -> Path:
    """Eight of them."""
    folder = tmp_path / "photographs"
    folder.mkdir()
    for number in range(8):
        pixels = still(number).pixels.permute(1, 2, 0).numpy()
        Image.fromarray(np.ascontiguousarray(pixels)).save(folder / f"{number}.png")
    return folder


@pytest.fixture
def clips(tmp_path: Path) -> Path:
    """Two annotated clips of four frames."""
    studio = Studio([still(number) for number in range(3)], SMALL)
    for number in range(2):
        clip = render_clip(studio, 0, number, length=4)
        write_clip(tmp_path / "clips" / clip.name, clip.frames(), clip.boxes, clip.absent)
    return tmp_path / "clips"


def opened(photographs: Path, **settings: Any) -> Tracking:
    known: dict[str, Any] = {
        "photographs": str(photographs),
        "render": SMALL,
        "pairs": 8,
        "batch_size": 4,
        "test_clips": 2,
        "test_length": 3,
    }
    task = TASKS["tracking"](**{**known, **settings}).open()
    assert isinstance(task, Tracking)
    return task


def test_a_network_is_traced_cut_and_proven_on_the_example(photographs: Path) -> None:
    """The example is a template and a search crop, of which the search crop alone is counted."""
    task, network = opened(photographs), SiameseTracker(TINY)
    task.check(network)
    graph = ww.trace(network, task.example())
    assert all(axis.frozen is None for axis in graph.axes.values())
    plan = ww.plan(graph, score=ww.scores.L1(), budget=ww.Macs(0.5))
    small = ww.shrink(network, plan)
    assert small(*task.example()).shape == (4, 1, 9, 9)


def test_a_batch_is_decided_by_its_seed(photographs: Path) -> None:
    """Inputs and targets of a seed are the same, and the loss takes what the network gives."""
    task, network = opened(photographs), SiameseTracker(TINY)
    (template, search), target = task.batch(3)
    (again, _), _ = task.batch(3)
    assert torch.equal(template, again)
    assert (template.shape, search.shape, target.shape) == (
        (4, 3, 64, 64),
        (4, 3, 128, 128),
        (4, 2),
    )
    loss = task.loss(network(template, search), target)
    loss.backward()
    assert network.scale.grad is not None


def test_a_single_pair_is_enough_to_fit(photographs: Path) -> None:
    """There are as many examples as pairs, where those are few."""
    task, network = opened(photographs, pairs=1, batch_size=1), SiameseTracker(TINY)
    task.check(network)
    assert len(task.example()[0]) == 1


def test_gap_is_that_of_rendered_pairs(photographs: Path) -> None:
    """Another gap gives other pairs."""
    near, far = (opened(photographs, gap=gap).batch(0)[0][1] for gap in (1, 20))
    assert not torch.equal(near, far)


def test_training_steps_lower_the_loss(photographs: Path) -> None:
    """Twenty steps on the same pairs."""
    torch.manual_seed(0)
    task, network = opened(photographs), SiameseTracker(TINY)
    module = task.module(network, StageConfig(epochs=1, lr=0.01), seed=0, hardware=FLOAT32)
    pairs = task.pairs.batch(range(4), seed=0)
    optimizer = torch.optim.Adam(network.parameters(), lr=0.01)
    losses = []
    for _ in range(20):
        loss = module.training_step(pairs, 0)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        losses.append(float(loss.detach()))
    assert losses[-1] < 0.7 * losses[0]


def test_scores_are_those_of_the_rules(photographs: Path) -> None:
    """Every measure is there; a pooled benchmark weighs clips by their frames."""
    network = SiameseTracker(TINY)
    for rules in (Rules.otb, Rules.got10k):
        task = opened(photographs, rules=rules)
        values = task.evaluate(network, FLOAT32)
        assert values.keys() == {measure.name for measure in task.measures}
        module = task.module(network.eval(), StageConfig(epochs=1), seed=0, hardware=FLOAT32)
        judged = [
            module.benchmark.judge(module.tracked(clip).boxes, clip.boxes, clip.absent, clip.size)
            for clip in task.clips
        ]
        assert values["auc"] == pytest.approx(module.benchmark.summary(judged).auc, abs=1e-6)


def test_annotated_clips_are_trained_and_tested_on(clips: Path, photographs: Path) -> None:
    """Folders of any layout; nothing is rendered."""
    task = opened(
        photographs, dataset=Footage.folder, train_folder=str(clips), test_folder=str(clips)
    )
    (template, search), _ = task.batch(0)
    assert template.shape == (4, 3, 64, 64)
    assert search.shape == (4, 3, 128, 128)
    assert task.test_items == 2
    assert [len(clip) for clip in task.clips] == [4, 4]


def test_clips_without_truth_cannot_be_tested_on(clips: Path, photographs: Path) -> None:
    """As in test sets whose boxes are kept by their authors."""
    for path in clips.rglob("groundtruth.txt"):
        path.write_text(path.read_text().splitlines()[0] + "\n" + "nan,nan,nan,nan\n" * 3)
    task = opened(photographs, test_folder=str(clips))
    with pytest.raises(DataError, match="beyond its first frame"):
        _ = task.clips


def test_samples_show_every_network(photographs: Path) -> None:
    """A row per clip, a column per network, which stay in the mode they were in."""
    task, network = opened(photographs), SiameseTracker(TINY).train()
    rows = task.samples({"found": network, "full": network})
    assert [[sample.title for sample in row] for row in rows] == [["found", "full"]] * 2
    assert rows[0][0].image.shape == (48, 64, 3)
    assert "%" in rows[0][0].caption
    assert network.training


class Halves(nn.Module):
    """Has the methods of a siamese network, and gives other scores."""

    def __init__(self, sides: tuple[int, int]) -> None:
        super().__init__()
        self.sides = sides

    def features(self, crop: torch.Tensor) -> torch.Tensor:
        return crop

    def compare(self, template: torch.Tensor, search: torch.Tensor) -> torch.Tensor:
        return search

    def forward(self, template: torch.Tensor, search: torch.Tensor) -> torch.Tensor:
        return search.new_zeros(len(search), 1, *self.sides)


def test_networks_that_do_not_fit_are_named(photographs: Path) -> None:
    """What is missing, and which network has it."""
    task = opened(photographs)
    with pytest.raises(ConfigError, match=r"no method `features`(.|\n)*widthwise/siamese"):
        task.check(nn.Conv2d(3, 4, 3))
    with pytest.raises(ConfigError, match=r"expected scores \[4, 1, n, n\]"):
        task.check(Halves((5, 6)))
    with pytest.raises(ConfigError, match="no use for a teacher"):
        task.module(
            SiameseTracker(TINY), StageConfig(epochs=1, distil=0.4), seed=0, hardware=FLOAT32
        )


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"pairs": 3}, "`task.pairs` must be at least the batch size, 4: got 3"),
        ({"test_length": 1}, "`task.test_length` must be at least 2"),
        ({"radius": 0.0}, "`task.radius` must be above 0"),
        ({"gap": 0}, "`task.gap` must be at least 1"),
        ({"train_folder": "clips"}, "`task.dataset: folder` and `task.train_folder` go together"),
        ({"photographs": None, "regions": "r"}, "`task.regions` goes with `task.photographs`"),
    ],
)
def test_wrong_settings_are_named(settings: dict[str, Any], message: str) -> None:
    """By their keys in a recipe."""
    with pytest.raises(ConfigError, match=message):
        TASKS["tracking"](**{"batch_size": 4, "pairs": 8, **settings})


def test_charts_are_those_that_scores_are_read_from(photographs: Path) -> None:
    """The mean of the success curve is the AUC, and precision is read at 20 pixels."""
    task, network = opened(photographs), SiameseTracker(TINY)
    success, precision = task.charts({"found": network})
    values = task.evaluate(network, FLOAT32)
    assert np.mean(success.lines["found"]) == pytest.approx(values["auc"], abs=1e-6)
    at = list(precision.places).index(20)
    assert precision.lines["found"][at] == pytest.approx(values["precision"], abs=1e-6)
