"""Training of DiMP as a task: what a job asks of it, and which clips it takes."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn

import widthwise as ww
from miniatures import write_coco, write_got10k, write_lasot
from training import FLOAT32, Kept, StopAt, fit
from widthwise.errors import ConfigError, DataError
from widthwise.models.dimp.network import Dimp
from widthwise.tasks import TASKS
from widthwise.tasks.dimp.settings import ClipSource
from widthwise.tasks.dimp.task import DimpTraining
from widthwise.tasks.stage import OptimizerKind, StageConfig


@pytest.fixture(scope="module")
def sets(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """LaSOT, GOT-10k and COCO, in miniature."""
    root = tmp_path_factory.mktemp("sets")
    write_lasot(root / "lasot")
    write_got10k(root / "got10k")
    write_coco(root / "coco")
    return root


def opened(sets: Path, **settings: Any) -> DimpTraining:
    known: dict[str, Any] = {
        "sources": (ClipSource(folder=str(sets / "lasot")),),
        "test_folder": str(sets / "lasot"),
        "side": 64,
        "samples": 8,
        "batch_size": 2,
    }
    task = TASKS["dimp"](**{**known, **settings}).open()
    assert isinstance(task, DimpTraining)
    return task


def tiny() -> Dimp:
    torch.manual_seed(0)
    return Dimp("test_resnet", classifier_width=16, box_width=16)


def test_a_network_is_traced_cut_and_proven_on_the_example(sets: Path) -> None:
    """The example is what a frame costs: one to learn on, which is not counted, and one to see."""
    task, network = opened(sets), tiny()
    task.check(network)
    graph = ww.trace(network, task.example())
    plan = ww.plan(graph, score=ww.scores.L1(), budget=ww.Macs(0.5))
    small = ww.shrink(network, plan)
    assert small(*task.example()).scores.shape == (2, 6, 1, 5, 5)


def test_a_batch_is_decided_by_its_seed(sets: Path) -> None:
    """Inputs of a seed are the same, and the loss reaches every parameter of the network."""
    task, network = opened(sets), tiny()
    (inputs, target), (again, _), (other, _) = (task.batch(seed) for seed in (3, 3, 4))
    assert all(torch.equal(one, two) for one, two in zip(inputs, again, strict=True))
    assert not torch.equal(inputs[0], other[0])
    assert [tuple(each.shape) for each in inputs] == [
        (2, 3, 3, 64, 64),
        (2, 3, 4),
        (2, 3, 3, 64, 64),
        (2, 3, 8, 4),
    ]
    assert 0.5 < float(inputs[0].amax()) <= 1
    task.loss(network(*inputs), target).backward()
    assert all(parameter.grad is not None for parameter in network.parameters())


def test_the_network_is_measured_by_its_own_tracker(sets: Path) -> None:
    """All measures come out, the same ones at every call, and boxes are refined on the way."""
    task, network = opened(sets, test_clips=1, test_length=4), tiny()
    values = task.evaluate(network, FLOAT32)
    assert set(values) == {"auc", "precision", "normalised_precision", "success_50"}
    assert values == task.evaluate(network, FLOAT32)
    module = task.module(network.eval(), StageConfig(epochs=1), seed=0, hardware=FLOAT32)
    sides = set()
    network.backbone.register_forward_pre_hook(lambda _, inputs: sides.add(inputs[0].shape[-1]))
    boxes = module.tracked(task.clips[0]).boxes
    assert sides == {64}, "it looks at crops of the size that is trained on"
    assert boxes.shape == (4, 4)
    assert len(boxes[:, 2].unique()) > 1, "sizes change where boxes are refined"
    ((sample,),) = task.samples({"Found": network})
    assert sample.image.shape == (100, 120, 3)
    assert [list(chart.lines) for chart in task.charts({"Found": network})] == [["Found"]] * 2


def test_resuming_repeats_nothing_and_changes_nothing(sets: Path, tmp_path: Path) -> None:
    """A stage that was stopped before its second epoch ends like one that was not."""
    task = opened(sets, test_clips=1, test_length=2)
    stage = StageConfig(
        epochs=2, lr=1e-3, optimizer=OptimizerKind.adam, lr_factors={"backbone.*": 0.2}
    )

    def fitted(folder: str, network: Dimp, *callbacks: StopAt) -> list[dict[str, Any]]:
        module = task.module(network, stage, seed=5, hardware=FLOAT32)
        return fit(
            module,
            Kept(tmp_path / folder),
            *callbacks,
            config=stage,
            measures=task.measures,
            train=task.train(5),
            test=task.test(),
        )

    whole, resumed = tiny(), tiny()
    expected = fitted("whole", whole)
    with pytest.raises(InterruptedError):
        fitted("run", tiny(), StopAt(1))
    torch.manual_seed(99)
    assert fitted("run", resumed) == expected[1:]
    assert expected[0]["train_loss"] != expected[1]["train_loss"]
    for mine, other in zip(resumed.parameters(), whole.parameters(), strict=True):
        assert torch.equal(mine, other)


def test_test_clips_are_spread_over_all(sets: Path) -> None:
    """As many as asked, from the first on, each cut to the length that was asked."""
    names = [clip.name for clip in opened(sets, test_clips=2, test_length=3).clips]
    assert names == ["thing-1", "thing-2"]
    assert [len(clip) for clip in opened(sets, test_length=3).clips] == [3, 3, 3]
    everything = opened(sets, test_clips=None, test_length=None)
    assert [len(clip) for clip in everything.clips] == [6, 6, 6]
    assert everything.test_items == 3


def test_clips_are_taken_and_left_out_by_name(sets: Path) -> None:
    """Of one folder, the listed clips are tested on and the others trained on."""
    listed = str(sets / "lasot" / "testing_set.txt")
    source = ClipSource(folder=str(sets / "lasot"), without=listed)
    task = opened(sets, sources=(source,), test_only=listed)
    assert [clip.name for clip in task.clips] == ["thing-3"]
    (pool,) = task.drawn._pools
    assert [clip.name for clip in pool.clips] == ["thing-1", "thing-2"]


def test_sets_are_mixed(sets: Path) -> None:
    """Clips of several layouts and stills give samples of one shape."""
    sources = (
        ClipSource(folder=str(sets / "lasot"), weight=0.25),
        ClipSource(folder=str(sets / "got10k")),
        ClipSource(
            folder=str(sets / "coco" / "train2017"),
            boxes=str(sets / "coco" / "instances_train2017.json"),
        ),
    )
    task = opened(sets, sources=sources, samples=40)
    assert [len(pool.clips) for pool in task.drawn._pools] == [3, 2, 2]
    (inputs, _) = task.batch(0)
    assert inputs[0].shape == (2, 3, 3, 64, 64)
    assert task.drawn.batch(range(40), seed=0).search_boxes.isfinite().all()


@pytest.mark.parametrize(
    ("change", "problem"),
    [
        ({"only": "names"}, "lists 1 of 2 clips that are not in"),
        ({"without": "others"}, "None of the 1 clips"),
    ],
)
def test_lists_of_other_sets_are_refused(
    sets: Path, tmp_path: Path, change: dict[str, str], problem: str
) -> None:
    """A name that is not there, or a list that leaves nothing out, is an error before training."""
    (tmp_path / "names").write_text("thing-1\nanything-7\n")
    (tmp_path / "others").write_text("anything-7\n")
    paths = {key: str(tmp_path / name) for key, name in change.items()}
    task = opened(sets, sources=(ClipSource(folder=str(sets / "lasot"), **paths),))
    with pytest.raises(DataError, match=problem):
        task.check(tiny())


def test_other_networks_are_refused(sets: Path) -> None:
    """The error names what was given, and a network that serves."""
    with pytest.raises(ConfigError, match="`Conv2d`") as caught:
        opened(sets).check(nn.Conv2d(3, 4, 3))
    assert "widthwise/dimp50" in str(caught.value)


def test_a_teacher_has_no_use(sets: Path) -> None:
    """Asking for one is an error."""
    with pytest.raises(ConfigError, match="no use for a teacher"):
        opened(sets).module(tiny(), StageConfig(epochs=1, distil=0.4), seed=0, hardware=FLOAT32)


def test_wrong_settings_are_all_named() -> None:
    """One error lists every wrong setting."""
    wrong = {"sources": (ClipSource(folder="a", weight=0),), "side": 100, "test_clips": 0}
    with pytest.raises(ConfigError) as caught:
        TASKS["dimp"](**wrong)
    for name in ("`task.side`", "`task.test_clips`", "`weight` of `a`", "`task.test_folder`"):
        assert name in str(caught.value)
    with pytest.raises(ConfigError, match=r"`task\.sources` is empty"):
        TASKS["dimp"](test_folder="a")
