"""``widthwise plan MODEL --score l1 --budget macs=0.5``: widths without training."""

from __future__ import annotations

import argparse
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from widthwise.cli import VERBS
from widthwise.cli._model import add_model_arguments, build_model, is_pattern
from widthwise.cli.trace import list_names


def run(arguments: Sequence[str]) -> int:
    """Print, and optionally save, a plan by a score.

    Args:
        arguments: What follows the verb.

    Returns:
        Exit code.
    """
    import widthwise as ww
    from widthwise.cost import BUDGETS

    scores: dict[str, Callable[[], Any]] = {
        "l1": ww.scores.L1,
        "l2": ww.scores.L2,
        "random": ww.scores.Random,
        "uniform": ww.scores.Uniform,
    }
    given = _parser(sorted(scores), list(BUDGETS)).parse_args(arguments)
    if is_pattern(given.model):
        return list_names(given.model)
    model, example = build_model(given.model, shape=given.input, weights=given.weights)
    plan = ww.plan(
        ww.trace(model, example),
        score=scores[given.score](),
        budget=[BUDGETS[kind](limit) for kind, limit in given.budget],
        min_width=given.min_width,
        round_to=given.round_to,
        include=given.include,
        exclude=given.exclude,
    )
    print(plan)
    if given.weights is None and given.score in ("l1", "l2") and not Path(given.model).is_dir():
        print(
            f"\nNote: `{given.score}` scored fresh random weights; give yours with --weights FILE."
        )
    if given.out is not None:
        plan.save(given.out)
        print(f"\nSaved to {given.out}")
    return 0


def _parser(scores: Sequence[str], budgets: Sequence[str]) -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="widthwise plan", description=VERBS["plan"])
    add_model_arguments(parser)
    parser.add_argument("--score", choices=scores, default="l1", help="what goes first: low scores")
    parser.add_argument(
        "--budget",
        metavar="KIND=LIMIT",
        type=budget_argument(budgets),
        action="append",
        required=True,
        help="macs=0.5, macs=50%%, macs=300e6, params=..., memory=...; several must all be met",
    )
    add_limit_arguments(parser)
    parser.add_argument("--out", metavar="FILE", type=Path, help="save the plan as JSON")
    return parser


def budget_argument(kinds: Sequence[str]) -> Callable[[str], tuple[str, str]]:
    """Return what reads ``KIND=LIMIT``."""

    def budget(text: str) -> tuple[str, str]:
        kind, equals, limit = text.partition("=")
        if kind not in kinds or not equals or not limit:
            raise argparse.ArgumentTypeError(
                f"expected KIND=LIMIT such as macs=0.5, macs=300e6 or params=40%, with KIND one of "
                f"{', '.join(kinds)}: got {text!r}"
            )
        return kind, limit

    return budget


def add_limit_arguments(parser: argparse.ArgumentParser) -> None:
    """Add floors, alignment and choice of axes.

    Args:
        parser: Changed in place.
    """
    parser.add_argument("--min-width", type=int, default=1, help="channels every axis keeps")
    parser.add_argument(
        "--round-to",
        type=int,
        help="widths are multiples of this (default: 8 from 32 channels on, 1 below)",
    )
    parser.add_argument(
        "--include", metavar="GLOB", action="append", help="only axes that match may be narrowed"
    )
    parser.add_argument(
        "--exclude", metavar="GLOB", action="append", help="axes that match stay as they are"
    )
