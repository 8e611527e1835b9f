"""Settings of one training stage, and its learning rate as a pure function of the epoch."""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass
from enum import Enum

from torch import nn
from torch.optim import SGD

from widthwise.errors import ConfigError


class Schedule(Enum):
    """How the learning rate changes from epoch to epoch."""

    constant = "constant"
    step = "step"
    cosine = "cosine"


@dataclass(frozen=True, kw_only=True)
class StageConfig:
    """One stage of training with SGD."""

    epochs: int
    """Passes over the training split. A search ends earlier when it reaches its budget."""
    lr: float = 0.1
    """Learning rate of the first epoch."""
    momentum: float = 0.9
    """Momentum of SGD."""
    weight_decay: float = 1e-4
    """L2 penalty on all parameters."""
    schedule: Schedule = Schedule.cosine
    """`constant`, `step` (times `gamma` at milestones) or `cosine` (0 after the last epoch)."""
    milestones: tuple[int, ...] = ()
    """Finished epochs after which a `step` schedule multiplies the rate by `gamma`."""
    gamma: float = 0.1
    """Factor of a `step` schedule."""

    def __post_init__(self) -> None:
        problems = []
        if self.epochs < 1:
            problems.append(f"`epochs` must be at least 1: got {self.epochs}")
        if not self.lr > 0:
            problems.append(f"`lr` must be above 0: got {self.lr}")
        if not 0 <= self.momentum < 1:
            problems.append(f"`momentum` must be in [0, 1): got {self.momentum}")
        if self.weight_decay < 0:
            problems.append(f"`weight_decay` must not be negative: got {self.weight_decay}")
        if bool(self.milestones) != (self.schedule is Schedule.step):
            problems.append("`milestones` go with `schedule: step`, and it needs at least one")
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
        match self.schedule:
            case Schedule.constant:
                return self.lr
            case Schedule.step:
                passed = sum(epoch >= milestone for milestone in self.milestones)
                return self.lr * self.gamma**passed
            case Schedule.cosine:
                return self.lr * (1 + math.cos(math.pi * epoch / self.epochs)) / 2

    def optimizer(self, parameters: Iterable[nn.Parameter]) -> SGD:
        """Make the optimizer of this stage.

        Args:
            parameters: What to train, in one group as published.

        Returns:
            SGD with the settings of the stage.
        """
        return SGD(parameters, lr=self.lr, momentum=self.momentum, weight_decay=self.weight_decay)
