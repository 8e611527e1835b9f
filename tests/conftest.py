"""Settings every test shares."""

from __future__ import annotations

import os
from pathlib import Path

import hypothesis
import pytest
import torch

# Test processes run side by side; one thread each keeps them from taking each other's cores.
torch.set_num_threads(1)

_QUIET = [hypothesis.HealthCheck.too_slow, hypothesis.HealthCheck.data_too_large]
hypothesis.settings.register_profile(
    "quick",
    max_examples=60,
    deadline=None,
    derandomize=True,  # a pull request must not fail by the luck of the draw
    suppress_health_check=_QUIET,
)
hypothesis.settings.register_profile(
    "explore", max_examples=300, deadline=None, suppress_health_check=_QUIET
)
hypothesis.settings.load_profile(os.environ.get("WIDTHWISE_HYPOTHESIS", "quick"))


@pytest.fixture(autouse=True)
def _no_cache_of_the_user(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Keep what tests measure away from what the user has measured."""
    monkeypatch.setenv("WIDTHWISE_CACHE", str(tmp_path / "cache"))
