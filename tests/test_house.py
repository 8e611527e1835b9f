"""Habits of the house that no linter knows."""

from __future__ import annotations

import ast
from pathlib import Path

import pytest

TESTS = Path(__file__).parent
LONGEST = 400
"""Lines a source file may have. Most have half; a longer one holds two ideas."""


@pytest.mark.parametrize(
    "path", sorted(TESTS.rglob("test_*.py")), ids=lambda p: str(p.relative_to(TESTS))
)
def test_every_test_states_its_behaviour(path: Path) -> None:
    """Every test function has a docstring: the one behaviour it holds."""
    tree = ast.parse(path.read_text(encoding="utf-8"))
    silent = [
        node.name
        for node in ast.walk(tree)
        if isinstance(node, ast.FunctionDef)
        and node.name.startswith("test_")
        and ast.get_docstring(node) is None
    ]
    assert silent == []


def test_files_stay_small() -> None:
    """No source file outgrows what a reader keeps in mind."""
    source = TESTS.parent / "src"
    lengths = {p: len(p.read_text(encoding="utf-8").splitlines()) for p in source.rglob("*.py")}
    assert {str(p): n for p, n in lengths.items() if n > LONGEST} == {}
