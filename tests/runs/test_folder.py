"""A run folder is never mixed up, shared, or half written."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml

from widthwise.errors import ConfigError, RunError
from widthwise.runs import RunFolder, read_config, read_json, read_metrics

CONFIG = {"search": {"lr": 0.1, "epochs": 3}, "compare": ["full"], "seed": 0}


def open_run(path: Path, config: dict[str, Any] = CONFIG, *, resume: bool = False) -> RunFolder:
    return RunFolder(path, config=config, environment={"torch": "2"}, resume=resume)


def started(path: Path) -> Path:
    """A folder with a run in it that no process holds."""
    open_run(path).close()
    return path


def row(stage: str, epoch: int, loss: float = 1.0) -> dict[str, Any]:
    return {"stage": stage, "epoch": epoch, "train_loss": loss, "macs_fraction": None}


def test_a_new_run_leaves_its_configuration_and_environment(tmp_path: Path) -> None:
    """Both files can be read back."""
    path = started(tmp_path / "deep" / "run")
    assert yaml.safe_load((path / "config.yaml").read_text()) == CONFIG
    assert read_json(path / "environment.json") == {"torch": "2"}


def test_a_folder_with_something_in_it_is_refused(tmp_path: Path) -> None:
    """The error names both ways on, and nothing was written."""
    (tmp_path / "thesis.tex").write_text("")
    with pytest.raises(RunError, match=r"not empty(?s:.*)--resume(?s:.*)--out"):
        open_run(tmp_path)
    assert [p.name for p in tmp_path.iterdir()] == ["thesis.tex"]


def test_an_empty_folder_is_used(tmp_path: Path) -> None:
    """A folder that was made for the run is fine."""
    assert (started(tmp_path) / "config.yaml").exists()


def test_a_file_in_place_of_the_folder_is_refused(tmp_path: Path) -> None:
    """The error says that it is a file."""
    (tmp_path / "run").write_text("")
    with pytest.raises(RunError, match="is a file"):
        open_run(tmp_path / "run")


def test_nothing_to_resume_is_an_error(tmp_path: Path) -> None:
    """Resuming needs a run, and the folder is not made."""
    with pytest.raises(RunError, match="no run to resume"):
        open_run(tmp_path / "run", resume=True)
    assert not (tmp_path / "run").exists()


def test_resuming_with_another_configuration_names_every_difference(tmp_path: Path) -> None:
    """Changed, added and removed keys are all listed, with both values."""
    path = started(tmp_path)
    other = {"search": {"lr": 0.2, "epochs": 3, "gamma": 0.5}, "compare": ["full"]}
    with pytest.raises(ConfigError) as caught:
        open_run(path, other, resume=True)
    lines = [line.split() for line in str(caught.value).splitlines()[1:4]]
    assert lines == [
        ["search.lr", "0.1", "->", "0.2"],
        ["search.gamma", "None", "->", "0.5"],
        ["seed", "0", "->", "None"],
    ]


def test_resuming_with_the_same_configuration_goes_on(tmp_path: Path) -> None:
    """Sequences may come as tuples: YAML knows no difference."""
    path = started(tmp_path)
    before = (path / "config.yaml").read_text()
    open_run(path, {**CONFIG, "compare": ("full",)} | {"compare": ["full"]}, resume=True).close()
    assert (path / "config.yaml").read_text() == before


def test_a_start_killed_before_its_first_file_can_be_repeated(tmp_path: Path) -> None:
    """A lock and an unfinished file do not count as a run."""
    (tmp_path / ".lock").write_text("1")
    (tmp_path / ".config.yaml.abc").write_text("sea")
    assert (started(tmp_path) / "config.yaml").exists()


def test_a_start_killed_after_its_first_file_can_be_resumed(tmp_path: Path) -> None:
    """The environment is written where it is missing."""
    path = started(tmp_path)
    (path / "environment.json").unlink()
    open_run(path, resume=True).close()
    assert read_json(path / "environment.json") == {"torch": "2"}


def test_resuming_removes_what_killed_writers_left(tmp_path: Path) -> None:
    """Unfinished files disappear, finished ones and the lock stay."""
    path = started(tmp_path)
    unfinished = path / "checkpoints" / "search" / ".next.ckpt.x1"
    unfinished.parent.mkdir(parents=True)
    unfinished.write_bytes(b"half")
    (unfinished.parent / "last.ckpt").write_bytes(b"whole")
    open_run(path, resume=True).close()
    assert [p.name for p in unfinished.parent.iterdir()] == ["last.ckpt"]


def test_two_processes_cannot_run_in_one_folder(tmp_path: Path) -> None:
    """The second is told the number of the first; after a kill -9 the folder is free."""
    code = (
        "import sys, time\nfrom pathlib import Path\nfrom widthwise.runs import RunFolder\n"
        "run = RunFolder(Path(sys.argv[1]), config={}, environment={})\n"
        "print('ready', flush=True)\ntime.sleep(60)"
    )
    path = tmp_path / "run"
    with subprocess.Popen(
        [sys.executable, "-c", code, str(path)], stdout=subprocess.PIPE, text=True
    ) as other:
        assert other.stdout is not None
        assert other.stdout.readline() == "ready\n"
        with pytest.raises(RunError, match=rf"Another process \({other.pid}\)"):
            open_run(path, {}, resume=True)
        other.kill()
    open_run(path, {}, resume=True).close()


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write anywhere")
def test_a_folder_that_cannot_be_written_is_refused(tmp_path: Path) -> None:
    """The error comes before any work and names the folder."""
    tmp_path.chmod(0o500)
    with pytest.raises(RunError, match=r"Cannot write(?s:.*)--out"):
        open_run(tmp_path / "run")


def test_a_folder_that_cannot_be_made_is_refused(tmp_path: Path) -> None:
    """A file in the middle of the path is named like a missing right."""
    (tmp_path / "file").write_text("")
    with pytest.raises(RunError, match=r"Cannot write(?s:.*)--out"):
        open_run(tmp_path / "file" / "run")


def test_metrics_replace_epochs_that_are_run_again(tmp_path: Path) -> None:
    """After a resume at epoch 1, its line and later ones of that stage only are replaced."""
    run = open_run(tmp_path)
    for stage, epoch in (("search", 0), ("search", 1), ("search", 2), ("full", 0), ("full", 1)):
        run.add_metrics(row(stage, epoch))
    run.add_metrics(row("search", 1, loss=5.0))
    run.close()
    found = [(r["stage"], r["epoch"], r["train_loss"]) for r in read_metrics(tmp_path)]
    assert found == [
        ("search", "0", "1.0"),
        ("full", "0", "1.0"),
        ("full", "1", "1.0"),
        ("search", "1", "5.0"),
    ]


def test_the_columns_of_metrics_are_those_of_the_rows(tmp_path: Path) -> None:
    """A task's measures are columns, and a cell that a row lacks is empty."""
    run = open_run(tmp_path)
    run.add_metrics({"stage": "a", "epoch": 0, "test_psnr": 27.5, "seconds": None})
    run.add_metrics({"stage": "b", "epoch": 0, "test_psnr": 28.0, "extra": 1})
    run.close()
    assert (tmp_path / "metrics.csv").read_text(encoding="utf-8") == (
        "stage,epoch,test_psnr,seconds,extra\na,0,27.5,,\nb,0,28.0,,1\n"
    )


