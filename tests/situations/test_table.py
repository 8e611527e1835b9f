"""The table of docs/situations.md: every cell is a test that exists."""

from __future__ import annotations

import ast
import re

from documented import PAGE

CELL = re.compile(r'^\[(yes|gathered|refused)\]\((\S+\.py) "(\w+)(?:\[(.+)\])?"\)$')
COLUMNS = ["situation", "how", "cut", "search", "finish", "resume"]


def table() -> list[list[str]]:
    """Return the rows of the table, the first with the titles, as cells."""
    lines = [line for line in PAGE.read_text(encoding="utf-8").splitlines() if line[:1] == "|"]
    return [[cell.strip() for cell in line.strip("|").split("|")] for line in lines]


def test_every_cell_is_a_test_that_exists() -> None:
    """The file has a function of that name, and its parameters are written in it."""
    titles, _, *rows = table()
    assert titles == COLUMNS
    for row in rows:
        assert len(row) == len(COLUMNS), row
        for cell in row[2:]:
            match = CELL.match(cell)
            assert match is not None, cell
            _, path, name, parameters = match.groups()
            tree = ast.parse((PAGE.parent / path).read_text(encoding="utf-8"))
            nodes = list(ast.walk(tree))
            tests = {node.name: node for node in nodes if isinstance(node, ast.FunctionDef)}
            assert name in tests, cell
            assert not parameters or tests[name].decorator_list, cell
            words = {str(node.value) for node in nodes if isinstance(node, ast.Constant)}
            words |= {node.id for node in nodes if isinstance(node, ast.Name)}
            rest = parameters or ""
            assert not rest or rest in words or set(rest.split("-")) <= words, cell


def test_every_situation_is_in_the_table() -> None:
    """No file of this folder is left out, and no situation stands there twice."""
    _, _, *rows = table()
    files = {path.name for path in (PAGE.parent.parent / "tests" / "situations").glob("test_*.py")}
    named = {match[1] for row in rows for match in re.finditer(r"/(test_\w+\.py)", "".join(row))}
    assert named == files - {"test_table.py"}
    assert len({row[0] for row in rows}) == len(rows)
