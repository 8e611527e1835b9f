"""The main job: search, shrink, converge, compare, report.

Every stage is done once, however often the run is resumed: what it hands on lies in the run folder
and `result.json` is written last.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import lightning as L
import numpy as np
import torch
from torch import nn
from torch.optim import Optimizer

import widthwise as ww
from widthwise.data.batches import eval_batches, train_batches
from widthwise.errors import RunError
from widthwise.lightning import WidthSearch
from widthwise.recipes.config import Baseline, SearchRecipe
from widthwise.recipes.setting import Setting, budgets, redrawn
from widthwise.report import build_report
from widthwise.runs import RunFolder, read_metrics, write_json
from widthwise.runs.processes import is_leader
from widthwise.runs.tensors import read_tensors, write_tensors
from widthwise.runs.writing import cannot_write
from widthwise.search.search import Search
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
        if is_leader():
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
        graph = self.setting.graph
        full = {"macs": graph.macs(), "params": graph.params()}

        def cost_fractions() -> tuple[float, float]:
            cost = search.search.cost_alive()
            return cost["macs"] / full["macs"], cost["params"] / full["params"]

        optimizer = self._fit(
            network,
            stage="search",
            title="search",
            setting="search",
            config=recipe.search,
            callbacks=[search, _SnapshotLatents(search, self.run)],
            cost_fractions=cost_fractions,
        )
        reached, history = search.search.done, list(search.search.history)
        small, plan = search.finish(optimizer)
        self._save(small, plan, self.run.stage("search"))
        if recipe.carry_optimizer:
            write_tensors(self._carried, optimizer.state_dict())
        write_json(self.run.stage("search") / "history.json", history)
        result = self._result(
            "search", small, epochs=len(self._epochs("search")), inherited=True, plan=plan
        )
        way = "reached the budget" if reached else "cut to the budget by threshold"
        summary = f"{way}: {plan.macs() / plan.full_macs:.1%} of the MACs"
        self.progress.stage_ends(summary)
        return {
            **result,
            "reached": reached,
            "test_images": len(self.setting.data.test),
            "full": {
                **full,
                "widths": {name: axis.width for name, axis in graph.axes.items()},
                "frozen": {name: axis.frozen for name, axis in graph.axes.items() if axis.frozen},
            },
        }

    def _converge(self, search: Result) -> Result:
        plan = self._found_plan()
        network = ww.load(self.run.stage("search"), self.setting.build)
        carried = read_tensors(self._carried) if self.recipe.carry_optimizer else None
        result = self._train_on(
            network, plan, stage="found", title="found widths", before=search, carried=carried
        )
        self._save(network, plan, self.run.path)
        return result

    def _compare(self, baseline: Baseline, search: Result) -> Result:
        if baseline is Baseline.l1:
            return self._compare_l1(search)
        found = self._found_plan()
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

    def _compare_l1(self, search: Result) -> Result:
        """Train plainly where the others search, cut once by magnitude, train on."""
        trained = self._once("l1_train", partial(self._train_and_cut, search))
        folder = self.run.stage("l1_train")
        plan = ww.Plan.load(folder / "plan.json")
        network = ww.load(folder, self.setting.build)
        return self._train_on(network, plan, stage="l1", title="L1, after the cut", before=trained)

    def _train_and_cut(self, search: Result) -> Result:
        network = self.setting.fresh()
        self._fit(
            network,
            stage="l1_train",
            title="L1, before the cut",
            setting="search",
            config=replace(self.recipe.search, epochs=search["epochs"]),
        )
        # Traced again: a score reads the weights of the network its graph was traced from.
        graph = ww.trace(network, self.setting.example)
        macs = ww.Macs(float(self._found_plan().macs()))
        plan = ww.plan(
            graph,
            score=ww.scores.L1(),
            budget=macs,
            min_width=self.recipe.method.min_width,
            min_keep=self.recipe.method.min_keep,
            include=self.recipe.method.include,
            exclude=self.recipe.method.exclude,
        )
        small = ww.shrink(network, plan)
        self._save(small, plan, self.run.stage("l1_train"))
        self.progress.stage_ends(f"cut to {plan.macs() / plan.full_macs:.1%} of the MACs")
        return self._result("l1_train", small, epochs=search["epochs"], inherited=True, plan=plan)

    def _train_on(
        self,
        network: nn.Module,
        plan: ww.Plan,
        *,
        stage: str,
        title: str,
        before: Result,
        carried: Mapping[str, Any] | None = None,
    ) -> Result:
        """Train a network that was cut, from the weights (and the momentum) it has."""
        config = self.recipe.converge
        self._fit(
            network, stage=stage, title=title, setting="converge", config=config, carried=carried
        )
        result = self._result(
            stage, network, epochs=before["epochs"] + config.epochs, inherited=True, plan=plan
        )
        result["seconds"] = round(before["seconds"] + result["seconds"], 3)
        self._announce(result)
        return result

    @property
    def _carried(self) -> Path:
        return self.run.stage("search") / "optimizer.pt"

    def _found_plan(self) -> ww.Plan:
        return ww.Plan.load(self.run.stage("search") / "plan.json")

    def _fit(
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
    ) -> Optimizer:
        recipe, data = self.recipe, self.setting.data
        return fit_stage(
            Classification(
                network,
                data=data,
                stage=config,
                setting=setting,
                shift=recipe.data.shift,
                flip=recipe.data.flip,
                seed=recipe.seed,
                memory_format=recipe.hardware.memory_format,
                carried=carried,
            ),
            run=self.run,
            stage=stage,
            title=title,
            config=config,
            train=train_batches(
                data.train,
                batch_size=recipe.data.batch_size,
                seed=recipe.seed,
                workers=recipe.data.workers,
            ),
            test=eval_batches(
                data.test, batch_size=recipe.data.batch_size, workers=recipe.data.workers
            ),
            progress=self.progress,
            hardware=recipe.hardware,
            tensorboard=recipe.tensorboard,
            callbacks=callbacks,
            cost_fractions=cost_fractions,
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
        if not is_leader():
            return
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
        size = search.handle.importance()
        free = [size[axis.units] for axis in search.graph.axes.values() if not axis.frozen]
        descending = np.sort(np.concatenate(free))[::-1].round(5).tolist()
        write_json(self.folder / "latents" / f"{trainer.current_epoch:04d}.json", descending)
