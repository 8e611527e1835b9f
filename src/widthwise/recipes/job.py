"""The main job: every arm decides, is cut and is trained; then they are compared and reported.

Every stage is done once, however often the run is resumed: what it hands on lies in the run folder
and `result.json` is written last.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from functools import cached_property, partial
from typing import Any

import torch
from torch import nn

import widthwise as ww
from widthwise.errors import ConfigError, RunError
from widthwise.measures import Measure
from widthwise.recipes.arms import FOUND, Arm, Decide, Weights, arms_of
from widthwise.recipes.config import SearchRecipe
from widthwise.recipes.samples import write_charts, write_samples
from widthwise.recipes.setting import Setting
from widthwise.recipes.speed import write_speed
from widthwise.recipes.workshop import SearchBench, Workshop
from widthwise.report import build_report
from widthwise.runs import RunFolder
from widthwise.runs.processes import is_leader
from widthwise.runs.results import ArmResult, Before, FullNetwork, Results
from widthwise.runs.tensors import read_tensors, write_tensors
from widthwise.search.limits import Limits
from widthwise.tasks.progress import Progress

_OPTIMIZER = "optimizer.pt"


class SearchJob:
    """One run of a recipe.

    Args:
        recipe: The complete configuration.
        run: The run folder, new or to be resumed.
        progress: Told about what happens.

    Raises:
        ConfigError: If network and task do not fit together, or an arm cannot be had.
        BudgetError: If no widths within the limits meet the budget.
    """

    def __init__(self, recipe: SearchRecipe, run: RunFolder, progress: Progress) -> None:
        self.recipe = recipe
        self.run = run
        self.progress = progress
        if recipe.threads is not None:
            torch.set_num_threads(recipe.threads)
        self.task = recipe.task.open()
        self.setting = Setting(recipe.model, self.task, seed=recipe.seed)
        if self.setting.trained and recipe.why_not_trained:
            raise ConfigError(
                f"`{recipe.model.name}` comes with its weights, and {recipe.why_not_trained}."
            )
        self.workshop = Workshop(recipe=recipe, task=self.task, run=run, progress=progress)
        self.arms = arms_of(recipe, trained=self.setting.trained)
        self._benches: dict[str, SearchBench] = {}
        self._decisions: dict[str, _Decided] = {}
        self._check_arms()

    @cached_property
    def limits(self) -> Limits:
        """What no plan may go below; see `widthwise.recipes.arms.Desk`."""
        return self.recipe.limits.on(self.setting.graph, self.recipe.budget.open())

    @property
    def measures(self) -> Sequence[Measure]:
        """What is measured of every network."""
        return self.task.measures

    def run_all(self) -> Results:
        """Run every stage that is not finished, and write results and report.

        Returns:
            The results, the found network first.
        """
        self.run.write_json(self.run.path / "facts.json", dict(self.task.facts()))
        given = self._given() if self.setting.trained else None
        teacher_first = sorted(self.arms, key=lambda arm: arm.name != self.recipe.teacher)
        rows = {arm.name: self._once(arm.name, partial(self._train, arm)) for arm in teacher_first}
        graph = self.setting.graph
        results = Results(
            task=self.task.name,
            measures=tuple(self.task.measures),
            test_items=self.task.test_items,
            full=FullNetwork(
                macs=graph.macs(),
                params=graph.params(),
                widths=self.setting.widths,
                frozen={name: axis.frozen for name, axis in graph.axes.items() if axis.frozen},
                measures=given,
            ),
            arms=tuple(ArmResult.from_spec(rows[arm.name]) for arm in self.arms),
        )
        if is_leader() and not (self.run.path / "results.json").is_file():
            write_samples(self.run.path, self.task, _Networks(self))
            write_charts(self.run.path, self.task, _Networks(self))
            write_speed(self.run.path, self.task, _Networks(self))
        self.run.write_json(self.run.path / "results.json", results.to_spec())
        if is_leader():
            build_report(self.run.path)
        return results

    def _given(self) -> Mapping[str, float]:
        """Measure the user's trained network, once and before anything is done to it."""
        weights = self.setting.fingerprint()

        def measure() -> Mapping[str, Any]:
            values = self.task.evaluate(self.setting.network, self.recipe.hardware)
            measured = ", ".join(f"{m.title} {m.write(values[m.name])}" for m in self.task.measures)
            self.progress.note(f"As given: {measured}")
            return {"weights": weights, "measures": values}

        found = self._once("given", measure)
        if found["weights"] != weights:
            source = self.recipe.model.weights or self.recipe.model.name
            raise RunError(
                f"The weights of `{source}` are others than this run was started with.\n"
                "Why: some networks would have been trained from those, and others from these.\n"
                "Hint: bring the file back, or start anew with `--out FOLDER`."
            )
        measures: Mapping[str, float] = found["measures"]
        return measures

    def bench(self, decide: Decide) -> SearchBench:
        """Give a method what it works on; see `widthwise.recipes.arms.Desk`."""
        stage = decide.stage
        assert stage is not None
        config = self.recipe.search
        if config is not None and decide is not self.arms[0].decide:
            epochs = self._searched
            config = replace(config, epochs=epochs, warmup=min(config.warmup, epochs - 1))
        bench = SearchBench(self.workshop, self.setting, stage, config)
        self._benches[stage.name] = bench
        return bench

    def plan_of(self, arm: str) -> ww.Plan:
        """Return the plan of an arm; see `widthwise.recipes.arms.Desk`."""
        return self._decided(next(each for each in self.arms if each.name == arm)).plan

    def _check_arms(self) -> None:
        """Find out before training whether the fresh weights of every arm can be had."""
        trial: ww.Plan | None = None
        for arm in self.arms:
            if arm.weights is not Weights.fresh or not arm.decide.cuts:
                continue
            if arm.decide.at_once:
                self.setting.drawn(self._decided(arm).plan)
            elif trial is None:
                # What it will be is known later; whether weights can be drawn is known from any.
                trial = ww.plan(
                    self.setting.graph,
                    score=ww.scores.Uniform(),
                    budget=self.recipe.budget.open(),
                    **vars(self.limits),
                )
                self.setting.drawn(trial)

    @property
    def _searched(self) -> int:
        """Epochs that the found network was trained for while its widths were decided."""
        return self._decided(self.arms[0]).epochs

    def _once(self, stage: str, work: Callable[[], Mapping[str, Any]]) -> Mapping[str, Any]:
        result = self.run.result(stage)
        if result is None:
            result = dict(work())
            self.run.finish_stage(stage, result)
        return result

    def _decided(self, arm: Arm) -> _Decided:
        """Decide the widths of an arm, or return what has been decided."""
        if arm.name not in self._decisions:
            self._decisions[arm.name] = self._decide(arm)
        return self._decisions[arm.name]

    def _decide(self, arm: Arm) -> _Decided:
        stage = arm.decide.stage
        if stage is None:
            return _Decided(plan=arm.decide(self).plan)
        result = self._once(stage.name, partial(self._decide_and_keep, arm))
        return _Decided(
            plan=ww.Plan.load(self.run.stage(stage.name) / "plan.json"),
            epochs=result["epochs"],
            seconds=result["seconds"],
            reached=result["reached"],
            deciding=result.get("deciding", 0.0),
        )

    def _decide_and_keep(self, arm: Arm) -> Mapping[str, Any]:
        stage = arm.decide.stage
        assert stage is not None
        folder = self.run.stage(stage.name)
        found = arm.decide(self)
        bench = self._benches.get(stage.name)
        deciding = 0.0 if bench is None else bench.deciding()
        self.workshop.save(found.network, found.plan, folder)
        if self.recipe.carry_optimizer and found.optimizer is not None and is_leader():
            write_tensors(folder / _OPTIMIZER, found.optimizer.state_dict())
        reached = None if bench is None else bench.reached
        epochs = len(self.workshop.epochs(stage.name))
        share = found.plan.macs() / found.plan.full_macs
        text = f"{'reached the budget, cut' if reached else 'cut'} to {share:.1%} of the MACs"
        if epochs:
            self.progress.stage_ends(text)
        else:
            self.progress.note(f"{arm.title}: {text}")
        return {
            "epochs": epochs,
            "seconds": round(self.workshop.seconds(stage.name), 3),
            "reached": reached,
            "deciding": round(deciding, 3),
        }

    def _train(self, arm: Arm) -> Mapping[str, Any]:
        """Train an arm for what is left of the epochs that everybody has."""
        decided, recipe = self._decided(arm), self.recipe
        epochs = self._searched + recipe.converge.epochs
        config = replace(recipe.converge, epochs=epochs - decided.epochs)
        teacher = None
        if recipe.teacher not in (None, arm.name):
            teacher = self.network(str(recipe.teacher))
        else:
            config = replace(config, distil=0.0)
        network, carried = self._start(arm, decided.plan)
        self.workshop.fit(
            network,
            stage=arm.name,
            title=arm.title,
            setting="converge",
            config=config,
            carried=carried,
            teacher=teacher,
        )
        self.workshop.save(network, decided.plan, self.run.stage(arm.name))
        if arm.name == FOUND.name:
            self.workshop.save(network, decided.plan, self.run.path)
        result = self._result(
            arm, network, decided, teacher=None if teacher is None else recipe.teacher
        )
        measure = self.task.measures[0]
        self.progress.stage_ends(
            f"{measure.title} {measure.write(result.measures[measure.name])}, "
            f"{result.macs / self.setting.graph.macs():.1%} of the MACs"
        )
        return asdict(result)

    def _start(self, arm: Arm, plan: ww.Plan) -> tuple[nn.Module, Mapping[str, Any] | None]:
        """Return the network that an arm goes on with, and the momentum it has, if any."""
        if arm.weights is Weights.fresh:
            return self.setting.drawn(plan), None
        if arm.weights is Weights.given:
            return self.setting.narrowed(plan), None
        assert arm.decide.stage is not None
        folder = self.run.stage(arm.decide.stage.name)
        carried = read_tensors(folder / _OPTIMIZER) if self.recipe.carry_optimizer else None
        return ww.load(folder, self.setting.build), carried

    def network(self, arm: str) -> nn.Module:
        """Return the trained network of an arm, which has finished."""
        return ww.load(self.run.stage(arm), self.setting.build)

    def _result(
        self, arm: Arm, network: nn.Module, decided: _Decided, *, teacher: str | None
    ) -> ArmResult:
        """Describe a trained network. Its measures are of the last epoch, never of the best."""
        rows, stage = self.workshop.epochs(arm.name), arm.decide.stage
        before = None
        if stage is not None and decided.epochs:
            before = Before(
                stage=stage.name,
                title=stage.words,
                epochs=decided.epochs,
                reached=decided.reached,
                deciding=decided.deciding,
            )
        return ArmResult(
            arm=arm.name,
            title=arm.title,
            words=arm.words,
            weights=arm.weights.value,
            measures={m.name: float(rows[-1][f"test_{m.name}"]) for m in self.task.measures},
            macs=decided.plan.macs(),
            params=sum(parameter.numel() for parameter in network.parameters()),
            epochs=decided.epochs + len(rows),
            seconds=round(decided.seconds + self.workshop.seconds(arm.name), 3),
            widths=self.setting.in_own_units(decided.plan),
            before=before,
            teacher=teacher,
        )


@dataclass(frozen=True, kw_only=True)
class _Decided:
    """What an arm has decided."""

    plan: ww.Plan
    epochs: int = 0
    """It was trained for meanwhile."""
    seconds: float = 0.0
    reached: bool | None = None
    """Whether a search has reached its budget."""
    deciding: float = 0.0
    """Seconds after that training."""


class _Networks(Mapping[str, nn.Module]):
    """The trained networks by title, each loaded when it is looked at."""

    def __init__(self, job: SearchJob) -> None:
        self._arms = {arm.title: arm.name for arm in job.arms}
        self._job = job

    def __getitem__(self, title: str) -> nn.Module:
        return self._job.network(self._arms[title])

    def __iter__(self) -> Iterator[str]:
        return iter(self._arms)

    def __len__(self) -> int:
        return len(self._arms)
