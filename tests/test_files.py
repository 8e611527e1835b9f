"""Files are written whole, with the rights that files of this user have."""

from __future__ import annotations

import os
import stat
from pathlib import Path

import pytest

from widthwise.files import write_atomically


@pytest.fixture
def umask_of_a_group():
    """Others may do nothing, the group may read."""
    before = os.umask(0o027)
    yield
    os.umask(before)


@pytest.mark.skipif(os.name == "nt", reason="Windows has no such rights")
def test_files_have_the_rights_that_the_umask_leaves(tmp_path: Path, umask_of_a_group) -> None:
    """Neither private nor open to everybody; the same when a file is replaced."""
    path = tmp_path / "file"
    for content in ("first", b"second"):
        write_atomically(path, content)
        assert stat.S_IMODE(path.stat().st_mode) == 0o640
    assert path.read_bytes() == b"second"


def test_the_umask_of_other_threads_is_left_alone(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It belongs to the whole process, so it is never set, not even for a moment."""
    monkeypatch.setattr(os, "umask", None)
    write_atomically(tmp_path / "file", "text")
    assert (tmp_path / "file").read_text() == "text"


def test_a_failed_write_leaves_the_old_file_and_nothing_else(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A full disk costs the new file, not the old one."""
    path = tmp_path / "file"
    write_atomically(path, "old")

    def full(_: int) -> None:
        raise OSError("no space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(OSError, match="no space"):
        write_atomically(path, "new")
    assert path.read_text() == "old"
    assert [each.name for each in tmp_path.iterdir()] == ["file"]
