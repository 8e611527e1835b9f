"""What methods that search while the network trains have in common: how they are attached."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, Protocol

from torch import nn

from widthwise.arguments import network_in
from widthwise.cost import Budget, budgets_of
from widthwise.errors import SearchError
from widthwise.graph import ChannelGraph, trace
from widthwise.methods.base import Bench, Found
from widthwise.network.copying import named_tensors
from widthwise.search.handles import Handle
from widthwise.search.limits import Limits
from widthwise.search.search import Search


class Searching(Protocol):
    """The settings of a method whose widths are held by a handle."""

    @property
    def name(self) -> str:
        """Name of the method, and of its function in `widthwise.methods`."""
        ...

    @property
    def stop_limit(self) -> float:
        """The search ends when the cost is above the budget by at most this."""
        ...

    @property
    def check_every(self) -> int:
        """Steps between two comparisons of the cost with the budget."""
        ...

    def handle(
        self,
        graph: ChannelGraph,
        model: nn.Module,
        *,
        budgets: Sequence[Budget],
        limits: Limits,
        seed: int | None,
    ) -> Handle:
        """Make the handle, not attached yet.

        Args:
            graph: Trace of ``model``.
            model: The network; not changed.
            budgets: What the result will meet, for handles that decide before they train.
            limits: What no plan may go below.
            seed: Of whatever is random; None where nothing is.

        Returns:
            The handle.
        """
        ...


def attached(
    settings: Searching,
    model: nn.Module,
    example_inputs: Any,
    *,
    budget: Budget | Sequence[Budget],
    limits: Limits,
    seed: int | None = None,
    handle: Callable[..., Handle] | None = None,
    ends_after: int | None = None,
) -> Search:
    """Trace a network and attach a search to it.

    Args:
        settings: Say which handle.
        model: Changed in place, as the handle does.
        example_inputs: What the network is called with.
        budget: What the result may cost at most; a list for several.
        limits: What no plan may go below.
        seed: Of whatever is random; None where nothing is.
        handle: Makes the handle in place of the settings, with what a recipe cannot say.
        ends_after: Steps after which the search has reached its budget, where that is known.

    Returns:
        The search.

    Raises:
        SearchError: If the network is wrapped for distributed training already, or has no values.
        TraceError: If it cannot be traced.
        BudgetError: If no plan within the limits meets the budget.
    """
    budgets = budgets_of(budget)
    model, graph = traced(model, example_inputs, method=settings.name)
    limits = limits.on(graph, budgets)
    make = settings.handle if handle is None else handle
    return Search(
        graph,
        handle=make(graph, model, budgets=budgets, limits=limits, seed=seed),
        budgets=budgets,
        limits=limits,
        stop_limit=settings.stop_limit,
        check_every=settings.check_every,
        ends_after=ends_after,
        method=settings.name,
        seed=seed,
    )


def traced(model: nn.Module, example_inputs: Any, *, method: str) -> tuple[nn.Module, ChannelGraph]:
    """Trace a network that is to be searched.

    Args:
        model: What the user has passed; not changed.
        example_inputs: What it is called with.
        method: Name of the function that is to search it, for errors.

    Returns:
        The network inside whatever is wrapped around it, and its trace.

    Raises:
        SearchError: If the network is wrapped for distributed training already, or has no values.
        TraceError: If it cannot be traced.
    """
    inside = network_in(model, f"ww.methods.{method}(model, example_inputs, budget=ww.Macs(0.5))")
    wrapper = nn.parallel.DistributedDataParallel
    if any(isinstance(module, wrapper) for module in model.modules()):
        raise SearchError(
            "The search was to be attached to a network that `DistributedDataParallel` has "
            "wrapped already.\n"
            "Why: it would wait for gradients of weights that the search computes now.\n"
            f"Hint: attach the search first: `search = ww.methods.{method}(model, ...)`, then "
            "`DistributedDataParallel(model)`."
        )
    bare = next((tensor for tensor, values in named_tensors(inside) if values.is_meta), None)
    if bare is not None:
        raise SearchError(
            f"`{bare}` is on the meta device, so it cannot be trained.\n"
            "Hint: build the network with real weights; `ww.plan` needs none."
        )
    return inside, trace(inside, example_inputs)


def decided(
    settings: Searching,
    bench: Bench,
    *,
    budget: Sequence[Budget],
    limits: Limits,
    seed: int | None = None,
    ends_after: int | None = None,
) -> Found:
    """Search while the network of a bench trains, then cut; see `Method.decide`.

    Args:
        settings: Say which handle.
        bench: What to work on.
        budget: All of them are met.
        limits: What no plan may go below.
        seed: Of whatever is random; None where nothing is.
        ends_after: As for `attached`.

    Returns:
        The narrow network, its plan and the optimizer.
    """

    def attach(network: nn.Module) -> Search:
        return attached(
            settings,
            network,
            bench.example,
            budget=budget,
            limits=limits,
            seed=seed,
            ends_after=ends_after,
        )

    return found_by(bench, attach)


def found_by(bench: Bench, attach: Callable[[nn.Module], Search]) -> Found:
    """Search while the network of a bench trains, then cut.

    Args:
        bench: What to work on.
        attach: Attaches the search to its network.

    Returns:
        The narrow network, its plan and the optimizer.
    """
    search, optimizer = bench.train(bench.network(), attach)
    small, plan = search.finish(optimizer)
    return Found(network=small, plan=plan, optimizer=optimizer)
