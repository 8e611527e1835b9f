"""The networks of a comparison, as values: what each is called and how its widths are decided.

An arm decides widths (or keeps them), starts from inherited, given or fresh weights, and is
trained; the job treats all of them alike. Names of arms are spelt here and nowhere else.
"""

from __future__ import annotations

import difflib
from collections.abc import Sequence
from dataclasses import dataclass, replace
from enum import Enum
from typing import TYPE_CHECKING, Protocol

import widthwise as ww
from widthwise.methods import Bench, CompressSettings, Found, Method
from widthwise.search.limits import Limits
from widthwise.search.scores import Score

if TYPE_CHECKING:
    from widthwise.recipes.config import SearchRecipe
    from widthwise.recipes.setting import Setting


class Weights(Enum):
    """What a narrow network is trained from."""

    inherited = "inherited"
    """Those of the network it was cut from."""
    fresh = "fresh"
    """New ones, as the network's own constructor draws them at these widths."""
    given = "given"
    """Those of the user's trained network."""


class Desk(Protocol):
    """What a job lends to an arm that decides."""

    @property
    def recipe(self) -> SearchRecipe:
        """The complete configuration."""
        ...

    @property
    def limits(self) -> Limits:
        """What no plan may go below, measured where that was asked for."""
        ...

    @property
    def setting(self) -> Setting:
        """The user's own network, and its graph."""
        ...

    def bench(self, decide: Decide) -> Bench:
        """Give a method what it works on, and as long to train it as the found network had."""
        ...

    def plan_of(self, arm: str) -> ww.Plan:
        """Return the plan of another arm, which is decided now if it has not been."""
        ...


@dataclass(frozen=True, kw_only=True)
class Stage:
    """A stage in which an arm decides, kept in the run folder."""

    name: str
    """Of its folder, and in metrics.csv."""
    title: str
    """What to call it while it runs."""
    words: str
    """What to call its epochs in a table."""


class Decide(Protocol):
    """How an arm comes to its widths."""

    @property
    def stage(self) -> Stage | None:
        """Where the decision is kept; None where it is made anew in no time."""
        ...

    @property
    def at_once(self) -> bool:
        """Whether it needs neither training nor another arm."""
        ...

    @property
    def cuts(self) -> bool:
        """Whether the result has other widths than the user's own network."""
        ...

    def __call__(self, desk: Desk) -> Found:
        """Decide.

        Args:
            desk: What to decide on.

        Returns:
            The plan, and the network that it leaves.
        """
        ...


@dataclass(frozen=True, kw_only=True)
class Nothing:
    """Keep every unit of the user's own network, or of what the method makes of it first."""

    rewritten: bool = False
    """Whether to do what the method does before it narrows."""
    stage: Stage | None = None
    at_once: bool = True

    @property
    def cuts(self) -> bool:
        """Whether the result has other widths."""
        return self.rewritten

    def __call__(self, desk: Desk) -> Found:
        """Return the plan that keeps everything; see `Decide`."""
        before = desk.recipe.method.before if self.rewritten else ()
        network, graph = desk.setting.rewritten(before)
        plan = ww.Plan.of(
            graph,
            graph.everything,
            method="nothing",
            before=before,
            full_cost=desk.setting.full_cost,
        )
        return Found(network=network, plan=plan)


@dataclass(frozen=True, kw_only=True)
class ByMethod:
    """Do what the recipe's method does."""

    stage: Stage
    at_once: bool = False
    cuts: bool = True

    def __call__(self, desk: Desk) -> Found:
        """Let the method decide; see `Decide`."""
        recipe = desk.recipe
        return recipe.method.decide(
            desk.bench(self), budget=recipe.budget.open(), limits=recipe.limits, seed=recipe.seed
        )


@dataclass(frozen=True, kw_only=True)
class PlanOf:
    """Take the plan of another arm."""

    arm: str
    stage: Stage | None = None
    at_once: bool = False
    cuts: bool = True

    def __call__(self, desk: Desk) -> Found:
        """Return that plan, and the user's network cut by it; see `Decide`."""
        plan = desk.plan_of(self.arm)
        return Found(network=desk.setting.narrowed(plan), plan=plan)


@dataclass(frozen=True, kw_only=True)
class ByScore:
    """Remove what scores lowest, down to the MACs of another arm, within the same limits."""

    score: Score
    cost_of: str
    stage: Stage | None = None
    """If there is one, the network is trained before it is scored."""
    at_once: bool = False
    cuts: bool = True

    def __call__(self, desk: Desk) -> Found:
        """Score, cut, prove; see `Decide`."""
        setting = desk.setting
        # First: what it costs is known only when that arm has decided, and how long that took too.
        macs = ww.Macs(float(desk.plan_of(self.cost_of).macs()))
        network, optimizer = setting.network, None
        if self.stage is not None:
            bench = desk.bench(self)
            network = bench.network()
            optimizer = bench.train_plainly(network)
        # A score reads the weights of the network that its graph was traced from.
        graph = setting.graph_of(network)
        plan = ww.plan(graph, score=self.score, budget=macs, **vars(desk.limits))
        small = ww.shrink(network, plan)
        if optimizer is not None:
            ww.carry_optimizer(optimizer, network, small, plan)
        return Found(network=small, plan=plan, optimizer=optimizer)


