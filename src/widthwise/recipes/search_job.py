"""The main job: search, shrink, converge, compare, report.

Every stage is done once, however often the run is resumed: what it hands on lies in the run folder
and `result.json` is written last.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import lightning as L
import numpy as np
import torch
from torch import nn

import widthwise as ww
from widthwise.data.batches import eval_batches, train_batches
from widthwise.errors import RunError
from widthwise.lightning import WidthSearch
from widthwise.recipes.config import Baseline, SearchRecipe
from widthwise.recipes.setting import Setting, budgets, redrawn
from widthwise.report import build_report
from widthwise.runs import RunFolder, read_metrics, write_json
from widthwise.runs.writing import cannot_write
from widthwise.search.base import Search
from widthwise.tasks.classification import Classification
from widthwise.tasks.fit import fit_stage
from widthwise.tasks.progress import Progress
from widthwise.tasks.stage import StageConfig

Result = dict[str, Any]
"""One row of the table of results; see `SearchJob._result`."""


class SearchJob:
    """One run of a recipe.

    Args:
        recipe: The complete configuration.
        run: The run folder, new or to be resumed.
        progress: Told about what happens.

    Raises:
        ConfigError: If network and data do not fit together.
    """

    def __init__(self, recipe: SearchRecipe, run: RunFolder, progress: Progress) -> None:
        self.recipe = recipe
        self.run = run
        self.progress = progress
        if recipe.threads is not None:
            torch.set_num_threads(recipe.threads)
        self.setting = Setting(recipe.model, recipe.data, seed=recipe.seed)

    def run_all(self) -> list[Result]:
        """Run every stage that is not finished, and write the report.

        Returns:
            The table of results, the found network first.
        """
        search = self._once("search", self._search)
        results = [self._once("found", partial(self._converge, search))]
        for baseline in self.recipe.compare:
            results.append(self._once(baseline.value, partial(self._compare, baseline, search)))
        write_json(self.run.path / "results.json", results)
        build_report(self.run.path)
        return results

    def _once(self, stage: str, work: Callable[[], Result]) -> Result:
        result = self.run.result(stage)
        if result is None:
            result = work()
            self.run.finish_stage(stage, result)
        return result

    def _search(self) -> Result:
        recipe = self.recipe
        network = self.setting.fresh()
        search = WidthSearch("network", self._attach)
        full_macs = self.setting.graph.macs()
        self._fit(
            network,
            stage="search",
            title="search",
            setting="search",
            config=recipe.search,
            callbacks=[search, _SnapshotLatents(search, self.run)],
            macs_fraction=lambda: search.search.cost_at_threshold()["macs"] / full_macs,
        )
        reached, history = search.search.done, list(search.search.history)
        small, plan = search.finish()
        self._save(small, plan, self.run.stage("search"))
        write_json(self.run.stage("search") / "history.json", history)
        result = self._result(
            "search", small, epochs=len(self._epochs("search")), inherited=True, plan=plan
        )
        way = "reached the budget" if reached else "cut to the budget by threshold"
        summary = f"{way}: {plan.macs() / plan.full_macs:.1%} of the MACs"
        self.progress.stage_ends(summary)
        graph = self.setting.graph
        return {
            **result,
            "reached": reached,
            "test_images": len(self.setting.data.test),
            "full": {
                "macs": graph.macs(),
                "params": graph.params(),
                "widths": {name: axis.width for name, axis in graph.axes.items()},
                "frozen": {name: axis.frozen for name, axis in graph.axes.items() if axis.frozen},
            },
        }

    def _converge(self, search: Result) -> Result:
        folder = self.run.stage("search")
        plan = ww.Plan.load(folder / "plan.json")
        network = ww.load(folder, self.setting.build)
        self._fit(
            network,
            stage="found",
            title="found widths",
            setting="converge",
            config=self.recipe.converge,
        )
        self._save(network, plan, self.run.path)
        result = self._result(
            "found",
            network,
            epochs=search["epochs"] + self.recipe.converge.epochs,
            inherited=True,
            plan=plan,
        )
        result["seconds"] = round(search["seconds"] + result["seconds"], 3)
        self._announce(result)
        return result

    def _compare(self, baseline: Baseline, search: Result) -> Result:
        found = ww.Plan.load(self.run.stage("search") / "plan.json")
        network, plan = self.setting.fresh(), None
        if baseline is Baseline.uniform:
            plan = ww.plan(
                self.setting.graph, score=ww.scores.Uniform(), budget=ww.Macs(float(found.macs()))
            )
        elif baseline is Baseline.scratch:
            plan = found
        if plan is not None:
            network = redrawn(ww.shrink(network, plan))
        # As many epochs as search and converge together, so that nobody trains longer.
        config = replace(
            self.recipe.converge, epochs=search["epochs"] + self.recipe.converge.epochs
        )
        self._fit(
            network,
            stage=baseline.value,
            title=_TITLES[baseline],
            setting="converge",
            config=config,
        )
        result = self._result(
            baseline.value, network, epochs=config.epochs, inherited=False, plan=plan
        )
        self._announce(result)
        return result

    def _fit(
        self,
        network: nn.Module,
        *,
        stage: str,
        title: str,
        setting: str,
        config: StageConfig,
        callbacks: Sequence[L.Callback] = (),
        macs_fraction: Callable[[], float] | None = None,
    ) -> None:
        recipe, data = self.recipe, self.setting.data
        fit_stage(
            Classification(
                network,
                data=data,
                stage=config,
                setting=setting,
                shift=recipe.data.shift,
                seed=recipe.seed,
            ),
            run=self.run,
            stage=stage,
            title=title,
            epochs=config.epochs,
            train=train_batches(data.train, batch_size=recipe.data.batch_size, seed=recipe.seed),
            test=eval_batches(data.test, batch_size=recipe.data.batch_size),
            progress=self.progress,
            callbacks=callbacks,
            macs_fraction=macs_fraction,
        )

    def _result(
        self, stage: str, network: nn.Module, *, epochs: int, inherited: bool, plan: ww.Plan | None
    ) -> Result:
        """Describe a trained network. Accuracy is that of the last epoch, never of the best."""
        rows = self._epochs(stage)
        graph = self.setting.graph
        return {
            "stage": stage,
            "weights": "inherited" if inherited else "fresh",
            "accuracy": float(rows[-1]["test_accuracy"]),
            "macs": graph.macs() if plan is None else plan.macs(),
            "params": sum(parameter.numel() for parameter in network.parameters()),
            "epochs": epochs,
            "seconds": round(sum(float(row["seconds"]) for row in rows), 3),
            "widths": {
                name: axis.width if plan is None else plan.widths[name]
                for name, axis in graph.axes.items()
            },
        }

    def _save(self, network: nn.Module, plan: ww.Plan, folder: Path) -> None:
        try:
            ww.save(network, plan, folder)
        except OSError as error:
            raise RunError(cannot_write(folder / "model.safetensors", error)) from error

    def _announce(self, result: Result) -> None:
        self.progress.stage_ends(
            f"accuracy {result['accuracy']:.1%}, "
            f"{result['macs'] / self.setting.graph.macs():.1%} of the MACs"
        )

    def _epochs(self, stage: str) -> list[dict[str, str]]:
        return [row for row in read_metrics(self.run.path) if row["stage"] == stage]

    def _attach(self, network: nn.Module) -> Search:
        recipe = self.recipe
        limits = budgets(recipe.budget)
        return recipe.method.attach(network, self.setting.example, budget=limits, seed=recipe.seed)


_TITLES = {
    Baseline.full: "full network",
    Baseline.uniform: "uniform widths",
    Baseline.scratch: "found widths, fresh weights",
}


class _SnapshotLatents(L.Callback):
    """Writes the latents into the run folder after every epoch, for the report."""

    def __init__(self, search: WidthSearch, run: RunFolder) -> None:
        self.search = search
        self.folder = run.stage("search")

    def on_train_epoch_end(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        search = self.search.search
        size = search.latents.detach().abs().cpu().numpy()
        free = [size[axis.units] for axis in search.graph.axes.values() if not axis.frozen]
        descending = np.sort(np.concatenate(free))[::-1].round(5).tolist()
        write_json(self.folder / "latents" / f"{trainer.current_epoch:04d}.json", descending)
