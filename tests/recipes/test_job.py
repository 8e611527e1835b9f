"""The main job: what it leaves behind, and that killing it at any moment loses nothing."""

from __future__ import annotations

import itertools
import os
import random
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import asdict, replace
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import torch

import widthwise as ww
from widthwise import files
from widthwise.cli import main
from widthwise.models import resolve
from widthwise.runs import read_metrics
from widthwise.runs.results import ArmResult, Results, read_results

# Newer Pythons warn about forking a process with threads; the copies here only ever use one.
pytestmark = pytest.mark.filterwarnings("ignore:.*fork.*:DeprecationWarning")

TINY = [
    *("--model.name", "widthwise/resnet14"),
    *("--model.options.depth", "8"),
    *("--model.options.width_mult", "0.5"),
    *("--task.batch_size", "256"),
    *("--method.sparsity", "0.3"),
    *("--method.check_every", "2"),
    *("--search.epochs", "2"),
    *("--converge.epochs", "2"),
    *("--arms", "[uniform]"),
    *("--threads", "1"),
]
"""A run of seconds: 3 blocks of 8, 16 and 32 channels, 5 steps per epoch."""


def search(folder: Path, *more: str) -> int:
    """Run the tiny recipe into a folder."""
    return main(["search", "digits", "--out", str(folder), *TINY, *more])


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run that nothing interrupted."""
    folder = tmp_path_factory.mktemp("runs") / "whole"
    assert search(folder) == 0
    return folder


def _without_times(arm: ArmResult) -> dict[str, Any]:
    before = None if arm.before is None else replace(arm.before, deciding=0.0)
    return asdict(replace(arm, seconds=0.0, before=before))


def assert_same_outcome(folder: Path, whole: Path) -> None:
    """Plan, weights, and every measured number but time are bit for bit the same."""
    for name in ("plan.json", "model.safetensors", "config.yaml", "stages/search/history.json"):
        assert (folder / name).read_bytes() == (whole / name).read_bytes(), name
    assert timeless(read_metrics(folder)) == timeless(read_metrics(whole))
    results = [[_without_times(arm) for arm in results_of(path).arms] for path in (folder, whole)]
    assert results[0] == results[1]


def results_of(folder: Path) -> Results:
    """The results of a finished run."""
    results = read_results(folder)
    assert results is not None
    return results


def timeless(rows: list[dict[str, object]]) -> list[dict[str, object]]:
    return [{key: value for key, value in row.items() if key != "seconds"} for row in rows]


def killed(work: Callable[[], object], *, at_write: int) -> bool:
    """Run in a copy of this process, which kills itself (-9) in the middle of a write.

    Args:
        work: What to run.
        at_write: Number of the write to the disk, from 0, during which to die.

    Returns:
        Whether it came that far.
    """
    child = os.fork()
    if child == 0:
        writes = itertools.count()
        sync = os.fsync

        def die_or_sync(handle: int) -> None:
            if next(writes) == at_write:
                os.ftruncate(handle, os.fstat(handle).st_size // 2)
                os.kill(os.getpid(), signal.SIGKILL)
            sync(handle)

        files.os.fsync = die_or_sync
        code = 1
        try:
            work()
            code = 0
        finally:
            os._exit(code)
    _, status = os.waitpid(child, 0)
    assert os.WIFSIGNALED(status) or os.waitstatus_to_exitcode(status) == 0
    return os.WIFSIGNALED(status)


def test_a_run_leaves_everything_behind(whole: Path) -> None:
    """All files of a run folder are there, and the table has every network."""
    for name in (
        "config.yaml",
        "environment.json",
        "metrics.csv",
        "plan.json",
        "model.safetensors",
        "report.html",
        "figures/widths.svg",
        "figures/widths.png",
        "facts.json",
    ):
        assert (whole / name).stat().st_size, name
    results = results_of(whole)
    assert [arm.arm for arm in results.arms] == ["found", "uniform"]
    assert [measure.name for measure in results.measures] == ["accuracy"]
    assert results.test_items == 450
    assert not list(whole.glob("checkpoints/*"))
    assert len(list(whole.glob("stages/search/importance/*.json"))) == 2


def test_the_found_network_meets_the_budget(whole: Path) -> None:
    """Found and uniform network cost at most half of the MACs, and uniform not more than found."""
    plan = ww.Plan.load(whole / "plan.json")
    found, uniform = results_of(whole).arms
    assert found.macs == plan.macs() <= plan.full_macs // 2
    assert uniform.macs <= found.macs
    assert found.params == plan.params()


def test_everyone_trains_for_as_many_epochs(whole: Path) -> None:
    """Search and converge of the found network together have the epochs of the baseline."""
    count = {
        stage: sum(row["stage"] == stage for row in read_metrics(whole))
        for stage in ("search", "found", "uniform")
    }
    assert count["search"] + count["found"] == count["uniform"]
    assert {arm.epochs for arm in results_of(whole).arms} == {count["uniform"]}


def test_the_run_folder_is_a_model(whole: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """`trace` takes a run folder, and `eval` measures the accuracy the run has reported."""
    model = resolve(str(whole)).build()
    assert sum(p.numel() for p in model.parameters()) == ww.Plan.load(whole / "plan.json").params()
    assert main(["trace", str(whole)]) == 0
    capsys.readouterr()
    command = ["search", "digits", "--model.name", str(whole), "--out", str(whole / "no")]
    assert main(command) == 2
    assert "`--model.options {}` gives none" in capsys.readouterr().err
    assert main([*command, "--model.options", "{}"]) == 2
    assert "comes with its weights, and the method `dhp` makes" in capsys.readouterr().err
    assert main(["eval", str(whole)]) == 0
    accuracy = results_of(whole).found.measures["accuracy"]
    assert f"test accuracy {accuracy:.2%}".replace("%", " %") in capsys.readouterr().out


def test_a_rewritten_network_has_widths_in_its_own_units(tmp_path: Path) -> None:
    """Groups are units of the rewritten network; what is said of it beside others is in theirs."""
    rewrites = "[{name: filter_groups, layers: ['layer3.*.conv1'], size: 4}]"
    more = ["--method.name", "rewrite", "--method.rewrites", rewrites, "--budget.macs", "1.0"]
    kept = [*TINY[: TINY.index("--method.sparsity")], *TINY[TINY.index("--converge.epochs") :]]
    assert main(["search", "digits", "--out", str(tmp_path / "run"), *kept, *more]) == 0
    results = results_of(tmp_path / "run")
    common = results.full.widths.keys() & results.found.widths.keys()
    assert all(results.found.widths[name] == results.full.widths[name] for name in common)
    plan = ww.Plan.load(tmp_path / "run" / "plan.json")
    assert any(plan.axes[name].unit_size == 4 for name in common)
    assert results.found.macs < results.full.macs


def test_the_same_recipe_gives_the_same_run(whole: Path, tmp_path: Path) -> None:
    """Two runs agree bit for bit, and another seed gives another plan."""
    assert search(tmp_path / "again") == 0
    assert_same_outcome(tmp_path / "again", whole)
    assert search(tmp_path / "other", "--seed", "1", "--arms", "[]") == 0
    plan, other = (ww.Plan.load(run / "plan.json") for run in (whole, tmp_path / "other"))
    assert plan.widths != other.widths
    assert (plan.seed, other.seed) == (0, 1)


def test_a_finished_run_resumes_to_itself(whole: Path) -> None:
    """No stage of a finished run is repeated."""
    before = {path: path.stat().st_mtime_ns for path in whole.glob("stages/*/result.json")}
    assert search(whole, "--resume") == 0
    assert before == {path: path.stat().st_mtime_ns for path in before}


@pytest.mark.parametrize("write", [5, 11, 16], ids=["checkpoint", "plan", "next stage"])
def test_a_run_killed_while_writing_goes_on(write: int, whole: Path, tmp_path: Path) -> None:
    """Killed (-9) in the middle of a file and resumed, a run ends as if nothing had happened."""
    folder = tmp_path / "run"
    assert killed(lambda: search(folder), at_write=write)
    assert search(folder, "--resume") == 0
    assert_same_outcome(folder, whole)


@pytest.mark.slow
def test_a_run_killed_at_any_write_goes_on(whole: Path, tmp_path: Path) -> None:
    """Whichever of its files a run is killed in, resumed it ends as if nothing had happened."""
    for write in itertools.count():
        folder = tmp_path / str(write)
        if not killed(partial(search, folder), at_write=write):
            break
        started = (folder / "config.yaml").exists()
        assert search(folder, *(["--resume"] if started else [])) == 0
        assert_same_outcome(folder, whole)
    assert write > 30


KILLS = 200


@pytest.mark.slow
def test_a_search_killed_at_random_moments_goes_on(whole: Path, tmp_path: Path) -> None:
    """Killed (-9) from outside whenever it happens, again and again, every run ends the same."""
    draw = random.Random(0)
    kills = runs = 0
    while kills < KILLS:
        folder = tmp_path / str(runs)
        child = os.fork()
        if child == 0:
            resume = ["--resume"] if (folder / "config.yaml").exists() else []
            os._exit(search(folder, *resume))
        time.sleep(draw.uniform(0, 3))
        os.kill(child, signal.SIGKILL)
        _, status = os.waitpid(child, 0)
        kills += os.WIFSIGNALED(status)
        if not os.WIFSIGNALED(status):
            assert os.waitstatus_to_exitcode(status) == 0
            assert_same_outcome(folder, whole)
            runs += 1
    assert search(folder, "--resume") == 0
    assert_same_outcome(folder, whole)
    assert runs > 20


CARRIED = [
    *("--search.ema", "0.5"),
    *("--converge.ema", "0.5"),
    *("--carry_optimizer", "true"),
    *("--arms", "[l1]"),
]
"""Averages and momentum that go on over the cut, and a baseline of two stages."""


@pytest.fixture(scope="module")
def carried(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run with `CARRIED` that nothing interrupted."""
    folder = tmp_path_factory.mktemp("runs") / "carried"
    assert search(folder, *CARRIED) == 0
    return folder


