"""``widthwise shrink MODEL PLAN --weights FILE --out FOLDER``: a network cut by a plan file."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path

from widthwise.cli import VERBS
from widthwise.cli._model import add_model_arguments, build_model
from widthwise.errors import ConfigError


def run(arguments: Sequence[str]) -> int:
    """Cut a network, prove the cut, and write a folder that is a MODEL again.

    Args:
        arguments: What follows the verb.

    Returns:
        Exit code.
    """
    parser = argparse.ArgumentParser(prog="widthwise shrink", description=VERBS["shrink"])
    add_model_arguments(parser)
    parser.add_argument("plan", metavar="PLAN", type=Path, help="plan.json, from `widthwise plan`")
    parser.add_argument("--out", metavar="FOLDER", type=Path, required=True, help="written to")
    parser.add_argument("--replace", action="store_true", help="overwrite a network that is there")
    given = parser.parse_args(arguments)
    if (given.out / "plan.json").exists() and not given.replace:
        raise ConfigError(
            f"`{given.out}` holds a network already.\nHint: give another --out, or --replace it."
        )
    if Path(given.model).is_dir():
        raise ConfigError(
            f"`{given.model}` holds a narrow network, and a folder names the full one.\n"
            "Hint: `first.then(second)` makes one plan of two; give the full network by name."
        )

    import widthwise as ww
    from widthwise.models import resolve
    from widthwise.runs import write_model

    spec = resolve(given.model)
    model, _ = build_model(spec, shape=given.input, weights=given.weights)
    plan = ww.Plan.load(given.plan)
    small = ww.shrink(model, plan, verify=False)
    proof = ww.prove(model, small, plan)
    ww.save(small, plan, given.out)
    write_model(given.out, given.model)
    print(plan)
    print(
        f"\nProven: the largest difference of any layer is {proof.error:.0e}, relative.\n"
        f"Saved to {given.out}, which is a MODEL; in Python: "
        f"`ww.load({str(given.out)!r}, model_factory)`"
    )
    if given.weights is None and not spec.has_weights:
        print("Note: the weights are fresh random ones; give yours with --weights FILE.")
    return 0