def test_a_finished_stage_has_no_checkpoints(tmp_path: Path) -> None:
    """They go with the result of their stage only, also those of a process killed in between."""
    run = open_run(tmp_path)
    for stage in ("search", "found"):
        (tmp_path / "checkpoints" / stage).mkdir(parents=True)
        (tmp_path / "checkpoints" / stage / "last.ckpt").write_bytes(b"x")
    run.finish_stage("search", {})
    assert [p.name for p in (tmp_path / "checkpoints").iterdir()] == ["found"]
    (tmp_path / "checkpoints" / "search").mkdir()
    run.close()
    open_run(tmp_path, resume=True).close()
    assert [p.name for p in (tmp_path / "checkpoints").iterdir()] == ["found"]


def test_a_stage_is_finished_when_its_result_is_there(tmp_path: Path) -> None:
    """Results are None before, and read back after."""
    run = open_run(tmp_path)
    assert run.result("search") is None
    run.finish_stage("search", {"accuracy": 0.5})
    assert run.result("search") == {"accuracy": 0.5}
    run.close()


def test_a_damaged_result_says_what_to_do(tmp_path: Path) -> None:
    """The error names the file and that it can be made again."""
    run = open_run(tmp_path)
    run.finish_stage("search", {"accuracy": 0.5})
    (run.stage("search") / "result.json").write_text('{"accu')
    with pytest.raises(RunError, match=r"result\.json(?s:.*)delete it and resume"):
        run.result("search")
    run.close()


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("config.yaml", b"model: [\n"),
        ("config.yaml", b"- a list\n"),
        ("config.yaml", b""),
        ("config.yaml", "model: größer".encode("latin-1")),
        ("results.json", b'{"arms": [{"na'),
        ("results.json", b"\xff\xfe{}"),
        ("metrics.csv", b"stage,epoch\nsearch,0\nsearch"),
        ("metrics.csv", b"stage,epoch\nsearch,0,1,2\n"),
        ("metrics.csv", b'stage,epoch\n"search'),
        ("metrics.csv", b"stage,epoch\nsearch,\xe4\n"),
    ],
)
def test_a_damaged_file_is_named(name: str, content: bytes, tmp_path: Path) -> None:
    """Broken, cut short, or not UTF-8: a RunError says which file it is and the way out."""
    (tmp_path / name).write_bytes(content)
    read = {
        "config.yaml": lambda: read_config(tmp_path),
        "results.json": lambda: read_json(tmp_path / name),
        "metrics.csv": lambda: read_metrics(tmp_path),
    }[name]
    with pytest.raises(RunError, match=rf"Cannot read .*{name}(?s:.*)Hint"):
        read()


def test_texts_are_utf8_whatever_the_system_prefers(tmp_path: Path) -> None:
    """A process in a locale of ASCII reads names of any language, and writes them."""
    path = started(tmp_path / "run")
    (path / "config.yaml").write_text("model: größer\n", encoding="utf-8")
    code = (
        "import sys\nfrom pathlib import Path\nfrom widthwise.runs import read_config\n"
        "print(ascii(read_config(Path(sys.argv[1]))['model']))"
    )
    environment = os.environ | {"LC_ALL": "C", "PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0"}
    done = subprocess.run(
        [sys.executable, "-c", code, str(path)],
        env=environment, capture_output=True, text=True, check=True,
    )  # fmt: skip
    assert done.stdout == "'gr\\xf6\\xdfer'\n"


def test_a_run_that_was_refused_leaves_no_folder(tmp_path: Path) -> None:
    """One in which something was done stays, with all that lies in it."""
    run = open_run(tmp_path / "refused")
    run.write_json(run.path / "facts.json", {})
    run.discard()
    assert not (tmp_path / "refused").exists()
    run = open_run(tmp_path / "trained")
    run.finish_stage("search", {"epochs": 1})
    run.discard()
    assert read_config(tmp_path / "trained") == CONFIG
    run.close()
