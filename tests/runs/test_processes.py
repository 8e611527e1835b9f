"""Of several processes one writes."""

from __future__ import annotations

from pathlib import Path

import pytest

from widthwise.runs import RunFolder, write_file
from widthwise.runs.processes import is_leader


@pytest.mark.parametrize(
    ("environment", "leads"),
    [
        ({}, True),
        ({"RANK": "0", "LOCAL_RANK": "0"}, True),
        ({"RANK": "2", "LOCAL_RANK": "0"}, False),
        ({"SLURM_PROCID": "1"}, False),
        ({"NODE_RANK": "0", "LOCAL_RANK": "1"}, False),
        ({"NODE_RANK": "1", "LOCAL_RANK": "0"}, False),
    ],
)
def test_the_first_process_leads(
    environment: dict[str, str], leads: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whatever has launched them: torchrun, Slurm, Lightning, or nothing."""
    for name in ("RANK", "SLURM_PROCID", "NODE_RANK", "LOCAL_RANK"):
        monkeypatch.delenv(name, raising=False)
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    assert is_leader() is leads


def test_other_processes_read_and_do_not_write(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """They enter the folder that the leader holds, and nothing of theirs gets into it."""
    leader = RunFolder(tmp_path / "run", config={"seed": 0}, environment={})
    leader.finish_stage("search", {"epochs": 3})
    before = sorted(path.name for path in (tmp_path / "run").rglob("*"))
    monkeypatch.setenv("RANK", "1")
    follower = RunFolder(tmp_path / "run", config={"seed": 0}, environment={})
    assert follower.result("search") == {"epochs": 3}
    follower.finish_stage("found", {"epochs": 1})
    follower.add_metrics({"stage": "found", "epoch": 0})
    follower.write_json(tmp_path / "run" / "other.json", 1)
    follower.write(tmp_path / "run" / "other.txt", "1")
    follower.close()
    assert sorted(path.name for path in (tmp_path / "run").rglob("*")) == before
    monkeypatch.delenv("RANK")
    leader.close()


@pytest.mark.parametrize("name", ["RANK", "SLURM_PROCID"])
def test_a_file_is_written_by_whoever_asks(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Only run folders know leaders: a plain file is written in any process of a cluster job."""
    monkeypatch.setenv(name, "3")
    write_file(tmp_path / "page.html", "text")
    assert (tmp_path / "page.html").read_text(encoding="utf-8") == "text"
