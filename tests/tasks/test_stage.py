"""The learning rate is a pure function of the epoch, and wrong settings are refused together."""

from __future__ import annotations

import pytest

from widthwise.errors import ConfigError
from widthwise.tasks.stage import Schedule, StageConfig


def rates(config: StageConfig) -> list[float]:
    return [round(config.lr_at(epoch), 6) for epoch in range(config.epochs)]


def test_a_constant_schedule_keeps_the_rate() -> None:
    """Every epoch has the same rate."""
    assert rates(StageConfig(epochs=3, lr=0.2, schedule=Schedule.constant)) == [0.2] * 3


def test_a_step_schedule_drops_after_its_milestones() -> None:
    """After m finished epochs the rate is multiplied by gamma, as published."""
    config = StageConfig(epochs=5, lr=1.0, schedule=Schedule.step, milestones=(2, 4), gamma=0.1)
    assert rates(config) == [1.0, 1.0, 0.1, 0.1, 0.01]


def test_a_cosine_schedule_falls_from_the_rate_to_zero() -> None:
    """The first epoch has the full rate, the middle half of it, and it would reach 0 at the end."""
    config = StageConfig(epochs=4, lr=0.4, schedule=Schedule.cosine)
    assert rates(config)[0] == 0.4
    assert rates(config)[2] == 0.2
    assert config.lr_at(4) == pytest.approx(0)


@pytest.mark.parametrize(
    ("settings", "names"),
    [
        ({"epochs": 0}, ["`epochs`"]),
        ({"epochs": 1, "lr": 0.0}, ["`lr`"]),
        ({"epochs": 1, "lr": float("nan")}, ["`lr`"]),
        ({"epochs": 1, "momentum": 1.0}, ["`momentum`"]),
        ({"epochs": 1, "milestones": (1,)}, ["`milestones`"]),
        ({"epochs": 1, "schedule": Schedule.step}, ["`milestones`"]),
        ({"epochs": 0, "lr": -1.0, "weight_decay": -1.0}, ["`epochs`", "`lr`", "`weight_decay`"]),
    ],
)
def test_wrong_settings_are_all_named(settings: dict[str, object], names: list[str]) -> None:
    """One error lists every wrong setting."""
    with pytest.raises(ConfigError) as caught:
        StageConfig(**settings)
    assert all(name in str(caught.value) for name in names)
