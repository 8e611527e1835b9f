"""The option ``--budget KIND=LIMIT`` of several verbs."""

from __future__ import annotations

import argparse


def add_budget_argument(
    parser: argparse.ArgumentParser | argparse._MutuallyExclusiveGroup,
    help: str,
    *,
    required: bool = False,
) -> None:
    """Add the option, which may be given several times.

    Args:
        parser: It, or a group of its options; changed in place.
        help: What it is for here.
        required: Whether there has to be one.
    """
    parser.add_argument(
        "--budget",
        metavar="KIND=LIMIT",
        type=_budget,
        action="append",
        default=None if required else [],
        required=required,
        help=f"{help}: macs=0.5, macs=50%%, macs=300e6, params=..., memory=..., latency=0.5, "
        "latency=2.5ms, latency=50%%,engine=onnxruntime,batch=8,threads=1; several may be given",
    )


def _budget(text: str) -> tuple[str, str]:
    # Only now: it takes PyTorch, which is slow to load, to tell what there is.
    from widthwise.cost import BUDGETS

    kind, equals, limit = text.partition("=")
    if kind not in BUDGETS or not equals or not limit:
        raise argparse.ArgumentTypeError(
            "expected KIND=LIMIT such as macs=0.5, macs=300e6 or params=40%, with KIND one of "
            f"{', '.join(BUDGETS)}: got {text!r}"
        )
    return kind, limit
