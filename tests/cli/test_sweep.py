"""`widthwise sweep` on the command line: runs that end, fail, are killed and go on."""

from __future__ import annotations

import json
import os
import re
import shutil
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import yaml

from run_folders import make_run
from widthwise.cli import main
from widthwise.cli._sweep_progress import SweepProgress
from widthwise.recipes.sweep import job as jobs
from widthwise.recipes.sweep.grid import Point
from widthwise.recipes.sweep.state import Event, State, new_sweep, write_sweep
from widthwise.runs import read_metrics

KEYS = ["--budget.macs", "0.2,0.4", "--seed", "0,1"]
NAMES = ["macs0.2-seed0", "macs0.2-seed1", "macs0.4-seed0", "macs0.4-seed1"]

STUB = """
import pathlib, shutil, sys, time
template, folder = map(pathlib.Path, sys.argv[1:3])
folder.mkdir(exist_ok=True)
(folder / "config.yaml").touch()
with (folder / "attempts").open("a") as file:
    file.write(" ".join(sys.argv[3:]) + "\\n")
what = template.parent / f"{template.name}.does"
if what.exists() and what.read_text() == "fail":
    sys.exit("epoch 1\\nDataError: there are no images.\\nHint: download them.")
if what.exists():
    time.sleep(60)
shutil.copytree(template, folder, dirs_exist_ok=True)
"""
"""Stands in for a search: does what a file beside its template says, or copies a finished run."""


