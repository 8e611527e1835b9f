"""The documentation site: what it shows, checked without building it, and the build itself."""

from __future__ import annotations

import inspect
import re
import subprocess
import sys
import types
from importlib import import_module
from pathlib import Path

import pytest

import widthwise as ww
from widthwise import cli, errors

DOCS = Path(__file__).parent.parent / "docs"
INDEX = (DOCS / "index.md").read_text(encoding="utf-8")
SHOWN = {
    name
    for page in (DOCS / "reference").glob("*.md")
    for name in re.findall(r"^\.\. auto\w+:: (\S+)$", page.read_text("utf-8"), re.MULTILINE)
}
"""What the reference is generated from."""
SUPPRESSED = {"widthwise.__version__", "widthwise.rewrites.widen"}
"""A number, and the name of a function that is shown under another."""


def _public() -> set[str]:
    """Every public name: those of the package, and of the modules among them."""
    names = set()
    for name in ww.__all__:
        thing = getattr(ww, name)
        if not isinstance(thing, types.ModuleType):
            names.add(f"widthwise.{name}")
        elif thing is not errors:
            names |= {f"widthwise.{name}.{each}" for each in thing.__all__}
    family = [each for each in vars(errors).values() if isinstance(each, type)]
    names |= {f"widthwise.errors.{e.__name__}" for e in family if issubclass(e, Exception)}
    return names - SUPPRESSED


def test_reference_shows_every_public_name() -> None:
    """Each public name of the package and its modules has its place in the reference."""
    assert _public() - SHOWN == set()


@pytest.mark.parametrize("name", sorted(SHOWN))
def test_what_the_reference_shows_exists(name: str) -> None:
    """Every name in the reference can be imported, and says what it is."""
    path, thing = name.split("."), None
    for i in range(len(path) - 1, 0, -1):
        try:
            thing = import_module(".".join(path[:i]))
        except ImportError:
            continue
        for part in path[i:]:
            thing = getattr(thing, part)
        break
    assert thing is not None
    assert inspect.getdoc(thing) or not callable(thing)


def _contents() -> set[str]:
    """What the contents name."""
    blocks = re.findall(r"```\{toctree\}\n(.*?)```", INDEX, re.DOTALL)
    lines = {line for block in blocks for line in block.splitlines()}
    return {line for line in lines if line and not line.startswith(":")}


def test_contents_name_pages_that_exist() -> None:
    """Each line of the contents is a page."""
    pages = _contents() - {"OTHER-PAGES"}
    missing = {name for name in pages if not (DOCS / f"{name}.md").exists()}
    assert missing == set()


def test_contents_leave_out_no_page() -> None:
    """Pages are in the contents by name; those beside them go to where there is room for others."""
    assert "OTHER-PAGES" in _contents()
    below = {page.relative_to(DOCS).with_suffix("").as_posix() for page in DOCS.glob("*/*.md")}
    assert below - _contents() == set()


def test_command_line_page_has_every_verb() -> None:
    """The page of the command line says of each verb what `widthwise --help` says of it."""
    page = (DOCS / "reference" / "command_line.md").read_text(encoding="utf-8")
    rows = dict(re.findall(r"^\| `(\w+)[^`]*` \| (.*) \|$", page, re.MULTILINE))
    assert {verb: rows.get(verb) for verb in cli.VERBS} == cli.VERBS


def test_choosing_has_every_method_and_score() -> None:
    """The page about choosing has a row for each method of recipes, and for each score."""
    page = (DOCS / "choosing.md").read_text(encoding="utf-8")
    scores = {name for name in ww.scores.__all__ if name != "Score"}
    rows = set(re.findall(r"^\| `(?:ww\.methods\.)?(\w+)`", page, re.MULTILINE))
    assert (scores | set(ww.methods.METHODS)) - rows == set()


@pytest.mark.slow
def test_site_builds_without_a_warning(tmp_path: Path) -> None:
    """Sphinx builds the site, and has nothing to say."""
    pytest.importorskip("sphinx")
    command = [sys.executable, "-m", "sphinx", "-q", "-E", "-W", str(DOCS), str(tmp_path / "site")]
    run = subprocess.run(command, capture_output=True, text=True, timeout=600)
    assert (run.returncode, run.stderr) == (0, "")
    assert "widthwise.shrink" in (tmp_path / "site/reference/shrinking.html").read_text("utf-8")
