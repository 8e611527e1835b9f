"""What a task is: data, loss, measures and samples, behind one interface that jobs talk to."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import lightning as L
from torch import Tensor, nn

from widthwise.measures import Measure
from widthwise.tasks.hardware import HardwareConfig
from widthwise.tasks.stage import StageConfig


@dataclass(frozen=True, kw_only=True)
class Sample:
    """One thing a person wants to see of a network, such as a crop before and after."""

    title: str
    """What it is."""
    image: Any
    """uint8, shape ``[h, w]`` or ``[h, w, 3]``."""
    caption: str = ""
    """What to write under it, such as its PSNR."""


@dataclass(frozen=True, kw_only=True)
class Chart:
    """Curves over test items that say more than one number, such as success over overlap."""

    title: str
    """What it shows."""
    across: str
    """What the horizontal axis counts."""
    up: str
    """What the vertical axis counts; all values are shares."""
    places: Sequence[float]
    """On the horizontal axis."""
    lines: Mapping[str, Sequence[float]]
    """Title of a network -> a share per place."""


class Task(Protocol):
    """What good means. Jobs, run folders, reports and the command line know only this."""

    name: str
    """Such as ``classification``."""
    measures: tuple[Measure, ...]
    """What it reports; the first is the headline."""
    test_items: int
    """How many items the measures are taken over."""

    def example(self) -> Any:
        """Return example inputs, as the network is called with them: what trace and proof get."""
        ...

    def item(self) -> Tensor | None:
        """Return one whole test item, as a batch, for reports of time and memory.

        None for a task whose items are like the example, and of which nobody asks that.
        """
        ...

    def check(self, network: nn.Module) -> None:
        """Find out before training whether a network fits.

        Raises:
            ConfigError: If it does not.
        """
        ...

    def batch(self, seed: int) -> tuple[Any, Any]:
        """Return one training batch ``(inputs, target)``, prepared as in training."""
        ...

    def loss(self, outputs: Any, target: Any) -> Tensor:
        """Return the loss that training minimises, without extras such as label smoothing."""
        ...

    def module(
        self,
        network: nn.Module,
        stage: StageConfig,
        *,
        seed: int,
        hardware: HardwareConfig,
        carried: Mapping[str, Any] | None = None,
        teacher: nn.Module | None = None,
    ) -> L.LightningModule:
        """Wrap a network for one stage of training.

        The module has the network as its attribute ``network`` and logs ``test_loss`` and
        ``test_<measure>`` for every measure. Learning rates, the log of the training loss and what
        becomes of one that is not finite are the business of `widthwise.tasks.fit.fit_stage`.

        Args:
            network: Trained in place.
            stage: Optimizer, and the weight of the teacher.
            seed: Of the run.
            hardware: Memory format and precision.
            carried: State of an earlier optimizer to start with.
            teacher: A network to distil from, where the task can.

        Returns:
            The module.

        Raises:
            ConfigError: If the stage asks for a teacher, and there is none or the task cannot.
        """
        ...

    def train(self, seed: int) -> Iterable[Any]:
        """Return the loader of training batches."""
        ...

    def test(self) -> Iterable[Any]:
        """Return the loader of test batches."""
        ...

    def evaluate(self, network: nn.Module, hardware: HardwareConfig) -> dict[str, float]:
        """Measure a network on the test split: a value per measure, by name."""
        ...

    def samples(self, networks: Mapping[str, nn.Module]) -> Sequence[Sequence[Sample]]:
        """Show what networks do: a row per item, a column per network; empty if nothing to see."""
        ...

    def charts(self, networks: Mapping[str, nn.Module]) -> Sequence[Chart]:
        """Draw curves of networks over the test split; empty if there are none to see."""
        ...

    def facts(self) -> Mapping[str, Any]:
        """Say what an exported file has to carry, such as class names, mean and scale.

        Jobs write it into the run folder, so that exporting needs no data.

        Returns:
            Plain values for JSON.
        """
        ...
