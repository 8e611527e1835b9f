"""Hinge: group sparsity on attached matrices, between filter pruning and decomposition."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import Enum
from typing import Any, ClassVar, Literal

from torch import nn

from widthwise.cost import Budget, budgets_of
from widthwise.methods.base import Bench, Found
from widthwise.methods.searching import found_by, traced
from widthwise.rewrites import Rewrite
from widthwise.rewrites.convolutions import plain_convolutions, replaceable
from widthwise.rewrites.modules import matching_modules
from widthwise.search.handles.attached import Attached
from widthwise.search.handles.group_norms import Groups
from widthwise.search.handles.matrices import Start
from widthwise.search.limits import Limits, RoundTo
from widthwise.search.prox import (
    DifferenceShrink,
    HalfThreshold,
    LogThreshold,
    Prox,
    SoftThreshold,
)
from widthwise.search.search import Search


class Penalty(Enum):
    """What is paid for the norm of a group."""

    l1 = "l1"
    l1d2 = "l1d2"
    """Its square root."""
    l1_2 = "l1_2"
    """The sum of all norms of an axis, less the root of the sum of their squares."""
    logsum = "logsum"

    @property
    def prox(self) -> Prox:
        """Its proximal operator."""
        operators: dict[Penalty, Prox] = {
            Penalty.l1: SoftThreshold(),
            Penalty.l1d2: HalfThreshold(),
            Penalty.l1_2: DifferenceShrink(),
            Penalty.logsum: LogThreshold(),
        }
        return operators[self]


@dataclass(frozen=True, kw_only=True)
class HingeSettings:
    """Li et al., "Group Sparsity: The Hinge Between Pruning and Decomposition" (CVPR 2020)."""

    name: Literal["hinge"] = "hinge"
    """Name of the method."""
    groups: Groups = Groups.rows
    """What is pulled to zero: `rows` (layers are decomposed), `columns` (channels are pruned) or
    `both`."""
    start: Start = Start.svd2
    """What filters and matrices start from."""
    penalty: Penalty = Penalty.l1
    """What is paid for the norm of a group."""
    sparsity: float = 1e-4
    """Every step shrinks norms by this times the learning rate of the matrices."""
    threshold: float = 5e-3
    """Groups with norms below this count as removed when the cost is compared with the budget."""
    stop_limit: float = 0.1
    """The search ends when the cost is above the budget by at most this, of the full cost."""
    check_every: int = 100
    """Steps between two comparisons of the cost with the budget."""
    balanced: bool = False
    """Shrink the norms of an axis in proportion to what they started with."""
    annealing: float = 0.0
    """Divide `sparsity` by this when norms have come down to half, and to a quarter; 0 never."""
    lr_ratio: float = 1.0
    """Learning rate of the matrices, in units of that of everything else. Published: 100."""
    adjusted: bool = False
    """Bring the steps of all matrices together by the norms of their gradients."""
    warm_up: int = 0
    """Steps at the start in which nothing is shrunk: a fresh network trains first."""
    layers: tuple[str, ...] | None = None
    """Paths or globs of convolutions to attach matrices to; all ordinary ones by default."""

    title: ClassVar[str] = "Hinge"
    trains: ClassVar[bool] = True
    inherits: ClassVar[bool] = True
    goes_on: ClassVar[bool] = True
    before: ClassVar[tuple[Rewrite, ...]] = ()

    def attach(
        self,
        model: nn.Module,
        example_inputs: Any,
        *,
        budget: Budget | Sequence[Budget],
        limits: Limits,
    ) -> Search:
        """Attach the search to a network.

        Args:
            model: Changed in place; see `hinge`.
            example_inputs: What the network is called with.
            budget: What the result may cost at most; a list for several.
            limits: What no plan may go below.

        Returns:
            The search, attached.
        """
        model, graph = traced(model, example_inputs, method=self.name)
        budgets = budgets_of(budget)
        limits = limits.on(graph, budgets)
        handle = Attached(
            graph,
            model,
            layers=self._chosen(model),
            groups=self.groups,
            start=self.start,
            limits=limits,
            sparsity=self.sparsity,
            threshold=self.threshold,
            prox=self.penalty.prox,
            balanced=self.balanced,
            annealing=self.annealing,
            lr_ratio=self.lr_ratio,
            adjusted=self.adjusted,
            warm_up=self.warm_up,
        )
        return Search(
            handle.graph,
            handle=handle,
            budgets=budgets,
            limits=handle.limits,
            stop_limit=self.stop_limit,
            check_every=self.check_every,
            method=self.name,
            before=handle.rewrites,
            full=graph,
        )

    def decide(self, bench: Bench, *, budget: Sequence[Budget], limits: Limits, seed: int) -> Found:
        """Search while the network trains, then cut; see `Method`."""

        def attach(network: nn.Module) -> Search:
            return self.attach(network, bench.example, budget=budget, limits=limits)

        return found_by(bench, attach)

    def _chosen(self, model: nn.Module) -> list[str]:
        if self.layers is None:
            return replaceable(model)
        plain_convolutions(model, self.name, self.layers)
        return list(matching_modules(model, "layers", self.layers, nn.modules.conv._ConvNd))


def hinge(
    model: nn.Module,
    example_inputs: Any,
    *,
    budget: Budget | Sequence[Budget],
    groups: Groups | str = Groups.rows,
    start: Start | str = Start.svd2,
    penalty: Penalty | str = Penalty.l1,
    sparsity: float = 1e-4,
    threshold: float = 5e-3,
    stop_limit: float = 0.1,
    check_every: int = 100,
    balanced: bool = False,
    annealing: float = 0.0,
    lr_ratio: float = 1.0,
    adjusted: bool = False,
    warm_up: int = 0,
    layers: Sequence[str] | None = None,
    min_width: int = 1,
    min_keep: float | Mapping[str, float] = 0.2,
    round_to: RoundTo = None,
    include: Sequence[str] | None = None,
    exclude: Sequence[str] | None = None,
) -> Search:
    """Group sparsity on attached matrices: filter pruning, decomposition, or both.

    Li, Gu, Mayer, Van Gool, Timofte, "Group Sparsity: The Hinge Between Filter Pruning and
    Decomposition for Network Compression" (CVPR 2020, arXiv:2003.08935). A matrix is attached to
    every convolution, and norms of its rows or columns are pulled to zero while the network trains.
    A row of zeros is a filter that nothing reads any more: the layer becomes fewer filters and a
    1x1 convolution. A column of zeros is an output channel that can be removed. Layers that would
    be dearer as two stay one.

    Attaches to ``model`` at once, and goes on from the weights that it has, trained ones as
    published. Create the optimizer afterwards, from ``model.parameters()``. Matrices want a far
    larger learning rate than the rest, 100 times in the paper: give ``lr_ratio``.

    Where we differ from the released code: the matrices stay connected to the optimizer; ranks and
    widths meet the budget exactly when the search is finished; what is decomposed is the product of
    filters and matrix, by its singular values; ``annealing`` goes by shares of the penalty at the
    start; ReLUs stay what they are.

    Args:
        model: Any network that traces and has ordinary convolutions.
        example_inputs: What the network is called with: a tensor, a tuple or a dict.
        budget: What the result may cost at most, such as ``ww.Macs(0.5)``; a list for several.
        groups: What is pulled to zero: ``"rows"`` decomposes, ``"columns"`` prunes, ``"both"``.
        start: What filters and matrices start from: ``"svd2"``, ``"svd"`` or ``"identity"``.
        penalty: What is paid for the norm of a group: ``"l1"``, ``"l1d2"``, ``"l1_2"`` or
            ``"logsum"``.
        sparsity: Strength of the regulariser; each step shrinks norms by ``sparsity * lr``, with
            the learning rate of the matrices.
        threshold: Norms below this count as removed when the cost is compared with the budget.
        stop_limit: `Search.done` when the cost is above the budget by at most this fraction of the
            full cost.
        check_every: Steps between two comparisons with the budget.
        balanced: Shrink the norms of an axis in proportion to what they started with.
        annealing: Divide ``sparsity`` by this when norms have come down to half of what they were
            in sum, and once more at a quarter; 0 never does.
        lr_ratio: Learning rate of the matrices, in units of that of the optimizer.
        adjusted: Bring the steps of all matrices together by the norms of their gradients.
        warm_up: Steps at the start in which nothing is shrunk, for a network that is not trained.
        layers: Paths or globs of convolutions; all ordinary ones by default.
        min_width: Channels that every axis keeps at least, and filters of a decomposed layer.
        min_keep: Fraction of its units that every axis keeps at least, and of its rank every layer;
            or one per name or glob of axes.
        round_to: Every width is a multiple of this; see `widthwise.plan`.
        include: Axes that may shrink, by name or glob; all that are not frozen by default. Ranks
            are chosen by ``layers``.
        exclude: Axes that may not.

    Returns:
        The search, attached.

    Raises:
        TraceError: If the network cannot be traced.
        BudgetError: If no plan within the limits meets the budget.
        SearchError: If there is no convolution to attach a matrix to.
        ConfigError: If a hyper-parameter is out of range, or a name matches nothing.

    Example:
        >>> import torch, widthwise as ww
        >>> net = nn.Sequential(nn.Conv2d(3, 8, 3), nn.ReLU(), nn.Conv2d(8, 2, 3))
        >>> search = hinge(net, torch.zeros(1, 3, 8, 8), budget=ww.Macs(0.6))
        >>> small, plan = search.finish()  # after training, of course
        >>> [rewrite.layers for rewrite in plan.before], plan.macs() <= 0.6 * plan.full_macs
        ([('0',)], True)
    """
    settings = HingeSettings(
        groups=Groups(groups),
        start=Start(start),
        penalty=Penalty(penalty),
        sparsity=sparsity,
        threshold=threshold,
        stop_limit=stop_limit,
        check_every=check_every,
        balanced=balanced,
        annealing=annealing,
        lr_ratio=lr_ratio,
        adjusted=adjusted,
        warm_up=warm_up,
        layers=None if layers is None else tuple(layers),
    )
    limits = Limits(
        min_width=min_width,
        min_keep=min_keep,
        round_to=round_to,
        include=include,
        exclude=exclude,
    )
    return settings.attach(model, example_inputs, budget=budget, limits=limits)
