"""A studio for tests."""

from __future__ import annotations

import pytest

from rendered import SMALL, still
from widthwise.data.rendering.studio import Still, Studio


@pytest.fixture
def stills() -> tuple[Still, ...]:
    """Four photographs."""
    return tuple(still(seed) for seed in range(4))


@pytest.fixture
def studio(stills: tuple[Still, ...]) -> Studio:
    """Draws small scenes."""
    return Studio(stills, SMALL)
