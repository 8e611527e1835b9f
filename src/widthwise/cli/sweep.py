"""``widthwise sweep RECIPE --KEY V1,V2``: a run for every combination of values."""

from __future__ import annotations

import argparse
import os
import shlex
import signal
import sys
from collections.abc import Callable, Generator, Iterator, Sequence
from contextlib import ExitStack, closing, contextmanager
from pathlib import Path
from types import FrameType
from typing import TYPE_CHECKING

from widthwise.cli import VERBS
from widthwise.errors import ConfigError

if TYPE_CHECKING:
    from widthwise.recipes.config import SearchRecipe
    from widthwise.recipes.sweep.job import Job
    from widthwise.recipes.sweep.local import Stopping
    from widthwise.recipes.sweep.state import Event, Sweep

    _Start = Callable[[Stopping], Generator[Event]]

_SIGNALS = ("SIGINT", "SIGTERM", "SIGHUP")
_EPILOG = """\
examples:
  widthwise sweep digits --budget.macs 0.2,0.4,0.6 --seed 0,1
  widthwise sweep digits --out runs/methods --method.name dhp,lw_dna --seed 0,1,2 --jobs 2
  widthwise sweep --out runs/methods --resume

Values are separated by commas; one that has commas itself goes in brackets or quotes. A key with
one value is the same for all runs. `widthwise search RECIPE --help` lists every KEY.
"""


def run(arguments: Sequence[str]) -> int:
    """Run every combination that has not finished, and compare what has.

    Args:
        arguments: What follows the verb.

    Returns:
        Exit code: 0, 1 if a run failed, or 128 plus the signal's number if the sweep was stopped.

    Raises:
        WidthwiseError: If the sweep cannot start or go on.
    """
    parser = _parser()
    given, words = parser.parse_known_args(arguments)
    if not arguments or given.help:
        parser.print_help()
        return 0 if arguments else 2
    recipe = words.pop(0) if words and not words[0].startswith("-") else None

    from widthwise.recipes.sweep.grid import check_points, read_axes
    from widthwise.recipes.sweep.state import (
        check_empty,
        check_same,
        new_sweep,
        read_sweep,
        unfinished,
        write_sweep,
    )
    from widthwise.runs.locking import hold_folder

    _check_place(given)
    out = _folder(given.out, recipe)
    keys = read_axes(words)
    if given.resume:
        sweep = read_sweep(out)
        check_same(out, sweep, recipe=recipe, keys=keys)
    elif recipe is None:
        raise ConfigError("No recipe is named.\nHint: `widthwise sweep RECIPE --KEY V1,V2`.")
    else:
        sweep = new_sweep(recipe, keys)
        check_empty(out)
    recipes = check_points(sweep.recipe, [each.point for each in sweep.runs])
    with closing(hold_folder(out)):
        if given.resume:
            # Another process may have gone on with it until just now.
            sweep = read_sweep(out)
        write_sweep(out, sweep)
        todo = {each.name for each in unfinished(sweep, out)}
        chosen = [r for r, each in zip(recipes, sweep.runs, strict=True) if each.name in todo]
        print(f"Sweep: {out}, {len(sweep.runs)} runs, {len(todo)} to do")
        stopped = 0
        if todo:
            sweep, stopped = _run_all(sweep, out, chosen, given)
        if stopped:
            _say_stopped(sweep, out, given)
            return 128 + stopped
        return _end(sweep, out)


def _run_all(
    sweep: Sweep, out: Path, recipes: Sequence[SearchRecipe], given: argparse.Namespace
) -> tuple[Sweep, int]:
    """Run what has not finished; return the sweep after it, and the signal that stopped it."""
    from widthwise.cli._sweep_progress import SweepProgress
    from widthwise.recipes.sweep.job import search_job
    from widthwise.recipes.sweep.state import unfinished, write_sweep

    jobs = [search_job(sweep.recipe, each.point, out.resolve()) for each in unfinished(sweep, out)]
    prepare = _on_ray if given.cluster else _here
    with ExitStack() as stack:
        start = prepare(jobs, recipes, given, stack)
        signals = stack.enter_context(_listening())
        events = stack.enter_context(closing(start(lambda: len(signals))))
        progress = stack.enter_context(SweepProgress(sweep, out))
        for event in events:
            sweep = sweep.after(event)
            write_sweep(out, sweep)
            progress.show(sweep, event)
    return sweep, signals[0] if signals and unfinished(sweep, out) else 0


def _here(
    jobs: Sequence[Job],
    recipes: Sequence[SearchRecipe],
    given: argparse.Namespace,
    stack: ExitStack,
) -> _Start:
    """Share this machine among the runs."""
    import torch

    from widthwise.recipes.sweep.local import run_here
    from widthwise.recipes.sweep.sharing import cores, share

    uses_cards = any(recipe.hardware.device == "cuda" for recipe in recipes)
    shared = share(
        recipes,
        at_once=min(given.jobs or 1, len(jobs)),
        cores=cores(),
        cards=torch.cuda.device_count() if uses_cards else 0,
        environment=os.environ,
    )
    for note in shared.notes:
        print(f"Note: {note}")
    return lambda stopping: run_here(jobs, slots=shared.slots, stopping=stopping)


