"""Trace, decide, cut and heal a trained network in one step."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from torch import nn

from widthwise import errors
from widthwise.arguments import network_in
from widthwise.compression.effort import Effort
from widthwise.compression.given import first, halves, read
from widthwise.compression.record import Compression
from widthwise.compression.stopping import Promise
from widthwise.compression.trials import Measure
from widthwise.compression.work import Work
from widthwise.cost import Budget, budgets_of
from widthwise.graph import trace
from widthwise.healing import heal
from widthwise.healing.progress import Progress
from widthwise.plans import Plan
from widthwise.search.limits import Limits, RoundTo
from widthwise.search.planning import require_reachable
from widthwise.shrinking import shrink

STEPS = 600
"""Gradient steps that the result of a compression is refined with."""


def compress(
    model: nn.Module,
    batches: Iterable[Any],
    *,
    budget: Budget | Sequence[Budget] | None = None,
    stop_at: str | None = None,
    measure: Measure | None = None,
    min_width: int = 1,
    min_keep: float | Mapping[str, float] = 0.0,
    round_to: RoundTo = None,
    include: Sequence[str] | None = None,
    exclude: Sequence[str] | None = None,
    steps: int = STEPS,
    progress: Progress | None = None,
) -> tuple[nn.Module, Plan]:
    """Make a trained network smaller, from a few hundred inputs, without labels.

    For every axis, `Reconstruction` says which units go first; what narrowing it costs is measured
    at a few widths, with the network cut there alone, healed and compared with the full one on
    inputs that are held out. From these curves the widths follow that cost least within the budget.
    They are compared with those of simpler rules, each healed, and the best plan is cut, proven,
    healed on all inputs (of a large network, on a part) and refined.
    `widthwise.compression.compressed` returns what was measured as well.

    Args:
        model: The trained network; not changed.
        batches: Inputs as ``forward`` takes them, like those it was trained on: 500 to 1,000 in
            all. Half of them are kept to compare plans on.
        budget: What the result may cost at most, such as ``ww.Macs(0.6)``, or several.
        stop_at: In place of a budget, a promise that the smallest network keeps on inputs that are
            held out: ``"agreement>=0.95"`` with the answers of the full network, ``"drop<=0.01"``
            of the measure, or ``"measure>=0.9"``.
        measure: Called with a network in evaluation mode; returns how good it is, more is better.
            By default, plans are compared by the distance of their outputs from the full network's.
        min_width: As for `plan`.
        min_keep: As for `plan`.
        round_to: As for `plan`.
        include: As for `plan`.
        exclude: As for `plan`.
        steps: Gradient steps to refine the result with, see `heal`; 0 leaves it as it was fitted.
        progress: Called before each step.

    Returns:
        The narrow network, in the mode of `model`, and its plan.

    Raises:
        BudgetError: If no plan within the limits is as cheap, or none keeps the promise.
        ConfigError: If there are too few inputs, or they hold values that are not finite.
        TraceError: If the network cannot be traced.
        ProofError: If the cut cannot be proven.

    Example:
        >>> import torch, widthwise as ww
        >>> net = torch.nn.Sequential(torch.nn.Linear(6, 16), torch.nn.ReLU(),
        ...                           torch.nn.Linear(16, 3)).eval()
        >>> small, plan = ww.compress(net, [torch.randn(256, 6)], budget=ww.Macs(0.5))
        >>> plan.macs() <= plan.full_macs / 2
        True
    """
    found = compressed(
        model,
        batches,
        budget=budget,
        stop_at=stop_at,
        measure=measure,
        limits=Limits(
            min_width=min_width,
            min_keep=min_keep,
            round_to=round_to,
            include=include,
            exclude=exclude,
        ),
        steps=steps,
        progress=progress,
    )
    return found.network, found.plan


def compressed(
    model: nn.Module,
    batches: Iterable[Any],
    *,
    budget: Budget | Sequence[Budget] | None = None,
    stop_at: str | None = None,
    measure: Measure | None = None,
    limits: Limits | None = None,
    steps: int = STEPS,
    progress: Progress | None = None,
) -> Compression:
    """Do what `compress` does, and return what was measured on the way.

    Args:
        model: As for `compress`.
        batches: As for `compress`.
        budget: As for `compress`.
        stop_at: As for `compress`.
        measure: As for `compress`.
        limits: Floors, alignment and choice of axes.
        steps: As for `compress`.
        progress: As for `compress`.

    Returns:
        The network, the plan, curves, trials and what healing did.

    Raises:
        BudgetError: As for `compress`.
        ConfigError: As for `compress`.
        TraceError: As for `compress`.
        ProofError: As for `compress`.
    """
    model = network_in(model, "ww.compress(model, batches, budget=ww.Macs(0.6))")
    budgets = [] if budget is None else budgets_of(budget)
    if bool(budgets) == (stop_at is not None):
        raise errors.ConfigError(
            "Expected either a budget or a promise, got "
            f"{'both' if budgets else 'neither'}.\n"
            'Hint: write `budget=ww.Macs(0.6)`, or `stop_at="agreement>=0.95"`.'
        )
    promise = None if stop_at is None else Promise.read(stop_at, measured=measure is not None)
    limits = Limits() if limits is None else limits
    given = read(model, batches)
    graph = trace(model, given[0].with_batch(1))
    limits = limits.on(graph, budgets)
    require_reachable(graph, budgets, limits)
    effort = Effort.of(graph.macs())
    healed_on, compared_on = halves(given, effort.compared_on)
    work = Work(model, graph, limits, effort, healed_on, compared_on, measure, progress)
    if promise is not None:
        promise.check(answers=work.trials.answers, full=work.trials.full_measure)
    removals, curves = work.removals()
    if promise is None:
        trials = work.compared(budgets, removals)
    else:
        trials = work.smallest(promise, removals)
    best = trials[0].plan
    work.says("cut, prove and heal")
    small = shrink(model, best)
    # What a promise is held against is not healed on.
    used = first(given if promise is None else healed_on, effort.result_on)
    report = heal(small, model, best, used, steps=steps, progress=work.says_part)
    if promise is not None:
        judged = work.trials.judged(trials[0].name, best, small)
        if promise.is_kept(judged, work.trials.full_measure):
            trials[0] = judged
        else:
            # On more inputs it has come out on the other side of the bound.
            small, report = work.trials.healed(best)
    return Compression(
        network=small,
        plan=best,
        curves=curves,
        trials=tuple(trials),
        healed=report,
        inputs=sum(batch.batch or 1 for batch in given),
        compared=sum(batch.batch or 1 for batch in compared_on),
        measure=work.trials.full_measure,
        seconds=work.clock.seconds(),
    )
