"""``widthwise trace MODEL``: the pre-flight report."""

from __future__ import annotations

import argparse
from collections.abc import Sequence

from widthwise.cli import VERBS
from widthwise.cli._model import add_model_arguments, build_model, is_pattern


def run(arguments: Sequence[str]) -> int:
    """Print the channel graph of a network.

    Args:
        arguments: What follows the verb.

    Returns:
        Exit code.
    """
    parser = argparse.ArgumentParser(prog="widthwise trace", description=VERBS["trace"])
    add_model_arguments(parser)
    given = parser.parse_args(arguments)
    if is_pattern(given.model):
        return list_names(given.model)

    import widthwise as ww
    from widthwise.models import resolve

    spec = resolve(given.model)
    model, example = build_model(spec, shape=given.input, weights=given.weights)
    print(ww.trace(model, example))
    return 0


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