def _on_ray(
    jobs: Sequence[Job],
    recipes: Sequence[SearchRecipe],
    given: argparse.Namespace,
    stack: ExitStack,
) -> _Start:
    """Connect to a cluster, until the stack is left."""
    from widthwise.recipes.sweep.ray import connect, disconnect, run_on_ray

    cluster = connect()
    stack.callback(disconnect)
    resources = [cluster.needed(recipe) for recipe in recipes]
    for note in dict.fromkeys(note for each in resources for note in cluster.notes(each)):
        print(note)
    return lambda stopping: run_on_ray(jobs, resources=resources, stopping=stopping)


def _end(sweep: Sweep, out: Path) -> int:
    """Compare what has finished, and say what failed."""
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    from widthwise.recipes.sweep.state import State, unfinished

    left = {each.name for each in unfinished(sweep, out)}
    finished = [out / each.name for each in sweep.runs if each.name not in left]
    if finished:
        _compare(finished, out)
    else:
        print("\nNothing to compare: no run has finished.")
    failed = [each for each in sweep.runs if each.state is State.failed]
    if not left:
        return 0
    console = Console(stderr=True, highlight=False)
    if not console.is_terminal:
        # A pipe has no width of its own, and a table in narrow columns cannot be read.
        console.width = 160
    table = Table(box=None, pad_edge=False, header_style="bold")
    for title in ("Run", "Why it failed", "Log"):
        table.add_column(title, overflow="fold")
    for each in failed:
        table.add_row(*map(Text, (each.name, each.problem or "", f"{out / each.name}.log")))
    print(f"\n{len(failed)} of {len(sweep.runs)} runs failed:\n", file=sys.stderr)
    console.print(table)
    print(f"\nTry them again, from where they got to, with:\n    {_resume(out)}", file=sys.stderr)
    return 1


def _compare(finished: Sequence[Path], out: Path) -> None:
    from widthwise.cli.compare import show_comparison, show_contest
    from widthwise.recipes.sweep.comparing import compared
    from widthwise.report.contest import Contest

    try:
        found, why = compared(finished)
        if why is not None:
            print(f"\nOne table per configuration, not one over all runs: {why}")
        if isinstance(found, Contest):
            show_contest(found, out)
        else:
            show_comparison(found, out)
    except Exception as error:
        # The runs are what took hours, and they are there.
        print(f"\nNo comparison was made: {type(error).__name__}: {error}", file=sys.stderr)


def _say_stopped(sweep: Sweep, out: Path, given: argparse.Namespace) -> None:
    from widthwise.recipes.sweep.state import State

    more = ["--jobs", str(given.jobs)] if given.jobs else []
    more += ["--cluster", given.cluster] if given.cluster else []
    done = sweep.count(State.finished)
    print(
        f"\nStopped: {done} of {len(sweep.runs)} runs have finished. Go on with:\n"
        f"    {_resume(out, *more)}",
        file=sys.stderr,
    )


def _resume(out: Path, *more: str) -> str:
    return shlex.join(["widthwise", "sweep", "--out", str(out), "--resume", *more])


@contextmanager
def _listening() -> Iterator[list[int]]:
    """Collect the signals that ask to stop, which would interrupt what has to be whole."""
    received: list[int] = []

    def note(number: int, frame: FrameType | None) -> None:
        received.append(number)

    before = {}
    for name in _SIGNALS:
        number = getattr(signal, name, None)
        # What nohup ignores stays ignored.
        if number is not None and signal.getsignal(number) is not signal.SIG_IGN:
            before[number] = signal.signal(number, note)
    try:
        yield received
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def _check_place(given: argparse.Namespace) -> None:
    if given.jobs is not None and given.jobs < 1:
        raise ConfigError(f"`--jobs` must be at least 1: got {given.jobs}.")
    if given.cluster is None:
        return
    if given.jobs is not None:
        raise ConfigError(
            "`--jobs` is of processes on this machine, and has no effect with `--cluster`.\n"
            "Hint: leave it out; as many runs go on at a time as the cluster has room for."
        )
    from widthwise.recipes.sweep.ray import check_ray

    check_ray()


def _folder(out: Path | None, recipe: str | None) -> Path:
    if out is not None:
        return out
    if recipe is None:
        raise ConfigError(
            "Neither a recipe nor a folder is named.\n"
            "Hint: `widthwise sweep RECIPE --KEY V1,V2` starts a sweep, and "
            "`widthwise sweep --out FOLDER --resume` goes on with one."
        )
    return Path("runs") / f"{Path(recipe).stem}_sweep"


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="widthwise sweep",
        description=VERBS["sweep"],
        usage="widthwise sweep RECIPE [--out FOLDER] [--resume] [--jobs N] [--cluster ray] "
        "--KEY V1,V2,... [--KEY VALUE ...]",
        epilog=_EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        add_help=False,
        # A shortened --jo must be refused as an unknown key of the recipe.
        allow_abbrev=False,
    )
    parser.add_argument(
        "--out",
        metavar="FOLDER",
        type=Path,
        help="folder of the sweep, with a run folder for each combination "
        "(default: runs/NAME_sweep)",
    )
    parser.add_argument(
        "--resume", action="store_true", help="go on with the sweep in the folder; needs --out only"
    )
    parser.add_argument(
        "--jobs",
        metavar="N",
        type=int,
        help="runs at a time, as processes on this machine (default: one after the other)",
    )
    parser.add_argument(
        "--cluster",
        choices=["ray"],
        help="run on the Ray cluster that RAY_ADDRESS names or that runs here; else one is started "
        "here. The folder has to be one that all its machines share",
    )
    parser.add_argument("-h", "--help", action="store_true", help="show this help")
    return parser
