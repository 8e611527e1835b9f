"""``widthwise trace MODEL``: the pre-flight report."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from typing import TYPE_CHECKING

from widthwise.cli import VERBS
from widthwise.cli._budget import add_budget_argument
from widthwise.cli._model import add_model_arguments, build_model, is_pattern

if TYPE_CHECKING:
    from widthwise.cost import Budget
    from widthwise.graph import ChannelGraph


def run(arguments: Sequence[str]) -> int:
    """Print the channel graph of a network.

    Args:
        arguments: What follows the verb.

    Returns:
        Exit code.
    """
    given = _parser().parse_args(arguments)
    if is_pattern(given.model):
        return list_names(given.model)

    import widthwise as ww
    from widthwise.cost import read_budget
    from widthwise.models import resolve

    budgets = [read_budget(kind, limit) for kind, limit in given.budget]
    spec = resolve(given.model)
    model, example = build_model(spec, shape=given.input, weights=given.weights)
    graph = ww.trace(model, example)
    print(graph.report(costs=[each for each in budgets if each.name != ww.Macs.name]))
    for budget in budgets:
        print(_reach(budget, graph))
    return 0


def _reach(budget: Budget, graph: ChannelGraph) -> str:
    """Say what a budget allows, and whether any plan can meet it."""
    from widthwise.cost import limit
    from widthwise.graph.preflight import number

    most, least = limit(budget, graph), budget.cost(graph, graph.smallest())
    verdict = "can be met" if least <= most else "cannot be met: the narrowest plan is above it"
    return f"{budget.name}={budget.amount} allows {number(most)} {budget.title}, and {verdict}."


def list_names(pattern: str) -> int:
    """Print the models that match a pattern.

    Args:
        pattern: A glob over MODEL strings.

    Returns:
        Exit code: 0, or 2 if there is none.
    """
    from widthwise.models import list_models

    names = list_models(pattern)
    print("\n".join(names) or f"No model matches `{pattern}`.")
    return 0 if names else 2


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="widthwise trace", description=VERBS["trace"])
    add_model_arguments(parser)
    add_budget_argument(
        parser,
        "show what it is about beside MACs, milliseconds measured here where they are not known, "
        "and say whether it can be met",
    )
    return parser