@dataclass(frozen=True, kw_only=True)
class ByCompression:
    """Compress the trained network, see `widthwise.compress`, to the MACs of another arm."""

    cost_of: str
    stage: Stage
    at_once: bool = False
    cuts: bool = True

    def __call__(self, desk: Desk) -> Found:
        """Train, measure, cut, heal; see `Decide`."""
        macs = ww.Macs(float(desk.plan_of(self.cost_of).macs()))
        return CompressSettings().decide(
            desk.bench(self), budget=[macs], limits=desk.limits, seed=desk.recipe.seed
        )


@dataclass(frozen=True, kw_only=True)
class Arm:
    """One network of the comparison."""

    name: str
    """In recipes and in the run folder."""
    title: str
    """In tables."""
    words: str
    """In the middle of a sentence."""
    weights: Weights
    decide: Decide


FOUND = Arm(
    name="found",
    title="Found widths",
    words="the found network",
    weights=Weights.inherited,
    decide=ByMethod(stage=Stage(name="search", title="search", words="search")),
)
"""The network that a recipe searches for; its weights are what the method says."""

ARMS = {
    arm.name: arm
    for arm in (
        Arm(
            name="full",
            title="Full network",
            words="the full network",
            weights=Weights.fresh,
            decide=Nothing(),
        ),
        Arm(
            name="uniform",
            title="Uniform widths",
            words="uniform widths at the same MACs",
            weights=Weights.fresh,
            decide=ByScore(score=ww.scores.Uniform(by=ww.scores.L1()), cost_of=FOUND.name),
        ),
        Arm(
            name="scratch",
            title="Found widths, fresh weights",
            words="the same widths with fresh weights",
            weights=Weights.fresh,
            decide=PlanOf(arm=FOUND.name),
        ),
        Arm(
            name="l1",
            title="L1 magnitude, one shot",
            words="a one-shot cut by L1 magnitude",
            weights=Weights.inherited,
            decide=ByScore(
                score=ww.scores.L1(),
                cost_of=FOUND.name,
                stage=Stage(name="l1_train", title="L1, before the cut", words="before"),
            ),
        ),
        Arm(
            name="compress",
            title="Compressed and healed",
            words="the compressed and healed network",
            weights=Weights.inherited,
            decide=ByCompression(
                cost_of=FOUND.name,
                stage=Stage(name="compress_train", title="to be compressed", words="before"),
            ),
        ),
        Arm(
            name="wide",
            title="Widened network",
            words="the widened network",
            weights=Weights.fresh,
            decide=Nothing(rewritten=True),
        ),
    )
}
"""Name in a recipe -> what can be trained beside the found network."""


def arms_of(recipe: SearchRecipe, *, trained: bool = False) -> list[Arm]:
    """List the arms of a recipe.

    Args:
        recipe: The complete configuration.
        trained: Whether the user's network is a trained one: then only the arm that is about fresh
            weights has such.

    Returns:
        The found network, whose weights the method decides about, and those it is compared with.
    """
    weights = Weights.inherited if recipe.method.inherits else Weights.fresh
    arms = [replace(FOUND, weights=weights), *(ARMS[name] for name in recipe.arms)]
    if not trained:
        return arms
    return [
        replace(arm, weights=Weights.given)
        if arm.weights is Weights.fresh and not _stays_fresh(arm.decide)
        else arm
        for arm in arms
    ]


def _stays_fresh(decide: Decide) -> bool:
    """Tell whether an arm is about fresh weights, whatever the user has."""
    return isinstance(decide, PlanOf) or (isinstance(decide, Nothing) and decide.rewritten)


def check_arms(
    names: Sequence[str], *, teacher: str | None, distils: bool, method: Method
) -> list[str]:
    """Find out what is wrong with the arms of a recipe.

    Args:
        names: As the recipe lists them.
        teacher: The arm that the others are distilled from.
        distils: Whether converging has a weight for that.
        method: What decides about the found network.

    Returns:
        A text per problem.
    """
    problems = []
    for name in names:
        if name not in ARMS:
            near = difflib.get_close_matches(name, ARMS, n=1)
            hint = f"the nearest is `{near[0]}`; " if near else ""
            problems.append(f"`arms` names `{name}`: {hint}there are {', '.join(ARMS)}")
        elif names.count(name) > 1:
            problems.append(f"`arms` names `{name}` more than once")
        elif (why := _senseless(ARMS[name].decide, method)) is not None:
            problems.append(f"`arms` names `{name}`, {why}")
    if distils and teacher is None:
        problems.append("`converge.distil` needs a `teacher`, such as `teacher: full`")
    if teacher is not None and not distils:
        problems.append("`teacher` has no effect: `converge.distil` is 0")
    if teacher is not None and teacher not in names:
        problems.append(f"`teacher` is `{teacher}`, which is not among the `arms`")
    return list(dict.fromkeys(problems))


def _senseless(decide: Decide, method: Method) -> str | None:
    """Say why a way to decide makes no sense beside a method; None if it does."""
    if decide.stage is not None and not method.trains:
        return "which trains for as long as the search, and there is none"
    if isinstance(decide, ByCompression) and method.name == CompressSettings.name:
        return "which is the found network once more"
    if isinstance(decide, PlanOf) and not method.inherits:
        return "which is the found network once more: the method starts from fresh weights too"
    if isinstance(decide, Nothing) and decide.rewritten and not method.before:
        return f"which is the full network once more: `{method.name}` widens nothing"
    return None
