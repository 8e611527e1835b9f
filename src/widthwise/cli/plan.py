"""``widthwise plan MODEL --score l1 --budget macs=0.5``: widths without training."""

from __future__ import annotations

import argparse
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from widthwise.cli import VERBS
from widthwise.cli._budget import add_budget_argument
from widthwise.cli._data import add_data_arguments, input_of, read_samples
from widthwise.cli._model import add_model_arguments, build_model, is_pattern
from widthwise.cli.trace import list_names
from widthwise.errors import ConfigError

if TYPE_CHECKING:
    from torch import Tensor

    from widthwise.data.samples import Samples
    from widthwise.search.scores import Score

_BATCH = 64


def run(arguments: Sequence[str]) -> int:
    """Print, and optionally save, a plan by a score.

    Args:
        arguments: What follows the verb.

    Returns:
        Exit code.
    """
    import widthwise as ww
    from widthwise.cost import read_budget
    from widthwise.models import resolve

    of_weights: dict[str, Callable[[], Score]] = {
        "geometric-median": ww.scores.GeometricMedian,
        "kernel-sparsity-entropy": ww.scores.KernelSparsityEntropy,
        "l1": ww.scores.L1,
        "l2": ww.scores.L2,
        "lamp": ww.scores.Lamp,
        "random": ww.scores.Random,
        "uniform": ww.scores.Uniform,
    }
    of_data: dict[str, Callable[[Samples], Score]] = {
        "variance": lambda samples: ww.scores.Variance(_inputs(samples)),
        "feature-rank": lambda samples: ww.scores.FeatureRank(_inputs(samples)),
        "fisher": lambda samples: ww.scores.Fisher(batches=_inputs(samples)),
        "reconstruction": lambda samples: ww.scores.Reconstruction(_inputs(samples)),
        "taylor": _taylor,
    }
    given = _parser([*of_weights, *of_data]).parse_args(arguments)
    if given.score in of_data and given.data is None:
        raise ConfigError(
            f"`{given.score}` looks at what the network makes of images.\n"
            "Hint: give a folder with --data FOLDER."
        )
    if is_pattern(given.model):
        return list_names(given.model)
    spec = resolve(given.model)
    model, example = build_model(spec, shape=input_of(given, spec), weights=given.weights)
    if given.score in of_data:
        score = of_data[given.score](read_samples(given, spec, example))
    else:
        score = of_weights[given.score]()
    plan = ww.plan(
        ww.trace(model, example),
        score=score,
        budget=[read_budget(kind, limit) for kind, limit in given.budget],
        min_width=given.min_width,
        round_to=given.round_to,
        include=given.include,
        exclude=given.exclude,
    )
    print(plan)
    weighs = given.score not in ("random", "uniform")
    if given.weights is None and weighs and not spec.has_weights:
        print(
            f"\nNote: `{given.score}` scored fresh random weights; give yours with --weights FILE."
        )
    if given.out is not None:
        plan.save(given.out)
        print(f"\nSaved to {given.out}")
    return 0


def _inputs(samples: Samples) -> list[Tensor]:
    return list(samples.inputs(slice(None)).split(_BATCH))


def _taylor(samples: Samples) -> Score:
    from torch.nn.functional import cross_entropy

    import widthwise as ww

    if samples.labels is None:
        raise ConfigError(
            "`taylor` needs to know what the images show.\n"
            "Hint: give --data a folder that has a folder per class, or take `fisher`."
        )
    pairs = list(zip(_inputs(samples), samples.labels.split(_BATCH), strict=True))
    return ww.scores.Taylor(loss=cross_entropy, batches=pairs)


def _parser(scores: Sequence[str]) -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="widthwise plan", description=VERBS["plan"])
    add_model_arguments(parser)
    parser.add_argument(
        "--score",
        choices=scores,
        default="l1",
        help="what goes first: low scores (default: l1); variance, feature-rank, fisher, "
        "reconstruction and taylor look at --data",
    )
    add_data_arguments(parser, required=False)
    add_budget_argument(parser, "what the plan may cost at most", required=True)
    add_limit_arguments(parser)
    parser.add_argument("--out", metavar="FILE", type=Path, help="save the plan as JSON")
    return parser


def _round_to(text: str) -> int | str:
    if text == "measured" or text.isdecimal():
        return text if text == "measured" else int(text)
    raise argparse.ArgumentTypeError(f"expected a number of channels or `measured`, got {text!r}")


def add_limit_arguments(parser: argparse.ArgumentParser) -> None:
    """Add floors, alignment and choice of axes.

    Args:
        parser: Changed in place.
    """
    parser.add_argument("--min-width", type=int, default=1, help="channels every axis keeps")
    parser.add_argument(
        "--round-to",
        metavar="CHANNELS",
        type=_round_to,
        help="widths are multiples of this (default: 16 from 64 channels on, 8 from 32 on, 1 "
        "below); `measured` finds out, per axis, what is quick where --budget latency=... says",
    )
    parser.add_argument(
        "--include", metavar="GLOB", action="append", help="only axes that match may be narrowed"
    )
    parser.add_argument(
        "--exclude", metavar="GLOB", action="append", help="axes that match stay as they are"
    )
