"""What the documentation shows is what happens."""

from __future__ import annotations

import contextlib
import importlib.util
import io
import os
import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

import image_restoration_table
import summary
import tracking_table
import widthwise as ww
from widthwise.models import resolve
from widthwise.recipes.loader import load_recipe

ROOT = Path(__file__).parent.parent
PAGES = [*sorted(ROOT.glob("*.md")), *sorted((ROOT / "docs").rglob("*.md"))]
EXAMPLES = sorted((ROOT / "examples").glob("*.py"))
NEEDS = {
    "hugging_face.md": "transformers",
    "ultralytics.md": "ultralytics",
    "06_ultralytics.py": "ultralytics",
}
"""Packages that a page or an example is about, and that need not be here."""

# A Python block, and the text block right after it, if there is one.
BLOCK = re.compile(r"```python\n(.*?)```(?:\n+```text\n(.*?)```)?", re.DOTALL)
RECIPE = re.compile(r"```yaml\n(# \S+\.yaml\n.*?)```", re.DOTALL)
LINK = re.compile(r"\]\((?!https?:|#)([^)#\s]+)")


def require_package(path: Path) -> None:
    """Skip a test of a page or an example whose package is not installed."""
    package = NEEDS.get(path.name)
    if package is not None and importlib.util.find_spec(package) is None:
        pytest.skip(f"{package} is an extra")


@pytest.mark.parametrize("page", PAGES, ids=lambda p: str(p.relative_to(ROOT)))
def test_code_blocks_run(page: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The Python blocks of a page run in order; a text block after one is its exact output."""
    require_package(page)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("YOLO_CONFIG_DIR", str(tmp_path))
    names: dict[str, object] = {"__name__": "docs"}
    for match in BLOCK.finditer(page.read_text(encoding="utf-8")):
        code, expected = match.groups()
        line = page.read_text(encoding="utf-8")[: match.start()].count("\n") + 2
        printed = io.StringIO()
        # Some packages change how numbers print, everywhere.
        with contextlib.redirect_stdout(printed), np.printoptions():
            block = "\n" * (line - 1) + code
            # Without the future imports of this file: a reader has none of them.
            exec(compile(block, str(page), "exec", dont_inherit=True), names)
        if expected is not None:
            assert printed.getvalue().rstrip() == expected.rstrip(), f"{page.name}, line {line}"


@pytest.mark.parametrize("page", PAGES, ids=lambda p: str(p.relative_to(ROOT)))
def test_links_lead_somewhere(page: Path) -> None:
    """Every relative link or picture of a page points at a file that is in the repository."""
    targets = LINK.findall(page.read_text(encoding="utf-8"))
    assert [t for t in targets if not (page.parent / t).exists()] == []


@pytest.mark.parametrize("page", ["classification", "restoration", "tracking"])
def test_recipes_on_pages_are_recipes(page: str, tmp_path: Path) -> None:
    """A recipe on a page has the keys of its task and method, and a network that traces."""
    text = (ROOT / "docs" / f"{page}.md").read_text(encoding="utf-8")
    (tmp_path / "mine.yaml").write_text(*RECIPE.findall(text), encoding="utf-8")
    recipe = load_recipe(str(tmp_path / "mine.yaml"), [])
    spec = resolve(recipe.model.name)
    model = spec.build(**recipe.model.options)
    assert ww.trace(model, spec.example()).macs() > 0


@pytest.mark.parametrize("script", EXAMPLES, ids=lambda p: p.name)
def test_examples_run(script: Path, tmp_path: Path) -> None:
    """Every example script runs from an empty folder, within two minutes on a busy machine."""
    require_package(script)
    environment = os.environ | {"OMP_NUM_THREADS": "1", "YOLO_CONFIG_DIR": str(tmp_path)}
    run = subprocess.run(
        [sys.executable, "-W", "error::DeprecationWarning:__main__", str(script)],
        cwd=tmp_path, env=environment, capture_output=True, text=True, timeout=120,
    )  # fmt: skip
    assert run.returncode == 0, run.stderr


def test_measured_figures_are_those_of_the_result_files() -> None:
    """The README's tables are what benchmarks/summary.py makes of benchmarks/results."""
    readme = summary.README.read_text(encoding="utf-8")
    assert summary.table() in readme
    assert summary.healing_table.short() in readme
    for name in summary.COMPARISONS:
        assert summary.compare_table(name) in readme
    page = summary.BENCHMARKS.read_text(encoding="utf-8")
    for made in (
        summary.widths_table.table(),
        summary.search_step_table.table(),
        summary.cut_speed_table(),
        summary.healing_table.every(),
        summary.healing_table.after(),
    ):
        assert made in page
    assert summary.latency_table() in summary.LATENCY.read_text(encoding="utf-8")
    page = summary.RESTORATION.read_text(encoding="utf-8")
    for task in image_restoration_table.PUBLISHED:
        assert image_restoration_table.table(task) in page
    page = summary.TRACKING.read_text(encoding="utf-8")
    assert tracking_table.table() in page
    assert tracking_table.clips_table() in page
