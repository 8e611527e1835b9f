"""Imports point down: no module of the package imports one that stands above it."""

from __future__ import annotations

import ast
import importlib.util
from pathlib import Path

import pytest

PACKAGE = Path(__file__).parent.parent / "src" / "widthwise"

# From the ground up; a name may import from its own row and from any row before it.
ROWS = (
    {"arguments", "errors", "_version", "files", "measures"},
    {"rules"},
    {"network"},
    {"latency"},
    {"graph"},
    {"cost", "rewrites"},
    {"plans"},
    {"shrinking"},
    {"healing"},
    {"search"},
    {"compression"},
    {"methods"},
    {"widthwise"},  # the public names
    {
        "data",
        "export",
        "hugging_face",
        "lightning",
        "models",
        "report",
        "runs",
        "tasks",
        "tracking",
        "ultralytics",
    },
    {"cli", "recipes"},
)
HEIGHT = {name: height for height, row in enumerate(ROWS) for name in row}


def part_of(module: str) -> str:
    """The part of the package a dotted module name belongs to; "widthwise" for the root."""
    _, _, rest = module.partition(".")
    part = rest.partition(".")[0]
    is_part = (PACKAGE / part).is_dir() or (PACKAGE / f"{part}.py").exists()
    return part if part and is_part else "widthwise"


def imported_by(source: str, place: tuple[str, ...]) -> set[str]:
    """Every dotted `widthwise` module that a file imports, at any indentation.

    Args:
        source: The file's text.
        place: Where it lies in the package, such as `("graph", "trace")`.
    """
    package = ".".join(("widthwise", *place[:-1]))
    found: set[str] = set()
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            name = "." * node.level + (node.module or "")
            base = importlib.util.resolve_name(name, package) if node.level else name
            found |= {f"{base}.{alias.name}" for alias in node.names}
    return {name for name in found if name.split(".")[0] == "widthwise"}


FILES = sorted(PACKAGE.rglob("*.py"))


@pytest.mark.parametrize("path", FILES, ids=lambda p: str(p.relative_to(PACKAGE)))
def test_imports_point_down(path: Path) -> None:
    """A file imports only from its own part of the package and from those below."""
    place = path.relative_to(PACKAGE).with_suffix("").parts
    part = {"__init__": "widthwise", "__main__": "cli"}.get(place[0], place[0])
    assert part in HEIGHT, f"`{part}` has no row: add it to ROWS where it belongs"
    wrong = [
        name
        for name in imported_by(path.read_text(), place)
        if HEIGHT[part_of(name)] > HEIGHT[part]
    ]
    assert not wrong, (
        f"{'/'.join(place)} imports {', '.join(sorted(wrong))}, which stand above `{part}`. "
        "Move what both need into the lower part."
    )


def test_the_rows_name_real_parts() -> None:
    """Every part named in the rows exists, so that a renamed one is noticed."""
    parts = {p.stem if p.is_file() else p.name for p in PACKAGE.iterdir()}
    assert set(HEIGHT) - {"widthwise"} <= parts


def test_every_form_of_import_is_seen() -> None:
    """Absolute, relative and indented imports all count."""
    source = (
        "import widthwise.cli, numpy\n"
        "from ..search import base\n"
        "from . import labels\n"
        "def late():\n    from widthwise import plan\n"
    )
    assert imported_by(source, ("graph", "trace")) == {
        "widthwise.cli",
        "widthwise.search.base",
        "widthwise.graph.labels",
        "widthwise.plan",
    }
    assert part_of("widthwise.search.base") == "search"
    assert part_of("widthwise.Plan") == "widthwise"
