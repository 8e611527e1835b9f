"""The learning rate is a pure function of the epoch, and wrong settings are refused together."""

from __future__ import annotations

import pytest
import torch
from torch import nn

import widthwise as ww
from widthwise.errors import ConfigError
from widthwise.tasks.stage import LR_FACTOR, OptimizerKind, Schedule, StageConfig


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
    optimizer = StageConfig(epochs=1, lr=0.3, **settings).build_optimizer([("weight", weight)])
    assert type(optimizer) is kind
    assert optimizer.defaults["lr"] == 0.3
    assert {key: optimizer.defaults[key] for key in expected} == expected


@pytest.mark.parametrize(
    ("settings", "names"),
    [
        ({"epochs": 0}, ["`epochs`"]),
        ({"epochs": 1, "lr": 0.0}, ["`lr`"]),
        ({"epochs": 1, "lr": float("nan")}, ["`lr`"]),
        ({"epochs": 1, "lr_factors": {"0.*": 0.0}}, ["`lr_factors`"]),
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


def small_network() -> nn.Sequential:
    """Two convolutions, a normalisation between them, and a classifier."""
    torch.manual_seed(0)
    return nn.Sequential(
        nn.Conv2d(3, 8, 3),
        nn.BatchNorm2d(8),
        nn.ReLU(),
        nn.Conv2d(8, 8, 3),
        nn.AdaptiveAvgPool2d(1),
        nn.Flatten(),
        nn.Linear(8, 2),
    )


def rates_by_name(optimizer: torch.optim.Optimizer, network: nn.Module) -> dict[str, float]:
    names = {parameter: name for name, parameter in network.named_parameters()}
    return {names[p]: group["lr"] for group in optimizer.param_groups for p in group["params"]}


def test_parts_have_rates_of_their_own() -> None:
    """The first glob that matches counts; what none matches has the rate of the stage."""
    network = small_network()
    stage = StageConfig(epochs=1, lr=0.5, lr_factors={"3.bias": 2, "[03].*": 0.1})
    optimizer = stage.build_optimizer(network.named_parameters())
    assert rates_by_name(optimizer, network) == {
        "0.weight": 0.05,
        "0.bias": 0.05,
        "1.weight": 0.5,
        "1.bias": 0.5,
        "3.weight": 0.05,
        "3.bias": 1.0,
        "6.weight": 0.5,
        "6.bias": 0.5,
    }


def test_without_factors_there_is_one_group() -> None:
    """All parameters are one group, in order, with nothing in it that torch does not know."""
    network = small_network()
    (group,) = StageConfig(epochs=1).build_optimizer(network.named_parameters()).param_groups
    assert group["params"] == list(network.parameters())
    assert LR_FACTOR not in group


@pytest.mark.parametrize("factors", [{"backbone.*": 0.1}, {"*": 0.5, "3.*": 0.1}])
def test_a_factor_for_nothing_is_refused(factors: dict[str, float]) -> None:
    """A glob that matches no parameter, or only those of globs before it, is named."""
    stage = StageConfig(epochs=1, lr_factors=factors)
    with pytest.raises(ConfigError, match=r"`lr_factors` has `(backbone|3)") as caught:
        stage.build_optimizer(small_network().named_parameters())
    assert "`0.weight`" in str(caught.value)


def test_factors_and_momentum_survive_a_search() -> None:
    """Weights that DHP computes keep their part's rate, and so does their momentum after the cut.

    What generates the weights belongs to no part, although it hangs below the first layer.
    """
    network = small_network()
    stage = StageConfig(
        epochs=1, lr=0.01, optimizer=OptimizerKind.adam, lr_factors={"3.*": 5, "0.*": 0.1}
    )
    images, labels = torch.randn(4, 3, 8, 8), torch.tensor([0, 1, 0, 1])
    search = ww.methods.dhp(network, images, budget=ww.Macs(0.6), round_to=1)
    optimizer = stage.build_optimizer(network.named_parameters())
    rates = rates_by_name(optimizer, network)
    assert rates["0.parametrizations.weight.original"] == pytest.approx(0.001)
    latents = [rate for name, rate in rates.items() if "hypernetwork" in name]
    assert latents
    assert set(latents) == {0.01}
    for _ in range(3):
        optimizer.zero_grad()
        nn.functional.cross_entropy(network(images), labels).backward()
        optimizer.step()
        search.step(optimizer)
    small, _ = search.finish(optimizer)
    assert rates_by_name(optimizer, small)["3.weight"] == pytest.approx(0.05)
    carried = stage.build_optimizer(small.named_parameters(), optimizer.state_dict())
    seen = 0
    for parameter in small.parameters():
        if parameter in optimizer.state:
            seen += 1
            expected = optimizer.state[parameter]["exp_avg"]
            assert torch.equal(carried.state[parameter]["exp_avg"], expected)
        else:
            assert parameter not in carried.state
    assert seen > 3
    assert rates_by_name(carried, small) == rates_by_name(optimizer, small)