@pytest.mark.parametrize("write", [9, 15, 25], ids=["in search", "in found", "in l1"])
def test_averages_and_momentum_survive_a_kill(write: int, carried: Path, tmp_path: Path) -> None:
    """With averaged weights and a carried optimizer, a killed run ends as one that was not."""
    folder = tmp_path / "run"
    assert killed(lambda: search(folder, *CARRIED), at_write=write)
    assert search(folder, *CARRIED, "--resume") == 0
    assert_same_outcome(folder, carried)


@pytest.mark.slow
def test_averages_and_momentum_survive_a_kill_at_any_write(carried: Path, tmp_path: Path) -> None:
    """The same, killed in each of the files that the run writes."""
    for write in itertools.count():
        folder = tmp_path / str(write)
        if not killed(partial(search, folder, *CARRIED), at_write=write):
            break
        started = (folder / "config.yaml").exists()
        assert search(folder, *CARRIED, *(["--resume"] if started else [])) == 0
        assert_same_outcome(folder, carried)
    assert write > 30


def test_a_damaged_checkpoint_costs_one_epoch(whole: Path, tmp_path: Path) -> None:
    """With the last checkpoint cut short, the one before is used and the result is the same."""
    folder = tmp_path / "run"
    # The first file after the two checkpoints of the search.
    assert killed(lambda: search(folder), at_write=9)
    checkpoints = folder / "checkpoints" / "search"
    last = checkpoints / "last.ckpt"
    assert (checkpoints / "previous.ckpt").exists()
    last.write_bytes(last.read_bytes()[:1000])
    assert search(folder, "--resume") == 0
    assert_same_outcome(folder, whole)


