"""A job that trains DiMP, by its recipe, on a backbone that an earlier run has narrowed."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
import torch
import yaml

import widthwise as ww
from miniatures import write_got10k, write_lasot
from widthwise.cli import main
from widthwise.models import resolve
from widthwise.models.dimp.network import Dimp
from widthwise.recipes.loader import load_recipe
from widthwise.recipes.track import track_video
from widthwise.runs import read_metrics
from widthwise.runs.results import read_results


@pytest.fixture(scope="module")
def backbone(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What a run leaves behind of timm's ResNet-18, narrowed to a tenth."""
    folder, name = tmp_path_factory.mktemp("runs") / "narrow", "timm/resnet18"
    torch.manual_seed(0)
    full = resolve(name).build()
    graph = ww.trace(full, torch.zeros(1, 3, 64, 64))
    plan = ww.plan(graph, score=ww.scores.L1(), budget=ww.Macs(0.1), round_to=1)
    ww.save(ww.shrink(full, plan), plan, folder)
    (folder / "config.yaml").write_text(yaml.safe_dump({"model": {"name": name, "options": {}}}))
    return folder


def settings(backbone: Path, sets: Path) -> list[str]:
    """The shipped recipe in seconds: miniature sets, narrow heads, small crops, 32 steps."""
    lasot, got10k = sets / "lasot", sets / "got10k"
    listed = lasot / "testing_set.txt"
    sources = [
        {"folder": str(lasot), "weight": 0.25, "without": str(listed)},
        {"folder": str(got10k)},
    ]
    return [
        *("--model.name", "widthwise.models.dimp.network:Dimp"),
        *("--model.options.backbone", str(backbone)),
        *("--model.options.classifier_width", "32", "--model.options.box_width", "32"),
        *("--task.sources", yaml.safe_dump(sources, default_flow_style=True, width=10_000)),
        *("--task.test_folder", str(lasot), "--task.test_only", str(listed)),
        *("--task.test_length", "3", "--task.side", "64", "--task.workers", "0"),
        *("--task.samples", "32", "--task.batch_size", "4"),
        *("--converge.epochs", "4", "--converge.milestones", "[3]", "--converge.lr", "0.004"),
        *("--threads", "1", "--hardware.precision", "float32"),
    ]


def test_the_recipe_trains_heads_on_a_narrowed_backbone(backbone: Path, tmp_path: Path) -> None:
    """The loss falls, widths stay, and the run folder has what every run folder has."""
    write_lasot(tmp_path / "sets" / "lasot")
    write_got10k(tmp_path / "sets" / "got10k")
    run = tmp_path / "run"
    given = settings(backbone, tmp_path / "sets")
    assert main(["search", "lasot_dimp50_lw_dna", "--out", str(run), *given]) == 0
    rows = read_metrics(run)
    assert [row["epoch"] for row in rows] == ["0", "1", "2", "3"]
    losses = [float(row["train_loss"]) for row in rows]
    assert losses[-1] < 0.8 * losses[0]
    results = read_results(run)
    assert results is not None
    (found,) = results.arms
    assert found.macs == results.full.macs
    assert 0 <= found.measures["auc"] <= 1
    for name in ("report.html", "facts.json", "charts.json", "samples.json"):
        assert list(run.rglob(name)), name
    trained = resolve(str(run)).build()
    assert isinstance(trained, Dimp)
    start = resolve(str(backbone)).build()
    widths = start.layer3[1].conv2.out_channels
    assert trained.classifier.features[0].in_channels == widths < 256
    moved = (trained.backbone.layer1[0].conv1.weight - start.layer1[0].conv1.weight).abs().max()
    assert 0 < moved < 32 * 0.1 * 0.004 * 2, "steps of Adam, each of a tenth of the rate"
    video = next((tmp_path / "sets" / "lasot").rglob("groundtruth.txt")).parent
    tracked = track_video(run, video, out=tmp_path / "tracked")
    assert len(tracked.boxes) == len(list((video / "img").iterdir()))
    assert all(0 <= score <= 1 for score in tracked.scores[1:])
    assert tracked.rules == "lasot"
    one = resolve(str(run / "stages" / "found")).build()
    assert torch.equal(one.classifier.features[0].weight, trained.classifier.features[0].weight)


def test_rates_of_the_recipe_are_the_published_ones() -> None:
    """Every part has the rate that the published training of DiMP-50 has for it."""
    stage = load_recipe("lasot_dimp50_lw_dna").converge
    network = Dimp("test_resnet", classifier_width=8, box_width=8)
    names = {parameter: name for name, parameter in network.named_parameters()}
    published = {
        "backbone.": 2e-5,
        "classifier.optimizer.": 5e-4,
        "classifier.features.": 5e-5,
        "classifier.before_pooling.": 5e-5,
        "box_head.": 2e-4,
    }
    seen = set()
    for group in stage.build_optimizer(network.named_parameters()).param_groups:
        for parameter in group["params"]:
            (part,) = (each for each in published if names[parameter].startswith(each))
            assert group["lr"] == pytest.approx(published[part])
            seen.add(part)
    assert seen == set(published)
    assert [round(stage.lr_at(epoch) / 2e-4, 6) for epoch in (0, 14, 15, 30, 49)] == [
        1,
        1,
        0.2,
        0.04,
        0.008,
    ]


def test_the_recipe_on_the_page_is_one(tmp_path: Path) -> None:
    """Its keys are those of the task, and every part that it names a rate for is in the network."""
    page = Path(__file__).parents[2] / "docs" / "dimp.md"
    (text,) = re.findall(r"```yaml\n(# mine.*?)```", page.read_text(encoding="utf-8"), re.DOTALL)
    (tmp_path / "mine.yaml").write_text(text, encoding="utf-8")
    recipe = load_recipe(str(tmp_path / "mine.yaml"), ["--model.options.pretrained", "false"])
    assert [source.weight for source in recipe.task.sources] == [1.0, 0.5]
    network = resolve(recipe.model.name).build(**recipe.model.options)
    optimizer = recipe.converge.build_optimizer(network.named_parameters())
    assert [group["lr"] for group in optimizer.param_groups] == pytest.approx(
        [1e-3, 2e-4, 5e-4, 5e-5]
    )
