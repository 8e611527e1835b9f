"""The public names are a list that changes only on purpose."""

from __future__ import annotations

import inspect
import subprocess
import sys

import pytest

import widthwise as ww

NAMES = {
    "Axis",
    "Call",
    "ChannelGraph",
    "HealReport",
    "Latency",
    "Macs",
    "Memory",
    "Params",
    "Plan",
    "Proof",
    "__version__",
    "carry_optimizer",
    "compress",
    "errors",
    "heal",
    "load",
    "methods",
    "plan",
    "prove",
    "rewrites",
    "save",
    "scores",
    "shrink",
    "trace",
    "uncounted",
    "widen",
}


def test_public_names() -> None:
    """`__all__` is exactly the reviewed list; removing or adding a name is a decision."""
    assert set(ww.__all__) == NAMES


@pytest.mark.parametrize("name", sorted(NAMES))
def test_public_name_exists(name: str) -> None:
    """Every public name is there and says what it is."""
    thing = getattr(ww, name)
    assert inspect.getdoc(thing)


def test_import_is_light_and_silent() -> None:
    """`import widthwise` prints nothing and loads none of the heavy optional parts."""
    heavy = "lightning timm torchvision matplotlib sklearn skimage torchmetrics rich onnx".split()
    code = f"import sys, widthwise; print([n for n in {heavy!r} if n in sys.modules])"
    run = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=120
    )
    assert run.stdout == "[]\n"
    assert run.stderr == ""