@pytest.fixture
def acts(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[[str, str], None]:
    """Let quick stand-ins take the place of searches, and say what each does.

    Returns:
        Called with the name of a run and `fail`, `wait` or nothing in order to finish.
    """
    templates = tmp_path / "templates"
    for name in NAMES:
        folder = make_run(templates / name, seed=int(name[-1]))
        config = yaml.safe_load((folder / "config.yaml").read_text())
        config["budget"] = {"macs": float(name[4:7])}
        (folder / "config.yaml").write_text(yaml.safe_dump(config))
    (tmp_path / "stub.py").write_text(STUB)

    def stub_job(recipe: str, point: Point, out: Path) -> jobs.Job:
        folder = out / point.name
        script, template = str(tmp_path / "stub.py"), str(templates / point.name)
        return jobs.Job(
            name=point.name,
            command=(sys.executable, "-S", script, template, str(folder), *point.words()),
            folder=folder,
            log=out / f"{point.name}.log",
        )

    def act(name: str, what: str) -> None:
        file = templates / f"{name}.does"
        file.write_text(what) if what else file.unlink()

    monkeypatch.setattr(jobs, "search_job", stub_job)
    return act


def states_of(out: Path) -> list[str]:
    """The state of every run, from the file."""
    return [run["state"] for run in json.loads((out / "sweep.json").read_text())["runs"]]


def attempts(out: Path) -> list[list[str]]:
    """Per run, the words of each of its attempts."""
    return [(out / name / "attempts").read_text().splitlines() for name in NAMES]


def test_a_sweep_ends_in_one_table(
    acts: Callable[[str, str], None], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Every combination runs once, and all are compared with the arm they have in common."""
    out = tmp_path / "out"
    assert main(["sweep", "digits", "--out", str(out), *KEYS]) == 0
    assert states_of(out) == ["finished"] * 4
    assert attempts(out) == [
        [f"--budget.macs={macs} --seed={seed}"] for macs in ("0.2", "0.4") for seed in ("0", "1")
    ]
    said = capsys.readouterr()
    assert "Sweep: " in said.out and "4 runs, 4 to do" in said.out
    assert "macs0.4-seed1: finished, test accuracy 97.5 %, 50.0% of the MACs" in said.out
    assert "20% of the MACs" in said.out and "40% of the MACs" in said.out
    assert not said.err
    table = json.loads((out / "compare.json").read_text())
    assert [level["contenders"][0]["seeds"] for level in table["levels"]] == [[0, 1], [0, 1]]
    assert {path.name for path in out.glob("compare.*")} == {
        f"compare.{kind}" for kind in ("json", "md", "svg", "png")
    }


def test_a_failed_run_is_said_and_tried_again(
    acts: Callable[[str, str], None], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """The others finish; `--resume` needs no other words, and does what is missing only."""
    out = tmp_path / "out"
    acts(NAMES[1], "fail")
    assert main(["sweep", "digits", "--out", str(out), *KEYS]) == 1
    assert states_of(out) == ["finished", "failed", "finished", "finished"]
    said = capsys.readouterr()
    assert "1 of 4 runs failed" in said.err
    assert "DataError: there are no images." in said.err
    assert str(out / "macs0.2-seed1.log") in said.err
    assert f"widthwise sweep --out {out} --resume" in said.err
    assert "DHP" in (out / "compare.md").read_text()

    acts(NAMES[1], "")
    shutil.rmtree(out / NAMES[2])
    assert main(["sweep", "--out", str(out), "--resume"]) == 0
    assert states_of(out) == ["finished"] * 4
    assert [len(each) for each in attempts(out)] == [1, 2, 1, 1]
    # What was started is resumed, what was deleted is started.
    assert attempts(out)[1][1].endswith("--resume")
    assert not attempts(out)[2][0].endswith("--resume")


@pytest.fixture
def listening() -> Iterator[None]:
    """A shell that starts a command in the background has it ignore Ctrl-C: here it is heard."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)


@pytest.mark.usefixtures("listening")
@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_a_stopped_sweep_says_how_to_go_on(
    number: int,
    code: int,
    acts: Callable[[str, str], None],
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    """Ctrl-C stops all processes; nothing is compared, and the command goes on."""
    out = tmp_path / "out"
    for name in NAMES[1:]:
        acts(name, "wait")

    def stop() -> None:
        while not all((out / name / "attempts").exists() for name in NAMES[:3]):
            time.sleep(0.05)
        os.kill(os.getpid(), number)

    thread = threading.Thread(target=stop, daemon=True)
    thread.start()
    assert main(["sweep", "digits", "--out", str(out), *KEYS, "--jobs", "2"]) == code
    thread.join()
    said = capsys.readouterr()
    assert "Stopped: 1 of 4 runs have finished" in said.err
    command = f"widthwise sweep --out {out} --resume --jobs 2"
    assert said.err.endswith(f"    {command}\n")
    assert states_of(out) == ["finished", "stopped", "stopped", "waiting"]
    assert not list(out.glob("compare.*"))

    for name in NAMES[1:]:
        acts(name, "")
    assert main(command.split()[1:]) == 0
    assert [len(each) for each in attempts(out)] == [1, 2, 2, 1]


def test_too_many_threads_are_said(
    acts: Callable[[str, str], None],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    """On screen, before anything starts."""
    monkeypatch.setattr("widthwise.recipes.sweep.sharing.cores", lambda: 2)
    command = ["sweep", "digits", "--out", str(tmp_path / "out"), *KEYS, "--threads", "2"]
    assert main([*command, "--jobs", "3"]) == 0
    assert "3 runs at a time with up to 2 threads each are more than the 2 cores" in (
        capsys.readouterr().out
    )


def test_a_comparison_that_fails_does_not_fail_the_sweep(
    acts: Callable[[str, str], None],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    """The runs are there; why there is no table is said."""
    (tmp_path / "templates" / NAMES[0] / "metrics.csv").write_text("stage,epoch\nsearch,0\n")
    assert main(["sweep", "digits", "--out", str(tmp_path / "out"), *KEYS]) == 0
    said = capsys.readouterr().err
    assert "No comparison was made: RunError" in said and "metrics.csv" in said


@pytest.mark.parametrize(
    ("words", "says"),
    [
        ([], "Neither a recipe nor a folder is named"),
        (["--out", "OUT"], "No recipe is named"),
        (["--out", "OUT", "--resume"], "There is no sweep to resume"),
        (["digit", "--out", "OUT"], "the nearest name is `digits`"),
        (["digits", "--out", "OUT", "--seed", "0,x"], 'Parser key "seed"'),
        (["digits", "--out", "OUT", "--sed", "0,1"], "unrecognized arguments: --sed=0"),
        (["digits", "--out", "OUT", "--seed", "0", "1"], "`1` belongs to no key"),
        (["digits", "--out", "OUT", "--jobs", "0"], "`--jobs` must be at least 1"),
        (["digits", "--out", "OUT", "--jobs", "2", "--cluster", "ray"], "leave it out"),
    ],
)
def test_a_sweep_that_cannot_start_says_why(
    words: list[str],
    says: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    """Exit code 2, the way out, and not even a folder is left."""
    monkeypatch.chdir(tmp_path)
    assert main(["sweep", *words, *([] if words else ["--jobs", "1"])]) == 2
    said = capsys.readouterr().err
    assert says in said
    assert list(tmp_path.glob("*")) == []


def test_ray_that_is_missing_is_said_with_the_way_to_get_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Before anything is started or written."""
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    out = tmp_path / "out"
    assert main(["sweep", "digits", "--out", str(out), "--cluster", "ray", "--seed", "0,1"]) == 2
    assert "pip install 'widthwise[ray]'" in capsys.readouterr().err
    assert not out.exists()


def test_what_is_there_is_not_mixed_with_a_sweep(
    acts: Callable[[str, str], None], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """A folder that is not empty, another sweep in it, other keys: each with its way out."""
    out = tmp_path / "out"
    run = make_run(tmp_path / "run")
    assert main(["sweep", "digits", "--out", str(run), *KEYS]) == 2
    assert "is not empty" in capsys.readouterr().err
    assert main(["sweep", "digits", "--out", str(out), *KEYS]) == 0
    before = (out / "sweep.json").read_bytes()
    capsys.readouterr()
    assert main(["sweep", "digits", "--out", str(out), *KEYS]) == 2
    assert "`--resume` goes on with it" in capsys.readouterr().err
    assert main(["sweep", "digits", "--out", str(out), "--resume", *KEYS[:3], "0,1,2"]) == 2
    assert "seed  '0,1' -> '0,1,2'" in capsys.readouterr().err
    assert (out / "sweep.json").read_bytes() == before
    assert main(["sweep", "digits", "--out", str(out), "--resume", *KEYS]) == 0
    assert "4 runs, 0 to do" in capsys.readouterr().out


def test_a_sweep_that_nothing_was_started_of_may_be_started_again(
    acts: Callable[[str, str], None], tmp_path: Path
) -> None:
    """As after a cluster that could not be reached: other words are no obstacle."""
    out = tmp_path / "out"
    out.mkdir()
    write_sweep(out, new_sweep("digits", {"seed": ["0", "1"]}))
    assert main(["sweep", "digits", "--out", str(out), *KEYS]) == 0
    assert states_of(out) == ["finished"] * 4


def test_a_small_terminal_shows_what_matters(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """With more runs than lines, those that go on or went wrong are shown, the rest counted."""
    for name, value in {
        "FORCE_COLOR": "1",
        "LINES": "10",
        "COLUMNS": "80",
        "TERM": "xterm",
    }.items():
        monkeypatch.setenv(name, value)
    sweep = new_sweep("digits", {"seed": [str(seed) for seed in range(40)]})
    (tmp_path / "seed30.log").write_text("$ widthwise search\nepoch 3/20  loss [0.5]\n")
    events = [
        Event(name="seed30", state=State.running),
        Event(name="seed31", state=State.failed, problem="DataError: no images"),
        Event(name="seed32", state=State.finished),
    ]
    with SweepProgress(sweep, tmp_path) as progress:
        for event in events:
            sweep = sweep.after(event)
            progress.show(sweep, event)
    last = re.sub(r"\x1b\[[0-9;?]*[A-Za-z]", "", capsys.readouterr().out).splitlines()[-7:]
    assert last[0].split() == ["seed30", "running", "epoch", "3/20", "loss", "[0.5]"]
    assert last[1].split() == ["seed31", "failed", "DataError:", "no", "images"]
    assert last[2].split() == ["seed32", "finished"]
    assert last[6].split("runs")[1].strip() == "37 waiting, 1 running, 1 finished, 1 failed"


# ---------------------------------------------------------------- with real runs

TINY = [
    *("--model.name", "widthwise/resnet14"),
    *("--model.options.depth", "8"),
    *("--model.options.width_mult", "0.5"),
    *("--task.batch_size", "256"),
    *("--method.sparsity", "0.3"),
    *("--method.check_every", "2"),
    *("--search.epochs", "1"),
    *("--converge.epochs", "1"),
    *("--arms", "[uniform]"),
    *("--threads", "1"),
]
"""A run of seconds."""
SEEDS = ["--seed", "0,1"]


def plans_and_measures(out: Path) -> list[object]:
    """What two sweeps of the same keys have in common."""
    return [
        (
            (out / name / "plan.json").read_bytes(),
            (out / name / "model.safetensors").read_bytes(),
            (out / name / "config.yaml").read_bytes(),
            [{**row, "seconds": ""} for row in read_metrics(out / name)],
        )
        for name in ("seed0", "seed1")
    ]


@pytest.fixture(scope="module")
def alone(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The same runs by `widthwise search`, one after the other."""
    folder = tmp_path_factory.mktemp("alone")
    for seed in "01":
        out = str(folder / f"seed{seed}")
        assert main(["search", "digits", "--out", out, *TINY, "--seed", seed]) == 0
    return folder


def test_two_at_a_time_and_killed_end_as_one_after_the_other(alone: Path, tmp_path: Path) -> None:
    """One of two is killed (-9) and resumed: networks and numbers are those of single runs."""
    busy = tmp_path / "busy"
    killed: list[int] = []

    def kill() -> None:
        # A child of this process whose command names the run.
        while not (busy / "seed1" / "config.yaml").exists():
            time.sleep(0.05)
        for folder in Path("/proc").glob("[0-9]*"):
            try:
                command = (folder / "cmdline").read_text()
                parent = (folder / "stat").read_text().rpartition(")")[2].split()[1]
            except OSError:
                continue
            if str(busy / "seed1") in command and parent == str(os.getpid()):
                os.kill(int(folder.name), signal.SIGKILL)
                killed.append(int(folder.name))

    thread = threading.Thread(target=kill, daemon=True)
    thread.start()
    assert main(["sweep", "digits", "--out", str(busy), *TINY, *SEEDS, "--jobs", "2"]) == 1
    thread.join()
    assert len(killed) == 1
    assert states_of(busy) == ["finished", "failed"]
    first = (busy / "seed0" / "results.json").stat().st_mtime_ns
    assert main(["sweep", "--out", str(busy), "--resume"]) == 0
    assert (busy / "seed0" / "results.json").stat().st_mtime_ns == first
    assert plans_and_measures(busy) == plans_and_measures(alone)
    assert (busy / "compare.svg").stat().st_size


@pytest.mark.slow
def test_a_ray_cluster_runs_what_one_machine_runs(alone: Path, tmp_path: Path) -> None:
    """On the cluster that runs here, or on one that is started for it; failures are said too."""
    pytest.importorskip("ray")
    cluster = tmp_path / "cluster"
    # In a process of its own: Ray warns of much, and leaves threads.
    command = [sys.executable, "-m", "widthwise", "sweep"]
    words = ["digits", "--out", str(cluster), *TINY, *SEEDS, "--cluster", "ray"]
    done = subprocess.run([*command, *words], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert "a run takes 1 CPUs" in done.stdout
    assert plans_and_measures(cluster) == plans_and_measures(alone)
    words = [
        "digits",
        "--out",
        str(tmp_path / "bad"),
        *TINY,
        *SEEDS,
        "--model.options.num_classes",
        "7",
    ]
    done = subprocess.run(
        [*command, *words, "--cluster", "ray"], capture_output=True, text=True, check=False
    )
    assert done.returncode == 1
    assert "2 of 2 runs failed" in done.stderr and "ConfigError: " in done.stderr
