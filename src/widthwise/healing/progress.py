"""How long work tells how far it has come."""

from __future__ import annotations

from collections.abc import Callable

Progress = Callable[[int, int, str], object]
"""Called with the number of the step that begins, how many there are, and what it is."""
