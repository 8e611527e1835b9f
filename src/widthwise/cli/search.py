"""``widthwise search RECIPE``: the main job."""

from __future__ import annotations

import argparse
import shlex
import signal
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from types import FrameType

from widthwise.cli import VERBS
from widthwise.errors import WidthwiseError


class _Stopped(BaseException):
    """Ctrl-C or a request to terminate; unlike KeyboardInterrupt, Lightning lets it through."""

    def __init__(self, number: int) -> None:
        self.number = number
        super().__init__(signal.Signals(number).name)


def run(arguments: Sequence[str]) -> int:
    """Run a recipe, or go on with it.

    Args:
        arguments: What follows the verb.

    Returns:
        Exit code: 0, or 128 plus the signal's number if the run was stopped.

    Raises:
        WidthwiseError: If the run cannot start or go on.
    """
    from widthwise.recipes.loader import load_recipe, recipe_names, recipe_parser

    parser = _parser(recipe_names())
    if not arguments or arguments[0] in ("-h", "--help"):
        parser.print_help()
        return 0 if arguments else 2
    given, overrides = parser.parse_known_args(arguments)
    if given.help:
        parser.print_help()
        print(
            f"\nEvery value of the recipe can be set; the defaults are those of {given.recipe}.\n"
        )
        recipe_parser(given.recipe, overrides, prog=f"widthwise search {given.recipe}").print_help()
        return 0
    recipe = load_recipe(given.recipe, overrides)
    folder = given.out or Path("runs") / Path(given.recipe).stem
    command = ["widthwise", "search", *arguments]

    from widthwise.cli._progress import ConsoleProgress
    from widthwise.recipes.config import plain
    from widthwise.recipes.environment import environment
    from widthwise.runs import RunFolder
    from widthwise.runs.processes import is_leader

    run_folder = RunFolder(
        folder,
        config=plain(recipe),
        environment=environment(
            shlex.join(command),
            threads=recipe.threads,
            precision=recipe.hardware.describe_precision(),
        ),
        resume=given.resume,
    )
    progress = ConsoleProgress(quiet=not is_leader())
    resume = shlex.join(command if given.resume else [*command, "--resume"])
    try:
        with _stoppable(), progress:
            progress.note(f"Run folder: {folder}")
            progress.note(f"Numbers: {recipe.hardware.describe_precision()}")
            from widthwise.recipes.job import SearchJob

            job = SearchJob(recipe, run_folder, progress)
            progress.speak_of(job.measures)
            results = job.run_all()
    except _Stopped as stop:
        print(f"\nStopped {progress.where()}. Go on with:\n    {resume}", file=sys.stderr)
        return 128 + stop.number
    except WidthwiseError:
        if not given.resume:
            run_folder.discard()
        print(f"\nStopped {progress.where()}.", file=sys.stderr)
        raise
    finally:
        run_folder.close()
    progress.results(results)
    progress.note(f"\nReport: {folder / 'report.html'}")
    return 0


def _parser(recipes: Sequence[str]) -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="widthwise search",
        description=VERBS["search"],
        usage="widthwise search RECIPE [--out FOLDER] [--resume] [--KEY VALUE ...]",
        epilog="`widthwise search RECIPE --help` lists every KEY, such as --converge.epochs.",
        add_help=False,
        # A shortened --search.ep must reach the recipe's parser, which refuses it.
        allow_abbrev=False,
    )
    parser.add_argument("recipe", metavar="RECIPE", help=f"{', '.join(recipes)}, or a YAML file")
    parser.add_argument(
        "--out", metavar="FOLDER", type=Path, help="run folder (default: runs/NAME)"
    )
    parser.add_argument("--resume", action="store_true", help="go on with the run in the folder")
    parser.add_argument("-h", "--help", action="store_true", help="show this help")
    return parser


@contextmanager
def _stoppable() -> Iterator[None]:
    """Turn Ctrl-C and a request to terminate into `_Stopped`."""

    def stop(number: int, frame: FrameType | None) -> None:
        raise _Stopped(number)

    before = {number: signal.signal(number, stop) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
