"""Settings of one training stage, and its learning rate as a pure function of the epoch."""

from __future__ import annotations

import fnmatch
import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from enum import Enum
from typing import Any

from torch import nn
from torch.optim import SGD, Adam, AdamW, Optimizer

from widthwise.errors import ConfigError

LR_FACTOR = "lr_factor"
"""Key of a group of parameters for its factor; groups without it have the rate of the stage."""


class OptimizerKind(Enum):
    """What turns gradients into steps."""

    sgd = "sgd"
    adam = "adam"
    adamw = "adamw"


class Schedule(Enum):
    """How the learning rate changes from epoch to epoch."""

    constant = "constant"
    step = "step"
    cosine = "cosine"
    linear = "linear"


@dataclass(frozen=True, kw_only=True)
class StageConfig:
    """One stage of training."""

    epochs: int
    """Passes over the training split. A search ends earlier when it reaches its budget."""
    optimizer: OptimizerKind = OptimizerKind.sgd
    """`sgd`, `adam` or `adamw`."""
    lr: float = 0.1
    """Learning rate of the first epoch after the warm-up."""
    lr_factors: dict[str, float] = field(default_factory=dict)
    """Parts of the network that learn faster or more slowly: a glob over names of parameters, such
    as `backbone.*`, and what the learning rate is multiplied by there, in every epoch. The first
    that matches counts, and 1 where none does."""
    momentum: float = 0.9
    """Momentum of SGD; the first beta of Adam and AdamW."""
    nesterov: bool = False
    """Nesterov's momentum, for SGD."""
    weight_decay: float = 1e-4
    """L2 penalty on all parameters (SGD, Adam), or decoupled decay (AdamW)."""
    schedule: Schedule = Schedule.cosine
    """`constant`, `step` (times `gamma` at milestones), `cosine` or `linear` (0 after the last
    epoch, both)."""
    milestones: tuple[int, ...] = ()
    """Finished epochs after which a `step` schedule multiplies the rate by `gamma`."""
    gamma: float = 0.1
    """Factor of a `step` schedule."""
    warmup: int = 0
    """First epochs, in which the rate rises linearly to that of the schedule."""
    clip_norm: float | None = None
    """Largest norm of the gradient of all parameters together; longer ones are scaled down."""
    ema: float | None = None
    """Decay per step of an exponential moving average of all weights. The average is what is
    measured and kept. None for no average."""
    distil: float = 0.0
    """Weight of the outputs of a teacher in the loss, beside those of the targets: 0 for no
    teacher, 0.4 as published."""
    temperature: float = 4.0
    """What scores of teacher and network are divided by before they are compared."""

    def __post_init__(self) -> None:
        problems = [
            f"`{name}` must be {rule}: got {getattr(self, name)}"
            for name, rule, holds in (
                ("epochs", "at least 1", self.epochs >= 1),
                ("lr", "above 0", self.lr > 0),
                ("lr_factors", "above 0", all(each > 0 for each in self.lr_factors.values())),
                ("momentum", "in [0, 1)", 0 <= self.momentum < 1),
                ("weight_decay", "at least 0", self.weight_decay >= 0),
                ("warmup", "in [0, epochs)", 0 <= self.warmup < max(self.epochs, 1)),
                ("clip_norm", "above 0", self.clip_norm is None or self.clip_norm > 0),
                ("ema", "in (0, 1)", self.ema is None or 0 < self.ema < 1),
                ("distil", "in [0, 1]", 0 <= self.distil <= 1),
                ("temperature", "above 0", self.temperature > 0),
            )
            if not holds
        ]
        if bool(self.milestones) != (self.schedule is Schedule.step):
            problems.append("`milestones` go with `schedule: step`, and it needs at least one")
        if self.nesterov and (self.optimizer is not OptimizerKind.sgd or not self.momentum):
            problems.append("`nesterov` goes with `optimizer: sgd` and a momentum above 0")
        if problems:
            raise ConfigError("A training stage is set up wrongly:\n    " + "\n    ".join(problems))

    def lr_at(self, epoch: int) -> float:
        """Compute the learning rate of one epoch.

        Args:
            epoch: Number of the epoch, from 0.

        Returns:
            The rate for all steps of that epoch.

        Example:
            >>> stage = StageConfig(epochs=4, schedule=Schedule.step, milestones=(2,))
            >>> [round(stage.lr_at(epoch), 4) for epoch in range(4)]
            [0.1, 0.1, 0.01, 0.01]
        """
        return self._scheduled(epoch) * min(1.0, (epoch + 1) / (self.warmup + 1))

    def _scheduled(self, epoch: int) -> float:
        match self.schedule:
            case Schedule.constant:
                return self.lr
            case Schedule.step:
                passed = sum(epoch >= milestone for milestone in self.milestones)
                return self.lr * self.gamma**passed
            case Schedule.cosine:
                return self.lr * (1 + math.cos(math.pi * epoch / self.epochs)) / 2
            case Schedule.linear:
                return self.lr * (1 - epoch / self.epochs)

    def build_optimizer(
        self,
        parameters: Iterable[tuple[str, nn.Parameter]],
        carried: Mapping[str, Any] | None = None,
    ) -> Optimizer:
        """Make the optimizer of this stage.

        Args:
            parameters: What to train, as ``named_parameters()`` gives it. It is one group as
                published, or, with `lr_factors`, a group for each of them after that of the rest.
            carried: State of an earlier optimizer of these parameters to start with, as its
                ``state_dict()`` gives it, made with the same `lr_factors`; its settings are not
                taken over.

        Returns:
            An optimizer with the settings of the stage.

        Raises:
            ConfigError: If a glob of `lr_factors` matches no parameter.
        """
        optimizer = self._fresh_optimizer(self._groups(list(parameters)))
        if carried is not None:
            optimizer.load_state_dict({**optimizer.state_dict(), "state": carried["state"]})
        return optimizer

    def _groups(self, parameters: list[tuple[str, nn.Parameter]]) -> list[dict[str, Any]]:
        if not self.lr_factors:
            return [{"params": [parameter for _, parameter in parameters]}]
        rest: list[nn.Parameter] = []
        groups: dict[str, list[nn.Parameter]] = {pattern: [] for pattern in self.lr_factors}
        for name, parameter in parameters:
            own = own_name(name)
            found = (each for each in groups if own and fnmatch.fnmatchcase(own, each))
            pattern = next(found, None)
            (rest if pattern is None else groups[pattern]).append(parameter)
        idle = [pattern for pattern, members in groups.items() if not members]
        if idle:
            shown = ", ".join(f"`{name}`" for name, _ in parameters[:: len(parameters) // 4 or 1])
            raise ConfigError(
                f"`lr_factors` has {', '.join(f'`{each}`' for each in idle)}, which matches no "
                "parameter of the network that is left by those before it.\n"
                f"Hint: parameters are called {shown}; `backbone.*` is all below `backbone`."
            )
        # In this order whatever the network, so that the state of one optimizer fits the next.
        factors = [(1.0, rest), *((self.lr_factors[each], groups[each]) for each in groups)]
        return [
            {"params": members, LR_FACTOR: factor, "lr": self.lr * factor}
            for factor, members in factors
        ]

    def _fresh_optimizer(self, parameters: list[dict[str, Any]]) -> Optimizer:
        match self.optimizer:
            case OptimizerKind.sgd:
                return SGD(
                    parameters,
                    lr=self.lr,
                    momentum=self.momentum,
                    weight_decay=self.weight_decay,
                    nesterov=self.nesterov,
                )
            case OptimizerKind.adam | OptimizerKind.adamw:
                kind = Adam if self.optimizer is OptimizerKind.adam else AdamW
                betas = (self.momentum, 0.999)
                return kind(parameters, lr=self.lr, betas=betas, weight_decay=self.weight_decay)


def own_name(name: str) -> str | None:
    """Tell what a parameter is called without what a search has attached to its network.

    Args:
        name: As ``named_parameters()`` gives it.

    Returns:
        Its name in the network itself; None if it belongs to the search.

    Example:
        >>> own_name("conv.parametrizations.weight.original"), own_name("conv.bias")
        ('conv.weight', 'conv.bias')
    """
    module, parametrized, rest = name.partition("parametrizations.")
    if not parametrized:
        return name
    parameter, _, what = rest.partition(".")
    return f"{module}{parameter}" if what == "original" else None
