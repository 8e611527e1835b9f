"""The lock of a run folder on systems that are not this one."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

HIDDEN = "import sys\nsys.modules['fcntl'] = None\n"
"""What makes `import fcntl` fail, as on Windows."""

MSVCRT = """
import os, types
from pathlib import Path
import torch
held = set()
def locking(descriptor, mode, size):
    place = os.lseek(descriptor, 0, os.SEEK_CUR)
    key = (os.fstat(descriptor).st_ino, place)
    assert (mode, size) == (2, 1)
    assert place > 1_000_000
    if key in held:
        raise OSError(36, "locked")
    held.add(key)
sys.modules['msvcrt'] = types.SimpleNamespace(LK_NBLCK=2, locking=locking)
from widthwise.errors import RunError
from widthwise.runs import RunFolder
folder = Path(sys.argv[1])
run = RunFolder(folder, config={"seed": 0}, environment={})
try:
    RunFolder(folder, config={"seed": 0}, environment={}, resume=True)
except RunError as error:
    print("Another process (%d)" % os.getpid() in str(error))
"""
"""Two run folders on one path, with a stand-in for the module that Windows has instead."""


def python(code: str, *arguments: str) -> str:
    """What a process without `fcntl` prints."""
    done = subprocess.run(
        [sys.executable, "-c", HIDDEN + code, *arguments], capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_everything_imports_without_fcntl() -> None:
    """Export, report, runs and tasks can be imported where there is no `fcntl`."""
    rooms = "widthwise.runs, widthwise.export, widthwise.report, widthwise.tasks.fit"
    assert python(f"import {rooms}\nprint('imported')") == "imported\n"


def test_windows_locks_by_its_own_module(tmp_path: Path) -> None:
    """The second who opens a run folder is told the number of the first, there too."""
    assert python(MSVCRT, str(tmp_path / "run")) == "True\n"