def test_a_run_that_is_there_is_not_touched(
    whole: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """A second run into the same folder is refused with both ways on."""
    before = (whole / "metrics.csv").read_bytes()
    assert search(whole) == 2
    text = capsys.readouterr().err
    assert "--resume" in text and "--out" in text
    assert (whole / "metrics.csv").read_bytes() == before


def test_resuming_with_other_settings_is_refused(
    whole: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """The differing keys are named with both values."""
    assert search(whole, "--resume", "--converge.lr", "0.5") == 2
    assert "converge.lr  0.1 -> 0.5" in capsys.readouterr().err


def test_a_diverging_run_says_where_and_what_to_do(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """A loss that is not finite ends the run with epoch, step, rate and a lower rate to try."""
    assert search(tmp_path / "run", "--search.lr", "1e18") == 2
    text = capsys.readouterr().err
    assert "diverged" in text
    assert "epoch 1, step" in text
    assert "--search.lr 1e+17" in text


@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_a_stopped_run_says_how_to_go_on(
    number: int,
    code: int,
    whole: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    """Ctrl-C says where the run stopped and the command that goes on, which ends the same."""
    from widthwise.tasks.classification.module import ClassificationModule

    folder = tmp_path / "run"
    step = ClassificationModule.training_step

    def stop_in_second_epoch(
        self: ClassificationModule, batch: object, batch_idx: int
    ) -> torch.Tensor:
        if self.current_epoch == 1 and batch_idx == 2:
            signal.raise_signal(number)
        return step(self, batch, batch_idx)

    with monkeypatch.context() as patch:
        patch.setattr(ClassificationModule, "training_step", stop_in_second_epoch)
        assert search(folder) == code
    text = capsys.readouterr().err
    assert "Stopped in stage `search` after 1 of 2 epochs" in text
    assert "--resume" in text
    assert search(folder, "--resume") == 0
    assert_same_outcome(folder, whole)


@pytest.mark.parametrize(
    ("options", "says"),
    [
        (["--model.options.in_channels", "3"], r"--model.options.in_channels 1"),
        (
            ["--model.options.num_classes", "7"],
            "expected outputs [10] for each of 4 inputs, got [7]",
        ),
        (["--model.name", "widthwise/resnet15"], "No model named"),
        (["--task.dataset", "digit"], "nearest name is `digits`"),
        (["--task.batch_size", "5000"], "`task.batch_size` to at most 1347"),
        (["--budget.macs", "0.00001"], "smallest reachable value"),
    ],
)
def test_what_does_not_fit_is_said_before_training(
    options: list[str], says: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Network, data, batch size and budget are checked first, each with its own message."""
    assert search(tmp_path / "run", *options) == 2
    captured = capsys.readouterr()
    assert says in captured.err
    assert "epoch" not in captured.out


@pytest.mark.slow
def test_two_processes_share_every_epoch(tmp_path: Path) -> None:
    """With Lightning's ddp, each trains on half of every batch, and one run folder results."""
    folder = tmp_path / "run"
    command = [sys.executable, "-m", "widthwise", "search", "digits", "--out", str(folder), *TINY]
    flags = ["--hardware.accelerator", "cpu", "--hardware.devices", "2", "--hardware.strategy"]
    done = subprocess.run([*command, *flags, "ddp"], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert done.stdout.count("epoch 1/2") == 2
    steps = {row["stage"]: int(row["step"]) for row in read_metrics(folder) if row["epoch"] == "0"}
    assert steps["found"] == 5  # as many as one process makes, each with half of the batch
    found, uniform = results_of(folder).arms
    assert found.macs == ww.Plan.load(folder / "plan.json").macs()
    assert found.epochs == uniform.epochs == 4
    assert (folder / "report.html").exists()


def test_a_refused_start_does_not_block_the_folder(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """After an option that does not fit, the mended command runs into the same folder."""
    folder = tmp_path / "run"
    assert search(folder, "--model.options.num_classes", "7") == 2
    assert search(folder, "--arms", "[]") == 0
    assert "num_classes: 7" not in (folder / "config.yaml").read_text()
    assert search(folder) == 2


def test_networks_of_a_run_are_timed(whole: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """`compare --time` measures what the run has left: every network has milliseconds."""
    command = ["compare", str(whole), "--against", "uniform", "--time", "eager"]
    assert main(command) == 0
    lines = capsys.readouterr().out.splitlines()
    rows = [line.split() for line in lines if line.startswith(("DHP", "Uniform widths"))]
    assert len(rows) == 2
    assert all(0 < float(row[-3]) < 1000 for row in rows)
