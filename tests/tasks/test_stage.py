"""The learning rate is a pure function of the epoch, and wrong settings are refused together."""

from __future__ import annotations

import pytest
import torch

from widthwise.errors import ConfigError
from widthwise.tasks.stage import OptimizerKind, Schedule, StageConfig


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


def test_a_linear_schedule_falls_in_equal_steps() -> None:
    """Every epoch is lower by the same amount, and the one after the last would be 0."""
    config = StageConfig(epochs=4, lr=0.4, schedule=Schedule.linear)
    assert rates(config) == [0.4, 0.3, 0.2, 0.1]
    assert config.lr_at(4) == 0


def test_a_warm_up_rises_to_the_schedule() -> None:
    """In the first epochs the rate grows in equal steps, and then is that of the schedule."""
    config = StageConfig(epochs=5, lr=1.0, schedule=Schedule.constant, warmup=3)
    assert rates(config) == [0.25, 0.5, 0.75, 1.0, 1.0]


@pytest.mark.parametrize(
    ("settings", "kind", "expected"),
    [
        ({"momentum": 0.8, "nesterov": True}, torch.optim.SGD, {"momentum": 0.8, "nesterov": True}),
        ({"optimizer": OptimizerKind.adam}, torch.optim.Adam, {"betas": (0.9, 0.999)}),
        ({"optimizer": OptimizerKind.adamw}, torch.optim.AdamW, {"weight_decay": 1e-4}),
    ],
)
def test_an_optimizer_has_the_settings_of_its_stage(
    settings: dict[str, object], kind: type, expected: dict[str, object]
) -> None:
    """Kind, learning rate and settings are those of the recipe."""
    weight = torch.nn.Parameter(torch.zeros(1))
    optimizer = StageConfig(epochs=1, lr=0.3, **settings).build_optimizer([weight])
    assert type(optimizer) is kind
    assert optimizer.defaults["lr"] == 0.3
    assert {key: optimizer.defaults[key] for key in expected} == expected


@pytest.mark.parametrize(
    ("settings", "names"),
    [
        ({"epochs": 0}, ["`epochs`"]),
        ({"epochs": 1, "lr": 0.0}, ["`lr`"]),
        ({"epochs": 1, "lr": float("nan")}, ["`lr`"]),
        ({"epochs": 1, "momentum": 1.0}, ["`momentum`"]),
        ({"epochs": 1, "milestones": (1,)}, ["`milestones`"]),
        ({"epochs": 1, "schedule": Schedule.step}, ["`milestones`"]),
        ({"epochs": 2, "warmup": 2}, ["`warmup`"]),
        ({"epochs": 1, "nesterov": True, "momentum": 0.0}, ["`nesterov`"]),
        ({"epochs": 1, "optimizer": OptimizerKind.adam, "nesterov": True}, ["`nesterov`"]),
        ({"epochs": 1, "ema": 1.0}, ["`ema`"]),
        ({"epochs": 1, "clip_norm": 0.0, "distil": 1.5}, ["`clip_norm`", "`distil`"]),
        ({"epochs": 1, "temperature": 0.0}, ["`temperature`"]),
        ({"epochs": 0, "lr": -1.0, "weight_decay": -1.0}, ["`epochs`", "`lr`", "`weight_decay`"]),
    ],
)
def test_wrong_settings_are_all_named(settings: dict[str, object], names: list[str]) -> None:
    """One error lists every wrong setting."""
    with pytest.raises(ConfigError) as caught:
        StageConfig(**settings)
    assert all(name in str(caught.value) for name in names)
