"""Code of docs/situations.md that needs packages or processes which other pages do without."""

from __future__ import annotations

import re
from pathlib import Path

PAGE = Path(__file__).parent.parent / "docs" / "situations.md"


def block(word: str) -> str:
    """Return the one block of the page that has a word in it."""
    blocks = re.findall(r"```py\n(.*?)```", PAGE.read_text(encoding="utf-8"), re.DOTALL)
    (found,) = [each for each in blocks if word in each]
    return str(found)
