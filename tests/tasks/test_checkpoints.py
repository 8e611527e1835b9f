"""Checkpoints survive kills and damage, and belong to one stage."""

from __future__ import annotations

import errno
import os
from pathlib import Path
from typing import IO

import pytest
import torch

from widthwise import files
from widthwise.errors import RunError
from widthwise.tasks.checkpoints import StageCheckpoints


def make(folder: Path, epochs: int, stage: str = "search") -> StageCheckpoints:
    """Save one checkpoint per epoch."""
    checkpoints = StageCheckpoints(folder, stage=stage)
    for epoch in range(epochs):
        save(checkpoints, epoch)
    return checkpoints


def save(checkpoints: StageCheckpoints, epoch: int) -> None:
    checkpoints.save_checkpoint(
        {"epoch": epoch, "state_dict": {"weight": torch.full((2000,), float(epoch))}}, "any"
    )


def latest_epoch(checkpoints: StageCheckpoints) -> int:
    path, _ = checkpoints.latest()
    assert path is not None
    return checkpoints.load_checkpoint(path)["epoch"]


def test_the_newest_is_found_and_one_more_is_kept(tmp_path: Path) -> None:
    """After three epochs, the last two are there."""
    checkpoints = make(tmp_path, 3)
    assert latest_epoch(checkpoints) == 2
    assert checkpoints.load_checkpoint(checkpoints.previous)["epoch"] == 1
    assert sorted(p.name for p in tmp_path.iterdir()) == ["last.ckpt", "previous.ckpt"]


def test_a_stage_without_checkpoints_starts_anew(tmp_path: Path) -> None:
    """No file is not an error."""
    assert make(tmp_path / "none", 0).latest() == (None, "")


@pytest.mark.parametrize("damage", ["cut", "flip", "empty", "text"])
def test_a_damaged_checkpoint_is_passed_over(tmp_path: Path, damage: str) -> None:
    """The one before is used, and a note says which file was damaged."""
    checkpoints = make(tmp_path, 2)
    content = bytearray(checkpoints.last.read_bytes())
    middle = len(content) // 2
    if damage == "cut":
        content = content[:middle]
    elif damage == "flip":
        content[middle] ^= 0xFF
    else:
        content = bytearray(b"" if damage == "empty" else b"not a checkpoint")
    checkpoints.last.write_bytes(content)
    path, note = checkpoints.latest()
    assert path == checkpoints.previous
    assert str(checkpoints.last) in note
    assert latest_epoch(checkpoints) == 0


def test_nothing_readable_is_an_error_with_the_way_out(tmp_path: Path) -> None:
    """If both are damaged, the error names both and what to delete."""
    checkpoints = make(tmp_path, 2)
    for path in (checkpoints.last, checkpoints.previous):
        path.write_bytes(path.read_bytes()[:100])
    with pytest.raises(RunError, match=r"(?s)last\.ckpt.*previous\.ckpt.*delete") as caught:
        checkpoints.latest()
    assert str(tmp_path) in str(caught.value)


def test_a_kill_between_the_two_moves_loses_nothing(tmp_path: Path) -> None:
    """With `last` moved away and the new one not yet in place, the one before is found."""
    checkpoints = make(tmp_path, 2)
    checkpoints.last.replace(checkpoints.previous)
    assert latest_epoch(checkpoints) == 1
    save(checkpoints, 2)
    assert latest_epoch(checkpoints) == 2


def test_a_checkpoint_of_another_stage_is_refused(tmp_path: Path) -> None:
    """The error names both stages and says why."""
    make(tmp_path, 1, stage="search")
    with pytest.raises(RunError, match=r"of stage `search`, expected stage `found`(?s:.*)Why:"):
        StageCheckpoints(tmp_path, stage="found").latest()


def test_a_foreign_checkpoint_is_refused(tmp_path: Path) -> None:
    """A checkpoint that Widthwise did not write is named as such."""
    torch.save({"epoch": 3}, tmp_path / "last.ckpt")
    with pytest.raises(RunError, match="not written by Widthwise"):
        StageCheckpoints(tmp_path, stage="found").latest()


def test_a_checkpoint_never_runs_code(tmp_path: Path) -> None:
    """A pickle that would call a function when read counts as damaged, and is not run."""

    class Bomb:
        def __reduce__(self) -> tuple[object, tuple[str]]:
            return (Path(tmp_path / "exploded").write_text, ("",))

    torch.save({"widthwise": {"stage": "found"}, "bomb": Bomb()}, tmp_path / "last.ckpt")
    with pytest.raises(RunError, match="can be read"):
        StageCheckpoints(tmp_path, stage="found").latest()
    assert not (tmp_path / "exploded").exists()


def test_a_full_disk_leaves_the_last_checkpoint(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The error says that space is missing, and what was there can still be read."""
    checkpoints = make(tmp_path, 2)

    def full(handle: int) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(files.os, "fsync", full)
    with pytest.raises(RunError, match=r"No space left(?s:.*)--resume"):
        save(checkpoints, 2)
    assert latest_epoch(checkpoints) == 1
    assert sorted(p.name for p in tmp_path.iterdir()) == ["last.ckpt", "previous.ckpt"]


def test_the_checkpoints_of_a_finished_stage_go(tmp_path: Path) -> None:
    """Nothing of them stays, folder included; dropping twice, or none at all, is no error."""
    checkpoints = make(tmp_path / "search", 2)
    checkpoints.drop()
    assert not (tmp_path / "search").exists()
    checkpoints.drop()
    assert checkpoints.latest() == (None, "")


def test_only_the_leader_drops(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Another process of the run leaves the files alone."""
    checkpoints = make(tmp_path, 2)
    monkeypatch.setenv("RANK", "1")
    checkpoints.drop()
    assert checkpoints.last.exists() and checkpoints.previous.exists()


def test_a_checkpoint_is_never_whole_in_memory(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It reaches the file in pieces: none is larger than its largest tensor."""
    largest = 4 * 100_000
    tensors = {str(number): torch.rand(100_000) for number in range(8)}
    sizes: list[int] = []
    usual = os.fdopen

    def watched(handle: int, mode: str) -> IO[bytes]:
        file = usual(handle, mode)
        write = file.write

        class Watched:
            def write(self, data: bytes) -> int:
                sizes.append(len(data))
                return write(data)

            def __getattr__(self, name: str) -> object:
                return getattr(file, name)

            def __enter__(self) -> Watched:
                return self

            def __exit__(self, *_: object) -> None:
                file.close()

        return Watched()

    monkeypatch.setattr(files.os, "fdopen", watched)
    checkpoints = StageCheckpoints(tmp_path, stage="search")
    checkpoints.save_checkpoint({"state_dict": tensors}, "any")
    assert sum(sizes) > 8 * largest
    assert max(sizes) <= largest
    loaded = checkpoints.load_checkpoint(checkpoints.last)["state_dict"]
    assert all(torch.equal(loaded[name], value) for name, value in tensors.items())
