"""Where the networks of a run are trained, and what of it is written down."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence, Sized
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

import lightning as L
import numpy as np
from torch import Tensor, nn
from torch.optim import Optimizer

import widthwise as ww
from widthwise.errors import RunError
from widthwise.lightning import WidthSearch
from widthwise.recipes.arms import Stage
from widthwise.recipes.config import SearchRecipe
from widthwise.recipes.setting import Setting
from widthwise.runs import RunFolder, read_metrics
from widthwise.runs.processes import is_leader
from widthwise.runs.writing import cannot_write
from widthwise.search.search import Search
from widthwise.tasks.base import Task
from widthwise.tasks.fit import fit_stage
from widthwise.tasks.progress import Progress
from widthwise.tasks.stage import StageConfig

_POINTS = 200
"""Most points of a curve of importance; more cannot be seen."""


@dataclass(frozen=True, kw_only=True)
class Workshop:
    """Trains networks of one run.

    Args:
        recipe: The complete configuration.
        task: Its task.
        run: Where metrics, checkpoints and networks go.
        progress: Told about what happens.
    """

    recipe: SearchRecipe
    task: Task
    run: RunFolder
    progress: Progress

    def fit(
        self,
        network: nn.Module,
        *,
        stage: str,
        title: str,
        setting: str,
        config: StageConfig,
        callbacks: Sequence[L.Callback] = (),
        cost_fractions: Callable[[], tuple[float, float]] | None = None,
        carried: Mapping[str, Any] | None = None,
        teacher: nn.Module | None = None,
    ) -> Optimizer:
        """Train a network, going on where an earlier process stopped.

        Args:
            network: Changed in place.
            stage: Name of the stage in the run folder.
            title: What to call it on the screen.
            setting: Key of its settings in the recipe.
            config: Those settings, or what has become of them.
            callbacks: Called besides those that keep the books.
            cost_fractions: Tells MACs and parameters that a search has reached.
            carried: State of an earlier optimizer to start with.
            teacher: A network to distil from.

        Returns:
            The optimizer, with the state it ended with.
        """
        recipe, task = self.recipe, self.task
        module = task.module(
            network,
            config,
            seed=recipe.seed,
            hardware=recipe.hardware,
            carried=carried,
            teacher=teacher,
        )
        return fit_stage(
            module,
            run=self.run,
            stage=stage,
            title=title,
            config=config,
            setting=setting,
            measures=task.measures,
            train=task.train(recipe.seed),
            test=task.test(),
            progress=self.progress,
            hardware=recipe.hardware,
            tensorboard=recipe.tensorboard,
            callbacks=callbacks,
            cost_fractions=cost_fractions,
        )

    def save(self, network: nn.Module, plan: ww.Plan, folder: Path) -> None:
        """Write a network and its plan.

        Args:
            network: Cut by the plan.
            plan: How.
            folder: Of the run.

        Raises:
            RunError: If they cannot be written.
        """
        if not is_leader():
            return
        try:
            ww.save(network, plan, folder)
        except OSError as error:
            raise RunError(cannot_write(folder / "model.safetensors", error)) from error

    def epochs(self, stage: str) -> list[dict[str, str]]:
        """Return the lines of metrics.csv of a stage, one per epoch it was trained for."""
        return [row for row in read_metrics(self.run.path) if row["stage"] == stage]

    def seconds(self, stage: str) -> float:
        """Return how long a stage was trained."""
        return sum(float(row["seconds"]) for row in self.epochs(stage))


class SearchBench:
    """What a method works on, as `widthwise.methods.Bench`.

    Args:
        workshop: Where the network is trained.
        setting: The user's own network.
        stage: In which it is searched.
        config: How it is trained meanwhile; None for methods that decide without training.
    """

    def __init__(
        self, workshop: Workshop, setting: Setting, stage: Stage, config: StageConfig | None
    ) -> None:
        self._workshop = workshop
        self._setting = setting
        self._stage = stage
        self._config = config
        self._said = -1
        self.example: Any = setting.example
        self.loss: Callable[[Any, Any], Tensor] = workshop.task.loss
        self.reached: bool | None = None
        """Whether the search has reached its budget; None if nothing was searched in training."""
        self._began = time.perf_counter()

    def network(self) -> nn.Module:
        """Build the user's own network as arms start from it, the same at every call."""
        return self._setting.start()

    def build(self) -> nn.Module:
        """Build the user's own network with whatever weights the generator gives."""
        return self._setting.build()

    def batch(self, number: int = 0) -> tuple[Any, Any]:
        """Return a training batch; the same one for a number at every call."""
        return self._workshop.task.batch(self._workshop.recipe.seed + number)

    @property
    def steps(self) -> int:
        """Steps of the optimizer in all epochs of the search."""
        assert self._config is not None
        seed = self._workshop.recipe.seed
        return self._config.epochs * len(cast(Sized, self._workshop.task.train(seed)))

    def train(
        self, network: nn.Module, attach: Callable[[nn.Module], Search]
    ) -> tuple[Search, Optimizer]:
        """Train a network with a search attached; see `widthwise.methods.Bench`.

        Args:
            network: Changed in place.
            attach: Attaches the search.

        Returns:
            The search, not finished yet, and the optimizer.
        """
        workshop, full = self._workshop, self._setting.full_cost
        assert self._config is not None
        search = WidthSearch("network", attach)

        def cost_fractions() -> tuple[float, float]:
            cost = search.search.cost_alive()
            return cost["macs"] / full["macs"], cost["params"] / full["params"]

        folder = workshop.run.stage(self._stage.name)
        optimizer = workshop.fit(
            network,
            stage=self._stage.name,
            title=self._stage.title,
            setting="search",
            config=self._config,
            callbacks=[search, _WriteImportance(search, workshop.run, folder / "importance")],
            cost_fractions=cost_fractions,
        )
        # The last steps of a search may be too few for a comparison.
        search.search.check()
        self.reached = search.search.done
        workshop.run.write_json(folder / "history.json", search.search.history)
        self._began = time.perf_counter()
        return search.search, optimizer

    def train_plainly(self, network: nn.Module) -> Optimizer:
        """Train a network as it is; see `widthwise.methods.Bench`."""
        assert self._config is not None
        optimizer = self._workshop.fit(
            network,
            stage=self._stage.name,
            title=self._stage.title,
            setting="search",
            config=self._config,
        )
        self._began = time.perf_counter()
        return optimizer

    def deciding(self) -> float:
        """Return the seconds since training has ended, or since this was made."""
        return time.perf_counter() - self._began

    def says(self, number: int, of: int, what: str) -> None:
        """Tell the user what is being done, ten times in all; see `widthwise.methods.Bench`."""
        if number % max(of // 10, 1) == 0 and number != self._said:
            self._said = number
            title = self._stage.title
            self._workshop.progress.note(f"{title}, step {number + 1} of {of}: {what}")


class _WriteImportance(L.Callback):
    """Writes how important units are into the run folder after every epoch, for the report."""

    def __init__(self, search: WidthSearch, run: RunFolder, folder: Path) -> None:
        self.search = search
        self.run = run
        self.folder = folder

    def on_train_epoch_end(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        search = self.search.search
        free = search.graph.free & search.handle.driven
        curve = importance_curve(search.handle.importance()[free])
        self.run.write_json(self.folder / f"{trainer.current_epoch:04d}.json", curve)


def importance_curve(scores: np.ndarray) -> dict[str, Any]:
    """Sum up the scores of all units.

    Args:
        scores: One per unit, in any order.

    Returns:
        Their number, and their values in descending order, at most 200 of them, evenly spaced.

    Example:
        >>> importance_curve(np.array([0.25, 1.0, 0.5]))
        {'units': 3, 'values': [1.0, 0.5, 0.25]}
    """
    descending = np.sort(scores)[::-1]
    places = np.linspace(0, len(descending) - 1, min(len(descending), _POINTS)).round().astype(int)
    return {
        "units": len(descending),
        "values": [float(f"{value:.5g}") for value in descending[places]],
    }
