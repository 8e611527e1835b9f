"""``widthwise bench MODEL|RUN|FILE.onnx ...``: time and memory of networks side by side."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from itertools import product
from pathlib import Path
from typing import TYPE_CHECKING

from widthwise.cli import VERBS
from widthwise.cli._model import input_shape
from widthwise.errors import ConfigError

if TYPE_CHECKING:
    from rich.table import Table

    from widthwise.latency.side_by_side import Measured

_ENGINES = ("eager", "compiled", "onnxruntime")


def run(arguments: Sequence[str]) -> int:
    """Measure networks in turns, print a table and write JSON with --out.

    Args:
        arguments: What follows the verb.

    Returns:
        Exit code.
    """
    given = _parser().parse_args(arguments)

    import torch
    from rich.console import Console

    from widthwise.latency.engines import Engine, Setting
    from widthwise.latency.side_by_side import side_by_side
    from widthwise.recipes.bench import record, subjects_of
    from widthwise.runs import write_json

    engines = given.engine or [name for name in _ENGINES if not _is_of_cpu(name, given.device)]
    settings = [
        Setting(engine=Engine(engine), batch=batch, threads=threads, device=given.device)
        for engine, batch, threads in product(
            engines, given.batch, given.threads or [torch.get_num_threads()]
        )
    ]
    subjects = [each for name in given.networks for each in subjects_of(name, given.input)]
    console = Console(highlight=False)
    if not console.is_terminal:
        # A pipe has no width of its own, and a table in narrow columns cannot be read.
        console.width = 160
    with console.status("") as status:
        found = side_by_side(
            subjects,
            settings,
            seconds=given.seconds,
            memory=not given.no_memory,
            progress=status.update,
        )
    if all(each.times is None for each in found):
        raise ConfigError(f"Nothing could be measured.\n{found[0].why_not}")
    console.print(_table(found, len(subjects)))
    for each in found:
        if each.why_not is not None:
            why = each.why_not.splitlines()[0]
            print(f"Not measured: {each.name} in {each.setting.engine.value}: {why}")
    if given.out is not None:
        write_json(given.out, record(found))
        print(f"\nWritten: {given.out}")
    return 0


def _is_of_cpu(engine: str, device: str) -> bool:
    return engine == "onnxruntime" and device == "cuda"


def _table(found: Sequence[Measured], subjects: int) -> Table:
    from rich.table import Table

    table = Table(box=None, pad_edge=False, header_style="bold")
    table.add_column("network", overflow="fold")
    for column in ("engine", "batch", "threads"):
        table.add_column(column)
    for column in ("ms", "half of them within", "of the first", "inputs/s", "peak MB"):
        table.add_column(column, justify="right")
    for start in range(0, len(found), subjects):
        rows = found[start : start + subjects]
        first = rows[0].times
        for each in rows:
            times, rate = each.times, each.throughput
            cells = ["-"] * 4
            if times is not None and rate is not None:
                cells = [
                    f"{times.median:.3g}",
                    f"{times.low:.3g} to {times.high:.3g}",
                    "-" if first is None else f"{times.median / first.median:.2f}",
                    f"{rate:,.3g}" if rate < 100 else f"{rate:,.0f}",
                ]
            peak = "-" if each.peak_bytes is None else f"{each.peak_bytes / 1e6:,.0f}"
            setting = each.setting
            threads = "GPU" if setting.device == "cuda" else str(setting.threads)
            table.add_row(
                each.name, setting.engine.value, str(setting.batch), threads, *cells, peak,
                end_section=each is rows[-1],
            )  # fmt: skip
    return table


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="widthwise bench",
        description=VERBS["bench"],
        epilog="Networks take turns on the clock, each warm, so that a machine that slows down "
        "slows all of them. Memory is that of a process of its own that loads and runs the "
        "network. Nothing else should run meanwhile.",
    )
    parser.add_argument(
        "networks",
        metavar="NETWORK",
        nargs="+",
        help="a MODEL as for `widthwise trace`, FILE.onnx, or a run folder: its full and its found "
        "network; others are compared with the first",
    )
    parser.add_argument(
        "--input",
        metavar="N,C,H,W",
        type=input_shape,
        help="shape of the inputs (default: the one the network was published for); N is --batch",
    )
    parser.add_argument(
        "--engine",
        choices=_ENGINES,
        action="append",
        help="what runs them; may be given several times (default: all)",
    )
    parser.add_argument(
        "--batch", metavar="N,N", type=_numbers, default=[1], help="inputs at once (default: 1)"
    )
    parser.add_argument(
        "--threads", metavar="N,N", type=_numbers, help="CPU threads (default: those of PyTorch)"
    )
    parser.add_argument(
        "--device", choices=("cpu", "cuda"), default="cpu", help="default: %(default)s"
    )
    parser.add_argument(
        "--seconds",
        metavar="S",
        type=float,
        default=2.0,
        help="time on the clock for each network and setting (default: %(default)s)",
    )
    parser.add_argument("--no-memory", action="store_true", help="measure time only")
    parser.add_argument("--out", metavar="FILE", type=Path, help="write everything as JSON")
    return parser


def _numbers(text: str) -> list[int]:
    try:
        numbers = [int(number) for number in text.split(",")]
    except ValueError:
        numbers = []
    if not numbers or min(numbers) < 1:
        raise argparse.ArgumentTypeError(f"expected numbers such as 1 or 1,16, got {text!r}")
    return numbers
